package main

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/sigstoreverifier"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const testdata = "../../testdata"

var artifact = []byte("what is signed\n")

func TestMain(m *testing.M) {
	dir, err := testenv.Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// importKeys makes a store below dir with keys of testdata, makes it the one in use and returns the keys' ARNs. Programs
// import with the command line, or with keystore.OpenWriter as here.
func importKeys(dir string, names ...string) map[string]string {
	home := keystore.Home{Path: filepath.Join(must(filepath.EvalSymlinks(dir)), "home"), ChosenBy: "example"}
	os.Setenv(keystore.EnvHome, home.Path)
	w := must(keystore.OpenWriter(home, keystore.Options{}))
	arns := make(map[string]string)
	for _, name := range names {
		record := must(kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json")))))
		if state, err := os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")); err == nil {
			metadata := must(kmskey.DecodeDescribeKey(state))
			record.KeyMetadata = &metadata
		}
		must(w.Put(must(kmskey.NewKey(record)), keystore.PutOptions{}))
		arns[name] = record.KeyID
	}
	must(0, w.Close())
	return arns
}

// sign stands for KMS: it signs with a private key of testdata.
func sign(name string, message []byte) []byte {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
	if name == "sm2" {
		var outer struct {
			Version   int
			Algorithm asn1.RawValue
			Key       []byte
		}
		must(asn1.Unmarshal(block.Bytes, &outer))
		var inner struct {
			Version int
			Key     []byte
			Rest    asn1.RawValue `asn1:"optional"`
		}
		must(asn1.Unmarshal(outer.Key, &inner))
		return must(must(sm2.NewPrivateKey(inner.Key)).SignWithSM2(rand.Reader, []byte(kmskey.DefaultDistinguishingID), message))
	}
	sum := sha256.Sum256(message)
	return must(must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer).Sign(rand.Reader, sum[:], crypto.SHA256))
}

type object = map[string]any

// newBundle is a bundle v0.3 of a key with that content.
func newBundle(member string, content object) object {
	return object{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": object{"publicKey": object{"hint": "chosen by the signer"}},
		member:                 content,
	}
}

// fileBundle is a bundle of a signature over the artifact.
func fileBundle(signature []byte) object {
	sum := sha256.Sum256(artifact)
	return newBundle("messageSignature", object{
		"messageDigest": object{"algorithm": "SHA2_256", "digest": sum[:]},
		"signature":     signature,
	})
}

const payloadType = "application/vnd.in-toto+json"

func statement() []byte {
	sum := sha256.Sum256(artifact)
	return must(json.Marshal(object{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://example.com/built/v1", "predicate": object{"by": "make"},
		"subject": []object{{"name": "app.tar.gz", "digest": object{"sha256": hex.EncodeToString(sum[:])}}},
	}))
}

// pae is what is signed of an attestation (DSSE, "Pre-Authentication Encoding").
func pae(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// attestation is a bundle of a signed statement.
func attestation(payload, signature []byte) object {
	return newBundle("dsseEnvelope", object{
		"payloadType": payloadType, "payload": payload, "signatures": []object{{"sig": signature}},
	})
}

func flipped(b []byte) []byte {
	b = append([]byte(nil), b...)
	b[len(b)-1] ^= 1
	return b
}

func save(path string, data []byte) string {
	must(0, os.WriteFile(path, data, 0o600))
	return path
}

func Example() {
	dir := must(os.MkdirTemp("", "example-"))
	defer os.RemoveAll(dir)
	arns := importKeys(dir, "p256")
	signed := save(filepath.Join(dir, "app.sigstore.json"), must(json.Marshal(fileBundle(sign("p256", artifact)))))
	file := save(filepath.Join(dir, "app.tar.gz"), artifact)
	changed := save(filepath.Join(dir, "changed.tar.gz"), []byte("what is signet\n"))

	for _, path := range []string{file, changed} {
		err := verifyBundle(arns["p256"], signed, path)
		var refusal *kmserr.Error
		switch {
		case err == nil:
			fmt.Println("verified")
		case errors.As(err, &refusal):
			fmt.Println("refused:", refusal.Name)
		}
	}
	// Output:
	// verified
	// refused: KMSInvalidSignatureException
}

// TestBundles: every kind of bundle, with the tampered twins, refused for our reason. SM2 is a key that sigstore-go itself
// cannot read.
func TestBundles(t *testing.T) {
	dir := t.TempDir()
	arns := importKeys(dir, "p256", "p256-other", "p256-disabled", "sm2", "rsa2048", "rsa2048-encrypt")
	file := save(filepath.Join(dir, "app.tar.gz"), artifact)
	changed := save(filepath.Join(dir, "changed.tar.gz"), []byte("what is signet\n"))
	payload := statement()
	other := []byte(strings.Replace(string(payload), `"make"`, `"fake"`, 1))

	for name, c := range map[string]struct {
		key    string
		bundle object
		file   string
		want   kmserr.Name
	}{
		"file":                    {"p256", fileBundle(sign("p256", artifact)), file, ""},
		"file, SM2":               {"sm2", fileBundle(sign("sm2", artifact)), file, ""},
		"file, RSA":               {"rsa2048", fileBundle(sign("rsa2048", artifact)), file, ""},
		"file changed":            {"p256", fileBundle(sign("p256", artifact)), changed, kmserr.InvalidSignature},
		"file changed, SM2":       {"sm2", fileBundle(sign("sm2", artifact)), changed, kmserr.InvalidSignature},
		"signature changed":       {"p256", fileBundle(flipped(sign("p256", artifact))), file, kmserr.InvalidSignature},
		"signature changed, SM2":  {"sm2", fileBundle(flipped(sign("sm2", artifact))), file, kmserr.InvalidSignature},
		"another key":             {"p256", fileBundle(sign("p256-other", artifact)), file, kmserr.InvalidSignature},
		"disabled":                {"p256-disabled", fileBundle(sign("p256-disabled", artifact)), file, kmserr.Disabled},
		"for encryption":          {"rsa2048-encrypt", fileBundle(sign("rsa2048-encrypt", artifact)), file, kmserr.InvalidKeyUsage},
		"attestation":             {"p256", attestation(payload, sign("p256", pae(payload))), file, ""},
		"attestation, SM2":        {"sm2", attestation(payload, sign("sm2", pae(payload))), file, ""},
		"statement changed":       {"p256", attestation(other, sign("p256", pae(payload))), file, kmserr.InvalidSignature},
		"statement changed, SM2":  {"sm2", attestation(other, sign("sm2", pae(payload))), file, kmserr.InvalidSignature},
		"attestation, no PAE":     {"p256", attestation(payload, sign("p256", payload)), file, kmserr.InvalidSignature},
		"attestation, disabled":   {"p256-disabled", attestation(payload, sign("p256-disabled", pae(payload))), file, kmserr.Disabled},
		"attestation, encryption": {"rsa2048-encrypt", attestation(payload, sign("rsa2048-encrypt", pae(payload))), file, kmserr.InvalidKeyUsage},
	} {
		t.Run(name, func(t *testing.T) {
			path := save(filepath.Join(t.TempDir(), "bundle.json"), must(json.Marshal(c.bundle)))
			err := verifyBundle(arns[c.key], path, c.file)
			if c.want == "" && err != nil || c.want != "" && (!kmserr.Is(err, c.want) || !strings.Contains(err.Error(), string(c.want))) {
				t.Errorf("got %v, expected %q", err, c.want)
			}
		})
	}
	path := save(filepath.Join(dir, "bundle.json"), must(json.Marshal(attestation(payload, sign("p256", pae(payload))))))
	if err := verifyBundle(arns["p256"], path, changed); err == nil {
		t.Error("an attestation about another file was verified")
	}
}

// TestDigests: callers of sigstore-go that have only the artifact's digest.
func TestDigests(t *testing.T) {
	arns := importKeys(t.TempDir(), "p256", "sm2")
	v := must(verifier.Open(verifier.Options{}))
	t.Cleanup(func() { v.Close() })
	sum := sha256.Sum256(artifact)
	other := sha256.Sum256([]byte("another"))
	for name, c := range map[string]struct {
		key       string
		signature []byte
		digest    []byte
		want      kmserr.Name
	}{
		"P-256":   {"p256", sign("p256", artifact), sum[:], ""},
		"another": {"p256", sign("p256", artifact), other[:], kmserr.InvalidSignature},
		"SM2":     {"sm2", sign("sm2", artifact), sum[:], kmserr.Validation},
		"nothing": {"p256", sign("p256", nil), nil, kmserr.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			key := must(sigstoreverifier.New(v, arns[c.key], sigstoreverifier.Options{}))
			sigstore := must(verify.NewVerifier(root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
				return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
			}), verify.WithNoObserverTimestamps()))
			b := must(readBundle(save(filepath.Join(t.TempDir(), "bundle.json"), must(json.Marshal(newBundle("messageSignature", object{
				"messageDigest": object{"algorithm": "SHA2_256", "digest": c.digest}, "signature": c.signature,
			}))))))
			_, err := sigstore.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", c.digest), verify.WithKey()))
			if c.want == "" && err != nil || c.want != "" && !kmserr.Is(err, c.want) {
				t.Errorf("got %v, expected %q", err, c.want)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	arns := importKeys(dir, "p256")
	file := save(filepath.Join(dir, "app.tar.gz"), artifact)
	good := save(filepath.Join(dir, "good.json"), must(json.Marshal(fileBundle(sign("p256", artifact)))))
	for name, c := range map[string]struct{ key, bundle, file string }{
		"no key":          {"", good, file},
		"a key not known": {"alias/nobody", good, file},
		"no bundle":       {arns["p256"], filepath.Join(dir, "none"), file},
		"no JSON":         {arns["p256"], file, file},
		"a long bundle":   {arns["p256"], save(filepath.Join(dir, "long"), make([]byte, maxBundle+1)), file},
		"no file":         {arns["p256"], good, filepath.Join(dir, "none")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := verifyBundle(c.key, c.bundle, c.file); err == nil {
				t.Error("no error")
			}
		})
	}
}
