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
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/plugin/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	// Name is the plugin's name: notation-<Name> is the executable's.
	Name = "awskms-offline"
	// contractVersion is the only one spoken.
	contractVersion = "1.0"
)

// deadline is ours: Notation waits for a plugin for ever. Tests shorten it.
var deadline = 30 * time.Second

// Main runs one command and returns the exit code, 0 or 1.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	response, err := wire.Run(context.Background(), deadline, func(ctx context.Context) ([]byte, error) {
		return answer(ctx, args, stdin, stderr)
	})
	if err == nil {
		if _, err = stdout.Write(response); err == nil {
			return 0
		}
		err = kmserr.New(kmserr.Internal, "the response cannot be written: %v", err)
	}
	fmt.Fprintf(stderr, "%s\n", errorObject(err).Error())
	return 1
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
		SupportedContractVersions: []string{contractVersion},
		Capabilities: []plugin.Capability{
			plugin.CapabilityTrustedIdentityVerifier, plugin.CapabilityRevocationCheckVerifier,
		},
	}
}

// errorObject is the contract's error for err, its code from the one table.
func errorObject(err error) *plugin.Error {
	e := kmserr.As(err)
	code := plugin.ErrorCode(kmserr.Lookup(e.Name).Notation)
	if e.Name == kmserr.Validation && errors.Is(e.Cause, errContractVersion) {
		code = plugin.ErrorCodeUnsupportedContractVersion
	}
	out := plugin.NewError(code, wire.Text(err))
	out.Metadata = map[string]string{"error": string(e.Name)}
	if e.KeyARN != "" {
		out.Metadata["keyArn"] = e.KeyARN
	}
	return out
}
