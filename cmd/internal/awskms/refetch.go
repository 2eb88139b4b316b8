package awskms

import (
	"context"
	"slices"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Refetch is Fetch for a key that was fetched before, and whose public key is therefore known. KMS gives out no public
// key of a key that is pending deletion, and none at all of one that is gone: the answer then is the key as it was known,
// with the state that KMS tells now, or kmskey.StateNotFound, so that it stops verifying. GetPublicKey of a disabled key was
// seen to answer, but its API page has DisabledException among the errors.
func (c *Client) Refetch(ctx context.Context, key *kmskey.Key) (*Fetched, error) {
	arn := key.ARN()
	ref := kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID}
	got, err := c.Fetch(ctx, ref)
	switch {
	case withheld(err):
		return c.Withheld(ctx, ref, err, func(kmskey.ARN) *kmskey.Key { return key })
	case kmserr.Is(err, kmserr.NotFound):
		asked := now() // later than the answer, so never older than a state that was pulled just before
		gone := kmskey.KeyMetadata{Arn: arn.String(), KeyID: arn.KeyID}
		if known := key.Record().KeyMetadata; known != nil {
			gone = *known
		}
		disabled := false
		gone.KeyState, gone.Enabled = kmskey.StateNotFound, &disabled
		return again(key, &gone, asked, &aliasList{names: []string{}, known: true, note: "KMS has no such key any more; it is kept, and no longer verifies"})
	}
	return got, err
}

// withheld reports whether KMS gave no public key because of the key's state.
func withheld(err error) bool {
	return kmserr.Is(err, kmserr.KMSInvalidState) || kmserr.Is(err, kmserr.Disabled)
}

// Withheld is what remains where Fetch failed with err because KMS gives no public key of a key in its state: the key as known
// has it, with the state that KMS tells now. The error is err if it says something else, or if known has no such key.
func (c *Client) Withheld(ctx context.Context, ref kmskey.Ref, err error, known func(kmskey.ARN) *kmskey.Key) (*Fetched, error) {
	if !withheld(err) {
		return nil, err
	}
	client, _, why := c.of(ref)
	if why != nil {
		return nil, why
	}
	asked := now()
	metadata, why := c.describe(ctx, ref)
	if why != nil {
		// What is on record is no longer true, and what is true is not known.
		e := kmserr.As(why)
		return nil, kmserr.New(e.Name, "%s; and its state cannot be had: %s", kmserr.As(err).Fact, e.Fact).WithHint("%s", e.Hint).WithCause(why).WithKey(ref.String())
	}
	arn, why := checkARN(metadata.Arn, ref, client.Options().Region)
	if why != nil {
		return nil, why
	}
	key := known(arn)
	if key == nil {
		return nil, err
	}
	aliases := c.aliasesOf(ctx, arn)
	if ref.Alias != "" && !slices.Contains(aliases.names, ref.Alias) { // as in fetch
		aliases.names = append(aliases.names, ref.Alias)
		slices.Sort(aliases.names)
	}
	return again(key, metadata, asked, aliases)
}

// again is a known key with another state and other aliases.
func again(key *kmskey.Key, metadata *kmskey.KeyMetadata, asked kmskey.Time, aliases *aliasList) (*Fetched, error) {
	record := key.Record()
	record.KeyMetadata, record.Aliases = metadata, aliases.names
	record.Snapshot.StateTime, record.Snapshot.Source = asked, kmskey.SourceKMS
	same, err := kmskey.NewKey(record)
	if err != nil {
		return nil, err
	}
	out := &Fetched{Key: same, Withheld: true, AliasesKnown: aliases.known, AliasesAt: asked, Incomplete: aliases.failed}
	if aliases.note != "" {
		out.Notes = []string{aliases.note}
	}
	return out, nil
}
