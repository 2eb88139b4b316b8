package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const testPath = "/etc/awskms-offline/policy.json"

func TestParse(t *testing.T) {
	for _, table := range []map[string]example{examples, notJSON} {
		for name, x := range table {
			t.Run(name, func(t *testing.T) {
				s, problems := parse(testPath, []byte(x.policy), true)
				if (s == nil) != (len(problems) > 0) {
					t.Fatalf("both or neither: %v, %v", s, problems)
				}
				if x.verdict == taken {
					if len(problems) > 0 {
						t.Fatal(problems[0])
					}
					return
				}
				if len(problems) == 0 {
					t.Fatal("was taken")
				}
				e := problems[0]
				if e.Name != kmserr.PolicyInvalid || e.Hint == "" || !strings.HasPrefix(e.Fact, "the policy "+testPath) || !strings.Contains(e.Fact, x.says) {
					t.Errorf("got %v | %s, expected it to say: %s", e, e.Hint, x.says)
				}
				if line := fmt.Sprintf("%s, line %d, ", testPath, x.line); x.line != 0 && !strings.Contains(e.Fact, line) {
					t.Errorf("line %d is not in: %s", x.line, e.Fact)
				}
				if len(e.Fact) > 2000 {
					t.Errorf("the fact is %d bytes long", len(e.Fact))
				}
			})
		}
	}
}

// Only the machine's policy chooses the homes.
func TestHomesAreTheMachines(t *testing.T) {
	_, problems := parse(testPath, []byte(with("\n\"homes\":[\"/a\"]")), false)
	if len(problems) != 1 || !strings.Contains(problems[0].Fact, "line 2, has a list of homes at /homes, expected none") {
		t.Error(problems)
	}
}

func TestUnknownMembersListTheKnown(t *testing.T) {
	for policy, hint := range map[string]string{
		with(`"rules":[]`):                   "The members here are $schema, version, description, allowList, store, homes, log, notation, grants, restrictions.",
		with(`"log":{"file":"-"}`):           "The members here are path, mode, sync, rotateAt.",
		withRestriction(`"age":"1h"`):        "The members here are name, description, keys, signingAlgorithms, ",
		withGrant(`"state":["Disabled"]`):    "The members here are name, description, keys, verify, ",
		with(`"store":{"a/b":{"c":1}}`):      "",
		with(`"grants":[{"a":{"b":1},"c":{`): "",
	} {
		_, problems := parse(testPath, []byte(policy), true)
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Hint, hint) || problems[0].Hint == "" {
			t.Errorf("%s: %v", policy, problems)
		}
	}
}

func TestCheckListsAll(t *testing.T) {
	_, err := CheckBytes("/p.json", []byte(`{
"version":"2",
"store":{"permissions":"lax"},
"grants":[
 {"name":"a","keys":["*"],
  "verify":true}],
"restrictions":[
 {"name":"b","maxSnapshotAge":"1 month"}]}`))
	if err == nil || kmserr.ExitCode(err) != kmserr.ExitOurSide {
		t.Fatal(err)
	}
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got a %T", err)
	}
	lines := []int{2, 3, 5, 6, 8}
	if len(all.Unwrap()) != len(lines) {
		t.Fatalf("got %d problems: %v", len(all.Unwrap()), err)
	}
	for i, one := range all.Unwrap() {
		if !kmserr.Is(one, kmserr.PolicyInvalid) || !strings.Contains(one.Error(), fmt.Sprintf("the policy /p.json, line %d, has ", lines[i])) {
			t.Errorf("%v, expected line %d", one, lines[i])
		}
	}
	if _, err := CheckBytes("/p.json", Strict()); err != nil {
		t.Error(err)
	}
}

// A file of the greatest size that is wrong in a way which makes its places long or many is refused as soon as any other, in
// a sentence of ordinary length: it was minutes while the path of every value was spelt out.
func TestLongPlaces(t *testing.T) {
	long := strings.Repeat("a", 400_000)
	for name, x := range map[string]struct {
		policy, says string
		line         int
	}{
		"items below a long name":       {"{\"version\":\"1\",\n\"" + long + "\":[" + strings.Repeat("1,", 300_000) + "1]}", "unknown member /aaa", 2},
		"items behind a long name":      {"{\"version\":\"1\",\n\"grants\":[{\"" + long + "\":1}],\"x\":[" + strings.Repeat("1,", 200_000) + "1]}", "unknown member /grants/0/aaa", 2},
		"a long name behind many items": {"{\"version\":\"1\",\"homes\":[" + strings.Repeat("\"\",", 150_000) + "\"\"],\n\"" + long + "\":1}", "unknown member /aaa", 2},
		"a long name twice":             {"{\"version\":\"1\",\"" + long + "\":1,\n\"" + long + "\":1}", "unknown member /aaa", 2},
		"a long value":                  {"{\n\"version\":\"" + long + "\"}", "at /version, expected", 2},
		"many mistakes":                 {"{\"version\":\"1\",\"grants\":[{\"name\":\"a\",\"keyStates\":[\"Disabled\"],\"keys\":[\n" + strings.Repeat("\"x\",", 9_000) + "\"x\"]}]}", "/grants/0/keys/1", 2},
		"many objects":                  {"{\"version\":\"1\",\"restrictions\":[" + strings.Repeat("{\"name\":\"a\"},", 70_000) + "\n{\"b\":1}]}", "unknown member /restrictions/70000/b", 0},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, problems := parse(testPath, []byte(x.policy), true)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if len(problems) == 0 || len(problems[0].Fact) > 1000 || !strings.Contains(problems[0].Fact, x.says) {
				t.Fatalf("%d problems", len(problems))
			}
			if line := fmt.Sprintf(", line %d, ", x.line); x.line > 0 && !strings.Contains(problems[0].Fact, line) {
				t.Errorf("%q is not in: %s", line, problems[0].Fact)
			}
		})
	}
}
