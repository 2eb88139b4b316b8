package audit

import (
	"slices"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestBasis(t *testing.T) {
	d := Decision{SnapshotSource: "kms", KeyState: "Enabled"}
	if got, want := d.Basis(), "from a snapshot without a date, source kms, key state Enabled"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
	d.SnapshotTime = kmskey.Time{Time: time.Date(2026, 11, 24, 23, 0, 0, 0, time.FixedZone("", -3600))}
	if got, want := d.Basis(), "as of 2026-11-25, source kms, key state Enabled"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}

func TestOptionTexts(t *testing.T) {
	d := Decision{Options: map[string]string{"sm2-entl": "aws-java-helper", "distinguishing-id": "", "b": "x, option c=d", "a": "\x1b[2J", "id": "hex:00ff"}}
	want := []string{`a="\x1b[2J"`, `b="x, option c=d"`, `distinguishing-id=""`, "id=hex:00ff", "sm2-entl=aws-java-helper"}
	if got := d.OptionTexts(); !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
}
