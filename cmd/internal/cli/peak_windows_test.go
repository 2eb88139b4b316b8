package cli

// ownPeak is not told by this system's part of package syscall.
func ownPeak() int64 { return 0 }
