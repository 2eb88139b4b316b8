package kmskey

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// KeyState is KMS's KeyState. The zero value, StateUnknown, means that the record holds no DescribeKey answer.
type KeyState string

// The key states (AWS KMS API Reference, KeyMetadata, KeyState).
const (
	StateUnknown           KeyState = ""
	StateCreating          KeyState = "Creating"
	StateEnabled           KeyState = "Enabled"
	StateDisabled          KeyState = "Disabled"
	StatePendingDeletion   KeyState = "PendingDeletion"
	StatePendingImport     KeyState = "PendingImport"
	StatePendingReplicaDel KeyState = "PendingReplicaDeletion"
	StateUnavailable       KeyState = "Unavailable"
	StateUpdating          KeyState = "Updating"
)

// keyStates are KMS's, as far as they are known.
var keyStates = []KeyState{
	StateCreating, StateEnabled, StateDisabled, StatePendingDeletion, StatePendingImport, StatePendingReplicaDel, StateUnavailable, StateUpdating,
}

// StateNotFound is ours: KMS answered NotFoundException for a key that it had before, so the key was deleted.
const StateNotFound KeyState = "NotFound"

// Verifies reports whether KMS verifies with a key in this state.
func (s KeyState) Verifies() bool { return s == StateEnabled || s == StateUpdating }

// String returns KMS's name, or "unknown".
func (s KeyState) String() string {
	if s == StateUnknown {
		return "unknown"
	}
	return string(s)
}

// Time is a moment as AWS writes it, a number of seconds since 1970 (AWS CLI v1) or ISO 8601 (v2), and as we write it,
// RFC 3339 in UTC. The zero value is no time.
type Time struct{ time.Time }

// UnmarshalJSON reads both of AWS's forms.
func (t *Time) UnmarshalJSON(b []byte) error {
	text := string(b)
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		text = strings.TrimSuffix(quoted, `"`)
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
			if at, err := time.Parse(layout, text); err == nil {
				return t.set(at)
			}
		}
		return fmt.Errorf("%q is no time in ISO 8601 with a zone, such as 2026-11-23T11:00:00Z", text)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > 253402300799 {
		return fmt.Errorf("%s is no time: expected ISO 8601 text or seconds since 1970", text)
	}
	whole, fraction := math.Modf(seconds)
	return t.set(time.Unix(int64(whole), int64(math.Round(fraction*1000))*int64(time.Millisecond)))
}

func (t *Time) set(at time.Time) error {
	at = at.UTC()
	if at.Year() < 1970 || at.Year() > 9999 {
		return fmt.Errorf("the year %d is outside 1970 to 9999", at.Year())
	}
	t.Time = at
	return nil
}

// MarshalJSON writes RFC 3339 in UTC.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.UTC().Format(time.RFC3339Nano) + `"`), nil
}

// ParseTime reads ISO 8601 text with a zone, as AWS CLI v2 writes it, for flags: RFC 3339, and an offset without a colon such
// as +0000. Its error is a sentence about the text, and no *kmserr.Error.
func ParseTime(text string) (Time, error) {
	var t Time
	err := t.UnmarshalJSON([]byte(strconv.Quote(text)))
	return t, err
}

// ParseAge reads a whole number of at most five digits, not 0, and one unit: "30d", "720h", "15m", "90s". Go's own form would
// read "1h30", and has no days.
func ParseAge(text string) (age time.Duration, ok bool) {
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	n := len(text)
	if n < 2 || n > 6 {
		return 0, false
	}
	digits, unit := text[:n-1], units[text[n-1]]
	count, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || unit == 0 || digits[0] == '0' {
		return 0, false
	}
	return time.Duration(count) * unit, true
}

// FormatAge writes an age in days if it is a whole number of them, else in hours, minutes or seconds likewise: "30d", "36h".
// ParseAge reads all of at most five digits.
func FormatAge(age time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		letter string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if age != 0 && age%unit.length == 0 {
			return strconv.FormatInt(int64(age/unit.length), 10) + unit.letter
		}
	}
	return age.String()
}
