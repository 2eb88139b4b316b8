package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const schemaFile = "../../docs/policy.schema.json"

func schema(t testing.TB) validator {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return validator{root: root, patterns: map[string]*regexp.Regexp{}}
}

// The published schema and the decoder are two descriptions of one format: they judge every example alike, but for those
// that are listed as beyond a schema.
func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	v := schema(t)
	counts := map[verdict]int{}
	for name, x := range examples {
		counts[x.verdict]++
		var value any
		if err := json.Unmarshal([]byte(x.policy), &value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err := v.check(v.root, value, "")
		if takes := x.verdict != refused; (err == nil) != takes {
			t.Errorf("%s: the schema says %v", name, err)
		}
	}
	if counts[taken] < 30 || counts[refused] < 80 || counts[schemaTakes] == 0 {
		t.Errorf("%v examples: fewer than there were", counts)
	}
}

// TestSchemaMembers compares every object of the schema with the type that the decoder reads it into.
func TestSchemaMembers(t *testing.T) {
	v := schema(t)
	defs := v.root["$defs"].(map[string]any)
	properties := v.root["properties"].(map[string]any)
	for name, c := range map[string]struct {
		schema any
		typ    reflect.Type
	}{
		"policy":      {v.root, reflect.TypeFor[document]()},
		"store":       {properties["store"], reflect.TypeFor[storeSection]()},
		"log":         {properties["log"], reflect.TypeFor[logSection]()},
		"notation":    {properties["notation"], reflect.TypeFor[notationSection]()},
		"grant":       {defs["grant"], reflect.TypeFor[grantSection]()},
		"restriction": {defs["restriction"], reflect.TypeFor[restrictSection]()},
	} {
		object := c.schema.(map[string]any)
		got := slices.Sorted(maps.Keys(object["properties"].(map[string]any)))
		want := memberNames(c.typ)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, the decoder %v", name, got, want)
		}
		if object["additionalProperties"] != false {
			t.Errorf("%s: the schema lets other members pass", name)
		}
		required := map[string]bool{}
		for i := range c.typ.NumField() {
			if f := c.typ.Field(i); f.Tag.Get("strict") == "required" {
				member, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				required[member] = true
			}
		}
		demanded, _ := object["required"].([]any)
		for _, member := range demanded {
			delete(required, member.(string))
		}
		if len(required) > 0 || len(demanded) == 0 && strings.HasSuffix(name, "t") {
			t.Errorf("%s: the schema demands %v, the decoder %v as well", name, demanded, required)
		}
	}
}

// TestSchemaWords compares the words and limits.
func TestSchemaWords(t *testing.T) {
	v := schema(t)
	at := func(path string) any {
		var here any = v.root
		for part := range strings.SplitSeq(path, "/") {
			object, ok := here.(map[string]any)
			if !ok || object[part] == nil {
				t.Fatalf("the schema has no %s", path)
			}
			here = object[part]
		}
		return here
	}
	for path, want := range map[string][]string{
		"properties/store/properties/permissions/enum":              permissionWords,
		"properties/store/properties/multiRegion/enum":              multiRegionWords,
		"properties/log/properties/mode/enum":                       logWords,
		"properties/notation/properties/whenRevocationSkipped/enum": skippedWords,
		"$defs/grant/properties/aliasHistory/enum":                  historyWords,
		"$defs/grant/properties/sm2Entl/enum":                       entlWords,
		"$defs/keyStates/items/enum":                                texts(keyStates),
		"$defs/restriction/properties/signingAlgorithms/items/enum": texts(kmskey.SigningAlgorithms),
		"$defs/restriction/properties/messageTypes/items/enum":      texts(kmskey.MessageTypes),
		"$defs/restriction/properties/sources/items/enum":           sourceWords,
	} {
		var got []string
		for _, word := range at(path).([]any) {
			got = append(got, word.(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is %v, expected %v", path, got, want)
		}
	}
	for path, want := range map[string]int{
		"properties/grants/maxItems":                        maxRules,
		"properties/restrictions/maxItems":                  maxRules,
		"properties/homes/maxItems":                         maxList,
		"$defs/grant/properties/keys/maxItems":              maxKeys,
		"$defs/restriction/properties/keys/maxItems":        maxKeys,
		"$defs/grant/properties/distinguishingIds/maxItems": maxList,
		"$defs/name/maxLength":                              maxName,
		"$defs/description/maxLength":                       maxDescription,
		"$defs/absolutePath/maxLength":                      maxPath,
		"$defs/exactKey/maxLength":                          kmskey.MaxIdentifier,
	} {
		if got := at(path); got != float64(want) {
			t.Errorf("%s is %v, expected %d", path, got, want)
		}
	}
}

func texts[T ~string](words []T) []string {
	var out []string
	for _, w := range words {
		out = append(out, string(w))
	}
	return out
}

// validator knows the keywords of JSON Schema 2020-12 that the policy's schema uses, and refuses any other: what it does
// not know it cannot check.
type validator struct {
	root     map[string]any
	patterns map[string]*regexp.Regexp
}

func (v validator) check(schema map[string]any, value any, path string) error {
	fail := func(keyword string) error { return fmt.Errorf("%s: %s", path, keyword) }
	object, isObject := value.(map[string]any)
	array, isArray := value.([]any)
	text, isText := value.(string)
	has := func(names any) bool {
		for _, name := range names.([]any) {
			if _, there := object[name.(string)]; isObject && !there {
				return false
			}
		}
		return true
	}
	for keyword, arg := range schema {
		switch keyword {
		case "$schema", "$id", "$defs", "title", "description", "then", "additionalProperties":
		case "$ref":
			name, ok := strings.CutPrefix(arg.(string), "#/$defs/")
			def, there := v.root["$defs"].(map[string]any)[name].(map[string]any)
			if !ok || !there {
				panic("no " + arg.(string))
			}
			if err := v.check(def, value, path); err != nil {
				return err
			}
		case "type":
			_, isBool := value.(bool)
			if ok := map[string]bool{"object": isObject, "array": isArray, "string": isText, "boolean": isBool}; !ok[arg.(string)] {
				return fail(keyword)
			}
		case "const":
			if value != arg {
				return fail(keyword)
			}
		case "enum":
			if !isText || !slices.Contains(arg.([]any), any(text)) {
				return fail(keyword)
			}
		case "required":
			if !has(arg) {
				return fail(keyword)
			}
		case "dependentRequired":
			for name, others := range arg.(map[string]any) {
				if _, there := object[name]; there && !has(others) {
					return fail(keyword)
				}
			}
		case "properties":
			for name, sub := range arg.(map[string]any) {
				if member, there := object[name]; there {
					if err := v.check(sub.(map[string]any), member, path+"/"+name); err != nil {
						return err
					}
				}
			}
			for name := range object {
				if arg.(map[string]any)[name] == nil && schema["additionalProperties"] == false {
					return fail("additionalProperties " + name)
				}
			}
		case "items":
			for i, item := range array {
				if err := v.check(arg.(map[string]any), item, fmt.Sprintf("%s/%d", path, i)); err != nil {
					return err
				}
			}
		case "contains":
			if isArray && !slices.ContainsFunc(array, func(item any) bool { return v.check(arg.(map[string]any), item, path) == nil }) {
				return fail(keyword)
			}
		case "minItems", "maxItems":
			if n := float64(len(array)); isArray && (keyword == "minItems" && n < arg.(float64) || keyword == "maxItems" && n > arg.(float64)) {
				return fail(keyword)
			}
		case "uniqueItems":
			seen := map[any]bool{}
			for _, item := range array {
				if seen[item] {
					return fail(keyword)
				}
				seen[item] = true
			}
		case "maxLength":
			if isText && float64(utf8.RuneCountInString(text)) > arg.(float64) {
				return fail(keyword)
			}
		case "pattern":
			p := v.patterns[arg.(string)]
			if p == nil {
				p = regexp.MustCompile(arg.(string))
				v.patterns[arg.(string)] = p
			}
			if isText && !p.MatchString(text) {
				return fail(keyword)
			}
		case "format":
			if arg != "date-time" {
				panic("format " + arg.(string))
			}
			if _, err := time.Parse(time.RFC3339, text); isText && err != nil {
				return fail(keyword)
			}
		case "anyOf":
			if !slices.ContainsFunc(arg.([]any), func(sub any) bool { return v.check(sub.(map[string]any), value, path) == nil }) {
				return fail(keyword)
			}
		case "not":
			if v.check(arg.(map[string]any), value, path) == nil {
				return fail(keyword)
			}
		case "if":
			if v.check(arg.(map[string]any), value, path) == nil {
				if err := v.check(schema["then"].(map[string]any), value, path); err != nil {
					return err
				}
			}
		default:
			panic("the keyword " + keyword)
		}
	}
	return nil
}

// TestDocumentation: every example of docs/policy.md is a policy, for the decoder and the schema.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	v := schema(t)
	blocks := strings.Split(string(page), "```json\n")[1:]
	if len(blocks) < 10 {
		t.Fatalf("the page has %d examples only", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := v.check(v.root, value, ""); err != nil {
			t.Errorf("the schema: %v\n%s", err, text)
		}
		if err := CheckBytes("policy.md", []byte(strings.ReplaceAll(text, `"/`, `"`+local("/")))); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, member := range slices.Concat(memberNames(reflect.TypeFor[grantSection]()), memberNames(reflect.TypeFor[restrictSection]()), memberNames(reflect.TypeFor[document]())) {
		if !strings.Contains(string(page), member) {
			t.Errorf("the page does not name %s", member)
		}
	}
}
