package notation

import (
	"path/filepath"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxIdentities is the limit of a request; that of certificates is notationwire's. Notation itself sets none.
const maxIdentities = 256

// homeOption is the one plugin configuration key: --plugin-config home=/path.
const homeOption = "home"

// request is a verify-signature request, decoded strictly. The framework's own decoder takes case variants, duplicates
// and trailing data.
type request struct {
	ContractVersion string            `json:"contractVersion" strict:"required"`
	Signature       signature         `json:"signature" strict:"required"`
	TrustPolicy     trustPolicy       `json:"trustPolicy" strict:"required"`
	PluginConfig    map[string]string `json:"pluginConfig" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`

	leafKey      []byte // the leaf certificate's SubjectPublicKeyInfo
	capabilities []capability
}

type signature struct {
	CriticalAttributes    criticalAttributes `json:"criticalAttributes" strict:"required"`
	UnprocessedAttributes []string           `json:"unprocessedAttributes" strict:"nullable"`
	CertificateChain      [][]byte           `json:"certificateChain" strict:"required"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type criticalAttributes struct {
	ContentType        string                    `json:"contentType" strict:"required"`
	SigningScheme      string                    `json:"signingScheme" strict:"required"`
	ExtendedAttributes map[string]jsontext.Value `json:"extendedAttributes" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type trustPolicy struct {
	TrustedIdentities     []string     `json:"trustedIdentities" strict:"required"`
	SignatureVerification []capability `json:"signatureVerification" strict:"required"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

// decodeRequest reads a request and checks everything in it that needs no key store. Every error is a
// ValidationException that names the member. A request beside an error says in which home's log the refusal belongs, and is
// good for nothing else.
func decodeRequest(data []byte) (*request, error) {
	req := new(request)
	if err := strictjson.Decode(data, wire.MaxRequest, strictjson.Keep, req); err != nil {
		return nil, notationwire.Undecodable(data, err)
	}
	if err := notationwire.CheckVersion(req.ContractVersion); err != nil {
		return nil, err
	}
	if home, ok := req.PluginConfig[homeOption]; ok && !filepath.IsAbs(home) {
		return nil, invalid("pluginConfig has the home %.4096q, expected an absolute path", home)
	}
	for name := range req.PluginConfig {
		if name != homeOption {
			return req, invalid("pluginConfig has the unknown key %.200q, expected only %q", name, homeOption).
				WithHint("Leave it out of --plugin-config.")
		}
	}
	if err := req.checkTrustPolicy(); err != nil {
		return req, err
	}
	return req, req.checkSignature()
}

func (req *request) checkTrustPolicy() error {
	for _, c := range req.TrustPolicy.SignatureVerification {
		if c != capabilityIdentity && c != capabilityRevocation {
			return invalid("trustPolicy.signatureVerification asks for %.200q, which this plugin has not", c)
		}
		if slices.Contains(req.capabilities, c) {
			return invalid("trustPolicy.signatureVerification asks for %s twice", c)
		}
		req.capabilities = append(req.capabilities, c)
	}
	if len(req.capabilities) == 0 {
		return invalid("trustPolicy.signatureVerification is empty, expected a capability")
	}
	switch n := len(req.TrustPolicy.TrustedIdentities); {
	case n == 0:
		return invalid("trustPolicy.trustedIdentities is empty").WithHint("%s", identityForms)
	case n > maxIdentities:
		return invalid("trustPolicy.trustedIdentities has %d entries, expected at most %d", n, maxIdentities)
	}
	return nil
}

func (req *request) checkSignature() error {
	switch scheme := req.Signature.CriticalAttributes.SigningScheme; scheme {
	case "notary.x509", "notary.x509.signingAuthority":
	default:
		return invalid("signature.criticalAttributes.signingScheme is %.200q, which this plugin does not know", scheme)
	}
	chain := req.Signature.CertificateChain
	switch {
	case len(chain) == 0:
		return invalid("signature.certificateChain is empty")
	case len(chain) > notationwire.MaxCertificates:
		return invalid("signature.certificateChain has %d certificates, expected at most %d", len(chain), notationwire.MaxCertificates)
	}
	key, err := publicKeyOf(chain[0])
	if err != nil {
		return invalid("signature.certificateChain[0] is no usable certificate: %v", err)
	}
	req.leafKey = key
	return nil
}

// algorithm returns the one signing algorithm that Notation has for the leaf's key.
func (req *request) algorithm() (kmskey.SigningAlgorithm, error) {
	_, spec, err := kmskey.FingerprintDER(req.leafKey)
	if err != nil {
		return "", invalid("signature.certificateChain[0]: %s", kmserr.As(err).Fact)
	}
	alg, there := notationwire.Algorithm(spec)
	if !there {
		return "", invalid("signature.certificateChain[0] has a key of spec %s, for which Notation has no algorithm", spec)
	}
	return alg, nil
}

func invalid(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}
