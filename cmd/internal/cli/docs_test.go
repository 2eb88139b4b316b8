package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// kmsPages are the pages whose commands call KMS.
var kmsPages = []string{"docs/pull.md", "docs/certificates.md", "docs/air-gap.md", "docs/cli.md", "docs/cosign.md"}

// TestDocumentedCommands runs every line that begins with awskms-offline in the console blocks of README and docs, page by
// page and in order, in a folder that has the files they name. Each must do what it is shown for: exit with 0.
func TestDocumentedCommands(t *testing.T) {
	ran := 0
	for page, text := range pages(t) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			testdata := prepareDocs(t)
			if slices.Contains(kmsPages, page) {
				startKMS(t, testdata)
			}
			switch page {
			case "docs/keystore.md", "docs/troubleshooting.md": // which speak of a store that is there
				runDocumented(t, name+" keys import release.json --alias alias/release")
			case "docs/kubernetes.md": // whose keys go from a machine to others: e2e runs it
				text = ""
			case "docs/notation.md": // the rest needs two machines: e2e runs it
				_, text, _ = strings.Cut(text, "## Set up, once")
				text, _, _ = strings.Cut(text, "## Rotation with aliases")
			}
			for _, line := range consoleLines(text) {
				line, _, _ = strings.Cut(line, "   #")
				if strings.HasPrefix(line, name+" notation ") { // with the real notation: TestPlantedPlugin of e2e
					continue
				}
				if strings.HasPrefix(line, name+" ") {
					ran++
					runDocumented(t, line)
				}
			}
		})
	}
	if ran < 90 {
		t.Errorf("%d commands ran, expected 90 or more", ran)
	}
}

// pages returns README and all of docs, by the path from the project's root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range append(files, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.ToSlash(page)] = string(text)
	}
	return all
}

// TestLinksOfPages looks for every file, and every heading, that a page links to.
func TestLinksOfPages(t *testing.T) {
	all := pages(t)
	link, code := regexp.MustCompile(`\]\(([^)\s]+)\)`), regexp.MustCompile("`[^`\n]*`")
	for page, text := range all {
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			aim := page
			if target != "" {
				aim = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join("..", "..", "..", filepath.FromSlash(aim))); err != nil {
				t.Errorf("%s links to %s, which is not there", page, found[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(all[aim]), anchor) {
				t.Errorf("%s links to %s, which has no such heading", page, found[1])
			}
		}
	}
}

// TestSectionsHaveText: no section of a page is a heading and nothing more.
func TestSectionsHaveText(t *testing.T) {
	for page, text := range pages(t) {
		above, level, fenced := "", 0, false // the heading that has no text yet
		for line := range strings.Lines(text + "\n# end\n") {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			heading := strings.TrimLeft(line, "#")
			switch deep := len(line) - len(heading); {
			case line == "":
			case fenced || deep == 0 || !strings.HasPrefix(heading, " "):
				above = ""
			case above != "" && deep <= level:
				t.Errorf("%s: the section%s has no text", page, above)
				fallthrough
			default:
				above, level = heading, deep
			}
		}
	}
}

// anchors returns what GitHub makes of a page's headings.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			anchor := strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(heading))
			all = append(all, anchor)
		}
	}
	return all
}

// TestLibraryPage: the code of docs/library.md is that of the examples.
func TestLibraryPage(t *testing.T) {
	text := pages(t)["docs/library.md"]
	examples, err := os.ReadFile(filepath.Join("..", "..", "..", "verifier", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, block := range strings.Split(text, "```go\n")[1:] {
		code, _, _ := strings.Cut(block, "```")
		blocks++
		if code = "\t" + strings.ReplaceAll(strings.TrimSuffix(code, "\n"), "\n", "\n\t") + "\n"; !strings.Contains(string(examples), code) {
			t.Errorf("no example has\n%s", code)
		}
	}
	if blocks < 3 {
		t.Errorf("%d blocks of Go, expected 3 or more", blocks)
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
	server.AddKey(kmstest.Key{Account: "111122223333", Region: "eu-west-1", Aliases: []string{"alias/release-web"}, Tags: []kmstest.Tag{{TagKey: "team", TagValue: "build"}}})
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
	for _, folder := range []string{"records", "sm2"} { // which docs/getting-started.md shows as they lie in a clone
		if err := os.CopyFS(filepath.Join("testdata", folder), os.DirFS(filepath.Join(testdata, folder))); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"records/p256.get-public-key.json": "release.json", "records/p256.describe-key.json": "release-state.json",
		"records/sm2.get-public-key.json": "sm2.json", "records/sm2.describe-key.json": "sm2-state.json"} {
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
	private, err := privateTestKey(testdata, "sm2")
	if err != nil {
		t.Fatal(err)
	}
	for file, id := range map[string]string{"app.sm2.sig": "1234567812345678", "app.sm2-id.sig": "release-signing@awskms-offline.example"} {
		sig, err := private.(*sm2.PrivateKey).SignWithSM2(rand.Reader, []byte(id), message)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, sig)
	}
	write(t, "app.digest", digest)
	write(t, "signatures.jsonl", fmt.Appendf(nil, `{"id":1,"key_id":"b7935bd4-23e0-4377-9361-7ea4c0edc257","message_file":"app.tar.gz","signature":%q}`+"\n", base64.StdEncoding.EncodeToString(sig)))
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
