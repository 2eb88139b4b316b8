package audit

import "golang.org/x/sys/unix"

// programOf asks the kernel for a process's name, of which it keeps the first 16 bytes: sysctl(3), KERN_PROC_PID.
func programOf(pid int) string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Proc.P_comm[:])
}
