//go:build unix

package filelock

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPrivate: what everyone could open is taken from everyone, of the file that was found alone.
func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	lock, other := filepath.Join(dir, "lock"), filepath.Join(dir, "other")
	for _, path := range []string{lock, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chmod := func(path string, mode fs.FileMode) fs.FileInfo {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	demand := func(why, path string, want fs.FileMode) {
		t.Helper()
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, expected %04o", why, info.Mode(), err, want)
		}
	}
	for was, want := range map[fs.FileMode]fs.FileMode{
		0o600: 0o600, 0o640: 0o640, 0o660: 0o660, // nobody but who may
		0o644: 0o600, 0o604: 0o600, 0o602: 0o600, 0o601: 0o600, // a group that may only read has it no more
		0o666: 0o660, 0o664: 0o660,
	} {
		Private(root, "lock", chmod(lock, was))
		demand("a lock", lock, want)
	}
	found := chmod(lock, 0o644)
	chmod(other, 0o644)
	Private(root, "other", found)
	demand("another file in its place", other, 0o644)
	Private(root, "none", found) // it is gone

	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	Private(root, "folder", chmod(folder, 0o755))
	demand("a folder", folder, 0o755)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err, ": that a named pipe is left alone is not tested")
	}
	Private(root, "pipe", chmod(pipe, 0o644))
	demand("a named pipe", pipe, 0o644)
}
