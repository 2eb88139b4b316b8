package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/visible"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	// MaxLine is the greatest length of a line in bytes, its line feed included. Texts that would make it longer are
	// shortened, and the line says so.
	MaxLine = 64 << 10
	// EventVersion is the version of the line's form. A member that is added raises the number after the dot.
	EventVersion = "1.0"
	// EventSource says whose log it is, where logs of many programs are collected.
	EventSource = "awskms-offline"
)

// Line is one line of the log: where it stands in the chain, who asked, and the decision.
type Line struct {
	EventVersion string `json:"eventVersion"`
	// Sequence is the line's number in the chain, from 1, over all of the log's files.
	Sequence int64 `json:"sequence"`
	// Previous is the SHA-256 of the line before, without its line feed, in lower-case hexadecimal; 64 zeros in line 1.
	Previous string `json:"previous"`
	// EventID is a random UUID (RFC 9562, version 4).
	EventID     string `json:"eventID"`
	EventSource string `json:"eventSource"`

	UserIdentity  UserIdentity `json:"userIdentity"`
	HostName      string       `json:"hostName,omitempty"`
	Process       Process      `json:"process"`
	ParentProcess Process      `json:"parentProcess"`

	// Recovered is what was found after the last whole line, and kept aside, before this line was written.
	Recovered *Recovered `json:"recovered,omitempty"`
	// Shortened says that texts or lists of this line were too long for it.
	Shortened bool `json:"shortened,omitzero"`

	Decision
}

// UserIdentity is the operating system's user, as the process runs: the numeric user ID, on Windows the SID.
type UserIdentity struct {
	PrincipalID string `json:"principalId,omitempty"`
	UserName    string `json:"userName,omitempty"`
}

// Process is a process by its ID and, where the system tells it cheaply, the path or name of its program.
type Process struct {
	ID   int    `json:"id"`
	Name string `json:"name,omitempty"`
}

// Recovered names the file that an incomplete end of the log was kept aside in.
type Recovered struct {
	// File is the file's name, in the log's folder.
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// newLine returns the line of a decision, its place in the chain still open.
func newLine(d Decision) Line {
	who := caller()
	if year := d.EventTime.UTC().Year(); d.EventTime.IsZero() {
		d.EventTime = kmskey.Time{Time: time.Now().UTC()}
	} else if year < 1970 || year > 9999 {
		// No reader takes such a year; that the clock was wrong stays plain.
		d.EventTime = kmskey.Time{Time: time.Unix(0, 0).UTC()}
	}
	return Line{
		EventVersion: EventVersion, EventID: newUUID(), EventSource: EventSource,
		UserIdentity: who.user, HostName: who.host, Process: who.process, ParentProcess: who.parent,
		Decision: d,
	}
}

func newUUID() string {
	var b [16]byte
	// Nobody has to be kept from guessing it. The runtime's own generator is seeded by the system when the program starts;
	// crypto/rand would set up another one for these 16 bytes, which takes a fortieth of a plugin's run.
	binary.LittleEndian.PutUint64(b[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(b[8:], rand.Uint64())
	b[6] = b[6]&0x0f | 0x40 // version 4
	b[8] = b[8]&0x3f | 0x80 // the variant of RFC 9562
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// follow gives the line its place behind h.
func (l *Line) follow(h Head) { l.Sequence, l.Previous = h.Sequence+1, h.previous() }

// sizes are tried in turn where a line is too long: the bytes left of a text, the items of a list. The last make the
// longest line possible fit.
var sizes = []struct{ text, items int }{{4096, 64}, {1024, 32}, {256, 16}, {64, 4}, {16, 1}}

// appendTo appends the line's bytes to b, with the line feed, at most MaxLine.
func (l *Line) appendTo(b []byte) ([]byte, error) {
	all, err := l.marshal(b)
	for _, size := range sizes {
		if err == nil && len(all)-len(b) < MaxLine {
			break
		}
		// A text that is no UTF-8 can make two names of a map the same one, which no encoder writes: shortening mends both.
		short := *l
		shorten(reflect.ValueOf(&short).Elem(), size.text, size.items)
		short.Shortened = true
		all, err = short.marshal(b)
	}
	if err != nil {
		return nil, fmt.Errorf("the line cannot be written as JSON: %w", err)
	}
	if n := len(all) - len(b); n >= MaxLine {
		return nil, fmt.Errorf("the line is %d bytes long, more than the %d allowed", n+1, MaxLine)
	}
	return append(all, '\n'), nil
}

// marshal appends the line's bytes to b, without a line feed.
func (l *Line) marshal(b []byte) ([]byte, error) {
	all, err := l.json(b)
	if err != nil {
		return nil, err
	}
	return append(all[:len(b)], visible.KeptJSON(all[len(b):])...), nil
}

// shorten shortens every text and list in v, which it may set. What lists and maps v shares with others stays as it is.
func shorten(v reflect.Value, text, items int) {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(shortText(v.String(), text))
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			shorten(field, text, items)
		}
	case v.Kind() == reflect.Slice:
		short := reflect.MakeSlice(v.Type(), min(v.Len(), items), min(v.Len(), items))
		reflect.Copy(short, v)
		for i := range short.Len() {
			shorten(short.Index(i), text, items)
		}
		v.Set(short)
	case v.Kind() == reflect.Map:
		// All maps of a line are from string to string; a fixed choice of names makes equal decisions equal lines.
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		short := reflect.MakeMap(v.Type())
		for _, name := range names[:min(len(names), items)] {
			short.SetMapIndex(reflect.ValueOf(shortText(name.String(), text)), reflect.ValueOf(shortText(v.MapIndex(name).String(), text)))
		}
		v.Set(short)
	}
}

// shortText returns the beginning of a text that is longer than limit bytes, with a mark that tells how long it was and
// its SHA-256, so that two long texts stay two.
func shortText(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… [shortened from %d bytes, SHA-256 %x]", strings.ToValidUTF8(s[:cut], "\ufffd"), len(s), sha256.Sum256([]byte(s)))
}

// decodeLine reads a line without its line feed, strictly: it must be byte for byte what marshal writes, or what an earlier
// build wrote, which escaped more. Errors are one clause for a sentence of the caller's.
func decodeLine(b []byte) (Line, place, error) {
	var l Line
	// The version first: of a later one nothing else is known.
	p, err := decodePlace(b)
	if err != nil {
		return l, p, err
	}
	if p.version != EventVersion {
		return l, p, fmt.Errorf("has the eventVersion %q, and this program reads %q", shortText(p.version, 50), EventVersion)
	}
	if err := json.Unmarshal(b, &l, json.RejectUnknownMembers(true)); err != nil {
		return Line{}, p, jsonClause(err)
	}
	if again, _ := l.marshal(nil); !bytes.Equal(again, b) && !bytes.Equal(again, visible.AsKept(b)) {
		return Line{}, p, errors.New("is not in the form that this program writes")
	}
	return l, p, nil
}

var errTooLong = errors.New("is longer than the 65536 bytes that a line may have") // MaxLine

// errNoObject is for bytes that are no JSON object, as a crash leaves them.
var errNoObject = errors.New("is no JSON object")

// place is what chains a line: read from any line that has it, whatever else a later version of the program wrote.
type place struct {
	version  string
	sequence int64
	previous [sha256.Size]byte
	time     time.Time
}

// decodePlace reads the place of a line. The error is errNoObject (perhaps wrapped) if b is no JSON object at all, and
// another one if it is an object but no line of a log.
func decodePlace(b []byte) (place, error) {
	var p place
	if len(b) >= MaxLine {
		return p, errTooLong
	}
	if len(b) == 0 || b[0] != '{' {
		return p, errNoObject
	}
	members, err := readPlace(b)
	if err != nil {
		// A member that is there twice is nobody's crash.
		if !jsontext.Value(b).IsValid(jsontext.AllowDuplicateNames(true)) {
			return p, errNoObject
		}
		return p, err
	}
	raw, err := hex.DecodeString(members.previous)
	switch {
	case members.version == "":
		return p, errors.New("has no eventVersion")
	case members.sequence < 1 || members.sequence > maxSequence:
		return p, fmt.Errorf("has the sequence %d, expected 1 or more", members.sequence)
	case err != nil || len(raw) != sha256.Size || strings.ToLower(members.previous) != members.previous:
		return p, errors.New("has no SHA-256 in lower-case hexadecimal as its member previous")
	case members.time.IsZero():
		return p, errors.New("has no eventTime")
	}
	p = place{version: members.version, sequence: members.sequence, time: members.time.Time}
	copy(p.previous[:], raw)
	return p, nil
}

// placeMembers are the members that a place is made of, as they stand.
type placeMembers struct {
	version  string
	sequence int64
	previous string
	time     kmskey.Time
}

// readPlace reads them token by token: package json's preparations for a type would take a program that looks at a single
// line longer than the line. The errors are clauses.
func readPlace(b []byte) (m placeMembers, err error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(b))
	if _, err := dec.ReadToken(); err != nil {
		return m, jsonClause(err)
	}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return m, jsonClause(err)
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return m, jsonClause(err)
		}
		switch name {
		case "eventVersion":
			m.version, err = text(value)
		case "previous":
			m.previous, err = text(value)
		case "sequence":
			m.sequence, err = strconv.ParseInt(string(value), 10, 64)
		case "eventTime":
			err = m.time.UnmarshalJSON(value)
		}
		if err != nil {
			return m, fmt.Errorf("has a bad value at /%s", name)
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return m, jsonClause(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return m, errNoObject
	}
	return m, nil
}

func text(value jsontext.Value) (string, error) {
	raw, err := jsontext.AppendUnquote(nil, value)
	return string(raw), err
}

// jsonClause turns a decoder's error into a clause.
func jsonClause(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("has a member twice")
	}
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		where := shortText(string(sem.JSONPointer), 200)
		if errors.Is(err, json.ErrUnknownName) {
			return fmt.Errorf("has the unknown member %s", where)
		}
		return fmt.Errorf("has a bad value at %s", where)
	}
	return errNoObject
}
