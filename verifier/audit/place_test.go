package audit

import (
	"path/filepath"
	"testing"
)

// TestNoDefaultPath: who has no place for a log learns which variable to set, or what is wrong with it.
func TestNoDefaultPath(t *testing.T) {
	for value, says := range map[string]string{"": "HOME is not set", "relative": `HOME is "relative", expected an absolute path`} {
		_, err := defaultPath("linux", func(name string) string { return map[string]string{"HOME": value}[name] })
		unavailableError(t, err, "variable "+says, "Set it")
	}
	home := t.TempDir()
	if got, err := defaultPath("ios", func(string) string { return home }); err != nil || got != filepath.Join(home, "Library", "Logs", "awskms-offline", FileName) {
		t.Errorf("got %q, %v", got, err)
	}
}
