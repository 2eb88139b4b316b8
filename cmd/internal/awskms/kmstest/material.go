package kmstest

import (
	"bytes"
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
	"os"
	"sync"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of the keys that crypto/x509 does not know.
var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}         // RFC 5480
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}               // SEC 2
	oidSM2         = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}       // GM/T 0006
	oidMLKEM768    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2} // RFC 9935
	oidMLKEM1024   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3} // RFC 9935
)

// maxKeyFile is the size in bytes of the largest key file that is read; an RSA-4096 key in PEM has 3.3 KiB.
const maxKeyFile = 64 << 10

// Material is the key material of an asymmetric key. It is immutable, and any number of keys may share one.
type Material struct {
	spec string
	spki []byte
	// public is *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, *mldsa.PublicKey, *secp256k1.PublicKey, or
	// *sm2Public; nil for ML-KEM, which signs nothing.
	public any
	// private is *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, *mldsa.PrivateKey, *secp256k1.PrivateKey or
	// *sm2.PrivateKey; nil if only the public key is known, and for ML-KEM.
	private any
}

// sm2Public tells an SM2 key from an ECDSA key, which gmsm does not.
type sm2Public struct{ key *ecdsa.PublicKey }

// Spec is the key's KeySpec, for example "ECC_NIST_P256".
func (m *Material) Spec() string { return m.spec }

// PublicKey is the DER SubjectPublicKeyInfo, as GetPublicKey answers it.
func (m *Material) PublicKey() []byte { return bytes.Clone(m.spki) }

// Generate makes new key material of an asymmetric KeySpec. RSA_4096 takes seconds; see Shared. ML_KEM_512 is an error:
// the standard library does not have it.
func Generate(spec string) (*Material, error) {
	switch spec {
	case "RSA_2048":
		return fromStandard(rsa.GenerateKey(rand.Reader, 2048))
	case "RSA_3072":
		return fromStandard(rsa.GenerateKey(rand.Reader, 3072))
	case "RSA_4096":
		return fromStandard(rsa.GenerateKey(rand.Reader, 4096))
	case "ECC_NIST_P256":
		return fromStandard(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ECC_NIST_P384":
		return fromStandard(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "ECC_NIST_P521":
		return fromStandard(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case "ECC_NIST_EDWARDS25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return fromStandard(private, err)
	case "ECC_SECG_P256K1":
		private, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			return nil, err
		}
		return fromSecp256k1(private)
	case "SM2":
		private, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return fromSM2(private)
	case "ML_DSA_44", "ML_DSA_65", "ML_DSA_87":
		private, err := mldsa.GenerateKey(mldsaParameters[spec])
		if err != nil {
			return nil, err
		}
		return fromMLDSA(private)
	case "ML_KEM_768":
		private, err := mlkem.GenerateKey768()
		if err != nil {
			return nil, err
		}
		return fromMLKEM(spec, oidMLKEM768, private.EncapsulationKey().Bytes())
	case "ML_KEM_1024":
		private, err := mlkem.GenerateKey1024()
		if err != nil {
			return nil, err
		}
		return fromMLKEM(spec, oidMLKEM1024, private.EncapsulationKey().Bytes())
	}
	return nil, fmt.Errorf("kmstest: no key material of KeySpec %q can be made", spec)
}

var shared struct {
	sync.Mutex
	bySpec map[string]*Material
}

// Shared makes key material of a KeySpec once in the life of the process, and then gives the same again: for tests that
// want a key of a spec and do not care which. It panics where Generate fails.
func Shared(spec string) *Material {
	shared.Lock()
	defer shared.Unlock()
	if m, ok := shared.bySpec[spec]; ok {
		return m
	}
	m, err := Generate(spec)
	if err != nil {
		panic(err)
	}
	if shared.bySpec == nil {
		shared.bySpec = make(map[string]*Material)
	}
	shared.bySpec[spec] = m
	return m
}

// ReadKeyFile reads a private key from a PEM file with a block PRIVATE KEY, such as those of testdata/keys.
func ReadKeyFile(path string) (*Material, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s has %d bytes; a key file has at most %d", path, info.Size(), maxKeyFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no PEM block PRIVATE KEY", path)
	}
	m, err := ParsePrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ParsePrivateKey reads DER PKCS#8 (RFC 5958) of any signing KeySpec, and of ML_KEM_768 in its seed form (RFC 9935).
func ParsePrivateKey(pkcs8 []byte) (*Material, error) {
	if scalar, err := parseECPrivate(oidSecp256k1, pkcs8); err == nil {
		return fromSecp256k1(secp256k1.PrivKeyFromBytes(scalar))
	}
	if scalar, err := parseECPrivate(oidSM2, pkcs8); err == nil {
		private, err := sm2.NewPrivateKey(scalar)
		if err != nil {
			return nil, err
		}
		return fromSM2(private)
	}
	if seed, err := parseMLKEMPrivate(pkcs8); err == nil {
		private, err := mlkem.NewDecapsulationKey768(seed)
		if err != nil {
			return nil, err
		}
		return fromMLKEM("ML_KEM_768", oidMLKEM768, private.EncapsulationKey().Bytes())
	}
	private, err := mldsax509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, fmt.Errorf("this is no private key that KMS could have: %w", err)
	}
	if key, ok := private.(*mldsa.PrivateKey); ok {
		return fromMLDSA(key)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T is no key that KMS could have", private)
	}
	return fromStandard(signer, nil)
}

// ParsePublicKey reads a DER SubjectPublicKeyInfo. A key with such material answers GetPublicKey and Verify; Sign is an
// error, for there is nothing to sign with.
func ParsePublicKey(spki []byte) (*Material, error) {
	m := &Material{spki: bytes.Clone(spki)}
	if point, err := parseECPublic(oidSecp256k1, spki); err == nil {
		public, err := secp256k1.ParsePubKey(point)
		if err != nil {
			return nil, err
		}
		m.spec, m.public = "ECC_SECG_P256K1", public
		return m, nil
	}
	if point, err := parseECPublic(oidSM2, spki); err == nil {
		public, err := sm2.NewPublicKey(point)
		if err != nil {
			return nil, err
		}
		m.spec, m.public = "SM2", &sm2Public{public}
		return m, nil
	}
	for spec, id := range map[string]asn1.ObjectIdentifier{"ML_KEM_768": oidMLKEM768, "ML_KEM_1024": oidMLKEM1024} {
		if algorithm, _, err := parseSPKI(spki); err == nil && algorithm.Equal(id) {
			m.spec = spec
			return m, nil
		}
	}
	public, err := mldsax509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	if m.spec, err = publicSpec(public); err != nil {
		return nil, err
	}
	m.public = public
	return m, nil
}

var mldsaParameters = map[string]mldsa.Parameters{
	"ML_DSA_44": mldsa.MLDSA44(), "ML_DSA_65": mldsa.MLDSA65(), "ML_DSA_87": mldsa.MLDSA87(),
}

// publicSpec names the KeySpec of a key that crypto/x509 or filippo.io/mldsa knows.
func publicSpec(public any) (string, error) {
	spec := ""
	switch p := public.(type) {
	case *rsa.PublicKey:
		spec = fmt.Sprintf("RSA_%d", p.N.BitLen())
	case *ecdsa.PublicKey:
		spec = fmt.Sprintf("ECC_NIST_P%d", p.Curve.Params().BitSize)
	case ed25519.PublicKey:
		spec = "ECC_NIST_EDWARDS25519"
	case *mldsa.PublicKey:
		for name, parameters := range mldsaParameters {
			if p.Parameters() == parameters {
				spec = name
			}
		}
	}
	if _, ok := specs[spec]; !ok {
		return "", fmt.Errorf("a %T (%q) is no key that KMS could have", public, spec)
	}
	return spec, nil
}

func fromStandard[K crypto.Signer](private K, err error) (*Material, error) {
	if err != nil {
		return nil, err
	}
	spec, err := publicSpec(private.Public())
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	return &Material{spec: spec, spki: spki, public: private.Public(), private: private}, nil
}

func fromMLDSA(private *mldsa.PrivateKey) (*Material, error) {
	spec, err := publicSpec(private.PublicKey())
	if err != nil {
		return nil, err
	}
	spki, err := mldsax509.MarshalPKIXPublicKey(private.PublicKey())
	if err != nil {
		return nil, err
	}
	return &Material{spec: spec, spki: spki, public: private.PublicKey(), private: private}, nil
}

func fromSecp256k1(private *secp256k1.PrivateKey) (*Material, error) {
	spki, err := marshalECPublic(oidSecp256k1, private.PubKey().SerializeUncompressed())
	if err != nil {
		return nil, err
	}
	return &Material{spec: "ECC_SECG_P256K1", spki: spki, public: private.PubKey(), private: private}, nil
}

func fromSM2(private *sm2.PrivateKey) (*Material, error) {
	public, err := sm2.PublicKeyToECDH(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	spki, err := marshalECPublic(oidSM2, public.Bytes())
	if err != nil {
		return nil, err
	}
	return &Material{spec: "SM2", spki: spki, public: &sm2Public{&private.PublicKey}, private: private}, nil
}

func fromMLKEM(spec string, id asn1.ObjectIdentifier, public []byte) (*Material, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(id) })
		b.AddASN1BitString(public)
	})
	spki, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return &Material{spec: spec, spki: spki}, nil
}

func marshalECPublic(curve asn1.ObjectIdentifier, point []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidECPublicKey)
			b.AddASN1ObjectIdentifier(curve)
		})
		b.AddASN1BitString(point)
	})
	return b.Bytes()
}

// parseSPKI takes a SubjectPublicKeyInfo apart: its algorithm and what is in its BIT STRING.
func parseSPKI(spki []byte) (asn1.ObjectIdentifier, []byte, error) {
	var outer, algorithm cryptobyte.String
	var id asn1.ObjectIdentifier
	var key []byte
	input := cryptobyte.String(spki)
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() || !outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !outer.ReadASN1BitStringAsBytes(&key) || !outer.Empty() {
		return nil, nil, errors.New("malformed SubjectPublicKeyInfo")
	}
	return id, key, nil
}

// parseECPublic reads the point out of what marshalECPublic made; only the named curve is taken.
func parseECPublic(curve asn1.ObjectIdentifier, spki []byte) ([]byte, error) {
	_, point, err := parseSPKI(spki)
	if err != nil {
		return nil, err
	}
	again, err := marshalECPublic(curve, point)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, spki) {
		return nil, errors.New("not a key on this curve")
	}
	return point, nil
}

// parseECPrivate reads the 32-byte scalar of a PKCS#8 key on the named curve.
func parseECPrivate(curve asn1.ObjectIdentifier, pkcs8 []byte) ([]byte, error) {
	var outer, algorithm, private, inner, scalar cryptobyte.String
	var id, params asn1.ObjectIdentifier
	var version, innerVersion int64
	input := cryptobyte.String(pkcs8)
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1Integer(&version) || version != 0 || !outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidECPublicKey) ||
		!algorithm.ReadASN1ObjectIdentifier(&params) || !params.Equal(curve) ||
		!outer.ReadASN1(&private, cbasn1.OCTET_STRING) || !private.ReadASN1(&inner, cbasn1.SEQUENCE) ||
		!inner.ReadASN1Integer(&innerVersion) || innerVersion != 1 ||
		!inner.ReadASN1(&scalar, cbasn1.OCTET_STRING) || len(scalar) != 32 {
		return nil, errors.New("not a PKCS#8 key on this curve")
	}
	return scalar, nil
}

// parseMLKEMPrivate reads the 64-byte seed of a PKCS#8 key of ML-KEM-768.
func parseMLKEMPrivate(pkcs8 []byte) ([]byte, error) {
	var outer, algorithm, private, seed cryptobyte.String
	var id asn1.ObjectIdentifier
	var version int64
	input := cryptobyte.String(pkcs8)
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1Integer(&version) || version != 0 || !outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidMLKEM768) ||
		!outer.ReadASN1(&private, cbasn1.OCTET_STRING) || !private.ReadASN1(&seed, cbasn1.Tag(0).ContextSpecific()) {
		return nil, errors.New("not a PKCS#8 key of ML-KEM-768 with a seed")
	}
	return seed, nil
}
