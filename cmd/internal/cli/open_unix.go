//go:build unix

package cli

import "syscall"

// nonblock keeps the opening of a FIFO that was put in a file's place from waiting for its other end.
const nonblock = syscall.O_NONBLOCK
