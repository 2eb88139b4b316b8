package main

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const testdata = "../../testdata"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// prepare makes a throw-away home with two keys of testdata, one of them disabled, and a bundle of each over a file.
func prepare(dir string) (artifact string, bundles map[string]string, arns map[string]string) {
	home := keystore.Home{Path: filepath.Join(must(filepath.EvalSymlinks(dir)), "home"), ChosenBy: "example"}
	os.Setenv(keystore.EnvHome, home.Path)
	os.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	w := must(keystore.OpenWriter(home, keystore.Options{}))
	message := []byte("what is signed\n")
	artifact = filepath.Join(dir, "app.tar.gz")
	must(0, os.WriteFile(artifact, message, 0o600))
	sum := sha256.Sum256(message)
	bundles, arns = make(map[string]string), make(map[string]string)
	for _, name := range []string{"p256", "p256-disabled"} {
		record := must(kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json")))))
		metadata := must(kmskey.DecodeDescribeKey(must(os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")))))
		record.KeyMetadata = &metadata
		must(w.Put(must(kmskey.NewKey(record)), keystore.PutOptions{}))
		arns[name] = record.KeyID

		block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
		signature := must(must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer).Sign(rand.Reader, sum[:], crypto.SHA256))
		bundles[name] = filepath.Join(dir, name+".sigstore.json")
		must(0, os.WriteFile(bundles[name], must(json.Marshal(map[string]any{
			"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
			"verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": "kms"}},
			"messageSignature":     map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": signature},
		})), 0o600))
	}
	must(0, w.Close())
	return artifact, bundles, arns
}

func Example() {
	dir := must(os.MkdirTemp("", "example-"))
	defer os.RemoveAll(dir)
	artifact, bundles, arns := prepare(dir)
	fmt.Println(verifyBundle(arns["p256"], bundles["p256"], artifact))
	// Output: <nil>
}

func TestRefusals(t *testing.T) {
	artifact, bundles, arns := prepare(t.TempDir())
	changed := filepath.Join(t.TempDir(), "changed")
	must(0, os.WriteFile(changed, []byte("what is signet\n"), 0o600))
	for name, c := range map[string]struct{ key, bundle, artifact, says string }{
		"changed file": {"p256", "p256", changed, ""},
		"another key":  {"p256", "p256-disabled", artifact, "KMSInvalidSignatureException"},
		"disabled key": {"p256-disabled", "p256-disabled", artifact, "DisabledException"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := verifyBundle(arns[c.key], bundles[c.bundle], c.artifact); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, expected %q", err, c.says)
			}
		})
	}
}
