package notationwire

import "github.com/awskms-offline/awskms-offline/verifier/kmskey"

// MaxCertificates is how many certificates of a chain the verifying plugin takes, and so the most that is signed with.
const MaxCertificates = 32

// KeySpecs are those that Algorithm knows, as a person reads them.
const KeySpecs = "RSA_2048, RSA_3072, RSA_4096 and ECC_NIST_P256, P384, P521"

// Algorithm returns the one signing algorithm that Notation has for keys of a spec (Notary Project,
// signature-specification.md, "Algorithm Selection"). false: it has none.
func Algorithm(spec kmskey.KeySpec) (kmskey.SigningAlgorithm, bool) {
	switch spec {
	case kmskey.RSA2048:
		return kmskey.RSASSAPSSSHA256, true
	case kmskey.RSA3072:
		return kmskey.RSASSAPSSSHA384, true
	case kmskey.RSA4096:
		return kmskey.RSASSAPSSSHA512, true
	case kmskey.ECCNISTP256:
		return kmskey.ECDSASHA256, true
	case kmskey.ECCNISTP384:
		return kmskey.ECDSASHA384, true
	case kmskey.ECCNISTP521:
		return kmskey.ECDSASHA512, true
	}
	return "", false
}
