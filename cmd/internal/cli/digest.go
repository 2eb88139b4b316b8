package cli

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// maxDigestFile is the longest file of a digest, in bytes: 64 of them as text, with white space about them.
const maxDigestFile = 4 << 10

// digestFlags are the flags of digest that say what becomes of the digest.
type digestFlags struct {
	encoding, file, check string
}

func (f *digestFlags) read(c *cobra.Command, message string) error {
	given := func(name string) bool { return c.Flags().Changed(name) }
	switch {
	case f.encoding != "hex" && f.encoding != "base64" && f.encoding != "raw":
		return invalid("--encoding is %q, expected hex, base64 or raw", f.encoding)
	case given("check") && (given("file") || given("encoding")):
		return invalid("--check is given together with --file or --encoding, but a check writes no digest").WithHint("Leave the other out.")
	case given("file") && f.encoding != "raw" && given("encoding"):
		return invalid("--encoding is %q together with --file, expected raw: KMS takes the bytes", f.encoding).WithHint("Leave --encoding out.")
	case given("file") && f.file == "":
		return invalid("--file is empty, expected the name of a new file")
	case given("check") && f.check == "-" && message == "-":
		return invalid("the digest and the message are both to be read from standard input").WithHint("Give one of them as a file.")
	}
	return nil
}

func (a *app) digest() *cobra.Command {
	var keyID, algorithm, message string
	var flags digestFlags
	var sm2 sm2Flags
	c := &cobra.Command{
		Use:   "digest --key-id KEY [flags] [--message] FILE",
		Short: "Compute what to hand to KMS Sign in place of a file, or check it",
		Long: `Computes what KMS Sign takes in place of a message: the hash with MessageType DIGEST, for SM2 e = SM3(ZA ‖ M) with the key
and the distinguishing ID in it, for ML-DSA μ with MessageType EXTERNAL_MU. Pure Ed25519 has no such form.

The ` + "`aws kms sign`" + ` command for it is printed: with --file, which gets the raw bytes that KMS takes, on standard output; else on
standard error, for AWS CLI version 2.

--check computes the digest and compares it with one that is there, raw bytes or text in hexadecimal or base64. It says nothing
about a signature. Exit code 1: it is another.`,
		Example: "  awskms-offline digest --key-id alias/release --file app.digest app.tar.gz\n" +
			"  awskms-offline digest --key-id alias/release --check app.digest app.tar.gz",
		RunE: func(c *cobra.Command, args []string) error {
			file, err := messageArgument(c, message, args)
			if err != nil {
				return err
			}
			if err := flags.read(c, file); err != nil {
				return err
			}
			req := verifier.DigestRequest{KeyID: keyID}
			if req.SigningAlgorithm, err = algorithmFlag(algorithm); err != nil {
				return err
			}
			if req.DistinguishingID, req.ENTL, err = sm2.read(); err != nil {
				return err
			}
			var expected []byte
			if c.Flags().Changed("check") {
				if expected, err = a.readAll("--check", flags.check, maxDigestFile); err != nil {
					return err
				}
			}
			r, err := a.openMessage(file)
			if err != nil {
				return err
			}
			defer r.Close()
			req.Message = r
			v, err := a.openVerifier(0)
			if err != nil {
				return err
			}
			defer v.Close()
			d, err := v.Digest(c.Context(), req)
			if err != nil {
				return err
			}
			if c.Flags().Changed("check") {
				return a.checkDigest(d, flags.check, expected, file)
			}
			return a.writeDigest(d, flags)
		},
	}
	f := c.Flags()
	f.StringVar(&keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	f.StringVar(&algorithm, "signing-algorithm", "", "KMS's name of the algorithm; needed where the key has several")
	f.StringVar(&message, "message", "", "the message's file, instead of the argument")
	f.StringVar(&flags.encoding, "encoding", "hex", "hex, base64, or raw bytes as KMS takes them")
	pathVar(f, &flags.file, "file", "", "the file to write the raw bytes to, which must not exist; standard output gets the aws command")
	f.StringVar(&flags.check, "check", "", "compare with the digest in this file, instead of writing one")
	sm2.add(c)
	require(c, "key-id")
	return c
}

func (a *app) writeDigest(d *verifier.Digested, flags digestFlags) error {
	// KMS's answer to the digest depends on the key in it, for SM2 and ML-DSA: so the ARN, not the alias that was asked for.
	message := "--cli-binary-format base64 --message " + base64.StdEncoding.EncodeToString(d.Bytes)
	if flags.file != "" {
		if err := writeNewFor("--file", flags.file, d.Bytes); err != nil {
			return err
		}
		message = "--message " + quoted("fileb://"+flags.file)
	}
	command := "aws kms sign --region " + d.KeyARN.Region + " --key-id " + d.KeyARN.String() + " " + message +
		" --message-type " + string(d.MessageType) + " --signing-algorithm " + string(d.SigningAlgorithm)
	switch {
	case a.output == "json":
		answer := map[string]string{
			"KeyId": d.KeyARN.String(), "SigningAlgorithm": string(d.SigningAlgorithm), "MessageType": string(d.MessageType),
			"Digest": base64.StdEncoding.EncodeToString(d.Bytes), "SignCommand": command,
		}
		if flags.file != "" {
			answer["File"] = flags.file
		}
		return a.json(answer)
	case flags.file != "":
		return a.printf("%s\n", command)
	}
	text := d.Bytes
	switch flags.encoding {
	case "hex":
		text = []byte(hex.EncodeToString(d.Bytes) + "\n")
	case "base64":
		text = []byte(base64.StdEncoding.EncodeToString(d.Bytes) + "\n")
	}
	if err := a.write(text); err != nil {
		return err
	}
	a.note("to sign it: " + command)
	return nil
}

// quoted is a word for a shell: PowerShell takes single quotes as well.
func quoted(word string) string {
	plainly := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=+@%,", r)
	}
	if strings.TrimFunc(word, plainly) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// checkDigest compares the digest that the message has with the one that is there.
func (a *app) checkDigest(d *verifier.Digested, checked string, given []byte, message string) error {
	expected, encoding := decodeDigest(given, len(d.Bytes))
	if expected == nil {
		return invalid("%s holds %d bytes, which are no digest for %s: expected %d bytes, or they in hexadecimal or base64",
			naming("--check", checked), len(given), d.SigningAlgorithm, len(d.Bytes))
	}
	if subtle.ConstantTimeCompare(expected, d.Bytes) != 1 {
		return kmserr.New(kmserr.DigestMismatch, "the digest in %s (%s) is %s, and that of %s for %s is %s", naming("--check", checked), encoding,
			hex.EncodeToString(expected), naming("the message", message), d.SigningAlgorithm, hex.EncodeToString(d.Bytes)).
			WithHint("%s", kmserr.Lookup(kmserr.DigestMismatch).Cure).WithKey(d.KeyARN.String())
	}
	if a.output == "json" {
		return a.json(map[string]any{
			"KeyId": d.KeyARN.String(), "SigningAlgorithm": string(d.SigningAlgorithm), "MessageType": string(d.MessageType),
			"Digest": base64.StdEncoding.EncodeToString(d.Bytes), "DigestMatches": true, "DigestEncoding": encoding,
		})
	}
	return a.printf("Matches: %s, %s, %s, the digest given as %s\n", d.KeyARN, d.SigningAlgorithm, d.MessageType, encoding)
}

// decodeDigest reads a digest of n bytes: n bytes are the digest itself, whatever they look like; else it is text, and in
// hexadecimal if it can be: 64 such digits would be base64 of another length as well. It is nil if it is none.
func decodeDigest(given []byte, n int) (digest []byte, encoding string) {
	if len(given) == n {
		return given, "raw"
	}
	text := bytes.TrimSpace(given)
	encoding = "hex"
	digest, err := hex.DecodeString(string(text))
	if err != nil {
		encoding = "base64"
		digest, _ = decodeBase64(text)
	}
	if len(digest) != n {
		return nil, ""
	}
	return digest, encoding
}
