//go:build unix

package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestClosedFolder: nobody is told to open the folder of another user's log to everybody.
func TestClosedFolder(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "audit")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	testenv.Publish(t, dir)
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(closed, 0o700) })
	for _, path := range []string{filepath.Join(closed, FileName), filepath.Join(closed, "below", FileName)} {
		log := openLog(t, Config{Path: path})
		testenv.AsNobody(t, func() {
			err := log.Append(t.Context(), decision(1))
			unavailableError(t, err, closed, "permission denied", letWrite)
			if hint := kmserr.As(err).Hint; strings.Contains(hint, "chmod") {
				t.Errorf("the hint is %q", hint)
			}
		})
	}
}
