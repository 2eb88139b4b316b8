// Package progress reads from readers of others for functions of the standard library that trust them: io.ReadAll and
// io.ReadFull ask a reader that answers with neither data nor error for ever, and ask on when nobody waits any more.
package progress

import (
	"context"
	"fmt"
	"io"
)

// maxEmpty is how often a reader may answer with neither data nor error, as in package bufio.
const maxEmpty = 100

// Reader returns a reader of what r has. It ends with ctx's error before the first read after the end of ctx, with
// io.ErrNoProgress once r has answered with nothing a hundred times in turn, and with an error of its own if r says that it
// read more than it was asked for. A Read that never returns it cannot help.
func Reader(ctx context.Context, r io.Reader) io.Reader { return &reader{ctx: ctx, r: r} }

type reader struct {
	ctx   context.Context
	r     io.Reader
	empty int
}

func (p *reader) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	switch {
	case n < 0 || n > len(b):
		return 0, fmt.Errorf("the reader answered %d bytes to a read of %d", n, len(b))
	case n > 0 || err != nil || len(b) == 0:
		p.empty = 0
		return n, err
	}
	if p.empty++; p.empty == maxEmpty {
		return 0, io.ErrNoProgress
	}
	return 0, nil
}
