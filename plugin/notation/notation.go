// Package notation translates between Notation's plugin contract 1.0 and the verifier: the command get-plugin-metadata
// and the command verify-signature with both verifier capabilities.
//
// The contract is the Notary Project's plugin-extensibility.md. Notation's core has checked the signature against the
// leaf certificate before it calls; because this plugin claims TRUSTED_IDENTITY the core checks no identity at all, so
// whatever is not understood here is refused here. A response goes to standard output with exit code 0; anything that
// is no answer to the question goes to standard error as the contract's error object, with exit code 1.
package notation

import (
	"context"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Name is the plugin's name: notation-<Name> is the executable's.
const Name = "awskms-offline"

// deadline is ours: Notation waits for a plugin for ever. Tests shorten it.
var deadline = 30 * time.Second

// Main runs one command and returns the exit code, 0 or 1.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return notationwire.Serve(deadline, stdout, stderr, func(ctx context.Context) ([]byte, error) {
		return answer(ctx, args, stdin, stderr)
	})
}

// answer is the one place where a response is made.
func answer(ctx context.Context, args []string, stdin io.Reader, stderr io.Writer) ([]byte, error) {
	if len(args) != 1 {
		return nil, kmserr.New(kmserr.Validation, "%d arguments are given, expected one command", len(args)).
			WithHint("Notation calls this plugin by itself; to try it: notation plugin list.")
	}
	switch plugin.Command(args[0]) {
	case plugin.CommandGetMetadata:
		// The request holds nothing that the answer depends on; it is drained, so that its writer ends well.
		if _, err := wire.ReadRequest(stdin); err != nil {
			return nil, err
		}
		return json.Marshal(metadata(), json.Deterministic(true))
	case plugin.CommandVerifySignature:
		data, err := wire.ReadRequest(stdin)
		if err != nil {
			return nil, err
		}
		req, err := decodeRequest(data)
		if err != nil {
			return nil, logged(ctx, options(nil), err)
		}
		req.explain = wire.Explain(Name, stderr)
		response, err := verifySignature(ctx, req)
		if err != nil {
			return nil, err
		}
		return json.Marshal(response, json.Deterministic(true))
	}
	return nil, kmserr.New(kmserr.Validation, "the command %q is none of this plugin's: %s, %s",
		args[0], plugin.CommandGetMetadata, plugin.CommandVerifySignature).
		WithHint("To sign, use a signing plugin; this one verifies.")
}

func metadata() *plugin.GetMetadataResponse {
	return &plugin.GetMetadataResponse{
		Name:                      Name,
		Description:               "Verifies signatures of AWS KMS keys with no network and no credentials",
		Version:                   buildinfo.Version,
		URL:                       "https://github.com/awskms-offline/awskms-offline",
		SupportedContractVersions: []string{notationwire.ContractVersion},
		Capabilities: []plugin.Capability{
			plugin.CapabilityTrustedIdentityVerifier, plugin.CapabilityRevocationCheckVerifier,
		},
	}
}
