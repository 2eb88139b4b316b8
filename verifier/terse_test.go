package verifier

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestAbsentOfMany: what the store has instead of an absent key or alias is looked for where a person is to read it. A trust
// policy with many keys of others, and a policy whose grants name aliases that are not here, cost no look at every account.
func TestAbsentOfMany(t *testing.T) {
	s := signerOf(kmskey.ECCNISTP256)
	const scope = "arn:aws:kms:us-east-1:111122223333:"
	key := record(t, scope+"key/1234abcd-12ab-34cd-56ef-1234567890ab", s)
	w := newWorld(t, key)
	for i := range 300 {
		for folder, name := range map[string]string{"keys": "1234abcd-12ab-34cd-56ef-1234567890ac.json", "aliases": "release.json"} {
			path := filepath.Join(w.home.Path, folder, "aws", "us-east-1", fmt.Sprintf("%012d", i))
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	least := func(do func()) time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			do()
			best = min(best, time.Since(start))
		}
		return best
	}
	for _, absent := range []string{scope + "key/1234abcd-12ab-34cd-56ef-1234567890ad", scope + "alias/debug"} {
		ask := func(terse bool) func() {
			return func() {
				_, err := w.authorize(t, KeyRequest{KeyID: absent, Terse: terse})
				refused(t, err, kmserr.NotFound, absent, "is in the store")
			}
		}
		if short, full := least(ask(true)), least(ask(false)); short > full/5 {
			t.Errorf("%s: a terse refusal takes %v, a full one %v", absent, short, full)
		}
	}

	var grants []kmskey.AliasARN
	for i := range 50 {
		grants = append(grants, kmskey.AliasARN{Scope: key.ARN().Scope, Alias: fmt.Sprintf("alias/absent-%d", i)})
	}
	full := least(func() {
		_, err := w.v.Store().Resolve(kmskey.Ref{Scope: grants[0].Scope, Alias: grants[0].Alias}, keystore.ResolveOptions{})
		refused(t, err, kmserr.NotFound)
	})
	w.policy.aliases = grants
	granted := least(func() {
		if _, err := w.authorize(t, KeyRequest{KeyID: key.ARN().String()}); err != nil {
			t.Error(err)
		}
	})
	if granted > 50*full/5 {
		t.Errorf("a decision under 50 grants by absent aliases takes %v, one look for an absent alias %v", granted, full)
	}
}
