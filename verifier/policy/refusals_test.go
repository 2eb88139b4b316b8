package policy

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestLinesOfTheUndecodable: what cannot be decoded is refused with the line that it is on, the name's where the value is on
// another.
func TestLinesOfTheUndecodable(t *testing.T) {
	for name, c := range map[string]struct {
		policy string
		line   int
		says   string
	}{
		"an unknown member":       {"{\n\"version\":\"1\",\n\"log\":{\n\"mode\":\"off\",\n\"file\":\"-\"},\n\"grants\":[]\n}\n", 5, "/log/file"},
		"its name a line before":  {"{\n\"version\":\"1\",\n\"log\":{\n\"file\":\n\"-\"}\n}\n", 4, "/log/file"},
		"with more in it":         {"{\n\"version\":\"1\",\n\"rules\":[\n{\n\"version\":\"1\"}]\n}\n", 3, "/rules"},
		"a value of another kind": {"{\n\"version\":\"1\",\n\"grants\":[\n{\"name\":\"a\",\"keys\":[]},\n{\n\"name\":\n1}]\n}\n", 6, "/grants/1/name"},
		"a member that is absent": {"{\n\"version\":\"1\",\n\"grants\":[\n{\"name\":\"a\",\"keys\":[]},\n{\n\"name\":\"b\"}]\n}\n", 5, "/grants/1/keys"},
		"another letter case":     {"{\n\"version\":\"1\",\n\"log\":{\n\"mode\":\"off\",\n\"Path\":\"-\"},\n\"grants\":[]\n}\n", 5, "letter case"},
		"twice in letter case":    {"{\n\"version\":\"1\",\n\"grants\":[\n{\"name\":\"a\",\n\"Keys\":[]},\n{\"name\":\"b\",\n\"Keys\":[]}],\n\"homes\":[]\n}\n", 5, "letter case"},
		"a member twice":          {"{\n\"version\":\"1\",\n\"homes\":[],\n\"homes\":[]\n}\n", 4, "twice"},
		"no JSON":                 {"{\n\"version\":\"1\",\n\n\"homes\":[x]\n}\n", 4, "not valid JSON"},
		"null":                    {"{\n\"version\":\"1\",\n\"homes\":\n null,\n\"grants\":[]\n}\n", 3, "/homes"},
	} {
		for range 5 { // what depends on the order of a map shows
			_, problems := parse("/p.json", []byte(c.policy), true)
			i := slices.IndexFunc(problems, func(e *kmserr.Error) bool { return strings.Contains(e.Fact, c.says) })
			if i < 0 || !strings.Contains(problems[i].Fact, fmt.Sprintf("the policy /p.json, line %d, ", c.line)) {
				t.Errorf("%s: got %v, expected line %d and %s", name, problems, c.line, c.says)
			}
		}
	}
}

// TestLinesOfValues: a value that is wrong is told with the line of its name, an item with its own.
func TestLinesOfValues(t *testing.T) {
	text := "{\n\"version\":\"1\",\n\"log\":\n{\n\"mode\":\n\n\"loud\"},\n\"homes\":\n[\n\"x\"]\n}\n"
	want := []string{"the policy /p.json, line 5, has \"loud\" at /log/mode", "the policy /p.json, line 10, has \"x\" at /homes/0"}
	_, problems := parse("/p.json", []byte(text), true)
	for i, says := range want {
		if len(problems) != len(want) || !strings.HasPrefix(problems[i].Fact, says) {
			t.Errorf("got %v, expected %s", problems, says)
		}
	}
}

// TestOneProblem: of one problem nothing is counted.
func TestOneProblem(t *testing.T) {
	for text, more := range map[string]string{
		with(`"log":{"mode":"x"}`):                                                     "",
		with(`"log":{"mode":"x"},"store":{"permissions":"x"}`):                         " (and 1 more)",
		with(`"log":{"mode":"x"},"store":{"permissions":"x","multiRegion":"neither"}`): " (and 2 more)",
	} {
		_, h := folders(t, "", text)
		_, err := load(h, "")
		if !kmserr.Is(err, kmserr.PolicyInvalid) || strings.Contains(err.Error(), " more)") != (more != "") || !strings.Contains(err.Error(), more) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestCheckWhatCannotBeRead: each refusal says why, and that of a good file is none.
func TestCheckWhatCannotBeRead(t *testing.T) {
	_, h := folders(t, "", with(`"allowList":false`))
	path := filepath.Join(h, FileName)
	for file, says := range map[string]string{h: h + " is no ordinary file", path + "x": path + "x cannot be read: "} {
		_, err := Check(file)
		if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(kmserr.As(err).Fact, says) || strings.Count(kmserr.As(err).Fact, file) != 1 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestMembersOfNothing: what has no members, has none to list.
func TestMembersOfNothing(t *testing.T) {
	for _, pointer := range []string{"/version/x", "/grants/0/keys/0/x", "/log/sync/x", "/none/x/y"} {
		if got := membersAt("has the unknown member " + pointer); got != nil {
			t.Errorf("%s: %q", pointer, got)
		}
	}
}
