package durable

import "golang.org/x/sys/windows"

// diskErrors says of errors whether the disk takes no writes.
var diskErrors = map[error]bool{
	windows.ERROR_DISK_FULL: true, windows.ERROR_HANDLE_DISK_FULL: true, windows.ERROR_WRITE_PROTECT: true,
	windows.ERROR_WRITE_FAULT: true, windows.ERROR_IO_DEVICE: true,
	windows.ERROR_ACCESS_DENIED: false, windows.ERROR_SHARING_VIOLATION: false, windows.ERROR_LOCK_VIOLATION: false,
}
