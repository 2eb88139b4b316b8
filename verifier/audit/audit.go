// Package audit is the durable log: what is remembered of every decision, and how it is found out later whether the log
// still says what was written.
//
// Decision is what a line tells of; Log takes it, and FileLog is the Log in a file. Every line holds its number and the
// SHA-256 of the line before, so that Verify finds a line that was changed, swapped, inserted or removed, and with a Head
// noted elsewhere also lines that are missing at the end. docs/audit.md describes the form for readers of other programs.
//
// Member names follow AWS CloudTrail's where it has one (CloudTrail User Guide, "CloudTrail record contents").
package audit

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Log takes decisions. Append returns once the line is where the log's promise says it is; an error means that it is
// not. The verifier gives its answer only after Append has returned.
//
// A log that is also a GroupLog or a TimedLog, as FileLog is both, does more; each says what is lost without.
type Log interface {
	Append(context.Context, Decision) error
	// Required reports whether an answer may be given only with its line written.
	Required() bool
}

// GroupLog is a Log that takes many lines at once, in their order. An error means that none of them counts as written. A
// batch over a Log that is none calls Append for each line, and waits for each.
type GroupLog interface {
	Log
	AppendAll(context.Context, []Decision) error
}

// TimedLog is a Log that knows when it was last written; zero for a log without a line. With a Log that is none nobody
// notices a clock that was set back to before the last decision: only the dates of the store are compared then.
type TimedLog interface {
	Log
	LastTime() (time.Time, error)
}

// Names of the questions, CloudTrail's eventName.
const (
	EventVerify             = "Verify"
	EventAuthorizeKey       = "AuthorizeKey"
	EventEncrypt            = "Encrypt"
	EventDeriveSharedSecret = "DeriveSharedSecret"
)

// FrontEnd is the program that asked.
type FrontEnd struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// File is one file that a decision rests on, as it was read.
type File struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// OptionTexts are the options as people read them, in order: name=value, the value in quotes where it is empty or holds
// what could be taken for the end of it.
func (d Decision) OptionTexts() []string {
	texts := make([]string, 0, len(d.Options))
	for _, name := range slices.Sorted(maps.Keys(d.Options)) {
		value := d.Options[name]
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` ",;`, r) }) {
			value = strconv.Quote(value)
		}
		texts = append(texts, name+"="+value)
	}
	return texts
}

// Basis says in a clause what the answer rests on, for people: of what day the knowledge is, from where, and the key state.
func (d Decision) Basis() string {
	day := "from a snapshot without a date"
	if !d.SnapshotTime.IsZero() {
		day = "as of " + d.SnapshotTime.UTC().Format(time.DateOnly)
	}
	return day + ", source " + d.SnapshotSource + ", key state " + d.KeyState
}

// Decision is one question and its answer. The zero value says "refused". Hashes are SHA-256 in lower-case hexadecimal.
type Decision struct {
	EventTime kmskey.Time `json:"eventTime"`
	EventName string      `json:"eventName"`
	FrontEnd  FrontEnd    `json:"frontEnd"`

	// Home is the folder used and how it was chosen.
	Home         string `json:"home"`
	HomeChosenBy string `json:"homeChosenBy"`

	// Asked is the identifier as the caller gave it, KeyARN what it resolved to.
	Asked   string `json:"asked"`
	KeyARN  string `json:"keyArn,omitempty"`
	KeySpec string `json:"keySpec,omitempty"`
	// PublicKeySHA256 is of the DER SubjectPublicKeyInfo.
	PublicKeySHA256 string   `json:"publicKeySha256,omitempty"`
	Fallback        bool     `json:"multiRegionFallback,omitzero"`
	FallbackARNs    []string `json:"fallbackArns,omitempty"`
	Files           []File   `json:"files,omitempty"`

	SigningAlgorithm string            `json:"signingAlgorithm,omitempty"`
	MessageType      string            `json:"messageType,omitempty"`
	InputSHA256      string            `json:"inputSha256,omitempty"` // of the input's bytes: message, digest or μ
	InputBytes       int64             `json:"inputBytes,omitzero"`
	SignatureSHA256  string            `json:"signatureSha256,omitempty"`
	Options          map[string]string `json:"options,omitempty"` // that differed from their default

	// The assurance: how good the knowledge was that the answer rests on. SnapshotTime is that of the oldest record, or of
	// the alias asked for where that is older; zero if one of them has no date. SnapshotSource and KeyState are of all
	// records that answer, joined by ", " where they differ; "unknown" is one of a record that does not say.
	SnapshotSource string      `json:"snapshotSource,omitempty"`
	SnapshotTime   kmskey.Time `json:"snapshotTime,omitzero"`
	StateTime      kmskey.Time `json:"stateTime,omitzero"`
	KeyState       string      `json:"keyState,omitempty"`
	PolicyRules    []string    `json:"policyRules,omitempty"`
	Warnings       []string    `json:"warnings,omitempty"`

	// StateError is why state or age refuse a key whose identity alone was asked for and is Verified: the caller was told
	// both (verifier.KeyRequest, SeparateState).
	StateError string `json:"stateError,omitempty"`

	Verified     bool   `json:"verified"`
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
}
