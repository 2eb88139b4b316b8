// Package durable changes files so that a crash at any moment leaves either the old or the new state, and so that what
// it reported as done is on the disk.
//
// A file is written aside, flushed, renamed over the old one, and the folder that holds the name is flushed (POSIX:
// fsync of a file says nothing about its entry in the folder). Windows has no flush of a folder; NTFS journals the
// rename, which is as much as that system offers. All names are slash-separated paths inside an *os.Root, so no link can
// lead a write out of it.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// Permissions of what is made here: nobody but the owner needs the files of a store or log.
const (
	FilePerm   fs.FileMode = 0o600
	folderPerm fs.FileMode = 0o700
)

// WriteFile makes name hold data, whether it exists or not, by way of a temporary file in the folder tmp, which must
// exist and lie on the same file system. The folder of name must exist. A reader sees the old content or the new one.
// On an error the old content stands, unless all that failed is the last step, the flush of the folder: the new one is there then, and
// a power failure may take it back. A crash may leave a file in tmp.
func WriteFile(root *os.Root, tmp, name string, data []byte) (err error) {
	aside := path.Join(tmp, "write-"+rand.Text())
	f, err := root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, FilePerm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreAbsent(root.Remove(aside)))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", aside, err)
	}
	if err := patiently(func() error { return root.Rename(aside, name) }); err != nil {
		return err
	}
	return SyncFolder(root, path.Dir(name))
}

// Touch makes the empty file name, or leaves one that is there as it is. The folder of name must exist.
func Touch(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, FilePerm)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return SyncFolder(root, path.Dir(name))
}

// MakeFolders makes the folder name and those above it that are not there yet.
func MakeFolders(root *os.Root, name string) error {
	name = path.Clean(name)
	if name == "." {
		return nil
	}
	info, err := root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("it is there, but is no folder")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := path.Dir(name)
	if err := MakeFolders(root, above); err != nil {
		return err
	}
	if err := root.Mkdir(name, folderPerm); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // made by another process since
		}
		return err
	}
	return SyncFolder(root, above)
}

// MakePath makes the folder of an absolute path of the system, and those above it that are not there yet.
func MakePath(folder string) error {
	above, below := filepath.Clean(folder), ""
	for {
		if _, err := os.Lstat(above); err == nil || above == filepath.Dir(above) {
			break
		}
		below = filepath.Join(filepath.Base(above), below)
		above = filepath.Dir(above)
	}
	root, err := os.OpenRoot(above)
	if err != nil {
		return err
	}
	defer root.Close()
	return MakeFolders(root, filepath.ToSlash(below))
}

// Remove removes the file or empty folder name. That it is not there is no error.
func Remove(root *os.Root, name string) error {
	err := patiently(func() error { return root.Remove(name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return SyncFolder(root, path.Dir(name))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// patiently repeats a change of names while another program holds the file in passing, as scanners on Windows do: at
// most about two seconds. Elsewhere nothing is ever repeated.
func patiently(change func() error) error {
	err := change()
	for wait := time.Millisecond; err != nil && passing(err) && wait < time.Second; wait *= 2 {
		time.Sleep(wait)
		err = change()
	}
	return err
}
