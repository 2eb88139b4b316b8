package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/awskms-offline/awskms-offline/internal/filelock"
	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// snapshot is a log as it was at one moment: its files, oldest first. What is written later is not in it. Whose files
// they are is not asked: who reads a log may well be somebody else.
type snapshot struct {
	folder
	rotated []rotated
	current *os.File    // nil if it is not there
	info    fs.FileInfo // of current, as it was then
}

// openSnapshot takes the log at path under the lock, so that no line is half-written and no file about to be rotated. A
// ValidationException if there is no log.
func openSnapshot(ctx context.Context, path string) (*snapshot, error) {
	abs, err := filepath.Abs(path)
	if err != nil || path == "" {
		return nil, noLog(fmt.Sprintf("%q", path))
	}
	path = abs
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noLog(path)
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	s := &snapshot{folder: *newFolder(root, path)}
	if err := s.take(ctx); err != nil {
		s.close()
		return nil, err
	}
	if s.current == nil && len(s.rotated) == 0 {
		s.close()
		return nil, noLog(path)
	}
	return s, nil
}

func noLog(path string) error {
	return kmserr.New(kmserr.Validation, "there is no log %s", path).
		WithHint("`awskms-offline doctor` tells where the log is.")
}

func unreadable(path string, err error) error {
	var known *kmserr.Error
	if errors.As(err, &known) {
		return known
	}
	return kmserr.New(kmserr.AuditUnavailable, "the log %s cannot be read: %v", path, fileguard.Cause(err)).WithCause(err)
}

func (s *snapshot) take(ctx context.Context) error {
	release, err := s.lockShared(ctx)
	if err != nil {
		return err
	}
	defer release()
	if s.rotated, err = s.listRotated(); err != nil {
		return unreadable(s.path("."), err)
	}
	f, info, err := s.openRegular(s.name, os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unreadable(s.path(s.name), err)
	}
	s.current, s.info = f, info
	return nil
}

// lockShared keeps writers out for the moment. Where there is no lock file, as beside a copy, there is no writer.
func (s *snapshot) lockShared(ctx context.Context) (release func(), err error) {
	name := s.name + lockSuffix
	info, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(s.path(name), info.Mode())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, errBusy)
	defer cancel()
	unlock, err := filelock.Acquire(ctx, filepath.Join(s.root.Name(), name), os.O_RDONLY, func() {})
	if errors.Is(err, errors.ErrUnsupported) {
		return func() {}, nil // a file system without locks has no writers either
	}
	if err != nil {
		return nil, unreadable(s.path(name), err)
	}
	return func() { _ = unlock() }, nil
}

func (s *snapshot) close() {
	s.current.Close() // which a nil one refuses, and no more
	s.root.Close()
}

// tail returns the end of the log.
func (s *snapshot) tail() (tail, error) {
	if s.current == nil {
		return s.readTail(nil, 0)
	}
	return s.readTail(s.current, s.info.Size())
}

// names returns the names of the snapshot's files, oldest first.
func (s *snapshot) names() []string {
	var names []string
	for _, r := range s.rotated {
		names = append(names, r.name)
	}
	if s.current != nil {
		names = append(names, s.name)
	}
	return names
}

// section is the content of a file of a snapshot.
type section struct {
	*io.SectionReader
	file *os.File // nil for the current file, which is the snapshot's to close
}

// Close closes what open has opened.
func (s *section) Close() { s.file.Close() } // which a nil one refuses, and no more

// open opens a file of the snapshot.
func (s *snapshot) open(name string) (*section, fs.FileInfo, error) {
	if name == s.name {
		return &section{SectionReader: io.NewSectionReader(s.current, 0, s.info.Size())}, s.info, nil
	}
	f, info, err := s.openRegular(name, os.O_RDONLY)
	if err != nil {
		return nil, nil, unreadable(s.path(name), err)
	}
	return &section{io.NewSectionReader(f, 0, info.Size()), f}, info, nil
}

// chunkSize is how much of a file is read at once.
const chunkSize = 512 << 10

// chunker reads a file in pieces that end where lines end.
type chunker struct {
	r     io.Reader
	carry []byte // the beginning of the next piece
	// used, if not nil, gives pieces back that nobody reads any more, to be filled anew.
	used chan []byte
}

// next returns a piece of one or more lines with their line feeds. Only the last piece of a file, and one without an end
// of line in chunkSize bytes, ends without one. io.EOF after the last. The piece belongs to the caller.
func (c *chunker) next() ([]byte, error) {
	buf := c.buffer()
	n := copy(buf, c.carry)
	c.carry = nil
	m, err := io.ReadFull(c.r, buf[n:])
	n += m
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if n == 0 {
			return nil, io.EOF
		}
		return buf[:n], nil
	case err != nil:
		return nil, err
	}
	if end := bytes.LastIndexByte(buf, '\n') + 1; end > 0 {
		c.carry = buf[end:]
		return buf[:end], nil
	}
	return buf, nil
}

func (c *chunker) buffer() []byte {
	select {
	case used := <-c.used:
		return used[:chunkSize]
	default:
		return make([]byte, chunkSize)
	}
}

// cutLine takes the first line off a piece. whole says that its line feed was there.
func cutLine(piece []byte) (line, rest []byte, whole bool) {
	return bytes.Cut(piece, []byte{'\n'})
}
