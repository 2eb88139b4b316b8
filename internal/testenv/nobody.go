package testenv

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Publish lets everyone read what is at path, all of it, and enter the temporary folders above.
func Publish(t testing.TB, path string) {
	t.Helper()
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, err = filepath.EvalSymlinks(filepath.Dir(path)); path != top && path != filepath.Dir(path); path = filepath.Dir(path) {
		if err == nil {
			err = os.Chmod(path, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
