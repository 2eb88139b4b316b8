package strace

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// calls of file I/O, and the errors that each of them fails with. What a system does not have is never met.
var calls = []struct {
	name   string
	errors []syscall.Errno
}{
	{"openat", []syscall.Errno{syscall.EIO, syscall.EMFILE}},
	{"newfstatat", []syscall.Errno{syscall.EIO, syscall.EACCES}},
	{"fstat", []syscall.Errno{syscall.EIO}},
	{"read", []syscall.Errno{syscall.EIO}},
	{"pread64", []syscall.Errno{syscall.EIO}},
	{"write", []syscall.Errno{syscall.ENOSPC, syscall.EIO}},
	{"pwrite64", []syscall.Errno{syscall.ENOSPC}},
	{"close", []syscall.Errno{syscall.EIO}},
	{"flock", []syscall.Errno{syscall.ENOLCK}},
	{"fsync", []syscall.Errno{syscall.EIO}},
	{"getdents64", []syscall.Errno{syscall.EIO}},
	{"readlinkat", []syscall.Errno{syscall.EACCES}},
	{"fcntl", []syscall.Errno{syscall.EIO}},
	{"renameat", []syscall.Errno{syscall.EIO}},
	{"renameat2", []syscall.Errno{syscall.EIO}},
	{"linkat", []syscall.Errno{syscall.EIO}},
	{"unlinkat", []syscall.Errno{syscall.EIO}},
	{"mkdirat", []syscall.Errno{syscall.ENOSPC}},
	{"ftruncate", []syscall.Errno{syscall.EIO}},
	{"fchmod", []syscall.Errno{syscall.EPERM}},
	{"fchmodat", []syscall.Errno{syscall.EPERM}},
}

// Need skips the test where no call can be made to fail from outside.
func Need(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is missing: system calls cannot be made to fail from outside (Debian: apt-get install strace)")
	}
	out, err := exec.Command(path, "-f", "-o", os.DevNull, "-e", "trace=getcwd", "-e", "inject=getcwd:error=EIO:when=1", "true").CombinedOutput()
	if err != nil {
		t.Skipf("strace cannot trace here, as in a container without SYS_PTRACE: %v, %s", err, out)
	}
}

// Fault is one call that fails.
type Fault struct {
	Call string
	// Errno is the error that it fails with.
	Errno syscall.Errno
	// N counts the calls of that kind, from 1.
	N int
	// Prefix is what stands before the command line of the program.
	Prefix []string
}

func (f Fault) String() string {
	return fmt.Sprintf("%s number %d fails with %s", f.Call, f.N, unix.ErrnoName(f.Errno))
}

// EachFault calls try, which runs the program once, for each kind of call, each error and each step-th n, until there is no
// nth call; it returns how many calls failed. A thread's calls are counted for itself, so that two threads may both fail, and
// how many calls a thread makes of a kind differs from run to run. Where there are fewer calls than the first n chosen, the
// first call fails instead: each kind that a program makes fails. The kinds needed must be among them.
func EachFault(t testing.TB, step int, needed []string, try func(Fault)) (tried int) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	met := map[string]bool{}
	if os.Getenv(Every) != "" {
		step = 1
	}
	for _, kind := range calls {
		for i, errno := range kind.errors {
			first := 1 + (tried+i)%step
			for n := first; ; n += step {
				try(Fault{kind.name, errno, n, []string{"strace", "-f", "-qq", "-o", trace, "-e", "trace=" + kind.name, "-e", "signal=none",
					"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", kind.name, unix.ErrnoName(errno), n)}})
				data, err := os.ReadFile(trace)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(data, []byte("(INJECTED)")) {
					tried++
					met[kind.name] = true
					continue
				}
				if n != first || n == 1 {
					break
				}
				first, n = 1, 1-step
			}
		}
	}
	for _, kind := range needed {
		if !met[kind] {
			t.Errorf("no call of %s failed: the calls are not those that are traced", kind)
		}
	}
	return tried
}
