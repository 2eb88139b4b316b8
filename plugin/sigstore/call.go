package sigstore

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/sigstorerules"
	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// call is one call, decoded strictly: common.PluginArgs with what must be there marked. Members that are not read are
// kept apart, so that a newer client's additions are no refusal.
type call struct {
	InitOptions initOptions `json:"initOptions" strict:"required"`
	MethodName  string      `json:"methodName" strict:"required"`

	DefaultAlgorithm    *anything        `json:"defaultAlgorithm"`
	SupportedAlgorithms *anything        `json:"supportedAlgorithms"`
	CreateKey           *anything        `json:"createKey"`
	PublicKey           *publicKeyArgs   `json:"publicKey"`
	SignMessage         *anything        `json:"signMessage"`
	VerifySignature     *verifyArguments `json:"verifySignature"`

	Unknown map[string]jsontext.Value `json:",embed"`

	// key is what InitOptions.KeyResourceID says.
	key keyReference
	// limit is how long the decision may take, never longer than deadline.
	limit time.Duration
	// end is when the caller gives up, nil where it does not say: what is not answered by then is lost.
	end *time.Time
	// explain takes the steps of the decision, if the environment asks for them.
	explain func(verifier.Step)
	// logged is set once the verifier has written the call's line in the log.
	logged atomic.Bool
}

type initOptions struct {
	CtxDeadline     *time.Time  `json:"ctxDeadline"`
	ProtocolVersion string      `json:"protocolVersion" strict:"required"`
	KeyResourceID   string      `json:"keyResourceID" strict:"required"`
	HashFunc        crypto.Hash `json:"hashFunc" strict:"required"`
	RPCOptions      rpcOptions  `json:"rpcOptions" strict:"required"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type rpcOptions struct {
	CtxDeadline        *time.Time `json:"ctxDeadline"`
	KeyVersion         string     `json:"keyVersion"`
	RemoteVerification bool       `json:"remoteVerification"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type publicKeyArgs struct {
	PublicKeyOptions struct {
		RPCOptions rpcOptions `json:"rpcOptions" strict:"required"`

		Unknown map[string]jsontext.Value `json:",embed"`
	} `json:"publicKeyOptions" strict:"required"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type verifyArguments struct {
	Signature     []byte `json:"signature" strict:"required"`
	VerifyOptions struct {
		RPCOptions     rpcOptions     `json:"rpcOptions" strict:"required"`
		MessageOptions messageOptions `json:"messageOptions" strict:"required"`

		Unknown map[string]jsontext.Value `json:",embed"`
	} `json:"verifyOptions" strict:"required"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

type messageOptions struct {
	// Digest is null where the message itself is on standard input.
	Digest   *[]byte      `json:"digest" strict:"nullable"`
	HashFunc *crypto.Hash `json:"hashFunc" strict:"nullable"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

// anything is the arguments of a method that reads none of them.
type anything struct {
	Unknown map[string]jsontext.Value `json:",embed"`
}

// decodeCall reads the program's arguments and checks everything in them that needs no key store. What could be read is
// returned beside a refusal too: its line in the log says what was asked, and waits no longer than the caller does.
func decodeCall(args []string, now time.Time) (*call, error) {
	if len(args) != 2 {
		return nil, kmserr.New(kmserr.Validation, "%d arguments are given, expected the protocol version and one JSON object", len(args)).
			WithHint("cosign calls this plugin by itself: cosign verify --key %s://KEY-ID …, with this program's folder on PATH.", Scheme)
	}
	if args[0] != protocolVersion {
		return nil, invalid("the protocol version is %q, expected %q", args[0], protocolVersion)
	}
	c := new(call)
	if err := strictjson.Decode([]byte(args[1]), wire.MaxRequest, strictjson.Keep, c); err != nil {
		return nil, invalid("the request %v", err)
	}
	c.settleTimes(now)
	var keyErr error
	if c.key, keyErr = parseKeyReference(c.InitOptions.KeyResourceID); c.key.keyID == "" {
		c.key.keyID = c.InitOptions.KeyResourceID // as no key could be told in it
	}
	if v := c.InitOptions.ProtocolVersion; v != protocolVersion {
		return c, invalid("initOptions.protocolVersion is %q, expected %q", v, protocolVersion)
	}
	if err := c.checkArguments(); err != nil {
		return c, err
	}
	if err := c.checkOptions(now); err != nil {
		return c, err
	}
	return c, keyErr
}

// checkArguments checks that there are the method's arguments and no other method's: of two questions only one would be
// answered, and the client could take that for the other's.
func (c *call) checkArguments() error {
	given := map[string]bool{
		methodDefaultAlgorithm: c.DefaultAlgorithm != nil, methodSupportedAlgorithms: c.SupportedAlgorithms != nil,
		methodCreateKey: c.CreateKey != nil, methodPublicKey: c.PublicKey != nil,
		methodSignMessage: c.SignMessage != nil, methodVerifySignature: c.VerifySignature != nil,
	}
	there, known := given[c.MethodName]
	switch {
	case !known:
		return invalid("methodName is %q, which this plugin does not know", c.MethodName)
	case !there:
		return invalid("methodName is %q, but there is no member of that name with its arguments", c.MethodName)
	}
	for name, there := range given {
		if there && name != c.MethodName {
			return invalid("methodName is %q, but there are arguments of %s too", c.MethodName, name)
		}
	}
	return nil
}

// rpcOptions are those of the call and of its method.
func (c *call) rpcOptions() []rpcOptions {
	options := []rpcOptions{c.InitOptions.RPCOptions}
	if c.PublicKey != nil {
		options = append(options, c.PublicKey.PublicKeyOptions.RPCOptions)
	}
	if c.VerifySignature != nil {
		options = append(options, c.VerifySignature.VerifyOptions.RPCOptions)
	}
	return options
}

// settleTimes takes the earliest of the times at which the caller says that it gives up.
func (c *call) settleTimes(now time.Time) {
	c.limit = deadline
	times := []*time.Time{c.InitOptions.CtxDeadline}
	for _, o := range c.rpcOptions() {
		times = append(times, o.CtxDeadline)
	}
	for _, at := range times {
		if at != nil && (c.end == nil || at.Before(*c.end)) {
			c.end = at
		}
	}
	if c.end != nil {
		left := c.end.Sub(now)
		c.limit = min(c.limit, left-min(left/5, reserve))
	}
}

// checkOptions refuses what cannot be honoured.
func (c *call) checkOptions(now time.Time) error {
	for _, o := range c.rpcOptions() {
		if err := sigstorerules.CheckOptions(o.KeyVersion, o.RemoteVerification); err != nil {
			return err
		}
	}
	if at := c.InitOptions.CtxDeadline; at != nil && !at.After(now) {
		return kmserr.New(kmserr.DeadlineExceeded, "the context that the client was made with ended at %s (initOptions.ctxDeadline), it is %s now", at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithHint("Make the client with a context that lives as long as the client is used.")
	}
	if c.end != nil && !c.end.After(now) {
		return kmserr.New(kmserr.DeadlineExceeded, "the call's ctxDeadline %s is past, it is %s now", c.end.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).WithCure()
	}
	return nil
}

// left is how long a step after the decision may take: as long as usual, but no more than half of what is left until the
// caller gives up. c is nil where nothing could be read.
func (c *call) left(now time.Time, usual time.Duration) time.Duration {
	if c == nil || c.end == nil {
		return usual
	}
	return min(usual, max(c.end.Sub(now)/2, leastTime))
}

// request is the verifier's question for verifySignature. Its error is that there are a digest and a message, or neither:
// a client that gives a digest sends no message, and one that sends both asks two questions.
func (c *call) request(stdin io.Reader) (verifier.Request, error) {
	args := c.VerifySignature
	req := verifier.Request{
		KeyID: c.key.keyID, SigningAlgorithm: c.key.algorithm, DefaultAlgorithms: c.defaults(),
		Message: stdin, Signature: args.Signature,
		DistinguishingID: c.key.distinguishingID, ENTL: c.key.entl,
	}
	if digest := args.VerifyOptions.MessageOptions.Digest; digest != nil {
		req.MessageType, req.BareHash = kmskey.Digest, true
		req.Message = bytes.NewReader(*digest)
		switch _, err := io.ReadFull(stdin, make([]byte, 1)); {
		case err == nil:
			return req, invalid("messageOptions.digest is given, and a message is on standard input too, expected one of them")
		case !errors.Is(err, io.EOF):
			return req, invalid("messageOptions.digest is given, and whether a message is on standard input too cannot be told: %v", err)
		}
		return req, nil
	}
	// A client that lost its message, or means a digest and gives null, looks just like this; KMS signs no empty message.
	first := make([]byte, 1)
	switch _, err := io.ReadFull(stdin, first); {
	case errors.Is(err, io.EOF):
		return req, invalid("the message on standard input is empty, and no digest is given").
			WithHint("To verify a signature over an empty file, use awskms-offline verify.")
	case err != nil:
		return req, invalid("the message cannot be read: %v", err)
	}
	req.Message = io.MultiReader(bytes.NewReader(first), stdin)
	return req, nil
}

// defaults are the algorithms for key specs that have several. The hash is the one that the user named, SHA-256 unless told
// otherwise.
func (c *call) defaults() []kmskey.SigningAlgorithm {
	hash := c.InitOptions.HashFunc
	if h := c.VerifySignature.VerifyOptions.MessageOptions.HashFunc; h != nil {
		hash = *h
	}
	return sigstorerules.Defaults(hash)
}

// keyRequest is the verifier's question for publicKey.
func (c *call) keyRequest() verifier.KeyRequest {
	return verifier.KeyRequest{
		KeyID: c.key.keyID, WithoutPublicKey: true, SigningAlgorithm: c.key.algorithm,
		DistinguishingID: c.key.distinguishingID, ENTL: c.key.entl,
	}
}

func invalid(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}
