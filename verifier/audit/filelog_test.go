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

	"github.com/awskms-offline/awskms-offline/internal/durable"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func TestNewFileLogRefuses(t *testing.T) {
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
		l, err := NewFileLog(c.cfg)
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
		unavailableError(t, l.Append(t.Context(), decision(1)), "NewFileLog")
		if l.Required() {
			t.Error("it is required")
		}
		if at, err := l.LastTime(); err != nil || !at.IsZero() {
			t.Errorf("its last time is %v, %v", at, err)
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
		t.Skip("modes are not Windows's: that what is made is for its owner alone is not tested")
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
			unavailableError(t, openLog(t, Config{Path: path}).Check(), c.says, "chmod o-w")
			unavailableError(t, openLog(t, Config{Path: path}).Append(t.Context(), decision(2)), c.says, "chmod o-w")
			if _, err := openLog(t, Config{Path: path}).LastTime(); err == nil {
				t.Error("its last time is believed")
			}
			if err := openLog(t, Config{Path: path, UnsafePermissions: true}).Check(); err != nil {
				t.Errorf("looked at with UnsafePermissions: %v", err)
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
					t.Skipf("that %s in the place of %s is refused is not tested: %v", what, name, err)
				}
				l := openLog(t, Config{Path: filepath.Join(dir, FileName)})
				unavailableError(t, l.Check(), path+" is "+what)
				unavailableError(t, l.Append(t.Context(), decision(1)), path+" is "+what)
				if name == FileName {
					unavailableError(t, errOf(l.LastTime()), path+" is "+what)
				}
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
		"no end":      `{"eventVersion":"` + strings.Repeat("x", MaxLine-len(`{"eventVersion":"`)),
		"huge":        strings.Repeat("huge text\n", (maxTorn+MaxLine)/10+1000),
		"twice":       `{"eventVersion":"1.0","eventVersion":"1.0"}` + "\n",
		"other's log": `{"eventVersion":"1.08","eventTime":"2026-11-23T11:00:00Z"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			unavailableError(t, openLog(t, Config{Path: path}).Check(), path, "audit verify")
			if _, err := os.Lstat(path + lockSuffix); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("looking made a lock: %v", err)
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
	unavailableError(t, openLog(t, Config{Path: filepath.Join(file, "below", FileName)}).Check())
	unavailableError(t, openLog(t, Config{Path: filepath.Join(file, "below", FileName)}).Append(t.Context(), decision(1)))
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("every folder can be written by this user: a folder that is closed to it is not tested")
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(closed, 0o700) })
	for _, path := range []string{filepath.Join(closed, FileName), filepath.Join(closed, "below", FileName)} {
		unavailableError(t, openLog(t, Config{Path: path}).Check(), "Let the current user write it")
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
		"as long as a line":      `{"eventVersion":"` + strings.Repeat("x", MaxLine-1-len(`{"eventVersion":"`)),
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
		t.Skip("every folder can be written by this user: that an incomplete end which cannot be kept is left is not tested")
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

// TestGivenUpInTime: a caller whose time is over gets an error or its line, and whichever it is, others write on.
func TestGivenUpInTime(t *testing.T) {
	path := newLog(t, 1)
	l := openLog(t, Config{Path: path, NoSync: true})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	written := int64(1)
	for range 200 {
		if l.Append(over, decision(2)) == nil {
			written++
		}
	}
	appendAll(t, l, 2, 2)
	intact(t, path, written+1, Options{})
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
	// Those that hardly wait do not make it longer.
	until := l.crowded.Load()
	for range 3 {
		unavailableError(t, l.Append(t.Context(), decision(2)), "busy")
	}
	if now := l.crowded.Load(); now != until && time.Now().UnixNano() < until {
		t.Errorf("three lines that hardly waited made the others hurry for %v more", time.Duration(now-until))
	}
	held.Close()
	// All who gave up take the lock once more and give it back, which a busy machine does slowly; a line waits a fortieth of this.
	l.wait = 10 * time.Minute
	appendAll(t, l, 2, 4)
	intact(t, path, 4, Options{})
	// Who got the lock, or whose own time was over, found no crowd.
	calm := openLog(t, Config{Path: path})
	appendAll(t, calm, 5, 5)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = calm.Append(over, decision(6))
	if until := calm.crowded.Load(); until != 0 {
		t.Errorf("single lines hardly wait until %s", time.Unix(0, until))
	}
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

	// A damaged rotated file, or something else with such a name, is not gone on from; the newest that has a line is.
	stray := filepath.Join(filepath.Dir(path), rotatedName(FileName, 8))
	for name, content := range map[string]string{"empty": "", "damaged": "{}\n"} {
		if err := os.WriteFile(stray, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		at, err := l.LastTime()
		if name == "damaged" {
			unavailableError(t, err, stray)
		} else if err != nil || !at.Equal(someTime.Add(5*time.Second)) {
			t.Errorf("%s: the last time is %v, %v", name, at, err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
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

// TestRotatedNames: files of other names are none of the log's, and too many are not looked at.
func TestRotatedNames(t *testing.T) {
	path := newLog(t, 1)
	for _, name := range []string{".5", ".00000000000000017", ".+000000000000017", ".-000000000000017", ".000000000000001x", ".000000000000_017", "0000000000000017"} {
		if err := os.WriteFile(path+name, []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "0000000000000017"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".0000000000000001"); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, Config{Path: path})
	appendAll(t, l, 2, 2)
	if r := intact(t, path, 2, Options{}); r.Files != 2 {
		t.Errorf("%d files", r.Files)
	}

	defer func(was int) { maxRotated = was }(maxRotated)
	l.cfg.RotateBytes = 1
	maxRotated = 3
	appendAll(t, l, 3, 4)
	intact(t, path, 4, Options{})
	if err := os.Rename(path, path+".0000000000000004"); err != nil {
		t.Fatal(err)
	}
	unavailableError(t, l.Append(t.Context(), decision(5)), "more than 3 rotated files")
}

// TestRotationToTheByte: a file may be as long as RotateBytes, and no longer.
func TestRotationToTheByte(t *testing.T) {
	size := sizeOf(t, newLog(t, 3))
	for limit, files := range map[int64]int{size: 1, size - 1: 2} {
		path := logPath(t)
		l := openLog(t, Config{Path: path})
		l.cfg.RotateBytes = limit
		appendAll(t, l, 1, 3)
		if r := intact(t, path, 3, Options{}); r.Files != files {
			t.Errorf("%d bytes and at most %d in a file: %d files", size, limit, r.Files)
		}
	}
}

// TestLastNumber: the numbers of lines end where not every reader of JSON tells them apart any more.
func TestLastNumber(t *testing.T) {
	path := logPath(t)
	var lines []string
	for n, head := range []Head{{Sequence: maxSequence - 3}, {Sequence: maxSequence - 2}} {
		l := newLine(decision(n))
		l.follow(head)
		lines = append(lines, string(must(l.appendTo(nil))))
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	writeLines(t, path, lines)
	l := openLog(t, Config{Path: path})
	appendAll(t, l, 3, 3)
	unavailableError(t, l.Append(t.Context(), decision(4)), "has the line 9007199254740991, the last that can be counted")
	if got := parsed(t, path); len(got) != 3 || got[2]["sequence"] != float64(maxSequence) {
		t.Errorf("got %v", got)
	}
}

// TestFolderIsFlushed: before the first line of a file its name is on the disk; that it is not is told before there is a line.
func TestFolderIsFlushed(t *testing.T) {
	path := logPath(t)
	l := openLog(t, Config{Path: path})
	l.syncFolder = func(*os.Root, string) error { return syscall.EIO }
	unavailableError(t, l.Append(t.Context(), decision(1)), "input/output error", "folder")
	if size := sizeOf(t, path); size != 0 {
		t.Errorf("%d bytes are written", size)
	}
	flushed := 0
	l.syncFolder = func(root *os.Root, name string) error { flushed++; return durable.SyncFolder(root, name) }
	appendAll(t, l, 1, 3)
	if flushed != 1 {
		t.Errorf("the folder was flushed %d times for three lines of one file", flushed)
	}
}

// TestSwapped: a file that takes another's place between a look and the opening is not the log, whatever it is.
func TestSwapped(t *testing.T) {
	path := newLog(t, 1)
	root := must(os.OpenRoot(filepath.Dir(path)))
	defer root.Close()
	d := newFolder(root, path)
	first := must(os.ReadFile(path))
	swaps := 0
	swap := func(content []byte) {
		swaps++
		next := fmt.Sprint("next", swaps)
		if err := errors.Join(root.WriteFile(next, content, 0o600), root.Rename(next, d.name)); err != nil {
			t.Error(err)
		}
	}
	for limit, taken := range map[int]bool{1: true, 2: true, 3: false, 100: false} {
		swaps = 0
		d.lstat = func(name string) (fs.FileInfo, error) {
			info, err := root.Lstat(name)
			if swaps < limit {
				swap(first)
			}
			return info, err
		}
		f, info, err := d.openRegular(d.name, os.O_RDWR)
		if !taken {
			unavailableError(t, err, "another file than a moment ago")
			if f != nil || swaps != 3 {
				t.Errorf("%d swaps: %v, %d looks", limit, f, swaps)
			}
			continue
		}
		if err != nil || !os.SameFile(info, must(root.Lstat(d.name))) {
			t.Errorf("%d swaps: %v", limit, err)
		}
		f.Close()
	}
	if err := root.Mkdir("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	d.lstat = func(name string) (fs.FileInfo, error) {
		info, err := root.Lstat(name)
		return info, errors.Join(err, root.Remove(name), root.Rename("dir", name))
	}
	if runtime.GOOS != "windows" { // which opens no folder as a file
		_, _, err := d.openRegular(d.name, os.O_RDONLY)
		unavailableError(t, err, "is a folder")
	}

	// What is open already is compared, too, where it is opened once more to be cut.
	d = newFolder(root, path)
	if err := root.Remove(d.name); err != nil {
		t.Fatal(err)
	}
	swap(first)
	f, _, err := d.openRegular(d.name, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if w, err := d.reopen(f); err != nil {
		t.Error(err)
	} else {
		w.Close()
	}
	swap(first)
	_, err = d.reopen(f)
	unavailableError(t, err, "another file than a moment ago")
	f.Close()
	if _, err := d.reopen(f); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v of a closed file", err)
	}
}

// TestBelowALink: the log's folder may be below a link, as in a home that lies elsewhere.
func TestBelowALink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skipf("that the log's folder may be below a link is not tested: %v", err)
	}
	path := filepath.Join(link, "a", "b", FileName)
	appendAll(t, openLog(t, Config{Path: path}), 1, 2)
	intact(t, filepath.Join(dir, "a", "b", FileName), 2, Options{})
}

// TestHints: what a person can do is told with the system's reason.
func TestHints(t *testing.T) {
	for err, hint := range map[error]string{
		syscall.ENOSPC: "Make room", syscall.EROFS: "mounted read-only", syscall.EACCES: "Let the current user write it", syscall.EPERM: "Let the current user write it", syscall.EIO: "",
	} {
		got := unavailable(&fs.PathError{Op: "open", Path: "x", Err: err}, "it failed: %v", err)
		if !strings.Contains(got.Hint, hint) || (hint == "") != (got.Hint == "") || !errors.Is(got, err) {
			t.Errorf("%v: %q", err, got.Hint)
		}
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

// failingReader fails where a disk would.
type failingReader struct{ err error }

func (r failingReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

// TestTailOfAFile: an error of reading is no end; a file that was cut meanwhile has the lines that it still has.
func TestTailOfAFile(t *testing.T) {
	if _, err := findTail(failingReader{syscall.EIO}, 100); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	l := newLine(decision(1))
	l.follow(Head{})
	line := string(must(l.appendTo(nil)))
	if got, err := findTail(strings.NewReader(line), int64(len(line))+10); err != nil || got.end != int64(len(line)) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := findTail(strings.NewReader(""), 0); err != nil || got != (tail{}) {
		t.Errorf("of nothing: %+v, %v", got, err)
	}
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
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it was made: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) != (name == "no folder") {
			t.Errorf("%s: its folder: %v", name, err)
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

// TestCheck: who looks whether lines can be written leaves no trace, whatever is there.
func TestCheck(t *testing.T) {
	absent, deep, whole, torn := filepath.Join(t.TempDir(), FileName), filepath.Join(t.TempDir(), "a", "b", FileName), newLog(t, 2), newLog(t, 2)
	f, err := os.OpenFile(torn, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(`{"eventVersion":"1.0","eve`)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"no file": absent, "no folders": deep, "a log": whole, "an incomplete end": torn, "standard error": "-"} {
		content := func() string {
			names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
			data, _ := os.ReadFile(path)
			return fmt.Sprint(names, string(data))
		}
		before := content()
		if err := openLog(t, Config{Path: path, Writer: io.Discard}).Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := content(); after != before {
			t.Errorf("%s: there was %s, and is %s", name, before, after)
		}
	}
	if _, err := os.Lstat(filepath.Dir(filepath.Dir(deep))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
	for _, l := range []*FileLog{nil, {}} {
		unavailableError(t, l.Check(), "NewFileLog")
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
	for w, reason := range map[io.Writer]error{&shortWriter{}: io.ErrShortWrite, failingWriter{}: syscall.EPIPE} {
		err := openLog(t, Config{Path: "-", Writer: w}).Append(t.Context(), decision(1))
		unavailableError(t, err, "standard error", reason.Error())
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
		"iOS":              {"ios", map[string]string{"HOME": root, "XDG_STATE_HOME": "/x"}, join(root, "Library", "Logs", "awskms-offline", FileName)},
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
