package keystore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/internal/nearest"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// What a refused lookup tells: at most maxListed names, of at most maxLooked that it looked at. A refusal must not cost
// more the larger the store is.
const (
	maxListed = 10
	maxLooked = 2000
)

func ambiguous[T fmt.Stringer](what string, found []T) *kmserr.Error {
	return kmserr.New(kmserr.Ambiguous, "the %s is known %d times: %s", what, len(found), listed(texts(found), len(found))).
		WithHint("Use the full ARN of the one that is meant.")
}

func texts[T fmt.Stringer](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = v.String()
	}
	return all
}

// listed joins at most maxListed of names; total is how many there are.
func listed(names []string, total int) string {
	if len(names) > maxListed {
		names = names[:maxListed]
	}
	text := strings.Join(names, ", ")
	if total > len(names) {
		text += fmt.Sprintf(" and %d more", total-len(names))
	}
	return text
}

const importHint = "Import the key with `awskms-offline keys import FILE`, or download it with `awskms-offline keys pull`."

func (s *Store) keyNotFound(arn kmskey.ARN, terse bool) error {
	e := kmserr.New(kmserr.NotFound, "no record of %s is in the store %s", arn, s.root.Name()).WithKey(arn.String())
	e.Hint = importHint
	if terse {
		return e
	}
	s.describe(e, arn.String(), texts(s.knownKeys(arn.Scope)), s.elsewhere(arn))
	return e
}

func (s *Store) bareKeyNotFound(keyID string) error {
	e := kmserr.New(kmserr.NotFound, "no record of the key ID %s is in the store %s", keyID, s.root.Name())
	e.Hint = importHint
	known := s.knownKeys(kmskey.Scope{})
	var ids []string
	for _, a := range known {
		ids = append(ids, a.KeyID)
	}
	s.describe(e, keyID, texts(known), nil)
	if near := nearest.Name(keyID, ids); near != "" {
		e.Hint = fmt.Sprintf("Is %s meant? %s", near, importHint)
	}
	return e
}

func (s *Store) aliasNotFound(alias kmskey.AliasARN, terse bool) error {
	e := kmserr.New(kmserr.NotFound, "no alias %s is in the store %s", alias, s.root.Name()).WithKey(alias.String())
	e.Hint = "Import the key with `awskms-offline keys import FILE --alias " + alias.Alias + "`."
	if terse {
		return e
	}
	var other []string
	for _, a := range s.knownAliases(kmskey.Scope{}) {
		if a.Alias == alias.Alias {
			other = append(other, a.String())
		}
	}
	s.describe(e, alias.String(), texts(s.knownAliases(alias.Scope)), other)
	return e
}

func (s *Store) bareAliasNotFound(name string) error {
	e := kmserr.New(kmserr.NotFound, "no alias %s is in the store %s", name, s.root.Name())
	e.Hint = "Import the key with `awskms-offline keys import FILE --alias " + name + "`."
	known := s.knownAliases(kmskey.Scope{})
	var names []string
	for _, a := range known {
		names = append(names, a.Alias)
	}
	s.describe(e, name, texts(known), nil)
	if near := nearest.Name(name, names); near != "" {
		e.Hint = fmt.Sprintf("Is %s meant? %s", near, e.Hint)
	}
	return e
}

// describe adds to e what is there: the same name elsewhere, if that is known, else the names nearby; and asks whether a
// nearly identical one is meant.
func (s *Store) describe(e *kmserr.Error, asked string, nearby, elsewhere []string) {
	switch {
	case len(elsewhere) > 0:
		e.Fact += ", which has it as " + listed(elsewhere, len(elsewhere))
	case len(nearby) > 0:
		e.Fact += ", which holds " + listed(nearby, len(nearby))
	default:
		folder, what := keysFolder, "keys"
		if strings.Contains(asked, "alias/") {
			folder, what = aliasesFolder, "aliases"
		}
		if any, _ := s.scopes(folder); len(any) == 0 {
			e.Fact += ", which holds no " + what
		} else {
			e.Fact += ", which holds " + what + " of other accounts or Regions only"
		}
	}
	if near := nearest.Name(asked, append(slices.Clone(elsewhere), nearby...)); near != "" {
		e.Hint = fmt.Sprintf("Is %s meant? %s", near, e.Hint)
	}
}

// elsewhere returns the ARNs under which the store has arn's key ID in other accounts or Regions.
func (s *Store) elsewhere(arn kmskey.ARN) []string {
	var found []string
	scopes, _ := s.scopes(keysFolder)
	for _, scope := range scopes {
		other := kmskey.ARN{Scope: scope, KeyID: arn.KeyID}
		if there, err := s.exists(recordPath(other)); err == nil && there && other != arn {
			found = append(found, other.String())
		}
	}
	return found
}

// knownKeys returns the keys of a scope, of all if it is zero, by their file names alone: of the first maxLooked files. It
// serves messages: what cannot be read is left out.
func (s *Store) knownKeys(scope kmskey.Scope) []kmskey.ARN {
	var known []kmskey.ARN
	s.knownNames(keysFolder, scope, func(in kmskey.Scope, name string) {
		if isKeyID(name) {
			known = append(known, kmskey.ARN{Scope: in, KeyID: name})
		}
	})
	return known
}

// knownAliases returns aliases likewise; those whose names are hashed are left out.
func (s *Store) knownAliases(scope kmskey.Scope) []kmskey.AliasARN {
	var known []kmskey.AliasARN
	s.knownNames(aliasesFolder, scope, func(in kmskey.Scope, name string) {
		if alias, ok := unescapeAlias(name); ok {
			known = append(known, kmskey.AliasARN{Scope: in, Alias: alias})
		}
	})
	return known
}

func (s *Store) knownNames(base string, scope kmskey.Scope, visit func(in kmskey.Scope, name string)) {
	scopes := []kmskey.Scope{scope}
	if scope.IsZero() {
		scopes, _ = s.scopes(base)
	}
	looked := 0
	for _, in := range scopes {
		names, _, _ := s.names(scopePath(base, in), maxLooked-looked)
		for _, file := range names {
			if name, ok := strings.CutSuffix(file, suffix); ok {
				visit(in, name)
			}
		}
		if looked += len(names); looked >= maxLooked {
			return
		}
	}
}
