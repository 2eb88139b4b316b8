package visible

import (
	"encoding/json"
	"testing"
	"unicode"
)

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
