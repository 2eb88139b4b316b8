// Package confine runs a program in this process's place, such that it can start no programs but those that are named.
//
// Notation's core joins the name of the plugin that a signature asks for to its plugin folder and runs what lies there, without
// looking at the name: one with enough ".." in it is any file of the machine, and whoever made the signature chose it. Notation
// has no setting against that, so the kernel has to say no.
package confine

import (
	"errors"
	"os/exec"
	"slices"
)

// ErrUnsupported is wrapped by Exec's error where the system has nothing to confine a program by.
var ErrUnsupported = errors.New("not supported")

// Find looks for a program on the search path, as a shell does, but never in the working directory.
func Find(program string) (path string, err error) { return exec.LookPath(program) }

// Exec puts program in the place of this process, with these arguments (without the program's name) and this environment. It and
// what it starts can execute program itself and the files in also, and nothing else, for as long as they live: neither by
// another name nor through an interpreter. All are absolute paths. What has no path, as a memfd that the caller left
// open, Landlock does not see. What else it may do, reading and writing files among it, is as before, but for moving a file into
// another folder, which Landlock then refuses with EXDEV.
//
// It returns only an error, and nothing was started then. All must be static ELF executables: the loader of a dynamic one would
// have to be allowed too, and that runs any file it is given. None of them may be an interpreter, for the same reason.
//
// It is Linux's Landlock (Documentation/userspace-api/landlock.rst), with LANDLOCK_ACCESS_FS_EXECUTE alone: Linux 5.13.
func Exec(program string, args, env []string, also ...string) error {
	return execOnly(program, append([]string{program}, args...), env, append(slices.Clone(also), program))
}
