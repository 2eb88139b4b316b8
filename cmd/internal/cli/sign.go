package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxHeld is the longest message, in bytes, that is held in memory where the algorithm needs it whole: one that is longer
// would not verify either.
const maxHeld = verifier.DefaultMaxMessage

// signFlags are the flags of sign.
type signFlags struct {
	kms                                                kmsFlags
	keyID, algorithm, messageType, message, encoding   string
	cosign, payloadFile, signatureFile, distinguishing string
}

func (a *app) sign() *cobra.Command {
	var f signFlags
	c := &cobra.Command{
		Use:   "sign --key-id KEY [flags] [--message] FILE",
		Short: "Sign a file with a key in AWS KMS, so that verify verifies it",
		Long: `Signs a file by calling AWS KMS, in whatever way KMS takes a file of that size with that algorithm: what is too long for MessageType RAW
(4096 bytes) is hashed here and sent as DIGEST, for ML-DSA as EXTERNAL_MU; an SM2 digest with a distinguishing ID of one's own is computed
here. --message-type DIGEST says that the file is a digest already. The signature is verified here before it is printed.

--cosign-payload IMAGE@DIGEST signs what cosign signs for an image, and writes the two files that cosign attach signature takes.`,
		Example: "  awskms-offline sign --key-id alias/release --region us-east-1 app.tar.gz > app.sig\n" +
			"  awskms-offline sign --key-id alias/release --region cn-north-1 --distinguishing-id release@example.com app.tar.gz > app.sig\n" +
			"  awskms-offline sign --key-id alias/release --cosign-payload registry.example.com/app@sha256:… --payload payload.json --signature payload.sig",
		RunE: func(c *cobra.Command, args []string) error { return a.runSign(c, f, args) },
	}
	fl := c.Flags()
	f.kms.registerForOne(fl)
	fl.StringVar(&f.keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	fl.StringVar(&f.algorithm, "signing-algorithm", "", "KMS's name of the algorithm; needed where the key has several")
	fl.StringVar(&f.messageType, "message-type", "", "what FILE is: RAW or DIGEST (default: the message, sent as fits)")
	fl.StringVar(&f.message, "message", "", "the message's file, instead of the argument")
	fl.StringVar(&f.encoding, "encoding", "base64", "of the signature: base64 or raw")
	fl.StringVar(&f.distinguishing, "distinguishing-id", "", "SM2: the signer's ID, text or hex:… (default: "+kmskey.DefaultDistinguishingID+")")
	fl.StringVar(&f.cosign, "cosign-payload", "", "sign cosign's payload for this image, REPOSITORY@sha256:HEX, instead of a file")
	pathVar(fl, &f.payloadFile, "payload", "", "with --cosign-payload: the file to write the payload to, which must not exist")
	pathVar(fl, &f.signatureFile, "signature", "", "the file to write the signature to, which must not exist (default: -, standard output)")
	require(c, "key-id")
	return c
}

func (a *app) runSign(c *cobra.Command, f signFlags, args []string) error {
	q, err := f.check(c, args)
	if err != nil {
		return err
	}
	message, payload, err := a.toSign(c, f, args)
	if err != nil {
		return err
	}
	defer message.Close()
	client, err := f.kms.client(a.ctx)
	if err != nil {
		return err
	}
	signer, err := awskms.NewSigner(a.ctx, client, q.ref)
	if err != nil {
		return err
	}
	defer signer.Close()
	if all := signer.Key().SigningAlgorithms(); q.algorithm == "" && len(all) == 1 {
		q.algorithm = all[0]
	}
	req, err := q.request(a.ctx, signer, message)
	if err != nil {
		return err
	}
	signature, err := signer.Sign(a.ctx, req)
	if err != nil {
		return err
	}
	return a.writeSignature(f, signer, q.algorithm, signature, payload)
}

// signQuestion is what sign's flags ask for, but for the message.
type signQuestion struct {
	ref       kmskey.Ref
	algorithm kmskey.SigningAlgorithm // empty: the key's only one
	kind      kmskey.MessageType
	id        kmskey.DistinguishingID
}

// check reads the flags, and refuses what does not go together before KMS signs.
func (f *signFlags) check(c *cobra.Command, args []string) (q signQuestion, err error) {
	if q.ref, err = kmskey.ParseRef(f.keyID); err != nil {
		return q, err
	}
	if q.algorithm, err = algorithmFlag(f.algorithm); err != nil {
		return q, err
	}
	q.kind = kmskey.MessageType(f.messageType)
	if f.signatureFile == "-" {
		f.signatureFile = "" // standard output
	}
	switch {
	case f.encoding != "base64" && f.encoding != "raw":
		return q, invalid("--encoding is %q, expected base64 or raw", f.encoding)
	case q.kind == kmskey.ExternalMu:
		return q, kmserr.New(kmserr.UnsupportedOperation, "--message-type is EXTERNAL_MU, and a signature over μ alone cannot be verified here before it is given out").
			WithHint("Give the message and leave --message-type out: what is too long for RAW is sent as EXTERNAL_MU, and the signature is the same.")
	case c.Flags().Changed("message-type") && q.kind != kmskey.Raw && q.kind != kmskey.Digest:
		return q, invalid("--message-type is %q, expected RAW or DIGEST", f.messageType)
	case len(f.kms.regions) > 1:
		return q, invalid("%d Regions are given, expected one", len(f.kms.regions))
	case (f.cosign == "") != (f.payloadFile == "") || f.cosign != "" && f.signatureFile == "":
		return q, invalid("--cosign-payload needs --payload and --signature, and --payload is for it alone").
			WithHint("cosign attach signature takes both files.")
	case f.payloadFile == "-":
		return q, invalid("--payload is -, and this goes into a file, not to standard output").WithHint("Name a new file; one of that name is ./-.")
	case f.cosign != "" && (len(args) > 0 || f.message != "" || f.encoding != "base64" || q.kind != ""):
		return q, invalid("--cosign-payload takes no file, no --message-type, and no --encoding but base64")
	}
	if c.Flags().Changed("distinguishing-id") {
		if q.id, err = kmskey.ParseDistinguishingID(f.distinguishing); err != nil {
			return q, err
		}
		switch {
		case q.kind == kmskey.Digest:
			return q, invalid("--distinguishing-id and --message-type DIGEST are given: a digest holds its ID already")
		case q.kind == kmskey.Raw && string(q.id.Bytes()) != kmskey.DefaultDistinguishingID:
			return q, invalid("--distinguishing-id is %q and --message-type RAW: KMS signs SM2 messages with the ID %s alone", q.id, kmskey.DefaultDistinguishingID).
				WithHint("Leave --message-type out: the digest with that ID is then computed here.")
		}
	}
	for flag, file := range map[string]string{"--payload": f.payloadFile, "--signature": f.signatureFile} {
		if err := absentFor(flag, file); err != nil {
			return q, err
		}
	}
	return q, nil
}

// toSign opens the message: a file, or cosign's payload, which is returned as well.
func (a *app) toSign(c *cobra.Command, f signFlags, args []string) (message io.ReadCloser, payload []byte, err error) {
	if f.cosign != "" {
		if payload, err = simpleSigning(f.cosign); err != nil {
			return nil, nil, err
		}
		return io.NopCloser(bytes.NewReader(payload)), payload, nil
	}
	file, err := messageArgument(c, f.message, args)
	if err != nil {
		return nil, nil, err
	}
	message, err = a.open("the message", file)
	return message, nil, err
}

// request settles how KMS is to be called: what it signs from a message, and what it takes in a message's place.
func (q signQuestion) request(ctx context.Context, signer *awskms.Signer, message io.Reader) (awskms.SignRequest, error) {
	req := awskms.SignRequest{Algorithm: q.algorithm, MessageType: q.kind}
	spec := signer.Key().Spec()
	if q.id.Given() && spec != kmskey.SM2 {
		return req, invalid("--distinguishing-id is for SM2 keys, and this key is of spec %s", spec)
	}
	hold := func(limit int64) (data []byte, err error) {
		data, err = io.ReadAll(io.LimitReader(message, limit+1))
		if err != nil && !kmserr.Is(err, kmserr.DeadlineExceeded) {
			err = invalid("the message cannot be read: %v", reason(err)).WithCause(err)
		}
		return data, err
	}
	// An empty file is a download that failed or a pipe that broke, and KMS signs none.
	ahead := bufio.NewReader(message)
	if _, err := ahead.Peek(1); errors.Is(err, io.EOF) {
		return req, invalid("the message is empty").WithHint("KMS signs no empty message.")
	}
	message = ahead
	var err error
	switch {
	case q.kind == kmskey.Digest:
		req.Message, err = hold(maxSignatureFile) // what is no digest is told by its length
		return req, err
	case q.kind == kmskey.Raw, q.algorithm == kmskey.ED25519SHA512:
		req.MessageType = kmskey.Raw
		if req.Message, err = hold(awskms.MaxRaw); err == nil && len(req.Message) > awskms.MaxRaw {
			hint := "Leave --message-type out: the file is then hashed here."
			if q.algorithm == kmskey.ED25519SHA512 {
				hint = "ED25519_SHA_512 signs the message itself: use ED25519_PH_SHA_512, or sign the file's hash as a file of its own."
			}
			err = invalid("the message is longer than the %d bytes that KMS signs as RAW", awskms.MaxRaw).WithHint("%s", hint)
		}
		return req, err
	case q.algorithm == kmskey.MLDSASHAKE256:
		if req.Message, err = hold(maxHeld); err != nil {
			return req, err
		}
		if len(req.Message) > maxHeld {
			return req, invalid("the message is longer than the %d bytes that are held for ML-DSA", maxHeld).
				WithHint("Sign the file's hash as a file of its own, or use a key of another spec.")
		}
		req.MessageType = kmskey.Raw
		if len(req.Message) <= awskms.MaxRaw {
			return req, nil
		}
		req.Whole = req.Message
		message = bytes.NewReader(req.Message)
	}
	digest, err := signer.Digest(ctx, verifier.DigestRequest{SigningAlgorithm: q.algorithm, Message: message, DistinguishingID: q.id})
	if err != nil {
		return req, err
	}
	req.Algorithm, req.MessageType, req.Message = digest.SigningAlgorithm, digest.MessageType, digest.Bytes
	return req, nil
}

func (a *app) writeSignature(f signFlags, signer *awskms.Signer, algorithm kmskey.SigningAlgorithm, signature, payload []byte) error {
	out := signature
	if f.encoding == "base64" {
		out = []byte(base64.StdEncoding.EncodeToString(signature) + "\n")
	}
	if f.payloadFile != "" {
		if err := writeNewFor("--payload", f.payloadFile, payload); err != nil {
			return err
		}
	}
	if f.signatureFile != "" {
		if err := writeNewFor("--signature", f.signatureFile, out); err != nil {
			if f.payloadFile != "" {
				_ = os.Remove(f.payloadFile) // a payload without its signature is of no use
			}
			return err
		}
	}
	if a.output == "json" {
		return a.json(map[string]string{
			"KeyId": signer.Key().ARN().String(), "SigningAlgorithm": string(algorithm), "Signature": base64.StdEncoding.EncodeToString(signature),
		})
	}
	if f.signatureFile != "" {
		return a.printf("Signed: %s, %s\n", signer.Key().ARN(), algorithm)
	}
	return a.write(out)
}

var imageDigest = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.:/_-]*@sha256:[0-9a-f]{64}$`)

// simpleSigning is what cosign signs for an image (containers/image, containers-signature.5, "json data format"). A tag
// beside the digest is left out, as cosign does.
func simpleSigning(image string) ([]byte, error) {
	if !imageDigest.MatchString(image) {
		return nil, invalid("--cosign-payload is %q, expected REPOSITORY@sha256: and 64 digits of lower-case hexadecimal", image).
			WithHint("A tag may move: name the image by its digest.")
	}
	repository, digest, _ := strings.Cut(image, "@")
	if tag := strings.LastIndexByte(repository, ':'); tag > strings.LastIndexByte(repository, '/') {
		repository = repository[:tag]
	}
	type critical struct {
		Identity map[string]string `json:"identity"`
		Image    map[string]string `json:"image"`
		Type     string            `json:"type"`
	}
	return json.Marshal(struct {
		Critical critical       `json:"critical"`
		Optional map[string]any `json:"optional"`
	}{critical{map[string]string{"docker-reference": repository}, map[string]string{"docker-manifest-digest": digest}, "cosign container image signature"}, nil})
}
