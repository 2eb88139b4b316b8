package spki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/emmansun/gmsm/sm2"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// marshal writes a SubjectPublicKeyInfo with encoding/asn1, not with the package under test.
func marshal(oid asn1.ObjectIdentifier, params []byte, key []byte) []byte {
	return must(asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: params}}, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}}))
}

func ec(curve asn1.ObjectIdentifier, point []byte) []byte {
	return marshal(oidEC, must(asn1.Marshal(curve)), point)
}

var null = []byte{5, 0}

// seedOf is the same in every process, which the fuzz target's workers are.
func seedOf(name string) []byte {
	h := sha512.Sum512([]byte(name))
	return append([]byte{0}, h[:31]...) // below every order
}

// modulus is an odd number of so many bits: nothing here needs its factors.
func modulus(bits int) *big.Int {
	n := new(big.Int).SetBytes(bytes.Repeat([]byte{0xa5}, (bits+7)/8))
	n.Rsh(n, uint(n.BitLen()-bits))
	return n.SetBit(n.SetBit(n, bits-1, 1), 0, 1)
}

func rsaDER(n *big.Int, e int) []byte {
	return marshal(oidRSA, null, must(asn1.Marshal(struct {
		N *big.Int
		E int
	}{n, e})))
}

type sample struct {
	spec string
	der  []byte
	// material tells whether the key holds what it was made of.
	material func(*PublicKey) bool
}

// samples has one key of every spec; SM2's is under id-ecPublicKey.
var samples = sync.OnceValue(func() (all []sample) {
	add := func(spec string, der []byte, material func(*PublicKey) bool) {
		all = append(all, sample{spec, der, material})
	}
	for _, bits := range []int{2048, 3072, 4096} {
		n := modulus(bits)
		add(fmt.Sprintf("RSA_%d", bits), must(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})), func(k *PublicKey) bool {
			return k.RSA != nil && k.RSA.N.Cmp(n) == 0 && k.RSA.E == 65537
		})
	}
	for spec, curve := range map[string]elliptic.Curve{"ECC_NIST_P256": elliptic.P256(), "ECC_NIST_P384": elliptic.P384(), "ECC_NIST_P521": elliptic.P521()} {
		size := (curve.Params().BitSize + 7) / 8
		key := must(ecdsa.ParseRawPrivateKey(curve, append(make([]byte, size-32), seedOf(spec)...)))
		add(spec, must(x509.MarshalPKIXPublicKey(&key.PublicKey)), func(k *PublicKey) bool { return k.ECDSA != nil && k.ECDSA.Equal(&key.PublicKey) })
	}
	koblitz := secp256k1.PrivKeyFromBytes(seedOf("secp256k1")).PubKey()
	add("ECC_SECG_P256K1", ec(oidSecp256k1, koblitz.SerializeUncompressed()), func(k *PublicKey) bool { return k.Secp256k1 != nil && k.Secp256k1.IsEqual(koblitz) })
	edwards := ed25519.NewKeyFromSeed(seedOf("ed25519")).Public().(ed25519.PublicKey)
	add("ECC_NIST_EDWARDS25519", must(x509.MarshalPKIXPublicKey(edwards)), func(k *PublicKey) bool { return k.Ed25519.Equal(edwards) })
	for i, params := range []mldsa.Parameters{mldsa.MLDSA44(), mldsa.MLDSA65(), mldsa.MLDSA87()} {
		key := must(mldsa.NewPrivateKey(params, seedOf("mldsa"))).PublicKey()
		add([]string{"ML_DSA_44", "ML_DSA_65", "ML_DSA_87"}[i], marshal([]asn1.ObjectIdentifier{oidMLDSA44, oidMLDSA65, oidMLDSA87}[i], nil, key.Bytes()),
			func(k *PublicKey) bool { return k.MLDSA != nil && bytes.Equal(k.MLDSA.Bytes(), key.Bytes()) })
	}
	add("SM2", ec(oidSM2, sm2Point()), func(k *PublicKey) bool {
		return k.SM2 != nil && k.SM2.Curve == sm2.P256() && bytes.Equal(must(sm2.PublicKeyToECDH(k.SM2)).Bytes(), sm2Point())
	})
	none := func(k *PublicKey) bool {
		return k.RSA == nil && k.ECDSA == nil && k.Secp256k1 == nil && k.SM2 == nil && k.Ed25519 == nil && k.MLDSA == nil
	}
	add("ML_KEM_512", marshal(oidMLKEM512, nil, make([]byte, 800)), none)
	add("ML_KEM_768", marshal(oidMLKEM768, nil, must(mlkem.NewDecapsulationKey768(make([]byte, 64))).EncapsulationKey().Bytes()), none)
	add("ML_KEM_1024", marshal(oidMLKEM1024, nil, must(mlkem.NewDecapsulationKey1024(make([]byte, 64))).EncapsulationKey().Bytes()), none)
	return all
})

func sm2Point() []byte {
	key := must(sm2.NewPrivateKey(seedOf("sm2")))
	return slices.Concat([]byte{4}, key.X.FillBytes(make([]byte, 32)), key.Y.FillBytes(make([]byte, 32)))
}

func sampleOf(spec string) sample {
	return samples()[slices.IndexFunc(samples(), func(s sample) bool { return s.spec == spec })]
}

func wantRefused(t *testing.T, what string, der []byte, parts ...string) {
	t.Helper()
	key, err := Parse(der)
	if err == nil {
		t.Errorf("%s: read as %s", what, key.Spec)
		return
	}
	if key != nil {
		t.Errorf("%s: a key beside the error %v", what, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %q does not say %q", what, err, part)
		}
	}
}

// TestEverySpec reads a key of each, and refuses each cut short, lengthened, and in other than DER.
func TestEverySpec(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.spec, func(t *testing.T) {
			k, err := Parse(s.der)
			if err != nil {
				t.Fatal(err)
			}
			if k.Spec != s.spec || !bytes.Equal(k.DER, s.der) || !s.material(k) {
				t.Errorf("read as %s with other material, or other DER", k.Spec)
			}
			if k.Fingerprint() != sha256.Sum256(s.der) {
				t.Error("the fingerprint is not the SHA-256 of the encoding")
			}
			input := bytes.Clone(s.der)
			k, _ = Parse(input)
			clear(input)
			if !bytes.Equal(k.DER, s.der) || !s.material(k) {
				t.Error("the key shares memory with its input")
			}

			for n := range s.der {
				wantRefused(t, fmt.Sprintf("cut to %d bytes", n), s.der[:n])
			}
			wantRefused(t, "trailing byte", append(bytes.Clone(s.der), 0), "has 1 bytes after the end")
			wantRefused(t, "twice", append(bytes.Clone(s.der), s.der...), "after the end")
			wantRefused(t, "trailing to beyond the limit", append(bytes.Clone(s.der), make([]byte, MaxSize)...), "more than the 8192")

			// Taken apart and put together with something wrong.
			var parts struct{ Algorithm, Key asn1.RawValue }
			must(asn1.Unmarshal(s.der, &parts))
			algorithm, key := parts.Algorithm.FullBytes, parts.Key.FullBytes
			if !bytes.Equal(tlv(0x30, algorithm, key), s.der) {
				t.Fatal("the test takes keys apart wrongly")
			}
			wantRefused(t, "a member more", tlv(0x30, algorithm, key, null), "members after the key")
			wantRefused(t, "no key", tlv(0x30, algorithm), "no key in whole bytes")
			wantRefused(t, "no algorithm", tlv(0x30, key), "no algorithm identifier")
			wantRefused(t, "a SET", tlv(0x31, algorithm, key), "no SEQUENCE")
			wantRefused(t, "a member more in the algorithm", tlv(0x30, tlv(0x30, parts.Algorithm.Bytes, null), key))
			unused := bytes.Clone(parts.Key.Bytes)
			unused[0], unused[len(unused)-1] = 1, unused[len(unused)-1]&^1
			wantRefused(t, "a bit less", tlv(0x30, algorithm, tlv(3, unused)), "no key in whole bytes")
			wantRefused(t, "an OCTET STRING", tlv(0x30, algorithm, tlv(4, parts.Key.Bytes)), "no key in whole bytes")
			wantRefused(t, "a key of no bytes", tlv(0x30, algorithm, tlv(3, []byte{0})))
			wantRefused(t, "a byte less of key", tlv(0x30, algorithm, tlv(3, parts.Key.Bytes[:len(parts.Key.Bytes)-1])))
			wantRefused(t, "a byte more of key", tlv(0x30, algorithm, tlv(3, parts.Key.Bytes, []byte{0})))
			wantRefused(t, "BER: long length", slices.Concat([]byte{0x30, 0x83, 0, byte((len(algorithm) + len(key)) >> 8), byte(len(algorithm) + len(key))}, algorithm, key))
			wantRefused(t, "BER: indefinite length", slices.Concat([]byte{0x30, 0x80}, algorithm, key, []byte{0, 0}))
			wantRefused(t, "BER: long length of the algorithm", tlv(0x30, slices.Concat([]byte{0x30, 0x81, byte(len(parts.Algorithm.Bytes))}, parts.Algorithm.Bytes), key))
		})
	}
	if len(samples()) != 15 {
		t.Errorf("%d specs ran, expected 15", len(samples()))
	}
}

// tlv writes a tag, the shortest length, and the contents.
func tlv(tag byte, contents ...[]byte) []byte {
	body := slices.Concat(contents...)
	switch n := len(body); {
	case n < 128:
		return append([]byte{tag, byte(n)}, body...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

// TestSM2UnderBothOIDs: one key, one canonical encoding, one fingerprint.
func TestSM2UnderBothOIDs(t *testing.T) {
	usual := must(Parse(ec(oidSM2, sm2Point())))
	for name, der := range map[string][]byte{
		"no parameters":        marshal(oidSM2, nil, sm2Point()),
		"NULL":                 marshal(oidSM2, null, sm2Point()),
		"the curve's own name": marshal(oidSM2, must(asn1.Marshal(oidSM2)), sm2Point()),
	} {
		k, err := Parse(der)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if k.Spec != "SM2" || !bytes.Equal(k.DER, usual.DER) || k.Fingerprint() != usual.Fingerprint() || !k.SM2.Equal(usual.SM2) {
			t.Errorf("%s: differs from the same key under id-ecPublicKey", name)
		}
		if again := must(Parse(k.DER)); again.Fingerprint() != k.Fingerprint() {
			t.Errorf("%s: the canonical encoding is not stable", name)
		}
	}
	const notItsOwn = "parameters that are not SM2's"
	wantRefused(t, "P-256 under the SM2 OID", marshal(oidSM2, must(asn1.Marshal(oidP256)), sm2Point()), notItsOwn)
	wantRefused(t, "SM2 and more", marshal(oidSM2, append(must(asn1.Marshal(oidSM2)), 5, 0), sm2Point()), notItsOwn)
	wantRefused(t, "NULL and more", tlv(0x30, tlv(0x30, must(asn1.Marshal(oidSM2)), null, null), tlv(3, []byte{0}, sm2Point())), notItsOwn)
	wantRefused(t, "an INTEGER", marshal(oidSM2, []byte{2, 1, 0}, sm2Point()), notItsOwn)
}

// TestPoints: uncompressed, of exact length, on the curve, or not at all.
func TestPoints(t *testing.T) {
	ran := 0
	for _, c := range []struct {
		spec, name string
		oid        asn1.ObjectIdentifier
	}{
		{"ECC_NIST_P256", "P-256", oidP256}, {"ECC_NIST_P384", "P-384", oidP384}, {"ECC_NIST_P521", "P-521", oidP521},
		{"ECC_SECG_P256K1", "secp256k1", oidSecp256k1}, {"SM2", "SM2", oidSM2},
	} {
		ran++
		der := sampleOf(c.spec).der
		var parts struct {
			Algorithm asn1.RawValue
			Key       asn1.BitString
		}
		must(asn1.Unmarshal(der, &parts))
		point := parts.Key.Bytes
		size := (len(point) - 1) / 2
		x, y := point[1:1+size], point[1+size:]
		if !bytes.Equal(ec(c.oid, point), der) {
			t.Fatal("the test takes keys apart wrongly")
		}
		odd := y[size-1] & 1
		changed := bytes.Clone(point)
		changed[len(changed)-1] ^= 1
		const form = "expected the uncompressed form"
		wantRefused(t, c.spec+" compressed", ec(c.oid, append([]byte{2 | odd}, x...)), form, c.name)
		wantRefused(t, c.spec+" hybrid", ec(c.oid, slices.Concat([]byte{6 | odd}, x, y)), form, fmt.Sprintf("starts with %02x", 6|odd))
		wantRefused(t, c.spec+" hybrid, wrong parity", ec(c.oid, slices.Concat([]byte{6 | odd ^ 1}, x, y)), form)
		wantRefused(t, c.spec+" at infinity", ec(c.oid, []byte{0}), form)
		wantRefused(t, c.spec+" without 04", ec(c.oid, slices.Concat(x, y)))
		wantRefused(t, c.spec+" off the curve", ec(c.oid, changed), "not on the curve "+c.name)
		wantRefused(t, c.spec+" at zero", ec(c.oid, append([]byte{4}, make([]byte, 2*size)...)), "not on the curve "+c.name)
		wantRefused(t, c.spec+" beyond the field", ec(c.oid, append([]byte{4}, bytes.Repeat([]byte{0xff}, 2*size)...)), "not on the curve "+c.name)
		wantRefused(t, c.spec+" with a byte more", ec(c.oid, append(bytes.Clone(point), 0)), fmt.Sprintf("%d bytes on %s", len(point)+1, c.name))
		wantRefused(t, c.spec+" with padded coordinates", ec(c.oid, slices.Concat([]byte{4, 0}, x, []byte{0}, y)), c.name)
		// The label of another curve: a P-256 point labelled P-384.
		for _, other := range []asn1.ObjectIdentifier{oidP256, oidP384, oidP521, oidSecp256k1, oidSM2} {
			if !other.Equal(c.oid) {
				wantRefused(t, c.spec+" under another curve", ec(other, point))
			}
		}
		wantRefused(t, c.spec+" without curve", marshal(oidEC, nil, point), "names no curve")
		wantRefused(t, c.spec+" with curve NULL", marshal(oidEC, null, point), "names no curve")
		wantRefused(t, c.spec+" with a curve and more", marshal(oidEC, append(must(asn1.Marshal(c.oid)), 5, 0), point))
	}
	if ran != 5 {
		t.Errorf("%d curves ran, expected 5", ran)
	}
	wantRefused(t, "P-224", ec(asn1.ObjectIdentifier{1, 3, 132, 0, 33}, append([]byte{4}, make([]byte, 56)...)), "the curve 1.3.132.0.33, which no KMS key has")
	// Explicit parameters instead of a name: the way CVE-2020-0601 took.
	wantRefused(t, "explicit parameters", marshal(oidEC, tlv(0x30, []byte{2, 1, 1}), sm2Point()), "names no curve")
}

// TestRSA: exponent 65537, and a modulus of exactly 2048, 3072 or 4096 bits, odd and positive.
func TestRSA(t *testing.T) {
	for _, bits := range []int{512, 1024, 1536, 2047, 2049, 2056, 3071, 3073, 4095, 4097, 8192} {
		wantRefused(t, fmt.Sprint(bits), rsaDER(modulus(bits), 65537), fmt.Sprintf("has an RSA modulus of %d bits, expected exactly 2048, 3072 or 4096", bits))
	}
	for _, e := range []int{0, 1, 2, 3, 17, 65535, 65536, 65539, -65537, 1<<31 - 1} {
		wantRefused(t, fmt.Sprint("exponent ", e), rsaDER(modulus(2048), e), fmt.Sprintf("has the RSA exponent %d, expected 65537", e))
	}
	huge := tlv(0x30, must(asn1.Marshal(modulus(2048))), must(asn1.Marshal(new(big.Int).Lsh(big.NewInt(65537), 64))))
	wantRefused(t, "exponent beyond 64 bits", marshal(oidRSA, null, huge), "no RSA modulus and exponent")
	wantRefused(t, "even", rsaDER(new(big.Int).Sub(modulus(2048), big.NewInt(1)), 65537), "even RSA modulus")
	wantRefused(t, "negative", rsaDER(new(big.Int).Neg(modulus(2048)), 65537), "modulus")
	wantRefused(t, "zero", rsaDER(new(big.Int), 65537), "modulus of 0 bits")

	body := tlv(0x30, must(asn1.Marshal(modulus(2048))), []byte{2, 3, 1, 0, 1})
	if _, err := Parse(marshal(oidRSA, null, body)); err != nil {
		t.Fatalf("the test puts keys together wrongly: %v", err)
	}
	const params = "has RSA parameters other than NULL"
	wantRefused(t, "parameters absent", marshal(oidRSA, nil, body), params)
	wantRefused(t, "parameters an OID", marshal(oidRSA, must(asn1.Marshal(oidP256)), body), params)
	wantRefused(t, "NULL with content", marshal(oidRSA, []byte{5, 1, 0}, body), params)
	wantRefused(t, "NULL twice", tlv(0x30, tlv(0x30, must(asn1.Marshal(oidRSA)), null, null), tlv(3, []byte{0}, body)), params)
	wantRefused(t, "id-RSASSA-PSS", marshal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}, null, body), "which no KMS key has")
	const inside = "holds no RSA modulus and exponent in strict DER"
	wantRefused(t, "trailing in the key", marshal(oidRSA, null, append(bytes.Clone(body), 0)), inside)
	wantRefused(t, "a third number", marshal(oidRSA, null, tlv(0x30, must(asn1.Marshal(modulus(2048))), []byte{2, 3, 1, 0, 1}, []byte{2, 1, 0})), inside)
	wantRefused(t, "padded modulus", marshal(oidRSA, null, tlv(0x30, tlv(2, []byte{0, 0}, modulus(2048).Bytes()), []byte{2, 3, 1, 0, 1})), inside)
	wantRefused(t, "padded exponent", marshal(oidRSA, null, tlv(0x30, must(asn1.Marshal(modulus(2048))), []byte{2, 4, 0, 1, 0, 1})), inside)
	wantRefused(t, "no exponent", marshal(oidRSA, null, tlv(0x30, must(asn1.Marshal(modulus(2048))))), inside)
}

// TestEd25519 refuses what is no point, has a second encoding, or lets anyone sign.
func TestEd25519(t *testing.T) {
	ofY := func(y int64, sign byte) []byte {
		b := new(big.Int).Mod(big.NewInt(y), prime25519()).FillBytes(make([]byte, 32))
		slices.Reverse(b)
		b[31] |= sign
		return b
	}
	parse := func(raw []byte) error {
		_, err := Parse(marshal(oidEd25519, nil, raw))
		return err
	}
	points := 0
	for y := range int64(256) {
		err := parse(ofY(y, 0))
		switch {
		case err == nil:
			points++
		case y < 2: // small order
			wantRefused(t, fmt.Sprint("y = ", y), marshal(oidEd25519, nil, ofY(y, 0)), "small order, under which anyone can sign")
		default:
			wantRefused(t, fmt.Sprint("y = ", y), marshal(oidEd25519, nil, ofY(y, 0)), "not on the curve edwards25519")
		}
		if onCurve := isSquare25519(y); onCurve != (err == nil || y < 2) {
			t.Errorf("y = %d: the curve's equation says %v, Parse %v", y, onCurve, err)
		}
	}
	if points != 126 {
		t.Errorf("%d of 256 are points, expected 126", points)
	}
	// Keys as they are made, and their negatives.
	for i := range 200 {
		public, _, _ := ed25519.GenerateKey(rand.Reader)
		if err := parse(public); err != nil {
			t.Fatalf("key %d, %x: %v", i, public, err)
		}
		public[31] ^= 0x80
		if err := parse(public); err != nil {
			t.Fatalf("key %d, %x: %v", i, public, err)
		}
	}

	// The points of small order: with R = [s]B any s signs any message under the neutral element, which is why.
	for _, text := range edwards25519SmallOrder {
		y, _ := new(big.Int).SetString(text, 16)
		raw := y.FillBytes(make([]byte, 32))
		slices.Reverse(raw)
		for _, sign := range []byte{0, 0x80} {
			raw[31] = raw[31]&0x7f | sign
			wantRefused(t, text, marshal(oidEd25519, nil, raw), "small order")
			if !isSmallOrder(y) {
				t.Errorf("%s is not the y of a point of small order", text)
			}
		}
	}
	neutral := append([]byte{1}, make([]byte, 31)...)
	if !ed25519.Verify(neutral, []byte("any message"), append(bytes.Clone(neutral), make([]byte, 32)...)) {
		t.Error("crypto/ed25519 refuses the neutral element by now")
	}
	// y + p, where that still fits: the same point spelled twice.
	for y := range int64(19) {
		twice := new(big.Int).Add(prime25519(), big.NewInt(y)).FillBytes(make([]byte, 32))
		slices.Reverse(twice)
		if isSquare25519(y) {
			wantRefused(t, fmt.Sprint("p + ", y), marshal(oidEd25519, nil, twice), "not in its shortest form")
		} else {
			wantRefused(t, fmt.Sprint("p + ", y), marshal(oidEd25519, nil, twice), "not on the curve")
		}
	}
	raw := make([]byte, 32)
	copy(raw, sampleOf("ECC_NIST_EDWARDS25519").der[12:])
	if err := parse(raw); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 31, 33, 57, 64} {
		wantRefused(t, fmt.Sprint(n, " bytes"), marshal(oidEd25519, nil, make([]byte, n)), fmt.Sprintf("holds %d bytes of Ed25519 key, expected 32", n))
	}
	wantRefused(t, "parameters NULL", marshal(oidEd25519, null, raw), "has parameters, which the algorithm Ed25519 must not have")
	wantRefused(t, "X25519", marshal(asn1.ObjectIdentifier{1, 3, 101, 110}, nil, raw), "1.3.101.110, which no KMS key has")
	wantRefused(t, "Ed448", marshal(asn1.ObjectIdentifier{1, 3, 101, 113}, nil, make([]byte, 57)), "which no KMS key has")
}

func prime25519() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
}

// d25519 is the curve's d = -121665/121666 (RFC 8032, section 5.1).
func d25519() *big.Int {
	p := prime25519()
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	return d.Mod(d.Mul(d, big.NewInt(-121665)), p)
}

// isSquare25519 reports by the curve's equation, -x² + y² = 1 + d·x²·y², whether there is an x for y.
func isSquare25519(y int64) bool {
	p := prime25519()
	yy := new(big.Int).Mul(big.NewInt(y), big.NewInt(y))
	denominator := new(big.Int).Mul(d25519(), yy)
	denominator.Mod(denominator.Add(denominator, big.NewInt(1)), p)
	xx := new(big.Int).Sub(yy, big.NewInt(1))
	xx.Mod(xx.Mul(xx, denominator.ModInverse(denominator, p)), p)
	return big.Jacobi(xx, p) >= 0
}

// isSmallOrder doubles the point three times, on its y alone, and looks for the neutral element's y = 1: with
// x² = (y²-1)/(dy²+1) the curve's law gives y' = (y² + x²)/(1 - d·x²·y²).
func isSmallOrder(y *big.Int) bool {
	p, one := prime25519(), big.NewInt(1)
	for range 3 {
		yy := new(big.Int).Mod(new(big.Int).Mul(y, y), p)
		dyy := new(big.Int).Mul(d25519(), yy)
		xx := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Add(dyy, one), p), p)
		xx.Mod(xx.Mul(xx, new(big.Int).Sub(yy, one)), p)
		low := new(big.Int).Sub(one, new(big.Int).Mul(dyy, xx))
		low.ModInverse(low.Mod(low, p), p)
		y = new(big.Int).Add(yy, xx)
		y.Mod(y.Mul(y, low), p)
	}
	return y.Cmp(one) == 0
}

// TestPostQuantum: exact lengths and no parameters (RFC 9881, RFC 9935).
func TestPostQuantum(t *testing.T) {
	for _, c := range []struct {
		oid  asn1.ObjectIdentifier
		name string
		size int
	}{
		{oidMLDSA44, "ML-DSA", 1312}, {oidMLDSA65, "ML-DSA", 1952}, {oidMLDSA87, "ML-DSA", 2592},
		{oidMLKEM512, "ML-KEM", 800}, {oidMLKEM768, "ML-KEM", 1184}, {oidMLKEM1024, "ML-KEM", 1568},
	} {
		if _, err := Parse(marshal(c.oid, nil, make([]byte, c.size))); err != nil {
			t.Errorf("%s of %d bytes: %v", c.name, c.size, err)
		}
		for _, n := range []int{0, 32, c.size - 1, c.size + 1, 2 * c.size} {
			wantRefused(t, c.name, marshal(c.oid, nil, make([]byte, n)), fmt.Sprintf("holds %d bytes of", n), fmt.Sprintf("expected %d", c.size))
		}
		wantRefused(t, c.name+" with NULL", marshal(c.oid, null, make([]byte, c.size)), "has parameters, which the algorithm "+c.name+" must not have")
	}
	hashML := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 32}
	wantRefused(t, "HashML-DSA-44", marshal(hashML, nil, make([]byte, 1312)), "which no KMS key has")
}

// TestNoKeys: what people hand in by mistake.
func TestNoKeys(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		der  []byte
		part string
	}{
		"nothing":           {nil, "is empty"},
		"too much":          {make([]byte, MaxSize+1), "is 8193 bytes long, more than the 8192"},
		"zeros":             {make([]byte, 91), "no SEQUENCE"},
		"the longest":       {make([]byte, MaxSize), "no SEQUENCE"},
		"no OID":            {tlv(0x30, tlv(0x30, null), tlv(3, make([]byte, 33))), "no algorithm identifier"},
		"PEM":               {[]byte("-----BEGIN PUBLIC KEY-----\n"), "no SEQUENCE"},
		"a private key":     {must(x509.MarshalPKCS8PrivateKey(key)), "no algorithm identifier"},
		"a SEC 1 key":       {must(x509.MarshalECPrivateKey(key)), "no algorithm identifier"},
		"a PKCS#1 key":      {x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: modulus(2048), E: 65537}), "no algorithm identifier"},
		"an unknown OID":    {marshal(asn1.ObjectIdentifier{1, 2, 3}, nil, []byte{1}), "has the algorithm 1.2.3, which no KMS key has"},
		"a padded OID":      {tlv(0x30, tlv(0x30, []byte{6, 4, 0x2b, 0x80, 0x65, 0x70}), tlv(3, make([]byte, 33))), ""},
		"DSA":               {marshal(asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, null, []byte{2, 1, 1}), "which no KMS key has"},
		"only a SEQUENCE":   {[]byte{0x30, 0}, "no algorithm identifier"},
		"a length too long": {[]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, "truncated"},
	} {
		wantRefused(t, name, c.der, c.part)
	}
}
