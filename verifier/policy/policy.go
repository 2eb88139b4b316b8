// Package policy says what a user allows beyond, and more often short of, what KMS itself would.
//
// The verifier asks once a decision and once for every ARN that takes part in it, and enforces the answer; this package
// decides nothing about a signature. The zero value of Rules is the strict one where a field grants something, and "no
// further restriction" where a field restricts: a grant that was forgotten is not given.
package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FileName is the policy's name in the home and in the machine's folder.
const FileName = "policy.json"

// Policy answers what is in force. An implementation is read once and does not change while a decision runs.
type Policy interface {
	// Store returns what concerns the store as a whole.
	Store() StoreRules
	// Rules returns what is in force for one key. An error means that the policy cannot tell: the answer is no.
	Rules(Subject) (Rules, error)
}

// Subject is the key that the rules are asked for.
type Subject struct {
	// Asked is the identifier as the caller gave it.
	Asked kmskey.Ref
	// ARN is the key ARN asked for or used: rules apply to it, however it was asked for.
	ARN kmskey.ARN
	// Fingerprint is the SHA-256 of the SubjectPublicKeyInfo in lower-case hexadecimal.
	Fingerprint string
}

// StoreRules concern the store as a whole.
type StoreRules struct {
	// ExactRegion turns the multi-Region fallback off ("multiRegion":"exact").
	ExactRegion bool
	// StrictPermissions refuses a store that its group can write.
	StrictPermissions bool
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
	// RequireKnownState refuses a record without a key state.
	RequireKnownState bool
	// MaxSnapshotAge limits the age of the oldest part of an answer; 0 limits nothing.
	MaxSnapshotAge time.Duration
	// NotBefore and NotAfter are compared with now; zero limits nothing.
	NotBefore, NotAfter time.Time
	// Sources are the snapshot sources allowed; nil restricts nothing.
	Sources []string
	// DistinguishingID, if given, is pinned: a caller cannot change it.
	DistinguishingID kmskey.DistinguishingID
	// AllowJavaHelperENTL permits kmskey.ENTLAWSJavaHelper.
	AllowJavaHelperENTL bool
	// IgnoreStateWhenRevocationSkipped: see rules on Notation's levels; state and age then fail nothing where Notation's
	// trust policy skips revocation.
	IgnoreStateWhenRevocationSkipped bool
	// StateFailsIdentity makes state and age fail the identity too.
	StateFailsIdentity bool
	// Applied names the rules that had a part in this, for the log.
	Applied []string
}

// None is the policy where there is no policy file: what KMS would allow, and nothing else.
type None struct{}

// Store returns no rules.
func (None) Store() StoreRules { return StoreRules{} }

// Rules returns KMS's own behaviour. The Java helper's rule needs a policy's permission only where there is a policy.
func (None) Rules(Subject) (Rules, error) { return Rules{AllowJavaHelperENTL: true}, nil }

// Load returns the policy in force for a home: that of the machine's folder and that of the home. This version has no
// policy language; a policy file that is there must not be taken for enforced, so it is a PolicyInvalidException.
func Load(home, machineFolder string) (Policy, error) {
	for _, folder := range []string{machineFolder, home} {
		if folder == "" {
			continue
		}
		path := filepath.Join(folder, FileName)
		_, err := os.Lstat(path)
		switch {
		case err == nil:
			return nil, kmserr.New(kmserr.PolicyInvalid, "%s is there, but this version enforces no policy files", path).
				WithHint("Use a version that does, or remove the file if its rules are not needed.")
		case !errors.Is(err, fs.ErrNotExist):
			return nil, kmserr.New(kmserr.PolicyInvalid, "cannot tell whether %s exists: %v", path, err).
				WithHint("Make its folder readable.").WithCause(err)
		}
	}
	return None{}, nil
}
