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
	var failed []error
	all := make([]resultJSON, 0, len(results))
	for _, r := range results {
		change := string(r.outcome.Change)
		if r.verb != "" {
			change = r.verb
		}
		row := resultJSON{Name: r.name, KeyID: r.outcome.ARN.String(), Change: change, What: r.outcome.What, Kept: r.outcome.Kept}
		if r.outcome.ARN == (kmskey.ARN{}) {
			row.KeyID = r.outcome.Alias.String()
		}
		if r.err != nil {
			failed = append(failed, r.err)
			problem := errorJSON(r.err)
			row.Change, row.Error, row.KeyID = "refused", &problem, problem.KeyID
		}
		all = append(all, row)
	}
	if a.output == "json" {
		return a.result(map[string]any{"Results": all}, failed)
	}
	for _, row := range all {
		if row.Error != nil {
			continue
		}
		if err := a.printRow(row); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
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
