package fileguard

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// A file may be as long as the limit, and not a byte longer.
func TestReadUpToTheLimit(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := New(Options{Unsafe: true}).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for limit, fits := range map[int]bool{99: false, 100: true, 101: true} {
		data, _, err := tree.Read("file", limit)
		if fits && (err != nil || len(data) != 100) || !fits && !kmserr.Is(err, kmserr.StoreIntegrity) {
			t.Errorf("a limit of %d: %d bytes, %v", limit, len(data), err)
		}
	}
}

// A folder's names are as many as the limit, or there are more; an empty folder has none.
func TestNamesUpToTheLimit(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := New(Options{Unsafe: true}).Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, limit := range []int{0, 5} {
		if names, more, err := tree.Names(".", limit); err != nil || more || len(names) != 0 {
			t.Errorf("an empty folder: %q, %t, %v", names, more, err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for limit, has := range map[int]int{0: 3, 2: 2, 3: 3, 4: 3} {
		if names, more, err := tree.Names(".", limit); err != nil || len(names) != has || more != (has < 3) {
			t.Errorf("a limit of %d: %q, %t, %v", limit, names, more, err)
		}
	}
}
