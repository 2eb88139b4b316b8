package fileguard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// handles are the numbers of this process's open descriptors.
func handles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, e.Name()+" "+to)
		}
	}
	return open
}

// looks are one of each question, good and refused.
func looks(dir string) map[string]func(*Tree) error {
	read := func(rel string) func(*Tree) error {
		return func(t *Tree) error { _, _, err := t.Read(rel, 100); return err }
	}
	exists := func(rel string) func(*Tree) error {
		return func(t *Tree) error {
			there, err := t.Exists(rel)
			switch {
			case there && err != nil:
				return fmt.Errorf("there beside %w", err)
			case !there && err == nil:
				return ErrAbsent
			}
			return err
		}
	}
	names := func(rel string) func(*Tree) error {
		return func(t *Tree) error {
			names, more, err := t.Names(rel, 0)
			switch {
			case (more || len(names) > 0) && err != nil:
				return fmt.Errorf("%d names, %t, beside %w", len(names), more, err)
			case len(names) == 0 && err == nil:
				return ErrAbsent
			}
			return err
		}
	}
	open := func(rel string) func(*Tree) error {
		return func(*Tree) error {
			tree, err := New(Options{}).Open(filepath.Join(dir, rel))
			if err == nil {
				err = tree.Close()
			}
			return err
		}
	}
	return map[string]func(*Tree) error{
		"read": read("a/b/file"), "read by a link": read("link/b/file"), "read nothing": read("a/b/none"), "read below nothing": read("a/none/file"),
		"read a folder": read("a/b"), "read below a file": read("a/b/file/file"), "read through a broken link": read("a/broken/file"),
		"read out of the tree": read("a/out"), "read in a folder of everyone": read("a/everyones/file"), "read too much": read("a/b/long"),
		"exists": exists("a/b/file"), "exists not": exists("a/b/none"), "list": names("a/b"), "list by a link": names("a/up"), "list nothing": names("a/none"),
		"list a file": names("a/b/file"), "list a folder of everyone": names("a/everyones"),
		"open": open("a"), "open nothing": open("none"), "open a folder of everyone": open("a/everyones"), "open a file": open("a/b/file"),
	}
}

func lookAround(t *testing.T) string {
	t.Helper()
	dir := realDir(t)
	makeAll(t, dir, "a/", "a/b/", "a/b/file", "a/everyones/", "a/everyones/file")
	if err := os.WriteFile(filepath.Join(dir, "a/b/long"), make([]byte, 101), 0o644); err != nil {
		t.Fatal(err)
	}
	chmod(t, filepath.Join(dir, "a/everyones"), 0o777)
	link(t, "a", filepath.Join(dir, "link"))
	link(t, "../a", filepath.Join(dir, "a/up"))
	link(t, "none", filepath.Join(dir, "a/broken"))
	link(t, "../..", filepath.Join(dir, "a/out"))
	return dir
}

// Whatever comes out, no handle stays open: a program that asks for ever would run out of them.
func TestNoHandleStaysOpen(t *testing.T) {
	dir := lookAround(t)
	tree := openTree(t, dir)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close them, sooner or later
	for name, look := range looks(dir) {
		_ = look(tree) // opens what a first use opens
		before := handles(t)
		err := look(tree)
		if after := handles(t); !slices.Equal(before, after) {
			t.Errorf("%s (%v): before %q, after %q", name, err, before, after)
		}
	}
}

// However few handles are left to the process, an answer is the right one or a StoreAccessException: what cannot be opened is
// never absent.
func TestFewHandles(t *testing.T) {
	dir := lookAround(t)
	tree := openTree(t, dir)
	all := looks(dir)
	want := map[string]error{}
	for name, look := range all {
		want[name] = look(tree)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	most := uint64(len(handles(t)) + 8)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	refused := 0
	for left := uint64(3); left < most; left++ {
		few := limit
		few.Cur = left
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		got := map[string]error{}
		for name, look := range all {
			got[name] = look(tree)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		for name, err := range got {
			switch {
			case err == nil && want[name] == nil, err != nil && want[name] != nil && err.Error() == want[name].Error():
			case strings.Contains(fmt.Sprint(err), " beside "):
				t.Errorf("%s with descriptors up to %d: %v", name, left, err)
			case kmserr.Is(err, kmserr.StoreAccess) && errors.Is(err, syscall.EMFILE) && !errors.Is(err, fs.ErrNotExist):
				refused++
			default:
				t.Errorf("%s with descriptors up to %d: got %v, expected %v or a StoreAccessException", name, left, err, want[name])
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused: the limit is not one")
	}
}

// A file that breaks while it is read is refused: no part of it counts. A process's memory is an ordinary file of which the
// first bytes cannot be read.
func TestFileThatBreaks(t *testing.T) {
	tree, err := New(Options{}).Open("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, _, err := tree.Read("stat", 10000); err != nil {
		t.Errorf("a file that can be read: %v", err)
	}
	if data, _, err := tree.Read("mem", 100); !kmserr.Is(err, kmserr.StoreAccess) || !errors.Is(err, syscall.EIO) || data != nil {
		t.Errorf("got %q, %v, expected a StoreAccessException", data, err)
	}
}

// A file in whose place a named pipe is put again and again, between the look at it and its opening as well, is read as the
// file or refused: the pipe, of which nothing can be read, is no empty file.
func TestFileSwappedForAPipe(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "file")
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tree := openTree(t, dir)
	stop, swapping := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(swapping)
		for {
			select {
			case <-stop:
				return
			default:
				if err := unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, pipe, unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	defer func() { close(stop); <-swapping }()
	read, refused := 0, 0
	for began := time.Now(); time.Since(began) < time.Second || read == 0 && time.Since(began) < 20*time.Second; {
		data, _, err := tree.Read("file", 100)
		switch {
		case err == nil && string(data) == "file":
			read++
		case kmserr.Is(err, kmserr.StoreIntegrity):
			refused++
		default:
			t.Fatalf("got %q, %v", data, err)
		}
	}
	if read == 0 {
		t.Errorf("never read, %d times refused", refused)
	}
}

// A folder that was removed while it is open cannot be listed: that is an error, and not an empty folder.
func TestNamesOfAFolderThatIsGone(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "home/")
	tree := openTree(t, filepath.Join(dir, "home"))
	if names, _, err := tree.Names(".", 0); err != nil || len(names) != 0 {
		t.Fatal(names, err)
	}
	if err := os.Remove(filepath.Join(dir, "home")); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 5} {
		if names, more, err := tree.Names(".", limit); !kmserr.Is(err, kmserr.StoreAccess) || names != nil || more {
			t.Errorf("a limit of %d: %q, %t, %v", limit, names, more, err)
		}
	}
}

// A link that is there and cannot be read, as those to other users' processes are, leads nowhere, and not to the folder it
// lies in.
func TestLinkThatCannotBeRead(t *testing.T) {
	tree, err := New(Options{}).Open("/proc/1")
	if err != nil {
		t.Skipf("the first process is hidden: a link that cannot be read is not tested: %v", err)
	}
	defer tree.Close()
	testenv.AsNobody(t, func() {
		if _, err := os.Readlink("/proc/1/cwd"); !errors.Is(err, fs.ErrPermission) {
			t.Skipf("the first process is this user's own, or hidden: a link that cannot be read is not tested: %v", err)
		}
		refused := func(what string, err error) {
			t.Helper()
			if !kmserr.Is(err, kmserr.StoreAccess) || kmserr.As(err).Fact != "/proc/1/cwd cannot be read: permission denied" {
				t.Errorf("%s: %v", what, err)
			}
		}
		real, err := New(Options{}).ResolveFolder("/proc/1/cwd")
		refused("the way to a folder", err)
		if real != "" {
			t.Errorf("it leads to %s", real)
		}
		_, _, err = tree.Read("cwd", 100)
		refused("a file", err)
		_, err = tree.Exists("cwd")
		refused("something", err)
	})
}

// A tree that was closed holds nothing, and its folder is not there either.
func TestClosedTree(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "file")
	tree := openTree(t, dir)
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	for _, rel := range []string{".", "file", "none"} {
		if there, err := tree.Exists(rel); there || !kmserr.Is(err, kmserr.StoreAccess) {
			t.Errorf("%s is there: %t, %v", rel, there, err)
		}
		if names, _, err := tree.Names(rel, 0); len(names) > 0 || !kmserr.Is(err, kmserr.StoreAccess) {
			t.Errorf("%s holds %q, %v", rel, names, err)
		}
		if _, _, err := tree.Read(rel, 100); !kmserr.Is(err, kmserr.StoreAccess) {
			t.Errorf("%s is read: %v", rel, err)
		}
	}
}
