package notation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// KeyARNAttribute is the extended critical attribute with which a signer names its KMS key.
const KeyARNAttribute = "awskms-offline.keyArn"

const identityForms = "Trusted identities are exact key ARNs (arn:aws:kms:REGION:ACCOUNT:key/ID) or alias ARNs (…:alias/NAME)."

// verdict is what was found about all trusted identities together.
type verdict struct {
	matched   []*verifier.Authorized // identities whose key is the leaf's and may be relied on
	refused   []string               // identities whose key is the leaf's and may not
	keys      []kmskey.ARN           // all keys that are the leaf's, matched or refused
	elsewhere []string               // identities that are absent or another key
	ignored   []string               // entries that are no KMS ARN
	exact     bool                   // no Region of a multi-Region key stands for another
}

func (c *call) verifySignature(ctx context.Context, req *request) ([]byte, error) {
	algorithm, err := req.algorithm()
	if err != nil {
		return nil, err
	}
	v, err := verifier.Open(c.options())
	if err != nil {
		return nil, err
	}
	defer v.Close()
	return c.respond(ctx, v, req, algorithm)
}

// respond answers every capability from one evaluation of the identities.
func (c *call) respond(ctx context.Context, v *verifier.Verifier, req *request, algorithm kmskey.SigningAlgorithm) ([]byte, error) {
	found, err := evaluate(ctx, v, req, algorithm)
	if err != nil {
		c.hasLine()
		return nil, err
	}
	refusal := found.refusal(v, req)
	// The verifier logs what it is asked. A refusal that is none of its answers needs a line of its own.
	unlogged := len(found.refused)+len(found.elsewhere) == 0
	var processed []string
	// Notation looks at processed attributes before it looks at reasons: where the attribute names the very key that is
	// refused, it is reported as processed, so that the user sees why.
	if wrong := found.keyARN(req); wrong == "" && req.names(KeyARNAttribute) {
		processed = append(processed, KeyARNAttribute)
	} else if refusal == "" {
		refusal, unlogged = wrong, true
	}
	if refusal != "" && unlogged {
		name := kmserr.KeyMaterialMismatch
		if len(found.keys) == 0 {
			name = kmserr.Validation
		}
		told := c.logged(kmserr.New(name, "%s", refusal))
		refusal = strings.TrimSpace(refusal + " " + kmserr.As(told).Hint)
	}
	var results, answer wire.Object
	for _, asked := range slices.Sorted(slices.Values(req.capabilities)) {
		why := refusal
		if why == "" && asked == capabilityRevocation {
			why = found.stateRefusal()
		}
		var result wire.Object
		result.Bool("success", why == "")
		if why == "" {
			why = found.success()
		}
		result.Text("reason", why)
		results.Object(string(asked), result)
	}
	answer.Object("verificationResults", results)
	answer.Texts("processedAttributes", processed)
	return answer.JSON(), nil
}

// evaluate asks the verifier about every identity. What the store cannot answer for one of them is an error, even beside
// a match: a damaged store must not decide by what happens to be readable.
func evaluate(ctx context.Context, v *verifier.Verifier, req *request, algorithm kmskey.SigningAlgorithm) (*verdict, error) {
	revocation := slices.Contains(req.capabilities, capabilityRevocation)
	found := &verdict{exact: v.ExactRegion()}
	for _, identity := range req.TrustPolicy.TrustedIdentities {
		ref, err := kmskey.ParseRef(identity)
		if err != nil || ref.Scope.IsZero() {
			found.ignored = append(found.ignored, fmt.Sprintf("%.200q", identity))
			continue
		}
		authorized, err := v.AuthorizeKey(ctx, verifier.KeyRequest{
			KeyID: identity, PublicKey: req.leafKey, SigningAlgorithm: algorithm, MessageType: kmskey.Raw,
			SeparateState: revocation, RevocationSkipped: !revocation, Terse: true,
		})
		switch {
		case err == nil:
			found.matched, found.keys = append(found.matched, authorized), append(found.keys, authorized.ARN())
		case kmserr.Is(err, kmserr.NotFound):
			found.elsewhere = append(found.elsewhere, absent(ref, kmserr.As(err)))
		case kmserr.Is(err, kmserr.KeyMaterialMismatch):
			found.elsewhere = append(found.elsewhere, anotherKey(identity, kmserr.As(err).KeyARN))
		case kmserr.Is(err, kmserr.Ambiguous), kmserr.ExitCode(err) != kmserr.ExitRefused:
			return nil, err
		default:
			text := wire.Text(err)
			if !strings.Contains(text, identity) {
				text += " (" + identity + ")"
			}
			found.refused = append(found.refused, text)
			// Whatever refuses a key but KeyMaterialMismatchException is about the key that is the leaf's.
			if arn, err := kmskey.ParseARN(kmserr.As(err).KeyARN); err == nil {
				found.keys = append(found.keys, arn)
			}
		}
	}
	return found, nil
}

// absent says what is missing: for an alias it may be the alias, the key that it means, or any key, where KMS had it no more.
func absent(ref kmskey.Ref, err *kmserr.Error) string {
	switch {
	case ref.Alias == "":
		return ref.String() + " is not in the store"
	case err.KeyARN != ref.String():
		return ref.String() + " means " + err.KeyARN + ", which is not in the store"
	}
	return err.Fact
}

func anotherKey(identity, arn string) string {
	if identity == arn {
		return identity + " is another key"
	}
	return identity + " resolved to " + arn + ", another key"
}

// refusal says why there is no trusted identity, or "" if there is one. All that match must pass.
func (f *verdict) refusal(v *verifier.Verifier, req *request) string {
	if len(f.refused) > 0 {
		return strings.Join(f.refused, "; ") + f.notes()
	}
	if len(f.matched) > 0 {
		return ""
	}
	fingerprint, spec, err := kmskey.FingerprintDER(req.leafKey)
	if err != nil {
		return wire.Text(err)
	}
	reason := fmt.Sprintf("no trusted identity is the key that signed (%s, SHA-256 of its public key %s)", spec, fingerprint)
	if len(f.elsewhere) > 0 {
		reason += ": " + strings.Join(f.elsewhere, "; ")
	}
	// The index serves this hint and nothing else: it never makes a yes.
	if arns, err := v.Store().ARNsByFingerprint(fingerprint); err == nil && len(arns) > 0 {
		texts := make([]string, len(arns))
		for i, arn := range arns {
			texts[i] = arn.String()
		}
		reason += "; the store has that key as " + strings.Join(texts, ", ") + ", which the trust policy does not name"
	}
	if len(f.elsewhere) == 0 {
		reason += ". " + identityForms
	}
	return reason + f.notes()
}

// keyARN checks the attribute with which the signer named its key, if it did: it must be one that is the leaf's. Multi-Region
// replicas are one key under several ARNs, unless the policy says otherwise.
func (f *verdict) keyARN(req *request) string {
	raw, ok := req.Signature.CriticalAttributes.ExtendedAttributes[KeyARNAttribute]
	if !ok {
		return ""
	}
	if raw.Kind() != '"' {
		return fmt.Sprintf("the signature's attribute %s is no text but a JSON %s", KeyARNAttribute, raw.Kind())
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return fmt.Sprintf("the signature's attribute %s is no valid text", KeyARNAttribute)
	}
	named, err := kmskey.ParseARN(string(text))
	if err != nil {
		return fmt.Sprintf("the signature's attribute %s is %.2048q, which is no key ARN", KeyARNAttribute, text)
	}
	if len(f.keys) == 0 {
		return "no trusted identity is the key that signed"
	}
	note := ""
	for _, arn := range f.keys {
		replica := arn.MultiRegion() && named.KeyID == arn.KeyID && named.Partition == arn.Partition && named.Account == arn.Account
		if named == arn || replica && !f.exact {
			return ""
		}
		if replica {
			note = ", of another Region, which the policy does not let stand for it"
		}
	}
	return fmt.Sprintf("the signature says that it was made with %s, and the trusted identity is %s%s", named, f.keys[0], note)
}

// names reports whether the signature has the extended attribute.
func (req *request) names(attribute string) bool {
	_, ok := req.Signature.CriticalAttributes.ExtendedAttributes[attribute]
	return ok
}

// stateRefusal says why state or age refuse a matched key, or "".
func (f *verdict) stateRefusal() string {
	for _, a := range f.matched {
		if err := a.StateError(); err != nil {
			return wire.Text(err) + f.notes()
		}
	}
	return ""
}

// success names what the yes rests on.
func (f *verdict) success() string {
	reasons := make([]string, len(f.matched))
	for i, a := range f.matched {
		d := a.Decision()
		reason := "the signing key is " + d.KeyARN
		if d.Asked != d.KeyARN {
			reason += " (" + d.Asked + ")"
		}
		reason += ", " + d.Basis()
		if d.Fallback {
			reason += ", by the records of its multi-Region replicas " + strings.Join(d.FallbackARNs, ", ")
		}
		for _, option := range d.OptionTexts() {
			reason += ", option " + option
		}
		for _, warning := range d.Warnings { // that there is no line in the log, for one
			reason += ", warning: " + warning
		}
		reasons[i] = reason
	}
	return wire.Line(strings.Join(reasons, "; ") + f.notes())
}

func (f *verdict) notes() string {
	if len(f.ignored) == 0 {
		return ""
	}
	return fmt.Sprintf(" (ignored, not KMS ARNs: %s)", strings.Join(f.ignored, ", "))
}
