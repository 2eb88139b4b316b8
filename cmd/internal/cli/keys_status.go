package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// statusRow is one key in keys status.
type statusRow struct {
	KeyID              string        `json:"KeyId"`
	Verifies           bool          `json:"Verifies"`
	Refusal            *machineError `json:"Refusal,omitempty"`
	Until              string        `json:"Until,omitempty"` // RFC 3339
	Because            string        `json:"Because,omitempty"`
	KeyState           string        `json:"KeyState"`
	SnapshotAgeSeconds *int64        `json:"SnapshotAgeSeconds,omitempty"` // nil: unknown
	StateAgeSeconds    *int64        `json:"StateAgeSeconds,omitempty"`    // nil: unknown
	Aliases            []string      `json:"Aliases,omitempty"`
	SigningAlgorithms  []string      `json:"SigningAlgorithms,omitempty"`
	Stale              bool          `json:"Stale"`
	// AliasRefusals are of aliases by which nothing verifies, though it does by the key's ARN.
	AliasRefusals []aliasRefusal `json:"AliasRefusals,omitempty"`

	until   time.Time
	unknown bool // the key's state, which the policy demands
}

type aliasRefusal struct {
	Alias string `json:"Alias"`
	machineError
}

func (a *app) keysStatus() *cobra.Command {
	var check bool
	var ahead string
	c := &cobra.Command{
		Use:   "status [KEY…]",
		Short: "What each key is good for now, and until when",
		Long: `Tells for every signing key whether it verifies under the policy in force, and until when; its state, age, aliases and the
algorithms that record and policy leave. Keys that are refused stand first, then those that will be refused soonest.

A key is stale if what is known of it is too old for the policy, or will be --within the time given, or if the policy demands a known
state and its is not. With --check a stale
key makes the exit code 1, so that CI can watch a store, and so does a store without a signing key, and that no key verifies; a key that
was disabled or blocked on purpose is not stale. A named key that does not sign is an error.`,
		Example: "  awskms-offline keys status\n  awskms-offline keys status --check --within 72h",
		RunE: func(c *cobra.Command, args []string) error {
			within, ok := kmskey.ParseAge(ahead)
			if !ok {
				var err error
				if within, err = time.ParseDuration(ahead); err != nil || within < 0 {
					return invalid("--within is %q, expected a time from now such as 3d or 72h", ahead)
				}
			}
			return a.runStatus(args, check, within)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "exit with 1 if a key is stale, or none verifies")
	c.Flags().StringVar(&ahead, "within", "0s", "count as stale what will be in this time: 3d, 72h")
	return c
}

func (a *app) runStatus(names []string, check bool, within time.Duration) error {
	v, err := a.openVerifier(0)
	if err != nil {
		return err
	}
	defer v.Close()
	a.warn(v.Store().Warnings())
	keys, unread, err := keysNamed(v.Store(), names)
	if err != nil {
		return err
	}
	aliases, problems := aliasesByKey(v.Store())
	problems = append(unread, problems...)
	now := time.Now()
	rows := []statusRow{}
	stale, unknown := 0, 0
	for _, key := range keys {
		if key.Usage() != kmskey.SignVerify {
			if len(names) > 0 {
				problems = append(problems, kmserr.New(kmserr.InvalidKeyUsage, "the key is for %s: no signature verifies by it", key.Usage()).
					WithHint("Name keys that sign; `awskms-offline keys show` tells what this one is for.").WithKey(key.ARN().String()))
			}
			continue
		}
		row, err := a.statusRowOf(v, key, aliases[key.ARN()], now, within)
		if err != nil {
			return err
		}
		switch {
		case row.unknown:
			unknown++
		case row.Stale:
			stale++
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, soonestRefusedFirst)
	if check && len(rows) == 0 && len(problems) == 0 { // as a batch without a line: another store must not pass
		problems = append(problems, kmserr.New(kmserr.NotFound, "the store %s holds no signing key", v.Store().Home().Path).
			WithHint("Name the store that is meant, or import its keys."))
	}
	if check && unknown > 0 {
		problems = append(problems, kmserr.New(kmserr.KMSInvalidState, "the state of %s is not known, and the policy demands one", count(unknown, "key", "keys")).
			WithHint("Run `awskms-offline keys refresh` where AWS can be called, or import what `aws kms describe-key` prints."))
	}
	if check && stale > 0 {
		problems = append(problems, kmserr.New(kmserr.SnapshotExpired, "%s too old for the policy%s", count(stale, "key is", "keys are"), withinText(within)).
			WithHint("Run `awskms-offline keys refresh` where AWS can be called, or import newer answers."))
	}
	if check && len(problems) == 0 {
		problems = append(problems, noneVerifies(rows)...)
	}
	if a.output == "json" {
		return a.result(map[string]any{"Keys": rows}, problems)
	}
	if len(rows) == 0 && len(problems) == 0 {
		fmt.Fprintln(a.stderr, "The store holds no signing key.")
		return nil
	}
	if err := a.statusTable(rows); err != nil {
		return err
	}
	return errors.Join(problems...)
}

// noneVerifies is an error if every key is refused, whatever for: a policy that names no key by its right name makes none stale.
func noneVerifies(rows []statusRow) []error {
	refusals := make(map[kmserr.Name]int)
	for _, row := range rows {
		if row.Verifies {
			return nil
		}
		refusals[kmserr.Name(row.Refusal.Code)]++
	}
	if len(rows) == 0 {
		return nil
	}
	return []error{kmserr.New(kmserr.Name(rows[0].Refusal.Code), "no key verifies: %s", refusalCounts(refusals)).
		WithHint("%s", "`awskms-offline policy show KEY` tells the rules for one, `awskms-offline doctor` what a policy names and the store lacks.")}
}

// statusRowOf asks what a key, and its aliases, are good for.
func (a *app) statusRowOf(v *verifier.Verifier, key *kmskey.Key, aliases []string, now time.Time, within time.Duration) (statusRow, error) {
	outlook, err := v.Outlook(a.ctx, key.ARN().String())
	if err != nil {
		return statusRow{}, err
	}
	snapshot := key.Record().Snapshot
	row := statusRow{
		KeyID: key.ARN().String(), Verifies: outlook.Refusal == nil, KeyState: key.State().String(), Aliases: aliases,
		SnapshotAgeSeconds: age(now, snapshot.Time), StateAgeSeconds: age(now, snapshot.StateTime),
		Because: outlook.Because, until: outlook.Until,
	}
	if !outlook.Until.IsZero() {
		row.Until = outlook.Until.UTC().Format(time.RFC3339)
	}
	for _, alg := range outlook.SigningAlgorithms {
		row.SigningAlgorithms = append(row.SigningAlgorithms, string(alg))
	}
	if outlook.Refusal != nil {
		problem := errorJSON(outlook.Refusal)
		row.Refusal = &problem
		row.unknown = kmserr.Is(outlook.Refusal, kmserr.KMSInvalidState) && key.State() == kmskey.StateUnknown
		row.Stale = row.unknown || tooOld(outlook.Refusal)
		return row, nil
	}
	row.Stale = within > 0 && !outlook.Until.IsZero() && outlook.Until.Sub(now) < within
	err = a.statusByAlias(v, key.ARN(), &row, now, within)
	return row, err
}

// statusByAlias adds to a row what its aliases are good for: what an alias means has a date of its own.
func (a *app) statusByAlias(v *verifier.Verifier, key kmskey.ARN, row *statusRow, now time.Time, within time.Duration) error {
	for _, name := range row.Aliases {
		outlook, err := v.Outlook(a.ctx, kmskey.AliasARN{Scope: key.Scope, Alias: name}.String())
		if err != nil {
			return err
		}
		switch {
		case outlook.Refusal != nil:
			row.AliasRefusals = append(row.AliasRefusals, aliasRefusal{name, errorJSON(outlook.Refusal)})
			row.Stale = row.Stale || tooOld(outlook.Refusal)
		case !outlook.Until.IsZero() && (row.until.IsZero() || outlook.Until.Before(row.until)):
			row.until, row.Until, row.Because = outlook.Until, outlook.Until.UTC().Format(time.RFC3339), outlook.Because
			row.Stale = row.Stale || within > 0 && outlook.Until.Sub(now) < within
		}
	}
	return nil
}

func tooOld(refusal error) bool {
	return kmserr.Is(refusal, kmserr.SnapshotExpired) || kmserr.Is(refusal, kmserr.Clock)
}

// rankOf has the keys that are refused first, then those that are by an alias, then the rest.
func rankOf(r statusRow) int {
	switch {
	case !r.Verifies:
		return 0
	case len(r.AliasRefusals) > 0:
		return 1
	}
	return 2
}

// soonestRefusedFirst has the refused before the others, and of these the one first that will be refused first.
func soonestRefusedFirst(x, y statusRow) int {
	if byRefusal := cmp.Compare(rankOf(x), rankOf(y)); byRefusal != 0 {
		return byRefusal
	}
	if x.until.IsZero() != y.until.IsZero() {
		return cmp.Compare(rank(x.until.IsZero()), rank(y.until.IsZero()))
	}
	return x.until.Compare(y.until)
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

func withinText(within time.Duration) string {
	if within == 0 {
		return ""
	}
	return fmt.Sprintf(", or will be within %s", within)
}

// age is a whole number of seconds, nil where the time is not known.
func age(now time.Time, at kmskey.Time) *int64 {
	if at.IsZero() {
		return nil
	}
	seconds := int64(now.Sub(at.Time).Seconds())
	return &seconds
}

func ageText(seconds *int64) string {
	if seconds == nil {
		return "unknown"
	}
	switch d := time.Duration(*seconds) * time.Second; {
	case d < 0:
		return "in the future"
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func (a *app) statusTable(rows []statusRow) error {
	if len(rows) == 0 {
		return nil
	}
	var table [][]string
	for _, r := range rows {
		verifies := "yes"
		switch {
		case r.Refusal != nil:
			verifies = "no: " + r.Refusal.Code
		case r.Until != "":
			verifies = "until " + r.Until
		}
		table = append(table, []string{
			verifies, r.KeyID, plain(r.KeyState), ageText(r.StateAgeSeconds), ageText(r.SnapshotAgeSeconds),
			orDash(strings.Join(r.Aliases, " ")), orDash(strings.Join(r.SigningAlgorithms, " ")),
		})
		for _, alias := range r.AliasRefusals {
			a.note(fmt.Sprintf("%s verifies, but not by %s: %s: %s", r.KeyID, alias.Alias, alias.Code, alias.Message))
		}
	}
	return a.table([]string{"VERIFIES", keyColumn, "STATE", "STATE AGE", "KEY AGE", "ALIASES", "ALGORITHMS"}, table)
}
