package progress

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReader(t *testing.T) {
	ctx := context.Background()
	over, cancel := context.WithCancel(ctx)
	cancel()
	own := errors.New("its own")
	now, end := context.WithCancel(ctx)
	pauses := 0
	for name, c := range map[string]struct {
		ctx   context.Context
		r     io.Reader
		want  string
		err   error
		holds string
	}{
		"a text":              {ctx, strings.NewReader("text"), "text", nil, ""},
		"byte by byte":        {ctx, iotest.OneByteReader(strings.NewReader("text")), "text", nil, ""},
		"data beside the end": {ctx, iotest.DataErrReader(strings.NewReader("text")), "text", nil, ""},
		"an error of its own": {ctx, io.MultiReader(strings.NewReader("te"), iotest.ErrReader(own)), "te", own, ""},
		"nothing for ever":    {ctx, readerFunc(func([]byte) (int, error) { return 0, nil }), "", io.ErrNoProgress, ""},
		"more than there was": {ctx, readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil }), "", nil, "bytes to a read of"},
		"less than nothing":   {ctx, readerFunc(func([]byte) (int, error) { return -1, nil }), "", nil, "-1 bytes"},
		"when all is over":    {over, strings.NewReader("text"), "", context.Canceled, ""},
		"until all is over":   {now, readerFunc(func(p []byte) (int, error) { end(); p[0] = 'x'; return 1, nil }), "x", context.Canceled, ""},
		"with pauses between it": {ctx, readerFunc(func(p []byte) (int, error) {
			if pauses++; pauses%maxEmpty != 0 {
				return 0, nil
			}
			if p[0] = 'x'; pauses == 3*maxEmpty {
				return 1, io.EOF
			}
			return 1, nil
		}), "xxx", nil, ""},
	} {
		got, err := io.ReadAll(Reader(c.ctx, c.r))
		if string(got) != c.want || c.holds == "" && !errors.Is(err, c.err) || c.holds != "" && (err == nil || !strings.Contains(err.Error(), c.holds)) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if n, err := Reader(ctx, strings.NewReader("text")).Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing: %d, %v", n, err)
	}
}
