package rawverify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"

	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FuzzSignatureDER: our reading of a signature agrees with encoding/asn1's where that is strict too (what it reads and
// writes back unchanged is DER), with decred's, and no library verifies what we call ill-formed.
func FuzzSignatureDER(f *testing.F) {
	all := derSubjects()
	for i, s := range all {
		f.Add(i, s.sign(f, message))
	}
	f.Add(0, []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add(1, []byte{0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0})
	f.Add(2, bytes.Repeat([]byte{0x30}, 64))
	digests := map[kmskey.KeySpec][]byte{}
	for _, s := range all {
		digests[s.spec] = must3(Digest(context.Background(), s.pub, s.alg, bytes.NewReader(message), Options{}))
	}
	f.Fuzz(func(t *testing.T, which int, sig []byte) {
		s := all[uint(which)%uint(len(all))]
		n := orderOf(s.spec)
		r, sBytes, fault := derSignature(sig, n.Bytes())

		var v integers
		rest, err := asn1.Unmarshal(sig, &v)
		strict := false
		if err == nil && len(rest) == 0 {
			again, err := asn1.Marshal(v)
			in := func(x *big.Int) bool { return x.Sign() > 0 && x.Cmp(n) < 0 }
			strict = err == nil && bytes.Equal(again, sig) && in(v.R) && in(v.S)
		}
		if strict != (fault == "") {
			t.Fatalf("%x on %s: ours says %q, encoding/asn1 finds it strict: %v", sig, s.spec, fault, strict)
		}
		if fault == "" && (!bytes.Equal(r, v.R.Bytes()) || !bytes.Equal(sBytes, v.S.Bytes())) {
			t.Fatalf("%x on %s: ours reads %x and %x, encoding/asn1 %x and %x", sig, s.spec, r, sBytes, v.R, v.S)
		}
		if s.pub.Secp256k1 != nil {
			if _, err := secp256k1ecdsa.ParseDERSignature(sig); (err == nil) != (fault == "") {
				t.Fatalf("%x: ours says %q, decred %v", sig, fault, err)
			}
		}

		_, err = verify(s, "", message, sig)
		var library bool
		switch {
		case s.pub.ECDSA != nil:
			library = ecdsa.VerifyASN1(s.pub.ECDSA, digests[s.spec], sig)
		case s.pub.SM2 != nil:
			library = sm2.VerifyASN1(s.pub.SM2, digests[s.spec], sig)
		case fault == "":
			library = err == nil
		}
		if len(sig) > 0 && library != (err == nil) {
			t.Fatalf("%x on %s: the library says %v, we %v", sig, s.spec, library, err)
		}
		if err == nil && fault != "" {
			t.Fatalf("%x on %s verified although %s", sig, s.spec, fault)
		}
	})
}

// FuzzRecovered: the verdict on the form of a signature is that of crypto/ecdsa's own parser, which it does not export. For any
// two numbers that a lenient reader finds there is, every other time, a public key under which they are a signature;
// under that key crypto/ecdsa verifies if and only if it takes the form.
func FuzzRecovered(f *testing.F) {
	p256 := subjectOf(kmskey.ECCNISTP256, kmskey.ECDSASHA256)
	hash := must3(Digest(context.Background(), p256.pub, p256.alg, bytes.NewReader(message), Options{}))
	for _, sig := range [][]byte{
		p256.sign(f, message),
		{0x30, 6, 2, 1, 5, 2, 1, 1}, {0x30, 6, 2, 1, 6, 2, 1, 1}, {0x30, 0x81, 6, 2, 1, 5, 2, 1, 1}, {0x30, 7, 2, 2, 0, 5, 2, 1, 1},
		{0x30, 7, 2, 0x81, 1, 5, 2, 1, 1}, {0x30, 6, 2, 1, 5, 2, 1, 1, 0}, {0x30, 8, 2, 1, 5, 2, 1, 1, 5, 0}, {0x31, 6, 2, 1, 5, 2, 1, 1},
	} {
		f.Add(sig)
	}
	n := orderOf(kmskey.ECCNISTP256)
	good := p256.sign(f, message)
	if r, s, _ := twoNumbers(good); recoverP256(r, s, hash) == nil {
		f.Fatalf("no key was found for the signature %x", good)
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		r, s, found := twoNumbers(sig)
		if !found {
			return
		}
		key := recoverP256(r, s, hash)
		if key == nil {
			return
		}
		_, _, fault := derSignature(sig, n.Bytes())
		if theirs := ecdsa.VerifyASN1(key, hash, sig); theirs != (fault == "") {
			t.Fatalf("%x: ours says %q, crypto/ecdsa %v", sig, fault, theirs)
		}
		pub := must(spki.Parse(must(x509.MarshalPKIXPublicKey(key))))
		_, err := Verify(context.Background(), pub, kmskey.ECDSASHA256, "", bytes.NewReader(message), sig, Options{})
		if (err == nil) != (fault == "") {
			t.Fatalf("%x: ours says %q, and then %v", sig, fault, err)
		}
	})
}

// twoNumbers reads two numbers as a lenient reader of BER would: whatever the tags, and whatever is left over.
func twoNumbers(sig []byte) (r, s *big.Int, found bool) {
	element := func(b []byte) (content, rest []byte) {
		if len(b) < 2 {
			return nil, nil
		}
		size, b := int(b[1]), b[2:]
		if size == 0x80 { // until its end
			size = len(b)
		} else if size > 0x80 {
			long := size - 0x80
			if long > 2 || len(b) < long {
				return nil, nil
			}
			size = int(new(big.Int).SetBytes(b[:long]).Int64())
			b = b[long:]
		}
		if size > len(b) {
			return nil, nil
		}
		return b[:size], b[size:]
	}
	inner, _ := element(sig)
	first, rest := element(inner)
	second, _ := element(rest)
	return new(big.Int).SetBytes(first), new(big.Int).SetBytes(second), len(first) > 0 && len(second) > 0
}

// recoverP256 returns a public key under which r and s are a signature over hash (SEC 1, section 4.1.6), nil if there is none.
func recoverP256(r, s *big.Int, hash []byte) *ecdsa.PublicKey {
	curve := elliptic.P256()
	n := curve.Params().N
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(n) >= 0 || s.Cmp(n) >= 0 {
		return nil
	}
	x, y := elliptic.UnmarshalCompressed(curve, append([]byte{2}, r.FillBytes(make([]byte, 32))...))
	if x == nil {
		return nil
	}
	inverse := new(big.Int).ModInverse(r, n)
	u := new(big.Int).Mul(s, inverse)
	v := new(big.Int).Mul(new(big.Int).SetBytes(hash), inverse)
	u.Mod(u, n)
	v.Mod(v.Neg(v), n)
	// Package ecdh keeps the second coordinate for itself, so the old calls on points it is.
	ux, uy := curve.ScalarMult(x, y, u.FillBytes(make([]byte, 32)))
	vx, vy := curve.ScalarBaseMult(v.FillBytes(make([]byte, 32)))
	qx, qy := curve.Add(ux, uy, vx, vy)
	return &ecdsa.PublicKey{Curve: curve, X: qx, Y: qy}
}

// FuzzVerify: whatever comes in, the answer is nil or an error of ours with a sentence, never a panic, and nil only for
// the one message that was signed, or its digest.
func FuzzVerify(f *testing.F) {
	all := subjects()
	digests := make([][]byte, len(all))
	for i, s := range all {
		good := s.sign(f, message)
		digests[i], _, _ = Digest(context.Background(), s.pub, s.alg, bytes.NewReader(message), Options{})
		f.Add(i, "", message, good, []byte(nil), false, 0)
		f.Add(i, "DIGEST", digests[i], good, []byte(nil), false, 0)
		f.Add(i, "EXTERNAL_MU", make([]byte, muSize), good[1:], []byte("an ID of more than thirty-two bytes"), true, 1)
	}
	f.Fuzz(func(t *testing.T, which int, typ string, input, sig, user []byte, given bool, entl int) {
		i := uint(which) % uint(len(all))
		s := all[i]
		opts := Options{ENTL: kmskey.ENTL(entl)}
		if given && len(user) <= kmskey.MaxDistinguishingID {
			opts.DistinguishingID = id(user)
		}
		facts, err := Verify(t.Context(), s.pub, s.alg, kmskey.MessageType(typ), bytes.NewReader(input), sig, opts)
		if err == nil {
			signed := message
			if typ == string(kmskey.Digest) {
				signed = digests[i]
			}
			if !bytes.Equal(input, signed) || facts.Bytes != int64(len(input)) {
				t.Fatalf("%s, %q: %x verified over %x", s.name(), typ, sig, input)
			}
			return
		}
		if e := kmserr.As(err); e.Fact == "" || e.Name == kmserr.Internal {
			t.Fatalf("%s, %q: %v", s.name(), typ, err)
		}
	})
}
