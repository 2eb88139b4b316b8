//go:build darwin || freebsd

package fileguard

import (
	"os"

	"golang.org/x/sys/unix"
)

// readOnlyMount reports whether f's mount is read-only: statfs(2), MNT_RDONLY.
func readOnlyMount(f *os.File) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false, err
	}
	return st.Flags&unix.MNT_RDONLY != 0, nil
}
