// Package sigstorerules is what the KMS plugin for sigstore's clients and the adapter for programs on sigstore-go must answer
// alike: by which algorithm a signature is verified that names none, and what cannot be honoured of a call.
package sigstorerules

import (
	"crypto"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Defaults are the algorithms for key specs that have several: what cosign itself signs with. Nothing in a call names RSA's
// padding; hash is the one that the user named. One that KMS has not chooses no algorithm for RSA.
func Defaults(hash crypto.Hash) []kmskey.SigningAlgorithm {
	defaults := []kmskey.SigningAlgorithm{kmskey.ED25519SHA512}
	switch hash {
	case crypto.SHA256:
		defaults = append(defaults, kmskey.RSASSAPKCS1SHA256)
	case crypto.SHA384:
		defaults = append(defaults, kmskey.RSASSAPKCS1SHA384)
	case crypto.SHA512:
		defaults = append(defaults, kmskey.RSASSAPKCS1SHA512)
	}
	return defaults
}

// CheckOptions refuses a key version, and verification by a server.
func CheckOptions(keyVersion string, remote bool) error {
	switch {
	case keyVersion != "":
		return kmserr.New(kmserr.Validation, "the key version %q is asked for, but KMS keys have no versions that sign", keyVersion).
			WithHint("Name another key, or an alias, instead.")
	case remote:
		return kmserr.New(kmserr.Validation, "remote verification is asked for, but this verifier calls nobody").
			WithHint("Leave it out, or use sigstore's awskms:// to verify in AWS KMS.")
	}
	return nil
}
