package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	if err := MakeFolders(root, "tmp"); err != nil {
		t.Fatal(err)
	}
	return root, dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWriteFile(t *testing.T) {
	root, dir := openRoot(t)
	if err := MakeFolders(root, "a/b"); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "", strings.Repeat("third", 1<<20)} {
		if err := WriteFile(root, "tmp", "a/b/file", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := root.ReadFile("a/b/file"); err != nil || string(got) != content {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if left := names(t, filepath.Join(dir, "tmp")); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]fs.FileMode{"a": folderPerm, "a/b": folderPerm, "a/b/file": FilePerm} {
			if info, err := root.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
}

// What cannot be written leaves what was there, and nothing aside.
func TestWriteFileFails(t *testing.T) {
	root, dir := openRoot(t)
	if err := MakeFolders(root, "folder/below"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"folder", "absent/file", "../file", "tmp/../../file"} {
		if err := WriteFile(root, "tmp", name, []byte("x")); err == nil {
			t.Errorf("%s was written", name)
		}
		if left := names(t, filepath.Join(dir, "tmp")); len(left) != 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	if err := WriteFile(root, "absent", "file", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// A link in the place of the file is replaced, never followed.
func TestWriteFileReplacesLinks(t *testing.T) {
	root, dir := openRoot(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "file")); err != nil {
		t.Skipf("that a link is replaced and never followed is not tested: %v", err)
	}
	if err := WriteFile(root, "tmp", "file", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "untouched" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := root.Lstat("file"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"WriteFile":   WriteFile(root, "tmp", "link/file", []byte("x")),
		"tmp":         WriteFile(root, "link", "file", []byte("x")),
		"Touch":       Touch(root, "link/file"),
		"MakeFolders": MakeFolders(root, "link/folder"),
		"Remove":      Remove(root, "link/outside"),
	} {
		if err == nil {
			t.Errorf("%s left the root", name)
		}
	}
	if got := names(t, filepath.Dir(outside)); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

func TestMakeFolders(t *testing.T) {
	root, _ := openRoot(t)
	for _, name := range []string{".", "a", "a/b/c", "a/b/c", "a/b"} {
		if err := MakeFolders(root, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := root.Stat(name); err != nil || !info.IsDir() {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := Touch(root, "file"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "file/below", "../x"} {
		if err := MakeFolders(root, name); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

func TestTouchAndRemove(t *testing.T) {
	root, _ := openRoot(t)
	if err := WriteFile(root, "tmp", "file", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "new", "new"} {
		if err := Touch(root, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := root.ReadFile("file"); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if err := Touch(root, "absent/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := MakeFolders(root, "full/x"); err != nil {
		t.Fatal(err)
	}
	for name, removed := range map[string]bool{"file": true, "absent": true, "absent/file": true, "full/x": true, "..": false, ".": false} {
		if err := Remove(root, name); (err == nil) != removed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Touch(root, "full/y"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(root, "full"); err == nil {
		t.Error("a folder that is not empty was removed")
	}
}

// Readers see one content or another, never a part and never nothing.
func TestReadersSeeWholeFiles(t *testing.T) {
	root, _ := openRoot(t)
	contents := []string{strings.Repeat("a", 100_000), strings.Repeat("b", 50_000)}
	if err := WriteFile(root, "tmp", "file", []byte(contents[0])); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := root.ReadFile("file"); err != nil || (string(got) != contents[0] && string(got) != contents[1]) {
					t.Errorf("%d bytes, %v", len(got), err)
					return
				}
			}
		}()
	}
	for i := range 50 {
		if err := WriteFile(root, "tmp", "file", []byte(contents[i%2])); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

func TestDiskRefuses(t *testing.T) {
	for err, want := range diskErrors {
		if got := DiskRefuses(&os.PathError{Op: "write", Path: "x", Err: err}); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if DiskRefuses(nil) || DiskRefuses(fs.ErrPermission) {
		t.Error("that is no fault of the disk")
	}
}

func TestMakePath(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for _, folder := range []string{deep + string(filepath.Separator), deep, dir} { // not there, and there
		if err := MakePath(folder); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
	if entries, err := os.ReadDir(deep); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakePath(filepath.Join(dir, "file", "below")); err == nil {
		t.Error("a folder was made below a file")
	}
}
