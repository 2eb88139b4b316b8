// Package sigstore translates between sigstore's KMS plugin protocol v1 and the verifier, for cosign and whatever else
// uses sigstore's client library: keys are named awskms-offline://<any of KMS's four forms>.
//
// The protocol is github.com/sigstore/sigstore, pkg/signature/kms/cliplugin: two arguments ("v1" and one JSON object),
// the message on standard input, one JSON object back on standard output. The client ignores the exit code and takes
// every object without an errorMessage for success, {} and null among them. So there is one place that answers, Main; it
// writes a non-empty errorMessage for every error, whatever broke; and the answer to verifySignature is made only from
// the verifier's result. The reason of a refusal goes to standard error too: in DSSE flows cosign loses the errorMessage.
package sigstore

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	// Scheme is what stands before :// in a key reference; sigstore-kms-<Scheme> is the executable's name.
	Scheme = "awskms-offline"
	// Program is the executable's name.
	Program = "sigstore-kms-" + Scheme
)

// The protocol's names, as package common of sigstore's client has them; a test holds these to it. Only types and names are
// there, and a plugin that links one module less is easier to vouch for.
const (
	protocolVersion = "v1"

	methodDefaultAlgorithm    = "defaultAlgorithm"
	methodSupportedAlgorithms = "supportedAlgorithms"
	methodCreateKey           = "createKey"
	methodPublicKey           = "publicKey"
	methodSignMessage         = "signMessage"
	methodVerifySignature     = "verifySignature"
)

// Times that a call may take after the decision, if the caller says when it gives up: cosign ends the plugin then, and the
// reason with it.
const (
	// reserve is how much of that time the decision leaves to its line in the log and the answer, a fifth of all at most.
	reserve = 2 * wire.LogTime
	// leastTime is what a step is given even when the time is over, for the caller may be late to end it.
	leastTime = 50 * time.Millisecond
)

// Times that a call may take. Tests shorten them.
var (
	// deadline is ours, for the decision: cosign waits for ever in bundle flows and for publicKey.
	deadline = 60 * time.Second
	// drainTime is how long a refusal waits for the end of a message that nobody will read, so that its writer does not
	// see a broken pipe instead of the reason.
	drainTime = 5 * time.Second
)

// response is an answer, common.PluginResp as the client reads it.
type response struct {
	// object has one member, named like the method.
	object wire.Object
	// notes are lines for standard error beside the answer.
	notes []string
}

// decoded is what decodeCall returned: wire.Run gives nothing back beside an error.
type decoded struct {
	call *call
	err  error
}

// answered returns the answer to a method.
func answered(method string, value wire.Object, notes []string) *response {
	r := &response{notes: notes}
	r.object.Object(method, value)
	return r
}

// Main answers one call and returns the exit code: 0 with an answer, 1 with a refusal.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var reply *response
	decoded, err := wire.Run(ctx, deadline, func(context.Context) (decoded, error) {
		c, err := decodeCall(args, time.Now())
		return decoded{c, err}, nil
	})
	c := decoded.call
	if err == nil {
		err = decoded.err
	}
	if err == nil {
		c.explain = wire.Explain(Scheme, stderr)
		reply, err = wire.Run(ctx, c.limit, func(ctx context.Context) (*response, error) { return answer(ctx, c, stdin) })
	}
	if err == nil && reply == nil {
		err = kmserr.New(kmserr.Internal, "the call %q has no answer", args)
	}
	code := 0
	if err != nil {
		code = 1
		text := wire.Text(logged(c, err))
		reply = &response{notes: []string{text}}
		reply.object.Text("errorMessage", text)
	}
	for _, note := range reply.notes {
		fmt.Fprintf(stderr, "%s: %s\n", Scheme, note)
	}
	if _, err := stdout.Write(append(reply.object.JSON(), '\n')); err != nil {
		fmt.Fprintf(stderr, "%s: the answer cannot be written: %v\n", Scheme, err)
		code = 1
	}
	if err != nil {
		drain(stdin, c.left(time.Now(), drainTimeOf(err)))
	}
	return code
}

// drainTimeOf is how long the refusal waits for the end of the message.
func drainTimeOf(refusal error) time.Duration {
	if kmserr.Is(refusal, kmserr.DeadlineExceeded) {
		return drainTime / 10 // the caller may be about to end this process
	}
	return drainTime
}

// answer is the one place where an answer other than a refusal is made.
func answer(ctx context.Context, c *call, stdin io.Reader) (*response, error) {
	switch c.MethodName {
	case methodVerifySignature:
		verified, err := ask(c, func(v *verifier.Verifier) (*verifier.Verified, error) {
			req, err := c.request(stdin)
			if err != nil {
				return nil, err
			}
			verified, err := v.Verify(ctx, req)
			c.logged.Store(true)
			return verified, err
		})
		if err != nil {
			return nil, err
		}
		if verified == nil || !verified.Decision().Verified {
			return nil, kmserr.New(kmserr.Internal, "the verifier gave neither a result nor a reason")
		}
		return answered(c.MethodName, wire.Object{}, c.notes(verified.Decision())), nil
	case methodPublicKey:
		authorized, err := ask(c, func(v *verifier.Verifier) (*verifier.Authorized, error) {
			authorized, err := v.AuthorizeKey(ctx, c.keyRequest())
			c.logged.Store(true)
			return authorized, err
		})
		if err != nil {
			return nil, err
		}
		return c.publicKey(authorized)
	case methodDefaultAlgorithm:
		var value wire.Object
		value.Text("defaultAlgorithm", defaultSpec)
		return answered(c.MethodName, value, nil), nil
	case methodSupportedAlgorithms:
		var value wire.Object
		value.Texts("supportedAlgorithms", signingSpecs())
		return answered(c.MethodName, value, nil), nil
	case methodCreateKey:
		return nil, kmserr.New(kmserr.UnsupportedOperation, "%s:// verifies and cannot create keys", Scheme).
			WithHint("Create the key in AWS KMS (aws kms create-key --key-usage SIGN_VERIFY --key-spec %s), then bring its public half here: awskms-offline keys import.", defaultSpec)
	case methodSignMessage:
		return nil, kmserr.New(kmserr.UnsupportedOperation, "%s:// verifies and cannot sign: the private key never leaves AWS KMS", Scheme).
			WithHint("Sign where AWS can be called, with cosign's awskms:///%s, or with aws kms sign and cosign attach signature (docs/cosign.md).", c.key.keyID)
	}
	return nil, invalid("methodName is %q, which this plugin does not know", c.MethodName)
}

// notes are what a user should know beside a yes: the key and what is known of it, what was asked for otherwise than by
// default, an unknown key state, a multi-Region fallback.
func (c *call) notes(d audit.Decision) []string {
	key := "key: " + d.KeyARN
	if d.Asked != d.KeyARN {
		key += " (" + d.Asked + ")"
	}
	notes := []string{wire.Line(key + ", " + d.Basis())}
	if c.key.algorithm != "" {
		notes = append(notes, "option: "+optionAlgorithm+"="+string(c.key.algorithm))
	}
	for _, option := range d.OptionTexts() {
		notes = append(notes, wire.Line("option: "+option))
	}
	for _, w := range d.Warnings {
		notes = append(notes, wire.Line("warning: "+w))
	}
	return notes
}

// ask opens the verifier for one question. The message is streamed into it.
func ask[T any](c *call, question func(*verifier.Verifier) (T, error)) (T, error) {
	var none T
	asking := options
	asking.Explain = c.explain
	v, err := verifier.Open(asking)
	if err != nil {
		return none, err
	}
	defer v.Close()
	return question(v)
}

var options = verifier.Options{FrontEnd: audit.FrontEnd{Name: Program, Version: buildinfo.Version}}

// logged returns the refusal of a call that has its line in the log, if it can have one. c is nil where nothing could be
// read.
func logged(c *call, refusal error) error {
	event, asked := audit.EventVerify, ""
	if c != nil {
		if c.logged.Load() {
			return refusal
		}
		asked = c.key.keyID
		if c.MethodName == methodPublicKey {
			event = audit.EventAuthorizeKey
		}
	}
	return wire.LogRefusal(c.left(time.Now(), wire.LogTime), options, event, asked, refusal)
}

// drain reads what is left of a message that is refused, for limit at most. A terminal has no end to wait for.
func drain(stdin io.Reader, limit time.Duration) {
	if f, ok := stdin.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
			return
		}
	}
	_, _ = wire.Run(context.Background(), limit, func(context.Context) (int64, error) { // the answer is a refusal either way
		return io.Copy(io.Discard, stdin)
	})
}
