package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// shapes names for every command the definition in docs/output.schema.json that its JSON has; "" for what has none.
var shapes = map[string]string{
	"verify": "verify", "digest": "digest", "sign": "sign", "encrypt": "encrypt", "derive-shared-secret": "derive-shared-secret",
	"doctor": "doctor", "version": "version",
	"keys import": "results", "keys remove": "results", "keys block": "results", "keys unblock": "results",
	"keys pull": "transfer", "keys refresh": "transfer",
	"keys list": "keys list", "keys status": "keys status", "keys show": "keys show", "keys export": "keys export",
	"cert self-sign": "cert self-sign", "cert add": "cert self-sign", "cert csr": "cert csr", "cert check": "cert check", "cert show": "cert show",
	"policy check": "policy check", "policy show": "policy show", "policy init": "policy init",
	"audit show": "audit show", "audit verify": "audit verify", "audit head": "audit head",
	"notation":        "", // whose output is notation's
	"completion bash": "", "completion zsh": "", "completion fish": "", "completion powershell": "", "help": "",
}

// printed are commands that print no JSON of ours by their flags: AWS's own form of policies, what is raw.
var printed = []string{"--print-iam-policy", "pem", "der"}

// checkedMain is Main, and fails with exit code 99 where what it prints with --output json is not what the schema says.
func checkedMain(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if !asksForJSON(args) || isTerminal(stdout) { // a writer around a terminal is none
		return Main(args, stdin, stdout, stderr)
	}
	var out bytes.Buffer
	code := Main(args, stdin, io.MultiWriter(stdout, &out), stderr)
	if err := checkOutput(args, out.Bytes()); err != nil {
		fmt.Fprintf(stderr, "%v does not fit docs/output.schema.json: %v\n%s\n", args, err, out.String())
		return 99
	}
	return code
}

func checkOutput(args []string, out []byte) error {
	c, _, err := Command().Find(args)
	if err != nil || c == nil || !c.HasParent() {
		return nil // no command: there is nothing but a refusal, in text
	}
	shape := shapes[strings.TrimPrefix(c.CommandPath(), name+" ")]
	help := slices.Contains(args, "--help") || slices.Contains(args, "-h")
	if help || shape == "" || slices.ContainsFunc(printed, func(flag string) bool { return slices.Contains(args, flag) }) {
		return nil
	}
	values := [][]byte{out}
	if batch := slices.ContainsFunc(args, func(arg string) bool { return arg == "--batch" || strings.HasPrefix(arg, "--batch=") }); batch || shape == "audit show" {
		if batch {
			shape = "verify --batch"
		}
		switch whole := bytes.HasPrefix(out, []byte("{\n")); { // one refusal of the whole call
		case !whole:
			values = slices.DeleteFunc(bytes.Split(out, []byte("\n")), func(line []byte) bool { return len(line) == 0 })
		case batch:
			shape = "verify"
		default:
			shape = "refusal"
		}
	}
	for _, value := range values {
		if err := fits(value, shape); err == nil {
			continue
		} else if refusal := fits(value, "refusal"); refusal != nil {
			return err
		}
	}
	return nil
}

func fits(value []byte, shape string) error {
	_, here, _, _ := runtime.Caller(0)
	file := filepath.Join(filepath.Dir(here), "..", "..", "..", "docs", "output.schema.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("output.json", document); err != nil {
		return err
	}
	schema, err := compiler.Compile("output.json#/$defs/" + strings.ReplaceAll(shape, " ", "%20"))
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return err
	}
	return schema.Validate(instance)
}

// TestEveryCommandHasAShape: whoever adds a command says what its JSON is.
func TestEveryCommandHasAShape(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		path := strings.TrimPrefix(c.CommandPath(), name+" ")
		if _, known := shapes[path]; !known && !c.HasSubCommands() {
			t.Errorf("the command %q has no definition in docs/output.schema.json", path)
		}
	}
	visit(Command())
}

// TestOutputSchema runs what no script runs with --output json, and holds the schema to be no net with holes.
func TestOutputSchema(t *testing.T) {
	testdata := prepareDocs(t)
	startKMS(t, testdata)
	const arn = "arn:aws:kms:us-east-1:111122223333:alias/release"
	for _, line := range []string{
		"keys pull " + arn, "keys refresh", "keys list", "keys show " + arn,
		"sign --key-id " + arn + " app.tar.gz",
		"cert self-sign --key-id " + arn + " --subject CN=release,O=Example,ST=WA,C=US --days 30 --file release.crt",
		"cert self-sign --key-id " + arn + " --subject CN=release,O=Example,ST=WA,C=US --days 30 --file - --replace",
		"cert csr --key-id " + arn + " --subject CN=release,O=Example,ST=WA,C=US --file release.csr",
		"cert csr --key-id " + arn + " --subject CN=release,O=Example,ST=WA,C=US",
		"cert check release.crt --key-id " + arn, "cert show --key-id " + arn,
		"verify --key-id " + arn + " --signature app.sig app.tar.gz", "audit head", "audit verify", "audit show",
		"policy show", "policy show " + arn, "policy init --strict --allow " + arn + " --file strict.json", "policy check strict.json",
		"keys export --file keys.tar", "doctor", "version",
	} {
		var out, errs bytes.Buffer
		if code := checkedMain(append([]string{"--output", "json"}, words(line)...), strings.NewReader(""), &out, &errs); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", line, code, out.String(), errs.String())
		}
		if !strings.HasPrefix(out.String(), "{") {
			t.Errorf("%s printed %q", line, out.String())
		}
	}
	for shape, text := range map[string]string{
		"verify":         `{"KeyId":"arn:aws:kms:us-east-1:111122223333:key/1","SignatureValid":true,"SigningAlgorithm":"SM2DSA"}`,
		"verify --batch": `{"line":1,"signature_valid":true,"error":{"code":"a","message":"b"}}`,
		"version":        `{"Version":"1","Commit":"a","Go":"b","System":"c","Extra":1}`,
		"results":        `{"Results":[{"Name":"a","Change":"mended"}]}`,
		"audit show":     `{"verified":true}`,
	} {
		if err := fits([]byte(text), shape); err == nil {
			t.Errorf("%s takes %s", shape, text)
		}
	}
}

// resultFile is a standard output that is a file, of which its system says only at the end that there was no room.
type resultFile struct {
	*os.File
	err    error
	closed int
}

func (f *resultFile) Close() error {
	f.closed++
	return errors.Join(f.File.Close(), f.err)
}

// A result that is lost when its file is closed is no success, nor is a refusal that is.
func TestResultLostAtTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		err  error
		code int
		says string
	}{
		"kept":           {[]string{"version"}, nil, 0, ""},
		"lost":           {[]string{"version"}, syscall.EDQUOT, kmserr.ExitOurSide, "the result cannot be written to standard output"},
		"a lost refusal": {[]string{"policy", "check", "none"}, syscall.EDQUOT, kmserr.ExitOurSide, "the result cannot be written to standard output"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "result"))
			if err != nil {
				t.Fatal(err)
			}
			stdout := &resultFile{File: f, err: c.err}
			var stderr bytes.Buffer
			if code := Main(c.args, strings.NewReader(""), stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.says) || stdout.closed != 1 {
				t.Errorf("exit code %d, closed %d times\n%s", code, stdout.closed, stderr.String())
			}
		})
	}
	// What is no file is its owner's to close.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := &resultFile{File: w}
	var stderr bytes.Buffer
	if code := Main([]string{"version"}, strings.NewReader(""), stdout, &stderr); code != 0 || stdout.closed != 0 {
		t.Errorf("exit code %d, closed %d times\n%s", code, stdout.closed, stderr.String())
	}
	w.Close()
}
