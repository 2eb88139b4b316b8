package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/internal/nearest"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// Levels of a finding.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelDanger  = "danger"
)

// partStore is the part of findings about the store.
const partStore = "store"

// finding is one line of doctor's report.
type finding struct {
	Level string `json:"Level"`
	Part  string `json:"Part"` // "store", "notation", "cosign"
	Fact  string `json:"Fact"`
	Cure  string `json:"Cure,omitempty"`
}

// report collects findings.
type report struct {
	findings []finding
	// rules are the policy in force, once the store was examined; none before, and where it cannot be told.
	rules policy.Policy
}

func (r *report) add(level, part, cure, format string, args ...any) {
	r.findings = append(r.findings, finding{level, part, fmt.Sprintf(format, args...), cure})
}

func (a *app) doctor() *cobra.Command {
	var notationDir, bundleFile string
	var repair bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the store, and whether Notation and cosign are set up safely",
		Long: `Checks the store: which one is used and why, its permissions, every record, alias and block; that decisions can be logged; that the
policy names keys of the store, and lets one of them verify. Checks Notation, where it is
configured: the plugin is installed and of this version, no other is installed that a signature could choose, the trust policy
names only key ARNs at level strict, its ca: stores hold only certificates of the keys that it names, and the log of
decisions is not sent where Notation loses it. Checks the cosign on PATH, if there is one: its version, as of 2.6.5 and 3.1.3
the key in a file of --bundle does not take the place of --key. None of them is run.

--bundle also writes what the report of a fault needs into one file of JSON, to be read before it is sent: versions, findings, the names,
modes and sizes of the store's files, counts. It holds no file's content, no credentials, and no account numbers.

Exit codes: 0 nothing dangerous was found; 1 something dangerous in Notation's set-up, or cosign's; 3 the store is damaged, or the log
that the policy requires cannot be written.`,
		Example: "  awskms-offline doctor\n  awskms-offline doctor --repair\n  awskms-offline doctor --bundle report.json",
		Args:    exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			r := &report{rules: policy.None{}}
			v, storeErr := a.examineStore(r, repair)
			if v != nil {
				defer v.Close()
			}
			if err := examineNotation(r, notationDir, v); err != nil {
				return err
			}
			examineCosign(r)
			if bundleFile != "" {
				store, err := a.openStoreQuietly() // also under a policy that nothing can be decided by
				if err == nil {
					defer store.Close()
				}
				if err := a.writeBundle(bundleFile, r.findings, store); err != nil {
					return err
				}
			}
			if err := a.printReport(r); err != nil {
				return err
			}
			if storeErr != nil {
				a.printed = true
				return storeErr
			}
			if slices.ContainsFunc(r.findings, func(f finding) bool { return f.Level == levelDanger }) {
				a.printed = true
				return kmserr.New(kmserr.KeyNotAllowed, "the set-up of Notation or cosign is not safe")
			}
			return nil
		},
	}
	c.Flags().StringVar(&notationDir, "notation-config", "", "Notation's configuration folder (default: $NOTATION_CONFIG, else notation in the user's configuration folder)")
	pathVar(c.Flags(), &bundleFile, "bundle", "", "also write what the report of a fault needs into this new file")
	c.Flags().BoolVar(&repair, "repair", false, "mend what a crash may have left: the index, aliases without a key and without a history")
	return c
}

// examineStore reports on the store. An error means that it cannot be relied on; v is nil where nothing can be decided.
func (a *app) examineStore(r *report, repair bool) (v *verifier.Verifier, err error) {
	fail := func(err error) (*verifier.Verifier, error) {
		e := kmserr.As(err)
		r.add(levelDanger, partStore, e.Hint, "%s", e.Error())
		return nil, err
	}
	if repair {
		if err := a.repair(r); err != nil {
			return fail(err)
		}
	}
	if v, err = a.openVerifier(0); err != nil {
		return fail(err)
	}
	store := v.Store()
	r.rules = v.Policy()
	r.add(levelOK, partStore, "", "the store is %s, chosen by %s", store.Home().Path, store.Home().ChosenBy)
	unlogged := a.examineLog(r)
	damage := examineFiles(r, store)
	examineKeys(r, store)
	examineGrants(r, store)
	a.examineOutlook(r, v)
	for i, w := range slices.Concat(store.Warnings(), r.rules.Warnings()) {
		if !slices.Contains(store.Warnings()[:min(i, len(store.Warnings()))], w) { // the machine's folder may be both's
			r.add(levelWarning, partStore, "", "%s", w)
		}
	}
	if damage == nil {
		damage = unlogged
	}
	return v, damage
}

func (a *app) repair(r *report) error {
	w, err := a.openWriter()
	if err != nil {
		return err
	}
	mended, err := w.Repair()
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	for _, m := range mended {
		r.add(levelOK, partStore, "", "repaired: %s", m)
	}
	return nil
}

// examineLog looks at the log as whoever writes a line does, and writes none. The error is why a log that the policy requires
// cannot be written: nothing verifies then.
func (a *app) examineLog(r *report) error {
	path, err := verifier.LogPath(a.verifierOptions())
	required := r.rules.Log().Required
	level, without := levelWarning, "no decision is logged"
	if required {
		level, without = levelDanger, "every verification is refused, as the policy requires the log"
	}
	if err == nil && path != "" && path != "-" {
		var log *audit.FileLog
		log, err = audit.NewFileLog(audit.Config{Path: path, UnsafePermissions: a.unsafe && !r.rules.Store().StrictPermissions})
		if err == nil {
			err = log.Check()
		}
	}
	switch {
	case err != nil:
		e := kmserr.As(err)
		r.add(level, partStore, e.Hint, "%s: %s", without, e.Fact)
	case path == "":
		r.add(levelOK, partStore, "", "the policy switches the log of decisions off")
	case path == "-":
		r.add(levelOK, partStore, "", "decisions are logged to standard error")
	default:
		r.add(levelOK, partStore, "", "decisions are logged to %s", path)
	}
	if required {
		return err
	}
	return nil
}

// examineFiles returns the first damage for which the store cannot be relied on.
func examineFiles(r *report, store *keystore.Store) (damage error) {
	for p := range store.Fsck() {
		level := levelDanger
		if p.Harmless {
			level = levelWarning
		}
		cure := p.Remedy
		if p.Repairable {
			cure = "Run `awskms-offline doctor --repair`."
		}
		if name := filepath.Base(p.Path); p.Harmless && len(r.rules.Files()) == 0 && nearest.Name(name, []string{policy.FileName}) != "" {
			cure = "Is " + policy.FileName + " meant? No policy is in force."
		}
		fact := p.Fact
		if !strings.Contains(fact, p.Path) {
			fact = p.Path + ": " + fact
		}
		r.add(level, partStore, cure, "%s", fact)
		if !p.Harmless && damage == nil {
			damage = kmserr.New(kmserr.StoreIntegrity, "%s", fact).WithKey(p.KeyARN)
		}
	}
	return damage
}

// examineKeys counts the keys by their states, and tells of how many too little is known.
func examineKeys(r *report, store *keystore.Store) {
	states := make(map[string]int)
	total, undated := 0, 0
	for entry, err := range store.List() {
		if err != nil {
			continue // told by Fsck
		}
		total++
		states[entry.Key.State().String()]++
		if entry.Key.Record().Snapshot.Time.IsZero() {
			undated++
		}
	}
	var counts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		counts = append(counts, fmt.Sprintf("%d %s", states[state], state))
	}
	if total == 0 {
		r.add(levelWarning, partStore, "Import one: awskms-offline keys import FILE.", "the store holds no key, so nothing verifies")
	} else {
		r.add(levelOK, partStore, "", "%s: %s", count(total, "key", "keys"), strings.Join(counts, ", "))
	}
	if n := states[kmskey.StateUnknown.String()]; n > 0 {
		r.add(levelWarning, partStore, "Import their describe-key output.", "the state of %s is not known, so a disabled key would not be noticed", count(n, "key", "keys"))
	}
	if undated > 0 {
		r.add(levelWarning, partStore, "Import them again with --snapshot-time.", "%s without a date: an age limit would refuse them", count(undated, "key", "keys"))
	}
}

// maxAbsent is how many keys are told one by one that grants name and the store does not hold: a policy may be for more stores
// than one.
const maxAbsent = 10

// examineGrants tells of what grants name and the store does not hold, as a misspelt alias.
func examineGrants(r *report, store *keystore.Store) {
	absent := 0
	for _, granted := range r.rules.Granted() {
		for _, key := range granted.Keys {
			ref, err := kmskey.ParseRef(key)
			if err == nil {
				_, err = store.Resolve(ref, keystore.ResolveOptions{ExactRegion: r.rules.Store().ExactRegion})
			}
			if !kmserr.Is(err, kmserr.NotFound) {
				continue // what is damaged Fsck tells
			}
			if absent++; absent <= maxAbsent {
				r.add(levelWarning, partStore, kmserr.As(err).Hint, "the grant %q of %s names %s, which is not in the store", granted.Grant.Name, granted.Grant.File, key)
			}
		}
	}
	if absent > maxAbsent {
		r.add(levelWarning, partStore, "", "grants name %s that %s not in the store", count(absent-maxAbsent, "more key", "more keys"), map[bool]string{true: "is", false: "are"}[absent-maxAbsent == 1])
	}
}

// examineOutlook tells if nothing verifies by any of the store's signing keys.
func (a *app) examineOutlook(r *report, v *verifier.Verifier) {
	refusals := make(map[kmserr.Name]int)
	for entry, err := range v.Store().List() {
		if err != nil || entry.Key.Usage() != kmskey.SignVerify {
			continue
		}
		outlook, err := v.Outlook(a.ctx, entry.Key.ARN().String())
		if err != nil || outlook.Refusal == nil {
			return // one verifies, or nothing can be said, which is told elsewhere
		}
		refusals[kmserr.As(outlook.Refusal).Name]++
	}
	if len(refusals) > 0 {
		r.add(levelWarning, partStore, seeStatus, "no key of this store verifies under the policy: %s", refusalCounts(refusals))
	}
}

const seeStatus = "`awskms-offline keys status` and `awskms-offline policy show KEY` say why."

// refusalCounts is how often keys are refused by which error.
func refusalCounts(refusals map[kmserr.Name]int) string {
	var counts []string
	for _, code := range slices.Sorted(maps.Keys(refusals)) {
		counts = append(counts, fmt.Sprintf("%d %s", refusals[code], code))
	}
	return strings.Join(counts, ", ")
}

func (a *app) printReport(r *report) error {
	if a.output == "json" {
		return a.json(map[string]any{"Findings": r.findings})
	}
	var b strings.Builder
	for _, f := range r.findings {
		level := fmt.Sprintf("%-8s", f.Level) // coloured once it is padded
		switch f.Level {
		case levelOK:
			level = a.out.good(level)
		case levelWarning:
			level = a.out.caution(level)
		default:
			level = a.out.bad(level)
		}
		fmt.Fprintf(&b, "%s %s: %s\n", level, f.Part, plain(f.Fact))
		if f.Cure != "" {
			fmt.Fprintf(&b, "         %s %s\n", a.out.aside("hint:"), plain(f.Cure))
		}
	}
	return a.printf("%s", b.String())
}
