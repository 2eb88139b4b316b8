package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
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
	type counts map[string]int
	for _, c := range []struct {
		task, state string
		// errors is how many errors there are at least, of what must not fail unnoticed, where every fault is tried.
		errors counts
	}{
		{"append", "no folder", counts{"mkdirat": 2, "write": 2, "fsync": 4, "close": 1, "flock": 1}},
		{"append", "ten lines", counts{"write": 2, "fsync": 1, "close": 1, "flock": 1}},
		{"append", "torn", counts{"write": 2, "fsync": 3, "close": 3, "flock": 1, "pwrite64": 1, "ftruncate": 1}},
		{"append", "renamed", counts{"write": 2, "fsync": 2, "close": 1, "flock": 1, "getdents64": 3}},
		{"group", "ten lines", counts{"write": 6, "fsync": 5, "close": 1, "flock": 1}},
		{"group", "torn", counts{"write": 8, "fsync": 7, "close": 3, "flock": 1, "pwrite64": 1, "ftruncate": 1}},
		{"rotate", "ten lines", counts{"write": 2, "fsync": 3, "close": 1, "flock": 1}},
		{"rotate unflushed", "ten lines", counts{"write": 2, "fsync": 1, "close": 1, "flock": 1}},
		{"last time", "ten lines", counts{"pread64": 1}},
		{"last time", "renamed", counts{"getdents64": 3, "pread64": 1}},
		{"head", "ten lines", counts{"flock": 1, "getdents64": 3, "pread64": 1}},
		{"verify", "ten lines", counts{"flock": 1, "getdents64": 3, "pread64": 1}}, // it reads on several threads
		{"show", "ten lines", counts{"flock": 1, "getdents64": 3, "pread64": 2}},
	} {
		t.Run(c.task+"/"+c.state, func(t *testing.T) {
			t.Parallel()
			lines := taskLines[c.task]
			needed := []string{"openat", "newfstatat", "close"}
			if lines > 0 {
				needed = append(needed, "write")
			}
			failed := counts{}
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
				case bytes.Contains(stderr.Bytes(), []byte("panic: ")):
					t.Errorf("%s: %s", f, stderr.Bytes())
				case strings.HasPrefix(said, "failed "):
					failed[f.Call]++
					if reason := f.Errno.Error(); !strings.Contains(said, reason) || strings.Count(said, "AuditUnavailableException") != 1 || strings.Contains(said, "the time was over") {
						t.Fatalf("%s: expected one AuditUnavailableException that says %q, got %s", f, reason, said)
					}
				case strings.HasPrefix(said, "done"):
					if !strings.HasPrefix(said, right) {
						t.Fatalf("%s: got %q, expected %q", f, said, right)
					}
				case err == nil || strings.Contains(stderr.String(), "panic: "):
					t.Fatalf("%s: nothing is said, %v: %s", f, err, stderr.Bytes())
				}
				if lines > 0 {
					checkAfter(t, f, path, before, c.state, lines, strings.HasPrefix(said, "done"))
				}
			})
			t.Logf("%d faults, errors: %v", tried, failed)
			for call, n := range c.errors {
				if os.Getenv(strace.Every) != "" && failed[call] < n {
					t.Errorf("%d errors of %s, expected %d at least", failed[call], call, n)
				}
			}
			if len(failed) == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// TestNoLocks: a file system without locks has no writers either, and what is there is read.
func TestNoLocks(t *testing.T) {
	strace.Need(t)
	path := state(t, "ten lines")
	for _, task := range []string{"verify", "head", "show"} {
		cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=flock", "-e", "inject=flock:error=EOPNOTSUPP", os.Args[0])
		cmd.Env = append(os.Environ(), taskVariable+"="+task+"\n"+path)
		if out, err := cmd.Output(); err != nil || string(out) != fmt.Sprintln("done", must(runTask(task, path))) {
			t.Errorf("%s: %v, %s", task, err, out)
		}
	}
}

// checkAfter looks at a log of which a task had the bytes before, and goes on writing it.
func checkAfter(t *testing.T, f strace.Fault, path string, before []byte, state string, lines int, done bool) {
	t.Helper()
	was := int64(bytes.Count(before, []byte("\n")))
	head, err := HeadOf(t.Context(), path)
	if err != nil && (done || state != "no folder") {
		t.Fatalf("%s: the head cannot be read: %v", f, err)
	}
	if written := head.Sequence - was; written < 0 || written > int64(lines) || done && written < int64(lines) {
		t.Fatalf("%s: %d lines are written, expected %d, success is told: %t", f, written, lines, done)
	}
	if done {
		intact(t, path, head.Sequence, Options{})
	}
	after := append(content(path, ".0*"), content(path, "")...)
	whole, _ := bytes.CutSuffix(before, []byte(torn))
	if !bytes.HasPrefix(after, whole) {
		t.Fatalf("%s: lines that were there are changed", f)
	}
	if aside := content(path, tornInfix+"*"); state == "torn" && string(aside) != torn && !bytes.Equal(after, before) {
		t.Fatalf("%s: what was torn is neither where it was nor kept aside: %q", f, aside)
	}
	if err := openLog(t, Config{Path: path}).Append(t.Context(), decision(99)); err != nil {
		t.Fatalf("%s: the next line cannot be written: %v", f, err)
	}
	intact(t, path, head.Sequence+1, Options{})
}

// TestNothingStaysOpen: whatever comes of it, what was opened is closed, not left to the garbage collector.
func TestNothingStaysOpen(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	good, changed := state(t, "ten lines"), newLog(t, 3)
	lines := readLines(t, changed)
	writeLines(t, changed, append([]string{strings.Replace(lines[0], "release", "another", 1)}, lines[1:]...))
	foreign, open, damaged := logPath(t), newLog(t, 1), state(t, "renamed")
	for _, err := range []error{
		os.Mkdir(filepath.Dir(foreign), 0o700), os.WriteFile(foreign, []byte("{}\n"), 0o600), os.Chmod(open, 0o602),
		os.WriteFile(filepath.Join(filepath.Dir(damaged), rotatedName(FileName, 10)), []byte("{}\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	failing := openLog(t, Config{Path: good})
	failing.write = func(*os.File, []byte) (int, error) { return 0, syscall.ENOSPC }
	unflushed := openLog(t, Config{Path: good})
	unflushed.sync = func(*os.File) error { return syscall.EIO }
	ctx := context.Background()
	for name, do := range map[string]func() error{
		"append, full disk":       func() error { return failing.Append(ctx, decision(11)) },
		"append, no flush":        func() error { return unflushed.Append(ctx, decision(11)) },
		"append, others write":    func() error { return openLog(t, Config{Path: open}).Append(ctx, decision(11)) },
		"append, foreign":         func() error { return openLog(t, Config{Path: foreign}).Append(ctx, decision(11)) },
		"append, damaged":         func() error { return openLog(t, Config{Path: damaged}).Append(ctx, decision(11)) },
		"last time, others write": func() error { return errOf(openLog(t, Config{Path: open}).LastTime()) },
		"last time, damaged":      func() error { return errOf(openLog(t, Config{Path: damaged}).LastTime()) },
		"verify, changed":         func() error { return errOf(Verify(ctx, changed, Options{})) },
		"verify, none":            func() error { return errOf(Verify(ctx, good+".none", Options{})) },
		"head, foreign":           func() error { return errOf(HeadOf(ctx, foreign)) },
	} {
		before := openFiles(t)
		for range 5 {
			if do() == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if after := openFiles(t); after > before {
			t.Errorf("%s: %d files are open after five times, %d before", name, after, before)
		}
	}
	before := openFiles(t)
	for range 5 {
		appendAll(t, openLog(t, Config{Path: good}), 12, 12)
		if err := errors.Join(errOf(openLog(t, Config{Path: good}).LastTime()), errOf(Verify(ctx, good, Options{})), errOf(HeadOf(ctx, good))); err != nil {
			t.Error(err)
		}
		for range Lines(ctx, good, Filter{}) {
			break
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open after all went well, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	return len(must(os.ReadDir("/proc/self/fd")))
}
