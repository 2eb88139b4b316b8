package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func TestOpenFileRefuses(t *testing.T) {
	abs := logPath(t)
	for name, c := range map[string]struct {
		cfg  Config
		want kmserr.Name
	}{
		"empty":        {Config{}, kmserr.Validation},
		"relative":     {Config{Path: "audit.jsonl"}, kmserr.Validation},
		"tilde":        {Config{Path: "~/audit.jsonl"}, kmserr.Validation},
		"no writer":    {Config{Path: "-"}, kmserr.Internal},
		"negative":     {Config{Path: abs, RotateBytes: -1}, kmserr.Validation},
		"tiny":         {Config{Path: abs, RotateBytes: MaxLine - 1}, kmserr.Validation},
		"good":         {Config{Path: abs, RotateBytes: MaxLine}, ""},
		"good, writer": {Config{Path: "-", Writer: io.Discard}, ""},
	} {
		l, err := OpenFile(c.cfg)
		if (l == nil) == (err == nil) || c.want != "" && !kmserr.Is(err, c.want) || c.want == "" && err != nil {
			t.Errorf("%s: got %v, %v", name, l, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(abs)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening alone touched the disk: %v", err)
	}
}

// TestZeroLog: a log that was not made promises nothing.
func TestZeroLog(t *testing.T) {
	for _, l := range []*FileLog{nil, {}} {
		unavailableError(t, l.Append(t.Context(), decision(1)))
		if l.Required() {
			t.Error("it is required")
		}
	}
	if !openLog(t, Config{Path: "-", Writer: io.Discard, Required: true}).Required() {
		t.Error("it is not required")
	}
}

func TestPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", FileName)
	appendAll(t, openLog(t, Config{Path: path}), 1, 1)
	if runtime.GOOS == "windows" {
		t.Skip("modes are not Windows's")
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, path + lockSuffix: 0o600, filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	for name, c := range map[string]struct {
		change func() error
		says   string
	}{
		"file":   {func() error { return os.Chmod(path, 0o602) }, "can be written by everyone"},
		"folder": {func() error { return os.Chmod(filepath.Dir(path), 0o707) }, "can be written by everyone"},
		"above":  {func() error { return os.Chmod(filepath.Dir(filepath.Dir(path)), 0o707) }, "can be written by everyone"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			unavailableError(t, openLog(t, Config{Path: path}).Append(t.Context(), decision(2)), c.says, "chmod o-w")
			if _, err := openLog(t, Config{Path: path}).LastTime(); err == nil {
				t.Error("its last time is believed")
			}
			if err := openLog(t, Config{Path: path, UnsafePermissions: true}).Append(t.Context(), decision(2)); err != nil {
				t.Errorf("with UnsafePermissions: %v", err)
			}
			for _, mend := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
				if err := os.Chmod(mend, 0o700); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestNoOrdinaryFile: nothing but a file is written to, and never by way of a link.
func TestNoOrdinaryFile(t *testing.T) {
	for _, name := range []string{FileName, FileName + lockSuffix} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			victim := filepath.Join(dir, "victim")
			if err := os.WriteFile(victim, []byte("mine\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			makers := map[string]func() error{
				"a folder": func() error { return os.Mkdir(path, 0o700) },
				"a link":   func() error { return os.Symlink(victim, path) },
			}
			for what, make := range makers {
				if err := make(); err != nil {
					t.Skip(err)
				}
				unavailableError(t, openLog(t, Config{Path: filepath.Join(dir, FileName)}).Append(t.Context(), decision(1)), path+" is "+what)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(victim); err != nil || string(got) != "mine\n" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestForeignFile: a path that names somebody else's file by mistake is refused, and the file left as it is.
func TestForeignFile(t *testing.T) {
	for name, content := range map[string]string{
		"text":        "Dear diary\n",
		"one byte":    "x",
		"JSON":        `{"a":1}` + "\n",
		"JSON lines":  `{"a":1}` + "\n" + `{"a":2}` + "\n",
		"pretty JSON": "{\n \"a\": 1\n}\n",
		"binary":      "\x7fELF\x00\x01",
		"long":        strings.Repeat("long text without an end", MaxLine),
		"huge":        strings.Repeat("huge text\n", (maxTorn+MaxLine)/10+1000),
		"twice":       `{"eventVersion":"1.0","eventVersion":"1.0"}` + "\n",
		"other's log": `{"eventVersion":"1.08","eventTime":"2026-11-23T11:00:00Z"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			unavailableError(t, openLog(t, Config{Path: path}).Append(t.Context(), decision(1)), path, "audit verify")
			if got, err := os.ReadFile(path); err != nil || string(got) != content {
				t.Errorf("the file was changed: %d bytes, %v", len(got), err)
			}
			if files, _ := filepath.Glob(path + tornInfix + "*"); len(files) != 0 {
				t.Errorf("kept aside: %q", files)
			}
		})
	}
}

// TestNoPlace: where nothing can be written, an error says so at once.
func TestNoPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unavailableError(t, openLog(t, Config{Path: filepath.Join(file, "below", FileName)}).Append(t.Context(), decision(1)))
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("every folder can be written by this user")
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(closed, 0o700) })
	for _, path := range []string{filepath.Join(closed, FileName), filepath.Join(closed, "below", FileName)} {
		unavailableError(t, openLog(t, Config{Path: path}).Append(t.Context(), decision(1)), "Let the current user write it")
	}
}

// TestFailingDisk: a line that could not be written is an error, leaves the log as it was, and costs no other line.
func TestFailingDisk(t *testing.T) {
	for name, fail := range map[string]func(*FileLog){
		"full, nothing written": func(l *FileLog) {
			l.write = func(*os.File, []byte) (int, error) { return 0, syscall.ENOSPC }
		},
		"full, half written": func(l *FileLog) {
			l.write = func(f *os.File, b []byte) (int, error) {
				n, err := f.Write(b[:len(b)/2])
				return n, errors.Join(err, syscall.ENOSPC)
			}
		},
		"short write without an error": func(l *FileLog) {
			l.write = func(f *os.File, b []byte) (int, error) { return f.Write(b[:len(b)/2]) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newLog(t, 2)
			l := openLog(t, Config{Path: path})
			fail(l)
			err := l.Append(t.Context(), decision(3))
			unavailableError(t, err, path)
			if strings.HasPrefix(name, "full") {
				unavailableError(t, err, "Make room on the disk")
			}
			intact(t, path, 2, Options{})
			appendAll(t, openLog(t, Config{Path: path}), 4, 4)
			if r := intact(t, path, 3, Options{}); r.Recovered != 0 {
				t.Errorf("%d lines tell of a crash", r.Recovered)
			}
		})
	}
	t.Run("flush", func(t *testing.T) {
		path := newLog(t, 2)
		l := openLog(t, Config{Path: path})
		l.sync = func(*os.File) error { return syscall.EIO }
		unavailableError(t, l.Append(t.Context(), decision(3)), "flushed")
		l.cfg.NoSync = true
		appendAll(t, l, 4, 4) // asked for no flush, so none can fail
		intact(t, path, 4, Options{})
	})
}

// TestSyncBeforeReturn: each line is flushed, after it was written.
func TestSyncBeforeReturn(t *testing.T) {
	path := logPath(t)
	l := openLog(t, Config{Path: path})
	synced := 0
	l.sync = func(f *os.File) error {
		synced++
		if data, err := os.ReadFile(path); err != nil || bytes.Count(data, []byte("\n")) != synced {
			t.Errorf("flush %d of %d bytes, %v", synced, len(data), err)
		}
		return f.Sync()
	}
	appendAll(t, l, 1, 3)
	if synced != 3 {
		t.Errorf("%d flushes", synced)
	}
}

// TestTorn: what a crash leaves behind the last whole line is kept aside and named, and nothing else is touched.
func TestTorn(t *testing.T) {
	l := newLine(decision(3))
	l.follow(Head{Sequence: 2})
	next, err := l.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, torn := range map[string]string{
		"half a line":            string(next[:len(next)/2]),
		"all but the line feed":  string(next[:len(next)-1]),
		"one byte":               "{",
		"zeros":                  strings.Repeat("\x00", 5000),
		"zeros and a line feed":  strings.Repeat("\x00", 100) + "\n",
		"several broken lines":   "{\"event\nzzz\n\n{",
		"a megabyte of zeros":    strings.Repeat("\x00", 1<<20),
		"longer than a line":     "{" + strings.Repeat("x", MaxLine) + "\n",
		"a blank line":           "\n",
		"long, with a next part": string(next[:100]) + strings.Repeat("\x00", 3*MaxLine),
	} {
		for _, lines := range []int{2, 0} {
			if lines == 0 && !begun([]byte(torn)) {
				continue // TestForeignFile
			}
			t.Run(fmt.Sprint(name, lines), func(t *testing.T) {
				path := newLog(t, max(lines, 1))
				if lines == 0 {
					if err := os.Truncate(path, 0); err != nil {
						t.Fatal(err)
					}
				}
				before, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, append(slices.Clip(before), torn...), 0o600); err != nil {
					t.Fatal(err)
				}
				if report, err := Verify(t.Context(), path, Options{}); err == nil {
					t.Errorf("before it is mended it is taken for intact: %+v", report)
				}
				if head, err := HeadOf(t.Context(), path); err != nil || head.Sequence != int64(lines) {
					t.Errorf("the head is %v, %v", head, err)
				}
				log := openLog(t, Config{Path: path})
				if at, err := log.LastTime(); err != nil || !at.Equal(map[int]time.Time{2: someTime.Add(2 * time.Second)}[lines]) {
					t.Errorf("the last time is %v, %v", at, err)
				}
				appendAll(t, log, 3, 4)
				report := intact(t, path, int64(lines+2), Options{})
				if report.Recovered != 1 {
					t.Errorf("%d lines tell of it", report.Recovered)
				}
				after, err := os.ReadFile(path)
				if err != nil || !bytes.HasPrefix(after, before) {
					t.Errorf("the lines before were changed: %v", err)
				}
				recovered, _ := parsed(t, path)[lines]["recovered"].(map[string]any)
				aside, err := os.ReadFile(filepath.Join(filepath.Dir(path), fmt.Sprint(recovered["file"])))
				if err != nil || string(aside) != torn || recovered["bytes"] != float64(len(torn)) || recovered["sha256"] != hexSHA256(aside) {
					t.Errorf("kept aside: %v, %d bytes, %v", recovered, len(aside), err)
				}
			})
		}
	}
}

// TestTornCannotBeKept: where the incomplete end cannot be kept aside nothing is written over it.
func TestTornCannotBeKept(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("every folder can be written by this user")
	}
	path := newLog(t, 1)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("{torn")
	f.Close()
	before, _ := os.ReadFile(path)
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(path), 0o700)
	unavailableError(t, openLog(t, Config{Path: path}).Append(t.Context(), decision(2)), "cannot be kept aside")
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the log was changed")
	}
}

// TestTornTooMuch: what no crash leaves is not mended by itself.
func TestTornTooMuch(t *testing.T) {
	path := newLog(t, 1)
	if err := os.Truncate(path, maxTorn+2*MaxLine); err != nil {
		t.Fatal(err)
	}
	unavailableError(t, openLog(t, Config{Path: path}).Append(t.Context(), decision(2)), "no line of a log", "audit verify")
	if info, err := os.Stat(path); err != nil || info.Size() != maxTorn+2*MaxLine {
		t.Errorf("the log was changed: %v, %v", info.Size(), err)
	}
}

// TestLaterVersion: a line that a later version of the program wrote is gone on from, not taken for torn.
func TestLaterVersion(t *testing.T) {
	path := newLog(t, 1)
	lines := readLines(t, path)
	lines[0] = strings.Replace(lines[0], `{"eventVersion":"1.0"`, `{"new":[],"eventVersion":"2.0"`, 1) + "\n"
	writeLines(t, path, lines)
	appendAll(t, openLog(t, Config{Path: path}), 2, 2)
	got := parsed(t, path)
	if len(got) != 2 || got[0]["eventVersion"] != "2.0" || got[1]["sequence"] != 2.0 || got[1]["recovered"] != nil ||
		got[1]["previous"] != hexSHA256([]byte(strings.TrimSuffix(lines[0], "\n"))) {
		t.Errorf("got %v", got)
	}
	if b := broken(t, path, Options{}, Changed); !strings.Contains(b.Why, `eventVersion "2.0"`) {
		t.Errorf("got %v", b)
	}
}

// TestLock: the wait for other writers is bounded, by two seconds and by the context, and leaves nothing behind.
func TestLock(t *testing.T) {
	if lockWait != 2*time.Second {
		t.Errorf("a writer waits %v, expected two seconds", lockWait)
	}
	path := newLog(t, 1)
	held, err := lockedfile.OpenFile(path+lockSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := openLog(t, Config{Path: path})
	l.wait = 30 * time.Millisecond
	for range 3 {
		unavailableError(t, l.Append(t.Context(), decision(2)), "busy for more than 30ms")
	}
	if _, err := Verify(contextFor(t, 30*time.Millisecond), path, Options{}); err == nil {
		t.Error("a log in the middle of a write was read")
	}
	l.wait = time.Minute
	began := time.Now()
	unavailableError(t, l.Append(contextFor(t, 30*time.Millisecond), decision(2)), "the time was over")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	held.Close()
	// Those who gave up do not keep the lock either.
	appendAll(t, l, 2, 4)
	intact(t, path, 4, Options{})
}

// TestCrowded: a log that may lack lines holds up a caller with many questions for one wait, not for one a question; one that
// must have them waits for each, as a group does.
func TestCrowded(t *testing.T) {
	path := newLog(t, 1)
	held, err := lockedfile.OpenFile(path+lockSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	took := func(required bool, decisions ...Decision) time.Duration {
		l := openLog(t, Config{Path: path, Required: required})
		l.wait = 400 * time.Millisecond
		began := time.Now()
		for range 6 {
			unavailableError(t, l.AppendAll(t.Context(), decisions), "busy for more than 400ms")
		}
		return time.Since(began)
	}
	if d := took(false, decision(2)); d < 400*time.Millisecond || d > 2400*time.Millisecond {
		t.Errorf("six lines waited %v, expected one wait", d)
	}
	if d := took(true, decision(2)); d < 2400*time.Millisecond {
		t.Errorf("six required lines waited %v, expected six waits", d)
	}
	if d := took(false, decision(2), decision(3)); d < 2400*time.Millisecond {
		t.Errorf("six groups waited %v, expected six waits", d)
	}
	l := openLog(t, Config{Path: path})
	l.wait = 400 * time.Millisecond
	unavailableError(t, l.Append(t.Context(), decision(2)), "busy")
	held.Close()
	// All who gave up take the lock once more and give it back, which a busy machine does slowly; a line waits a fortieth of this.
	l.wait = 10 * time.Minute
	appendAll(t, l, 2, 4)
	intact(t, path, 4, Options{})
}

func contextFor(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestRotation: files stay below their size, the chain runs through all of them, and a file that is missing is found.
func TestRotation(t *testing.T) {
	for _, flush := range []bool{true, false} {
		path := logPath(t)
		l := openLog(t, Config{Path: path, NoSync: !flush})
		l.cfg.RotateBytes = 5000 // about three lines
		appendAll(t, l, 1, 20)
		files, err := filepath.Glob(path + ".0*")
		if err != nil || len(files) != 6 || filepath.Base(files[0]) != "audit.jsonl.0000000000000003" {
			t.Fatalf("got %q, %v", files, err)
		}
		for _, file := range append(files, path) {
			if info, err := os.Stat(file); err != nil || info.Size() > 5000 || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", file, info, err)
			}
		}
		report := intact(t, path, 20, Options{})
		if report.Files != 7 || report.First.Sequence != 1 || report.Last.Sequence != 20 {
			t.Errorf("got %+v", report)
		}
		// The last one of a file, and a prefix of files taken away on purpose.
		third := parsed(t, files[1])
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
		if b := broken(t, path, Options{}, Removed); b.Sequence != 1 || b.Number != 1 || b.File != files[1] || !strings.Contains(b.Why, "lines 1 to 3") {
			t.Errorf("got %+v", b)
		}
		start, err := ParseHead("3:" + third[0]["previous"].(string))
		if err != nil {
			t.Fatal(err)
		}
		intact(t, path, 17, Options{ExpectStart: start})
		start.Hash[0]++
		broken(t, path, Options{ExpectStart: start}, Changed)
		if err := os.Remove(files[3]); err != nil {
			t.Fatal(err)
		}
		start.Hash[0]--
		if b := broken(t, path, Options{ExpectStart: start}, Removed); b.Sequence != 10 || b.File != files[4] {
			t.Errorf("got %+v", b)
		}
	}
}

// TestRotationGoesOn: a crash between the renaming and the first line of the new file, and a file that cannot be renamed.
func TestRotationGoesOn(t *testing.T) {
	path := newLog(t, 3)
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), rotatedName(FileName, 3))); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, Config{Path: path})
	if at, err := l.LastTime(); err != nil || !at.Equal(someTime.Add(3*time.Second)) {
		t.Errorf("the last time is %v, %v", at, err)
	}
	intact(t, path, 3, Options{})
	appendAll(t, l, 4, 4)
	intact(t, path, 4, Options{})

	// Of a new file with nothing in it, or only a torn line.
	for n, content := range []string{"", `{"eventVersion":"1.0","seq`} {
		n += 5
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), rotatedName(FileName, int64(n-1)))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if at, err := l.LastTime(); err != nil || !at.Equal(someTime.Add(time.Duration(n-1)*time.Second)) {
			t.Errorf("the last time is %v, %v", at, err)
		}
		appendAll(t, l, n, n)
		intact(t, path, int64(n), Options{})
	}

	// Something has the name already.
	occupied := filepath.Join(filepath.Dir(path), rotatedName(FileName, 6))
	if err := os.Mkdir(occupied, 0o700); err != nil {
		t.Fatal(err)
	}
	l.cfg.RotateBytes = 1
	appendAll(t, l, 7, 7)
	if err := os.Remove(occupied); err != nil {
		t.Fatal(err)
	}
	intact(t, path, 7, Options{})
	appendAll(t, l, 8, 9)
	intact(t, path, 9, Options{})
	occupied = filepath.Join(filepath.Dir(path), rotatedName(FileName, 9))
	if err := os.WriteFile(occupied, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, 10, 10)
	if got, err := os.ReadFile(occupied); err != nil || string(got) != "mine" {
		t.Errorf("what had the name of the rotated file is %q, %v", got, err)
	}
}

// TestRotatedIsFlushed: a file is flushed before it is rotated, since of two files the later one may reach the disk first.
func TestRotatedIsFlushed(t *testing.T) {
	path := newLog(t, 1)
	l := openLog(t, Config{Path: path})
	l.cfg.RotateBytes = 1
	var flushed []fs.FileInfo
	l.sync = func(f *os.File) error {
		info, err := f.Stat()
		flushed = append(flushed, info)
		return errors.Join(err, f.Sync())
	}
	appendAll(t, l, 2, 2)
	old, err := os.Stat(filepath.Join(filepath.Dir(path), rotatedName(FileName, 1)))
	if err != nil || len(flushed) != 2 || !os.SameFile(flushed[0], old) || os.SameFile(flushed[1], old) {
		t.Errorf("%d flushes, %v", len(flushed), err)
	}
	l.sync = func(*os.File) error { return syscall.EIO }
	unavailableError(t, l.Append(t.Context(), decision(3)), "flushed")
	intact(t, path, 2, Options{})
}

// TestTailWindow: what looks like a line only because the window begins in the middle of another is none.
func TestTailWindow(t *testing.T) {
	d := decision(1)
	for _, size := range []int{8 << 10, 8<<10 + 1, 8<<10 - 1, 20 << 10, MaxLine} {
		d.Home = ""
		l := newLine(d)
		l.follow(Head{})
		data, err := l.appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Home = strings.Repeat("h", size-len(data))
		if data, err = l.appendTo(nil); err != nil || len(data) != size || l.Shortened {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		for _, before := range []string{"", "\n", strings.Repeat("y", 9000) + "\n"} {
			file := before + string(data)
			if end, err := findTail(strings.NewReader(file), int64(len(file))); err != nil || end.end != int64(len(file)) || end.head.Hash != headOf(l, data).Hash {
				t.Errorf("%d bytes behind %d: %+v, %v", size, len(before), end, err)
			}
			file = before + "x" + string(data)
			if end, err := findTail(strings.NewReader(file), int64(len(file))); err == nil {
				t.Errorf("%d bytes behind %d and a letter: %+v", size, len(before), end)
			}
		}
	}
}

// TestGoroutines: many writers in one process, some with a log of their own, through rotations.
func TestGoroutines(t *testing.T) {
	path := logPath(t)
	shared := openLog(t, Config{Path: path, NoSync: true})
	shared.cfg.RotateBytes, shared.wait = 20_000, time.Minute
	var done sync.WaitGroup
	const writers, each = 20, 20
	for w := range writers {
		l := shared
		if w%2 == 0 {
			l = openLog(t, Config{Path: path})
			l.cfg.RotateBytes, l.wait = 20_000, time.Minute
		}
		done.Go(func() {
			for n := range each {
				if err := l.Append(context.Background(), decision(w*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// Readers meanwhile see whole lines only.
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := Verify(context.Background(), path, Options{}); err != nil && !kmserr.Is(err, kmserr.Validation) {
				t.Error(err)
			}
			if _, err := shared.LastTime(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		}
	})
	done.Wait()
	close(stop)
	readers.Wait()
	if r := intact(t, path, writers*each, Options{}); r.Files < 10 || r.Recovered != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestLastTime(t *testing.T) {
	for name, path := range map[string]string{"no folder": logPath(t), "no file": filepath.Join(t.TempDir(), FileName)} {
		if at, err := openLog(t, Config{Path: path}).LastTime(); err != nil || !at.IsZero() {
			t.Errorf("%s: %v, %v", name, at, err)
		}
	}
	if at, err := openLog(t, Config{Path: "-", Writer: io.Discard}).LastTime(); err != nil || !at.IsZero() {
		t.Errorf("of standard error: %v, %v", at, err)
	}
	path := newLog(t, 5)
	if at, err := openLog(t, Config{Path: path}).LastTime(); err != nil || !at.Equal(someTime.Add(5*time.Second)) {
		t.Errorf("%v, %v", at, err)
	}
	writeLines(t, path, []string{"{}\n"})
	if at, err := openLog(t, Config{Path: path}).LastTime(); err == nil || !at.IsZero() {
		t.Errorf("of no log: %v, %v", at, err)
	}
}

type shortWriter struct{ bytes.Buffer }

func (w *shortWriter) Write(b []byte) (int, error) { return w.Buffer.Write(b[:len(b)-1]) }

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// TestStandardError: the same lines, chained within the process.
func TestStandardError(t *testing.T) {
	var out bytes.Buffer
	appendAll(t, openLog(t, Config{Path: "-", Writer: &out}), 1, 3)
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	intact(t, path, 3, Options{})
	for _, w := range []io.Writer{&shortWriter{}, failingWriter{}} {
		unavailableError(t, openLog(t, Config{Path: "-", Writer: w}).Append(t.Context(), decision(1)), "standard error")
	}
}

func TestDefaultPath(t *testing.T) {
	root := t.TempDir() // absolute on every system
	join := filepath.Join
	for name, c := range map[string]struct {
		system string
		env    map[string]string
		want   string
	}{
		"XDG":              {"linux", map[string]string{"XDG_STATE_HOME": root, "HOME": "/h"}, join(root, "awskms-offline", FileName)},
		"home":             {"linux", map[string]string{"HOME": root}, join(root, ".local", "state", "awskms-offline", FileName)},
		"freebsd":          {"freebsd", map[string]string{"HOME": root}, join(root, ".local", "state", "awskms-offline", FileName)},
		"macOS":            {"darwin", map[string]string{"HOME": root, "XDG_STATE_HOME": "/x"}, join(root, "Library", "Logs", "awskms-offline", FileName)},
		"Windows":          {"windows", map[string]string{"LocalAppData": root, "HOME": "/h"}, join(root, "awskms-offline", FileName)},
		"no home":          {"linux", nil, ""},
		"no home, macOS":   {"darwin", nil, ""},
		"no home, Windows": {"windows", map[string]string{"HOME": root}, ""},
		"relative home":    {"linux", map[string]string{"HOME": "h"}, ""},
		"relative XDG":     {"linux", map[string]string{"XDG_STATE_HOME": "x", "HOME": root}, ""},
	} {
		got, err := defaultPath(c.system, func(name string) string { return c.env[name] })
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if err != nil {
			unavailableError(t, err, "environment variable")
		}
	}
}
