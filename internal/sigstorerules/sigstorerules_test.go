package sigstorerules

import (
	"crypto"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestDefaults(t *testing.T) {
	for hash, want := range map[crypto.Hash][]kmskey.SigningAlgorithm{
		crypto.SHA256: {kmskey.ED25519SHA512, kmskey.RSASSAPKCS1SHA256},
		crypto.SHA384: {kmskey.ED25519SHA512, kmskey.RSASSAPKCS1SHA384},
		crypto.SHA512: {kmskey.ED25519SHA512, kmskey.RSASSAPKCS1SHA512},
		crypto.SHA1:   {kmskey.ED25519SHA512},
		0:             {kmskey.ED25519SHA512},
	} {
		if got := Defaults(hash); !slices.Equal(got, want) {
			t.Errorf("%d: got %v, expected %v", hash, got, want)
		}
	}
	for _, spec := range kmskey.KeySpecs() { // what is chosen must be one algorithm
		all := spec.SigningAlgorithms()
		chosen := slices.DeleteFunc(Defaults(crypto.SHA256), func(a kmskey.SigningAlgorithm) bool { return !slices.Contains(all, a) })
		if len(all) > 1 && len(chosen) != 1 {
			t.Errorf("%s: %v of %v", spec, chosen, all)
		}
	}
}

func TestCheckOptions(t *testing.T) {
	for name, c := range map[string]struct {
		keyVersion string
		remote     bool
		says       string
	}{
		"neither":       {"", false, ""},
		"a key version": {"1", false, `the key version "1" is asked for, but KMS keys have no versions`},
		"remote":        {"", true, "calls nobody"},
		"both":          {"1", true, "no versions"},
	} {
		err := CheckOptions(c.keyVersion, c.remote)
		if (err == nil) != (c.says == "") {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && (!kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), c.says) || kmserr.As(err).Hint == "") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
