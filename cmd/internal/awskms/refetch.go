package awskms

import (
	"context"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Refetch is Fetch for a key that was fetched before. If KMS has it no more, that is not an error: the answer is the key
// as it was known, with kmskey.StateNotFound, so that it stops verifying.
func (c *Client) Refetch(ctx context.Context, key *kmskey.Key) (*Fetched, error) {
	arn := key.ARN()
	asked := now()
	got, err := c.Fetch(ctx, kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID})
	if !kmserr.Is(err, kmserr.NotFound) {
		return got, err
	}
	record := key.Record()
	gone := kmskey.KeyMetadata{Arn: arn.String(), KeyID: arn.KeyID}
	if record.KeyMetadata != nil {
		gone = *record.KeyMetadata
	}
	disabled := false
	gone.KeyState, gone.Enabled = kmskey.StateNotFound, &disabled
	record.KeyMetadata, record.Snapshot.StateTime, record.Snapshot.Source = &gone, asked, kmskey.SourceKMS
	record.Aliases = []string{}
	missing, err := kmskey.NewKey(record)
	if err != nil {
		return nil, err
	}
	return &Fetched{Key: missing, AliasesKnown: true, Notes: []string{"KMS has no such key any more; it is kept, and no longer verifies"}}, nil
}
