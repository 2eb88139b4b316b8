package sigstoreverifier

import (
	"crypto"
	"crypto/x509"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// PublicKey is a public key of a spec that the standard library does not know: ECC_SECG_P256K1, SM2 or ML-DSA. It has a
// type of its own, and not that of the library that computes with it, because an SM2 key is an *ecdsa.PublicKey there:
// code that switches on types would verify ECDSA with it. For this type such code says that it does not know it, while
// code that only hands keys on, as sigstore-go does it for attestations, works. The zero value is no key.
type PublicKey struct {
	spec kmskey.KeySpec
	der  string
}

// KeySpec returns KMS's name for the kind of key.
func (k PublicKey) KeySpec() kmskey.KeySpec { return k.spec }

// DER returns the SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), the bytes of GetPublicKey's PublicKey.
func (k PublicKey) DER() []byte { return []byte(k.der) }

// String returns the kind of key, for logs and error texts.
func (k PublicKey) String() string { return string(k.spec) + " public key" }

// Equal reports whether x is the same key. The zero value equals nothing.
func (k PublicKey) Equal(x crypto.PublicKey) bool {
	other, ok := x.(PublicKey)
	return ok && k.der != "" && k == other
}

// publicKey returns the key in the type that sigstore's callers know, where there is one.
func publicKey(authorized *verifier.Authorized) (crypto.PublicKey, error) {
	der, spec := authorized.PublicKeyDER(), kmskey.KeySpec(authorized.Decision().KeySpec)
	if len(der) == 0 {
		return nil, kmserr.New(kmserr.Internal, "the verifier gave neither a key nor a reason")
	}
	switch spec {
	case kmskey.ECCSECGP256K1, kmskey.SM2, kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87:
		return PublicKey{spec: spec, der: string(der)}, nil
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, kmserr.New(kmserr.UnsupportedOperation, "Go's standard library cannot read the public key of spec %s: %v", spec, err).
			WithKey(authorized.ARN().String()).WithCause(err)
	}
	return key, nil
}
