// Package strictjson decodes JSON that decides trust.
//
// encoding/json lets {"mode":"enforce","MODE":"off"} decode to off and takes the last of two equal names. Here one
// object has one reading: RFC 8259 in valid UTF-8, one top-level object, no byte order mark, nothing after it, no name
// twice, no name that equals a known one but for letter case, no null unless the member allows it (in no array and no map
// either), limited size and depth.
package strictjson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is the deepest nesting of arrays and objects that is read.
const MaxDepth = 32

// Unknown says what becomes of members that the target does not know.
type Unknown int

const (
	// Refuse refuses unknown members: for files of our own.
	Refuse Unknown = iota
	// Keep keeps them where the target has a place for them (`json:",embed"` on a map[string]jsontext.Value), and never
	// reads them: for objects shaped by AWS or by a plugin's caller, which grow. A member that differs from a known one
	// in letter case only is refused all the same, and so is an unknown one where there is no place: it would be lost.
	Keep
)

// Decode decodes data, at most limit bytes, into the struct that dst points to. Errors are one clause for a sentence of
// the caller's: "is 70000 bytes long, more than 65536".
func Decode(data []byte, limit int, unknown Unknown, dst any) error {
	return decode(data, limit, unknown, dst, nil)
}

// Fault is one of several things that are wrong with a document.
type Fault struct {
	// Pointer is the JSON Pointer (RFC 6901, without its escapes) of the member that is wrong, or is not there. It is empty
	// where the document as a whole is wrong, or breaks off.
	Pointer string
	// Offset is where in the document it is: behind the name of a member, before an item of an array, or where the syntax is
	// broken.
	Offset int
	// Err is a clause, as from Decode.
	Err error
	// Again marks a member that stands twice: the first was read, this one was not.
	Again bool
}

// Faults returns what is wrong with data as Decode would read it, in the order in which a reader meets it: the first most things,
// where Decode names one. complete says that they are all, and that dst holds what remains; nothing may be decided by it. Where
// the syntax is broken nothing behind that place is told. There are none if and only if Decode takes data.
func Faults(data []byte, limit int, unknown Unknown, dst any, most int) (faults []Fault, complete bool) {
	c := collector{most: most}
	if err := decode(data, limit, unknown, dst, &c); err != nil {
		if errors.Is(err, errMost) {
			return c.faults, false
		}
		return append(c.faults, Fault{Offset: min(c.at, len(data)), Err: err}), false
	}
	return c.faults, true
}

// collector has the walker go on behind a fault, until there are most.
type collector struct {
	faults []Fault
	most   int
	at     int // the offset that the next fault is noticed at
}

// errMost ends the walk; nobody outside sees it.
var errMost = errors.New("has more faults")

// fault returns err, which ends the walk, or keeps it and goes on.
func (w walker) fault(path *pointer, err error) error {
	if w.all == nil || err == nil {
		return err
	}
	if len(w.all.faults) == w.all.most {
		return errMost
	}
	w.all.faults = append(w.all.faults, Fault{Pointer: path.String(), Offset: w.all.at, Err: err})
	return nil
}

// again is fault for a member that stands twice, whose value is then read over.
func (w walker) again(path *pointer) error {
	if err := w.fault(path, twice(path.name)); err != nil {
		return err
	}
	w.all.faults[len(w.all.faults)-1].Again = true
	return w.value(reflect.Value{}, path)
}

// here notes the offset of the faults that follow.
func (w walker) here(offset int64) {
	if w.all != nil {
		w.all.at = int(offset)
	}
}

func (w walker) noted() int64 {
	if w.all == nil {
		return 0
	}
	return int64(w.all.at)
}

func decode(data []byte, limit int, unknown Unknown, dst any, all *collector) error {
	if len(data) > limit {
		return fmt.Errorf("is %d bytes long, more than the %d allowed", len(data), limit)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("is empty, expected a JSON object")
	}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return errors.New("starts with a byte order mark, expected plain UTF-8")
	}
	if first := bytes.TrimLeft(data, " \t\r\n")[0]; first != '{' {
		return fmt.Errorf("is not a JSON object: it starts with %q", first)
	}
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errors.New("cannot be decoded into what is no pointer")
	}
	// A bytes.Buffer is read where it is, anything else copied first.
	w := walker{dec: jsontext.NewDecoder(bytes.NewBuffer(data)), data: data, unknown: unknown, all: all}
	if all != nil {
		w.dec.Reset(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	}
	if err := w.value(v.Elem(), nil); err != nil {
		return err
	}
	if rest := bytes.TrimLeft(data[w.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		w.here(int64(len(data) - len(rest)))
		return fmt.Errorf("has more data after the JSON object, at byte %d", len(data)-len(rest))
	}
	return nil
}

// walker reads every token once: syntax, UTF-8 and duplicate names are jsontext's to find; depth, null, absence and
// letter case are ours. It sets what it reads itself: a decoder that first prepares itself for a type, as those of whole
// packages do, takes longer for that than for everything else in a program that decodes each type once.
type walker struct {
	dec     *jsontext.Decoder
	data    []byte
	unknown Unknown
	// all collects what is wrong; nil ends the walk at the first fault. With it the decoder lets names stand twice, which the
	// walker then finds itself: it goes on behind them, as no decoder does.
	all *collector
}

// pointer is the JSON Pointer (RFC 6901, without its escapes) of a value; nil is that of the whole document. It is spelt out
// for an error only: a long name, spelt out for each of a million values below it, would keep a reader busy for minutes.
type pointer struct {
	above *pointer
	name  string // of a member; of an item of an array index
	item  bool
	index int
}

func (p *pointer) String() string {
	if p == nil {
		return ""
	}
	if p.item {
		return p.above.String() + "/" + strconv.Itoa(p.index)
	}
	return p.above.String() + "/" + p.name
}

// value reads one value, which path leads to, into dst, or over it where dst is not valid.
func (w walker) value(dst reflect.Value, path *pointer) error {
	kind := w.dec.PeekKind()
	if kind == 'n' && dst.IsValid() && dst.Type() != rawValue {
		// It would be taken for a zero value.
		if err := w.fault(path, fmt.Errorf("has null for the member %s, expected a value", path)); err != nil {
			return err
		}
		dst = reflect.Value{}
	}
	for dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	if dst.IsValid() {
		if dst.Type() == rawValue {
			raw, err := w.raw(path)
			dst.SetBytes(raw)
			return err
		}
		// Few types are looked at: each first look takes longer than reading a value.
		if self, ok := selfDecoding(dst); ok {
			begins := w.noted()
			raw, err := w.raw(path)
			if err != nil {
				return err
			}
			w.here(begins)
			if err := self.UnmarshalJSON(raw); err != nil {
				return w.fault(path, bad(path, err))
			}
			return nil
		}
	}
	switch kind {
	case '{':
		return w.object(dst, path)
	case '[':
		return w.array(dst, path)
	}
	token, err := w.dec.ReadToken()
	if err != nil {
		return w.explain(err)
	}
	if !dst.IsValid() {
		return nil
	}
	return w.fault(path, set(dst, token, path))
}

// raw reads one value and returns its bytes as they stand.
func (w walker) raw(path *pointer) ([]byte, error) {
	start := w.dec.InputOffset()
	if err := w.value(reflect.Value{}, path); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimLeft(w.data[start:w.dec.InputOffset()], " \t\r\n:,")), nil
}

// set sets a value that is no object and no array.
func set(dst reflect.Value, token jsontext.Token, path *pointer) error {
	switch kind := token.Kind(); {
	case kind == '"' && dst.Kind() == reflect.String:
		dst.SetString(token.String())
	case kind == '"' && isBytes(dst.Type()):
		text := token.String()
		if strings.ContainsAny(text, "\r\n") { // which package base64 passes over
			return bad(path, errors.New("illegal base64 data: it has line ends"))
		}
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return bad(path, err)
		}
		dst.SetBytes(data)
	case (kind == 't' || kind == 'f') && dst.Kind() == reflect.Bool:
		dst.SetBool(token.Bool())
	case kind == '0' && dst.CanInt():
		n, err := strconv.ParseInt(token.String(), 10, dst.Type().Bits())
		if err != nil {
			return bad(path, fmt.Errorf("the number %s, expected a whole one of %d bits", token, dst.Type().Bits()))
		}
		dst.SetInt(n)
	case kind == '0' && dst.CanUint():
		n, err := strconv.ParseUint(token.String(), 10, dst.Type().Bits())
		if err != nil {
			return bad(path, fmt.Errorf("the number %s, expected a whole one of %d bits, not below zero", token, dst.Type().Bits()))
		}
		dst.SetUint(n)
	default:
		return mismatch(path, kind, dst.Type())
	}
	return nil
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func bad(path *pointer, err error) error { return fmt.Errorf("has a bad value at %s: %w", path, err) }

func mismatch(path *pointer, kind jsontext.Kind, t reflect.Type) error {
	where := path.String()
	if where == "" {
		where = "the object"
	}
	return fmt.Errorf("has a bad value at %s: a JSON %s where %s is expected", where, kindName(kind), goKind(t))
}

// open reads the token that opens an object or array.
func (w walker) open() error {
	if _, err := w.dec.ReadToken(); err != nil {
		return w.explain(err)
	}
	if w.dec.StackDepth() > MaxDepth {
		return fmt.Errorf("is nested deeper than %d levels", MaxDepth)
	}
	return nil
}

func (w walker) array(dst reflect.Value, path *pointer) error {
	slice := dst.Kind() == reflect.Slice && !isBytes(dst.Type())
	if dst.IsValid() && !slice {
		if err := w.fault(path, mismatch(path, '[', dst.Type())); err != nil {
			return err
		}
	}
	if err := w.open(); err != nil {
		return err
	}
	if slice {
		dst.Set(reflect.MakeSlice(dst.Type(), 0, 0)) // an empty array is not none
	}
	at := &pointer{above: path, item: true}
	for i := 0; w.dec.PeekKind() != ']'; i++ {
		at.index = i
		if w.all != nil {
			rest := bytes.TrimLeft(w.data[w.dec.InputOffset():], " \t\r\n,")
			w.here(int64(len(w.data) - len(rest)))
		}
		item := reflect.Value{}
		if slice {
			dst.Grow(1)
			dst.SetLen(i + 1)
			item = dst.Index(i)
		}
		if err := w.value(item, at); err != nil {
			return err
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return w.explain(err)
	}
	return nil
}

func (w walker) object(dst reflect.Value, path *pointer) error {
	begins := w.noted()
	var known members
	var others reflect.Value // the map for members that a struct does not know, or the map that is decoded into
	if dst.IsValid() {
		switch {
		case dst.Kind() == reflect.Struct:
			known = membersOf(dst.Type())
			if known.grows >= 0 {
				others = dst.Field(known.grows)
			}
		case dst.Kind() == reflect.Map && dst.Type().Key().Kind() == reflect.String:
			others = dst
			dst.Set(reflect.MakeMap(dst.Type()))
		default:
			if err := w.fault(path, mismatch(path, '{', dst.Type())); err != nil {
				return err
			}
			dst = reflect.Value{}
		}
	}
	if err := w.open(); err != nil {
		return err
	}
	at := &pointer{above: path}
	var seen map[string]bool // with all
	for w.dec.PeekKind() != '}' {
		token, err := w.dec.ReadToken()
		if err != nil {
			return w.explain(err)
		}
		name := token.String()
		at.name = name
		w.here(w.dec.InputOffset())
		m := known.named(name)
		if w.all != nil {
			if seen[name] {
				if err := w.again(at); err != nil {
					return err
				}
				continue
			}
			if seen == nil {
				seen = make(map[string]bool)
			}
			seen[name] = true
		}
		if m == nil && known.list != nil {
			if m, err = w.stranger(known, others, name, at); err != nil {
				return err
			}
		}
		if err := w.member(dst, m, others, name, at); err != nil {
			return err
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return w.explain(err)
	}
	var missing []string
	for _, m := range known.list {
		if m.required && !m.seen {
			missing = append(missing, m.name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 && w.all == nil {
		above := path.String() + "/"
		return fmt.Errorf("lacks the member %s%s", above, strings.Join(missing, ", "+above))
	}
	w.here(begins)
	for _, at.name = range missing {
		if err := w.fault(at, fmt.Errorf("lacks the member %s", at)); err != nil {
			return err
		}
	}
	return nil
}

// stranger refuses a member that the struct does not know, unless it has a place for others. One that is told and not the
// end is read as the member that it must mean, if there is one: what is in it may be wrong as well.
func (w walker) stranger(known members, others reflect.Value, name string, path *pointer) (meant *member, err error) {
	for i, other := range known.list {
		if strings.EqualFold(name, other.name) {
			return &known.list[i], w.fault(path, fmt.Errorf("has the member %q, which differs from %q in letter case only", name, other.name))
		}
	}
	if w.unknown == Refuse || !others.IsValid() {
		return nil, w.fault(path, fmt.Errorf("has the unknown member %s", path))
	}
	return nil, nil
}

func twice(name string) error { return fmt.Errorf("has the member %.200q twice", name) }

// member reads the value of one member: into the struct's field, into the map, or over it.
func (w walker) member(dst reflect.Value, m *member, others reflect.Value, name string, path *pointer) error {
	if m != nil {
		m.seen = true
	}
	switch {
	case m != nil && m.nullable && w.dec.PeekKind() == 'n':
		return w.value(reflect.Value{}, path)
	case m != nil:
		return w.value(dst.Field(m.field), path)
	case others.IsValid():
		if others.IsNil() {
			others.Set(reflect.MakeMap(others.Type()))
		}
		item := reflect.New(others.Type().Elem()).Elem()
		if err := w.value(item, path); err != nil {
			return err
		}
		others.SetMapIndex(reflect.ValueOf(name).Convert(others.Type().Key()), item)
		return nil
	}
	return w.value(reflect.Value{}, path)
}

// explain turns a decoder's error into a clause without the library's prefixes.
func (w walker) explain(err error) error {
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
		w.here(syn.ByteOffset)
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return twice(syn.JSONPointer.LastToken())
		}
		return fmt.Errorf("is not valid JSON at byte %d: %w", syn.ByteOffset, syn.Err)
	}
	return fmt.Errorf("is not valid JSON: %v", strings.TrimPrefix(err.Error(), "jsontext: "))
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case '0':
		return "number"
	case 't', 'f':
		return "boolean"
	}
	return "value"
}

func goKind(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "base64 text"
		}
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint16, reflect.Uint32:
		return "a number"
	}
	return "another type"
}

// unmarshaler decodes itself.
type unmarshaler interface{ UnmarshalJSON([]byte) error }

// selfDecoding returns dst as what decodes itself, if it does. A struct whose first field has a tag names members, and is
// decoded by them.
func selfDecoding(dst reflect.Value) (unmarshaler, bool) {
	if dst.Kind() != reflect.Struct || dst.NumField() > 0 && dst.Type().Field(0).Tag != "" {
		return nil, false
	}
	self, ok := dst.Addr().Interface().(unmarshaler)
	return self, ok
}

var rawValue = reflect.TypeFor[jsontext.Value]()

// member is a member that a struct knows, and what the object that is being read has had of it.
type member struct {
	name               string
	field              int // its index in the struct
	required, nullable bool
	seen               bool
}

// members are those of a struct; a struct without any has an empty list and not none.
type members struct {
	list  []member
	grows int // the index of the field for others, -1 if there is none
}

func (m members) named(name string) *member {
	for i := range m.list {
		if m.list[i].name == name {
			return &m.list[i]
		}
	}
	return nil
}

// membersOf returns the members that a struct knows. The tag `strict:"required"` marks one that must be there,
// `strict:"nullable"` one that may be null. Structs embedded the Go way are not looked into.
func membersOf(t reflect.Type) members {
	all := members{list: make([]member, 0, t.NumField()), grows: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if options == "embed" {
			all.grows = i
			continue
		}
		if name == "" {
			name = f.Name
		}
		strict := f.Tag.Get("strict")
		all.list = append(all.list, member{name: name, field: i, required: strict == "required", nullable: strict == "nullable"})
	}
	return all
}
