// Package kmskey holds the values that KMS speaks of: identifiers, key specs, usages, algorithms, message types, key
// states, and the record of a key with its decoded public half. Values are checked when they are made; a value that
// exists is well-formed. Nothing here reads a disk or a clock.
package kmskey

import (
	"regexp"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// MaxIdentifier is the longest identifier read, in bytes. KMS allows 2,048 for KeyId (API Reference, GetPublicKey).
const MaxIdentifier = 2048

// maxAlias counts "alias/" with the name (API Reference, CreateAlias, AliasName).
const maxAlias = 256

// The forms of rules that hold before any path is built from an identifier. Partitions and Regions are no fixed lists:
// AWS adds to both.
var (
	partitionForm = regexp.MustCompile(`^aws(-[a-z0-9]{1,16}){0,3}$`)
	regionForm    = regexp.MustCompile(`^[a-z]{2,12}(-[a-z0-9]{1,16}){1,4}$`)
	accountForm   = regexp.MustCompile(`^[0-9]{12}$`)
	keyIDForm     = regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)
	aliasForm     = regexp.MustCompile(`^alias/[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$`)
)

// Scope is where a key or alias lives: one account in one Region of one partition. The zero value is no scope.
type Scope struct {
	Partition string // "aws", "aws-cn"
	Region    string // "us-east-1"
	Account   string // twelve digits
}

// IsZero reports whether s is no scope.
func (s Scope) IsZero() bool { return s == Scope{} }

func (s Scope) arn(resource string) string {
	return "arn:" + s.Partition + ":kms:" + s.Region + ":" + s.Account + ":" + resource
}

// Check returns a ValidationException unless every part has AWS's form.
func (s Scope) Check() error {
	switch {
	case !partitionForm.MatchString(s.Partition):
		return kmserr.New(kmserr.Validation, "the partition %q is none of AWS's: expected aws or aws-…, in lower case", s.Partition)
	case !regionForm.MatchString(s.Region):
		return kmserr.New(kmserr.Validation, "the Region %q has not the form of an AWS Region, such as us-east-1", s.Region)
	case !accountForm.MatchString(s.Account):
		return kmserr.New(kmserr.Validation, "the account %q is not twelve digits", s.Account)
	}
	return nil
}

// ARN is a key ARN.
type ARN struct {
	Scope
	KeyID string // a lower-case UUID, or mrk- and 32 hexadecimal digits
}

// String returns "arn:PARTITION:kms:REGION:ACCOUNT:key/ID", or "" for the zero value.
func (a ARN) String() string {
	if a == (ARN{}) {
		return ""
	}
	return a.arn("key/" + a.KeyID)
}

// MultiRegion reports whether the key ID is that of a multi-Region key.
func (a ARN) MultiRegion() bool { return strings.HasPrefix(a.KeyID, "mrk-") }

// AliasARN is an alias ARN.
type AliasARN struct {
	Scope
	Alias string // with its prefix: "alias/release"
}

// String returns "arn:PARTITION:kms:REGION:ACCOUNT:alias/NAME", or "" for the zero value.
func (a AliasARN) String() string {
	if a == (AliasARN{}) {
		return ""
	}
	return a.arn(a.Alias)
}

// Ref is an identifier in one of KMS's four forms: key ID, key ARN, alias name, alias ARN. Exactly one of KeyID and
// Alias is set; Scope is zero in the two bare forms.
type Ref struct {
	Scope Scope
	KeyID string
	Alias string
}

// ParseRef reads any of the four forms, exactly and case-sensitively. Anything else is a ValidationException.
func ParseRef(s string) (Ref, error) {
	const forms = "Give a key ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), an alias ARN (…:alias/NAME), a key ID or alias/NAME."
	switch {
	case s == "":
		return Ref{}, kmserr.New(kmserr.Validation, "the key identifier is empty").WithHint(forms)
	case len(s) > MaxIdentifier:
		return Ref{}, kmserr.New(kmserr.Validation, "the key identifier is %d bytes long, expected at most %d", len(s), MaxIdentifier).WithHint(forms)
	case strings.HasPrefix(s, "arn:"):
		return parseARN(s)
	case strings.HasPrefix(s, "alias/"):
		if err := checkAlias(s); err != nil {
			return Ref{}, err
		}
		return Ref{Alias: s}, nil
	case keyIDForm.MatchString(s):
		return Ref{KeyID: s}, nil
	}
	e := kmserr.New(kmserr.Validation, "the key identifier %q has none of KMS's four forms", s).WithHint(forms)
	switch lower := strings.ToLower(s); {
	case keyIDForm.MatchString(lower):
		e.Hint = "Key IDs are written in lower case: " + lower
	case strings.HasPrefix(lower, "arn:"), strings.HasPrefix(lower, "alias/"):
		e.Hint = "Identifiers are case-sensitive; arn: and alias/ are lower case."
	}
	return Ref{}, e
}

func parseARN(s string) (Ref, error) {
	fail := func(format string, args ...any) (Ref, error) {
		return Ref{}, kmserr.New(kmserr.Validation, format, args...).
			WithHint("A KMS ARN reads arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME.")
	}
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 {
		return fail("the ARN %q has %d parts, expected 6", s, len(parts))
	}
	if parts[2] != "kms" {
		return fail("the ARN %q is of the service %q, expected kms", s, parts[2])
	}
	scope := Scope{Partition: parts[1], Region: parts[3], Account: parts[4]}
	if err := scope.Check(); err != nil {
		return fail("in the ARN %q %s", s, kmserr.As(err).Fact)
	}
	resource := parts[5]
	if id, ok := strings.CutPrefix(resource, "key/"); ok {
		if !keyIDForm.MatchString(id) {
			return fail("in the ARN %q the key ID %q is neither a lower-case UUID nor mrk- and 32 hexadecimal digits", s, id)
		}
		return Ref{Scope: scope, KeyID: id}, nil
	}
	if strings.HasPrefix(resource, "alias/") {
		if err := checkAlias(resource); err != nil {
			return fail("in the ARN %q %s", s, kmserr.As(err).Fact)
		}
		return Ref{Scope: scope, Alias: resource}, nil
	}
	return fail("the ARN %q names neither a key nor an alias but %q", s, resource)
}

func checkAlias(alias string) error {
	if len(alias) > maxAlias {
		return kmserr.New(kmserr.Validation, "the alias is %d characters long, expected at most %d with alias/", len(alias), maxAlias)
	}
	if !aliasForm.MatchString(alias) {
		return kmserr.New(kmserr.Validation,
			"the alias %q is not alias/ and letters, digits, _, - and single / between them", alias).
			WithHint("An alias name takes A-Z, a-z, 0-9, _, - and /; no / at its start or end and none doubled.")
	}
	return nil
}

// ParseARN reads a key ARN and nothing else.
func ParseARN(s string) (ARN, error) {
	ref, err := ParseRef(s)
	if err != nil {
		return ARN{}, err
	}
	if arn, ok := ref.ARN(); ok {
		return arn, nil
	}
	return ARN{}, kmserr.New(kmserr.Validation, "%q is no key ARN", s).
		WithHint("Give the full ARN: arn:PARTITION:kms:REGION:ACCOUNT:key/ID.")
}

// ParseAlias reads an alias name with its prefix, "alias/NAME".
func ParseAlias(s string) (string, error) {
	if !strings.HasPrefix(s, "alias/") {
		return "", kmserr.New(kmserr.Validation, "the alias %q does not start with alias/", s).WithHint("Write alias/%s.", s)
	}
	return s, checkAlias(s)
}

// ARN returns the key ARN, if r is one.
func (r Ref) ARN() (ARN, bool) {
	return ARN{Scope: r.Scope, KeyID: r.KeyID}, !r.Scope.IsZero() && r.KeyID != ""
}

// AliasARN returns the alias ARN, if r is one.
func (r Ref) AliasARN() (AliasARN, bool) {
	return AliasARN{Scope: r.Scope, Alias: r.Alias}, !r.Scope.IsZero() && r.Alias != ""
}

// String returns r as it was written.
func (r Ref) String() string {
	resource := r.Alias
	if r.KeyID != "" {
		resource = r.KeyID
		if !r.Scope.IsZero() {
			resource = "key/" + r.KeyID
		}
	}
	if r.Scope.IsZero() {
		return resource
	}
	return r.Scope.arn(resource)
}
