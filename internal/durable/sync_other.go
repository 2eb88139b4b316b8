//go:build !windows

package durable

import (
	"errors"
	"os"
	"syscall"
)

// SyncFolder flushes the entries of the folder name.
func SyncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some network and FUSE file systems have no fsync for folders and say so: there is nothing more to be had from them.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// DiskRefuses reports whether the disk takes no writes: it is full, mounted read-only, or fails.
func DiskRefuses(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
}

func passing(error) bool { return false }
