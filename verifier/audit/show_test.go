package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestFollow: each line once, in order, from before the log was there, through rotations and a crash.
func TestFollow(t *testing.T) {
	path := logPath(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	const n = 30
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		l, err := OpenFile(Config{Path: path, NoSync: true})
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
