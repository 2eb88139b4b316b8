package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxBatch is how many keys are written before the store's lock is given back, so that others come to write as well.
const maxBatch = 64

// job is one key to ask KMS for.
type job struct {
	name  string
	fetch func(context.Context) (*awskms.Fetched, error)
}

// arrival is what KMS answered to a job.
type arrival struct {
	job     job
	fetched *awskms.Fetched
	err     error
}

// transfer brings keys from KMS into the store: many are asked for at once, and written in batches as they arrive.
type transfer struct {
	app      *app
	client   *awskms.Client
	parallel int
	jobs     []job

	bar     *progressbar.ProgressBar
	rows    []transferRow
	failed  []error
	summary transferSummary
	// listed are the aliases of each key whose aliases KMS told in full.
	listed map[kmskey.ARN][]string
}

// transferRow is one line of the result.
type transferRow struct {
	resultJSON
	Notes []string `json:"Notes,omitempty"`
}

// transferSummary counts what became of the keys.
type transferSummary struct {
	New, Unchanged, Changed, Refused int
	// Skipped keys are not for signing, or outside the filter. NotAsked is left over by an interruption.
	Skipped, NotAsked int `json:",omitzero"`
}

// run asks, writes and reports. A key that fails keeps no other from being stored.
func (t *transfer) run() error {
	a := t.app
	t.listed = make(map[kmskey.ARN][]string)
	if a.output == "text" && isTerminal(a.stderr) {
		t.bar = progressbar.NewOptions(len(t.jobs), progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowCount(),
			progressbar.OptionSetDescription("keys"), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	err := t.bring()
	if err == nil {
		err = t.retireAliases()
	}
	if t.bar != nil {
		_ = t.bar.Finish() // what it shows decides nothing
	}
	if err != nil {
		t.fail(err)
	}
	return t.finish()
}

// bring asks for all keys and writes what arrives.
func (t *transfer) bring() error {
	// An error of the store ends the asking.
	ctx, stop := context.WithCancel(t.app.ctx)
	defer stop()
	arrivals := make(chan arrival, maxBatch)
	go func() {
		defer close(arrivals)
		awskms.Each(ctx, t.parallel, len(t.jobs), func(ctx context.Context, i int) {
			got, err := t.jobs[i].fetch(ctx)
			arrivals <- arrival{t.jobs[i], got, err}
		})
	}()
	var broken error
	for first := range arrivals {
		batch := []arrival{first}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case next, open := <-arrivals:
				if more = open; open {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		if broken == nil {
			if broken = t.write(batch); broken != nil {
				stop()
			}
		}
	}
	done := len(t.rows)
	if t.summary.NotAsked = len(t.jobs) - done; broken == nil && t.app.ctx.Err() != nil {
		broken = kmserr.New(kmserr.DeadlineExceeded, "interrupted: %d of %d keys were done", done, len(t.jobs)).
			WithHint("Run the command again: what was stored is whole and kept.")
	}
	return broken
}

// write writes one batch under the store's lock. Its error is of the store as a whole.
func (t *transfer) write(batch []arrival) (err error) {
	var w *keystore.Writer
	defer func() {
		if w != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	for _, got := range batch {
		if errors.Is(got.err, context.Canceled) {
			continue // not asked, as the command was interrupted
		}
		if got.err == nil && w == nil {
			if w, err = t.app.openWriter(); err != nil {
				return err
			}
		}
		row := transferRow{resultJSON: resultJSON{Name: got.job.name}}
		if got.err == nil {
			row, got.err = t.put(w, got)
			if kmserr.Is(got.err, kmserr.StoreAccess) {
				return got.err // the disk: no other key will fare better
			}
		}
		if got.err != nil {
			t.refuse(got.job.name, got.err)
		} else if err := t.took(row); err != nil {
			return err
		}
		if t.bar != nil {
			_ = t.bar.Add(1)
		}
	}
	return nil
}

func (t *transfer) put(w *keystore.Writer, got arrival) (transferRow, error) {
	key := got.fetched.Key
	outcome, err := w.Put(key, keystore.PutOptions{FromKMS: true})
	if err != nil {
		return transferRow{}, err
	}
	if got.fetched.AliasesKnown {
		t.listed[key.ARN()] = key.Record().Aliases
	}
	row := transferRow{resultJSON: resultJSON{Name: got.job.name, KeyID: key.ARN().String(), Change: string(outcome.Change), What: outcome.What, Kept: outcome.Kept}, Notes: got.fetched.Notes}
	switch {
	case outcome.Change == keystore.New:
		t.summary.New++
	case outcome.Change == keystore.Unchanged, outcome.Confirmed:
		row.Change, row.What = string(keystore.Unchanged), nil
		t.summary.Unchanged++
	default:
		t.summary.Changed++
	}
	return row, nil
}

// took reports a key that was stored: at once as a line, or in the end as JSON.
func (t *transfer) took(row transferRow) error {
	t.rows = append(t.rows, row)
	if t.app.output == "json" || t.bar != nil && row.Change == string(keystore.Unchanged) && len(row.Notes) == 0 {
		return nil
	}
	t.clear()
	for _, note := range row.Notes {
		t.app.note(row.KeyID + ": " + note)
	}
	return t.app.printRow(row.resultJSON)
}

func (t *transfer) refuse(name string, err error) {
	problem := errorJSON(err)
	t.rows = append(t.rows, transferRow{resultJSON: resultJSON{Name: name, KeyID: problem.KeyID, Change: "refused", Error: &problem}})
	t.summary.Refused++
	t.fail(err)
}

func (t *transfer) fail(err error) {
	t.failed = append(t.failed, err)
	t.clear()
	for _, one := range parts(err) {
		t.app.say(one)
	}
}

// clear takes the progress bar off the line that is about to be written.
func (t *transfer) clear() {
	if t.bar != nil {
		_ = t.bar.Clear()
	}
}

// retireAliases looks for aliases that mean one of these keys and are not among those that KMS listed for it. They were
// deleted, or moved to a key that was not asked for; KMS says which.
func (t *transfer) retireAliases() error {
	var scopes []kmskey.Scope
	for arn := range t.listed {
		if !slices.Contains(scopes, arn.Scope) {
			scopes = append(scopes, arn.Scope)
		}
	}
	if len(scopes) == 0 {
		return nil
	}
	store, err := t.app.openStoreQuietly()
	if err != nil {
		return err
	}
	var lost []kmskey.AliasARN
	for _, scope := range scopes {
		for alias, err := range store.Aliases(scope) {
			if err != nil {
				t.fail(err)
				continue
			}
			names, told := t.listed[alias.Target()]
			if told && !slices.Contains(names, alias.ARN.Alias) {
				lost = append(lost, alias.ARN)
			}
		}
	}
	if err := store.Close(); err != nil {
		return err
	}
	for _, alias := range lost {
		target, at, err := t.client.AliasTarget(t.app.ctx, alias)
		if err != nil {
			t.fail(kmserr.New(kmserr.As(err).Name, "%s means a key that no longer has it, and what it means now is not known: %s", alias, kmserr.As(err).Fact).
				WithHint("%s", kmserr.As(err).Hint).WithKey(alias.String()))
			continue
		}
		if err := t.moveAlias(alias, target, at); err != nil {
			return err
		}
	}
	return nil
}

func (t *transfer) moveAlias(alias kmskey.AliasARN, target string, at kmskey.Time) (err error) {
	w, err := t.app.openWriter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	outcome, err := w.MoveAlias(alias, target, at)
	if err != nil || outcome.Change == keystore.Unchanged {
		return err
	}
	return t.took(transferRow{resultJSON: resultJSON{Name: alias.String(), KeyID: alias.String(), Change: string(outcome.Change), What: outcome.What, Kept: outcome.Kept}})
}

// finish prints the summary and returns what decides the exit code: an alarm alone is 1, everything else that failed 3.
func (t *transfer) finish() error {
	a, s := t.app, t.summary
	a.printed = true // each failure was said as it came
	failures := t.failed
	if slices.ContainsFunc(failures, func(err error) bool { return !kmserr.Is(err, kmserr.KeyMaterialMismatch) }) {
		failures = append(failures, kmserr.New(kmserr.KMSService, "%d keys were not brought", s.Refused+s.NotAsked))
	}
	if a.output == "json" {
		if t.rows == nil {
			t.rows = []transferRow{}
		}
		if err := a.json(map[string]any{"Results": t.rows, "Summary": s}); err != nil {
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	}
	text := fmt.Sprintf("%d new, %d unchanged, %d changed, %d refused", s.New, s.Unchanged, s.Changed, s.Refused)
	if s.Skipped > 0 {
		text += fmt.Sprintf("; %d others are not for signing, or outside the filter", s.Skipped)
	}
	if s.NotAsked > 0 {
		text += fmt.Sprintf("; %d not asked", s.NotAsked)
	}
	fmt.Fprintln(a.stderr, text)
	return errors.Join(failures...)
}

// isTerminal reports whether a person is looking.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
