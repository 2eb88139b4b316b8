//go:build unix

package filelock

import "syscall"

// nonblock keeps the opening of a FIFO that was put in the lock file's place from waiting for its other end. The lock itself
// is waited for all the same.
const nonblock = syscall.O_NONBLOCK
