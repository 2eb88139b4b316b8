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

// guide is a section of docs/notation.md.
func guide(t *testing.T, title string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(shared.root, "docs", "notation.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## "+title+"\n")
	if !found {
		t.Fatalf("docs/notation.md has no section %q", title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// TestNotationGuide follows docs/notation.md from a KMS key to a verified image, and through the rotation of the alias, as
// it stands there but for the registry and the images: one machine signs and reaches KMS, another verifies and does not.
func TestNotationGuide(t *testing.T) {
	t.Parallel()
	const alias = "arn:aws:kms:us-east-1:111122223333:alias/release"
	endpoint := startFakeKMS(t, t.TempDir())
	before, after := fixture.Lookup("p256").ARN(), fixture.Lookup("rsa2048").ARN()
	callKMS(t, endpoint, "CreateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": before})

	newHost := func() *harness.Host {
		h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	signing, verifying := newHost(), newHost()
	signing.Extra = credentials(endpoint)
	pack := func(h *harness.Host, program, name string) {
		if err := h.Pack(filepath.Join(shared.bin, build.Executable(program)), name); err != nil {
			t.Fatal(err)
		}
	}
	pack(signing, "notation-awskms-signer", "awskms-signer.tar.gz") // in place of the page's tar
	pack(verifying, "notation-awskms-offline", "awskms-offline.tar.gz")
	if err := verifying.WriteTrustPolicy(harness.Statement{Name: "release-images", Scopes: []string{"*"}, Level: "strict", Stores: []string{"ca:awskms"}, Identities: []string{alias}}); err != nil {
		t.Fatal(err)
	}

	// follow runs a section's two blocks, one on each machine, and returns how many commands there were.
	follow := func(title, reference string) (ran int) {
		machines := []*harness.Host{signing, verifying}
		block, inside := -1, false
		for line := range strings.Lines(guide(t, title)) {
			line = strings.TrimRight(line, "\r\n")
			if strings.HasPrefix(line, "```") {
				if inside = line == "```console"; inside {
					block++
				}
				continue
			}
			if !inside {
				continue
			}
			ran++
			h := machines[block]
			line = strings.NewReplacer("registry.example.com/app@"+docsDigest, reference, "notation sign ", "notation sign --insecure-registry ",
				"notation verify ", "notation verify --insecure-registry ").Replace(line)
			program, rest, _ := strings.Cut(line, " ")
			switch program {
			case "tar": // done above
			case "notation":
				well(t, do(t, h, h.Notation, strings.Fields(rest)...))
			case "awskms-offline":
				words := strings.Fields(rest)
				switch {
				case words[0] != "notation":
					well(t, do(t, h, h.CLI, words...))
				case confined(t) == "no": // as the page says of other systems
					well(t, do(t, h, h.Notation, words[1:]...))
				default:
					well(t, do(t, h, h.CLI, append([]string{"notation", "--notation", h.Notation}, words[1:]...)...))
				}
			default:
				t.Fatalf("what is %q?", line)
			}
			for _, name := range []string{"keys.tar", "release.crt", "rotated.tar", "rotated.crt"} { // carried over
				data, err := os.ReadFile(filepath.Join(signing.Dir, name))
				if err != nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(verifying.Dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		return ran
	}
	repository, digest, first := repositoryAndImage(t, "first")
	if ran := follow("From a KMS key to a verified image, in ten commands", first); ran != 10 {
		t.Errorf("%d commands, and the page says ten", ran)
	}
	tamper(t, verifying, repository, digest)

	callKMS(t, endpoint, "UpdateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": after})
	_, _, second := repositoryAndImage(t, "second")
	if ran := follow("Rotation with aliases", second); ran != 7 {
		t.Errorf("%d commands ran, expected 7", ran)
	}
	refuses(t, verifying, first, `extended critical attribute "awskms-offline.keyArn" was not processed`)
	policy := `{"version":"1","grants":[{"name":"rotated","keys":["` + alias + `"],"aliasHistory":"any","aliasHistoryForNotation":true}]}`
	if err := os.WriteFile(filepath.Join(verifying.Home, "policy.json"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	verifies(t, verifying, first)
	verifies(t, verifying, second)
}
