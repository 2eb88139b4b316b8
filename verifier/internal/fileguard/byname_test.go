package fileguard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// resolveFolderByName is what Windows uses. It asks nothing of Windows, so what it refuses is tested everywhere.
func TestResolveFolderByName(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	folder, file := filepath.Join(dir, "folder"), filepath.Join(dir, "file")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g := New(Options{})
	none := func(string) bool { return false }
	real, err := g.resolveFolderByName(folder, none)
	if err != nil || real != folder {
		t.Errorf("a folder: %q, %v", real, err)
	}
	if _, err := g.resolveFolderByName(filepath.Join(folder, "none"), none); !errors.Is(err, ErrAbsent) {
		t.Errorf("what is not there: %v", err)
	}
	refused := func(what, path, says string, name kmserr.Name) {
		t.Helper()
		if real, err := g.resolveFolderByName(path, none); !kmserr.Is(err, name) || !strings.Contains(err.Error(), says) || real != "" {
			t.Errorf("%s: %q, %v, expected a %s with %q", what, real, err, name, says)
		}
	}
	refused("a file", file, file+" is no folder", kmserr.StoreAccess)
	if runtime.GOOS == "windows" {
		return // to make a link there takes a right that users have not, and modes mean nothing
	}
	link, circle := filepath.Join(dir, "link"), filepath.Join(dir, "circle")
	for path, target := range map[string]string{link: "none", circle: "circle"} {
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	refused("a link to nothing", link, link+" is a link that leads nowhere", kmserr.StoreAccess)
	refused("a link to itself", circle, circle+" cannot be read", kmserr.StoreAccess)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("folder", link); err != nil {
		t.Fatal(err)
	}
	if real, err := g.resolveFolderByName(link, none); err != nil || real != folder {
		t.Errorf("a link to a folder: %q, %v", real, err)
	}
	// A link plays the junction, which no other system has.
	junction := func(path string) bool { return path == link }
	if err := os.Mkdir(filepath.Join(folder, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	unsafe := New(Options{Unsafe: true})
	for _, path := range []string{link, filepath.Join(link, "home")} {
		if real, err := g.resolveFolderByName(path, junction); !kmserr.Is(err, kmserr.StoreAccess) || real != "" ||
			kmserr.As(err).Fact != link+" is a junction or a mounted volume, expected a folder, as it is not followed" {
			t.Errorf("by a junction: %q, %v", real, err)
		}
		if real, err := unsafe.resolveFolderByName(path, junction); err != nil || real != path {
			t.Errorf("by a junction, nothing checked: %q, %v", real, err)
		}
	}
	if real, err := unsafe.resolveFolderByName(filepath.Join(link, "none"), junction); !errors.Is(err, ErrAbsent) {
		t.Errorf("what is not there behind a junction: %q, %v", real, err)
	}
	for _, path := range []string{folder, dir} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		refused("a folder that everyone can write, or below one", folder, path+" can be written by everyone", kmserr.StoreIntegrity)
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// An error that nobody foresaw is no absence.
func TestSettle(t *testing.T) {
	unforeseen := errors.New("unforeseen")
	absent := fmt.Errorf("a file: %w", os.ErrNotExist)
	known := kmserr.New(kmserr.StoreIntegrity, "a link leads nowhere").WithCause(os.ErrNotExist)
	for _, c := range []struct{ err, want error }{{nil, nil}, {unforeseen, unforeseen}, {absent, ErrAbsent}, {known, known}, {ErrAbsent, ErrAbsent}} {
		if got := settle(c.err); got != c.want { //nolint:errorlint // the very value
			t.Errorf("%v: got %v, expected %v", c.err, got, c.want)
		}
	}
}

// What the os package adds to a cause is left out, and a cause without it stays one.
func TestCause(t *testing.T) {
	bare := errors.New("empty path")
	for _, err := range []error{bare, &os.PathError{Op: "open", Path: "file", Err: bare}, fmt.Errorf("again: %w", &os.PathError{Op: "open", Path: "file", Err: bare})} {
		if got := Cause(err); got != bare { //nolint:errorlint // the very value
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// What stands for nothing, for a folder or for a file is no junction. Windows alone has others.
func TestNoJunction(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file, filepath.Join(dir, "none")} {
		if isJunction(path) {
			t.Errorf("%s is a junction", path)
		}
	}
}
