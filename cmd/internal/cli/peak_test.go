package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// envPeak names the file in which the command, run by TestMain, tells the most memory it had.
const envPeak = "AWSKMS_OFFLINE_TEST_PEAK"

// peakMemory makes cmd, a command that TestMain runs, tell the most memory it had. Once it has ended the function returns that, in bytes; 0 where
// this system does not tell. The system's own account of an ended process is of no use: on Linux it begins with what the process that started
// it had in memory.
func peakMemory(t testing.TB, cmd *exec.Cmd) func() int64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "peak")
	cmd.Env = append(cmd.Environ(), envPeak+"="+file)
	return func() int64 {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("the command did not tell its peak memory: %v", err)
		}
		peak, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return peak
	}
}

// tellPeak tells what peakMemory asked for.
func tellPeak() {
	file := os.Getenv(envPeak)
	if file == "" {
		return
	}
	if err := os.WriteFile(file, fmt.Append(nil, ownPeak()), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}

// highWater reads the most memory that a process had, in bytes, from its /proc/PID/status.
func highWater(status []byte) int64 {
	for line := range bytes.Lines(status) {
		var kib int64
		if _, err := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
