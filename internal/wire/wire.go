// Package wire is what both plugin protocols share: bounded input that is always drained, a deadline of our own, a guard
// against panics, and exactly one answer.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/visible"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// MaxRequest is the longest request read, in bytes. Notation bounds signature envelopes to 4 MiB.
const MaxRequest = 4 << 20

// maxDrain bounds what is read and thrown away behind a request that is too long, so that its writer is not cut off
// with a broken pipe and no reason.
const maxDrain = 64 << 20

// usualRequest is room, in bytes, for a request with a chain of a few certificates: one that is longer costs no more than
// without it.
const usualRequest = 8 << 10

// ReadRequest reads r to its end, at most MaxRequest bytes. More is a ValidationException.
func ReadRequest(r io.Reader) ([]byte, error) {
	request := bytes.NewBuffer(make([]byte, 0, usualRequest))
	_, err := request.ReadFrom(io.LimitReader(r, MaxRequest+1))
	data := request.Bytes()
	if err != nil {
		return nil, kmserr.New(kmserr.Validation, "the request cannot be read from standard input: %v", err).WithCause(err)
	}
	if len(data) > MaxRequest {
		_, _ = io.CopyN(io.Discard, r, maxDrain) // the answer is a refusal either way
		return nil, kmserr.New(kmserr.Validation, "the request is longer than the %d bytes allowed", MaxRequest)
	}
	return data, nil
}

// Run calls work and waits for it, at most for limit. A panic becomes an InternalException, the end of the time a
// DeadlineExceededException; then whatever work would still answer is lost, and its goroutine with the process.
func Run[T any](ctx context.Context, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type outcome struct {
		answer T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		finished := false
		defer func() {
			// recover alone would miss panic(nil) of older builds and runtime.Goexit; "did not finish" misses nothing.
			if r := recover(); !finished {
				var none T
				o = outcome{none, kmserr.New(kmserr.Internal, "the plugin stopped: %v", r).WithCure()}
			}
			done <- o
		}()
		deepen(stackRoom - 1)
		o.answer, o.err = work(ctx)
		finished = true
	}()
	var none T
	select {
	case o := <-done:
		if o.err != nil {
			return none, o.err
		}
		return o.answer, nil
	case <-ctx.Done():
		e := kmserr.New(kmserr.DeadlineExceeded, "no answer within %s", limit).WithCure().WithCause(ctx.Err())
		if errors.Is(ctx.Err(), context.Canceled) {
			e.Fact = "the call was cancelled"
		}
		return none, e
	}
}

// LogTime is how long a refusal waits for its line in the log, which itself waits two seconds for other writers.
const LogTime = 3 * time.Second

// LogRefusal leaves the line of a call that ended before the verifier wrote one: it could not be read, the store could not be
// opened, the time was over. The line is waited for at most for limit, LogTime unless the caller is about to give up. It
// returns the refusal, which stands without its line, and then says why there is none.
func LogRefusal(limit time.Duration, o verifier.Options, event, asked string, refusal error) error {
	_, err := Run(context.Background(), limit, func(ctx context.Context) (any, error) {
		return nil, verifier.LogRefusal(ctx, o, event, asked, refusal)
	})
	return verifier.Unlogged(refusal, err)
}

// stackRoom is how much stack, in bytes, a decision takes.
const stackRoom = 24 << 10

// deepen makes the goroutine's stack large enough for a decision at once. Growing by the way, a stack is doubled again and
// again: each time it is copied, and every function on it is looked up in the program's tables, which is a twentieth of a
// plugin's whole run (docs/benchmarks.md).
//
//go:noinline
func deepen(i int) byte {
	var room [stackRoom]byte
	return room[i]
}

// EnvExplain makes both plugins tell each step of a decision on standard error.
const EnvExplain = "AWSKMS_OFFLINE_EXPLAIN"

// Explain returns what writes each step to stderr, a line each, where the environment asks for it; else nil.
func Explain(program string, stderr io.Writer) func(verifier.Step) {
	if os.Getenv(EnvExplain) != "1" {
		return nil
	}
	return func(s verifier.Step) { fmt.Fprintf(stderr, "%s: %s\n", program, Line(s.String())) }
}

// Text returns err as one line for a protocol that has a single text: fact, then hint. It is never empty.
func Text(err error) string {
	e := kmserr.As(err)
	if e == nil {
		return "InternalException: refused without a reason"
	}
	text := e.Error()
	if e.Hint != "" {
		text += ". " + e.Hint
	}
	return Line(text)
}

// Line makes one line of text that acts on no terminal: line ends become "; ", other characters that do not print are
// escaped. A reason may quote what an attacker wrote into a key reference or a file.
func Line(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	return visible.Text(text)
}
