package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// InPage demands that a page of docs/ has a line: what a page tells in figures is then what the test that ran has counted.
func InPage(t testing.TB, name, line string) {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("no module is above the working directory")
		}
		dir = above
	}
	page, err := os.ReadFile(filepath.Join(dir, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains("\n"+strings.ReplaceAll(string(page), "\r\n", "\n"), "\n"+line+"\n") {
		t.Errorf("docs/%s has not the line that this test has counted:\n%s", name, line)
	}
}
