package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestNoFileIsFromKMS: a policy may demand what was pulled, or what a person stated the time of. A file that says of itself that
// it is such is an imported one all the same, and a state from a file makes a pulled record one from a file.
func TestNoFileIsFromKMS(t *testing.T) {
	const records = "../../../testdata/records/"
	dir := t.TempDir()
	claim := func(source string, state map[string]any) string {
		data, err := os.ReadFile(records + "p384.get-public-key.json")
		var record map[string]any
		if err != nil || json.Unmarshal(data, &record) != nil {
			t.Fatal(err)
		}
		record["Snapshot"] = map[string]any{"Source": source, "Time": "2026-11-23T11:00:00Z"}
		if state != nil {
			record["KeyMetadata"] = state
		}
		if data, err = json.Marshal(record); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "claim.json")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	only := func(home string) *kmskey.Key {
		t.Helper()
		store, err := keystore.Open(keystore.Home{Path: home, ChosenBy: "test"}, keystore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		for entry, err := range store.List() {
			if err != nil {
				t.Fatal(err)
			}
			return entry.Key
		}
		t.Fatal("the store is empty")
		return nil
	}
	for name, state := range map[string]map[string]any{"a state": {"KeyState": "Enabled"}, "no state": nil} {
		for _, source := range []string{kmskey.SourceKMS, kmskey.SourceOperator, kmskey.SourceFile, "", "foo"} {
			// A time stated by hand is for what has none, and makes nothing of what has one.
			for _, flags := range [][]string{nil, {"--snapshot-time", "2026-11-24T11:00:00Z"}} {
				home := filepath.Join(dir, name)
				if err := os.RemoveAll(home); err != nil {
					t.Fatal(err)
				}
				if out, code := runCLI(t, append([]string{"keys", "import", "--home", home, claim(source, state)}, flags...)...); code != 0 {
					t.Fatal(out)
				}
				want := kmskey.SourceFile
				if state != nil && flags != nil { // the state has no time
					want = kmskey.SourceOperator
				}
				if got := only(home).Snapshot(); got.Source != want || got.Time.IsZero() {
					t.Errorf("%s, %q, %q: the source is %q, as of %v", name, source, flags, got.Source, got.Time)
				}
			}
		}
	}

	pulled := filepath.Join(dir, "pulled")
	record := only(filepath.Join(dir, "no state")).Record()
	record.Snapshot.Source = kmskey.SourceKMS
	key, err := kmskey.NewKey(record)
	if err != nil {
		t.Fatal(err)
	}
	w, err := keystore.OpenWriter(keystore.Home{Path: pulled, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put(key, keystore.PutOptions{FromKMS: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out, code := runCLI(t, "keys", "import", "--home", pulled, records+"p384.describe-key.json"); code != 0 {
		t.Fatal(out)
	}
	if got := only(pulled); got.State() != kmskey.StateEnabled || got.Snapshot().Source != kmskey.SourceFile {
		t.Errorf("a state from a file, and the source is %q (key state %s)", got.Snapshot().Source, got.State())
	}
}
