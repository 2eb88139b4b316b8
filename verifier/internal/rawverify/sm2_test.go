package rawverify

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// sm2Pair is an SM2 key with its spki form.
func sm2Pair() (*sm2.PrivateKey, *spki.PublicKey) {
	key := must(sm2.GenerateKey(rand.Reader))
	return key, sm2Public(&key.PublicKey)
}

// idOf is an ID of n bytes with every byte value in it, zeros too.
func idOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func verifySM2Message(pub *spki.PublicKey, sig []byte, opts Options) error {
	_, err := Verify(context.Background(), pub, kmskey.SM2DSA, "", bytes.NewReader(message), sig, opts)
	return err
}

// TestZAIsGMSMs: our ZA, composed by hand for the helper's sake, is the library's for every length of ID.
func TestZAIsGMSMs(t *testing.T) {
	key, pub := sm2Pair()
	lengths := 0
	for n := 1; n <= kmskey.MaxDistinguishingID; n += 1 + n/37 {
		lengths++
		za, err := sm2.CalculateZA(&key.PublicKey, idOf(n))
		if err != nil {
			t.Fatal(err)
		}
		want := sm3.Sum(append(za, message...))
		got, typ, err := Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(message), Options{DistinguishingID: id(idOf(n))})
		if err != nil || typ != kmskey.Digest || !bytes.Equal(got, want[:]) {
			t.Fatalf("ID of %d bytes: e is %x, expected %x (%v)", n, got, want, err)
		}
	}
	if lengths != 223 {
		t.Errorf("%d lengths ran, expected 223", lengths)
	}
	for _, n := range []int{kmskey.MaxDistinguishingID} {
		za := must(sm2.CalculateZA(&key.PublicKey, idOf(n)))
		want := sm3.Sum(za)
		if got := must3(Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(nil), Options{DistinguishingID: id(idOf(n))})); !bytes.Equal(got, want[:]) {
			t.Errorf("ID of %d bytes: e is %x, expected %x", n, got, want)
		}
	}
	if _, err := kmskey.NewDistinguishingID(idOf(kmskey.MaxDistinguishingID + 1)); err == nil {
		t.Error("an ID whose bits do not fit in ENTL was taken")
	}
}

// TestNotGivenIsNotEmpty: not given means KMS's default; given and empty means empty. gmsm takes the one for the other,
// in CalculateZA too.
func TestNotGivenIsNotEmpty(t *testing.T) {
	key, pub := sm2Pair()
	sign := func(user []byte) []byte {
		e := textbookDigest(key, []byte{byte(len(user) * 8 >> 8), byte(len(user) * 8)}, user)
		return must(sm2.SignASN1(rand.Reader, key, e, nil))
	}
	byDefault, byEmpty := sign([]byte("1234567812345678")), sign(nil)
	notGiven, empty, explicit := Options{}, Options{DistinguishingID: id(nil)}, Options{DistinguishingID: id([]byte("1234567812345678"))}
	for _, c := range []struct {
		name string
		sig  []byte
		opts Options
		good bool
	}{
		{"default, not given", byDefault, notGiven, true},
		{"default, given", byDefault, explicit, true},
		{"default, empty", byDefault, empty, false},
		{"empty, empty", byEmpty, empty, true},
		{"empty, not given", byEmpty, notGiven, false},
		{"empty, default given", byEmpty, explicit, false},
		{"default, another", byDefault, Options{DistinguishingID: id([]byte("1234567812345679"))}, false},
	} {
		err := verifySM2Message(pub, c.sig, c.opts)
		if c.good && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.good {
			wantError(t, err, kmserr.InvalidSignature, "not one of this key over this message with SM2DSA")
		}
	}
}

// textbookDigest is e of message with all constants from the standard's text (GB/T 32918.5), none from the code under test.
func textbookDigest(key *sm2.PrivateKey, entl, user []byte) []byte {
	constants := must(hex.DecodeString("" +
		"FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC" +
		"28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93" +
		"32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7" +
		"BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0"))
	x, y := key.X.FillBytes(make([]byte, 32)), key.Y.FillBytes(make([]byte, 32))
	za := sm3.Sum(slices.Concat(entl, user, constants, x, y))
	e := sm3.Sum(append(za[:], message...))
	return e[:]
}

// helperDigest is the digest of AWS's published SM2OfflineOperationHelper, told anew from its arithmetic: it makes two
// bytes of the ID's bits as (byte)(bits & 0xFF00) and (byte)(bits & 0x00FF), and Java's cast keeps the low eight bits.
func helperDigest(key *sm2.PrivateKey, user []byte) []byte {
	bits := len(user) * 8
	return textbookDigest(key, []byte{byte(bits & 0xFF00), byte(bits & 0x00FF)}, user)
}

// TestJavaHelper: a digest of the helper's, signed by KMS, is refused by the standard, said to be the helper's, and
// verifies where that was asked for.
func TestJavaHelper(t *testing.T) {
	key, pub := sm2Pair()
	const asked = "the option sm2-entl, aws-java-helper"
	ran := 0
	for _, n := range []int{0, 1, 16, 31, 32, 33, 63, 64, 100, 255, 256, 257, 8190, 8191} {
		ran++
		opts := Options{DistinguishingID: id(idOf(n))}
		helper := Options{DistinguishingID: opts.DistinguishingID, ENTL: kmskey.ENTLAWSJavaHelper}
		e := helperDigest(key, idOf(n))
		if got := must3(Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(message), helper)); !bytes.Equal(got, e) {
			t.Fatalf("ID of %d bytes: the helper's digest is %x, expected %x", n, got, e)
		}
		sig := must(sm2.SignASN1(rand.Reader, key, e, nil))
		if err := verifySM2Message(pub, sig, helper); err != nil {
			t.Errorf("ID of %d bytes, by the helper's rule: %v", n, err)
		}
		if _, err := Verify(t.Context(), pub, kmskey.SM2DSA, kmskey.Digest, bytes.NewReader(e), sig, Options{}); err != nil {
			t.Errorf("ID of %d bytes, DIGEST: %v", n, err)
		}
		byStandard := verifySM2Message(pub, sig, opts)
		if n < 32 { // the two rules are one
			if byStandard != nil {
				t.Errorf("ID of %d bytes: %v", n, byStandard)
			}
			continue
		}
		wantError(t, byStandard, kmserr.InvalidSignature, "fails by the standard, and would pass by the ENTL rule of AWS's Java helper", asked)

		// And the reverse: the helper's rule was asked for, and the signature is the standard's.
		std := must3(Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(message), opts))
		sig = must(sm2.SignASN1(rand.Reader, key, std, nil))
		if err := verifySM2Message(pub, sig, opts); err != nil {
			t.Errorf("ID of %d bytes, by the standard: %v", n, err)
		}
		wantError(t, verifySM2Message(pub, sig, helper), kmserr.InvalidSignature, "fails by the ENTL rule of AWS's Java helper", "Leave the option sm2-entl out")

		// A signature that is simply wrong is not put on the helper.
		sig = must(sm2.SignASN1(rand.Reader, key, make([]byte, 32), nil))
		for _, o := range []Options{opts, helper} {
			err := verifySM2Message(pub, sig, o)
			wantError(t, err, kmserr.InvalidSignature, "not one of this key over this message")
			if e := kmserr.As(err); bytes.Contains([]byte(e.Fact+e.Hint), []byte("elper")) {
				t.Errorf("ID of %d bytes: a wrong signature is put on the helper: %v", n, err)
			}
		}
		wantError(t, verifySM2Message(pub, sig[:len(sig)-1], opts), kmserr.InvalidSignature, "ill-formed")
	}
	if ran != 14 {
		t.Errorf("%d IDs ran, expected 14", ran)
	}
}

// TestHelperRuleWithTheDefaultID: the default ID is 16 bytes long, where the rules agree.
func TestHelperRuleWithTheDefaultID(t *testing.T) {
	key, pub := sm2Pair()
	std := must3(Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(message), Options{}))
	helper := must3(Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(message), Options{ENTL: kmskey.ENTLAWSJavaHelper}))
	if !bytes.Equal(std, helper) {
		t.Error("the rules differ for 16 bytes of ID")
	}
	sig := must(sm2.SignASN1(rand.Reader, key, std, nil))
	if err := verifySM2Message(pub, sig, Options{ENTL: kmskey.ENTLAWSJavaHelper}); err != nil {
		t.Error(err)
	}
}

// TestGMSMTruncates shows why digests have a type: without it, hash‖junk verifies.
func TestGMSMTruncates(t *testing.T) {
	key, pub := sm2Pair()
	e := must3(Digest(t.Context(), pub, kmskey.SM2DSA, bytes.NewReader(message), Options{}))
	sig := must(sm2.SignASN1(rand.Reader, key, e, nil))
	if !sm2.VerifyASN1(pub.SM2, append(e, "junk"...), sig) {
		t.Error("gmsm no longer verifies a digest with bytes behind it: say so in the package comment")
	}
}
