package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/awskms-offline/awskms-offline/internal/durable"
	"github.com/awskms-offline/awskms-offline/internal/filelock"
	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// lockWait is how long a writer waits for another one. A single write takes milliseconds, an import of thousands of keys
// holds the lock throughout.
const lockWait = 10 * time.Second

// ErrBusy is the cause of the error of a writer that waited in vain for another one.
var ErrBusy = errors.New("another process holds the lock of the key store")

// ErrDisk is a cause of the error of a write that the disk refused and that any other would fare no better with: it is full,
// mounted read-only, or fails. What may be one file's or folder's matter is none: a missing permission, a program that holds
// the file.
var ErrDisk = errors.New("the disk takes no writes")

// Writer is the writing half. There is one at a time for a home, across processes; readers take no notice of it.
//
// Every write goes record, index, alias, and every removal in reverse, each step atomic and flushed: whatever moment a
// crash comes at, no alias means a key that has no record, and what the index lacks Repair mends.
type Writer struct {
	store *Store
	// unlock gives the writers' lock back.
	unlock func() error
	mu     sync.Mutex
	// before is called ahead of every step that changes the disk, for tests; an error stops the writer as a crash would.
	before func(step string) error
	// now is time.Now, other in tests.
	now func() time.Time
}

// OpenWriter opens the store in home for writing, made if it is not there, with permissions for its owner alone. It
// waits at most ten seconds for another writer, which then is a StoreAccessException with the cause ErrBusy, and sweeps up
// what a crash left behind in tmp.
func OpenWriter(home Home, opts Options) (*Writer, error) { return openWriter(home, opts, lockWait) }

func openWriter(home Home, opts Options, wait time.Duration) (*Writer, error) {
	if !filepath.IsAbs(home.Path) {
		return nil, notAbsolute(home)
	}
	home = cleaned(home)
	if err := makeHome(home, opts); err != nil {
		return nil, err
	}
	store, err := Open(home, opts)
	if err != nil {
		return nil, err
	}
	unlock, err := store.lock(wait)
	if err != nil {
		store.Close()
		return nil, err
	}
	w := &Writer{store: store, unlock: unlock, now: time.Now}
	if err := w.sweep(); err != nil {
		_ = w.Close()
		return nil, err
	}
	return w, nil
}

// makeHome makes the home if it is not there, once the folders above it were found to be safe.
func makeHome(home Home, opts Options) error {
	if _, err := os.Lstat(home.Path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil // there, or Open will say what is wrong
	}
	above := filepath.Dir(filepath.Clean(home.Path))
	for {
		_, err := os.Lstat(above)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || above == filepath.Dir(above) {
			break
		}
		above = filepath.Dir(above)
	}
	if _, err := newGuard(opts).ResolveFolder(above); err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if err := durable.MakePath(home.Path); err != nil {
		return access(err, "the key store %s (%s) cannot be made: %v", home.Path, home.ChosenBy, err).
			WithHint("Name a folder that the current user may make, or make it for them.")
	}
	return nil
}

// lock takes the writers' lock.
func (s *Store) lock(wait time.Duration) (unlock func() error, err error) {
	if info, err := s.root.Lstat(lockFile); err == nil {
		if !info.Mode().IsRegular() {
			return nil, s.tree.NoFile(lockFile, info)
		}
		filelock.Private(s.root, lockFile, info)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), wait, ErrBusy)
	defer cancel()
	unlock, err = filelock.Acquire(ctx, filepath.Join(s.root.Name(), lockFile), os.O_RDWR|os.O_CREATE, func() {})
	switch {
	case errors.Is(err, ErrBusy):
		return nil, access(ErrBusy, "another process has been writing to the key store %s for more than %v", s.root.Name(), wait).
			WithHint("Try again when it is done; nothing was changed.")
	case err != nil:
		return nil, s.unwritable(lockFile, err)
	}
	return unlock, nil
}

func (s *Store) unwritable(rel string, err error) *kmserr.Error {
	var link *os.LinkError
	reason := fileguard.Cause(err)
	if errors.As(err, &link) {
		reason = link.Err
	}
	cause := err
	if durable.DiskRefuses(err) {
		cause = errors.Join(ErrDisk, err)
	}
	e := access(cause, "%s cannot be written: %v", s.abs(rel), reason)
	switch {
	case errors.Is(err, syscall.EROFS):
		e.Hint = "The store is mounted read-only: change it where it comes from."
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "Run as the user that the store belongs to."
	case errors.Is(err, syscall.ENOSPC):
		e.Hint = "Make room on the disk."
	}
	return e
}

// sweep removes what a crash left in tmp. The lock is held, so nobody is writing there.
func (w *Writer) sweep() error {
	s := w.store
	if err := durable.MakeFolders(s.root, tmpFolder); err != nil {
		return s.unwritable(tmpFolder, err)
	}
	names, _, err := s.names(tmpFolder, 0)
	if err != nil {
		return err
	}
	for _, name := range names {
		// What cannot be removed, such as a folder somebody made there, is in nobody's way.
		_ = s.root.Remove(tmpFolder + "/" + name)
	}
	return nil
}

// Store returns the reading half of the same home. It is closed with the writer.
func (w *Writer) Store() *Store { return w.store }

// Close gives the lock back. It is an error if the home was lost meanwhile (see Open): what was written may be nobody's store.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lost error
	if err := w.store.lost(); err != nil {
		lost = known(err)
	}
	return errors.Join(lost, w.unlock(), w.store.Close())
}

func (w *Writer) step(format string, args ...any) error {
	if w.before == nil {
		return nil
	}
	return w.before(fmt.Sprintf(format, args...))
}

func (w *Writer) write(rel string, data []byte) error {
	if err := w.step("write %s", rel); err != nil {
		return err
	}
	err := durable.MakeFolders(w.store.root, path.Dir(rel))
	if err == nil {
		err = durable.WriteFile(w.store.root, tmpFolder, rel, data)
	}
	if err != nil {
		return w.store.unwritable(rel, err)
	}
	return nil
}

// mark adds a key to the by-key index, if it is not there.
func (w *Writer) mark(fingerprint string, arn kmskey.ARN) (added bool, err error) {
	rel := indexPath(fingerprint) + "/" + markerName(arn)
	if there, err := w.store.exists(rel); there || err != nil {
		return false, err
	}
	if err := w.step("mark %s", rel); err != nil {
		return false, err
	}
	err = durable.MakeFolders(w.store.root, path.Dir(rel))
	if err == nil {
		err = durable.Touch(w.store.root, rel)
	}
	if err != nil {
		return false, w.store.unwritable(rel, err)
	}
	return true, nil
}

// unmark removes a key from the by-key index, unless its ARN is blocked: a block of before the key was known does not know
// its material, and reaches the key's other names by the index alone.
func (w *Writer) unmark(rel string, arn kmskey.ARN) error {
	if w.store.blockedByName(arn) {
		return nil
	}
	return w.remove(rel, indexFolder)
}

// remove removes a file, and the folders that it leaves empty up to base.
func (w *Writer) remove(rel, base string) error {
	if err := w.step("remove %s", rel); err != nil {
		return err
	}
	if err := durable.Remove(w.store.root, rel); err != nil {
		return w.store.unwritable(rel, err)
	}
	for folder := path.Dir(rel); folder != base && folder != "."; folder = path.Dir(folder) {
		if w.store.root.Remove(folder) != nil {
			break // not empty, most likely; an empty folder left behind means nothing
		}
	}
	return nil
}

// Put records what is known of a key: a new record, or what is on record and what is given joined so that no knowledge
// is lost (merge has the rules). The aliases in the record and in opts are recorded beside it. An alias that means
// another key moves only as opts allow, and never to an older meaning. Everything is decided before anything is written, with
// one exception: what KMS said of a key on record is written whatever becomes of its aliases, as a damaged alias file must not
// keep a key verifying that KMS has disabled. The error is that of the first alias that cannot be recorded. Beside an error
// the Outcome is what was written all the same; its Change is empty where that is nothing.
//
// Errors: KeyMaterialMismatchException if the key on record is another one; ValidationException for a state or alias
// that cannot be told to be newer; StoreIntegrityException for a record or alias on disk that is damaged;
// StoreAccessException if the disk refuses.
func (w *Writer) Put(key *kmskey.Key, opts PutOptions) (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	arn := key.ARN()
	aliases, err := givenAliases(key, opts)
	if err != nil {
		return Outcome{}, known(err).WithKey(arn.String())
	}
	outcome, err := w.put(key, opts, aliases)
	if err != nil {
		err = known(err).WithKey(arn.String())
	}
	if outcome.Change != "" {
		outcome.ARN = arn
	}
	return outcome, err
}

func (w *Writer) put(key *kmskey.Key, opts PutOptions, given []AliasEntry) (Outcome, error) {
	s, arn := w.store, key.ARN()
	record, outcome := key, Outcome{Change: Unchanged}
	old, err := s.readRecord(arn)
	isNew := errors.Is(err, errAbsent)
	if err != nil && !isNew {
		return Outcome{}, err
	}
	if isNew && opts.OnRecord {
		return Outcome{}, kmserr.New(kmserr.NotFound, "%s was removed from the store meanwhile", arn).WithHint("It stays removed; `awskms-offline keys pull` brings it back.")
	}
	var was []byte
	if !isNew {
		onRecord, err := w.withoutFuture(old.Key, key, opts.FromKMS)
		if err != nil {
			return Outcome{}, err
		}
		if record, outcome.What, outcome.Kept, err = merge(onRecord, key, opts.FromKMS); err != nil {
			return Outcome{}, err
		}
		if was, err = old.Key.Encode(); err != nil {
			return Outcome{}, err
		}
	}
	now, err := record.Encode()
	if err != nil {
		return Outcome{}, err
	}
	aliases, refused := w.planAliases(given, opts)
	if refused != nil && (isNew || !opts.FromKMS) {
		return Outcome{}, refused
	}
	outcome.Kept = append(outcome.Kept, aliases.kept...)
	write := isNew || !bytes.Equal(was, now)
	switch {
	case isNew:
		outcome.Change = New
	case write:
		outcome.Change = Changed
	}
	if write && !opts.DryRun {
		if err := w.write(recordPath(arn), now); err != nil {
			return Outcome{}, err
		}
	}
	if !opts.DryRun {
		if _, err := w.mark(record.Fingerprint(), arn); err != nil {
			if !write {
				return Outcome{}, err
			}
			return outcome, err
		}
	}
	for i, a := range aliases.files {
		if !opts.DryRun {
			err := w.writeAlias(a)
			if refused == nil {
				refused = err
			}
			if errors.Is(err, ErrDisk) {
				break
			}
			if err != nil {
				continue // the others would go on meaning their old keys
			}
		}
		outcome.What = append(outcome.What, aliases.what[i])
		if outcome.Change == Unchanged {
			outcome.Change = Changed
		}
	}
	outcome.Confirmed = !isNew && !aliases.moved && sameButDates(old.Key, record)
	return outcome, refused
}

func (w *Writer) writeAlias(a AliasEntry) error {
	data, err := encodeAlias(a)
	if err != nil {
		return err
	}
	return w.write(aliasPath(a.ARN), data)
}

// future reports whether nobody can have known anything at that time yet. There is no tolerance: where the clock was set back
// by a minute, what KMS answers now would else give way to what it said before.
func (w *Writer) future(t kmskey.Time) bool { return t.After(w.now()) }

// withoutFuture returns the key on record, whose times are known unless they lie in the future, where a wrong clock put them.
// What KMS answers now is newer than these, or a store that was filled while the clock stood ahead would not hear that a key
// was disabled before that time has come. A file is no such evidence, but for a state that allows no more.
func (w *Writer) withoutFuture(onRecord, given *kmskey.Key, fromKMS bool) (*kmskey.Key, error) {
	r := onRecord.Record()
	late := false
	if fromKMS && w.future(r.Snapshot.Time) {
		late, r.Snapshot.Time = true, kmskey.Time{}
	}
	was, now := r.KeyMetadata, given.Metadata()
	stricter := was != nil && now != nil && !given.Snapshot().StateTime.IsZero() && asStrict(was, now)
	if w.future(r.Snapshot.StateTime) && (fromKMS || stricter) {
		late, r.Snapshot.StateTime = true, kmskey.Time{}
	}
	if !late {
		return onRecord, nil
	}
	return kmskey.NewKey(r)
}

// sameButDates reports whether two records of a key differ in nothing but when KMS said so.
func sameButDates(a, b *kmskey.Key) bool {
	undated := func(k *kmskey.Key) []byte {
		r := k.Record()
		r.Snapshot = kmskey.Snapshot{Source: r.Snapshot.Source}
		data, err := json.Marshal(r, json.Deterministic(true))
		if err != nil {
			return nil
		}
		return data
	}
	x := undated(a)
	return x != nil && bytes.Equal(x, undated(b))
}

// givenAliases returns the aliases in a record and in opts, by name, each of the newest time it is given with.
func givenAliases(key *kmskey.Key, opts PutOptions) ([]AliasEntry, error) {
	record := key.Record()
	given := make(map[string]AliasEntry)
	add := func(name string, at kmskey.Time) error {
		if _, err := kmskey.ParseAlias(name); err != nil {
			return err
		}
		if before, there := given[name]; !there || at.After(before.Time.Time) {
			given[name] = AliasEntry{ARN: kmskey.AliasARN{Scope: key.ARN().Scope, Alias: name}, TargetKeyID: key.ARN().KeyID, Time: at}
		}
		return nil
	}
	for _, name := range record.Aliases {
		if err := add(name, record.Snapshot.Time); err != nil {
			return nil, err
		}
	}
	for _, name := range opts.Aliases {
		if err := add(name, opts.AliasTime); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Values(given), func(a, b AliasEntry) int { return strings.Compare(a.ARN.Alias, b.ARN.Alias) }), nil
}

// aliasPlan is what a write does to aliases.
type aliasPlan struct {
	files      []AliasEntry // to be written
	what, kept []string
	moved      bool // one of them gets another meaning
}

// planAliases plans all that can be recorded; the error is that of the first one that cannot.
func (w *Writer) planAliases(given []AliasEntry, opts PutOptions) (plan aliasPlan, err error) {
	for _, now := range given {
		if refused := w.planAlias(&plan, now, opts); err == nil {
			err = refused
		}
	}
	return plan, err
}

func (w *Writer) planAlias(plan *aliasPlan, now AliasEntry, opts PutOptions) error {
	said, moved := now.ARN.Alias+" is new", true
	was, err := w.store.readAlias(now.ARN)
	switch {
	case errors.Is(err, errAbsent):
	case err != nil:
		return err
	default:
		if opts.FromKMS && w.future(was.Time) {
			was.Time = kmskey.Time{}
		}
		var stays string
		if said, stays, err = moveAlias(was, &now, opts); err != nil {
			return err
		}
		if stays != "" {
			plan.kept = append(plan.kept, stays)
		}
		if said == "" {
			return nil
		}
		moved = was.TargetKeyID != now.TargetKeyID
	}
	if _, err := encodeAlias(now); err != nil {
		return err
	}
	plan.what, plan.files, plan.moved = append(plan.what, said), append(plan.files, now), plan.moved || moved
	return nil
}

// moveAlias decides whether now replaces was, and gives now its history. what is empty if it does not.
func moveAlias(was AliasEntry, now *AliasEntry, opts PutOptions) (what, kept string, err error) {
	name := now.ARN.Alias
	now.History = was.History
	if was.TargetKeyID == now.TargetKeyID {
		if now.Time.After(was.Time.Time) {
			return change(name+" as of", stamp(was.Time), stamp(now.Time)), "", nil
		}
		return "", "", nil
	}
	older := !now.Time.IsZero() && now.Time.Before(was.Time.Time)
	newer := now.Time.After(was.Time.Time)
	refuse := func(reason, hint string) (string, string, error) {
		return "", "", kmserr.New(kmserr.Validation, "the alias %s means %s as of %s, and %s", now.ARN, orNoKey(was.TargetKeyID), stamp(was.Time), reason).
			WithHint("%s", hint).WithKey(now.ARN.String())
	}
	switch {
	case older && opts.MoveAlias:
		return refuse("that it means "+now.TargetKeyID+" is older, of "+stamp(now.Time), "State a later --snapshot-time, if the alias did move.")
	case older, opts.FromKMS && !newer && !opts.MoveAlias:
		return "", fmt.Sprintf("%s → %s of %s, as %s is of %s", name, orNoKey(was.TargetKeyID), stamp(was.Time), orNoKey(now.TargetKeyID), stamp(now.Time)), nil
	case !opts.MoveAlias && !opts.FromKMS:
		return refuse("moves to "+orNoKey(now.TargetKeyID)+" only if told to", "Check that the alias was moved in KMS, then give --move-alias.")
	}
	if was.TargetKeyID != "" {
		now.History = append(slices.Clone(was.History), AliasHistory{KeyID: was.TargetKeyID, From: was.Time, To: now.Time})
	}
	return change(name, orNoKey(was.TargetKeyID), orNoKey(now.TargetKeyID)), "", nil
}

// Remove removes a key: the aliases that mean it, its place in the index unless its ARN is blocked, its record. Given an alias it removes that
// alias and leaves the key. A bare name must mean one thing only. Blocks stay in force.
//
// A record that is damaged is removed all the same if it is named by its full ARN.
func (w *Writer) Remove(ref kmskey.Ref) (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	outcome, err := w.removeRef(ref)
	if err != nil {
		return Outcome{}, known(err).WithKey(ref.String())
	}
	return outcome, nil
}

func (w *Writer) removeRef(ref kmskey.Ref) (Outcome, error) {
	if ref.Alias != "" {
		return w.removeAlias(ref)
	}
	s := w.store
	arn, ok := ref.ARN()
	if !ok {
		var err error
		if arn, err = s.findBareKey(ref.KeyID); err != nil {
			return Outcome{}, err
		}
	}
	entry, err := s.readRecord(arn)
	if errors.Is(err, errAbsent) {
		return Outcome{}, s.keyNotFound(arn, false)
	}
	damaged := err != nil
	if damaged && (!ok || !kmserr.Is(err, kmserr.StoreIntegrity)) {
		return Outcome{}, err
	}
	outcome := Outcome{ARN: arn, Change: Removed}
	for alias, err := range s.Aliases(arn.Scope) {
		if err != nil {
			continue // not known to mean this key
		}
		if alias.TargetKeyID != arn.KeyID {
			continue
		}
		if err := w.remove(aliasPath(alias.ARN), aliasesFolder); err != nil {
			return Outcome{}, err
		}
		outcome.What = append(outcome.What, alias.ARN.Alias)
	}
	if !damaged {
		if err := w.unmark(indexPath(entry.Key.Fingerprint())+"/"+markerName(arn), arn); err != nil {
			return Outcome{}, err
		}
	}
	if err := w.remove(recordPath(arn), keysFolder); err != nil {
		return Outcome{}, err
	}
	outcome.What = append(outcome.What, "the record")
	others, err := s.Regions(arn)
	if err != nil { // the record is gone all the same
		outcome.Kept = append(outcome.Kept, fmt.Sprintf("the records of other Regions that answer for %s from now on, if there are any: %s", arn.Region, kmserr.As(known(err)).Fact))
	}
	for _, other := range others {
		if other != arn {
			outcome.Kept = append(outcome.Kept, fmt.Sprintf("the record of %s, which answers for %s from now on, whatever state that was in", other, arn.Region))
		}
	}
	return outcome, nil
}

func (w *Writer) removeAlias(ref kmskey.Ref) (Outcome, error) {
	s := w.store
	alias, ok := ref.AliasARN()
	if !ok {
		var err error
		if alias, err = s.findBareAlias(ref.Alias); err != nil {
			return Outcome{}, err
		}
	}
	there, err := s.exists(aliasPath(alias))
	if err != nil && !kmserr.Is(err, kmserr.StoreIntegrity) {
		return Outcome{}, err
	}
	if err == nil && !there {
		return Outcome{}, s.aliasNotFound(alias, false)
	}
	if err := w.remove(aliasPath(alias), aliasesFolder); err != nil {
		return Outcome{}, err
	}
	return Outcome{Alias: alias, Change: Removed, What: []string{alias.Alias}}, nil
}

// Chain returns the certificate chain that is kept for a key, as PutChain took it, and the file that it lies in. Like all that
// the store reads it is refused if others could have written it. A NotFoundException if there is none.
func (s *Store) Chain(fingerprint string) (pem []byte, path string, err error) {
	rel := ChainPath(fingerprint)
	if !isFingerprint(fingerprint) {
		return nil, "", kmserr.New(kmserr.Validation, "%q is no SHA-256 in lower-case hexadecimal", fingerprint)
	}
	pem, _, err = s.read(rel, maxChainFile)
	if errors.Is(err, errAbsent) {
		return nil, "", kmserr.New(kmserr.NotFound, "no certificate chain is in the store: there is no %s", s.abs(rel))
	}
	if err != nil {
		return nil, "", known(err)
	}
	return pem, s.abs(rel), nil
}

// PutChain keeps the certificate chain of a key, PEM that the caller has checked, at ChainPath. One that is there and says
// something else gives way only if replace is set; it otherwise is a ValidationException.
func (w *Writer) PutChain(fingerprint string, pem []byte, replace bool) (Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !isFingerprint(fingerprint) {
		return "", kmserr.New(kmserr.Validation, "%q is no SHA-256 in lower-case hexadecimal", fingerprint)
	}
	rel := ChainPath(fingerprint)
	if len(pem) > maxChainFile { // Chain would refuse it
		return "", kmserr.New(kmserr.Validation, "the certificate chain is %d bytes long, expected at most %d", len(pem), maxChainFile).
			WithHint("Leave comments and the root out of it.")
	}
	was, _, err := w.store.read(rel, maxChainFile)
	switch {
	case errors.Is(err, errAbsent):
		return New, w.write(rel, pem)
	case err != nil && !replace:
		return "", known(err)
	case err == nil && bytes.Equal(was, pem):
		return Unchanged, nil
	case !replace:
		return "", kmserr.New(kmserr.Validation, "%s holds another certificate chain of this key", w.store.abs(rel)).
			WithHint("Give --replace to put this one in its place.")
	}
	return Changed, w.write(rel, pem)
}

// maxChainFile is the longest certificate chain kept, in bytes.
const maxChainFile = 256 << 10
