package awskms

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// ActionSign is IAM's name of the call.
const ActionSign = "kms:Sign"

// MaxRaw is the longest message that KMS signs itself, in bytes (API Reference, Sign, Message).
const MaxRaw = 4096

// Signer signs with one KMS key. Every signature is verified here before it is given out, by the public key that KMS gave
// and with every guard of the verifier, so that nothing leaves that nobody could verify.
type Signer struct {
	client *Client
	asked  kmskey.Ref
	key    *kmskey.Key
	home   string // a throw-away store that holds this key alone
	check  *verifier.Verifier
}

// FetchToSign asks KMS for a key as far as a signer needs it: not for its aliases, which signers are seldom allowed to list.
func (c *Client) FetchToSign(ctx context.Context, ref kmskey.Ref) (*kmskey.Key, error) {
	fetched, err := c.fetch(ctx, ref, &Listed{aliases: new(aliasList), listedAt: now()})
	if err != nil {
		return nil, err
	}
	return fetched.Key, nil
}

// NewSigner fetches the key. Close the signer after use.
func NewSigner(ctx context.Context, c *Client, ref kmskey.Ref) (*Signer, error) {
	key, err := c.FetchToSign(ctx, ref)
	if err != nil {
		return nil, err
	}
	s := &Signer{client: c, asked: ref, key: key}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// realPath is filepath.EvalSymlinks, other in tests.
var realPath = filepath.EvalSymlinks

func (s *Signer) open() (err error) {
	if s.home, err = os.MkdirTemp("", "awskms-offline-sign-"); err != nil {
		return kmserr.New(kmserr.StoreAccess, "no temporary folder can be made, in which a signature is verified: %v", err).
			WithHint("Set TMPDIR (on Windows TMP) to a folder that can be written.").WithCause(err)
	}
	// If it cannot, as on Windows behind a junction, it stays the path that the folder was made by, and is removed by.
	if real, err := realPath(s.home); err == nil {
		s.home = real
	}
	home := keystore.Home{Path: filepath.Join(s.home, "keys"), ChosenBy: "the signer"}
	// The folder is new and this user's alone. What lies above it may be open to others, as a container's /tmp often is:
	// who swaps the folder gains nothing without KMS's answer being his too.
	options := keystore.Options{UnsafePermissions: true}
	w, err := keystore.OpenWriter(home, options)
	if err != nil {
		return err
	}
	_, err = w.Put(s.key, keystore.PutOptions{FromKMS: true})
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	store, err := keystore.Open(home, options)
	if err != nil {
		return err
	}
	s.check, err = verifier.New(verifier.Config{Store: store, Policy: policy.None{}})
	return err
}

// Close removes what the signer made.
func (s *Signer) Close() error {
	var err error
	if s.check != nil {
		err = s.check.Close()
	}
	if s.home != "" {
		err = errors.Join(err, os.RemoveAll(s.home))
	}
	return err
}

// Key is the key as KMS told it.
func (s *Signer) Key() *kmskey.Key { return s.key }

// SignRequest is one thing to sign.
type SignRequest struct {
	// Algorithm is one of the key's.
	Algorithm kmskey.SigningAlgorithm
	// MessageType says what Message is: kmskey.Raw, a message of at most MaxRaw bytes; kmskey.Digest; kmskey.ExternalMu.
	MessageType kmskey.MessageType
	Message     []byte
	// Whole is the message itself, where Message is a digest or μ that the signature cannot be checked by: ML-DSA's. Nil
	// otherwise.
	Whole []byte
}

// Sign asks KMS for a signature and verifies it.
func (s *Signer) Sign(ctx context.Context, req SignRequest) ([]byte, error) {
	arn := s.key.ARN()
	if err := s.admit(req); err != nil {
		return nil, err
	}
	client, id, err := s.client.of(kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID})
	if err != nil {
		return nil, err
	}
	in := &kms.SignInput{KeyId: id, Message: req.Message, MessageType: types.MessageType(req.MessageType), SigningAlgorithm: types.SigningAlgorithmSpec(req.Algorithm)}
	answer, err := client.Sign(ctx, in)
	if err != nil {
		refusal := s.client.explain(err, ActionSign, kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID})
		if !notAllowed(refusal) || s.asked.Alias == "" {
			return nil, refusal
		}
		// A policy may allow it by the alias alone (condition key kms:RequestAlias).
		in.KeyId = aws.String(s.asked.String())
		if answer, err = client.Sign(ctx, in); err != nil {
			byAlias := s.client.explain(err, ActionSign, s.asked)
			if notAllowed(byAlias) || kmserr.Is(byAlias, kmserr.NotFound) {
				return nil, refusal
			}
			return nil, byAlias
		}
		if aws.ToString(answer.KeyId) != arn.String() {
			return nil, kmserr.New(kmserr.KMSService, "%s came to mean another key, %s, while it was signed with", s.asked, aws.ToString(answer.KeyId)).
				WithHint("The signature was thrown away: run the command again.").WithKey(arn.String())
		}
	}
	if err := s.verify(ctx, req, answer.Signature); err != nil {
		return nil, kmserr.New(kmserr.KMSService, "KMS's signature does not verify by KMS's own public key of %s: %s", arn, kmserr.As(err).Fact).
			WithHint("It was thrown away. Is the endpoint a real KMS?").WithCause(err).WithKey(arn.String())
	}
	return answer.Signature, nil
}

// admit refuses what KMS would, without asking it.
func (s *Signer) admit(req SignRequest) error {
	arn, spec, all := s.key.ARN(), s.key.Spec(), s.key.SigningAlgorithms()
	refuse := func(name kmserr.Name, hint, format string, args ...any) error {
		return kmserr.New(name, format, args...).WithHint("%s", hint).WithKey(arn.String())
	}
	takes := "This key takes: " + kmskey.JoinNames(all) + "."
	algorithm, size := req.Algorithm, len(req.Message)
	switch usage := s.key.Usage(); {
	case usage != kmskey.SignVerify:
		return refuse(kmserr.InvalidKeyUsage, "Use a key that signs.", "%s is for %s, expected %s", arn, usage, kmskey.SignVerify)
	case algorithm == "":
		return refuse(kmserr.Validation, "Give --signing-algorithm, one of: "+kmskey.JoinNames(all)+".", "no signing algorithm is given, and %s has several", arn)
	case !algorithm.Known():
		return refuse(kmserr.Validation, takes, "the signing algorithm %q is none of KMS's", string(algorithm))
	case !slices.Contains(all, algorithm):
		return refuse(kmserr.InvalidKeyUsage, takes, "Algorithm %s is incompatible with key spec %s", algorithm, spec)
	case !algorithm.Takes(req.MessageType):
		return refuse(kmserr.Validation, "Leave --message-type out and give the message: it is sent in the form that KMS takes.",
			"Message type %s is incompatible with algorithm %s", req.MessageType, algorithm)
	case req.MessageType == kmskey.Digest && size != algorithm.DigestSize():
		return refuse(kmserr.Validation, "Give the raw bytes of the hash, not its text in hexadecimal or base64; or leave --message-type out and give the message.",
			"Digest is invalid length for algorithm %s: %d bytes, expected %d", algorithm, size, algorithm.DigestSize())
	case size == 0:
		return refuse(kmserr.Validation, "KMS signs no empty message.", "the message is empty")
	case req.MessageType == kmskey.Raw && size > MaxRaw:
		return refuse(kmserr.Validation, "", "the message is longer than the %d bytes that KMS signs as RAW", MaxRaw)
	}
	return nil
}

func (s *Signer) verify(ctx context.Context, req SignRequest, signature []byte) error {
	question := verifier.Request{
		KeyID: s.key.ARN().String(), SigningAlgorithm: req.Algorithm, MessageType: req.MessageType,
		Message: bytes.NewReader(req.Message), Signature: signature,
	}
	switch {
	case req.Whole != nil:
		question.MessageType, question.Message = kmskey.MessageTypeUnset, bytes.NewReader(req.Whole)
	case req.MessageType == kmskey.Raw:
		question.MessageType = kmskey.MessageTypeUnset
	}
	verified, err := s.check.Verify(ctx, question)
	if err != nil {
		return err
	}
	if !verified.Decision().Verified {
		return kmserr.New(kmserr.Internal, "the verifier gave neither a result nor a reason")
	}
	return nil
}

// Digest computes what KMS Sign takes in place of a message; see verifier.Digest.
func (s *Signer) Digest(ctx context.Context, req verifier.DigestRequest) (*verifier.Digested, error) {
	req.KeyID = s.key.ARN().String()
	digested, err := s.check.Digest(ctx, req)
	// The verifier's hint is for a store that may have missed a change, and this state is what KMS said a moment ago.
	switch refusal := kmserr.As(err); {
	case err == nil:
	case refusal.Name == kmserr.Disabled:
		return nil, refusal.WithHint(hintDisabled)
	case refusal.Name == kmserr.KMSInvalidState:
		return nil, refusal.WithHint(hintState)
	}
	return digested, err
}
