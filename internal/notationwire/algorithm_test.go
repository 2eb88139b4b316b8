package notationwire

import (
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestAlgorithms: the table says what Notation's specification does, and KeySpecs what the table does.
func TestAlgorithms(t *testing.T) {
	want := map[kmskey.KeySpec]kmskey.SigningAlgorithm{
		"RSA_2048": "RSASSA_PSS_SHA_256", "RSA_3072": "RSASSA_PSS_SHA_384", "RSA_4096": "RSASSA_PSS_SHA_512",
		"ECC_NIST_P256": "ECDSA_SHA_256", "ECC_NIST_P384": "ECDSA_SHA_384", "ECC_NIST_P521": "ECDSA_SHA_512",
	}
	named := strings.Split(strings.NewReplacer(" and ", ", ", " P", " ECC_NIST_P").Replace(KeySpecs), ", ")
	for _, spec := range append(kmskey.KeySpecs(), "", "RSA_1024") {
		alg, there := Algorithm(spec)
		if alg != want[spec] || there != (want[spec] != "") {
			t.Errorf("%s: got %s, %t", spec, alg, there)
		}
		if slices.Contains(named, string(spec)) != there {
			t.Errorf("%s: the table has it: %t, and %q does not say so", spec, there, KeySpecs)
		}
		if there && !slices.Contains(spec.SigningAlgorithms(), alg) {
			t.Errorf("%s is no algorithm of %s", alg, spec)
		}
	}
	if len(named) != len(want) {
		t.Errorf("%q names %d specs, expected %d", KeySpecs, len(named), len(want))
	}
}
