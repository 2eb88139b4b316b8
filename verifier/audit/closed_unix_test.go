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

// TestCheckOfAClosedFolder: a log is said to be writable as long as nothing must be made in a folder that takes no files.
func TestCheckOfAClosedFolder(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	testenv.Publish(t, dir)
	const torn = `{"eventVersion":"1.0","eve`
	for _, c := range []struct {
		name       string
		lock, log  bool
		end, below string
		says       string // empty: nothing speaks against it
	}{
		{"both files are there", true, true, "", "", ""},
		{"no lock", false, true, "", "", "no file can be made in the log's folder"},
		{"no log", true, false, "", "", "no file can be made in the log's folder"},
		{"an incomplete end", true, true, torn, "", "no file can be made in the log's folder"},
		{"no folder", false, false, "", "below", "cannot be made below"},
		{"no folders", false, false, "", filepath.Join("a", "b"), "cannot be made below"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, c.below, FileName)
			if c.log {
				whole, err := os.ReadFile(newLog(t, 2))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, append(whole, c.end...), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.lock {
				if err := os.WriteFile(path+lockSuffix, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{path, path + lockSuffix} { // nobody may write them, which the guard is not asked about
				if err := os.Chmod(file, 0o666); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(folder, 0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Chmod(folder, 0o700) })
			log := openLog(t, Config{Path: path, UnsafePermissions: true})
			testenv.AsNobody(t, func() {
				err := log.Check()
				if c.says == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				unavailableError(t, err, c.says, folder, letWrite)
			})
		})
	}
}

// TestCheckAbove: where the log's folder is not there, the folder that it would be made in is looked at as the guard does.
func TestCheckAbove(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{"x", filepath.Join("x", "y")} {
		path := filepath.Join(open, below, FileName)
		unavailableError(t, openLog(t, Config{Path: path}).Check(), open, "can be written by everyone")
		if err := openLog(t, Config{Path: path, UnsafePermissions: true}).Check(); err != nil {
			t.Error(err)
		}
	}
}
