// Package rawverify checks signatures: this signature, over this input, by this public key, with this algorithm of KMS's.
// It knows nothing of records, states or policy; only package verifier calls it, after everything else was permitted.
//
// # The input
//
// A message has three forms, and the message type says which one the input is, never how KMS was called:
//
//   - unset or RAW: the message. With ED25519_PH_SHA_512 it is hashed, and the digest hashed again, as KMS does; RAW said
//     explicitly is refused there, as by KMS.
//   - DIGEST: exactly the bytes of the hash, never their hexadecimal or base64 text.
//   - EXTERNAL_MU: the 64 bytes of ML-DSA's μ. Its length is checked and then it is refused: see mldsa.go.
//
// Messages are streamed in constant memory for RSA, ECDSA, SM2 and Ed25519ph. Pure Ed25519 and ML-DSA need the message in
// memory, up to Options.MaxMessage.
//
// # What the libraries leave to their caller
//
// crypto/ecdsa, decred's secp256k1 and gmsm cut a digest that is too long, so that hash‖junk verifies: here a digest is a
// type that cannot have another length than its algorithm's. ECDSA and SM2 signatures must be DER in its one form, both
// numbers within 1 and the order less one; low S is not demanded, for KMS makes high ones. PSS demands a salt of exactly
// the hash's length. Every length is checked before a library sees the bytes: crypto/ed25519 panics on keys that are not
// 32 bytes long.
//
// # Answers
//
// A nil error is the only yes. KMSInvalidSignatureException is the no, an ill-formed signature included, whose fact says
// what is ill-formed. ValidationException: the call makes no sense (an input of the wrong length, an empty signature, a
// message type the algorithm does not take). InvalidKeyUsageException: the algorithm is not one of the key spec's.
// UnsupportedOperationException: cannot be verified offline. DeadlineExceededException: ctx ended first; it is looked at
// between reads, so an input whose Read blocks must be bounded by who opened it.
package rawverify

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"io"
	"slices"
	"strconv"

	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// DefaultMaxMessage is the longest message, in bytes, that pure Ed25519 and ML-DSA take if nothing else is said.
const DefaultMaxMessage = 256 << 20

// Options is everything besides key, algorithm, input and signature. The zero value is KMS's own behaviour.
type Options struct {
	// DistinguishingID is SM2's user ID. Not given means 1234567812345678; given and empty means empty. It belongs to a
	// message: with another algorithm, or with DIGEST, which holds its ID already, a given one is refused.
	DistinguishingID kmskey.DistinguishingID
	// ENTL is the rule by which SM2's ID is counted. Like the ID it is refused where it would have no effect.
	ENTL kmskey.ENTL
	// MaxMessage is the longest message in bytes for pure Ed25519 and ML-DSA; 0 or less means DefaultMaxMessage, and the
	// largest number one less.
	MaxMessage int64
}

// Limit is how long a message may be that is held, in bytes: at least 1, and small enough that one more is a number too.
func (o Options) Limit() int64 {
	if o.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return min(o.MaxMessage, unlimited)
}

// Facts is what the log tells about the input. It is zero unless the input was read to its end.
type Facts struct {
	// Bytes is the input's length, and SHA256 the SHA-256 of its bytes as they were read: of the message, or of the digest.
	Bytes  int64
	SHA256 [sha256.Size]byte
}

// Verify reports by a nil error that signature is one of pub over input with alg. It reads input to its end, once, unless
// the call itself is refused or the input is longer than it may be. Facts are set also where the answer is no.
//
// signature is in KMS's encoding: DER for ECDSA and SM2 (RFC 3279, section 2.2.3; GM/T 0009), the bare bytes of RFC 8017,
// RFC 8032 and FIPS 204 otherwise. See the package comment for the errors.
func Verify(ctx context.Context, pub *spki.PublicKey, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, input io.Reader, signature []byte, opts Options) (Facts, error) {
	if err := checkKey(pub, alg); err != nil {
		return Facts{}, err
	}
	if err := checkType(alg, typ); err != nil {
		return Facts{}, err
	}
	if err := CheckOptions(alg, typ, opts); err != nil {
		return Facts{}, err
	}
	switch {
	case input == nil:
		return Facts{}, kmserr.New(kmserr.Validation, "there is no input to verify")
	case len(signature) == 0:
		return Facts{}, kmserr.New(kmserr.Validation, "the signature is empty")
	}

	switch alg {
	case kmskey.ED25519SHA512:
		return verifyEd25519(ctx, pub.Ed25519, typ, input, signature, opts)
	case kmskey.MLDSASHAKE256:
		return verifyMLDSA(ctx, pub.MLDSA, typ, input, signature, opts)
	case kmskey.SM2DSA:
		return verifySM2(ctx, pub.SM2, typ, input, signature, opts)
	}
	d, facts, err := readDigest(ctx, alg, typ, input)
	if err != nil {
		return facts, err
	}
	switch {
	case alg == kmskey.ED25519PHSHA512:
		err = verifyEd25519ph(pub.Ed25519, typ, d, signature)
	case pub.RSA != nil:
		err = verifyRSA(pub.RSA, alg, typ, d, signature)
	case pub.ECDSA != nil:
		err = verifyECDSA(pub.ECDSA, alg, typ, d, signature)
	case pub.Secp256k1 != nil:
		err = verifySecp256k1(pub.Secp256k1, alg, typ, d, signature)
	default:
		err = kmserr.New(kmserr.Internal, "no check is known for %s with key spec %s", alg, pub.Spec)
	}
	return facts, err
}

// Digest computes what is handed to KMS Sign in place of message, in constant memory, and the message type to say with
// it: DIGEST with the hash (for SM2 e, with the key and the distinguishing ID in it), or EXTERNAL_MU with ML-DSA's μ of 64
// bytes. ED25519_SHA_512 has no such form: UnsupportedOperationException.
func Digest(ctx context.Context, pub *spki.PublicKey, alg kmskey.SigningAlgorithm, message io.Reader, opts Options) ([]byte, kmskey.MessageType, error) {
	if err := checkKey(pub, alg); err != nil {
		return nil, "", err
	}
	if err := CheckOptions(alg, kmskey.MessageTypeUnset, opts); err != nil {
		return nil, "", err
	}
	if message == nil {
		return nil, "", kmserr.New(kmserr.Validation, "there is no message to digest")
	}
	var sum []byte
	var err error
	typ := kmskey.Digest
	switch alg {
	case kmskey.ED25519SHA512:
		return nil, "", kmserr.New(kmserr.UnsupportedOperation, "%s signs the message itself and has no digest", alg).
			WithHint("Hand KMS Sign the message with MessageType RAW (up to 4096 bytes), or use %s, which takes a digest.", kmskey.ED25519PHSHA512)
	case kmskey.MLDSASHAKE256:
		typ = kmskey.ExternalMu
		sum, err = externalMu(ctx, pub.MLDSA, message)
	case kmskey.SM2DSA:
		h := newSM2Hash(pub.SM2, opts.DistinguishingID, opts.ENTL)
		if _, err = stream(ctx, message, "message", unlimited, h); err == nil {
			sum = h.Sum(nil)
		}
	default:
		h := alg.Hash().New()
		if _, err = stream(ctx, message, "message", unlimited, h); err == nil {
			sum = h.Sum(nil)
		}
	}
	if err != nil {
		return nil, "", err
	}
	return sum, typ, nil
}

// checkKey refuses an algorithm that is not the key spec's, and a key whose material is not what its spec says: spki.Parse
// makes no such key, but some libraries panic on one.
func checkKey(pub *spki.PublicKey, alg kmskey.SigningAlgorithm) error {
	if pub == nil {
		return kmserr.New(kmserr.Internal, "there is no public key to verify with")
	}
	if !alg.Known() {
		return kmserr.New(kmserr.Validation, "the signing algorithm %q is none of KMS's: %s", string(alg), kmskey.JoinNames(kmskey.SigningAlgorithms()))
	}
	spec := kmskey.KeySpec(pub.Spec)
	takes := spec.SigningAlgorithms()
	if !slices.Contains(takes, alg) {
		e := kmserr.New(kmserr.InvalidKeyUsage, "Algorithm %s is incompatible with key spec %s", alg, spec)
		if len(takes) == 0 {
			return e.WithHint("A key of this spec verifies nothing.")
		}
		return e.WithHint("This key spec takes %s.", kmskey.JoinNames(takes))
	}
	if !holds(pub, spec) {
		return kmserr.New(kmserr.Internal, "the key of spec %s does not hold the material of that spec", spec)
	}
	return nil
}

func holds(pub *spki.PublicKey, spec kmskey.KeySpec) bool {
	ec := func(c elliptic.Curve) bool { return pub.ECDSA != nil && pub.ECDSA.Curve == c }
	switch spec {
	case kmskey.RSA2048, kmskey.RSA3072, kmskey.RSA4096:
		return pub.RSA != nil && pub.RSA.N != nil && "RSA_"+strconv.Itoa(pub.RSA.N.BitLen()) == string(spec)
	case kmskey.ECCNISTP256:
		return ec(elliptic.P256())
	case kmskey.ECCNISTP384:
		return ec(elliptic.P384())
	case kmskey.ECCNISTP521:
		return ec(elliptic.P521())
	case kmskey.ECCSECGP256K1:
		return pub.Secp256k1 != nil
	case kmskey.ECCNISTEdwards25519:
		return len(pub.Ed25519) == ed25519.PublicKeySize
	case kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87:
		size, _ := mldsaOf(pub.MLDSA)
		return size > 0
	case kmskey.SM2:
		return pub.SM2 != nil && pub.SM2.Curve == sm2.P256()
	}
	return false
}

func checkType(alg kmskey.SigningAlgorithm, typ kmskey.MessageType) error {
	switch {
	case typ == kmskey.MessageTypeUnset:
		return nil
	case !slices.Contains(kmskey.MessageTypes(), typ):
		return kmserr.New(kmserr.Validation, "the message type %q is none of KMS's: %s", string(typ), kmskey.JoinNames(kmskey.MessageTypes()))
	case !alg.Takes(typ):
		e := kmserr.New(kmserr.Validation, "Message type %s is incompatible with algorithm %s", typ, alg)
		if typ == kmskey.Raw {
			return e.WithHint("Leave the message type out: the file is then the message, and is hashed as KMS and its caller did.")
		}
		return e.WithHint("Give the message itself and leave the message type out.")
	}
	return nil
}

// CheckOptions refuses an SM2 option that would have no effect: whoever gave it expects one. Verify and Digest ask it first.
func CheckOptions(alg kmskey.SigningAlgorithm, typ kmskey.MessageType, opts Options) error {
	option := ""
	switch {
	case opts.DistinguishingID.Given():
		option = "a distinguishing ID"
	case opts.ENTL != kmskey.ENTLStandard:
		option = "an ENTL rule"
	default:
		return nil
	}
	switch {
	case alg != kmskey.SM2DSA:
		return kmserr.New(kmserr.Validation, "%s is given, which is for %s and not for %s", option, kmskey.SM2DSA, alg).
			WithHint("Leave the SM2 options out.")
	case typ == kmskey.Digest:
		return kmserr.New(kmserr.Validation, "%s is given with message type DIGEST, which holds its ID already", option).
			WithHint("Leave the SM2 options out, or give the message itself and leave the message type out.")
	case opts.ENTL != kmskey.ENTLStandard && opts.ENTL != kmskey.ENTLAWSJavaHelper:
		return kmserr.New(kmserr.Validation, "the ENTL rule %d is none that is known", int(opts.ENTL))
	}
	return nil
}

// refused is the plain no.
func refused(alg kmskey.SigningAlgorithm, typ kmskey.MessageType) *kmserr.Error {
	return kmserr.New(kmserr.InvalidSignature, "the signature is not one of this key over this %s with %s", inputName(typ), alg).WithCure()
}

// illFormed is the no to bytes that are no signature of the algorithm at all.
func illFormed(alg kmskey.SigningAlgorithm, fault string) *kmserr.Error {
	return kmserr.New(kmserr.InvalidSignature, "the signature is ill-formed for %s: %s", alg, fault).
		WithHint("Give the signature's bytes as KMS made them; its JSON answers hold them in base64.")
}

// checkLength refuses a signature whose length alone tells that it is none.
func checkLength(alg kmskey.SigningAlgorithm, signature []byte, want int) error {
	if len(signature) != want {
		return illFormed(alg, "it is "+strconv.Itoa(len(signature))+" bytes long, expected exactly "+strconv.Itoa(want))
	}
	return nil
}
