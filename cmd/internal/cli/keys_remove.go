package cli

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func (a *app) keysRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove KEY…",
		Short: "Remove keys, or aliases, from the store",
		Long: `Removes the record of each key and the aliases that mean it; given an alias, only that alias. Blocks stay in force. What was
known of a removed key, its state above all, is gone: to stop a key from verifying, block it. A multi-Region key is then answered for by its records of
other Regions, which are named.`,
		Example: "  awskms-offline keys remove arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Args:    atLeastOne("at least one key or alias"),
		RunE: func(_ *cobra.Command, args []string) error {
			refs := make([]kmskey.Ref, len(args))
			for i, arg := range args {
				var err error
				if refs[i], err = kmskey.ParseRef(arg); err != nil {
					return err
				}
			}
			return a.changeStore(a.openWriter, func(w *keystore.Writer) (results []result) {
				for i, ref := range refs {
					outcome, err := w.Remove(ref)
					results = append(results, result{name: args[i], outcome: outcome, err: err})
				}
				return results
			})
		},
	}
}

func (a *app) keysBlock() *cobra.Command {
	var reason, by, since string
	c := &cobra.Command{
		Use:   "block KEY",
		Short: "Block a key: nothing it signed verifies here",
		Long: `Blocks a key by its ARN and, where its record is in the store, by its key material as well, so that the same key under
another name, Region or record is blocked too. A block stays through import and remove, until unblock. --since is recorded and shown, never obeyed.`,
		Example: "  awskms-offline keys block alias/release --reason 'leaked, incident 4711'",
		Args:    exactly(1, "one key"),
		RunE: func(_ *cobra.Command, args []string) error {
			b := keystore.Block{Reason: reason, By: by, Time: kmskey.Time{Time: time.Now().UTC().Truncate(time.Second)}}
			if by == "" {
				u, err := user.Current()
				b.By = userName(u, err, os.Getuid())
			}
			if since != "" {
				var err error
				if b.Since, err = kmskey.ParseTime(since); err != nil {
					return invalid("--since: %v", err)
				}
			}
			ref, err := kmskey.ParseRef(args[0])
			if err != nil {
				return err
			}
			return a.changeStore(a.openToBlock, func(w *keystore.Writer) []result {
				arn, err := blockTarget(w.Store(), ref)
				if err != nil {
					return []result{{name: args[0], err: err}}
				}
				b.KeyID = arn.String()
				outcome, err := w.Block(b)
				return []result{{name: args[0], outcome: outcome, err: err, verb: "blocked"}}
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever meets the refusal")
	c.Flags().StringVar(&by, "by", "", "who blocks it (default: the current user)")
	c.Flags().StringVar(&since, "since", "", "since when the key is not to be trusted, RFC 3339; recorded only")
	return c
}

// userName is the name of the current user or, as in a container that has no list of users, the number; "" where neither is
// known.
func userName(u *user.User, err error, number int) string {
	switch {
	case err == nil && u.Username != "":
		return u.Username
	case number >= 0: // Windows has none
		return strconv.Itoa(number)
	}
	return ""
}

// blockTarget returns the ARN to block. A key ARN needs no record: a key may be blocked before it is known.
func blockTarget(store *keystore.Store, ref kmskey.Ref) (kmskey.ARN, error) {
	if arn, ok := ref.ARN(); ok {
		return arn, nil
	}
	found, err := store.Resolve(ref, keystore.ResolveOptions{})
	if err != nil {
		return kmskey.ARN{}, err
	}
	return found.Target, nil
}

func (a *app) keysUnblock() *cobra.Command {
	return &cobra.Command{
		Use:     "unblock KEY",
		Short:   "Lift the blocks of a key",
		Long:    "Lifts the blocks of a key, by its ARN and by its key material.",
		Example: "  awskms-offline keys unblock alias/release",
		Args:    exactly(1, "one key"),
		RunE: func(_ *cobra.Command, args []string) error {
			ref, err := kmskey.ParseRef(args[0])
			if err != nil {
				return err
			}
			return a.changeStore(a.openWriter, func(w *keystore.Writer) []result {
				arn, err := blockTarget(w.Store(), ref)
				if err != nil {
					return []result{{name: args[0], err: err}}
				}
				fingerprint := ""
				found, err := w.Store().Resolve(kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID}, keystore.ResolveOptions{})
				if err == nil {
					fingerprint = found.Entries[0].Key.Fingerprint()
				}
				_, err = w.Unblock(arn, fingerprint)
				return []result{{name: args[0], outcome: keystore.Outcome{ARN: arn, Change: keystore.Changed}, err: err, verb: "unblocked"}}
			})
		},
	}
}

// result is what became of one thing that was asked for.
type result struct {
	name    string
	outcome keystore.Outcome
	err     error
	verb    string // instead of the outcome's change
}

// changeStore opens the store for writing, makes the changes and prints what became of each.
func (a *app) changeStore(open func() (*keystore.Writer, error), change func(*keystore.Writer) []result) (err error) {
	w, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return a.report(change(w))
}
