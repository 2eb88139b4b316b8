//go:build unix

package fileguard

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// nonblock keeps the opening of a FIFO or device from waiting for its other end.
const nonblock = syscall.O_NONBLOCK

type systemGuard struct {
	euid uint32
	// readOnly tells whether an open file lies on a file system that is mounted read-only here. A volume made from a
	// ConfigMap has a root folder of mode 0777, which nobody can write because the mount is read-only.
	readOnly func(*os.File) (bool, error)
}

func newSystemGuard() systemGuard {
	return systemGuard{euid: uint32(os.Geteuid()), readOnly: readOnlyMount}
}

func (g systemGuard) check(h handle) *finding {
	found := g.checkMode(h.path, h.info)
	if found != nil && !found.owner && g.onReadOnly(h.with) {
		return nil
	}
	return found.public()
}

func (g systemGuard) onReadOnly(with func(func(*os.File) error) error) bool {
	readOnly := false
	err := with(func(f *os.File) (err error) {
		readOnly, err = g.readOnly(f)
		return err
	})
	return err == nil && readOnly
}

func (g systemGuard) checkAncestor(path string, info fs.FileInfo) *finding {
	found := g.checkMode(path, info)
	if found != nil && found.owner {
		found.hint = found.asOwner + "move the store below folders that belong to the current user or root"
	}
	if found != nil && !found.owner && info.Mode()&fs.ModeSticky != 0 {
		// Names in a sticky folder can be changed only by the owner of what they name, who is checked too.
		return nil
	}
	if found != nil && !found.owner && info.IsDir() && g.onReadOnly(func(use func(*os.File) error) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return use(f)
	}) {
		return nil
	}
	return found.public()
}

type unixFinding struct {
	finding
	owner bool // it is the owner that is wrong, which no mount mends
	// asOwner is a way out for root, as in a container: the user would lose what root takes. Empty for others.
	asOwner string
}

func (f *unixFinding) public() *finding {
	if f == nil {
		return nil
	}
	return &f.finding
}

func (g systemGuard) checkMode(path string, info fs.FileInfo) *unixFinding {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &unixFinding{owner: true, finding: finding{
			fact: fmt.Sprintf("the owner of %s cannot be told on this system", path), hint: "use another file system, or accept the risk with --unsafe-store-permissions, which the command line alone has"}}
	}
	if uid := stat.Uid; uid != g.euid && uid != 0 {
		asOwner := ""
		if g.euid == 0 {
			asOwner = fmt.Sprintf("verify as that user (sudo -u '#%d', docker run --user %d); or ", uid, uid)
		}
		return &unixFinding{owner: true, asOwner: asOwner, finding: finding{
			fact: fmt.Sprintf("%s belongs to the user with ID %d, expected the current user (%d) or root", path, uid, g.euid),
			hint: asOwner + fmt.Sprintf("if its content is yours, run: chown -h %d %s", g.euid, shellQuote(path))}}
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil // the mode of a link means nothing
	}
	switch perm := info.Mode().Perm(); {
	case perm&0o002 != 0:
		return &unixFinding{finding: finding{
			fact: fmt.Sprintf("%s can be written by everyone (mode %04o)", path, perm),
			hint: "check its content, then run: chmod o-w " + shellQuote(path)}}
	case perm&0o020 != 0:
		return &unixFinding{finding: finding{warning: true,
			fact: fmt.Sprintf("%s can be written by its group (mode %04o)", path, perm),
			hint: "if that is not meant, run: chmod g-w " + shellQuote(path)}}
	}
	return nil
}

// publishing says how everybody is let to read a folder. Whatever is written there later is for its writer alone again. The
// locks stay closed: who can open one, be it to read, can hold it (flock(2)), and keep every writer out.
func publishing(folder string) string {
	return "run after each change of it: sudo find -H " + shellQuote(folder) + " -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +"
}

// shellQuote returns path as one word of a POSIX shell.
func shellQuote(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@"
	if path != "" && !strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
