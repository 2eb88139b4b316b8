package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// utf16Of is text as PowerShell's > writes it, or the other way round.
func utf16Of(text string, big bool) []byte {
	var b []byte
	for _, unit := range append([]uint16{0xfeff}, utf16.Encode([]rune(text))...) {
		if big {
			b = append(b, byte(unit>>8), byte(unit))
		} else {
			b = append(b, byte(unit), byte(unit>>8))
		}
	}
	return b
}

// TestSignatureInAnotherForm: what holds a signature in a form that is not taken is told by its name, and no signature is
// taken for such a form by how it begins.
func TestSignatureInAnotherForm(t *testing.T) {
	testdata := filepath.Join("..", "..", "..", "testdata")
	dir := t.TempDir()
	isolated(t, dir)
	if out, code := runCLI(t, "keys", "import", filepath.Join(testdata, "records", "p256.get-public-key.json")); code != 0 {
		t.Fatal(out)
	}
	sig, _, err := signTest(testdata, "p256", kmskey.ECDSASHA256, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(sig)
	message, file := filepath.Join(dir, "message"), filepath.Join(dir, "sig")
	write(t, message, []byte("message"))
	verify := func(content []byte) (code int, stderr string) {
		write(t, file, content)
		code, _, stderr = call("verify", "--key-id", "b7935bd4-23e0-4377-9361-7ea4c0edc257", "--signature", file, message)
		return code, stderr
	}
	for _, c := range []struct {
		content []byte
		says    string
	}{
		{fmt.Appendf(nil, "{\n  \"KeyId\": \"arn:…\",\n  \"Signature\": %q,\n  \"SigningAlgorithm\": \"ECDSA_SHA_256\"\n}\n", text), "holds the JSON of `aws kms sign`, expected its Signature"},
		{[]byte("{\"a\":1}"), "holds JSON, expected a signature"},
		{fmt.Appendf(nil, "%q\n", text), "holds base64 in quotation marks"},
		{utf16Of(text+"\r\n", false), "is UTF-16 text"},
		{utf16Of(text, true), "is UTF-16 text"},
		{[]byte(utf8Mark + text), "starts with a byte order mark"},
		{[]byte(hex.EncodeToString(sig) + "\n"), "looks like hexadecimal text"},
		{[]byte("0x" + strings.ToUpper(hex.EncodeToString(sig))), "looks like hexadecimal text"},
	} {
		if code, stderr := verify(c.content); code != kmserr.ExitRefused || !strings.Contains(stderr, "KMSInvalidSignatureException: --signature "+file+" "+c.says) || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%.40q: exit code %d, %s", c.content, code, stderr)
		}
	}
	for _, begins := range []string{"\xff\xfe", "\xfe\xff", utf8Mark, "{", "\"", "0x", ""} {
		if clause, _ := otherForm(append([]byte(begins), bytes.Repeat([]byte("\x00\x81A"), 84)...)); clause != "" {
			t.Errorf("a signature that begins with %q %s", begins, clause)
		}
	}
	for _, content := range [][]byte{sig, []byte(text), []byte(text[:40] + "\r\n" + text[40:])} {
		if code, stderr := verify(content); code != 0 {
			t.Errorf("%q: exit code %d, %s", content, code, stderr)
		}
	}
}

// TestUTF16: what PowerShell has written is told from what is damaged.
func TestUTF16(t *testing.T) {
	dir := t.TempDir()
	home := isolated(t, dir)
	if out, code := runCLI(t, "keys", "import", "../../../testdata/records/p256.get-public-key.json"); code != 0 {
		t.Fatal(out)
	}
	policy, batch := filepath.Join(home, "policy.json"), filepath.Join(dir, "batch.jsonl")
	write(t, batch, utf16Of("{}\r\n{}\r\n", false))
	if code, stdout, stderr := call("verify", "--batch", batch); code != kmserr.ExitBadCall || stdout != "" || strings.Contains(stderr, "--skip") ||
		!strings.Contains(stderr, "ValidationException: --batch "+batch+" is UTF-16 text, expected JSON Lines in UTF-8; 0 lines answered\nhint: PowerShell") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, content := range [][]byte{utf16Of(`{"version":"1"}`, false), utf16Of(`{"version":"1"}`, true), []byte(utf8Mark + `{"version":"1"}`)} {
		write(t, policy, content)
		for _, file := range []string{policy, "-"} {
			var stdout, stderr bytes.Buffer
			code := Main([]string{"policy", "check", file}, bytes.NewReader(content), &stdout, &stderr)
			if code != kmserr.ExitOurSide || !strings.Contains(stderr.String(), "starts with a byte order mark, expected plain UTF-8\nhint: PowerShell") {
				t.Errorf("%s, %.5q: exit code %d, %s", file, content, code, stderr.String())
			}
		}
	}
}

type fillingDisk struct{ room int }

func (d *fillingDisk) Write(b []byte) (int, error) {
	n := min(d.room, len(b))
	if d.room -= n; n < len(b) {
		return n, errors.New("no room")
	}
	return n, nil
}

var _ io.Writer = (*fillingDisk)(nil)

// TestPagesThatAreLost: help, a version and a completion that nobody got are no success.
func TestPagesThatAreLost(t *testing.T) {
	for _, args := range []string{"--help", "verify --help", "help keys", "--version", "version", "completion bash", "completion zsh", "completion fish", "completion powershell"} {
		for _, room := range []int{0, 2} {
			var stderr strings.Builder
			code := Main(strings.Fields(args), strings.NewReader(""), &fillingDisk{room}, &stderr)
			if code != kmserr.ExitOurSide || stderr.String() != "awskms-offline: StoreAccessException: the result cannot be written to standard output: no room\n" {
				t.Errorf("%s: exit code %d, %q", args, code, stderr.String())
			}
		}
	}
}

// TestBatchAnswersThatAreLost: the summary is of the answers that somebody has.
func TestBatchAnswersThatAreLost(t *testing.T) {
	isolated(t, t.TempDir())
	if out, code := runCLI(t, "keys", "import", "../../../testdata/records/p256.get-public-key.json"); code != 0 {
		t.Fatal(out)
	}
	var stderr strings.Builder
	code := Main([]string{"verify", "--batch", "-"}, strings.NewReader("{}\n{}\n"), &fillingDisk{}, &stderr)
	if said := stderr.String(); code != kmserr.ExitOurSide || strings.Contains(said, "--skip") || !strings.Contains(said, "\n0 lines: 0 verified, 0 not; ") {
		t.Errorf("exit code %d, %s", code, said)
	}
}

// TestUserName: whoever blocks a key is named, by the number where the system has no list of users.
func TestUserName(t *testing.T) {
	unknown := errors.New("unknown")
	for _, c := range []struct {
		u      *user.User
		err    error
		number int
		want   string
	}{{&user.User{Username: "kim"}, nil, 7, "kim"}, {nil, unknown, 54321, "54321"}, {&user.User{}, unknown, 0, "0"}, {&user.User{}, nil, 5, "5"}, {nil, unknown, -1, ""}} {
		if got := userName(c.u, c.err, c.number); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
