package keystore

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestResolveFourForms(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	key := record(t, arnA, material(t), nil)
	put(t, w, key, PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, "2026-01-02T03:04:05Z")})
	put(t, w, record(t, kmskey.ARN{Scope: other, KeyID: uuidB}, material(t), nil), PutOptions{})
	s := openT(t, home)
	sound(t, s)
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
	for _, asked := range []string{arnA.String(), uuidA, alias.String(), "alias/release"} {
		t.Run(asked, func(t *testing.T) {
			r, err := s.Resolve(ref(t, asked), ResolveOptions{})
			if err != nil {
				t.Fatal(explain(err))
			}
			if r.Asked != ref(t, asked) || r.Target != arnA || r.Fallback || len(r.Entries) != 1 {
				t.Fatalf("got %+v", r)
			}
			e := r.Entries[0]
			data, err := os.ReadFile(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			if e.Key.ARN() != arnA || !bytes.Equal(e.Key.PublicKeyDER(), key.PublicKeyDER()) || e.SHA256 != hexSHA256(data) {
				t.Errorf("got %+v", e)
			}
			if strings.Contains(asked, "alias/") != (r.Alias != nil) {
				t.Fatalf("alias: %+v", r.Alias)
			}
			if r.Alias != nil && (r.Alias.ARN != alias || r.Alias.TargetKeyID != uuidA || !r.Alias.Time.Equal(at(t, "2026-01-02T03:04:05Z").Time) ||
				r.Alias.Path != filepath.Join(home.Path, "aliases/aws/us-east-1/111122223333/release.json") || !isFingerprint(r.Alias.SHA256)) {
				t.Errorf("got %+v", r.Alias)
			}
		})
	}
	if len(s.Warnings()) != 0 {
		t.Errorf("warnings: %q", s.Warnings())
	}
}

func TestResolveAbsent(t *testing.T) {
	key := record(t, arnA, material(t), func(r *kmskey.Record) { r.Aliases = []string{"alias/release"} })
	s := openT(t, storeOf(t, key))
	near := strings.Replace(uuidA, "1234abcd-12", "1234abcd-13", 1)
	for _, c := range []struct {
		asked string
		holds []string
	}{
		{arnB.String(), []string{arnA.String(), "keys import"}},
		{kmskey.ARN{Scope: east, KeyID: near}.String(), []string{"Is " + arnA.String() + " meant?"}},
		{near, []string{"Is " + uuidA + " meant?", arnA.String()}},
		{kmskey.ARN{Scope: west, KeyID: uuidA}.String(), []string{"which has it as " + arnA.String()}},
		{kmskey.ARN{Scope: china, KeyID: uuidB}.String(), []string{"other accounts or Regions"}},
		{"alias/Release", []string{"Is alias/release meant?", "alias/release"}},
		{kmskey.AliasARN{Scope: west, Alias: "alias/release"}.String(), []string{"which has it as arn:aws:kms:us-east-1"}},
		{kmskey.AliasARN{Scope: east, Alias: "alias/releases"}.String(), []string{"Is arn:aws:kms:us-east-1:111122223333:alias/release meant?"}},
		{"alias/quite-another", []string{"which holds arn:aws:kms:us-east-1:111122223333:alias/release"}},
	} {
		t.Run(c.asked, func(t *testing.T) {
			r, err := s.Resolve(ref(t, c.asked), ResolveOptions{})
			if r != nil {
				t.Fatalf("got %+v", r)
			}
			refused(t, err, kmserr.NotFound, c.holds...)
			if got := kmserr.As(err).KeyARN; got != c.asked {
				t.Errorf("KeyARN is %q", got)
			}
		})
	}
	empty := openT(t, storeOf(t))
	_, err := empty.Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.NotFound, "holds no keys")
	_, err = empty.Resolve(kmskey.Ref{}, ResolveOptions{})
	refused(t, err, kmserr.Validation)
}

// The alias's file alone says what the alias means: a record that lists it, and whatever else knows of it, does not.
func TestAliasFileAloneResolves(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	put(t, w, record(t, arnA, material(t), func(r *kmskey.Record) { r.Aliases = []string{"alias/release"} }), PutOptions{AliasTime: at(t, monday)})
	s := openT(t, home)
	asked := []string{"alias/release", kmskey.AliasARN{Scope: arnA.Scope, Alias: "alias/release"}.String()}
	for _, text := range asked {
		if r, err := s.Resolve(ref(t, text), ResolveOptions{}); err != nil || r.Target != arnA {
			t.Fatalf("%s: %v, %v", text, r, err)
		}
	}
	if err := os.Remove(filepath.Join(home.Path, filepath.FromSlash(aliasPath(kmskey.AliasARN{Scope: arnA.Scope, Alias: "alias/release"})))); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, openT(t, home)} {
		for _, text := range asked {
			r, err := s.Resolve(ref(t, text), ResolveOptions{})
			if r != nil {
				t.Errorf("%s: %+v", text, r)
			}
			refused(t, err, kmserr.NotFound)
		}
		if r, err := s.Resolve(ref(t, arnA.String()), ResolveOptions{}); err != nil || r.Target != arnA {
			t.Errorf("the key itself: %v, %v", r, err)
		}
	}
}

func TestResolveAmbiguous(t *testing.T) {
	der := material(t)
	var keys []*kmskey.Key
	for _, scope := range []kmskey.Scope{east, other, china} {
		keys = append(keys, record(t, kmskey.ARN{Scope: scope, KeyID: uuidA}, der, func(r *kmskey.Record) { r.Aliases = []string{"alias/release"} }))
	}
	// A bare multi-Region key ID is ambiguous like any other: which Region's state and policy apply?
	keys = append(keys, record(t, mrkEast, der, nil), record(t, mrkWest, der, nil))
	s := openT(t, storeOf(t, keys...))
	_, err := s.Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.Ambiguous, "3 times", keys[0].ARN().String(), keys[1].ARN().String(), keys[2].ARN().String(), "full ARN")
	_, err = s.Resolve(ref(t, "alias/release"), ResolveOptions{})
	refused(t, err, kmserr.Ambiguous, "3 times", "arn:aws-cn:kms:cn-north-1:111122223333:alias/release")
	_, err = s.Resolve(ref(t, mrkA), ResolveOptions{})
	refused(t, err, kmserr.Ambiguous, "2 times")

	// No more than ten are listed, and what is left out is counted.
	home := newHome(t)
	for i := range 13 {
		arn := kmskey.ARN{Scope: kmskey.Scope{Partition: "aws", Region: "us-east-1", Account: "0000000000" + string(rune('0'+i/10)) + string(rune('0'+i%10))}, KeyID: uuidA}
		writeFile(t, home, recordPath(arn), "{}")
	}
	_, err = openT(t, home).Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.Ambiguous, "13 times", "000000000009:key/"+uuidA+" and 3 more")
}

func TestMultiRegionFallback(t *testing.T) {
	der := material(t)
	disabled := func(r *kmskey.Record) { r.KeyMetadata = &kmskey.KeyMetadata{KeyState: kmskey.StateDisabled} }
	mrkThird := kmskey.ARN{Scope: kmskey.Scope{Partition: "aws", Region: "eu-west-1", Account: east.Account}, KeyID: mrkA}
	t.Run("used", func(t *testing.T) {
		s := openT(t, storeOf(t, record(t, mrkEast, der, nil), record(t, mrkThird, der, disabled)))
		r, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		if err != nil {
			t.Fatal(explain(err))
		}
		if !r.Fallback || r.Target != mrkWest || len(r.Entries) != 2 ||
			r.Entries[0].Key.ARN() != mrkThird || r.Entries[1].Key.ARN() != mrkEast {
			t.Errorf("got %+v", r)
		}
		_, err = s.Resolve(ref(t, mrkWest.String()), ResolveOptions{ExactRegion: true})
		refused(t, err, kmserr.NotFound, "fallback", "turned off")
	})
	t.Run("its own record decides alone", func(t *testing.T) {
		s := openT(t, storeOf(t, record(t, mrkEast, der, disabled), record(t, mrkWest, material(t), nil)))
		r, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		if err != nil {
			t.Fatal(explain(err))
		}
		if r.Fallback || len(r.Entries) != 1 || r.Entries[0].Key.ARN() != mrkWest {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("disagreeing keys", func(t *testing.T) {
		s := openT(t, storeOf(t, record(t, mrkEast, der, nil), record(t, mrkThird, material(t), nil)))
		_, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "disagree", "us-east-1", "eu-west-1")
	})
	t.Run("disagreeing usages", func(t *testing.T) {
		agree := func(r *kmskey.Record) { r.KeyUsage, r.SigningAlgorithms = kmskey.KeyAgreement, nil }
		s := openT(t, storeOf(t, record(t, mrkEast, der, nil), record(t, mrkThird, der, agree)))
		_, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "disagree", "KEY_AGREEMENT")
	})
	t.Run("never across accounts or partitions, never for a UUID", func(t *testing.T) {
		s := openT(t, storeOf(t, record(t, kmskey.ARN{Scope: other, KeyID: mrkA}, der, nil),
			record(t, kmskey.ARN{Scope: china, KeyID: mrkA}, der, nil), record(t, arnA, der, nil)))
		_, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		refused(t, err, kmserr.NotFound)
		_, err = s.Resolve(ref(t, kmskey.ARN{Scope: west, KeyID: uuidA}.String()), ResolveOptions{})
		refused(t, err, kmserr.NotFound)
	})
	t.Run("never for an alias", func(t *testing.T) {
		home := storeOf(t, record(t, mrkEast, der, nil))
		alias := kmskey.AliasARN{Scope: west, Alias: "alias/release"}
		writeFile(t, home, aliasPath(alias), `{"Alias":"`+alias.String()+`","TargetKeyId":"`+mrkA+`"}`)
		s := openT(t, home)
		for _, asked := range []string{alias.String(), "alias/release"} {
			_, err := s.Resolve(ref(t, asked), ResolveOptions{})
			refused(t, err, kmserr.NotFound, mrkWest.String(), "Import that key")
		}
	})
	t.Run("a copy that somebody made of a Region's folder is none", func(t *testing.T) {
		home := storeOf(t, record(t, mrkEast, der, nil))
		data, err := os.ReadFile(filepath.Join(home.Path, filepath.FromSlash(recordPath(mrkEast))))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, home, strings.Replace(recordPath(mrkEast), "us-east-1", "us-east-1.bak", 1), string(data))
		r, err := openT(t, home).Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		if err != nil || len(r.Entries) != 1 {
			t.Errorf("got %+v, %v", r, err)
		}
	})
	t.Run("a damaged record of its own never falls back", func(t *testing.T) {
		home := storeOf(t, record(t, mrkEast, der, nil))
		writeFile(t, home, recordPath(mrkWest), "{")
		_, err := openT(t, home).Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "damaged")
	})
	t.Run("a damaged replica is no absent one", func(t *testing.T) {
		home := storeOf(t, record(t, mrkEast, der, nil))
		writeFile(t, home, recordPath(mrkThird), "{")
		_, err := openT(t, home).Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "damaged")
		if got := kmserr.As(err).KeyARN; got != mrkThird.String() {
			t.Errorf("KeyARN is %q", got)
		}
	})
}

// Everything that can lie in the place of a record and is none. None of it may be taken for "not there".
func TestDamagedRecords(t *testing.T) {
	good := record(t, arnA, material(t), nil)
	bytesOf := func(k *kmskey.Key) string {
		b, err := k.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct{ name, content, holds string }{
		{"empty", "", "empty"},
		{"no JSON", "-----BEGIN", "JSON object"},
		{"truncated", bytesOf(good)[:100], "damaged"},
		{"trailing data", bytesOf(good) + "{}", "more data"},
		{"a member twice", strings.Replace(bytesOf(good), "{", `{"KeyId":"x",`, 1), "twice"},
		{"a case variant", strings.Replace(bytesOf(good), "{", `{"keyid":"x",`, 1), "letter case"},
		{"another key's record", bytesOf(record(t, arnB, material(t), nil)), "is that of " + arnB.String()},
		{"another Region's record", bytesOf(record(t, kmskey.ARN{Scope: west, KeyID: uuidA}, material(t), nil)), "expected " + arnA.String()},
		{"an oversized record", bytesOf(good) + strings.Repeat(" ", kmskey.MaxRecord), "more than 65536 bytes"},
		{"a label that outranks the material", strings.Replace(bytesOf(good), "ECC_NIST_P256", "ECC_NIST_P384", 1), "ECC_NIST_P384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := storeOf(t)
			writeFile(t, home, recordPath(arnA), c.content)
			s := openT(t, home)
			for _, asked := range []string{arnA.String(), uuidA} {
				r, err := s.Resolve(ref(t, asked), ResolveOptions{})
				refused(t, err, kmserr.StoreIntegrity, c.holds)
				if r != nil || kmserr.As(err).KeyARN != arnA.String() {
					t.Errorf("got %+v, KeyARN %q", r, kmserr.As(err).KeyARN)
				}
			}
			n := 0
			for e, err := range s.List() {
				n++
				refused(t, err, kmserr.StoreIntegrity, c.holds)
				if e.Key != nil || e.Path == "" {
					t.Errorf("got %+v", e)
				}
			}
			if n != 1 {
				t.Errorf("listed %d entries", n)
			}
			if found := problems(s); len(found) != 1 || found[0].Harmless || found[0].Remedy == "" || !strings.Contains(found[0].Fact, c.holds) {
				t.Errorf("fsck: %+v", found)
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		home := storeOf(t)
		writeFile(t, home, recordPath(arnA)+"/x", "")
		_, err := openT(t, home).Resolve(ref(t, uuidA), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "is a folder, expected an ordinary file")
	})
	for _, rel := range []string{"keys", "keys/aws", "keys/aws/us-east-1", "keys/aws/us-east-1/111122223333"} {
		t.Run("a file as "+rel, func(t *testing.T) {
			home := storeOf(t)
			writeFile(t, home, rel, "")
			s := openT(t, home)
			for _, asked := range []string{arnA.String(), uuidA} {
				_, err := s.Resolve(ref(t, asked), ResolveOptions{})
				refused(t, err, kmserr.StoreIntegrity, "is a file, expected a folder")
			}
			if found := problems(s); len(found) != 1 {
				t.Errorf("fsck: %+v", found)
			}
		})
	}
}

func TestDamagedAliases(t *testing.T) {
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
	good := `{"Alias":"` + alias.String() + `","TargetKeyId":"` + uuidA + `"}`
	for _, c := range []struct{ name, content, holds string }{
		{"empty", "", "empty"},
		{"an unknown member", strings.Replace(good, "{", `{"Note":"x",`, 1), "unknown member"},
		{"a case variant", strings.Replace(good, "{", `{"targetkeyid":"x",`, 1), "letter case"},
		{"no target", `{"Alias":"` + alias.String() + `"}`, "TargetKeyId"},
		{"null", strings.Replace(good, `"`+uuidA+`"`, "null", 1), "null"},
		{"another alias", strings.Replace(good, "release", "debug", 1), "is that of arn:aws:kms:us-east-1:111122223333:alias/debug"},
		{"another letter case", strings.Replace(good, "release", "Release", 1), "expected " + alias.String()},
		{"another Region", strings.Replace(good, "us-east-1", "us-west-2", 1), "expected " + alias.String()},
		{"a bare alias", strings.Replace(good, alias.String(), "alias/release", 1), "expected a full alias ARN"},
		{"no identifier", strings.Replace(good, alias.String(), "alias/a b", 1), "has a bad Alias: the alias"},
		{"a key ARN as alias", strings.Replace(good, alias.String(), arnA.String(), 1), "expected a full alias ARN"},
		{"an ARN as target", strings.Replace(good, uuidA, arnA.String(), 1), "expected a bare key ID"},
		{"a path as target", strings.Replace(good, uuidA, "../../"+uuidA, 1), "expected a bare key ID"},
		{"a bad history", strings.Replace(good, "}", `,"History":[{"KeyId":"x"}]}`, 1), "History/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := storeOf(t, record(t, arnA, material(t), nil))
			writeFile(t, home, aliasPath(alias), c.content)
			s := openT(t, home)
			for _, asked := range []string{alias.String(), "alias/release"} {
				_, err := s.Resolve(ref(t, asked), ResolveOptions{})
				refused(t, err, kmserr.StoreIntegrity, c.holds)
				if got := kmserr.As(err).KeyARN; got != alias.String() {
					t.Errorf("KeyARN is %q", got)
				}
			}
			if found := problems(s); len(found) != 1 || found[0].Harmless {
				t.Errorf("fsck: %+v", found)
			}
			for e, err := range s.Aliases(east) {
				refused(t, err, kmserr.StoreIntegrity, c.holds)
				if e.TargetKeyID != "" || e.Path == "" {
					t.Errorf("got %+v", e)
				}
			}
		})
	}
}

func TestListAndAliasesAreOrdered(t *testing.T) {
	der := material(t)
	var keys []*kmskey.Key
	want := []kmskey.ARN{arnA, arnB, {Scope: other, KeyID: uuidA}, {Scope: west, KeyID: uuidA}, {Scope: china, KeyID: uuidB}}
	for _, i := range []int{3, 1, 4, 0, 2} {
		keys = append(keys, record(t, want[i], der, nil))
	}
	home := newHome(t)
	w := openWriterT(t, home)
	for _, k := range keys {
		put(t, w, k, PutOptions{Aliases: []string{"alias/b" + k.ARN().KeyID[:2], "alias/B/" + k.ARN().KeyID[:3]}})
	}
	s := openT(t, home)
	sound(t, s)
	var got []kmskey.ARN
	for e, err := range s.List() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Key.ARN())
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %s, expected %s", i, got[i], want[i])
		}
	}
	for range s.List() {
		break // must not panic
	}
	count := func(scope kmskey.Scope) (names []string) {
		for a, err := range s.Aliases(scope) {
			if err != nil {
				t.Fatal(explain(err))
			}
			names = append(names, a.ARN.String())
		}
		return names
	}
	if all := count(kmskey.Scope{}); len(all) != 10 {
		t.Errorf("got %q", all)
	}
	if in := count(east); len(in) != 4 || !strings.HasSuffix(in[0], "alias/B/123") || !strings.HasSuffix(in[3], "alias/b22") {
		t.Errorf("got %q", in)
	}
	if in := count(kmskey.Scope{Partition: "aws", Region: "eu-west-1", Account: east.Account}); len(in) != 0 {
		t.Errorf("got %q", in)
	}
	for range s.Aliases(kmskey.Scope{}) {
		break
	}
	for _, err := range s.Aliases(kmskey.Scope{Partition: "..", Region: "..", Account: ".."}) {
		refused(t, err, kmserr.Validation)
	}
}

// A path with ".." behind a link is one folder to the system and another one to who cleans it. To a store it is always the
// latter.
func TestHomeBehindALink(t *testing.T) {
	dir := newHome(t).Path
	if err := os.MkdirAll(filepath.Join(dir, "deep", "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("deep", "a"), filepath.Join(dir, "link")); err != nil {
		t.Skip(err, ": that a home behind a link is always the same folder is not tested")
	}
	twoWays := Home{Path: dir + "/link/../home", ChosenBy: "test"}
	w, err := OpenWriter(twoWays, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "deep", "home")); err == nil {
		t.Error("the folder that the system means was made")
	}
	s := openT(t, twoWays)
	defer s.Close()
	if want := filepath.Join(dir, "home"); s.Home().Path != want {
		t.Errorf("home %s, expected %s", s.Home().Path, want)
	}
	found, err := Locate(&twoWays.Path, "--home")
	if err != nil || found.Path != s.Home().Path {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestOpenRefusals(t *testing.T) {
	home := newHome(t)
	_, err := Open(home, Options{})
	refused(t, err, kmserr.StoreAccess, home.Path, "keys import")
	_, err = Open(Home{Path: "relative", ChosenBy: "--home"}, Options{})
	refused(t, err, kmserr.Validation, "--home", "absolute")
	_, err = Open(Home{ChosenBy: "--home"}, Options{})
	refused(t, err, kmserr.Validation, "--home", "empty")
	_, err = OpenWriter(Home{Path: "relative", ChosenBy: "--home"}, Options{})
	refused(t, err, kmserr.Validation, "absolute")
	file := writeFile(t, home, "file", "")
	_, err = Open(Home{Path: file, ChosenBy: "--home"}, Options{})
	refused(t, err, kmserr.StoreAccess, "is no folder")
	_, err = OpenWriter(Home{Path: filepath.Join(file, "below"), ChosenBy: "--home"}, Options{})
	refused(t, err, kmserr.StoreAccess)

	s := openT(t, home)
	if s.Home() != home {
		t.Errorf("got %+v", s.Home())
	}
	s.Close()
	_, err = s.Resolve(ref(t, arnA.String()), ResolveOptions{})
	refused(t, err, kmserr.StoreAccess, "the key store was closed")
	if info, err := os.Stat(home.Path); err != nil || s.ReadsFrom(info) {
		t.Error("a store that was closed is said to read", err)
	}
}

// A home that another folder was put in place of is removed next, so what it has not says nothing: neither that nothing is
// blocked, nor that a key is not known. The same holds for one that was taken away, and for one that is everyone's by now.
func TestLostHome(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no folder that is open: that nothing is read of a home which was replaced is not tested")
	}
	for name, c := range map[string]struct {
		lose func(t *testing.T, home, next string) error
		want kmserr.Name
		says string
	}{
		"replaced": {func(t *testing.T, home, next string) error {
			return errors.Join(os.Rename(home, home+".old"), os.Rename(next, home))
		}, kmserr.StoreAccess, "replaced by another folder"},
		"removed":          {func(t *testing.T, home, _ string) error { return os.RemoveAll(home) }, kmserr.StoreAccess, "taken away"},
		"taken away":       {func(t *testing.T, home, _ string) error { return os.Rename(home, home+".old") }, kmserr.StoreAccess, "taken away"},
		"everyone's":       {func(t *testing.T, home, _ string) error { return os.Chmod(home, 0o777) }, kmserr.StoreIntegrity, "can be written by everyone"},
		"below everyone's": {func(t *testing.T, home, _ string) error { return os.Chmod(filepath.Dir(home), 0o777) }, kmserr.StoreIntegrity, "can be written by everyone"},
		"a link that was turned": {func(t *testing.T, home, next string) error {
			return errors.Join(os.Rename(home, home+".old"), os.Symlink(next, home))
		}, kmserr.StoreAccess, "replaced by another folder"},
	} {
		t.Run(name, func(t *testing.T) {
			key := record(t, arnA, material(t), nil)
			home, next := storeOf(t, key), storeOf(t, key)
			s := openT(t, home)
			if _, err := s.Resolve(ref(t, arnA.String()), ResolveOptions{}); err != nil {
				t.Fatal(err)
			}
			if blocks, err := s.Blocks([]kmskey.ARN{arnA}, key.Fingerprint()); err != nil || len(blocks) > 0 {
				t.Fatal(blocks, err)
			}
			alias := kmskey.AliasARN{Scope: arnA.Scope, Alias: "alias/none"}
			if found, err := s.Alias(alias); err != nil || found != nil {
				t.Fatal(found, err)
			}
			lists := map[string]func() error{
				"List": func() error { return lastError(s.List()) }, "Aliases": func() error { return lastError(s.Aliases(kmskey.Scope{})) },
				"AllBlocks": func() error { return lastError(s.AllBlocks()) }, "Files": func() error { return lastError(s.Files(nil)) },
			}
			for name, list := range lists {
				if err := list(); err != nil {
					t.Fatal(name, err)
				}
			}
			w := openWriterT(t, home)
			if err := c.lose(t, home.Path, next.Path); err != nil {
				t.Fatal(err)
			}
			for _, asked := range []kmskey.ARN{arnA, arnB} {
				_, err := s.Resolve(ref(t, asked.String()), ResolveOptions{})
				refused(t, err, c.want, c.says)
			}
			_, err := s.Blocks([]kmskey.ARN{arnA}, key.Fingerprint())
			refused(t, err, c.want, c.says)
			_, err = s.Alias(alias)
			refused(t, err, c.want, c.says)
			for _, list := range lists {
				refused(t, list(), c.want, c.says)
			}
			if err := w.Close(); !kmserr.Is(err, c.want) {
				t.Errorf("a writer: %v", err)
			}
		})
	}
}

// lastError is that of the last that a list yields.
func lastError[T any](all iter.Seq2[T, error]) (last error) {
	for _, err := range all {
		last = err
	}
	return last
}
