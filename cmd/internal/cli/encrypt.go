package cli

import (
	"encoding/base64"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	encryptName = "encrypt"
	deriveName  = "derive-shared-secret"
)

// useFlags are those that encrypt and derive-shared-secret share.
type useFlags struct {
	keyID, file, encoding string
	allowState            bool
}

func (f *useFlags) register(c *cobra.Command, result string) {
	fl := c.Flags()
	fl.StringVar(&f.keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	pathVar(fl, &f.file, "file", "", "the file to write the "+result+" to, which must not exist (default: -, standard output)")
	fl.StringVar(&f.encoding, "encoding", "base64", "of the "+result+": base64 or raw")
	fl.BoolVar(&f.allowState, "unsafe-allow-state", false, "use the key in a state that it can leave again, such as Disabled or PendingDeletion; no block and no policy is passed by it")
}

func (f *useFlags) check() error {
	if f.encoding != "base64" && f.encoding != "raw" {
		return invalid("--encoding is %q, expected base64 or raw", f.encoding)
	}
	if f.file == "-" {
		f.file = "" // standard output
	}
	return nil
}

// encoded is data as --encoding has it.
func (f *useFlags) encoded(data []byte) []byte {
	if f.encoding == "raw" {
		return data
	}
	return []byte(base64.StdEncoding.EncodeToString(data) + "\n")
}

func (a *app) encrypt() *cobra.Command {
	var f useFlags
	var plaintext, algorithm string
	c := &cobra.Command{
		Use:   encryptName + " --key-id KEY --plaintext FILE",
		Short: "Encrypt a few bytes for a KMS key, which alone can decrypt them",
		Long: `Encrypts with the public half of an ENCRYPT_DECRYPT key, so that ` + "`aws kms decrypt`" + ` with that key decrypts it: RSAES_OAEP_SHA_1,
RSAES_OAEP_SHA_256 or SM2PKE, as the record allows. How many bytes fit depends on key and algorithm, and is said. For more, encrypt a data key.

A key that is disabled or to be deleted is refused: what is encrypted for it now, nobody could decrypt. --output json has the shape of
` + "`aws kms encrypt`" + `.`,
		Example: "  awskms-offline encrypt --key-id alias/backup --plaintext data.key --encryption-algorithm RSAES_OAEP_SHA_256 --file data.key.enc --encoding raw\n" +
			"  aws kms decrypt --key-id alias/backup --encryption-algorithm RSAES_OAEP_SHA_256 --ciphertext-blob fileb://data.key.enc",
		Args: exactly(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			req := verifier.EncryptRequest{KeyID: f.keyID, UnsafeAllowState: f.allowState, EncryptionAlgorithm: kmskey.EncryptionAlgorithm(algorithm)}
			if algorithm != "" && !req.EncryptionAlgorithm.Known() {
				return invalid("--encryption-algorithm is %q, expected %s", algorithm, kmskey.JoinNames(kmskey.EncryptionAlgorithms())).
					WithHint("%s", kmskey.HintNearest(algorithm, kmskey.EncryptionAlgorithms()))
			}
			r, err := a.open("--plaintext", plaintext)
			if err != nil {
				return err
			}
			defer r.Close()
			req.Plaintext = r
			v, err := a.openVerifier(0)
			if err != nil {
				return err
			}
			defer v.Close()
			a.asked = true
			made, err := v.Encrypt(c.Context(), req)
			if err != nil {
				return err
			}
			a.warn(made.Decision().Warnings)
			return a.writeUse(f, made.Ciphertext(), made.Decision(), map[string]any{
				"CiphertextBlob": base64.StdEncoding.EncodeToString(made.Ciphertext()), "EncryptionAlgorithm": string(made.EncryptionAlgorithm()),
			}, "Encrypted")
		},
	}
	f.register(c, "ciphertext")
	c.Flags().StringVar(&plaintext, "plaintext", "", "the file to encrypt; - for standard input")
	c.Flags().StringVar(&algorithm, "encryption-algorithm", "", "KMS's name of the algorithm; needed for RSA")
	require(c, "key-id", "plaintext")
	return c
}

func (a *app) derive() *cobra.Command {
	var f useFlags
	var private string
	var unsafePrint bool
	c := &cobra.Command{
		Use:   deriveName + " --key-id KEY --private-key FILE",
		Short: "Derive the secret that a private key of yours shares with a KMS key",
		Long: `Derives the raw shared secret of your private key and a KEY_AGREEMENT key: the same bytes as ` + "`aws kms derive-shared-secret`" + ` with your
public key, ECDH's x coordinate. It is no key yet: pass it through a key derivation function.

The private key is PKCS#8 or SEC 1, PEM or DER, on the KMS key's curve, not encrypted. The secret is never written to a terminal without
--unsafe-print; a file gets mode 0600.`,
		Example: "  awskms-offline derive-shared-secret --key-id alias/exchange --private-key mine.pem --file secret.bin --encoding raw",
		Args:    exactly(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.file == "" && !unsafePrint && isTerminal(a.stdout) {
				return invalid("the secret would be written to a terminal").WithHint("Give --file; or --unsafe-print, if anybody may see it.")
			}
			key, err := a.readAll("--private-key", private, verifier.MaxPrivateKey)
			if err != nil {
				return err
			}
			defer clear(key)
			v, err := a.openVerifier(0)
			if err != nil {
				return err
			}
			defer v.Close()
			a.asked = true
			secret, err := v.DeriveSharedSecret(c.Context(), verifier.DeriveRequest{KeyID: f.keyID, PrivateKey: key, UnsafeAllowState: f.allowState})
			if err != nil {
				return err
			}
			a.warn(secret.Decision().Warnings)
			return a.writeUse(f, secret.Bytes(), secret.Decision(), map[string]any{
				"SharedSecret": base64.StdEncoding.EncodeToString(secret.Bytes()), "KeyAgreementAlgorithm": string(kmskey.ECDH),
			}, "Derived")
		},
	}
	f.register(c, "secret")
	c.Flags().StringVar(&private, "private-key", "", "the file with your private key; - for standard input")
	c.Flags().BoolVar(&unsafePrint, "unsafe-print", false, "write the secret to a terminal")
	require(c, "key-id", "private-key")
	return c
}

// writeUse writes what was made to the file or to standard output. The answer in JSON has the shape of AWS's; with --file it
// leaves out a secret, which the file holds.
func (a *app) writeUse(f useFlags, data []byte, d audit.Decision, answer map[string]any, done string) error {
	if f.file != "" {
		if err := writeNewFor("--file", f.file, f.encoded(data)); err != nil {
			return err
		}
	}
	switch {
	case a.output == "json":
		if f.file != "" {
			delete(answer, "SharedSecret")
			answer["File"] = f.file
		}
		answer["KeyId"] = d.KeyARN
		err := a.json(answer)
		if err != nil && f.file != "" {
			_ = os.Remove(f.file) // nobody was told of it
		}
		return err
	case f.file != "":
		return a.printf("%s: %s, %s\n", done, d.KeyARN, fmt.Sprintf("%d bytes in %s", len(f.encoded(data)), plain(f.file)))
	}
	return a.write(f.encoded(data))
}

// eventOf is what the log calls a command's decision, "" for a command that decides nothing about a key.
func eventOf(c *cobra.Command) string {
	if c == nil || !c.HasParent() || c.Parent().HasParent() { // not audit verify
		return ""
	}
	return map[string]string{verifyName: audit.EventVerify, encryptName: audit.EventEncrypt, deriveName: audit.EventDeriveSharedSecret}[c.Name()]
}
