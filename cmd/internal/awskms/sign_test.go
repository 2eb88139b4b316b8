package awskms

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestSignersFolder: a signer whose temporary folder has no real path to be told, as behind a junction on Windows, works, and
// removes the folder all the same.
func TestSignersFolder(t *testing.T) {
	record, err := os.ReadFile("../../../testdata/records/p256.get-public-key.json")
	if err != nil {
		t.Fatal(err)
	}
	key, err := kmskey.ParseKey(record)
	if err != nil {
		t.Fatal(err)
	}
	defer func(was func(string) (string, error)) { realPath = was }(realPath)
	for name, resolve := range map[string]func(string) (string, error){
		"resolved": filepath.EvalSymlinks, "not resolved": func(string) (string, error) { return "", errors.New("not a directory") },
	} {
		dir := t.TempDir()
		for _, variable := range []string{"TMPDIR", "TMP"} {
			t.Setenv(variable, dir)
		}
		realPath = resolve
		s := &Signer{key: key}
		if err := s.open(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, left behind is %v", name, err, left)
		}
	}
}
