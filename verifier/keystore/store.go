package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Store is the reading half. It keeps nothing but the home's open handle: every call reads the disk anew. See Remembering.
type Store struct {
	home  Home
	tree  *fileguard.Tree
	root  *os.Root // the tree's
	guard *fileguard.Guard
	opts  Options
	// parsed is the memory that Remembering gives.
	parsed *parsedKeys
}

// ErrNoStore is the cause of the error of Open for a home that is not there.
var ErrNoStore = errors.New("there is no key store")

// Open opens the store in home for reading. A home that is not there, or cannot be read, is a StoreAccessException; one
// that others can write is a StoreIntegrityException whose hint holds the command that mends it. A home without any
// record is an empty store.
//
// A home is lost once its path leads to another folder, or others can write it. What is read from then on is refused, as a
// StoreAccessException or a StoreIntegrityException, and a StoreAccessException does not pass before the home is opened anew:
// what a folder that is on its way out has not is not absent.
func Open(home Home, opts Options) (*Store, error) {
	if filepath.IsAbs(home.Path) {
		home = cleaned(home)
	}
	g := newGuard(opts)
	tree, err := openHome(home, g)
	if errors.Is(err, errAbsent) {
		return nil, access(ErrNoStore, "the key store %s (%s) is not there", home.Path, home.ChosenBy).
			WithHint("`awskms-offline keys import FILE` makes it; or name the one to use.")
	}
	if err != nil {
		return nil, err
	}
	return &Store{home: home, tree: tree, root: tree.Root(), guard: g, opts: opts}, nil
}

// Home returns the home that was given to Open, its path cleaned (path/filepath.Clean).
func (s *Store) Home() Home { return s.home }

// Unchecked reports whether nobody checks who could have written what is read.
func (s *Store) Unchecked() bool { return guardOptions(s.opts).Skips() }

// Strict reports whether it was opened with strict permissions.
func (s *Store) Strict() bool { return s.opts.StrictPermissions }

// ReadsFrom reports whether this is the folder that the store was opened in, whatever its path leads to by now.
func (s *Store) ReadsFrom(folder fs.FileInfo) bool {
	opened, _ := s.root.Stat(".") // of a store that was closed nil, which is no folder
	return os.SameFile(opened, folder)
}

// Warnings returns what was met so far that strict permissions would refuse: one clause each, without repetition, a
// bounded number.
func (s *Store) Warnings() []string { return s.guard.Warnings() }

// Close gives the home's handle back. Nothing can be read afterwards.
func (s *Store) Close() error { return s.tree.Close() }

// Resolve finds what ref means: a record for a key ARN, what an alias file says for an alias, and for a bare key ID or
// alias the only account and Region that has it. Everything it returns was read once, in this call, and was checked to
// be what was asked for.
//
// Errors: NotFoundException if nothing is there, which lists what is; AmbiguousKeyException for a bare name that several
// accounts or Regions have, which lists them; StoreIntegrityException for what is there but cannot be relied on;
// StoreAccessException for what cannot be read, or was read of a home that is none any more.
func (s *Store) Resolve(ref kmskey.Ref, opts ResolveOptions) (*Resolution, error) {
	r, err := s.resolve(ref, opts)
	if lost := s.lost(); lost != nil {
		err = lost
	}
	if err != nil {
		return nil, known(err).WithKey(ref.String())
	}
	return r, nil
}

// lost says why what was just read does not count: the home's path leads to another folder by now, or somebody else could
// have changed what is in it. Whoever puts another folder in the home's place removes this one afterwards, and what is
// removed already is not absent; and a home that only its owner could write when it was opened may be everyone's now.
func (s *Store) lost() error {
	if err := s.tree.Recheck(); err != nil && !errors.Is(err, fs.ErrNotExist) { // which some systems say of a folder that was removed
		return err
	}
	real, err := s.guard.ResolveFolder(s.home.Path)
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if folder, _ := os.Stat(real); !s.ReadsFrom(folder) { // nil, as of no path, is no folder
		return access(nil, "the key store %s was taken away or replaced by another folder meanwhile", s.home.Path).
			WithHint("Try again; a program that opened the store itself must open it anew.")
	}
	return nil
}

// known makes sure that no error of another kind leaves the package, but by Close.
func known(err error) *kmserr.Error {
	if errors.Is(err, os.ErrClosed) {
		return access(err, "the key store was closed")
	}
	return kmserr.As(err)
}

func (s *Store) resolve(ref kmskey.Ref, opts ResolveOptions) (*Resolution, error) {
	switch {
	case ref.KeyID != "" && ref.Alias != "", ref.KeyID == "" && ref.Alias == "":
		return nil, kmserr.New(kmserr.Validation, "%q names neither one key nor one alias", ref.String())
	case ref.Alias != "":
		return s.resolveAlias(ref, opts)
	}
	arn, ok := ref.ARN()
	if !ok {
		var err error
		if arn, err = s.findBareKey(ref.KeyID); err != nil {
			return nil, err
		}
	}
	entry, err := s.readRecord(arn)
	switch {
	case err == nil:
		return &Resolution{Asked: ref, Target: arn, Entries: []Entry{entry}}, nil
	case !errors.Is(err, errAbsent):
		return nil, err
	}
	// Only here, and only for a multi-Region key's full ARN, is there a second place to look.
	if arn.MultiRegion() && ok {
		replicas, err := s.replicas(arn)
		if err != nil {
			return nil, err
		}
		if len(replicas) > 0 {
			if opts.ExactRegion {
				return nil, kmserr.New(kmserr.NotFound, "no record of %s is in the store %s, and its other Regions' do not count here", arn, s.root.Name()).
					WithHint("Import the key of this Region: the multi-Region fallback to %s is turned off.", replicas[0].Key.ARN())
			}
			return &Resolution{Asked: ref, Target: arn, Entries: replicas, Fallback: true}, nil
		}
	}
	return nil, s.keyNotFound(arn, opts.Terse)
}

// findBareKey returns the only ARN in the store with this key ID.
func (s *Store) findBareKey(keyID string) (kmskey.ARN, error) {
	scopes, unread := s.scopes(keysFolder)
	if len(unread) > 0 { // there may be another one
		return kmskey.ARN{}, unread[0]
	}
	var found []kmskey.ARN
	for _, scope := range scopes {
		arn := kmskey.ARN{Scope: scope, KeyID: keyID}
		there, err := s.exists(recordPath(arn))
		if err != nil {
			return kmskey.ARN{}, err
		}
		if there {
			found = append(found, arn)
		}
	}
	switch len(found) {
	case 0:
		return kmskey.ARN{}, s.bareKeyNotFound(keyID)
	case 1:
		return found[0], nil
	}
	return kmskey.ARN{}, ambiguous("key ID "+keyID, found)
}

// readRecord reads the record of arn and checks that it is one, and of arn. errAbsent if there is none.
func (s *Store) readRecord(arn kmskey.ARN) (Entry, error) {
	rel := recordPath(arn)
	data, real, err := s.read(rel, kmskey.MaxRecord)
	if err != nil {
		return Entry{}, withKey(err, arn.String())
	}
	key, err := s.parsed.parse(data)
	if err != nil {
		return Entry{}, integrity("the record %s is damaged: %s", s.abs(real), kmserr.As(err).Fact).
			WithHint("Remove the file and import the key again.").WithCause(err).WithKey(arn.String())
	}
	if key.ARN() != arn {
		return Entry{}, integrity("the record %s is that of %s, expected %s", s.abs(real), key.ARN(), arn).
			WithHint("Records are found by their path: remove the file and import the key again.").WithKey(arn.String())
	}
	return Entry{Key: key, Path: s.abs(rel), SHA256: hexSHA256(data)}, nil
}

func withKey(err error, arn string) error {
	var e *kmserr.Error
	if errors.As(err, &e) {
		return e.WithKey(arn)
	}
	return err
}

// Regions returns the ARNs of a multi-Region key under which the store has records, in the Regions' order, its own among
// them: each of them answers for those that have none. Of any other key it returns its own, whether there is a record or not.
func (s *Store) Regions(arn kmskey.ARN) ([]kmskey.ARN, error) {
	if !arn.MultiRegion() {
		return []kmskey.ARN{arn}, nil
	}
	regions, _, err := s.names(keysFolder+"/"+arn.Partition, 0)
	if err != nil {
		return nil, err
	}
	var found []kmskey.ARN
	for _, region := range regions {
		if !parts[1](region) {
			continue
		}
		one := arn
		one.Region = region
		there, err := s.exists(recordPath(one))
		if err != nil {
			return nil, err
		}
		if there {
			found = append(found, one)
		}
	}
	return found, nil
}

// replicas returns the records of a multi-Region key's other Regions, in the Regions' order: same partition, account and
// key ID. They share their key material and usage by KMS's definition of a replica, or none of them can be relied on.
func (s *Store) replicas(arn kmskey.ARN) ([]Entry, error) {
	arns, err := s.Regions(arn)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, other := range arns {
		if other == arn {
			continue
		}
		entry, err := s.readRecord(other)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	for _, e := range entries {
		first := entries[0]
		if e.Key.Fingerprint() != first.Key.Fingerprint() || e.Key.Usage() != first.Key.Usage() {
			return nil, integrity("the records of the multi-Region key %s disagree: that of %s has the public key %s (%s), that of %s %s (%s)",
				arn.KeyID, first.Key.ARN().Region, first.Key.Fingerprint(), first.Key.Usage(),
				e.Key.ARN().Region, e.Key.Fingerprint(), e.Key.Usage()).
				WithHint("Replicas share their key material: find out which record is genuine, and remove the other.").WithKey(arn.String())
		}
	}
	return entries, nil
}

func (s *Store) resolveAlias(ref kmskey.Ref, opts ResolveOptions) (*Resolution, error) {
	alias, ok := ref.AliasARN()
	if !ok {
		var err error
		if alias, err = s.findBareAlias(ref.Alias); err != nil {
			return nil, err
		}
	}
	meant, err := s.readAlias(alias)
	if errors.Is(err, errAbsent) {
		return nil, s.aliasNotFound(alias, opts.Terse)
	}
	if err != nil {
		return nil, err
	}
	if meant.TargetKeyID == "" {
		return nil, kmserr.New(kmserr.NotFound, "the alias %s meant no key: KMS had no such alias on %s", alias, stamp(meant.Time)).
			WithHint("If it was made again since, pull or import it.").WithKey(alias.String())
	}
	// No multi-Region fallback here: each Region's aliases are its own.
	entry, err := s.readRecord(meant.Target())
	if errors.Is(err, errAbsent) {
		return nil, kmserr.New(kmserr.NotFound, "the alias %s meant %s, of which no record is in the store %s", alias, meant.Target(), s.root.Name()).
			WithHint("Import that key.").WithKey(meant.Target().String())
	}
	if err != nil {
		return nil, err
	}
	return &Resolution{Asked: ref, Target: meant.Target(), Entries: []Entry{entry}, Alias: &meant}, nil
}

// findBareAlias returns the only alias ARN in the store with this name.
func (s *Store) findBareAlias(name string) (kmskey.AliasARN, error) {
	scopes, unread := s.scopes(aliasesFolder)
	if len(unread) > 0 {
		return kmskey.AliasARN{}, unread[0]
	}
	var found []kmskey.AliasARN
	for _, scope := range scopes {
		alias := kmskey.AliasARN{Scope: scope, Alias: name}
		there, err := s.exists(aliasPath(alias))
		if err != nil {
			return kmskey.AliasARN{}, err
		}
		if there {
			found = append(found, alias)
		}
	}
	switch len(found) {
	case 0:
		return kmskey.AliasARN{}, s.bareAliasNotFound(name)
	case 1:
		return found[0], nil
	}
	return kmskey.AliasARN{}, ambiguous("alias "+name, found)
}

// scopes returns the accounts and Regions that have a folder below base, in the order of partition, Region, account.
// What has not the form of one is passed over: it is Fsck's to report. A folder that cannot be read keeps no other from
// being found: its error is in unread.
func (s *Store) scopes(base string) (found []kmskey.Scope, unread []error) {
	var descend func(rel string, walked []string)
	descend = func(rel string, walked []string) {
		if len(walked) == len(parts) {
			found = append(found, kmskey.Scope{Partition: walked[0], Region: walked[1], Account: walked[2]})
			return
		}
		names, _, err := s.names(rel, 0)
		if err != nil {
			unread = append(unread, err)
			return
		}
		for _, name := range names {
			if parts[len(walked)](name) {
				descend(rel+"/"+name, append(slices.Clone(walked), name))
			}
		}
	}
	descend(base, nil)
	return found, unread
}

// ARNsByFingerprint returns the ARNs that the by-key index has for a public key: its SHA-256 in lower-case hexadecimal.
// The index serves hints and blocks. It may lag behind the records after a crash, so it is never a reason to say yes.
func (s *Store) ARNsByFingerprint(fingerprint string) ([]kmskey.ARN, error) {
	if !isFingerprint(fingerprint) {
		return nil, kmserr.New(kmserr.Validation, "%q is no SHA-256 in lower-case hexadecimal", fingerprint)
	}
	// KMS has a few dozen Regions: an index entry beyond that size is not of our making.
	const most = 4096
	rel := indexPath(fingerprint)
	names, more, err := s.names(rel, most)
	if err != nil {
		return nil, known(err)
	}
	if more {
		return nil, integrity("%s holds more than %d names", s.abs(rel), most).WithHint("Run `awskms-offline doctor`.")
	}
	var arns []kmskey.ARN
	for _, name := range names {
		if name[0] == '.' {
			continue // a file manager's
		}
		arn, ok := parseMarker(name)
		if !ok {
			return nil, integrity("%s holds %q, which names no key", s.abs(rel), name).WithHint("Remove that file.")
		}
		arns = append(arns, arn)
	}
	return arns, nil
}

// What follows is the tree's, by short names: the rest of the package reads the disk through these alone.

func (s *Store) abs(rel string) string { return s.tree.Abs(rel) }

func (s *Store) read(rel string, limit int) (data []byte, real string, err error) {
	return s.tree.Read(rel, limit)
}

func (s *Store) exists(rel string) (bool, error) { return s.tree.Exists(rel) }

func (s *Store) names(rel string, limit int) (names []string, more bool, err error) {
	return s.tree.Names(rel, limit)
}
