package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// TestNotationSigningPage runs every notation command of docs/notation-signing.md as it stands there, but for the names of
// the registry and the timestamping authority, the image's digest and where the authority's root lies. What the page signs
// verifies. The certificate lies in the key store, as `awskms-offline cert self-sign` would put it there.
func TestNotationSigningPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(shared.root, "docs", "notation-signing.md"))
	if err != nil {
		t.Fatal(err)
	}
	endpoint := startFakeKMS(t, t.TempDir())
	options := timestamping(t)
	key := fixture.Lookup("p256")
	callKMS(t, endpoint, "CreateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": key.ARN()})

	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	h.Extra = credentials(endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", key.ARN()))
	chain, root := certified(t, private(t, key.Name), false)
	certificate, err := os.ReadFile(chain)
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(h.Home, "certs")
	if err := os.MkdirAll(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, fingerprint(t, h, key.ARN())+".pem"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.InstallPlugin(filepath.Join(shared.bin, build.Executable("notation-awskms-offline"))); err != nil {
		t.Fatal(err)
	}
	if err := h.Pack(filepath.Join(shared.bin, build.Executable("notation-awskms-signer")), "awskms-signer.tar.gz"); err != nil {
		t.Fatal(err)
	}
	trust(t, h, []string{root}, nil, key.ARN())

	// "make build" and "tar" were done above.
	signed, ran := 0, 0
	inside := false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && strings.HasPrefix(line, "notation "):
			repository, digest, reference := "", "", ""
			if strings.HasPrefix(line, "notation sign ") {
				signed++
				repository, digest, reference = repositoryAndImage(t, string(rune('a'+signed)))
				line = strings.Replace(line, "notation sign ", "notation sign --insecure-registry ", 1)
			}
			line = strings.NewReplacer("registry.example.com/app@"+docsDigest, reference, "http://timestamp.example.com", options.url,
				"/etc/awskms-offline/tsa-root.pem", options.root).Replace(line)
			r := do(t, h, h.Notation, strings.Fields(line)[1:]...)
			ran++
			well(t, r)
			switch {
			case strings.HasPrefix(line, "notation plugin list") && !strings.Contains(r.Stdout, "SIGNATURE_GENERATOR.ENVELOPE"):
				t.Errorf("the plugin's capability is not listed:\n%s", r)
			case reference == "":
			case strings.Contains(line, "verification-plugin=off"):
				refuses(t, h, reference, "no x509 trusted identities are configured") // the trust policy names ARNs
			default:
				verifies(t, h, reference)
				tamper(t, h, repository, digest)
			}
		}
	}
	if ran != 7 || signed != 4 {
		t.Errorf("%d commands ran, of which %d signed; expected 7 and 4", ran, signed)
	}
}

// fingerprint is the SHA-256 of a key's public key, as the command line tells it.
func fingerprint(t *testing.T, h *harness.Host, arn string) string {
	t.Helper()
	r := do(t, h, h.CLI, "keys", "show", arn)
	well(t, r)
	for field := range strings.FieldsSeq(r.Stdout) {
		if len(field) == 64 && strings.Trim(field, "0123456789abcdef") == "" {
			return field
		}
	}
	t.Fatalf("no fingerprint in\n%s", r)
	return ""
}
