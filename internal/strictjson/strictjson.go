// Package strictjson decodes JSON that decides trust.
//
// encoding/json lets {"mode":"enforce","MODE":"off"} decode to off and takes the last of two equal names. Here one
// object has one reading: RFC 8259 in valid UTF-8, one top-level object, no byte order mark, nothing after it, no name
// twice, no name that equals a known one but for letter case, no null unless the member allows it (in no array and no map
// either), limited size and depth.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
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
	w := walker{dec: jsontext.NewDecoder(bytes.NewReader(data)), unknown: unknown}
	if err := w.value(reflect.TypeOf(dst), ""); err != nil {
		return err
	}
	if rest := bytes.TrimLeft(data[w.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("has more data after the JSON object, at byte %d", len(data)-len(rest))
	}
	opts := json.JoinOptions(json.RejectUnknownMembers(unknown == Refuse), json.MatchCaseInsensitiveNames(false))
	if err := json.Unmarshal(data, dst, opts); err != nil {
		return explain(err)
	}
	return nil
}

// walker reads every token once: syntax, UTF-8 and duplicate names are jsontext's to find; depth, null, absence and
// letter case are ours.
type walker struct {
	dec     *jsontext.Decoder
	unknown Unknown
}

// value reads one value that will be decoded into a t; nil where it is kept as it is. path is its JSON Pointer.
func (w walker) value(t reflect.Type, path string) error {
	if t = indirect(t); t == rawValue {
		t = nil
	}
	switch w.dec.PeekKind() {
	case '{':
		return w.object(t, path)
	case '[':
		return w.array(t, path)
	case 'n':
		// It would be taken for a zero value.
		if t != nil {
			return fmt.Errorf("has null for the member %s, expected a value", path)
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return explain(err)
	}
	return nil
}

// open reads the token that opens an object or array.
func (w walker) open() error {
	if _, err := w.dec.ReadToken(); err != nil {
		return explain(err)
	}
	if w.dec.StackDepth() > MaxDepth {
		return fmt.Errorf("is nested deeper than %d levels", MaxDepth)
	}
	return nil
}

func (w walker) array(t reflect.Type, path string) error {
	var item reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		item = t.Elem()
	}
	if err := w.open(); err != nil {
		return err
	}
	for i := 0; w.dec.PeekKind() != ']'; i++ {
		if err := w.value(item, fmt.Sprintf("%s/%d", path, i)); err != nil {
			return err
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return explain(err)
	}
	return nil
}

func (w walker) object(t reflect.Type, path string) error {
	fields, grows := fieldsOf(t)
	if err := w.open(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for w.dec.PeekKind() != '}' {
		token, err := w.dec.ReadToken()
		if err != nil {
			return explain(err)
		}
		name := token.String()
		field, known := fields[name]
		if !known {
			for other := range fields {
				if strings.EqualFold(name, other) {
					return fmt.Errorf("has the member %q, which differs from %q in letter case only", name, other)
				}
			}
			if fields != nil && (w.unknown == Refuse || !grows) {
				return fmt.Errorf("has the unknown member %s/%s", path, name)
			}
		}
		seen[name] = true
		item := field.Type
		switch {
		case known && w.dec.PeekKind() == 'n' && field.Tag.Get("strict") == "nullable":
			item = nil
		case t != nil && t.Kind() == reflect.Map:
			item = t.Elem()
		}
		if err := w.value(item, path+"/"+name); err != nil {
			return err
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return explain(err)
	}
	var missing []string
	for name, f := range fields {
		if !seen[name] && f.Tag.Get("strict") == "required" {
			missing = append(missing, path+"/"+name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("lacks the member %s", strings.Join(missing, ", "))
	}
	return nil
}

// explain turns a decoder's error into a clause without the library's prefixes.
func explain(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		var syn *jsontext.SyntacticError
		if errors.As(err, &syn) {
			return fmt.Errorf("has the member %q twice", syn.JSONPointer.LastToken())
		}
	}
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		where := string(sem.JSONPointer)
		if where == "" {
			where = "the object"
		}
		if errors.Is(err, json.ErrUnknownName) {
			return fmt.Errorf("has the unknown member %s", where)
		}
		if sem.Err != nil {
			return fmt.Errorf("has a bad value at %s: %w", where, sem.Err)
		}
		return fmt.Errorf("has a bad value at %s: a JSON %s where %s is expected", where, kindName(sem.JSONKind), goKind(sem.GoType))
	}
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
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
	case 'n':
		return "null"
	}
	return "value"
}

func goKind(t reflect.Type) string {
	if t == nil {
		return "another type"
	}
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
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Float64:
		return "a number"
	}
	return "another type"
}

var (
	unmarshaler = reflect.TypeFor[interface{ UnmarshalJSON([]byte) error }]()
	rawValue    = reflect.TypeFor[jsontext.Value]()
)

func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// fieldsOf returns the members that a struct knows, by name, and whether it has a place for others; nil for what is no
// struct or decodes itself. The tag `strict:"required"` marks a member that must be there, `strict:"nullable"` one that
// may be null. Structs embedded the Go way are not looked into.
func fieldsOf(t reflect.Type) (fields map[string]reflect.StructField, grows bool) {
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil, false
	}
	fields = make(map[string]reflect.StructField, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if options == "embed" {
			grows = true
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = f
	}
	return fields, grows
}
