package fileguard

import (
	"os"

	"golang.org/x/sys/unix"
)

// readOnlyMount reports whether f's mount, as seen from here, is read-only: statfs(2), ST_RDONLY.
func readOnlyMount(f *os.File) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false, err
	}
	return st.Flags&unix.ST_RDONLY != 0, nil
}
