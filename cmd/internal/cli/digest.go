package cli

import (
	"encoding/base64"
	"encoding/hex"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
)

func (a *app) digest() *cobra.Command {
	var keyID, algorithm, message, encoding string
	var sm2 sm2Flags
	c := &cobra.Command{
		Use:   "digest --key-id KEY [flags] [--message] FILE",
		Short: "Compute what to hand to KMS Sign in place of a file",
		Long: `Computes what KMS Sign takes in place of a message: the hash with MessageType DIGEST, for SM2 e = SM3(ZA ‖ M) with the key
and the distinguishing ID in it, for ML-DSA μ with MessageType EXTERNAL_MU. Pure Ed25519 has no such form.

KMS takes the raw bytes: write them with --encoding raw and give them to ` + "`aws kms sign`" + ` as fileb://.`,
		Example: "  awskms-offline digest --key-id alias/release --encoding raw app.tar.gz > app.digest\n" +
			"  aws kms sign --key-id alias/release --message fileb://app.digest --message-type DIGEST --signing-algorithm ECDSA_SHA_256",
		RunE: func(c *cobra.Command, args []string) error {
			file, err := messageArgument(c, message, args)
			if err != nil {
				return err
			}
			switch encoding {
			case "hex", "base64", "raw":
			default:
				return invalid("--encoding is %q, expected hex, base64 or raw", encoding)
			}
			req := verifier.DigestRequest{KeyID: keyID}
			if req.SigningAlgorithm, err = algorithmFlag(algorithm); err != nil {
				return err
			}
			if req.DistinguishingID, req.ENTL, err = sm2.read(); err != nil {
				return err
			}
			r, err := a.open("the message", file)
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
			if a.output == "json" {
				return a.json(map[string]string{
					"KeyId": d.KeyARN.String(), "SigningAlgorithm": string(d.SigningAlgorithm), "MessageType": string(d.MessageType),
					"Digest": base64.StdEncoding.EncodeToString(d.Bytes),
				})
			}
			switch encoding {
			case "raw":
				return a.write(d.Bytes)
			case "base64":
				return a.printf("%s\n", base64.StdEncoding.EncodeToString(d.Bytes))
			}
			return a.printf("%s\n", hex.EncodeToString(d.Bytes))
		},
	}
	f := c.Flags()
	f.StringVar(&keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	f.StringVar(&algorithm, "signing-algorithm", "", "KMS's name of the algorithm; needed where the key has several")
	f.StringVar(&message, "message", "", "the message's file, instead of the argument")
	f.StringVar(&encoding, "encoding", "hex", "hex, base64, or raw bytes as KMS takes them")
	sm2.add(c)
	require(c, "key-id")
	return c
}
