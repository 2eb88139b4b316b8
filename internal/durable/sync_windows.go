package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// SyncFolder does nothing: Windows flushes no folders.
func SyncFolder(*os.Root, string) error { return nil }

func passing(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION) ||
		errors.Is(err, windows.ERROR_LOCK_VIOLATION)
}
