package verifier

import (
	"context"
	"slices"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
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
	defer v.release()
	d := v.newDecision("Outlook", keyID)
	d.explain = nil
	out := new(Outlook)
	err := guarded(func() error {
		if stale != nil {
			return stale
		}
		if err := v.resolve(d, keyID); err != nil {
			return err
		}
		out.ARN = d.found.Target
		ofAnyType := func() error { return d.checkTypeOfUse(kmskey.MessageTypeUnset) }
		for _, step := range []func() error{func() error { return v.permit(d) }, d.checkState, d.checkAge, d.checkUsage, d.checkSomeAlgorithm, ofAnyType} {
			if err := step(); err != nil {
				if kmserr.ExitCode(err) != kmserr.ExitRefused {
					return err
				}
				out.Refusal = v.typed(err, d)
				return ctx.Err()
			}
		}
		out.SigningAlgorithms = d.permitted()
		ends, err := v.endsOfGrants(d)
		if err != nil {
			return err
		}
		out.Until, out.Because = d.end(ends)
		return ctx.Err()
	})
	if err = v.typed(err, d); err != nil {
		return nil, err
	}
	return out, nil
}

// end is a moment at which what is known now will refuse the key, and why.
type end struct {
	at  time.Time
	why string
}

// end is the first moment at which what is known now will refuse the key; ends are some of them.
func (d *decision) end(ends []end) (first time.Time, because string) {
	consider := func(at time.Time, why string) {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first, because = at, why
		}
	}
	for _, e := range ends {
		consider(e.at, e.why)
	}
	for _, r := range d.rules {
		consider(r.NotAfter, "notAfter of the policy")
	}
	if limit := ageLimit(d.inForce); limit != 0 {
		for _, part := range d.parts() {
			consider(part.at.Add(limit), part.name()+" will be too old for the policy")
		}
	}
	for _, e := range d.found.Entries {
		if m := e.Key.Metadata(); m != nil {
			consider(m.DeletionDate.Time, "KMS's DeletionDate")
			consider(m.ValidTo.Time, "KMS's ValidTo")
		}
	}
	return first, because
}

// endsOfGrants are the moments at which a grant that the key needs ends, because what is known of the alias that it names will
// be too old: at most one for every ARN that takes part. The alias that was asked for is among the decision's parts.
func (v *Verifier) endsOfGrants(d *decision) (ends []end, err error) {
	limit := ageLimit(d.inForce)
	if limit == 0 {
		return nil, nil
	}
	for _, then := range d.inForce {
		then.aliases = slices.SortedFunc(slices.Values(then.aliases), func(a, b keystore.AliasEntry) int { return a.Time.Compare(b.Time.Time) })
		for len(then.aliases) > 0 {
			oldest := then.aliases[0]
			then.aliases = then.aliases[1:]
			if err := v.ask(&then); err != nil {
				return nil, err
			}
			if d.refusedBy(then.rules) {
				ends = append(ends, end{oldest.Time.Add(limit), "the snapshot of " + oldest.ARN.String() + ", by which a grant names the key, will be too old for the policy"})
				break
			}
		}
	}
	return ends, nil
}

// refusedBy reports whether these rules exclude the key, or the state of a record used.
func (d *decision) refusedBy(r policy.Rules) bool {
	return r.Excluded != "" || slices.ContainsFunc(d.found.Entries, func(e keystore.Entry) bool { return d.stateServes(e.Key, r) != nil })
}
