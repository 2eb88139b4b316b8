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
	"slices"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Name is the plugin's name: notation-<Name> is the executable's.
const Name = "awskms-offline"

// The contract's names that this plugin knows. The framework's Go package has them too, but links encoding/json, for which
// a plugin would start later; a test holds these to it.
const (
	commandMetadata = "get-plugin-metadata"
	commandVerify   = "verify-signature"

	capabilityIdentity   capability = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY"
	capabilityRevocation capability = "SIGNATURE_VERIFIER.REVOCATION_CHECK"
)

// capability is what a plugin can do, and what it is asked to.
type capability string

// deadline is ours: Notation waits for a plugin for ever. Tests shorten it.
var deadline = 30 * time.Second

// Main runs one command and returns the exit code, 0 or 1.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &call{logs: !slices.Equal(args, []string{commandMetadata})}
	response, err := wire.Run(context.Background(), deadline, func(ctx context.Context) ([]byte, error) { return c.answer(ctx, args, stdin) })
	if err != nil {
		err = c.explained(c.logged(err))
	}
	code := notationwire.Write(stdout, stderr, response, err)
	if code == 0 {
		_, _ = io.WriteString(stderr, c.told()) // the answer is given
	}
	return code
}

// answer is the one place where a response is made.
func (c *call) answer(ctx context.Context, args []string, stdin io.Reader) ([]byte, error) {
	if len(args) != 1 {
		return nil, kmserr.New(kmserr.Validation, "%d arguments are given, expected one command", len(args)).
			WithHint("Notation calls this plugin by itself; to try it: notation plugin list.")
	}
	switch args[0] {
	case commandMetadata:
		// The request holds nothing that the answer depends on; it is drained, so that its writer ends well.
		if _, err := wire.ReadRequest(stdin); err != nil {
			return nil, err
		}
		return metadata(), nil
	case commandVerify:
		data, err := wire.ReadRequest(stdin)
		if err != nil {
			return nil, err
		}
		req, err := decodeRequest(data)
		c.asks(req)
		if err != nil {
			return nil, err
		}
		return c.verifySignature(ctx, req)
	}
	return nil, kmserr.New(kmserr.Validation, "the command %q is none of this plugin's: %s, %s",
		args[0], commandMetadata, commandVerify).
		WithHint("To sign, use a signing plugin; this one verifies.")
}

func metadata() []byte {
	var o wire.Object
	o.Text("name", Name)
	o.Text("description", "Verifies signatures of AWS KMS keys with no network and no credentials")
	o.Text("version", buildinfo.Version)
	o.Text("url", "https://github.com/awskms-offline/awskms-offline")
	o.Texts("supportedContractVersions", []string{notationwire.ContractVersion})
	o.Texts("capabilities", []string{string(capabilityIdentity), string(capabilityRevocation)})
	return o.JSON()
}
