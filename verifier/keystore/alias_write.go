package keystore

import (
	"errors"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// MoveAlias records what KMS said that a known alias means, as of at: another key, which need not be in the store, or
// none, if target is empty. What it meant before becomes history. An older answer than the one on record changes nothing;
// one that says the same again is Confirmed and dates the alias anew.
//
// It is for aliases that a key no longer has: left alone, they would go on meaning that key.
func (w *Writer) MoveAlias(alias kmskey.AliasARN, target string, at kmskey.Time) (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	outcome, err := w.moveAliasTo(alias, target, at)
	if err != nil {
		return Outcome{}, known(err).WithKey(alias.String())
	}
	return outcome, nil
}

func (w *Writer) moveAliasTo(alias kmskey.AliasARN, target string, at kmskey.Time) (Outcome, error) {
	if target != "" && !isKeyID(target) || at.IsZero() {
		return Outcome{}, kmserr.New(kmserr.Validation, "the alias %s cannot mean %q as of %s, expected a bare key ID or none, and a time", alias, target, stamp(at))
	}
	outcome := Outcome{Alias: alias, Change: Unchanged}
	was, err := w.store.readAlias(alias)
	if errors.Is(err, errAbsent) {
		return Outcome{}, w.store.aliasNotFound(alias, false)
	}
	if err != nil {
		return Outcome{}, err
	}
	now := AliasEntry{ARN: alias, TargetKeyID: target, Time: at}
	if w.future(was.Time) { // as in Put
		was.Time = kmskey.Time{}
	}
	what, kept, err := moveAlias(was, &now, PutOptions{FromKMS: true})
	if err != nil {
		return Outcome{}, err
	}
	if kept != "" {
		outcome.Kept = []string{kept}
	}
	if what == "" {
		return outcome, nil
	}
	data, err := encodeAlias(now)
	if err != nil {
		return Outcome{}, err
	}
	outcome.Change, outcome.What, outcome.Confirmed = Changed, []string{what}, was.TargetKeyID == target
	return outcome, w.write(aliasPath(alias), data)
}

func orNoKey(keyID string) string {
	if keyID == "" {
		return "no key"
	}
	return keyID
}
