package audit

import (
	"slices"
	"testing"
)

func TestOptionTexts(t *testing.T) {
	d := Decision{Options: map[string]string{"sm2-entl": "aws-java-helper", "distinguishing-id": "", "b": "x, option c=d", "a": "\x1b[2J", "id": "hex:00ff"}}
	want := []string{`a="\x1b[2J"`, `b="x, option c=d"`, `distinguishing-id=""`, "id=hex:00ff", "sm2-entl=aws-java-helper"}
	if got := d.OptionTexts(); !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
}
