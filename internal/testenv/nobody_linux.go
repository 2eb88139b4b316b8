package testenv

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// AsNobody runs f as somebody who can do with files what their modes let everyone do (see Publish): as the current user, or
// for root with the file system's rights of the user nobody (setfsuid(2)). Those are one thread's, so f starts no goroutine
// that opens files. Nothing else changes: root's files are the current user's still. Where no user can be told from root
// the test is skipped.
func AsNobody(t *testing.T, f func()) {
	t.Helper()
	dir := t.TempDir()
	Publish(t, dir)
	open, secret := filepath.Join(dir, "open"), filepath.Join(dir, "secret")
	for path, mode := range map[string]os.FileMode{open: 0o644, secret: 0} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread()
		defer func() {
			if _, err := unix.SetfsuidRetUid(0); err != nil {
				t.Error(err)
				return // the thread ends with its goroutine
			}
			runtime.UnlockOSThread()
		}()
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
	}
	for path, readable := range map[string]bool{open: true, secret: false} {
		file, err := os.Open(path)
		if err == nil {
			file.Close()
		}
		if (err == nil) != readable {
			t.Skip("this user reads everything, or other users cannot enter the temporary folder: what cannot be read is not tested")
		}
	}
	f()
}
