package visible

import (
	"encoding/json"
	"testing"
	"unicode"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a 'b' \"c\" \\n ü 密": "a 'b' \"c\" \\n ü 密",
		"a\nb\r\t\x00":      `a\nb\r\t\x00`,
		"\x1b[31m\u009b31m": `\x1b[31m\u009b31m`,
		"\u202e\u00a0\x7f":  `\u202e\u00a0\x7f`,
		"\U000e0001\xff":    `\U000e0001` + "\ufffd",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: got %q, expected %q", text, got, want)
		}
	}
	for r := range rune(unicode.MaxRune) {
		for _, shown := range Text(string(r)) {
			if !unicode.IsPrint(shown) {
				t.Fatalf("U+%04X becomes %q", r, Text(string(r)))
			}
		}
	}
}

func TestJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":"b"}`:        `{"a":"b"}`,
		"{\n  \"ü\": 1\n}": "{\n  \"ü\": 1\n}",
		"\"\u009b31m\"":    `"\u009b31m"`,
		"\"\u202e\u007f\"": `"\u202e\u007f"`,
		"\"\U000e0001\"":   `"\udb40\udc01"`,
	} {
		if got := string(JSON([]byte(text))); got != want {
			t.Errorf("%q: got %s, expected %s", text, got, want)
		}
	}
	for r := rune(0x7f); r <= unicode.MaxRune; r++ {
		if unicode.IsPrint(r) || r >= 0xd800 && r < 0xe000 {
			continue
		}
		var again string
		if err := json.Unmarshal(JSON([]byte(`"`+string(r)+`"`)), &again); err != nil || again != string(r) {
			t.Fatalf("U+%04X becomes %q, %v", r, again, err)
		}
	}
}
