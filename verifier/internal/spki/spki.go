// Package spki decodes DER SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), as KMS's GetPublicKey answers it, for every
// key spec of KMS: crypto/x509 knows neither secp256k1 nor SM2 nor ML-DSA, and takes more of RSA than KMS makes.
//
// A key has exactly one accepted encoding per object identifier: strict DER, the parameters its standard demands,
// uncompressed points of exact length that lie on their curve, RSA moduli of exactly 2048, 3072 or 4096 bits with
// exponent 65537. So equal keys have equal bytes, and a fingerprint names the key material and not one of its spellings.
package spki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSize is the longest encoding read, in bytes. The longest that KMS makes is ML-DSA-87's with 2,614.
const MaxSize = 8 << 10

// PublicKey is a decoded key. Exactly one of the pointers, Ed25519 or MLDSA is set, none for ML-KEM.
type PublicKey struct {
	// Spec is KMS's KeySpec as the material alone tells it: "RSA_2048", "ECC_NIST_P256", "ML_KEM_768".
	Spec string
	// DER is the canonical encoding. It differs from what Parse was given only for SM2 keys that were written under the
	// SM2 OID as the algorithm.
	DER []byte

	RSA       *rsa.PublicKey
	ECDSA     *ecdsa.PublicKey // NIST curves
	Secp256k1 *secp256k1.PublicKey
	SM2       *ecdsa.PublicKey // on sm2.P256()
	Ed25519   ed25519.PublicKey
	MLDSA     MLDSA
}

// MLDSA is a key of ML-DSA: the *PublicKey of circl's mldsa44, mldsa65 or mldsa87.
type MLDSA interface {
	Bytes() []byte
	UnmarshalBinary([]byte) error
}

// Fingerprint returns the SHA-256 of the canonical encoding.
func (k *PublicKey) Fingerprint() [sha256.Size]byte { return sha256.Sum256(k.DER) }

var (
	oidRSA       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC        = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidP384      = asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	oidP521      = asn1.ObjectIdentifier{1, 3, 132, 0, 35}
	oidSecp256k1 = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
	oidSM2       = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
	oidEd25519   = asn1.ObjectIdentifier{1, 3, 101, 112}
	oidMLDSA44   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}
	oidMLDSA65   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}
	oidMLDSA87   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}
	oidMLKEM512  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 1}
	oidMLKEM768  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}
	oidMLKEM1024 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3}
)

// mlkem512Size is the length of an ML-KEM-512 encapsulation key (FIPS 203, table 3); crypto/mlkem has no such key.
const mlkem512Size = 800

// Parse decodes der. Its errors are clauses for a sentence of the caller's: "is not strict DER: …".
func Parse(der []byte) (*PublicKey, error) {
	if len(der) == 0 {
		return nil, errors.New("is empty, expected a DER SubjectPublicKeyInfo")
	}
	if len(der) > MaxSize {
		return nil, fmt.Errorf("is %d bytes long, more than the %d of any KMS public key", len(der), MaxSize)
	}
	input := cryptobyte.String(der)
	var outer, algorithm, bits cryptobyte.String
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) {
		return nil, errors.New("is not a DER SubjectPublicKeyInfo: truncated, or no SEQUENCE")
	}
	if !input.Empty() {
		return nil, fmt.Errorf("has %d bytes after the end of the SubjectPublicKeyInfo", len(input))
	}
	var oid asn1.ObjectIdentifier
	if !outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return nil, errors.New("is not a DER SubjectPublicKeyInfo: it has no algorithm identifier")
	}
	var raw asn1.BitString
	if !outer.ReadASN1BitString(&raw) || raw.BitLength%8 != 0 {
		return nil, errors.New("is not a DER SubjectPublicKeyInfo: it has no key in whole bytes")
	}
	if !outer.Empty() {
		return nil, errors.New("is not a DER SubjectPublicKeyInfo: it has members after the key")
	}
	bits = raw.Bytes

	key, err := decode(oid, algorithm, bits)
	if err != nil {
		return nil, err
	}
	if oid.Equal(oidSM2) {
		key.DER = marshalEC(oidSM2, bits)
	} else {
		key.DER = bytes.Clone(der)
	}
	return key, nil
}

func decode(oid asn1.ObjectIdentifier, params, bits cryptobyte.String) (*PublicKey, error) {
	switch {
	case oid.Equal(oidRSA):
		return decodeRSA(params, bits)
	case oid.Equal(oidEC):
		var curve asn1.ObjectIdentifier
		if !params.ReadASN1ObjectIdentifier(&curve) || !params.Empty() {
			return nil, errors.New("names no curve by object identifier")
		}
		return decodeEC(curve, bits)
	case oid.Equal(oidSM2):
		// Seen in the wild with no parameters, with NULL and with the curve's own identifier.
		var curve asn1.ObjectIdentifier
		switch {
		case params.Empty():
		case isNull(params):
		case params.ReadASN1ObjectIdentifier(&curve) && params.Empty() && curve.Equal(oidSM2):
		default:
			return nil, errors.New("has the SM2 algorithm with parameters that are not SM2's")
		}
		return decodeEC(oidSM2, bits)
	}
	if !params.Empty() {
		if name := noParams(oid); name != "" {
			return nil, fmt.Errorf("has parameters, which the algorithm %s must not have", name)
		}
	}
	switch {
	case oid.Equal(oidEd25519):
		return decodeEd25519(bits)
	case oid.Equal(oidMLDSA44):
		return decodeMLDSA("ML_DSA_44", mldsa44.PublicKeySize, new(mldsa44.PublicKey), bits)
	case oid.Equal(oidMLDSA65):
		return decodeMLDSA("ML_DSA_65", mldsa65.PublicKeySize, new(mldsa65.PublicKey), bits)
	case oid.Equal(oidMLDSA87):
		return decodeMLDSA("ML_DSA_87", mldsa87.PublicKeySize, new(mldsa87.PublicKey), bits)
	case oid.Equal(oidMLKEM512):
		return decodeMLKEM("ML_KEM_512", mlkem512Size, bits)
	case oid.Equal(oidMLKEM768):
		return decodeMLKEM("ML_KEM_768", mlkem.EncapsulationKeySize768, bits)
	case oid.Equal(oidMLKEM1024):
		return decodeMLKEM("ML_KEM_1024", mlkem.EncapsulationKeySize1024, bits)
	}
	return nil, fmt.Errorf("has the algorithm %s, which no KMS key has", oid)
}

// noParams names the algorithms whose identifiers must have no parameters (RFC 8410, RFC 9881, RFC 9935).
func noParams(oid asn1.ObjectIdentifier) string {
	switch {
	case oid.Equal(oidEd25519):
		return "Ed25519"
	case oid.Equal(oidMLDSA44), oid.Equal(oidMLDSA65), oid.Equal(oidMLDSA87):
		return "ML-DSA"
	case oid.Equal(oidMLKEM512), oid.Equal(oidMLKEM768), oid.Equal(oidMLKEM1024):
		return "ML-KEM"
	}
	return ""
}

func isNull(params cryptobyte.String) bool {
	var null cryptobyte.String
	return params.ReadASN1(&null, cbasn1.NULL) && null.Empty() && params.Empty()
}

func decodeRSA(params, bits cryptobyte.String) (*PublicKey, error) {
	if !isNull(params) {
		return nil, errors.New("has RSA parameters other than NULL")
	}
	var seq cryptobyte.String
	n := new(big.Int)
	var e int64
	if !bits.ReadASN1(&seq, cbasn1.SEQUENCE) || !bits.Empty() || !seq.ReadASN1Integer(n) || !seq.ReadASN1Integer(&e) || !seq.Empty() {
		return nil, errors.New("holds no RSA modulus and exponent in strict DER")
	}
	if e != 65537 {
		return nil, fmt.Errorf("has the RSA exponent %d, expected 65537 as in every KMS key", e)
	}
	size := n.BitLen()
	if n.Sign() <= 0 || (size != 2048 && size != 3072 && size != 4096) {
		return nil, fmt.Errorf("has an RSA modulus of %d bits, expected exactly 2048, 3072 or 4096", size)
	}
	if n.Bit(0) == 0 {
		return nil, errors.New("has an even RSA modulus, which is no product of two odd primes")
	}
	return &PublicKey{Spec: fmt.Sprintf("RSA_%d", size), RSA: &rsa.PublicKey{N: n, E: int(e)}}, nil
}

func decodeEC(curve asn1.ObjectIdentifier, point []byte) (*PublicKey, error) {
	switch {
	case curve.Equal(oidP256):
		return decodeNIST("ECC_NIST_P256", elliptic.P256(), point)
	case curve.Equal(oidP384):
		return decodeNIST("ECC_NIST_P384", elliptic.P384(), point)
	case curve.Equal(oidP521):
		return decodeNIST("ECC_NIST_P521", elliptic.P521(), point)
	case curve.Equal(oidSecp256k1):
		if err := checkPoint("secp256k1", point, 32); err != nil {
			return nil, err
		}
		k, err := secp256k1.ParsePubKey(point)
		if err != nil {
			return nil, errors.New("has a point that is not on the curve secp256k1")
		}
		return &PublicKey{Spec: "ECC_SECG_P256K1", Secp256k1: k}, nil
	case curve.Equal(oidSM2):
		if err := checkPoint("SM2", point, 32); err != nil {
			return nil, err
		}
		k, err := sm2.NewPublicKey(point)
		if err != nil {
			return nil, errors.New("has a point that is not on the curve SM2")
		}
		return &PublicKey{Spec: "SM2", SM2: k}, nil
	}
	return nil, fmt.Errorf("has the curve %s, which no KMS key has", curve)
}

func decodeNIST(spec string, curve elliptic.Curve, point []byte) (*PublicKey, error) {
	name := curve.Params().Name
	if err := checkPoint(name, point, (curve.Params().BitSize+7)/8); err != nil {
		return nil, err
	}
	k, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("has a point that is not on the curve %s", name)
	}
	return &PublicKey{Spec: spec, ECDSA: k}, nil
}

func decodeEd25519(raw []byte) (*PublicKey, error) {
	if len(raw) != ed25519.PublicKeySize {
		return nil, wrongLength("Ed25519", len(raw), ed25519.PublicKeySize)
	}
	if !onEdwards25519(raw) {
		return nil, errors.New("has a point that is not on the curve edwards25519")
	}
	// The number is little-endian, its highest bit the sign of the other coordinate.
	y := bytes.Clone(raw)
	y[31] &= 0x7f
	slices.Reverse(y)
	switch text := hex.EncodeToString(y); {
	case text >= edwards25519Prime:
		return nil, errors.New("has an Ed25519 point that is not in its shortest form: the number is not below the field's prime")
	case slices.Contains(edwards25519SmallOrder, text):
		return nil, errors.New("has one of the eight Ed25519 points of small order, under which anyone can sign")
	}
	return &PublicKey{Spec: "ECC_NIST_EDWARDS25519", Ed25519: bytes.Clone(raw)}, nil
}

// edwards25519Prime is 2^255-19, and edwards25519SmallOrder the y of the points whose order divides the cofactor 8
// (RFC 8032, section 5.1; a sign of x makes eight of them), all big-endian.
const edwards25519Prime = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed"

var edwards25519SmallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000001",
	"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
	"05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
	"7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
}

// onEdwards25519 reports whether raw decodes to a point. crypto/ed25519 decodes only where it verifies, and says of a key
// that is no point something else than of a signature that is none; the point with y = 2, which is none, tells what.
func onEdwards25519(raw []byte) bool {
	say := func(key []byte) string {
		noSignature := bytes.Repeat([]byte{0xff}, ed25519.SignatureSize) // refused before anything is computed
		if err := ed25519.VerifyWithOptions(key, nil, noSignature, &ed25519.Options{}); err != nil {
			return err.Error()
		}
		return ""
	}
	noPoint := make([]byte, ed25519.PublicKeySize)
	noPoint[0] = 2
	return say(raw) != say(noPoint)
}

// checkPoint demands the uncompressed form: the libraries below take compressed and hybrid ones too, which would give
// one key several encodings.
func checkPoint(curve string, point []byte, coordinate int) error {
	want := 1 + 2*coordinate
	if len(point) != 0 && point[0] != 4 {
		return fmt.Errorf("has a point on %s that starts with %02x, expected the uncompressed form: 04 and two coordinates", curve, point[0])
	}
	if len(point) != want {
		return fmt.Errorf("has a point of %d bytes on %s, expected 04 and two coordinates, %d bytes", len(point), curve, want)
	}
	return nil
}

func decodeMLDSA(spec string, size int, k MLDSA, raw []byte) (*PublicKey, error) {
	if len(raw) != size {
		return nil, wrongLength(spec, len(raw), size)
	}
	if err := k.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("holds no %s public key: %w", spec, err)
	}
	return &PublicKey{Spec: spec, MLDSA: k}, nil
}

func decodeMLKEM(spec string, size int, raw []byte) (*PublicKey, error) {
	if len(raw) != size {
		return nil, wrongLength(spec, len(raw), size)
	}
	return &PublicKey{Spec: spec}, nil
}

func wrongLength(name string, got, want int) error {
	return fmt.Errorf("holds %d bytes of %s key, expected %d", got, name, want)
}

// marshalEC writes id-ecPublicKey with the curve's identifier and the uncompressed point.
func marshalEC(curve asn1.ObjectIdentifier, point []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidEC)
			b.AddASN1ObjectIdentifier(curve)
		})
		b.AddASN1BitString(point)
	})
	return b.BytesOrPanic()
}
