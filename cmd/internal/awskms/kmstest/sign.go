package kmstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	maxMessage   = 4096 // bytes of a message in Sign and Verify
	maxSignature = 6144 // bytes of a signature in Verify
	muSize       = 64   // bytes of an ML-DSA message representative (FIPS 204, algorithm 2)
)

type signAnswer struct {
	KeyId            string
	Signature        []byte
	SigningAlgorithm string
}

type verifyAnswer struct {
	KeyId            string
	SignatureValid   bool
	SigningAlgorithm string
}

// signing is a signing or verification request that has passed every check.
type signing struct {
	arn         string
	material    *Material
	algorithm   string
	messageType string
	message     []byte
}

func (s *Server) sign(c *call) (any, *Error) {
	request, e := s.signing(c)
	if e != nil {
		return nil, e
	}
	if request.material.private == nil {
		return nil, &Error{Code: InternalFailure.Code, Status: InternalFailure.Status,
			Message: "kmstest: the fake has only the public key of " + request.arn}
	}
	if e := dryRun(c); e != nil {
		return nil, e
	}
	signature, err := request.sign()
	if err != nil {
		panic(fmt.Sprintf("kmstest: %s with %s: %v", request.algorithm, request.material.spec, err))
	}
	return &signAnswer{KeyId: request.arn, Signature: signature, SigningAlgorithm: request.algorithm}, nil
}

// verify answers as KMS does: a signature that is not valid is an error without a text, never "SignatureValid": false.
func (s *Server) verify(c *call) (any, *Error) {
	switch signature := c.in.Signature; {
	case signature == nil:
		return nil, constraint(nil, "signature", "not be null")
	case len(*signature) < 1:
		return nil, constraint(*signature, "signature", "have length greater than or equal to 1")
	case len(*signature) > maxSignature:
		return nil, constraint(*signature, "signature", fmt.Sprintf("have length less than or equal to %d", maxSignature))
	}
	request, e := s.signing(c)
	if e != nil {
		return nil, e
	}
	if request.messageType == "EXTERNAL_MU" {
		return nil, &Error{Code: "UnsupportedOperationException", Message: "kmstest: the fake cannot verify EXTERNAL_MU"}
	}
	if !request.verify(*c.in.Signature) {
		return nil, &Error{Code: "KMSInvalidSignatureException"}
	}
	if e := dryRun(c); e != nil {
		return nil, e
	}
	return &verifyAnswer{KeyId: request.arn, SignatureValid: true, SigningAlgorithm: request.algorithm}, nil
}

func dryRun(c *call) *Error {
	if c.in.DryRun == nil || !*c.in.DryRun {
		return nil
	}
	return &Error{Code: "DryRunOperationException", Message: "The request would have succeeded, but the DryRun option is set."}
}

// signing makes the checks that Sign and Verify have in common: first those of the request's form, then those of the key.
func (s *Server) signing(c *call) (*signing, *Error) {
	if c.in.Message == nil {
		return nil, constraint(nil, "message", "not be null")
	}
	message := *c.in.Message
	if len(message) < 1 {
		return nil, constraint(message, "message", "have length greater than or equal to 1")
	}
	if len(message) > maxMessage {
		return nil, constraint(message, "message", fmt.Sprintf("have length less than or equal to %d", maxMessage))
	}
	if c.in.SigningAlgorithm == nil {
		return nil, constraint(nil, "signingAlgorithm", "not be null")
	}
	algorithm, messageType := *c.in.SigningAlgorithm, "RAW"
	if !slices.Contains(signingAlgorithms, algorithm) {
		return nil, notOneOf(algorithm, "signingAlgorithm", signingAlgorithms)
	}
	if c.in.MessageType != nil {
		if messageType = *c.in.MessageType; !slices.Contains(messageTypes, messageType) {
			return nil, notOneOf(messageType, "messageType", messageTypes)
		}
	}

	s.mu.RLock()
	defer s.mu.RUnlock()
	k, e := s.keyOf(c, anywhere)
	if e != nil {
		return nil, e
	}
	if k.state.Name != "Enabled" && k.state.Name != "Updating" {
		return nil, stateError(k)
	}
	if k.usage != SignVerify {
		return nil, &Error{Code: "InvalidKeyUsageException",
			Message: fmt.Sprintf("%s key usage is %s which is not valid for %s.", k.arn(), k.usage, c.operation)}
	}
	if !slices.Contains(k.algorithms(), algorithm) {
		return nil, &Error{Code: "InvalidKeyUsageException",
			Message: fmt.Sprintf("Algorithm %s is incompatible with key spec %s.", algorithm, k.spec)}
	}
	if e := checkMessage(k.spec, algorithm, messageType, message); e != nil {
		return nil, e
	}
	return &signing{arn: k.arn(), material: k.material, algorithm: algorithm, messageType: messageType, message: message}, nil
}

// checkMessage tells whether the message type goes with the key, and the message's length with both.
func checkMessage(spec, algorithm, messageType string, message []byte) *Error {
	isMLDSA := algorithm == "ML_DSA_SHAKE_256"
	switch {
	case isMLDSA && messageType == "DIGEST", !isMLDSA && messageType == "EXTERNAL_MU":
		return validation("Message type %s is incompatible with key spec %s.", messageType, spec)
	case algorithm == "ED25519_SHA_512" && messageType != "RAW", algorithm == "ED25519_PH_SHA_512" && messageType != "DIGEST":
		return validation("Message type %s is incompatible with algorithm %s.", messageType, algorithm)
	case messageType == "EXTERNAL_MU" && len(message) != muSize:
		return validation("External Mu is invalid length for algorithm %s.", algorithm)
	case messageType == "DIGEST" && len(message) != digestSize(algorithm):
		return validation("Digest is invalid length for algorithm %s.", algorithm)
	}
	return nil
}

// hashOf is the hash function of an RSA, ECDSA or Ed25519 algorithm.
func hashOf(algorithm string) crypto.Hash {
	switch {
	case strings.HasSuffix(algorithm, "SHA_256"):
		return crypto.SHA256
	case strings.HasSuffix(algorithm, "SHA_384"):
		return crypto.SHA384
	}
	return crypto.SHA512
}

// digestSize is the length in bytes of a DIGEST message.
func digestSize(algorithm string) int {
	if algorithm == "SM2DSA" {
		return 32 // SM3
	}
	return hashOf(algorithm).Size()
}

// digest is what an RSA or ECDSA algorithm signs.
func (r *signing) digest() []byte {
	if r.messageType == "DIGEST" {
		return r.message
	}
	switch hashOf(r.algorithm) {
	case crypto.SHA256:
		sum := sha256.Sum256(r.message)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(r.message)
		return sum[:]
	}
	sum := sha512.Sum512(r.message)
	return sum[:]
}

// sm2Digest is e of GB/T 32918.2: for a RAW message with the default distinguishing ID 1234567812345678, the only one
// that KMS has.
func (r *signing) sm2Digest(public *ecdsa.PublicKey) ([]byte, error) {
	if r.messageType == "DIGEST" {
		return r.message, nil
	}
	return sm2.CalculateSM2Hash(public, r.message, []byte("1234567812345678"))
}

func (r *signing) pss() *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hashOf(r.algorithm)}
}

// ed25519Options are those of the algorithm, and the message that goes with them. KMS hashes what ED25519_PH_SHA_512 is
// given once more, as the first step of Ed25519ph wants it, although it was given a digest.
func (r *signing) ed25519Options() (*ed25519.Options, []byte) {
	if r.algorithm == "ED25519_SHA_512" {
		return &ed25519.Options{}, r.message
	}
	again := sha512.Sum512(r.message)
	return &ed25519.Options{Hash: crypto.SHA512}, again[:]
}

func (r *signing) sign() ([]byte, error) {
	switch private := r.material.private.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(r.algorithm, "RSASSA_PSS") {
			return rsa.SignPSS(rand.Reader, private, hashOf(r.algorithm), r.digest(), r.pss())
		}
		return rsa.SignPKCS1v15(nil, private, hashOf(r.algorithm), r.digest())
	case *ecdsa.PrivateKey:
		return ecdsa.SignASN1(rand.Reader, private, r.digest())
	case ed25519.PrivateKey:
		options, message := r.ed25519Options()
		return private.Sign(nil, message, options)
	case *secp256k1.PrivateKey:
		return signSecp256k1(private, r.digest())
	case *sm2.PrivateKey:
		digest, err := r.sm2Digest(&private.PublicKey)
		if err != nil {
			return nil, err
		}
		return sm2.SignASN1(rand.Reader, private, digest, nil)
	case *mldsa.PrivateKey:
		if r.messageType == "EXTERNAL_MU" {
			return private.Sign(nil, r.message, mldsacrypto.MLDSAMu)
		}
		return private.Sign(nil, r.message, nil)
	}
	return nil, fmt.Errorf("a %T signs nothing", r.material.private)
}

// signSecp256k1 makes a signature whose s is the larger or the smaller of the two possible, by a coin: decred makes the
// smaller always, KMS either.
func signSecp256k1(private *secp256k1.PrivateKey, digest []byte) ([]byte, error) {
	signature := k1ecdsa.Sign(private, digest)
	r, sValue := signature.R(), signature.S()
	coin := make([]byte, 1)
	rand.Read(coin)
	if coin[0]&1 == 1 {
		sValue.Negate()
	}
	// Not Signature.Serialize, which makes s small.
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, scalar := range []secp256k1.ModNScalar{r, sValue} {
			value := scalar.Bytes()
			b.AddASN1BigInt(bigInt(value[:]))
		}
	})
	return b.Bytes()
}

func (r *signing) verify(signature []byte) bool {
	switch public := r.material.public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(r.algorithm, "RSASSA_PSS") {
			return rsa.VerifyPSS(public, hashOf(r.algorithm), r.digest(), signature, r.pss()) == nil
		}
		return rsa.VerifyPKCS1v15(public, hashOf(r.algorithm), r.digest(), signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, r.digest(), signature)
	case ed25519.PublicKey:
		options, message := r.ed25519Options()
		return ed25519.VerifyWithOptions(public, message, signature, options) == nil
	case *secp256k1.PublicKey:
		parsed, err := k1ecdsa.ParseDERSignature(signature)
		return err == nil && parsed.Verify(r.digest(), public)
	case *sm2Public:
		digest, err := r.sm2Digest(public.key)
		return err == nil && sm2.VerifyASN1(public.key, digest, signature)
	case *mldsa.PublicKey:
		return mldsa.Verify(public, r.message, signature, nil) == nil
	}
	panic(errors.New("kmstest: this key verifies nothing"))
}

func bigInt(value []byte) *big.Int { return new(big.Int).SetBytes(value) }
