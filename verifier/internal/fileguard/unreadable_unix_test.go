//go:build unix

package fileguard

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// realDir is a new folder that everyone can read, by its real path.
func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	testenv.Publish(t, dir)
	return dir
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// makeAll makes folders (names that end in /) and files.
func makeAll(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func openTree(t *testing.T, dir string) *Tree {
	t.Helper()
	tree, err := New(Options{}).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// promptly fails the test, and ends it, if f waits for something.
func promptly(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: no answer after ten seconds", what)
	}
}

// What a user may not read is not absent, and is not taken for empty: every refusal says what and why, and what to do.
func TestUnreadable(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "home/", "home/open/", "home/open/file", "home/closed/", "home/closed/file", "home/unlisted/", "home/unlisted/file", "home/file", "home/above/", "home/above/home/")
	tree := openTree(t, filepath.Join(dir, "home"))
	chmod(t, filepath.Join(dir, "home/file"), 0)
	chmod(t, filepath.Join(dir, "home/closed"), 0)
	chmod(t, filepath.Join(dir, "home/unlisted"), 0o311)
	chmod(t, filepath.Join(dir, "home/above"), 0)
	defer func() { // so that they can be removed
		for _, folder := range []string{"closed", "unlisted", "above", "open"} {
			chmod(t, filepath.Join(dir, "home", folder), 0o755)
		}
	}()
	check := func(what string, err error, path, hint string) {
		t.Helper()
		if !kmserr.Is(err, kmserr.StoreAccess) || errors.Is(err, ErrAbsent) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, expected a StoreAccessException", what, err)
			return
		}
		if e := kmserr.As(err); e.Fact != filepath.Join(dir, path)+" cannot be read: permission denied" || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: got %q, and the hint %q", what, e.Fact, e.Hint)
		}
	}
	publish := "run after each change of it: sudo find -H " + filepath.Join(dir, "home") + " -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +"
	testenv.AsNobody(t, func() {
		if data, _, err := tree.Read("open/file", 100); err != nil || string(data) != "home/open/file" {
			t.Errorf("what everyone can read: %q, %v", data, err)
		}
		for _, file := range []string{"file", "closed/file", "unlisted/file"} {
			at := "home/file"
			if folder := filepath.Dir(file); folder != "." {
				at = "home/" + folder
			}
			_, _, err := tree.Read(file, 100)
			check("reading "+file, err, at, publish)
		}
		for _, folder := range []string{"closed", "unlisted"} {
			there, err := tree.Exists(folder + "/file")
			if there {
				t.Errorf("looking for something in %s: found beside an error", folder)
			}
			check("looking for something in "+folder, err, "home/"+folder, publish)
			names, more, err := tree.Names(folder, 0)
			check("listing "+folder, err, "home/"+folder, publish)
			if len(names) > 0 || more {
				t.Errorf("listing %s: %q, %t beside an error", folder, names, more)
			}
		}
		for _, path := range []string{"home/closed", "home/unlisted", "home/above/home"} {
			opened, err := New(Options{}).Open(filepath.Join(dir, path))
			hint := "sudo find -H " + filepath.Join(dir, path) + " "
			if path == "home/above/home" { // to let others read what is in it helps nobody who cannot come there
				hint = "Let the current user read it"
			}
			check("opening "+path, err, path, hint)
			if opened != nil {
				t.Errorf("opening %s: a tree beside an error", path)
			}
		}
	})
	// A folder that is listed and not entered: nobody can say whose it is.
	chmod(t, filepath.Join(dir, "home/open"), 0o644)
	testenv.AsNobody(t, func() {
		_, err := New(Options{}).Open(filepath.Join(dir, "home/open"))
		check("opening a folder that cannot be entered", err, "home/open", "sudo find -H "+filepath.Join(dir, "home/open")+" ")
		_, _, err = tree.Names("open", 0)
		check("listing a folder that cannot be entered", err, "home/open", publish)
	})
}

// A folder that everyone can write is refused when it is listed, as when something in it is read: what is missing from it
// could have been taken away.
func TestNamesOfAFolderOfEveryone(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "folder/")
	tree := openTree(t, dir)
	if names, _, err := tree.Names("folder", 0); err != nil || len(names) != 0 {
		t.Fatal(names, err)
	}
	chmod(t, filepath.Join(dir, "folder"), 0o777)
	if names, more, err := tree.Names("folder", 0); !kmserr.Is(err, kmserr.StoreIntegrity) || names != nil || more {
		t.Errorf("got %q, %t, %v, expected a StoreIntegrityException", names, more, err)
	}
}

// What stands in a file's place is named as what it is, and is never opened: of a device, opening alone may do something.
func TestKindsInAFilesPlace(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "folder/")
	t.Chdir(dir) // macOS takes no long path for a socket
	listener, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	chmod(t, filepath.Join(dir, "socket"), 0o600)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := openTree(t, dir)
	for name, is := range map[string]string{"folder": "a folder", "socket": "a socket", "pipe": "a named pipe"} {
		promptly(t, name, func() {
			_, _, err := tree.Read(name, 100)
			if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.HasSuffix(kmserr.As(err).Fact, " is "+is+", expected an ordinary file") {
				t.Errorf("reading %s: %v", name, err)
			}
			if there, err := tree.Exists(name); err != nil || !there {
				t.Errorf("looking for %s: %t, %v", name, there, err)
			}
			if name == "folder" {
				return
			}
			_, _, err = tree.Read(name+"/file", 100)
			if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.HasSuffix(kmserr.As(err).Fact, " is "+is+", expected a folder") {
				t.Errorf("reading what should be below %s: %v", name, err)
			}
			names, more, err := tree.Names(name, 0)
			if !kmserr.Is(err, kmserr.StoreIntegrity) || names != nil || more {
				t.Errorf("listing %s: %q, %t, %v", name, names, more, err)
			}
		})
	}
}

// A named pipe that everyone can write, on the way to the home or in its place, is a refusal, and nobody waits for who
// would write into it.
func TestPipeOnTheWay(t *testing.T) {
	dir := realDir(t)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	chmod(t, pipe, 0o666)
	for _, path := range []string{pipe, filepath.Join(pipe, "home")} {
		promptly(t, path, func() {
			if _, err := New(Options{}).Open(path); !kmserr.Is(err, kmserr.StoreIntegrity) {
				t.Errorf("%s: got %v, expected a StoreIntegrityException", path, err)
			}
			if _, err := New(Options{Unsafe: true}).Open(path); !kmserr.Is(err, kmserr.StoreAccess) || !strings.Contains(err.Error(), pipe+" is no folder") {
				t.Errorf("%s: got %v, expected that it is no folder", path, err)
			}
		})
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// Links inside may be spelt in every way that leads there.
func TestSpellingsOfLinks(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "file", "sub/", "sub/file", "sub/deeper/")
	tree := openTree(t, dir)
	for target, content := range map[string]string{
		"file": "sub/file", "./file": "sub/file", ".//file": "sub/file", "deeper//..//file": "sub/file", "deeper/../file": "sub/file",
		"../file": "file", "./../file": "file", ".//../file": "file", "../sub/./../file": "file", "../sub//./file": "sub/file",
	} {
		path := filepath.Join(dir, "sub/link")
		link(t, target, path)
		data, _, err := tree.Read("sub/link", 100)
		if err != nil || string(data) != content {
			t.Errorf("a link to %s: got %q, %v, expected %s", target, data, err, content)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"sub", "sub/", "sub//", "./sub/.", "sub/deeper/..", "sub/deeper/../"} {
		path := filepath.Join(dir, "link")
		link(t, target, path)
		data, _, err := tree.Read("link/file", 100)
		if err != nil || string(data) != "sub/file" {
			t.Errorf("a link to the folder %s: got %q, %v", target, data, err)
		}
		if names, _, err := tree.Names("link", 0); err != nil || strings.Join(names, " ") != "deeper file" {
			t.Errorf("a link to the folder %s: got %q, %v", target, names, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{dir + "/file", "/", "..", "../" + filepath.Base(dir) + "/file", "sub/../../x"} {
		path := filepath.Join(dir, "link")
		link(t, target, path)
		if _, _, err := tree.Read("link", 100); !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), "is a link that leaves the store") {
			t.Errorf("a link to %s: %v", target, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A path may lead through maxLinks links, as on Linux, and not through one more: of the home itself, and inside it.
func TestSoManyLinks(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "home/", "home/file")
	link(t, "home", filepath.Join(dir, "0"))
	link(t, "file", filepath.Join(dir, "home/0"))
	number := func(i int) string { return strings.Repeat("i", i) + "n" }
	link(t, "0", filepath.Join(dir, number(1)))
	link(t, "0", filepath.Join(dir, "home", number(1)))
	for i := 2; i <= maxLinks; i++ {
		link(t, number(i-1), filepath.Join(dir, number(i)))
		link(t, number(i-1), filepath.Join(dir, "home", number(i)))
	}
	if _, err := New(Options{}).ResolveFolder(filepath.Join(dir, number(maxLinks-1))); err != nil {
		t.Errorf("a folder behind %d links: %v", maxLinks, err)
	}
	if _, err := New(Options{}).ResolveFolder(filepath.Join(dir, number(maxLinks))); !kmserr.Is(err, kmserr.StoreAccess) || !strings.Contains(err.Error(), "more than 40 links") {
		t.Errorf("a folder behind %d links: %v", maxLinks+1, err)
	}
	tree := openTree(t, filepath.Join(dir, "home"))
	if _, _, err := tree.Read(number(maxLinks-1), 100); err != nil {
		t.Errorf("a file behind %d links: %v", maxLinks, err)
	}
	if _, _, err := tree.Read(number(maxLinks), 100); !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), "more than 40 links") {
		t.Errorf("a file behind %d links: %v", maxLinks+1, err)
	}
}

// Links that are turned at every look are said to be, and not that what they lead to is missing.
func TestLinksTurnedAllTheTime(t *testing.T) {
	dir := realDir(t)
	tree := openTree(t, dir)
	link(t, "none", filepath.Join(dir, "link"))
	stop, turning := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(turning)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := filepath.Join(dir, "next")
			_ = os.Symlink(strings.Repeat("n", 1+i%200), next) // if it fails, the link stays as it was for a while
			_ = os.Rename(next, filepath.Join(dir, "link"))
		}
	}()
	defer func() { close(stop); <-turning }()
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		_, _, err := tree.Read("link", 100)
		if !kmserr.Is(err, kmserr.StoreIntegrity) {
			t.Fatalf("got %v, expected a StoreIntegrityException", err)
		}
		if strings.Contains(err.Error(), "are turned all the time") {
			return
		}
	}
	t.Error("ten looks in a row never met another link each")
}

// What a volume's folder does not hold counts only if the link leads there still: its names are removed behind the turn.
func TestNamesOfATurnedVolume(t *testing.T) {
	for name, c := range map[string]struct {
		remove []string
		turns  int
		want   string // "" for a refusal
	}{
		"emptied":                    {[]string{"%s/folder/b"}, 1, "a b"},
		"half removed":               {[]string{"%s/folder/a", "%s/folder/b", "%s/folder"}, 1, "a b"},
		"removed":                    {[]string{"%s/folder/a", "%s/folder/b", "%s/folder", "%s"}, 1, "a b"},
		"turned for the last time":   {[]string{"%s/folder/b"}, maxTurns - 1, "a b"},
		"turned once more than that": {[]string{"%s/folder/b"}, maxTurns, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := realDir(t)
			volume := func(i int) string { return fmt.Sprintf("v%d", i) }
			fill := func(i int) { makeAll(t, dir, volume(i)+"/folder/", volume(i)+"/folder/a", volume(i)+"/folder/b") }
			fill(0)
			link(t, volume(0), filepath.Join(dir, "data"))
			link(t, "data/folder", filepath.Join(dir, "folder"))
			tree := openTree(t, dir)
			looks := 0
			var names []string
			err := tree.unturned("folder", func(p *place) (err error) {
				if looks++; looks <= c.turns {
					fill(looks)
					link(t, volume(looks), filepath.Join(dir, "next"))
					if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
						t.Fatal(err)
					}
					for _, path := range c.remove {
						if err := os.Remove(filepath.Join(dir, fmt.Sprintf(path, volume(looks-1)))); err != nil {
							t.Fatal(err)
						}
					}
				}
				names, err = tree.list(p, 0)
				slices.Sort(names)
				return err
			})
			if c.want == "" {
				if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), "are turned all the time") {
					t.Errorf("got %v", err)
				}
				return
			}
			if got := strings.Join(names, " "); err != nil || got != c.want {
				t.Errorf("got %q, %v, expected %q", got, err, c.want)
			}
		})
	}
	t.Run("taken away", func(t *testing.T) {
		dir := realDir(t)
		makeAll(t, dir, "v0/", "v0/a")
		link(t, "v0", filepath.Join(dir, "data"))
		tree := openTree(t, dir)
		err := tree.unturned("data", func(*place) error { return os.Remove(filepath.Join(dir, "data")) })
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("led out of the tree", func(t *testing.T) {
		dir := realDir(t)
		makeAll(t, dir, "v0/", "v0/a")
		link(t, "v0", filepath.Join(dir, "data"))
		tree := openTree(t, dir)
		err := tree.unturned("data", func(*place) error {
			link(t, "..", filepath.Join(dir, "next"))
			return os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data"))
		})
		if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), "leaves the store") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another folder by the same link", func(t *testing.T) {
		dir := realDir(t)
		makeAll(t, dir, "v0/", "v0/a")
		link(t, "v0", filepath.Join(dir, "data"))
		tree := openTree(t, dir)
		looks := 0
		err := tree.unturned("data", func(*place) error {
			if looks++; looks == 1 {
				if err := os.Rename(filepath.Join(dir, "v0"), filepath.Join(dir, "old")); err != nil {
					t.Fatal(err)
				}
				makeAll(t, dir, "v0/")
			}
			return nil
		})
		if err != nil || looks != 2 {
			t.Errorf("%d looks, %v", looks, err)
		}
	})
}

// A file is opened once for each reading of it: what was checked is what is read.
func TestReadOpensOnce(t *testing.T) {
	dir := realDir(t)
	makeAll(t, dir, "file")
	chmod(t, filepath.Join(dir, "file"), 0o646)
	g := New(Options{})
	looks := 0
	g.system.readOnly = func(*os.File) (bool, error) { looks++; return true, nil }
	tree, err := g.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	looks = 0 // the temporary folder's own
	if _, _, err := tree.Read("file", 100); err != nil || looks != 1 {
		t.Errorf("the file was opened %d times, expected once; %v", looks, err)
	}
}

// A mount of which nothing can be told, as the folder cannot be opened, forgives nothing.
func TestReadOnlyMountForgivesWhatIsOpenAlone(t *testing.T) {
	dir := realDir(t)
	chmod(t, dir, 0o733)
	info, err := os.Lstat(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := systemGuard{euid: uint32(os.Geteuid())}
	for name, c := range map[string]struct {
		readOnly bool
		err      error
		forgives bool
	}{"read-only": {true, nil, true}, "not read-only": {false, nil, false}, "not to be told": {true, os.ErrInvalid, false}} {
		g.readOnly = func(*os.File) (bool, error) { return c.readOnly, c.err }
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if found := g.check(folderHandle(dir, root, info)); (found == nil) != c.forgives {
			t.Errorf("%s: %v", name, found)
		}
		if found := g.checkAncestor(dir, info); (found == nil) != c.forgives {
			t.Errorf("%s, above the home: %v", name, found)
		}
		root.Close()
		if found := g.check(folderHandle(dir, root, info)); found == nil {
			t.Errorf("%s, and closed: forgiven", name)
		}
		chmod(t, dir, 0o333)
		testenv.AsNobody(t, func() {
			if found := g.checkAncestor(dir, info); found == nil {
				t.Errorf("%s, above the home and not to be opened: forgiven", name)
			}
		})
		chmod(t, dir, 0o733)
	}
}

// nobodys is a file of which the system tells no owner.
type nobodys struct{ fs.FileInfo }

func (nobodys) Sys() any { return nil }

func TestOwnerThatCannotBeTold(t *testing.T) {
	dir := realDir(t)
	info, err := os.Lstat(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := systemGuard{euid: uint32(os.Geteuid()), readOnly: func(*os.File) (bool, error) { return true, nil }}
	if found := g.checkAncestor(dir, info); found != nil {
		t.Fatal(found)
	}
	if found := g.checkAncestor(dir, nobodys{info}); found == nil || found.warning || !strings.Contains(found.fact, "the owner of "+dir+" cannot be told") {
		t.Errorf("got %v", found)
	}
}

// That nothing can be told of a mount is an error, and never "read-only".
func TestReadOnlyMountOfAClosedFile(t *testing.T) {
	f, err := os.Open(realDir(t))
	if err != nil {
		t.Fatal(err)
	}
	if readOnly, err := readOnlyMount(f); readOnly || err != nil {
		t.Errorf("the temporary folder: %t, %v", readOnly, err)
	}
	f.Close()
	if readOnly, err := readOnlyMount(f); readOnly || err == nil {
		t.Errorf("a closed file: %t, %v", readOnly, err)
	}
}

// A warning that comes again is none more.
func TestWarningsAreCountedOnce(t *testing.T) {
	g := New(Options{})
	for i := range maxWarnings {
		g.warn(strings.Repeat("w", i+1))
	}
	g.warn("w")
	if w := g.Warnings(); len(w) != maxWarnings || strings.Contains(strings.Join(w, "|"), "there are more") {
		t.Errorf("got %q", w)
	}
	g.warn("another")
	if w := g.Warnings(); len(w) != maxWarnings+1 || !strings.Contains(w[maxWarnings], "there are more than 10") {
		t.Errorf("got %q", w)
	}
}
