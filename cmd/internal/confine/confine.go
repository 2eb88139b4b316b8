// Package confine runs a program in this process's place, such that it can start no programs but those that are named.
//
// Notation's core joins the name of the plugin that a signature asks for to its plugin folder and runs what lies there, without
// looking at the name: one with enough ".." in it is any file of the machine, and whoever made the signature chose it. Notation
// has no setting against that, so the kernel has to say no.
package confine

import (
	"debug/elf"
	"errors"
	"fmt"
	"os/exec"
	"slices"
)

// ErrUnsupported is wrapped by Exec's error where the system has nothing to confine a program by.
var ErrUnsupported = errors.New("not supported")

// Find looks for a program on the search path, as a shell does, but never in the working directory.
func Find(program string) (path string, err error) { return exec.LookPath(program) }

// Exec puts program in the place of this process, with these arguments (without the program's name) and this environment. It and
// what it starts can execute program itself and the files in also, and nothing else, for as long as they live: neither by
// another name nor through an interpreter. All are absolute paths. What else it may do, reading and writing files among
// it, is as before, but for moving a file into another folder, which Landlock then refuses with EXDEV.
//
// It returns only an error, and nothing was started then. program must be a static ELF executable: the loader of a dynamic one
// would have to be allowed too, and that runs any file it is given.
//
// It is Linux's Landlock (Documentation/userspace-api/landlock.rst), with LANDLOCK_ACCESS_FS_EXECUTE alone: Linux 5.13.
func Exec(program string, args, env []string, also ...string) error {
	if err := checkStatic(program); err != nil {
		return err
	}
	return execOnly(program, append([]string{program}, args...), env, append(slices.Clone(also), program))
}

func checkStatic(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s is no program that can be confined, an ELF executable as the project's releases are: %w", program, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: its loader would have to be allowed, and that runs any file; use a static one, as the project's releases are", program)
		}
	}
	return nil
}
