package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func (a *app) keys() *cobra.Command {
	c := &cobra.Command{
		Use:                        "keys",
		Short:                      "The store of keys: pull, refresh, status, import, list, show, export, remove, block, unblock",
		Long:                       "Commands for the store of downloaded keys. docs/keystore.md says what lies in it and what a write may change.",
		Example:                    "  awskms-offline keys import release.json release-state.json\n  awskms-offline keys list",
		Args:                       noSuchCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       noCommand,
	}
	c.AddCommand(a.keysPull(), a.keysRefresh(), a.keysStatus(), a.keysImport(), a.keysList(), a.keysShow(), a.keysExport(), a.keysRemove(), a.keysBlock(), a.keysUnblock())
	return c
}

func (a *app) keysList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys in the store",
		Long: `Lists every key with its spec, usage, state, snapshot date and aliases. A record that cannot be read is told, and the exit code is 3.
The state is what KMS said: whether a key verifies here, blocks and policy included, keys status tells.`,
		Example: "  awskms-offline keys list --output json",
		Args:    exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			aliases, problems := aliasesByKey(store)
			rows := []keyRow{}
			for entry, err := range store.List() {
				if err != nil {
					problems = append(problems, err)
					continue
				}
				rows = append(rows, rowOf(entry.Key, aliases[entry.Key.ARN()]))
			}
			if a.output == "json" {
				list := keyList{Keys: rows}
				for _, problem := range problems {
					list.Errors = append(list.Errors, errorJSON(problem))
				}
				return a.result(list, problems)
			}
			return errors.Join(append(problems, a.keyTable(rows))...)
		},
	}
}

// keyList is JSON output of keys list. Errors are about what could not be read.
type keyList struct {
	Keys   []keyRow       `json:"Keys"`
	Errors []machineError `json:"Errors,omitempty"`
}

// keyRow is a key in lists.
type keyRow struct {
	KeyID             string   `json:"KeyId"`
	KeySpec           string   `json:"KeySpec"`
	KeyUsage          string   `json:"KeyUsage"`
	SigningAlgorithms []string `json:"SigningAlgorithms,omitempty"`
	KeyState          string   `json:"KeyState"`
	SnapshotTime      string   `json:"SnapshotTime,omitempty"`
	StateTime         string   `json:"StateTime,omitempty"`
	SnapshotSource    string   `json:"SnapshotSource"`
	Aliases           []string `json:"Aliases,omitempty"`
	PublicKeySHA256   string   `json:"PublicKeySHA256"`
}

func rowOf(k *kmskey.Key, aliases []string) keyRow {
	r := k.Record()
	row := keyRow{
		KeyID: k.ARN().String(), KeySpec: string(k.Spec()), KeyUsage: string(k.Usage()), KeyState: k.State().String(),
		SnapshotTime: timeText(r.Snapshot.Time), StateTime: timeText(r.Snapshot.StateTime), SnapshotSource: r.Snapshot.Source,
		Aliases: aliases, PublicKeySHA256: k.Fingerprint(),
	}
	for _, alg := range k.SigningAlgorithms() {
		row.SigningAlgorithms = append(row.SigningAlgorithms, string(alg))
	}
	return row
}

// aliasesByKey returns the aliases of every key, and what of them could not be read.
func aliasesByKey(store *keystore.Store) (map[kmskey.ARN][]string, []error) {
	byKey := make(map[kmskey.ARN][]string)
	problems := eachAlias(store, func(alias keystore.AliasEntry) {
		byKey[alias.Target()] = append(byKey[alias.Target()], alias.ARN.Alias)
	})
	for _, names := range byKey {
		slices.Sort(names)
	}
	return byKey, problems
}

// eachAlias calls take for every alias in the store, and returns what could not be read.
func eachAlias(store *keystore.Store, take func(keystore.AliasEntry)) (problems []error) {
	for alias, err := range store.Aliases(kmskey.Scope{}) {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		take(alias)
	}
	return problems
}

func (a *app) keyTable(keys []keyRow) error {
	if len(keys) == 0 {
		fmt.Fprintln(a.stderr, "The store holds no key. Import one: awskms-offline keys import FILE")
		return nil
	}
	var rows [][]string
	for _, r := range keys {
		asOf := r.StateTime
		if asOf == "" {
			asOf = r.SnapshotTime
		}
		if at, err := time.Parse(time.RFC3339, asOf); err == nil {
			asOf = at.Format(time.DateOnly)
		} else {
			asOf = "-"
		}
		rows = append(rows, []string{r.KeyID, r.KeySpec, r.KeyUsage, plain(r.KeyState), asOf, strings.Join(r.Aliases, " ")})
	}
	return a.table([]string{keyColumn, "SPEC", "USAGE", "STATE", "AS OF", "ALIASES"}, rows)
}
