package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// publicKeyAnswer is GetPublicKey's answer, its members in the order in which the AWS CLI prints them.
type publicKeyAnswer struct {
	KeyId                   string   `json:"KeyId"`
	PublicKey               []byte   `json:"PublicKey"`
	CustomerMasterKeySpec   string   `json:"CustomerMasterKeySpec"`
	KeySpec                 string   `json:"KeySpec,omitempty"`
	KeyUsage                string   `json:"KeyUsage"`
	EncryptionAlgorithms    []string `json:"EncryptionAlgorithms,omitempty"`
	SigningAlgorithms       []string `json:"SigningAlgorithms,omitempty"`
	KeyAgreementAlgorithms  []string `json:"KeyAgreementAlgorithms,omitempty"`
	EncapsulationAlgorithms []string `json:"EncapsulationAlgorithms,omitempty"`
}

// describeAnswer is DescribeKey's answer, likewise. CreationDate is a string in the AWS CLI v2 and a number in v1.
type describeAnswer struct {
	KeyMetadata struct {
		AWSAccountId             string       `json:"AWSAccountId"`
		KeyId                    string       `json:"KeyId"`
		Arn                      string       `json:"Arn"`
		CreationDate             any          `json:"CreationDate"`
		Enabled                  bool         `json:"Enabled"`
		Description              string       `json:"Description"`
		KeyUsage                 string       `json:"KeyUsage"`
		KeyState                 string       `json:"KeyState"`
		Origin                   string       `json:"Origin"`
		KeyManager               string       `json:"KeyManager"`
		CustomerMasterKeySpec    string       `json:"CustomerMasterKeySpec"`
		KeySpec                  string       `json:"KeySpec"`
		EncryptionAlgorithms     []string     `json:"EncryptionAlgorithms,omitempty"`
		SigningAlgorithms        []string     `json:"SigningAlgorithms,omitempty"`
		MultiRegion              bool         `json:"MultiRegion"`
		MultiRegionConfiguration *multiRegion `json:"MultiRegionConfiguration,omitempty"`
	} `json:"KeyMetadata"`
}

type multiRegion struct {
	MultiRegionKeyType string        `json:"MultiRegionKeyType"`
	PrimaryKey         regionalKey   `json:"PrimaryKey"`
	ReplicaKeys        []regionalKey `json:"ReplicaKeys"`
}

type regionalKey struct {
	Arn    string `json:"Arn"`
	Region string `json:"Region"`
}

// created is when all test keys were made, as far as KMS's answers say.
var created = time.Date(2026, 3, 2, 9, 15, 27, 416e6, time.UTC)

const (
	// oldDescribeCLI has its describe-key JSON from the AWS CLI v1, which prints times as numbers.
	oldDescribeCLI = "rsa2048"
	// oldPublicCLI has one more get-public-key JSON from a CLI of 2020: KMS had CustomerMasterKeySpec then, not KeySpec.
	oldPublicCLI = "p256"
)

// writeRecords writes KMS's answers about the key, one set a Region.
func writeRecords(testdata string, k fixture.Key, spki []byte) error {
	if k.NoRecord {
		return nil
	}
	for _, region := range k.Regions {
		answer := publicKeyAnswer{
			KeyId: k.RegionalARN(region), PublicKey: spki,
			CustomerMasterKeySpec: k.Spec, KeySpec: k.Spec, KeyUsage: k.Usage,
		}
		switch k.Usage {
		case "SIGN_VERIFY":
			answer.SigningAlgorithms = k.Algorithms
		case "ENCRYPT_DECRYPT":
			answer.EncryptionAlgorithms = k.Algorithms
		case "KEY_AGREEMENT":
			answer.KeyAgreementAlgorithms = k.Algorithms
		case "ENCAPSULATE_DECAPSULATE":
			answer.EncapsulationAlgorithms = k.Algorithms
		}
		if err := writeJSON(k.PublicRecord(testdata, region), answer); err != nil {
			return err
		}
		if k.Name == oldPublicCLI {
			answer.KeySpec = ""
			if err := writeJSON(filepath.Join(testdata, "records", k.Name+".get-public-key.cli-2020.json"), answer); err != nil {
				return err
			}
		}
		if k.State == "" {
			continue
		}
		if err := writeJSON(k.DescribeRecord(testdata, region), describe(k, region, answer)); err != nil {
			return err
		}
	}
	return nil
}

func describe(k fixture.Key, region string, public publicKeyAnswer) describeAnswer {
	var answer describeAnswer
	m := &answer.KeyMetadata
	m.AWSAccountId, m.KeyId, m.Arn = fixture.Account, k.ID(), k.RegionalARN(region)
	m.CreationDate = created.Format("2006-01-02T15:04:05.000000-07:00")
	if k.Name == oldDescribeCLI {
		m.CreationDate = json.Number(fmt.Sprintf("%.3f", float64(created.UnixMilli())/1000))
	}
	m.Enabled, m.KeyState = k.State == "Enabled", k.State
	m.Description = "awskms-offline testdata, " + k.Name
	m.Origin, m.KeyManager = "AWS_KMS", "CUSTOMER"
	m.KeyUsage, m.KeySpec, m.CustomerMasterKeySpec = k.Usage, k.Spec, k.Spec
	m.EncryptionAlgorithms, m.SigningAlgorithms = public.EncryptionAlgorithms, public.SigningAlgorithms
	if k.MultiRegion {
		m.MultiRegion = true
		m.MultiRegionConfiguration = &multiRegion{MultiRegionKeyType: "REPLICA"}
		for i, r := range k.Regions {
			key := regionalKey{Arn: k.RegionalARN(r), Region: r}
			if i == 0 {
				m.MultiRegionConfiguration.PrimaryKey = key
			} else {
				m.MultiRegionConfiguration.ReplicaKeys = append(m.MultiRegionConfiguration.ReplicaKeys, key)
			}
		}
		if region == k.Regions[0] {
			m.MultiRegionConfiguration.MultiRegionKeyType = "PRIMARY"
		}
	}
	return answer
}

// writeJSON writes as the AWS CLI prints: four spaces, a newline at the end.
func writeJSON(path string, value any) error {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}
