//go:build unix

package filelock

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFIFO: whoever puts a FIFO in the file's place keeps nobody waiting for its other end.
func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("a FIFO in the place of the lock file is not tested: %v", err)
	}
	for name, flag := range map[string]int{"a writer": write, "a reader": os.O_RDONLY} {
		release, err := Acquire(soon(t), path, flag, func() {})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		release()
	}
}
