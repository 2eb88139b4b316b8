package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// file is a file of testdata/vectors/captured.
type file struct {
	Source  string   `json:"source"`
	Vectors []vector `json:"vectors"`
}

// vector is one signature: SignedWithMessageType says how KMS was called, MessageUTF8 is the message all the same.
type vector struct {
	KeySpec               string `json:"keySpec"`
	SigningAlgorithm      string `json:"signingAlgorithm"`
	SignedWithMessageType string `json:"signedWithMessageType"`
	DistinguishingID      string `json:"distinguishingId,omitzero"`
	MessageUTF8           string `json:"messageUTF8"`
	PublicKey             []byte `json:"publicKey"`
	Signature             []byte `json:"signature"`
}

// messages are what is signed: one short, one of KMS's greatest length.
var messages = []string{"a message for AWS KMS, signed to be a test vector", strings.Repeat("0123456789abcdef", awskms.MaxRaw/16)}

// customID is an SM2 distinguishing ID that is not KMS's own: such a signature goes by DIGEST.
const customID = "capture@awskms-offline.example"

// run signs with every key named in args and prints one file. Signatures that this project's verifier refuses are errors,
// and the most interesting thing to find.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("capture", flag.ContinueOnError)
	var config awskms.Config
	flags.StringVar(&config.Profile, "profile", "", "profile of AWS's shared configuration files")
	flags.StringVar(&config.Region, "region", "", "Region for identifiers that name none")
	flags.StringVar(&config.EndpointURL, "endpoint-url", "", "another endpoint; what an emulator signs is no test vector")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no key is given: name signing keys by ARN, key ID or alias/NAME")
	}
	client, err := awskms.New(ctx, config)
	if err != nil {
		return err
	}
	out := file{Source: "AWS KMS, captured " + time.Now().UTC().Format(time.DateOnly) + " by cmd/internal/capture"}
	if config.EndpointURL != "" {
		out.Source = "NOT AWS KMS but " + config.EndpointURL
	}
	for _, name := range flags.Args() {
		vectors, err := capture(ctx, client, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out.Vectors = append(out.Vectors, vectors...)
	}
	data, err := json.Marshal(out, jsontext.WithIndent(" "))
	if err != nil {
		return err
	}
	_, err = stdout.Write(append(data, '\n'))
	return err
}

// capture signs with one key by each of its algorithms, in each form that KMS takes.
func capture(ctx context.Context, client *awskms.Client, name string) (all []vector, err error) {
	ref, err := kmskey.ParseRef(name)
	if err != nil {
		return nil, err
	}
	signer, err := awskms.NewSigner(ctx, client, ref)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, signer.Close()) }()
	for _, algorithm := range signer.Key().SigningAlgorithms() {
		for _, message := range messages {
			for _, form := range forms(algorithm) {
				v, err := form.sign(ctx, signer, algorithm, message)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", algorithm, form.name, err)
				}
				all = append(all, v)
			}
		}
	}
	return all, nil
}

// form is one way to have KMS sign a message.
type form struct {
	name string
	raw  bool
	id   string // SM2's, for a digest; "" for the default
}

func forms(a kmskey.SigningAlgorithm) []form {
	switch {
	case a == kmskey.ED25519SHA512:
		return []form{{name: "RAW", raw: true}}
	case a == kmskey.ED25519PHSHA512:
		return []form{{name: "DIGEST"}}
	case a == kmskey.SM2DSA:
		return []form{{name: "RAW", raw: true}, {name: "DIGEST"}, {name: "DIGEST with an ID", id: customID}}
	}
	return []form{{name: "RAW", raw: true}, {name: "DIGEST or EXTERNAL_MU"}}
}

func (f form) sign(ctx context.Context, s *awskms.Signer, a kmskey.SigningAlgorithm, message string) (vector, error) {
	v := vector{
		KeySpec: string(s.Key().Spec()), SigningAlgorithm: string(a), SignedWithMessageType: string(kmskey.Raw),
		DistinguishingID: f.id, MessageUTF8: message, PublicKey: s.Key().PublicKeyDER(),
	}
	req := awskms.SignRequest{Algorithm: a, MessageType: kmskey.Raw, Message: []byte(message)}
	if !f.raw {
		question := verifier.DigestRequest{SigningAlgorithm: a, Message: strings.NewReader(message)}
		if f.id != "" {
			id, err := kmskey.ParseDistinguishingID(f.id)
			if err != nil {
				return v, err
			}
			question.DistinguishingID = id
		}
		digest, err := s.Digest(ctx, question)
		if err != nil {
			return v, err
		}
		v.SignedWithMessageType = string(digest.MessageType)
		req = awskms.SignRequest{Algorithm: a, MessageType: digest.MessageType, Message: digest.Bytes}
		if digest.MessageType == kmskey.ExternalMu {
			req.Whole = []byte(message)
		}
	}
	signature, err := s.Sign(ctx, req)
	v.Signature = signature
	return v, err
}
