package keystore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// MaxFile is the longest file of a store, in bytes.
const MaxFile = max(kmskey.MaxRecord, maxAliasFile, maxBlockFile)

// File is a record, an alias or a block as it travels from one store to another: by its place in the home, in the one
// form that this package writes. The index is not among them: it follows from the records.
type File struct {
	// Path is slash-separated and relative to the home.
	Path string
	// Data is the content.
	Data []byte
	// Key, Alias or Block is what the content says: one of them is set.
	Key   *kmskey.Key
	Alias *AliasEntry
	Block *Block
}

// ID returns the ARN of the key or alias that the file is of; for a block by material alone, its fingerprint.
func (f File) ID() string {
	switch {
	case f.Key != nil:
		return f.Key.ARN().String()
	case f.Alias != nil:
		return f.Alias.ARN.String()
	case f.Block != nil && f.Block.KeyID == "":
		return f.Block.PublicKeySHA256
	case f.Block != nil:
		return f.Block.KeyID
	}
	return ""
}

// Before reports whether f comes before other in the order of Files: blocks, then records, then aliases, so that nothing
// is there before what restricts it or what it means; within each by path, folder by folder.
func (f File) Before(other File) bool { return compareFiles(f, other) < 0 }

func compareFiles(a, b File) int {
	return cmp.Or(cmp.Compare(a.rank(), b.rank()), slices.Compare(strings.Split(a.Path, "/"), strings.Split(b.Path, "/")))
}

func (f File) rank() int {
	switch {
	case f.Block != nil:
		return 0
	case f.Key != nil:
		return 1
	}
	return 2
}

// DecodeFile reads a file as Files yields it: its content must be of the form that this package writes, and be what its
// path says. Errors are ValidationExceptions.
func DecodeFile(path string, data []byte) (File, error) {
	f := File{Path: path, Data: data}
	var belongs string
	var encoded []byte
	folder, _, _ := strings.Cut(path, "/")
	refuse := func(format string, args ...any) (File, error) {
		return File{}, kmserr.New(kmserr.Validation, "%s: %s", path, fmt.Sprintf(format, args...))
	}
	switch folder {
	case keysFolder:
		key, err := kmskey.ParseKey(data)
		if err != nil {
			return refuse("%s", kmserr.As(err).Fact)
		}
		f.Key, belongs = key, recordPath(key.ARN())
		if encoded, err = key.Encode(); err != nil {
			return File{}, err
		}
	case aliasesFolder:
		alias, err := decodeAlias(data)
		if err != nil {
			return refuse("the alias %v", err)
		}
		f.Alias, belongs = &alias, aliasPath(alias.ARN)
		if encoded, err = encodeAlias(alias); err != nil {
			return File{}, err
		}
	case blocksFolder:
		b, err := decodeBlock(data)
		if err != nil {
			return refuse("the block %v", err)
		}
		f.Block, belongs = &b, blockPathOfKey(b.PublicKeySHA256)
		if strings.HasPrefix(path, blockedARNs+"/") || b.PublicKeySHA256 == "" {
			arn, err := kmskey.ParseARN(b.KeyID)
			if err != nil {
				return refuse("the block has a bad KeyId: %s", kmserr.As(err).Fact)
			}
			belongs = blockPathOfARN(arn)
		}
		if encoded, err = encodeBlock(b); err != nil {
			return File{}, err
		}
	default:
		return refuse("this is no part of a key store")
	}
	if path != belongs {
		return refuse("by its content the file would be %s", belongs)
	}
	if !bytes.Equal(encoded, data) {
		return refuse("the content is not in the form that a key store has it in")
	}
	return f, nil
}

// Files yields what the store holds, in the order that Before tells, one file at a time: all of it if arns is nil;
// otherwise the records of arns, the aliases that mean or meant one of them, and every block, as a block holds for keys
// by any name. The first that cannot be read ends it with an error, and so does a home that was lost meanwhile (see Open).
func (s *Store) Files(arns []kmskey.ARN) iter.Seq2[File, error] { return whole(s, s.files(arns)) }

func (s *Store) files(arns []kmskey.ARN) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for _, part := range []iter.Seq2[File, error]{s.blockFilesInOrder(), s.recordFiles(arns), s.aliasFiles(arns)} {
			for f, err := range part {
				if err != nil {
					yield(File{}, known(err))
					return
				}
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// blockFilesInOrder yields every block, and one by key material for each key that a block by ARN reaches by the index alone:
// the index does not travel, and the key would be free under its other names where it arrives.
func (s *Store) blockFilesInOrder() iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		var files []File
		byKey, byARN := make(map[string]bool), make(map[kmskey.ARN]Block)
		for b, err := range s.AllBlocks() {
			if err != nil {
				yield(File{}, err)
				return
			}
			rel, err := filepath.Rel(s.root.Name(), b.Path)
			if err != nil {
				yield(File{}, integrity("the block %s lies outside the store", b.Path))
				return
			}
			data, err := encodeBlock(b)
			if err != nil {
				yield(File{}, err)
				return
			}
			f := File{Path: filepath.ToSlash(rel), Data: data, Block: &b}
			files = append(files, f)
			if !strings.HasPrefix(f.Path, blockedARNs+"/") {
				byKey[b.PublicKeySHA256] = true
			} else if arn, err := kmskey.ParseARN(b.KeyID); err == nil {
				byARN[inAnyRegion(arn)] = b
			}
		}
		if len(byARN) > 0 {
			for mark, err := range s.index() {
				if err != nil {
					yield(File{}, err)
					return
				}
				b, blocked := byARN[inAnyRegion(mark.arn)]
				if !mark.ok || !blocked || byKey[mark.fingerprint] {
					continue
				}
				byKey[mark.fingerprint] = true
				b.KeyID, b.PublicKeySHA256 = "", mark.fingerprint // by material alone: the ARN may have another record by now
				data, err := encodeBlock(b)
				if err != nil {
					yield(File{}, err)
					return
				}
				files = append(files, File{Path: blockPathOfKey(mark.fingerprint), Data: data, Block: &b})
			}
		}
		slices.SortFunc(files, compareFiles)
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// inAnyRegion is the same for all ARNs that a block of one of them covers.
func inAnyRegion(arn kmskey.ARN) kmskey.ARN {
	if arn.MultiRegion() {
		arn.Region = ""
	}
	return arn
}

func (s *Store) recordFiles(arns []kmskey.ARN) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		file := func(arn kmskey.ARN) (File, error) {
			entry, err := s.readRecord(arn)
			if err != nil {
				return File{}, err
			}
			data, err := entry.Key.Encode()
			return File{Path: recordPath(arn), Data: data, Key: entry.Key}, err
		}
		if arns != nil {
			sorted := slices.SortedFunc(slices.Values(arns), func(a, b kmskey.ARN) int {
				return slices.Compare(strings.Split(recordPath(a), "/"), strings.Split(recordPath(b), "/"))
			})
			for _, arn := range slices.Compact(sorted) {
				f, err := file(arn)
				if errors.Is(err, errAbsent) {
					err = s.keyNotFound(arn, false)
				}
				if !yield(f, err) || err != nil {
					return
				}
			}
			return
		}
		for arn, err := range s.recordNames(keysFolder) {
			var f File
			if err == nil {
				f, err = file(arn)
			}
			if errors.Is(err, errAbsent) {
				continue // removed since
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) aliasFiles(arns []kmskey.ARN) iter.Seq2[File, error] {
	wanted := func(a AliasEntry) bool {
		return arns == nil || slices.ContainsFunc(arns, func(arn kmskey.ARN) bool {
			return a.ARN.Scope == arn.Scope && (a.TargetKeyID == arn.KeyID ||
				slices.ContainsFunc(a.History, func(h AliasHistory) bool { return h.KeyID == arn.KeyID }))
		})
	}
	return func(yield func(File, error) bool) {
		scopes, unread := s.scopes(aliasesFolder)
		if len(unread) > 0 {
			yield(File{}, unread[0])
			return
		}
		for _, scope := range scopes {
			names, _, err := s.names(scopePath(aliasesFolder, scope), 0)
			if err != nil {
				yield(File{}, err)
				return
			}
			for _, file := range names {
				name, ok := strings.CutSuffix(file, suffix)
				if !ok {
					continue // stray: Fsck's to report
				}
				alias, err := s.readAliasFile(scope, name)
				if errors.Is(err, errAbsent) || err == nil && !wanted(alias) {
					continue
				}
				var data []byte
				if err == nil {
					data, err = encodeAlias(alias)
				}
				if !yield(File{Path: aliasPath(alias.ARN), Data: data, Alias: &alias}, err) || err != nil {
					return
				}
			}
		}
	}
}

// PutFile takes over a file of another store, without losing or loosening what this one knows. A record goes in as Put
// has it, but brings no aliases: those have files of their own. An alias that is new here is taken whole. One that means
// another key, or that says it once meant keys which it never meant here, needs opts.MoveAlias; an older meaning gives
// way. A block that is there stands.
//
// Errors: as Put's, which beside one may tell of a record that it was written.
func (w *Writer) PutFile(f File, opts PutOptions) (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var outcome Outcome
	var err error
	switch {
	case f.Key != nil:
		outcome, err = w.put(f.Key, opts, nil)
		if err == nil || outcome.Change != "" {
			outcome.ARN = f.Key.ARN()
		}
	case f.Alias != nil:
		if outcome, err = w.putAlias(*f.Alias, opts); err != nil {
			outcome = Outcome{}
		} else {
			outcome.Alias = f.Alias.ARN
		}
	case f.Block != nil:
		if outcome, err = w.putBlock(f, opts); err != nil {
			outcome = Outcome{}
		}
	default:
		err = kmserr.New(kmserr.Internal, "the file %s says nothing", f.Path)
	}
	if err != nil {
		err = known(err).WithKey(f.ID())
	}
	return outcome, err
}

func (w *Writer) putAlias(given AliasEntry, opts PutOptions) (Outcome, error) {
	now := AliasEntry{ARN: given.ARN, TargetKeyID: given.TargetKeyID, Time: given.Time, History: given.History}
	outcome := Outcome{Change: Unchanged}
	was, err := w.store.readAlias(given.ARN)
	switch {
	case errors.Is(err, errAbsent):
		outcome.Change = New
	case err != nil:
		return Outcome{}, err
	default:
		// Of many aliases in an export some may have moved there and others here: to let the former move is no demand for the latter.
		move := opts
		if !now.Time.IsZero() && now.Time.Before(was.Time.Time) {
			move.MoveAlias = false
		}
		what, kept, err := moveAlias(was, &now, move)
		if err != nil {
			return Outcome{}, err
		}
		if kept != "" {
			outcome.Kept = []string{kept}
			return outcome, nil
		}
		if what == "" {
			now.Time = was.Time
		} else {
			outcome.What = append(outcome.What, what)
		}
		added := unknownHistory(now, given)
		if len(added) > 0 {
			if !opts.MoveAlias {
				return Outcome{}, kmserr.New(kmserr.Validation, "the alias %s once meant %s, says the file, and here it never did", given.ARN, added[0].KeyID).
					WithHint("Check the alias in KMS, then give --move-alias: under the policy's aliasHistory any, signatures of that key verify.")
			}
			now.History = slices.SortedStableFunc(slices.Values(append(added, now.History...)), func(a, b AliasHistory) int { return a.To.Compare(b.To.Time) })
			outcome.What = append(outcome.What, fmt.Sprintf("%s has a longer history", given.ARN.Alias))
		}
		if len(outcome.What) == 0 {
			return outcome, nil
		}
		outcome.Change = Changed
	}
	data, err := encodeAlias(now)
	if err != nil || opts.DryRun {
		return outcome, err
	}
	return outcome, w.write(aliasPath(now.ARN), data)
}

// unknownHistory returns the former meanings in given that now does not have.
func unknownHistory(now, given AliasEntry) (added []AliasHistory) {
	for _, h := range given.History {
		if h.KeyID != now.TargetKeyID && !slices.ContainsFunc(now.History, func(ours AliasHistory) bool { return ours.KeyID == h.KeyID }) {
			added = append(added, h)
		}
	}
	return added
}

func (w *Writer) putBlock(f File, opts PutOptions) (Outcome, error) {
	b := *f.Block
	outcome := Outcome{}
	if b.KeyID != "" {
		var err error
		if outcome.ARN, err = kmskey.ParseARN(b.KeyID); err != nil {
			return Outcome{}, err
		}
		// It may say another public key than the record has, as one of a key whose record was removed and made anew: both
		// of its files only take away.
	}
	read := func() (Block, error) { return w.store.readBlockOfKey(b.PublicKeySHA256) }
	if f.Path != blockPathOfKey(b.PublicKeySHA256) {
		read = func() (Block, error) { return w.store.readBlockOfARN(outcome.ARN) }
	}
	was, readErr := read()
	data, change, err := joinBlock(was, readErr, b, f.Data)
	if err != nil {
		return Outcome{}, err
	}
	outcome.Change = change
	if change == Changed && readErr == nil {
		outcome.What = []string{"also by key material"}
	}
	if change == Unchanged || opts.DryRun {
		return outcome, nil
	}
	return outcome, w.write(f.Path, data)
}
