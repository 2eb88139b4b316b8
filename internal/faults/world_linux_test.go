package faults

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// full runs everything; without it a test takes every step-th fault only.
var full = flag.Bool("full", false, "try every fault, and load for minutes")

const testdata = "../../testdata"

// limit is longer than either plugin's own deadline: a run that reaches it hangs.
const limit = 75 * time.Second

// bin is the folder of the built programs.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := testenv.Isolate()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "bin")
		build := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "../../cmd/awskms-offline", "../../cmd/notation-awskms-offline", "../../cmd/sigstore-kms-awskms-offline")
		build.Env = append(build.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// key returns a key of testdata with a date and, where testdata has one, its state.
func key(name string) *kmskey.Key {
	r := must(kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json")))))
	r.Snapshot.Time, r.Snapshot.Source = kmskey.Time{Time: time.Now().Add(-time.Hour).UTC()}, kmskey.SourceFile
	if data, err := os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")); err == nil {
		m := must(kmskey.DecodeDescribeKey(data))
		r.KeyMetadata, r.Snapshot.StateTime = &m, r.Snapshot.Time
	}
	return must(kmskey.NewKey(r))
}

// world is a store with a policy that demands the log, and a place for the log.
type world struct {
	home, state string
}

// blocked, excluded and disabled are keys that must not verify.
const (
	good     = "p256"
	other    = "p256-other"
	blocked  = "p384"
	excluded = "p521"
	disabled = "p256-disabled"
)

func newWorld(t testing.TB) world {
	t.Helper()
	dir := must(filepath.EvalSymlinks(t.TempDir()))
	w := world{home: filepath.Join(dir, "home"), state: filepath.Join(dir, "state")}
	writer, err := keystore.OpenWriter(keystore.Home{Path: w.home, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, name := range []string{good, other, blocked, excluded, disabled} {
		k := key(name)
		if _, err := writer.Put(k, keystore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if name != excluded {
			allowed = append(allowed, k.ARN().String())
		}
	}
	if _, err := writer.Block(keystore.Block{KeyID: key(blocked).ARN().String(), Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	w.policy(t, "required", allowed)
	return w
}

func (w world) policy(t testing.TB, log string, allowed []string) {
	t.Helper()
	text := must(json.Marshal(map[string]any{
		"version": "1", "allowList": true, "log": map[string]any{"mode": log},
		"grants": []any{map[string]any{"name": "allowed", "keys": allowed, "verify": true}},
	}))
	if err := os.WriteFile(filepath.Join(w.home, "policy.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// log is the log's path.
func (w world) log() string { return filepath.Join(w.state, "awskms-offline", audit.FileName) }

// lines reads the log, whose chain must be whole, and counts its lines and those that say Verified.
func (w world) lines(t testing.TB) (all, verified int) {
	t.Helper()
	data, err := os.ReadFile(w.log())
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), w.log(), audit.Options{})
	if err != nil || !report.Intact {
		t.Fatalf("the log is not whole: %+v, %v", report.Break, err)
	}
	return bytes.Count(data, []byte("\n")), bytes.Count(data, []byte(`"verified":true`))
}

// call is one run of a program.
type call struct {
	name    string
	program string
	args    []string
	stdin   []byte
	right   bool // the answer is yes
}

// outcome is what a run said.
type outcome struct {
	yes            bool
	code           int
	stdout, stderr []byte
	took           time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("exit code %d after %s\nstandard output: %.600s\nstandard error: %.1500s", o.code, o.took, o.stdout, o.stderr)
}

func certificate(name string) []byte {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "certs", name+".crt"))))
	return block.Bytes
}

// notation asks whether the leaf is one of the identity's.
func (w world) notation(name, leaf, identity string, right bool) call {
	return call{name: "notation/" + name, program: "notation-awskms-offline", args: []string{"verify-signature"}, right: right,
		stdin: must(json.Marshal(map[string]any{
			"contractVersion": "1.0",
			"signature": map[string]any{
				"criticalAttributes":    map[string]any{"contentType": "application/vnd.cncf.notary.payload.v1+json", "signingScheme": "notary.x509"},
				"unprocessedAttributes": nil, "certificateChain": [][]byte{certificate(leaf)},
			},
			"trustPolicy": map[string]any{
				"trustedIdentities":     []string{key(identity).ARN().String()},
				"signatureVerification": []string{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY", "SIGNATURE_VERIFIER.REVOCATION_CHECK"},
			},
			"pluginConfig": map[string]string{"home": w.home},
		}))}
}

const rpc = `"rpcOptions":{"keyVersion":"","remoteVerification":false}`

func (w world) sigstore(name, method, keyName, args, stdin string, right bool) call {
	return call{name: "sigstore/" + name, program: "sigstore-kms-awskms-offline", stdin: []byte(stdin), right: right,
		args: []string{"v1", fmt.Sprintf(`{"initOptions":{"protocolVersion":"v1","keyResourceID":%q,"hashFunc":5,%s},"methodName":%q,%[3]q:%s}`,
			"/"+key(keyName).ARN().String(), rpc, method, args)}}
}

const message = "the message\n"

// signatureFile is the good key's over message.
const signatureFile = "../../plugin/sigstore/testdata/p256.sig"

func (w world) sigstoreVerify(name, keyName, message string, right bool) call {
	return w.sigstore(name, "verifySignature", keyName, fmt.Sprintf(`{"signature":%q,"verifyOptions":{%s,"messageOptions":{"digest":null}}}`,
		base64.StdEncoding.EncodeToString(must(os.ReadFile(signatureFile))), rpc), message, right)
}

func (w world) cli(name, keyName, message string, right bool) call {
	return call{name: "cli/" + name, program: "awskms-offline", stdin: []byte(message), right: right,
		args: []string{"verify", "--output", "json", "--key-id", key(keyName).ARN().String(), "--signature", must(filepath.Abs(signatureFile)), "-"}}
}

// calls are questions through every program: of each kind a yes, and a no for every protection.
func (w world) calls() []call {
	return []call{
		w.notation("yes", good, good, true),
		w.sigstoreVerify("yes", good, message, true),
		w.cli("yes", good, message, true),
		w.notation("another key", good, other, false),
		w.notation("blocked", blocked, blocked, false),
		w.notation("not allowed", excluded, excluded, false),
		w.notation("disabled", disabled, disabled, false),
		w.sigstoreVerify("another message", good, "another message\n", false),
		w.sigstoreVerify("another key", other, message, false),
		w.sigstore("blocked public key", "publicKey", blocked, `{"publicKeyOptions":{`+rpc+`}}`, "", false),
		w.cli("another message", good, "another message\n", false),
	}
}

// env is the environment of a run: nothing of the caller's.
func (w world) env() []string {
	return []string{"HOME=" + filepath.Dir(w.home), "XDG_STATE_HOME=" + w.state, keystore.EnvHome + "=" + w.home, "PATH=" + os.Getenv("PATH")}
}

// run runs the call, behind a prefix such as strace or sh. prepare may change the command.
func (w world) run(t testing.TB, c call, prefix []string, prepare ...func(*exec.Cmd)) outcome {
	t.Helper()
	line := append(append([]string{}, prefix...), append([]string{filepath.Join(bin, c.program)}, c.args...)...)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = w.env()
	cmd.Stdin = bytes.NewReader(c.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// How long its output is waited for once the program has ended, or was killed: this process may be slow, too.
	cmd.WaitDelay = limit
	for _, change := range prepare {
		change(cmd)
	}
	start := time.Now()
	err := cmd.Run()
	o := outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.Bytes(), stderr: stderr.Bytes(), took: time.Since(start)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", c.name, err)
	}
	if ctx.Err() != nil {
		t.Errorf("%s hangs: no end after %s", c.name, limit)
	}
	o.yes = says(c.program, o)
	return o
}

// says reads an answer as the program's client does.
func says(program string, o outcome) bool {
	switch program {
	case "notation-awskms-offline":
		var response struct {
			VerificationResults map[string]struct{ Success bool }
		}
		if o.code != 0 || json.Unmarshal(o.stdout, &response) != nil {
			return false
		}
		yes := len(response.VerificationResults) == 2
		for _, result := range response.VerificationResults {
			yes = yes && result.Success
		}
		return yes
	case "sigstore-kms-awskms-offline":
		// The client looks at no exit code, and takes every object without an error for a yes.
		var response common.PluginResp
		return json.Unmarshal(o.stdout, &response) == nil && response.ErrorMessage == ""
	}
	return o.code == 0
}

// check holds an outcome to what must always be: the right answer or a refusal with a reason, and for a yes its line.
func (w world) check(t testing.TB, fault string, c call, o outcome, yesBefore int) {
	t.Helper()
	if o.yes && !c.right {
		t.Errorf("%s, %s: a wrong yes, %s", c.name, fault, o)
	}
	if !o.yes && c.program == "awskms-offline" && strings.Contains(string(o.stdout), `"SignatureValid":true`) {
		t.Errorf("%s, %s: a yes beside a refusal, %s", c.name, fault, o)
	}
	if _, yes := w.lines(t); o.yes && c.right && yes <= yesBefore {
		t.Errorf("%s, %s: a yes without the line that the policy demands, %s", c.name, fault, o)
	}
}

// TestNoFault: what follows is worth nothing if the answers are wrong where nothing breaks.
func TestNoFault(t *testing.T) {
	w := newWorld(t)
	for _, c := range w.calls() {
		before, yes := w.lines(t)
		o := w.run(t, c, nil)
		if o.yes != c.right {
			t.Errorf("%s: %s", c.name, o)
		}
		w.check(t, "no fault", c, o, yes)
		if after, _ := w.lines(t); after <= before {
			t.Errorf("%s: %d lines after, %d before", c.name, after, before)
		}
	}
}
