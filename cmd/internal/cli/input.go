package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Limits of what is read whole, in bytes.
const (
	maxSignatureFile = 64 << 10 // base64 of the longest signature with line breaks, and then some
	maxKeyFile       = 64 << 10 // of one key
	maxManyKeys      = 4 << 20  // of JSON, which may hold several answers of KMS
)

// open opens what a value names: a path, fileb://path or file://path as in the AWS CLI, or - for standard input. what is
// the flag or argument, for errors.
func (a *app) open(what, value string) (io.ReadCloser, error) {
	if value == "" {
		return nil, invalid("%s is empty, expected a file", what).WithHint("Give a path, fileb://path, or - for standard input.")
	}
	if value == "-" {
		return io.NopCloser(&interruptible{ctx: a.ctx, r: a.stdin}), nil
	}
	path := filePath(value)
	if path == "" {
		return nil, invalid("%s is %s without a path, expected a file", what, value)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, invalid("%s names %s, which is not there", what, path).WithHint("Check the path; text itself cannot be given, only a file that holds it.")
	case err != nil:
		return nil, unreadable(what, path, err)
	case info.IsDir():
		return nil, invalid("%s names %s, which is a folder, expected a file", what, path).WithHint("Name the file in it.")
	}
	if info.Mode().IsRegular() {
		f, err := openIfOrdinary(path)
		if err != nil {
			return nil, unreadable(what, path, err)
		}
		if f != nil {
			return f, nil
		} // something else has taken its place
	}
	f, err := a.openSpecial(path)
	if kmserr.Is(err, kmserr.DeadlineExceeded) {
		return nil, err
	}
	if err != nil {
		return nil, unreadable(what, path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{&interruptible{ctx: a.ctx, r: f}, f}, nil
}

// openIfOrdinary opens an ordinary file; nil without an error if it is none, whatever it was when somebody last looked. It does
// not wait, as the opening of a named pipe does until somebody writes to it.
func openIfOrdinary(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // nothing was read
		return nil, err
	}
	return f, nil
}

// openMessage opens a message. Standard input or a pipe without a byte is refused: so looks a message that its writer lost, and
// a signature over nothing, where there is one, would be sound (decision 11).
func (a *app) openMessage(file string) (io.ReadCloser, error) {
	r, err := a.open("the message", file)
	if err != nil {
		return nil, err
	}
	if _, ordinary := r.(*os.File); ordinary {
		return r, nil
	}
	buffered := bufio.NewReaderSize(r, 64<<10)
	switch _, err := buffered.Peek(1); {
	case errors.Is(err, io.EOF):
		_ = r.Close()
		return nil, invalid("%s is empty", naming("the message", file)).
			WithHint("What should have written it has failed, most likely. An empty message can be given as an ordinary file.")
	case kmserr.Is(err, kmserr.DeadlineExceeded):
		_ = r.Close()
		return nil, err
	} // whoever reads meets any other error again
	return struct {
		io.Reader
		io.Closer
	}{buffered, r}, nil
}

func unreadable(what, path string, err error) error {
	return invalid("%s names %s, which cannot be read: %v", what, path, reason(err))
}

// openSpecial opens a pipe or device, and waits no longer than until Ctrl-C: opening a named pipe lasts until somebody
// writes to it.
func (a *app) openSpecial(path string) (*os.File, error) {
	type answer struct {
		f   *os.File
		err error
	}
	answers := make(chan answer)
	go func() {
		f, err := os.Open(path)
		select {
		case answers <- answer{f, err}:
		case <-a.ctx.Done():
			if err == nil {
				_ = f.Close() // only read from
			}
		}
	}()
	select {
	case got := <-answers:
		return got.f, got.err
	case <-a.ctx.Done():
		return nil, kmserr.New(kmserr.DeadlineExceeded, "interrupted").WithCause(a.ctx.Err())
	}
}

// interruptible is a reader that waits for its source no longer than until ctx ends: a pipe or terminal may stay silent
// for ever.
type interruptible struct {
	ctx context.Context
	r   io.Reader
	buf []byte
}

func (i *interruptible) Read(p []byte) (int, error) {
	type answer struct {
		n   int
		err error
		bad any
	}
	// The source reads into a buffer of its own: after the end of ctx it may still write there.
	if len(i.buf) < len(p) {
		i.buf = make([]byte, len(p))
	}
	buf := i.buf[:len(p)]
	done := make(chan answer, 1)
	go func() {
		a := answer{}
		defer func() {
			a.bad = recover()
			done <- a
		}()
		a.n, a.err = i.r.Read(buf)
	}()
	select {
	case a := <-done:
		if a.bad != nil {
			panic(a.bad) // on the caller's side, where it is answered
		}
		return copy(p, buf[:a.n]), a.err
	case <-i.ctx.Done():
		i.buf = nil
		return 0, kmserr.New(kmserr.DeadlineExceeded, "interrupted").WithCause(i.ctx.Err())
	}
}

func filePath(value string) string {
	for _, scheme := range []string{"fileb://", "file://"} {
		if path, ok := strings.CutPrefix(value, scheme); ok {
			return path
		}
	}
	return value
}

func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readAll reads what a value names, at most limit bytes, and not one more than is needed to know.
func (a *app) readAll(what, value string, limit int) ([]byte, error) {
	r, err := a.open(what, value)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readUpTo(what, value, r, limit)
}

// errTooLong is the cause of a refusal to read an input to its end.
var errTooLong = errors.New("too long")

// readUpTo reads r, which a value names, to its end, at most limit bytes.
func readUpTo(what, value string, r io.Reader, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if kmserr.Is(err, kmserr.DeadlineExceeded) {
		return nil, err
	}
	if err != nil {
		return nil, invalid("%s cannot be read: %v", naming(what, value), reason(err))
	}
	if len(data) > limit {
		return nil, invalid("%s is longer than the %d bytes allowed", naming(what, value), limit).WithCause(errTooLong)
	}
	return data, nil
}

// naming is what an input is called in sentences: "--signature app.sig".
func naming(what, value string) string {
	if value == "-" {
		return what + " (standard input)"
	}
	return what + " " + filePath(value)
}

// inFile puts the file's name before an error's fact.
func inFile(file string, err error) error {
	e := kmserr.As(err)
	out := *e
	out.Fact = fmt.Sprintf("%s: %s", filePath(file), e.Fact)
	return &out
}
