package verifier

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/awskms-offline/awskms-offline/internal/progress"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawencrypt"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// optionAllowState is how the log and the answer name UnsafeAllowState, optionEncryption the algorithm.
const (
	optionAllowState = "unsafe-allow-state"
	optionEncryption = "encryption-algorithm"
)

// EncryptRequest is the question of Encrypt.
type EncryptRequest struct {
	// KeyID is any of KMS's four forms.
	KeyID string
	// EncryptionAlgorithm may be left empty where the key spec has exactly one: SM2. Nothing is tried in turn.
	EncryptionAlgorithm kmskey.EncryptionAlgorithm
	// Plaintext is read once, to its end or to one byte more than may be encrypted: see
	// kmskey.EncryptionAlgorithm.MaxPlaintext.
	Plaintext io.Reader
	// UnsafeAllowState encrypts for a key that KMS last called Disabled, PendingDeletion or whatever else it can leave
	// again: until it does, nobody can decrypt. It passes no block, no date that is over and no restriction of the policy.
	UnsafeAllowState bool
}

// Encrypted is a ciphertext that KMS Decrypt decrypts with that key. Only Encrypt makes one.
type Encrypted struct {
	line       audit.Decision
	algorithm  kmskey.EncryptionAlgorithm
	ciphertext []byte
}

// Decision returns what was decided and what it rests on.
func (e *Encrypted) Decision() audit.Decision {
	if e == nil {
		return audit.Decision{}
	}
	return e.line
}

// EncryptionAlgorithm returns what KMS Decrypt must be told; empty for the zero Encrypted.
func (e *Encrypted) EncryptionAlgorithm() kmskey.EncryptionAlgorithm {
	if e == nil {
		return ""
	}
	return e.algorithm
}

// Ciphertext returns the ciphertext as KMS Decrypt takes it: as long as the modulus for RSA, DER for SM2PKE; nil for the
// zero Encrypted.
func (e *Encrypted) Ciphertext() []byte {
	if e == nil {
		return nil
	}
	return slices.Clone(e.ciphertext)
}

// Encrypt encrypts for a KMS key, if it may be used so and KMS could decrypt: the same door as Verify, with the usage
// ENCRYPT_DECRYPT and the algorithms that the record lists. States that a policy grants are for signatures made before, and
// count for nothing here; an alias means the key that it means now, whatever its history.
//
// The log gets neither the plaintext nor its hash or length: who can guess a short plaintext could prove the guess by them.
func (v *Verifier) Encrypt(ctx context.Context, req EncryptRequest) (*Encrypted, error) {
	use := func(d *decision) {
		d.useFor(kmskey.EncryptDecrypt, req.UnsafeAllowState)
		if req.EncryptionAlgorithm != "" {
			d.line.Options[optionEncryption] = string(req.EncryptionAlgorithm)
		}
	}
	var out Encrypted
	d, err := v.decide(ctx, audit.EventEncrypt, req.KeyID, use, func(ctx context.Context, v *Verifier, d *decision) error {
		if err := d.tellKey(v.resolve(d, req.KeyID)); err != nil {
			return err
		}
		if err := v.admit(d); err != nil {
			return err
		}
		algorithm, err := d.chooseEncryption(req.EncryptionAlgorithm)
		if err := d.tell("algorithm", err, "%s", algorithm); err != nil {
			return err
		}
		d.line.Options[optionEncryption] = string(algorithm)
		plaintext, err := readPlaintext(ctx, req.Plaintext, algorithm.MaxPlaintext(d.key().Spec()))
		if err == nil {
			out.ciphertext, err = rawencrypt.Encrypt(d.key().Material(), algorithm, plaintext)
		}
		out.algorithm = algorithm
		return d.tell("encryption", err, "%d bytes of ciphertext", len(out.ciphertext))
	})
	if err != nil {
		return nil, err
	}
	out.line = d.line
	return &out, nil
}

// useFor makes the decision one about another usage than signatures.
func (d *decision) useFor(usage kmskey.KeyUsage, unsafeState bool) {
	d.usage, d.unsafeState = usage, unsafeState
	if unsafeState {
		d.line.Options[optionAllowState] = "true"
	}
}

// chooseEncryption is step 7: the algorithm that was named, or the only one that the spec has, if every record used lists
// it.
func (d *decision) chooseEncryption(named kmskey.EncryptionAlgorithm) (kmskey.EncryptionAlgorithm, error) {
	spec := d.key().Spec()
	var takes []kmskey.EncryptionAlgorithm
	for _, a := range d.key().EncryptionAlgorithms() {
		if !slices.ContainsFunc(d.found.Entries[1:], lacksEncryption(a)) {
			takes = append(takes, a)
		}
	}
	if named == "" {
		all := spec.EncryptionAlgorithms()
		if len(all) != 1 {
			return "", kmserr.New(kmserr.Validation, "no encryption algorithm is given, and a key of spec %s has several", spec).
				WithHint("Give the option encryption-algorithm, one of: %s.", orNone(takes))
		}
		named = all[0]
	}
	switch {
	case !named.Known():
		return "", kmserr.New(kmserr.Validation, "the encryption algorithm %q is none of KMS's: %s", string(named), kmskey.JoinNames(kmskey.EncryptionAlgorithms())).
			WithHint("%s", kmskey.HintNearest(string(named), kmskey.EncryptionAlgorithms()))
	case !slices.Contains(spec.EncryptionAlgorithms(), named):
		return "", kmserr.New(kmserr.InvalidKeyUsage, "Algorithm %s is incompatible with key spec %s", named, spec).
			WithHint("This key takes: %s.", orNone(takes))
	case !slices.Contains(takes, named):
		return "", kmserr.New(kmserr.InvalidKeyUsage, "the record of %s lists %s, not %s", d.key().ARN(), orNone(takes), named).
			WithHint("This key takes: %s.", orNone(takes))
	}
	return named, nil
}

// lacksEncryption finds a record that does not list the algorithm.
func lacksEncryption(a kmskey.EncryptionAlgorithm) func(keystore.Entry) bool {
	return func(e keystore.Entry) bool { return !slices.Contains(e.Key.EncryptionAlgorithms(), a) }
}

// readPlaintext reads at most one byte more than limit, so that what is too long can be told.
func readPlaintext(ctx context.Context, r io.Reader, limit int) ([]byte, error) {
	if r == nil {
		return nil, kmserr.New(kmserr.Validation, "there is no plaintext")
	}
	plaintext, err := io.ReadAll(io.LimitReader(progress.Reader(ctx, r), int64(limit)+1))
	if e := new(kmserr.Error); err != nil && ctx.Err() == nil && !errors.As(err, &e) {
		err = kmserr.New(kmserr.Validation, "the plaintext cannot be read: %v", err).WithCause(err)
	}
	return plaintext, err
}
