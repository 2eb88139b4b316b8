package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// listing returns every file of a home with the hash of its content, tmp and lock aside.
func listing(t testing.TB, home Home) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(home.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(home.Path, path)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); rel == lockFile || strings.HasPrefix(rel, tmpFolder+"/") {
			return nil
		}
		data, err := os.ReadFile(path)
		all = append(all, rel+" "+hexSHA256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPutOutcomes(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	key := record(t, arnA, material(t), func(r *kmskey.Record) { r.Aliases = []string{"alias/a"} })
	if o := put(t, w, key, PutOptions{}); o.Change != New || !slices.Equal(o.What, []string{"alias/a is new"}) || o.ARN != arnA {
		t.Errorf("got %+v", o)
	}
	before := listing(t, home)
	if o := put(t, w, key, PutOptions{}); o.Change != Unchanged || len(o.What) != 0 {
		t.Errorf("got %+v", o)
	}
	if after := listing(t, home); !slices.Equal(before, after) {
		t.Errorf("something was written:\n%q\n%q", before, after)
	}
	if o := put(t, w, key, PutOptions{Aliases: []string{"alias/b"}}); o.Change != Changed || !slices.Equal(o.What, []string{"alias/b is new"}) {
		t.Errorf("got %+v", o)
	}
	for _, bad := range []string{"b", "alias/", "alias//b", "alias/../b", "alias/b/", "alias/b\x00", "alias/" + strings.Repeat("x", 251)} {
		_, err := w.Put(key, PutOptions{Aliases: []string{bad}})
		refused(t, err, kmserr.Validation)
	}
	if o := put(t, w, key, PutOptions{Aliases: []string{"alias/" + strings.Repeat("x", 250)}}); o.Change != Changed {
		t.Errorf("got %+v", o)
	}
	sound(t, w.Store())
	arns, err := w.Store().ARNsByFingerprint(key.Fingerprint())
	if err != nil || !slices.Equal(arns, []kmskey.ARN{arnA}) {
		t.Errorf("got %v, %v", arns, err)
	}
	_, err = w.Store().ARNsByFingerprint("../..")
	refused(t, err, kmserr.Validation)

	// A record put there by hand, in AWS's own form, is the same knowledge: it is not rewritten.
	hand := newHome(t)
	writeFile(t, hand, recordPath(arnA), strings.Join(strings.Fields(encoded(t, key)), " "))
	hw := openWriterT(t, hand)
	if o := put(t, hw, record(t, arnA, key.PublicKeyDER(), nil), PutOptions{}); o.Change != Unchanged {
		t.Errorf("got %+v", o)
	}
	sound(t, hw.Store()) // but it is indexed now
}

func encoded(t testing.TB, k *kmskey.Key) string {
	t.Helper()
	b, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMoveAlias(t *testing.T) {
	derA, derB := material(t), material(t)
	for _, c := range []struct {
		name     string
		was, now string // when the alias was given to A, and to B
		opts     PutOptions
		target   string
		refused  string
		kept     bool
	}{
		{name: "not by itself", was: monday, now: tuesday, refused: "--move-alias"},
		{name: "not by itself, undated", refused: "--move-alias"},
		{name: "older is refused before anything", was: tuesday, now: monday, target: uuidA, kept: true},
		{name: "told to", was: monday, now: tuesday, opts: PutOptions{MoveAlias: true}, target: uuidB},
		{name: "told to, undated", was: monday, opts: PutOptions{MoveAlias: true}, target: uuidB},
		{name: "told to, but older", was: tuesday, now: monday, opts: PutOptions{MoveAlias: true}, refused: "older"},
		{name: "by KMS", was: monday, now: tuesday, opts: PutOptions{FromKMS: true}, target: uuidB},
		{name: "by KMS, over an undated one", now: tuesday, opts: PutOptions{FromKMS: true}, target: uuidB},
		{name: "by KMS, but older", was: tuesday, now: monday, opts: PutOptions{FromKMS: true}, target: uuidA, kept: true},
		{name: "by KMS, of the same moment", was: monday, now: monday, opts: PutOptions{FromKMS: true}, target: uuidA, kept: true},
		{name: "by KMS, undated", was: monday, opts: PutOptions{FromKMS: true}, target: uuidA, kept: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := newHome(t)
			w := openWriterT(t, home)
			put(t, w, record(t, arnA, derA, nil), PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, c.was)})
			before := listing(t, home)
			c.opts.Aliases, c.opts.AliasTime = []string{"alias/release"}, at(t, c.now)
			o, err := w.Put(record(t, arnB, derB, nil), c.opts)
			if c.refused != "" {
				refused(t, err, kmserr.Validation, c.refused, "alias/release", uuidA, uuidB)
				if after := listing(t, home); !slices.Equal(before, after) {
					t.Errorf("something was written:\n%q\n%q", before, after)
				}
				return
			}
			if err != nil {
				t.Fatal(explain(err))
			}
			r, err := w.Store().Resolve(ref(t, "alias/release"), ResolveOptions{})
			if err != nil {
				t.Fatal(explain(err))
			}
			if r.Target.KeyID != c.target || o.Change != New || c.kept != (len(o.Kept) > 0) {
				t.Errorf("target %s, outcome %+v", r.Target, o)
			}
			if c.target == uuidA {
				if len(r.Alias.History) != 0 || !r.Alias.Time.Equal(at(t, c.was).Time) {
					t.Errorf("got %+v", r.Alias)
				}
				return
			}
			if h := r.Alias.History; len(h) != 1 || h[0].KeyID != uuidA || !h[0].From.Equal(at(t, c.was).Time) ||
				!h[0].To.Equal(at(t, c.now).Time) || !r.Alias.Time.Equal(at(t, c.now).Time) {
				t.Errorf("got %+v", r.Alias)
			}
			sound(t, w.Store())
		})
	}
	t.Run("the same meaning, seen again", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		key := record(t, arnA, derA, nil)
		for i, c := range []struct {
			when, want string
			change     Change
		}{{"", "", New}, {monday, monday, Changed}, {tuesday, tuesday, Changed}, {monday, tuesday, Unchanged}, {"", tuesday, Unchanged}} {
			o := put(t, w, key, PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, c.when)})
			r, err := w.Store().Resolve(ref(t, "alias/release"), ResolveOptions{})
			if err != nil || o.Change != c.change || !r.Alias.Time.Equal(at(t, c.want).Time) || len(r.Alias.History) != 0 {
				t.Errorf("%d: %+v, %+v, %v", i, o, r, err)
			}
		}
	})
	t.Run("to and fro", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		keys := []*kmskey.Key{record(t, arnA, derA, nil), record(t, arnB, derB, nil)}
		for i := range 5 {
			put(t, w, keys[i%2], PutOptions{MoveAlias: true, Aliases: []string{"alias/release"}})
		}
		r, err := w.Store().Resolve(ref(t, "alias/release"), ResolveOptions{})
		if err != nil || len(r.Alias.History) != 4 || r.Alias.History[0].KeyID != uuidA || r.Alias.History[3].KeyID != uuidB {
			t.Fatalf("%+v, %v", r, err)
		}
		// The history has an end, and it is an error.
		long := *r.Alias
		for data := []byte(nil); len(data) < maxAliasFile-200; {
			long.History = append(long.History, r.Alias.History[0])
			if data, err = encodeAlias(long); err != nil {
				t.Fatal(err)
			}
			writeFile(t, w.Store().Home(), aliasPath(long.ARN), string(data))
		}
		for i := 1; err == nil; i++ {
			if i > 10 {
				t.Fatal("it grows without end")
			}
			_, err = w.Put(keys[i%2], PutOptions{MoveAlias: true, Aliases: []string{"alias/release"}})
		}
		refused(t, err, kmserr.Validation, "longer than 65536 bytes")
		if _, err := w.Store().Resolve(ref(t, "alias/release"), ResolveOptions{}); err != nil {
			t.Error(explain(err))
		}
	})
	t.Run("a damaged alias file stands in the way", func(t *testing.T) {
		home := newHome(t)
		w := openWriterT(t, home)
		alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
		writeFile(t, home, aliasPath(alias), "{}")
		_, err := w.Put(record(t, arnA, derA, nil), PutOptions{Aliases: []string{"alias/release"}, MoveAlias: true})
		refused(t, err, kmserr.StoreIntegrity, "release.json")
		if _, err := os.Stat(filepath.Join(home.Path, recordPath(arnA))); err == nil {
			t.Error("the record was written all the same")
		}
		// It can be taken away by name.
		if o, err := w.Remove(ref(t, "alias/release")); err != nil || o.Alias != alias {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

func stateOf(t testing.TB, w *Writer, arn kmskey.ARN) kmskey.KeyState {
	t.Helper()
	entry, err := w.store.readRecord(arn)
	if err != nil {
		t.Fatal(explain(err))
	}
	return entry.Key.State()
}

// TestPutOverAnAliasThatCannotBeRecorded: what KMS says of a key on record is written all the same, and so are its sound
// aliases. A file, or a key that is new, writes nothing.
func TestPutOverAnAliasThatCannotBeRecorded(t *testing.T) {
	full := AliasEntry{ARN: kmskey.AliasARN{Scope: east, Alias: "alias/b"}, TargetKeyID: uuidB, Time: at(t, monday)}
	var longest string
	for data := []byte(nil); ; {
		full.History = append(full.History, AliasHistory{KeyID: uuidB})
		var err error
		if data, err = encodeAlias(full); err != nil {
			break
		}
		longest = string(data)
	}
	for name, c := range map[string]struct {
		file  string
		error kmserr.Name
	}{"damaged": {"{}", kmserr.StoreIntegrity}, "full": {longest, kmserr.Validation}} {
		t.Run(name, func(t *testing.T) {
			home, der := newHome(t), material(t)
			w := openWriterT(t, home)
			put(t, w, record(t, arnA, der, facts{kmskey.StateEnabled, monday, monday, kmskey.SourceKMS}.apply(t)), PutOptions{FromKMS: true})
			writeFile(t, home, aliasPath(full.ARN), c.file)
			before := listing(t, home)
			disabled := record(t, arnA, der, facts{kmskey.StateDisabled, tuesday, tuesday, kmskey.SourceKMS}.apply(t))
			opts := PutOptions{FromKMS: true, Aliases: []string{"alias/a", "alias/b", "alias/c"}, AliasTime: at(t, tuesday)}
			byFile, dry := opts, opts
			byFile.FromKMS, byFile.MoveAlias, dry.DryRun = false, true, true
			third := kmskey.ARN{Scope: east, KeyID: "12345678-1234-1234-1234-123456789012"}
			for _, nothing := range []struct {
				key     *kmskey.Key
				opts    PutOptions
				outcome Change
			}{{record(t, third, material(t), nil), opts, ""}, {disabled, byFile, ""}, {disabled, dry, Changed}} {
				o, err := w.Put(nothing.key, nothing.opts)
				refused(t, err, c.error)
				if o.Change != nothing.outcome || stateOf(t, w, arnA) != kmskey.StateEnabled || !slices.Equal(before, listing(t, home)) {
					t.Errorf("%+v: %+v", nothing.opts, o)
				}
			}

			o, err := w.Put(disabled, opts)
			refused(t, err, c.error)
			if state := stateOf(t, w, arnA); state != kmskey.StateDisabled || o.ARN != arnA || o.Change != Changed || o.Confirmed {
				t.Errorf("state %s, outcome %+v", state, o)
			}
			for _, alias := range []string{"alias/a", "alias/c"} {
				if r, err := w.Store().Resolve(ref(t, alias), ResolveOptions{}); err != nil || r.Target != arnA {
					t.Errorf("%s: %+v, %v", alias, r, err)
				}
			}
			if said := strings.Join(o.What, "; "); !strings.Contains(said, "alias/a is new") || strings.Contains(said, "alias/b") {
				t.Errorf("it says %q", said)
			}
			if data, err := os.ReadFile(filepath.Join(home.Path, aliasPath(full.ARN))); err != nil || string(data) != c.file {
				t.Errorf("the alias file was touched: %v", err)
			}
		})
	}
}

// TestPutUnwritable: what was written is told beside what could not be, and one alias's file keeps no other alias back.
func TestPutUnwritable(t *testing.T) {
	const monday, tuesday = "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"
	for name, c := range map[string]struct {
		step    string // that fails
		err     error
		change  Change
		says    []string
		aliases []string // that are there
	}{
		"the record":               {"write keys/", syscall.EACCES, "", nil, nil},
		"the index":                {"mark ", syscall.EACCES, Changed, []string{"Disabled"}, nil},
		"an alias":                 {"write aliases/aws/us-east-1/111122223333/a.json", syscall.EACCES, Changed, []string{"Disabled", "alias/b is new"}, []string{"alias/b"}},
		"an alias, by a full disk": {"write aliases/aws/us-east-1/111122223333/a.json", syscall.ENOSPC, Changed, []string{"Disabled"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			home, der := newHome(t), material(t)
			w := openWriterT(t, home)
			put(t, w, record(t, arnA, der, facts{kmskey.StateEnabled, monday, monday, kmskey.SourceKMS}.apply(t)), PutOptions{FromKMS: true})
			if err := os.RemoveAll(filepath.Join(home.Path, indexFolder)); err != nil {
				t.Fatal(err)
			}
			w.before = func(step string) error {
				if strings.HasPrefix(step, c.step) {
					return w.store.unwritable("x", c.err)
				}
				return nil
			}
			o, err := w.Put(record(t, arnA, der, facts{kmskey.StateDisabled, tuesday, tuesday, kmskey.SourceKMS}.apply(t)),
				PutOptions{FromKMS: true, Aliases: []string{"alias/a", "alias/b"}, AliasTime: at(t, tuesday)})
			refused(t, err, kmserr.StoreAccess, "cannot be written")
			said := strings.Join(o.What, "; ")
			if o.Change != c.change || strings.Contains(said, "alias/a") || (o.ARN == arnA) != (c.change != "") {
				t.Errorf("%+v", o)
			}
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("it says %q, expected %q", said, want)
				}
			}
			if state := stateOf(t, w, arnA); (state == kmskey.StateDisabled) != (c.change != "") {
				t.Errorf("the state is %s", state)
			}
			for _, alias := range []string{"alias/a", "alias/b"} {
				_, err := w.Store().Resolve(ref(t, alias), ResolveOptions{})
				if (err == nil) != slices.Contains(c.aliases, alias) {
					t.Errorf("%s: %v", alias, err)
				}
			}
			if disk := errors.Is(err, ErrDisk); disk != errors.Is(c.err, syscall.ENOSPC) {
				t.Errorf("of the disk: %v", disk)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	der := material(t)
	home := newHome(t)
	w := openWriterT(t, home)
	empty := listing(t, home)
	key := record(t, arnA, der, nil)
	twin := record(t, kmskey.ARN{Scope: other, KeyID: uuidA}, der, nil)
	put(t, w, key, PutOptions{Aliases: []string{"alias/a", "alias/b/c"}})
	put(t, w, record(t, arnB, material(t), nil), PutOptions{Aliases: []string{"alias/d"}})
	put(t, w, twin, PutOptions{})

	_, err := w.Remove(ref(t, uuidA))
	refused(t, err, kmserr.Ambiguous)
	_, err = w.Remove(ref(t, kmskey.ARN{Scope: west, KeyID: uuidA}.String()))
	refused(t, err, kmserr.NotFound)
	_, err = w.Remove(ref(t, "alias/none"))
	refused(t, err, kmserr.NotFound)

	if o, err := w.Remove(ref(t, "alias/b/c")); err != nil || o.Change != Removed || o.Alias.Alias != "alias/b/c" || o.ARN != (kmskey.ARN{}) {
		t.Errorf("%+v, %v", o, err)
	}
	sound(t, w.Store())
	if o, err := w.Remove(ref(t, arnA.String())); err != nil || o.ARN != arnA || !slices.Equal(o.What, []string{"alias/a", "the record"}) {
		t.Errorf("%+v, %v", o, err)
	}
	sound(t, w.Store())
	arns, err := w.Store().ARNsByFingerprint(key.Fingerprint())
	if err != nil || !slices.Equal(arns, []kmskey.ARN{twin.ARN()}) {
		t.Errorf("%v, %v", arns, err)
	}
	if _, err := w.Remove(ref(t, uuidA)); err != nil { // no longer ambiguous
		t.Error(explain(err))
	}
	if _, err := w.Remove(ref(t, uuidB)); err != nil {
		t.Error(explain(err))
	}
	if after := listing(t, home); !slices.Equal(empty, after) {
		t.Errorf("left behind: %q", after)
	}
	if names, _, err := w.Store().names(indexFolder, 0); err != nil || len(names) != 0 {
		t.Errorf("left behind: %q, %v", names, err)
	}

	// A damaged record goes too, if it is named in full.
	writeFile(t, home, recordPath(arnA), "{")
	_, err = w.Remove(ref(t, uuidA))
	refused(t, err, kmserr.StoreIntegrity)
	if _, err := w.Remove(ref(t, arnA.String())); err != nil {
		t.Error(explain(err))
	}
	sound(t, w.Store())
}

// A multi-Region key's other records answer for the one that is removed: whoever removes a disabled one is told so.
func TestRemoveOneRegion(t *testing.T) {
	der := material(t)
	w := openWriterT(t, newHome(t))
	put(t, w, record(t, mrkEast, der, nil), PutOptions{})
	put(t, w, record(t, mrkWest, der, nil), PutOptions{})
	put(t, w, record(t, arnA, material(t), nil), PutOptions{})
	for asked, want := range map[kmskey.ARN][]kmskey.ARN{
		mrkWest: {mrkEast, mrkWest},
		{Scope: kmskey.Scope{Partition: "aws", Region: "eu-west-1", Account: mrkEast.Account}, KeyID: mrkA}: {mrkEast, mrkWest},
		{Scope: other, KeyID: mrkA}: nil,
		arnA:                        {arnA}, arnB: {arnB},
	} {
		if got, err := w.Store().Regions(asked); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", asked, got, err)
		}
	}
	strangers := filepath.Join(w.Store().Home().Path, keysFolder, "aws-cn")
	if err := os.WriteFile(strangers, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Store().Regions(kmskey.ARN{Scope: china, KeyID: mrkA}); err == nil {
		t.Errorf("what cannot be listed has the Regions %v", got)
	}
	if err := os.Remove(strangers); err != nil {
		t.Fatal(err)
	}
	first, err := w.Remove(ref(t, mrkWest.String()))
	if err != nil || len(first.Kept) != 1 || !strings.Contains(first.Kept[0], mrkEast.String()) || !strings.Contains(first.Kept[0], "us-west-2") {
		t.Errorf("%+v, %v", first, err)
	}
	last, err := w.Remove(ref(t, mrkEast.String()))
	if err != nil || len(last.Kept) != 0 {
		t.Errorf("%+v, %v", last, err)
	}
	// What cannot be read of other Regions does not keep a record from being removed, nor is it said that it was not.
	put(t, w, record(t, mrkEast, der, nil), PutOptions{})
	strange := recordPath(kmskey.ARN{Scope: kmskey.Scope{Partition: "aws", Region: "eu-west-1", Account: mrkEast.Account}, KeyID: mrkA})
	if err := os.MkdirAll(filepath.Join(w.Store().Home().Path, strange, "..", ".."), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(w.Store().Home().Path, filepath.Dir(strange))); err != nil {
		t.Skip("this system makes no links here: ", err)
	}
	cut, err := w.Remove(ref(t, mrkEast.String()))
	if err != nil || cut.Change != Removed || len(cut.Kept) != 1 || !strings.Contains(cut.Kept[0], "if there are any") {
		t.Errorf("%+v, %v", cut, err)
	}
	if _, err := w.Store().readRecord(mrkEast); !errors.Is(err, errAbsent) {
		t.Errorf("the record is there: %v", err)
	}
}

var errCrash = errors.New("the machine stops here")

// crashing lets n steps happen and then stops the writer for good, as a crash does.
func crashing(t testing.TB, home Home, n int) *Writer {
	w := openWriterT(t, home)
	w.before = func(string) error {
		if n--; n < 0 {
			return errCrash
		}
		return nil
	}
	return w
}

// Every prefix of the steps of a write leaves a store that resolves what it has, that never has an alias without a
// record, and that the next run of the same write completes.
func TestCrashes(t *testing.T) {
	derA, derB := material(t), material(t)
	withAliases := PutOptions{Aliases: []string{"alias/one", "alias/two"}, MoveAlias: true}
	for _, c := range []struct {
		name  string
		setUp func(w *Writer)
		do    func(w *Writer) error
		steps int
	}{
		{"a new key", func(*Writer) {}, func(w *Writer) error {
			_, err := w.Put(record(t, arnA, derA, nil), withAliases)
			return err
		}, 4},
		{"aliases move", func(w *Writer) {
			put(t, w, record(t, arnA, derA, nil), withAliases)
		}, func(w *Writer) error {
			_, err := w.Put(record(t, arnB, derB, nil), withAliases)
			return err
		}, 4},
		{"a removal", func(w *Writer) {
			put(t, w, record(t, arnA, derA, nil), withAliases)
		}, func(w *Writer) error {
			_, err := w.Remove(ref(t, arnA.String()))
			if kmserr.Is(err, kmserr.NotFound) {
				return nil
			}
			return err
		}, 4},
		{"a block", func(w *Writer) {
			put(t, w, record(t, arnA, derA, nil), withAliases)
		}, func(w *Writer) error {
			_, err := w.Block(Block{KeyID: arnA.String()})
			return err
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 0; ; n++ {
				home := newHome(t)
				w := openWriterT(t, home)
				c.setUp(w)
				w.Close()
				w = crashing(t, home, n)
				err := c.do(w)
				w.Close()
				if err == nil {
					if n != c.steps {
						t.Errorf("%d steps, expected %d", n, c.steps)
					}
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(explain(err))
				}
				writeFile(t, home, "tmp/write-LEFTOVER", `{"half":`)
				s := openT(t, home)
				for a, err := range s.Aliases(kmskey.Scope{}) {
					if err != nil {
						t.Fatal(explain(err))
					}
					if _, err := s.Resolve(kmskey.Ref{Scope: a.ARN.Scope, Alias: a.ARN.Alias}, ResolveOptions{}); err != nil {
						t.Errorf("after %d steps: %s", n, explain(err))
					}
				}
				for _, p := range problems(s) {
					if !p.Repairable && !strings.Contains(p.Remedy, "Block the key again") {
						t.Errorf("after %d steps: %+v", n, p)
					}
				}
				// The writer that comes after sweeps, repairs, and does what was left undone.
				w = openWriterT(t, home)
				if left, err := os.ReadDir(filepath.Join(home.Path, tmpFolder)); err != nil || len(left) != 0 {
					t.Errorf("left in tmp: %v, %v", left, err)
				}
				if _, err := w.Repair(); err != nil {
					t.Fatal(explain(err))
				}
				if c.name != "a block" {
					sound(t, w.Store())
				}
				if err := c.do(w); err != nil {
					t.Fatal(explain(err))
				}
				sound(t, w.Store())
				w.Close()
			}
		})
	}
}

func TestRepair(t *testing.T) {
	der := material(t)
	home := newHome(t)
	w := openWriterT(t, home)
	a, b := record(t, arnA, der, nil), record(t, arnB, material(t), nil)
	put(t, w, a, PutOptions{})
	put(t, w, b, PutOptions{Aliases: []string{"alias/b", "alias/kept"}})
	put(t, w, a, PutOptions{Aliases: []string{"alias/kept"}, MoveAlias: true})
	// An alias that KMS said it has not, which came in a tar.
	gone := AliasEntry{ARN: kmskey.AliasARN{Scope: arnA.Scope, Alias: "alias/gone"}, Time: kmskey.Time{Time: time.Unix(1790000000, 0).UTC()}}
	if _, err := w.PutFile(File{Path: aliasPath(gone.ARN), Alias: &gone}, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if did, err := w.Repair(); err != nil || len(did) != 0 {
		t.Errorf("nothing to do, but %q, %v", did, err)
	}
	// Whoever removes files by hand leaves the index and aliases behind; whoever adds them adds no index.
	for _, arn := range []kmskey.ARN{arnA, arnB} {
		if err := os.Remove(filepath.Join(home.Path, recordPath(arn))); err != nil {
			t.Fatal(err)
		}
	}
	c := record(t, kmskey.ARN{Scope: west, KeyID: uuidA}, der, nil)
	writeFile(t, home, recordPath(c.ARN()), encoded(t, c))
	damaged := kmskey.ARN{Scope: west, KeyID: uuidB}
	writeFile(t, home, recordPath(damaged), "{")
	writeFile(t, home, indexPath(b.Fingerprint())+"/"+markerName(damaged), "")
	if found := problems(w.Store()); len(found) != 6 {
		t.Errorf("fsck: %+v", found)
	}
	did, err := w.Repair()
	if err != nil || len(did) != 4 {
		t.Errorf("%q, %v", did, err)
	}
	for i, text := range []string{"indexed " + c.ARN().String(), "removed ", "removed ", "alias/b, as no record"} {
		if i < len(did) && !strings.Contains(did[i], text) {
			t.Errorf("%q does not hold %q", did[i], text)
		}
	}
	// The alias that remembers, and the record that is damaged, are for a person to decide.
	found := problems(w.Store())
	if len(found) != 2 || !strings.Contains(found[0].Fact, "damaged") || !strings.Contains(found[1].Fact, "alias/kept") || found[1].Repairable {
		t.Errorf("fsck: %+v", found)
	}
	if arns, err := w.Store().ARNsByFingerprint(a.Fingerprint()); err != nil || !slices.Equal(arns, []kmskey.ARN{c.ARN()}) {
		t.Errorf("%v, %v", arns, err)
	}
	if arns, err := w.Store().ARNsByFingerprint(b.Fingerprint()); err != nil || !slices.Equal(arns, []kmskey.ARN{damaged}) {
		t.Errorf("%v, %v", arns, err)
	}
}

func TestOneWriterAtATime(t *testing.T) {
	home := newHome(t)
	first := openWriterT(t, home)
	_, err := openWriter(home, Options{}, 50*time.Millisecond)
	refused(t, err, kmserr.StoreAccess, "another process has been writing", home.Path)
	// A reader is not held up.
	if _, err := openT(t, home).Resolve(ref(t, uuidA), ResolveOptions{}); !kmserr.Is(err, kmserr.NotFound) {
		t.Error(err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		first.Close()
	}()
	second, err := openWriter(home, Options{}, 10*time.Second)
	if err != nil {
		t.Fatal(explain(err))
	}
	second.Close()
	// The lock of whoever gave up waiting is given back when it comes at last.
	third, err := openWriter(home, Options{}, 10*time.Second)
	if err != nil {
		t.Fatal(explain(err))
	}
	third.Close()
}

// Readers see the old record or the new one, whole, while writers of this process and of others write.
func TestWritersAndReaders(t *testing.T) {
	der := material(t)
	home := storeOf(t, record(t, arnA, der, func(r *kmskey.Record) { r.Snapshot.Time = at(t, monday) }))
	base := at(t, monday)
	version := func(n int) *kmskey.Key {
		return record(t, arnA, der, func(r *kmskey.Record) {
			r.Snapshot.Time.Time = base.Add(time.Duration(n) * time.Second)
			r.Aliases = []string{"alias/release"}
		})
	}
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for range 3 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			s, err := Open(home, Options{})
			if err != nil {
				t.Error(explain(err))
				return
			}
			defer s.Close()
			last := base
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := s.Resolve(kmskey.Ref{Scope: east, KeyID: uuidA}, ResolveOptions{})
				if err != nil {
					t.Error(explain(err))
					return
				}
				if now := r.Entries[0].Key.Record().Snapshot.Time; now.Before(last.Time) {
					t.Errorf("knowledge went back from %s to %s", last, now)
					return
				} else {
					last = now
				}
			}
		}()
	}
	for i := range 2 {
		writers.Add(2)
		go func() { // in this process
			defer writers.Done()
			for n := range 10 {
				w, err := OpenWriter(home, Options{})
				if err == nil {
					_, err = w.Put(version(2*n+i), PutOptions{})
					w.Close()
				}
				if err != nil {
					t.Error(explain(err))
					return
				}
			}
		}()
		go func() { // in another one
			defer writers.Done()
			child := exec.Command(os.Args[0], "-test.run=^TestChildWriter$", "-test.v")
			child.Env = append(os.Environ(), "KEYSTORE_TEST_HOME="+home.Path, fmt.Sprint("KEYSTORE_TEST_KEY=", 3+i))
			if out, err := child.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("wrote 10")) {
				t.Errorf("%v\n%s", err, out)
			}
		}()
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	s := openT(t, home)
	sound(t, s)
	n := 0
	for e, err := range s.List() {
		if err != nil {
			t.Fatal(explain(err))
		}
		n++
		if e.Key.ARN() == arnA && !e.Key.Record().Snapshot.Time.Equal(base.Add(19*time.Second)) {
			t.Errorf("the last word is %s", e.Key.Record().Snapshot.Time)
		}
	}
	if n != 21 {
		t.Errorf("%d records, expected 21", n)
	}
}

// TestChildWriter is the other process of TestWritersAndReaders.
func TestChildWriter(t *testing.T) {
	path := os.Getenv("KEYSTORE_TEST_HOME")
	if path == "" {
		t.Skip("runs as a child only")
	}
	for n := range 10 {
		w, err := OpenWriter(Home{Path: path, ChosenBy: "test"}, Options{})
		if err != nil {
			t.Fatal(explain(err))
		}
		id := fmt.Sprintf("%s%03d-12ab-34cd-56ef-1234567890ab", os.Getenv("KEYSTORE_TEST_KEY")+"0000", n)
		put(t, w, record(t, kmskey.ARN{Scope: east, KeyID: id}, material(t), nil), PutOptions{})
		w.Close()
	}
	t.Log("wrote 10")
}

func TestHomeIsMade(t *testing.T) {
	base := newHome(t)
	home := Home{Path: filepath.Join(base.Path, "a", "b"), ChosenBy: "test"}
	w := openWriterT(t, home)
	w.Close()
	s := openT(t, home)
	sound(t, s)
}

// A chain has its place by its key's fingerprint, and by nothing that leads elsewhere in the home.
func TestChainHasItsPlace(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	for _, bad := range []string{"", "../policy", "x", strings.Repeat("A", 64), strings.Repeat("0", 63) + "/"} {
		if change, err := w.PutChain(bad, []byte("pem"), true); change != "" || !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%q: %s, %v", bad, change, err)
		}
	}
	good := strings.Repeat("0", 64)
	if _, _, err := w.Store().Chain("../policy"); !kmserr.Is(err, kmserr.Validation) {
		t.Error(err)
	}
	_, _, err := w.Store().Chain(good)
	refused(t, err, kmserr.NotFound, good+".pem")
	if change, err := w.PutChain(good, []byte("pem"), false); change != New || err != nil {
		t.Errorf("%s, %v", change, err)
	}
	// What is kept can be read again, to the last byte allowed.
	for n, want := range map[int]kmserr.Name{maxChainFile: "", maxChainFile + 1: kmserr.Validation} {
		long := bytes.Repeat([]byte("x"), n)
		_, err := w.PutChain(good, long, true)
		if want != "" {
			refused(t, err, want, "expected at most 262144")
			continue
		}
		if pem, _, readErr := w.Store().Chain(good); err != nil || readErr != nil || !bytes.Equal(pem, long) {
			t.Errorf("%d bytes: %v, %v", n, err, readErr)
		}
	}
	if _, err := w.PutChain(good, []byte("pem"), true); err != nil {
		t.Error(err)
	}
	if pem, path, err := w.Store().Chain(good); err != nil || string(pem) != "pem" || !strings.HasSuffix(filepath.ToSlash(path), ChainPath(good)) {
		t.Errorf("%q in %s, %v", pem, path, err)
	}
}
