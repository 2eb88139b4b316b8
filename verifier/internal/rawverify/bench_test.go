package rawverify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// BenchmarkVerify sets our check of a message of 1 KiB beside the bare call of the library under it, which hashes the
// message too and parses the signature where the library leaves that to its caller. Ours reads from an io.Reader,
// checks every form, and computes the SHA-256 for the log.
//
// The third, paired, takes turns and reports the ratio of the medians: on a machine that does other things as well the
// ratio of the first two tells little.
func BenchmarkVerify(b *testing.B) {
	message := bytes.Repeat([]byte("1 KiB of message"), 64)
	for _, s := range subjects() {
		sig := s.sign(b, message)
		r := bytes.NewReader(nil)
		ours := func() bool {
			r.Reset(message)
			_, err := Verify(b.Context(), s.pub, s.alg, "", r, sig, Options{})
			return err == nil
		}
		library := bare(s, message, sig)
		alone := func(check func() bool) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !check() {
						b.Fatal("does not verify")
					}
				}
			}
		}
		b.Run(s.name()+"/ours", alone(ours))
		b.Run(s.name()+"/library", alone(library))
		b.Run(s.name()+"/paired", func(b *testing.B) {
			var took [2][]time.Duration
			for b.Loop() {
				for i, check := range []func() bool{ours, library} {
					start := time.Now()
					if !check() {
						b.Fatal("does not verify")
					}
					took[i] = append(took[i], time.Since(start))
				}
			}
			median := func(d []time.Duration) float64 {
				slices.Sort(d)
				return float64(d[len(d)/2])
			}
			b.ReportMetric(median(took[1])/1000, "library-µs")
			b.ReportMetric(median(took[0])/median(took[1]), "ours/library")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bare is the library's own call.
func bare(s subject, message, sig []byte) func() bool {
	hashed := func() []byte {
		h := s.alg.Hash().New()
		h.Write(message)
		return h.Sum(nil)
	}
	switch {
	case s.alg == kmskey.RSASSAPSSSHA256 || s.alg == kmskey.RSASSAPSSSHA384 || s.alg == kmskey.RSASSAPSSSHA512:
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.alg.Hash()}
		return func() bool { return rsa.VerifyPSS(s.pub.RSA, s.alg.Hash(), hashed(), sig, opts) == nil }
	case s.pub.RSA != nil:
		return func() bool { return rsa.VerifyPKCS1v15(s.pub.RSA, s.alg.Hash(), hashed(), sig) == nil }
	case s.pub.ECDSA != nil:
		return func() bool { return ecdsa.VerifyASN1(s.pub.ECDSA, hashed(), sig) }
	case s.pub.Secp256k1 != nil:
		var v struct{ R, S *big.Int }
		must(asn1.Unmarshal(sig, &v)) // decred's own parser would do as well; its cost is below a microsecond
		return func() bool {
			var r, s2 secp256k1.ModNScalar
			r.SetByteSlice(v.R.Bytes())
			s2.SetByteSlice(v.S.Bytes())
			return secp256k1ecdsa.NewSignature(&r, &s2).Verify(hashed(), s.pub.Secp256k1)
		}
	case s.alg == kmskey.ED25519SHA512:
		return func() bool { return ed25519.Verify(s.pub.Ed25519, message, sig) }
	case s.alg == kmskey.ED25519PHSHA512:
		return func() bool {
			prehash := sha512.Sum512(hashed())
			return ed25519.VerifyWithOptions(s.pub.Ed25519, prehash[:], sig, &ed25519.Options{Hash: crypto.SHA512}) == nil
		}
	case s.pub.MLDSA != nil:
		_, check := mldsaOf(s.pub.MLDSA)
		return func() bool { return check(message, sig) }
	case s.pub.SM2 != nil:
		return func() bool { return sm2.VerifyASN1WithSM2(s.pub.SM2, nil, message, sig) }
	}
	panic("no library for " + s.name())
}

// BenchmarkStream shows what the second hash, the log's SHA-256, costs on a long message.
func BenchmarkStream(b *testing.B) {
	const size = 64 << 20
	for _, s := range []subject{
		subjectOf(kmskey.ECCNISTP256, kmskey.ECDSASHA256), subjectOf(kmskey.ECCNISTP384, kmskey.ECDSASHA384), subjectOf(kmskey.SM2, kmskey.SM2DSA),
	} {
		sig := s.signStream(b, &zeros{size}, Options{})
		b.Run(s.name(), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(b.Context(), s.pub, s.alg, "", &zeros{size}, sig, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
