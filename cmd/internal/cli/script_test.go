package cli

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"
	"github.com/go-json-experiment/json"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		name: func() {
			code := checkedMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
			tellPeak()
			os.Exit(code)
		},
	})
}

// TestScripts runs every script in testdata/script. Beside testscript's own commands a script has:
//
//	replace FILE OLD NEW   replaces one text in a file, which must be there
//	exits N COMMAND…       runs COMMAND, which must exit with N
//	sign KEY ALG FILE OUT  signs FILE with a test key; OUT.b64 gets the signature in base64
//	same DIR FILE          writes DIR's content as one hash to FILE, or compares with it if FILE is there
//	big FILE BYTES         makes a sparse file
//	badalias IN OUT        copies a record with an alias that holds a NUL
func TestScripts(t *testing.T) {
	testdata, err := filepath.Abs("../../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	commands := maps.Clone(fileCommands)
	maps.Copy(commands, map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "replace": replace, "sign": sign, "same": same, "big": big, "badalias": badAlias,
	})
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TESTDATA", testdata)
			env.Setenv("ESCAPES", "a\x1b[2Jb\nVerified: c")
			env.Setenv("R", filepath.Join(testdata, "records"))
			for _, variable := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "AppData", "LocalAppData", "home"} {
				env.Setenv(variable, filepath.Join(env.WorkDir, "config"))
			}
			for variable, record := range map[string]string{
				"P256": "p256", "P384": "p384", "P521": "p521", "RSA": "rsa2048", "ED": "ed25519", "SM2": "sm2", "DISABLED": "p256-disabled",
				"ENCRYPT": "rsa2048-encrypt", "MLDSA": "mldsa44",
			} {
				data, err := os.ReadFile(filepath.Join(testdata, "records", record+".get-public-key.json"))
				if err != nil {
					return err
				}
				r, err := kmskey.DecodeRecord(data)
				if err != nil {
					return err
				}
				env.Setenv(variable, r.KeyID)
				env.Setenv(variable+"_ID", r.KeyID[strings.LastIndex(r.KeyID, "/")+1:])
			}
			return os.MkdirAll(filepath.Join(env.WorkDir, "config"), 0o700)
		},
		Condition: func(condition string) (bool, error) {
			if condition == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", condition)
		},
		Cmds: commands,
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		// testscript tells the exit code in the error's text only.
		text, ok := strings.CutPrefix(err.Error(), "exit status ")
		if !ok {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		got, err = strconv.Atoi(text)
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	before, after, found := strings.Cut(ts.ReadFile(args[0]), args[1])
	if !found {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(before+args[2]+after), 0o600))
}

func sign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: sign KEY ALG FILE OUT")
	}
	sig, digest, err := signTest(ts.Getenv("TESTDATA"), args[0], kmskey.SigningAlgorithm(args[1]), []byte(ts.ReadFile(args[2])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), sig, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[3]+".b64"), []byte(base64.StdEncoding.EncodeToString(sig)+"\n"), 0o600))
	if digest != nil {
		ts.Check(os.WriteFile(ts.MkAbs(args[3]+".digest"), digest, 0o600))
	}
}

// signTest signs with a key of testdata/keys as KMS would. digest is what DIGEST takes, nil where the algorithm has none.
func signTest(testdata, name string, alg kmskey.SigningAlgorithm, message []byte) (sig, digest []byte, err error) {
	parsed, err := privateTestKey(testdata, name)
	if err != nil {
		return nil, nil, err
	}
	if alg.Hash() != 0 {
		h := alg.Hash().New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	switch key := parsed.(type) {
	case *ecdsa.PrivateKey:
		sig, err = ecdsa.SignASN1(rand.Reader, key, digest)
	case *rsa.PrivateKey:
		if strings.Contains(string(alg), "PSS") {
			sig, err = rsa.SignPSS(rand.Reader, key, alg.Hash(), digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, key, alg.Hash(), digest)
		}
	case ed25519.PrivateKey:
		if alg == kmskey.ED25519PHSHA512 {
			h := crypto.SHA512.New()
			h.Write(digest)
			sig, err = key.Sign(nil, h.Sum(nil), &ed25519.Options{Hash: crypto.SHA512})
		} else {
			sig = ed25519.Sign(key, message)
		}
	case *secp256k1.PrivateKey:
		sig = secp256k1ecdsa.Sign(key, digest).Serialize()
	case *mldsa.PrivateKey:
		sig, err = key.Sign(nil, message, nil)
	case *sm2.PrivateKey:
		sig, err = key.SignWithSM2(rand.Reader, nil, message) // nil is the standard's default ID
		digest = nil                                          // SM2 signs e, which has the key in it
	default:
		return nil, nil, fmt.Errorf("%s is a %T, which does not sign", name, parsed)
	}
	return sig, digest, err
}

// privateTestKey reads a private key of the test data.
func privateTestKey(testdata, name string) (any, error) {
	text, err := os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	switch name {
	case "secp256k1":
		return parseEC(block.Bytes, func(scalar []byte) (*secp256k1.PrivateKey, error) { return secp256k1.PrivKeyFromBytes(scalar), nil })
	case "sm2":
		return parseEC(block.Bytes, sm2.NewPrivateKey)
	}
	return mldsax509.ParsePKCS8PrivateKey(block.Bytes)
}

func parseEC[K any](pkcs8 []byte, parse func(scalar []byte) (K, error)) (any, error) {
	scalar, err := ecScalar(pkcs8)
	if err != nil {
		return nil, err
	}
	return parse(scalar)
}

func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same DIR FILE")
	}
	h := sha256.New()
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		h.Write([]byte(path + "\n"))
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		h.Write(data)
		return err
	}))
	sum := hex.EncodeToString(h.Sum(nil))
	file := ts.MkAbs(args[1])
	before, err := os.ReadFile(file)
	if err != nil {
		ts.Check(os.WriteFile(file, []byte(sum), 0o600))
		return
	}
	if string(before) != sum {
		ts.Fatalf("%s changed", args[0])
	}
}

func big(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = f.WriteString("{")
	ts.Check(err)
	ts.Check(f.Truncate(size))
	ts.Check(f.Close())
}

// TestByteOrderMarks: what PowerShell's > writes is told from garbage.
func TestByteOrderMarks(t *testing.T) {
	for _, text := range []string{"\xff\xfe{\x00}\x00", "\xfe\xff\x00{\x00}", "\xef\xbb\xbf{}"} {
		err := parseKeyFile("file", []byte(text), importFlags{}, &importSet{})
		if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "byte order mark") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func badAlias(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Replace(text, "{", `{"Aliases":["alias/a\u0000b"],`, 1)), 0o600))
}

// TestEveryCommandIsExplained walks the tree: each command has a text, an example that names it, and told flags.
func TestEveryCommandIsExplained(t *testing.T) {
	count := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		count++
		if c.Short == "" || c.Long == "" || !strings.Contains(c.Example, c.CommandPath()) && c.HasParent() && !c.HasSubCommands() {
			t.Errorf("%s lacks a text or an example", c.CommandPath())
		}
		for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			flags.VisitAll(func(f *pflag.Flag) {
				if f.Usage == "" {
					t.Errorf("%s does not say what --%s is", c.CommandPath(), f.Name)
				}
			})
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).command())
	if count < 18 {
		t.Errorf("%d commands walked, expected 18 or more", count)
	}
}

// TestPanicsAreAnswered: a panic in a command is exit code 3, a sentence, a line in the log, and an answer in the machine's form
// where that is asked for.
func TestPanicsAreAnswered(t *testing.T) {
	const fact = "the command stopped: boom"
	home := isolated(t, t.TempDir())
	logged := func() string {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(home), "state", "awskms-offline", "audit.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		return fmt.Sprint(len(lines)) + " " + lines[len(lines)-1]
	}
	args := []string{"verify", "--key-id", "alias/a", "--signature", "-", "--output", "json", "script_test.go"}
	var stdout, stderr strings.Builder
	if code := Main(args, panicReader{}, &stdout, &stderr); code != kmserr.ExitOurSide {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(stderr.String(), "InternalException: "+fact) {
		t.Errorf("said %q", stderr.String())
	}
	var answer verifyAnswer
	if err := json.Unmarshal([]byte(stdout.String()), &answer); err != nil || answer.SignatureValid || answer.Error == nil || answer.Error.Message != fact {
		t.Errorf("%v: answered %s", err, stdout.String())
	}
	if line := logged(); !strings.HasPrefix(line, "1 ") || !strings.Contains(line, fact) || !strings.Contains(line, "alias/a") {
		t.Errorf("logged %s", line)
	}
	// Where the answer panics as well, there still are the line and a sentence.
	stderr.Reset()
	if code := Main(args, panicReader{}, panicWriter{}, &stderr); code != kmserr.ExitOurSide || !strings.Contains(stderr.String(), fact) {
		t.Errorf("exit code %d, said %q", code, stderr.String())
	}
	if line := logged(); !strings.HasPrefix(line, "2 ") || !strings.Contains(line, fact) {
		t.Errorf("logged %s", line)
	}
	if code := Main(args, panicReader{}, panicWriter{}, panicWriter{}); code != kmserr.ExitOurSide {
		t.Errorf("exit code %d", code)
	}
	// In a batch, behind a line of answers that stays the last.
	if out, code := runCLI(t, "keys", "import", "../../../testdata/records/p256.get-public-key.json"); code != 0 {
		t.Fatal(out)
	}
	stdout.Reset()
	stderr.Reset()
	before := logged()
	code := Main([]string{"verify", "--batch", "-", "--output", "json"}, strings.NewReader("{}\n"), panicAfter{&stdout}, &stderr)
	if code != kmserr.ExitOurSide || strings.Count(stdout.String(), "\n") != 1 || !strings.Contains(stderr.String(), fact) {
		t.Errorf("exit code %d, answered %q, said %q", code, stdout.String(), stderr.String())
	}
	if line := logged(); line == before || !strings.Contains(line, fact) {
		t.Errorf("logged %s", line)
	}
}

// TestBatchThatBreaks: a batch whose lines end before its end has a line in the log that says why, behind those of its lines.
func TestBatchThatBreaks(t *testing.T) {
	home := isolated(t, t.TempDir())
	if out, code := runCLI(t, "keys", "import", "../../../testdata/records/p256.get-public-key.json"); code != 0 {
		t.Fatal(out)
	}
	var stdout, stderr strings.Builder
	in := io.MultiReader(strings.NewReader("{}\n"), iotest.ErrReader(errors.New("the disk is gone")))
	if code := Main([]string{"verify", "--batch", "-"}, in, &stdout, &stderr); code != kmserr.ExitBadCall || strings.Count(stdout.String(), "\n") != 1 {
		t.Errorf("exit code %d, answered %q, said %q", code, stdout.String(), stderr.String())
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(home), "state", "awskms-offline", "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "cannot be read: the disk is gone") {
		t.Errorf("logged %q", lines)
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("boom") }

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("boom") }

// panicAfter panics once it has written.
type panicAfter struct{ w io.Writer }

func (p panicAfter) Write(data []byte) (int, error) {
	_, _ = p.w.Write(data)
	panic("boom")
}
