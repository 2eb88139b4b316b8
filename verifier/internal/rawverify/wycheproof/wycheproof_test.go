// Package wycheproof runs Project Wycheproof's vectors through rawverify, keys included: each key goes through spki.Parse
// as DER, as KMS would have answered it.
//
// It is a package of its own because github.com/c2sp/wycheproof embeds a hundred megabytes, which the fuzz targets and
// benchmarks next door need not carry.
package wycheproof

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	vectors "github.com/c2sp/wycheproof"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawverify"
	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type group struct {
	Type         string
	KeySize      int
	Sha, MgfSha  string
	SLen         int
	PublicKeyDER hexBytes
	PublicKeyASN hexBytes // RSA: PKCS#1
	PublicKey    json.RawMessage
	Tests        []test
}

type test struct {
	TcID     int
	Comment  string
	Flags    []string
	Msg, Sig hexBytes
	Ctx      hexBytes // ML-DSA's
	Result   string   // "valid", "invalid" or "acceptable"
}

// The reasons for an answer other than Wycheproof's "valid" or "invalid".
const (
	// KMS's RSA keys have the exponent 65537; spki.Parse refuses others, so nothing is verified with them.
	exponent3 = "the key's exponent is 3"
	// "Acceptable" in Wycheproof: a DigestInfo without the NULL parameter (RFC 8017, appendix B.1, lets verifiers take it).
	// KMS never makes one; crypto/rsa compares with the one encoding, and so do we.
	missingNull = "DigestInfo without NULL"
	// KMS's PSS salts are as long as the hash and MGF1 has the same hash.
	otherSalt = "salt or MGF1 that KMS does not use"
	// KMS signs with an empty ML-DSA context (FIPS 204, section 5.2), and there is no way to ask for another.
	context = "ML-DSA with a context"
	// The two that go the other way. Bitcoin demands low S, KMS makes high ones. And what is an altered salt length in a
	// file about another one is the length that KMS has.
	highS   = "high S, which Bitcoin refuses"
	kmsSalt = "the salt is as long as KMS's"
	// A signature with r and s side by side is no signature of KMS's, whatever its numbers.
	p1363 = "r and s side by side"
)

// suite is one file of Wycheproof's, the algorithm of KMS's that it is for, and what has to come out.
type suite struct {
	file string
	alg  kmskey.SigningAlgorithm
	// vectors run in all; yes of them verify, the others are refused.
	vectors, yes int
	// differ counts the answers that are not Wycheproof's, by reason.
	differ map[string]int
}

var suites = []suite{
	{"ecdsa_secp256r1_sha256_test.json", kmskey.ECDSASHA256, 484, 174, nil},
	{"ecdsa_secp384r1_sha384_test.json", kmskey.ECDSASHA384, 504, 194, nil},
	{"ecdsa_secp521r1_sha512_test.json", kmskey.ECDSASHA512, 542, 232, nil},
	{"ecdsa_secp256k1_sha256_test.json", kmskey.ECDSASHA256, 476, 168, nil},
	{"ecdsa_secp256k1_sha256_bitcoin_test.json", kmskey.ECDSASHA256, 463, 164, map[string]int{highS: 2}},
	{"ecdsa_secp256r1_sha256_p1363_test.json", kmskey.ECDSASHA256, 262, 0, map[string]int{p1363: 173}},
	{"ecdsa_secp384r1_sha384_p1363_test.json", kmskey.ECDSASHA384, 280, 0, map[string]int{p1363: 193}},
	{"ecdsa_secp521r1_sha512_p1363_test.json", kmskey.ECDSASHA512, 318, 0, map[string]int{p1363: 231}},
	{"ecdsa_secp256k1_sha256_p1363_test.json", kmskey.ECDSASHA256, 252, 0, map[string]int{p1363: 167}},

	{"rsa_signature_2048_sha256_test.json", kmskey.RSASSAPKCS1SHA256, 259, 7, map[string]int{missingNull: 1, exponent3: 2}},
	{"rsa_signature_2048_sha384_test.json", kmskey.RSASSAPKCS1SHA384, 258, 7, map[string]int{missingNull: 1}},
	{"rsa_signature_2048_sha512_test.json", kmskey.RSASSAPKCS1SHA512, 259, 7, map[string]int{missingNull: 1, exponent3: 1}},
	{"rsa_signature_3072_sha256_test.json", kmskey.RSASSAPKCS1SHA256, 259, 7, map[string]int{missingNull: 1, exponent3: 1}},
	{"rsa_signature_3072_sha384_test.json", kmskey.RSASSAPKCS1SHA384, 259, 7, map[string]int{missingNull: 1}},
	{"rsa_signature_3072_sha512_test.json", kmskey.RSASSAPKCS1SHA512, 260, 7, map[string]int{missingNull: 1, exponent3: 1}},
	{"rsa_signature_4096_sha256_test.json", kmskey.RSASSAPKCS1SHA256, 258, 7, map[string]int{missingNull: 1}},
	{"rsa_signature_4096_sha384_test.json", kmskey.RSASSAPKCS1SHA384, 259, 7, map[string]int{missingNull: 1}},
	{"rsa_signature_4096_sha512_test.json", kmskey.RSASSAPKCS1SHA512, 259, 7, map[string]int{missingNull: 1}},

	{"rsa_pss_2048_sha256_mgf1_32_test.json", kmskey.RSASSAPSSSHA256, 108, 63, nil},
	{"rsa_pss_2048_sha384_mgf1_48_test.json", kmskey.RSASSAPSSSHA384, 141, 95, nil},
	{"rsa_pss_3072_sha256_mgf1_32_test.json", kmskey.RSASSAPSSSHA256, 108, 63, nil},
	{"rsa_pss_4096_sha256_mgf1_32_test.json", kmskey.RSASSAPSSSHA256, 108, 63, nil},
	{"rsa_pss_4096_sha384_mgf1_48_test.json", kmskey.RSASSAPSSSHA384, 141, 95, nil},
	{"rsa_pss_4096_sha512_mgf1_64_test.json", kmskey.RSASSAPSSSHA512, 179, 132, nil},
	{"rsa_pss_2048_sha256_mgf1_0_test.json", kmskey.RSASSAPSSSHA256, 103, 1, map[string]int{otherSalt: 61, kmsSalt: 1}},
	{"rsa_pss_2048_sha256_mgf1sha1_20_test.json", kmskey.RSASSAPSSSHA256, 108, 0, map[string]int{otherSalt: 63}},
	{"rsa_pss_2048_sha512_mgf1sha256_32_params_test.json", kmskey.RSASSAPSSSHA512, 178, 0, map[string]int{otherSalt: 132}},
	{"rsa_pss_4096_sha512_mgf1_32_test.json", kmskey.RSASSAPSSSHA512, 177, 0, map[string]int{otherSalt: 132}},
	// One vector for each of 150 combinations of hash, MGF1's hash and salt; those with SHA-1 or SHA-224 have no algorithm.
	{"rsa_pss_misc_test.json", "", 90, 3, map[string]int{otherSalt: 87}},

	{"ed25519_test.json", kmskey.ED25519SHA512, 151, 88, nil},
	{"mldsa_44_verify_test.json", kmskey.MLDSASHAKE256, 180, 75, map[string]int{context: 2}},
	{"mldsa_65_verify_test.json", kmskey.MLDSASHAKE256, 210, 77, map[string]int{context: 2}},
	{"mldsa_87_verify_test.json", kmskey.MLDSASHAKE256, 241, 69, map[string]int{context: 2}},
}

func TestVectors(t *testing.T) {
	var total atomic.Int64
	t.Run("files", func(t *testing.T) {
		for _, s := range suites {
			t.Run(s.file, func(t *testing.T) {
				t.Parallel()
				total.Add(int64(s.run(t)))
			})
		}
	})
	if want := int64(8134); total.Load() != want {
		t.Errorf("%d vectors ran in all, expected %d", total.Load(), want)
	}
	yes, differ := 0, 0
	for _, s := range suites {
		yes += s.yes
		for _, n := range s.differ {
			differ += n
		}
	}
	testenv.InPage(t, "reliability.md", fmt.Sprintf("| all %d files | | %d | %d | %d | %d |", len(suites), total.Load(), yes, int(total.Load())-yes, differ))
}

func (s suite) run(t *testing.T) (ran int) {
	b, err := fs.ReadFile(vectors.TestVectors, s.file)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ TestGroups []group }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	yes, differ := 0, map[string]int{}
	for _, g := range file.TestGroups {
		alg := s.algorithm(g)
		if alg == "" {
			continue
		}
		pub, keyErr := spki.Parse(g.der(t))
		for _, v := range g.Tests {
			ran++
			err := keyErr
			if keyErr == nil {
				err = check(t, pub, alg, v)
			}
			if err == nil {
				yes++
			}
			reason := g.reason(v)
			want := v.Result == "valid"
			switch {
			case reason == highS, reason == kmsSalt:
				want = true
			case reason != "":
				want = false
			case v.Result == "acceptable":
				t.Fatalf("%d (%s) is acceptable for a reason that nobody thought about: %v", v.TcID, v.Comment, v.Flags)
			}
			if want != (err == nil) {
				t.Errorf("%d (%s, %v, %s): got %v, expected yes to be %v", v.TcID, v.Comment, v.Flags, v.Result, err, want)
			}
			if want != (v.Result == "valid") || v.Result == "acceptable" {
				differ[reason]++
			}
		}
	}
	if ran != s.vectors || yes != s.yes {
		t.Errorf("%d vectors ran and %d verified, expected %d and %d", ran, yes, s.vectors, s.yes)
	}
	if fmt.Sprint(differ) != fmt.Sprint(s.differ) {
		t.Errorf("answers that are not Wycheproof's: %v, expected %v", differ, s.differ)
	}
	testenv.InPage(t, "reliability.md", s.row(ran, yes, differ))
	return ran
}

// row is the suite's line in docs/reliability.md.
func (s suite) row(ran, yes int, differ map[string]int) string {
	alg := cmp.Or(string(s.alg), "RSASSA_PSS, each hash")
	var others []string
	for _, reason := range slices.Sorted(maps.Keys(differ)) {
		others = append(others, fmt.Sprintf("%d: %s", differ[reason], reason))
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %s |", strings.TrimSuffix(s.file, "_test.json"), alg, ran, yes, ran-yes, cmp.Or(strings.Join(others, "; "), "–"))
}

// check verifies the message and, where the algorithm has one, its digest, which must give the same answer.
func check(t *testing.T, pub *spki.PublicKey, alg kmskey.SigningAlgorithm, v test) error {
	t.Helper()
	_, err := rawverify.Verify(t.Context(), pub, alg, "", bytes.NewReader(v.Msg), v.Sig, rawverify.Options{})
	switch {
	case err == nil, kmserr.Is(err, kmserr.InvalidSignature):
	case kmserr.Is(err, kmserr.Validation) && len(v.Sig) == 0:
	default:
		t.Errorf("%d (%s): %v is no decision", v.TcID, v.Comment, err)
	}
	if alg.Takes(kmskey.Digest) {
		d, _, digestErr := rawverify.Digest(t.Context(), pub, alg, bytes.NewReader(v.Msg), rawverify.Options{})
		if digestErr != nil {
			t.Fatal(digestErr)
		}
		_, digestErr = rawverify.Verify(t.Context(), pub, alg, kmskey.Digest, bytes.NewReader(d), v.Sig, rawverify.Options{})
		if (digestErr == nil) != (err == nil) {
			t.Errorf("%d (%s): the message gives %v, its digest %v", v.TcID, v.Comment, err, digestErr)
		}
	}
	return err
}

// algorithm is the suite's, or for a suite of many the group's hash's with PSS; "" where KMS has none.
func (s suite) algorithm(g group) kmskey.SigningAlgorithm {
	if s.alg != "" {
		return s.alg
	}
	return map[string]kmskey.SigningAlgorithm{
		"SHA-256": kmskey.RSASSAPSSSHA256, "SHA-384": kmskey.RSASSAPSSSHA384, "SHA-512": kmskey.RSASSAPSSSHA512,
	}[g.Sha]
}

// der is the key as KMS would answer it. The groups with PSS parameters have keys under id-RSASSA-PSS, which KMS never
// writes; their bare key is taken.
func (g group) der(t *testing.T) []byte {
	if g.Type != "RsassaPssWithParametersVerify" {
		return g.PublicKeyDER
	}
	if _, err := spki.Parse(g.PublicKeyDER); err == nil {
		t.Error("a key under id-RSASSA-PSS was taken")
	}
	key, err := x509.ParsePKCS1PublicKey(g.PublicKeyASN)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// reason tells why our answer may differ from Wycheproof's; "" where it must not.
func (g group) reason(v test) string {
	has := func(flag string) bool { return slices.Contains(v.Flags, flag) }
	var rsa struct{ PublicExponent string }
	_ = json.Unmarshal(g.PublicKey, &rsa)
	switch {
	case g.Type == "EcdsaP1363Verify":
		return p1363
	case rsa.PublicExponent == "03":
		return exponent3
	case g.Type == "RsassaPkcs1Verify" && v.Result == "acceptable" && has("MissingNull"):
		return missingNull
	case g.MgfSha == g.Sha && g.SLen == 0 && v.Comment == "s_len changed to "+strconv.Itoa(hashBytes(g.Sha)):
		return kmsSalt
	case g.MgfSha != "" && (g.MgfSha != g.Sha || g.SLen != hashBytes(g.Sha)):
		return otherSalt
	case len(v.Ctx) > 0:
		return context
	case g.Type == "EcdsaBitcoinVerify" && (has("SignatureMalleabilityBitcoin") || v.Comment == "edge case for signature malleability" && v.Result == "invalid"):
		return highS
	}
	return ""
}

// hashBytes is the length of "SHA-256" and its like in bytes.
func hashBytes(name string) int {
	bits, _ := strconv.Atoi(strings.TrimPrefix(name, "SHA-"))
	return bits / 8
}
