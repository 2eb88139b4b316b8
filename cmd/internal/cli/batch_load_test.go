package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// linesVariable says how many lines TestBatchLoad verifies, in place of its usual few thousand: `make test-batch` sets it.
const linesVariable = "AWSKMS_OFFLINE_TEST_LINES"

// batchKind is a key of testdata and an algorithm of it.
type batchKind struct {
	key string
	alg kmskey.SigningAlgorithm
}

// batchKinds is one of each key spec, and RSA with both paddings.
var batchKinds = []batchKind{
	{"p256", kmskey.ECDSASHA256}, {"ed25519", kmskey.ED25519SHA512}, {"rsa2048", kmskey.RSASSAPSSSHA256}, {"rsa2048", kmskey.RSASSAPKCS1SHA256},
	{"sm2", kmskey.SM2DSA}, {"p384", kmskey.ECDSASHA384}, {"secp256k1", kmskey.ECDSASHA256}, {"mldsa44", kmskey.MLDSASHAKE256},
}

// batchWorld is a command of its own with a home and a log.
type batchWorld struct {
	command, home string
	env           []string
	testdata      string
	arns          map[string]string
}

func newBatchWorld(t testing.TB) *batchWorld {
	t.Helper()
	testdata, err := filepath.Abs("../../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &batchWorld{command: filepath.Join(dir, "bin", name), home: filepath.Join(dir, "home"), testdata: testdata, arns: map[string]string{}}
	if err := os.Mkdir(filepath.Dir(w.command), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, w.command); err != nil { // as which testscript.Main runs the command line
		t.Skipf("this system makes no links, so that the command cannot be run as a process of its own: %v", err)
	}
	w.env = os.Environ()
	for _, variable := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "AppData", "LocalAppData"} {
		w.env = append(w.env, variable+"="+dir)
	}
	w.env = append(w.env, "AWSKMS_OFFLINE_HOME="+w.home)
	args := []string{"keys", "import", "--home", w.home}
	for _, key := range []string{"p256", "ed25519", "rsa2048", "sm2", "p384", "secp256k1", "mldsa44"} {
		file := filepath.Join(testdata, "records", key+".get-public-key.json")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		record, err := kmskey.DecodeRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		w.arns[key] = record.KeyID
		args = append(args, file)
	}
	var out bytes.Buffer
	if code := Main(args, strings.NewReader(""), &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	return w
}

// run is `verify --batch` as a process.
func (w *batchWorld) run(args ...string) *exec.Cmd {
	cmd := exec.Command(w.command, append([]string{"verify", "--batch"}, args...)...)
	cmd.Env, cmd.Dir = slices.Clone(w.env), filepath.Dir(w.command)
	return cmd
}

// signed returns n messages of 32 bytes with their signatures.
func (w *batchWorld) signed(t testing.TB, kind batchKind, n int) (messages, signatures [][]byte) {
	t.Helper()
	for i := range n {
		message := fmt.Appendf(nil, "%-32d", i)
		sig, _, err := signTest(w.testdata, kind.key, kind.alg, message)
		if err != nil {
			t.Fatal(err)
		}
		messages, signatures = append(messages, message), append(signatures, sig)
	}
	return messages, signatures
}

func (w *batchWorld) line(kind batchKind, id int64, message, signature []byte) []byte {
	return fmt.Appendf(nil, `{"id":%d,"key_id":%q,"message":%q,"signature":%q,"signing_algorithm":%q}`+"\n", id, w.arns[kind.key],
		base64.StdEncoding.EncodeToString(message), base64.StdEncoding.EncodeToString(signature), kind.alg)
}

// bad is every hundredth line, at a place that the kinds take turns in.
func bad(line int64) bool { return (line*7919)%100 == 42 }

// TestBatchLoad verifies many lines of all kinds, one in a hundred of them bad in one of five ways: each bad one is found
// and no other, in order, with a line of the log each; and many lines take no more memory than a thousand.
func TestBatchLoad(t *testing.T) {
	many := int64(6_000)
	if text := os.Getenv(linesVariable); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", linesVariable, err)
		}
		many = n
	}
	w := newBatchWorld(t)
	type pool struct{ messages, signatures [][]byte }
	pools := map[batchKind]pool{}
	for _, kind := range batchKinds {
		m, s := w.signed(t, kind, 16)
		pools[kind] = pool{m, s}
	}
	codes := []string{"KMSInvalidSignatureException", "NotFoundException", "ValidationException", "KMSInvalidSignatureException", "ValidationException"}
	way := func(line int64) int { return int(line/100) % len(codes) }
	lineOf := func(i int64) []byte {
		kind := batchKinds[i%int64(len(batchKinds))]
		p := pools[kind]
		at := int(i/int64(len(batchKinds))) % len(p.messages)
		message, signature := p.messages[at], p.signatures[at]
		if !bad(i) {
			return w.line(kind, i, message, signature)
		}
		switch way(i) {
		case 0:
			return w.line(kind, i, append(slices.Clip(message), '!'), signature)
		case 1:
			return bytes.Replace(w.line(kind, i, message, signature), []byte("111122223333"), []byte("111122223334"), 1)
		case 2:
			return append(bytes.TrimSuffix(w.line(kind, i, message, signature), []byte("}\n")), '\n')
		case 3:
			return w.line(kind, i, p.messages[(at+1)%len(p.messages)], signature)
		}
		return bytes.Replace(w.line(kind, i, message, signature), []byte(`"message"`), []byte(`"Message"`), 1)
	}
	run := func(t *testing.T, n int64) (peak int64) {
		cmd := w.run("-")
		told := peakMemory(t, cmd)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			out := bufio.NewWriterSize(stdin, 1<<16)
			for i := range n {
				if _, err := out.Write(lineOf(i)); err != nil {
					break // the process ended, which is found below
				}
			}
			_ = out.Flush()
			_ = stdin.Close()
		}()
		var next, refused int64
		answers := bufio.NewReader(stdout)
		for {
			data, err := answers.ReadBytes('\n')
			if err == io.EOF {
				break
			}
			var a struct {
				Line  int64
				ID    *int64
				Valid *bool  `json:"signature_valid"`
				KeyID string `json:"key_id"`
				Error *struct{ Code string }
			}
			if err := json.Unmarshal(data, &a); err != nil || a.Line != next+1 || a.ID == nil && way(next) != 2 || a.ID != nil && *a.ID != next || a.Valid == nil {
				t.Fatalf("answer %d is %s (%v)", next, data, err)
			}
			if *a.Valid == bad(next) || (a.Error != nil) != bad(next) || bad(next) && a.Error.Code != codes[way(next)] {
				t.Fatalf("answer %d is %s", next, data)
			}
			if !bad(next) && a.KeyID != w.arns[batchKinds[next%int64(len(batchKinds))].key] {
				t.Fatalf("answer %d names another key: %s", next, data)
			}
			if bad(next) {
				refused++
			}
			next++
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 2 {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		if next != n || refused != n/100 {
			t.Fatalf("%d answers and %d refusals, expected %d and %d", next, refused, n, n/100)
		}
		if want := fmt.Sprintf("%d lines: %d verified, %d not: ", n, n-refused, refused); !strings.HasPrefix(stderr.String(), want) {
			t.Fatalf("said %q, expected %q", stderr.String(), want)
		}
		t.Logf("%s", strings.TrimSpace(stderr.String()))
		return told()
	}
	few := run(t, 1000)
	most := run(t, many)
	t.Logf("peak memory: %.1f MiB with 1000 lines, %.1f MiB with %d: %.2f times", float64(few)/(1<<20), float64(most)/(1<<20), many, float64(most)/float64(few))
	if few == 0 {
		t.Log("this system does not tell a process's peak memory: that it stays the same is not tested")
	} else if float64(most) > 1.2*float64(few) {
		t.Errorf("the peak memory grows from %d to %d bytes", few, most)
	}
	if logged := w.logged(t); logged != 1000+many {
		t.Errorf("%d lines in the log, expected %d", logged, 1000+many)
	}
}

// logged counts the decisions in the log, whose chain must be whole.
func (w *batchWorld) logged(t *testing.T) int64 {
	t.Helper()
	cmd := exec.Command(w.command, "audit", "verify", "--output", "json")
	cmd.Env = w.env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("audit verify: %v %s", err, out)
	}
	var whole struct{ Lines int64 }
	if err := json.Unmarshal(out, &whole); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return whole.Lines
}
