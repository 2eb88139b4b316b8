package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Beside the log file NAME lie NAME.lock, the rotated files NAME.<sequence of their last line, 16 digits>, and
// NAME.torn-<time>, what crashes left.
const (
	lockSuffix    = ".lock"
	tornInfix     = ".torn-"
	rotatedDigits = 16
	tornTime      = "20060102T150405.000000000Z"
)

// maxRotated bounds how many rotated files are looked at. Tests lower it.
var maxRotated = 1_000_000

// lockWait is how long a writer waits for the others. The lock is held for well under a millisecond, as lines
// are flushed after it was given back.
const lockWait = 2 * time.Second

// folder is the open folder of a log.
type folder struct {
	root *os.Root
	dir  string // its path, for people
	name string // the log file's

	// lstat is root's, other in tests.
	lstat func(name string) (fs.FileInfo, error)
}

// newFolder returns the folder of the log at path, which is open as root.
func newFolder(root *os.Root, path string) *folder {
	return &folder{root: root, dir: filepath.Dir(path), name: filepath.Base(path), lstat: root.Lstat}
}

func (d *folder) path(name string) string { return filepath.Join(d.dir, name) }

func rotatedName(name string, last int64) string {
	return fmt.Sprintf("%s.%0*d", name, rotatedDigits, last)
}

// rotated is a rotated file, by the sequence of its last line.
type rotated struct {
	name string
	last int64
}

// listRotated returns the rotated files, oldest first.
func (d *folder) listRotated() ([]rotated, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []rotated
	for {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			digits, ok := strings.CutPrefix(name, d.name+".")
			last, err := strconv.ParseUint(digits, 10, 63)
			if !ok || len(digits) != rotatedDigits || err != nil {
				continue
			}
			if len(all) == maxRotated {
				return nil, fmt.Errorf("there are more than %d rotated files", maxRotated)
			}
			all = append(all, rotated{name, int64(last)})
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b rotated) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// openRegular opens a file of the folder that must be an ordinary one, never by way of a link. fs.ErrNotExist if it is
// not there.
func (d *folder) openRegular(name string, flag int) (*os.File, fs.FileInfo, error) {
	for attempt := 1; ; attempt++ {
		found, err := d.lstat(name)
		if err != nil {
			return nil, nil, err
		}
		if !found.Mode().IsRegular() {
			return nil, nil, notRegular(d.path(name), found.Mode())
		}
		f, err := d.root.OpenFile(name, flag|nonblock, 0)
		if err != nil {
			return nil, nil, err
		}
		info, err := f.Stat()
		if os.SameFile(found, info) {
			return f, info, nil
		}
		f.Close()
		switch {
		case err != nil:
			return nil, nil, err
		case !info.Mode().IsRegular() || attempt == 3: // one rotation in between is usual, for whoever takes no lock
			return nil, nil, notRegular(d.path(name), info.Mode())
		}
	}
}

func notRegular(path string, mode fs.FileMode) error {
	what := "no ordinary file"
	switch {
	case mode&fs.ModeSymlink != 0:
		what = "a link"
	case mode.IsDir():
		what = "a folder"
	case mode.IsRegular():
		what = "another file than a moment ago"
	}
	return kmserr.New(kmserr.AuditUnavailable, "the log's file %s is %s, expected an ordinary file", path, what).
		WithHint("Move it away, or name another place for the log; \"-\" logs to standard error.")
}

// readTail returns the end of the log: of the current file or, where that has no whole line, of the newest rotated one.
// current is the open current file; nil if it is not there.
func (d *folder) readTail(current *os.File, size int64) (t tail, err error) {
	if current != nil {
		t, err = findTail(current, size)
		if err != nil {
			return tail{}, d.unusable(d.name, err)
		}
		if t.end > 0 {
			return t, nil
		}
	}
	files, err := d.listRotated()
	if err != nil {
		return tail{}, d.unusable(".", err)
	}
	for _, file := range slices.Backward(files) {
		f, info, err := d.openRegular(file.name, os.O_RDONLY)
		if err != nil {
			return tail{}, d.unusable(file.name, err)
		}
		before, err := findTail(f, info.Size())
		f.Close()
		if err != nil {
			return tail{}, d.unusable(file.name, err)
		}
		if before.end > 0 {
			// In the current file nothing is whole, so its end is at its beginning.
			return tail{head: before.head, time: before.time}, nil
		}
	}
	return tail{}, nil
}

// unusable says of a file of the log that it cannot be gone on with.
func (d *folder) unusable(name string, err error) error {
	e := unavailable(err, "the log %s cannot be used: %v", d.path(name), fileguard.Cause(err))
	if e.Hint == "" {
		e.Hint = "Run `awskms-offline audit verify`; to begin a new log, move this one's files away."
	}
	return e
}
