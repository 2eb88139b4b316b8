//go:build unix

package cli

import (
	"os"
	"runtime"
	"syscall"
)

// peakMemory returns the most that a process had in memory, in bytes: getrusage counts in KiB, on macOS in bytes.
func peakMemory(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss
	}
	return usage.Maxrss << 10
}
