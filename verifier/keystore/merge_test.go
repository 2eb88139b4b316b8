package keystore

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	monday    = "2026-11-23T11:00:00Z"
	tuesday   = "2026-11-24T11:00:00Z"
	wednesday = "2026-11-25T11:00:00Z"
)

// facts are what a record knows of a key beside the key itself.
type facts struct {
	state     kmskey.KeyState
	stateTime string
	time      string
	source    string
}

func (f facts) apply(t *testing.T) func(*kmskey.Record) {
	return func(r *kmskey.Record) {
		if f.state != "" {
			r.KeyMetadata = &kmskey.KeyMetadata{KeyState: f.state}
		}
		r.Snapshot = kmskey.Snapshot{Time: at(t, f.time), StateTime: at(t, f.stateTime), Source: f.source}
	}
}

func TestMergeState(t *testing.T) {
	const kms, file, operator = kmskey.SourceKMS, kmskey.SourceFile, kmskey.SourceOperator
	const on, off, gone = kmskey.StateEnabled, kmskey.StateDisabled, kmskey.StatePendingDeletion
	for _, c := range []struct {
		name       string
		old, given facts
		fromKMS    bool
		want       facts
		refused    string
		kept       string
	}{
		{name: "bare JSON over Disabled leaves it", old: facts{off, monday, monday, kms}, given: facts{source: file},
			want: facts{off, monday, monday, kms}, kept: "Disabled"},
		{name: "bare JSON over PendingDeletion leaves it", old: facts{gone, monday, monday, kms}, given: facts{source: file},
			want: facts{gone, monday, monday, kms}, kept: "PendingDeletion"},
		{name: "bare JSON over undated Disabled leaves it", old: facts{state: off, source: file}, given: facts{source: file},
			want: facts{state: off, source: file}, kept: "Disabled"},
		{name: "newer public key answer without a state keeps the state and its time", old: facts{off, monday, monday, kms},
			given: facts{time: tuesday, source: kms}, want: facts{off, monday, tuesday, kms}, kept: "Disabled"},
		{name: "a file's newer answer beside KMS's older state says file", old: facts{off, monday, monday, kms},
			given: facts{time: tuesday, source: file}, want: facts{off, monday, tuesday, file}, kept: "Disabled"},
		{name: "a state over none", old: facts{time: monday, source: kms}, given: facts{off, monday, monday, kms},
			want: facts{off, monday, monday, kms}},
		{name: "an undated state over none", old: facts{time: monday, source: kms}, given: facts{state: off, source: file},
			want: facts{off, "", monday, file}},
		{name: "a newer state replaces", old: facts{off, monday, monday, kms}, given: facts{on, tuesday, tuesday, kms},
			want: facts{on, tuesday, tuesday, kms}},
		{name: "a newer stricter state replaces", old: facts{on, monday, monday, kms}, given: facts{off, tuesday, tuesday, kms},
			want: facts{off, tuesday, tuesday, kms}},
		{name: "an operator's newer state beside KMS's key says operator", old: facts{off, monday, monday, kms},
			given: facts{state: on, stateTime: tuesday, source: operator}, want: facts{on, tuesday, monday, operator}},
		{name: "an older state gives way", old: facts{off, tuesday, tuesday, kms}, given: facts{on, monday, monday, file},
			want: facts{off, tuesday, tuesday, kms}, kept: "Disabled of 2026-11-24T11:00:00Z, as Enabled is of 2026-11-23T11:00:00Z"},
		{name: "an older stricter state gives way too", old: facts{on, tuesday, tuesday, kms}, given: facts{off, monday, monday, kms},
			want: facts{on, tuesday, tuesday, kms}, kept: "Enabled"},
		{name: "the same again", old: facts{on, monday, monday, kms}, given: facts{on, monday, monday, kms},
			want: facts{on, monday, monday, kms}},
		{name: "the same state, seen later", old: facts{on, monday, monday, kms}, given: facts{on, tuesday, tuesday, kms},
			want: facts{on, tuesday, tuesday, kms}},
		{name: "the same state, seen earlier", old: facts{on, tuesday, tuesday, kms}, given: facts{on, monday, tuesday, kms},
			want: facts{on, tuesday, tuesday, kms}},
		{name: "the same state, undated", old: facts{on, monday, monday, kms}, given: facts{state: on, source: file},
			want: facts{on, monday, monday, kms}},
		{name: "an undated laxer state", old: facts{off, monday, monday, kms}, given: facts{state: on, source: file}, refused: "--snapshot-time"},
		{name: "an undated stricter state", old: facts{on, monday, monday, kms}, given: facts{state: off, source: file}, refused: "--snapshot-time"},
		{name: "undated over undated", old: facts{state: on, source: file}, given: facts{state: off, source: file}, refused: "--snapshot-time"},
		{name: "two states of one moment", old: facts{on, monday, monday, kms}, given: facts{off, monday, monday, kms}, refused: "both are of"},
		{name: "dated laxer over undated stricter", old: facts{state: off, source: file}, given: facts{on, monday, monday, file}, refused: "no StateTime"},
		{name: "dated laxer over undated stricter, by KMS", old: facts{state: off, source: file}, given: facts{on, monday, monday, kms}, fromKMS: true,
			want: facts{on, monday, monday, kms}},
		{name: "dated stricter over undated laxer", old: facts{state: on, source: file}, given: facts{off, monday, monday, file},
			want: facts{off, monday, monday, file}},
		{name: "dated over another undated state", old: facts{state: off, source: file}, given: facts{gone, monday, monday, file}, refused: "no StateTime"},
		{name: "dated over an undated deleted key", old: facts{state: kmskey.StateNotFound, source: kms}, given: facts{off, monday, monday, file}, refused: "no StateTime"},
		{name: "deleted over an undated state", old: facts{state: off, source: file}, given: facts{kmskey.StateNotFound, monday, monday, file},
			want: facts{kmskey.StateNotFound, monday, monday, file}},
		{name: "dated over an undated state of one severity", old: facts{state: kmskey.StateUnavailable, source: file}, given: facts{off, monday, monday, file}, refused: "no StateTime"},
		{name: "dated over an undated replica to be deleted", old: facts{state: kmskey.StatePendingReplicaDel, source: file}, given: facts{off, monday, monday, file}, refused: "no StateTime"},
		{name: "the same, dated", old: facts{state: off, source: file}, given: facts{off, monday, monday, file}, want: facts{off, monday, monday, file}},
		{name: "a time over none", old: facts{source: file}, given: facts{time: monday, source: operator}, want: facts{time: monday, source: operator}},
		{name: "none over a time", old: facts{time: monday, source: kms}, given: facts{source: file}, want: facts{time: monday, source: kms}},
		{name: "an older answer", old: facts{time: tuesday, source: kms}, given: facts{time: monday, source: file},
			want: facts{time: tuesday, source: kms}, kept: "snapshot of 2026-11-24"},
		{name: "an older file with a newer state", old: facts{off, monday, tuesday, kms}, given: facts{on, tuesday, monday, file},
			want: facts{on, tuesday, tuesday, file}, kept: "snapshot of 2026-11-24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			der := material(t)
			home := storeOf(t, record(t, arnA, der, c.old.apply(t)))
			w := openWriterT(t, home)
			before, err := w.Store().Resolve(ref(t, uuidA), ResolveOptions{})
			if err != nil {
				t.Fatal(explain(err))
			}
			o, err := w.Put(record(t, arnA, der, c.given.apply(t)), PutOptions{FromKMS: c.fromKMS})
			after, err2 := w.Store().Resolve(ref(t, uuidA), ResolveOptions{})
			if err2 != nil {
				t.Fatal(explain(err2))
			}
			changed := before.Entries[0].SHA256 != after.Entries[0].SHA256
			if c.refused != "" {
				refused(t, err, kmserr.Validation, c.refused, arnA.String())
				if changed {
					t.Error("the record changed all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(explain(err))
			}
			r := after.Entries[0].Key.Record()
			got := facts{after.Entries[0].Key.State(), "", "", r.Snapshot.Source}
			if !r.Snapshot.StateTime.IsZero() {
				got.stateTime = stamp(r.Snapshot.StateTime)
			}
			if !r.Snapshot.Time.IsZero() {
				got.time = stamp(r.Snapshot.Time)
			}
			if got != c.want {
				t.Errorf("got %+v, expected %+v", got, c.want)
			}
			if want := map[bool]Change{true: Changed, false: Unchanged}[changed]; o.Change != want || o.ARN != arnA {
				t.Errorf("outcome %+v, expected %s", o, want)
			}
			if changed != (len(o.What) > 0) {
				t.Errorf("changed: %t, but what: %q", changed, o.What)
			}
			if kept := strings.Join(o.Kept, "; "); !strings.Contains(kept, c.kept) || (c.kept == "") != (kept == "") {
				t.Errorf("kept: %q, expected %q", kept, c.kept)
			}
		})
	}
}

// A date at which KMS will end a key is knowledge as its state is: what is not known to be newer takes none away.
func TestMergeKeepsDates(t *testing.T) {
	const none, soon, later = "", "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"
	for _, c := range []struct {
		name               string
		state, given       kmskey.KeyState
		deletion, validTo  string // on record, of no known time
		deletionNow, toNow string // given, of Monday
		fromKMS, taken     bool
	}{
		{"an end is dropped", kmskey.StateEnabled, kmskey.StateEnabled, none, soon, none, none, false, false},
		{"an end is put off", kmskey.StateEnabled, kmskey.StateEnabled, none, soon, none, later, false, false},
		{"an end comes sooner", kmskey.StateEnabled, kmskey.StateEnabled, none, later, none, soon, false, true},
		{"an end is new", kmskey.StateEnabled, kmskey.StateEnabled, none, none, none, soon, false, true},
		{"an end stays, the state is stricter", kmskey.StateEnabled, kmskey.StateDisabled, none, soon, none, soon, false, true},
		{"an end is dropped by KMS", kmskey.StateEnabled, kmskey.StateEnabled, none, soon, none, none, true, true},
		{"a deletion is dropped", kmskey.StatePendingDeletion, kmskey.StateDisabled, soon, none, none, none, false, false},
		{"a deletion is put off", kmskey.StatePendingDeletion, kmskey.StatePendingDeletion, soon, none, later, none, false, false},
		{"a deletion stays", kmskey.StatePendingDeletion, kmskey.StateNotFound, soon, none, soon, none, false, true},
		{"a deletion stays, and is no more pending", kmskey.StatePendingDeletion, kmskey.StateUnavailable, soon, none, soon, none, false, false},
		{"a deletion is dropped by KMS", kmskey.StatePendingDeletion, kmskey.StateDisabled, soon, none, none, none, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			der := material(t)
			with := func(state kmskey.KeyState, when, deletion, validTo string) *kmskey.Key {
				return record(t, arnA, der, func(r *kmskey.Record) {
					r.KeyMetadata = &kmskey.KeyMetadata{KeyState: state, DeletionDate: at(t, deletion), ValidTo: at(t, validTo)}
					r.Snapshot.StateTime = at(t, when)
				})
			}
			w := openWriterT(t, storeOf(t, with(c.state, "", c.deletion, c.validTo)))
			_, err := w.Put(with(c.given, monday, c.deletionNow, c.toNow), PutOptions{FromKMS: c.fromKMS})
			if c.taken {
				if err != nil {
					t.Fatal(explain(err))
				}
			} else {
				refused(t, err, kmserr.Validation, "no StateTime", string(c.state), string(c.given))
			}
			entry, err := w.Store().readRecord(arnA)
			if err != nil {
				t.Fatal(err)
			}
			m := entry.Key.Metadata()
			want := map[bool][3]string{true: {string(c.given), c.deletionNow, c.toNow}, false: {string(c.state), c.deletion, c.validTo}}[c.taken]
			if string(m.KeyState) != want[0] || !m.DeletionDate.Equal(at(t, want[1]).Time) || !m.ValidTo.Equal(at(t, want[2]).Time) {
				t.Errorf("got %s, %v, %v", m.KeyState, m.DeletionDate, m.ValidTo)
			}
		})
	}
}

func TestMergeNeverTakesAnotherKey(t *testing.T) {
	der := material(t)
	rsa := func(algorithms ...kmskey.SigningAlgorithm) func(*kmskey.Record) {
		return func(r *kmskey.Record) { r.SigningAlgorithms = algorithms }
	}
	agree := func(r *kmskey.Record) { r.KeyUsage, r.SigningAlgorithms = kmskey.KeyAgreement, nil }
	for _, c := range []struct {
		name       string
		old, given *kmskey.Key
		holds      []string
	}{
		{"another public key", record(t, arnA, der, nil), record(t, arnA, material(t), nil), []string{"public key", "SHA-256"}},
		{"another usage", record(t, arnA, der, nil), record(t, arnA, der, agree), []string{"KeyUsage", "SIGN_VERIFY", "KEY_AGREEMENT"}},
		{"more algorithms", record(t, arnA, der, nil), record(t, arnA, der, rsa(kmskey.ECDSASHA256, "ECDSA_NEW")), []string{"SigningAlgorithms", "adds ECDSA_NEW"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := storeOf(t, c.old)
			w := openWriterT(t, home)
			before := listing(t, home)
			for _, opts := range []PutOptions{{}, {FromKMS: true, MoveAlias: true, Aliases: []string{"alias/new"}}} {
				_, err := w.Put(c.given, opts)
				refused(t, err, kmserr.KeyMaterialMismatch, c.holds...)
				if got := kmserr.As(err).KeyARN; got != arnA.String() {
					t.Errorf("KeyARN is %q", got)
				}
			}
			if c.name == "another public key" {
				_, err := w.Put(c.given, PutOptions{})
				refused(t, err, kmserr.KeyMaterialMismatch, c.old.Fingerprint(), c.given.Fingerprint())
			}
			if after := listing(t, home); !slices.Equal(before, after) {
				t.Errorf("something was written:\n%q\n%q", before, after)
			}
		})
	}
}

func TestMergeRest(t *testing.T) {
	der := material(t)
	full := []kmskey.SigningAlgorithm{kmskey.ECDSASHA256, "ECDSA_NEW"}
	t.Run("fewer algorithms are taken, by an older answer not", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		put(t, w, record(t, arnA, der, func(r *kmskey.Record) { r.SigningAlgorithms = full; r.Snapshot.Time = at(t, tuesday) }), PutOptions{})
		if o := put(t, w, record(t, arnA, der, func(r *kmskey.Record) { r.Snapshot.Time = at(t, monday) }), PutOptions{}); o.Change != Unchanged {
			t.Errorf("got %+v", o)
		}
		if o := put(t, w, record(t, arnA, der, nil), PutOptions{}); o.Change != Changed || !strings.Contains(strings.Join(o.What, ""), "SigningAlgorithms") {
			t.Errorf("got %+v", o)
		}
		_, err := w.Put(record(t, arnA, der, func(r *kmskey.Record) { r.SigningAlgorithms = full }), PutOptions{})
		refused(t, err, kmserr.KeyMaterialMismatch)
	})
	t.Run("fewer algorithms, though one is named twice", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		put(t, w, record(t, arnA, der, func(r *kmskey.Record) { r.SigningAlgorithms = full }), PutOptions{})
		twice := []kmskey.SigningAlgorithm{kmskey.ECDSASHA256, kmskey.ECDSASHA256}
		put(t, w, record(t, arnA, der, func(r *kmskey.Record) { r.SigningAlgorithms = twice }), PutOptions{})
		entry, err := w.Store().readRecord(arnA)
		if got := entry.Key.Record().SigningAlgorithms; err != nil || slices.Contains(got, "ECDSA_NEW") {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("distinguishing ID", func(t *testing.T) {
		k, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point := k.PublicKey.X.FillBytes(make([]byte, 32))
		point = append(append([]byte{4}, point...), k.PublicKey.Y.FillBytes(make([]byte, 32))...)
		// SubjectPublicKeyInfo of id-ecPublicKey on the SM2 curve, up to the point.
		spki := append([]byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d\x03\x42\x00"), point...)
		w := openWriterT(t, newHome(t))
		with := func(id *string, when string) *kmskey.Key {
			return record(t, arnA, spki, func(r *kmskey.Record) {
				r.SigningAlgorithms = []kmskey.SigningAlgorithm{kmskey.SM2DSA}
				r.DistinguishingID, r.Snapshot.Time = id, at(t, when)
			})
		}
		empty, mine, yours := "", "mine", "yours"
		for i, c := range []struct {
			given *string
			when  string
			want  *string
		}{{nil, monday, nil}, {&empty, "", &empty}, {&mine, tuesday, &mine}, {nil, tuesday, &mine}, {&yours, monday, &mine}, {&yours, "", &mine}, {&yours, tuesday, &mine}, {&yours, wednesday, &yours}, {&yours, "", &yours}} {
			put(t, w, with(c.given, c.when), PutOptions{})
			r, err := w.Store().Resolve(ref(t, uuidA), ResolveOptions{})
			if err != nil {
				t.Fatal(explain(err))
			}
			got := r.Entries[0].Key.Record().DistinguishingID
			if (got == nil) != (c.want == nil) || (got != nil && *got != *c.want) {
				t.Errorf("%d: got %s, expected %s", i, idText(got), idText(c.want))
			}
		}
	})
	t.Run("members that AWS added", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		with := func(value, when string) func(*kmskey.Record) {
			return func(r *kmskey.Record) {
				r.Unknown = map[string]jsontext.Value{"NewMember": jsontext.Value(value)}
				r.Snapshot.Time = at(t, when)
			}
		}
		read := func() string {
			r, err := w.Store().Resolve(ref(t, uuidA), ResolveOptions{})
			if err != nil {
				t.Fatal(explain(err))
			}
			return string(r.Entries[0].Key.Record().Unknown["NewMember"])
		}
		put(t, w, record(t, arnA, der, with("1", monday)), PutOptions{})
		put(t, w, record(t, arnA, der, with("2", "")), PutOptions{})
		if got := read(); got != "1" {
			t.Errorf("got %s", got)
		}
		put(t, w, record(t, arnA, der, with("3", tuesday)), PutOptions{})
		if got := read(); got != "3" {
			t.Errorf("got %s", got)
		}
	})
}

func TestWeakerSource(t *testing.T) {
	for _, c := range [][3]string{{"kms", "kms", "kms"}, {"kms", "file", "file"}, {"file", "operator", "operator"}, {"kms", "operator", "operator"},
		{"kms", "", ""}, {"operator", "", ""}, {"", "", ""}, {"kms", "rumour", "rumour"}, {"operator", "rumour", "rumour"}} {
		for _, pair := range [][2]string{{c[0], c[1]}, {c[1], c[0]}} {
			if got := weakerSource(pair[0], pair[1]); got != c[2] {
				t.Errorf("%q: got %q, expected %q", pair, got, c[2])
			}
		}
	}
}
