package audit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestReadersLock: a reader, too, takes no lock of what is no ordinary file.
func TestReadersLock(t *testing.T) {
	path := newLog(t, 1)
	if err := errors.Join(os.Remove(path+lockSuffix), os.Mkdir(path+lockSuffix, 0o700)); err != nil {
		t.Fatal(err)
	}
	unavailableError(t, errOf(Verify(t.Context(), path, Options{})), path+lockSuffix+" is a folder")
}

// TestNoWorkingFolder: where no path is relative to, there is no log.
func TestNoWorkingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Skipf("a relative path without a working directory is not tested: %v", err)
	}
	if _, err := Verify(t.Context(), FileName, Options{}); !kmserr.Is(err, kmserr.Validation) {
		t.Errorf("got %v", err)
	}
}

// TestHeadOfRotated: a log whose current file was just renamed has its end in that one.
func TestHeadOfRotated(t *testing.T) {
	path := newLog(t, 3)
	want, err := HeadOf(t.Context(), path)
	if err != nil || want.Sequence != 3 {
		t.Fatal(want, err)
	}
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), rotatedName(FileName, 3))); err != nil {
		t.Fatal(err)
	}
	if got, err := HeadOf(t.Context(), path); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestChunkerFails: what cannot be read is not the end.
func TestChunkerFails(t *testing.T) {
	failure := errors.New("failed")
	chunks := chunker{r: io.MultiReader(&stutter{[]byte("a\nb"), 1}, iotest.ErrReader(failure))}
	if data, err := chunks.next(); !errors.Is(err, failure) || data != nil {
		t.Errorf("got %q, %v", data, err)
	}
}
