package kmscert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]string{
		"CN=release":                             "CN=release",
		"cn=release, o=Example , c=US":           "CN=release,O=Example,C=US",
		"C=US,ST=WA,O=Example,CN=release":        "CN=release,O=Example,ST=WA,C=US",
		`CN=a\,b\+c,OU=x+OU=y`:                   `CN=a\,b\+c,OU=x+OU=y`,
		"CN=Grüße,L=Köln":                        "CN=Grüße,L=Köln",
		`CN=\47o,SERIALNUMBER=1`:                 "SERIALNUMBER=1,CN=Go",
		"CN=a,STREET=Main Street 1,POSTALCODE=1": "CN=a,POSTALCODE=1,STREET=Main Street 1",
	} {
		got, err := ParseSubject(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; expected %s", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                                "there is no CN",
		"release":                         "no distinguished name",
		"CN=":                             "expected text",
		"O=Example":                       "there is no CN",
		"CN=a,CN=b":                       "given twice",
		"CN=a,X=b":                        `the attribute "X" is not known`,
		"CN=a,C=USA":                      "two letters",
		"CN=a\x00b":                       "no distinguished name",
		`CN=a\0ab`:                        "control characters",
		"/CN=a/O=b":                       "not known",
		"CN=" + strings.Repeat("a", 2000): "longer than 1024 bytes",
		"CN=a\xffb":                       "UTF-8", // the parser would put U+FFFD in its place
		`CN=a\ffb`:                        "UTF-8",
		"CN=#0401ff":                      "UTF-8",
		"CN=a\u009b2Jb":                   "control characters",
		"CN=a,O=b\u202ec":                 "control characters",
		"CN=a\u2028b":                     "control characters",
		"CN=a,C=12":                       "two letters",
		"CN=a,C=é":                        "two letters", // of two bytes
	} {
		_, err := ParseSubject(text)
		if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, expected %q", text, err, says)
		}
	}
}

// certificateOf returns the DER of a certificate whose key is the one given; no signature of it is right.
func certificateOf(t *testing.T, key *rsa.PublicKey) []byte {
	t.Helper()
	data, err := os.ReadFile("../../../testdata/certs/rsa2048.crt")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	split := func(der []byte) (parts []asn1.RawValue) {
		if _, err := asn1.Unmarshal(der, &parts); err != nil {
			t.Fatal(err)
		}
		return parts
	}
	join := func(value any) asn1.RawValue {
		der, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: der}
	}
	outer := split(block.Bytes)
	body := split(outer[0].FullBytes)
	if body[6].FullBytes, err = x509.MarshalPKIXPublicKey(key); err != nil {
		t.Fatal(err)
	}
	outer[0], outer[2] = join(body), join(asn1.BitString{Bytes: make([]byte, key.Size()), BitLength: 8 * key.Size()})
	return join(outer).FullBytes
}

// TestEnormousKey: one with a key of 262,144 bits, a file of 89 KiB, kept a processor busy for half a minute.
func TestEnormousKey(t *testing.T) {
	of := func(bits uint) []byte {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificateOf(t, &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537})})
	}
	if _, err := Parse("largest.pem", of(8192)); err != nil {
		t.Error(err)
	}
	for _, bits := range []uint{8193, 200_000} {
		_, err := Parse("large.pem", of(bits))
		if want := fmt.Sprintf("large.pem: certificate 1 has an RSA key of %d bits, expected at most 8192", bits); !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, expected %q", err, want)
		}
	}
}

// TestIssuerThatDoesNotCount: where the order is right, it is not the order that the error asks to mend.
func TestIssuerThatDoesNotCount(t *testing.T) {
	authority := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	for name, c := range map[string]struct {
		edit       func(authority, leaf *x509.Certificate)
		says, hint string // no problem if empty
	}{
		"sound":            {func(_, _ *x509.Certificate) {}, "", ""},
		"no authority":     {func(a, _ *x509.Certificate) { a.IsCA, a.KeyUsage = false, x509.KeyUsageDigitalSignature }, `is issued by "CN=authority", which is no authority`, "basicConstraints CA:TRUE"},
		"no constraints":   {func(a, _ *x509.Certificate) { a.IsCA, a.BasicConstraintsValid = false, false }, `is issued by "CN=authority", which is no authority`, "basicConstraints CA:TRUE"},
		"no keyCertSign":   {func(a, _ *x509.Certificate) { a.KeyUsage = x509.KeyUsageCRLSign }, `is issued by "CN=authority", which is not for signing certificates`, "keyUsage keyCertSign"},
		"SHA-1":            {func(_, l *x509.Certificate) { l.SignatureAlgorithm = x509.ECDSAWithSHA1 }, "is signed with ECDSA-SHA1, which is not secure", "SHA-256"},
		"no CA, and SHA-1": {func(a, l *x509.Certificate) { a.IsCA, l.SignatureAlgorithm = false, x509.ECDSAWithSHA1 }, `is issued by "CN=authority", which is no authority`, "CA:TRUE"},
	} {
		t.Run(name, func(t *testing.T) {
			issue := func(of, by x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
				der, err := x509.CreateCertificate(rand.Reader, &of, &by, &key.PublicKey, key)
				if err != nil {
					t.Fatal(err)
				}
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				return cert
			}
			ca, last := authority, leaf
			c.edit(&ca, &last)
			problems := (&Chain{Path: "chain.pem", Certificates: []*x509.Certificate{issue(last, ca, key), issue(ca, ca, key)}}).Problems(nil, time.Now())
			if c.says == "" {
				if len(problems) > 0 {
					t.Errorf("got %v", problems)
				}
			} else if e := kmserr.As(problems[0]); e.Name != kmserr.CertificateInvalid || !strings.HasPrefix(e.Fact, `chain.pem: certificate 1, of "CN=leaf", `+c.says) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("got %v (%s), expected %s (%s)", e, e.Hint, c.says, c.hint)
			}
			// A stranger's is a matter of the order, whatever else it lacks, and so is that of another key of the same name.
			stranger := ca
			stranger.Subject.CommonName = "stranger"
			other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			for _, by := range []x509.Certificate{stranger, ca} {
				if by.Subject.CommonName == "authority" && last.SignatureAlgorithm != 0 {
					continue // of SHA-1 nobody tells whose it is
				}
				problems = (&Chain{Path: "chain.pem", Certificates: []*x509.Certificate{issue(last, by, other), issue(ca, ca, key)}}).Problems(nil, time.Now())
				if len(problems) == 0 || !strings.Contains(problems[0].Error(), "is not issued by certificate 2") {
					t.Errorf("by %s: got %v", by.Subject, problems)
				}
			}
		})
	}
}

// TestProblemsOfAnyPath: what stands in a path is no format.
func TestProblemsOfAnyPath(t *testing.T) {
	data, err := os.ReadFile("../../../testdata/certs/p256.crt")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := Parse("50%done %d.pem", data)
	if err != nil {
		t.Fatal(err)
	}
	expired := chain.Certificates[0].NotAfter
	problems := chain.Problems(nil, expired.Add(time.Second))
	want := fmt.Sprintf("50%%done %%d.pem: certificate 1, of %q, expired at %s", chain.Certificates[0].Subject, expired.UTC().Format(time.RFC3339))
	if len(problems) != 1 || !strings.HasSuffix(problems[0].Error(), want) {
		t.Errorf("got %v, expected %s", problems, want)
	}
}

func FuzzParseSubject(f *testing.F) {
	f.Add("CN=a,O=b+OU=c")
	f.Add(`CN=\47\,,C=US`)
	f.Add("CN=#0c0161")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseSubject(text)
		if err == nil {
			if _, unwritable := asn1.Marshal(name.ToRDNSequence()); name.CommonName == "" || unwritable != nil {
				t.Errorf("%q is taken for %s: %v", text, name, unwritable)
			}
		}
		if err != nil && !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../../testdata/certs/*.crt")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := Parse("file", data)
		if err != nil {
			if !kmserr.Is(err, kmserr.Validation) {
				t.Error(err)
			}
			return
		}
		if again, err := Parse("file", chain.PEM()); err != nil || len(again.Certificates) != len(chain.Certificates) {
			t.Errorf("what is written is not read: %v", err)
		}
	})
}

// TestUnreadableFile: what the system says of a file is told without the path, which the sentence has already.
func TestUnreadableFile(t *testing.T) {
	_, err := Read("chain\x00.pem") // which no system has
	e := kmserr.As(err)
	if err == nil || strings.Count(e.Fact, "chain") != 1 || !strings.Contains(e.Fact, "cannot be read: ") || e.Hint == "" {
		t.Errorf("%v (%s)", e, e.Hint)
	}
}
