//go:build unix

package policy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestPermissions: whoever could write a policy could have taken its restrictions away.
func TestPermissions(t *testing.T) {
	age := withRestriction(`"maxSnapshotAge":"1h"`)
	strict := with(`"store":{"permissions":"strict"}`)
	t.Run("everyone", func(t *testing.T) {
		for _, of := range []string{"file", "folder"} {
			for _, machine := range []bool{true, false} {
				m, h := folders(t, age, age)
				folder := h
				if machine {
					folder = m
				}
				path := filepath.Join(folder, FileName)
				if of == "file" {
					chmod(t, path, 0o666)
				} else {
					chmod(t, folder, 0o777)
				}
				p, err := Load(h, m)
				refuses(t, p, err, kmserr.PolicyInvalid, path, "can be written by everyone", "chmod o-w")
				// The switch for a store that others can write does not reach the machine's policy.
				p, err = LoadWith(Options{Home: h, MachineFolder: m, UnsafePermissions: true})
				if machine {
					refuses(t, p, err, kmserr.PolicyInvalid, path)
				} else if err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Run("no policy in a home of everyone", func(t *testing.T) {
		m, h := folders(t, age, "")
		chmod(t, h, 0o777)
		if _, err := Load(h, m); err != nil { // the store says it
			t.Error(err)
		}
	})
	t.Run("the group", func(t *testing.T) {
		m, h := folders(t, "", age)
		path := filepath.Join(h, FileName)
		chmod(t, path, 0o660)
		p, err := Load(h, m)
		if err != nil || len(p.Warnings()) != 1 {
			t.Fatalf("%v, %v", p, err)
		}
		// Strict in itself, or by the machine's.
		write(t, path, strict)
		chmod(t, path, 0o660)
		p, err = Load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, path+" can be written by its group", "chmod g-w")
		write(t, path, age)
		chmod(t, path, 0o660)
		write(t, filepath.Join(m, FileName), strict)
		p, err = Load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, path+" can be written by its group")
		chmod(t, path, 0o600)
		if p, err := Load(h, m); err != nil || p.Warnings() != nil {
			t.Errorf("%v, %v", p, err)
		}
		// And the machine's by the home's.
		write(t, path, strict)
		write(t, filepath.Join(m, FileName), age)
		chmod(t, filepath.Join(m, FileName), 0o660)
		p, err = Load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(m, FileName)+" can be written by its group")
	})
	t.Run("unreadable", func(t *testing.T) {
		m, h := folders(t, "", age)
		path := filepath.Join(h, FileName)
		chmod(t, path, 0)
		if f, err := os.Open(path); err == nil {
			f.Close()
			t.Skip("this user reads everything")
		}
		p, err := Load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, path, "Let the current user read it")
	})
	t.Run("another's", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give files away")
		}
		m, h := folders(t, age, "")
		if err := os.Chown(filepath.Join(m, FileName), 4242, 4242); err != nil {
			t.Skip(err)
		}
		p, err := Load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, "belongs to the user with ID 4242")
	})
}
