//go:build unix

package fileguard

import (
	"os"
	"path/filepath"
	"testing"
)

// A read-only mount forgives who could write, and never whose it is.
func TestReadOnlyMountForgivesNoOwner(t *testing.T) {
	g := systemGuard{euid: uint32(os.Geteuid()), readOnly: func(*os.File) (bool, error) { return true, nil }}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(path string) (*finding, *finding) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return g.check(fileHandle(path, f, info)), g.checkAncestor(path, info)
	}
	for path, ancestors := range map[string]bool{file: false, dir: true} {
		if err := os.Chmod(path, 0o707); err != nil {
			t.Fatal(err)
		}
		found, above := look(path)
		if found != nil || ancestors && above != nil {
			t.Errorf("%s, writable by everyone: %v, %v", path, found, above)
		}
		g.readOnly = func(*os.File) (bool, error) { return false, nil }
		if found, above := look(path); found == nil || above == nil {
			t.Errorf("%s, writable by everyone, on a mount that can be written: %v, %v", path, found, above)
		}
		g.readOnly = func(*os.File) (bool, error) { return true, os.ErrInvalid }
		if found, above := look(path); found == nil || above == nil {
			t.Errorf("%s, writable by everyone, on a mount of which nothing can be told: %v, %v", path, found, above)
		}
		g.readOnly = func(*os.File) (bool, error) { return true, nil }
	}
	if os.Geteuid() == 0 { // root is everyone's owner: give the files away
		for _, path := range []string{file, dir} {
			if err := os.Chown(path, 4242, -1); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		g.euid++
	}
	if os.Geteuid() == 0 { // the same files are their owner's
		g.euid = 4242
		if found, above := look(file); found != nil {
			t.Errorf("a file of the current user: %v, %v", found, above)
		}
		g.euid = 0
	}
	for _, sticky := range []os.FileMode{0, os.ModeSticky} {
		if err := os.Chmod(dir, 0o707|sticky); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, dir} {
			if found, above := look(path); found == nil || above == nil || found.warning || above.warning {
				t.Errorf("%s of another user: %v, %v", path, found, above)
			}
		}
	}
}
