package rawagree

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const keys = "../../../testdata/keys/"

var oids = map[string]asn1.ObjectIdentifier{
	"P-256": {1, 2, 840, 10045, 3, 1, 7}, "P-384": {1, 3, 132, 0, 34}, "P-521": {1, 3, 132, 0, 35}, "SM2": {1, 2, 156, 10197, 1, 301},
	"secp256k1": {1, 3, 132, 0, 10}, "brainpoolP256r1": {1, 3, 36, 3, 3, 2, 8, 1, 1, 7},
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pair is a key pair: the private number, and the point without compression.
type pair struct{ scalar, point []byte }

func newPair(curve string) pair {
	if curve == "SM2" {
		key := must(sm2.GenerateKey(rand.Reader))
		point := append([]byte{4}, key.X.FillBytes(make([]byte, 32))...)
		return pair{key.D.FillBytes(make([]byte, 32)), append(point, key.Y.FillBytes(make([]byte, 32))...)}
	}
	key := must(map[string]ecdh.Curve{"P-256": ecdh.P256(), "P-384": ecdh.P384(), "P-521": ecdh.P521()}[curve].GenerateKey(rand.Reader))
	return pair{key.Bytes(), key.PublicKey().Bytes()}
}

type algorithm struct {
	OID    asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
}

func named(curve asn1.ObjectIdentifier) asn1.RawValue {
	return asn1.RawValue{FullBytes: must(asn1.Marshal(curve))}
}

func spkiOf(params asn1.RawValue, point []byte) []byte {
	return must(asn1.Marshal(struct {
		Algorithm algorithm
		Key       asn1.BitString
	}{algorithm{oidEC, params}, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}}))
}

// sec1 is an ECPrivateKey; params and point may be absent.
func sec1(version int, scalar []byte, params asn1.RawValue, point []byte) []byte {
	public := asn1.BitString{Bytes: point, BitLength: 8 * len(point)}
	if params.FullBytes == nil {
		return must(asn1.Marshal(struct {
			Version int
			Key     []byte
			Public  asn1.BitString `asn1:"explicit,optional,tag:1"`
		}{version, scalar, public}))
	}
	return must(asn1.Marshal(struct {
		Version int
		Key     []byte
		Params  asn1.RawValue  `asn1:"optional"`
		Public  asn1.BitString `asn1:"explicit,optional,tag:1"`
	}{version, scalar, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: params.FullBytes}, public}))
}

func pkcs8(version int, oid asn1.ObjectIdentifier, params asn1.RawValue, inner []byte) []byte {
	return must(asn1.Marshal(struct {
		Version   int
		Algorithm algorithm
		Key       []byte
	}{version, algorithm{oid, params}, inner}))
}

func pemOf(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// TestBothSides: the two halves give the same secret, for every curve and every form of the private key; so does plain
// arithmetic on the curve.
func TestBothSides(t *testing.T) {
	for _, c := range curves {
		t.Run(c.name, func(t *testing.T) {
			kms, mine := newPair(c.name), newPair(c.name)
			oid := named(oids[c.name])
			pub := must(spki.Parse(spkiOf(oid, kms.point)))
			other := must(Derive(must(spki.Parse(spkiOf(oid, mine.point))), must(ParsePrivateKey(sec1(1, kms.scalar, oid, nil)))))
			forms := map[string][]byte{
				"SEC 1":                   sec1(1, mine.scalar, oid, mine.point),
				"SEC 1 without the point": sec1(1, mine.scalar, oid, nil),
				"SEC 1, compressed":       sec1(1, mine.scalar, oid, append([]byte{2 + mine.point[len(mine.point)-1]&1}, mine.point[1:1+c.size]...)),
				"PKCS#8":                  pkcs8(0, oidEC, oid, sec1(1, mine.scalar, asn1.RawValue{}, mine.point)),
				"PKCS#8, curve twice":     pkcs8(0, oidEC, oid, sec1(1, mine.scalar, oid, mine.point)),
				"PKCS#8 without it":       pkcs8(1, oidEC, oid, sec1(1, mine.scalar, asn1.RawValue{}, nil)),
			}
			for form, der := range maps.Clone(forms) {
				forms[form+", PEM"] = pemOf(map[bool]string{true: "PRIVATE KEY", false: "EC PRIVATE KEY"}[strings.HasPrefix(form, "PKCS")], der)
			}
			for form, data := range forms {
				secret, err := Derive(pub, must(ParsePrivateKey(data)))
				if err != nil || !bytes.Equal(secret, other) || len(secret) != c.size {
					t.Errorf("%s: %x, expected %x: %v", form, secret, other, err)
				}
			}
			if c.spec == kmskey.SM2 {
				params := sm2.P256().Params()
				x, _ := params.ScalarMult(new(big.Int).SetBytes(kms.point[1:33]), new(big.Int).SetBytes(kms.point[33:]), mine.scalar)
				if !bytes.Equal(x.FillBytes(make([]byte, 32)), other) {
					t.Errorf("arithmetic gives %x, not %x", x, other)
				}
			}
		})
	}
}

// TestMismatch: keys on two curves are refused, and both are named.
func TestMismatch(t *testing.T) {
	for _, c := range curves {
		for _, d := range curves {
			if c.spec == d.spec {
				continue
			}
			kms, mine := newPair(c.name), newPair(d.name)
			secret, err := Derive(must(spki.Parse(spkiOf(named(oids[c.name]), kms.point))), must(ParsePrivateKey(sec1(1, mine.scalar, named(oids[d.name]), nil))))
			if secret != nil || !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "on the curve "+d.name+",") || !strings.Contains(err.Error(), "on "+c.name+" (") {
				t.Errorf("%s and %s: %v", c.name, d.name, err)
			}
		}
	}
	mine := must(ParsePrivateKey(sec1(1, newPair("P-256").scalar, named(oids["P-256"]), nil)))
	for _, name := range []string{"rsa2048", "ed25519", "secp256k1", "mldsa44", "mlkem768"} {
		pub := must(spki.Parse(must(os.ReadFile(keys + name + ".spki.der"))))
		if secret, err := Derive(pub, mine); secret != nil || !kmserr.Is(err, kmserr.InvalidKeyUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, call := range map[string]struct {
		pub     *spki.PublicKey
		private *PrivateKey
	}{"no key": {nil, mine}, "no private key": {&spki.PublicKey{Spec: "ECC_NIST_P256"}, nil}, "zero": {&spki.PublicKey{Spec: "ECC_NIST_P256"}, &PrivateKey{}},
		"no material": {&spki.PublicKey{Spec: "ECC_NIST_P256"}, mine}} {
		if secret, err := Derive(call.pub, call.private); secret != nil || !kmserr.Is(err, kmserr.Internal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusedPrivateKeys: each with a sentence that says what it is, and that holds nothing of the key.
func TestRefusedPrivateKeys(t *testing.T) {
	p := newPair("P-256")
	p256, sm := named(oids["P-256"]), named(oids["SM2"])
	good := sec1(1, p.scalar, p256, p.point)
	text := pemOf("EC PRIVATE KEY", good)
	legacy := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: good})
	pbes2 := must(asn1.Marshal(struct {
		Algorithm algorithm
		Data      []byte
	}{algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, asn1.RawValue{FullBytes: []byte{0x30, 0}}}, []byte("ciphertext")}))
	explicit := asn1.RawValue{FullBytes: []byte{0x30, 3, 2, 1, 1}}
	stranger := newPair("P-256").point
	order := must(hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"))
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":                     {nil, "is empty"},
		"too long":                    {make([]byte, MaxPrivateKey+1), "longer than the 16384 bytes allowed"},
		"text":                        {[]byte("hello"), "no PKCS#8 or SEC 1 structure"},
		"a SEQUENCE of nothing":       {[]byte{0x30, 0}, "no version"},
		"encrypted PKCS#8, PEM":       {pemOf("ENCRYPTED PRIVATE KEY", pbes2), "encrypted with a passphrase"},
		"encrypted PKCS#8, DER":       {pbes2, "encrypted with a passphrase"},
		"encrypted as OpenSSL did":    {legacy, "encrypted with a passphrase"},
		"a public key, PEM":           {pemOf("PUBLIC KEY", spkiOf(p256, p.point)), `a PEM block "PUBLIC KEY"`},
		"a public key, DER":           {spkiOf(p256, p.point), "holds a public key"},
		"a certificate":               {pemOf("CERTIFICATE", good), `a PEM block "CERTIFICATE"`},
		"RSA, PKCS#8":                 {must(os.ReadFile(keys + "rsa2048.key.pem")), "is for RSA"},
		"RSA, PKCS#1":                 {must(asn1.Marshal(struct{ V, N, E int }{0, 77, 65537})), "is for RSA"},
		"Ed25519":                     {must(os.ReadFile(keys + "ed25519.key.pem")), "is for Ed25519"},
		"ML-DSA":                      {must(os.ReadFile(keys + "mldsa44.key.pem")), "the algorithm 2.16.840.1.101.3.4.3.17"},
		"secp256k1":                   {must(os.ReadFile(keys + "secp256k1.key.pem")), "on the curve secp256k1, expected P-256"},
		"brainpool":                   {sec1(1, p.scalar, named(oids["brainpoolP256r1"]), nil), "on the curve 1.3.36.3.3.2.8.1.1.7, expected"},
		"parameters spelled out":      {sec1(1, p.scalar, explicit, nil), "spells out its curve's parameters"},
		"spelled out in PKCS#8":       {pkcs8(0, oidEC, explicit, good), "spells out its curve's parameters"},
		"no curve":                    {sec1(1, p.scalar, asn1.RawValue{}, nil), "names no curve"},
		"NULL for a curve":            {sec1(1, p.scalar, asn1.RawValue{FullBytes: []byte{5, 0}}, nil), "names no curve"},
		"two curves":                  {pkcs8(0, oidEC, p256, sec1(1, p.scalar, sm, nil)), "two curves, P-256 and SM2"},
		"version 0":                   {sec1(0, p.scalar, p256, nil), "the version 0"},
		"PKCS#8, version 2":           {pkcs8(2, oidEC, p256, good), "the version 2"},
		"SEC 1 of version 2 inside":   {pkcs8(0, oidEC, p256, sec1(2, p.scalar, p256, nil)), "no sound PKCS#8"},
		"no number":                   {sec1(1, nil, p256, nil), "has 0 bytes, expected 32"},
		"a long number":               {sec1(1, make([]byte, 33), p256, nil), "has 33 bytes, expected 32"},
		"zero":                        {sec1(1, make([]byte, 32), p256, nil), "not a number"},
		"the order":                   {sec1(1, order, p256, nil), "not a number"},
		"all ones, SM2":               {sec1(1, bytes.Repeat([]byte{0xff}, 32), sm, nil), "not a number"},
		"another's point":             {sec1(1, p.scalar, p256, stranger), "a public key that is not its own"},
		"another's point, PKCS#8":     {pkcs8(0, oidEC, p256, sec1(1, p.scalar, p256, stranger)), "a public key that is not its own"},
		"another's point, RFC 5958":   {withPublic(p.scalar, p256, stranger), "a public key that is not its own"},
		"a byte behind it":            {append(bytes.Clone(good), 0), "no PKCS#8 or SEC 1 structure"},
		"a byte missing":              {good[:len(good)-1], "no PKCS#8 or SEC 1 structure"},
		"two keys":                    {append(bytes.Clone(text), text...), "more than one key"},
		"damaged PEM":                 {bytes.Replace(text, []byte("M"), []byte("*"), 1), "no sound PEM block"},
		"a damaged block behind it":   {append(bytes.Clone(text), "-----BEGIN EC PRIVATE KEY-----\nM"...), "a damaged PEM block behind the key"},
		"parameters only":             {pemOf("EC PARAMETERS", p256.FullBytes), "no sound PEM block"},
		"a label that goes on and on": {pemOf(strings.Repeat("L", 5000), good), `a PEM block "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL", expected`},
	} {
		key, err := ParsePrivateKey(c.data)
		if key != nil || !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, expected %q", name, err, c.says)
			continue
		}
		e := kmserr.As(err)
		for _, part := range [][]byte{p.scalar, p.scalar[:8]} {
			if strings.Contains(e.Fact+e.Hint, string(part)) || strings.Contains(e.Fact+e.Hint, hex.EncodeToString(part)) {
				t.Errorf("%s: the error tells the key: %v", name, err)
			}
		}
	}
	key := must(ParsePrivateKey(text))
	if printed := fmt.Sprintf("%v %+v %#v %d %x, %v", key, key, key, key, key, *key); strings.ReplaceAll(printed, "a private key", "") != "    , " {
		t.Errorf("a private key prints %s", printed)
	}
}

// withPublic is PKCS#8 with a public key of its own (RFC 5958).
func withPublic(scalar []byte, params asn1.RawValue, point []byte) []byte {
	return must(asn1.Marshal(struct {
		Version   int
		Algorithm algorithm
		Key       []byte
		Public    asn1.BitString `asn1:"tag:1"`
	}{1, algorithm{oidEC, params}, sec1(1, scalar, asn1.RawValue{}, nil), asn1.BitString{Bytes: point, BitLength: 8 * len(point)}}))
}

// TestOddPrivateKeys: what other tools write.
func TestOddPrivateKeys(t *testing.T) {
	p := newPair("P-384")
	for p.scalar[0] != 0 { // about one in 256
		p = newPair("P-384")
	}
	params := named(oids["P-384"])
	for name, data := range map[string][]byte{
		"without its leading zero":   sec1(1, bytes.TrimLeft(p.scalar, "\x00"), params, p.point),
		"parameters before it":       append(pemOf("EC PARAMETERS", params.FullBytes), pemOf("EC PRIVATE KEY", sec1(1, p.scalar, params, p.point))...),
		"text before and behind":     append(append([]byte("Bag Attributes\n  friendlyName: a\n"), pemOf("PRIVATE KEY", pkcs8(0, oidEC, params, sec1(1, p.scalar, params, nil)))...), "more\n"...),
		"Windows line ends":          bytes.ReplaceAll(pemOf("EC PRIVATE KEY", sec1(1, p.scalar, params, nil)), []byte("\n"), []byte("\r\n")),
		"a public key in RFC 5958":   withPublic(p.scalar, params, p.point),
		"the label of SM2 (Tongsuo)": pemOf("SM2 PRIVATE KEY", sec1(1, p.scalar, params, nil)),
	} {
		if _, err := ParsePrivateKey(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenSSL: OpenSSL derives the same secret for every curve. Its command line derives nothing with a key that it knows
// as SM2, so there it is given the same curve with another generator, by which it does not: the secret does not depend on
// the generator.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: that it derives the same secrets is not tested")
	}
	for _, c := range curves {
		t.Run(c.name, func(t *testing.T) {
			for range 3 {
				kms, mine := newPair(c.name), newPair(c.name)
				params := named(oids[c.name])
				secret := must(Derive(must(spki.Parse(spkiOf(params, kms.point))), must(ParsePrivateKey(sec1(1, mine.scalar, params, mine.point)))))
				ownPoint := mine.point
				if c.spec == kmskey.SM2 {
					params, ownPoint = disguised(mine.scalar)
				}
				dir := t.TempDir()
				private, public := filepath.Join(dir, "private.pem"), filepath.Join(dir, "public.pem")
				must(0, os.WriteFile(private, pemOf("PRIVATE KEY", pkcs8(0, oidEC, params, sec1(1, mine.scalar, asn1.RawValue{}, ownPoint))), 0o600))
				must(0, os.WriteFile(public, pemOf("PUBLIC KEY", spkiOf(params, kms.point)), 0o600))
				cmd := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-derive", "-inkey", private, "-peerkey", public)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				got, err := cmd.Output()
				if err != nil && c.spec == kmskey.SM2 && strings.Contains(stderr.String(), "unsupported") {
					t.Skipf("this openssl takes no curve by its parameters: %s", stderr.String())
				}
				if err != nil || !bytes.Equal(got, secret) {
					t.Fatalf("openssl derives %x, and we %x: %v %s", got, secret, err, stderr.String())
				}
			}
		})
	}
}

// disguised returns SM2's parameters with twice its generator (RFC 3279, section 2.3.5), and the private key's point by it.
func disguised(scalar []byte) (params asn1.RawValue, point []byte) {
	c := sm2.P256().Params()
	point2 := func(x, y *big.Int) []byte {
		return append(append([]byte{4}, x.FillBytes(make([]byte, 32))...), y.FillBytes(make([]byte, 32))...)
	}
	gx, gy := c.ScalarBaseMult([]byte{2})
	px, py := c.ScalarMult(gx, gy, scalar)
	a := new(big.Int).Sub(c.P, big.NewInt(3)).FillBytes(make([]byte, 32)) // a is p-3
	type field struct {
		OID asn1.ObjectIdentifier
		P   *big.Int
	}
	type curve struct{ A, B []byte }
	return asn1.RawValue{FullBytes: must(asn1.Marshal(struct {
		Version  int
		Field    field
		Curve    curve
		Base     []byte
		Order    *big.Int
		Cofactor int
	}{1, field{asn1.ObjectIdentifier{1, 2, 840, 10045, 1, 1}, c.P}, curve{a, c.B.FillBytes(make([]byte, 32))}, point2(gx, gy), c.N, 1}))}, point2(px, py)
}

// FuzzParsePrivateKey: no input panics, a key that is taken derives, what is taken in PEM is taken in DER, and crypto/x509 reads
// the same key out of it where it knows the curve.
func FuzzParsePrivateKey(f *testing.F) {
	for _, c := range curves {
		p := newPair(c.name)
		params := named(oids[c.name])
		f.Add(sec1(1, p.scalar, params, p.point))
		f.Add(pkcs8(0, oidEC, params, sec1(1, p.scalar, asn1.RawValue{}, p.point)))
		f.Add(pemOf("EC PRIVATE KEY", sec1(1, p.scalar, params, nil)))
		f.Add(withPublic(p.scalar, params, p.point))
	}
	f.Add(must(os.ReadFile(keys + "rsa2048.key.pem")))
	peers := map[*curve]*spki.PublicKey{}
	for i := range curves {
		peers[&curves[i]] = must(spki.Parse(spkiOf(named(oids[curves[i].name]), newPair(curves[i].name).point)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := ParsePrivateKey(data)
		if err != nil {
			if key != nil || !kmserr.Is(err, kmserr.Validation) {
				t.Fatalf("%v, %v", key, err)
			}
			return
		}
		if secret, err := Derive(peers[key.curve], key); err != nil || len(secret) != key.curve.size {
			t.Fatalf("%x, %v", secret, err)
		}
		if bytes.Contains(data, []byte("-----BEGIN")) {
			for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
				if strings.HasSuffix(block.Type, "PRIVATE KEY") {
					if _, err := ParsePrivateKey(block.Bytes); err != nil {
						t.Fatal(err)
					}
				}
			}
			return
		}
		if key.nist == nil {
			return
		}
		theirs, err := x509.ParseECPrivateKey(data)
		if err != nil {
			parsed, pkcs8Err := x509.ParsePKCS8PrivateKey(data)
			if pkcs8Err != nil {
				t.Fatalf("taken, and crypto/x509 says %v, %v", err, pkcs8Err)
			}
			theirs = parsed.(*ecdsa.PrivateKey)
		}
		if own, err := theirs.ECDH(); err != nil || !own.Equal(key.nist) {
			t.Fatalf("another key than crypto/x509's: %v", err)
		}
	})
}
