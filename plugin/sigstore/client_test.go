package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// breakVariable makes the test binary a plugin that breaks in one way; see TestMain.
const breakVariable = "AWSKMS_OFFLINE_TEST_BREAK"

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

// breakDown is Main with something broken below it.
func breakDown(how string) int {
	switch how {
	case "panic while reading":
		return Main(os.Args[1:], broken{func([]byte) (int, error) { panic("injected") }}, os.Stdout, os.Stderr)
	case "standard output gone":
		os.Stdout.Close()
		return Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "standard error gone":
		os.Stderr.Close()
		return Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "deadline":
		deadline = 50 * time.Millisecond
		return Main(os.Args[1:], broken{func([]byte) (int, error) { select {} }}, os.Stdout, os.Stderr)
	case "garbage arguments":
		return Main([]string{"v1", "garbage"}, os.Stdin, os.Stdout, os.Stderr)
	case "no arguments":
		return Main(nil, os.Stdin, os.Stdout, os.Stderr)
	}
	return Main(append(os.Args[1:], how), os.Stdin, os.Stdout, os.Stderr)
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
		"panic while reading":  cliplugin.ErrorPluginReturnError,
		"standard output gone": cliplugin.ErrorResponseParse,
		"deadline":             cliplugin.ErrorPluginReturnError,
		"garbage arguments":    cliplugin.ErrorPluginReturnError,
		"no arguments":         cliplugin.ErrorPluginReturnError,
		"one argument more":    cliplugin.ErrorPluginReturnError,
	} {
		t.Run(how, func(t *testing.T) {
			onPath(t, how)
			if err := verifyAsCosign(ctx, arn, signature, bytes.NewReader(message)); !errors.Is(err, want) {
				t.Errorf("got %v, expected %v", err, want)
			}
		})
	}
	t.Run("standard error gone", func(t *testing.T) {
		onPath(t, "standard error gone")
		if err := verifyAsCosign(ctx, arn, nil, bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) {
			t.Errorf("got %v", err)
		}
	})
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
	t.Run("deadline in the past", func(t *testing.T) {
		onPath(t, "")
		// The client itself would not start with a context that is over: one that ends between its start and ours.
		ctx, cancel := context.WithDeadline(ctx, time.Now().Add(time.Millisecond))
		defer cancel()
		v, err := cliplugin.LoadSignerVerifier(ctx, Scheme+"://"+arn, crypto.SHA256)
		if err != nil {
			t.Skipf("the deadline was over before the client was made: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
		if err := v.VerifySignature(bytes.NewReader(signature), bytes.NewReader(message)); !errors.Is(err, cliplugin.ErrorPluginReturnError) || !strings.Contains(err.Error(), "is past") {
			t.Errorf("got %v", err)
		}
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
