package main

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// The verdicts.
const (
	caught   = "caught"
	survived = "survived"
)

// outcome is what the tests said to a break.
type outcome struct {
	mutant
	verdict string
	// by is the package whose tests caught it.
	by string
	// reached says that a test runs the code at all, hangs that the tests that caught it did so by not ending.
	reached, hangs bool
}

func (o outcome) keep(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\t%t\t%t\n", o.name(), o.verdict, o.by, o.reached, o.hangs)
	return errors.Join(err, f.Close())
}

func readOutcomes(path string) (map[string]outcome, error) {
	all := map[string]outcome{}
	if path == "" {
		return all, nil
	}
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 9 {
			return nil, fmt.Errorf("%s has a line of %d fields, expected 9", path, len(fields))
		}
		all[strings.Join(fields[:5], "\t")] = outcome{verdict: fields[5], by: fields[6], reached: fields[7] == "true", hangs: fields[8] == "true"}
	}
	return all, nil
}

// harmlessText lists breaks that no test can catch: a line each, the break's name and, behind a tab, the reason.
//
//go:embed harmless.tsv
var harmlessText string

func readHarmless() (map[string]string, error) {
	all := map[string]string{}
	for line := range strings.Lines(harmlessText) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, '\t')
		if strings.Count(line, "\t") != 5 || at == len(line)-1 {
			return nil, fmt.Errorf("harmless.tsv: %q has no name of a break and a reason", line)
		}
		if all[line[:at]] != "" {
			return nil, fmt.Errorf("harmless.tsv: %q is there twice", line[:at])
		}
		all[line[:at]] = line[at+1:]
	}
	return all, nil
}

// report tells what survived and is not harmless, and what is called harmless and is not; and writes the page.
func (r *runner) report(outcomes []outcome, harmless map[string]string, all bool) error {
	left := maps.Clone(harmless)
	bad := 0
	for _, o := range outcomes {
		reason := harmless[o.name()]
		delete(left, o.name())
		switch {
		case o.verdict != caught && reason == "":
			bad++
			how := "no test notices"
			switch {
			case o.verdict == "":
				how = "not tried"
			case !o.reached:
				how = "no test runs it"
			}
			fmt.Printf("%s/%s:%d: %s: %s: %s: %s\n", o.pkg, o.file, o.line, o.fn, o.kind, o.text, how)
		case o.verdict == caught && reason != "":
			bad++
			fmt.Printf("%s/%s:%d: %s: %s: %s: is caught, take it out of harmless.tsv\n", o.pkg, o.file, o.line, o.fn, o.kind, o.text)
		}
	}
	if all {
		for _, name := range slices.Sorted(maps.Keys(left)) {
			bad++
			fmt.Printf("harmless.tsv has a break that there is not: %s\n", name)
		}
	}
	fmt.Printf("%d breaks, %d not accounted for\n", len(outcomes), bad)
	if r.page != "" {
		if err := os.WriteFile(r.page, []byte(page(outcomes, harmless)), 0o644); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d breaks are not accounted for", bad)
	}
	return nil
}

// page tells the results for people.
func page(outcomes []outcome, harmless map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Broken code

Written by ` + "`make mutate`" + `: each guard and each comparison on the way from a request to its answer is broken, one at a time, and the
tests are asked (internal/mutate). ` + "`go run ./internal/mutate -list`" + ` lists the breaks. A break is caught if a test fails or hangs. The
others are kept in internal/mutate/harmless.tsv, each with the reason why nothing that matters changes; they stand below.

| package | breaks | caught by its own tests | by those of its users | of these by hanging | harmless | not accounted for | not tried |
|---|---|---|---|---|---|---|---|
`)
	type row struct{ all, own, users, hangs, harmless, open, untried int }
	rows := map[string]*row{}
	var total row
	for _, o := range outcomes {
		if rows[o.pkg] == nil {
			rows[o.pkg] = &row{}
		}
		for _, r := range []*row{rows[o.pkg], &total} {
			r.all++
			if o.hangs {
				r.hangs++
			}
			switch {
			case o.verdict == caught && o.by == o.pkg:
				r.own++
			case o.verdict == caught:
				r.users++
			case harmless[o.name()] != "":
				r.harmless++
			case o.verdict == "":
				r.untried++
			default:
				r.open++
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(rows)) {
		r := rows[pkg]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", pkg, r.all, r.own, r.users, r.hangs, r.harmless, r.open, r.untried)
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d | %d | %d | %d | %d |\n", total.all, total.own, total.users, total.hangs, total.harmless, total.open, total.untried)
	for _, part := range []struct {
		title string
		want  bool
	}{{"Harmless", true}, {"Not accounted for", false}} {
		first := true
		for _, o := range outcomes {
			reason := harmless[o.name()]
			if o.verdict != survived || (reason != "") != part.want {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n## %s\n\n| where | break | of | why |\n|---|---|---|---|\n", part.title)
				first = false
			}
			fmt.Fprintf(&b, "| %s/%s, %s | %s | `%s` | %s |\n", o.pkg, o.file, o.fn, o.kind, strings.ReplaceAll(o.text, "|", `\|`), reason)
		}
	}
	return b.String()
}
