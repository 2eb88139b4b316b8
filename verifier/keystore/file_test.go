package keystore

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// snapshotOf returns every file below the home that is part of the store, by its path.
func snapshotOf(t *testing.T, home Home) map[string]string {
	t.Helper()
	all := make(map[string]string)
	root := os.DirFS(home.Path)
	for _, folder := range []string{keysFolder, aliasesFolder, blocksFolder, indexFolder} {
		err := filepath.WalkDir(filepath.Join(home.Path, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(home.Path, path)
			if err != nil {
				return err
			}
			f, err := root.Open(filepath.ToSlash(rel))
			if err != nil {
				return err
			}
			defer f.Close()
			data, err := os.ReadFile(path)
			all[filepath.ToSlash(rel)] = string(data)
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return all
}

// full makes a store with everything that a store can hold: keys of several scopes, aliases that moved, that mean no key
// and whose names are long, and blocks by material, by ARN and by both.
func full(t *testing.T) Home {
	t.Helper()
	home := newHome(t)
	w := openWriterT(t, home)
	shared := material(t)
	long := "alias/" + strings.Repeat("Long", 50)
	put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/Release", "alias/gone", "alias/a/b", "alias/a-b", long}, AliasTime: at(t, monday)})
	put(t, w, record(t, arnB, material(t), func(r *kmskey.Record) { r.Snapshot.Time = at(t, monday) }), PutOptions{Aliases: []string{"alias/Release"}, AliasTime: at(t, tuesday), MoveAlias: true})
	put(t, w, record(t, mrkEast, shared, nil), PutOptions{})
	put(t, w, record(t, mrkWest, shared, nil), PutOptions{})
	put(t, w, record(t, kmskey.ARN{Scope: china, KeyID: uuidA}, material(t), nil), PutOptions{Aliases: []string{"alias/Release"}})
	for _, b := range []Block{
		{KeyID: arnA.String(), Reason: "lost", By: "me", Time: at(t, monday)},
		{KeyID: kmskey.ARN{Scope: other, KeyID: uuidB}.String(), Reason: "not here"},
		{PublicKeySHA256: strings.Repeat("ab", 32), Reason: "material"},
	} {
		if _, err := w.Block(b); err != nil {
			t.Fatal(err)
		}
	}
	gone, _ := ref(t, "arn:aws:kms:us-east-1:111122223333:alias/gone").AliasARN()
	if _, err := w.MoveAlias(gone, "", at(t, tuesday)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return home
}

func filesOf(t *testing.T, s *Store, arns []kmskey.ARN) (files []File) {
	t.Helper()
	for f, err := range s.Files(arns) {
		if err != nil {
			t.Fatal(explain(err))
		}
		again, err := DecodeFile(f.Path, f.Data)
		if err != nil {
			t.Fatal(explain(err))
		}
		files = append(files, again)
	}
	return files
}

// What Files yields makes the same store, byte for byte, wherever it is put; put there again it changes nothing.
func TestFilesMakeTheSameStore(t *testing.T) {
	home := full(t)
	files := filesOf(t, openT(t, home), nil)
	if len(files) != 4+5+6 { // blocks in four files, records, aliases
		t.Errorf("%d files", len(files))
	}
	for i, f := range files[1:] {
		if !files[i].Before(f) || f.Before(files[i]) {
			t.Errorf("%s before %s", files[i].Path, f.Path)
		}
	}
	target := newHome(t)
	w := openWriterT(t, target)
	for round, want := range []Change{New, Unchanged} {
		for _, dry := range []bool{true, false} {
			before := snapshotOf(t, target)
			for _, f := range files {
				o, err := w.PutFile(f, PutOptions{DryRun: dry})
				if err != nil || o.Change != want {
					t.Errorf("round %d, dry %t, %s: %+v, %v", round, dry, f.Path, o, err)
				}
			}
			if after := snapshotOf(t, target); dry && len(after) != len(before) {
				t.Error("a dry run wrote")
			}
		}
	}
	w.Close()
	want, got := snapshotOf(t, home), snapshotOf(t, target)
	for path, content := range want {
		if got[path] != content {
			t.Errorf("%s: %q, expected %q", path, got[path], content)
		}
		delete(got, path)
	}
	for path := range got {
		t.Errorf("%s is more", path)
	}
	sound(t, openT(t, target))
}

// One key goes with the aliases that mean or meant it, and with every block.
func TestFilesOfOneKey(t *testing.T) {
	s := openT(t, full(t))
	var ids []string
	for _, f := range filesOf(t, s, []kmskey.ARN{arnA, arnA}) {
		if f.Block == nil {
			ids = append(ids, strings.TrimPrefix(f.ID(), "arn:aws:kms:us-east-1:111122223333:"))
		}
	}
	want := []string{"key/" + uuidA, "alias/Release", "alias/a-b", "alias/a/b", "alias/gone", "alias/" + strings.Repeat("Long", 50)}
	slices.Sort(ids)
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("%q, expected %q", ids, want)
	}
	for _, err := range s.Files([]kmskey.ARN{{Scope: west, KeyID: uuidA}}) {
		if err != nil {
			refused(t, err, kmserr.NotFound)
			return
		}
	}
	t.Error("a key that is not there has files")
}

// An alias from elsewhere moves what is known only as far as it is allowed to.
func TestPutAliasFile(t *testing.T) {
	alias, _ := ref(t, "arn:aws:kms:us-east-1:111122223333:alias/release").AliasARN()
	entry := func(target, time string, history ...AliasHistory) File {
		a := AliasEntry{ARN: alias, TargetKeyID: target, Time: at(t, time), History: history}
		data, err := encodeAlias(a)
		if err != nil {
			t.Fatal(err)
		}
		f, err := DecodeFile(aliasPath(alias), data)
		if err != nil {
			t.Fatal(explain(err))
		}
		return f
	}
	const uuidC, wednesday = "3234abcd-12ab-34cd-56ef-1234567890ab", "2026-11-25T00:00:00Z"
	meantC := AliasHistory{KeyID: uuidC, From: at(t, ""), To: at(t, monday)}
	cases := map[string]struct {
		given   File
		move    bool
		refused string
		target  string
		time    string
		history []string
		change  Change
	}{
		"the same":                           {entry(uuidA, tuesday), false, "", uuidA, tuesday, nil, Unchanged},
		"the same, older":                    {entry(uuidA, monday), false, "", uuidA, tuesday, nil, Unchanged},
		"the same, newer":                    {entry(uuidA, wednesday), false, "", uuidA, wednesday, nil, Changed},
		"another, newer":                     {entry(uuidB, wednesday), false, "only if told to", "", "", nil, ""},
		"another, newer, told to":            {entry(uuidB, wednesday), true, "", uuidB, wednesday, []string{uuidA}, Changed},
		"another, older":                     {entry(uuidB, monday), false, "", uuidA, tuesday, nil, Unchanged},
		"another, older, told to":            {entry(uuidB, monday), true, "", uuidA, tuesday, nil, Unchanged}, // it is another alias that is meant
		"no key":                             {entry("", wednesday), false, "moves to no key only if told to", "", "", nil, ""},
		"no key, told to":                    {entry("", wednesday), true, "", "", wednesday, []string{uuidA}, Changed},
		"more history":                       {entry(uuidA, tuesday, meantC), false, "aliasHistory any", "", "", nil, ""},
		"more history, told to":              {entry(uuidA, tuesday, meantC), true, "", uuidA, tuesday, []string{uuidC}, Changed},
		"more history, older, told to":       {entry(uuidA, monday, meantC), true, "", uuidA, tuesday, []string{uuidC}, Changed},
		"another, with its history, told to": {entry(uuidB, wednesday, meantC, AliasHistory{KeyID: uuidA, To: at(t, wednesday)}), true, "", uuidB, wednesday, []string{uuidC, uuidA}, Changed},
		"another, older, with a history":     {entry(uuidB, monday, meantC), false, "", uuidA, tuesday, nil, Unchanged},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := openWriterT(t, newHome(t))
			put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, tuesday)})
			for _, dry := range []bool{true, false} {
				o, err := w.PutFile(c.given, PutOptions{MoveAlias: c.move, DryRun: dry})
				if c.refused != "" {
					refused(t, err, kmserr.Validation, c.refused)
					continue
				}
				if err != nil || o.Change != c.change || o.Alias != alias {
					t.Errorf("%+v, %v", o, err)
				}
			}
			got, err := w.Store().readAlias(alias)
			if err != nil {
				t.Fatal(err)
			}
			if c.refused != "" {
				c.target, c.time = uuidA, tuesday
			}
			var history []string
			for _, h := range got.History {
				history = append(history, h.KeyID)
			}
			if got.TargetKeyID != c.target || !got.Time.Equal(at(t, c.time).Time) || !slices.Equal(history, c.history) {
				t.Errorf("got %s as of %s, history %q", got.TargetKeyID, got.Time, history)
			}
		})
	}
}

// A block from elsewhere never takes anything from one that is here.
func TestPutBlockFile(t *testing.T) {
	w := openWriterT(t, newHome(t))
	key := record(t, arnA, material(t), nil)
	put(t, w, key, PutOptions{})
	file := func(b Block, path string) File {
		data, err := encodeBlock(b)
		if err != nil {
			t.Fatal(err)
		}
		f, err := DecodeFile(path, data)
		if err != nil {
			t.Fatal(explain(err))
		}
		return f
	}
	putFile := func(f File, want Change) {
		t.Helper()
		if o, err := w.PutFile(f, PutOptions{}); err != nil || o.Change != want {
			t.Errorf("%+v, %v; expected %s", o, err, want)
		}
	}
	byARN := file(Block{KeyID: arnA.String(), Reason: "first"}, blockPathOfARN(arnA))
	putFile(byARN, New)
	putFile(file(Block{KeyID: arnA.String(), Reason: "second", PublicKeySHA256: key.Fingerprint()}, blockPathOfARN(arnA)), Changed)
	putFile(byARN, Unchanged)
	b, err := w.Store().readBlockOfARN(arnA)
	if err != nil || b.Reason != "first" || b.PublicKeySHA256 != key.Fingerprint() {
		t.Errorf("%+v, %v", b, err)
	}
	// One of other key material than is on record takes away all the same, as often as it comes.
	other := Block{KeyID: arnA.String(), PublicKeySHA256: strings.Repeat("ab", 32)}
	for _, want := range []Change{New, Unchanged} {
		putFile(file(other, blockPathOfKey(other.PublicKeySHA256)), want)
		putFile(file(other, blockPathOfARN(arnA)), Unchanged)
	}
}

func FuzzDecodeFile(f *testing.F) {
	der := material(f)
	key, err := record(f, arnA, der, nil).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(recordPath(arnA), key)
	alias, _ := ref(f, "arn:aws:kms:us-east-1:111122223333:alias/Release").AliasARN()
	data, err := encodeAlias(AliasEntry{ARN: alias, TargetKeyID: uuidA, History: []AliasHistory{{KeyID: uuidB}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(aliasPath(alias), data)
	block := Block{KeyID: arnA.String(), PublicKeySHA256: strings.Repeat("ab", 32), Reason: "a"}
	if data, err = encodeBlock(block); err != nil {
		f.Fatal(err)
	}
	f.Add(blockPathOfARN(arnA), data)
	f.Add(blockPathOfKey(block.PublicKeySHA256), data)
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		file, err := DecodeFile(path, data)
		if err != nil {
			if !kmserr.Is(err, kmserr.Validation) {
				t.Errorf("got %v", err)
			}
			return
		}
		if file.ID() == "" || !filepath.IsLocal(filepath.FromSlash(file.Path)) || !bytes.Equal(file.Data, data) {
			t.Errorf("%q: %+v", path, file)
		}
	})
}

// TestExportReachesAsFar: a block of before its key was known reaches the key's other names by the index, which does not travel.
// Where the export arrives, the key is blocked under every name that it is blocked under here.
func TestExportReachesAsFar(t *testing.T) {
	der := material(t)
	for _, c := range []struct {
		name           string
		blocked, known kmskey.ARN
		remove         bool
	}{
		{"the blocked record is not asked for", arnA, arnA, false},
		{"the blocked record is gone", arnA, arnA, true},
		{"another Region's is blocked", mrkWest, mrkEast, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := openWriterT(t, newHome(t))
			if _, err := w.Block(Block{KeyID: c.blocked.String(), Reason: "leaked"}); err != nil {
				t.Fatal(explain(err))
			}
			twin, stranger := record(t, arnB, der, nil), record(t, kmskey.ARN{Scope: other, KeyID: uuidB}, material(t), nil)
			for _, k := range []*kmskey.Key{record(t, c.known, der, nil), twin, stranger} {
				put(t, w, k, PutOptions{})
			}
			if c.remove {
				if _, err := w.Remove(kmskey.Ref{Scope: c.known.Scope, KeyID: c.known.KeyID}); err != nil {
					t.Fatal(explain(err))
				}
			}
			export := func(s *Store) (files []File) {
				for f, err := range s.Files([]kmskey.ARN{arnB, stranger.ARN()}) {
					if err != nil {
						t.Fatal(explain(err))
					}
					if _, err := DecodeFile(f.Path, f.Data); err != nil {
						t.Fatal(explain(err))
					}
					if len(files) > 0 && !files[len(files)-1].Before(f) {
						t.Errorf("%s comes after %s", f.Path, files[len(files)-1].Path)
					}
					files = append(files, f)
				}
				return files
			}
			files := export(w.Store())
			there := openWriterT(t, newHome(t))
			for _, to := range []*Writer{there, w} { // its own export is nothing new to a store but for what the index said
				for _, f := range files {
					if _, err := to.PutFile(f, PutOptions{}); err != nil {
						t.Fatal(explain(err))
					}
				}
				if b := blocksOf(t, to.Store(), twin.Fingerprint(), arnB); len(b) == 0 || b[0].Reason != "leaked" {
					t.Errorf("the key is blocked under its other name by %+v", b)
				}
				if b := blocksOf(t, to.Store(), stranger.Fingerprint(), stranger.ARN()); len(b) != 0 {
					t.Errorf("another key is blocked by %+v", b)
				}
				if again := export(to.Store()); !slices.EqualFunc(again, files, func(a, b File) bool { return a.Path == b.Path && bytes.Equal(a.Data, b.Data) }) {
					t.Errorf("exported again, it is %+v, expected %+v", again, files)
				}
			}
		})
	}
}
