package cli

import (
	"fmt"
	"strings"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// iamStatement is one statement of an IAM policy (IAM User Guide, "IAM JSON policy reference").
type iamStatement struct {
	Sid       string         `json:"Sid"`
	Effect    string         `json:"Effect"`
	Action    []string       `json:"Action"`
	Resource  []string       `json:"Resource"`
	Condition map[string]any `json:"Condition,omitempty"`
}

// printIAMPolicy prints the smallest policy that lets a pull or refresh of these keys do all it does. An alias is no
// resource of IAM's: keys are then named by the condition kms:ResourceAliases.
func (a *app) printIAMPolicy(f pullFlags, refs []kmskey.Ref) error {
	key := []string{awskms.ActionGetPublicKey, awskms.ActionDescribeKey}
	account := []string{awskms.ActionListAliases}
	var statements []iamStatement
	if f.all {
		account = append(account, awskms.ActionListKeys)
		if len(f.tags) > 0 {
			key = append(key, awskms.ActionListResourceTags)
		}
		statements = append(statements, iamStatement{Sid: "EveryKey", Effect: "Allow", Action: key, Resource: f.keysOfRegions()})
	}
	var named []string
	byAlias := make(map[string][]string)
	var scopes []string
	for _, ref := range refs {
		scope := ref.Scope
		if scope.IsZero() {
			scope = kmskey.Scope{Partition: partition(f.region()), Region: f.region(), Account: "*"}
		}
		prefix := fmt.Sprintf("arn:%s:kms:%s:%s:key/", scope.Partition, scope.Region, scope.Account)
		if ref.Alias == "" {
			named = append(named, prefix+ref.KeyID)
			continue
		}
		if byAlias[prefix+"*"] == nil {
			scopes = append(scopes, prefix+"*")
		}
		byAlias[prefix+"*"] = append(byAlias[prefix+"*"], ref.Alias)
	}
	if len(named) > 0 {
		statements = append(statements, iamStatement{Sid: "NamedKeys", Effect: "Allow", Action: key, Resource: named})
	}
	for i, scope := range scopes {
		statements = append(statements, iamStatement{
			Sid: fmt.Sprintf("KeysByAlias%d", i+1), Effect: "Allow", Action: key, Resource: []string{scope},
			Condition: map[string]any{"ForAnyValue:StringEquals": map[string]any{"kms:ResourceAliases": byAlias[scope]}},
		})
	}
	statements = append(statements, iamStatement{Sid: "Lists", Effect: "Allow", Action: account, Resource: []string{"*"}})
	return a.json(map[string]any{"Version": "2012-10-17", "Statement": statements})
}

func (f pullFlags) region() string {
	if len(f.kms.regions) == 0 {
		return "*"
	}
	return f.kms.regions[0]
}

func (f pullFlags) keysOfRegions() []string {
	if len(f.kms.regions) == 0 {
		return []string{"arn:aws:kms:*:*:key/*"}
	}
	var all []string
	for _, region := range f.kms.regions {
		all = append(all, fmt.Sprintf("arn:%s:kms:%s:*:key/*", partition(region), region))
	}
	return all
}

// partition is that of a Region by the prefixes that AWS documents; a suggestion in a text for people, nothing more.
func partition(region string) string {
	for prefix, partition := range map[string]string{"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "us-isof-": "aws-iso-f", "eu-isoe-": "aws-iso-e", "eusc-": "aws-eusc"} {
		if strings.HasPrefix(region, prefix) {
			return partition
		}
	}
	return "aws"
}
