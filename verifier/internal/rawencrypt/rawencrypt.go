// Package rawencrypt encrypts with a public key so that KMS Decrypt decrypts: this plaintext, for this key, with this
// algorithm of KMS's. It knows nothing of records, states or policy; only package verifier calls it, after everything else
// was permitted.
//
// RSAES_OAEP_SHA_1 and RSAES_OAEP_SHA_256 are RSAES-OAEP of RFC 8017, section 7.1, with the named hash for MGF1 as well and
// an empty label; the ciphertext is as long as the modulus. SM2PKE is the public-key encryption of GB/T 32918.4, its
// ciphertext in the form of GM/T 0009-2012, section 7.2, which is the one that KMS decrypts:
//
//	SEQUENCE { INTEGER x1, INTEGER y1, OCTET STRING C3 (32 bytes), OCTET STRING C2 (as long as the plaintext) }
//
// Both are randomized: the same plaintext never has the same ciphertext twice.
package rawencrypt

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RSAES_OAEP_SHA_1 is KMS's; OAEP needs no resistance to collisions
	"crypto/sha256"
	"errors"
	"hash"
	"slices"

	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Encrypt returns the ciphertext of plaintext for pub with alg.
//
// InvalidKeyUsageException: the algorithm is not one of the key spec's. ValidationException: the plaintext is empty, which
// KMS refuses, or longer than alg.MaxPlaintext of the spec. InternalException: the key holds no material of its spec, or
// the library failed. No error holds a part of the plaintext.
func Encrypt(pub *spki.PublicKey, alg kmskey.EncryptionAlgorithm, plaintext []byte) ([]byte, error) {
	if pub == nil {
		return nil, kmserr.New(kmserr.Internal, "there is no public key to encrypt with")
	}
	spec := kmskey.KeySpec(pub.Spec)
	if !slices.Contains(spec.EncryptionAlgorithms(), alg) {
		return nil, kmserr.New(kmserr.InvalidKeyUsage, "Algorithm %s is incompatible with key spec %s", alg, spec)
	}
	if err := checkLength(spec, alg, len(plaintext)); err != nil {
		return nil, err
	}
	var ciphertext []byte
	var err error
	switch {
	case alg == kmskey.SM2PKE && pub.SM2 != nil && pub.SM2.Curve == sm2.P256():
		ciphertext, err = encryptSM2(pub.SM2, plaintext)
	case alg == kmskey.RSAESOAEPSHA1 && pub.RSA != nil:
		ciphertext, err = oaep(sha1.New(), pub.RSA, plaintext)
	case alg == kmskey.RSAESOAEPSHA256 && pub.RSA != nil:
		ciphertext, err = oaep(sha256.New(), pub.RSA, plaintext)
	default:
		return nil, kmserr.New(kmserr.Internal, "the key of spec %s does not hold the material of that spec", spec)
	}
	if err != nil {
		return nil, kmserr.New(kmserr.Internal, "%s failed: %v", alg, err).WithCause(err)
	}
	return ciphertext, nil
}

// encryptSM2 begins anew where the library would go on with another random scalar. It must where the stream that hides the
// plaintext is all zeros (GB/T 32918.4, section 6.1, A5), which happens to one plaintext of one byte in 256; but gmsm 0.44 has
// by then written over the public key, and nobody could decrypt what it makes of that.
func encryptSM2(pub *ecdsa.PublicKey, plaintext []byte) (ciphertext []byte, err error) {
	for range 100 { // as often as the library
		ciphertext, err = sm2.EncryptASN1(new(oneScalar), pub, plaintext)
		if !errors.Is(err, errSecondScalar) {
			break
		}
	}
	return ciphertext, err
}

// oneScalar is crypto/rand for one scalar of the SM2 curve, which the library reads at once.
type oneScalar struct{ read bool }

var errSecondScalar = errors.New("a second random scalar was asked for")

func (s *oneScalar) Read(b []byte) (int, error) {
	if s.read {
		return 0, errSecondScalar
	}
	s.read = true
	return rand.Read(b)
}

func oaep(h hash.Hash, pub *rsa.PublicKey, plaintext []byte) ([]byte, error) {
	return rsa.EncryptOAEP(h, rand.Reader, pub, plaintext, nil)
}

// checkLength refuses a plaintext of n bytes that KMS does not take with alg and a key of this spec, and says how many it
// may have. n is what was read, which may be one byte more than allowed.
func checkLength(spec kmskey.KeySpec, alg kmskey.EncryptionAlgorithm, n int) error {
	most := alg.MaxPlaintext(spec)
	switch {
	case n == 0:
		return kmserr.New(kmserr.Validation, "the plaintext is empty, and %s takes 1 to %d bytes with a key of spec %s", alg, most, spec)
	case n > most:
		return kmserr.New(kmserr.Validation, "the plaintext is longer than the %d bytes that %s takes with a key of spec %s", most, alg, spec).
			WithHint("Encrypt the data with a symmetric key of your own, and that key with this one.")
	}
	return nil
}
