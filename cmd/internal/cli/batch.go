package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/internal/visible"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	// maxBatchLine is the longest line of a batch, in bytes without its line feed.
	maxBatchLine = 1 << 20
	// maxBatchHeld bounds the bytes of lines that are read and not answered yet.
	maxBatchHeld = 64 << 20
)

// batchFlags are verify's for many signatures.
type batchFlags struct {
	file     string
	failFast bool
	skip     int64
	reports  []string
}

// ofOne are the flags that a line of a batch has as members.
var ofOne = []string{"key-id", "signature", "signing-algorithm", "message-type", "message", "distinguishing-id", "sm2-entl", "explain"}

func (f *batchFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.file, "batch", "", "verify many signatures: a file of JSON Lines, or - for standard input")
	fl.BoolVar(&f.failFast, "fail-fast", false, "with --batch: stop at the first line that does not verify")
	fl.Int64Var(&f.skip, "skip", 0, "with --batch: pass over so many lines, which were answered before")
	fl.StringArrayVar(&f.reports, "report", nil, "with --batch: also write a report for CI, junit=FILE or sarif=FILE")
}

// check refuses a call that asks for one and for many at once.
func (f *batchFlags) check(c *cobra.Command, args []string) error {
	if !c.Flags().Changed("batch") {
		for _, name := range []string{"fail-fast", "skip", "report"} {
			if c.Flags().Changed(name) {
				return invalid("--%s is given without --batch", name).WithHint("See `%s --help`.", c.CommandPath())
			}
		}
		return nil
	}
	for _, name := range ofOne {
		if c.Flags().Changed(name) {
			e := invalid("--%s and --batch are given, expected one or the other", name)
			if name == "explain" {
				return e.WithHint("Verify that line alone with --explain.")
			}
			return e.WithHint("Each line of a batch says it for itself; docs/batch.md has the members.")
		}
	}
	switch {
	case len(args) > 0:
		return invalid("--batch and the file %s are given, expected one or the other", args[0]).WithHint("Each line of a batch has its message or names its file.")
	case f.skip < 0:
		return invalid("--skip is %d, expected a number of lines", f.skip)
	}
	return nil
}

// batchLineState is a line on its way through the batch.
type batchLineState struct {
	number int64
	id     jsontext.Value
	size   int64 // held, in bytes
}

// held are the lines that were read and not answered yet, first come first.
type held struct {
	mu    sync.Mutex
	room  sync.Cond
	lines []*batchLineState
	bytes int64
	ended bool
}

// push waits until there is room; false when nobody will make any.
func (h *held) push(line *batchLineState) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.lines) > 0 && h.bytes+line.size > maxBatchHeld && !h.ended {
		h.room.Wait()
	}
	h.lines, h.bytes = append(h.lines, line), h.bytes+line.size
	return !h.ended
}

func (h *held) pop() *batchLineState {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lines) == 0 {
		return &batchLineState{} // an answer to no line: what is said of the input as a whole
	}
	line := h.lines[0]
	h.lines, h.bytes = h.lines[1:], h.bytes-line.size
	h.room.Signal()
	return line
}

func (h *held) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	h.room.Broadcast()
}

// batchRun is one run of verify --batch.
type batchRun struct {
	app   *app
	flags batchFlags

	ctx    context.Context
	cancel context.CancelFunc
	in     *lines
	held   held
	// broken is why the lines end early; it is set by the reader, and read after its end.
	broken error
	// stoppedEarly is set by --fail-fast.
	stoppedEarly bool

	out     *bufio.Writer
	pending []kmserr.Name // answers in out: why they are no, "" for a yes
	written int64         // answers handed over for certain
	reports []batchReport
	bar     *progressbar.ProgressBar

	began    time.Time
	answers  int64
	verified int64                 // of those written
	refusals map[kmserr.Name]int64 // of those written
	worst    error
}

func (a *app) runBatch(flags batchFlags, maxMessage int64) (err error) {
	r := &batchRun{app: a, flags: flags, refusals: map[kmserr.Name]int64{}, began: time.Now()}
	r.held.room.L = &r.held.mu
	r.ctx, r.cancel = context.WithCancel(a.ctx)
	defer r.cancel()
	defer context.AfterFunc(r.ctx, r.held.end)()

	if err := r.openReports(); err != nil { // first, so that none is left of an earlier run
		return err
	}
	begun := false
	defer func() {
		if !begun {
			r.discardReports()
		}
	}()
	input, size, err := r.open()
	if err != nil {
		return err
	}
	defer input.Close()
	v, err := a.openVerifier(maxMessage)
	if err != nil {
		return err
	}
	defer v.Close()
	begun = true
	a.printed = true // every refusal of a line is an answer, and is logged by itself

	// Without this a closed standard output ends the process before it can say how far it came.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)

	r.in = &lines{r: bufio.NewReaderSize(input, 64<<10), limit: maxBatchLine}
	r.out = bufio.NewWriterSize(a.stdout, 64<<10)
	if a.output == "text" && isTerminal(a.stderr) && !isTerminal(a.stdout) {
		r.bar = batchBar(a.stderr, size)
	}
	stop := r.answerAll(v)
	if r.bar != nil {
		_ = r.bar.Finish() // what it shows decides nothing
	}
	return r.finish(stop)
}

// open opens the input; size is -1 where it cannot be told.
func (r *batchRun) open() (io.ReadCloser, int64, error) {
	a := *r.app
	a.ctx = r.ctx // a batch that ends waits for no further line
	input, err := a.open("--batch", r.flags.file)
	if err != nil {
		return nil, 0, err
	}
	if f, ok := input.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			if a.answersGoTo(info) { // each answer would be a further line
				_ = f.Close()
				return nil, 0, invalid("%s is the file that the answers are written to", naming("--batch", r.flags.file)).WithHint("Direct standard output to another file.")
			}
			return input, info.Size(), nil
		}
	}
	return input, -1, nil
}

func batchBar(w io.Writer, size int64) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("verify"),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100 * time.Millisecond),
	}
	if size >= 0 {
		return progressbar.NewOptions64(size, append(options, progressbar.OptionShowBytes(true))...)
	}
	return progressbar.NewOptions64(-1, append(options, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("lines"))...)
}

// answerAll answers line after line. Its error is why it stopped before the end, nil if it did not.
func (r *batchRun) answerAll(v *verifier.Verifier) error {
	var stop error
	for answer := range v.VerifyBatch(r.ctx, r.questions(), verifier.BatchOptions{}) {
		line := r.held.pop()
		if stop = r.answer(line, answer); stop == nil && answer.Err != nil && r.flags.failFast {
			stop = errFailFast
		}
		if stop != nil {
			r.cancel() // so that nobody waits for a line that may never come
			break
		}
	}
	// That the answers are not out is graver than that one of them is no.
	if err := r.flush(); err != nil && (stop == nil || errors.Is(stop, errFailFast)) {
		stop = err
	}
	switch {
	case stop != nil:
	case r.app.ctx.Err() != nil:
		stop = errInterrupted
	default:
		stop = r.broken
	}
	return stop
}

// The two ends that are no fault.
var (
	errFailFast    = errors.New("--fail-fast")
	errInterrupted = errors.New("interrupted")
)

// questions reads the lines. Whatever costs more than finding their ends is left to the workers.
func (r *batchRun) questions() iter.Seq[verifier.Question] {
	return func(yield func(verifier.Question) bool) {
		for number := int64(1); ; number++ {
			var data []byte
			var tooLong bool
			err := r.ctx.Err()
			if err == nil {
				data, tooLong, err = r.in.next(number <= r.flags.skip)
			}
			switch {
			case errors.Is(err, io.EOF):
				return
			case r.ctx.Err() != nil:
				return
			case err != nil:
				r.broken = invalid("%s cannot be read: %v", naming("--batch", r.flags.file), reason(err)).WithCause(err)
				return
			case number <= r.flags.skip:
				continue
			case number == 1 && hasUTF16Mark(data) && bytes.IndexByte(data, 0) >= 0: // no line would be one
				r.broken = invalid("%s is UTF-16 text, expected JSON Lines in UTF-8", naming("--batch", r.flags.file)).WithHint(notUTF16)
				return
			}
			line := &batchLineState{number: number, size: int64(len(data))}
			if !r.held.push(line) || !yield(r.question(line, data, tooLong)) {
				return
			}
		}
	}
}

func (r *batchRun) question(line *batchLineState, data []byte, tooLong bool) verifier.Question {
	return func() (verifier.Request, error) {
		if tooLong {
			return verifier.Request{}, invalid("the line is longer than the %d bytes allowed", maxBatchLine).
				WithHint("Give long messages as message_file.")
		}
		q, err := decodeBatchLine(data)
		line.id = q.ID
		if err != nil {
			return verifier.Request{KeyID: q.KeyID}, err
		}
		req, err := q.request()
		if err != nil {
			return verifier.Request{KeyID: q.KeyID}, err
		}
		return req, nil
	}
}

// batchAnswer is one line of the result.
type batchAnswer struct {
	Line             int64           `json:"line"`
	ID               jsontext.Value  `json:"id,omitzero"`
	SignatureValid   bool            `json:"signature_valid"`
	KeyID            string          `json:"key_id,omitempty"`
	SigningAlgorithm string          `json:"signing_algorithm,omitempty"`
	MessageType      string          `json:"message_type,omitempty"` // of what was looked at; none: the message itself
	Assurance        *batchAssurance `json:"assurance,omitempty"`
	Error            *batchError     `json:"error,omitempty"`
}

type batchAssurance struct {
	SnapshotSource     string            `json:"snapshot_source"`
	SnapshotTime       string            `json:"snapshot_time,omitempty"`
	SnapshotAgeSeconds *int64            `json:"snapshot_age_seconds,omitempty"` // nil: unknown
	KeyState           string            `json:"key_state"`
	StateTime          string            `json:"state_time,omitempty"`
	StateAgeSeconds    *int64            `json:"state_age_seconds,omitempty"` // nil: unknown
	FallbackKeyIDs     []string          `json:"fallback_key_ids,omitempty"`
	Options            map[string]string `json:"options,omitempty"`
	Warnings           []string          `json:"warnings,omitempty"`
}

type batchError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func answerLine(line *batchLineState, answer verifier.Answer) batchAnswer {
	row := batchAnswer{Line: line.number, ID: line.id}
	if answer.Err != nil {
		e := kmserr.As(answer.Err)
		row.KeyID, row.Error = e.KeyARN, &batchError{Code: string(e.Name), Message: e.Fact, Hint: e.Hint}
		return row
	}
	d := answer.Verified.Decision()
	row.SignatureValid, row.KeyID, row.Assurance = d.Verified, d.KeyARN, batchAssuranceOf(d)
	row.SigningAlgorithm, row.MessageType = d.SigningAlgorithm, d.MessageType
	return row
}

func batchAssuranceOf(d audit.Decision) *batchAssurance {
	return &batchAssurance{
		SnapshotSource: d.SnapshotSource, SnapshotTime: timeText(d.SnapshotTime), SnapshotAgeSeconds: age(d.EventTime.Time, d.SnapshotTime),
		KeyState: d.KeyState, StateTime: timeText(d.StateTime), StateAgeSeconds: age(d.EventTime.Time, d.StateTime),
		FallbackKeyIDs: d.FallbackARNs, Options: d.Options, Warnings: d.Warnings,
	}
}

// answer writes one answer everywhere. Its error is why nothing more can be written.
func (r *batchRun) answer(line *batchLineState, answer verifier.Answer) error {
	row := answerLine(line, answer)
	data, err := encoded(row)
	if err != nil {
		return kmserr.New(kmserr.Internal, "the answer to line %d cannot be written: %v", line.number, err)
	}
	data = visible.JSON(data)
	if r.out.Available() <= len(data) {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.answers++
	var refusal kmserr.Name
	if answer.Err != nil {
		refusal = kmserr.As(answer.Err).Name
		if r.worst == nil || kmserr.ExitCode(answer.Err) > kmserr.ExitCode(r.worst) {
			r.worst = answer.Err
		}
	}
	for _, report := range r.reports {
		if err := report.add(row, answer.Err); err != nil {
			return err
		}
	}
	r.pending = append(r.pending, refusal)
	_, _ = r.out.Write(append(data, '\n')) // flush returns its error, which stays
	if r.bar != nil {
		n := line.size + 1
		if r.bar.GetMax64() < 0 {
			n = 1
		}
		_ = r.bar.Add64(n)
	}
	if answer.More {
		return nil
	}
	return r.flush()
}

func (r *batchRun) flush() error {
	if err := r.out.Flush(); err != nil {
		return kmserr.New(kmserr.StoreAccess, "the answers cannot be written to standard output: %v", reason(err)).WithCause(err)
	}
	for _, refusal := range r.pending {
		r.written++
		if refusal == "" {
			r.verified++
		} else {
			r.refusals[refusal]++
		}
	}
	r.pending = r.pending[:0]
	return nil
}

// finish says what was done, and returns what decides the exit code. stop is why it ended early.
func (r *batchRun) finish(stop error) error {
	a := r.app
	var failures []error
	if r.worst != nil {
		failures = append(failures, r.worst)
	}
	var said *kmserr.Error
	next := r.flags.skip + r.written
	resume := ""
	if r.written > 0 {
		resume = fmt.Sprintf("`--skip %d` goes on behind them.", next)
	}
	switch {
	case errors.Is(stop, errFailFast):
		r.stoppedEarly = true
		fmt.Fprintf(a.stderr, "stopped at line %d, the first that does not verify; --skip %d goes on behind it\n", next, next)
	case errors.Is(stop, errInterrupted):
		said = kmserr.New(kmserr.DeadlineExceeded, "interrupted: %s answered", count(r.written, "line", "lines")).WithHint("%s", resume)
	case stop != nil:
		own := *kmserr.As(stop)
		said = &own
		said.Fact += fmt.Sprintf("; %s answered", count(r.written, "line", "lines"))
		said.Hint = strings.TrimSpace(said.Hint + " " + resume)
	case r.answers == 0 && r.flags.skip > 0:
		said = invalid("%s has no line behind the %d that were to be skipped: nothing was verified", naming("--batch", r.flags.file), r.flags.skip)
	case r.answers == 0:
		said = invalid("%s has no line: nothing was verified", naming("--batch", r.flags.file)).
			WithHint("Look at the step that writes it; where there may be nothing to verify, leave the call out.")
	}
	if said != nil {
		failures = append(failures, said)
	}
	for _, report := range r.reports {
		if err := report.finish(r, said); err != nil {
			a.say(err)
			a.logLine(audit.EventVerify, "", err)
			failures = append(failures, err)
		}
	}
	if said != nil { // no line of the batch has it
		a.say(said)
		a.logLine(audit.EventVerify, "", said)
	}
	fmt.Fprintln(a.stderr, r.summary())
	return errors.Join(failures...)
}

func (r *batchRun) summary() string {
	text := fmt.Sprintf("%s: %d verified, %d not", count(r.written, "line", "lines"), r.verified, r.written-r.verified)
	for i, name := range slices.Sorted(maps.Keys(r.refusals)) {
		text += fmt.Sprintf("%s %d %s", map[bool]string{true: ":", false: ","}[i == 0], r.refusals[name], name)
	}
	took := time.Since(r.began)
	return text + fmt.Sprintf("; %s, %.0f lines/s", took.Round(time.Millisecond), float64(r.written)/max(took.Seconds(), 0.001))
}

// lines are those of the input, however long.
type lines struct {
	r     *bufio.Reader
	limit int
}

// next returns the next line without its line feed, io.EOF after the last. A line longer than the limit is read over
// without being held, and so is one to skip.
func (l *lines) next(skip bool) (line []byte, tooLong bool, err error) {
	begun := false
	for {
		part, err := l.r.ReadSlice('\n')
		begun = begun || len(part) > 0
		ended := err == nil
		if ended {
			part = bytes.TrimSuffix(part, []byte("\n"))
		}
		if !skip && !tooLong {
			if tooLong = len(line)+len(part) > l.limit; tooLong {
				line = nil
			} else {
				line = append(line, part...)
			}
		}
		switch {
		case ended:
			return line, tooLong, nil
		case errors.Is(err, io.EOF) && begun:
			return line, tooLong, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}
