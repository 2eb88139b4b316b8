//go:build unix && !linux && !darwin && !freebsd

package fileguard

import "os"

// readOnlyMount cannot tell here, so nothing is taken for protected by its mount.
func readOnlyMount(*os.File) (bool, error) { return false, nil }
