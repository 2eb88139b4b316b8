//go:build unix

package cli

import (
	"os"
	"runtime"
	"syscall"
)

// ownPeak is the most memory this process has had, in bytes.
func ownPeak() int64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		return highWater(status)
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	most := int64(usage.Maxrss) //nolint:unconvert // it is an int32 where a word has 32 bits
	if runtime.GOOS == "darwin" {
		return most // in bytes there, in KiB elsewhere
	}
	return most << 10
}
