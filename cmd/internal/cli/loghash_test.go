package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestLoggedHashes recomputes every SHA-256 of a line from what docs/audit.md says that it is of.
func TestLoggedHashes(t *testing.T) {
	const records = "../../../testdata/records/"
	dir := t.TempDir()
	home := isolated(t, dir)
	message := []byte("the message\n")
	digest := sha256.Sum256(message)
	signature, _, err := signTest("../../../testdata", "p256", kmskey.ECDSASHA256, message)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		write(t, path, data)
		return path
	}
	binary, text := in("sig", signature), in("sig.b64", []byte(base64.StdEncoding.EncodeToString(signature)))
	whole, hashed := in("message", message), in("digest", digest[:])
	if out, code := runCLI(t, "keys", "import", records+"p256.get-public-key.json", records+"p256.describe-key.json", "--alias", "alias/release"); code != 0 {
		t.Fatal(out)
	}
	write(t, filepath.Join(home, "policy.json"), []byte(`{"version":"1"}`))
	type question struct {
		args  []string
		input []byte
		code  int
	}
	questions := []question{
		{[]string{"--signature", binary, whole}, message, 0},
		{[]string{"--signature", text, whole}, message, 0},
		{[]string{"--signature", binary, "--message-type", "DIGEST", hashed}, digest[:], 0},
		{[]string{"--signature", binary, hashed}, digest[:], 1},
	}
	for _, q := range questions {
		if code, _, stderr := call(append([]string{"verify", "--key-id", "alias/release"}, q.args...)...); code != q.code {
			t.Fatalf("%q: %d, %s", q.args, code, stderr)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "state", "awskms-offline", audit.FileName))
	if err != nil {
		t.Fatal(err)
	}
	der := func() []byte {
		var record struct{ PublicKey []byte }
		data, err := os.ReadFile(records + "p256.get-public-key.json")
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		if err == nil {
			_, err = x509.ParsePKIXPublicKey(record.PublicKey)
		}
		if err != nil {
			t.Fatal(err)
		}
		return record.PublicKey
	}()
	of := func(data []byte) string { sum := sha256.Sum256(data); return hex.EncodeToString(sum[:]) }
	previous := strings.Repeat("0", 64)
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) != len(questions) {
		t.Fatalf("%d lines of %d questions", len(lines), len(questions))
	}
	for i, raw := range lines {
		var line struct {
			Previous, PublicKeySha256, InputSha256, SignatureSha256 string
			InputBytes                                              int
			Files                                                   []struct{ Path, SHA256 string }
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			t.Fatal(err)
		}
		for what, hash := range map[string][2]string{
			"previous": {line.Previous, previous}, "publicKeySha256": {line.PublicKeySha256, of(der)},
			"inputSha256": {line.InputSha256, of(questions[i].input)}, "signatureSha256": {line.SignatureSha256, of(signature)},
		} {
			if hash[0] != hash[1] {
				t.Errorf("line %d: %s is %s, expected %s", i+1, what, hash[0], hash[1])
			}
		}
		if line.InputBytes != len(questions[i].input) {
			t.Errorf("line %d: %d bytes", i+1, line.InputBytes)
		}
		var names []string
		for _, f := range line.Files {
			content, err := os.ReadFile(f.Path)
			if err != nil || f.SHA256 != of(content) {
				t.Errorf("line %d: %v, %s has the SHA-256 %s", i+1, err, f.Path, f.SHA256)
			}
			rel, _ := filepath.Rel(home, f.Path)
			names = append(names, strings.SplitN(filepath.ToSlash(rel), "/", 2)[0])
		}
		if got := strings.Join(names, " "); got != "aliases keys policy.json" {
			t.Errorf("line %d rests on %s", i+1, got)
		}
		if bytes.Contains(raw, []byte("the message")) {
			t.Errorf("line %d holds the message", i+1)
		}
		previous = of(raw)
	}
}

// TestAuditTellsOfCrashes: an end that a crash left is told by verify until it is mended, and by verify and show afterwards.
func TestAuditTellsOfCrashes(t *testing.T) {
	dir := t.TempDir()
	isolated(t, dir)
	path := filepath.Join(dir, "state", "awskms-offline", audit.FileName)
	log, err := audit.NewFileLog(audit.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	appended := func() {
		if err := log.Append(t.Context(), audit.Decision{EventName: audit.EventVerify, Asked: "alias/a"}); err != nil {
			t.Fatal(err)
		}
	}
	appended()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"eventVersion":"1.0","sequ`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if code, _, stderr := call("audit", "verify"); code != 1 || !strings.Contains(stderr, "line 2: torn: the log ends in the middle of a line") {
		t.Errorf("%d, %s", code, stderr)
	}
	appended()
	if code, stdout, stderr := call("audit", "verify"); code != 0 || !strings.Contains(stdout, "Intact: 2 lines") || !strings.Contains(stderr, "warning: 1 line tells of an incomplete end") {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	if _, stdout, _ := call("audit", "show"); !strings.Contains(stdout, "[before it the log ended in 27 bytes that were no whole line, kept in audit.jsonl.torn-") {
		t.Errorf("show says %s", stdout)
	}
}
