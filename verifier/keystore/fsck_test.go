package keystore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestFsck(t *testing.T) {
	der := material(t)
	a := record(t, arnA, der, nil)
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/Release"}
	aliasJSON := func(name, target string) string {
		return `{"Alias":"` + kmskey.AliasARN{Scope: east, Alias: name}.String() + `","TargetKeyId":"` + target + `"}`
	}
	build := func(t *testing.T) Home {
		home := newHome(t)
		w := openWriterT(t, home)
		put(t, w, a, PutOptions{Aliases: []string{alias.Alias}})
		if _, err := w.Block(Block{KeyID: arnB.String()}); err != nil {
			t.Fatal(explain(err))
		}
		w.Close()
		return home
	}
	sound(t, openT(t, build(t)))
	scope := "/aws/us-east-1/111122223333/"
	for _, c := range []struct {
		name       string
		damage     func(t *testing.T, home Home)
		holds      string
		harmless   bool
		repairable bool
	}{
		{"no problem: leftovers, others' files, hidden files", func(t *testing.T, home Home) {
			for _, rel := range []string{"tmp/write-X", "policy.json", "audit.jsonl", "audit.jsonl.lock", "audit.jsonl.0000000000000001234", "certs/a.pem", ".gitignore", "keys/.DS_Store",
				"keys" + scope + ".DS_Store", "aliases" + scope + ".DS_Store", "blocks/.DS_Store", indexPath(a.Fingerprint()) + "/.DS_Store"} {
				writeFile(t, home, rel, "x")
			}
		}, "", false, false},
		{"a stray file in the home", func(t *testing.T, home Home) { writeFile(t, home, "notes.txt", "") }, "notes.txt does not belong", true, false},
		{"a stray partition", func(t *testing.T, home Home) { writeFile(t, home, "keys/AWS/x", "") }, "keys/AWS does not belong", true, false},
		{"a stray Region", func(t *testing.T, home Home) { writeFile(t, home, "keys/aws/US/x", "") }, "keys/aws/US does not belong", true, false},
		{"a stray account", func(t *testing.T, home Home) { writeFile(t, home, "keys/aws/us-east-1/1", "") }, "us-east-1/1 does not belong", true, false},
		{"a stray record", func(t *testing.T, home Home) { writeFile(t, home, "keys"+scope+"1234.json", "") }, "1234.json does not belong", true, false},
		{"an upper-case record", func(t *testing.T, home Home) {
			writeFile(t, home, "keys"+scope+strings.ToUpper(uuidB)+".json", "")
		}, "does not belong", true, false},
		{"a stray alias", func(t *testing.T, home Home) { writeFile(t, home, "aliases"+scope+"A.json", "") }, "A.json does not belong", true, false},
		{"an alias without suffix", func(t *testing.T, home Home) { writeFile(t, home, "aliases"+scope+"a", "") }, "/a does not belong", true, false},
		{"a stray block", func(t *testing.T, home Home) { writeFile(t, home, "blocks/key.json", "") }, "key.json does not belong", true, false},
		{"a stray block by ARN", func(t *testing.T, home Home) { writeFile(t, home, "blocks/arn"+scope+"x.json", "") }, "x.json does not belong", true, false},
		{"an alias without a record", func(t *testing.T, home Home) {
			writeFile(t, home, "aliases"+scope+"b.json", aliasJSON("alias/b", uuidB))
		}, "of which there is no record", false, true},
		{"an alias under a hash that is not its own", func(t *testing.T, home Home) {
			writeFile(t, home, "aliases"+scope+"~"+strings.Repeat("0", 64)+".json", aliasJSON("alias/b", uuidA))
		}, "which belongs at", false, false},
		{"a damaged alias under a hash", func(t *testing.T, home Home) {
			writeFile(t, home, "aliases"+scope+"~"+strings.Repeat("0", 64)+".json", "{}")
		}, "Alias", false, false},
		{"no index", func(t *testing.T, home Home) {
			if err := os.RemoveAll(filepath.Join(home.Path, indexFolder)); err != nil {
				t.Fatal(err)
			}
		}, "by-key, is not there", false, true},
		{"an index entry is missing", func(t *testing.T, home Home) {
			if err := os.RemoveAll(filepath.Join(home.Path, indexPath(a.Fingerprint()))); err != nil {
				t.Fatal(err)
			}
		}, "the index lacks " + arnA.String(), false, true},
		{"no problem: an index entry of a blocked ARN, without a record", func(t *testing.T, home Home) {
			writeFile(t, home, indexPath(a.Fingerprint())+"/"+markerName(arnB), "")
		}, "", false, false},
		{"an index entry without a record", func(t *testing.T, home Home) {
			writeFile(t, home, indexPath(a.Fingerprint())+"/"+markerName(kmskey.ARN{Scope: west, KeyID: uuidB}), "")
		}, "there is no such record", true, true},
		{"an index entry for another key", func(t *testing.T, home Home) {
			writeFile(t, home, indexPath(strings.Repeat("0", 64))+"/"+markerName(arnA), "")
		}, "there is no such record", true, true},
		{"an odd file in the index", func(t *testing.T, home Home) { writeFile(t, home, "by-key/00/x", "") }, "does not belong to the index", false, false},
		{"an odd folder in the index", func(t *testing.T, home Home) { writeFile(t, home, "by-key/XY/x", "") }, "does not belong to the index", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := build(t)
			c.damage(t, home)
			s := openT(t, home)
			found := problems(s)
			if c.holds == "" {
				sound(t, s)
				return
			}
			if len(found) != 1 {
				t.Fatalf("got %+v", found)
			}
			p := found[0]
			if !strings.Contains(p.Fact, c.holds) || p.Harmless != c.harmless || p.Repairable != c.repairable || p.Remedy == "" ||
				!filepath.IsAbs(p.Path) || strings.HasSuffix(p.Fact, ".") {
				t.Errorf("got %+v", p)
			}
			if c.repairable {
				w := openWriterT(t, home)
				if _, err := w.Repair(); err != nil {
					t.Fatal(explain(err))
				}
				sound(t, s)
			}
			// What is harmless keeps nothing from being found, and nobody from stopping early.
			if c.harmless {
				if _, err := s.Resolve(ref(t, uuidA), ResolveOptions{}); err != nil {
					t.Error(explain(err))
				}
				if _, err := s.Resolve(ref(t, alias.Alias), ResolveOptions{}); err != nil {
					t.Error(explain(err))
				}
				blocksOf(t, s, a.Fingerprint(), arnA)
			}
			for range s.Fsck() {
				break
			}
		})
	}
	t.Run("no index, nothing blocked", func(t *testing.T) {
		home := storeOf(t, a)
		if err := os.RemoveAll(filepath.Join(home.Path, indexFolder)); err != nil {
			t.Fatal(err)
		}
		if found := problems(openT(t, home)); len(found) != 1 || !found[0].Harmless {
			t.Errorf("got %+v", found)
		}
	})
}
