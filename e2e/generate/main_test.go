package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// generated are the folders of testdata that the generator writes.
var generated = []string{"keys", "records", "certs", "oci", "sm2"}

// TestReproducible: from the private keys the generator makes testdata again, byte for byte. If this fails after a
// change here, run make generate; if it fails without one, something is not deterministic.
func TestReproducible(t *testing.T) {
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	committed, made := filepath.Join(root, "testdata"), t.TempDir()
	if err := os.Mkdir(filepath.Join(made, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, k := range fixture.Keys {
		private, err := os.ReadFile(k.PrivateFile(committed))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(k.PrivateFile(made), private, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := generate(made); err != nil {
		t.Fatal(err)
	}
	want, got := files(t, committed), files(t, made)
	if len(want) < 100 {
		t.Fatalf("testdata has only %d files", len(want))
	}
	if !slices.Equal(want, got) {
		t.Errorf("testdata has the files\n%q\nthe generator made\n%q", want, got)
	}
	for _, name := range got {
		a, err := os.ReadFile(filepath.Join(made, name))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(committed, name)); err == nil && !bytes.Equal(a, b) {
			t.Errorf("%s is not what the generator makes", name)
		}
	}
}

// files lists the generated files below a testdata folder.
func files(t *testing.T, testdata string) []string {
	t.Helper()
	var names []string
	for _, dir := range generated {
		err := filepath.WalkDir(filepath.Join(testdata, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(testdata, path)
			names = append(names, name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestNewKeys: every key spec can be made and read back, and a key of another spec is refused.
func TestNewKeys(t *testing.T) {
	specs := make(map[string]bool)
	for _, k := range fixture.Keys {
		specs[k.Spec] = true
	}
	for spec := range specs {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			pkcs8, err := newKey(spec)
			if err != nil {
				t.Fatal(err)
			}
			m, err := parseKey(spec, pkcs8)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.spki) == 0 {
				t.Error("no SubjectPublicKeyInfo")
			}
			for other := range specs {
				if other == spec {
					continue
				}
				if _, err := parseKey(other, pkcs8); err == nil {
					t.Errorf("a key of %s was read as one of %s", spec, other)
				}
			}
		})
	}
}
