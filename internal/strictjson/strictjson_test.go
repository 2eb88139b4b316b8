package strictjson

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// item and target have a member of every kind that this project decodes.
type item struct {
	Kind string `json:"kind" strict:"required"`
	Name string `json:"name"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type closed struct {
	Time stamp `json:"Time,omitzero"`
}

type target struct {
	Mode    string                    `json:"mode" strict:"required"`
	Count   int                       `json:"count,omitzero"`
	On      *bool                     `json:"on,omitempty"`
	Key     []byte                    `json:"Key,omitempty"`
	Names   []string                  `json:"names,omitempty" strict:"nullable"`
	Items   []item                    `json:"items,omitempty"`
	Size    uint16                    `json:"size,omitzero"`
	Ptrs    []*item                   `json:"ptrs,omitempty"`
	ByName  map[string]item           `json:"byName,omitempty"`
	Config  map[string]string         `json:"config,omitempty"`
	Raw     map[string]jsontext.Value `json:"raw,omitempty"`
	Sub     *item                     `json:"sub,omitempty"`
	Closed  closed                    `json:"closed,omitzero"`
	At      stamp                     `json:"at,omitzero"`
	Sources []string

	Unknown map[string]jsontext.Value `json:",embed"`
}

// stamp decodes itself, as kmskey.Time does.
type stamp struct{ time.Time }

func (s *stamp) UnmarshalJSON(b []byte) error {
	at, err := time.Parse(`"`+time.RFC3339+`"`, string(b))
	s.Time = at
	return err
}

const limit = 4096

func TestRefused(t *testing.T) {
	nested := func(depth int) string {
		return `{"mode":"m","x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	for name, c := range map[string]struct{ data, says string }{
		"nothing":                       {"", "is empty"},
		"only space":                    {" \r\n\t", "is empty"},
		"only exotic space":             {"\v\u0085", "is empty"},
		"byte order mark":               {"\ufeff{\"mode\":\"m\"}", "byte order mark"},
		"UTF-16":                        {"{\x00}\x00", "not valid JSON"},
		"array":                         {`[{"mode":"m"}]`, "not a JSON object"},
		"null":                          {`null`, "not a JSON object"},
		"text":                          {`"mode"`, "not a JSON object"},
		"PEM":                           {"-----BEGIN PUBLIC KEY-----", "not a JSON object"},
		"cut short":                     {`{"mode":"m"`, "not valid JSON"},
		"cut in a string":               {`{"mode":"m`, "not valid JSON"},
		"cut in an array":               {`{"mode":"m","names":["a",`, "not valid JSON"},
		"comment":                       {`{"mode":"m" /* c */}`, "not valid JSON"},
		"trailing comma":                {`{"mode":"m",}`, "not valid JSON"},
		"single quotes":                 {`{'mode':'m'}`, "not valid JSON"},
		"bare NaN":                      {`{"mode":"m","count":NaN}`, "not valid JSON"},
		"leading zero":                  {`{"mode":"m","count":01}`, "not valid JSON"},
		"control character":             {"{\"mode\":\"a\x00b\"}", "not valid JSON"},
		"bad UTF-8 in a value":          {"{\"mode\":\"\xff\"}", "not valid JSON"},
		"bad UTF-8 in a name":           {"{\"mode\":\"m\",\"\xc3\x28\":1}", "not valid JSON"},
		"overlong UTF-8":                {"{\"mode\":\"\xc0\xaf\"}", "not valid JSON"},
		"half a surrogate":              {`{"mode":"\ud800"}`, "not valid JSON"},
		"more after":                    {`{"mode":"m"} x`, "more data after"},
		"a second object":               {`{"mode":"m"}{"mode":"m"}`, "more data after"},
		"a NUL after":                   {"{\"mode\":\"m\"}\x00", "more data after"},
		"a brace after":                 {`{"mode":"m"}}`, "more data after"},
		"twice":                         {`{"mode":"a","mode":"a"}`, `"mode" twice`},
		"twice, one escaped":            {`{"mode":"enforce","\u006dode":"off"}`, `"mode" twice`},
		"twice, unknown":                {`{"mode":"a","x":1,"x":1}`, `"x" twice`},
		"twice, within what is unknown": {`{"mode":"a","x":{"y":[{"z":1,"z":2}]}}`, `"z" twice`},
		"twice, in an array's object":   {`{"mode":"a","items":[{"kind":"k","kind":"l"}]}`, `"kind" twice`},
		"twice, in a raw member":        {`{"mode":"a","raw":{"a":1,"a":2}}`, `"a" twice`},
		"case":                          {`{"mode":"enforce","MODE":"off"}`, `"MODE", which differs from "mode"`},
		"case, alone":                   {`{"Mode":"off"}`, `"Mode", which differs from "mode"`},
		"case, escaped":                 {`{"mode":"m","\u004dode":"off"}`, `"Mode", which differs from "mode"`},
		"case, KELVIN SIGN":             {"{\"mode\":\"m\",\"\u212aey\":\"AA==\"}", `differs from "Key"`},
		"case, LONG S":                  {"{\"mode\":\"m\",\"name\u017f\":[]}", `differs from "names"`},
		"case, a member without a tag":  {`{"mode":"m","sources":[]}`, `differs from "Sources"`},
		"case, in a member":             {`{"mode":"m","sub":{"kind":"k","KIND":"l"}}`, `differs from "kind"`},
		"case, in an array":             {`{"mode":"m","items":[{"kind":"k"},{"kind":"k","Name":"l"}]}`, `differs from "name"`},
		"case, in an array of pointers": {`{"mode":"m","ptrs":[{"kind":"k","Name":"l"}]}`, `differs from "name"`},
		"fraction":                      {`{"mode":"m","count":1.0}`, "whole one"},
		"exponent":                      {`{"mode":"m","count":1e3}`, "whole one"},
		"too large":                     {`{"mode":"m","count":9223372036854775808}`, "whole one"},
		"below zero":                    {`{"mode":"m","size":-1}`, "not below zero"},
		"larger than its bits":          {`{"mode":"m","size":65536}`, "16 bits"},
		"text for a number":             {`{"mode":"m","count":"1"}`, "a JSON string where a number is expected"},
		"number for text":               {`{"mode":1}`, "a JSON number where a string is expected"},
		"object for text":               {`{"mode":{}}`, "a JSON object where a string is expected"},
		"object for an array":           {`{"mode":"m","names":{}}`, "a JSON object where an array is expected"},
		"array for base64":              {`{"mode":"m","Key":[1]}`, "a JSON array where base64 text is expected"},
		"base64 with a line end":        {`{"mode":"m","Key":"AQ\nI="}`, "line ends"},
		"array for an object":           {`{"mode":"m","sub":[]}`, "a JSON array where an object is expected"},
		"boolean for a pointer to one":  {`{"mode":"m","on":"true"}`, "a JSON string where a boolean is expected"},
		"text for a map":                {`{"mode":"m","config":"a"}`, "a JSON string where an object is expected"},
		"case, in a map":                {`{"mode":"m","byName":{"a":{"kind":"k","Name":"l"}}}`, `differs from "name"`},
		"case, where nothing may grow":  {`{"mode":"m","closed":{"time":"2026-01-02T03:04:05Z"}}`, `differs from "Time"`},
		"unknown, where no place is":    {`{"mode":"m","closed":{"Tyme":1}}`, "unknown member /closed/Tyme"},
		"null member":                   {`{"mode":null}`, "null for the member /mode"},
		"null pointer":                  {`{"mode":"m","on":null}`, "null for the member /on"},
		"null key":                      {`{"mode":"m","Key":null}`, "null for the member /Key"},
		"null array":                    {`{"mode":"m","items":null}`, "null for the member /items"},
		"null struct":                   {`{"mode":"m","sub":null}`, "null for the member /sub"},
		"null in a struct":              {`{"mode":"m","sub":{"kind":null}}`, "null for the member /sub/kind"},
		"null that decodes itself":      {`{"mode":"m","at":null}`, "null for the member /at"},
		"null in an array":              {`{"mode":"m","names":["a",null]}`, "null for the member /names/1"},
		"null in an array of structs":   {`{"mode":"m","items":[null]}`, "null for the member /items/0"},
		"null in a map":                 {`{"mode":"m","config":{"home":null}}`, "null for the member /config/home"},
		"missing":                       {`{}`, "lacks the member /mode"},
		"missing within":                {`{"mode":"m","sub":{}}`, "lacks the member /sub/kind"},
		"missing in an array":           {`{"mode":"m","items":[{"kind":"k"},{}]}`, "lacks the member /items/1/kind"},
		"missing in a map":              {`{"mode":"m","byName":{"a":{}}}`, "lacks the member /byName/a/kind"},
		"text for number":               {`{"mode":"m","count":"1"}`, "a JSON string where a number is expected"},
		"fraction for number":           {`{"mode":"m","count":1.5}`, "bad value at /count"},
		"too large a number":            {`{"mode":"m","count":9223372036854775808}`, "bad value at /count"},
		"text for boolean":              {`{"mode":"m","on":"true"}`, "a JSON string where a boolean is expected"},
		"object for array":              {`{"mode":"m","items":{}}`, "a JSON object where an array is expected"},
		"array for object":              {`{"mode":"m","sub":[]}`, "a JSON array where an object is expected"},
		"array for key":                 {`{"mode":"m","Key":[1,2]}`, "a JSON array where base64 text is expected"},
		"number in an array":            {`{"mode":"m","names":["a",7]}`, "bad value at /names/1"},
		"number in a map":               {`{"mode":"m","config":{"home":7}}`, "bad value at /config/home"},
		"no base64":                     {`{"mode":"m","Key":"-_-_"}`, "bad value at /Key"},
		"base64 without padding":        {`{"mode":"m","Key":"AAAAAA"}`, "bad value at /Key"},
		"bad time":                      {`{"mode":"m","at":"yesterday"}`, "bad value at /at"},
		"too deep":                      {nested(MaxDepth + 1), "deeper than 32"},
		"far too deep":                  {nested(1500), "deeper than 32"},
		"too long":                      {`{"mode":"` + strings.Repeat("m", limit) + `"}`, "bytes long, more than the 4096 allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Decode([]byte(c.data), limit, Keep, new(target))
			if err == nil {
				t.Fatalf("accepted %s", c.data)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, expected %q in it", err, c.says)
			}
			for _, jargon := range []string{"jsontext:", "json:", "Go ", "strictjson"} {
				if strings.Contains(err.Error(), jargon) {
					t.Errorf("%q is in %q", jargon, err)
				}
			}
			checkFaults(t, []byte(c.data), err)
		})
	}
}

// checkFaults demands that Faults begins with what Decode says, and finds nothing where Decode finds nothing.
func checkFaults(t *testing.T, data []byte, err error) {
	t.Helper()
	faults, complete := Faults(data, limit, Keep, new(target), 1000)
	if (len(faults) > 0) != (err != nil) || !complete && err == nil {
		t.Fatalf("%s: Decode says %v, Faults %v, %v", data, err, faults, complete)
	}
	for _, f := range faults {
		if f.Err == nil || f.Err.Error() == "" || f.Offset < 0 || f.Offset > len(data) {
			t.Fatalf("%s: a fault is %+v", data, f)
		}
	}
	if err != nil && faults[0].Err.Error() != err.Error() {
		t.Errorf("%s: Faults begins with %q, Decode says %q", data, faults[0].Err, err)
	}
}

// TestFaults: one thing that is wrong hides no other, and each is told with its place.
func TestFaults(t *testing.T) {
	type closedItem struct {
		Kind string   `json:"kind" strict:"required"`
		Name string   `json:"name"`
		Tags []string `json:"tags"`
		At   stamp    `json:"at"`
	}
	type document struct {
		Mode  string       `json:"mode" strict:"required"`
		Other string       `json:"other" strict:"required"`
		On    *bool        `json:"on"`
		Items []closedItem `json:"items"`
	}
	text := `{
"Mode": 1,
"on": "yes",
"extra": {"a": 1,
  "a": [{"b": 1}]},
"items": [
  {"kind": "k", "name": null, "Tags": ["x", 2]},
  {"name": [],
   "at": {"deep": [1]}},
  7,
  {"kind": "k",
   "kind": {}}
]}`
	var d document
	faults, complete := Faults([]byte(text), limit, Refuse, &d, 100)
	var got []string
	for _, f := range faults {
		if f.Again != strings.HasSuffix(f.Err.Error(), " twice") {
			t.Errorf("%+v", f)
		}
		got = append(got, fmt.Sprintf("%d %s %v", 1+strings.Count(text[:f.Offset], "\n"), f.Pointer, f.Err))
	}
	want := []string{
		`2 /Mode has the member "Mode", which differs from "mode" in letter case only`,
		`2 /Mode has a bad value at /Mode: a JSON number where a string is expected`,
		`3 /on has a bad value at /on: a JSON string where a boolean is expected`,
		`4 /extra has the unknown member /extra`,
		`5 /extra/a has the member "a" twice`,
		`7 /items/0/name has null for the member /items/0/name, expected a value`,
		`7 /items/0/Tags has the member "Tags", which differs from "tags" in letter case only`,
		`7 /items/0/Tags/1 has a bad value at /items/0/Tags/1: a JSON number where a string is expected`,
		`8 /items/1/name has a bad value at /items/1/name: a JSON array where a string is expected`,
		"9 /items/1/at has a bad value at /items/1/at: parsing time \"{\\\"deep\\\": [1]}\" as \"\\\"2006-01-02T15:04:05Z07:00\\\"\": cannot parse \"{\\\"deep\\\": [1]}\" as \"\\\"\"",
		`8 /items/1/kind lacks the member /items/1/kind`,
		`10 /items/2 has a bad value at /items/2: a JSON number where an object is expected`,
		`12 /items/3/kind has the member "kind" twice`,
		`1 /other lacks the member /other`,
	}
	if !complete || !reflect.DeepEqual(got, want) {
		t.Errorf("complete: %v\ngot\n%s\nwant\n%s", complete, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(d.Items) != 4 || d.Items[0].Kind != "k" || d.On == nil {
		t.Errorf("what remains is %+v", d)
	}
	for most := 1; most <= len(want)+1; most++ {
		some, complete := Faults([]byte(text), limit, Refuse, new(document), most)
		if !reflect.DeepEqual(some, faults[:min(most, len(want))]) || complete != (most >= len(want)) {
			t.Errorf("at most %d: %+v, complete: %v", most, some, complete)
		}
	}
	// A member that stands twice may be the one too many, or hold what ends the reading.
	for second, says := range map[string]string{`"n"`: "", strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth): "nested deeper"} {
		data := []byte(`{"x":1,"mode":"m","other":"o","mode":` + second + `}`)
		if faults, complete := Faults(data, limit, Refuse, new(document), 1); len(faults) != 1 || complete {
			t.Errorf("%s: %+v, %v", data, faults, complete)
		}
		faults, complete := Faults(data, limit, Refuse, new(document), 9)
		if complete != (says == "") || !faults[1].Again || !strings.Contains(faults[len(faults)-1].Err.Error(), says) || len(faults) > 3 {
			t.Errorf("%s: %+v, %v", data, faults, complete)
		}
	}
	// Behind what is no JSON nothing can be told.
	faults, complete = Faults([]byte("{\"x\":1,\n\"mode\":2,\n\"on\" true,\"y\":1}"), limit, Refuse, new(document), 100)
	if complete || len(faults) != 3 || faults[2].Pointer != "" || faults[2].Offset != 23 || !strings.Contains(faults[2].Err.Error(), "is not valid JSON at byte 23") {
		t.Errorf("%v, %v", faults, complete)
	}
}

func TestUnknownRefused(t *testing.T) {
	type strict struct {
		Mode string `json:"mode"`
		Sub  struct {
			Kind string `json:"kind"`
		} `json:"sub"`
	}
	for _, c := range []struct{ data, says string }{
		{`{"mode":"m","x":1}`, "unknown member /x"},
		{`{"mode":"m","sub":{"kind":"k","y":[]}}`, "unknown member /sub/y"},
		{`{"mode":"m","":0}`, "unknown member /"},
		{`{"mode":"m","sub":{"KIND":"k"}}`, "letter case"},
	} {
		if err := Decode([]byte(c.data), limit, Refuse, new(strict)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, expected %q", c.data, err, c.says)
		}
	}
	// Refuse refuses in spite of a place for unknown members.
	if err := Decode([]byte(`{"mode":"m","x":1}`), limit, Refuse, new(target)); err == nil || !strings.Contains(err.Error(), "unknown member /x") {
		t.Errorf("got %v", err)
	}
	var s strict
	if err := Decode([]byte(` {"mode":"m","sub":{"kind":"k"}} `+"\r\n"), limit, Refuse, &s); err != nil || s.Mode != "m" || s.Sub.Kind != "k" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestAccepted(t *testing.T) {
	data := `{"mode":"m","count":3,"on":false,"Key":"AQI=","names":null,"items":[{"kind":"a","name":"n"},{"kind":"b","later":null}],
		"ptrs":[{"kind":"c"}],"byName":{"Kind":{"kind":"d"}},"config":{"home":"/h","HOME":"x"},"raw":{"a":null,"A":[null,{"b":null}]},
		"sub":{"kind":"e","Other":{"KIND":1,"kind":2}},"at":"2026-01-02T03:04:05Z","Sources":[],
		"LaterMember":{"mode":1,"MODE":null,"x":[[]]}}`
	var got target
	if err := Decode([]byte(data), limit, Keep, &got); err != nil {
		t.Fatal(err)
	}
	off := false
	want := target{Mode: "m", Count: 3, On: &off, Key: []byte{1, 2}, Sources: []string{},
		Items: []item{{Kind: "a", Name: "n"}, {Kind: "b", Unknown: map[string]jsontext.Value{"later": jsontext.Value("null")}}},
		Ptrs:  []*item{{Kind: "c"}}, ByName: map[string]item{"Kind": {Kind: "d"}},
		Config:  map[string]string{"home": "/h", "HOME": "x"},
		Raw:     map[string]jsontext.Value{"a": jsontext.Value("null"), "A": jsontext.Value(`[null,{"b":null}]`)},
		Sub:     &item{Kind: "e", Unknown: map[string]jsontext.Value{"Other": jsontext.Value(`{"KIND":1,"kind":2}`)}},
		At:      stamp{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Unknown: map[string]jsontext.Value{"LaterMember": jsontext.Value(`{"mode":1,"MODE":null,"x":[[]]}`)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLimits(t *testing.T) {
	exact := `{"mode":"` + strings.Repeat("m", limit-len(`{"mode":""}`)) + `"}`
	if err := Decode([]byte(exact), limit, Keep, new(target)); err != nil {
		t.Errorf("%d bytes: %v", len(exact), err)
	}
	if err := Decode([]byte(exact+" "), limit, Keep, new(target)); err == nil {
		t.Errorf("%d bytes were accepted", len(exact)+1)
	}
	deep := `{"mode":"m","x":` + strings.Repeat(`{"y":`, MaxDepth-1) + "1" + strings.Repeat("}", MaxDepth-1) + `}`
	if err := Decode([]byte(deep), limit, Keep, new(target)); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	deep = `{"mode":"m","x":` + strings.Repeat(`{"y":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth) + `}`
	if err := Decode([]byte(deep), limit, Keep, new(target)); err == nil {
		t.Errorf("%d levels were accepted", MaxDepth+1)
	}
}

// A limit must hold before anything is done with the input.
func TestLongInputCostsNothing(t *testing.T) {
	data := bytes.Repeat([]byte("["), 100<<20)
	start := time.Now()
	if err := Decode(data, limit, Keep, new(target)); err == nil {
		t.Fatal("accepted")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
}

// TestKinds tries every kind of JSON value for every kind of Go value: it is taken, or the refusal names both.
func TestKinds(t *testing.T) {
	type kinds struct {
		Text    string
		Bytes   []byte
		Truth   bool
		Int     int
		Int64   int64
		Uint    uint
		Uint16  uint16
		Uint32  uint32
		List    []string
		Map     map[string]string
		Object  struct{ A string }
		Pointer *bool
		Strange map[int]string // nothing of ours is so
		Fixed   [2]int         // nor so

		hidden  string
		Ignored string `json:"-"`

		Unknown map[string]jsontext.Value `json:",embed"`
	}
	values := map[string]string{`"YQ=="`: "string", `true`: "boolean", `false`: "boolean", `7`: "number", `["x"]`: "array", `{"A":"x"}`: "object"}
	takes := map[string]string{"Text": "string", "Bytes": "string", "Truth": "boolean", "Int": "number", "Int64": "number", "Uint": "number", "Uint16": "number",
		"Uint32": "number", "List": "array", "Map": "object", "Object": "object", "Pointer": "boolean", "Strange": "", "Fixed": ""}
	wants := map[string]string{"Text": "a string", "Bytes": "base64 text", "Truth": "a boolean", "Int": "a number", "Int64": "a number", "Uint": "a number",
		"Uint16": "a number", "Uint32": "a number", "List": "an array", "Map": "an object", "Object": "an object", "Pointer": "a boolean", "Strange": "an object", "Fixed": "an array"}
	for member, kind := range takes {
		for value, is := range values {
			var v kinds
			data := fmt.Appendf(nil, `{%q:%s}`, member, value)
			err := Decode(data, limit, Refuse, &v)
			if is == kind {
				var std kinds
				if err != nil {
					t.Errorf("%s: %v", data, err)
				} else if err := stdjson.Unmarshal(data, &std); err != nil || !reflect.DeepEqual(v, std) {
					t.Errorf("%s: %+v, expected %+v (%v)", data, v, std, err)
				}
				continue
			}
			if want := "has a bad value at /" + member + ": a JSON " + is + " where " + wants[member] + " is expected"; err == nil || err.Error() != want {
				t.Errorf("%s: %v, expected %q", data, err, want)
			}
		}
		if err := Decode(fmt.Appendf(nil, `{%q:null}`, member), limit, Refuse, new(kinds)); err == nil || !strings.Contains(err.Error(), "null for the member /"+member) {
			t.Errorf("%s: null: %v", member, err)
		}
	}
	// What is not exported, or named "-", is no member.
	for _, data := range []string{`{"hidden":"x"}`, `{"Ignored":"x"}`, `{"-":"x"}`} {
		v := kinds{}
		if err := Decode([]byte(data), limit, Refuse, &v); err == nil || !strings.Contains(err.Error(), "unknown member") || v.hidden+v.Ignored != "" {
			t.Errorf("%s: %+v, %v", data, v, err)
		}
		if err := Decode([]byte(data), limit, Keep, &v); err != nil || v.hidden+v.Ignored != "" || len(v.Unknown) != 1 {
			t.Errorf("%s, kept: %+v, %v", data, v, err)
		}
	}
}

// What is wrong deep in what is passed over, or in a value that decodes itself, is told as it is, and nothing behind it is read.
func TestWrongBelow(t *testing.T) {
	deep := strings.Repeat(`{"a":`, MaxDepth) + "0" + strings.Repeat("}", MaxDepth)
	for data, says := range map[string]string{
		`{"mode":"m","x":` + deep + `}`:                  "is nested deeper than",
		`{"mode":"m","x":{"y":` + deep + `},"mode":"n"}`: "is nested deeper than",
		`{"mode":"m","at":` + deep + `}`:                 "is nested deeper than",
		`{"mode":"m","x":{"a":1,"a":2}}`:                 `has the member "a" twice`,
		`{"mode":"m","x":[{"y":{"a":1,"a":2}}]}`:         `has the member "a" twice`,
		`{"mode":"m","at":{"a":1,"a":2}}`:                `has the member "a" twice`,
		`{"mode":"m","closed":{"Time":[{"a":1,"a":2}]}}`: `has the member "a" twice`,
		`{"mode":"m","names":[1]}`:                       "a JSON number where a string is expected",
		`{"mode":"m","x":[1}`:                            "is not valid JSON at byte",
		`{"mode":"m","x":[1`:                             "is not valid JSON at byte",
		`{"mode":"m","x"`:                                "is not valid JSON at byte",
		`{"mode":"m",`:                                   "is not valid JSON at byte",
		`{"mode":"m","x":[1]]`:                           "is not valid JSON at byte",
	} {
		v := new(target)
		if err := Decode([]byte(data), 1<<20, Keep, v); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v, expected %q", data, err, says)
		}
	}
}

// What is no object, and has no name, is not mistaken for one; what has no members has none.
func TestBareTargets(t *testing.T) {
	for want, dst := range map[string]any{"a string": new(string), "a number": new(int), "an array": new([]string)} {
		if err := Decode([]byte(`{}`), limit, Keep, dst); err == nil || err.Error() != "has a bad value at the object: a JSON object where "+want+" is expected" {
			t.Errorf("%T: %v", dst, err)
		}
	}
	var v struct {
		Empty struct{} `json:"empty"`
	}
	if err := Decode([]byte(`{"empty":{}}`), limit, Refuse, &v); err != nil {
		t.Error(err)
	}
	if err := Decode([]byte(`{"empty":{"a":1}}`), limit, Refuse, &v); err == nil || err.Error() != "has the unknown member /empty/a" {
		t.Error(err)
	}
}

// What only begins as null, or as a name, an array or an object, is told as what it is, and where.
func TestBrokenOff(t *testing.T) {
	for data, want := range map[string]string{
		`{"mode":"m","names":nul}`:                                  "is not valid JSON at byte 23: ",
		`{"mode":"m","names":nulls}`:                                "is not valid JSON at byte 24: ",
		`{"mode":"m",names:[]}`:                                     "is not valid JSON at byte 13: ",
		`{"mode":"m","na` + "\xff" + `":[]}`:                        "is not valid JSON at byte 15: ",
		`{"mode":"m" "names":[]}`:                                   "is not valid JSON at byte 12: ",
		`{"mode":"m","names" []}`:                                   "is not valid JSON at byte 20: ",
		`{"mode":"m","names":["a" "b"]}`:                            "is not valid JSON at byte 25: ",
		`{"mode":"m","x":{"y" {}}}`:                                 "is not valid JSON at byte 21: ",
		`{"mode":"m","x":{"y":1 "z":2}}`:                            "is not valid JSON at byte 23: ",
		`{"mode":"m","x":[1 2]}`:                                    "is not valid JSON at byte 19: ",
		`{"mode":"m","x":[1,]}`:                                     "is not valid JSON at byte 18: ",
		`{"mode":"m","x":{"y":1,}}`:                                 "is not valid JSON at byte 22: ",
		`{"mode":"m",}`:                                             "is not valid JSON at byte 11: ",
		`{"mode":"m","mode":"n"}`:                                   `has the member "mode" twice`,
		`{"mode":"m","x":{"y":1,"y":2}}`:                            `has the member "y" twice`,
		`{"mode":"m","byName":{"a":{"kind":"k"},"a":{"kind":"k"}}}`: `has the member "a" twice`,
	} {
		for _, unknown := range []Unknown{Keep, Refuse} {
			if unknown == Refuse && strings.Contains(data, `"x"`) {
				continue // it is unknown
			}
			if err := Decode([]byte(data), limit, unknown, new(target)); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v, expected %q", data, err, want)
			}
		}
	}
	if err := (walker{}).explain(io.ErrNoProgress); err == nil || !strings.HasPrefix(err.Error(), "is not valid JSON: ") {
		t.Errorf("an error of another kind: %v", err)
	}
}

// Only a pointer takes what is read.
func TestNowhereToDecodeInto(t *testing.T) {
	for _, dst := range []any{target{}, (*target)(nil), nil} {
		if err := Decode([]byte(`{"mode":"m"}`), limit, Keep, dst); err == nil {
			t.Errorf("%T took it", dst)
		}
	}
}

// FuzzDecode: what is accepted here is accepted by encoding/json and read the same, and what was read reads the same
// again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"mode":"m"}`, `{"mode":"m","Mode":"n"}`, `{"mode":"m","x":{"a":[1,2,{"b":null}]}}`, `{"mode":"m","Key":"AQI="}`,
		`{"mode":"m","items":[{"kind":"a"}],"byName":{"x":{"kind":"y"}},"config":{"a":"b"},"on":true,"count":-1}`,
		`{"mode":"\u00e9\ud83d\ude00","names":["a","b"],"raw":{"x":1e5},"sub":{"kind":"","z":0}}`, "{\"mode\":\"m\",\"\u212aey\":\"\"}",
		`{"mode":"m","closed":{"Time":"2026-01-02T03:04:05Z"},"at":"2026-01-02T03:04:05Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var own target
		err := Decode(data, limit, Keep, &own)
		checkFaults(t, data, err)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("refused without a reason")
			}
			return
		}
		var std struct {
			Mode    string            `json:"mode"`
			Count   int               `json:"count"`
			On      *bool             `json:"on"`
			Key     []byte            `json:"Key"`
			Names   []string          `json:"names"`
			Config  map[string]string `json:"config"`
			Sources []string
		}
		if err := stdjson.Unmarshal(data, &std); err != nil {
			t.Fatalf("accepted here, refused by encoding/json: %v", err)
		}
		if own.Mode != std.Mode || own.Count != std.Count || !bytes.Equal(own.Key, std.Key) ||
			fmt.Sprint(own.Names, own.Config, own.Sources) != fmt.Sprint(std.Names, std.Config, std.Sources) ||
			(own.On == nil) != (std.On == nil) || own.On != nil && *own.On != *std.On {
			t.Fatalf("%s reads as %+v here, as %+v in encoding/json", data, own, std)
		}
		// The library whose tokens are read here has a decoder of its own: both must read the same.
		var theirs target
		if err := json.Unmarshal(data, &theirs, json.MatchCaseInsensitiveNames(false)); err != nil {
			t.Fatalf("accepted here, refused by go-json-experiment: %v", err)
		}
		if !reflect.DeepEqual(own, theirs) {
			t.Fatalf("%s reads as %#v here, as %#v in go-json-experiment", data, own, theirs)
		}
		again, err := json.Marshal(own, json.Deterministic(true))
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		var second target
		if err := Decode(again, 8*limit, Keep, &second); err != nil {
			t.Fatalf("%s was read, and cannot be read as it was written, %s: %v", data, again, err)
		}
		third, err := json.Marshal(second, json.Deterministic(true))
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written as %s, then as %s (%v)", again, third, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 500))
	data := []byte(`{"mode":"m","Key":"` + key + `","items":[{"kind":"a"},{"kind":"b"}],"sub":{"kind":"c"}}`)
	for b.Loop() {
		if err := Decode(data, limit, Keep, new(target)); err != nil {
			b.Fatal(err)
		}
	}
}

// What a long name holds must not cost the name's length again for each value: the names in a signature's attributes are
// an attacker's.
func TestLongNamesCostNothingBelow(t *testing.T) {
	name := strings.Repeat("n", 2<<20)
	for what, data := range map[string]string{
		"an array":  `{"` + name + `":[` + strings.Repeat("0,", 900_000) + `0]}`,
		"an object": `{"` + name + `":{` + `"a":[` + strings.Repeat(`{},`, 500_000) + `{}]}}`,
	} {
		t.Run(what, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				var v struct {
					Unknown map[string]jsontext.Value `json:",embed"`
				}
				done <- Decode([]byte(data), 4<<20, Keep, &v)
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second): // a second is ample; spelling the name out takes minutes
				t.Fatalf("%d bytes are not decoded after 20 seconds", len(data))
			}
		})
	}
}
