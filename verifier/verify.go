package verifier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawverify"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// Request is the question of Verify.
type Request struct {
	// KeyID is any of KMS's four forms.
	KeyID string
	// SigningAlgorithm may be left empty where the key spec has exactly one: ECC_NIST and secp256k1, ML-DSA, SM2.
	SigningAlgorithm kmskey.SigningAlgorithm
	// DefaultAlgorithms are the caller's own defaults for specs that have several algorithms: where SigningAlgorithm is
	// empty, the one of them that the key's spec has stands for it. At most one a spec; without one, RSA and Ed25519 keys
	// are refused. A default that the record or the policy excludes is a refusal: nothing is tried in turn.
	DefaultAlgorithms []kmskey.SigningAlgorithm
	// MessageType says what Message is, not how KMS was called; empty: the message itself, for every algorithm.
	MessageType kmskey.MessageType
	// BareHash says that a DIGEST is nothing but the hash of the message, as clients make it that do not know the key's
	// type. SM2's digest is another: the key and the distinguishing ID are in it.
	BareHash bool
	// Message is read once, to its end, as a stream where the algorithm permits.
	Message io.Reader
	// Signature is in KMS's encoding: DER for ECDSA and SM2, raw bytes otherwise.
	Signature []byte
	// DistinguishingID and ENTL are for SM2 and a message.
	DistinguishingID kmskey.DistinguishingID
	ENTL             kmskey.ENTL
}

// Verified says that a signature was verified and permitted. Only Verify and VerifyBatch make one; the zero value is not verified.
type Verified struct{ line *audit.Decision }

// Decision returns what was decided and what it rests on.
func (r *Verified) Decision() audit.Decision {
	if r == nil || r.line == nil {
		return audit.Decision{}
	}
	return *r.line
}

// Verify decides whether the signature is of that key over that message and may be relied on. A nil error is the only
// yes, and there is no result beside an error.
func (v *Verifier) Verify(ctx context.Context, req Request) (*Verified, error) {
	d, err := v.decide(ctx, audit.EventVerify, req.KeyID, func(d *decision) { v.noteRequest(d, req) },
		func(ctx context.Context, v *Verifier, d *decision) error { return v.verify(ctx, d, req) })
	if err != nil {
		return nil, err
	}
	return &Verified{line: &d.line}, nil
}

// The names of options in the log and in answers, those of the flags.
const (
	optionDistinguishingID = "distinguishing-id"
	optionENTL             = "sm2-entl"
	optionMaxMessage       = "max-message"
)

// noteRequest writes into the line what is asked, so that it is there whichever step refuses. What step 7 settles takes its
// place.
func (v *Verifier) noteRequest(d *decision, req Request) {
	d.line.SignatureSHA256 = hexOf(sha256.Sum256(req.Signature))
	d.line.SigningAlgorithm, d.line.MessageType = string(req.SigningAlgorithm), string(req.MessageType)
	d.noteSM2(req.DistinguishingID, req.ENTL)
	if limit := v.maxMessage(); limit != rawverify.DefaultMaxMessage {
		d.line.Options[optionMaxMessage] = strconv.FormatInt(limit, 10)
	}
}

func (d *decision) noteSM2(id kmskey.DistinguishingID, entl kmskey.ENTL) {
	d.noteDistinguishingID(id)
	if entl != kmskey.ENTLStandard {
		d.line.Options[optionENTL] = entl.String()
	}
}

func (d *decision) noteDistinguishingID(id kmskey.DistinguishingID) {
	if id.Given() && id.String() != kmskey.DefaultDistinguishingID {
		d.line.Options[optionDistinguishingID] = id.String()
	}
}

func hexOf(sum [sha256.Size]byte) string {
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// verify is all steps but the log.
func (v *Verifier) verify(ctx context.Context, d *decision, req Request) error {
	if err := d.tellKey(v.resolve(d, req.KeyID)); err != nil {
		return err
	}
	formers, err := v.formers(d, allowsHistory)
	if err != nil {
		return err
	}
	if len(formers) == 0 {
		return v.check(ctx, d, req)
	}
	d.formersAsked = true
	return v.checkInTurn(ctx, d, req, formers)
}

// check is steps 3 to 8 for the key that was found.
func (v *Verifier) check(ctx context.Context, d *decision, req Request) error {
	if err := v.admit(d); err != nil {
		return err
	}
	algorithm, opts, err := d.settleAlgorithm(req)
	if err := d.tell("algorithm", err, "%s", algorithm); err != nil {
		return err
	}
	opts.MaxMessage = v.cfg.MaxMessage
	if req.Message == nil {
		return kmserr.New(kmserr.Validation, "there is no message")
	}
	facts, err := rawverify.Verify(ctx, d.key().Material(), algorithm, req.MessageType, req.Message, req.Signature, opts)
	d.line.InputBytes = facts.Bytes
	if facts.Bytes > 0 || err == nil {
		d.line.InputSHA256 = hexOf(facts.SHA256)
	}
	return d.tell("signature", d.nameAssumed(err, req, opts), "verified over %d bytes of input, SHA-256 %s", facts.Bytes, d.line.InputSHA256)
}

// nameAssumed adds to the hint of a refused signature what nobody said and was taken for granted: the signer may have done
// otherwise, or the key may be another since.
func (d *decision) nameAssumed(err error, req Request, opts rawverify.Options) error {
	if !kmserr.Is(err, kmserr.InvalidSignature) {
		return err
	}
	assumed := d.meantAnother()
	switch spec := d.key().Spec(); {
	case kmserr.As(err).Hint != kmserr.Lookup(kmserr.InvalidSignature).Cure: // refused for a reason of its own, which the rest would only hide
	case req.SigningAlgorithm == "" && len(spec.SigningAlgorithms()) > 1:
		assumed += fmt.Sprintf(" No signing algorithm was given, so %s was taken: name another with the option signing-algorithm.", d.line.SigningAlgorithm)
	case spec == kmskey.SM2 && req.MessageType != kmskey.Digest && !req.DistinguishingID.Given() && !policy.PinsDistinguishingID(d.rules...):
		id := kmskey.DefaultDistinguishingID
		if opts.DistinguishingID.Given() {
			id = opts.DistinguishingID.String()
		}
		assumed += fmt.Sprintf(" No distinguishing ID was given, so %q was taken: name the signer's with the option distinguishing-id.", id)
	}
	return kmserr.Besides(err, assumed)
}

// meantAnother is what a hint says of an alias that has moved: a signature may be older than that.
func (d *decision) meantAnother() string {
	before := meantBefore(d.found.Alias)
	if d.formersAsked || len(before) == 0 {
		return ""
	}
	was, when := before[0], "Once"
	if !was.To.IsZero() {
		when = "Until " + stamp(was.To.Time)
	}
	return fmt.Sprintf(" %s %s meant the key %s: if that one signed, name it by its ARN, or see aliasHistory in docs/policy.md.",
		when, d.found.Alias.ARN.Alias, was.KeyID)
}

// settleAlgorithm is step 7: the algorithm, the message type, and for SM2 the distinguishing ID.
func (d *decision) settleAlgorithm(req Request) (kmskey.SigningAlgorithm, rawverify.Options, error) {
	algorithm, err := d.chooseAlgorithm(req.SigningAlgorithm, req.DefaultAlgorithms)
	if err != nil {
		return "", rawverify.Options{}, err
	}
	d.line.SigningAlgorithm = string(algorithm)
	if err := d.checkBareHash(req); err != nil {
		return algorithm, rawverify.Options{}, err
	}
	opts, err := d.sm2Options(req)
	if err != nil {
		return algorithm, opts, err
	}
	return algorithm, opts, d.checkMessageType(req.MessageType)
}

// chooseAlgorithm returns the one that was named, or the only one that the spec has, or the caller's default for the
// spec. Nothing is tried in turn.
func (d *decision) chooseAlgorithm(named kmskey.SigningAlgorithm, defaults []kmskey.SigningAlgorithm) (kmskey.SigningAlgorithm, error) {
	if named == "" {
		all := d.key().Spec().SigningAlgorithms()
		if len(all) != 1 {
			all = slices.DeleteFunc(slices.Clone(all), func(a kmskey.SigningAlgorithm) bool { return !slices.Contains(defaults, a) })
		}
		if len(all) != 1 {
			return "", kmserr.New(kmserr.Validation, "no signing algorithm is given, and a key of spec %s has several", d.key().Spec()).
				WithHint("Give the option signing-algorithm, one of: %s.", orNone(d.permitted()))
		}
		named = all[0]
	}
	return named, d.checkAlgorithm(named)
}

// checkBareHash refuses a digest that is a bare hash where the signature is not over one: in words that say so, which
// the comparison of the signature could not.
func (d *decision) checkBareHash(req Request) error {
	if !req.BareHash || req.MessageType != kmskey.Digest {
		return nil
	}
	var why string
	switch spec := d.key().Spec(); spec {
	case kmskey.SM2:
		why = "SM2 signs a digest that has the key and the distinguishing ID in it"
	case kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87:
		why = "ML-DSA signs a digest that has the key in it"
	default:
		if d.line.SigningAlgorithm != string(kmskey.ED25519SHA512) {
			return nil
		}
		why = "ED25519_SHA_512 signs the message itself"
	}
	return kmserr.New(kmserr.Validation, "a hash of the message is given, but %s", why).WithHint("Give the message itself.")
}

func (d *decision) checkMessageType(t kmskey.MessageType) error {
	if t != kmskey.MessageTypeUnset && !slices.Contains(kmskey.MessageTypes(), t) {
		return kmserr.New(kmserr.Validation, "the message type %q is none of KMS's: %s", string(t), kmskey.JoinNames(kmskey.MessageTypes()))
	}
	effective := t
	if t == kmskey.MessageTypeUnset {
		effective = kmskey.Raw
	}
	for _, r := range d.rules {
		if r.MessageTypes != nil && !slices.Contains(r.MessageTypes, effective) {
			return kmserr.New(kmserr.AlgorithmNotAllowed, "the message type %s is not allowed for this key, which leaves: %s", effective, orNone(r.MessageTypes)).WithCure()
		}
	}
	return nil
}

// sm2Options settles the distinguishing ID: policy's, else the caller's, else the record's, else the default.
func (d *decision) sm2Options(req Request) (rawverify.Options, error) {
	opts := rawverify.Options{DistinguishingID: req.DistinguishingID, ENTL: req.ENTL}
	key := d.key()
	if key.Spec() != kmskey.SM2 {
		if req.DistinguishingID.Given() || req.ENTL != kmskey.ENTLStandard {
			return opts, kmserr.New(kmserr.Validation, "a distinguishing ID is for SM2 keys, and this key is of spec %s", key.Spec()).
				WithHint("Leave the SM2 options out, or name an SM2 key.")
		}
		return opts, nil
	}
	// A digest holds its ID already, and does not show it: rawverify refuses an ID beside it, and a pinned one cannot be
	// checked.
	if req.MessageType == kmskey.Digest {
		if policy.PinsDistinguishingID(d.rules...) {
			return opts, kmserr.New(kmserr.AlgorithmNotAllowed, "a digest does not show its distinguishing ID, and the policy fixes it for this key").
				WithHint("Give the message itself and leave the message type out.")
		}
		return opts, nil
	}
	picked, err := policy.PickDistinguishingID(req.DistinguishingID, d.rules...)
	if err != nil {
		return opts, kmserr.Besides(err, d.besides())
	}
	opts.DistinguishingID = picked
	if !opts.DistinguishingID.Given() {
		opts.DistinguishingID = key.DistinguishingID()
		for _, e := range d.found.Entries {
			if e.Key.DistinguishingID() != opts.DistinguishingID {
				return opts, kmserr.New(kmserr.Validation, "the records of %s and %s have different distinguishing IDs", key.ARN(), e.Key.ARN()).
					WithHint("Give the distinguishing ID: none is tried in turn.")
			}
		}
	}
	d.noteDistinguishingID(opts.DistinguishingID)
	if opts.ENTL != kmskey.ENTLStandard {
		for _, r := range d.rules {
			if !r.AllowJavaHelperENTL {
				return opts, kmserr.New(kmserr.AlgorithmNotAllowed, "the ENTL rule %s is not allowed by the policy", opts.ENTL).
					WithHint("Leave the option sm2-entl out, or let a grant to this key say \"sm2Entl\":\"%s\" (docs/policy.md).%s", kmskey.ENTLAWSJavaHelper, d.besides())
			}
		}
	}
	return opts, nil
}

// DigestRequest is the question of Digest. Its fields are those of Request.
type DigestRequest struct {
	// KeyID is a key ID, key ARN, alias name or alias ARN.
	KeyID string
	// SigningAlgorithm is needed for keys that have several: no default is taken.
	SigningAlgorithm kmskey.SigningAlgorithm
	// Message is the message itself, read to its end, once.
	Message io.Reader
	// DistinguishingID and ENTL are for SM2 keys.
	DistinguishingID kmskey.DistinguishingID
	ENTL             kmskey.ENTL
}

// Digested is what to hand to KMS Sign.
type Digested struct {
	KeyARN           kmskey.ARN
	SigningAlgorithm kmskey.SigningAlgorithm
	// MessageType is kmskey.Digest, or kmskey.ExternalMu for ML-DSA.
	MessageType kmskey.MessageType
	Bytes       []byte
}

// Digest computes what to hand to KMS Sign instead of the message: the hash, SM2's e with the key and distinguishing ID in
// it, ML-DSA's μ. It decides nothing about a signature, and asks all the same what Verify asks of the key, state and age
// included, so that nobody signs with one that will not verify.
func (v *Verifier) Digest(ctx context.Context, req DigestRequest) (*Digested, error) {
	if err := v.ready(); err != nil {
		return nil, err
	}
	v, stale := v.forDecision()
	defer v.release()
	d := v.newDecision("Digest", req.KeyID)
	d.explain = nil // the steps are those of decisions
	var out *Digested
	err := guarded(func() error {
		if stale != nil {
			return stale
		}
		if err := v.resolve(d, req.KeyID); err != nil {
			return err
		}
		if err := v.admit(d); err != nil {
			return err
		}
		algorithm, err := d.chooseAlgorithm(req.SigningAlgorithm, nil)
		if err != nil {
			return err
		}
		opts, err := d.sm2Options(Request{DistinguishingID: req.DistinguishingID, ENTL: req.ENTL})
		if err != nil {
			return err
		}
		opts.MaxMessage = v.cfg.MaxMessage
		digest, typ, err := rawverify.Digest(ctx, d.key().Material(), algorithm, req.Message, opts)
		if err != nil {
			return err
		}
		out = &Digested{KeyARN: d.key().ARN(), SigningAlgorithm: algorithm, MessageType: typ, Bytes: digest}
		return nil
	})
	if err = v.typed(err, d); err != nil {
		return nil, err
	}
	return out, nil
}
