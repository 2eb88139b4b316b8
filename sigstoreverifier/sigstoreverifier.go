// Package sigstoreverifier makes the verifier of this module a signature.Verifier of sigstore's, so that sigstore-go, and
// whatever else takes one, verifies by KMS key ID offline and under this project's guards: key state, usage, algorithm,
// policy and log.
//
//	v, err := verifier.Open(verifier.Options{})
//	key, err := sigstoreverifier.New(v, "alias/release", sigstoreverifier.Options{})
//	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
//		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
//	})
//
// The folder example holds the whole program.
//
// Name the key yourself. A bundle's key hint is the word of whoever made the bundle: one that is handed on to New lets
// every key of the store sign everything.
//
// # Answers
//
// A nil error is the only yes. Every error is a *kmserr.Error, which errors.As finds below sigstore-go's own wrapping,
// except for attestations: DSSE libraries drop the reason of a signature that they skip, and then only Options.Observe and
// the log tell it.
//
// # Options of a call
//
// WithContext is honoured. WithDigest is the bare hash of the message, for the algorithms that sign one; a message beside
// it is refused, and so is a digest with nothing in it. WithCryptoSignerOpts: see VerifySignature. What cannot be honoured
// is refused: a key version (keys of KMS have none that sign), remote verification, and credentials for a server. A call
// refused for its options leaves its line in the log like any other, without the algorithm and the hashes of what was not
// looked at.
//
// sigstore's signature package doubles a program's start, so no binary of this project imports this one: the plugin for
// cosign is plugin/sigstore.
package sigstoreverifier

import (
	"crypto"
	"io"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Options settle what sigstore's interface has no words for. The zero value suits every key that was signed with as cosign
// does: RSA with PKCS#1 v1.5 and SHA-256, Ed25519 without prehash, and every other key with the only algorithm it has.
type Options struct {
	// SigningAlgorithm is the one algorithm taken. Empty: the key's only one, or the default above.
	SigningAlgorithm kmskey.SigningAlgorithm
	// Hash is that of the default for RSA keys: SHA256 (as 0 is), SHA384 or SHA512. It must be 0 beside SigningAlgorithm,
	// which names one.
	Hash crypto.Hash
	// DistinguishingID and ENTL are for SM2 keys. Not given: the key record's ID, else KMS's own, 1234567812345678.
	DistinguishingID kmskey.DistinguishingID
	ENTL             kmskey.ENTL
	// Observe is called with every answer before it is given, by the caller's goroutine: with the decision, the warnings
	// and the age of what it rests on among it, or with a zero decision and the *kmserr.Error that refuses. May be nil. It
	// cannot change the answer, except that a panic in it refuses.
	Observe func(audit.Decision, error)
}

// Verifier is a signature.Verifier of one KMS key. It is made by New, and safe for use by several goroutines; the zero value refuses
// everything. The key is looked up at each call, so that a change in the store counts from the next one on.
type Verifier struct {
	verifier *verifier.Verifier
	keyID    string
	opts     Options
}

var _ signature.Verifier = (*Verifier)(nil)

// New returns the Verifier of the key, which keyID names in any of KMS's four forms. Whether the store has the key, and
// what may be done with it, is decided at each call and not here. A ValidationException is a key identifier or option
// that no call could use. v stays the caller's to close, after the last use.
func New(v *verifier.Verifier, keyID string, opts Options) (*Verifier, error) {
	if v == nil {
		return nil, kmserr.New(kmserr.Internal, "a sigstore verifier needs a verifier").WithHint("Make one with verifier.Open.")
	}
	if _, err := kmskey.ParseRef(keyID); err != nil {
		return nil, err
	}
	switch {
	case opts.SigningAlgorithm == "":
		if opts.Hash == 0 {
			opts.Hash = crypto.SHA256
		}
		if pssAlgorithms[opts.Hash] == "" {
			return nil, unknownHash("Options.Hash", opts.Hash)
		}
	case !opts.SigningAlgorithm.Known():
		return nil, kmserr.New(kmserr.Validation, "Options.SigningAlgorithm %q is none of KMS's: %s",
			string(opts.SigningAlgorithm), kmskey.JoinNames(kmskey.SigningAlgorithms()))
	case opts.Hash != 0:
		return nil, kmserr.New(kmserr.Validation, "Options.Hash is %v, beside SigningAlgorithm %s, which names its own", opts.Hash, opts.SigningAlgorithm).
			WithHint("Leave one of the two out.")
	}
	return &Verifier{verifier: v, keyID: keyID, opts: opts}, nil
}

// VerifySignature reports by a nil error that the signature is the key's over the message and may be relied on. It reads
// the message to its end, in constant memory except for Ed25519 and ML-DSA, and at most 16 KiB of signature, in KMS's
// encoding: DER for ECDSA and SM2, raw bytes otherwise.
//
// WithCryptoSignerOpts with a crypto.Hash chooses the hash of the default for RSA keys in place of Options.Hash, as
// sigstore's own RSA verifier does it; wherever the key or Options.SigningAlgorithm settles the algorithm it says nothing,
// for many callers send SHA-256 with every key. *rsa.PSSOptions and *ed25519.Options name the algorithm, and are refused
// where it is another or where KMS makes no such signatures.
func (a *Verifier) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	if err := a.ready(); err != nil {
		return a.answer(audit.Decision{}, err)
	}
	var given callOptions
	var req verifier.Request
	err := guarded(func() (err error) {
		if given, err = readVerifyOptions(opts); err == nil {
			req, err = a.request(given, sig, message)
		}
		return err
	})
	if err != nil {
		return a.refuse(given, audit.EventVerify, err)
	}
	var verified *verifier.Verified
	err = guarded(func() (err error) {
		verified, err = a.verifier.Verify(given.ctx, req)
		return err
	})
	return a.answer(verified.Decision(), err)
}

// request makes the verifier's question of a call.
func (a *Verifier) request(given callOptions, sig, message io.Reader) (verifier.Request, error) {
	req := verifier.Request{
		KeyID: a.keyID, Message: message,
		DistinguishingID: a.opts.DistinguishingID, ENTL: a.opts.ENTL,
	}
	var err error
	if req.SigningAlgorithm, req.DefaultAlgorithms, err = given.algorithms(a.opts); err != nil {
		return req, err
	}
	if req.Signature, err = given.readSignature(sig); err != nil {
		return req, err
	}
	if given.hasDigest {
		req.MessageType, req.BareHash = kmskey.Digest, true
		req.Message, err = given.digestAlone(message)
	}
	return req, err
}

// PublicKey returns the key itself, if it may be relied on: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, and a
// PublicKey of this package for the key specs that the standard library does not know: secp256k1, SM2 and ML-DSA.
func (a *Verifier) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	if err := a.ready(); err != nil {
		return nil, a.answer(audit.Decision{}, err)
	}
	var given callOptions
	if err := guarded(func() (err error) { given, err = readRPC(opts); return err }); err != nil {
		return nil, a.refuse(given, audit.EventAuthorizeKey, err)
	}
	var authorized *verifier.Authorized
	var key crypto.PublicKey
	err := guarded(func() (err error) {
		authorized, err = a.verifier.AuthorizeKey(given.ctx, verifier.KeyRequest{
			KeyID: a.keyID, WithoutPublicKey: true, SigningAlgorithm: a.opts.SigningAlgorithm,
			DistinguishingID: a.opts.DistinguishingID, ENTL: a.opts.ENTL,
		})
		if err == nil {
			key, err = publicKey(authorized)
		}
		return err
	})
	d := authorized.Decision()
	if err != nil {
		d = audit.Decision{}
	}
	if err := a.answer(d, err); err != nil {
		return nil, err
	}
	return key, nil
}

// refuse answers a call of which no question could be made. Its line in the log is the verifier's to write.
func (a *Verifier) refuse(given callOptions, event string, refusal error) error {
	err := guarded(func() error { return a.verifier.Refuse(given.ctx, event, a.keyID, refusal) })
	return a.answer(audit.Decision{}, err)
}

// ready refuses a Verifier that New did not make.
func (a *Verifier) ready() error {
	if a == nil || a.verifier == nil {
		return kmserr.New(kmserr.Internal, "the sigstore verifier was not made by New")
	}
	return nil
}

// answer is the one place that says yes: no error, and a decision that says so too. It tells the observer before.
func (a *Verifier) answer(d audit.Decision, err error) error {
	if err == nil && !d.Verified {
		d, err = audit.Decision{}, kmserr.New(kmserr.Internal, "the verifier gave neither a decision nor a reason")
	}
	if a == nil || a.opts.Observe == nil {
		return err
	}
	if stopped := guarded(func() error { a.opts.Observe(d, err); return nil }); stopped != nil {
		return stopped
	}
	return err
}

// guarded turns a panic, of a caller's reader, option or observer, into an error.
func guarded(body func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = kmserr.New(kmserr.Internal, "the verification stopped: %v", r).WithCure()
		}
	}()
	return body()
}
