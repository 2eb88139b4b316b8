//go:build !linux

package confine

import (
	"fmt"
	"runtime"
)

func execOnly(string, []string, []string, []string) error {
	return fmt.Errorf("nothing confines a program on %s: %w", runtime.GOOS, ErrUnsupported)
}
