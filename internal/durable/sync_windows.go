package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// SyncFolder does nothing: Windows flushes no folders.
func SyncFolder(*os.Root, string) error { return nil }

// DiskRefuses reports whether the disk takes no writes: it is full, protected, or fails.
func DiskRefuses(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_WRITE_PROTECT) || errors.Is(err, windows.ERROR_WRITE_FAULT) || errors.Is(err, windows.ERROR_IO_DEVICE)
}

func passing(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION) ||
		errors.Is(err, windows.ERROR_LOCK_VIOLATION)
}
