package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// TestNoAnswerActsOnATerminal: an answer in JSON may be read on a terminal too. The reason of a block and the id of a line are
// somebody else's words, and must neither move the cursor nor turn the direction of writing.
func TestNoAnswerActsOnATerminal(t *testing.T) {
	const records = "../../../testdata/records/"
	const bad = "a\u009b31mb\u202ec\u200bd"
	home := filepath.Join(t.TempDir(), "home")
	for _, args := range [][]string{
		{"keys", "import", "--home", home, records + "p256.get-public-key.json", "--alias", "alias/release"},
		{"keys", "block", "--home", home, "alias/release", "--reason", bad},
	} {
		if out, code := runCLI(t, args...); code != 0 {
			t.Fatal(out)
		}
	}
	batch := filepath.Join(t.TempDir(), "batch.jsonl")
	write(t, batch, []byte(`{"id":"`+bad+`","key_id":"alias/release","message":"YQ==","signature":"YQ=="}`))
	for _, args := range [][]string{
		{"verify", "--key-id", "alias/release", "--signature", records + "p256.describe-key.json", "--output", "json", "visible_test.go"},
		{"verify", "--batch", batch},
	} {
		out, _ := runCLI(t, append(args, "--home", home)...)
		if !strings.Contains(out, `a\u009b31mb\u202ec\u200bd`) {
			t.Errorf("%q does not hold the text escaped: %s", args, out)
		}
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q has %q at byte %d", args, out[i:], i)
		}
	}
}
