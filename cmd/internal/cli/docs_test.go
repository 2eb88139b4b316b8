package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// TestDocumentedCommands runs every line that begins with awskms-offline in the console blocks of the documentation, in
// order, in a folder that has the files they name. Each must do what it is shown for: exit with 0.
func TestDocumentedCommands(t *testing.T) {
	for page, least := range map[string]int{"README.md": 2, "docs/cli.md": 14, "docs/notation.md": 2, "docs/cosign.md": 1, "docs/pull.md": 10, "docs/protections.md": 12, "docs/keystore.md": 2, "docs/certificates.md": 7, "docs/encrypt.md": 4} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../..", page))
			if err != nil {
				t.Fatal(err)
			}
			testdata := prepareDocs(t)
			if page == "docs/pull.md" || page == "docs/certificates.md" {
				startKMS(t, testdata)
			}
			if page == "docs/keystore.md" { // which speaks of a store that is there
				runDocumented(t, name+" keys import release.json --alias alias/release")
			}
			if page == "docs/notation.md" { // the rest needs two machines: e2e runs it
				_, rest, _ := strings.Cut(string(text), "## Set up, once")
				rest, _, _ = strings.Cut(rest, "## Rotation with aliases")
				text = []byte(rest)
			}
			ran := 0
			for _, line := range consoleLines(string(text)) {
				line, _, _ = strings.Cut(line, "   #")
				if !strings.HasPrefix(line, name+" ") {
					continue
				}
				ran++
				runDocumented(t, line)
			}
			if ran < least {
				t.Errorf("%d commands ran, expected %d or more", ran, least)
			}
		})
	}
}

// startKMS starts the fake KMS with the keys of testdata and the aliases of docs/pull.md, and lets AWS's environment name
// it.
func startKMS(t *testing.T, testdata string) {
	t.Helper()
	server := kmstest.Start(t)
	arns, err := server.Load(testdata)
	if err != nil {
		t.Fatal(err)
	}
	server.PutAlias("alias/release", arns["p256"])
	server.PutAlias("alias/release", arns["sm2"])
	t.Setenv("AWS_ENDPOINT_URL_KMS", server.URL())
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AWS_REGION", "us-east-1")
}

// consoleLines returns the lines of all ```console blocks, continued lines joined.
func consoleLines(text string) []string {
	var lines []string
	inside := false
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside:
			lines = append(lines, line)
		}
	}
	return lines
}

// prepareDocs makes the folder: release.json and release-state.json of the key p256, a file that it signed, a PEM.
func prepareDocs(t *testing.T) (testdata string) {
	testdata, err := filepath.Abs("../../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, variable := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "AppData", "LocalAppData"} {
		t.Setenv(variable, filepath.Join(dir, "config"))
	}
	t.Setenv("NOTATION_CONFIG", "")
	t.Setenv("NOTATION_LIBEXEC", "")
	t.Setenv("AWSKMS_OFFLINE_HOME", filepath.Join(dir, "home"))
	for from, to := range map[string]string{"records/p256.get-public-key.json": "release.json", "records/p256.describe-key.json": "release-state.json"} {
		data, err := os.ReadFile(filepath.Join(testdata, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, data)
	}
	for from, to := range map[string]string{"records/rsa2048-encrypt.get-public-key.json": "backup.json", "records/rsa2048-encrypt.describe-key.json": "backup-state.json",
		"records/p256-agree.get-public-key.json": "exchange.json", "keys/p256.key.pem": "mine.pem", "keys/p256.spki.der": "data.key"} {
		data, err := os.ReadFile(filepath.Join(testdata, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, data)
	}
	message := []byte("an archive, say")
	sig, digest, err := signTest(testdata, "p256", "ECDSA_SHA_256", message)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "app.tar.gz", message)
	write(t, "app.sig", sig)
	write(t, "app.digest", digest)
	der, err := os.ReadFile(filepath.Join(testdata, "keys", "p384.spki.der"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, "other.pem", der)
	return testdata
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func runDocumented(t *testing.T, line string) {
	t.Helper()
	args := words(line)[1:]
	var stdout, stderr bytes.Buffer
	file := ""
	if n := len(args); n > 2 && args[n-2] == ">" {
		file, args = args[n-1], args[:n-2]
	}
	if code := Main(args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Errorf("%s\nexit code %d\n%s%s", line, code, stdout.String(), stderr.String())
	}
	if file != "" {
		write(t, file, stdout.Bytes())
	}
}

// words splits a line as a shell would that knows double and single quotes only.
func words(line string) []string {
	var all []string
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, open = r, true
		case quote == 0 && unicode.IsSpace(r):
			if word.Len() > 0 || open {
				all = append(all, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
		}
	}
	if word.Len() > 0 || open {
		all = append(all, word.String())
	}
	return all
}
