package notationsigner

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// signer signs with a KMS key and its certificate chain; it is the signature.Signer of Notation's core library.
type signer struct {
	ctx       context.Context // of the one call that this signer lives for
	kms       *awskms.Signer
	algorithm algorithm
	chain     *kmscert.Chain
	// err is why Sign failed: the library keeps the text only.
	err error
}

// open checks the chain and the key against each other, and that Notation can use both. Close the signer after use.
func open(ctx context.Context, c call, now time.Time) (*signer, error) {
	var certificates *kmscert.Chain
	var err error
	if c.options.chain != "" { // then a chain that is no good costs no call
		if certificates, err = kmscert.ReadValid(c.options.chain, now); err != nil {
			return nil, err
		}
	}
	client, err := newClient(ctx, c)
	if err != nil {
		return nil, err
	}
	key, err := awskms.NewSigner(ctx, client, c.ref)
	if err != nil {
		return nil, err
	}
	s := &signer{ctx: ctx, kms: key, chain: certificates}
	if err := s.match(c, now); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *signer) match(c call, now time.Time) (err error) {
	key := s.kms.Key()
	if s.algorithm, err = algorithmOf(key); err != nil {
		return err
	}
	if s.chain == nil {
		s.chain, err = kmscert.KeptValid(c.options.home, "the plugin option "+optionHome, key, now)
		if kmserr.Is(err, kmserr.NotFound) {
			return kmserr.As(err).WithHint("`awskms-offline cert self-sign --key-id %s` makes it; or give --plugin-config %s=FILE.", key.ARN(), optionChain)
		}
		if err != nil {
			return err
		}
	}
	return s.chain.BelongsTo(key)
}

// Close removes what the signer made.
func (s *signer) Close() error { return s.kms.Close() }

// Sign implements signature.Signer.
func (s *signer) Sign(payload []byte) ([]byte, []*x509.Certificate, error) {
	fromKMS, err := s.kms.Sign(s.ctx, awskms.SignRequest{
		Algorithm: s.algorithm.kms, MessageType: kmskey.Digest, Message: s.algorithm.digest(payload),
	})
	var encoded []byte
	if err == nil {
		encoded, err = s.algorithm.encode(fromKMS)
	}
	if s.err = err; err != nil {
		return nil, nil, err
	}
	return encoded, s.chain.Certificates, nil
}

// KeySpec implements signature.Signer.
func (s *signer) KeySpec() (signature.KeySpec, error) { return s.algorithm.core, nil }

func newClient(ctx context.Context, c call) (*awskms.Client, error) {
	return awskms.New(ctx, c.options.kms)
}

// describeKey answers what Notation must know of a key before it makes an envelope itself.
func describeKey(ctx context.Context, req *describeKeyRequest) (*plugin.DescribeKeyResponse, error) {
	client, err := newClient(ctx, req.call)
	if err != nil {
		return nil, err
	}
	key, err := client.FetchToSign(ctx, req.ref)
	if err != nil {
		return nil, err
	}
	a, err := algorithmOf(key)
	if err != nil {
		return nil, err
	}
	return &plugin.DescribeKeyResponse{KeyID: req.KeyID, KeySpec: a.keySpec}, nil
}

// generateSignature signs what Notation made an envelope of.
func generateSignature(ctx context.Context, req *signatureRequest) (_ *plugin.GenerateSignatureResponse, err error) {
	s, err := open(ctx, req.call, time.Now())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	a := s.algorithm
	if req.KeySpec != a.keySpec || req.Hash != a.hashName {
		return nil, kmserr.New(kmserr.Validation, "keySpec is %q and hashAlgorithm %q, and %s has %q and %q",
			req.KeySpec, req.Hash, s.kms.Key().ARN(), a.keySpec, a.hashName).WithKey(s.kms.Key().ARN().String())
	}
	encoded, _, err := s.Sign(req.Payload)
	if err != nil {
		return nil, err
	}
	return &plugin.GenerateSignatureResponse{
		KeyID: req.KeyID, Signature: encoded, SigningAlgorithm: a.name, CertificateChain: s.chain.DER(),
	}, nil
}
