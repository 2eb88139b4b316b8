package policy

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FuzzParse: whatever the bytes, there is a policy or a refusal that names the file; what is taken the published schema
// takes too, and has rules for every key.
func FuzzParse(f *testing.F) {
	for _, table := range []map[string]example{examples, notJSON} {
		for _, x := range table {
			if len(x.policy) < 5000 { // the large ones try limits, which seeds do not help to find
				f.Add([]byte(x.policy))
			}
		}
	}
	v := schema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := parse(testPath, data, true)
		if (s == nil) == (len(problems) == 0) {
			t.Fatal("both or neither")
		}
		for _, e := range problems {
			if e.Name != kmserr.PolicyInvalid || !strings.HasPrefix(e.Fact, "the policy "+testPath) || e.Hint == "" {
				t.Fatalf("%v | %s", e, e.Hint)
			}
		}
		if s == nil {
			return
		}
		var value any
		if err := json.Unmarshal(data, &value); err != nil {
			t.Fatalf("taken, and no JSON: %v", err)
		}
		if err := v.judge.Validate(value); err != nil {
			t.Fatalf("taken, and refused by the schema: %v", err)
		}
		p := &set{sources: []*source{s}}
		for _, key := range []string{keyA, keyC} {
			explained(t, p, Subject{Asked: ref(t, key), ARN: arn(t, key)})
		}
		for _, a := range p.Aliases(arn(t, keyA)) {
			if _, err := kmskey.ParseAlias(a.Alias); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzPattern: a wildcard stands for a whole field. What a pattern matches is its own text, field by field.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{keyA, keyC, aliasA, "arn:aws:kms:*:*:key/*", "arn:aws:kms:*:111122223333:key/mrk-*", "*", "arn:*:kms:us-east-1:1:key/*"} {
		f.Add(text, keyA)
		f.Add(text, keyC)
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		p, err := parsePattern(text)
		target, errARN := kmskey.ParseARN(key)
		if err != nil || errARN != nil {
			return
		}
		want, got := strings.Split(text, ":"), strings.Split(key, ":")
		matches := len(want) == 6
		for i := range want {
			matches = matches && (want[i] == got[i] || (i == 3 || i == 4) && want[i] == "*" || i == 5 && want[i] == "key/*")
		}
		if p.matches(target) != matches {
			t.Fatalf("%s matches %s: %v", text, key, !matches)
		}
	})
}
