package confine

import (
	"debug/elf"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// execOnly restricts this thread alone, since it is the one whose restrictions the program inherits: the others end with exec.
func execOnly(program string, argv, env, executable []string) error {
	for _, path := range executable {
		if err := checkStatic(path); err != nil {
			return err
		}
	}
	runtime.LockOSThread() // never unlocked: where exec fails, nobody else is to get a thread that can start nothing
	if err := restrict(executable); err != nil {
		return err
	}
	if err := unix.Exec(program, argv, env); err != nil {
		return fmt.Errorf("%s cannot be started: %w", program, err)
	}
	return nil
}

// restrict leaves this thread the right to execute these files, and takes away that to execute any other.
func restrict(executable []string) error {
	handled := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_EXECUTE}
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), unsafe.Sizeof(handled), 0)
	switch errno {
	case 0:
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM: // no such call, not switched on, or kept from a container
		return fmt.Errorf("this kernel has no Landlock, or it is switched off: %w (%w)", ErrUnsupported, errno)
	default:
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	rules := int(r)
	defer func() { _ = unix.Close(rules) }() // the rules stay in force
	for _, path := range executable {
		if err := allow(rules, path); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil { // Landlock wants it of whoever is not root
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}

// allow lets one regular file be executed. A folder would allow what lies in it.
func allow(rules int, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s is no regular file", path)
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: unix.LANDLOCK_ACCESS_FS_EXECUTE, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_add_rule for %s: %w", path, errno)
	}
	return nil
}

func checkStatic(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s is no program that can be confined, an ELF executable as the project's releases are: %w", program, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: its loader would have to be allowed, and that runs any file; use a static one, as the project's releases are", program)
		}
	}
	return nil
}
