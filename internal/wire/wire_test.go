package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// counting counts what was read of it.
type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func TestReadRequest(t *testing.T) {
	for _, size := range []int{0, 1, MaxRequest - 1, MaxRequest} {
		want := bytes.Repeat([]byte("x"), size)
		got, err := ReadRequest(bytes.NewReader(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
	for _, size := range []int{MaxRequest + 1, 5 * MaxRequest} {
		r := &counting{Reader: bytes.NewReader(make([]byte, size))}
		got, err := ReadRequest(r)
		if got != nil || !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "4194304") {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		if r.n != int64(size) {
			t.Errorf("%d of %d bytes were drained", r.n, size)
		}
	}
	r := &counting{Reader: zeros{}}
	if got, err := ReadRequest(r); got != nil || err == nil || r.n > MaxRequest+1+maxDrain {
		t.Errorf("an endless request: %d bytes, %v, %d read", len(got), err, r.n)
	}
	if got, err := ReadRequest(io.MultiReader(strings.NewReader("{}"), failing{})); got != nil || !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "the pipe broke") {
		t.Errorf("a broken pipe: %q, %v", got, err)
	}
}

func TestRun(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		work func(context.Context) (string, error)
		want string
		name kmserr.Name
		says string
	}{
		"answer":        {work: func(context.Context) (string, error) { return "yes", nil }, want: "yes"},
		"error":         {work: func(context.Context) (string, error) { return "", kmserr.New(kmserr.NotFound, "gone") }, name: kmserr.NotFound, says: "gone"},
		"both":          {work: func(context.Context) (string, error) { return "yes", io.EOF }, name: kmserr.Internal, says: "EOF"},
		"panic":         {work: func(context.Context) (string, error) { panic("oh no") }, name: kmserr.Internal, says: "oh no"},
		"panic late":    {work: func(context.Context) (s string, err error) { defer func() { panic("late") }(); return "yes", nil }, name: kmserr.Internal, says: "late"},
		"panic of nil":  {work: func(context.Context) (string, error) { panic(error(nil)) }, name: kmserr.Internal, says: "stopped"},
		"nil pointer":   {work: func(context.Context) (string, error) { var p *string; return *p, nil }, name: kmserr.Internal, says: "nil pointer"},
		"goexit":        {work: func(context.Context) (string, error) { runtime.Goexit(); return "yes", nil }, name: kmserr.Internal, says: "stopped"},
		"hangs":         {work: func(context.Context) (string, error) { select {} }, name: kmserr.DeadlineExceeded, says: "no answer within 50ms"},
		"waits for ctx": {work: func(ctx context.Context) (string, error) { <-ctx.Done(); time.Sleep(time.Minute); return "yes", nil }, name: kmserr.DeadlineExceeded},
		"cancelled":     {ctx: over, work: func(context.Context) (string, error) { select {} }, name: kmserr.DeadlineExceeded, says: "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := c.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			start := time.Now()
			got, err := Run(ctx, 50*time.Millisecond, c.work)
			if time.Since(start) > 10*time.Second {
				t.Errorf("took %s", time.Since(start))
			}
			if c.name == "" {
				if err != nil || got != c.want {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if got != "" || kmserr.As(err).Name != c.name || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, %v, expected %s", got, err, c.name)
			}
		})
	}
}

func TestRunBoundsTheContext(t *testing.T) {
	_, err := Run(context.Background(), time.Minute, func(ctx context.Context) (int, error) {
		end, ok := ctx.Deadline()
		if left := time.Until(end); !ok || left > time.Minute || left < 50*time.Second {
			t.Errorf("%s are left (%t)", left, ok)
		}
		return 0, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A text is never empty: cosign takes an empty error for a yes.
func TestText(t *testing.T) {
	var none *kmserr.Error
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "InternalException: refused without a reason"},
		{kmserr.New(kmserr.NotFound, "gone"), "NotFoundException: gone"},
		{kmserr.New(kmserr.NotFound, "gone").WithHint("Look."), "NotFoundException: gone. Look."},
		{errors.New(""), "InternalException: " + kmserr.Lookup(kmserr.Internal).Meaning},
		{&kmserr.Error{}, "InternalException: " + kmserr.Lookup(kmserr.Internal).Meaning},
		{none, "InternalException: " + kmserr.Lookup(kmserr.Internal).Meaning},
		{io.EOF, "InternalException: EOF"},
		{errors.Join(errors.New("a\r"), errors.New("b")), "InternalException: a; b"},
		{kmserr.New(kmserr.Validation, "\n"), "ValidationException: "},
		{kmserr.New(kmserr.Validation, "a\x1b[2Jb\u202ec\x9bd"), `ValidationException: a\x1b[2Jb\u202ec�d`},
	} {
		got := Text(c.err)
		if c.want == "InternalException: "+kmserr.Lookup(kmserr.Internal).Meaning {
			if !strings.HasPrefix(got, "InternalException: ") || len(got) < 25 {
				t.Errorf("got %q", got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("got %q, expected %q", got, c.want)
		}
	}
}
