package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateSaysNothingOfAliases: describe-key's answer is about a key's state. The aliases that its record had when it came are
// not said again by it: one that was removed since stays so, and one that was moved keeps no state out.
func TestStateSaysNothingOfAliases(t *testing.T) {
	const records = "../../../testdata/records/"
	dir := t.TempDir()
	data, err := os.ReadFile(records + "p256.get-public-key.json")
	var record map[string]any
	if err != nil || json.Unmarshal(data, &record) != nil {
		t.Fatal(err)
	}
	record["Aliases"] = []string{"alias/release"}
	record["Snapshot"] = map[string]any{"Time": "2026-11-23T11:00:00Z"}
	if data, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "record.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		since  []string
		means  string // what alias/release means in the end; "" for no key
		moving []string
	}{
		"removed":            {since: []string{"keys", "remove", "alias/release"}},
		"moved":              {since: []string{"keys", "import", records + "p384.get-public-key.json", "--alias", "alias/release", "--move-alias"}, means: "ECC_NIST_P384"},
		"moved, and another": {since: []string{"keys", "import", records + "p384.get-public-key.json", "--alias", "alias/release", "--move-alias"}, means: "ECC_NIST_P384", moving: []string{"--move-alias", "--alias", "alias/other"}},
		"neither":            {since: []string{"keys", "list"}, means: "ECC_NIST_P256"},
	} {
		t.Run(name, func(t *testing.T) {
			home := filepath.Join(dir, name)
			for _, args := range [][]string{{"keys", "import", file}, c.since, append([]string{"keys", "import", records + "p256.describe-key.json"}, c.moving...)} {
				var stdout, stderr bytes.Buffer
				if code := Main(append(args, "--home", home), strings.NewReader(""), &stdout, &stderr); code != 0 {
					t.Fatalf("%q: %s%s", args, stdout.String(), stderr.String())
				}
			}
			if out, code := runCLI(t, "keys", "show", "--home", home, "b7935bd4-23e0-4377-9361-7ea4c0edc257"); code != 0 || !strings.Contains(out, "Enabled") {
				t.Errorf("the state was not taken: %s", out)
			}
			out, code := runCLI(t, "keys", "show", "--home", home, "alias/release")
			if (code == 0) != (c.means != "") || !strings.Contains(out, c.means) {
				t.Errorf("exit code %d, %s", code, out)
			}
		})
	}
}
