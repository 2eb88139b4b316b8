package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestPrivateKeysAreRefused gives every private key of testdata in every form it comes in. Each is refused loudly, its
// file is named, and no home is made.
func TestPrivateKeysAreRefused(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/keys/*.key.pem")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 19 {
		t.Errorf("%d private keys, expected 19 or more", len(files))
	}
	const arn = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		public, err := os.ReadFile(strings.Replace(path, ".key.pem", ".spki.der", 1))
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{
			"PKCS8.pem":         text,
			"PKCS8.der":         block.Bytes,
			"with-newline.der":  append(bytes.Clone(block.Bytes), '\n'),
			"encrypted.pem":     pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted(t, block.Bytes)}),
			"encrypted.der":     encrypted(t, block.Bytes),
			"mislabelled.pem":   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: block.Bytes}),
			"behind-public.pem": append(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), text...),
			"record.json": fmt.Appendf(nil, `{"KeyId":%q,"KeyUsage":"SIGN_VERIFY","SigningAlgorithms":["ECDSA_SHA_256"],"PublicKey":%q}`,
				arn, base64.StdEncoding.EncodeToString(block.Bytes)),
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			switch key := key.(type) {
			case *rsa.PrivateKey:
				forms["PKCS1.der"] = x509.MarshalPKCS1PrivateKey(key)
				forms["PKCS1.pem"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: forms["PKCS1.der"]})
			case *ecdsa.PrivateKey:
				if forms["SEC1.der"], err = x509.MarshalECPrivateKey(key); err != nil {
					t.Fatal(err)
				}
				forms["SEC1.pem"] = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: forms["SEC1.der"]})
			}
		}
		for name, data := range forms {
			t.Run(filepath.Base(path)+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				home, file := filepath.Join(dir, "home"), filepath.Join(dir, name)
				write(t, file, data)
				var stdout, stderr bytes.Buffer
				code := Main([]string{"keys", "import", "--home", home, file, "--key-usage", "SIGN_VERIFY", "--key-id", arn}, strings.NewReader(""), &stdout, &stderr)
				if code != kmserr.ExitBadCall || !strings.Contains(stderr.String(), file+": THIS IS A PRIVATE KEY. It was not stored\nhint: ") || stdout.Len() > 0 {
					t.Errorf("exit code %d, said %q and %q", code, stdout.String(), stderr.String())
				}
				if _, err := os.Stat(home); !os.IsNotExist(err) {
					t.Errorf("a home was made (%v)", err)
				}
			})
		}
	}
}

// TestNoPrivateKey: what begins with a number as private keys do, and is none, is refused for what it is. Whoever is told
// that a private key lay open takes it for an incident.
func TestNoPrivateKey(t *testing.T) {
	testdata, err := filepath.Abs("../../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	signature, _, err := signTest(testdata, "p256", "ECDSA_SHA_256", []byte("a message"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := os.ReadFile(filepath.Join(testdata, "keys", "rsa2048.spki.der"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public.(*rsa.PublicKey))
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"a signature, DER":        {signature, "a signature, for one, is none"},
		"a signature, base64":     {[]byte(base64.StdEncoding.EncodeToString(signature)), "a signature, for one, is none"},
		"a PKCS#1 public key":     {pkcs1, "not a DER SubjectPublicKeyInfo"},
		"a PKCS#1 public key PEM": {pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), "-RSAPublicKey_in"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "file")
			write(t, file, c.data)
			var stdout, stderr bytes.Buffer
			code := Main([]string{"keys", "import", "--home", filepath.Join(dir, "home"), file}, strings.NewReader(""), &stdout, &stderr)
			if code != kmserr.ExitBadCall || strings.Contains(stderr.String(), "PRIVATE") || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("exit code %d, said %q and %q", code, stdout.String(), stderr.String())
			}
		})
	}
}

// encrypted has the shape of EncryptedPrivateKeyInfo (RFC 5958, section 3); what it holds is not encrypted.
func encrypted(t *testing.T, der []byte) []byte {
	type algorithm struct{ OID asn1.ObjectIdentifier }
	b, err := asn1.Marshal(struct {
		Algorithm algorithm
		Data      []byte
	}{algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}}, der}) // PBES2
	if err != nil {
		t.Fatal(err)
	}
	return b
}
