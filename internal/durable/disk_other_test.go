//go:build !windows

package durable

import "syscall"

// diskErrors says of errors whether the disk takes no writes.
var diskErrors = map[error]bool{
	syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EROFS: true, syscall.EIO: true,
	syscall.EACCES: false, syscall.EPERM: false, syscall.ETXTBSY: false, syscall.EMFILE: false,
}
