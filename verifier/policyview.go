package verifier

import (
	"errors"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// Policy returns the policy in force, nil for a Verifier that neither New nor Open made.
func (v *Verifier) Policy() policy.Policy {
	if v.ready() != nil {
		return nil
	}
	now, _ := v.current() // why nothing can be decided, whoever asks for a decision is told
	defer now.release()
	return now.cfg.Policy
}

// PolicyExplanation is every rule in force for a key, for people.
type PolicyExplanation struct {
	// ARN is the key's; zero where no key was asked about, and then the rules are those for the store and the log.
	ARN     kmskey.ARN
	Effects []policy.Effect
	// Unheeded says of aliases that grants name and that lead to the key why no grant holds by them: a sentence each, without
	// its final period.
	Unheeded []string
	// Replicas are the keys whose records answer for a multi-Region key that has none of its own. Every one must pass, as
	// must the key itself.
	Replicas []PolicyExplanation
	// Formers are the keys that the alias which was asked about meant before, newest first: whether it stands for one of
	// them still, that key's own rules say.
	Formers []PolicyExplanation
}

// ExplainPolicy returns the rules in force for a key in the store, or, for an empty keyID, what concerns no key.
func (v *Verifier) ExplainPolicy(keyID string) (*PolicyExplanation, error) {
	if err := v.ready(); err != nil {
		return nil, err
	}
	v, err := v.current()
	defer v.release()
	if err != nil {
		return nil, err
	}
	if keyID == "" {
		// What concerns no key is the same for every one.
		effects, err := v.cfg.Policy.Explain(policy.Subject{ARN: kmskey.ARN{
			Scope: kmskey.Scope{Partition: "aws", Region: "us-east-1", Account: "000000000000"}, KeyID: "00000000-0000-0000-0000-000000000000",
		}})
		if err != nil {
			return nil, unexplained(err)
		}
		return &PolicyExplanation{Effects: slices.DeleteFunc(effects, func(e policy.Effect) bool { return !concernsNoKey(e.Member) })}, nil
	}
	ref, err := kmskey.ParseRef(keyID)
	if err != nil {
		return nil, err
	}
	found, err := v.cfg.Store.Resolve(ref, keystore.ResolveOptions{ExactRegion: v.cfg.Policy.Store().ExactRegion})
	if err != nil {
		return nil, err
	}
	explained, err := v.explain(ref, found, false)
	if err != nil {
		return nil, err
	}
	out := &explained[0]
	out.Replicas = explained[1:]
	for _, was := range meantBefore(found.Alias) {
		then, err := v.recordOfFormer(found.Alias, was)
		if kmserr.Is(err, kmserr.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		then.Alias = found.Alias
		former, err := v.explain(ref, then, true)
		if err != nil {
			return nil, err
		}
		out.Formers = append(out.Formers, former...)
	}
	return out, nil
}

// IdentityKeys returns the keys on record that an identity in a Notation trust policy stands for, and those that it stood for
// once, as an alias that moved does: those for which it stands still, by the policy in force, are among now. Their own states, blocks
// and rules are not asked. The errors are Verify's about an identifier.
func (v *Verifier) IdentityKeys(keyID string) (now, once []*kmskey.Key, err error) {
	if err := v.ready(); err != nil {
		return nil, nil, err
	}
	v, err = v.current()
	defer v.release()
	if err != nil {
		return nil, nil, err
	}
	d := v.newDecision(audit.EventAuthorizeKey, keyID)
	if err := v.resolve(d, keyID); err != nil {
		return nil, nil, err
	}
	for _, e := range d.found.Entries {
		now = append(now, e.Key)
	}
	for _, was := range meantBefore(d.found.Alias) {
		then, err := v.recordOfFormer(d.found.Alias, was)
		if err != nil {
			continue // it counts only with a record of its own
		}
		key := then.Entries[0].Key
		in, err := v.former(d.asked, d.found.Alias, key.ARN(), d.now)
		if err != nil {
			return nil, nil, err
		}
		if _, old := in.refusedForAge(allowsHistoryForNotation); !old && allowsHistoryForNotation(in.rules) {
			now = append(now, key)
		} else {
			once = append(once, key)
		}
	}
	return now, once, nil
}

// explain has the rules of every ARN that takes part.
func (v *Verifier) explain(asked kmskey.Ref, found *keystore.Resolution, former bool) ([]PolicyExplanation, error) {
	all, err := v.rulesFor(asked, found, former, v.cfg.Now())
	if err != nil {
		return nil, err
	}
	explained := make([]PolicyExplanation, len(all))
	for i, in := range all {
		explained[i].ARN = in.subject.ARN
		if explained[i].Effects, err = v.cfg.Policy.Explain(in.subject); err != nil {
			return nil, unexplained(err)
		}
		for _, u := range in.unheeded {
			explained[i].Unheeded = append(explained[i].Unheeded, u.sentence)
		}
	}
	return explained, nil
}

// unexplained names what a policy of the caller's own cannot explain.
func unexplained(err error) error {
	if known := new(kmserr.Error); errors.As(err, &known) {
		return err
	}
	return kmserr.New(kmserr.PolicyInvalid, "the policy cannot be explained: %v", err).WithCause(err)
}

func concernsNoKey(member string) bool {
	return strings.HasPrefix(member, "log.") || strings.HasPrefix(member, "store.")
}

// ExactRegion reports whether the policy in force lets no Region of a multi-Region key stand for another, as nothing does for
// a Verifier that neither New nor Open made.
func (v *Verifier) ExactRegion() bool {
	if v.ready() != nil {
		return true
	}
	now, _ := v.current() // why nothing can be decided, whoever asks for a decision is told
	defer now.release()
	return now.cfg.Policy.Store().ExactRegion
}

// LogPath returns where decisions are logged under the policy in force: an absolute path, "-" for standard error, or empty
// where the policy switches the log off.
func LogPath(o Options) (string, error) {
	home, err := keystore.Locate(o.Home, o.HomeOption)
	if err != nil {
		home = keystore.Home{} // the machine's policy may say where the log is all the same
	}
	rules, err := loadPolicy(home.Path, o.UnsafeStorePermissions)
	if err != nil {
		return "", err
	}
	log := rules.Log()
	switch {
	case log.Off:
		return "", nil
	case log.Path != "":
		return log.Path, nil
	}
	return audit.DefaultPath()
}
