package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// TestReports holds the reports of verify --batch to what is published: SARIF to the schema of OASIS, JUnit's XML to the
// elements and attributes that CI servers know.
func TestReports(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(shared.testdata, "sm2", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	line := func(id, message string) string {
		text, err := json.Marshal(map[string]any{
			"id": id, "key_id": "arn:aws-cn:kms:cn-north-1:111122223333:key/688f71e2-6f8d-4c76-bf6b-a07a3caf25ad", "message": []byte(message),
			"signature": base64.StdEncoding.EncodeToString(file("signature.der")), "distinguishing_id": strings.TrimSpace(string(file("distinguishing-id.txt"))),
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	message := string(file("message.txt"))
	good := line("good", message)
	for name, c := range map[string]struct {
		lines            []string
		code             int
		failures, errors int
		flags            []string
	}{
		"all good":  {[]string{good, good}, 0, 0, 0, nil},
		"the rest":  {[]string{line("another", "another message"), good}, 0, 0, 0, []string{"--skip", "1"}},
		"the first": {[]string{line("another", "another message"), good}, 1, 1, 0, []string{"--fail-fast"}},
		"every kind": {[]string{good, line("another", "another message"), line(`<&"'>`+"\x01\u202e]]>", "x"), "no JSON", "",
			strings.Replace(good, "arn:", "arn\x01:", 1), strings.Replace(good, "688f71e2", "788f71e2", 1)}, 2, 3, 3, nil},
		"nothing": {nil, 2, 0, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			batch := filepath.Join(dir, "a batch.jsonl")
			if err := os.WriteFile(batch, []byte(strings.Join(c.lines, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			sarifFile, junitFile := filepath.Join(dir, "r.sarif"), filepath.Join(dir, "r.xml")
			args := []string{"verify", "--home", shared.records, "--batch", batch, "--report", "sarif=" + sarifFile, "--report", "junit=" + junitFile}
			cmd := exec.Command(filepath.Join(shared.bin, "awskms-offline"), append(args, c.flags...)...)
			cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir)
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Fatalf("exit code %d, expected %d, %v\n%s", code, c.code, err, out)
			}
			checkSARIF(t, sarifFile, c.failures+c.errors)
			checkJUnit(t, junitFile, max(len(c.lines), c.errors), c.failures, c.errors)
		})
	}
}

// checkSARIF validates the report by the published schema, which the library holds. The library reads it into its own types
// first: that nothing is lost on the way shows that it has no member that the schema does not know.
func checkSARIF(t *testing.T, file string, results int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	report, err := sarif.FromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range report.Runs { // the library writes these empty where the schema's defaults stand for them
		run.Language, run.Tool.Driver.Language, run.NewlineSequences = "en-US", "en-US", []string{"\n"}
	}
	if err := report.Validate(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	again, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs any
	if err := errors.Join(json.Unmarshal(text, &ours), json.Unmarshal(again, &theirs)); err != nil {
		t.Fatal(err)
	}
	if lost := lacks(theirs, ours, ""); lost != "" {
		t.Errorf("the library knows nothing of %s in\n%s", lost, text)
	}
	if len(report.Runs) != 1 || len(report.Runs[0].Results) != results {
		t.Fatalf("%d runs, expected 1 with %d results\n%s", len(report.Runs), results, text)
	}
	rules := map[string]bool{}
	for _, rule := range report.Runs[0].Tool.Driver.Rules {
		rules[*rule.ID] = true
	}
	for _, result := range report.Runs[0].Results {
		if !rules[*result.RuleID] || *result.Message.Text == "" {
			t.Errorf("a result of the rule %q, which the report does not explain", *result.RuleID)
		}
	}
}

// lacks returns the place of something in part that whole has not.
func lacks(whole, part any, at string) string {
	switch part := part.(type) {
	case map[string]any:
		object, _ := whole.(map[string]any)
		for name, member := range part {
			if found := lacks(object[name], member, at+"/"+name); found != "" {
				return found
			}
		}
		return ""
	case []any:
		array, _ := whole.([]any)
		if len(array) != len(part) {
			return at
		}
		for i := range part {
			if found := lacks(array[i], part[i], at+"/"+strconv.Itoa(i)); found != "" {
				return found
			}
		}
		return ""
	}
	if !reflect.DeepEqual(whole, part) {
		return at
	}
	return ""
}

// junitElements is JUnit's XML as Jenkins' XSD has it (xunit-plugin, junit-10.xsd), as far as it is used here: the attributes
// of an element, those that are needed first, and the elements that it may hold.
var junitElements = map[string]struct{ needed, other, holds []string }{
	"testsuites": {nil, []string{"name", "time", "tests", "failures", "errors"}, []string{"testsuite"}},
	"testsuite":  {[]string{"name", "tests", "failures", "errors"}, []string{"time", "timestamp", "hostname", "skipped", "id", "package", "file"}, []string{"testcase", "properties"}},
	"testcase":   {[]string{"name"}, []string{"time", "classname", "group"}, []string{"failure", "error", "skipped"}},
	"failure":    {nil, []string{"type", "message"}, nil},
	"error":      {nil, []string{"type", "message"}, nil},
	"skipped":    {nil, []string{"type", "message"}, nil},
}

func checkJUnit(t *testing.T, file string, tests, failures, errs int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(text, []byte(`<?xml version="1.0" encoding="UTF-8"?>`)) {
		t.Errorf("it begins with %.60q", text)
	}
	counts := map[string]int{}
	var open []string
	reader := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := reader.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			rules, known := junitElements[name]
			inside := len(open) == 0 && name == "testsuites" || len(open) > 0 && slices.Contains(junitElements[open[len(open)-1]].holds, name)
			if !known || !inside {
				t.Fatalf("<%s> stands in %v", name, open)
			}
			var has []string
			for _, a := range token.Attr {
				has = append(has, a.Name.Local)
				if !slices.Contains(rules.needed, a.Name.Local) && !slices.Contains(rules.other, a.Name.Local) {
					t.Errorf("<%s> has the attribute %s", name, a.Name.Local)
				}
				if want, counted := map[string]int{"tests": tests, "failures": failures, "errors": errs}[a.Name.Local]; counted && a.Value != strconv.Itoa(want) {
					t.Errorf("%s=%q, expected %d\n%s", a.Name.Local, a.Value, want, text)
				}
			}
			for _, needed := range rules.needed {
				if !slices.Contains(has, needed) {
					t.Errorf("<%s> lacks the attribute %s", name, needed)
				}
			}
			open = append(open, name)
			counts[name]++
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	if got, want := fmt.Sprint(counts["testsuite"], counts["testcase"], counts["failure"], counts["error"]), fmt.Sprint(1, tests, failures, errs); got != want {
		t.Errorf("suites, cases, failures and errors: %s, expected %s\n%s", got, want, text)
	}
}
