package cli

import (
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func (a *app) keysShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show KEY",
		Short: "Show one key: text, json, pem or der",
		Long: `Shows what the store knows of a key: the record, its aliases, blocks in force. --output json prints the record as it is
stored with the blocks in force beside it, pem and der the public key as a SubjectPublicKeyInfo. An alias is shown with the keys
that it meant before, and a key with the aliases that meant it.`,
		Example: "  awskms-offline keys show alias/release\n  awskms-offline keys show alias/release --output pem > release.pem",
		Args:    exactly(1, "one key: an ARN, a key ID or alias/NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			ref, err := kmskey.ParseRef(args[0])
			if err != nil {
				return err
			}
			store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			found, err := store.Resolve(ref, keystore.ResolveOptions{})
			if err != nil {
				return err
			}
			key := found.Entries[0].Key
			// A block of one Region's ARN covers all, so these are the blocks of every entry.
			blocks, err := store.Blocks([]kmskey.ARN{found.Target, key.ARN()}, key.Fingerprint())
			if err != nil {
				return err
			}
			switch a.output {
			case "json":
				return a.json(shownRecordOf(key, blocks))
			case "text":
				return a.showText(store, found, blocks)
			}
			if len(blocks) > 0 { // a bare public key cannot say so itself
				a.warn([]string{fmt.Sprintf("%s is %s", key.ARN(), blockText(blocks[0]))})
			}
			if a.output == "der" {
				return a.write(key.PublicKeyDER())
			}
			return a.write(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key.PublicKeyDER()}))
		},
	}
}

// blocksMember names what keys show tells beside the record's own members.
const blocksMember = "Blocks"

// shownRecord is JSON output of keys show: the record's members, and the blocks in force for it. Blocks is there when there
// is none, so that a reader can tell that from a version which did not say.
type shownRecord struct {
	kmskey.Record
	Blocks []keystore.Block `json:"Blocks"`
}

func shownRecordOf(key *kmskey.Key, blocks []keystore.Block) shownRecord {
	record := key.Record()
	delete(record.Unknown, blocksMember) // what an import by an older version may have kept
	return shownRecord{record, append([]keystore.Block{}, blocks...)}
}

func blockText(b keystore.Block) string {
	since := ""
	if !b.Since.IsZero() {
		since = ", not to be trusted since " + timeText(b.Since)
	}
	return fmt.Sprintf("BLOCKED by %s on %s%s: %s", orDash(b.By), orDash(timeText(b.Time)), since, orDash(b.Reason))
}

func (a *app) showText(store *keystore.Store, found *keystore.Resolution, blocks []keystore.Block) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-20s %s\n", name, plain(fmt.Sprintf(format, args...)))
	}
	aliases := make(map[kmskey.ARN][]string)
	former := make(map[kmskey.ARN][]string)
	problems := eachAlias(store, func(alias keystore.AliasEntry) {
		aliases[alias.Target()] = append(aliases[alias.Target()], alias.ARN.Alias)
		for _, was := range alias.History {
			key := kmskey.ARN{Scope: alias.ARN.Scope, KeyID: was.KeyID}
			former[key] = append(former[key], fmt.Sprintf("%s meant this key from %s to %s", alias.ARN.Alias, orUnknown(was.From), orUnknown(was.To)))
		}
	})
	if len(problems) > 0 {
		return problems[0]
	}
	for _, entry := range found.Entries {
		k, r := entry.Key, entry.Key.Record()
		line("Key", "%s", k.ARN())
		line("Spec", "%s", k.Spec())
		line("Usage", "%s", k.Usage())
		line("Signing algorithms", "%s", orDash(kmskey.JoinNames(k.SigningAlgorithms())))
		line("State", "%s", k.State())
		line("State as of", "%s", orDash(timeText(r.Snapshot.StateTime)))
		line("Public key as of", "%s", orDash(timeText(r.Snapshot.Time)))
		line("Source", "%s", orDash(r.Snapshot.Source))
		if m := r.KeyMetadata; m != nil && !m.DeletionDate.IsZero() {
			line("Deletion date", "%s", timeText(m.DeletionDate))
		}
		if id := k.DistinguishingID(); id.Given() {
			line("Distinguishing ID", "%q", id.String())
		}
		line("Aliases", "%s", orDash(strings.Join(slices.Sorted(slices.Values(aliases[k.ARN()])), ", ")))
		for _, was := range former[k.ARN()] {
			line("Former alias", "%s", was)
		}
		line("Public key SHA-256", "%s", k.Fingerprint())
		line("Record", "%s", entry.Path)
		for _, block := range blocks {
			name, text, _ := strings.Cut(blockText(block), " ")
			line(name, "%s", text)
		}
	}
	if found.Fallback {
		line("Note", "%s has no record of its own; these are its multi-Region replicas", found.Target)
	}
	if found.Alias != nil {
		for _, was := range found.Alias.History {
			line("Alias before", "%s was %s from %s to %s", found.Alias.ARN.Alias, was.KeyID, orUnknown(was.From), orUnknown(was.To))
		}
	}
	return a.printf("%s", b.String())
}

func orUnknown(t kmskey.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return timeText(t)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
