package rawverify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

var message = []byte("what was signed\n")

// TestEveryAlgorithm walks all pairs of key spec and algorithm with every form of the input, good and bad.
func TestEveryAlgorithm(t *testing.T) {
	ran := 0
	for _, s := range subjects() {
		ran++
		t.Run(s.name(), func(t *testing.T) {
			for _, message := range [][]byte{message, {}, bytes.Repeat([]byte("long"), chunkSize)} {
				sig := s.sign(t, message)
				facts, err := verify(s, kmskey.MessageTypeUnset, message, sig)
				if want := (Facts{Bytes: int64(len(message)), SHA256: sha256.Sum256(message)}); err != nil || facts != want {
					t.Fatalf("message of %d bytes: got %v, %v, expected %v and no error", len(message), facts, err, want)
				}
				if s.alg.Takes(kmskey.Raw) {
					if _, err := verify(s, kmskey.Raw, message, sig); err != nil {
						t.Errorf("RAW: %v", err)
					}
				}
				if s.alg.Takes(kmskey.Digest) {
					d, typ, err := Digest(t.Context(), s.pub, s.alg, bytes.NewReader(message), Options{})
					if err != nil || typ != kmskey.Digest || len(d) != s.alg.DigestSize() {
						t.Fatalf("Digest: got %d bytes of %q, %v", len(d), typ, err)
					}
					facts, err := verify(s, kmskey.Digest, d, sig)
					if want := (Facts{Bytes: int64(len(d)), SHA256: sha256.Sum256(d)}); err != nil || facts != want {
						t.Errorf("DIGEST: got %v, %v, expected %v and no error", facts, err, want)
					}
					d[0] ^= 1
					facts, err = verify(s, kmskey.Digest, d, sig)
					wantError(t, err, kmserr.InvalidSignature, "over this digest with "+string(s.alg))
					if facts.Bytes == 0 {
						t.Error("a refusal has no facts")
					}
					// A digest is not its own message: prehash confusion.
					_, err = verify(s, kmskey.MessageTypeUnset, d, sig)
					wantError(t, err, kmserr.InvalidSignature)
				}
			}

			sig := s.sign(t, message)
			for name, other := range map[string][]byte{
				"shorter": message[1:], "longer": append(bytes.Clone(message), 0), "changed": bytes.ToUpper(message), "empty": nil,
			} {
				_, err := verify(s, kmskey.MessageTypeUnset, other, sig)
				if err == nil {
					t.Errorf("a message %s than the signed one verified", name)
				} else {
					wantError(t, err, kmserr.InvalidSignature, "over this message with "+string(s.alg))
				}
			}
			other := newSubject(s.spec, s.alg, "second")
			if s.pub.RSA != nil { // these come from files
				other = newSubject(map[kmskey.KeySpec]kmskey.KeySpec{kmskey.RSA2048: kmskey.RSA3072, kmskey.RSA3072: kmskey.RSA4096, kmskey.RSA4096: kmskey.RSA2048}[s.spec], s.alg, "")
			}
			_, err := verify(other, kmskey.MessageTypeUnset, message, sig)
			wantError(t, err, kmserr.InvalidSignature)

			// One bit anywhere: all bytes of short signatures, a sample of ML-DSA's.
			for i := 0; i < len(sig); i += 1 + len(sig)/150 {
				bad := bytes.Clone(sig)
				bad[i] ^= 1
				_, err := verify(s, kmskey.MessageTypeUnset, message, bad)
				wantError(t, err, kmserr.InvalidSignature)
			}
			for name, bad := range map[string][]byte{
				"cut": sig[:len(sig)-1], "one byte": sig[:1], "followed by 0": append(bytes.Clone(sig), 0), "after 0": append([]byte{0}, sig...),
				"twice": append(bytes.Clone(sig), sig...), "zeros": make([]byte, len(sig)), "ones": bytes.Repeat([]byte{0xff}, len(sig)),
				"long": make([]byte, 16<<10), "longer than any": make([]byte, 1<<20), "long text": bytes.Repeat([]byte{'0'}, 1<<20),
			} {
				_, err := verify(s, kmskey.MessageTypeUnset, message, bad)
				if err == nil {
					t.Fatalf("a signature %s verified", name)
				}
				if name == "zeros" || name == "ones" {
					wantError(t, err, kmserr.InvalidSignature)
				} else {
					wantError(t, err, kmserr.InvalidSignature, "ill-formed")
				}
			}
			_, err = verify(s, kmskey.MessageTypeUnset, message, nil)
			wantError(t, err, kmserr.Validation, "the signature is empty")
		})
	}
	if ran != 28 {
		t.Errorf("%d pairs of key spec and algorithm ran, expected 28", ran)
	}
}

// TestHashAndJunk: crypto/ecdsa, decred and gmsm verify a digest with bytes behind it. No door of ours does.
func TestHashAndJunk(t *testing.T) {
	ran := 0
	for _, s := range subjects() {
		if !s.alg.Takes(kmskey.Digest) {
			continue
		}
		ran++
		d := must3(Digest(t.Context(), s.pub, s.alg, bytes.NewReader(message), Options{}))
		sig := s.sign(t, message)
		if _, err := verify(s, kmskey.Digest, d, sig); err != nil {
			t.Fatalf("%s: %v", s.name(), err)
		}
		for _, junk := range []int{1, 16, 32, 64, maxTextualDigest - len(d), maxTextualDigest - len(d) + 1, maxTextualDigest, chunkSize, 3 * chunkSize} {
			input := append(bytes.Clone(d), make([]byte, junk)...)
			length := fmt.Sprintf("it is %d bytes long, expected exactly %d", len(input), len(d))
			if len(input) > maxTextualDigest {
				length = fmt.Sprintf("more than %d bytes long, expected exactly %d", maxTextualDigest, len(d))
			}
			_, err := verify(s, kmskey.Digest, input, sig)
			wantError(t, err, kmserr.Validation, "Digest is invalid length for algorithm "+string(s.alg), length)
			// In reads that part the hash from the junk.
			_, err = Verify(t.Context(), s.pub, s.alg, kmskey.Digest, &piecewise{pieces: [][]byte{d, input[len(d):]}}, sig, Options{})
			wantError(t, err, kmserr.Validation, "Digest is invalid length for algorithm "+string(s.alg), length)
		}
		for _, cut := range []int{0, 1, len(d) - 1} {
			_, err := verify(s, kmskey.Digest, d[:cut], sig)
			wantError(t, err, kmserr.Validation, fmt.Sprintf("it is %d bytes long, expected exactly %d", cut, len(d)))
		}
		if _, err := newDigest(s.alg, append(d, 0)); err == nil {
			t.Errorf("%s: a digest can have another length than its algorithm's", s.name())
		}
	}
	if ran != 24 {
		t.Errorf("%d pairs take a digest, expected 24", ran)
	}
}

func must3[T, U any](v T, _ U, err error) T { return must(v, err) }

// TestLengthOfTwoNumbers: DER that happens to be as long as r and s side by side is DER, and only what is that long and is none is
// told what it looks like.
func TestLengthOfTwoNumbers(t *testing.T) {
	order := orderOf(kmskey.ECCNISTP256).Bytes()
	number := append([]byte{2, 29, 0x11}, bytes.Repeat([]byte{0x11}, 28)...)
	sig := append(append([]byte{0x30, 62}, number...), number...)
	if r, s, fault := derSignature(sig, order); len(sig) != 64 || fault != "" || !bytes.Equal(r, number[2:]) || !bytes.Equal(s, number[2:]) {
		t.Errorf("%d bytes: %x, %x, %q", len(sig), r, s, fault)
	}
	const looks = "r and s side by side"
	for n, told := range map[int]bool{63: false, 64: true, 65: false, 1: false} {
		if _, _, fault := derSignature(bytes.Repeat([]byte{0x11}, n), order); fault == "" || strings.Contains(fault, looks) != told {
			t.Errorf("%d bytes: %q", n, fault)
		}
	}
}

// TestDigestAsText: a digest written as text is recognised, and never taken.
func TestDigestAsText(t *testing.T) {
	const hexadecimal, base64 = "hexadecimal text: give its", "base64 text: give its"
	sum := sha256.Sum256(message)
	s := subjectOf(kmskey.ECCNISTP256, kmskey.ECDSASHA256)
	sig := s.sign(t, message)
	for _, c := range []struct{ input, hint string }{
		{fmt.Sprintf("%x", sum), hexadecimal},
		{fmt.Sprintf("%X\r\n", sum), hexadecimal},
		{fmt.Sprintf("%x  a file.bin\n", sum), hexadecimal},
		{fmt.Sprintf(" %x", sum), hexadecimal},
		{"1owYlPZLg9LnTkFl6i2Ut7Cu7Y5vE5/0N5sCmZ5v0bE=", base64},
		{"1owYlPZLg9LnTkFl6i2Ut7Cu7Y5vE5/0N5sCmZ5v0bE", base64},
		{"1owYlPZLg9LnTkFl6i2Ut7Cu7Y5vE5_0N5sCmZ5v0bE=\n", base64},
		{"1owYlPZLg9LnTkFl6i2Ut7Cu7Y5vE5_0N5sCmZ5v0bE", base64},
		{fmt.Sprintf("%x", sum[:31]), "Give the 32 raw bytes, or the message itself"},
		{"", "Give the 32 raw bytes, or the message itself"},
		{strings.Repeat(" ", maxTextualDigest+1) + fmt.Sprintf("%x", sum), "Give the 32 raw bytes, or the message itself"},
	} {
		_, err := verify(s, kmskey.Digest, []byte(c.input), sig)
		wantError(t, err, kmserr.Validation, "Digest is invalid length for algorithm ECDSA_SHA_256", c.hint)
	}
	pq := subjectOf(kmskey.MLDSA65, kmskey.MLDSASHAKE256)
	_, err := verify(pq, kmskey.ExternalMu, fmt.Appendf(nil, "%x", make([]byte, 64)), pq.sign(t, message))
	wantError(t, err, kmserr.Validation, "μ is invalid length for algorithm ML_DSA_SHAKE_256: it is 128 bytes long, expected exactly 64", hexadecimal)
}

// TestMessageTypes: what an algorithm does not take is refused in KMS's words before a byte is read.
func TestMessageTypes(t *testing.T) {
	refusals := 0
	for _, s := range subjects() {
		for _, typ := range kmskey.MessageTypes() {
			if s.alg.Takes(typ) {
				continue
			}
			refusals++
			facts, err := Verify(t.Context(), s.pub, s.alg, typ, unread{t}, []byte("signature"), Options{})
			wantError(t, err, kmserr.Validation, fmt.Sprintf("Message type %s is incompatible with algorithm %s", typ, s.alg), "the message type out")
			if facts != (Facts{}) {
				t.Errorf("%s, %s: a call that was refused has facts", s.name(), typ)
			}
		}
	}
	// Every pair refuses EXTERNAL_MU but ML-DSA's three; DIGEST is refused by those and pure Ed25519; RAW by Ed25519ph.
	if want := (28 - 3) + 4 + 1; refusals != want {
		t.Errorf("%d refusals, expected %d", refusals, want)
	}
	s := subjects()[0]
	for _, typ := range []kmskey.MessageType{"raw", "DIGEST ", "HASH"} {
		_, err := Verify(t.Context(), s.pub, s.alg, typ, unread{t}, []byte("signature"), Options{})
		wantError(t, err, kmserr.Validation, fmt.Sprintf("%q is none of KMS's: RAW, DIGEST, EXTERNAL_MU", string(typ)))
	}
}

// TestAlgorithmAndSpec: every algorithm with every spec, ML-KEM and unknown ones included, through both doors.
func TestAlgorithmAndSpec(t *testing.T) {
	byKey := map[string]*spki.PublicKey{}
	for _, s := range subjects() {
		byKey[string(s.spec)] = s.pub
	}
	for _, spec := range []string{"ML_KEM_512", "ML_KEM_768", "ML_KEM_1024", "", "rsa_2048", "RSA_1024"} {
		byKey[spec] = &spki.PublicKey{Spec: spec}
	}
	refusals := 0
	for spec, pub := range byKey {
		for _, alg := range kmskey.SigningAlgorithms() {
			if slices.Contains(kmskey.KeySpec(spec).SigningAlgorithms(), alg) {
				continue
			}
			refusals++
			want := fmt.Sprintf("Algorithm %s is incompatible with key spec %s", alg, spec)
			_, err := Verify(t.Context(), pub, alg, "", unread{t}, []byte("signature"), Options{})
			wantError(t, err, kmserr.InvalidKeyUsage, want)
			_, _, err = Digest(t.Context(), pub, alg, unread{t}, Options{})
			wantError(t, err, kmserr.InvalidKeyUsage, want)
		}
	}
	if want := (12+6)*13 - 28; refusals != want {
		t.Errorf("%d refusals, expected %d", refusals, want)
	}
	for _, alg := range []kmskey.SigningAlgorithm{"", "ECDSA_SHA_1", "ecdsa_sha_256", "ECDSA_SHA_256 "} {
		_, err := Verify(t.Context(), subjects()[0].pub, alg, "", unread{t}, []byte("signature"), Options{})
		wantError(t, err, kmserr.Validation, fmt.Sprintf("the signing algorithm %q is none of KMS's: RSASSA_PSS_SHA_256", string(alg)))
	}
}

// TestKeysThatAreNone: hand-made keys whose spec and material differ. crypto/ed25519 panics on wrong lengths.
func TestKeysThatAreNone(t *testing.T) {
	p256 := subjectOf(kmskey.ECCNISTP256, kmskey.ECDSASHA256).pub
	rsa2048 := subjectOf(kmskey.RSA2048, kmskey.RSASSAPSSSHA256).pub
	for _, s := range subjects() {
		for name, pub := range map[string]*spki.PublicKey{
			"no material":        {Spec: string(s.spec)},
			"another's material": {Spec: string(s.spec), ECDSA: p256.ECDSA, RSA: rsa2048.RSA, SM2: p256.ECDSA, Ed25519: make([]byte, 31)},
			"too long":           {Spec: string(s.spec), Ed25519: make([]byte, 33), RSA: &rsa.PublicKey{}},
		} {
			if name == "another's material" && (s.spec == kmskey.ECCNISTP256 || s.spec == kmskey.RSA2048) {
				continue
			}
			_, err := verify(subject{spec: s.spec, alg: s.alg, pub: pub}, "", message, []byte("signature"))
			wantError(t, err, kmserr.Internal, "does not hold the material of that spec")
		}
	}
	_, err := Verify(t.Context(), nil, kmskey.ECDSASHA256, "", bytes.NewReader(message), []byte("signature"), Options{})
	wantError(t, err, kmserr.Internal, "no public key")
	_, err = Verify(t.Context(), p256, kmskey.ECDSASHA256, "", nil, []byte("signature"), Options{})
	wantError(t, err, kmserr.Validation, "no input")
	_, _, err = Digest(t.Context(), p256, kmskey.ECDSASHA256, nil, Options{})
	wantError(t, err, kmserr.Validation, "no message")
}

// TestPSSSalt: KMS's salt is exactly as long as the hash. OpenSSL's and moto's default, the longest that fits, is not.
func TestPSSSalt(t *testing.T) {
	key := rsaKey("rsa2048")
	ran := 0
	for _, alg := range []kmskey.SigningAlgorithm{kmskey.RSASSAPSSSHA256, kmskey.RSASSAPSSSHA384, kmskey.RSASSAPSSSHA512} {
		s := subjectOf(kmskey.RSA2048, alg)
		d := must3(Digest(t.Context(), s.pub, alg, bytes.NewReader(message), Options{}))
		size := alg.Hash().Size()
		for _, salt := range []int{1, 20, size - 1, size, size + 1, rsa.PSSSaltLengthAuto, -2} {
			ran++
			var sig []byte
			if salt == -2 { // crypto/rsa makes no empty salt by length: 0 means the longest
				sig = emptySaltPSS(t, key, alg.Hash(), d)
			} else {
				sig = must(rsa.SignPSS(rand.Reader, key, alg.Hash(), d, &rsa.PSSOptions{SaltLength: salt}))
			}
			for _, typ := range []kmskey.MessageType{kmskey.MessageTypeUnset, kmskey.Digest} {
				input := message
				if typ == kmskey.Digest {
					input = d
				}
				_, err := verify(s, typ, input, sig)
				if salt == size {
					if err != nil {
						t.Errorf("%s, salt of the hash's length: %v", alg, err)
					}
					continue
				}
				wantError(t, err, kmserr.InvalidSignature, fmt.Sprintf("its PSS salt is not %d bytes long, as %s demands", size, alg))
			}
		}
		// PKCS#1 v1.5 is not PSS, nor the other way round, nor is another hash's.
		_, err := verify(s, kmskey.Digest, d, must(rsa.SignPKCS1v15(nil, key, alg.Hash(), d)))
		wantError(t, err, kmserr.InvalidSignature, "not one of this key over this digest")
	}
	if ran != 21 {
		t.Errorf("%d salts ran, expected 21", ran)
	}
}

// emptySaltPSS signs with EMSA-PSS (RFC 8017, section 9.1.1) and no salt, for a modulus of 2048 bits.
func emptySaltPSS(t *testing.T, key *rsa.PrivateKey, h crypto.Hash, d []byte) []byte {
	t.Helper()
	em := make([]byte, 256)
	hLen := h.Size()
	db, sum := em[:256-hLen-1], em[256-hLen-1:255]
	em[255] = 0xbc
	m := h.New()
	m.Write(make([]byte, 8))
	m.Write(d)
	m.Sum(sum[:0])
	db[len(db)-1] = 1
	for i, done := uint32(0), 0; done < len(db); i++ {
		m := h.New()
		m.Write(sum)
		m.Write([]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		for _, b := range m.Sum(nil) {
			if done < len(db) {
				db[done] ^= b
				done++
			}
		}
	}
	em[0] &= 0x7f
	sig := new(big.Int).Exp(new(big.Int).SetBytes(em), key.D, key.N).FillBytes(make([]byte, 256))
	if err := rsa.VerifyPSS(&key.PublicKey, h, d, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}); err != nil {
		t.Fatalf("the test's own signature is none: %v", err)
	}
	return sig
}

// TestEd25519phHashesTwice: what Ed25519ph usually is, one hash or a context, is not what KMS makes.
func TestEd25519phHashesTwice(t *testing.T) {
	public, key, _ := ed25519.GenerateKey(rand.Reader)
	s := subject{spec: kmskey.ECCNISTEdwards25519, alg: kmskey.ED25519PHSHA512, pub: &spki.PublicKey{Spec: string(kmskey.ECCNISTEdwards25519), Ed25519: public}}
	once := sha512.Sum512(message)
	twice := sha512.Sum512(once[:])
	thrice := sha512.Sum512(twice[:])
	for name, c := range map[string]struct {
		prehash [64]byte
		opts    ed25519.Options
		good    bool
	}{
		"twice":         {twice, ed25519.Options{Hash: crypto.SHA512}, true},
		"once":          {once, ed25519.Options{Hash: crypto.SHA512}, false},
		"thrice":        {thrice, ed25519.Options{Hash: crypto.SHA512}, false},
		"context":       {twice, ed25519.Options{Hash: crypto.SHA512, Context: "x"}, false},
		"pure of twice": {twice, ed25519.Options{}, false},
		"pure of once":  {once, ed25519.Options{}, false},
	} {
		sig := must(key.Sign(nil, c.prehash[:], &c.opts))
		_, onMessage := verify(s, kmskey.MessageTypeUnset, message, sig)
		_, onDigest := verify(s, kmskey.Digest, once[:], sig)
		for _, err := range []error{onMessage, onDigest} {
			if c.good && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !c.good {
				wantError(t, err, kmserr.InvalidSignature)
			}
		}
	}
	sig := must(key.Sign(nil, message, &ed25519.Options{Context: "x"})) // Ed25519ctx
	s.alg = kmskey.ED25519SHA512
	_, err := verify(s, kmskey.MessageTypeUnset, message, sig)
	wantError(t, err, kmserr.InvalidSignature)
}

// TestMu: μ alone verifies nothing offline, its length is checked all the same, and Digest's is what signs.
func TestMu(t *testing.T) {
	for _, spec := range []kmskey.KeySpec{kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87} {
		s := subjectOf(spec, kmskey.MLDSASHAKE256)
		mu, typ, err := Digest(t.Context(), s.pub, s.alg, bytes.NewReader(message), Options{})
		if err != nil || typ != kmskey.ExternalMu || len(mu) != 64 {
			t.Fatalf("Digest: got %d bytes of %q, %v", len(mu), typ, err)
		}
		sig := must(s.signDigest(mu))
		if _, err := verify(s, "", message, sig); err != nil {
			t.Errorf("%s: a signature made with EXTERNAL_MU fails against the message: %v", spec, err)
		}
		facts, err := verify(s, kmskey.ExternalMu, mu, sig)
		wantError(t, err, kmserr.UnsupportedOperation, "cannot be verified offline from μ alone", "Give the message itself and leave the message type out")
		if facts != (Facts{Bytes: 64, SHA256: sha256.Sum256(mu)}) {
			t.Errorf("facts of μ: %v", facts)
		}
		for _, bad := range [][]byte{nil, mu[:63], append(mu, 0), message} {
			_, err = verify(s, kmskey.ExternalMu, bad, sig)
			wantError(t, err, kmserr.Validation, fmt.Sprintf("μ is invalid length for algorithm ML_DSA_SHAKE_256: it is %d bytes long, expected exactly 64", len(bad)))
		}
	}
	s := subjectOf(kmskey.ECCNISTEdwards25519, kmskey.ED25519SHA512)
	_, _, err := Digest(t.Context(), s.pub, s.alg, bytes.NewReader(message), Options{})
	wantError(t, err, kmserr.UnsupportedOperation, "ED25519_SHA_512 signs the message itself")
}

// orders are of the curves whose signatures are DER.
func orderOf(spec kmskey.KeySpec) *big.Int {
	switch spec {
	case kmskey.ECCSECGP256K1:
		return secp256k1.Params().N
	case kmskey.SM2:
		return sm2.P256().Params().N
	}
	return curves[spec].Params().N
}

var derSubjects = func() []subject {
	return slices.DeleteFunc(slices.Clone(subjects()), func(s subject) bool { return s.pub.ECDSA == nil && s.pub.Secp256k1 == nil && s.pub.SM2 == nil })
}

type integers struct{ R, S *big.Int }

// TestHighS: KMS makes high S with every curve, and both it and its twin verify. SM2's equation has no such twin.
func TestHighS(t *testing.T) {
	for _, s := range derSubjects() {
		sig := s.sign(t, message)
		var v integers
		must(asn1.Unmarshal(sig, &v))
		n := orderOf(s.spec)
		v.S.Sub(n, v.S)
		_, err := verify(s, "", message, must(asn1.Marshal(v)))
		if s.spec == kmskey.SM2 {
			wantError(t, err, kmserr.InvalidSignature, "not one of this key")
		} else if err != nil {
			t.Errorf("%s: the other S is refused: %v", s.name(), err)
		}
	}
}

// TestIllFormedDER: one value has one spelling. Every refusal says what is ill-formed.
func TestIllFormedDER(t *testing.T) {
	ran := 0
	for _, s := range derSubjects() {
		var v integers
		must(asn1.Unmarshal(s.sign(t, message), &v))
		n := orderOf(s.spec)
		size := (n.BitLen() + 7) / 8
		r, sInt := must(asn1.Marshal(v.R)), must(asn1.Marshal(v.S))
		body := slices.Concat(r, sInt)
		good := must(asn1.Marshal(v))
		zero := []byte{2, 1, 0}
		long := func(tag byte, b []byte) []byte { // a length in one byte more than it needs
			if len(b) < 128 {
				return append([]byte{tag, 0x81, byte(len(b))}, b...)
			}
			return append([]byte{tag, 0x82, 0, byte(len(b))}, b...)
		}
		padded := func(x *big.Int) []byte {
			b := must(asn1.Marshal(x))
			return append([]byte{2, b[1] + 1, 0}, b[2:]...)
		}
		add := func(x *big.Int) []byte { return must(asn1.Marshal(new(big.Int).Add(x, n))) }
		sides := append(v.R.FillBytes(make([]byte, size)), v.S.FillBytes(make([]byte, size))...)
		if sides[0] == 0x30 { // that a SEQUENCE starts so too is tested by the fuzz target
			sides[0]++
		}
		for _, c := range []struct {
			name  string
			sig   []byte
			fault string
		}{
			{"r and s side by side", sides, "IEEE P1363, where KMS writes DER"},
			{"no SEQUENCE", body, "it is no DER SEQUENCE"},
			{"a SET", append([]byte{0x31}, good[1:]...), "it is no DER SEQUENCE"},
			{"cut", good[:len(good)-1], "its SEQUENCE is truncated"},
			{"only a tag", good[:1], "its SEQUENCE is truncated"},
			{"no numbers", []byte{0x30, 0}, "r is no DER INTEGER"},
			{"BER, long length", long(0x30, body), "not in DER's shortest form"},
			{"BER, indefinite length", slices.Concat([]byte{0x30, 0x80}, body, []byte{0, 0}), "its SEQUENCE is truncated, or the length"},
			{"trailing byte", append(bytes.Clone(good), 0), "1 bytes follow the end of its SEQUENCE"},
			{"followed by itself", slices.Concat(good, good), "bytes follow the end of its SEQUENCE"},
			{"a third number", seq(r, sInt, zero), "3 bytes follow s in its SEQUENCE"},
			{"trailing in the SEQUENCE", seq(r, sInt, []byte{0}), "1 bytes follow s in its SEQUENCE"},
			{"one number", seq(r), "s is no DER INTEGER"},
			{"r with a long length", seq(long(2, r[2:]), sInt), "r is no DER INTEGER"},
			{"s with a long length", seq(r, long(2, sInt[2:])), "s is no DER INTEGER"},
			{"r without content", seq([]byte{2, 0}, sInt), "r is no DER INTEGER"},
			{"r is an OCTET STRING", seq(append([]byte{4}, r[1:]...), sInt), "r is no DER INTEGER"},
			{"s is NULL", seq(r, []byte{5, 0}), "s is no DER INTEGER"},
			{"r padded", seq(padded(v.R), sInt), "r has more leading zeros than DER allows"},
			{"s padded", seq(r, padded(v.S)), "s has more leading zeros than DER allows"},
			{"r negative", seq([]byte{2, 1, 0xff}, sInt), "r is negative"},
			{"s negative", seq(r, must(asn1.Marshal(new(big.Int).Neg(v.S)))), "s is negative"},
			{"r zero", seq(zero, sInt), "r is zero"},
			{"s zero", seq(r, zero), "s is zero"},
			{"both zero", seq(zero, zero), "r is zero"},
			{"r the order", seq(must(asn1.Marshal(n)), sInt), "r is not below the order"},
			{"s the order", seq(r, must(asn1.Marshal(n))), "s is not below the order"},
			{"r plus the order", seq(add(v.R), sInt), "r is not below the order"},
			{"s plus the order", seq(r, add(v.S)), "s is not below the order"},
			{"s far beyond", seq(r, must(asn1.Marshal(new(big.Int).Lsh(big.NewInt(1), 640)))), "s is not below the order"},
		} {
			ran++
			facts, err := verify(s, "", message, c.sig)
			if err == nil {
				t.Errorf("%s, %s: verified", s.name(), c.name)
				continue
			}
			wantError(t, err, kmserr.InvalidSignature, "the signature is ill-formed for "+string(s.alg)+": ", c.fault)
			if facts.Bytes != int64(len(message)) {
				t.Errorf("%s, %s: the input's facts are missing", s.name(), c.name)
			}
		}
		for _, c := range []integers{ // in form and range, and no signatures
			{big.NewInt(1), big.NewInt(1)}, {v.S, v.R}, {new(big.Int).Sub(n, v.R), v.S},
			{new(big.Int).Sub(n, big.NewInt(1)), new(big.Int).Sub(n, big.NewInt(1))},
			{v.R, new(big.Int).Sub(n, v.R)}, // SM2: t = r+s = 0 mod n
		} {
			ran++
			_, err := verify(s, "", message, must(asn1.Marshal(c)))
			wantError(t, err, kmserr.InvalidSignature, "not one of this key")
		}
	}
	if want := 5 * (30 + 5); ran != want {
		t.Errorf("%d signatures ran, expected %d", ran, want)
	}
}

// seq writes a SEQUENCE of less than 256 bytes.
func seq(parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	if len(body) < 128 {
		return append([]byte{0x30, byte(len(body))}, body...)
	}
	return append([]byte{0x30, 0x81, byte(len(body))}, body...)
}

// TestSM2OptionsElsewhere: an option that would have no effect is refused.
func TestSM2OptionsElsewhere(t *testing.T) {
	for _, s := range subjects() {
		for name, opts := range map[string]Options{
			"a distinguishing ID": {DistinguishingID: id([]byte("ALICE123@YAHOO.COM"))},
			"an ENTL rule":        {ENTL: kmskey.ENTLAWSJavaHelper},
		} {
			if s.alg != kmskey.SM2DSA {
				_, err := Verify(t.Context(), s.pub, s.alg, "", unread{t}, []byte("signature"), opts)
				wantError(t, err, kmserr.Validation, name+" is given, which is for SM2DSA and not for "+string(s.alg))
				_, _, err = Digest(t.Context(), s.pub, s.alg, unread{t}, opts)
				wantError(t, err, kmserr.Validation, name)
				continue
			}
			_, err := Verify(t.Context(), s.pub, s.alg, kmskey.Digest, unread{t}, []byte("signature"), opts)
			wantError(t, err, kmserr.Validation, name+" is given with message type DIGEST")
		}
	}
	s := subjectOf(kmskey.SM2, kmskey.SM2DSA)
	_, err := Verify(t.Context(), s.pub, s.alg, "", unread{t}, []byte("signature"), Options{ENTL: 2})
	wantError(t, err, kmserr.Validation, "ENTL rule 2")
	// Given and empty is an ID too.
	_, err = Verify(t.Context(), s.pub, s.alg, kmskey.Digest, unread{t}, []byte("signature"), Options{DistinguishingID: id(nil)})
	wantError(t, err, kmserr.Validation, "holds its ID already")
}

// TestPointsOffTheCurve: spki.Parse makes no such keys; a library that was handed one must not say yes either.
func TestPointsOffTheCurve(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), sm2.P256()} {
		off := &ecdsa.PublicKey{Curve: curve, X: big.NewInt(1), Y: big.NewInt(1)}
		s := subjectOf(kmskey.ECCNISTP256, kmskey.ECDSASHA256)
		pub := &spki.PublicKey{Spec: "ECC_NIST_P256", ECDSA: off}
		if curve == sm2.P256() {
			s = subjectOf(kmskey.SM2, kmskey.SM2DSA)
			pub = &spki.PublicKey{Spec: "SM2", SM2: off}
		}
		sig := s.sign(t, message)
		s.pub = pub
		_, err := verify(s, "", message, sig)
		wantError(t, err, kmserr.InvalidSignature)
	}
}

// TestErrorsKeepTheirCause: what the library said stays reachable, and is not the sentence.
func TestErrorsKeepTheirCause(t *testing.T) {
	s := subjectOf(kmskey.RSA2048, kmskey.RSASSAPKCS1SHA256)
	_, err := verify(s, "", message, make([]byte, 256))
	if !errors.Is(err, rsa.ErrVerification) {
		t.Errorf("%v does not wrap rsa.ErrVerification", err)
	}
}
