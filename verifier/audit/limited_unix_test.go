//go:build linux || darwin

package audit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// The test binary started again with this variable writes to the log it names under a limit of the file's size, which
// fails a write as a full disk does: what still fits is written, the rest is not.
const limitedVariable = "AWSKMS_OFFLINE_TEST_LIMITED"

const sizeLimit = 10_000

func runLimited(path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: sizeLimit, Max: sizeLimit}); err != nil {
		fmt.Println("skip", err)
		return 0
	}
	l, err := NewFileLog(Config{Path: path, Required: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for n := range 50 {
		if err := l.Append(context.Background(), decision(n)); err != nil {
			fmt.Println("failed", err)
		} else {
			fmt.Println("written", n)
		}
	}
	return 0
}

// TestFullDisk: every line that did not fit was refused by the real system's error, and what fitted is whole.
func TestFullDisk(t *testing.T) {
	path := logPath(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), limitedVariable+"="+path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.HasPrefix(string(out), "skip") {
		t.Skipf("that a full disk loses no line silently is not tested: %s", out)
	}
	written, failed := strings.Count(string(out), "written "), strings.Count(string(out), "failed AuditUnavailableException")
	if written < 3 || failed < 30 || written+failed != 50 {
		t.Fatalf("%d written, %d failed: %s", written, failed, out)
	}
	intact(t, path, int64(written), Options{})
	appendAll(t, openLog(t, Config{Path: path}), 100, 100)
	if r := intact(t, path, int64(written+1), Options{}); r.Recovered != 0 {
		t.Errorf("got %+v", r)
	}
}
