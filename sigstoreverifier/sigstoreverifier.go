// Package sigstoreverifier lets programs built on sigstore's libraries verify by AWS KMS key, offline: Verifier satisfies
// github.com/sigstore/sigstore/pkg/signature.Verifier over the one door of package verifier, so that a key's usage, state,
// blocks and policy hold there too.
//
//	v, err := verifier.Open(verifier.Options{})
//	key, err := sigstoreverifier.New(v, "alias/release", sigstoreverifier.Options{})
//	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
//		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
//	})
//
// The folder example has the whole program. sigstore's signature package costs twice an empty program's start, so no
// binary of this project imports this one: the plugin for cosign is plugin/sigstore.
package sigstoreverifier

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxSignature is the longest signature read, in bytes: more than any of KMS's has.
const maxSignature = 16 << 10

// Options say how the key signs, where its record leaves a choice. The zero value is what cosign itself signs with:
// RSASSA_PKCS1_V1_5_SHA_256 for RSA, ED25519_SHA_512 for Ed25519, and the one algorithm of every other key spec.
type Options struct {
	// SigningAlgorithm is KMS's name of the algorithm.
	SigningAlgorithm kmskey.SigningAlgorithm
	// DistinguishingID and ENTL are for SM2.
	DistinguishingID kmskey.DistinguishingID
	ENTL             kmskey.ENTL
}

// Verifier verifies by one KMS key. Every call asks the store anew, so a key that is blocked or replaced meanwhile is
// refused. The zero value refuses everything. It is safe for use by several goroutines.
type Verifier struct {
	verifier *verifier.Verifier
	keyID    string
	options  Options
}

var _ signature.Verifier = (*Verifier)(nil)

// New returns the verifier of a key, named in any of KMS's four forms. Whether the key is in the store, each call says. A
// ValidationException for an identifier that is none.
func New(v *verifier.Verifier, keyID string, o Options) (*Verifier, error) {
	if v == nil {
		return nil, kmserr.New(kmserr.Internal, "a sigstore verifier needs a verifier")
	}
	if _, err := kmskey.ParseRef(keyID); err != nil {
		return nil, err
	}
	return &Verifier{verifier: v, keyID: keyID, options: o}, nil
}

// VerifySignature implements signature.Verifier: a nil error is the only yes, every other is a *kmserr.Error. With
// options.WithDigest the digest takes the message's place; it must be the bare hash that the algorithm signs, which SM2,
// ML-DSA and ED25519_SHA_512 do not, and the message reader must then be nil or empty. options.WithContext is honoured; a
// hash of options.WithCryptoSignerOpts chooses that of RSA PKCS#1 v1.5. Remote verification and key versions are refused.
func (a *Verifier) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	if a == nil || a.verifier == nil {
		return errZero()
	}
	ctx, digest, hash, err := settle(opts)
	if err != nil {
		return err
	}
	if sig == nil {
		return kmserr.New(kmserr.Validation, "there is no signature")
	}
	der, err := io.ReadAll(io.LimitReader(sig, maxSignature+1))
	if err != nil {
		return kmserr.New(kmserr.Validation, "the signature cannot be read: %v", err).WithCause(err)
	}
	req := verifier.Request{
		KeyID: a.keyID, SigningAlgorithm: a.options.SigningAlgorithm, DefaultAlgorithms: defaults(hash),
		Message: message, Signature: der,
		DistinguishingID: a.options.DistinguishingID, ENTL: a.options.ENTL,
	}
	if digest != nil {
		if message != nil {
			if n, err := io.ReadFull(message, make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
				return kmserr.New(kmserr.Validation, "a digest and a message are given, expected one of them")
			}
		}
		req.MessageType, req.BareHash, req.Message = kmskey.Digest, true, bytes.NewReader(digest)
	}
	verified, err := a.verifier.Verify(ctx, req)
	if err != nil {
		return err
	}
	if !verified.Decision().Verified {
		return errZero()
	}
	return nil
}

// PublicKey implements signature.PublicKeyProvider: the key, if it may be relied on, as one of Go's own types. SM2,
// secp256k1 and ML-DSA have none that sigstore's libraries could use: an UnsupportedOperationException; VerifySignature
// works for them all the same.
func (a *Verifier) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	if a == nil || a.verifier == nil {
		return nil, errZero()
	}
	all := make([]signature.VerifyOption, 0, len(opts))
	for _, o := range opts {
		all = append(all, rpcOnly{o})
	}
	ctx, _, _, err := settle(all)
	if err != nil {
		return nil, err
	}
	authorized, err := a.verifier.AuthorizeKey(ctx, verifier.KeyRequest{KeyID: a.keyID, SigningAlgorithm: a.options.SigningAlgorithm})
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(authorized.PublicKeyDER())
	if err != nil {
		return nil, kmserr.New(kmserr.UnsupportedOperation, "Go has no type for a public key of spec %s", authorized.Decision().KeySpec).
			WithHint("Verify with VerifySignature, which takes such keys.").WithCause(err).WithKey(authorized.ARN().String())
	}
	return key, nil
}

// rpcOnly makes a public key's option one of verification's.
type rpcOnly struct{ signature.RPCOption }

func (rpcOnly) ApplyDigest(*[]byte)                      {}
func (rpcOnly) ApplyCryptoSignerOpts(*crypto.SignerOpts) {}

// settle reads the options and refuses what cannot be honoured.
func settle(opts []signature.VerifyOption) (ctx context.Context, digest []byte, hash crypto.Hash, err error) {
	ctx, hash = context.Background(), crypto.SHA256
	var signerOpts crypto.SignerOpts
	var version string
	var remote bool
	for _, o := range opts {
		o.ApplyContext(&ctx)
		o.ApplyDigest(&digest)
		o.ApplyCryptoSignerOpts(&signerOpts)
		o.ApplyKeyVersion(&version)
		o.ApplyRemoteVerification(&remote)
	}
	switch {
	case remote:
		err = kmserr.New(kmserr.Validation, "remote verification is asked for, but nobody is called here")
	case version != "":
		err = kmserr.New(kmserr.Validation, "the key version %q is asked for, but KMS keys have no versions that sign", version)
	}
	if signerOpts != nil {
		hash = signerOpts.HashFunc()
	}
	return ctx, digest, hash, err
}

// defaults are cosign's own for key specs that have several algorithms.
func defaults(hash crypto.Hash) []kmskey.SigningAlgorithm {
	all := []kmskey.SigningAlgorithm{kmskey.ED25519SHA512}
	switch hash {
	case crypto.SHA256:
		all = append(all, kmskey.RSASSAPKCS1SHA256)
	case crypto.SHA384:
		all = append(all, kmskey.RSASSAPKCS1SHA384)
	case crypto.SHA512:
		all = append(all, kmskey.RSASSAPKCS1SHA512)
	}
	return all
}

func errZero() error {
	return kmserr.New(kmserr.Internal, "the sigstore verifier was not made by New")
}
