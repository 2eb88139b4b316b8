// Command generate makes testdata: keys, KMS's answers about them, certificates, signed images and an SM2 signature.
//
// Private keys are made once and kept; everything else follows from them and from constants, by deterministic
// signatures, so that a second run changes not one byte. To get a new key, remove its file from testdata/keys first.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

//go:generate go run . -out ../../testdata

func main() {
	out := flag.String("out", "", "the testdata folder to write `DIR`")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := generate(*out); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// generate writes all of testdata but testdata/vectors, which has a generator of its own.
func generate(testdata string) error {
	for _, dir := range []string{"keys", "records", "certs", "oci", "sm2"} {
		if err := os.MkdirAll(filepath.Join(testdata, dir), 0o755); err != nil {
			return err
		}
	}
	materials := make(map[string]*material)
	for _, k := range fixture.Keys {
		m, err := loadOrMake(k, k.PrivateFile(testdata))
		if err != nil {
			return fmt.Errorf("key %s: %w", k.Name, err)
		}
		materials[k.Name] = m
		if err := os.WriteFile(k.PublicFile(testdata), m.spki, 0o644); err != nil {
			return err
		}
		if err := writeRecords(testdata, k, m.spki); err != nil {
			return fmt.Errorf("records of %s: %w", k.Name, err)
		}
		if k.Certificate {
			if err := writeCertificate(testdata, k, m); err != nil {
				return fmt.Errorf("certificate of %s: %w", k.Name, err)
			}
		}
	}
	if err := writeImages(testdata, materials); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	if err := writeSM2(filepath.Join(testdata, "sm2"), materials["sm2"].sm2); err != nil {
		return fmt.Errorf("SM2: %w", err)
	}
	return nil
}
