package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func collect(t *testing.T, path string, f Filter) (asked []string) {
	t.Helper()
	for entry, err := range Lines(t.Context(), path, f) {
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, entry.Asked)
	}
	return asked
}

func TestFilter(t *testing.T) {
	path := logPath(t)
	l := openLog(t, Config{Path: path, NoSync: true})
	l.cfg.RotateBytes = 5000
	appendAll(t, l, 1, 9)
	const keyID = "mrk-1234abcd12ab34cd56ef1234567890ab"
	d := decision(10)
	d.Asked, d.KeyARN, d.FrontEnd.Name = "arn:aws:kms:us-east-1:111122223333:key/"+keyID, "", "notation"
	d.FallbackARNs = []string{"arn:aws:kms:eu-west-1:111122223333:key/" + keyID}
	if err := l.Append(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	all := func(ns ...int) (asked []string) {
		for _, n := range ns {
			if n == 10 {
				asked = append(asked, d.Asked)
			} else {
				asked = append(asked, decision(n).Asked)
			}
		}
		return asked
	}
	at := func(n int) time.Time { return decision(n).EventTime.Time }
	for name, c := range map[string]struct {
		filter Filter
		want   []string
	}{
		"all":               {Filter{}, all(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)},
		"verified":          {Filter{Result: ResultVerified}, all(2, 4, 6, 8, 10)},
		"refused":           {Filter{Result: ResultRefused}, all(1, 3, 5, 7, 9)},
		"error":             {Filter{Result: "KMSInvalidSignatureException"}, all(1, 3, 5, 7, 9)},
		"other error":       {Filter{Result: "DisabledException"}, nil},
		"since":             {Filter{Since: at(9)}, all(9, 10)},
		"until":             {Filter{Until: at(3)}, all(1, 2)},
		"between":           {Filter{Since: at(3), Until: at(5)}, all(3, 4)},
		"front end":         {Filter{FrontEnd: "notation"}, all(10)},
		"alias":             {Filter{Key: "alias/release-4"}, all(4)},
		"ARN":               {Filter{Key: decision(1).KeyARN}, all(1, 2, 3, 4, 5, 6, 7, 8, 9)},
		"key ID":            {Filter{Key: keyID}, all(10)},
		"fallback":          {Filter{Key: "arn:aws:kms:eu-west-1:111122223333:key/" + keyID}, all(10)},
		"a part of a key":   {Filter{Key: "7890ab"}, nil},
		"all of them":       {Filter{Key: "alias/release-4", Result: ResultVerified, Since: at(4), FrontEnd: "test"}, all(4)},
		"all but one":       {Filter{Key: "alias/release-4", Result: ResultRefused, Since: at(4), FrontEnd: "test"}, nil},
		"no such front end": {Filter{FrontEnd: "Test"}, nil},
	} {
		if got := collect(t, path, c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// TestEntries: an entry says where it stands, and its bytes are those hashed.
func TestEntries(t *testing.T) {
	path := logPath(t)
	l := openLog(t, Config{Path: path, NoSync: true})
	l.cfg.RotateBytes = 5000
	appendAll(t, l, 1, 5)
	var places []string
	previous := Head{}.previous()
	for entry, err := range Lines(t.Context(), path, Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, fmt.Sprint(filepath.Base(entry.File), ":", entry.Number, ":", entry.Sequence))
		if entry.Previous != previous {
			t.Errorf("%d: previous is %s, expected %s", entry.Sequence, entry.Previous, previous)
		}
		previous = hexSHA256(entry.Raw)
	}
	rotated := rotatedName(FileName, 3)
	if want := []string{rotated + ":1:1", rotated + ":2:2", rotated + ":3:3", FileName + ":1:4", FileName + ":2:5"}; !slices.Equal(places, want) {
		t.Errorf("got %q", places)
	}
	for range Lines(t.Context(), path, Filter{}) {
		break // whoever has seen enough is not asked again
	}
}

// TestDamagedEntries: a damaged line is told of, and does not hide those behind it.
func TestDamagedEntries(t *testing.T) {
	path := newLog(t, 4)
	lines := readLinesWithEnds(t, path)
	lines[1] = "\x1b[31mnot a line\n"
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")+`{"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	for entry, err := range Lines(t.Context(), path, Filter{Result: ResultVerified}) {
		if err != nil && (!kmserr.Is(err, kmserr.AuditIntegrity) || entry.Verified || entry.Sequence != 0) {
			t.Errorf("got %+v, %v", entry, err)
		}
		got = append(got, fmt.Sprint(entry.Number, err != nil))
	}
	if want := []string{"2 true", "4 false", "5 true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
	for _, err := range Lines(t.Context(), path+"none", Filter{}) {
		if !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("got %v", err)
		}
	}
}

// TestLongDamage: a line that is longer than what is read at once is one line, told of once, and so is an end without a line
// feed, wherever it is.
func TestLongDamage(t *testing.T) {
	long := strings.Repeat("x", chunkSize)
	for name, c := range map[string]struct {
		change func(first []string) string
		want   []string
	}{
		"long":                   {func(l []string) string { return l[0] + long + long + "\n" + l[2] }, []string{"1 false", "2 true", "3 false"}},
		"long, and a line in it": {func(l []string) string { return long + l[0] + l[1] }, []string{"1 true", "2 false"}},
		"long without an end":    {func(l []string) string { return l[0] + long + long }, []string{"1 false", "2 true"}},
		"torn":                   {func(l []string) string { return l[0] + l[1][:50] }, []string{"1 false", "2 true"}},
		"its line feed":          {func(l []string) string { return l[0] + strings.TrimSuffix(l[1], "\n") }, []string{"1 false", "2 true"}},
	} {
		path, files := rotatedLog(t)
		if err := os.WriteFile(files[0], []byte(c.change(readLinesWithEnds(t, files[0]))), 0o600); err != nil {
			t.Fatal(err)
		}
		var got []string
		behind := 0
		for entry, err := range Lines(t.Context(), path, Filter{}) {
			if entry.File != files[0] {
				behind++
				continue
			}
			got = append(got, fmt.Sprint(entry.Number, " ", err != nil))
			if err != nil && (!kmserr.Is(err, kmserr.AuditIntegrity) || entry.Sequence != 0) {
				t.Errorf("%s: got %+v, %v", name, entry, err)
			}
		}
		if !slices.Equal(got, c.want) || behind != 9 {
			t.Errorf("%s: got %q, expected %q, and %d lines behind it", name, got, c.want, behind)
		}
		for _, err := range Lines(t.Context(), path, Filter{}) {
			if err != nil {
				break // whoever has seen enough is not asked again
			}
		}
	}
}

// TestReadingFails: a listing that was given up, or could not go on, says so; following has no other end than being given up.
func TestReadingFails(t *testing.T) {
	list := func(ctx context.Context, follow bool, path string, each func()) (n int, failed error) {
		t.Helper()
		lines := Lines
		if follow {
			lines = Follow
		}
		for _, err := range lines(ctx, path, Filter{}) {
			if each(); failed != nil {
				t.Fatalf("after the error %v comes %v", failed, err)
			}
			if failed = err; err == nil {
				n++
			}
		}
		return n, failed
	}
	for _, follow := range []bool{false, true} {
		path, files := rotatedLog(t)
		ctx := &givenUp{t.Context(), false}
		n, err := list(ctx, follow, path, func() { ctx.over = true })
		if n != 3 || follow != (err == nil) || !follow && !kmserr.Is(err, kmserr.AuditUnavailable) {
			t.Errorf("given up, following %t: %d lines, %v", follow, n, err)
		}
		long := contextFor(t, 10*time.Second)
		if err := errors.Join(os.Remove(files[1]), os.Mkdir(files[1], 0o700)); err != nil {
			t.Fatal(err)
		}
		n, err = list(long, follow, path, func() {})
		if unavailableError(t, err, "a folder"); n != 3 {
			t.Errorf("before a folder, following %t: %d lines", follow, n)
		}
		if err := errors.Join(os.Remove(path+lockSuffix), os.Mkdir(path+lockSuffix, 0o700)); err != nil {
			t.Fatal(err)
		}
		n, err = list(long, follow, path, func() {})
		if unavailableError(t, err, "a folder"); n != 0 || long.Err() != nil {
			t.Errorf("without a lock, following %t: %d lines, %v", follow, n, long.Err())
		}

		var got []error
		w := shower{follow: follow, yield: func(_ Entry, err error) bool { got = append(got, err); return true }}
		if w.lines(t.Context(), path, &section{SectionReader: io.NewSectionReader(&failsOnce{}, 0, 10)}) || len(got) != 1 {
			t.Fatalf("following %t, got %v", follow, got)
		}
		unavailableError(t, got[0], path, syscall.EIO.Error())
	}
}

// failsOnce is a file that cannot be read, and then is empty.
type failsOnce struct{ failed bool }

func (f *failsOnce) ReadAt([]byte, int64) (int, error) {
	if f.failed {
		return 0, io.EOF
	}
	f.failed = true
	return 0, syscall.EIO
}

// TestFollowEnds: with whoever listens, and with its context, even where it waits for the log.
func TestFollowEnds(t *testing.T) {
	path := newLog(t, 3)
	ctx := contextFor(t, 10*time.Second)
	for range Follow(ctx, path, Filter{}) {
		break
	}
	if ctx.Err() != nil {
		t.Error("it goes on when nobody listens")
	}
	held, err := lockedfile.OpenFile(path+lockSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, err := range Follow(contextFor(t, 30*time.Millisecond), path, Filter{}) {
		t.Errorf("got %v", err)
	}
}

// TestFollowMended: an end that a crash left is not a line, however long it is, and hides none that is written in its place.
func TestFollowMended(t *testing.T) {
	path := newLog(t, 2)
	if err := os.Truncate(path, sizeOf(t, path)+chunkSize+MaxLine); err != nil { // by zeros
		t.Fatal(err)
	}
	var got []string
	for entry, err := range Follow(contextFor(t, 10*time.Second), path, Filter{}) {
		if got = append(got, fmt.Sprint(entry.Number, entry.Sequence, err)); entry.Number == 2 {
			appendAll(t, openLog(t, Config{Path: path, NoSync: true}), 3, 3)
		}
		if entry.Number == 3 {
			break
		}
	}
	if want := []string{"1 1 <nil>", "2 2 <nil>", "3 3 <nil>"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestFollowNewLog: a log that is emptied, or removed and made anew, which some file systems do under the number of the old
// one, is read from its start.
func TestFollowNewLog(t *testing.T) {
	path := newLog(t, 3)
	var got []string
	for entry, err := range Follow(contextFor(t, 10*time.Second), path, Filter{}) {
		if got = append(got, fmt.Sprint(entry.Number, entry.Sequence, err)); len(got) == 3 {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			appendAll(t, openLog(t, Config{Path: path, NoSync: true}), 1, 2)
		}
		if len(got) == 5 {
			break
		}
	}
	if want := []string{"1 1 <nil>", "2 2 <nil>", "3 3 <nil>", "1 1 <nil>", "2 2 <nil>"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestFollow: each line once, in order, from before the log was there, through rotations and a crash.
func TestFollow(t *testing.T) {
	path := logPath(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	const n = 30
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		l, err := NewFileLog(Config{Path: path, NoSync: true})
		if err != nil {
			t.Error(err)
			return
		}
		l.cfg.RotateBytes, l.wait = 5000, time.Minute
		for i := 1; i <= n; i++ {
			if i == n/2 {
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Error(err)
					return
				}
				f.WriteString(`{"eventVersion":"torn`)
				f.Close()
				time.Sleep(2 * pollEvery)
			}
			if err := l.Append(context.Background(), decision(i)); err != nil {
				t.Error(err)
			}
			if i%5 == 0 {
				time.Sleep(pollEvery / 3)
			}
		}
	}()
	var got []int64
	for entry, err := range Follow(ctx, path, Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry.Sequence)
		if entry.Sequence == n {
			time.AfterFunc(3*pollEvery, stop)
		}
	}
	<-writing
	if len(got) != n || !slices.IsSorted(got) || got[0] != 1 {
		t.Errorf("got %d", got)
	}
}
