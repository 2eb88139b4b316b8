package cli

import (
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestNotationIsNotFound: neither on an empty search path nor in the working directory.
func TestNotationIsNotFound(t *testing.T) {
	for _, path := range []string{t.TempDir(), "."} {
		t.Setenv("PATH", path)
		err := (&app{output: "text"}).runNotation("", nil, []string{"verify"})
		if e := kmserr.As(err); err == nil || e.Name != kmserr.Validation || !strings.Contains(e.Fact, "notation is not found on $PATH") || !strings.Contains(e.Hint, "--notation") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
