package verifier

import (
	"fmt"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Step is one step of a decision, for people.
type Step struct {
	// Name is the step: key, public key, policy, state, age, usage, algorithm, signature, encryption, agreement, log.
	Name string
	// Found is what was found, or why the step refuses.
	Found string
	// Refused says that the step refused.
	Refused bool
}

// String is one line.
func (s Step) String() string {
	if s.Refused {
		return s.Name + ": NO, " + s.Found
	}
	return s.Name + ": " + s.Found
}

// tell explains a step that is done, and returns its error.
func (d *decision) tell(name string, err error, format string, args ...any) error {
	if d.explain == nil {
		return err
	}
	step := Step{Name: name}
	if err == nil {
		step.Found = fmt.Sprintf(format, args...)
	} else {
		step.Found, step.Refused = kmserr.As(err).Error(), true
	}
	d.explain(step)
	return err
}

func (d *decision) tellKey(err error) error {
	if d.explain == nil {
		return err
	}
	// Whoever asks why a key is not there asks first where it was looked for.
	home := fmt.Sprintf("home %s (%s)", d.line.Home, d.line.HomeChosenBy)
	if err != nil {
		d.explain(Step{Name: "key", Found: kmserr.As(err).Error() + "; " + home, Refused: true})
		return err
	}
	found := d.found.Target.String()
	if d.line.Asked != found {
		found += ", asked for as " + d.line.Asked
	}
	if d.found.Fallback {
		found += ", by its replicas " + kmskey.JoinNames(d.line.FallbackARNs)
	}
	return d.tell("key", nil, "%s; %s, public key SHA-256 %s; %s", found, d.line.KeySpec, d.line.PublicKeySHA256, home)
}

func (v *Verifier) tellPolicy(d *decision, err error) error {
	applied := "no policy"
	switch {
	case len(d.line.PolicyRules) > 0:
		applied = strings.Join(d.line.PolicyRules, "; ")
	case len(v.cfg.Policy.Files()) > 0:
		applied = "no rule of the policy concerns the key"
	}
	return d.tell("policy", err, "not blocked; %s", applied)
}

func (d *decision) tellState(err error) error {
	return d.tell("state", err, "%s as of %s", d.line.KeyState, known(d.line.StateTime))
}

func (d *decision) tellAge(err error) error {
	if d.explain == nil {
		return err
	}
	alias := ""
	if a := d.found.Alias; a != nil {
		alias = fmt.Sprintf("%s as of %s, ", a.ARN.Alias, known(a.Time))
	}
	return d.tell("age", err, "%sthe key as of %s, from source %s", alias, known(d.oldestRecord()), d.line.SnapshotSource)
}

// known is a time that is put into words only where somebody reads them.
type known kmskey.Time

func (at known) String() string { return stamp(at.Time) }
