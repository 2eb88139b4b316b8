package cli

import "os"

// peakMemory is not told by this system after a process ended.
func peakMemory(*os.ProcessState) int64 { return 0 }
