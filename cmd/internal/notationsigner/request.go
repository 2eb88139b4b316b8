package notationsigner

import (
	"bytes"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// payloadType is the only one that Notation has (signature-specification.md, "Payload").
const payloadType = "application/vnd.cncf.notary.payload.v1+json"

// maxExpiry is the longest life of a signature that is taken, in seconds: a hundred years. More is a mistake, and soon more
// than a time can hold.
const maxExpiry uint64 = 100 * 366 * 24 * 60 * 60

// metadataRequest is a get-plugin-metadata request. It has no contract version: the answer says which there are.
type metadataRequest struct {
	PluginConfig map[string]string `json:"pluginConfig" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type describeKeyRequest struct {
	ContractVersion string            `json:"contractVersion" strict:"required"`
	KeyID           string            `json:"keyId" strict:"required"`
	PluginConfig    map[string]string `json:"pluginConfig" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`

	call
}

type signatureRequest struct {
	ContractVersion string               `json:"contractVersion" strict:"required"`
	KeyID           string               `json:"keyId" strict:"required"`
	KeySpec         plugin.KeySpec       `json:"keySpec" strict:"required"`
	Hash            plugin.HashAlgorithm `json:"hashAlgorithm" strict:"required"`
	Payload         []byte               `json:"payload" strict:"required"`
	PluginConfig    map[string]string    `json:"pluginConfig" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`

	call
}

type envelopeRequest struct {
	ContractVersion         string            `json:"contractVersion" strict:"required"`
	KeyID                   string            `json:"keyId" strict:"required"`
	PayloadType             string            `json:"payloadType" strict:"required"`
	SignatureEnvelopeType   string            `json:"signatureEnvelopeType" strict:"required"`
	Payload                 []byte            `json:"payload" strict:"required"`
	ExpiryDurationInSeconds uint64            `json:"expiryDurationInSeconds"`
	PluginConfig            map[string]string `json:"pluginConfig" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`

	call
}

// call is what was understood of a request's key and options.
type call struct {
	ref     kmskey.Ref
	options options
}

// decodeMetadataRequest returns the options of a get-plugin-metadata request. No request at all has none: people call that
// command by hand.
func decodeMetadataRequest(data []byte) (options, error) {
	var req metadataRequest
	if len(bytes.TrimSpace(data)) > 0 {
		if err := strictjson.Decode(data, wire.MaxRequest, strictjson.Keep, &req); err != nil {
			return options{}, invalid("the request %v", err)
		}
	}
	return decodeOptions(req.PluginConfig)
}

func decodeDescribeKey(data []byte) (*describeKeyRequest, error) {
	req := new(describeKeyRequest)
	err := decode(data, req)
	if err == nil {
		req.call, err = understand(req.ContractVersion, req.KeyID, req.PluginConfig)
	}
	if err != nil {
		return nil, err
	}
	return req, nil
}

func decodeGenerateSignature(data []byte) (*signatureRequest, error) {
	req := new(signatureRequest)
	err := decode(data, req)
	if err == nil {
		req.call, err = understand(req.ContractVersion, req.KeyID, req.PluginConfig)
	}
	switch {
	case err != nil:
		return nil, err
	case req.options.verificationPlugin:
		return nil, invalid("a raw signature is asked for, which cannot name the verification plugin").
			WithHint("Give --plugin-config %s=off if none is wanted.", optionVerificationPlugin)
	case len(req.Payload) == 0:
		return nil, invalid("payload is empty")
	}
	return req, nil
}

// decodeGenerateEnvelope reads a request and checks everything in it that needs neither a file nor KMS. Every error is a
// ValidationException that names the member.
func decodeGenerateEnvelope(data []byte) (*envelopeRequest, error) {
	req := new(envelopeRequest)
	err := decode(data, req)
	if err == nil {
		req.call, err = understand(req.ContractVersion, req.KeyID, req.PluginConfig)
	}
	switch {
	case err != nil:
		return nil, err
	case req.PayloadType != payloadType:
		return nil, invalid("payloadType is %q, expected %q", req.PayloadType, payloadType)
	case !slices.Contains([]string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope}, req.SignatureEnvelopeType):
		return nil, invalid("signatureEnvelopeType is %q, expected %q or %q", req.SignatureEnvelopeType, jws.MediaTypeEnvelope, cose.MediaTypeEnvelope)
	case len(req.Payload) == 0:
		return nil, invalid("payload is empty")
	case req.ExpiryDurationInSeconds > maxExpiry:
		return nil, invalid("expiryDurationInSeconds is %d, expected at most %d", req.ExpiryDurationInSeconds, maxExpiry)
	}
	return req, nil
}

// expiry is when a signature made now ends; the zero time if it does not.
func (req *envelopeRequest) expiry(now time.Time) time.Time {
	if req.ExpiryDurationInSeconds == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(req.ExpiryDurationInSeconds) * time.Second)
}

func decode(data []byte, req any) error {
	if err := strictjson.Decode(data, wire.MaxRequest, strictjson.Keep, req); err != nil {
		return notationwire.Undecodable(data, err)
	}
	return nil
}

// understand checks what the requests have in common.
func understand(version, keyID string, config map[string]string) (call, error) {
	if err := notationwire.CheckVersion(version); err != nil {
		return call{}, err
	}
	ref, err := kmskey.ParseRef(keyID)
	if err != nil {
		e := kmserr.As(err)
		return call{}, invalid("keyId: %s", e.Fact).WithHint("%s", e.Hint)
	}
	o, err := decodeOptions(config)
	if err != nil {
		return call{}, err
	}
	return call{ref: ref, options: o}, nil
}
