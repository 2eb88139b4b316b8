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

// TestCosignPage runs every command of docs/cosign.md as it stands there, but for the registry's name, the image's digest,
// and the two that install: `aws kms sign` is a call of a fake KMS.
func TestCosignPage(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(shared.root, "docs", "cosign.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, sm2, found := strings.Cut(string(data), sm2Section)
	if !found {
		t.Fatalf("docs/cosign.md has no section %q", sm2Section)
	}
	p256 := signers[0]
	t.Run("verify", func(t *testing.T) {
		p := newPage(t, "p256")
		for name, predicate := range map[string]string{"app": harness.SignPredicate, "app-attestation": slsaPredicate} {
			statement := harness.InTotoStatement(name, p.digest, predicate)
			if err := shared.registry.PushReferrer(repository(t)+"/app", p.digest, predicate, harness.EnvelopeBundle(statement, p256.sign(t, harness.PAE(statement)))); err != nil {
				t.Fatal(err)
			}
		}
		message := []byte(cosignMessage)
		file(t, p.h, "app.tar.gz", message)
		file(t, p.h, "app.sig.b64", []byte(base64.StdEncoding.EncodeToString(p256.sign(t, message))))
		file(t, p.h, "app.sigstore.json", harness.Bundle(message, p256.sign(t, message)))
		statement := blobStatement(slsaPredicate)
		file(t, p.h, "app.att.json", harness.EnvelopeBundle(statement, p256.sign(t, harness.PAE(statement))))
		if p.follow(t, before); p.ran != 6 {
			t.Errorf("%d commands ran, expected 6", p.ran)
		}
	})
	t.Run("sm2", func(t *testing.T) {
		p := newPage(t, "sm2")
		p.run(t, "awskms-offline keys import release.json release-state.json --alias alias/release") // as above
		endpoint := startFakeKMS(t, t.TempDir())
		p.h.Extra = credentials(endpoint)
		callKMSIn(t, endpoint, "cn-north-1", "CreateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": fixture.Lookup("sm2").ARN()})
		p.sign = func(message []byte) string {
			answer := callKMSIn(t, endpoint, "cn-north-1", "Sign", map[string]any{"KeyId": "alias/release", "SigningAlgorithm": "SM2DSA", "MessageType": "RAW", "Message": message})
			return answer["Signature"].(string)
		}
		if p.follow(t, sm2); p.ran != 1+4+3 {
			t.Errorf("%d commands ran, expected 7 and the import", p.ran)
		}
		if !strings.Contains(p.last.Stderr, "KMSInvalidSignatureException") {
			t.Errorf("the first signature, of the default distinguishing ID, was not refused:\n%s", p.last)
		}
	})
}

// page is who follows the page.
type page struct {
	h      *harness.Host
	digest string
	sign   func(message []byte) string
	ran    int
	last   harness.Result
}

// newPage has KMS's answers about one key in the files of the page, and the image of the page.
func newPage(t *testing.T, key string) *page {
	t.Helper()
	p := &page{h: cosignHost(t, shared.bin)}
	p.h.Home = filepath.Join(p.h.Dir, "kms-keys")
	for i, path := range fixture.Lookup(key).Records(shared.testdata) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file(t, p.h, []string{"release.json", "release-state.json"}[i], data)
	}
	var err error
	if p.digest, err = shared.registry.PushImage(repository(t)+"/app", t.Name()); err != nil {
		t.Fatal(err)
	}
	return p
}

// follow runs the commands of a part of the page.
func (p *page) follow(t *testing.T, text string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "```") {
			inside = line == "```console"
		} else if inside {
			p.run(t, line)
		}
	}
}

func (p *page) run(t *testing.T, line string) {
	t.Helper()
	command, output, redirected := strings.Cut(strings.NewReplacer("registry.example.com", shared.registry.Scope(repository(t)), docsDigest, p.digest, "'", "").Replace(line), " > ")
	words := strings.Fields(command)
	switch words[0] {
	case "make", "sudo": // done by the tests' set-up
		return
	case "aws":
		_, name, _ := strings.Cut(command, "fileb://")
		name, _, _ = strings.Cut(name, " ")
		message, err := os.ReadFile(filepath.Join(p.h.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		file(t, p.h, output, []byte(p.sign(message)+"\n"))
	case "cosign", "awskms-offline":
		program := p.h.CLI
		if words[0] == "cosign" {
			program = build.ClientPath(shared.root, "cosign")
		}
		p.last = do(t, p.h, program, words[1:]...)
		if p.last.Code != 0 {
			t.Errorf("%s\n%s", line, p.last)
		}
		if redirected {
			file(t, p.h, output, []byte(p.last.Stdout))
		}
	default:
		t.Fatalf("what is %q?", line)
	}
	p.ran++
}
