// Package strictjson decodes JSON that decides trust.
//
// encoding/json lets {"mode":"enforce","MODE":"off"} decode to off and takes the last of two equal names. Here one
// object has one reading: RFC 8259 in valid UTF-8, one top-level object, no byte order mark, nothing after it, no name
// twice, no name that equals a known one but for letter case, no null unless the member allows it, limited size and depth.
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
	// Keep keeps them, if the target has a place for them (`json:",embed"` on a map[string]jsontext.Value), and never
	// reads them: for objects shaped by AWS or by a plugin's caller, which grow. A member that differs from a known one
	// in letter case only is refused all the same.
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
	if err := walk(data); err != nil {
		return err
	}
	known := reflect.TypeOf(dst)
	for known.Kind() == reflect.Pointer {
		known = known.Elem()
	}
	if err := checkNames(data, known, "", unknown); err != nil {
		return err
	}
	opts := json.JoinOptions(json.RejectUnknownMembers(unknown == Refuse), json.MatchCaseInsensitiveNames(false))
	if err := json.Unmarshal(data, dst, opts); err != nil {
		return explain(err)
	}
	return nil
}

// walk reads every token: syntax, UTF-8, duplicate names and trailing data are jsontext's to find, depth is ours.
func walk(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		_, err := dec.ReadToken()
		if err != nil {
			return explain(err)
		}
		if dec.StackDepth() > MaxDepth {
			return fmt.Errorf("is nested deeper than %d levels", MaxDepth)
		}
		if dec.StackDepth() == 0 {
			break
		}
	}
	rest := data[dec.InputOffset():]
	if len(bytes.TrimLeft(rest, " \t\r\n")) > 0 {
		return fmt.Errorf("has more data after the JSON object, at byte %d", dec.InputOffset())
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
			return fmt.Errorf("has a bad value at %s: %v", where, sem.Err)
		}
		return fmt.Errorf("has a bad value at %s: a JSON %s where %s is expected", where, kindName(sem.JSONKind), goKind(sem.GoType))
	}
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
		return fmt.Errorf("is not valid JSON at byte %d: %v", syn.ByteOffset, syn.Err)
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
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Float64:
		return "a number"
	}
	return "another type"
}

// checkNames walks the object along the struct's fields: case variants of known names, null and absent members marked
// required. `strict:"required"` marks a field that must be there, `strict:"nullable"` one that may be null.
func checkNames(data []byte, t reflect.Type, path string, unknown Unknown) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		var items []jsontext.Value
		if err := json.Unmarshal(data, &items); err != nil {
			return nil // a wrong kind is told by the decoder proper
		}
		for i, item := range items {
			if err := checkNames(item, t.Elem(), fmt.Sprintf("%s/%d", path, i), unknown); err != nil {
				return err
			}
		}
		return nil
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshalerType) || t.PkgPath() == "time" {
		return nil
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(data, &members); err != nil {
		return nil
	}
	fields := fieldsOf(t)
	for name, value := range members {
		if f, ok := fields[name]; ok {
			if value.Kind() == 'n' {
				if f.Tag.Get("strict") == "nullable" {
					continue
				}
				return fmt.Errorf("has null for the member %s/%s, expected a value", path, name)
			}
			if err := checkNames(value, f.Type, path+"/"+name, unknown); err != nil {
				return err
			}
			continue
		}
		for knownName := range fields {
			if strings.EqualFold(name, knownName) {
				return fmt.Errorf("has the member %q, which differs from %q in letter case only", name, knownName)
			}
		}
	}
	var missing []string
	for name, f := range fields {
		if _, ok := members[name]; !ok && f.Tag.Get("strict") == "required" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("lacks the member %s", strings.Join(missing, ", "))
	}
	return nil
}

var unmarshalerType = reflect.TypeFor[interface{ UnmarshalJSON([]byte) error }]()

func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := make(map[string]reflect.StructField, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || strings.Contains(f.Tag.Get("json"), ",embed") {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = f
	}
	return fields
}
