package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

const (
	docsDigest    = "sha256:a0adb0dc8d36f2e061d57d59a40cc82fd25808ff42adeff833c7d2c9e9f50862"
	slsaPredicate = "https://slsa.dev/provenance/v1"
	sm2Section    = "## Sign a container with an SM2 KMS key"
)

// TestCosignPage runs every cosign command of docs/cosign.md as it stands there, and how it signs, but for the registry's name
// and the image's digest. `aws kms sign` is done with the test key, `awskms-offline sign` in a fake KMS.
func TestCosignPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(shared.root, "docs", "cosign.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, sm2, found := strings.Cut(string(page), sm2Section)
	if !found {
		t.Fatalf("docs/cosign.md has no section %q", sm2Section)
	}
	p256 := signers[0]
	t.Run("verify", func(t *testing.T) {
		h, digest := docsHost(t, "p256")
		for name, predicate := range map[string]string{"app": harness.SignPredicate, "app-attestation": slsaPredicate} {
			statement := harness.InTotoStatement(name, digest, predicate)
			if err := shared.registry.PushReferrer(repository(t)+"/app", digest, predicate, harness.EnvelopeBundle(statement, p256.sign(t, harness.PAE(statement)))); err != nil {
				t.Fatal(err)
			}
		}
		message := []byte(cosignMessage)
		file(t, h, "app.tar.gz", message)
		file(t, h, "app.sig.b64", []byte(base64.StdEncoding.EncodeToString(p256.sign(t, message))))
		file(t, h, "app.sigstore.json", harness.Bundle(message, p256.sign(t, message)))
		statement := blobStatement(slsaPredicate)
		file(t, h, "app.att.json", harness.EnvelopeBundle(statement, p256.sign(t, harness.PAE(statement))))
		if ran := runPage(t, h, before, digest, nil); ran != 5 {
			t.Errorf("%d commands ran, expected 5", ran)
		}
	})
	t.Run("sm2", func(t *testing.T) {
		h, digest := docsHost(t, "sm2")
		endpoint := startFakeKMS(t, t.TempDir())
		callKMSIn(t, endpoint, "cn-north-1", "CreateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": fixture.Lookup("sm2").ARN()})
		h.Extra = credentials(endpoint) // for awskms-offline sign; what verifies has no network
		sign := func() {
			payload, err := os.ReadFile(filepath.Join(h.Dir, "payload.json"))
			if err != nil {
				t.Fatal(err)
			}
			signer := signer{key: "sm2", algorithm: "SM2DSA"}
			file(t, h, "payload.sig", []byte(base64.StdEncoding.EncodeToString(signer.sign(t, payload))+"\n"))
		}
		if ran := runPage(t, h, sm2, digest, sign); ran != 6 {
			t.Errorf("%d commands ran, expected 6", ran)
		}
	})
}

// docsHost has one key with the alias of the page, and the image of the page.
func docsHost(t *testing.T, key string) (h *harness.Host, digest string) {
	t.Helper()
	h = cosignHost(t, shared.bin)
	h.Home = filepath.Join(h.Dir, "kms-keys")
	k := fixture.Lookup(key)
	r, err := h.Run(h.CLI, append([]string{"keys", "import", "--home", h.Home, "--alias", "alias/release"}, k.Records(shared.testdata)...)...)
	if err != nil || r.Code != 0 {
		t.Fatal(r, err)
	}
	if digest, err = shared.registry.PushImage(repository(t)+"/app", t.Name()); err != nil {
		t.Fatal(err)
	}
	return h, digest
}

func runPage(t *testing.T, h *harness.Host, page, digest string, sign func()) (ran int) {
	t.Helper()
	local := strings.NewReplacer("registry.example.com", shared.registry.Scope(repository(t)), docsDigest, digest)
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && strings.HasPrefix(line, "aws kms sign "):
			sign()
		case inside && strings.HasPrefix(line, "awskms-offline sign "), inside && strings.HasPrefix(line, "cosign "):
			program := build.ClientPath(shared.root, "cosign")
			if strings.HasPrefix(line, "awskms-offline ") {
				program = h.CLI
			}
			command, output, redirected := strings.Cut(local.Replace(line), " > ")
			r, err := h.Run(program, strings.Fields(strings.ReplaceAll(command, "'", ""))[1:]...) // nothing quoted has a space
			if err != nil {
				t.Fatal(err)
			}
			if r.Code != 0 {
				t.Errorf("%s\n%s", line, r)
			}
			if redirected {
				file(t, h, output, []byte(r.Stdout))
			}
			ran++
		}
	}
	return ran
}
