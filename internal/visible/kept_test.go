package visible

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"unicode"
)

// TestHidden pins the set, as what is kept is compared with what is written by it: it may never change. Nothing in it is
// printed, and nothing that Unicode 15 calls invisible is missing.
func TestHidden(t *testing.T) {
	set := sha256.New()
	for r := range rune(unicode.MaxRune + 1) {
		if isHidden(r) {
			fmt.Fprintln(set, r)
		}
		if isHidden(r) && unicode.IsPrint(r) {
			t.Errorf("U+%04X is printed, and hidden", r)
		}
		// A later Unicode may have more, which stay as they are.
		if invisible := unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Z) && r != ' '; invisible && !isHidden(r) && unicode.Version == "15.0.0" {
			t.Errorf("U+%04X is invisible, and not hidden", r)
		}
	}
	if got, want := fmt.Sprintf("%x", set.Sum(nil)), "7ba0a74e9a283c6b280a986a3d1587675e81ce9beb84270ec7b8d594f3756cac"; got != want {
		t.Errorf("the set has the SHA-256 %s, expected %s: sound logs would be called changed", got, want)
	}
}

func TestKeptJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":"b"}`: `{"a":"b"}`, `"ü密🔑"`: `"ü密🔑"`, "\"\u009b31m\"": `"\u009b31m"`, "\"\u202e\u007f\"": `"\u202e\u007f"`,
		"\"\U000e0001\U0010fffe\"": `"\udb40\udc01\udbff\udffe"`,
		// no character yet in Unicode 15, since Unicode 15.1, and a variation selector
		"\"\u0378\U0002ebf0\U000e0100\"": "\"\u0378\U0002ebf0\U000e0100\"",
	} {
		if got := string(KeptJSON([]byte(text))); got != want {
			t.Errorf("%q: got %s, expected %s", text, got, want)
		}
		if got := string(AsKept([]byte(want))); got != want {
			t.Errorf("%s is what KeptJSON writes, and AsKept makes of it %s", want, got)
		}
	}
}

func TestAsKept(t *testing.T) {
	for text, want := range map[string]string{
		`"\ud87a\udff0\u0378"`: "\"\U0002ebf0\u0378\"", `"a\\\u0378"`: "\"a\\\\\u0378\"",
		`"\\u0378"`: `"\\u0378"`, `"\n\"\u0000\u0041\u007f\u009b\u202e\udb40\udc01"`: `"\n\"\u0000\u0041\u007f\u009b\u202e\udb40\udc01"`,
		`"\uD87A\uDFF0\u00FC"`: `"\uD87A\uDFF0\u00FC"`, `"\ud87a\uDFF0"`: `"\ud87a\uDFF0"`,
		`"\ud87a\u0378"`: "\"\\ud87a\u0378\"", `\u037`: `\u037`, `\u+378`: `\u+378`, `\u0_78`: `\u0_78`, `\ud87a`: `\ud87a`, `\`: `\`,
	} {
		if got := string(AsKept([]byte(text))); got != want {
			t.Errorf("%s: got %q, expected %q", text, got, want)
		}
	}
	// Whatever an earlier build escaped means the same, and is what is written now.
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		text := "\"a" + string(r) + "\""
		escaped := escape([]byte(text), func(rune) bool { return true })
		got := AsKept(escaped)
		var again string
		if err := json.Unmarshal(got, &again); err != nil || again != "a"+string(r) || string(got) != string(KeptJSON([]byte(text))) {
			t.Fatalf("U+%04X, written %s, becomes %s, %v", r, escaped, got, err)
		}
	}
}
