package policy

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const schemaFile = "../../docs/policy.schema.json"

// published is the schema: as it is written, and as it judges.
type published struct {
	root  map[string]any
	judge *jsonschema.Schema
}

func schema(t testing.TB) published {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("policy.json", root); err != nil {
		t.Fatal(err)
	}
	judge, err := compiler.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	return published{root, judge}
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
		err := v.judge.Validate(value)
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
		"$defs/restriction/properties/signingAlgorithms/items/enum": texts(kmskey.SigningAlgorithms()),
		"$defs/restriction/properties/messageTypes/items/enum":      texts(kmskey.MessageTypes()),
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
		if err := v.judge.Validate(value); err != nil {
			t.Errorf("the schema: %v\n%s", err, text)
		}
		if _, err := CheckBytes("policy.md", []byte(strings.ReplaceAll(text, `"/`, `"`+local("/")))); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, member := range slices.Concat(memberNames(reflect.TypeFor[grantSection]()), memberNames(reflect.TypeFor[restrictSection]()), memberNames(reflect.TypeFor[document]())) {
		if !strings.Contains(string(page), member) {
			t.Errorf("the page does not name %s", member)
		}
	}
}
