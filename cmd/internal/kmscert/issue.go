package kmscert

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Limits of what is issued.
const (
	MaxDays    = 3650
	maxSubject = 1024 // bytes of text
)

// x509Algorithms are Notation's algorithms in the names of crypto/x509.
var x509Algorithms = map[kmskey.SigningAlgorithm]x509.SignatureAlgorithm{
	kmskey.RSASSAPSSSHA256: x509.SHA256WithRSAPSS,
	kmskey.RSASSAPSSSHA384: x509.SHA384WithRSAPSS,
	kmskey.RSASSAPSSSHA512: x509.SHA512WithRSAPSS,
	kmskey.ECDSASHA256:     x509.ECDSAWithSHA256,
	kmskey.ECDSASHA384:     x509.ECDSAWithSHA384,
	kmskey.ECDSASHA512:     x509.ECDSAWithSHA512,
}

// Issuer has KMS sign certificates and requests of one key, by that key and with the hash that Notation has for its spec.
type Issuer struct {
	signer    *awskms.Signer
	algorithm kmskey.SigningAlgorithm
	public    crypto.PublicKey
}

// NewIssuer refuses a key for which Notation has no algorithm. The signer stays the caller's to close.
func NewIssuer(signer *awskms.Signer) (*Issuer, error) {
	key := signer.Key()
	arn := key.ARN().String()
	if err := Signs(key); err != nil {
		return nil, err
	}
	algorithm, there := notationwire.Algorithm(key.Spec())
	if !there {
		return nil, kmserr.New(kmserr.UnsupportedOperation, "%s has the key spec %s, for which Notation takes no certificate", arn, key.Spec()).
			WithHint("Notation takes %s.", notationwire.KeySpecs).WithKey(arn)
	}
	if !slices.Contains(key.SigningAlgorithms(), algorithm) {
		return nil, kmserr.New(kmserr.AlgorithmNotAllowed, "%s does not sign with %s, which Notation needs for %s", arn, algorithm, key.Spec()).
			WithHint("Use a key that has this algorithm.").WithKey(arn)
	}
	public, err := x509.ParsePKIXPublicKey(key.PublicKeyDER())
	if err != nil {
		return nil, kmserr.New(kmserr.Internal, "the public key of %s cannot be put into a certificate: %v", arn, err).WithKey(arn)
	}
	return &Issuer{signer: signer, algorithm: algorithm, public: public}, nil
}

// ClockTolerance is how far the clocks of two machines may stand apart, as in a decision about a key.
const ClockTolerance = verifier.ClockTolerance

// SelfSigned returns a certificate in PEM that the key signs itself: for digital signatures and code signing alone, of no
// authority, valid from ClockTolerance ago until so many days from now. A timestamp of a clock that is behind would else be of
// a time before the certificate, for which Notation refuses the signature.
func (i *Issuer) SelfSigned(ctx context.Context, subject pkix.Name, days int, now time.Time) ([]byte, error) {
	if days < 1 || days > MaxDays {
		return nil, invalid("--days is %d, expected 1 to %d", days, MaxDays)
	}
	// RFC 5280, section 4.1.2.2: positive, at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: subject, NotBefore: now.Add(-ClockTolerance), NotAfter: now.AddDate(0, 0, days),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		BasicConstraintsValid: true, SignatureAlgorithm: x509Algorithms[i.algorithm],
	}
	caller := &caller{Issuer: i, ctx: ctx}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.public, caller)
	return caller.pem("CERTIFICATE", der, err)
}

// Extensions that a request asks for: keyUsage with bit 0, digitalSignature, and extendedKeyUsage with id-kp-codeSigning
// (RFC 5280, sections 4.2.1.3 and 4.2.1.12).
var wanted = []pkix.Extension{
	{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{0x03, 0x02, 0x07, 0x80}},
	{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03}},
}

// Request returns a certificate signing request in PEM (PKCS #10, RFC 2986) for an authority of one's own.
func (i *Issuer) Request(ctx context.Context, subject pkix.Name) ([]byte, error) {
	caller := &caller{Issuer: i, ctx: ctx}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, SignatureAlgorithm: x509Algorithms[i.algorithm], ExtraExtensions: wanted}, caller)
	return caller.pem("CERTIFICATE REQUEST", der, err)
}

// caller is a crypto.Signer for one call: crypto.Signer has no context, and x509 wraps errors.
type caller struct {
	*Issuer
	ctx context.Context
	err error
}

func (c *caller) Public() crypto.PublicKey { return c.public }

func (c *caller) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := c.sign(digest, opts)
	c.err = err
	return signature, err
}

func (c *caller) sign(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	pss, isPSS := opts.(*rsa.PSSOptions)
	_, isRSA := c.public.(*rsa.PublicKey)
	// KMS's PSS salts are as long as the hash.
	if opts.HashFunc() != c.algorithm.Hash() || isPSS != isRSA || isPSS && pss.SaltLength != rsa.PSSSaltLengthEqualsHash {
		return nil, kmserr.New(kmserr.Internal, "a signature is asked for that %s does not make", c.algorithm)
	}
	return c.signer.Sign(c.ctx, awskms.SignRequest{Algorithm: c.algorithm, MessageType: kmskey.Digest, Message: digest})
}

func (c *caller) pem(kind string, der []byte, err error) ([]byte, error) {
	switch {
	case c.err != nil:
		return nil, c.err
	case err != nil:
		return nil, kmserr.New(kmserr.Internal, "the %s cannot be made: %v", strings.ToLower(kind), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), nil
}

// ParseSubject reads a distinguished name as RFC 4514 writes it: "CN=release,O=Example,C=US".
func ParseSubject(text string) (pkix.Name, error) {
	refuse := func(format string, args ...any) (pkix.Name, error) {
		return pkix.Name{}, invalid("--subject: "+format, args...).WithHint("Expected is a name such as CN=release,O=Example,ST=Washington,C=US.")
	}
	if len(text) > maxSubject {
		return refuse("the name is longer than %d bytes", maxSubject)
	}
	if !utf8.ValidString(text) {
		return refuse("%q is no text in UTF-8", text)
	}
	parsed, err := ldap.ParseDN(text)
	if err != nil {
		return refuse("%q is no distinguished name: %v", text, err)
	}
	var name pkix.Name
	for _, rdn := range parsed.RDNs {
		for _, a := range rdn.Attributes {
			if !utf8.ValidString(a.Value) { // by escapes, or in hexadecimal
				return refuse("the value of %s is %q, which is no text in UTF-8", a.Type, a.Value)
			}
			if strings.ContainsFunc(a.Value, controls) || a.Value == "" {
				return refuse("the value of %s is %q, expected text without control characters", a.Type, a.Value)
			}
			one := map[string]*string{"CN": &name.CommonName, "SERIALNUMBER": &name.SerialNumber}
			many := map[string]*[]string{"C": &name.Country, "O": &name.Organization, "OU": &name.OrganizationalUnit, "L": &name.Locality,
				"ST": &name.Province, "S": &name.Province, "STREET": &name.StreetAddress, "POSTALCODE": &name.PostalCode}
			kind := strings.ToUpper(a.Type)
			switch {
			case one[kind] != nil && *one[kind] != "":
				return refuse("%s is given twice", a.Type)
			case one[kind] != nil:
				*one[kind] = a.Value
			case many[kind] != nil:
				*many[kind] = append(*many[kind], a.Value)
			default:
				return refuse("the attribute %q is not known, expected CN, O, OU, L, ST, C, STREET, POSTALCODE or SERIALNUMBER", a.Type)
			}
		}
	}
	if name.CommonName == "" {
		return refuse("there is no CN in %q", text)
	}
	for _, country := range name.Country {
		if len(country) != 2 || strings.ContainsFunc(country, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' }) {
			return refuse("C is %q, expected two letters (ISO 3166)", country)
		}
	}
	return name, nil
}

// controls reports whether a character acts on what shows it: it ends lines, moves a cursor, or turns the order of others.
func controls(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}
