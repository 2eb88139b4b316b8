package kmstest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

var message = []byte("the quick brown fox jumps over the lazy dog")

// digestFor is the DIGEST form of the message.
func digestFor(t testing.TB, algorithm string, m *kmstest.Material) []byte {
	t.Helper()
	switch {
	case algorithm == "SM2DSA":
		return sm2Digest(t, m)
	case strings.HasSuffix(algorithm, "SHA_256"):
		sum := sha256.Sum256(message)
		return sum[:]
	case strings.HasSuffix(algorithm, "SHA_384"):
		sum := sha512.Sum384(message)
		return sum[:]
	}
	sum := sha512.Sum512(message)
	return sum[:]
}

// sm2Digest is e = SM3(ZA || M) of GB/T 32918.2 with the default ID, put together by hand.
func sm2Digest(t testing.TB, m *kmstest.Material) []byte {
	t.Helper()
	spki := m.PublicKey()
	point := spki[len(spki)-64:]
	id := "1234567812345678"
	var za []byte
	za = append(za, 0, byte(8*len(id)))
	za = append(za, id...)
	for _, x := range []string{
		"fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc", // a
		"28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93", // b
		"32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7", // xG
		"bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0", // yG
	} {
		n, _ := new(big.Int).SetString(x, 16)
		za = append(za, n.FillBytes(make([]byte, 32))...)
	}
	za = append(za, point...)
	sum := sm3.Sum(za)
	e := sm3.Sum(append(sum[:], message...))
	return e[:]
}

// mu is the message representative of FIPS 204, algorithm 7, for an empty context.
func mu(t testing.TB, m *kmstest.Material) []byte {
	t.Helper()
	public, err := mldsax509.ParsePKIXPublicKey(m.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	tr := sha3.SumSHAKE256(public.(*mldsa.PublicKey).Bytes(), 64)
	return sha3.SumSHAKE256(append(append(tr, 0, 0), message...), 64)
}

// TestSign signs with every algorithm of every spec, in every form of the message, and has the signature judged by the
// fake's Verify in every form: RAW, DIGEST and EXTERNAL_MU signatures of one message are the same.
func TestSign(t *testing.T) {
	s := kmstest.Start(t)
	ctx := context.Background()
	c := standard(t, s)
	signed := 0
	for spec, m := range signingKeys(t) {
		arn := s.AddKey(kmstest.Key{Material: m, Aliases: []string{"alias/" + spec}})
		described, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
		if err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range described.KeyMetadata.SigningAlgorithms {
			algorithm := string(algorithm)
			forms := map[string][]byte{"RAW": message, "DIGEST": digestFor(t, algorithm, m)}
			switch algorithm {
			case "ML_DSA_SHAKE_256":
				forms = map[string][]byte{"RAW": message, "EXTERNAL_MU": mu(t, m)}
			case "ED25519_SHA_512":
				forms = map[string][]byte{"RAW": message}
			case "ED25519_PH_SHA_512":
				forms = map[string][]byte{"DIGEST": digestFor(t, algorithm, m)}
			}
			for messageType, form := range forms {
				answer, err := c.Sign(ctx, signInput("alias/"+spec, algorithm, messageType, form))
				if err != nil {
					t.Fatalf("%s %s: %v", algorithm, messageType, err)
				}
				signed++
				if *answer.KeyId != arn || string(answer.SigningAlgorithm) != algorithm {
					t.Errorf("%s: %+v", algorithm, answer)
				}
				for verifyType, verifyForm := range forms {
					verified, err := c.Verify(ctx, verifyInput(arn, algorithm, verifyType, verifyForm, answer.Signature))
					if verifyType == "EXTERNAL_MU" {
						wantError(t, err, "UnsupportedOperationException", "kmstest: the fake cannot verify EXTERNAL_MU", 400)
						continue
					}
					if err != nil || !verified.SignatureValid || *verified.KeyId != arn {
						t.Errorf("%s signed as %s verified as %s: %v", algorithm, messageType, verifyType, err)
					}
					other := bytes.Clone(verifyForm)
					other[0] ^= 1
					_, err = c.Verify(ctx, verifyInput(arn, algorithm, verifyType, other, answer.Signature))
					wantError(t, err, "KMSInvalidSignatureException", "", 400)
				}
			}
		}
	}
	if want := 3*6*2 + 3*2 + 2 + 2 + 2 + 3*2; signed != want {
		t.Errorf("%d signatures, want %d", signed, want)
	}
}

// TestCaptured has the fake verify the signatures of the real service; their keys are known by the public half only.
func TestCaptured(t *testing.T) {
	var file struct {
		Vectors []struct {
			KeySpec, SigningAlgorithm, SignedWithMessageType, MessageUTF8 string
			PublicKey, Signature                                          []byte
		}
	}
	if err := json.Unmarshal(read(t, filepath.Join(testdata, "vectors", "native-kms.json")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 3 {
		t.Fatalf("%d vectors, want at least 3", len(file.Vectors))
	}
	s := kmstest.Start(t)
	c := standard(t, s)
	for _, v := range file.Vectors {
		m, err := kmstest.ParsePublicKey(v.PublicKey)
		if err != nil || m.Spec() != v.KeySpec {
			t.Fatalf("%s: %v", v.KeySpec, err)
		}
		arn := s.AddKey(kmstest.Key{Material: m})
		form := []byte(v.MessageUTF8)
		if v.SignedWithMessageType == "DIGEST" {
			switch v.SigningAlgorithm {
			case "ECDSA_SHA_256":
				sum := sha256.Sum256(form)
				form = sum[:]
			case "ED25519_PH_SHA_512":
				sum := sha512.Sum512(form)
				form = sum[:]
			default:
				t.Fatalf("the test does not know the digest of %s", v.SigningAlgorithm)
			}
		}
		if _, err := c.Verify(context.Background(), verifyInput(arn, v.SigningAlgorithm, v.SignedWithMessageType, form, v.Signature)); err != nil {
			t.Errorf("%s: %v", v.SigningAlgorithm, err)
		}
		form[0] ^= 1
		_, err = c.Verify(context.Background(), verifyInput(arn, v.SigningAlgorithm, v.SignedWithMessageType, form, v.Signature))
		wantError(t, err, "KMSInvalidSignatureException", "", 400)

		_, err = c.Sign(context.Background(), signInput(arn, v.SigningAlgorithm, v.SignedWithMessageType, form))
		wantError(t, err, "KMSInternalException", "kmstest: the fake has only the public key of "+arn, 500)
	}
}

// TestSignatureForm looks at the bits that a verifier may trip over.
func TestSignatureForm(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	keys := signingKeys(t)
	sign := func(spec, algorithm, messageType string, form []byte) []byte {
		t.Helper()
		answer, err := c.Sign(context.Background(), signInput(s.AddKey(kmstest.Key{Material: keys[spec]}), algorithm, messageType, form))
		if err != nil {
			t.Fatal(err)
		}
		return answer.Signature
	}

	t.Run("Ed25519ph hashes twice", func(t *testing.T) {
		once := sha512.Sum512(message)
		twice := sha512.Sum512(once[:])
		signature := sign("ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "DIGEST", once[:])
		public, err := x509.ParsePKIXPublicKey(keys["ECC_NIST_EDWARDS25519"].PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		options := &ed25519.Options{Hash: crypto.SHA512}
		if err := ed25519.VerifyWithOptions(public.(ed25519.PublicKey), twice[:], signature, options); err != nil {
			t.Error(err)
		}
		if err := ed25519.VerifyWithOptions(public.(ed25519.PublicKey), once[:], signature, options); err == nil {
			t.Error("a single hash verifies")
		}
	})
	t.Run("PSS salt is as long as the hash", func(t *testing.T) {
		public, err := x509.ParsePKIXPublicKey(keys["RSA_2048"].PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum384(message)
		signature := sign("RSA_2048", "RSASSA_PSS_SHA_384", "RAW", message)
		for salt, want := range map[int]bool{48: true, 32: false, 20: false} {
			err := rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA384, sum[:], signature, &rsa.PSSOptions{SaltLength: salt})
			if (err == nil) != want {
				t.Errorf("salt of %d bytes: %v", salt, err)
			}
		}
	})
	t.Run("secp256k1 makes both values of s", func(t *testing.T) {
		n, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
		half := new(big.Int).Rsh(n, 1)
		seen := make(map[bool]int)
		for range 64 { // all alike: once in 2^63
			signature := cryptobyte.String(sign("ECC_SECG_P256K1", "ECDSA_SHA_256", "RAW", message))
			var sequence cryptobyte.String
			r, sValue := new(big.Int), new(big.Int)
			if !signature.ReadASN1(&sequence, cbasn1.SEQUENCE) || !sequence.ReadASN1Integer(r) || !sequence.ReadASN1Integer(sValue) {
				t.Fatal("not DER")
			}
			seen[sValue.Cmp(half) > 0]++
		}
		if seen[true] == 0 || seen[false] == 0 {
			t.Errorf("of 64 signatures %d have the larger s", seen[true])
		}
	})
	t.Run("random or not", func(t *testing.T) {
		for _, test := range []struct {
			spec, algorithm string
			same            bool
		}{
			{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", true}, {"RSA_2048", "RSASSA_PSS_SHA_256", false},
			{"ECC_NIST_P256", "ECDSA_SHA_256", false}, {"SM2", "SM2DSA", false}, {"ML_DSA_44", "ML_DSA_SHAKE_256", false},
			{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512", true},
		} {
			if same := bytes.Equal(sign(test.spec, test.algorithm, "RAW", message), sign(test.spec, test.algorithm, "RAW", message)); same != test.same {
				t.Errorf("%s: two signatures of one message are the same: %t", test.algorithm, same)
			}
		}
	})
}

// TestSignRefused are the errors of the real service, whose texts were captured but for those marked.
func TestSignRefused(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	keys := signingKeys(t)
	arns := map[string]string{
		"symmetric": s.AddKey(kmstest.Key{Spec: "SYMMETRIC_DEFAULT"}),
		"hmac":      s.AddKey(kmstest.Key{Spec: "HMAC_256"}),
		"agreement": s.AddKey(kmstest.Key{Material: keys["ECC_NIST_P256"], Usage: kmstest.KeyAgreement}),
	}
	for spec, m := range keys {
		arns[spec] = s.AddKey(kmstest.Key{Material: m})
	}
	for _, test := range []struct {
		key, algorithm, messageType string
		message                     []byte
		code, text                  string
	}{
		{"ECC_NIST_P256", "RSASSA_PSS_SHA_256", "RAW", message, "InvalidKeyUsageException", "Algorithm RSASSA_PSS_SHA_256 is incompatible with key spec ECC_NIST_P256."},
		{"ECC_NIST_P521", "ECDSA_SHA_256", "RAW", message, "InvalidKeyUsageException", "Algorithm ECDSA_SHA_256 is incompatible with key spec ECC_NIST_P521."},
		{"ECC_NIST_P256", "ECDSA_SHA_256", "EXTERNAL_MU", make([]byte, 64), "ValidationException", "Message type EXTERNAL_MU is incompatible with key spec ECC_NIST_P256."},
		{"ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "EXTERNAL_MU", make([]byte, 64), "ValidationException", "Message type EXTERNAL_MU is incompatible with key spec ECC_NIST_EDWARDS25519."},
		{"ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "RAW", message, "ValidationException", "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512", "DIGEST", make([]byte, 64), "ValidationException", "Message type DIGEST is incompatible with algorithm ED25519_SHA_512."},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512", "DIGEST", make([]byte, 63), "ValidationException", "Message type DIGEST is incompatible with algorithm ED25519_SHA_512."},
		{"ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "DIGEST", make([]byte, 63), "ValidationException", "Digest is invalid length for algorithm ED25519_PH_SHA_512."},
		{"ML_DSA_44", "ML_DSA_SHAKE_256", "DIGEST", make([]byte, 64), "ValidationException", "Message type DIGEST is incompatible with key spec ML_DSA_44."},
		{"ML_DSA_87", "ML_DSA_SHAKE_256", "EXTERNAL_MU", make([]byte, 63), "ValidationException", "External Mu is invalid length for algorithm ML_DSA_SHAKE_256."},
		{"ECC_NIST_P256", "ECDSA_SHA_256", "DIGEST", make([]byte, 31), "ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."},
		{"ECC_NIST_P384", "ECDSA_SHA_384", "DIGEST", make([]byte, 64), "ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_384."},
		{"RSA_2048", "RSASSA_PSS_SHA_512", "DIGEST", make([]byte, 32), "ValidationException", "Digest is invalid length for algorithm RSASSA_PSS_SHA_512."},
		{"SM2", "SM2DSA", "DIGEST", make([]byte, 31), "ValidationException", "Digest is invalid length for algorithm SM2DSA."}, // not captured
		{"hmac", "ECDSA_SHA_256", "RAW", message, "InvalidKeyUsageException", arns["hmac"] + " key usage is GENERATE_VERIFY_MAC which is not valid for Sign."},
		{"symmetric", "ECDSA_SHA_256", "RAW", message, "InvalidKeyUsageException", arns["symmetric"] + " key usage is ENCRYPT_DECRYPT which is not valid for Sign."},
		{"agreement", "ECDSA_SHA_256", "RAW", message, "InvalidKeyUsageException", arns["agreement"] + " key usage is KEY_AGREEMENT which is not valid for Sign."},
		{"ECC_NIST_P256", "ECDSA_SHA_256", "RAW", []byte{}, "ValidationException",
			"1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"ECC_NIST_P256", "ECDSA_SHA_256", "RAW", make([]byte, 4097), "ValidationException",
			"1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		{"ECC_NIST_P256", "ECDSA_SHA_256", "COOKED", message, "ValidationException",
			"1 validation error detected: Value 'COOKED' at 'messageType' failed to satisfy constraint: Member must satisfy enum value set: [RAW, DIGEST, EXTERNAL_MU]"},
	} {
		_, err := c.Sign(context.Background(), signInput(arns[test.key], test.algorithm, test.messageType, test.message))
		wantError(t, err, test.code, test.text, 400)
	}
	_, err := c.Sign(context.Background(), signInput(arns["RSA_2048"], "ROT13", "RAW", message))
	if err == nil || !strings.Contains(err.Error(), "Value 'ROT13' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [") {
		t.Error(err)
	}
	if _, err := c.Sign(context.Background(), signInput(arns["RSA_2048"], "RSASSA_PSS_SHA_512", "RAW", make([]byte, 4096))); err != nil {
		t.Errorf("the longest message: %v", err)
	}

	input := signInput(arns["ECC_NIST_P256"], "ECDSA_SHA_256", "", message)
	input.DryRun = aws.Bool(true)
	_, err = c.Sign(context.Background(), input)
	wantError(t, err, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.", 400)

	_, err = c.Verify(context.Background(), verifyInput(arns["ECC_NIST_P256"], "ECDSA_SHA_256", "RAW", message, make([]byte, 6145)))
	wantError(t, err, "ValidationException",
		"1 validation error detected: Value at 'signature' failed to satisfy constraint: Member must have length less than or equal to 6144", 400)
}
