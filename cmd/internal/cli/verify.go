package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// sm2Flags are the options that only SM2 keys have.
type sm2Flags struct {
	id, entl string
	cmd      *cobra.Command
}

func (f *sm2Flags) add(c *cobra.Command) {
	f.cmd = c
	c.Flags().StringVar(&f.id, "distinguishing-id", "", "SM2: the signer's ID, text or hex:… (default: the record's, else "+kmskey.DefaultDistinguishingID+")")
	c.Flags().StringVar(&f.entl, "sm2-entl", "standard", "SM2: how the ID is counted: standard, or aws-java-helper for digests of AWS's SM2OfflineOperationHelper")
}

func (f *sm2Flags) read() (id kmskey.DistinguishingID, entl kmskey.ENTL, err error) {
	if f.cmd.Flags().Changed("distinguishing-id") {
		if id, err = kmskey.ParseDistinguishingID(f.id); err != nil {
			return id, entl, err
		}
	}
	entl, ok := kmskey.ENTLNamed(f.entl)
	if !ok {
		return id, entl, invalid("--sm2-entl is %q, expected standard or aws-java-helper", f.entl)
	}
	return id, entl, nil
}

// algorithmFlag reads --signing-algorithm; none is the zero value.
func algorithmFlag(text string) (kmskey.SigningAlgorithm, error) {
	a := kmskey.SigningAlgorithm(text)
	if text == "" || a.Known() {
		return a, nil
	}
	e := invalid("--signing-algorithm is %q, which is none of KMS's", text).WithHint("KMS has %s.", kmskey.JoinNames(kmskey.SigningAlgorithms()))
	if near := kmskey.HintNearest(text, kmskey.SigningAlgorithms()); near != "" {
		e.Hint = near + " " + e.Hint
	}
	return "", e
}

const verifyName = "verify"

func (a *app) verify() *cobra.Command {
	var keyID, signature, algorithm, messageType, message string
	var maxMessage int64
	var sm2 sm2Flags
	var batch batchFlags
	ask := func(c *cobra.Command, args []string) (encoding string, err error) {
		file, err := messageArgument(c, message, args)
		if err != nil {
			return "", err
		}
		req := verifier.Request{KeyID: keyID, MessageType: kmskey.MessageType(messageType)}
		if req.SigningAlgorithm, err = algorithmFlag(algorithm); err != nil {
			return "", err
		}
		if c.Flags().Changed("message-type") && !slices.Contains(kmskey.MessageTypes(), req.MessageType) {
			return "", invalid("--message-type is %q, expected %s", messageType, kmskey.JoinNames(kmskey.MessageTypes())).
				WithHint("%s", kmskey.HintNearest(messageType, kmskey.MessageTypes()))
		}
		if req.DistinguishingID, req.ENTL, err = sm2.read(); err != nil {
			return "", err
		}
		if signature == "-" && file == "-" {
			return "", invalid("the signature and the message are both to be read from standard input").WithHint("Give one of them as a file.")
		}
		if maxMessage <= 0 {
			return "", invalid("--max-message is %d, expected a number of bytes above 0", maxMessage)
		}
		raw, err := a.readAll("--signature", signature, maxSignatureFile)
		if errors.Is(err, errTooLong) {
			err = kmserr.New(kmserr.InvalidSignature, "%s", kmserr.As(err).Fact).WithHint("Are the signature and the message swapped? A signature is a few thousand bytes at most.")
		}
		if err != nil {
			return "", err
		}
		if req.Signature, encoding, err = decodeSignature(raw); err != nil {
			return "", inFile(signature, err)
		}
		clause, hint := otherForm(raw)
		if encoding == "base64" && clause == "" {
			a.note("the signature is base64 text and was decoded")
		}
		r, err := a.openMessage(file)
		if err != nil {
			return encoding, err
		}
		defer r.Close()
		req.Message = r
		err = a.runVerify(c.Context(), req, maxMessage, encoding)
		if clause != "" && kmserr.Is(err, kmserr.InvalidSignature) { // which is why
			told := *kmserr.As(err)
			told.Fact, told.Hint = naming("--signature", signature)+" "+clause, hint
			err = &told
		}
		return encoding, err
	}
	c := &cobra.Command{
		Use:   verifyName + " --key-id KEY --signature FILE [flags] [--message] FILE",
		Short: "Verify a signature of a KMS key over a file",
		Long: `Verifies that the signature is one of the KMS key over the file, and that the key may be relied on: its usage, its
algorithms and the key state that KMS last told.

The file is the message itself, whatever way KMS was called when it was signed; --message-type DIGEST says that the file
holds the bare hash instead. A key spec with several algorithms (RSA, Ed25519) needs --signing-algorithm. The
signature may be binary or base64 text; which of the two it was is said.

--batch verifies many signatures: one JSON object a line in, one a line out, in the same order. A line that cannot be read is
refused like one that does not verify, and the next goes on. Exit code 0 says that every line verified and that there was one.

Exit codes: 0 verified; 1 not verified; 2 the call or its files were wrong; 3 the system failed.`,
		Example: "  awskms-offline verify --key-id alias/release --signature app.sig app.tar.gz\n" +
			"  awskms-offline verify --key-id arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab \\\n" +
			"    --signing-algorithm RSASSA_PSS_SHA_256 --signature fileb://app.sig --output json app.tar.gz\n" +
			"  awskms-offline verify --batch signatures.jsonl --report junit=signatures.xml > answers.jsonl",
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("batch") {
				if maxMessage <= 0 {
					return invalid("--max-message is %d, expected a number of bytes above 0", maxMessage)
				}
				return a.runBatch(batch, maxMessage)
			}
			encoding, err := ask(c, args)
			a.answer = verifyAnswer{SigningAlgorithm: algorithm, MessageType: messageType, SignatureEncoding: encoding}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	f.StringVar(&signature, "signature", "", "the signature's file, binary or base64")
	f.StringVar(&algorithm, "signing-algorithm", "", "KMS's name of the algorithm; needed where the key has several")
	f.StringVar(&messageType, "message-type", "", "what FILE is: RAW, DIGEST or EXTERNAL_MU (default: the message)")
	f.StringVar(&message, "message", "", "the message's file, instead of the argument")
	f.BoolVar(&a.explain, "explain", false, "tell each step of the decision on standard error")
	f.Int64Var(&maxMessage, "max-message", verifier.DefaultMaxMessage, "the longest message in bytes for ED25519_SHA_512 and ML_DSA_SHAKE_256")
	sm2.add(c)
	batch.add(c)
	require(c, "key-id", "signature")
	one := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := batch.check(c, args); err != nil || c.Flags().Changed("batch") {
			return err
		}
		return one(c, args)
	}
	return c
}

// require marks flags as needed, with an error in our words.
func require(c *cobra.Command, names ...string) {
	pre := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		for _, n := range names {
			if !c.Flags().Changed(n) {
				return invalid("--%s is not given", n).WithHint("See `%s --help`.", c.CommandPath())
			}
		}
		if pre != nil {
			return pre(c, args)
		}
		return nil
	}
}

func messageArgument(c *cobra.Command, flag string, args []string) (string, error) {
	given := c.Flags().Changed("message")
	switch {
	case given && len(args) == 0:
		return flag, nil
	case given || len(args) > 1:
		return "", invalid("more than one message is given, expected one file").WithHint("Verify one file a call.")
	case len(args) == 0:
		return "", invalid("no message is given").WithHint("Name the file, or - for standard input.")
	}
	return args[0], nil
}

// verifyAnswer has the shape of `aws kms verify`'s answer, and what it rests on.
type verifyAnswer struct {
	KeyID             string        `json:"KeyId,omitempty"`
	SignatureValid    bool          `json:"SignatureValid"`
	SigningAlgorithm  string        `json:"SigningAlgorithm,omitempty"`
	MessageType       string        `json:"MessageType,omitempty"` // as it was given; none: the message itself
	SignatureEncoding string        `json:"SignatureEncoding,omitempty"`
	Assurance         *assurance    `json:"Assurance,omitempty"`
	Error             *machineError `json:"Error,omitempty"`
}

// assurance is how good the knowledge is that a yes rests on.
type assurance struct {
	SnapshotSource     string            `json:"SnapshotSource"`
	SnapshotTime       string            `json:"SnapshotTime,omitempty"`
	SnapshotAgeSeconds *int64            `json:"SnapshotAgeSeconds,omitempty"` // nil: unknown
	KeyState           string            `json:"KeyState"`
	StateTime          string            `json:"StateTime,omitempty"`
	StateAgeSeconds    *int64            `json:"StateAgeSeconds,omitempty"` // nil: unknown
	FallbackKeyIDs     []string          `json:"FallbackKeyIds,omitempty"`
	Options            map[string]string `json:"Options,omitempty"`
	Warnings           []string          `json:"Warnings,omitempty"`
	Home               string            `json:"Home"`
	HomeChosenBy       string            `json:"HomeChosenBy"`
}

func assuranceOf(d audit.Decision) *assurance {
	return &assurance{
		SnapshotSource: d.SnapshotSource, SnapshotTime: timeText(d.SnapshotTime), SnapshotAgeSeconds: age(d.EventTime.Time, d.SnapshotTime),
		KeyState: d.KeyState, StateTime: timeText(d.StateTime), StateAgeSeconds: age(d.EventTime.Time, d.StateTime),
		FallbackKeyIDs: d.FallbackARNs, Options: d.Options, Warnings: d.Warnings, Home: d.Home, HomeChosenBy: d.HomeChosenBy,
	}
}

func timeText(t kmskey.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (a *app) runVerify(ctx context.Context, req verifier.Request, maxMessage int64, encoding string) error {
	v, err := a.openVerifier(maxMessage)
	if err != nil {
		return err
	}
	defer v.Close()
	a.asked = true
	verified, err := v.Verify(ctx, req)
	if err != nil {
		return err
	}
	d := verified.Decision()
	if a.output == "json" {
		return a.json(verifyAnswer{
			KeyID: d.KeyARN, SignatureValid: d.Verified, SigningAlgorithm: d.SigningAlgorithm, MessageType: d.MessageType,
			SignatureEncoding: encoding, Assurance: assuranceOf(d),
		})
	}
	a.warn(d.Warnings)
	line := a.out.good("Verified:") + " " + d.KeyARN
	if d.Asked != d.KeyARN {
		line += " (" + d.Asked + ")"
	}
	line += ", " + d.SigningAlgorithm
	if t := kmskey.MessageType(d.MessageType); t != kmskey.MessageTypeUnset && t != kmskey.Raw {
		line += ", message type " + string(t)
	}
	line += ", key state " + d.KeyState
	if t := timeText(d.StateTime); t != "" {
		line += " as of " + t
	}
	if t := timeText(d.SnapshotTime); t != "" {
		line += ", snapshot as of " + t
	} else {
		line += ", snapshot without a date"
	}
	line += ", source " + d.SnapshotSource
	for _, option := range d.OptionTexts() {
		line += ", option " + plain(option)
	}
	return a.printf("%s\n", line)
}
