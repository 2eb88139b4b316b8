package rawencrypt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const keys = "../../../testdata/keys/"

func public(t testing.TB, name string) *spki.PublicKey {
	t.Helper()
	der, err := os.ReadFile(keys + name + ".spki.der")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := spki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func pkcs8(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(keys + name + ".key.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return block.Bytes
}

func sm2Key(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	// PKCS#8 that holds SEC 1: the scalar is the octet string of 32 bytes behind "version 1".
	der := pkcs8(t, "sm2")
	i := bytes.Index(der, []byte{2, 1, 1, 4, 32})
	key, err := sm2.NewPrivateKey(der[i+5 : i+37])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// goes are the pairs that KMS has, and the longest plaintext: AWS KMS Developer Guide, "Key spec reference", which gives
// the numbers.
var goes = []struct {
	key  string
	alg  kmskey.EncryptionAlgorithm
	most int
	hash string // openssl's name
}{
	{"rsa2048", kmskey.RSAESOAEPSHA1, 214, "sha1"}, {"rsa2048", kmskey.RSAESOAEPSHA256, 190, "sha256"},
	{"rsa3072", kmskey.RSAESOAEPSHA1, 342, "sha1"}, {"rsa3072", kmskey.RSAESOAEPSHA256, 318, "sha256"},
	{"rsa4096", kmskey.RSAESOAEPSHA1, 470, "sha1"}, {"rsa4096", kmskey.RSAESOAEPSHA256, 446, "sha256"},
	{"sm2", kmskey.SM2PKE, 1024, ""},
}

func decrypt(t testing.TB, name string, alg kmskey.EncryptionAlgorithm, ct []byte) []byte {
	t.Helper()
	var got []byte
	var err error
	if alg == kmskey.SM2PKE {
		got, err = sm2.Decrypt(sm2Key(t), ct)
	} else {
		parsed, parseErr := x509.ParsePKCS8PrivateKey(pkcs8(t, name))
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		h := sha256.New()
		if alg == kmskey.RSAESOAEPSHA1 {
			h = sha1.New()
		}
		got, err = rsa.DecryptOAEP(h, nil, parsed.(*rsa.PrivateKey), ct, nil)
	}
	if err != nil {
		t.Fatalf("%s: %v", alg, err)
	}
	return got
}

// TestLimits: 1 byte and the longest plaintext go and come back, nothing and one byte more are refused with the number.
func TestLimits(t *testing.T) {
	for _, g := range goes {
		t.Run(g.key+"/"+string(g.alg), func(t *testing.T) {
			pub := public(t, g.key)
			if most := g.alg.MaxPlaintext(kmskey.KeySpec(pub.Spec)); most != g.most {
				t.Fatalf("at most %d bytes, expected %d", most, g.most)
			}
			for _, n := range []int{1, 2, g.most - 1, g.most} {
				plaintext := make([]byte, n)
				rand.Read(plaintext)
				ct, err := Encrypt(pub, g.alg, plaintext)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(decrypt(t, g.key, g.alg, ct), plaintext) {
					t.Errorf("%d bytes do not come back", n)
				}
				again, err := Encrypt(pub, g.alg, plaintext)
				if err != nil || bytes.Equal(again, ct) {
					t.Errorf("the same ciphertext twice, or %v", err)
				}
			}
			for _, n := range []int{0, g.most + 1, 5000} {
				ct, err := Encrypt(pub, g.alg, make([]byte, n))
				if ct != nil || !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), fmt.Sprint(g.most)) {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

// TestPairs: every other pair of key and algorithm is refused.
func TestPairs(t *testing.T) {
	names, err := filepath.Glob(keys + "*.spki.der")
	if err != nil || len(names) < 15 {
		t.Fatal(names, err)
	}
	refused, taken := 0, 0
	for _, name := range names {
		pub := public(t, strings.TrimSuffix(filepath.Base(name), ".spki.der"))
		for _, alg := range append([]kmskey.EncryptionAlgorithm{"", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_512", "sm2pke"}, kmskey.EncryptionAlgorithms()...) {
			rsaPair := pub.RSA != nil && strings.HasPrefix(string(alg), "RSAES") && alg.Known()
			ct, err := Encrypt(pub, alg, []byte("x"))
			switch {
			case rsaPair || pub.SM2 != nil && alg == kmskey.SM2PKE:
				taken++
				if err != nil {
					t.Errorf("%s, %s: %v", pub.Spec, alg, err)
				}
			default:
				refused++
				if ct != nil || !kmserr.Is(err, kmserr.InvalidKeyUsage) {
					t.Errorf("%s, %s: %v", pub.Spec, alg, err)
				}
			}
		}
	}
	if taken != 9 || refused < 90 {
		t.Errorf("%d taken and %d refused", taken, refused)
	}
	for name, pub := range map[string]*spki.PublicKey{"none": nil, "RSA without": {Spec: "RSA_2048"}, "SM2 without": {Spec: "SM2"}} {
		for _, alg := range kmskey.EncryptionAlgorithms() {
			if ct, err := Encrypt(pub, alg, []byte("x")); ct != nil || err == nil {
				t.Errorf("%s, %s: %v", name, alg, err)
			}
		}
	}
}

// TestSM2Bytes reads the ciphertext byte by byte (GM/T 0009-2012, section 7.2): tags, shortest lengths, two positive
// integers in their shortest form that are a point on the curve, 32 bytes of C3 before C2 as long as the plaintext. 1200
// ciphertexts meet integers with and without a leading zero byte, and shorter ones.
func TestSM2Bytes(t *testing.T) {
	pub, private := public(t, "sm2"), sm2Key(t)
	sizes := map[int]int{}
	for i := range 1200 {
		plaintext := make([]byte, 1+i%1024)
		rand.Read(plaintext)
		ct, err := Encrypt(pub, kmskey.SM2PKE, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		body, rest := element(t, ct, 0x30)
		if len(rest) != 0 {
			t.Fatalf("%x has %d bytes after its end", ct, len(rest))
		}
		x, body := element(t, body, 0x02)
		y, body := element(t, body, 0x02)
		c3, body := element(t, body, 0x04)
		c2, body := element(t, body, 0x04)
		if len(body) != 0 || len(c3) != 32 || len(c2) != len(plaintext) {
			t.Fatalf("%x: C3 of %d bytes, C2 of %d for %d of plaintext, %d more", ct, len(c3), len(c2), len(plaintext), len(body))
		}
		for _, n := range [][]byte{x, y} {
			if len(n) == 0 || len(n) > 33 || n[0] >= 0x80 || len(n) > 1 && n[0] == 0 && n[1] < 0x80 {
				t.Fatalf("%x is no shortest positive integer", n)
			}
			sizes[len(n)]++
		}
		curve := sm2.P256()
		if !curve.IsOnCurve(new(big.Int).SetBytes(x), new(big.Int).SetBytes(y)) {
			t.Fatalf("%x, %x is not on the curve", x, y)
		}
		if got, err := sm2.Decrypt(private, ct); err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("%x does not decrypt: %v", ct, err)
		}
	}
	if sizes[32] < 500 || sizes[33] < 500 || sizes[31] == 0 {
		t.Errorf("the integers' lengths: %v", sizes)
	}
}

// TestSM2ShortPlaintexts: whatever is encrypted decrypts, also where the stream that hides it is all zeros at first. Of 3,000
// plaintexts of one byte about twelve meet that; that none does has a chance of 1 in 100,000.
func TestSM2ShortPlaintexts(t *testing.T) {
	pub, private := public(t, "sm2"), sm2Key(t)
	for i := range 3000 {
		plaintext := []byte{byte(i)}
		ct, err := Encrypt(pub, kmskey.SM2PKE, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sm2.Decrypt(private, ct); err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("number %d, %x, does not decrypt: %v", i, ct, err)
		}
	}
	scalar := new(oneScalar)
	if n, err := io.ReadFull(scalar, make([]byte, 32)); n != 32 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := scalar.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errSecondScalar) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// element reads one DER element with this tag by hand: length in one byte below 128, else in as few as hold it.
func element(t *testing.T, b []byte, tag byte) (content, rest []byte) {
	t.Helper()
	if len(b) < 2 || b[0] != tag {
		t.Fatalf("%x: expected the tag %02x", b, tag)
	}
	n, head := int(b[1]), 2
	switch {
	case b[1] == 0x81 && len(b) > 2 && b[2] >= 0x80:
		n, head = int(b[2]), 3
	case b[1] == 0x82 && len(b) > 3 && b[2] != 0:
		n, head = int(b[2])<<8|int(b[3]), 4
	case b[1] >= 0x80:
		t.Fatalf("%x: a length that is not the shortest", b)
	}
	if len(b) < head+n {
		t.Fatalf("%x: cut off", b)
	}
	var same cryptobyte.String
	if other := cryptobyte.String(b); !other.ReadAnyASN1(&same, nil) || !bytes.Equal(same, b[head:head+n]) {
		t.Fatalf("%x: another reader disagrees", b)
	}
	return b[head : head+n], b[head+n:]
}

// TestOpenSSL: OpenSSL decrypts what is encrypted here.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: that it decrypts what is encrypted here is not tested")
	}
	for _, g := range goes {
		t.Run(g.key+"/"+string(g.alg), func(t *testing.T) {
			for _, n := range []int{1, 32, g.most} {
				plaintext := make([]byte, n)
				rand.Read(plaintext)
				ct, err := Encrypt(public(t, g.key), g.alg, plaintext)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "ciphertext")
				if err := os.WriteFile(file, ct, 0o600); err != nil {
					t.Fatal(err)
				}
				args := []string{"pkeyutl", "-decrypt", "-inkey", keys + g.key + ".key.pem", "-in", file}
				if g.hash != "" {
					args = append(args, "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:"+g.hash, "-pkeyopt", "rsa_mgf1_md:"+g.hash)
				}
				cmd := exec.CommandContext(t.Context(), openssl, args...)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				got, err := cmd.Output()
				if err != nil && strings.Contains(stderr.String(), "unsupported") {
					t.Skipf("this openssl does not know %s: %s", g.alg, stderr.String())
				}
				if err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("openssl %s: %v %s", strings.Join(args, " "), err, stderr.String())
				}
			}
		})
	}
}
