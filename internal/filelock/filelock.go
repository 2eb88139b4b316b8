// Package filelock takes the lock of a file, and gives up where another process keeps it too long.
package filelock

import (
	"context"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/awskms-offline/awskms-offline/internal/durable"
)

// Acquire opens the file at path by flag, where O_CREATE makes it for its owner alone, and locks it: for one if flag writes,
// else shared with other readers. It gives up, with the cause of ctx's end, when ctx is done. left is called once the lock is
// not held and not waited for any more, be it before Acquire returns. The lock belongs to the open file: a process that
// dies gives it back.
func Acquire(ctx context.Context, path string, flag int, left func()) (release func() error, err error) {
	type answer struct {
		file *lockedfile.File
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		f, err := lockedfile.OpenFile(path, flag|nonblock, durable.FilePerm)
		answers <- answer{f, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			left()
			return nil, a.err
		}
		return func() error {
			defer left()
			return a.file.Close()
		}, nil
	case <-ctx.Done():
		// The system's call cannot be broken off. What it will get is given back at once.
		go func() {
			if a := <-answers; a.err == nil {
				_ = a.file.Close()
			}
			left()
		}()
		return nil, context.Cause(ctx)
	}
}
