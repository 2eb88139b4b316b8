package keystore

import (
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// An alias that KMS gave to a key nobody pulled, or that it no longer has, must not go on meaning the old key.
func TestMoveAliasAway(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, monday)})
	ask := ref(t, "arn:aws:kms:us-east-1:111122223333:alias/release")
	alias, _ := ask.AliasARN()

	if _, err := w.MoveAlias(alias, "no key ID", at(t, tuesday)); err == nil {
		t.Error("moved to what is no key ID")
	}
	if _, err := w.MoveAlias(alias, uuidB, at(t, "")); err == nil {
		t.Error("moved at no time")
	}
	absent, _ := ref(t, "arn:aws:kms:us-east-1:111122223333:alias/none").AliasARN()
	_, err := w.MoveAlias(absent, "", at(t, tuesday))
	refused(t, err, kmserr.NotFound)

	if o, err := w.MoveAlias(alias, uuidA, at(t, monday)); err != nil || o.Change != Unchanged {
		t.Errorf("the same again: %+v, %v", o, err)
	}
	if o, err := w.MoveAlias(alias, uuidB, at(t, "2026-01-01T00:00:00Z")); err != nil || o.Change != Unchanged || len(o.Kept) != 1 {
		t.Errorf("an older answer: %+v, %v", o, err)
	}
	if o, err := w.MoveAlias(alias, "", at(t, tuesday)); err != nil || o.Change != Changed {
		t.Fatalf("%+v, %v", o, err)
	}
	s := openT(t, home)
	_, err = s.Resolve(ask, ResolveOptions{})
	refused(t, err, kmserr.NotFound, "meant no key: KMS had no such alias on")
	_, err = s.Resolve(ref(t, "alias/release"), ResolveOptions{})
	refused(t, err, kmserr.NotFound)
	sound(t, s)

	// It was made again for a key that is not in the store, then for one that is.
	if _, err := w.MoveAlias(alias, uuidB, at(t, "2026-11-25T00:00:00Z")); err != nil {
		t.Fatal(err)
	}
	_, err = s.Resolve(ask, ResolveOptions{})
	refused(t, err, kmserr.NotFound, "of which no record is in the store")
	put(t, w, record(t, arnB, material(t), nil), PutOptions{})
	r, err := s.Resolve(ask, ResolveOptions{})
	if err != nil || r.Target != arnB || len(r.Alias.History) != 1 || r.Alias.History[0].KeyID != uuidA || !r.Alias.History[0].To.Equal(at(t, tuesday).Time) {
		t.Errorf("%+v, %v", r, err)
	}
}
