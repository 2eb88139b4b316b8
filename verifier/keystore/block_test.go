package keystore

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func blocksOf(t testing.TB, s *Store, fingerprint string, arns ...kmskey.ARN) []Block {
	t.Helper()
	b, err := s.Blocks(arns, fingerprint)
	if err != nil {
		t.Fatal(explain(err))
	}
	return b
}

func TestBlocks(t *testing.T) {
	der := material(t)
	home := newHome(t)
	w := openWriterT(t, home)
	s := w.Store()
	a := record(t, arnA, der, nil)
	put(t, w, a, PutOptions{})
	put(t, w, record(t, arnB, material(t), nil), PutOptions{})
	if b := blocksOf(t, s, a.Fingerprint(), arnA, arnB); len(b) != 0 {
		t.Fatalf("got %+v", b)
	}
	if b := blocksOf(t, s, ""); len(b) != 0 {
		t.Fatalf("got %+v", b)
	}
	o, err := w.Block(Block{KeyID: arnA.String(), Reason: "leaked", By: "me", Time: at(t, tuesday), Since: at(t, monday)})
	if err != nil || o.Change != New || o.ARN != arnA || len(o.What) != 2 {
		t.Fatalf("%+v, %v", o, err)
	}
	sound(t, s)
	for name, got := range map[string][]Block{
		"by ARN":                         blocksOf(t, s, "", arnA),
		"by ARN among others":            blocksOf(t, s, "", arnB, arnA),
		"by key":                         blocksOf(t, s, a.Fingerprint()),
		"by key, under another name":     blocksOf(t, s, a.Fingerprint(), kmskey.ARN{Scope: other, KeyID: uuidB}),
		"by both, which is one block":    blocksOf(t, s, a.Fingerprint(), arnA),
		"by ARN, under a strange key":    blocksOf(t, s, strings.Repeat("0", 64), arnA),
		"by ARN, whatever record it has": blocksOf(t, s, "", arnA),
	} {
		if len(got) != 1 || got[0].KeyID != arnA.String() || got[0].PublicKeySHA256 != a.Fingerprint() || got[0].Reason != "leaked" ||
			got[0].By != "me" || !got[0].Time.Equal(at(t, tuesday).Time) || !got[0].Since.Equal(at(t, monday).Time) || got[0].Path == "" || !isFingerprint(got[0].SHA256) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if b := blocksOf(t, s, "", arnB); len(b) != 0 {
		t.Errorf("got %+v", b)
	}

	// Nothing but Block and Unblock touches it.
	before := blockFilesOf(t, home)
	put(t, w, a, PutOptions{FromKMS: true})
	if _, err := w.Remove(ref(t, arnA.String())); err != nil {
		t.Fatal(explain(err))
	}
	if _, err := w.Repair(); err != nil {
		t.Fatal(explain(err))
	}
	put(t, w, a, PutOptions{})
	if after := blockFilesOf(t, home); !slices.Equal(before, after) || len(after) != 2 {
		t.Errorf("%q, before %q", after, before)
	}
	// Again: the first reason stands.
	o, err = w.Block(Block{KeyID: arnA.String(), Reason: "again"})
	if err != nil || o.Change != Unchanged || len(o.Kept) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	if after := blockFilesOf(t, home); !slices.Equal(before, after) {
		t.Errorf("%q, before %q", after, before)
	}
	removed, err := w.Unblock(arnA, "")
	if err != nil || len(removed) != 2 {
		t.Errorf("%+v, %v", removed, err)
	}
	if b := blocksOf(t, s, a.Fingerprint(), arnA); len(b) != 0 {
		t.Errorf("got %+v", b)
	}
	_, err = w.Unblock(arnA, "")
	refused(t, err, kmserr.NotFound, arnA.String(), "keys status", "keys show")
	_, err = w.Unblock(kmskey.ARN{}, a.Fingerprint())
	refused(t, err, kmserr.NotFound, a.Fingerprint())
	if files := blockFilesOf(t, home); len(files) != 0 {
		t.Errorf("left behind: %q", files)
	}
}

func blockFilesOf(t testing.TB, home Home) []string {
	return slices.DeleteFunc(listing(t, home), func(f string) bool { return !strings.HasPrefix(f, "blocks/") })
}

func TestBlockCoversOtherNames(t *testing.T) {
	der := material(t)
	t.Run("all Regions of a multi-Region key", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		// The key is not in the store: its material is not known.
		if o, err := w.Block(Block{KeyID: mrkWest.String()}); err != nil || len(o.What) != 1 {
			t.Fatalf("%+v, %v", o, err)
		}
		if b := blocksOf(t, w.Store(), "", mrkEast); len(b) != 1 || b[0].KeyID != mrkWest.String() {
			t.Errorf("got %+v", b)
		}
		// A copy that somebody made of a Region's folder is none.
		data, err := os.ReadFile(filepath.Join(w.Store().Home().Path, filepath.FromSlash(blockPathOfARN(mrkWest))))
		if err != nil {
			t.Fatal(err)
		}
		copied := strings.Replace(blockPathOfARN(mrkWest), "us-west-2", "us-west-2.bak", 1)
		writeFile(t, w.Store().Home(), copied, string(data))
		if b := blocksOf(t, w.Store(), "", mrkEast); len(b) != 1 {
			t.Errorf("got %+v", b)
		}
		for _, scope := range []kmskey.Scope{other, china} {
			if b := blocksOf(t, w.Store(), "", kmskey.ARN{Scope: scope, KeyID: mrkA}); len(b) != 0 {
				t.Errorf("got %+v", b)
			}
		}
		if removed, err := w.Unblock(mrkEast, ""); err != nil || len(removed) != 1 {
			t.Errorf("%+v, %v", removed, err)
		}
	})
	t.Run("not all Regions of another key", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
			t.Fatal(explain(err))
		}
		if b := blocksOf(t, w.Store(), "", kmskey.ARN{Scope: west, KeyID: uuidA}); len(b) != 0 {
			t.Errorf("got %+v", b)
		}
	})
	t.Run("blocked by ARN before it was imported, under two names", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
			t.Fatal(explain(err))
		}
		a, twin := record(t, arnA, der, nil), record(t, arnB, der, nil)
		put(t, w, a, PutOptions{})
		put(t, w, twin, PutOptions{})
		if b := blocksOf(t, w.Store(), twin.Fingerprint(), arnB); len(b) != 1 || b[0].KeyID != arnA.String() {
			t.Errorf("got %+v", b)
		}
		// Blocking it again adds the material that is known now, and keeps the rest.
		if o, err := w.Block(Block{KeyID: arnA.String(), Reason: "now known"}); err != nil || o.Change != New || len(o.What) != 2 {
			t.Errorf("%+v, %v", o, err)
		}
		if removed, err := w.Unblock(arnB, ""); err != nil || len(removed) != 2 {
			t.Errorf("%+v, %v", removed, err)
		}
		if b := blocksOf(t, w.Store(), a.Fingerprint(), arnA, arnB); len(b) != 0 {
			t.Errorf("got %+v", b)
		}
	})
	t.Run("blocked by ARN before it was imported, and removed", func(t *testing.T) {
		for name, blocked := range map[string]kmskey.ARN{"its own": mrkEast, "another Region's": mrkWest} {
			w := openWriterT(t, newHome(t))
			if _, err := w.Block(Block{KeyID: blocked.String()}); err != nil {
				t.Fatal(explain(err))
			}
			twin := record(t, arnB, der, nil)
			put(t, w, record(t, mrkEast, der, nil), PutOptions{})
			put(t, w, twin, PutOptions{})
			if _, err := w.Remove(ref(t, mrkEast.String())); err != nil {
				t.Fatal(explain(err))
			}
			for _, mended := range []bool{false, true} {
				if mended {
					if did, err := w.Repair(); err != nil || len(did) != 0 {
						t.Errorf("%s: %q, %v", name, did, err)
					}
				}
				if b := blocksOf(t, w.Store(), twin.Fingerprint(), arnB); len(b) != 1 || b[0].KeyID != blocked.String() {
					t.Errorf("%s: a removal took the block away: %+v", name, b)
				}
				sound(t, w.Store())
			}
			// Whoever unblocks it leaves nothing that is worth keeping.
			if removed, err := w.Unblock(arnB, ""); err != nil || len(removed) != 1 {
				t.Errorf("%s: %+v, %v", name, removed, err)
			}
			if did, err := w.Repair(); err != nil || len(did) != 1 {
				t.Errorf("%s: %q, %v", name, did, err)
			}
		}
	})
	t.Run("blocked by what cannot be read, and removed", func(t *testing.T) {
		home := newHome(t)
		w := openWriterT(t, home)
		a := record(t, arnA, der, nil)
		put(t, w, a, PutOptions{})
		writeFile(t, home, blockPathOfARN(arnA), "{")
		if _, err := w.Remove(ref(t, arnA.String())); err != nil {
			t.Fatal(explain(err))
		}
		if arns, err := w.Store().ARNsByFingerprint(a.Fingerprint()); err != nil || !slices.Equal(arns, []kmskey.ARN{arnA}) {
			t.Errorf("the index has %v, %v", arns, err)
		}
		put(t, w, record(t, arnB, der, nil), PutOptions{})
		_, err := w.Store().Blocks([]kmskey.ARN{arnB}, a.Fingerprint())
		refused(t, err, kmserr.StoreIntegrity)
	})
	t.Run("by material alone", func(t *testing.T) {
		w := openWriterT(t, newHome(t))
		a := record(t, arnA, der, nil)
		if o, err := w.Block(Block{PublicKeySHA256: a.Fingerprint()}); err != nil || o.Change != New {
			t.Fatalf("%+v, %v", o, err)
		}
		if b := blocksOf(t, w.Store(), a.Fingerprint(), arnA); len(b) != 1 {
			t.Errorf("got %+v", b)
		}
		put(t, w, a, PutOptions{})
		if removed, err := w.Unblock(arnA, ""); err != nil || len(removed) != 1 {
			t.Errorf("%+v, %v", removed, err)
		}
	})
}

func TestDamagedBlocksRefuse(t *testing.T) {
	der := material(t)
	a := record(t, arnA, der, nil)
	fp := a.Fingerprint()
	byKey, byARN := blockPathOfKey(fp), blockPathOfARN(arnA)
	for _, c := range []struct{ name, rel, content, holds string }{
		{"empty", byKey, "", "empty"},
		{"empty, by ARN", byARN, "", "empty"},
		{"an empty object", byKey, "{}", "neither KeyId nor PublicKeySHA256"},
		{"an unknown member", byKey, `{"PublicKeySHA256":"` + fp + `","Until":"2030-01-01T00:00:00Z"}`, "unknown member"},
		{"a case variant", byKey, `{"PublicKeySHA256":"` + fp + `","publickeysha256":"` + fp + `"}`, "letter case"},
		{"another key", byKey, `{"PublicKeySHA256":"` + strings.Repeat("0", 64) + `"}`, "name does not say"},
		{"another ARN", byARN, `{"KeyId":"` + arnB.String() + `"}`, "name does not say"},
		{"another Region", byARN, `{"KeyId":"` + kmskey.ARN{Scope: west, KeyID: uuidA}.String() + `"}`, "name does not say"},
		{"no ARN", byARN, `{"KeyId":"` + uuidA + `"}`, "bad KeyId"},
		{"upper case", byKey, `{"PublicKeySHA256":"` + strings.ToUpper(fp) + `"}`, "lower-case"},
		{"oversized", byKey, `{"PublicKeySHA256":"` + fp + `"}` + strings.Repeat(" ", maxBlockFile), "more than 16384 bytes"},
		{"a folder", byKey + "/x", "", "is a folder"},
		{"a folder, by ARN", byARN + "/x", "", "is a folder"},
		{"a file as blocks", blocksFolder, "", "is a file, expected a folder"},
		{"a file as blocks/arn", blockedARNs, "", "is a file, expected a folder"},
		{"an odd index entry", indexPath(fp) + "/odd", "", "names no key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := storeOf(t, a)
			writeFile(t, home, c.rel, c.content)
			s := openT(t, home)
			b, err := s.Blocks([]kmskey.ARN{arnA}, fp)
			refused(t, err, kmserr.StoreIntegrity, c.holds)
			if b != nil || kmserr.As(err).KeyARN != arnA.String() {
				t.Errorf("got %+v, KeyARN %q", b, kmserr.As(err).KeyARN)
			}
			found := problems(s)
			if len(found) == 0 {
				t.Fatal("fsck finds nothing")
			}
			if p := found[0]; p.Harmless || p.Remedy == "" {
				t.Errorf("fsck: %+v", p)
			}
			w := openWriterT(t, home)
			_, err = w.Unblock(arnA, "")
			refused(t, err, kmserr.StoreIntegrity)
			if strings.HasSuffix(c.rel, suffix) {
				// Blocking the key anew replaces what nobody can read.
				if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
					t.Fatal(explain(err))
				}
				if b := blocksOf(t, s, fp, arnA); len(b) != 1 {
					t.Errorf("got %+v", b)
				}
				sound(t, s)
			}
		})
	}
	t.Run("the twin is missing", func(t *testing.T) {
		home := storeOf(t, a)
		w := openWriterT(t, home)
		if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
			t.Fatal(explain(err))
		}
		if err := os.Remove(filepath.Join(home.Path, filepath.FromSlash(byKey))); err != nil {
			t.Fatal(err)
		}
		if found := problems(w.Store()); len(found) != 1 || !strings.Contains(found[0].Remedy, "Block the key again") {
			t.Errorf("fsck: %+v", found)
		}
		if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
			t.Fatal(explain(err))
		}
		sound(t, w.Store())
	})
}

func TestBlockRefusals(t *testing.T) {
	w := openWriterT(t, storeOf(t, record(t, arnA, material(t), nil)))
	for _, c := range []struct {
		block Block
		holds string
	}{
		{Block{}, "neither"},
		{Block{KeyID: uuidA}, "no key ARN"},
		{Block{KeyID: "arn:aws:kms:us-east-1:111122223333:alias/a"}, "no key ARN"},
		{Block{KeyID: "arn:aws:kms:..:111122223333:key/" + uuidA}, "Region"},
		{Block{PublicKeySHA256: "../../../keys"}, "64 digits"},
		{Block{PublicKeySHA256: strings.Repeat("A", 64)}, "64 digits"},
		{Block{KeyID: arnA.String(), PublicKeySHA256: strings.Repeat("0", 64)}, "on record is"},
		{Block{KeyID: arnA.String(), Reason: strings.Repeat("x", maxBlockFile)}, "shorter reason"},
	} {
		_, err := w.Block(c.block)
		refused(t, err, kmserr.Validation, c.holds)
	}
	_, err := w.Store().Blocks(nil, "x")
	refused(t, err, kmserr.Validation)
	for _, err := range w.Store().AllBlocks() {
		t.Errorf("there is a block: %v", err)
	}
	// Nor does text as a terminal of another encoding gives it.
	if _, err := w.Block(Block{KeyID: arnA.String(), Reason: "compromis\xe9", By: "Andr\xe9"}); err != nil {
		t.Error(explain(err))
	}
	if got, err := w.Store().Blocks([]kmskey.ARN{arnA}, strings.Repeat("0", 64)); err != nil || len(got) != 1 || got[0].Reason != "compromis\uFFFD" || got[0].By != "Andr\uFFFD" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Unblock(arnA, ""); err != nil {
		t.Error(explain(err))
	}
	// A record that is damaged does not keep anybody from blocking the key.
	writeFile(t, w.Store().Home(), recordPath(arnB), "{")
	if _, err := w.Block(Block{KeyID: arnB.String()}); err != nil {
		t.Error(explain(err))
	}
	n := 0
	for b, err := range w.Store().AllBlocks() {
		if n++; err != nil || b.KeyID != arnB.String() {
			t.Errorf("%+v, %v", b, err)
		}
	}
	if n != 1 {
		t.Errorf("%d blocks", n)
	}
}

// A block of before its key was known reaches the same key under another name by the index alone. Removing the record that
// the block names takes it no further back.
func TestBlockOutlivesItsRecord(t *testing.T) {
	der := material(t)
	home := newHome(t)
	w := openWriterT(t, home)
	if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
		t.Fatal(err)
	}
	a, b := record(t, arnA, der, nil), record(t, arnB, der, nil)
	put(t, w, a, PutOptions{})
	put(t, w, b, PutOptions{})
	blocked := func(want bool, when string) {
		t.Helper()
		found, err := w.Store().Blocks([]kmskey.ARN{arnB}, b.Fingerprint())
		if err != nil || (len(found) > 0) != want {
			t.Errorf("%s: %v, %v", when, found, err)
		}
	}
	blocked(true, "with both records")
	if _, err := w.Remove(kmskey.Ref{Scope: arnA.Scope, KeyID: arnA.KeyID}); err != nil {
		t.Fatal(err)
	}
	blocked(true, "without the blocked record")
	if did, err := w.Repair(); err != nil || len(did) != 0 {
		t.Errorf("%q, %v", did, err)
	}
	blocked(true, "repaired")
	if found := problems(w.Store()); len(found) != 0 {
		t.Errorf("fsck: %+v", found)
	}
	if _, err := w.Unblock(arnA, ""); err != nil {
		t.Fatal(err)
	}
	blocked(false, "unblocked")
	if did, err := w.Repair(); err != nil || len(did) != 1 {
		t.Errorf("%q, %v", did, err)
	}
}
