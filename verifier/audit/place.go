package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// FileName is the log's name in its folder, where nobody chose another.
const FileName = "audit.jsonl"

// DefaultPath returns where the log lies if no policy says otherwise, a place of the current user's outside the store: a
// store may be read-only, or shared. It is awskms-offline/audit.jsonl in $XDG_STATE_HOME or ~/.local/state (XDG Base
// Directory Specification), on macOS in ~/Library/Logs, on Windows in %LocalAppData%. An AuditUnavailableException if the
// environment does not tell.
func DefaultPath() (string, error) { return defaultPath(runtime.GOOS, os.Getenv) }

func defaultPath(system string, getenv func(string) string) (string, error) {
	below := func(variable string, folders ...string) (string, error) {
		base := getenv(variable)
		if base == "" {
			return "", fmt.Errorf("the environment variable %s is not set", variable)
		}
		if !filepath.IsAbs(base) {
			return "", fmt.Errorf("the environment variable %s is %q, expected an absolute path", variable, base)
		}
		return filepath.Join(append([]string{base}, append(folders, "awskms-offline", FileName)...)...), nil
	}
	var path string
	var err error
	switch {
	case system == "windows":
		path, err = below("LocalAppData")
	case system == "darwin" || system == "ios":
		path, err = below("HOME", "Library", "Logs")
	case getenv("XDG_STATE_HOME") != "":
		path, err = below("XDG_STATE_HOME")
	default:
		path, err = below("HOME", ".local", "state")
	}
	if err != nil {
		return "", kmserr.New(kmserr.AuditUnavailable, "there is no place for the log: %v", err).
			WithHint("Set it, or name the log's absolute path in the policy.").WithCause(err)
	}
	return path, nil
}
