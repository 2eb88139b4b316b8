// Package testenv is what tests need of the machine: it keeps them out of the user's own folders (what is found or written by
// environment alone, such as the log of decisions, is then a throw-away folder's), runs them as nobody, and holds pages to the code.
package testenv

import (
	"cmp"
	"go/build"
	"os"
	"path/filepath"
)

// Isolate points the variables that name a user's folders at a new temporary folder, for the whole process, and returns
// that folder. Call it from TestMain, and remove the folder at the end.
func Isolate() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "awskms-offline-test-"); err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	if err := keepGo(); err != nil {
		return "", err
	}
	for variable, below := range map[string]string{
		"HOME": "", "USERPROFILE": "", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache",
		"AppData": "config", "LocalAppData": "state",
	} {
		if err := os.Setenv(variable, filepath.Join(dir, below)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// keepGo lets the go command find what it has built and downloaded, which lies below the user's folders too.
func keepGo() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	if err := os.Setenv("GOCACHE", cmp.Or(os.Getenv("GOCACHE"), filepath.Join(cache, "go-build"))); err != nil {
		return err
	}
	return os.Setenv("GOPATH", cmp.Or(os.Getenv("GOPATH"), build.Default.GOPATH))
}
