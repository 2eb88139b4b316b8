package policy

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/nearest"
	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// The limits of a policy file. docs/policy.schema.json repeats those that a schema can say.
const (
	// MaxFile is the largest policy file read, in bytes.
	MaxFile = 1 << 20

	maxRules       = 1000  // grants, and restrictions
	maxKeys        = 10000 // of one rule
	maxList        = 1000  // members of any other list
	maxName        = 100   // characters
	maxDescription = 1000  // characters
	maxPath        = 4096  // bytes
)

// formatVersion is the only version of the format.
const formatVersion = "1"

// document is policy.json. Members that are pointers tell "absent" from "false".
type document struct {
	// Schema is for editors, which find the JSON schema by it. It is not read.
	Schema       string            `json:"$schema,omitempty"`
	Version      string            `json:"version" strict:"required"`
	Description  string            `json:"description,omitempty"`
	AllowList    *bool             `json:"allowList,omitempty"`
	Store        *storeSection     `json:"store,omitempty"`
	Homes        []string          `json:"homes,omitempty"`
	Log          *logSection       `json:"log,omitempty"`
	Notation     *notationSection  `json:"notation,omitempty"`
	Grants       []grantSection    `json:"grants,omitempty"`
	Restrictions []restrictSection `json:"restrictions,omitempty"`
}

type storeSection struct {
	Permissions *string `json:"permissions,omitempty"`
	MultiRegion *string `json:"multiRegion,omitempty"`
}

type logSection struct {
	Path *string `json:"path,omitempty"`
	Mode *string `json:"mode,omitempty"`
	Sync *bool   `json:"sync,omitempty"`
	// RotateAt is a size such as "64MiB".
	RotateAt *string `json:"rotateAt,omitempty"`
}

type notationSection struct {
	WhenRevocationSkipped *string `json:"whenRevocationSkipped,omitempty"`
	StateFailsIdentity    *bool   `json:"stateFailsIdentity,omitempty"`
}

type grantSection struct {
	Name                    string   `json:"name" strict:"required"`
	Description             string   `json:"description,omitempty"`
	Keys                    []string `json:"keys" strict:"required"`
	Verify                  *bool    `json:"verify,omitempty"`
	KeyStates               []string `json:"keyStates,omitempty"`
	AliasHistory            *string  `json:"aliasHistory,omitempty"`
	AliasHistoryForNotation *bool    `json:"aliasHistoryForNotation,omitempty"`
	SM2ENTL                 *string  `json:"sm2Entl,omitempty"`
	DistinguishingIDs       []string `json:"distinguishingIds,omitempty"`
}

type restrictSection struct {
	Name              string   `json:"name" strict:"required"`
	Description       string   `json:"description,omitempty"`
	Keys              []string `json:"keys,omitempty"`
	SigningAlgorithms []string `json:"signingAlgorithms,omitempty"`
	MessageTypes      []string `json:"messageTypes,omitempty"`
	KeyStates         []string `json:"keyStates,omitempty"`
	RequireKnownState *bool    `json:"requireKnownState,omitempty"`
	MaxSnapshotAge    *string  `json:"maxSnapshotAge,omitempty"`
	NotBefore         *string  `json:"notBefore,omitempty"`
	NotAfter          *string  `json:"notAfter,omitempty"`
	Sources           []string `json:"sources,omitempty"`
	DistinguishingID  *string  `json:"distinguishingId,omitempty"`
}

// maxFaults is how many faults of form are told of one file; of values each is told, as they are few or the file is long.
const maxFaults = 100

// parse reads one policy file's bytes. path names it in every error and origin. All errors are PolicyInvalidException; as
// many problems as could be told apart are returned, the first in the file first.
func parse(path string, data []byte, machine bool) (*source, []*kmserr.Error) {
	var doc document
	c := checker{path: path, data: data, machine: machine}
	err := strictjson.Decode(data, MaxFile, strictjson.Refuse, &doc)
	if err == nil {
		if s := c.source(doc); len(c.problems) == 0 {
			return s, nil
		}
		return nil, c.errors()
	}
	var rest document
	faults, complete := strictjson.Faults(data, MaxFile, strictjson.Refuse, &rest, maxFaults)
	if len(faults) == 0 { // the two readings would differ: the one that decides is the first
		return nil, []*kmserr.Error{invalid(path, 0, "%v", shortened(err))}
	}
	if complete {
		c.source(rest)
		c.problems = slices.DeleteFunc(c.problems, func(p problem) bool {
			return slices.ContainsFunc(faults, func(f strictjson.Fault) bool { return !f.Again && related(f.Pointer, p.pointer) })
		})
	}
	for _, f := range faults {
		line := 1 + bytes.Count(data[:f.Offset], []byte("\n"))
		clause := shortened(f.Err)
		e := invalid(path, line, "%v", clause)
		if known := membersAt(clause.Error()); known != nil {
			e.Hint = "The members here are " + strings.Join(known, ", ") + "."
			name := f.Pointer[strings.LastIndexByte(f.Pointer, '/')+1:]
			if near := nearest.Name(name, known); near != "" && len(name) > 4 { // a short name is near to too many
				e.Hint = "Did you mean " + near + "? " + e.Hint
			}
		}
		c.problems = append(c.problems, problem{f.Pointer, line, e})
	}
	all := c.errors()
	if len(faults) >= maxFaults && !complete {
		all = append(all, invalid(path, 0, "may have more faults than the %d that are told", maxFaults))
	}
	return nil, all
}

// related reports whether one of two places is the other or within it, whatever the case of the letters: what is said of the
// one may follow from what is wrong with the other.
func related(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	return strings.EqualFold(a[:len(b)], b) && (len(a) == len(b) || a[len(b)] == '/')
}

// shortened cuts a clause that quotes too much of a file, behind every pointer that a lineMap may have.
func shortened(clause error) error {
	const most = 2 * maxPointer
	if text := clause.Error(); len(text) > most {
		return errors.New(strings.ToValidUTF8(text[:most], "") + "…")
	}
	return clause
}

const checkIt = "Correct the file; `awskms-offline policy check FILE` says what else is wrong with it."

// invalid is the one form of a complaint about a file's content: line 0 is unknown.
func invalid(path string, line int, format string, args ...any) *kmserr.Error {
	e := kmserr.New(kmserr.PolicyInvalid, format, args...).WithHint(checkIt)
	e.Fact = "the policy " + place(path, line) + " " + e.Fact
	return e
}

// lineMap holds the line, counted from 1, of every value of a document by its JSON Pointer (RFC 6901, without its escapes,
// as strictjson writes it), cut to maxPointer bytes.
type lineMap map[string]int

// The levels down to which locate looks: rules and the members of sections, which a good policy is asked for, or all.
const (
	rulesLevel = 2
	deepest    = strictjson.MaxDepth
)

// Pointers are spelt out for every value of a file that may be hostile: none is kept that is longer, and none of an item that
// is beyond every list's greatest length, so that what is kept is in proportion to the file.
const maxPointer = 200

// container is an array or object that locate is in.
type container struct {
	pointer string
	// passed says that the pointers of what is inside are not kept.
	passed bool
	array  bool
	items  int
	name   string // of the member whose value comes next; with value set
	value  bool
}

// child returns the pointer of the value that comes next, and whether it is kept.
func (c *container) child() (pointer string, kept, whole bool) {
	last := c.name
	if c.array {
		last = strconv.Itoa(c.items)
	}
	if c.passed || c.array && c.items > maxKeys {
		return "", false, false
	}
	if room := maxPointer - len(c.pointer) - 1; len(last) > room {
		return c.pointer + "/" + last[:max(room, 0)], true, false
	}
	return c.pointer + "/" + last, true, true
}

// locate finds the line of every value down to a level, counted from 0 for the document itself; of members that stand twice
// that of the first.
func locate(data []byte, level int) lineMap {
	lines := lineMap{"": 1}
	dec := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	line, counted := 1, 0
	lineAt := func(offset int64) int {
		if end := int(offset); end > counted {
			line += bytes.Count(data[counted:min(end, len(data))], []byte("\n"))
			counted = end
		}
		return line
	}
	var open []container
	for {
		token, err := dec.ReadToken()
		if err != nil { // the end: what is no JSON was refused before
			return lines
		}
		// Tokens hold no line breaks, so the end of one is on its line.
		at, kind := lineAt(dec.InputOffset()), token.Kind()
		if kind == '}' || kind == ']' {
			open = open[:len(open)-1]
			continue
		}
		pointer, kept, whole := "", true, true
		if len(open) > 0 {
			in := &open[len(open)-1]
			if !in.array && !in.value { // the name of a member; its line is the value's, as people see it
				in.name, in.value = token.String(), true
				pointer, kept, _ = in.child()
				if _, known := lines[pointer]; kept && !known && len(open) <= level {
					lines[pointer] = at
				}
				continue
			}
			pointer, kept, whole = in.child()
			in.items, in.value = in.items+1, false
		}
		if _, known := lines[pointer]; kept && !known && len(open) <= level {
			lines[pointer] = at
		}
		if kind == '{' || kind == '[' {
			if len(open) == deepest {
				return lines
			}
			open = append(open, container{pointer: pointer, passed: !kept || !whole, array: kind == '['})
		}
	}
}

// membersAt lists the known members of the object whose unknown member a clause of strictjson's names.
func membersAt(clause string) []string {
	_, pointer, ok := strings.Cut(clause, "has the unknown member ")
	if !ok {
		return nil
	}
	t := reflect.TypeFor[document]()
	parts := strings.Split(pointer, "/")
	for _, part := range parts[1 : len(parts)-1] {
		switch t.Kind() {
		case reflect.Struct:
			field, ok := fieldNamed(t, part)
			if !ok {
				return nil
			}
			t = field
		case reflect.Slice:
			t = t.Elem()
		}
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	return memberNames(t)
}

func memberNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func fieldNamed(t reflect.Type, name string) (reflect.Type, bool) {
	for i, known := range memberNames(t) {
		if known == name {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}
