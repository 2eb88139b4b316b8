// Package notationsigner translates between the signing half of Notation's plugin contract 1.0 and AWS KMS: it makes whole
// signature envelopes that name the verification plugin and the KMS key, or, where the user wants no verification plugin,
// raw signatures of which Notation makes the envelope itself.
//
// The contract is the Notary Project's plugin-extensibility.md, the envelopes are its signature-specification.md. Every
// signature was verified here by the public key that KMS gave, and every envelope by Notation's own core library, before it
// is answered. Notation waits for a plugin for ever; this one answers within its own deadline.
package notationsigner

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Name is the plugin's name: notation-<Name> is the executable's.
const Name = "awskms-signer"

// deadline is for KMS and the timestamping authority together. A throttled call gives up sooner, with its own reason.
// Tests shorten it.
var deadline = 2 * time.Minute

// grace is how much longer the process lives, to say what it was waiting for.
const grace = time.Second

// Main runs one command and returns the exit code, 0 or 1.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return notationwire.Serve(deadline+grace, stdout, stderr, func(ctx context.Context) ([]byte, error) {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		response, err := answer(ctx, args, stdin)
		if err != nil {
			return nil, explain(ctx, err)
		}
		return json.Marshal(response, json.Deterministic(true))
	})
}

// answer is the one place where a response is made.
func answer(ctx context.Context, args []string, stdin io.Reader) (any, error) {
	if len(args) != 1 {
		return nil, kmserr.New(kmserr.Validation, "%d arguments are given, expected one command", len(args)).
			WithHint("Notation calls this plugin by itself: notation sign --plugin %s --id KEY REFERENCE.", Name)
	}
	command := plugin.Command(args[0])
	switch command {
	case plugin.CommandGetMetadata, plugin.CommandDescribeKey, plugin.CommandGenerateSignature, plugin.CommandGenerateEnvelope:
	default:
		return nil, kmserr.New(kmserr.Validation, "the command %q is none of this plugin's: %s, %s, %s, %s", args[0],
			plugin.CommandGetMetadata, plugin.CommandDescribeKey, plugin.CommandGenerateSignature, plugin.CommandGenerateEnvelope).
			WithHint("To verify, use the plugin awskms-offline; this one signs.")
	}
	data, err := wire.ReadRequest(stdin)
	if err != nil {
		return nil, err
	}
	switch command {
	case plugin.CommandGetMetadata:
		o, err := decodeMetadataRequest(data)
		if err != nil {
			return nil, err
		}
		return metadata(o), nil
	case plugin.CommandDescribeKey:
		req, err := decodeDescribeKey(data)
		if err != nil {
			return nil, err
		}
		return describeKey(ctx, req)
	case plugin.CommandGenerateSignature:
		req, err := decodeGenerateSignature(data)
		if err != nil {
			return nil, err
		}
		return generateSignature(ctx, req)
	default:
		req, err := decodeGenerateEnvelope(data)
		if err != nil {
			return nil, err
		}
		return generateEnvelope(ctx, req)
	}
}

// metadata declares one capability of the two. Notation prefers raw signatures where both are declared, and a raw signature
// cannot name the verification plugin; see docs/decisions/0012-envelope-unless-raw-is-asked-for.md.
func metadata(o options) *plugin.GetMetadataResponse {
	capability := plugin.CapabilityEnvelopeGenerator
	if !o.verificationPlugin {
		capability = plugin.CapabilitySignatureGenerator
	}
	return &plugin.GetMetadataResponse{
		Name:                      Name,
		Description:               "Signs with AWS KMS keys",
		Version:                   buildinfo.Version,
		URL:                       "https://github.com/awskms-offline/awskms-offline",
		SupportedContractVersions: []string{notationwire.ContractVersion},
		Capabilities:              []plugin.Capability{capability},
	}
}

// explain words an error for who runs notation: the end of the time as what it is.
func explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return kmserr.New(kmserr.DeadlineExceeded, "the call was interrupted").WithCause(err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return kmserr.New(kmserr.DeadlineExceeded, "no answer within %s: %s", deadline, kmserr.As(err).Fact).
			WithHint("Check the network to KMS and, if tsa-url is given, to the timestamping authority.").WithCause(err)
	}
	e := *kmserr.As(err)
	if e.Name == kmserr.KMSService && timedOut(err) {
		e.Name = kmserr.DeadlineExceeded
	}
	return &e
}

func timedOut(err error) bool {
	var net interface{ Timeout() bool }
	return errors.As(err, &net) && net.Timeout()
}
