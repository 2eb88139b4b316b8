package keystore

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxAliasFile is the longest alias file read or written, in bytes: room for some 450 former meanings.
const maxAliasFile = 64 << 10

// aliasFile is what lies on disk. Alias is the full alias ARN, so that a file that was copied to another account or
// Region does not speak for that one.
type aliasFile struct {
	Alias       string         `json:"Alias" strict:"required"`
	TargetKeyID string         `json:"TargetKeyId" strict:"required"`
	Time        kmskey.Time    `json:"Time,omitzero"`
	History     []AliasHistory `json:"History,omitempty"`
}

// decodeAlias reads an alias file. Errors are clauses for a sentence: "says …, expected …".
func decodeAlias(data []byte) (AliasEntry, error) {
	var f aliasFile
	if err := strictjson.Decode(data, maxAliasFile, strictjson.Refuse, &f); err != nil {
		return AliasEntry{}, err
	}
	ref, err := kmskey.ParseRef(f.Alias)
	if err != nil {
		return AliasEntry{}, fmt.Errorf("has a bad Alias: %s", kmserr.As(err).Fact)
	}
	arn, ok := ref.AliasARN()
	if !ok {
		return AliasEntry{}, fmt.Errorf("has the Alias %q, expected a full alias ARN", f.Alias)
	}
	if f.TargetKeyID != "" && !isKeyID(f.TargetKeyID) {
		return AliasEntry{}, fmt.Errorf("has the TargetKeyId %q, expected a bare key ID, or an empty one for an alias that KMS no longer has", f.TargetKeyID)
	}
	for i, h := range f.History {
		if !isKeyID(h.KeyID) {
			return AliasEntry{}, fmt.Errorf("has the KeyId %q in History/%d, expected a bare key ID", h.KeyID, i)
		}
	}
	return AliasEntry{ARN: arn, TargetKeyID: f.TargetKeyID, Time: f.Time, History: f.History}, nil
}

func encodeAlias(a AliasEntry) ([]byte, error) {
	b, err := json.Marshal(aliasFile{a.ARN.String(), a.TargetKeyID, a.Time, a.History},
		json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	if len(b) >= maxAliasFile {
		return nil, kmserr.New(kmserr.Validation, "the file of %s would be longer than %d bytes, as it moved %d times", a.ARN, maxAliasFile, len(a.History)).
			WithHint("Remove the alias and import it anew: its history starts again.").WithKey(a.ARN.String())
	}
	return append(b, '\n'), nil
}

// readAlias reads the file of an alias and checks that it is of that alias. errAbsent if there is none.
func (s *Store) readAlias(alias kmskey.AliasARN) (AliasEntry, error) {
	rel := aliasPath(alias)
	data, real, err := s.read(rel, maxAliasFile)
	if err != nil {
		return AliasEntry{}, withKey(err, alias.String())
	}
	entry, err := decodeAlias(data)
	if err != nil {
		return AliasEntry{}, integrity("the alias file %s %v", s.abs(real), err).
			WithHint("Remove the file and import the alias again.").WithKey(alias.String())
	}
	if entry.ARN != alias {
		return AliasEntry{}, integrity("the alias file %s is that of %s, expected %s", s.abs(real), entry.ARN, alias).
			WithHint("Remove the file and import the alias again.").WithKey(alias.String())
	}
	entry.Path, entry.SHA256 = s.abs(rel), hexSHA256(data)
	return entry, nil
}

// Alias returns what the alias's file says, nil if there is none. Unlike Resolve it does not look for the key. Errors are
// those of Resolve.
func (s *Store) Alias(alias kmskey.AliasARN) (*AliasEntry, error) {
	entry, err := s.readAlias(alias)
	if errors.Is(err, errAbsent) { // else it is there; a policy may name many
		if lost := s.lost(); lost != nil {
			err = lost
		}
	}
	switch {
	case errors.Is(err, errAbsent):
		return nil, nil
	case err != nil:
		return nil, known(err).WithKey(alias.String())
	}
	return &entry, nil
}

// Aliases yields the aliases of one account and Region, of all if scope is zero: by partition, Region and account, then
// by name. An alias that cannot be read is yielded as an entry with nothing but its Path, and the error; a folder that cannot be,
// by its error alone. Neither keeps any of the others back. The last may be an error alone, as of List.
func (s *Store) Aliases(scope kmskey.Scope) iter.Seq2[AliasEntry, error] {
	return whole(s, s.aliases(scope))
}

func (s *Store) aliases(scope kmskey.Scope) iter.Seq2[AliasEntry, error] {
	return func(yield func(AliasEntry, error) bool) {
		scopes := []kmskey.Scope{scope}
		if scope.IsZero() {
			var unread []error
			scopes, unread = s.scopes(aliasesFolder)
			for _, err := range unread {
				if !yield(AliasEntry{}, known(err)) {
					return
				}
			}
		} else if err := scope.Check(); err != nil {
			yield(AliasEntry{}, err)
			return
		}
		for _, in := range scopes {
			if !s.aliasesOf(in, yield) {
				return
			}
		}
	}
}

func (s *Store) aliasesOf(scope kmskey.Scope, yield func(AliasEntry, error) bool) bool {
	folder := scopePath(aliasesFolder, scope)
	files, _, err := s.names(folder, 0)
	if err != nil {
		return yield(AliasEntry{Path: s.abs(folder)}, known(err))
	}
	type outcome struct {
		entry AliasEntry
		err   error
	}
	var all []outcome
	for _, file := range files {
		name, ok := strings.CutSuffix(file, suffix)
		if !ok {
			continue // stray: Fsck's to report
		}
		entry, err := s.readAliasFile(scope, name)
		if errors.Is(err, errAbsent) {
			continue // removed since
		}
		if err != nil {
			entry, err = AliasEntry{Path: s.abs(folder + "/" + file)}, known(err)
		}
		all = append(all, outcome{entry, err})
	}
	// By name, which the order of the escaped and hashed file names is not.
	slices.SortStableFunc(all, func(a, b outcome) int { return strings.Compare(a.entry.ARN.Alias, b.entry.ARN.Alias) })
	for _, o := range all {
		if !yield(o.entry, o.err) {
			return false
		}
	}
	return true
}

// readAliasFile reads the alias whose file has that name without suffix. Where the name is a hash the content says which
// alias it is, and is then checked to belong there.
func (s *Store) readAliasFile(scope kmskey.Scope, name string) (AliasEntry, error) {
	rel := scopePath(aliasesFolder, scope) + "/" + name + suffix
	alias, ok := unescapeAlias(name)
	if !ok {
		data, real, err := s.read(rel, maxAliasFile)
		if err != nil {
			return AliasEntry{}, err
		}
		entry, err := decodeAlias(data)
		if err != nil {
			return AliasEntry{}, integrity("the alias file %s %v", s.abs(real), err).WithHint("Remove the file and import the alias again.")
		}
		if entry.ARN.Scope != scope || escapeAlias(entry.ARN.Alias) != name {
			return AliasEntry{}, integrity("the alias file %s is that of %s, which belongs at %s", s.abs(rel), entry.ARN, s.abs(aliasPath(entry.ARN))).
				WithHint("Remove the file and import the alias again.").WithKey(entry.ARN.String())
		}
		entry.Path, entry.SHA256 = s.abs(rel), hexSHA256(data)
		return entry, nil
	}
	return s.readAlias(kmskey.AliasARN{Scope: scope, Alias: alias})
}
