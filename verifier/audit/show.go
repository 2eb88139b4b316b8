package audit

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Filter chooses lines. What is left zero chooses all.
type Filter struct {
	// Key is what the key was asked for by, or its ARN, or the key ID at the end of that.
	Key string
	// Since and Until bound eventTime: not before Since, before Until.
	Since, Until time.Time
	// Result is "verified" or "refused", or the name of an error such as KMSInvalidSignatureException.
	Result string
	// FrontEnd is the name of the program that asked.
	FrontEnd string
}

// The results that a Filter knows beside the names of errors.
const (
	ResultVerified = "verified"
	ResultRefused  = "refused"
)

// Matches reports whether a line is chosen.
func (f Filter) Matches(l Line) bool {
	switch {
	case f.Key != "" && !f.matchesKey(l):
		return false
	case l.EventTime.Before(f.Since):
		return false
	case !f.Until.IsZero() && !l.EventTime.Before(f.Until):
		return false
	case f.FrontEnd != "" && l.FrontEnd.Name != f.FrontEnd:
		return false
	}
	switch f.Result {
	case "":
		return true
	case ResultVerified:
		return l.Verified
	case ResultRefused:
		return !l.Verified
	}
	return l.ErrorCode == f.Result
}

func (f Filter) matchesKey(l Line) bool {
	for _, arn := range append([]string{l.Asked, l.KeyARN}, l.FallbackARNs...) {
		if arn == f.Key || strings.HasSuffix(arn, ":key/"+f.Key) {
			return true
		}
	}
	return false
}

// Entry is a line, and where it stands.
type Entry struct {
	Line
	// File is the path of the file, Number the line's number in it, from 1.
	File   string
	Number int64
	// Raw is the line's bytes without the line feed: what its hash is of. It is valid until the next entry. Of a line that is
	// far too long it is the end, of one without a line feed nil.
	Raw []byte
}

// Lines returns the lines of the log at path that the filter chooses, oldest first, as the log is at the start; the
// chain is not checked. A line that is damaged comes with an error, and reading goes on behind it; after an error of
// reading nothing follows. Errors are those of Verify.
func Lines(ctx context.Context, path string, filter Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, err := openSnapshot(ctx, path)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer s.close()
		show := shower{filter: filter, yield: yield}
		show.snapshot(ctx, s)
	}
}

// pollEvery is how often Follow looks for new lines.
const pollEvery = 250 * time.Millisecond

// Follow is Lines, and then goes on with each line as it is written, through rotations, until ctx is done, which is no
// error. A log that is not there yet is waited for.
func Follow(ctx context.Context, path string, filter Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		show := shower{filter: filter, yield: yield, follow: true}
		for ctx.Err() == nil {
			s, err := openSnapshot(ctx, path)
			switch {
			case err == nil:
				more := show.snapshot(ctx, s)
				s.close()
				if !more {
					return
				}
			case !kmserr.Is(err, kmserr.Validation) && ctx.Err() == nil:
				yield(Entry{}, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pollEvery):
			}
		}
	}
}

// shower yields lines.
type shower struct {
	filter Filter
	yield  func(Entry, error) bool
	follow bool // stop before a line that has no end yet

	// The file read last, whatever its name may be by now, and how far: up to the end of a line.
	file   fs.FileInfo
	offset int64
	number int64
}

// snapshot yields the lines of a snapshot that were not read yet, and returns whether to go on.
func (w *shower) snapshot(ctx context.Context, s *snapshot) bool {
	names := s.names()
	for i, name := range slices.Backward(names) {
		if info, _ := s.root.Lstat(name); os.SameFile(w.file, info) { // which nothing is to nil
			names = names[i:]
			break
		}
	}
	for _, name := range names {
		r, info, err := s.open(name)
		if err != nil {
			w.yield(Entry{}, err)
			return false
		}
		if !os.SameFile(w.file, info) || info.Size() < w.offset { // emptied, or removed and made anew under the same number
			w.file, w.offset, w.number = info, 0, 0
		}
		more := w.lines(ctx, s.path(name), r)
		r.Close()
		if !more {
			return false
		}
	}
	return true
}

// lines yields the lines of a file from the offset on, and returns whether to go on.
func (w *shower) lines(ctx context.Context, path string, file *section) bool {
	_, _ = file.Seek(w.offset, io.SeekStart) // which refuses an offset below zero only
	chunks := chunker{r: file}
	begun := int64(0) // how much was read of a line whose end is still to come
	for {
		data, err := chunks.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if !w.follow || ctx.Err() == nil {
				w.yield(Entry{}, unreadable(path, err))
			}
			return false
		}
		for len(data) > 0 {
			line, rest, whole := cutLine(data)
			if data = rest; !whole {
				begun += int64(len(line))
				continue
			}
			var damage error
			if begun > 0 {
				damage = errTooLong // longer than a piece
			}
			if !w.line(path, line, begun+int64(len(line))+1, damage) {
				return false
			}
			begun = 0
		}
	}
	if begun == 0 || w.follow { // the next writer may cut off what has no end
		return true
	}
	return w.line(path, nil, begun, errNoEnd)
}

// line yields the next line, of size bytes, and returns whether to go on. Without a damage that is known raw is all of it.
func (w *shower) line(path string, raw []byte, size int64, damage error) bool {
	w.number++
	w.offset += size
	entry := Entry{File: path, Number: w.number, Raw: raw}
	if damage == nil {
		entry.Line, _, damage = decodeLine(raw)
	}
	if damage != nil {
		damage = kmserr.New(kmserr.AuditIntegrity, "line %d of %s %v", w.number, path, damage).
			WithHint("Run `awskms-offline audit verify`.")
	} else if !w.filter.Matches(entry.Line) {
		return true
	}
	return w.yield(entry, damage)
}

// HeadOf returns the head of the log at path, to be noted elsewhere: its last whole line. Errors are those of Verify.
func HeadOf(ctx context.Context, path string) (Head, error) {
	s, err := openSnapshot(ctx, path)
	if err != nil {
		return Head{}, err
	}
	defer s.close()
	t, err := s.tail()
	return t.head, err
}
