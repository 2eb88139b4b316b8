package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/strace"
)

// state makes a log of ten lines over several files, as it is found, and returns its path.
func state(t *testing.T, name string) string {
	t.Helper()
	path := logPath(t)
	if name == "no folder" {
		return filepath.Join(filepath.Dir(path), "below", FileName)
	}
	l := openLog(t, Config{Path: path, NoSync: true})
	l.cfg.RotateBytes = fewLines
	appendAll(t, l, 1, 10)
	switch name {
	case "torn":
		if err := os.WriteFile(path, append(must(os.ReadFile(path)), torn...), 0o600); err != nil {
			t.Fatal(err)
		}
	case "renamed":
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), rotatedName(FileName, 10))); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

const torn = `{"eventVersion":"1.0","sequence":11,"previous":"half a li`

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// content returns the bytes of all files of a log whose names hold infix, oldest first.
func content(path, infix string) (all []byte) {
	files := must(filepath.Glob(path + infix))
	for _, file := range files {
		all = append(all, must(os.ReadFile(file))...)
	}
	return all
}

// TestSystemCallsFail: whatever call of the system fails, a line that is said to be written is there, a line that is not has
// an error with the system's own reason, nothing that was there is lost, and the next writer goes on. Who reads learns what
// is there or the reason.
func TestSystemCallsFail(t *testing.T) {
	strace.Need(t)
	for _, c := range []struct{ task, state string }{
		{"append", "no folder"}, {"append", "ten lines"}, {"append", "torn"}, {"append", "renamed"},
		{"group", "ten lines"}, {"group", "torn"}, {"rotate", "ten lines"}, {"rotate unflushed", "ten lines"},
		{"last time", "ten lines"}, {"last time", "renamed"}, {"head", "ten lines"}, {"verify", "ten lines"}, {"show", "ten lines"},
	} {
		t.Run(c.task+"/"+c.state, func(t *testing.T) {
			t.Parallel()
			lines := taskLines[c.task]
			needed := []string{"openat", "newfstatat", "close"}
			if lines > 0 {
				needed = append(needed, "write")
			}
			failed := 0
			tried := strace.EachFault(t, 7, needed, func(f strace.Fault) {
				path := state(t, c.state)
				before := append(content(path, ".0*"), content(path, "")...)
				right := "done"
				if lines == 0 {
					right = fmt.Sprintln("done", must(runTask(c.task, path)))
				}
				cmd := exec.Command(f.Prefix[0], append(f.Prefix[1:], os.Args[0])...)
				cmd.Env = append(os.Environ(), taskVariable+"="+c.task+"\n"+path)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				said := string(out)
				switch {
				case strings.HasPrefix(said, "failed "):
					failed++
					if reason := f.Errno.Error(); !strings.Contains(said, reason) || !strings.Contains(said, "AuditUnavailableException: ") {
						t.Errorf("%s: expected an AuditUnavailableException that says %q, got %s", f, reason, said)
					}
				case strings.HasPrefix(said, "done"):
					if !strings.HasPrefix(said, right) {
						t.Errorf("%s: got %q, expected %q", f, said, right)
					}
				case err == nil:
					t.Errorf("%s: nothing is said, and the exit code is 0: %s", f, stderr.Bytes())
				}
				if lines > 0 {
					checkAfter(t, f, path, before, c.state, lines, strings.HasPrefix(said, "done"))
				}
			})
			t.Logf("%d faults, %d errors", tried, failed)
			if failed == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// checkAfter looks at a log of which a task had the bytes before, and goes on writing it.
func checkAfter(t *testing.T, f strace.Fault, path string, before []byte, state string, lines int, done bool) {
	t.Helper()
	was := int64(bytes.Count(before, []byte("\n")))
	head, err := HeadOf(t.Context(), path)
	if err != nil && (done || state != "no folder") {
		t.Errorf("%s: the head cannot be read: %v", f, err)
	}
	if written := head.Sequence - was; written < 0 || written > int64(lines) || done && written < int64(lines) {
		t.Errorf("%s: %d lines are written, expected %d, success is told: %t", f, written, lines, done)
	}
	if done {
		intact(t, path, head.Sequence, Options{})
	}
	after := append(content(path, ".0*"), content(path, "")...)
	whole, _ := bytes.CutSuffix(before, []byte(torn))
	if !bytes.HasPrefix(after, whole) {
		t.Errorf("%s: lines that were there are changed", f)
	}
	if aside := content(path, tornInfix+"*"); state == "torn" && string(aside) != torn && !bytes.Equal(after, before) {
		t.Errorf("%s: what was torn is neither where it was nor kept aside: %q", f, aside)
	}
	if err := openLog(t, Config{Path: path}).Append(t.Context(), decision(99)); err != nil {
		t.Errorf("%s: the next line cannot be written: %v", f, err)
	}
	intact(t, path, head.Sequence+1, Options{})
}
