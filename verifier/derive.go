package verifier

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawagree"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// MaxPrivateKey is the longest private key that DeriveSharedSecret reads, in bytes.
const MaxPrivateKey = rawagree.MaxPrivateKey

// DeriveRequest is the question of DeriveSharedSecret.
type DeriveRequest struct {
	// KeyID is any of KMS's four forms.
	KeyID string
	// PrivateKey is the caller's own key on the KMS key's curve: PKCS#8 or SEC 1, DER or PEM, not encrypted, at most
	// MaxPrivateKey bytes.
	PrivateKey []byte
	// UnsafeAllowState: see EncryptRequest; KMS derives nothing with such a key.
	UnsafeAllowState bool
}

// SharedSecret is a secret that KMS DeriveSharedSecret derives too, given the public half of the caller's private key. Only
// Verifier.DeriveSharedSecret makes one. Printed, it does not show the secret.
type SharedSecret struct {
	line   audit.Decision
	secret []byte
}

// Decision returns what was decided and what it rests on.
func (s *SharedSecret) Decision() audit.Decision {
	if s == nil {
		return audit.Decision{}
	}
	return s.line
}

// Bytes returns the raw secret, the x coordinate: 32 bytes for P-256 and SM2, 48 for P-384, 66 for P-521; nil for the zero
// SharedSecret. It is no key yet: pass it through a key derivation function.
func (s *SharedSecret) Bytes() []byte {
	if s == nil {
		return nil
	}
	return slices.Clone(s.secret)
}

// Format prints what this is, and nothing of it, whatever the verb.
func (SharedSecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "a shared secret") }

// DeriveSharedSecret derives the secret that the caller's private key shares with a KMS key, if that may be used so: the
// same door as Verify, with the usage KEY_AGREEMENT. What Encrypt says of states and aliases holds here too.
//
// The log gets nothing of the private key and the secret, no hash either.
func (v *Verifier) DeriveSharedSecret(ctx context.Context, req DeriveRequest) (*SharedSecret, error) {
	use := func(d *decision) { d.useFor(kmskey.KeyAgreement, req.UnsafeAllowState) }
	var out SharedSecret
	d, err := v.decide(ctx, audit.EventDeriveSharedSecret, req.KeyID, use, func(ctx context.Context, v *Verifier, d *decision) error {
		if err := d.tellKey(v.resolve(d, req.KeyID)); err != nil {
			return err
		}
		if err := v.admit(d); err != nil {
			return err
		}
		if err := d.tell("algorithm", d.checkAgreement(), "%s", kmskey.ECDH); err != nil {
			return err
		}
		d.line.Options["key-agreement-algorithm"] = string(kmskey.ECDH)
		private, err := rawagree.ParsePrivateKey(req.PrivateKey)
		if err == nil {
			out.secret, err = rawagree.Derive(d.key().Material(), private)
		}
		return d.tell("agreement", err, "a secret of %d bytes", len(out.secret))
	})
	if err != nil {
		return nil, err
	}
	out.line = d.line
	return &out, nil
}

// checkAgreement is step 7: every record used lists ECDH, the only algorithm there is.
func (d *decision) checkAgreement() error {
	for _, e := range d.found.Entries {
		if takes := e.Key.KeyAgreementAlgorithms(); !slices.Contains(takes, kmskey.ECDH) {
			return kmserr.New(kmserr.InvalidKeyUsage, "the record of %s lists no key agreement algorithm %s", e.Key.ARN(), kmskey.ECDH).
				WithHint("Download the key again and import it: `aws kms get-public-key` lists it.")
		}
	}
	return nil
}
