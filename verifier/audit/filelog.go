package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/durable"
	"github.com/awskms-offline/awskms-offline/internal/filelock"
	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Config says where the log is and what it promises.
type Config struct {
	// Path is the absolute path of the log's file, or "-" for Writer.
	Path string
	// Writer takes the lines where Path is "-": standard error. Such lines are chained within the process only, and are
	// as durable as whatever collects them.
	Writer io.Writer
	// Required is what Log.Required answers.
	Required bool
	// NoSync leaves it to the system when a line reaches the disk: then a crash of the process loses nothing, but one of
	// the machine may lose what was written last. The default is fsync before Append returns.
	NoSync bool
	// RotateBytes is the size that a file of the log keeps below: a line that would make it larger begins a new file. 0
	// never rotates; else MaxLine or more.
	RotateBytes int64
	// UnsafePermissions takes a folder or file that others could write.
	UnsafePermissions bool
}

// maxRoom is some six hundred lines.
const maxRoom = 1 << 20

// FileLog is the log in a file, used by any number of processes and goroutines at once.
//
// A lock beside the file admits one writer at a time, for as long as it takes to find the last line and to write one, or
// a group, behind it in one call. Flushing comes after the lock is given back, so that many writers share the disk's work; each
// flush covers every line before its own, and a file is flushed before it is rotated, so what a crash leaves of the chain
// has no gaps. An incomplete end that a crash left is kept aside, and the next line says so. Nothing else of what was
// written is ever changed.
type FileLog struct {
	cfg  Config
	wait time.Duration
	// crowded is until when, in nanoseconds since 1970, a single line hardly waits for other writers: see patience.
	crowded atomic.Int64
	// turn admits one goroutine at a time to the lock, so that a busy process waits with one thread only.
	turn chan struct{}
	// data is room for the lines of a group, for whoever has the turn; room beyond maxRoom is not kept.
	data []byte

	mu      sync.Mutex // of the Writer and its chain
	written Head

	// write, sync and syncFolder are the disk's, other in tests.
	write      func(*os.File, []byte) (int, error)
	sync       func(*os.File) error
	syncFolder func(root *os.Root, name string) error
}

var (
	_ GroupLog = (*FileLog)(nil)
	_ TimedLog = (*FileLog)(nil)
)

// NewFileLog returns the log of cfg. It touches no disk, as a process that decides nothing leaves no trace: that the file
// cannot be written, Append says. A ValidationException for a Config that cannot be meant.
func NewFileLog(cfg Config) (*FileLog, error) {
	switch {
	case cfg.Path == "-" && cfg.Writer == nil:
		return nil, kmserr.New(kmserr.Internal, "a log on \"-\" needs a writer")
	case cfg.Path != "-" && !filepath.IsAbs(cfg.Path):
		return nil, kmserr.New(kmserr.Validation, "the log's path is %q, expected an absolute one, or \"-\" for standard error", shortText(cfg.Path, 1000)).
			WithHint("A relative path would mean another log in every working directory.")
	case cfg.RotateBytes != 0 && cfg.RotateBytes < MaxLine:
		return nil, kmserr.New(kmserr.Validation, "the log rotates at %d bytes, expected 0 for never, or at least %d", cfg.RotateBytes, MaxLine)
	}
	cfg.Path = filepath.Clean(cfg.Path)
	return &FileLog{cfg: cfg, wait: lockWait, turn: make(chan struct{}, 1), write: (*os.File).Write, sync: (*os.File).Sync, syncFolder: durable.SyncFolder}, nil
}

// Required reports whether an answer may be given only with its line written.
func (l *FileLog) Required() bool { return l != nil && l.cfg.Required }

// Append writes the line of a decision. When it returns nil the line is in the file and, unless the log was opened with
// NoSync, on the disk. It waits at most two seconds for other writers, less if ctx ends before. Every error is an
// AuditUnavailableException; the line then is not promised, though after a failed flush it may be there.
func (l *FileLog) Append(ctx context.Context, d Decision) error {
	return l.AppendAll(ctx, []Decision{d})
}

// AppendAll is Append for many decisions, in their order: the lock is taken once and the disk flushed once, which is what
// a line costs most. Lines of other processes do not come between them. An error promises none of the lines, though the
// first of them may be there.
func (l *FileLog) AppendAll(ctx context.Context, all []Decision) error {
	if l == nil || l.turn == nil {
		return errNotMade()
	}
	if len(all) == 0 {
		return nil
	}
	if l.cfg.Path == "-" {
		return l.print(all)
	}
	f, err := l.append(ctx, all)
	if err != nil {
		return err
	}
	if !l.cfg.NoSync {
		err = l.sync(f)
	}
	// Some network file systems report only here that they did not take the data.
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return unavailable(err, "the log %s cannot be flushed to the disk: %v", l.cfg.Path, fileguard.Cause(err))
	}
	return nil
}

// print writes to the Writer, a line a call, as collectors of standard error expect.
func (l *FileLog) print(all []Decision) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range all {
		line := newLine(d)
		line.follow(l.written)
		data, err := line.appendTo(nil)
		if err != nil {
			return unavailable(err, "%v", err)
		}
		n, err := l.cfg.Writer.Write(data)
		if err == nil && n < len(data) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return unavailable(err, "the log cannot be written to standard error: %v", fileguard.Cause(err))
		}
		l.written = headOf(line, data)
	}
	return nil
}

func headOf(line Line, data []byte) Head {
	return Head{Sequence: line.Sequence, Hash: sha256.Sum256(data[:len(data)-1])}
}

// append writes to the file, and returns it open, to be flushed and closed.
func (l *FileLog) append(ctx context.Context, all []Decision) (*os.File, error) {
	guard, tree, err := l.openTree(true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.Close() }() // nothing is written through it
	d := newFolder(tree.Root(), l.cfg.Path)
	release, err := l.lock(ctx, d, len(all) > 1)
	if err != nil {
		return nil, err
	}
	defer release()

	f, size, err := d.openCurrent(guard)
	if err != nil {
		return nil, err
	}
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	last, err := d.readTail(f, size)
	if err != nil {
		return nil, err
	}
	head := last.head
	data := l.data[:0] // encoded, and not written yet
	defer func() {
		if cap(data) <= maxRoom {
			l.data = data
		}
	}()
	for i, decision := range all {
		if head.Sequence >= maxSequence {
			return nil, unavailable(nil, "the log %s has the line %d, the last that can be counted", l.cfg.Path, maxSequence)
		}
		line := newLine(decision)
		line.follow(head)
		if i == 0 && last.end < size {
			if line.Recovered, err = d.keepAside(f, last.end, size); err != nil {
				return nil, unavailable(err, "the incomplete end of the log %s cannot be kept aside: %v", l.cfg.Path, fileguard.Cause(err))
			}
		}
		before := len(data)
		if data, err = line.appendTo(data); err != nil {
			return nil, unavailable(err, "%v", err)
		}
		one := data[before:]
		next := headOf(line, one)
		if line.Recovered != nil {
			if err := l.overwrite(d, f, last.end, one); err != nil {
				return nil, unavailable(err, "the log %s cannot be written: %v", l.cfg.Path, fileguard.Cause(err))
			}
			head, size, data = next, last.end+int64(len(one)), data[:0]
			continue
		}
		if limit, full := l.cfg.RotateBytes, size+int64(before); limit > 0 && full+int64(len(one)) > limit {
			if err := l.put(d, f, size, data[:before]); err != nil {
				return nil, err
			}
			data = append(data[:0], one...)
			if err := l.rotate(d, f, head.Sequence); err != nil {
				return nil, err
			}
			f.Close()
			if f, size, err = d.openCurrent(guard); err != nil {
				return nil, err
			}
		}
		head = next
	}
	if err := l.put(d, f, size, data); err != nil {
		return nil, err
	}
	return handOver(&f), nil
}

// put writes whole lines, in one call, behind the size bytes that the file has.
func (l *FileLog) put(d *folder, f *os.File, size int64, data []byte) error {
	if size == 0 {
		// Before there is a line, so that whoever finds one need not ask whether the file's name is on the disk.
		if err := l.syncFolder(d.root, "."); err != nil {
			return unavailable(err, "the log's folder %s cannot be flushed to the disk: %v", d.dir, fileguard.Cause(err))
		}
	}
	n, err := l.write(f, data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		// A part of a line is torn already; the next writer would mend it, but not every log has a next writer.
		d.truncate(f, size)
		return unavailable(err, "the log %s cannot be written: %v", l.cfg.Path, fileguard.Cause(err))
	}
	return nil
}

func handOver(f **os.File) *os.File {
	g := *f
	*f = nil
	return g
}

// openTree opens the log's folder through checks, made if need be. With create unset, fileguard.ErrAbsent if it is not
// there.
func (l *FileLog) openTree(create bool) (*fileguard.Guard, *fileguard.Tree, error) {
	guard := fileguard.New(fileguard.Options{Unsafe: l.cfg.UnsafePermissions})
	dir := filepath.Dir(l.cfg.Path)
	tree, err := guard.Open(dir)
	if create && errors.Is(err, fileguard.ErrAbsent) {
		if err := durable.MakePath(dir); err != nil {
			return nil, nil, unavailable(err, "the log's folder %s cannot be made: %v", dir, fileguard.Cause(err))
		}
		tree, err = guard.Open(dir)
	}
	if err != nil {
		return nil, nil, guarded(err)
	}
	return guard, tree, nil
}

// guarded gives an error of the guard our name. To open a folder to everybody, which the guard proposes for stores, is
// nothing for a log.
func guarded(err error) error {
	known := kmserr.As(err)
	hint := known.Hint
	if errors.Is(err, fs.ErrPermission) {
		hint = letWrite
	}
	return kmserr.New(kmserr.AuditUnavailable, "%s", known.Fact).WithHint("%s", hint).WithCause(err)
}

const letWrite = "Let the current user write it, or name another place in the policy."

// openCurrent opens the log's file for appending, made if it is not there.
func (d *folder) openCurrent(guard *fileguard.Guard) (*os.File, int64, error) {
	f, info, err := d.openRegular(d.name, os.O_RDWR|os.O_APPEND)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.root.OpenFile(d.name, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, durable.FilePerm)
		if err == nil {
			info, err = f.Stat()
		}
	}
	if err == nil {
		if err = guard.File(d.path(d.name), f); err != nil {
			err = guarded(err)
		}
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, 0, unavailable(err, "the log %s cannot be opened: %v", d.path(d.name), fileguard.Cause(err))
	}
	return f, info.Size(), nil
}

var errBusy = errors.New("other processes have kept the log busy")

// lock takes the writers' lock.
func (l *FileLog) lock(ctx context.Context, d *folder, group bool) (release func(), err error) {
	patience := l.patience(group)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errBusy)
	defer cancel()
	defer func() {
		if patience == l.wait && errors.Is(context.Cause(ctx), errBusy) {
			l.crowded.Store(time.Now().Add(5 * l.wait).UnixNano())
		}
	}()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, l.busy(context.Cause(ctx))
	}
	left := func() { <-l.turn }
	name := d.name + lockSuffix
	if info, err := d.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		left()
		return nil, notRegular(d.path(name), info.Mode())
	}
	unlock, err := filelock.Acquire(ctx, filepath.Join(d.root.Name(), name), os.O_RDWR|os.O_CREATE, left)
	switch {
	case err == nil: // be it as late as it may: what is held is given back by whoever has release
		return func() { _ = unlock() }, nil
	case ctx.Err() != nil:
		return nil, l.busy(err)
	}
	return nil, unavailable(err, "the log's lock %s cannot be taken: %v", d.path(name), fileguard.Cause(err))
}

// patience is how long other writers are waited for. Where a line may be lost, and one has waited in vain, single lines hardly
// wait for a while: whoever asks about many keys would else wait past its own deadline for a process that was stopped while
// it wrote.
func (l *FileLog) patience(group bool) time.Duration {
	if !l.cfg.Required && !group && time.Now().UnixNano() < l.crowded.Load() {
		return l.wait / 40
	}
	return l.wait
}

func (l *FileLog) busy(err error) error {
	if errors.Is(err, errBusy) {
		return unavailable(err, "other processes have kept the log %s busy for more than %v", l.cfg.Path, l.wait).
			WithHint("Try again; if it stays, look for a process that was stopped while it wrote, or for a slow disk.")
	}
	return unavailable(err, "the time was over before the log %s was free: %v", l.cfg.Path, err)
}

// keepAside copies what is behind the last whole line into a file of its own.
func (d *folder) keepAside(f *os.File, from, size int64) (*Recovered, error) {
	name := d.name + tornInfix + time.Now().UTC().Format(tornTime)
	aside, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, durable.FilePerm)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(aside, sum), io.NewSectionReader(f, from, size-from))
	if err == nil {
		err = aside.Sync()
	}
	if closed := aside.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = durable.SyncFolder(d.root, ".")
	}
	if err != nil {
		_ = d.root.Remove(name) // not whole; the end is still where it was
		return nil, err
	}
	return &Recovered{File: name, Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// overwrite puts the first line after a crash in the place of what was kept aside. The line goes there before the rest is
// cut off: cutting first would, in a crash between the two, leave nothing that names the file kept aside.
func (l *FileLog) overwrite(d *folder, f *os.File, at int64, data []byte) error {
	w, err := d.reopen(f)
	if err != nil {
		return err
	}
	_, err = w.WriteAt(data, at)
	if err == nil {
		err = w.Truncate(at + int64(len(data)))
	}
	return errors.Join(err, w.Close())
}

// truncate cuts the file off behind size bytes, if it can: that the disk fails is being told already.
func (d *folder) truncate(f *os.File, size int64) {
	if w, err := d.reopen(f); err == nil {
		_ = w.Truncate(size)
		_ = w.Close()
	}
}

// reopen opens the file f once more, for writing elsewhere than at its end.
func (d *folder) reopen(f *os.File) (*os.File, error) {
	w, info, err := d.openRegular(d.name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	was, err := f.Stat()
	if err == nil && !os.SameFile(was, info) {
		err = notRegular(d.path(d.name), info.Mode())
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// rotate gives the current file its name among the rotated ones. That it cannot be renamed, as where a reader on Windows
// has it open, is no reason to lose a line: the file then grows on, and the next writer tries again.
func (l *FileLog) rotate(d *folder, f *os.File, last int64) error {
	name := rotatedName(d.name, last)
	if _, err := d.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !l.cfg.NoSync {
		// Lines of the next file may be on the disk before those of this one are, by their writers' own flush.
		if err := l.sync(f); err != nil {
			return unavailable(err, "the log %s cannot be flushed to the disk: %v", l.cfg.Path, fileguard.Cause(err))
		}
	}
	_ = d.root.Rename(d.name, name)
	return nil
}

// LastTime returns the time of the log's last line, zero if there is none: a clock that stands well before it is wrong
// (docs/audit.md, "What the chain proves"). It takes no lock. An AuditUnavailableException if the log cannot be read.
func (l *FileLog) LastTime() (time.Time, error) {
	if l == nil || l.cfg.Path == "-" || l.turn == nil {
		return time.Time{}, nil
	}
	guard, tree, err := l.openTree(false)
	if errors.Is(err, fileguard.ErrAbsent) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = tree.Close() }() // nothing is written through it
	d := newFolder(tree.Root(), l.cfg.Path)
	f, info, err := d.openRegular(d.name, os.O_RDONLY)
	if err == nil {
		defer f.Close()
		if err := guard.File(l.cfg.Path, f); err != nil {
			return time.Time{}, guarded(err)
		}
		last, err := d.readTail(f, info.Size())
		return last.time, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, d.unusable(d.name, err)
	}
	last, err := d.readTail(nil, 0)
	return last.time, err
}

// Check says why Append could not write a line now, as far as that shows without writing: it makes and changes nothing, and
// takes no lock. nil if nothing speaks against it; else an AuditUnavailableException.
func (l *FileLog) Check() error {
	if l == nil || l.turn == nil {
		return errNotMade()
	}
	if l.cfg.Path == "-" {
		return nil
	}
	guard, tree, err := l.openTree(false)
	if errors.Is(err, fileguard.ErrAbsent) {
		return l.checkAbove()
	}
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }() // nothing is written through it
	d := newFolder(tree.Root(), l.cfg.Path)
	makes := false // a file in the folder
	switch lock, _, err := d.openRegular(d.name+lockSuffix, os.O_RDWR); {
	case errors.Is(err, fs.ErrNotExist):
		makes = true
	case err != nil:
		return unavailable(err, "the log's lock %s cannot be taken: %v", d.path(d.name+lockSuffix), fileguard.Cause(err))
	default:
		lock.Close()
	}
	f, info, err := d.openRegular(d.name, os.O_RDWR|os.O_APPEND)
	var size int64
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f, makes = nil, true
	case err != nil:
		return unavailable(err, "the log %s cannot be opened: %v", l.cfg.Path, fileguard.Cause(err))
	default:
		defer f.Close()
		if err := guard.File(l.cfg.Path, f); err != nil {
			return guarded(err)
		}
		size = info.Size()
	}
	last, err := d.readTail(f, size)
	if err != nil {
		return err
	}
	if !makes && last.end == size { // else an incomplete end is to be kept aside
		return nil
	}
	if err := mayMakeFiles(tree.Root().Name()); err != nil {
		return unavailable(err, "no file can be made in the log's folder %s: %v", d.dir, fileguard.Cause(err))
	}
	return nil
}

// checkAbove is Check where the log's folder is not there.
func (l *FileLog) checkAbove() error {
	guard := fileguard.New(fileguard.Options{Unsafe: l.cfg.UnsafePermissions})
	dir := filepath.Dir(l.cfg.Path)
	above := filepath.Dir(dir)
	for {
		real, err := guard.ResolveFolder(above)
		switch {
		case err == nil:
			if err := mayMakeFiles(real); err != nil {
				return unavailable(err, "the log's folder %s cannot be made below %s: %v", dir, above, fileguard.Cause(err))
			}
			return nil
		case !errors.Is(err, fileguard.ErrAbsent) || above == filepath.Dir(above):
			return guarded(err)
		}
		above = filepath.Dir(above)
	}
}

// errNotMade is of a FileLog that is no log.
func errNotMade() error {
	return kmserr.New(kmserr.AuditUnavailable, "the log was not made by NewFileLog")
}

// unavailable is the error of a log that cannot be written; one that has our name already says more.
func unavailable(err error, format string, args ...any) *kmserr.Error {
	if known := new(kmserr.Error); errors.As(err, &known) {
		return known
	}
	e := kmserr.New(kmserr.AuditUnavailable, format, args...).WithCause(err)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		e.Hint = "Make room on the disk."
	case errors.Is(err, syscall.EROFS):
		e.Hint = "Its place is mounted read-only: name another one in the policy."
	case errors.Is(err, fs.ErrPermission):
		e.Hint = letWrite
	}
	return e
}
