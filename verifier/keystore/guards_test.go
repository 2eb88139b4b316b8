package keystore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// inPlaceOf puts a plain file where the store has a folder: nothing of that folder can be read any more.
func inPlaceOf(t *testing.T, home Home, rel string) {
	t.Helper()
	path := filepath.Join(home.Path, filepath.FromSlash(rel))
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNoFolderIsNotAbsent: where it cannot be told whether there is something, the answer is an error, never "nothing there".
func TestNoFolderIsNotAbsent(t *testing.T) {
	der := material(t)
	key := record(t, arnA, der, nil)
	bare := kmskey.Ref{Alias: "alias/release"}
	for name, c := range map[string]struct {
		rel string
		ask func(s *Store) error
	}{
		"the index, for blocks":   {indexPath(key.Fingerprint()), func(s *Store) error { _, err := s.Blocks([]kmskey.ARN{arnA}, key.Fingerprint()); return err }},
		"the index, for a hint":   {indexPath(key.Fingerprint()), func(s *Store) error { _, err := s.ARNsByFingerprint(key.Fingerprint()); return err }},
		"blocks of other Regions": {blockedARNs + "/aws", func(s *Store) error { _, err := s.Blocks([]kmskey.ARN{mrkEast}, ""); return err }},
		"aliases of an account":   {scopePath(aliasesFolder, other), func(s *Store) error { _, err := s.Resolve(bare, ResolveOptions{}); return err }},
		"aliases of a Region":     {aliasesFolder + "/aws/" + west.Region, func(s *Store) error { _, err := s.Resolve(bare, ResolveOptions{}); return err }},
		"aliases of a partition":  {aliasesFolder + "/" + china.Partition, func(s *Store) error { _, err := s.Resolve(bare, ResolveOptions{}); return err }},
		"keys of a Region":        {keysFolder + "/aws/" + west.Region, func(s *Store) error { _, err := s.Resolve(kmskey.Ref{KeyID: uuidA}, ResolveOptions{}); return err }},
		"aliases":                 {aliasesFolder, func(s *Store) error { _, err := s.Resolve(bare, ResolveOptions{}); return err }},
		"keys of an account":      {scopePath(keysFolder, other), func(s *Store) error { _, err := s.Resolve(kmskey.Ref{KeyID: uuidA}, ResolveOptions{}); return err }},
		"records of other Regions": {keysFolder + "/aws", func(s *Store) error {
			_, err := s.Resolve(kmskey.Ref{Scope: mrkEast.Scope, KeyID: mrkA}, ResolveOptions{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			home := newHome(t)
			w := openWriterT(t, home)
			put(t, w, key, PutOptions{Aliases: []string{"alias/release"}})
			s := w.Store()
			if err := c.ask(s); err != nil && !kmserr.Is(err, kmserr.NotFound) {
				t.Fatalf("without harm: %v", err)
			}
			inPlaceOf(t, home, c.rel)
			if err := c.ask(s); err == nil || kmserr.ExitCode(err) != kmserr.ExitOurSide {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestDamageBehindAnAlias: an alias whose key's record is damaged is no alias of nothing.
func TestDamageBehindAnAlias(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/release"}})
	path := filepath.Join(home.Path, filepath.FromSlash(recordPath(arnA)))
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []kmskey.Ref{{Alias: "alias/release"}, {Scope: east, Alias: "alias/release"}, {KeyID: uuidA}} {
		r, err := w.Store().Resolve(ref, ResolveOptions{})
		if r != nil || !kmserr.Is(err, kmserr.StoreIntegrity) {
			t.Errorf("%s: %v, %v", ref, r, err)
		}
	}
	// What names both, or neither, names nothing.
	for _, ref := range []kmskey.Ref{{KeyID: uuidA, Alias: "alias/release"}, {}, {Scope: east}} {
		if r, err := w.Store().Resolve(ref, ResolveOptions{}); r != nil || !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%+v: %v, %v", ref, r, err)
		}
	}
	s := openT(t, home)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Resolve(kmskey.Ref{KeyID: uuidA}, ResolveOptions{}); r != nil || !kmserr.Is(err, kmserr.StoreAccess) {
		t.Errorf("closed: %v, %v", r, err)
	}
}

// TestIndexNames: in the by-key index a file manager's files are passed over, and more names than there can be are no index.
func TestIndexNames(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	key := record(t, arnA, material(t), nil)
	put(t, w, key, PutOptions{})
	folder := filepath.Join(home.Path, filepath.FromSlash(indexPath(key.Fingerprint())))
	touch := func(name string) {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	touch(".DS_Store")
	if arns, err := w.Store().ARNsByFingerprint(key.Fingerprint()); err != nil || !slices.Equal(arns, []kmskey.ARN{arnA}) {
		t.Errorf("%v, %v", arns, err)
	}
	touch("stray")
	if arns, err := w.Store().ARNsByFingerprint(key.Fingerprint()); arns != nil || !kmserr.Is(err, kmserr.StoreIntegrity) {
		t.Errorf("%v, %v", arns, err)
	}
	if err := os.Remove(filepath.Join(folder, "stray")); err != nil {
		t.Fatal(err)
	}
	for i := range 4096 {
		touch(markerName(kmskey.ARN{Scope: east, KeyID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)}))
	}
	if arns, err := w.Store().ARNsByFingerprint(key.Fingerprint()); arns != nil || !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), "more than 4096") {
		t.Errorf("%d names, %v", len(arns), err)
	}
}

// TestNamesOfFiles: what a name of the store's files may be, byte by byte.
func TestNamesOfFiles(t *testing.T) {
	for _, name := range []string{"aws.US-EAST-1.111122223333." + uuidA, "aws.us-east-1.11112222333." + uuidA, "AWS.us-east-1.111122223333." + uuidA,
		"aws.us-east-1.111122223333.x", "aws.us-east-1.111122223333.alias/a", "aws.us-east-1.111122223333.", "aws.us-east-1.111122223333"} {
		if arn, ok := parseMarker(name); ok {
			t.Errorf("%q is %v", name, arn)
		}
	}
	good := strings.Repeat("0123456789abcdef", 4)
	for name, want := range map[string]bool{good: true, good[1:]: false, good + "0": false, "": false, "ab": false, strings.ToUpper(good): false, "g" + good[1:]: false, "/" + good[1:]: false} {
		if isFingerprint(name) != want {
			t.Errorf("%q is a fingerprint: %t", name, !want)
		}
	}
	for c := range 256 {
		name := "x_" + string([]byte{byte(c)})
		alias, ok := unescapeAlias(name)
		want, is := "", false
		switch {
		case c >= 'a' && c <= 'z':
			want, is = "alias/x"+string(rune(c-'a'+'A')), true
		case c == '_':
			want, is = "alias/x_", true
		}
		if alias != want || ok != is {
			t.Errorf("%q is %q, %t", name, alias, ok)
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		if got, want := escapeAlias("alias/"+string(c)), "_"+strings.ToLower(string(c)); got != want {
			t.Errorf("%c is %q, expected %q", c, got, want)
		}
	}
}

// TestAliasElsewhere: an alias file that was copied to another account does not speak for it.
func TestAliasElsewhere(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/release"}})
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
	data, err := os.ReadFile(filepath.Join(home.Path, filepath.FromSlash(aliasPath(alias))))
	if err != nil {
		t.Fatal(err)
	}
	alias.Scope = other
	path := filepath.Join(home.Path, filepath.FromSlash(aliasPath(alias)))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	found := 0
	for entry, err := range w.Store().Aliases(other) {
		found++
		if !kmserr.Is(err, kmserr.StoreIntegrity) || entry.TargetKeyID != "" {
			t.Errorf("%+v, %v", entry, err)
		}
	}
	if found != 1 {
		t.Errorf("%d aliases", found)
	}
	if r, err := w.Store().Resolve(kmskey.Ref{Scope: other, Alias: "alias/release"}, ResolveOptions{}); r != nil || !kmserr.Is(err, kmserr.StoreIntegrity) {
		t.Errorf("%v, %v", r, err)
	}
}
