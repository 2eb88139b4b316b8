package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func (a *app) cert() *cobra.Command {
	c := &cobra.Command{
		Use:   "cert",
		Short: "Certificates of KMS keys, for Notation: self-sign, csr, add, check, show",
		Long: `Notation puts a certificate of the signing key into every signature, and KMS has none. These commands make one that the KMS key signs
itself, or a request for an authority of your own; and they say whether Notation takes a chain and whose it is. The chain is kept in the
key store, where the signing plugin finds it by the key. docs/certificates.md says more.`,
		Example: "  awskms-offline cert self-sign --key-id alias/release --region us-east-1 --subject 'CN=release,O=Example,ST=WA,C=US' --days 365\n" +
			"  awskms-offline cert check chain.pem --key-id alias/release",
		Args:                       noSuchCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       noCommand,
	}
	c.AddCommand(a.certSelfSign(), a.certCSR(), a.certAdd(), a.certCheck(), a.certShow())
	return c
}

// issueFlags are the flags of the commands that have KMS sign.
type issueFlags struct {
	kms                  kmsFlags
	keyID, subject, file string
	days                 int
	replace              bool
}

func (f *issueFlags) register(c *cobra.Command) {
	fl := c.Flags()
	f.kms.registerForOne(fl)
	fl.StringVar(&f.keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	fl.StringVar(&f.subject, "subject", "", "the distinguished name (RFC 4514), such as CN=release,O=Example,ST=WA,C=US")
	require(c, "key-id", "subject")
}

// withIssuer asks KMS for the key and calls issue.
func (a *app) withIssuer(f issueFlags, issue func(*kmscert.Issuer, *awskms.Signer) error) error {
	ref, err := kmskey.ParseRef(f.keyID)
	if err != nil {
		return err
	}
	if len(f.kms.regions) > 1 {
		return invalid("%d Regions are given, expected one", len(f.kms.regions))
	}
	if err := absentFor("--file", f.file); err != nil {
		return err // before KMS signs
	}
	client, err := f.kms.client(a.ctx)
	if err != nil {
		return err
	}
	signer, err := awskms.NewSigner(a.ctx, client, ref)
	if err != nil {
		return err
	}
	defer signer.Close()
	issuer, err := kmscert.NewIssuer(signer)
	if err != nil {
		return err
	}
	return issue(issuer, signer)
}

func (a *app) certSelfSign() *cobra.Command {
	var f issueFlags
	c := &cobra.Command{
		Use:   "self-sign --key-id KEY --subject DN --days N",
		Short: "Make a certificate that the KMS key signs itself, and keep it in the key store",
		Long: `Makes a certificate with the profile that Notation demands (digitalSignature and codeSigning, of no authority), signed in KMS by the key
itself, verified here, and kept in the key store, where the signing plugin awskms-signer finds it. RSA keys and those on NIST curves.`,
		Example: "  awskms-offline cert self-sign --key-id alias/release --region us-east-1 --subject 'CN=release,O=Example,ST=WA,C=US' --days 365 --file release.crt",
		Args:    exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			subject, err := kmscert.ParseSubject(f.subject)
			if err != nil {
				return err
			}
			return a.withIssuer(f, func(issuer *kmscert.Issuer, signer *awskms.Signer) error {
				now := time.Now()
				made, err := issuer.SelfSigned(a.ctx, subject, f.days, now)
				if err != nil {
					return err
				}
				chain, err := kmscert.Parse("the new certificate", made)
				if err != nil {
					return err
				}
				if err := errors.Join(chain.Problems(signer.Key(), now)...); err != nil {
					return err
				}
				return a.keepChain(chain, made, signer.Key(), f)
			})
		},
	}
	f.register(c)
	c.Flags().IntVar(&f.days, "days", 0, fmt.Sprintf("how long it is valid from now, 1 to %d days", kmscert.MaxDays))
	pathVar(c.Flags(), &f.file, "file", "", "write it to this file too, which must not exist; - for standard output")
	c.Flags().BoolVar(&f.replace, "replace", false, "put it in the place of the chain that the store has")
	require(c, "days")
	return c
}

// keepChain keeps a chain that was checked in the key store, and writes it to the file that is asked for.
func (a *app) keepChain(chain *kmscert.Chain, pem []byte, key *kmskey.Key, f issueFlags) (err error) {
	w, err := a.openWriter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if f.file != "" && f.file != "-" {
		if err := writeNewFor("--file", f.file, pem); err != nil {
			return err
		}
	}
	change, err := w.PutChain(key.Fingerprint(), pem, f.replace)
	if err != nil {
		if f.file != "" && f.file != "-" {
			_ = os.Remove(f.file) // of no use to a user who was told that it failed
		}
		return err
	}
	path := filepath.Join(w.Store().Home().Path, filepath.FromSlash(keystore.ChainPath(key.Fingerprint())))
	switch {
	case a.output == "json":
		answer := map[string]any{"KeyId": key.ARN().String(), "Change": string(change), "Path": path, "Certificates": certificatesJSON(chain)}
		if f.file == "-" {
			answer["CertificateChain"] = string(pem) // as AWS Certificate Manager names it
		}
		return a.json(answer)
	case f.file == "-":
		return a.write(pem)
	}
	leaf := chain.Certificates[0]
	return a.printf("%s: %s, of %s, valid until %s\n", change, path, plain(leaf.Subject.String()), leaf.NotAfter.UTC().Format(time.RFC3339))
}

func (a *app) certCSR() *cobra.Command {
	var f issueFlags
	c := &cobra.Command{
		Use:     "csr --key-id KEY --subject DN",
		Short:   "Make a certificate signing request that the KMS key signs",
		Long:    "Makes a request (PKCS #10) for your own authority, which asks for digitalSignature and codeSigning. The chain that comes back goes to `cert add`.",
		Example: "  awskms-offline cert csr --key-id alias/release --region us-east-1 --subject 'CN=release,O=Example,ST=WA,C=US' --file release.csr",
		Args:    exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			subject, err := kmscert.ParseSubject(f.subject)
			if err != nil {
				return err
			}
			return a.withIssuer(f, func(issuer *kmscert.Issuer, signer *awskms.Signer) error {
				made, err := issuer.Request(a.ctx, subject)
				if err != nil {
					return err
				}
				arn := signer.Key().ARN().String()
				switch {
				case f.file == "-" && a.output == "json":
					return a.json(map[string]any{"KeyId": arn, "Csr": string(made)}) // as AWS Private CA names it
				case f.file == "-":
					return a.write(made)
				}
				if err := writeNewFor("--file", f.file, made); err != nil {
					return err
				}
				if a.output == "json" {
					return a.json(map[string]any{"KeyId": arn, "File": f.file})
				}
				return a.printf("%s: a request of %s for %s\n", f.file, arn, plain(subject.String()))
			})
		},
	}
	f.register(c)
	pathVar(c.Flags(), &f.file, "file", "-", "the file to write, which must not exist; - for standard output")
	return c
}

func (a *app) certAdd() *cobra.Command {
	var f issueFlags
	c := &cobra.Command{
		Use:     "add FILE --key-id KEY",
		Short:   "Keep the chain that an authority issued for a KMS key in the key store",
		Long:    "Checks a chain as cert check does, and keeps it in the key store, where the signing plugin awskms-signer finds it. The key must be in the store.",
		Example: "  awskms-offline cert add chain.pem --key-id alias/release",
		Args:    exactly(1, "one file"),
		RunE: func(_ *cobra.Command, args []string) error {
			key, _, err := a.storedKey(f.keyID, false)
			if err != nil {
				return err
			}
			chain, err := a.readChain(args[0])
			if err != nil {
				return err
			}
			if err := errors.Join(chain.Problems(key, time.Now())...); err != nil {
				return err
			}
			return a.keepChain(chain, chain.PEM(), key, f)
		},
	}
	c.Flags().StringVar(&f.keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME")
	c.Flags().BoolVar(&f.replace, "replace", false, "put it in the place of the chain that the store has")
	require(c, "key-id")
	return c
}

// readChain reads the certificates in a file that a value names.
func (a *app) readChain(value string) (*kmscert.Chain, error) {
	data, err := a.readAll("the certificate file", value, kmscert.MaxFile)
	if err != nil {
		return nil, err
	}
	path := filePath(value)
	if value == "-" {
		path = "standard input"
	}
	return kmscert.Parse(path, data)
}

// storedKey finds a key in the store, with the chain that the store has for it if that is wanted.
func (a *app) storedKey(keyID string, withChain bool) (key *kmskey.Key, chain *kmscert.Chain, err error) {
	ref, err := kmskey.ParseRef(keyID)
	if err != nil {
		return nil, nil, err
	}
	store, err := a.openStore()
	if err != nil {
		return nil, nil, err
	}
	defer store.Close()
	found, err := store.Resolve(ref, keystore.ResolveOptions{})
	if err != nil {
		return nil, nil, err
	}
	key = found.Entries[0].Key
	if withChain {
		chain, err = kmscert.Kept(store, key)
	}
	return key, chain, err
}

// chainArgument reads the chain that a command is about: a file, or the one that the store has for a key.
func (a *app) chainArgument(args []string, keyID string) (*kmscert.Chain, *kmskey.Key, error) {
	if len(args) == 0 && keyID == "" {
		return nil, nil, invalid("neither a file nor --key-id is given").WithHint("Name a file with certificates in PEM, or the key whose chain the store has.")
	}
	var key *kmskey.Key
	var chain *kmscert.Chain
	var err error
	if keyID != "" {
		if key, chain, err = a.storedKey(keyID, len(args) == 0); err != nil {
			return nil, nil, err
		}
	}
	if len(args) == 1 {
		chain, err = a.readChain(args[0])
	}
	return chain, key, err
}

func (a *app) certCheck() *cobra.Command {
	var keyID string
	c := &cobra.Command{
		Use:   "check [FILE] --key-id KEY",
		Short: "Say whether Notation takes a chain, and whether it is of that KMS key",
		Long: `Checks a chain, or the one that the store has for the key: order, signatures, validity now, profile, and that the first certificate is of
that key. Asks nobody. Exit code 0: good; 1: not, and everything that is wrong is said.`,
		Example: "  awskms-offline cert check chain.pem --key-id alias/release",
		Args:    atMostOne("at most one file"),
		RunE: func(_ *cobra.Command, args []string) error {
			chain, key, err := a.chainArgument(args, keyID)
			if err != nil {
				return err
			}
			problems := chain.Problems(key, time.Now())
			if a.output == "json" {
				list := []machineError{}
				for _, err := range problems {
					list = append(list, errorJSON(err))
				}
				return a.result(map[string]any{"KeyId": key.ARN().String(), "Good": len(problems) == 0, "Problems": list, "Certificates": certificatesJSON(chain)}, problems)
			}
			if len(problems) > 0 {
				return errors.Join(problems...)
			}
			return a.printf("%s: good for Notation, and of %s\n%s", plain(chain.Path), key.ARN(), a.describeChain(chain))
		},
	}
	c.Flags().StringVar(&keyID, "key-id", "", "key ARN, alias ARN, key ID or alias/NAME, of a key in the store")
	require(c, "key-id")
	return c
}

func (a *app) certShow() *cobra.Command {
	var keyID string
	c := &cobra.Command{
		Use:     "show [FILE] [--key-id KEY]",
		Short:   "Describe the certificates in a file, or those that the store has for a key",
		Long:    "Describes certificates without judging them: subject, issuer, validity, key and the KMS keys in the store that hold it. cert check judges.",
		Example: "  awskms-offline cert show chain.pem\n  awskms-offline cert show --key-id alias/release",
		Args:    atMostOne("at most one file"),
		RunE: func(_ *cobra.Command, args []string) error {
			chain, _, err := a.chainArgument(args, keyID)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]any{"Path": chain.Path, "Certificates": certificatesJSON(chain)})
			}
			return a.printf("%s\n%s", plain(chain.Path), a.describeChain(chain))
		},
	}
	c.Flags().StringVar(&keyID, "key-id", "", "show the chain that the store has for this key")
	return c
}

// certificateJSON is a certificate in JSON output. Times are RFC 3339 in UTC; PublicKeySHA256 is empty for a kind of key
// that KMS does not have.
type certificateJSON struct {
	Subject         string `json:"Subject"`
	Issuer          string `json:"Issuer"`
	SerialNumber    string `json:"SerialNumber"`
	NotBefore       string `json:"NotBefore"`
	NotAfter        string `json:"NotAfter"`
	KeySpec         string `json:"KeySpec,omitempty"`
	PublicKeySHA256 string `json:"PublicKeySHA256,omitempty"`
	CA              bool   `json:"CA"`
}

func certificatesJSON(chain *kmscert.Chain) []certificateJSON {
	list := []certificateJSON{}
	for _, cert := range chain.Certificates {
		fingerprint, spec, err := kmskey.FingerprintDER(cert.RawSubjectPublicKeyInfo)
		if err != nil {
			fingerprint, spec = "", ""
		}
		list = append(list, certificateJSON{
			Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), SerialNumber: fmt.Sprintf("%x", cert.SerialNumber),
			NotBefore: cert.NotBefore.UTC().Format(time.RFC3339), NotAfter: cert.NotAfter.UTC().Format(time.RFC3339),
			KeySpec: string(spec), PublicKeySHA256: fingerprint, CA: cert.IsCA,
		})
	}
	return list
}

// describeChain describes certificates for people, a few lines each.
func (a *app) describeChain(chain *kmscert.Chain) string {
	var b strings.Builder
	store, err := a.openStoreQuietly()
	if err == nil {
		defer store.Close()
	}
	for i, c := range certificatesJSON(chain) {
		kind := "of no authority"
		if c.CA {
			kind = "of an authority"
		}
		issuer := "issued by " + plain(c.Issuer)
		if cert := chain.Certificates[i]; cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
			issuer = "self-signed"
		}
		fmt.Fprintf(&b, "%d  %s, %s, %s\n   valid %s to %s, serial number %s\n", i+1, plain(c.Subject), kind, issuer, c.NotBefore, c.NotAfter, c.SerialNumber)
		if uses := usesOf(chain.Certificates[i]); uses != "" {
			fmt.Fprintf(&b, "   for %s\n", uses)
		}
		if c.PublicKeySHA256 == "" {
			fmt.Fprintf(&b, "   a public key of a kind that KMS does not have\n")
			continue
		}
		fmt.Fprintf(&b, "   %s, public key SHA-256 %s\n", c.KeySpec, c.PublicKeySHA256)
		if err != nil {
			continue // there is no store to ask
		}
		arns, err := store.ARNsByFingerprint(c.PublicKeySHA256)
		if err != nil {
			continue // the index serves hints only
		}
		for _, arn := range arns {
			fmt.Fprintf(&b, "   KMS key %s\n", arn)
		}
	}
	return b.String()
}

func usesOf(cert *x509.Certificate) string {
	var uses []string
	if cert.KeyUsage&x509.KeyUsageDigitalSignature != 0 {
		uses = append(uses, "digital signatures")
	}
	if cert.KeyUsage&x509.KeyUsageCertSign != 0 {
		uses = append(uses, "issuing certificates")
	}
	for _, use := range cert.ExtKeyUsage {
		switch use {
		case x509.ExtKeyUsageCodeSigning:
			uses = append(uses, "code signing")
		case x509.ExtKeyUsageTimeStamping:
			uses = append(uses, "timestamps")
		case x509.ExtKeyUsageAny:
			uses = append(uses, "everything")
		default:
			uses = append(uses, "other extended uses")
		}
	}
	return strings.Join(uses, ", ")
}
