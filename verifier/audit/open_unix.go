//go:build unix

package audit

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// nonblock keeps the opening of a FIFO that was put in a file's place from waiting for its other end.
const nonblock = syscall.O_NONBLOCK

// mayMakeFiles asks the system, which makes nothing for the answer, whether the process may make files in a folder.
func mayMakeFiles(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) }
