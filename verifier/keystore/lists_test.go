package keystore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// longAlias has an escaped name that is too long, so that its file's name is a hash.
var longAlias = "alias/" + strings.Repeat("X", 100)

// TestRefusalTells: what a refusal tells of the store is all there is nearby, and nothing else.
func TestRefusalTells(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/one", "alias/two", longAlias}})
	put(t, w, record(t, arnB, material(t), nil), PutOptions{})
	absent := kmskey.ARN{Scope: east, KeyID: "00000000-0000-4000-8000-000000000000"}
	for _, stray := range []string{"README.json", "notes", absent.KeyID, mrkA} {
		writeFile(t, home, scopePath(keysFolder, east)+"/"+stray, "")
	}
	for _, stray := range []string{"README.json", "notes", "three"} {
		writeFile(t, home, scopePath(aliasesFolder, east)+"/"+stray, "")
	}
	one, two := kmskey.AliasARN{Scope: east, Alias: "alias/one"}, kmskey.AliasARN{Scope: east, Alias: "alias/two"}
	keys, aliases := arnA.String()+", "+arnB.String(), one.String()+", "+two.String()
	elsewhere := kmskey.AliasARN{Scope: west, Alias: "alias/unknown"}
	s := openT(t, home)
	for asked, fact := range map[string]string{
		absent.String():    "no record of " + absent.String() + " is in the store " + home.Path + ", which holds " + keys,
		absent.KeyID:       "no record of the key ID " + absent.KeyID + " is in the store " + home.Path + ", which holds " + keys,
		"alias/unknown":    "no alias alias/unknown is in the store " + home.Path + ", which holds " + aliases,
		elsewhere.String(): "no alias " + elsewhere.String() + " is in the store " + home.Path + ", which holds aliases of other accounts or Regions only",
		kmskey.AliasARN{Scope: east, Alias: "alias/unknown"}.String(): "no alias arn:aws:kms:us-east-1:111122223333:alias/unknown is in the store " + home.Path + ", which holds " + aliases,
		kmskey.ARN{Scope: west, KeyID: uuidB}.String():                "no record of " + kmskey.ARN{Scope: west, KeyID: uuidB}.String() + " is in the store " + home.Path + ", which has it as " + arnB.String(),
	} {
		_, err := s.Resolve(ref(t, asked), ResolveOptions{})
		refused(t, err, kmserr.NotFound)
		if got := kmserr.As(err).Fact; got != fact {
			t.Errorf("%s: got\n%s\nexpected\n%s", asked, got, fact)
		}
	}
	s = openT(t, storeOf(t, record(t, arnA, material(t), nil)))
	for _, asked := range []string{"alias/unknown", one.String()} {
		_, err := s.Resolve(ref(t, asked), ResolveOptions{})
		refused(t, err, kmserr.NotFound, "which holds no aliases")
	}
	for n, want := range map[int]string{1: "x", 10: "x, x, x, x, x, x, x, x, x, x", 11: "x, x, x, x, x, x, x, x, x, x and 1 more"} {
		if got := listed(slices.Repeat([]string{"x"}, n), n); got != want {
			t.Errorf("%d names: %q, expected %q", n, got, want)
		}
	}
}

// TestRefusalLooksAtSoMany: of a large store a refusal looks at the first names, and at no folder behind them.
func TestRefusalLooksAtSoMany(t *testing.T) {
	home := newHome(t)
	fill := func(scope kmskey.Scope, n int) {
		for i := range n {
			writeFile(t, home, recordPath(kmskey.ARN{Scope: scope, KeyID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)}), "")
		}
	}
	fill(east, maxLooked)
	fill(other, 5)
	s := openT(t, home)
	_, err := s.Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.NotFound, fmt.Sprintf(" and %d more", maxLooked-maxListed))
	fill(east, maxLooked+1)
	_, err = s.Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.NotFound, fmt.Sprintf(" and %d more", maxLooked-maxListed))
	if err := os.Remove(filepath.Join(home.Path, filepath.FromSlash(recordPath(kmskey.ARN{Scope: east, KeyID: "00000000-0000-4000-8000-000000000000"})))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(home.Path, filepath.FromSlash(recordPath(kmskey.ARN{Scope: east, KeyID: "00000000-0000-4000-8000-000000000001"})))); err != nil {
		t.Fatal(err)
	}
	_, err = s.Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.NotFound, fmt.Sprintf(" and %d more", maxLooked-maxListed))
}

// TestAllBlocks: every block is listed once, those that cannot be read as errors, and an export ends with the error: a block
// that it left out would be none in the store that it makes.
func TestAllBlocks(t *testing.T) {
	fingerprints := []string{strings.Repeat("0", 64), strings.Repeat("1", 64)}
	arns := []kmskey.ARN{arnA, {Scope: other, KeyID: uuidA}, {Scope: west, KeyID: uuidA}}
	made := func(t *testing.T) (Home, *Store) {
		home := newHome(t)
		w := openWriterT(t, home)
		for _, fp := range fingerprints {
			if _, err := w.Block(Block{PublicKeySHA256: fp}); err != nil {
				t.Fatal(explain(err))
			}
		}
		for _, arn := range arns {
			if _, err := w.Block(Block{KeyID: arn.String()}); err != nil {
				t.Fatal(explain(err))
			}
		}
		return home, w.Store()
	}
	// The names of what is listed, "!" and the path of what cannot be read.
	list := func(s *Store, most int) (names []string) {
		for b, err := range s.AllBlocks() {
			switch {
			case err != nil && !kmserr.Is(err, kmserr.StoreIntegrity):
				t.Errorf("%v is no StoreIntegrityException", err)
			case err != nil:
				rel, _ := filepath.Rel(s.Home().Path, b.Path)
				names = append(names, "!"+filepath.ToSlash(rel))
			default:
				names = append(names, b.KeyID+b.PublicKeySHA256)
			}
			if len(names) == most {
				break
			}
		}
		return names
	}
	all := []string{fingerprints[0], fingerprints[1], arns[0].String(), arns[1].String(), arns[2].String()}
	home, s := made(t)
	data, err := os.ReadFile(filepath.Join(home.Path, filepath.FromSlash(blockPathOfKey(fingerprints[0]))))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, home, strings.TrimSuffix(blockPathOfKey(fingerprints[0]), suffix), string(data)) // no block: it has no suffix
	for most := 1; most <= len(all)+1; most++ {
		if got := list(s, most); !slices.Equal(got, all[:min(most, len(all))]) {
			t.Errorf("the first %d: got %q", most, got)
		}
	}
	for rel, want := range map[string][]string{
		blocksFolder:                          {"!" + blocksFolder},
		blockedARNs:                           {all[0], all[1], "!" + blockedARNs},
		blockedARNs + "/aws/us-east-1":        {all[0], all[1], "!" + blockedARNs, all[4]},
		scopePath(blockedARNs, other):         {all[0], all[1], all[2], "!" + blockedARNs, all[4]},
		blockPathOfKey(fingerprints[0]):       {"!" + blockPathOfKey(fingerprints[0]), all[1], all[2], all[3], all[4]},
		blockPathOfKey(fingerprints[1]):       {all[0], "!" + blockPathOfKey(fingerprints[1]), all[2], all[3], all[4]},
		blockPathOfARN(arns[1]):               {all[0], all[1], all[2], "!" + blockPathOfARN(arns[1]), all[4]},
		scopePath(blockedARNs, arns[2].Scope): {all[0], all[1], all[2], all[3], "!" + blockedARNs},
	} {
		home, s := made(t)
		inPlaceOf(t, home, rel)
		for most := 1; most <= len(want)+1; most++ {
			if got := list(s, most); !slices.Equal(got, want[:min(most, len(want))]) {
				t.Errorf("without %s, the first %d: got %q, expected %q", rel, most, got, want)
			}
		}
		var last error
		for _, err := range s.Files(nil) {
			last = err
		}
		if !kmserr.Is(last, kmserr.StoreIntegrity) {
			t.Errorf("without %s: the export ends with %v", rel, last)
		}
	}
}

// TestBlocksThatAreLifted: a block that is lifted while the list goes on is none, and the others are listed all the same.
func TestBlocksThatAreLifted(t *testing.T) {
	w := openWriterT(t, newHome(t))
	fingerprints := []string{strings.Repeat("0", 64), strings.Repeat("1", 64), strings.Repeat("2", 64)}
	arns := []kmskey.ARN{arnA, {Scope: other, KeyID: uuidA}, {Scope: west, KeyID: uuidA}}
	for i, fp := range fingerprints {
		if _, err := w.Block(Block{PublicKeySHA256: fp}); err != nil {
			t.Fatal(explain(err))
		}
		if _, err := w.Block(Block{KeyID: arns[i].String()}); err != nil {
			t.Fatal(explain(err))
		}
	}
	var got []string
	for b, err := range w.Store().AllBlocks() {
		if err != nil {
			t.Fatal(explain(err))
		}
		got = append(got, b.KeyID+b.PublicKeySHA256)
		for _, rel := range []string{blockPathOfKey(fingerprints[1]), blockPathOfARN(arns[1])} {
			if err := os.RemoveAll(filepath.Join(w.Store().Home().Path, filepath.FromSlash(rel))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{fingerprints[0], fingerprints[2], arns[0].String(), arns[2].String()}; !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
}

// TestAliasesThatCannotBeRead: they are listed as errors that name the file, and the others are listed all the same.
func TestAliasesThatCannotBeRead(t *testing.T) {
	made := func(t *testing.T) (Home, *Store) {
		home := newHome(t)
		w := openWriterT(t, home)
		for _, scope := range []kmskey.Scope{east, other, west} {
			put(t, w, record(t, kmskey.ARN{Scope: scope, KeyID: uuidA}, material(t), nil), PutOptions{Aliases: []string{"alias/a", longAlias}})
		}
		return home, w.Store()
	}
	list := func(s *Store, most int) (names []string) {
		for a, err := range s.Aliases(kmskey.Scope{}) {
			switch {
			case err != nil && !kmserr.Is(err, kmserr.StoreIntegrity):
				t.Errorf("%v is no StoreIntegrityException", err)
			case err != nil && a.Path == "":
				names = append(names, "!")
			case err != nil:
				rel, _ := filepath.Rel(s.Home().Path, a.Path)
				names = append(names, "!"+filepath.ToSlash(rel)+" "+strings.TrimPrefix(kmserr.As(err).Fact, a.Path+" "))
			default:
				names = append(names, a.ARN.String())
			}
			if len(names) == most {
				break
			}
		}
		return names
	}
	var all []string
	for _, scope := range []kmskey.Scope{east, other, west} {
		all = append(all, kmskey.AliasARN{Scope: scope, Alias: longAlias}.String(), kmskey.AliasARN{Scope: scope, Alias: "alias/a"}.String())
	}
	long := aliasPath(kmskey.AliasARN{Scope: other, Alias: longAlias})
	for name, c := range map[string]struct {
		harm func(Home)
		want []string
	}{
		"none": {func(Home) {}, all},
		"a stray file beside an alias": {func(home Home) {
			writeFile(t, home, scopePath(aliasesFolder, east)+"/a", "")
		}, all},
		"no folder": {func(home Home) { inPlaceOf(t, home, aliasesFolder) }, []string{"!"}},
		"no folder of an account": {func(home Home) { inPlaceOf(t, home, scopePath(aliasesFolder, other)) },
			[]string{all[0], all[1], "!" + scopePath(aliasesFolder, other) + " is a file, expected a folder", all[4], all[5]}},
		"a folder as a file with a hash for a name": {func(home Home) {
			if err := os.Remove(filepath.Join(home.Path, filepath.FromSlash(long))); err != nil {
				t.Fatal(err)
			}
			writeFile(t, home, long+"/x", "")
		}, []string{all[0], all[1], "!" + long + " is a folder, expected an ordinary file", all[3], all[4], all[5]}},
	} {
		t.Run(name, func(t *testing.T) {
			home, s := made(t)
			c.harm(home)
			for most := 1; most <= len(c.want)+1; most++ {
				if got := list(s, most); !slices.Equal(got, c.want[:min(most, len(c.want))]) {
					t.Errorf("the first %d: got %q, expected %q", most, got, c.want)
				}
			}
		})
	}
	t.Run("a copy in another account", func(t *testing.T) {
		home, s := made(t)
		data, err := os.ReadFile(filepath.Join(home.Path, filepath.FromSlash(aliasPath(kmskey.AliasARN{Scope: east, Alias: longAlias}))))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home.Path, filepath.FromSlash(long)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		refusals := 0
		for a, err := range s.Aliases(other) {
			if err != nil {
				refusals++
				refused(t, err, kmserr.StoreIntegrity, all[0], "which belongs at")
			} else if a.ARN.String() != all[3] {
				t.Errorf("got %s", a.ARN)
			}
		}
		if refusals != 1 {
			t.Errorf("%d refusals", refusals)
		}
	})
}

// TestWhatIsWrittenIsRead: an alias or a block that is as long as a file may be is written, and read again; one that is a
// byte longer is not written.
func TestWhatIsWrittenIsRead(t *testing.T) {
	entry := AliasEntry{TargetKeyID: uuidA}
	named := func(n int) AliasEntry {
		e := entry
		e.ARN = kmskey.AliasARN{Scope: east, Alias: "alias/" + strings.Repeat("x", n)}
		return e
	}
	for { // more history, until the alias's own length makes the difference
		if _, err := encodeAlias(named(250)); err != nil {
			break
		}
		entry.History = append(entry.History, AliasHistory{KeyID: uuidB})
	}
	longest := 0
	for n := range 250 {
		data, err := encodeAlias(named(n + 1))
		if err != nil {
			refused(t, err, kmserr.Validation, "import it anew")
			continue
		}
		longest = max(longest, len(data))
		if got, err := decodeAlias(data); err != nil || len(got.History) != len(entry.History) {
			t.Fatalf("%d bytes: %d former meanings, %v", len(data), len(got.History), err)
		}
	}
	if longest != maxAliasFile {
		t.Errorf("the longest alias file is %d bytes long, expected %d", longest, maxAliasFile)
	}
	longest = 0
	for n := maxBlockFile - 200; n < maxBlockFile; n++ {
		data, err := encodeBlock(Block{KeyID: arnA.String(), Reason: strings.Repeat("x", n)})
		if err != nil {
			refused(t, err, kmserr.Validation, "shorter reason")
			continue
		}
		longest = max(longest, len(data))
		if got, err := decodeBlock(data); err != nil || len(got.Reason) != n {
			t.Fatalf("%d bytes: %v", len(data), err)
		}
	}
	if longest != maxBlockFile {
		t.Errorf("the longest block is %d bytes long, expected %d", longest, maxBlockFile)
	}
}

// TestRemembering: a store with a memory refuses a damaged record as one without does, remembers no refusal and forgets
// all before it remembers too much.
func TestRemembering(t *testing.T) {
	home := storeOf(t, record(t, arnA, material(t), nil))
	path := filepath.Join(home.Path, filepath.FromSlash(recordPath(arnA)))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := openT(t, home).Remembering()
	for range 2 {
		if err := os.WriteFile(path, bytes.Replace(good, []byte("ECC_NIST_P256"), []byte("ECC_NIST_P384"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = s.Resolve(ref(t, uuidA), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "is damaged", "ECC_NIST_P384")
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve(ref(t, uuidA), ResolveOptions{}); err != nil {
			t.Error(explain(err))
		}
	}
	for others, want := range map[int]int{maxRemembered - 1: maxRemembered, maxRemembered: 1} {
		p := &parsedKeys{keys: make(map[[sha256.Size]byte]*kmskey.Key)}
		for i := range others {
			p.keys[sha256.Sum256(fmt.Append(nil, i))] = nil
		}
		if _, err := p.parse(good); err != nil || len(p.keys) != want {
			t.Errorf("one more than %d keys: %d are remembered, expected %d (%v)", others, len(p.keys), want, err)
		}
	}
}
