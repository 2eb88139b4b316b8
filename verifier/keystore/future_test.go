package keystore

import (
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Nothing can be known before its time: what is dated in the future, by however little, gives way to KMS itself, and to
// nobody else but for a state that allows no more.
func TestFutureGivesWayToKMS(t *testing.T) {
	const future = "2027-11-23T11:00:00Z"
	soon, before := testNow.Add(time.Second).Format(time.RFC3339), testNow.Format(time.RFC3339)
	for _, c := range []struct {
		name      string
		was       string
		opts      PutOptions
		unstated  bool // KMS told no state
		want      kmskey.KeyState
		stateTime string
		target    string
	}{
		{"KMS", future, PutOptions{FromKMS: true}, false, kmskey.StateDisabled, tuesday, uuidB},
		{"KMS, without a state", future, PutOptions{FromKMS: true}, true, kmskey.StateEnabled, "", uuidB},
		{"KMS, after the clock was set back by a second", soon, PutOptions{FromKMS: true}, false, kmskey.StateDisabled, tuesday, uuidB},
		{"KMS, but another pull was just before", before, PutOptions{FromKMS: true}, false, kmskey.StateEnabled, before, uuidA},
		{"a file", future, PutOptions{}, false, kmskey.StateDisabled, tuesday, uuidA},
		{"a file, without a state", future, PutOptions{}, true, kmskey.StateEnabled, future, uuidA},
		{"a file, of before another pull", before, PutOptions{}, false, kmskey.StateEnabled, before, uuidA},
	} {
		t.Run(c.name, func(t *testing.T) {
			home, der, other := newHome(t), material(t), material(t)
			w := openWriterT(t, home)
			put(t, w, record(t, arnA, der, func(r *kmskey.Record) { facts{kmskey.StateEnabled, c.was, c.was, kmskey.SourceKMS}.apply(t)(r) }),
				PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, c.was)})
			now := facts{kmskey.StateDisabled, tuesday, tuesday, kmskey.SourceKMS}
			if c.unstated {
				now.state, now.stateTime = "", ""
			}
			put(t, w, record(t, arnA, der, func(r *kmskey.Record) { now.apply(t)(r) }), c.opts)
			c.opts.Aliases, c.opts.AliasTime = []string{"alias/release"}, at(t, tuesday)
			_, _ = w.Put(record(t, arnB, other, nil), c.opts) // a file moves no alias

			entry, err := w.Store().readRecord(arnA)
			if err != nil {
				t.Fatal(err)
			}
			if got := entry.Key.Record().Snapshot.StateTime; entry.Key.State() != c.want || !got.Equal(at(t, c.stateTime).Time) {
				t.Errorf("%s as of %s", entry.Key.State(), stamp(got))
			}
			alias, err := w.Store().readAlias(kmskey.AliasARN{Scope: east, Alias: "alias/release"})
			if err != nil || alias.TargetKeyID != c.target {
				t.Errorf("the alias means %s, %v", alias.TargetKeyID, err)
			}
		})
	}
}

// A file with a state that allows more than the one on record gives way to it, however that one is dated.
func TestFutureGivesWayToNoLaxerFile(t *testing.T) {
	const future = "2027-11-23T11:00:00Z"
	der := material(t)
	w := openWriterT(t, newHome(t))
	put(t, w, record(t, arnA, der, facts{kmskey.StateDisabled, future, future, kmskey.SourceKMS}.apply(t)), PutOptions{})
	o := put(t, w, record(t, arnA, der, facts{kmskey.StateEnabled, tuesday, tuesday, kmskey.SourceFile}.apply(t)), PutOptions{})
	entry, err := w.Store().readRecord(arnA)
	if err != nil || entry.Key.State() != kmskey.StateDisabled || len(o.Kept) != 2 {
		t.Errorf("%s, %+v, %v", entry.Key.State(), o, err)
	}
}

func TestMoveAliasOutOfTheFuture(t *testing.T) {
	w := openWriterT(t, newHome(t))
	put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, "2027-11-23T11:00:00Z")})
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
	if outcome, err := w.MoveAlias(alias, "", at(t, tuesday)); err != nil || outcome.Change != Changed {
		t.Errorf("%+v, %v", outcome, err)
	}
	if meant, err := w.Store().readAlias(alias); err != nil || meant.TargetKeyID != "" || len(meant.History) != 1 {
		t.Errorf("%+v, %v", meant, err)
	}
}
