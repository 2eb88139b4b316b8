package spki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"github.com/emmansun/gmsm/sm2"
)

// FuzzSPKI: no panic; what is taken crypto/x509 takes too, where it knows the algorithm, with the same key and the same
// bytes; what crypto/x509 takes of KMS's kinds and writes in the same bytes is taken; and every key has one encoding, which
// reads back as itself.
func FuzzSPKI(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.der)
	}
	f.Add(marshal(oidSM2, nil, sm2Point()))
	f.Add(marshal(oidSM2, null, sm2Point()))
	f.Add(marshal(oidSM2, must(asn1.Marshal(oidSM2)), sm2Point()))
	f.Fuzz(func(t *testing.T, der []byte) {
		k, err := Parse(der)
		if err != nil {
			if k != nil || err.Error() == "" {
				t.Fatalf("%x: a key or no text beside an error: %v", der, err)
			}
			if theirs, x509Err := x509.ParsePKIXPublicKey(der); x509Err == nil && likeKMS(theirs) && bytes.Equal(must(x509.MarshalPKIXPublicKey(theirs)), der) {
				t.Fatalf("%x: crypto/x509 takes it and writes it so, and we say: %v", der, err)
			}
			return
		}
		again, err := Parse(k.DER)
		if err != nil || again.Spec != k.Spec || again.Fingerprint() != k.Fingerprint() {
			t.Fatalf("%x: the canonical encoding %x reads as %v, %v", der, k.DER, again, err)
		}
		if !bytes.Equal(der, k.DER) && k.SM2 == nil {
			t.Fatalf("%x: a key of spec %s is taken in a second encoding; the first is %x", der, k.Spec, k.DER)
		}
		var rebuilt []byte
		switch {
		case k.RSA != nil:
			rebuilt = must(x509.MarshalPKIXPublicKey(k.RSA))
		case k.ECDSA != nil:
			rebuilt = must(x509.MarshalPKIXPublicKey(k.ECDSA))
		case k.Ed25519 != nil:
			rebuilt = must(x509.MarshalPKIXPublicKey(k.Ed25519))
		case k.Secp256k1 != nil:
			rebuilt = ec(oidSecp256k1, k.Secp256k1.SerializeUncompressed())
		case k.SM2 != nil:
			rebuilt = ec(oidSM2, must(sm2.PublicKeyToECDH(k.SM2)).Bytes())
		case k.MLDSA != nil:
			last := map[string]int{"ML_DSA_44": 17, "ML_DSA_65": 18, "ML_DSA_87": 19}[k.Spec]
			rebuilt = marshal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, last}, nil, k.MLDSA.Bytes())
		default: // ML-KEM's material is not kept
			return
		}
		if !bytes.Equal(rebuilt, k.DER) {
			t.Fatalf("%x: the material of spec %s encodes as %x", der, k.Spec, rebuilt)
		}
		if k.RSA != nil || k.ECDSA != nil || k.Ed25519 != nil {
			theirs, err := x509.ParsePKIXPublicKey(der)
			if err != nil || !bytes.Equal(must(x509.MarshalPKIXPublicKey(theirs)), der) {
				t.Fatalf("%x: taken as %s, and crypto/x509 says %v", der, k.Spec, err)
			}
		}
	})
}

// likeKMS reports whether KMS could have such a key, by the rules of this package's comment.
func likeKMS(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		size := k.N.BitLen()
		return k.E == 65537 && k.N.Bit(0) == 1 && (size == 2048 || size == 3072 || size == 4096)
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	}
	return false // crypto/x509 looks at nothing but the length of an Ed25519 key
}
