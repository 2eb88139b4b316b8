//go:build unix

package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Opening a named pipe lasts until somebody writes to it. Ctrl-C ends the wait, and one with a writer is read.
func TestInterruptEndsTheWaitForANamedPipe(t *testing.T) {
	pipe, another := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "pipe")
	for _, name := range []string{pipe, another} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Skipf("no named pipe can be made, so waiting for one is not tested: %v", err)
		}
	}
	ctx, interrupt := context.WithCancel(t.Context())
	a := &app{ctx: ctx}
	answers := make(chan error, 1)
	go func() {
		_, err := a.open("the message", pipe)
		answers <- err
	}()
	select {
	case err := <-answers:
		t.Fatalf("a pipe that nobody writes to was opened: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	interrupt()
	select {
	case err := <-answers:
		if !kmserr.Is(err, kmserr.DeadlineExceeded) || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the wait goes on")
	}

	// Another pipe: the wait that was given up still opens the first one when somebody writes to it.
	a.ctx = t.Context()
	go func() {
		if f, err := os.OpenFile(another, os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteString("written")
			_ = f.Close()
		}
	}()
	r, err := a.open("the message", another)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != "written" {
		t.Errorf("got %q, %v", data, err)
	}
}

// An interrupt before any key was asked for says so.
func TestPullInterruptedWhileListing(t *testing.T) {
	server, _ := fakeKMS(t)
	server.Inject(kmstest.Rule{Operation: "ListKeys"}, kmstest.Delay(time.Minute))
	go func() {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && server.Count("ListAliases") == 0; {
			time.Sleep(20 * time.Millisecond)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	start := time.Now()
	code, stdout, stderr := call("keys", "pull", "--all")
	if code != kmserr.ExitOurSide || stdout != "" || !strings.Contains(stderr, "ListKeys of us-east-1 was interrupted") || !strings.Contains(stderr, "hint: Run the command again") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if time.Since(start) > 30*time.Second || exists(os.Getenv("AWSKMS_OFFLINE_HOME")) {
		t.Errorf("after %v", time.Since(start))
	}
}

// What KMS has answered by the time of an interrupt is stored; that the aliases are missing is no matter of what is allowed.
func TestPullInterruptedBeforeTheAliases(t *testing.T) {
	server, arns := fakeKMS(t)
	server.Inject(kmstest.Rule{Operation: "ListAliases"}, kmstest.Delay(time.Minute))
	go func() {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && server.Count("DescribeKey") == 0; {
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond) // until its answer has been read
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	code, stdout, stderr := call("keys", "pull", arns["p256"])
	if code != kmserr.ExitOurSide || !strings.Contains(stdout, "new: "+arns["p256"]) || !strings.Contains(stderr, "the aliases of "+arns["p256"]+" are not known") ||
		!strings.Contains(stderr, "was interrupted") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// A pipe among the files of a folder is nobody's who named it: it is refused at once, as a link to a device is.
func TestFolderWithAPipe(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(folder, "a.json"), 0o600); err != nil {
		t.Skipf("no named pipe can be made, so one in a folder is not tested: %v", err)
	}
	a := &app{ctx: t.Context(), stderr: io.Discard}
	refused := func() {
		t.Helper()
		if files, err := a.keyFiles([]string{folder}); !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "a.json, which is no ordinary file") {
			t.Errorf("got %q, %v", files, err)
		}
	}
	refused()
	name := filepath.Join(folder, "a.json")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, name); err != nil {
		t.Fatal(err)
	}
	refused()
}

// TestOpenIfOrdinary: a named pipe that was put in a file's place after a look at it holds nobody up.
func TestOpenIfOrdinary(t *testing.T) {
	file, pipe := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "pipe")
	write(t, file, []byte("content"))
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openIfOrdinary(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if content, err := io.ReadAll(f); err != nil || string(content) != "content" {
		t.Errorf("read %q, %v", content, err)
	}
	if f, err := openIfOrdinary(filepath.Dir(file)); f != nil || err != nil {
		t.Errorf("a folder: %v, %v", f, err)
	}
	if f, err := openIfOrdinary(file + "s"); f != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v, %v", f, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if f, err := openIfOrdinary(pipe); f != nil || err != nil {
			t.Errorf("a pipe: %v, %v", f, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for the other end of a pipe")
		other, err := os.OpenFile(pipe, os.O_RDWR, 0) // which ends that
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		<-done
	}
}

// interruptedAt is a context that is over from the look n at it on.
type interruptedAt struct {
	context.Context
	looks *atomic.Int64
	n     int64
}

func (c interruptedAt) Err() error {
	if c.looks.Add(1) >= c.n {
		return context.Canceled
	}
	return c.Context.Err()
}

// Whenever an interrupt comes, a pull that did not bring what it was to bring does not end well.
func TestPullInterruptedAtEachLook(t *testing.T) {
	server, _ := fakeKMS(t)
	server.AddKey(kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/one"}})
	home := os.Getenv("AWSKMS_OFFLINE_HOME")
	ended := 0
	for n := int64(1); ; n++ {
		if err := os.RemoveAll(home); err != nil {
			t.Fatal(err)
		}
		ctx := interruptedAt{t.Context(), new(atomic.Int64), n}
		var stdout, stderr bytes.Buffer
		a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, out: paletteFor(&stdout), err: paletteFor(&stderr)}
		root := a.command()
		root.SetArgs([]string{"keys", "pull", "--all", "--alias-prefix", "alias/one"})
		_, err := root.ExecuteContextC(ctx)
		if ctx.looks.Load() < n { // nobody looked any more
			if err != nil {
				t.Errorf("without an interrupt: %v\n%s%s", err, stdout.String(), stderr.String())
			}
			break
		}
		if ended++; err == nil && !strings.Contains(stderr.String(), "1 new, ") {
			t.Errorf("look %d: no error\n%s%s", n, stdout.String(), stderr.String())
		}
	}
	if ended < 3 {
		t.Errorf("an interrupt was looked for %d times", ended)
	}
}

// An interrupt between the keys and their aliases says of how many it is not known what they mean.
func TestRefreshInterruptedBeforeTheAliasesAreConfirmed(t *testing.T) {
	server, _ := fakeKMS(t)
	for want, aliases := range map[string][]string{
		"not what 1 alias means now":  {"alias/gone"},
		"not what 2 aliases mean now": {"alias/gone", "alias/gone-too"},
	} {
		t.Setenv("AWSKMS_OFFLINE_HOME", filepath.Join(t.TempDir(), "home"))
		arn := server.AddKey(kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: aliases})
		if code, _, stderr := call("keys", "pull", arn); code != 0 {
			t.Fatal(stderr)
		}
		for _, alias := range aliases {
			server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:" + alias)
		}
		var said strings.Builder
		for n := int64(1); ; n++ {
			ctx := interruptedAt{t.Context(), new(atomic.Int64), n}
			a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: &said, out: paletteFor(io.Discard), err: paletteFor(io.Discard)}
			root := a.command()
			root.SetArgs([]string{"keys", "refresh"})
			if _, err := root.ExecuteContextC(ctx); err == nil || n > 1000 {
				break
			}
		}
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in\n%s", want, said.String())
		}
	}
}

// A tar whose writing is interrupted is removed.
func TestExportInterrupted(t *testing.T) {
	_, arns := fakeKMS(t)
	if code, _, stderr := call("keys", "pull", arns["p256"], arns["p384"]); code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "keys.tar")
	export := func(ctx context.Context) error {
		a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, out: paletteFor(io.Discard), err: paletteFor(io.Discard)}
		root := a.command()
		root.SetArgs([]string{"keys", "export", "--file", file})
		_, err := root.ExecuteContextC(ctx)
		return err
	}
	for n := range int64(2) {
		if err := export(interruptedAt{t.Context(), new(atomic.Int64), n + 1}); !kmserr.Is(err, kmserr.DeadlineExceeded) || exists(file) {
			t.Errorf("at look %d: %v, a tar is there: %t", n+1, err, exists(file))
		}
	}
	if err := export(t.Context()); err != nil || !exists(file) {
		t.Error(err)
	}
}

// What describe-key printed is no reason to speak of a missing key where the store cannot be looked into.
func TestStateForAStoreThatCannotBeRead(t *testing.T) {
	home := isolated(t, t.TempDir())
	const state = "../../../testdata/records/p256.describe-key.json"
	if code, _, stderr := call("keys", "import", state); code != kmserr.ExitBadCall || !strings.Contains(stderr, "Both are needed") {
		t.Errorf("no store: exit code %d\n%s", code, stderr)
	}
	if err := os.Symlink("nowhere", home); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := call("keys", "import", state); code != kmserr.ExitOurSide || !strings.Contains(stderr, "is a link that leads to") {
		t.Errorf("a link to nowhere: exit code %d\n%s", code, stderr)
	}
}
