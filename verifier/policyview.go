package verifier

import (
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// Policy returns the policy in force.
func (v *Verifier) Policy() policy.Policy {
	now, _ := v.current() // why nothing can be decided, whoever asks for a decision is told
	return now.cfg.Policy
}

// PolicyExplanation is every rule in force for a key, for people.
type PolicyExplanation struct {
	// ARN is the key's; zero where no key was asked about, and then the rules are those for the store and the log.
	ARN     kmskey.ARN
	Effects []policy.Effect
}

// ExplainPolicy returns the rules in force for a key in the store, or, for an empty keyID, what concerns no key.
func (v *Verifier) ExplainPolicy(keyID string) (*PolicyExplanation, error) {
	if err := v.ready(); err != nil {
		return nil, err
	}
	v, err := v.current()
	if err != nil {
		return nil, err
	}
	out := new(PolicyExplanation)
	// What concerns no key is the same for every one.
	subject := policy.Subject{ARN: kmskey.ARN{
		Scope: kmskey.Scope{Partition: "aws", Region: "us-east-1", Account: "000000000000"}, KeyID: "00000000-0000-0000-0000-000000000000",
	}}
	if keyID != "" {
		ref, err := kmskey.ParseRef(keyID)
		if err != nil {
			return nil, err
		}
		found, err := v.cfg.Store.Resolve(ref, keystore.ResolveOptions{ExactRegion: v.cfg.Policy.Store().ExactRegion})
		if err != nil {
			return nil, err
		}
		out.ARN = found.Target
		subject = policy.Subject{Asked: ref, ARN: found.Target, Fingerprint: found.Entries[0].Key.Fingerprint()}
		in, err := v.rulesFor(subject, v.cfg.Now())
		if err != nil {
			return nil, err
		}
		for _, alias := range in.aliases {
			subject.Aliases = append(subject.Aliases, alias.ARN)
		}
	}
	effects, err := v.cfg.Policy.Explain(subject)
	if err != nil {
		return nil, err
	}
	for _, e := range effects {
		if keyID != "" || concernsNoKey(e.Member) {
			out.Effects = append(out.Effects, e)
		}
	}
	return out, nil
}

func concernsNoKey(member string) bool {
	return len(member) > 4 && (member[:4] == "log." || len(member) > 6 && member[:6] == "store.")
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
