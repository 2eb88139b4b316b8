package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestEdges: what is just so is taken, what is just beyond is refused, in words that say why.
func TestEdges(t *testing.T) {
	path := func(n int) string { return strings.Repeat("x", n-len(local("/"))) }
	for text, says := range map[string]string{
		with(`"homes":["/` + path(maxPath) + `"]`):                                            "",
		with(`"homes":["/` + path(maxPath+1) + `"]`):                                          "expected at most 4096 bytes",
		with(`"homes":["/a\u007f"]`):                                                          "without control characters",
		with(`"homes":["/a\u001f"]`):                                                          "without control characters",
		with(`"log":{"path":"/` + path(maxPath+1) + `"}`):                                     "expected at most 4096 bytes",
		with(`"log":{"path":"/a\u007f"}`):                                                     "without control characters",
		with(`"log":{"rotateAt":"9999MiB"}`):                                                  "",
		with(`"log":{"rotateAt":"10000MiB"}`):                                                 "1 to 9999",
		with(`"log":{"rotateAt":"16384MiB"}`):                                                 "1 to 9999",
		with(`"log":{"rotateAt":"0MiB"}`):                                                     "1 to 9999",
		with(`"log":{"rotateAt":"xMiB"}`):                                                     "1 to 9999",
		with(`"description":"a\u007f"`):                                                       "without control characters",
		withRestriction(`"notBefore":"1970-01-01T00:00:00Z"`):                                 "",
		withRestriction(`"notBefore":"1969-12-31T23:59:59Z"`):                                 "expected a time",
		withRestriction(`"notBefore":"9999-12-31T23:59:59Z"`):                                 "",
		withRestriction(`"notBefore":"9999-12-31T23:59:59-01:00"`):                            "expected a time",
		withRestriction(`"notBefore":"2026-13-01T00:00:00Z"`):                                 "expected a time",
		withRestriction(`"notBefore":"2026-01-02T03:04:05.0000Z"`):                            "expected a time",
		withRestriction(`"notBefore":"2026-01-02T03:04:05+00:00"`):                            "",
		withRestriction(`"notBefore":"2026-01-02T03:04:05-23:59"`):                            "",
		withRestriction(`"notBefore":"2026-01-02T03:04:05+24:00"`):                            "expected a time",
		withRestriction(`"notBefore":"2026-01-02T03:04:05+01:60"`):                            "expected a time",
		withRestriction(`"notBefore":"2026-01-02T03:04:05z"`):                                 "expected a time",
		withRestriction(`"maxSnapshotAge":"+1d"`):                                             "expected a whole number",
		with(`"restrictions":[{"name":"a ","sources":["kms"]}]`):                              "no space at either end",
		with(`"restrictions":[{"name":" a","sources":["kms"]}]`):                              "no space at either end",
		with(`"restrictions":[{"name":"a\u001fb","sources":["kms"]}]`):                        "printable ASCII",
		with(`"restrictions":[{"name":"a\u007fb","sources":["kms"]}]`):                        "printable ASCII",
		with(`"restrictions":[` + many(`{"name":"r%d","sources":["kms"]}`, maxRules) + `]`):   "",
		with(`"restrictions":[` + many(`{"name":"r%d","sources":["kms"]}`, maxRules+1) + `]`): "expected at most 1000",
	} {
		s, problems := parse(testPath, []byte(text), true)
		switch {
		case says == "" && (s == nil || len(problems) > 0):
			t.Errorf("%.100s: %v", text, problems)
		case says != "" && (s != nil || len(problems) != 1 || !strings.Contains(problems[0].Fact, says)):
			t.Errorf("%.100s: %v, expected %q", text, problems, says)
		}
	}
}

// What is said to be false is not true, and of several policies the stricter holds, in whatever order they come.
func TestFalseAndStricter(t *testing.T) {
	read := func(members string) *source {
		s, problems := parse(testPath, []byte(with(members)), true)
		if s == nil {
			t.Fatal(problems)
		}
		return s
	}
	subject := Subject{Asked: ref(t, keyA), ARN: arn(t, keyA)}
	lax := read(`"notation":{"stateFailsIdentity":false,"whenRevocationSkipped":"ignore"},"log":{"sync":false},"store":{"permissions":"warn","multiRegion":"fallback"}`)
	p := &set{sources: []*source{lax}}
	rules, err := p.Rules(subject)
	if err != nil || rules.StateFailsIdentity || !rules.IgnoreStateWhenRevocationSkipped || p.Log().Sync || p.Store() != (StoreRules{}) {
		t.Errorf("%+v, %+v, %+v, %v", rules, p.Log(), p.Store(), err)
	}
	if !slices.ContainsFunc(rules.Applied, func(name string) bool { return strings.Contains(name, "whenRevocationSkipped") }) {
		t.Errorf("applied %q", rules.Applied)
	}
	strict := read(`"notation":{"stateFailsIdentity":true},"log":{"sync":true},"store":{"permissions":"strict","multiRegion":"exact"}`)
	for _, sources := range [][]*source{{lax, strict}, {strict, lax}} {
		p := &set{sources: sources}
		rules, err := p.Rules(subject)
		if err != nil || !rules.StateFailsIdentity || rules.IgnoreStateWhenRevocationSkipped || !p.Log().Sync || p.Store() != (StoreRules{ExactRegion: true, StrictPermissions: true}) {
			t.Errorf("%+v, %+v, %+v, %v", rules, p.Log(), p.Store(), err)
		}
	}
	ages := &set{sources: []*source{read(`"restrictions":[{"name":"a","maxSnapshotAge":"2h"},{"name":"b","maxSnapshotAge":"1h"},{"name":"c","maxSnapshotAge":"3h"}]`)}}
	if rules, err := ages.Rules(subject); err != nil || rules.MaxSnapshotAge != time.Hour {
		t.Errorf("%+v, %v", rules, err)
	}
}

// The aliases of grants come sorted, and an ID that all rules fix is one.
func TestAliasesAndPins(t *testing.T) {
	const prefix = "arn:aws:kms:us-east-1:111122223333:alias/"
	s, problems := parse(testPath, []byte(with(`"allowList":true,"grants":[{"name":"g","verify":true,"keys":["`+prefix+`c","`+prefix+`a","`+prefix+`b","`+keyA+`"]}]`)), false)
	if s == nil {
		t.Fatal(problems)
	}
	var names []string
	for _, alias := range (&set{sources: []*source{s, s}}).Aliases(arn(t, keyA)) {
		names = append(names, alias.Alias)
	}
	if !slices.Equal(names, []string{"alias/a", "alias/b", "alias/c"}) {
		t.Errorf("got %q", names)
	}
	id, err := kmskey.NewDistinguishingID([]byte("fixed"))
	if err != nil {
		t.Fatal(err)
	}
	pin := Rules{DistinguishingID: id}
	if picked, err := PickDistinguishingID(kmskey.DistinguishingID{}, pin, Rules{}, pin); err != nil || picked != id {
		t.Errorf("%v, %v", picked, err)
	}
	if picked, err := PickDistinguishingID(kmskey.DistinguishingID{}, Rules{}); err != nil || picked.Given() {
		t.Errorf("%v, %v", picked, err)
	}
}

// A home whose name another folder can have must not pass for it on Windows, where case does not count.
func TestSameOnWindows(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`C:\ProgramData\keys`, `C:\ProgramData\keys`, true},
		{`C:\ProgramData\keys`, `c:\PROGRAMDATA\Keys`, true},
		{`C:\aZ`, `C:\Az`, true},
		{`C:\keys`, `C:\keys2`, false},
		{`C:\a;`, `C:\a[`, false},
		{`C:\a@`, "C:\\a`", false},
		{`C:\a[`, `C:\a{`, false},
		{`C:\keys`, "C:\\\u212aeys", false}, // KELVIN SIGN
		{`C:\store`, "C:\\\u017ftore", false},
		{"C:\\\u00e9", "C:\\\u00c9", false},
		{"C:\\\u00e9", "c:\\\u00e9", true},
		{"C:\\\xff", "C:\\\xfe", false},
		{"C:\\\xff", "C:\\\ufffd", false},
	} {
		if got := sameOnWindows(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %t", c.a, c.b, got)
		}
	}
}
