package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxTorn bounds, in bytes, the incomplete end that a writer mends by itself. A crash of a process leaves less than one
// line; a crash of the machine may leave as much as was not flushed yet, often zeros.
const maxTorn = 4 << 20

// tail is the end of one file of the log.
type tail struct {
	// head is the last whole line; zero if the file has none.
	head Head
	time time.Time
	// end is where that line ends, its line feed included. What follows is torn.
	end int64
}

var errForeign = errors.New("holds no line of a log, and something else")

// begun reports whether a file without a whole line is what a crash in its first one leaves: its beginning, or zeros.
// Anything else is somebody's file that was named by mistake.
func begun(b []byte) bool {
	const start = `{"eventVersion":"`
	if len(b) < MaxLine && string(b[:min(len(b), len(start))]) == start[:min(len(b), len(start))] {
		return true
	}
	return len(bytes.Trim(b, "\x00")) == 0
}

var errDamaged = errors.New("has no line of a log within its last 4194304 bytes") // maxTorn

// findTail reads the end of a file of size bytes. Errors: of reading; a last line that is JSON, but no line of a log,
// which no crash leaves; errForeign; errDamaged.
func findTail(r io.ReaderAt, size int64) (tail, error) {
	// Nearly every line fits in the first window.
	for _, window := range []int64{8 << 10, maxTorn + MaxLine} {
		length := min(size, window)
		buf := make([]byte, length)
		if _, err := r.ReadAt(buf, size-length); err != nil && !errors.Is(err, io.EOF) {
			return tail{}, err
		}
		start, end, place, err := lastLine(buf, length == size)
		if err != nil {
			return tail{}, err
		}
		if end > 0 {
			return tail{
				head: Head{Sequence: place.sequence, Hash: sha256.Sum256(buf[start : end-1])},
				time: place.time, end: size - length + int64(end),
			}, nil
		}
		if length == size {
			if !begun(buf) {
				return tail{}, errForeign
			}
			return tail{}, nil
		}
	}
	return tail{}, errDamaged
}

// lastLine finds the last whole line in buf, which is the end of a file, or all of it. end is past its line feed, and 0
// if there is none.
func lastLine(buf []byte, all bool) (start, end int, p place, err error) {
	end = bytes.LastIndexByte(buf, '\n') + 1
	for end > 0 {
		start = bytes.LastIndexByte(buf[:end-1], '\n') + 1
		if start == 0 && !all {
			return 0, 0, p, nil // perhaps a part of a line
		}
		switch p, err = decodePlace(buf[start : end-1]); {
		case err == nil:
			return start, end, p, nil
		case !errors.Is(err, errNoObject) && !errors.Is(err, errTooLong):
			return 0, 0, p, fmt.Errorf("has a last line that is JSON but no line of this log: it %w", err)
		}
		end = start
	}
	return 0, 0, p, nil
}
