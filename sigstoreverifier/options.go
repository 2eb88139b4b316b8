package sigstoreverifier

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"io"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/awskms-offline/awskms-offline/internal/progress"
	"github.com/awskms-offline/awskms-offline/internal/sigstorerules"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxSignature is the longest signature read, in bytes: more than any that KMS makes.
const maxSignature = 16 << 10

// pssAlgorithms are KMS's RSASSA-PSS algorithms, by hash. These hashes are all that KMS has.
var pssAlgorithms = map[crypto.Hash]kmskey.SigningAlgorithm{
	crypto.SHA256: kmskey.RSASSAPSSSHA256, crypto.SHA384: kmskey.RSASSAPSSSHA384, crypto.SHA512: kmskey.RSASSAPSSSHA512,
}

// callOptions are the options of one call.
type callOptions struct {
	ctx context.Context
	// hasDigest tells a digest that was given, be it nil, from none.
	hasDigest bool
	digest    []byte
	// signer is nil where none was given.
	signer crypto.SignerOpts
}

func readVerifyOptions(opts []signature.VerifyOption) (callOptions, error) {
	given, err := readRPC(opts)
	if err != nil {
		return callOptions{}, err
	}
	none := []byte{0} // WithDigest(nil) must not pass for no digest: the answer would be about the message, which is empty
	digest := none
	for _, o := range opts {
		o.ApplyDigest(&digest)
		o.ApplyCryptoSignerOpts(&given.signer)
	}
	if len(digest) == 0 {
		return callOptions{}, kmserr.New(kmserr.Validation, "the digest given is empty").WithHint("Give the digest, or leave WithDigest out and give the message.")
	}
	if &digest[0] != &none[0] {
		given.hasDigest, given.digest = true, digest
	}
	return given, nil
}

// readRPC reads what all calls can be told and refuses what cannot be honoured.
func readRPC[O signature.RPCOption](opts []O) (callOptions, error) {
	given := callOptions{ctx: context.Background()}
	var (
		remote  bool
		version string
		auth    options.RPCAuth
	)
	for _, o := range opts {
		if any(o) == nil {
			return callOptions{}, kmserr.New(kmserr.Validation, "one of the call's options is nil")
		}
		o.ApplyContext(&given.ctx)
		o.ApplyRemoteVerification(&remote)
		o.ApplyKeyVersion(&version)
		o.ApplyRPCAuthOpts(&auth)
	}
	switch {
	case given.ctx == nil:
		return callOptions{}, kmserr.New(kmserr.Validation, "the call's context is nil")
	case auth != options.RPCAuth{}:
		return callOptions{}, kmserr.New(kmserr.Validation, "credentials for a server are given, but this verifier calls nobody").
			WithHint("Leave WithRPCAuthOpts out.")
	}
	if err := sigstorerules.CheckOptions(version, remote); err != nil {
		return callOptions{}, err
	}
	return given, nil
}

// algorithms returns the algorithm that is named, or else the defaults for specs that have several.
func (c callOptions) algorithms(o Options) (named kmskey.SigningAlgorithm, defaults []kmskey.SigningAlgorithm, err error) {
	hash := o.Hash
	switch s := c.signer.(type) {
	case nil:
	case crypto.Hash:
		if hash = s; hash != 0 && pssAlgorithms[hash] == "" {
			return "", nil, unknownHash("WithCryptoSignerOpts", hash)
		}
	case *rsa.PSSOptions:
		named, err = pssAlgorithm(s, o)
	case *ed25519.Options:
		named, err = ed25519Algorithm(s)
	default:
		err = kmserr.New(kmserr.Validation, "WithCryptoSignerOpts gives a %T, expected crypto.Hash, *rsa.PSSOptions or *ed25519.Options", s)
	}
	switch {
	case err != nil:
		return "", nil, err
	case o.SigningAlgorithm != "":
		if named != "" && named != o.SigningAlgorithm {
			return "", nil, kmserr.New(kmserr.Validation, "WithCryptoSignerOpts names %s, but the sigstore verifier was made for %s", named, o.SigningAlgorithm)
		}
		return o.SigningAlgorithm, nil, nil
	case named != "":
		return named, nil, nil
	}
	return "", sigstorerules.Defaults(hash), nil
}

// pssAlgorithm names what the PSS options ask for. KMS's salt is as long as the hash: the verifier takes no other, which
// is within what PSSSaltLengthAuto allows.
func pssAlgorithm(s *rsa.PSSOptions, o Options) (kmskey.SigningAlgorithm, error) {
	hash := s.Hash
	for h, a := range pssAlgorithms {
		if hash == 0 && (h == o.Hash || a == o.SigningAlgorithm) {
			hash = h
		}
	}
	a := pssAlgorithms[hash]
	if a == "" {
		return "", unknownHash("WithCryptoSignerOpts: PSSOptions.Hash", hash)
	}
	if n := s.SaltLength; n != rsa.PSSSaltLengthAuto && n != rsa.PSSSaltLengthEqualsHash && n != hash.Size() {
		return "", kmserr.New(kmserr.Validation, "WithCryptoSignerOpts asks for a salt of %d bytes, but KMS's has the %d of its hash", n, hash.Size())
	}
	return a, nil
}

func ed25519Algorithm(s *ed25519.Options) (kmskey.SigningAlgorithm, error) {
	switch {
	case s.Context != "":
		return "", kmserr.New(kmserr.Validation, "WithCryptoSignerOpts gives a context of Ed25519, but KMS signs without one")
	case s.Hash == 0:
		return kmskey.ED25519SHA512, nil
	case s.Hash == crypto.SHA512:
		return kmskey.ED25519PHSHA512, nil
	}
	return "", kmserr.New(kmserr.Validation, "WithCryptoSignerOpts: the hash %v is none of Ed25519's, expected SHA-512 or 0", s.Hash)
}

func unknownHash(field string, h crypto.Hash) error {
	return kmserr.New(kmserr.Validation, "%s: the hash %v is none of KMS's, expected SHA-256, SHA-384 or SHA-512", field, h)
}

func (c callOptions) readSignature(r io.Reader) ([]byte, error) {
	if r == nil {
		return nil, kmserr.New(kmserr.Validation, "there is no signature")
	}
	sig, err := io.ReadAll(io.LimitReader(progress.Reader(c.ctx, r), maxSignature+1))
	switch {
	case c.ctx.Err() != nil:
		return sig, nil // its verifier says so, before all else, and logs it
	case err != nil:
		return nil, kmserr.New(kmserr.Validation, "the signature cannot be read: %v", err).WithCause(err)
	}
	if len(sig) > maxSignature {
		return nil, kmserr.New(kmserr.InvalidSignature, "the signature is ill-formed: it is longer than %d bytes, which no KMS signature is", maxSignature).
			WithHint("Give the signature's bytes as KMS made them.")
	}
	return sig, nil
}

// digestAlone returns the digest as the verifier's input. A message beside it is a second question, and only one of the
// two would be answered.
func (c callOptions) digestAlone(message io.Reader) (io.Reader, error) {
	if message != nil {
		switch _, err := io.ReadFull(progress.Reader(c.ctx, message), make([]byte, 1)); {
		case err == nil:
			return nil, kmserr.New(kmserr.Validation, "a digest is given, and a message too, expected one of them")
		case !errors.Is(err, io.EOF) && c.ctx.Err() == nil: // that the time is over its verifier says, before all else
			return nil, kmserr.New(kmserr.Validation, "a digest is given, and whether a message is given too cannot be told: %v", err).WithCause(err)
		}
	}
	return bytes.NewReader(c.digest), nil
}
