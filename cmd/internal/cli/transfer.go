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

// maxBatch is how many keys, and lockHold how long, are written before the store's lock is given back, so that others come to
// write as well. lockPatience is how long is waited for them: what KMS has answered is not thrown away because a few other
// pulls and a slow disk are in the way.
const (
	maxBatch     = 64
	lockHold     = time.Second
	lockPatience = 2 * time.Minute
)

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
	// onRecord says that keys are asked for because they are in the store: what was removed meanwhile stays removed.
	onRecord bool

	bar     *progressbar.ProgressBar
	rows    []transferRow
	failed  []error
	others  []machineError // of failed, those that are not one row's
	summary transferSummary
	done    int // jobs of which it is known what became of them
	// aliases are those that KMS told of each key: all that it has, or with partly the one that was asked for.
	aliases map[kmskey.ARN]told
}

// told is what KMS said of a key's aliases.
type told struct {
	names []string
	// stateKnown says that DescribeKey is allowed for the key, and so for an alias of it.
	partly, stateKnown bool
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
	t.aliases = make(map[kmskey.ARN]told)
	if a.output == "text" && isTerminal(a.stderr) {
		t.bar = progressbar.NewOptions(len(t.jobs), progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowCount(),
			progressbar.OptionSetDescription("keys"), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	err := t.bring()
	if err == nil {
		err = t.confirmAliases()
	}
	if t.bar != nil {
		_ = t.bar.Finish() // what it shows decides nothing
	}
	for _, one := range parts(err) {
		if one != nil && !errors.Is(one, errTold) {
			t.fail(one)
		}
	}
	return t.finish()
}

// errTold ends the asking for what was told already.
var errTold = errors.New("told")

// orKnown is fetch, but of a key in a state in which KMS gives no public key it is the one in the store with that state: to
// refuse it would leave the key as it was known, and verifying.
func (t *transfer) orKnown(ref kmskey.Ref, fetch func(context.Context) (*awskms.Fetched, error)) func(context.Context) (*awskms.Fetched, error) {
	return func(ctx context.Context) (*awskms.Fetched, error) {
		got, err := fetch(ctx)
		if err == nil {
			return got, nil
		}
		return t.client.Withheld(ctx, ref, err, func(arn kmskey.ARN) *kmskey.Key {
			store, err := t.app.openStoreQuietly()
			if err != nil {
				return nil
			}
			defer store.Close()
			found, err := store.Resolve(kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID}, keystore.ResolveOptions{ExactRegion: true, Terse: true})
			if err != nil {
				return nil
			}
			return found.Entries[0].Key
		})
	}
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
	if t.summary.NotAsked = len(t.jobs) - t.done; broken == nil && t.summary.NotAsked > 0 && t.app.ctx.Err() != nil {
		broken = t.interrupted()
	}
	return broken
}

func (t *transfer) interrupted() error {
	return kmserr.New(kmserr.DeadlineExceeded, "interrupted: %d of %d keys were done", t.done, len(t.jobs)).
		WithHint("Run the command again: what was stored is whole and kept.")
}

// openWriter waits longer for other writers than a command that writes once, unless it was interrupted.
func (t *transfer) openWriter() (w *keystore.Writer, err error) {
	for start := time.Now(); time.Since(start) < lockPatience; {
		if w, err = t.app.openWriter(); !errors.Is(err, keystore.ErrBusy) || t.app.ctx.Err() != nil {
			break
		}
	}
	return w, err
}

// write writes one batch under the store's lock. Its error is of the store as a whole.
func (t *transfer) write(batch []arrival) (err error) {
	var w *keystore.Writer
	var since time.Time
	giveBack := func() error {
		if w == nil {
			return nil
		}
		closing := w
		w = nil
		return closing.Close()
	}
	defer func() { err = errors.Join(err, giveBack()) }()
	for _, got := range batch {
		if errors.Is(got.err, context.Canceled) {
			continue // not asked, as the command was interrupted
		}
		if errors.Is(got.err, awskms.ErrNotForSigning) {
			t.done++
			t.summary.Skipped++
			continue
		}
		if w != nil && time.Since(since) > lockHold {
			if err := giveBack(); err != nil {
				return err
			}
		}
		if got.err == nil && w == nil {
			if w, err = t.openWriter(); err != nil {
				return err
			}
			since = time.Now()
		}
		var row transferRow
		if got.err == nil {
			row, got.err = t.put(w, got)
			if errors.Is(got.err, keystore.ErrDisk) && row.Change == "" {
				return got.err // no other key will fare better
			}
		}
		t.done++
		if err := t.tell(row, got); err != nil {
			return err
		}
		if errors.Is(got.err, keystore.ErrDisk) {
			return errTold // no other key will fare better
		}
		if t.bar != nil {
			_ = t.bar.Add(1)
		}
	}
	return nil
}

// tell reports what became of a key; its row is empty if nothing was stored.
func (t *transfer) tell(row transferRow, got arrival) error {
	if row.Change == "" {
		t.refuse(got.job.name, got.err)
		return nil
	}
	if err := t.took(row); err != nil {
		return err
	}
	for _, err := range []error{got.err, got.fetched.Incomplete} {
		if err != nil {
			t.fail(err)
		}
	}
	return nil
}

// put stores a key. Where it has both a row and an error, the key was stored and one of its aliases was not.
func (t *transfer) put(w *keystore.Writer, got arrival) (transferRow, error) {
	key := got.fetched.Key
	opts := keystore.PutOptions{FromKMS: true, OnRecord: t.onRecord || got.fetched.Withheld}
	if at := got.fetched.AliasesAt; !at.IsZero() {
		opts.Aliases, opts.AliasTime = key.Record().Aliases, at
	}
	outcome, err := w.Put(key, opts)
	if outcome.Change == "" {
		return transferRow{}, err
	}
	t.aliases[key.ARN()] = told{names: key.Record().Aliases, partly: !got.fetched.AliasesKnown, stateKnown: key.Record().KeyMetadata != nil}
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
	return row, err
}

// took reports a key that was stored: at once as a line, or in the end as JSON.
func (t *transfer) took(row transferRow) error {
	t.rows = append(t.rows, row)
	if t.app.output == "json" {
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
	t.say(err)
}

// fail reports what failed and is not one job's.
func (t *transfer) fail(err error) {
	for _, one := range parts(err) {
		t.others = append(t.others, errorJSON(one))
	}
	t.say(err)
}

func (t *transfer) say(err error) {
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

// doubtful is an alias on record that KMS has not named for the key it means.
type doubtful struct {
	alias  kmskey.AliasARN
	told   told
	former bool // it only meant the key before
	target string
	at     kmskey.Time
	err    error
}

// confirmAliases looks for aliases that mean one of these keys and are not among those that KMS told of it. They were
// deleted, or moved to a key that was not asked for; or KMS told no aliases at all, as it does for keys of other accounts
// and where ListAliases is denied. Left alone they would go on meaning that key: KMS is asked for each.
func (t *transfer) confirmAliases() error {
	all, err := t.doubtfulAliases()
	if err != nil {
		return err
	}
	awskms.Each(t.app.ctx, t.parallel, len(all), func(ctx context.Context, i int) {
		all[i].target, all[i].at, all[i].err = t.client.AliasTarget(ctx, all[i].alias)
	})
	if t.app.ctx.Err() != nil && len(all) > 0 {
		return kmserr.New(kmserr.DeadlineExceeded, "interrupted: the keys were done, but not what %s now", count(len(all), "alias means", "aliases mean")).
			WithHint("Run the command again: what was stored is whole and kept.")
	}
	for batch := range slices.Chunk(all, maxBatch) {
		if err := t.moveAliases(batch); err != nil {
			return err
		}
	}
	return nil
}

func (t *transfer) doubtfulAliases() (all []doubtful, err error) {
	scopes := make(map[kmskey.Scope]bool)
	for arn := range t.aliases {
		scopes[arn.Scope] = true
	}
	if len(scopes) == 0 {
		return nil, nil
	}
	store, err := t.app.openStoreQuietly()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for scope := range scopes {
		for alias, err := range store.Aliases(scope) {
			if err != nil {
				if !slices.Contains(t.others, errorJSON(err)) { // its key's row has told it
					t.fail(err)
				}
				continue
			}
			if told, former, doubt := t.doubts(alias); doubt {
				all = append(all, doubtful{alias: alias.ARN, told: told, former: former})
			}
		}
	}
	return all, nil
}

// doubts reports whether an alias may mean something else than what is on record, and what KMS told of the key that says so:
// one that it means, or meant before.
func (t *transfer) doubts(alias keystore.AliasEntry) (said told, former, doubt bool) {
	if said, asked := t.aliases[alias.Target()]; asked {
		return said, false, !slices.Contains(said.names, alias.ARN.Alias)
	}
	// One that went away from a key whose aliases are not listed may have come back to it.
	for _, was := range alias.History {
		if said := t.aliases[kmskey.ARN{Scope: alias.ARN.Scope, KeyID: was.KeyID}]; said.partly {
			return said, true, !slices.Contains(said.names, alias.ARN.Alias)
		}
	}
	return told{}, false, false
}

// moveAliases records what KMS said of a batch of aliases. One that cannot be recorded keeps no other from it.
func (t *transfer) moveAliases(batch []doubtful) (err error) {
	var w *keystore.Writer
	defer func() {
		if w != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	for _, d := range batch {
		switch {
		case d.err != nil && d.told.partly && (d.former || !d.told.stateKnown) && kmserr.Is(d.err, kmserr.AccessDenied):
			t.app.note(fmt.Sprintf("%s: what it means now is not known: %s", d.alias, kmserr.As(d.err).Fact))
			continue
		case d.err != nil && d.told.partly:
			t.failAlias(d, "%s: what it means now is not known, and may be another key: %s")
			continue
		case d.err != nil:
			t.failAlias(d, "%s means a key that no longer has it, and what it means now is not known: %s")
			continue
		}
		if w == nil {
			if w, err = t.openWriter(); err != nil {
				return err
			}
		}
		outcome, err := w.MoveAlias(d.alias, d.target, d.at)
		switch {
		case errors.Is(err, keystore.ErrDisk):
			return err // no other alias will fare better
		case err != nil:
			t.fail(err) // the others would go on meaning their old keys
			continue
		}
		if outcome.Change == keystore.Unchanged || outcome.Confirmed {
			continue
		}
		row := transferRow{resultJSON: resultJSON{Name: d.alias.String(), KeyID: d.alias.String(), Change: string(outcome.Change), What: outcome.What, Kept: outcome.Kept}}
		if err := t.took(row); err != nil {
			return err
		}
	}
	return nil
}

func (t *transfer) failAlias(d doubtful, format string) {
	e := kmserr.As(d.err)
	t.fail(kmserr.New(e.Name, format, d.alias, e.Fact).WithHint("%s", e.Hint).WithCause(d.err).WithKey(d.alias.String()))
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
		answer := map[string]any{"Results": t.rows, "Summary": s}
		if len(t.others) > 0 {
			answer["Errors"] = t.others
		}
		if err := a.json(answer); err != nil {
			a.say(err)
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
