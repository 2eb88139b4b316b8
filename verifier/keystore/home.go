package keystore

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

// errAbsent says that there is nothing, and nothing wrong with that: the one answer after which a lookup may look
// elsewhere. It never leaves the package.
var errAbsent = errors.New("absent")

// resolveFolder returns the real path of a folder given by an absolute path: its links resolved, every folder on the way
// and above it checked from the top down, so that nobody but those trusted could have led it elsewhere. The folder
// itself is checked like the others; what holds the store is checked again, more strictly, on its open handle.
// errAbsent if it is not there.
func resolveFolder(abs string, g *guard) (string, error) {
	if runtime.GOOS == "windows" {
		return resolveFolderByName(abs, g)
	}
	todo := strings.Split(filepath.Clean(abs), "/")
	real, viaLink := "/", ""
	info, err := os.Lstat(real)
	if err != nil {
		return "", access(err, "%s cannot be read: %v", real, err)
	}
	if err := g.ancestor(real, info); err != nil {
		return "", err
	}
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..": // of a link's target; real is free of links, so its parent is the folder above
			real = filepath.Dir(real)
			continue
		}
		next := filepath.Join(real, part)
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && viaLink != "":
			return "", access(err, "%s is a link that leads to %s, which is not there", viaLink, next)
		case errors.Is(err, fs.ErrNotExist):
			return "", errAbsent
		case err != nil:
			return "", access(err, "%s cannot be read: %v", next, err)
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
				return "", access(err, "%s cannot be read: %v", next, err)
			}
			if filepath.IsAbs(target) {
				real = "/"
			}
			viaLink = next
			todo = append(strings.Split(target, "/"), todo...)
		case !info.IsDir():
			return "", access(nil, "%s is no folder", next)
		default:
			real = next
		}
	}
	return real, nil
}

// resolveFolderByName is for Windows, where links of several kinds are best left to the system; making one needs a
// right that ordinary users have not.
func resolveFolderByName(abs string, g *guard) (string, error) {
	real, err := filepath.EvalSymlinks(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(abs); err == nil {
			return "", access(err, "%s is a link that leads nowhere", abs)
		}
		return "", errAbsent
	case err != nil:
		return "", access(err, "%s cannot be read: %v", abs, err)
	}
	for path := real; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return "", access(err, "%s cannot be read: %v", path, err)
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

// openHome opens and checks the home; errAbsent if it is not there.
func openHome(home Home, g *guard) (*os.Root, error) {
	if !filepath.IsAbs(home.Path) {
		return nil, notAbsolute(home)
	}
	real, err := resolveFolder(home.Path, g)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, access(err, "the store's folder %s cannot be opened: %v", real, err)
	}
	info, err := root.Stat(".")
	if err != nil {
		root.Close()
		return nil, access(err, "the store's folder %s cannot be read: %v", real, err)
	}
	if err := g.open(folderHandle(real, root, info)); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

func notAbsolute(home Home) *kmserr.Error {
	if home.Path == "" {
		return kmserr.New(kmserr.Validation, "the store's folder given by %s is empty, expected an absolute path", home.ChosenBy).
			WithHint("Give the folder's full path, or do not set it at all.")
	}
	return kmserr.New(kmserr.Validation, "the store's folder given by %s is %q, expected an absolute path", home.ChosenBy, home.Path).
		WithHint("A relative path would mean another store in every working directory: give the full one.")
}
