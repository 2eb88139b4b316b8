// Package policy says what a user allows beyond, and more often short of, what KMS itself would.
//
// A policy is a file, policy.json, in the home and in the machine's folder; docs/policy.md describes it and
// docs/policy.schema.json is its JSON schema. It holds grants, which widen and name their keys exactly, and restrictions,
// which narrow and may name whole accounts or Regions. Where both files are there each is judged by itself, and a key may
// do what both allow: a restriction of either holds, a grant holds where both give it.
//
// The verifier asks once a decision and once for every ARN that takes part in it, and enforces the answer; this package
// decides nothing about a signature. The zero value of Rules is the strict one where a field grants something, and "no
// further restriction" where a field restricts: a grant that was forgotten is not given.
package policy

import (
	"slices"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FileName is the policy's name in the home and in the machine's folder.
const FileName = "policy.json"

// Policy answers what is in force. An implementation is read once and does not change while a decision runs. One of your
// own embeds None and overrides what it is about, so that a method added here breaks nothing.
type Policy interface {
	// Store returns what concerns the store as a whole.
	Store() StoreRules
	// Log returns where decisions are logged, and whether they must be.
	Log() LogRules
	// Rules returns what is in force for one key. An error means that the policy cannot tell: the answer is no.
	Rules(Subject) (Rules, error)
	// Explain returns every rule with where it comes from, for people: the same that Store, Log and Rules return.
	Explain(Subject) ([]Effect, error)
	// Aliases returns the alias ARNs in the key's scope that grants name. A caller finds out which of them lead to the
	// key now, and says so in Subject.Aliases; the list is empty where no grant names an alias.
	Aliases(kmskey.ARN) []kmskey.AliasARN
	// Granted returns what the grants name, in their order, for people: whether it is in a store at all.
	Granted() []Granted
	// Files returns the files that this policy was read from, the machine's first.
	Files() []File
	// Warnings returns what was met on reading that strict permissions would refuse.
	Warnings() []string
}

// Granted is a grant and the ARNs of keys and aliases that it names, sorted.
type Granted struct {
	Grant Origin
	Keys  []string
}

// File is a policy file as it was read.
type File struct {
	Path   string // absolute
	SHA256 string // of its bytes, in lower-case hexadecimal
}

// Subject is the key that the rules are asked for.
type Subject struct {
	// Asked is the identifier as the caller gave it; the key's ARN where what is known of some alias is too old to count: those
	// that count are all in Aliases then. A grant that names this alias applies to ARN, unless Former is set.
	Asked kmskey.Ref
	// ARN is the key ARN asked for or used: rules apply to it, however it was asked for.
	ARN kmskey.ARN
	// Aliases are aliases that lead to ARN now, beside Asked; of those that Policy.Aliases returns. A grant by alias then
	// holds however the key was asked for.
	Aliases []kmskey.AliasARN
	// Former says that Asked, an alias, meant ARN once and means another key now. A grant that names the alias then gives
	// this key nothing but aliasHistory.
	Former bool
}

// StoreRules concern the store as a whole.
type StoreRules struct {
	// ExactRegion turns the multi-Region fallback off ("multiRegion":"exact").
	ExactRegion bool
	// StrictPermissions refuses a store that its group can write.
	StrictPermissions bool
}

// LogRules say what the policy demands of the log. The zero value is "nothing said": best effort, in the default place.
type LogRules struct {
	// Path is the log's absolute path, "-" for standard error, or empty for the default place.
	Path string
	// Required: no line, no "verified". Off: no log at all. Neither: a failure is a warning. Never both.
	Required, Off bool
	// Sync writes each line through to the disk before the answer is given.
	Sync bool
	// RotateBytes is the size at which a new file is begun; 0: never.
	RotateBytes int64
}

// LostUnderNotation says what becomes of the lines where Notation asks, a clause about the policy; "" if they are kept. Notation
// reads a plugin's standard error only where the plugin fails, as its error response and nothing else (notation-go,
// plugin/plugin.go).
func (r LogRules) LostUnderNotation() string {
	if r.Path != toStandardError || r.Off {
		return ""
	}
	required := ""
	if r.Required {
		required = ", although it requires them"
	}
	return "sends the log to standard error, which Notation keeps to itself: the lines of its verifications are lost" + required
}

// Rules are what is in force for one key.
type Rules struct {
	// Excluded is why this key may not verify at all, a clause such as "is not on the policy's list of allowed keys";
	// empty if it may.
	Excluded string
	// SigningAlgorithms are those allowed; nil restricts nothing.
	SigningAlgorithms []kmskey.SigningAlgorithm
	// MessageTypes are those allowed; nil restricts nothing.
	MessageTypes []kmskey.MessageType
	// KeyStates verify; nil stands for KMS's own two, Enabled and Updating.
	KeyStates []kmskey.KeyState
	// OnlyKeyStates are those that every restriction leaves, whatever grants add; nil where none restricts the state. Who
	// encrypts for a key in a state that KMS does not encrypt in asks this one: grants of states are about signatures.
	OnlyKeyStates []kmskey.KeyState
	// RequireKnownState refuses a record without a key state.
	RequireKnownState bool
	// MaxSnapshotAge limits the age of the oldest part of an answer; 0 limits nothing.
	MaxSnapshotAge time.Duration
	// NotBefore and NotAfter are compared with now; zero limits nothing.
	NotBefore, NotAfter time.Time
	// Sources are the snapshot sources allowed; nil restricts nothing.
	Sources []string
	// DistinguishingID, if given, is pinned: what a caller gets that names none. PickDistinguishingID obeys both fields.
	DistinguishingID kmskey.DistinguishingID
	// DistinguishingIDs are all that a caller may name where one is pinned: the pin, and what grants except from it. Not
	// nil and empty: pins contradict each other, and none may be named. nil: DistinguishingID alone, or any without a pin.
	DistinguishingIDs []kmskey.DistinguishingID
	// AllowJavaHelperENTL permits kmskey.ENTLAWSJavaHelper.
	AllowJavaHelperENTL bool
	// AllowAliasHistory lets an alias stand for this key that meant it once. AllowAliasHistoryForNotation does so for
	// Notation too, and is never set without the former.
	AllowAliasHistory, AllowAliasHistoryForNotation bool
	// IgnoreStateWhenRevocationSkipped: state and age fail nothing where Notation's trust policy skips revocation
	// (docs/policy.md, "Notation's levels").
	IgnoreStateWhenRevocationSkipped bool
	// StateFailsIdentity makes state and age fail the identity too.
	StateFailsIdentity bool
	// Applied names the rules that had a part in this, for the log.
	Applied []string
}

// allowsDistinguishingID reports whether a caller may name id.
func (r Rules) allowsDistinguishingID(id kmskey.DistinguishingID) bool {
	switch {
	case r.DistinguishingIDs != nil:
		return slices.Contains(r.DistinguishingIDs, id)
	case r.DistinguishingID.Given():
		return id == r.DistinguishingID
	}
	return true
}

// pinsDistinguishingID reports whether r says anything about distinguishing IDs.
func (r Rules) pinsDistinguishingID() bool {
	return r.DistinguishingIDs != nil || r.DistinguishingID.Given()
}

// PinsDistinguishingID reports whether any of the rules fixes the SM2 distinguishing ID. A digest, which does not show its
// ID, then cannot be checked against it.
func PinsDistinguishingID(rules ...Rules) bool {
	return slices.ContainsFunc(rules, Rules.pinsDistinguishingID)
}

// PickDistinguishingID settles the SM2 distinguishing ID by the rules of every ARN that takes part: what the caller
// asked for if all allow it, else the pin. The ID returned is not given if the caller named none and none is pinned.
// What is not allowed is a ValidationException that names both; pins that contradict each other are an
// AlgorithmNotAllowedException.
func PickDistinguishingID(asked kmskey.DistinguishingID, rules ...Rules) (kmskey.DistinguishingID, error) {
	picked := asked
	if !asked.Given() {
		for _, r := range rules {
			if r.pinsDistinguishingID() && (!r.DistinguishingID.Given() || picked.Given() && picked != r.DistinguishingID) {
				return kmskey.DistinguishingID{}, kmserr.New(kmserr.AlgorithmNotAllowed,
					"the policy fixes different distinguishing IDs for this key, so that none holds by itself").
					WithHint("`awskms-offline policy show` names the restrictions that contradict each other.")
			}
			if r.DistinguishingID.Given() {
				picked = r.DistinguishingID
			}
		}
	}
	for _, r := range rules {
		if r.allowsDistinguishingID(picked) {
			continue
		}
		allowed := "none"
		switch {
		case len(r.DistinguishingIDs) > 0:
			allowed = quoteIDs(r.DistinguishingIDs)
		case r.DistinguishingIDs == nil:
			allowed = quoteIDs([]kmskey.DistinguishingID{r.DistinguishingID})
		}
		return kmskey.DistinguishingID{}, kmserr.New(kmserr.Validation,
			"the distinguishing ID %q was asked for, but the policy fixes %s for this key", picked, allowed).
			WithHint("Leave the distinguishing ID out, or change the policy.")
	}
	return picked, nil
}

// None is the policy where there is no policy file: what KMS would allow, and nothing else.
type None struct{}

// Store returns no rules.
func (None) Store() StoreRules { return StoreRules{} }

// Log returns no rules.
func (None) Log() LogRules { return LogRules{} }

// Rules returns KMS's own behaviour. The Java helper's rule needs a policy's permission only where there is a policy.
func (None) Rules(Subject) (Rules, error) { return Rules{AllowJavaHelperENTL: true}, nil }

// Explain returns the defaults.
func (None) Explain(s Subject) ([]Effect, error) { return (&set{}).Explain(s) }

// Aliases returns none.
func (None) Aliases(kmskey.ARN) []kmskey.AliasARN { return nil }

// Files returns none.
func (None) Files() []File { return nil }

// Granted implements Policy.
func (None) Granted() []Granted { return nil }

// Warnings returns none.
func (None) Warnings() []string { return nil }
