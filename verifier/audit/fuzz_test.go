package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// FuzzDecodeLine: whatever is taken for a line is what marshal writes, but for escapes of an earlier build, and the quick look
// agrees with the full one.
func FuzzDecodeLine(f *testing.F) {
	l := newLine(decision(1))
	l.follow(Head{Sequence: 41, Hash: sha256.Sum256(nil)})
	data, err := l.appendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:len(data)-1])
	l.Home = "/home/ü\U0002ebf0\u202e"
	if data, err = l.appendTo(nil); err != nil {
		f.Fatal(err)
	}
	f.Add(data[:len(data)-1])
	f.Add(bytes.ReplaceAll(data[:len(data)-1], []byte("\U0002ebf0"), []byte(`\ud87a\udff0`)))
	for _, before := range []int64{0, maxSequence - 1} { // the first line, and the last that can be counted
		l.follow(Head{Sequence: before})
		if data, err = l.appendTo(nil); err != nil {
			f.Fatal(err)
		}
		f.Add(data[:len(data)-1])
	}
	for _, seed := range []string{"", "{}", "null", "\x00", `{"eventVersion":"1.0","sequence":1,"previous":"` + strings.Repeat("0", 64) + `","eventTime":1}`,
		`{"eventVersion":"1.0","sequence":9007199254740993}`, `{"eventVersion":"2.0","sequence":1,"previous":"` + strings.Repeat("a", 64) + `","eventTime":"2026-11-23T11:00:00Z","new":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, full, err := decodeLine(b)
		if err != nil {
			if l.Sequence != 0 || l.Verified {
				t.Fatalf("with %v came %+v", err, l)
			}
			return
		}
		again, err := l.appendTo(nil)
		if err != nil || string(again) != string(b)+"\n" && !bytes.Contains(b, []byte(`\u`)) {
			t.Fatalf("%v: %q was read, %q is written", err, b, again)
		}
		if same, _, err := decodeLine(again[:len(again)-1]); err != nil || !reflect.DeepEqual(same, l) || len(again) > len(b)+1 {
			t.Fatalf("%v: %q was read, %q is written, which means something else", err, b, again)
		}
		quick, ok := quickPlace(b)
		if !ok || quick.sequence != full.sequence || quick.previous != full.previous {
			t.Fatalf("the quick look says %v, %+v; the full one %+v", ok, quick, full)
		}
	})
}

// FuzzTail: whatever a log's file holds, its end is found without a panic and inside the file, and a writer that goes on
// leaves a last line of its own, and every byte before the end that it found.
func FuzzTail(f *testing.F) {
	l := newLine(decision(1))
	l.follow(Head{})
	line, err := l.appendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(bytes.Clone(line), line[:50]...))
	f.Add(append(bytes.Clone(line), "\x00\x00\n\n{}"...))
	f.Add([]byte(`{"eventVersion":"1.0`))
	f.Add([]byte("{}\n"))
	f.Add([]byte{})
	path := filepath.Join(f.TempDir(), FileName)
	f.Fuzz(func(t *testing.T, b []byte) {
		end, err := findTail(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if end.end < 0 || end.end > int64(len(b)) || end.end == 0 && !end.head.IsZero() || end.end > 0 && b[end.end-1] != '\n' {
			t.Fatalf("got %+v of %d bytes", end, len(b))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openLog(t, Config{Path: path, NoSync: true}).Append(t.Context(), decision(2)); err != nil {
			if end.head.Sequence == maxSequence {
				return
			}
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(after, b[:end.end]) {
			t.Fatalf("%v: what was before the end has changed", err)
		}
		l, _, err := decodeLine(bytes.TrimSuffix(after[end.end:], []byte("\n")))
		if err != nil || l.Sequence != end.head.Sequence+1 || l.Previous != end.head.previous() || (l.Recovered != nil) != (end.end < int64(len(b))) {
			t.Fatalf("%v: the line is %q", err, after[end.end:])
		}
		if l.Recovered != nil {
			aside := filepath.Join(filepath.Dir(path), l.Recovered.File)
			if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, b[end.end:]) {
				t.Fatalf("%v: kept aside is %q", err, kept)
			}
			os.Remove(aside)
		}
	})
}

// FuzzChunker: cut into lines and put together again, a file is what it was.
func FuzzChunker(f *testing.F) {
	f.Add([]byte("a\nb\n"), 3)
	f.Add([]byte(strings.Repeat("x", chunkSize)+"\n\n"), 1)
	f.Add([]byte(strings.Repeat("x", chunkSize-2)+"\nx"), chunkSize)
	f.Add([]byte(strings.Repeat("line\n", chunkSize/2)), chunkSize)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		step = max(1, step%(2*chunkSize))
		var again []byte
		var lines int
		for chunks := (&chunker{r: &stutter{b, step}}); ; {
			data, err := chunks.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(data) == 0 || len(data) > chunkSize {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
			again = append(again, data...)
			if data[len(data)-1] != '\n' && len(data) < chunkSize && len(again) != len(b) {
				t.Fatal("a piece ends within a line")
			}
			for rest, whole := data, false; len(rest) > 0; {
				if _, rest, whole = cutLine(rest); whole {
					lines++
				}
			}
		}
		if !bytes.Equal(again, b) || lines != bytes.Count(b, []byte("\n")) {
			t.Fatalf("%d bytes and %d lines of %d", len(again), lines, len(b))
		}
	})
}

// stutter reads at most step bytes at once.
type stutter struct {
	rest []byte
	step int
}

func (s *stutter) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.step)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// FuzzTamper: a log in which any bytes were replaced by any others is not intact: against a head that was noted wherever
// the change is, and without one wherever it is before the last line. Nothing put behind the end is a line of the chain.
func FuzzTamper(f *testing.F) {
	path := newLog(f, 6)
	lines := readLines(f, path)
	whole := []byte(strings.Join(lines, "") + "\n")
	last := len(whole) - len(lines[5]) - 1
	report, err := Verify(f.Context(), path, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), uint32(0), []byte(nil))
	f.Add(uint32(0), uint32(len(lines[0])), []byte(nil))
	f.Add(uint32(len(lines[0])), uint32(0), []byte(lines[1]))
	f.Add(uint32(last), uint32(len(whole)), []byte("{}\n"))
	f.Add(uint32(len(whole)), uint32(0), []byte("\n"))
	f.Fuzz(func(t *testing.T, at, cut uint32, put []byte) {
		from := int(at) % (len(whole) + 1)
		to := from + int(cut)%(len(whole)-from+1)
		changed := slices.Concat(whole[:from], put, whole[to:])
		if len(changed) == 0 || bytes.Equal(changed, whole) {
			return
		}
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(t.Context(), path, Options{ExpectHead: report.Last}); err == nil || r.Intact {
			t.Fatalf("the bytes %d to %d are now %q, and the log is intact: %+v", from, to, put, r)
		} else if !kmserr.Is(err, kmserr.AuditIntegrity) {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(changed, whole[last:]) {
			return
		}
		if r, err := Verify(t.Context(), path, Options{}); err == nil || r.Intact {
			t.Fatalf("the bytes %d to %d are now %q, and the log is intact although its last line is the same: %+v", from, to, put, r)
		}
	})
}

// FuzzParseHead: a head has one spelling.
func FuzzParseHead(f *testing.F) {
	f.Add("1:" + strings.Repeat("0a", 32))
	f.Add("0:" + strings.Repeat("00", 32))
	f.Add("+1:" + strings.Repeat("0A", 32))
	f.Add("9007199254740992:" + strings.Repeat("00", 32))
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHead(text)
		if err != nil {
			if !h.IsZero() || !kmserr.Is(err, kmserr.Validation) {
				t.Fatalf("%q: %v, %v", text, h, err)
			}
			return
		}
		if h.String() != text || h.Sequence < 0 || h.Sequence > maxSequence {
			t.Fatalf("%q is %v", text, h)
		}
	})
}
