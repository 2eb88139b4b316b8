package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// preamble stands before the PEM block of every private key; PEM readers skip it (RFC 7468, section 2).
const preamble = `TEST KEY of awskms-offline, made by e2e/generate. It is public: it protects nothing and must never be used.
`

// Object identifiers of the keys that crypto/x509 does not know.
var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}         // RFC 5480
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}               // SEC 2
	oidSM2         = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}       // GM/T 0006
	oidMLKEM768    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2} // RFC 9935
	contextSeed    = cbasn1.Tag(0).ContextSpecific()                       // RFC 9935: seed [0] OCTET STRING
	contextPublic  = cbasn1.Tag(1).ContextSpecific().Constructed()         // RFC 5915: publicKey [1] BIT STRING
)

// material is one key pair.
type material struct {
	pkcs8 []byte // DER PrivateKeyInfo
	spki  []byte // DER SubjectPublicKeyInfo, as KMS's GetPublicKey answers it
	// signer is set for the keys that crypto/x509 knows and that can sign.
	signer crypto.Signer
	// certificate is set for the keys that sign for Notation.
	certificate *x509.Certificate
	// sm2 is set for an SM2 key.
	sm2 *sm2.PrivateKey
}

// loadOrMake reads the private key, or makes and writes it if there is no such file. Any other failure is an error: a
// key is never replaced.
func loadOrMake(k fixture.Key, path string) (*material, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		pkcs8, err := newKey(k.Spec)
		if err != nil {
			return nil, err
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
		if err := os.WriteFile(path, append([]byte(preamble), block...), 0o600); err != nil {
			return nil, err
		}
		return parseKey(k.Spec, pkcs8)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no PEM block PRIVATE KEY", path)
	}
	return parseKey(k.Spec, block.Bytes)
}

// newKey makes a PKCS#8 key of the KMS key spec.
func newKey(spec string) ([]byte, error) {
	switch spec {
	case "RSA_2048", "RSA_3072", "RSA_4096":
		bits := map[string]int{"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}[spec]
		return marshalNew(rsa.GenerateKey(rand.Reader, bits))
	case "ECC_NIST_P256":
		return marshalNew(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ECC_NIST_P384":
		return marshalNew(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "ECC_NIST_P521":
		return marshalNew(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case "ECC_NIST_EDWARDS25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return marshalNew(private, err)
	case "ML_DSA_44", "ML_DSA_65", "ML_DSA_87":
		private, err := mldsa.GenerateKey(mldsaParameters(spec))
		if err != nil {
			return nil, err
		}
		return mldsax509.MarshalPKCS8PrivateKey(private)
	case "ECC_SECG_P256K1":
		private, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			return nil, err
		}
		return marshalEC(oidSecp256k1, private.Serialize(), private.PubKey().SerializeUncompressed())
	case "SM2":
		private, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		point, err := sm2Point(private)
		if err != nil {
			return nil, err
		}
		return marshalEC(oidSM2, private.D.FillBytes(make([]byte, 32)), point)
	case "ML_KEM_768":
		private, err := mlkem.GenerateKey768()
		if err != nil {
			return nil, err
		}
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidMLKEM768) })
			b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
				b.AddASN1(contextSeed, func(b *cryptobyte.Builder) { b.AddBytes(private.Bytes()) })
			})
		})
		return b.Bytes()
	}
	return nil, fmt.Errorf("no way to make a key of spec %s", spec)
}

func marshalNew[K any](private K, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

func mldsaParameters(spec string) mldsa.Parameters {
	switch spec {
	case "ML_DSA_44":
		return mldsa.MLDSA44()
	case "ML_DSA_65":
		return mldsa.MLDSA65()
	}
	return mldsa.MLDSA87()
}

// parseKey reads a PKCS#8 key of the KMS key spec and refuses one of another spec.
func parseKey(spec string, pkcs8 []byte) (*material, error) {
	m := &material{pkcs8: pkcs8}
	var err error
	switch spec {
	case "ECC_SECG_P256K1":
		scalar, err := parseEC(oidSecp256k1, pkcs8)
		if err != nil {
			return nil, err
		}
		m.spki, err = marshalECPublic(oidSecp256k1, secp256k1.PrivKeyFromBytes(scalar).PubKey().SerializeUncompressed())
		return m, err
	case "SM2":
		scalar, err := parseEC(oidSM2, pkcs8)
		if err != nil {
			return nil, err
		}
		if m.sm2, err = sm2.NewPrivateKey(scalar); err != nil {
			return nil, err
		}
		point, err := sm2Point(m.sm2)
		if err != nil {
			return nil, err
		}
		m.spki, err = marshalECPublic(oidSM2, point)
		return m, err
	case "ML_KEM_768":
		m.spki, err = mlkemPublic(pkcs8)
		return m, err
	case "ML_DSA_44", "ML_DSA_65", "ML_DSA_87":
		private, err := mldsax509.ParsePKCS8PrivateKey(pkcs8)
		if err != nil {
			return nil, err
		}
		key, ok := private.(*mldsa.PrivateKey)
		if !ok || key.PublicKey().Parameters() != mldsaParameters(spec) {
			return nil, fmt.Errorf("the key is not %s", spec)
		}
		m.spki, err = mldsax509.MarshalPKIXPublicKey(key.PublicKey())
		return m, err
	}
	private, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key is a %T", private)
	}
	if got := standardSpec(signer.Public()); got != spec {
		return nil, fmt.Errorf("the key is %s, not %s", got, spec)
	}
	m.signer = signer
	m.spki, err = x509.MarshalPKIXPublicKey(signer.Public())
	return m, err
}

// standardSpec names the KMS key spec of a key that crypto/x509 knows.
func standardSpec(public crypto.PublicKey) string {
	switch p := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA_%d", p.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ECC_NIST_P%d", p.Curve.Params().BitSize)
	case ed25519.PublicKey:
		return "ECC_NIST_EDWARDS25519"
	}
	return fmt.Sprintf("a %T", public)
}

// marshalEC makes PKCS#8 (RFC 5958) around an ECPrivateKey (RFC 5915), for curves that crypto/x509 does not know.
func marshalEC(curve asn1.ObjectIdentifier, scalar, point []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		addECAlgorithm(b, curve)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1OctetString(scalar)
				b.AddASN1(contextPublic, func(b *cryptobyte.Builder) { b.AddASN1BitString(point) })
			})
		})
	})
	return b.Bytes()
}

// parseEC reads the scalar out of what marshalEC made.
func parseEC(curve asn1.ObjectIdentifier, pkcs8 []byte) ([]byte, error) {
	var outer, algorithm, private, inner, scalar cryptobyte.String
	var id, params asn1.ObjectIdentifier
	var version, innerVersion int64
	input := cryptobyte.String(pkcs8)
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1Integer(&version) || version != 0 ||
		!outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !algorithm.ReadASN1ObjectIdentifier(&params) ||
		!outer.ReadASN1(&private, cbasn1.OCTET_STRING) ||
		!private.ReadASN1(&inner, cbasn1.SEQUENCE) ||
		!inner.ReadASN1Integer(&innerVersion) || innerVersion != 1 ||
		!inner.ReadASN1(&scalar, cbasn1.OCTET_STRING) || len(scalar) != 32 {
		return nil, errors.New("malformed PKCS#8")
	}
	if !id.Equal(oidECPublicKey) || !params.Equal(curve) {
		return nil, fmt.Errorf("the key is on curve %s, not %s", params, curve)
	}
	return scalar, nil
}

func addECAlgorithm(b *cryptobyte.Builder, curve asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidECPublicKey)
		b.AddASN1ObjectIdentifier(curve)
	})
}

func marshalECPublic(curve asn1.ObjectIdentifier, point []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addECAlgorithm(b, curve)
		b.AddASN1BitString(point)
	})
	return b.Bytes()
}

// sm2Point encodes the public point, uncompressed.
func sm2Point(private *sm2.PrivateKey) ([]byte, error) {
	public, err := sm2.PublicKeyToECDH(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	return public.Bytes(), nil
}

// mlkemPublic makes the SubjectPublicKeyInfo (RFC 9935) of a PKCS#8 seed.
func mlkemPublic(pkcs8 []byte) ([]byte, error) {
	var outer, algorithm, private, seed cryptobyte.String
	var id asn1.ObjectIdentifier
	var version int64
	input := cryptobyte.String(pkcs8)
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1Integer(&version) || version != 0 ||
		!outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&id) ||
		!outer.ReadASN1(&private, cbasn1.OCTET_STRING) || !private.ReadASN1(&seed, contextSeed) {
		return nil, errors.New("malformed PKCS#8")
	}
	if !id.Equal(oidMLKEM768) {
		return nil, fmt.Errorf("the key is %s, not ML-KEM-768", id)
	}
	key, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidMLKEM768) })
		b.AddASN1BitString(key.EncapsulationKey().Bytes())
	})
	return b.Bytes()
}

// parseECDSA reads the DER SEQUENCE of r and s.
func parseECDSA(der []byte) (r, s *big.Int, err error) {
	var sequence cryptobyte.String
	r, s = new(big.Int), new(big.Int)
	input := cryptobyte.String(der)
	if !input.ReadASN1(&sequence, cbasn1.SEQUENCE) || !input.Empty() ||
		!sequence.ReadASN1Integer(r) || !sequence.ReadASN1Integer(s) || !sequence.Empty() {
		return nil, nil, errors.New("malformed ECDSA signature")
	}
	return r, s, nil
}
