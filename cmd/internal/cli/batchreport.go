package cli

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// batchReport is a report for CI. It is written as the answers come, and gets its name when it is complete.
type batchReport interface {
	add(row batchAnswer, err error) error
	// finish completes the report; broken is why the batch was not answered to its end, nil if it was.
	finish(r *batchRun, broken *kmserr.Error) error
	// discard leaves no report.
	discard()
}

// leftOut are lines that were not to be looked at, as sentences: a report of the others would else look like one of all.
type leftOut struct{ lines, why string }

func (r *batchRun) leftOut() (all []leftOut) {
	if n := r.flags.skip; n > 0 {
		all = append(all, leftOut{fmt.Sprintf("the first %s", count(n, "line", "lines")), fmt.Sprintf("passed over by --skip %d", n)})
	}
	if r.stoppedEarly {
		all = append(all, leftOut{fmt.Sprintf("the lines behind line %d", r.flags.skip+r.written), "not looked at, by --fail-fast"})
	}
	return all
}

func (r *batchRun) discardReports() {
	for _, report := range r.reports {
		report.discard()
	}
}

func (r *batchRun) openReports() error {
	for _, value := range r.flags.reports {
		kind, file, _ := strings.Cut(value, "=")
		if filePath(file) == "" || file == "-" || kind != "junit" && kind != "sarif" {
			return invalid("--report is %q, expected junit=FILE or sarif=FILE", value)
		}
	}
	for i, value := range r.flags.reports {
		kind, file, _ := strings.Cut(value, "=")
		err := r.mayBeReport(filePath(file), r.flags.reports[:i])
		var f *reportFile
		if err == nil {
			f, err = newReportFile(filePath(file))
		}
		if err != nil {
			r.discardReports()
			return err
		}
		if kind == "junit" {
			r.reports = append(r.reports, newJUnit(f))
		} else {
			r.reports = append(r.reports, newSARIF(f, r.flags.file))
		}
	}
	return nil
}

// How the reports begin. Nothing else makes way for one.
const (
	junitBegins = `<?xml version="1.0" encoding="UTF-8"?>` + "\n<testsuites>\n" + `<testsuite name="` + name + ` verify --batch"`
	sarifBegins = `{"$schema":"https://json.schemastore.org/sarif-2.1.0.json",`
)

// mayBeReport refuses what a report would take the place of although it is no report: /dev/stdout, which for root would be
// an ordinary file from then on, a link, the batch itself, a policy, which would restrict nothing any more, a message, or
// another report of this run.
func (r *batchRun) mayBeReport(path string, others []string) error {
	for _, other := range others {
		if _, file, _ := strings.Cut(other, "="); sameName(filePath(file), path) {
			return invalid("--report names %s twice", path).WithHint("Give each report a file of its own.")
		}
	}
	there, err := os.Lstat(path)
	if err != nil {
		return nil // absent; or writing it will say what is wrong
	}
	if !there.Mode().IsRegular() {
		return invalid("--report names %s, which is no ordinary file", path).WithHint("Name a new file, or a report that is to be replaced.")
	}
	if input, err := os.Stat(filePath(r.flags.file)); err == nil && os.SameFile(there, input) {
		return invalid("--report names %s, which is the batch", path).WithHint("Name another file.")
	}
	if r.app.answersGoTo(there) {
		return invalid("--report names %s, which the answers are written to", path).WithHint("Name another file.")
	}
	if there.Size() > 0 && !isReport(path) { // an empty one may have been made to hold the place
		return invalid("--report names %s, which is there and is no report of %s", path, name).WithHint("Name a new file, or remove that one.")
	}
	return nil
}

func isReport(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, max(len(junitBegins), len(sarifBegins)))
	n, _ := io.ReadFull(f, head) // what cannot be read is no report
	return bytes.HasPrefix(head[:n], []byte(junitBegins)) || bytes.HasPrefix(head[:n], []byte(sarifBegins))
}

// sameName reports whether two paths, of files that need not be there, are one: however the folder is written, and for
// systems that make nothing of letter case in either.
func sameName(a, b string) bool {
	x, y := filepath.Base(a), filepath.Base(b)
	if x != y && (!strings.EqualFold(x, y) || runtime.GOOS != "windows" && runtime.GOOS != "darwin") {
		return false
	}
	above, err := os.Stat(filepath.Dir(a))
	if err != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	other, err := os.Stat(filepath.Dir(b))
	return err == nil && os.SameFile(above, other)
}

// answersGoTo reports whether standard output was directed to this very file.
func (a *app) answersGoTo(file os.FileInfo) bool {
	f, ok := a.stdout.(*os.File)
	if !ok {
		return false
	}
	out, err := f.Stat()
	return err == nil && out.Mode().IsRegular() && os.SameFile(out, file)
}

// reportFile is a file under another name until it is complete. A report that is there already is removed at once: what an
// earlier run passed must not stand for one that was refused, or killed.
type reportFile struct {
	*bufio.Writer
	f    *os.File
	path string
}

func newReportFile(path string) (*reportFile, error) {
	// Not os.CreateTemp: its mode is for the user alone, and whoever collects reports may be another one.
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, unwritable(path, err)
	}
	report := &reportFile{bufio.NewWriterSize(f, 64<<10), f, path}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		report.discard()
		return nil, unwritable(path, err)
	}
	return report, nil
}

func unwritable(path string, err error) error {
	return kmserr.New(kmserr.StoreAccess, "the report %s cannot be written: %v", path, reason(err)).WithCause(err)
}

// wrote returns the error of writing so far.
func (f *reportFile) wrote(err error) error {
	if err != nil {
		return unwritable(f.path, err)
	}
	return nil
}

// complete gives the file its name. beginning, if not nil, is written over the file's first bytes.
func (f *reportFile) complete(beginning []byte) error {
	err := f.Flush()
	if err == nil && beginning != nil {
		_, err = f.f.WriteAt(beginning, 0)
	}
	if closed := f.f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.f.Name(), f.path)
	}
	if err != nil {
		f.discard()
		return unwritable(f.path, err)
	}
	return nil
}

func (f *reportFile) discard() {
	_ = f.f.Close()
	_ = os.Remove(f.f.Name())
}

// junit is JUnit's XML as CI servers read it. A test suite tells first how many failed, which is known last: its head has
// room, and is written again in the end.
type junit struct {
	*reportFile
	tests, failures, errors, skipped int64
}

const junitHead = 512

func newJUnit(f *reportFile) *junit {
	_, _ = f.Write(bytes.Repeat([]byte{' '}, junitHead))
	return &junit{reportFile: f}
}

func (j *junit) add(row batchAnswer, err error) error {
	j.tests++
	name := fmt.Sprintf("line %d", row.Line)
	if row.ID != nil {
		name += ": " + idText(row.ID)
	}
	key := row.KeyID
	if key == "" {
		key = "no key"
	}
	if err == nil {
		return j.wrote(j.testcase(key, name, "", "", "", ""))
	}
	element := "error"
	if kmserr.ExitCode(err) == kmserr.ExitRefused {
		element = "failure"
		j.failures++
	} else {
		j.errors++
	}
	return j.wrote(j.testcase(key, name, element, row.Error.Code, row.Error.Message, row.Error.Hint))
}

func (j *junit) testcase(class, name, element, code, message, hint string) error {
	fmt.Fprintf(j, `<testcase classname="%s" name="%s"`, xmlText(class), xmlText(name))
	if element == "" {
		_, err := j.WriteString("/>\n")
		return err
	}
	_, err := fmt.Fprintf(j, `><%s type="%s" message="%s">%s</%s></testcase>`+"\n", element, xmlText(code), xmlText(message), xmlText(hint), element)
	return err
}

func (j *junit) finish(r *batchRun, broken *kmserr.Error) error {
	for _, left := range r.leftOut() {
		j.tests++
		j.skipped++
		if err := j.testcase("batch", left.lines, "skipped", "", left.why, ""); err != nil {
			j.discard()
			return unwritable(j.path, err)
		}
	}
	if broken != nil { // else a report of half the lines would look like one of all
		j.tests++
		j.errors++
		if err := j.testcase("batch", "the lines behind line "+fmt.Sprint(r.flags.skip+r.written), "error", string(broken.Name), broken.Fact, broken.Hint); err != nil {
			j.discard()
			return unwritable(j.path, err)
		}
	}
	_, _ = j.WriteString("</testsuite>\n</testsuites>\n") // complete returns its error, which stays
	head := junitBegins + fmt.Sprintf(` tests="%d" failures="%d" errors="%d" skipped="%d" time="%.3f" timestamp="%s"`,
		j.tests, j.failures, j.errors, j.skipped, time.Since(r.began).Seconds(), r.began.UTC().Format("2006-01-02T15:04:05"))
	return j.complete([]byte(head + strings.Repeat(" ", junitHead-len(head)-2) + ">\n"))
}

func xmlText(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder never fails; what XML cannot hold becomes U+FFFD
	return b.String()
}

// idText is an id for people: a string without its quotes.
func idText(id jsontext.Value) string {
	var text string
	if json.Unmarshal(id, &text) == nil {
		return plain(text)
	}
	return string(id)
}

// sarif is SARIF 2.1.0 (OASIS), with a result for each line that does not verify.
type sarif struct {
	*reportFile
	uri   string
	begun bool
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations,omitempty"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifLocation struct {
	Physical struct {
		Artifact struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region struct {
			StartLine int64 `json:"startLine"`
		} `json:"region"`
	} `json:"physicalLocation"`
}

type sarifRule struct {
	ID    string    `json:"id"`
	Short sarifText `json:"shortDescription"`
	Help  sarifText `json:"help"`
}

func newSARIF(f *reportFile, input string) *sarif {
	_, _ = f.WriteString(sarifBegins + `"version":"2.1.0","runs":[{"results":[`)
	uri := "stdin"
	if input != "-" {
		path := filepath.ToSlash(filePath(input))
		u := url.URL{Path: path}
		if filepath.IsAbs(path) {
			u = url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(path, "/")}
		}
		uri = u.String()
	}
	return &sarif{reportFile: f, uri: uri}
}

func (s *sarif) add(row batchAnswer, err error) error {
	if err == nil {
		return nil
	}
	text := row.Error.Message
	if row.KeyID != "" && !strings.Contains(text, row.KeyID) {
		text += " (" + row.KeyID + ")"
	}
	if row.Error.Hint != "" {
		text += ". " + row.Error.Hint
	}
	if row.ID != nil {
		text = idText(row.ID) + ": " + text
	}
	result := sarifResult{RuleID: row.Error.Code, Level: "error", Message: sarifText{text}, Locations: make([]sarifLocation, 1)}
	result.Locations[0].Physical.Artifact.URI = s.uri
	result.Locations[0].Physical.Region.StartLine = max(row.Line, 1)
	return s.result(result)
}

func (s *sarif) result(result sarifResult) error {
	data, err := encoded(result)
	if err == nil && s.begun {
		_, err = s.WriteString(",")
	}
	if err == nil {
		s.begun = true
		_, err = s.Write(append([]byte("\n"), data...))
	}
	return s.wrote(err)
}

func (s *sarif) finish(r *batchRun, broken *kmserr.Error) error {
	if broken != nil {
		if err := s.result(sarifResult{RuleID: string(broken.Name), Level: "error", Message: sarifText{strings.TrimSpace(broken.Fact + ". " + broken.Hint)}}); err != nil {
			s.discard()
			return err
		}
	}
	var rules []sarifRule
	for _, e := range kmserr.Table() {
		rules = append(rules, sarifRule{string(e.Name), sarifText{e.Meaning}, sarifText{e.Cure}})
	}
	slices.SortFunc(rules, func(a, b sarifRule) int { return strings.Compare(a.ID, b.ID) })
	invocation := map[string]any{"executionSuccessful": broken == nil}
	var notes []any
	for _, left := range r.leftOut() {
		notes = append(notes, map[string]any{"level": "note", "message": sarifText{left.lines + ": " + left.why}})
	}
	if notes != nil {
		invocation["toolExecutionNotifications"] = notes
	}
	end, err := json.Marshal(map[string]any{
		"tool":        map[string]any{"driver": map[string]any{"name": name, "version": buildinfo.Version, "rules": rules}},
		"invocations": []any{invocation},
	}, json.Deterministic(true))
	if err == nil {
		_, err = s.WriteString("\n]," + string(end[1:]) + "]}\n")
	}
	if err != nil {
		s.discard()
		return unwritable(s.path, err)
	}
	return s.complete(nil)
}
