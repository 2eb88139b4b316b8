package policy

import (
	"fmt"
	"slices"
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
		with(`"rules":[]`):                       "The members here are $schema, version, description, allowList, store, homes, log, notation, grants, restrictions.",
		with(`"log":{"file":"-"}`):               "The members here are path, mode, sync, rotateAt.",
		withRestriction(`"keyz":[]`):             "The members here are name, ",
		with(`"alowList":true`):                  "Did you mean allowList? The members here are $schema",
		withRestriction(`"maxSnapshotage":"1h"`): "Correct the file",
		withRestriction(`"age":"1h"`):            "The members here are name, description, keys, signingAlgorithms, ",
		withGrant(`"state":["Disabled"]`):        "The members here are name, description, keys, verify, ",
		with(`"store":{"a/b":{"c":1}}`):          "",
		with(`"grants":[{"a":{"b":1},"c":{`):     "",
	} {
		_, problems := parse(testPath, []byte(policy), true)
		if len(problems) == 0 || !strings.HasPrefix(problems[0].Hint, hint) || problems[0].Hint == "" {
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
	if _, err := CheckBytes("/p.json", []byte(strictHead+strictTail)); err != nil {
		t.Error(err)
	}
}

// TestCheckListsFaultsOfForm: one fault of form hides no other, nor what is wrong with the values. What only follows from a
// fault is not told beside it.
func TestCheckListsFaultsOfForm(t *testing.T) {
	_, err := CheckBytes("/p.json", []byte(`{
"Version":"1",
"log":{"mod":"-",
  "mode":"loud"},
"grants":[
 {"name":"a","keys":["*"],"verfy":true},
 {"keys":"arn","verify":1},
 {"name":"a","keys":["*"],
  "keyStates":null}],
"grants":[],
"restrictions":[
 {"name":"b",
  "sources":["kms","mail"],
  "maxSnapshotAge":30}]}`))
	want := []string{
		`line 2, has the member "Version", which differs from "version" in letter case only`,
		`line 3, has the unknown member /log/mod`,
		`line 4, has "loud" at /log/mode, expected off, best-effort or required`,
		`line 6, has "*" at /grants/0/keys/0, expected an exact ARN: wildcards are for restrictions, which take away`,
		`line 6, has the unknown member /grants/0/verfy`,
		`line 7, has a bad value at /grants/1/keys: a JSON string where an array is expected`,
		`line 7, has a bad value at /grants/1/verify: a JSON number where a boolean is expected`,
		`line 7, lacks the member /grants/1/name`,
		`line 8, has "a" at /grants/2/name, which is the name of another grant`,
		`line 8, has "*" at /grants/2/keys/0, expected an exact ARN: wildcards are for restrictions, which take away`,
		`line 9, has null for the member /grants/2/keyStates, expected a value`,
		`line 10, has the member "grants" twice`,
		`line 13, has "mail" at /restrictions/0/sources/1, expected kms, file or operator`,
		`line 14, has a bad value at /restrictions/0/maxSnapshotAge: a JSON number where a string is expected`,
	}
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, one := range all.Unwrap() {
		if !kmserr.Is(one, kmserr.PolicyInvalid) {
			t.Errorf("got %v", one)
		}
		if hint := kmserr.As(one).Hint; strings.Contains(hint, "policy check") { // which is being done
			t.Errorf("%v has the hint %q", one, hint)
		}
		got = append(got, strings.TrimPrefix(kmserr.As(one).Fact, "the policy /p.json, "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Loading such a file refuses it too, with the first of them.
	m, h := folders(t, "", with(`"x":1,"version":"1","restrictions":[{"name":"r","sources":7}]`))
	p, err := load(h, m)
	refuses(t, p, err, kmserr.PolicyInvalid, "has the unknown member /x (and 2 more)")
	// Hundreds are not told, and that is said; nor is what stands behind a fault of JSON.
	for text, want := range map[string]int{
		with(many("\n\"x%d\":1", maxFaults)): maxFaults, with(many("\n\"x%d\":1", 500)): maxFaults + 1, `{"version":"1","x":1,"homes":[}`: 2,
	} {
		_, problems := parse(testPath, []byte(text), true)
		more := strings.HasSuffix(problems[len(problems)-1].Fact, "may have more faults than the 100 that are told")
		if len(problems) != want || more != (want > maxFaults) {
			t.Errorf("%.40s: %d problems, expected %d: %v", text, len(problems), want, problems[len(problems)-1])
		}
	}
}

// TestLostUnderNotation: a log on standard error is warned of with its line, as Notation loses it.
func TestLostUnderNotation(t *testing.T) {
	for members, says := range map[string]string{
		"":                                      "",
		`"log":{"mode":"required"}`:             "",
		`"log":{"path":"/log"}`:                 "",
		"\n" + `"log":{` + "\n" + `"path":"-"}`: "the policy /p.json, line 3, sends the log to standard error, which Notation keeps to itself: the lines of its verifications are lost",
		`"log":{"path":"-","mode":"required"}`:  "the policy /p.json, line 1, sends the log to standard error, which Notation keeps to itself: the lines of its verifications are lost, although it requires them",
	} {
		warnings, err := CheckBytes("/p.json", []byte(with(members)))
		if err != nil || strings.Join(warnings, "|") != says {
			t.Errorf("%s: %q, %v", members, warnings, err)
		}
	}
	if warnings, err := CheckBytes("/p.json", []byte(with(`"log":{"path":"-"},"x":1`))); err == nil || warnings != nil {
		t.Errorf("of a file that is wrong: %q, %v", warnings, err)
	}
	if lost := (LogRules{Path: "-", Off: true}).LostUnderNotation(); lost != "" {
		t.Errorf("what is not written is not lost: %q", lost)
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
		"a long name twice":             {"{\"version\":\"1\",\"" + long + "\":1,\n\"" + long + "\":1}", "unknown member /aaa", 1},
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
			i := slices.IndexFunc(problems, func(e *kmserr.Error) bool { return strings.Contains(e.Fact, x.says) })
			if i < 0 || i > 1 || len(problems[i].Fact) > 1000 {
				t.Fatalf("%d problems, %q at %d", len(problems), x.says, i)
			}
			if line := fmt.Sprintf(", line %d, ", x.line); x.line > 0 && !strings.Contains(problems[i].Fact, line) {
				t.Errorf("%q is not in: %s", line, problems[i].Fact)
			}
		})
	}
}

// A pointer is cut, and says so, where a name would make it longer than what is kept.
func TestLongPointers(t *testing.T) {
	for _, c := range []struct {
		parent, name int
		length       int
		whole        bool
	}{{1, 10, 12, true}, {1, maxPointer - 2, maxPointer, true}, {1, maxPointer - 1, maxPointer, false}, {1, 1 << 20, maxPointer, false}, {maxPointer, 1, maxPointer + 1, false}} {
		in := container{pointer: strings.Repeat("p", c.parent), name: strings.Repeat("n", c.name)}
		if pointer, kept, whole := in.child(); len(pointer) != c.length || !kept || whole != c.whole {
			t.Errorf("%+v: %d bytes, kept %t, whole %t", c, len(pointer), kept, whole)
		}
	}
}
