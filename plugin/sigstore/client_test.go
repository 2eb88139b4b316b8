package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// These tests drive the built binary through sigstore's own client library, which is what cosign does: whatever breaks,
// the client must not take the answer for a yes.

const (
	// breakVariable makes the test binary a plugin that breaks in one way, or the built plugin with something broken around
	// it; see breakDown.
	breakVariable = "AWSKMS_OFFLINE_TEST_BREAK"
	// builtVariable is where the built plugin is.
	builtVariable = "AWSKMS_OFFLINE_TEST_BUILT"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(breakVariable); how != "" && strings.HasPrefix(filepath.Base(os.Args[0]), Program) {
		os.Exit(breakDown(how))
	}
	dir, err := testenv.Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// breakDown is Main with something broken below it, or the built plugin with something broken around it.
func breakDown(how string) int {
	switch how {
	case "panic while reading":
		return Main(os.Args[1:], broken{func([]byte) (int, error) { panic("injected") }}, os.Stdout, os.Stderr)
	case "standard output closed":
		os.Stdout.Close()
		return Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "standard error closed":
		os.Stderr.Close()
		return Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "deadline":
		deadline = 50 * time.Millisecond
		return Main(os.Args[1:], broken{func([]byte) (int, error) { select {} }}, os.Stdout, os.Stderr)
	case "built: nobody reads standard output":
		return runBuilt(os.Args[1:], func(cmd *exec.Cmd) {
			r, w := must2(os.Pipe())
			r.Close()
			cmd.Stdout = w
		})
	case "built: killed while reading":
		cmd := exec.Command(os.Getenv(builtVariable), os.Args[1:]...)
		cmd.Stdout = os.Stdout
		must(cmd.StdinPipe()) // that never ends
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		time.Sleep(200 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		dieBySignal()
	case "built: killed after its yes":
		runBuilt(os.Args[1:], nil)
		dieBySignal()
	}
	var edits edit
	if err := json.Unmarshal([]byte(how), &edits); err != nil {
		panic(err)
	}
	return runBuilt(edits.apply(os.Args[1:]), nil)
}

// runBuilt runs the built plugin in this process's place and returns its exit code.
func runBuilt(args []string, change func(*exec.Cmd)) int {
	cmd := exec.Command(os.Getenv(builtVariable), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if change != nil {
		change(cmd)
	}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		panic(err)
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	dieBySignal()
	return 0
}

func dieBySignal() {
	_ = must(os.FindProcess(os.Getpid())).Kill()
	select {}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// edit is what becomes of the client's arguments before the built plugin gets them.
type edit struct {
	// Args replace all of them, if not nil.
	Args []string
	// Old is replaced by New in the JSON object, once.
	Old, New string
	// Delete is the path of a member to leave out, or else Set that of one to set to Value.
	Delete, Set string
	Value       json.RawMessage
}

func (e edit) text() string { return string(must(json.Marshal(e))) }

func (e edit) apply(args []string) []string {
	if e.Args != nil {
		return e.Args
	}
	text := args[1]
	if e.Old != "" {
		if text = strings.Replace(args[1], e.Old, e.New, 1); text == args[1] {
			panic("the client's call does not hold " + e.Old)
		}
	}
	if path := e.Delete + e.Set; path != "" {
		var call map[string]any
		if err := json.Unmarshal([]byte(text), &call); err != nil {
			panic(err)
		}
		folder, name := call, path
		for {
			first, rest, below := strings.Cut(name, "/")
			if !below {
				break
			}
			folder, name = folder[first].(map[string]any), rest
		}
		if _, there := folder[name]; e.Delete != "" && !there {
			panic("the client's call has no member " + path)
		}
		if delete(folder, name); e.Set != "" {
			folder[name] = e.Value
		}
		text = string(must(json.Marshal(call)))
	}
	return []string{args[0], text}
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", Program)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, executable())
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/"+Program)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return dir, nil
})

func executable() string {
	if runtime.GOOS == "windows" {
		return Program + ".exe"
	}
	return Program
}

// onPath puts the built plugin, or the test binary that breaks, first on PATH.
func onPath(t *testing.T, how string) {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	if how != "" {
		dir = t.TempDir()
		self := must(os.Executable())
		if err := os.Link(self, filepath.Join(dir, executable())); err != nil {
			data := must(os.ReadFile(self)) // another file system
			if err := os.WriteFile(filepath.Join(dir, executable()), data, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv(breakVariable, how)
		t.Setenv(builtVariable, filepath.Join(must(built()), executable()))
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// verifyAsCosign verifies by the client library.
func verifyAsCosign(ctx context.Context, key string, signature []byte, message io.Reader) error {
	v, err := cliplugin.LoadSignerVerifier(ctx, Scheme+"://"+key, crypto.SHA256)
	if err != nil {
		return err
	}
	return v.VerifySignature(bytes.NewReader(signature), message)
}

func TestClientTakesNothingBrokenForAYes(t *testing.T) {
	home := newHome(t, known(t, "p256"))
	arn := known(t, "p256").ARN().String()
	signature := sign(t, "p256", kmskey.ECDSASHA256, message)
	ctx := context.Background()
	sane := func(t *testing.T) {
		if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); err != nil {
			t.Fatalf("a good signature: %v", err)
		}
	}
	t.Run("nothing broken", func(t *testing.T) {
		onPath(t, "")
		sane(t)
		for name, bad := range map[string][]byte{"empty": {}, "garbage": []byte("garbage"), "cut": signature[:len(signature)-1]} {
			if err := verifyAsCosign(ctx, arn, bad, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
				t.Errorf("%s signature: %v", name, err)
			}
		}
		if err := verifyAsCosign(ctx, arn, signature, strings.NewReader("another")); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("another message: %v", err)
		}
	})
	// Each with a signature that would verify, so that only what is broken stands between it and a yes.
	for how, want := range map[string]error{
		"panic while reading":                 cliplugin.ErrorPluginReturnError,
		"standard output closed":              cliplugin.ErrorResponseParse,
		"deadline":                            cliplugin.ErrorPluginReturnError,
		"built: nobody reads standard output": nil, // dies by a signal, or with exit code 1
		"built: killed while reading":         nil,
		"built: killed after its yes":         nil,
	} {
		if runtime.GOOS == "windows" && strings.HasPrefix(how, "built: killed") {
			t.Log("left out on Windows, where nothing dies by a signal: " + how)
			continue
		}
		t.Run(how, func(t *testing.T) {
			onPath(t, how)
			if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("got %v, expected %v", err, want)
			}
		})
	}
	t.Run("standard error closed", func(t *testing.T) {
		onPath(t, "standard error closed")
		if err := verifyAsCosign(ctx, arn, nil, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("got %v", err)
		}
	})
	for name, e := range map[string]edit{
		"no arguments":       {Args: []string{}},
		"one argument":       {Args: []string{"v1"}},
		"garbage":            {Args: []string{"v1", "garbage"}},
		"an empty object":    {Args: []string{"v1", "{}"}},
		"null":               {Args: []string{"v1", "null"}},
		"another version":    {Args: []string{"v2", verifyCall(arn, signature).text()}},
		"one argument more":  {Args: []string{"v1", verifyCall(arn, signature).text(), "--"}},
		"two objects":        {Args: []string{"v1", verifyCall(arn, signature).text() + "{}"}},
		"a member twice":     {Old: `"signature":`, New: `"signature":"","signature":`},
		"another case":       {Old: `"signature":`, New: `"Signature":"","signature":`},
		"deadline past":      {Set: "initOptions/ctxDeadline", Value: json.RawMessage(`"2020-01-01T00:00:00Z"`)},
		"deadline past, too": {Set: "verifySignature/verifyOptions/rpcOptions/ctxDeadline", Value: json.RawMessage(`"2020-01-01T00:00:00Z"`)},
		"unknown method":     {Set: "methodName", Value: json.RawMessage(`"verify"`)},
		"empty method":       {Set: "methodName", Value: json.RawMessage(`""`)},
		"a digest as well":   {Set: "verifySignature/verifyOptions/messageOptions/digest", Value: json.RawMessage(`"AAAA"`)},
	} {
		t.Run("arguments: "+name, func(t *testing.T) {
			onPath(t, e.text())
			if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("1 GiB on standard input", func(t *testing.T) {
		onPath(t, "")
		start := time.Now()
		if err := verifyAsCosign(ctx, arn, signature, io.LimitReader(zeros{}, 1<<30)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("another message: %v", err)
		}
		if err := verifyAsCosign(ctx, "alias/none", signature, io.LimitReader(zeros{}, 1<<30)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("no key: %v", err)
		}
		t.Logf("took %s", time.Since(start))
	})
	t.Run("store missing", func(t *testing.T) {
		onPath(t, "")
		t.Setenv(keystore.EnvHome, filepath.Join(home, "none"))
		if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no home at all", func(t *testing.T) {
		onPath(t, "")
		for _, name := range []string{keystore.EnvHome, "HOME", "XDG_CONFIG_HOME", "AppData", "ProgramData"} {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
		if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("got %v", err)
		}
	})
	refuses := func(t *testing.T, name string) {
		t.Helper()
		if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, expected %s", err, name)
		}
	}
	t.Run("the home is a file", func(t *testing.T) {
		onPath(t, "")
		file := filepath.Join(t.TempDir(), "home")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(keystore.EnvHome, file)
		refuses(t, "Store")
	})
	t.Run("policy", func(t *testing.T) {
		onPath(t, "")
		path := filepath.Join(home, "policy.json")
		defer func() {
			if err := os.RemoveAll(path); err != nil {
				t.Error(err)
			}
		}()
		for text, name := range map[string]string{
			"":                               "PolicyInvalidException",
			"{}":                             "PolicyInvalidException",
			`{"version":"1","unknown":true}`: "PolicyInvalidException",
			string(must(json.Marshal(object{"version": "1", "log": object{"mode": "required", "path": home}}))): "AuditUnavailableException",
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			refuses(t, name)
		}
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		refuses(t, "PolicyInvalidException")
	})
	t.Run("record damaged", func(t *testing.T) {
		onPath(t, "")
		path := filepath.Join(home, "keys", "aws", "us-east-1", "111122223333", known(t, "p256").ARN().KeyID+".json")
		data := must(os.ReadFile(path))
		defer func() {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Error(err)
			}
		}()
		for _, damage := range [][]byte{nil, []byte("{}"), data[:len(data)/2], bytes.Replace(data, []byte("ECC_NIST_P256"), []byte("ECC_NIST_P384"), 1)} {
			if err := os.WriteFile(path, damage, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("store unreadable", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("mode bits do not close a folder on Windows")
		}
		onPath(t, "")
		for _, mode := range []os.FileMode{0o000, 0o777} { // unreadable but for root, and writable by everyone
			if err := os.Chmod(home, mode); err != nil {
				t.Fatal(err)
			}
			err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message))
			if mode == 0 && os.Getuid() == 0 {
				t.Log("root reads what mode 0000 closes: only the folder that everyone can write is tested")
				continue
			}
			if !errors.Is(err, cliplugin.ErrorPluginReturnError) {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
		if err := os.Chmod(home, 0o700); err != nil {
			t.Fatal(err)
		}
		sane(t)
	})
}

// TestClientTakesNoIncompleteCallForAYes leaves out each member that the client sends, makes it null, and gives it another
// type. Only what has a default may be missing, and then the signature decides.
func TestClientTakesNoIncompleteCallForAYes(t *testing.T) {
	newHome(t, known(t, "p256"))
	arn := known(t, "p256").ARN().String()
	signature := sign(t, "p256", kmskey.ECDSASHA256, message)
	const options = "verifySignature/verifyOptions/"
	optional := map[string]bool{
		"delete initOptions/rpcOptions/keyVersion": true, "delete initOptions/rpcOptions/remoteVerification": true,
		"delete " + options + "rpcOptions/keyVersion": true, "delete " + options + "rpcOptions/remoteVerification": true,
		"delete " + options + "messageOptions/digest": true, "null " + options + "messageOptions/digest": true,
	}
	paths := members(verifyCall(arn, signature), "")
	if len(paths) != 16 {
		t.Fatalf("the call has the members %q", paths)
	}
	for _, path := range paths {
		other := json.RawMessage(`{}`)
		if slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, path+"/") }) {
			other = json.RawMessage(`5`)
		}
		for name, e := range map[string]edit{
			"delete " + path: {Delete: path}, "null " + path: {Set: path, Value: json.RawMessage("null")}, "type of " + path: {Set: path, Value: other},
		} {
			t.Run(name, func(t *testing.T) {
				onPath(t, e.text())
				given := signature
				if optional[name] {
					given = signature[:len(signature)-1]
				}
				err := verifyAsCosign(context.Background(), arn, given, bytes.NewReader(message))
				if !errors.Is(err, cliplugin.ErrorPluginReturnError) || optional[name] && !strings.Contains(err.Error(), "KMSInvalidSignatureException") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// members are the paths of all members of o and of the objects in it.
func members(o object, below string) (paths []string) {
	for name, value := range o {
		paths = append(paths, below+name)
		if inner, ok := value.(object); ok {
			paths = append(paths, members(inner, below+name+"/")...)
		}
	}
	return paths
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The client reads our answers to the other methods.
func TestClientReadsTheOtherAnswers(t *testing.T) {
	newHome(t, known(t, "p256"))
	onPath(t, "")
	v, err := cliplugin.LoadSignerVerifier(context.Background(), Scheme+"://"+known(t, "p256").ARN().String(), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := v.PublicKey(); err != nil || key == nil {
		t.Errorf("PublicKey gave %v, %v", key, err)
	}
	if got := v.DefaultAlgorithm(); got != defaultSpec {
		t.Errorf("DefaultAlgorithm gave %q", got)
	}
	if got := v.SupportedAlgorithms(); len(got) != 12 {
		t.Errorf("SupportedAlgorithms gave %q", got)
	}
	if _, err := v.SignMessage(bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
		t.Errorf("SignMessage gave %v", err)
	}
	if _, err := v.CreateKey(context.Background(), defaultSpec); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
		t.Errorf("CreateKey gave %v", err)
	}
}
