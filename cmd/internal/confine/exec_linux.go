package confine

import (
	"fmt"
	"runtime"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// execute is the one right that is taken away, and given back for files that are named.
const execute = landlock.AccessFSSet(landlocksys.AccessFSExecute)

func execOnly(program string, argv, env, executable []string) error {
	version, err := landlocksys.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return fmt.Errorf("this kernel has no Landlock, or it is switched off: %w", ErrUnsupported)
	}
	config, err := landlock.NewConfig(execute)
	if err != nil {
		return err
	}
	// The thread that calls exec is the one whose restrictions the program inherits.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := config.RestrictPaths(landlock.PathAccess(execute, executable...)); err != nil {
		return err
	}
	if err := unix.Exec(program, argv, env); err != nil {
		return fmt.Errorf("%s cannot be started: %w", program, err)
	}
	return nil
}
