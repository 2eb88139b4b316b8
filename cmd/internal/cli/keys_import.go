package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// importFlags are the flags of keys import.
type importFlags struct {
	keyID, usage, snapshotTime, sha256 string
	algorithms, aliases                []string
	moveAlias                          bool
}

func (a *app) keysImport() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import FILE|FOLDER…",
		Short: "Import what `aws kms get-public-key` printed, a public key, or an export",
		Long: `Imports keys into the store. Each FILE is one of: the JSON of ` + "`aws kms get-public-key`" + ` (AWS CLI v1 or v2); that of
` + "`aws kms describe-key`" + `, beside the former or for a key that is in the store; several of these, one after the other or as an
array; a record; a public key as PEM or DER, or DER in base64, with --key-id and --key-usage. Of a FOLDER, or a tar of one, all
files that end in .json, .pem, .der or .pub are taken, those in folders below too. What keys export wrote is imported alone.

Everything is read and checked before anything is written, and one bad file keeps all from being written. What is known is
never lost: a key state gives way only to one with a newer time, which --snapshot-time states for files that carry none.`,
		Example: "  awskms-offline keys import release.json release-state.json --snapshot-time 2026-11-23T11:00:00Z\n" +
			"  awskms-offline keys import release.pem --key-usage SIGN_VERIFY --alias alias/release \\\n" +
			"    --key-id arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Args: atLeastOne("at least one file or folder"),
		RunE: func(c *cobra.Command, args []string) error { return a.runImport(f, args) },
	}
	fl := c.Flags()
	fl.StringVar(&f.keyID, "key-id", "", "the key's ARN, for PEM, DER and JSON with a bare key ID")
	fl.StringVar(&f.usage, "key-usage", "", "for PEM and DER: SIGN_VERIFY, ENCRYPT_DECRYPT, KEY_AGREEMENT or ENCAPSULATE_DECAPSULATE")
	fl.StringSliceVar(&f.algorithms, "signing-algorithms", nil, "for PEM and DER: the allowed algorithms (default: all that KMS has for the key spec)")
	fl.StringSliceVar(&f.aliases, "alias", nil, "an alias of the key, alias/NAME; for one key a call")
	fl.BoolVar(&f.moveAlias, "move-alias", false, "let an alias that means another key move to this one")
	fl.StringVar(&f.snapshotTime, "snapshot-time", "", "when KMS gave these answers, RFC 3339, for files that do not say")
	fl.StringVar(&f.sha256, "expect-sha256", "", "refuse a tar whose SHA-256 is another, in hexadecimal")
	return c
}

// importSet is everything that one import was given, parsed.
type importSet struct {
	records []namedRecord
	bare    []string // the files that are public keys and nothing else
	states  []namedState
	blocked []string // KeyIds of records that keys show told to be blocked where they are from

	archives []*archive // what keys export made, checked
	size     int        // of the key files, in bytes
}

type namedRecord struct {
	file   string
	record kmskey.Record
}

type namedState struct {
	file     string
	metadata kmskey.KeyMetadata
	used     bool
}

// pending is a key that is ready to be written.
type pending struct {
	file string
	key  *kmskey.Key
	opts keystore.PutOptions
}

func (a *app) runImport(f importFlags, args []string) error {
	var at kmskey.Time
	if f.snapshotTime != "" {
		var err error
		if at, err = kmskey.ParseTime(f.snapshotTime); err != nil {
			return invalid("--snapshot-time: %v", err)
		}
		if err := notInFuture("--snapshot-time", at); err != nil {
			return err
		}
	}
	for _, alias := range f.aliases {
		if ref, err := kmskey.ParseRef(alias); err == nil && ref.Alias != "" && !ref.Scope.IsZero() {
			return invalid("--alias is the alias ARN %s, expected alias/NAME", alias).
				WithHint("Write %s: Region and account are the key's.", ref.Alias)
		}
		if _, err := kmskey.ParseAlias(alias); err != nil {
			return err
		}
	}
	if f.keyID != "" {
		if _, err := kmskey.ParseARN(f.keyID); err != nil {
			e := kmserr.As(err)
			return invalid("--key-id: %s", e.Fact).WithHint("%s", e.Hint)
		}
	}
	if err := oneStandardInput(args); err != nil {
		return err
	}
	all := &importSet{}
	defer func() {
		for _, t := range all.archives {
			t.close()
		}
	}()
	files, err := a.keyFiles(args)
	if err != nil {
		return err
	}
	var failed []error
	for _, file := range files {
		if a.ctx.Err() != nil {
			return kmserr.New(kmserr.DeadlineExceeded, "interrupted; nothing was written")
		}
		if err := a.readKeyFile(file, f, all); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if len(all.archives) > 0 {
		return a.importArchive(all, f)
	}
	if (f.usage != "" || len(f.algorithms) > 0) && len(all.bare) == 0 {
		return invalid("--key-usage and --signing-algorithms are for a public key in PEM or DER, and none is given").
			WithHint("What KMS answered says both itself; leave them out.")
	}
	for _, key := range all.blocked {
		a.warn([]string{fmt.Sprintf("%s is blocked where its record is from, and a record brings no block: run `%s keys block %s` to block it here too", key, name, key)})
	}
	keys, err := a.complete(all, f, at)
	if err != nil {
		return err
	}
	a.noteAlgorithms(all, f)
	stateless := 0
	err = a.importAll(func(w *keystore.Writer, dry bool) iter.Seq[result] {
		return func(yield func(result) bool) {
			for _, p := range keys {
				p.opts.DryRun = dry
				outcome, err := w.Put(p.key, p.opts)
				if err != nil {
					err = inFile(p.file, err)
				} else if !dry && outcome.Change == keystore.New && p.key.Record().KeyMetadata == nil {
					stateless++
				}
				if !yield(result{name: p.file, outcome: outcome, err: err}) {
					return
				}
			}
		}
	})
	if stateless > 0 {
		a.note(fmt.Sprintf("the state of %s is not known, so a disabled key would not be noticed: import what `aws kms describe-key` prints, too", count(stateless, "new key", "new keys")))
	}
	return err
}

// keyFiles returns the files to read: those named, and in place of a folder the key files in it, in the order of their
// paths. Hidden files and folders are passed over.
func (a *app) keyFiles(args []string) (files []string, err error) {
	for _, arg := range args {
		root := filePath(arg)
		if info, err := os.Stat(root); arg == "-" || err != nil || !info.IsDir() {
			files = append(files, arg) // reading it says what is wrong, if anything is
			continue
		}
		if link, err := os.Lstat(root); err == nil && !link.IsDir() {
			root += string(filepath.Separator) // WalkDir does not enter a link
		}
		found := 0
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return invalid("the folder %s cannot be read: %v", path, reason(err))
			case a.ctx.Err() != nil:
				return kmserr.New(kmserr.DeadlineExceeded, "interrupted; nothing was written")
			case entry.IsDir() && isHome(path):
				return invalid("%s is a key store", path).
					WithHint("Write it into a tar with `awskms-offline keys export --home %s --file FILE`, and import that.", path)
			case path == root:
				return nil
			case strings.HasPrefix(entry.Name(), ".") && entry.IsDir():
				return fs.SkipDir
			case strings.HasPrefix(entry.Name(), ".") || entry.IsDir():
				return nil
			case !isKeyFileName(entry.Name()):
				a.note(passedOver(path))
				return nil
			}
			// Reading a pipe or device that somebody put there could last for ever. Who means one names it.
			if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
				return invalid("the folder %s holds %s, which is no ordinary file", root, path).
					WithHint("Expected are files that hold keys: take it out of the folder.")
			}
			if found++; found > maxFolderFiles {
				return tooManyKeyFiles("the folder " + root)
			}
			files = append(files, path)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if found == 0 {
			return nil, invalid("the folder %s holds no key file", root).WithHint("Expected are files whose names end in .json, .pem, .der or .pub.")
		}
	}
	return files, nil
}

// isHome reports whether a folder is a key store: its files are part of a whole and not to be imported one by one.
func isHome(folder string) bool {
	for _, name := range []string{"keys", "by-key"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// importArchive imports what keys export wrote: blocks first, as its order has it, so that no key is there unblocked for
// a moment or for good.
func (a *app) importArchive(all *importSet, f importFlags) error {
	t := all.archives[0]
	if n := len(all.archives) + len(all.records) + len(all.states); n > 1 {
		return invalid("%s was made by keys export, and more is given with it", filePath(t.name)).WithHint("Import it alone.")
	}
	if f.keyID != "" || f.usage != "" || len(f.algorithms) > 0 || len(f.aliases) > 0 || f.snapshotTime != "" {
		return invalid("%s was made by keys export and says all itself", filePath(t.name)).
			WithHint("Leave --key-id, --key-usage, --signing-algorithms, --alias and --snapshot-time out.")
	}
	if t.count == 1 {
		return inFile(t.name, invalid("the export holds no key").WithHint("Was it made from an empty store?"))
	}
	return a.importAll(func(w *keystore.Writer, dry bool) iter.Seq[result] {
		return func(yield func(result) bool) {
			for file, err := range t.files() {
				r := result{name: file.Path}
				if err == nil {
					r.outcome, err = w.PutFile(file, keystore.PutOptions{MoveAlias: f.moveAlias, DryRun: dry})
				}
				if file.Block != nil && r.outcome.Change != keystore.Unchanged {
					r.verb = "blocked"
				}
				if err != nil {
					r.err = inFile(t.name, err)
				}
				if !yield(r) {
					return
				}
			}
		}
	})
}

// importAll opens the store and imports, or does nothing: every step is first taken dry, and each that is refused is told, however
// many: among them may be one that is an alarm.
func (a *app) importAll(steps func(w *keystore.Writer, dry bool) iter.Seq[result]) (err error) {
	w, err := a.openWriter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	var refused []result
	for r := range steps(w, true) {
		switch {
		case a.ctx.Err() != nil:
			return kmserr.New(kmserr.DeadlineExceeded, "interrupted; nothing was written")
		case r.err != nil:
			refused = append(refused, r)
		}
	}
	if len(refused) > 0 {
		return a.report(refused)
	}
	p := a.newProgress()
	done := 0
	for r := range steps(w, false) {
		if err := p.add(r); err != nil {
			return err
		}
		if r.err != nil {
			break // of the disk: what a dry run could not know
		}
		if done++; a.ctx.Err() != nil {
			p.fail(kmserr.New(kmserr.DeadlineExceeded, "interrupted after %s", count(done, "file", "files")).
				WithHint("Import again: what was written is whole and kept."))
			break
		}
	}
	return p.finish()
}

// noteAlgorithms says what was taken for granted of a bare public key with several algorithms.
func (a *app) noteAlgorithms(all *importSet, f importFlags) {
	for _, r := range all.records {
		if n := len(r.record.SigningAlgorithms); n > 1 && len(f.algorithms) == 0 && slices.Contains(all.bare, r.file) {
			a.note(fmt.Sprintf("%s does not say which signing algorithms KMS allows: all %d of %s are taken; --signing-algorithms narrows them",
				filePath(r.file), n, r.record.KeySpec))
		}
	}
}

// complete joins states to records, fills in what flags say, and checks every key. Nothing is written before it is done.
func (a *app) complete(all *importSet, f importFlags, at kmskey.Time) ([]pending, error) {
	if (f.keyID != "" || len(f.aliases) > 0) && len(all.records) > 1 {
		return nil, forOneKey(len(all.records))
	}
	var failed []error
	var keys []pending
	where := make(map[kmskey.ARN]string)
	add := func(p pending) {
		if other, twice := where[p.key.ARN()]; twice {
			failed = append(failed, inFile(p.file, invalid("%s is given twice, also in %s", p.key.ARN(), filePath(other)).WithHint("Give each key once, with its newest state.")))
			return
		}
		where[p.key.ARN()] = p.file
		keys = append(keys, p)
	}
	states := make(map[string][]*namedState) // by ARN, and by bare key ID
	for i := range all.states {
		s := &all.states[i]
		states[s.metadata.Arn] = append(states[s.metadata.Arn], s)
		if _, id, ok := strings.Cut(s.metadata.Arn, ":key/"); ok {
			states[id] = append(states[id], s)
		}
	}
	for _, r := range all.records {
		key, err := r.complete(states, f, at)
		file := r.file
		var state ofState
		if errors.As(err, &state) {
			file, err = state.file, state.error
		}
		if err != nil {
			failed = append(failed, inFile(file, err))
			continue
		}
		opts := keystore.PutOptions{MoveAlias: f.moveAlias, Aliases: slices.Clone(f.aliases), AliasTime: key.Record().Snapshot.Time}
		if len(f.aliases) > 0 {
			opts.AliasTime = at // the record's own time says nothing of an alias that is given by hand
		}
		add(pending{file: r.file, key: key, opts: opts})
	}
	for i := range all.states {
		if s := &all.states[i]; !s.used {
			key, err := a.stateForStored(s, f, at)
			if err != nil {
				failed = append(failed, inFile(s.file, err))
				continue
			}
			add(pending{file: s.file, key: key, opts: keystore.PutOptions{MoveAlias: f.moveAlias, Aliases: f.aliases, AliasTime: at}})
		}
	}
	if len(f.aliases) > 0 && len(keys) > 1 {
		failed = append(failed, forOneKey(len(keys)))
	}
	failed = append(failed, aliasesOfTwo(keys)...)
	return keys, errors.Join(failed...)
}

func forOneKey(given int) error {
	return invalid("--key-id and --alias are for one key, and %d are given", given).WithHint("Import them one by one.")
}

// aliasesOfTwo returns an error for each alias that is given for two keys: at most one of them has it.
func aliasesOfTwo(keys []pending) (failed []error) {
	owner := make(map[kmskey.AliasARN]pending)
	for _, p := range keys {
		for _, alias := range append(p.key.Record().Aliases, p.opts.Aliases...) {
			arn := kmskey.AliasARN{Scope: p.key.ARN().Scope, Alias: alias}
			if other, there := owner[arn]; there && other.key.ARN() != p.key.ARN() {
				failed = append(failed, inFile(p.file, invalid("%s is given for %s, and in %s for %s", arn, p.key.ARN(), other.file, other.key.ARN()).
					WithHint("An alias means one key: import the right one alone.")))
			}
			owner[arn] = p
		}
	}
	return failed
}

func differs(says, flag string) error {
	return invalid("KeyId says %s, but --key-id says %s", says, flag).WithHint("Import the file of the key that is meant, or leave --key-id out.")
}

func (r namedRecord) complete(states map[string][]*namedState, f importFlags, at kmskey.Time) (*kmskey.Key, error) {
	record := r.record
	if f.keyID != "" {
		switch {
		case strings.HasPrefix(record.KeyID, "arn:") && record.KeyID != f.keyID:
			return nil, differs(record.KeyID, f.keyID)
		case record.KeyID != "" && !strings.HasPrefix(record.KeyID, "arn:") && !strings.HasSuffix(f.keyID, ":key/"+record.KeyID):
			return nil, differs(record.KeyID, f.keyID)
		}
		record.KeyID = f.keyID
	}
	matching := states[record.KeyID]
	joined := ""
	switch {
	case len(matching) > 1:
		return nil, invalid("%s and %s both are describe-key answers for the key ID %s", matching[0].file, matching[1].file, record.KeyID).
			WithHint("Give one a key; where the record has a bare key ID, say which ARN it is with --key-id.")
	case len(matching) == 1 && record.KeyMetadata != nil:
		return nil, invalid("the record holds a key state, and %s another", matching[0].file).WithHint("Import the record first, then the newer state.")
	case len(matching) == 1:
		s := matching[0]
		s.used = true
		joined = s.file
		record.KeyID, record.KeyMetadata, record.Snapshot.StateTime = s.metadata.Arn, &s.metadata, kmskey.Time{}
	}
	stamp(&record, at)
	for name, t := range map[string]kmskey.Time{"Snapshot.Time": record.Snapshot.Time, "Snapshot.StateTime": record.Snapshot.StateTime} {
		if err := notInFuture(name, t); err != nil {
			return nil, err
		}
	}
	key, err := kmskey.NewKey(record)
	if err != nil && joined != "" {
		alone := record
		alone.KeyMetadata, alone.Snapshot.StateTime = nil, kmskey.Time{}
		if _, without := kmskey.NewKey(alone); without == nil { // then what the state says is at fault
			return nil, ofState{joined, err}
		}
	}
	return key, err
}

// ofState is an error about a key state that came in another file than the key.
type ofState struct {
	file string
	error
}

// notInFuture refuses a time that KMS cannot have answered at yet: it would keep out all newer knowledge until then.
func notInFuture(what string, t kmskey.Time) error {
	if now := time.Now(); t.Sub(now) > verifier.ClockTolerance {
		return invalid("%s is %s, which lies in the future: now is %s", what, timeText(t), now.UTC().Format(time.RFC3339)).
			WithHint("State when KMS gave the answer; if the clock of this machine is wrong, set it.")
	}
	return nil
}

// stamp says where the record's knowledge is from. A time that the file carries is kept; one stated by hand is marked so.
// What the file itself says of that counts for nothing: a policy that demands a source would take whatever a file claims.
func stamp(record *kmskey.Record, at kmskey.Time) {
	record.Snapshot.Source = kmskey.SourceFile
	if at.IsZero() {
		return
	}
	if record.Snapshot.Time.IsZero() {
		record.Snapshot.Time, record.Snapshot.Source = at, kmskey.SourceOperator
	}
	if record.KeyMetadata != nil && record.Snapshot.StateTime.IsZero() {
		record.Snapshot.StateTime, record.Snapshot.Source = at, kmskey.SourceOperator
	}
}

// stateForStored returns the stored key with the state given for it alone.
func (a *app) stateForStored(s *namedState, f importFlags, at kmskey.Time) (*kmskey.Key, error) {
	both := func() error {
		return invalid("this is describe-key's answer, which holds no public key, and no record of %s is in the store", s.metadata.Arn).
			WithHint("Both are needed: import the output of `aws kms get-public-key` together with it.").WithKey(s.metadata.Arn)
	}
	arn, err := kmskey.ParseARN(s.metadata.Arn)
	if err != nil {
		return nil, invalid("KeyMetadata.Arn is %q, which is no key ARN", s.metadata.Arn)
	}
	if f.keyID != "" && s.metadata.Arn != f.keyID {
		return nil, invalid("KeyMetadata.Arn says %s, but --key-id says %s", s.metadata.Arn, f.keyID).
			WithHint("Import the state of that key, or leave --key-id out.")
	}
	store, err := a.openStore()
	if errors.Is(err, keystore.ErrNoStore) {
		return nil, both()
	}
	if err != nil {
		return nil, err
	}
	defer store.Close()
	found, err := store.Resolve(kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID}, keystore.ResolveOptions{ExactRegion: true})
	if kmserr.Is(err, kmserr.NotFound) {
		return nil, both()
	}
	if err != nil {
		return nil, err
	}
	record := found.Entries[0].Key.Record()
	record.Aliases = nil // it says nothing of them, and what the record says was true when that came
	record.KeyMetadata, record.Snapshot.StateTime, record.Snapshot.Source = &s.metadata, at, kmskey.SourceFile
	if !at.IsZero() {
		record.Snapshot.Source = kmskey.SourceOperator
	}
	return kmskey.NewKey(record)
}

// publicKeyRecord makes a record of a bare public key.
func publicKeyRecord(der []byte, f importFlags) (kmskey.Record, error) {
	if f.keyID == "" || f.usage == "" {
		e := invalid("this is a bare public key, which does not say what KMS key it is")
		switch {
		case f.keyID != "":
			e = invalid("this is a bare public key, which does not say what it is for").WithHint("Give --key-usage: SIGN_VERIFY for a key that signs.")
		case f.usage != "":
			e = e.WithHint("Give --key-id with the key's ARN.")
		default:
			e = e.WithHint("Give --key-id with the key's ARN and --key-usage.")
		}
		return kmskey.Record{}, e
	}
	_, spec, err := kmskey.FingerprintDER(der)
	if err != nil {
		return kmskey.Record{}, err
	}
	usage := kmskey.KeyUsage(f.usage)
	if !slices.Contains([]kmskey.KeyUsage{kmskey.SignVerify, kmskey.EncryptDecrypt, kmskey.KeyAgreement, kmskey.EncapsulateDecapsulate}, usage) {
		return kmskey.Record{}, invalid("--key-usage is %q, expected SIGN_VERIFY, ENCRYPT_DECRYPT, KEY_AGREEMENT or ENCAPSULATE_DECAPSULATE", f.usage)
	}
	record := kmskey.Record{KeyID: f.keyID, PublicKey: bytes.Clone(der), KeySpec: spec, KeyUsage: usage}
	if usage != kmskey.SignVerify && len(f.algorithms) > 0 {
		return kmskey.Record{}, invalid("--signing-algorithms is for SIGN_VERIFY keys, but --key-usage is %s", usage)
	}
	if usage == kmskey.SignVerify {
		record.SigningAlgorithms = spec.SigningAlgorithms()
		if len(f.algorithms) > 0 {
			record.SigningAlgorithms = nil
			for _, text := range f.algorithms {
				alg, err := algorithmFlag(text)
				if err != nil {
					return kmskey.Record{}, err
				}
				record.SigningAlgorithms = append(record.SigningAlgorithms, alg)
			}
		}
	}
	return record, nil
}
