//go:build unix

package audit

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// nonblock keeps the opening of a FIFO that was put in a file's place from waiting for its other end.
const nonblock = syscall.O_NONBLOCK

// mayMakeFiles asks the system, which makes nothing for the answer, whether the process may make files in a folder: by the
// rights that it would make them with.
func mayMakeFiles(folder string) error {
	return unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}
