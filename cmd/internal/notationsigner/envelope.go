package notationsigner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/plugin/notation"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Extended attributes of a signature (signature-specification.md, "Extended attributes for Notation Plugins").
const (
	attributePlugin     = "io.cncf.notary.verificationPlugin"
	attributeMinVersion = "io.cncf.notary.verificationPluginMinVersion"
)

// minVersion is the first version of the verification plugin that understands these signatures: the lowest pre-release of
// 0.1.0 (SemVer 2.0, section 11). 0.1.0 itself would shut out its own release candidates.
const minVersion = "0.1.0-0"

// generateEnvelope makes a whole signature envelope.
func generateEnvelope(ctx context.Context, req *envelopeRequest) (_ *plugin.GenerateEnvelopeResponse, err error) {
	now := time.Now().UTC().Truncate(time.Second)
	stamp, err := newTimestamping(req.options)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, req.call, now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	envelope, err := signature.NewEnvelope(req.SignatureEnvelopeType)
	if err != nil {
		return nil, err
	}
	request := (&signature.SignRequest{
		Payload:                  signature.Payload{ContentType: req.PayloadType, Content: req.Payload},
		Signer:                   s,
		SigningTime:              now,
		Expiry:                   req.expiry(now),
		ExtendedSignedAttributes: s.attributes(req.options),
		SigningAgent:             "notation-" + Name + "/" + buildinfo.Version,
		SigningScheme:            signature.SigningSchemeX509,
	}).WithContext(ctx)
	stamp.ask(request)
	made, err := envelope.Sign(request)
	if err != nil {
		return nil, s.explain(stamp, err)
	}
	if err := check(req, s, request, stamp, made); err != nil {
		return nil, err
	}
	return &plugin.GenerateEnvelopeResponse{SignatureEnvelope: made, SignatureEnvelopeType: req.SignatureEnvelopeType}, nil
}

// attributes are what makes Notation ask the verification plugin, and tells that one which key signed.
func (s *signer) attributes(o options) []signature.Attribute {
	if !o.verificationPlugin {
		return nil // without the plugin nobody could process the ARN, and Notation would refuse the signature
	}
	return []signature.Attribute{
		{Key: attributePlugin, Critical: true, Value: notation.Name},
		{Key: attributeMinVersion, Critical: true, Value: minVersion},
		{Key: notation.KeyARNAttribute, Critical: true, Value: s.kms.Key().ARN().String()},
	}
}

// explain finds out which of the parties refused.
func (s *signer) explain(t timestamping, err error) error {
	if s.err != nil {
		return s.err
	}
	var stamp *signature.TimestampError
	if errors.As(err, &stamp) {
		return t.explain(stamp)
	}
	var request *signature.InvalidSignRequestError
	if errors.As(err, &request) {
		return invalid("Notation's library makes no envelope of the request: %v", err).WithCause(err)
	}
	return kmserr.New(kmserr.Internal, "no envelope was made: %v", err).WithCause(err)
}

// check reads the envelope as a verifier does: its signature, its payload, its attributes, its timestamp. What is not as asked
// for does not leave.
func check(req *envelopeRequest, s *signer, asked *signature.SignRequest, t timestamping, made []byte) error {
	envelope, err := signature.ParseEnvelope(req.SignatureEnvelopeType, made)
	if err != nil {
		return kmserr.New(kmserr.Internal, "the envelope cannot be read: %v", err).WithCause(err)
	}
	content, err := envelope.Verify()
	if err != nil {
		return kmserr.New(kmserr.Internal, "the envelope does not verify: %v", err).WithCause(err)
	}
	if content.Payload.ContentType != req.PayloadType || !samePayload(req.SignatureEnvelopeType, req.Payload, content.Payload.Content) {
		return invalid("payload would not be the same in the envelope: %s", req.SignatureEnvelopeType).
			WithHint("Notation's library writes JSON anew for JWS, which loses numbers of more than 53 bits; COSE keeps every byte.")
	}
	info := content.SignerInfo
	if len(info.SignedAttributes.ExtendedAttributes) != len(asked.ExtendedSignedAttributes) {
		return kmserr.New(kmserr.Internal, "the envelope has %d extended attributes, expected %d", len(info.SignedAttributes.ExtendedAttributes), len(asked.ExtendedSignedAttributes))
	}
	for _, want := range asked.ExtendedSignedAttributes {
		got, err := info.ExtendedAttribute(want.Key.(string))
		if err != nil || got != want {
			return kmserr.New(kmserr.Internal, "the envelope lacks the attribute %s with the value %s", want.Key, want.Value)
		}
	}
	if !info.SignedAttributes.Expiry.Equal(asked.Expiry) || !info.SignedAttributes.SigningTime.Equal(asked.SigningTime) || !bytes.Equal(info.CertificateChain[0].Raw, s.chain.Certificates[0].Raw) {
		return kmserr.New(kmserr.Internal, "the envelope has other times or another certificate than were asked for")
	}
	return t.check(asked.Context(), info)
}

// samePayload compares bytes in COSE, and what the JSON means in JWS, where the library writes it anew.
func samePayload(envelopeType string, asked, made []byte) bool {
	if envelopeType != jws.MediaTypeEnvelope {
		return bytes.Equal(asked, made)
	}
	a, errA := meaning(asked)
	b, errB := meaning(made)
	return errA == nil && errB == nil && reflect.DeepEqual(a, b)
}

// meaning keeps numbers as they are written.
func meaning(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
