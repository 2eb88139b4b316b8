package verifier

import (
	"context"
	"slices"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Outlook is what a verification by a key would meet, apart from the signature. It is for people who look after a store;
// nothing is decided by it, and nothing logged.
type Outlook struct {
	// ARN is the key's.
	ARN kmskey.ARN
	// Refusal is why nothing verifies by the key now; nil if it can.
	Refusal error
	// Until is the first moment known now at which the key will stop to verify, and Because says why: a limit of the
	// policy, or a date that KMS told. Zero if none is known, or if the key is refused already.
	Until   time.Time
	Because string
	// SigningAlgorithms are those that the record and the policy leave.
	SigningAlgorithms []kmskey.SigningAlgorithm
}

// Outlook answers for a key that is in the store. An error means that nothing can be said: the identifier, the store or the
// policy cannot be read.
func (v *Verifier) Outlook(ctx context.Context, keyID string) (*Outlook, error) {
	if err := v.ready(); err != nil {
		return nil, err
	}
	v, stale := v.current()
	d := v.newDecision("Outlook", keyID)
	d.explain = nil
	out := new(Outlook)
	err := guarded(func() (err error) {
		if stale != nil {
			return stale
		}
		if err := v.resolve(d, keyID); err != nil {
			return err
		}
		out.ARN = d.found.Target
		for _, step := range []func() error{func() error { return v.permit(d) }, d.checkState, d.checkAge, d.checkUsage, d.checkSomeAlgorithm} {
			if err := step(); err != nil {
				if kmserr.ExitCode(err) != kmserr.ExitRefused {
					return err
				}
				out.Refusal = v.typed(err, d)
				return ctx.Err()
			}
		}
		out.SigningAlgorithms = d.permitted()
		if out.Until, out.Because, err = v.end(d); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err = v.typed(err, d); err != nil {
		return nil, err
	}
	return out, nil
}

// end is the first moment at which what is known now will refuse the key.
func (v *Verifier) end(d *decision) (first time.Time, because string, err error) {
	consider := func(at time.Time, why string) {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first, because = at, why
		}
	}
	for i, r := range d.rules {
		consider(r.NotAfter, "notAfter of the policy")
		if r.MaxSnapshotAge == 0 {
			continue
		}
		for _, part := range d.parts() {
			consider(part.at.Add(r.MaxSnapshotAge), part.name()+" will be too old for the policy")
		}
		// As long as one of the aliases is young enough, a grant by it holds.
		if len(d.grantedBy[i]) == 0 {
			continue
		}
		without, err := v.cfg.Policy.Rules(d.subjectOf(d.arns()[i]))
		if err != nil {
			return time.Time{}, "", kmserr.New(kmserr.PolicyInvalid, "the policy cannot tell about %s: %v", d.found.Target, err).WithCause(err)
		}
		if without.Excluded != r.Excluded || !slices.Equal(without.KeyStates, r.KeyStates) {
			last := slices.MaxFunc(d.grantedBy[i], func(a, b keystore.AliasEntry) int { return a.Time.Compare(b.Time.Time) })
			consider(last.Time.Add(r.MaxSnapshotAge), "the snapshot of "+last.ARN.String()+", by which a grant names the key, will be too old for the policy")
		}
	}
	for _, e := range d.found.Entries {
		if m := e.Key.Metadata(); m != nil {
			consider(m.DeletionDate.Time, "KMS's DeletionDate")
			consider(m.ValidTo.Time, "KMS's ValidTo")
		}
	}
	return first, because, nil
}
