package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func decisions(from, to int) []Decision {
	var all []Decision
	for n := from; n <= to; n++ {
		all = append(all, decision(n))
	}
	return all
}

// TestGroup: a group is written in its order, with one flush, and lines of other writers do not come between.
func TestGroup(t *testing.T) {
	path := logPath(t)
	l := openLog(t, Config{Path: path})
	synced := 0
	l.sync = func(f *os.File) error { synced++; return f.Sync() }
	for _, group := range [][]Decision{nil, decisions(1, 1), decisions(2, 100)} {
		if err := l.AppendAll(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	if intact(t, path, 100, Options{}); synced != 2 {
		t.Errorf("%d flushes", synced)
	}
	for i, line := range parsed(t, path) {
		if line["sequence"] != float64(i+1) || line["asked"] != decision(i+1).Asked {
			t.Errorf("line %d is %v", i+1, line)
		}
	}

	var done sync.WaitGroup
	const writers, groups, size = 4, 5, 7
	for w := range writers {
		done.Go(func() {
			log := openLog(t, Config{Path: path, NoSync: true})
			for range groups {
				group := decisions(1, size)
				for i := range group {
					group[i].Home = strings.Repeat("w", w+1)
				}
				if err := log.AppendAll(t.Context(), group); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	intact(t, path, 100+writers*groups*size, Options{})
	homes := parsed(t, path)[100:]
	for i, line := range homes {
		if line["home"] != homes[i-i%size]["home"] {
			t.Fatalf("line %d is of another group than those before", i)
		}
	}
}

// TestGroupRotates: the limit of a file holds inside a group too.
func TestGroupRotates(t *testing.T) {
	path := logPath(t)
	l := openLog(t, Config{Path: path})
	l.cfg.RotateBytes = 5000 // about three lines
	if err := l.AppendAll(t.Context(), decisions(1, 20)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + ".0*")
	if err != nil || len(files) != 6 {
		t.Fatalf("got %q, %v", files, err)
	}
	for _, file := range append(files, path) {
		if info, err := os.Stat(file); err != nil || info.Size() > 5000 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	intact(t, path, 20, Options{})
}

// TestGroupAfterCrash: the first line of a group tells of what a crash left, and the rest follows it.
func TestGroupAfterCrash(t *testing.T) {
	path := newLog(t, 2)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(data, `{"half`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openLog(t, Config{Path: path}).AppendAll(t.Context(), decisions(3, 9)); err != nil {
		t.Fatal(err)
	}
	if r := intact(t, path, 9, Options{}); r.Recovered != 1 {
		t.Errorf("%d lines tell of it", r.Recovered)
	}
}

// TestGroupFails: nothing of a group is promised that was not written and flushed as a whole.
func TestGroupFails(t *testing.T) {
	path := newLog(t, 2)
	l := openLog(t, Config{Path: path})
	l.write = func(f *os.File, b []byte) (int, error) {
		n, _ := f.Write(b[:len(b)/2])
		return n, syscall.ENOSPC
	}
	unavailableError(t, l.AppendAll(t.Context(), decisions(3, 30)), "Make room on the disk")
	intact(t, path, 2, Options{})
	l = openLog(t, Config{Path: path})
	l.sync = func(*os.File) error { return syscall.EIO }
	unavailableError(t, l.AppendAll(t.Context(), decisions(3, 30)), "flushed")
	unavailableError(t, (*FileLog)(nil).AppendAll(t.Context(), decisions(1, 2)), "NewFileLog")
	unavailableError(t, openLog(t, Config{Path: "-", Writer: failingWriter{}}).AppendAll(t.Context(), decisions(1, 2)), "standard error")

	var out bytes.Buffer
	if err := openLog(t, Config{Path: "-", Writer: &out}).AppendAll(t.Context(), decisions(1, 5)); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 5 {
		t.Errorf("%v: %s", err, out.Bytes())
	}
}
