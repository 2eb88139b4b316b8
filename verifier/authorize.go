package verifier

import (
	"context"
	"slices"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawverify"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// KeyRequest is the question of AuthorizeKey.
type KeyRequest struct {
	// KeyID is any of KMS's four forms.
	KeyID string
	// PublicKey is the DER SubjectPublicKeyInfo that must be that key's. Empty is a ValidationException, so that nobody who
	// failed to read one gets a yes: a caller that asks for the key itself says WithoutPublicKey.
	PublicKey        []byte
	WithoutPublicKey bool
	// SigningAlgorithm must be permitted for the key; empty: at least one must be.
	SigningAlgorithm kmskey.SigningAlgorithm
	// MessageType says what the caller's own core checks the signature over, as Request.MessageType does, and must be
	// permitted for the key; empty where the caller cannot say: at least one must be.
	MessageType kmskey.MessageType
	// DistinguishingID and ENTL are those that the signatures will be checked by, for SM2: what Verify would refuse of them
	// is refused here too.
	DistinguishingID kmskey.DistinguishingID
	ENTL             kmskey.ENTL
	// SeparateState leaves key state and age out of the error and in Authorized.StateError, for a caller that answers
	// two questions of a protocol with one reading of the store: Notation's TRUSTED_IDENTITY and REVOCATION_CHECK. The
	// policy can take the separation back.
	SeparateState bool
	// RevocationSkipped says that the caller's own configuration leaves revocation out. State and age then fail the key
	// itself, unless the policy says that they are to be ignored.
	RevocationSkipped bool
	// Terse says that the caller asks about many keys of which some may be absent: a NotFoundException then does not list
	// what the store holds instead, which takes its time.
	Terse bool
}

// checkPublicKey refuses a question that does not say which of the two it is.
func (req KeyRequest) checkPublicKey() error {
	switch given := len(req.PublicKey) > 0; {
	case given && req.WithoutPublicKey:
		return kmserr.New(kmserr.Validation, "a public key of %d bytes is given, and WithoutPublicKey says that there is none to compare", len(req.PublicKey)).
			WithHint("Leave one of the two out.")
	case !given && !req.WithoutPublicKey:
		return kmserr.New(kmserr.Validation, "the public key to compare is empty, expected a DER SubjectPublicKeyInfo").
			WithHint("Give KeyRequest.PublicKey, or say WithoutPublicKey to ask for the key itself.")
	}
	return nil
}

// Authorized says that a public key is that KMS key and may be relied on. Only AuthorizeKey makes one; the zero value is
// not authorized, in its state as well.
type Authorized struct {
	key      *kmskey.Key
	line     audit.Decision
	stateErr error
}

// Decision returns what was decided and what it rests on.
func (a *Authorized) Decision() audit.Decision {
	if a == nil {
		return audit.Decision{}
	}
	return a.line
}

// ARN returns the key ARN that the identifier stands for, and the zero value for the zero Authorized.
func (a *Authorized) ARN() kmskey.ARN {
	if a == nil || a.key == nil {
		return kmskey.ARN{}
	}
	arn, err := kmskey.ParseARN(a.line.KeyARN)
	if err != nil {
		return kmskey.ARN{}
	}
	return arn
}

// PublicKeyDER returns the key's DER SubjectPublicKeyInfo; nil for the zero Authorized.
func (a *Authorized) PublicKeyDER() []byte {
	if a == nil || a.key == nil {
		return nil
	}
	return a.key.PublicKeyDER()
}

// StateError returns why the key's state or age refuses it, where KeyRequest.SeparateState was set; nil if they do not.
func (a *Authorized) StateError() error {
	if a == nil || a.key == nil {
		return kmserr.New(kmserr.Internal, "nothing was authorized")
	}
	return a.stateErr
}

// AuthorizeKey decides whether the public key is that KMS key and may be relied on for signatures. A nil error is the
// only yes.
//
// Whether the public key is that KMS key comes right after the resolution: KeyMaterialMismatchException then means
// "another key", and every other refusal is about the matching key.
func (v *Verifier) AuthorizeKey(ctx context.Context, req KeyRequest) (*Authorized, error) {
	var stateErr error
	d, err := v.decide(ctx, audit.EventAuthorizeKey, req.KeyID, req.note, func(_ context.Context, v *Verifier, d *decision) error {
		if err := req.checkPublicKey(); err != nil {
			return err
		}
		d.terse = req.Terse
		if err := d.tellKey(v.resolve(d, req.KeyID)); err != nil {
			return err
		}
		if err := d.compare(req); err != nil {
			former, formerErr := v.formerWith(d, req.PublicKey)
			if formerErr != nil {
				return formerErr
			}
			if former == nil {
				return err
			}
			*d = *former
			d.tell("key", nil, "%s, which %s meant before; the public key is that key's", d.found.Target, d.found.Alias.ARN)
		}
		if err := v.tellPolicy(d, v.permit(d)); err != nil {
			return err
		}
		stateErr = d.tellState(d.checkState())
		if stateErr == nil {
			stateErr = d.tellAge(d.checkAge())
		}
		if stateErr != nil {
			if !d.mayWait(req) {
				return d.failsIdentity(stateErr, req)
			}
			d.line.StateError = kmserr.As(stateErr).Error()
			d.warn("%s", kmserr.As(stateErr).Fact)
		}
		if err := d.tell("usage", d.checkUsage(), "%s", kmskey.SignVerify); err != nil {
			return err
		}
		found := "one of " + orNone(d.permitted())
		err := d.checkSomeAlgorithm()
		if req.SigningAlgorithm != "" {
			found = string(req.SigningAlgorithm)
			err = d.checkAlgorithm(req.SigningAlgorithm)
		}
		if err == nil {
			err = d.checkSM2Use(req)
		}
		if err == nil {
			err = d.checkTypeOfUse(req.MessageType)
		}
		return d.tell("algorithm", err, "%s", found)
	})
	if err != nil {
		return nil, err
	}
	return &Authorized{key: d.key(), line: d.line, stateErr: v.typed(stateErr, d)}, nil
}

// note writes into the line what is asked.
func (req KeyRequest) note(d *decision) {
	d.line.SigningAlgorithm, d.line.MessageType = string(req.SigningAlgorithm), string(req.MessageType)
	d.noteSM2(req.DistinguishingID, req.ENTL)
}

// compare compares the public key that was given, if one was.
func (d *decision) compare(req KeyRequest) error {
	if req.WithoutPublicKey {
		return nil
	}
	return d.tell("public key", d.matchPublicKey(req.PublicKey), "it is that key's")
}

func (d *decision) matchPublicKey(der []byte) error {
	fingerprint, spec, err := kmskey.FingerprintDER(der)
	if err != nil {
		return err
	}
	if key := d.key(); fingerprint != key.Fingerprint() {
		return kmserr.New(kmserr.KeyMaterialMismatch, "the public key given (%s, SHA-256 %s) is not that of %s (%s, SHA-256 %s)",
			spec, fingerprint, d.found.Target, key.Spec(), key.Fingerprint()).WithCure()
	}
	return nil
}

// checkSM2Use refuses SM2 options that Verify would refuse, with this key or with this message type.
func (d *decision) checkSM2Use(req KeyRequest) error {
	opts, err := d.sm2Options(Request{MessageType: req.MessageType, DistinguishingID: req.DistinguishingID, ENTL: req.ENTL})
	if err != nil {
		return err
	}
	return rawverify.CheckOptions(kmskey.SM2DSA, req.MessageType, opts)
}

// checkTypeOfUse is checkMessageType for a message that is another's to look at: not of a known type, it may be of any that
// every rule leaves.
func (d *decision) checkTypeOfUse(t kmskey.MessageType) error {
	if t != kmskey.MessageTypeUnset {
		return d.checkMessageType(t)
	}
	for _, t := range kmskey.MessageTypes() {
		if d.checkMessageType(t) == nil {
			return nil
		}
	}
	return kmserr.New(kmserr.AlgorithmNotAllowed, "no message type is permitted for %s", d.found.Target).WithCure()
}

// mayWait reports whether a refusal by state or age is not a refusal of the identity: told apart, or ignored by policy.
func (d *decision) mayWait(req KeyRequest) bool {
	may := req.SeparateState || req.RevocationSkipped
	for _, r := range d.rules {
		may = may && !r.StateFailsIdentity && (req.SeparateState || r.IgnoreStateWhenRevocationSkipped)
	}
	return may && len(d.rules) > 0
}

// failsIdentity adds to a refusal by state or age why it fails the identity, for a caller that has another check for these.
func (d *decision) failsIdentity(refusal error, req KeyRequest) error {
	var why string
	switch {
	case !req.SeparateState && !req.RevocationSkipped:
		return refusal
	case !req.SeparateState && slices.ContainsFunc(d.rules, func(r policy.Rules) bool { return !r.IgnoreStateWhenRevocationSkipped }):
		why = "the trust policy skips revocation"
	default: // else it would wait: mayWait
		why = "the policy says stateFailsIdentity"
	}
	told := *kmserr.As(refusal)
	told.Fact += ", which fails the identity, because " + why
	return &told
}
