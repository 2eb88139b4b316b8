package fileguard

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// maxLinks is how many symbolic links one path may lead through, as on Linux (path_resolution(7)).
const maxLinks = 40

// ErrAbsent says that there is nothing, and nothing wrong with that: the one answer after which a lookup may look
// elsewhere.
var ErrAbsent = errors.New("absent")

// step is one element of a path on its way; link is the link that brought it, "" for none.
type step struct{ name, link string }

func steps(path, link string) (all []step) {
	for name := range strings.SplitSeq(path, "/") {
		all = append(all, step{name, link})
	}
	return all
}

// ResolveFolder returns the real path of a folder given by an absolute path: its links resolved, every folder on the way
// and above it checked from the top down, so that nobody but those trusted could have led it elsewhere. The folder
// itself is checked like the others; Open checks what holds the files again, more strictly, on its open handle.
// ErrAbsent if it is not there; a link that leads nowhere is a StoreAccessException.
func (g *Guard) ResolveFolder(abs string) (string, error) {
	if runtime.GOOS == "windows" {
		return g.resolveFolderByName(abs, isJunction)
	}
	todo := steps(filepath.Clean(abs), "")
	real := "/"
	for links := 0; len(todo) > 0; {
		// The first part is empty, as is that of an absolute link's target, and leads to the root folder. real is free of
		// links, so ".." in a link's target leads to the folder above.
		here := todo[0]
		todo = todo[1:]
		next := filepath.Join(real, here.name)
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && here.link != "":
			return "", access(err, "%s is a link that leads to %s, which is not there", here.link, next)
		case errors.Is(err, fs.ErrNotExist):
			return "", ErrAbsent
		case err != nil:
			return "", unreadable(next, err)
		}
		if err := g.ancestor(next, info); err != nil {
			return "", err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", access(nil, "%s leads through more than %d links", abs, maxLinks)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return "", unreadable(next, err)
			}
			if filepath.IsAbs(target) {
				real = "/"
			}
			todo = append(steps(target, next), todo...)
		case !info.IsDir():
			return "", access(nil, "%s is no folder", next)
		default:
			real = next
		}
	}
	return real, nil
}

// resolveFolderByName is for Windows, where symbolic links are best left to the system; making one needs a right that
// ordinary users have not. A junction needs none, and EvalSymlinks follows none (since Go 1.23): who made one that is on the
// way, and where it leads, is not looked at, so it is refused. Where nothing is checked the system may follow it.
func (g *Guard) resolveFolderByName(abs string, isJunction func(string) bool) (string, error) {
	abs = filepath.Clean(abs) // EvalSymlinks would follow a link before it goes up by ".."
	follow, look := filepath.EvalSymlinks, os.Lstat
	if junction := firstOn(abs, isJunction); junction != "" {
		if !g.opts.Skips() {
			return "", access(nil, "%s is a junction or a mounted volume, expected a folder, as it is not followed", junction).
				WithHint("Name the folder by the path that it leads to.")
		}
		follow, look = asItIs, os.Stat
	}
	real, err := follow(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(abs); err == nil {
			return "", access(err, "%s is a link that leads nowhere", abs)
		}
		return "", ErrAbsent
	case err != nil:
		return "", unreadable(abs, err)
	}
	for path := real; ; path = filepath.Dir(path) {
		info, err := look(path)
		if err != nil {
			return "", unreadable(path, err)
		}
		if !info.IsDir() {
			return "", access(nil, "%s is no folder", path)
		}
		if err := g.ancestor(path, info); err != nil {
			return "", err
		}
		if path == filepath.Dir(path) {
			return real, nil
		}
	}
}

// firstOn returns what is so of abs and the folders above it, the topmost, or "".
func firstOn(abs string, is func(string) bool) (found string) {
	for path := abs; ; path = filepath.Dir(path) {
		if is(path) {
			found = path
		}
		if path == filepath.Dir(path) {
			return found
		}
	}
}

// isJunction reports whether there is a junction or a volume mounted in a folder, as package os shows them on Windows.
func isJunction(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&(fs.ModeIrregular|fs.ModeDir) == fs.ModeIrregular
}

// asItIs returns the path itself if something is there.
func asItIs(path string) (string, error) {
	_, err := os.Stat(path)
	return path, err
}

// Tree is an open folder whose content is read through checks. It may be used by several goroutines at once.
type Tree struct {
	root  *os.Root
	guard *Guard
}

// Open opens and checks the folder at an absolute path; ErrAbsent if it is not there. Close it after use.
func (g *Guard) Open(abs string) (*Tree, error) {
	if !filepath.IsAbs(abs) {
		return nil, access(nil, "the folder %q has no absolute path", abs)
	}
	real, err := g.ResolveFolder(abs)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, unreadableIn(real, real, err)
	}
	t := &Tree{root: root, guard: g}
	if err := t.checkFolder(root, "."); err != nil {
		root.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, unreadableIn(real, real, err)
		}
		return nil, err
	}
	return t, nil
}

// Root returns the open folder. It belongs to the Tree: nobody else closes it.
func (t *Tree) Root() *os.Root { return t.root }

// Recheck checks the folder again, on its open handle.
func (t *Tree) Recheck() error { return t.checkFolder(t.root, ".") }

// Close gives the folder's handle back.
func (t *Tree) Close() error { return t.root.Close() }

func integrity(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.StoreIntegrity, format, args...)
}

func access(err error, format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.StoreAccess, format, args...).WithCause(err)
}
