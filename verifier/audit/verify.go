package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Options of Verify. The zero value demands the whole chain from its line 1.
type Options struct {
	// ExpectHead is a head that was noted elsewhere: the log must hold that line, unchanged. Zero expects nothing, and then
	// lines missing at the end, and a log written anew from its beginning, are not found.
	ExpectHead Head
	// ExpectStart is the head that was noted of the last file that was taken away on purpose: the log must begin behind
	// it. Zero: with line 1.
	ExpectStart Head
}

// Report is what Verify found. The zero value says "not intact".
type Report struct {
	// Intact says that every line is what was written, in the order written, as far as the Options can tell.
	Intact bool
	// Break is where the chain breaks first; nil if Intact.
	Break *Break
	// Files, Lines and Bytes were read; of a log that is not intact up to the break at least.
	Files int
	Lines int64
	Bytes int64
	// First and Last are the ends of the chain, up to the break; Last is the head to note elsewhere.
	First, Last Head
	// FirstTime and LastTime are the times of these lines; LastTime is zero if the log is not intact.
	FirstTime, LastTime time.Time
	// Recovered counts the lines that tell of an incomplete end that a crash left.
	Recovered int64
}

// Kind is how a chain is broken.
type Kind string

// The kinds.
const (
	// Changed: a line is not what was written.
	Changed Kind = "changed"
	// Swapped: lines are there, but not in the order written.
	Swapped Kind = "swapped"
	// Inserted: a line is there that the chain does not hold.
	Inserted Kind = "inserted"
	// Removed: lines are not there, in the middle, before the first, or, of a head noted elsewhere, at the end.
	Removed Kind = "removed"
	// Torn: the last line has no end, as a crash leaves it, and the next writer mends that.
	Torn Kind = "torn"
)

// Break is the first place at which a chain is broken.
type Break struct {
	Kind Kind
	// File is the path of the file, and Number the line's number in it, from 1; 0 if it is the end that is missing.
	File   string
	Number int64
	// Sequence is the first line of the chain that is not as written.
	Sequence int64
	// Why is one sentence without a final period.
	Why string
}

// Error returns the place and the reason.
func (b *Break) Error() string {
	if b.Number == 0 {
		return fmt.Sprintf("%s: %s: %s", b.File, b.Kind, b.Why)
	}
	return fmt.Sprintf("%s, line %d: %s: %s", b.File, b.Number, b.Kind, b.Why)
}

// Verify reads the log at path, its rotated files included, and checks every line and the chain through all of them. It
// holds a few megabytes however long the log is, and takes the log as it is at the start.
//
// A nil error is the only yes. A broken chain is an AuditIntegrityException whose cause is the Break, and the Report says
// what was found before; a log that is not there is a ValidationException, one that cannot be read an
// AuditUnavailableException.
func Verify(ctx context.Context, path string, opts Options) (Report, error) {
	s, err := openSnapshot(ctx, path)
	if err != nil {
		return Report{}, err
	}
	defer s.close()
	v := verification{opts: opts, lines: inspect(ctx, s), snapshot: s}
	defer v.lines.stop()
	v.report.First, v.report.Last = opts.ExpectStart, opts.ExpectStart
	broken, err := v.run()
	if err == nil {
		err = ctx.Err() // who gave up gets no answer, however far the reading was
	}
	if err != nil {
		return Report{}, unreadable(s.path(s.name), err)
	}
	v.report.Files = len(s.names())
	if broken != nil {
		v.report.Break, v.report.LastTime = broken, time.Time{}
		hint := "Somebody or something changed the log after it was written: keep the files as they are, and find out who."
		if broken.Kind == Torn {
			hint = "A crash leaves this; the next decision mends it, and says so in its line."
		}
		return v.report, kmserr.New(kmserr.AuditIntegrity, "the log is not intact: %v", broken).WithHint("%s", hint).WithCause(broken)
	}
	v.report.Intact = true
	return v.report, nil
}

// verification walks the chain.
type verification struct {
	opts     Options
	lines    *inspector
	snapshot *snapshot
	report   Report
}

// checked is one line as a worker found it.
type checked struct {
	file      string
	number    int64
	bytes     int64 // line feed included
	place     place
	hash      [sha256.Size]byte
	recovered bool
	bad       error // a clause: why this is no line
	open      bool  // it has no line feed at its end
}

func (c *checked) head() Head { return Head{Sequence: c.place.sequence, Hash: c.hash} }

func (v *verification) run() (*Break, error) {
	var before *checked
	for {
		line, err := v.lines.next()
		if errors.Is(err, io.EOF) {
			return v.atEnd(), nil
		}
		if err != nil {
			return nil, err
		}
		if line.bad != nil || line.place.sequence != v.report.Last.Sequence+1 || line.place.previous != v.report.Last.Hash {
			return v.explain(before, line)
		}
		v.report.Last, v.report.LastTime = line.head(), line.place.time
		if before == nil {
			v.report.First, v.report.FirstTime = v.report.Last, line.place.time
		}
		v.report.Lines++
		v.report.Bytes += line.bytes
		if line.recovered {
			v.report.Recovered++
		}
		if want := v.opts.ExpectHead; want.Sequence == line.place.sequence && want.Hash != line.hash {
			return v.at(line, Changed, want.Sequence, "line %d is another one than the head noted elsewhere: the log was written anew", want.Sequence), nil
		}
		before = line
	}
}

// atEnd compares the whole chain with a head noted elsewhere.
func (v *verification) atEnd() *Break {
	want, start := v.opts.ExpectHead, v.opts.ExpectStart
	switch last := v.report.Last.Sequence; {
	case want.IsZero() || want.Sequence > start.Sequence && want.Sequence <= last || want == start:
		return nil
	case want.Sequence > last:
		return &Break{Kind: Removed, File: v.snapshot.path(v.snapshot.name), Sequence: last + 1,
			Why: fmt.Sprintf("the log ends with line %d, and the head noted elsewhere is line %d", last, want.Sequence)}
	default:
		return &Break{Kind: Removed, File: v.snapshot.path(v.snapshot.name), Sequence: want.Sequence,
			Why: fmt.Sprintf("the log begins behind line %d, so that line %d, noted elsewhere, cannot be compared", start.Sequence, want.Sequence)}
	}
}

func (v *verification) at(line *checked, kind Kind, sequence int64, format string, args ...any) *Break {
	return &Break{Kind: kind, File: v.snapshot.path(line.file), Number: line.number, Sequence: sequence, Why: fmt.Sprintf(format, args...)}
}

// explain tells what happened where line does not follow the one before; before is nil if line is the first.
func (v *verification) explain(before, line *checked) (*Break, error) {
	last := v.report.Last
	due := last.Sequence + 1
	if line.open && line.file == v.snapshot.name {
		switch end, err := v.snapshot.tail(); {
		case err == nil && end.head == last: // as the next writer sees it
			return v.at(line, Torn, due, "the log ends in the middle of a line"), nil
		case err != nil && !errors.Is(err, errForeign) && !errors.Is(err, errDamaged):
			return nil, err
		}
	}
	if line.bad != nil {
		return v.at(line, Changed, due, "this line %v", line.bad), nil
	}
	next, err := v.lines.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	follows := func(h Head) bool { return next != nil && next.place.previous == h.Hash }
	sequence := line.place.sequence
	switch {
	case sequence == due && next != nil && next.place.sequence == due && follows(last):
		return v.at(line, Inserted, due, "the line %d that follows is the one that continues the chain, not this one", due), nil
	case sequence == due && due == 1:
		return v.at(line, Changed, due, "the first line does not begin a chain: its member previous is not 64 zeros"), nil
	case sequence == due && before == nil:
		return v.at(line, Changed, due, "the first line does not follow the start that was expected"), nil
	case sequence == due && follows(line.head()):
		return v.at(before, Changed, last.Sequence, "line %d holds another SHA-256 of it", due), nil
	case sequence == due && next != nil:
		return v.at(line, Changed, due, "neither does it hold the SHA-256 of line %d, nor does the next line hold its own", last.Sequence), nil
	case sequence == due:
		return v.at(before, Changed, last.Sequence, "line %d, the last, holds another SHA-256 of it; or that one was changed", due), nil
	case sequence <= last.Sequence && before == nil:
		return v.at(line, Inserted, sequence, "the log was expected to begin with line %d, and begins with line %d", due, sequence), nil
	case sequence == last.Sequence && follows(line.head()):
		return v.at(before, Inserted, sequence, "line %d is there twice, and the chain goes on from the other one", sequence), nil
	case sequence <= last.Sequence:
		return v.at(line, Inserted, due, "line %d stands where line %d was expected", sequence, due), nil
	}
	// A line of a later number: is the one that is due still to come?
	for later := next; ; {
		if later != nil && later.place.sequence == due {
			return v.at(line, Swapped, due, "line %d stands where line %d was expected, which comes later", sequence, due), nil
		}
		if later, err = v.lines.next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	switch {
	case next != nil && next.place.sequence == due+1:
		return v.at(line, Changed, due, "line %d stands where line %d was expected, and line %d follows", sequence, due, due+1), nil
	case sequence == due+1:
		return v.at(line, Removed, due, "line %d is missing before it", due), nil
	}
	return v.at(line, Removed, due, "the lines %d to %d are missing before it", due, sequence-1), nil
}

// inspector reads the files of a snapshot in order, and has their lines looked at by several workers: what costs time,
// hashing and parsing, asks for no order.
type inspector struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	order  chan *piece
	now    piece
	number int64 // of the last line returned, in its file
	end    error // what next returns once order is closed: io.EOF only if all was read
}

// piece is some lines of a file.
type piece struct {
	file     string
	data     []byte
	first    bool // of its file
	lines    []checked
	finished chan struct{}
}

func inspect(ctx context.Context, s *snapshot) *inspector {
	ctx, cancel := context.WithCancel(ctx)
	workers := min(runtime.GOMAXPROCS(0), 8)
	in := &inspector{cancel: cancel, order: make(chan *piece, 2*workers)}
	work := make(chan *piece)
	used := make(chan []byte, 2*workers)
	for range workers {
		in.done.Go(func() {
			for p := range work {
				data := p.data
				p.inspect()
				select {
				case used <- data:
				default:
				}
				close(p.finished)
			}
		})
	}
	in.done.Go(func() {
		defer close(in.order)
		defer close(work)
		in.end = s.pieces(used, func(p *piece) error {
			p.finished = make(chan struct{})
			select {
			case in.order <- p:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			work <- p
			return nil
		})
	})
	return in
}

// pieces cuts the snapshot into pieces. It returns io.EOF after the last, or the error of take. What is in used is read into.
func (s *snapshot) pieces(used chan []byte, take func(*piece) error) error {
	for _, name := range s.names() {
		r, _, err := s.open(name)
		if err != nil {
			return err
		}
		chunks := chunker{r: r, used: used}
		data, err := chunks.next()
		for first := true; err == nil; first = false {
			if err := take(&piece{file: name, data: data, first: first}); err != nil {
				r.Close()
				return err
			}
			data, err = chunks.next()
		}
		r.Close()
		if !errors.Is(err, io.EOF) {
			return unreadable(s.path(name), err)
		}
	}
	return io.EOF
}

func (p *piece) inspect() {
	for rest := p.data; len(rest) > 0; {
		line, after, whole := cutLine(rest)
		c := checked{file: p.file, bytes: int64(len(line)) + 1, open: !whole}
		rest = after
		full := len(p.lines) == 0 || len(rest) == 0 // among these are the first of the log and the last, of which the time is told
		if c.place, c.recovered, c.bad = inspectLine(line, full); c.bad == nil {
			c.hash = sha256.Sum256(line)
			if c.open {
				c.bad = errNoEnd
			}
		}
		p.lines = append(p.lines, c)
	}
	p.data = nil
}

// inspectLine looks at one line. All of it is read by the form if full is set or its beginning is not as it must be; else
// it must be JSON, and the SHA-256 in the next line vouches for the rest, a member that is there twice included: reading every
// line by its form would cost four times as much, and tell nothing about a log that whoever changed it wrote anew in the right form.
func inspectLine(line []byte, full bool) (p place, recovered bool, err error) {
	if !full && len(line) < MaxLine {
		if p, ok := quickPlace(line); ok && jsontext.Value(line).IsValid(jsontext.AllowDuplicateNames(true)) {
			// Inside a string the quotation marks would be escaped.
			return p, bytes.Contains(line, []byte(`,"recovered":{`)), nil
		}
	}
	l, p, err := decodeLine(line)
	return p, l.Recovered != nil, err
}

// quickPlace reads the place, without the time, from a line that begins as marshal writes it.
func quickPlace(line []byte) (p place, ok bool) {
	const start, between, end = `{"eventVersion":"` + EventVersion + `","sequence":`, `,"previous":"`, `"`
	rest := line[min(len(line), len(start)):]
	digits, rest, _ := bytes.Cut(rest, []byte(between))
	// What is no number, or no hash, is another text when it is written back.
	p.version = EventVersion
	p.sequence, _ = strconv.ParseInt(string(digits), 10, 64)
	_, _ = hex.Decode(p.previous[:], rest[:min(len(rest), hex.EncodedLen(sha256.Size))])
	var room [len(start) + rotatedDigits + len(between) + 2*sha256.Size + len(end)]byte
	again := strconv.AppendInt(append(room[:0], start...), p.sequence, 10)
	again = append(hex.AppendEncode(append(again, between...), p.previous[:]), end...)
	return p, p.sequence >= 1 && p.sequence <= maxSequence && bytes.HasPrefix(line, again)
}

var errNoEnd = errors.New("has no line feed at its end")

// next returns the next line, io.EOF after the last.
func (in *inspector) next() (*checked, error) {
	for len(in.now.lines) == 0 {
		p, more := <-in.order
		if !more {
			return nil, in.end
		}
		<-p.finished
		if p.first {
			in.number = 0
		}
		in.now = *p
	}
	line := &in.now.lines[0]
	in.now.lines = in.now.lines[1:]
	in.number++
	line.number = in.number
	return line, nil
}

// stop ends the reading, and returns once nothing of it runs any more.
func (in *inspector) stop() {
	in.cancel()
	in.done.Wait()
}
