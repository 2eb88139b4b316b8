//go:build !linux

package testenv

import (
	"os"
	"testing"
)

// AsNobody runs f as the current user, who must not be root: only Linux has rights of one thread.
func AsNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root reads everything: what cannot be read is not tested; run the tests as another user")
	}
	f()
}
