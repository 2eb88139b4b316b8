package audit

import (
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// object writes a JSON object member by member: what package json writes by the tags of the types of a line, as a test
// compares, without that package's preparations for a type. They take a program that writes a single line longer than
// everything else about it.
//
// The plugins' answers have a writer of their own, internal/wire's Object, which nests finished objects and quotes any name. A
// line is written in place, leaves out what is empty, and its bytes are what the chain is over: the two share nothing but
// commas.
type object struct {
	b   []byte
	err error
}

// name begins a member whose name is one of ours, which need no escapes.
func (o *object) name(name string) {
	o.separate()
	o.b = append(append(append(o.b, '"'), name...), `":`...)
}

func (o *object) separate() {
	if last := o.b[len(o.b)-1]; last != '{' {
		o.b = append(o.b, ',')
	}
}

func (o *object) text(name, value string) {
	o.name(name)
	o.b = appendText(o.b, value)
}

// What follows leaves empty values out.

func (o *object) some(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) number(name string, value int64) {
	if value != 0 {
		o.name(name)
		o.b = strconv.AppendInt(o.b, value, 10)
	}
}

func (o *object) flag(name string, value bool) {
	if value {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) time(name string, at kmskey.Time) {
	if !at.IsZero() {
		o.name(name)
		text, err := at.MarshalJSON()
		o.b, o.err = append(o.b, text...), errors.Join(o.err, err)
	}
}

func (o *object) texts(name string, values []string) {
	for i, value := range values {
		o.item(name, i)
		o.b = appendText(o.b, value)
	}
	o.end(len(values))
}

// item begins the item i of an array, end ends an array of n items.
func (o *object) item(name string, i int) {
	if i > 0 {
		o.b = append(o.b, ',')
		return
	}
	o.name(name)
	o.b = append(o.b, '[')
}

func (o *object) end(n int) {
	if n > 0 {
		o.b = append(o.b, ']')
	}
}

// textsByName writes a map, its names sorted.
func (o *object) textsByName(name string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	o.name(name)
	o.b = append(o.b, '{')
	written := make(map[string]bool, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		quoted := string(appendText(nil, key))
		if written[quoted] {
			o.err = errors.New("two names of a map are the same in UTF-8")
		}
		written[quoted] = true
		o.separate()
		o.b = appendText(append(append(o.b, quoted...), ':'), values[key])
	}
	o.b = append(o.b, '}')
}

// appendText appends a JSON string. What is no UTF-8 becomes U+FFFD.
func appendText(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text) // the error says that something was replaced
	return b
}

// json appends the line's object to b.
func (l *Line) json(b []byte) ([]byte, error) {
	o := &object{b: append(slices.Grow(b, 2048), '{')}
	o.text("eventVersion", l.EventVersion)
	o.name("sequence")
	o.b = strconv.AppendInt(o.b, l.Sequence, 10)
	o.text("previous", l.Previous)
	o.text("eventID", l.EventID)
	o.text("eventSource", l.EventSource)
	o.name("userIdentity")
	o.b = append(o.b, '{')
	o.some("principalId", l.UserIdentity.PrincipalID)
	o.some("userName", l.UserIdentity.UserName)
	o.b = append(o.b, '}')
	o.some("hostName", l.HostName)
	o.process("process", l.Process)
	o.process("parentProcess", l.ParentProcess)
	if r := l.Recovered; r != nil {
		o.name("recovered")
		o.b = append(o.b, '{')
		o.text("file", r.File)
		o.name("bytes")
		o.b = strconv.AppendInt(o.b, r.Bytes, 10)
		o.text("sha256", r.SHA256)
		o.b = append(o.b, '}')
	}
	o.flag("shortened", l.Shortened)
	o.decision(&l.Decision)
	return append(o.b, '}'), o.err
}

func (o *object) process(name string, p Process) {
	o.name(name)
	o.b = append(o.b, `{"id":`...)
	o.b = strconv.AppendInt(o.b, int64(p.ID), 10)
	o.some("name", p.Name)
	o.b = append(o.b, '}')
}

func (o *object) decision(d *Decision) {
	o.name("eventTime")
	at, err := d.EventTime.MarshalJSON()
	o.b, o.err = append(o.b, at...), errors.Join(o.err, err)
	o.text("eventName", d.EventName)
	o.name("frontEnd")
	o.b = append(o.b, '{')
	o.text("name", d.FrontEnd.Name)
	o.text("version", d.FrontEnd.Version)
	o.b = append(o.b, '}')
	o.text("home", d.Home)
	o.text("homeChosenBy", d.HomeChosenBy)
	o.text("asked", d.Asked)
	o.some("keyArn", d.KeyARN)
	o.some("keySpec", d.KeySpec)
	o.some("publicKeySha256", d.PublicKeySHA256)
	o.flag("multiRegionFallback", d.Fallback)
	o.texts("fallbackArns", d.FallbackARNs)
	for i, f := range d.Files {
		o.item("files", i)
		o.b = append(o.b, '{')
		o.text("path", f.Path)
		o.text("sha256", f.SHA256)
		o.b = append(o.b, '}')
	}
	o.end(len(d.Files))
	o.some("signingAlgorithm", d.SigningAlgorithm)
	o.some("messageType", d.MessageType)
	o.some("inputSha256", d.InputSHA256)
	o.number("inputBytes", d.InputBytes)
	o.some("signatureSha256", d.SignatureSHA256)
	o.textsByName("options", d.Options)
	o.some("snapshotSource", d.SnapshotSource)
	o.time("snapshotTime", d.SnapshotTime)
	o.time("stateTime", d.StateTime)
	o.some("keyState", d.KeyState)
	o.texts("policyRules", d.PolicyRules)
	o.texts("warnings", d.Warnings)
	o.some("stateError", d.StateError)
	o.name("verified")
	o.b = strconv.AppendBool(o.b, d.Verified)
	o.some("errorCode", d.ErrorCode)
	o.some("errorMessage", d.ErrorMessage)
}
