//go:build unix

package filelock

import (
	"io/fs"
	"os"
)

// Private takes the lock file name, of which info was found, from others who can open it: be it to read, they could lock it
// for ever (flock(2)). It changes the file that it opened, whatever takes its place. Who may not change it leaves it so, as
// the lock is as good as before.
func Private(root *os.Root, name string, info fs.FileInfo) {
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o007 == 0 {
		return
	}
	f, err := root.OpenFile(name, os.O_RDWR|nonblock, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if opened, _ := f.Stat(); os.SameFile(info, opened) {
		perm := info.Mode().Perm() &^ 0o007
		if perm&0o020 == 0 {
			perm &^= 0o040 // a group that may write the store goes on sharing its lock
		}
		_ = f.Chmod(perm)
	}
}
