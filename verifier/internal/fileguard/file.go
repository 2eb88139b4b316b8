package fileguard

import "os"

// File checks a file that its caller opened itself, as a log is that grows: an ordinary file, of the current user or the
// administrator, that others cannot write. abs names it for people.
func (g *Guard) File(abs string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return access(err, "%s cannot be read: %v", abs, Cause(err))
	}
	if !info.Mode().IsRegular() {
		return integrity("%s is %s, expected an ordinary file", abs, kindOf(info.Mode())).
			WithHint("Remove it, or name another place.")
	}
	return g.open(fileHandle(abs, f, info))
}
