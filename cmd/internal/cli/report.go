package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// resultJSON is a result in JSON output.
type resultJSON struct {
	Name   string        `json:"Name"`
	KeyID  string        `json:"KeyId,omitempty"`
	Change string        `json:"Change"`
	What   []string      `json:"What,omitempty"`
	Kept   []string      `json:"Kept,omitempty"`
	Error  *machineError `json:"Error,omitempty"`
}

// report prints every result, and returns the errors in them joined: the exit code is that of the gravest.
func (a *app) report(results []result) error {
	p := a.newProgress()
	for _, r := range results {
		if err := p.add(r); err != nil {
			return err
		}
	}
	return p.finish()
}

// progress prints results as they come: lines at once, JSON at the end.
type progress struct {
	app    *app
	rows   []resultJSON
	failed []error
}

func (a *app) newProgress() *progress { return &progress{app: a, rows: []resultJSON{}} }

func (p *progress) add(r result) error {
	change := string(r.outcome.Change)
	if r.verb != "" {
		change = r.verb
	}
	row := resultJSON{Name: r.name, KeyID: r.outcome.ARN.String(), Change: change, What: r.outcome.What, Kept: r.outcome.Kept}
	if r.outcome.ARN == (kmskey.ARN{}) {
		row.KeyID = r.outcome.Alias.String()
	}
	stored := r.outcome.Change != "" // all but one of its aliases or its place in the index, if there is an error
	if r.err != nil {
		p.fail(r.err)
		problem := errorJSON(r.err)
		row.Error = &problem
		if !stored {
			row.Change, row.KeyID = "refused", problem.KeyID
		}
	}
	if p.app.output == "json" {
		p.rows = append(p.rows, row)
		return nil
	}
	if r.err != nil && !stored {
		return nil // said in the end
	}
	return p.app.printRow(row)
}

func (p *progress) fail(err error) { p.failed = append(p.failed, err) }

func (p *progress) finish() error {
	if p.app.output == "json" {
		return p.app.result(map[string]any{"Results": p.rows}, p.failed)
	}
	return errors.Join(p.failed...)
}

// printRow prints what became of one thing, for people.
func (a *app) printRow(row resultJSON) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", row.Change, row.KeyID)
	for _, what := range row.What {
		fmt.Fprintf(&b, "  %s\n", plain(what))
	}
	for _, kept := range row.Kept {
		fmt.Fprintf(&b, "  kept %s\n", plain(kept))
	}
	return a.printf("%s", b.String())
}
