// Package kmscert deals in X.509 certificates of KMS keys: it has KMS sign certificates and requests of its own keys, reads
// chains, and says whether Notation takes them (Notary Project, signature-specification.md, "Certificate Requirements").
package kmscert

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	nx509 "github.com/notaryproject/notation-core-go/x509"

	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	// MaxFile is the longest certificate file read, in bytes.
	MaxFile = 256 << 10
	// maxRSA is the longest RSA key of a certificate, in bits, as in crypto/tls: to check one signature of the longest that
	// MaxFile leaves room for takes many minutes, which nothing interrupts.
	maxRSA = 8192
)

// Chain is a certificate chain, leaf first.
type Chain struct {
	// Path is the file that it was read from.
	Path         string
	Certificates []*x509.Certificate
}

// DER returns the certificates as they are signed.
func (c *Chain) DER() [][]byte {
	out := make([][]byte, len(c.Certificates))
	for i, cert := range c.Certificates {
		out[i] = cert.Raw
	}
	return out
}

// PEM returns the certificates as a file holds them, and nothing else that stood in the file.
func (c *Chain) PEM() []byte {
	var out []byte
	for _, cert := range c.Certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

// Kept reads the chain that a store keeps for a key, judging who could have written it as the store judges its records:
// what lies there is put into signatures. It does not judge the chain. A NotFoundException if there is none.
func Kept(store *keystore.Store, key *kmskey.Key) (*Chain, error) {
	data, path, err := store.Chain(key.Fingerprint())
	if kmserr.Is(err, kmserr.NotFound) {
		return nil, noChain(store.Home(), key)
	}
	if err != nil {
		return nil, kmserr.As(err).WithKey(key.ARN().String())
	}
	return Parse(path, data)
}

func noChain(home keystore.Home, key *kmskey.Key) error {
	arn, path := key.ARN().String(), filepath.Join(home.Path, filepath.FromSlash(keystore.ChainPath(key.Fingerprint())))
	return kmserr.New(kmserr.NotFound, "there is no certificate of %s: no file %s", arn, path).
		WithHint("`awskms-offline cert self-sign --key-id %s` makes one, `awskms-offline cert add` keeps one.", arn).WithKey(arn)
}

// ReadValid reads a chain and refuses one that Notation would not take at that time.
func ReadValid(path string, now time.Time) (*Chain, error) {
	c, err := Read(path)
	if err != nil {
		return nil, err
	}
	return c.valid(now)
}

func (c *Chain) valid(now time.Time) (*Chain, error) {
	if problems := c.Problems(nil, now); len(problems) > 0 {
		return nil, problems[0]
	}
	return c, nil
}

// KeptValid reads the chain that a home keeps for a key, as Kept does, and refuses one that Notation would not take at that
// time. The home is the one named, by an option of that name, or the usual one; one that is not there keeps none.
func KeptValid(home *string, option string, key *kmskey.Key, now time.Time) (*Chain, error) {
	h, err := keystore.LocateToWrite(home, option)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(h.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, noChain(h, key)
	}
	options, _ := verifier.StoreOptions(h.Path, false) // strict ones where the policy cannot be told
	store, err := keystore.Open(h, options)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	c, err := Kept(store, key)
	if err != nil {
		return nil, err
	}
	return c.valid(now)
}

// BelongsTo refuses a chain whose leaf is not a certificate of the KMS key.
func (c *Chain) BelongsTo(key *kmskey.Key) error {
	fingerprint, _, err := kmskey.FingerprintDER(c.Certificates[0].RawSubjectPublicKeyInfo)
	if err != nil {
		return invalid("%s: the first certificate: %s", c.Path, kmserr.As(err).Fact)
	}
	if fingerprint == key.Fingerprint() {
		return nil
	}
	arn := key.ARN().String()
	return kmserr.New(kmserr.KeyMaterialMismatch, "the first certificate in %s holds the public key with SHA-256 %s, and %s has the one with %s",
		c.Path, fingerprint, arn, key.Fingerprint()).
		WithHint("Give the certificate of that key, first in its file; or sign with the key of that certificate.").WithKey(arn)
}

func isOf(cert *x509.Certificate, key *kmskey.Key) bool {
	fingerprint, _, err := kmskey.FingerprintDER(cert.RawSubjectPublicKeyInfo)
	return err == nil && fingerprint == key.Fingerprint()
}

// Signs refuses a key that is for something else than signatures: an InvalidKeyUsageException.
func Signs(key *kmskey.Key) error {
	if usage := key.Usage(); usage != kmskey.SignVerify {
		arn := key.ARN().String()
		return kmserr.New(kmserr.InvalidKeyUsage, "%s is for %s, expected %s", arn, usage, kmskey.SignVerify).
			WithHint("Use a key whose KeyUsage is %s.", kmskey.SignVerify).WithKey(arn)
	}
	return nil
}

// Problems says everything for which Notation would not take the chain at that time, or for which it is not key's or the key
// not for signatures, if key is not nil: CertificateInvalidExceptions, a KeyMaterialMismatchException and an
// InvalidKeyUsageException. None means that notation-core-go takes it too.
func (c *Chain) Problems(key *kmskey.Key, now time.Time) (problems []error) {
	add := func(hint, format string, args ...any) {
		problems = append(problems, kmserr.New(kmserr.CertificateInvalid, "%s: %s", c.Path, fmt.Sprintf(format, args...)).WithHint("%s", hint))
	}
	if key != nil {
		if j := slices.IndexFunc(c.Certificates, func(cert *x509.Certificate) bool { return isOf(cert, key) }); j > 0 {
			add("Put it first, each certificate's issuer behind it, the root last.", "the certificate of %s is number %d, expected first", key.ARN(), j+1)
			return problems // what else is wrong with another certificate as the first misleads
		}
		if err := Signs(key); err != nil {
			problems = append(problems, err)
		}
		if err := c.BelongsTo(key); err != nil {
			problems = append(problems, err)
		}
	}
	last := len(c.Certificates) - 1
	for i, cert := range c.Certificates {
		name := fmt.Sprintf("certificate %d, of %q,", i+1, cert.Subject)
		switch {
		case now.After(cert.NotAfter):
			add("Get a new one.", "%s expired at %s", name, cert.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(cert.NotBefore):
			add("Wait until then; or set the clock.", "%s is not valid before %s", name, cert.NotBefore.UTC().Format(time.RFC3339))
		}
		switch {
		case i < last && cert.CheckSignatureFrom(c.Certificates[i+1]) == nil:
		case i < last:
			if fact, hint := lacking(cert, c.Certificates[i+1]); fact != "" {
				add(hint, "%s %s", name, fact)
				continue
			}
			hint := "Put each certificate's issuer behind it, the root last."
			if j := slices.IndexFunc(c.Certificates, func(other *x509.Certificate) bool { return other != cert && cert.CheckSignatureFrom(other) == nil }); j >= 0 {
				hint = fmt.Sprintf("Its issuer is certificate %d: put each certificate's issuer behind it, the root last.", j+1)
			}
			add(hint, "%s is not issued by certificate %d, %q", name, i+2, c.Certificates[i+1].Subject)
		case cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil:
			add("Append its issuers up to the root, which signs itself: Notation wants the whole chain.", "%s is the last one and not self-signed", name)
		}
	}
	leaf := c.Certificates[0]
	if leaf.IsCA {
		add("Put the key's own certificate first; it must not be an authority's.", "certificate 1, of %q, is an authority's", leaf.Subject)
	}
	switch {
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		add("Get one with keyUsage digitalSignature.", "certificate 1, of %q, is not for digital signatures", leaf.Subject)
	case slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny): // the specification forbids it, the library lets it pass
		add("Get one with extendedKeyUsage codeSigning.", "certificate 1, of %q, is for every extended key usage, expected code signing", leaf.Subject)
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
		add("Get one with extendedKeyUsage codeSigning (1.3.6.1.5.5.7.3.3).", "certificate 1, of %q, is not for code signing", leaf.Subject)
	}
	// Notation's own library has the last word.
	if err := nx509.ValidateCodeSigningCertChain(c.Certificates, &now); err != nil && len(problems) == 0 {
		add("The chain must hold the key's certificate, then each one's issuer, and end with the root.", "Notation does not take it: %v", err)
	}
	return problems
}

// lacking says for what a certificate that is issued by parent does not count as such, and what to do; nothing if it is not.
func lacking(cert, parent *x509.Certificate) (fact, hint string) {
	if !bytes.Equal(cert.RawIssuer, parent.RawSubject) {
		return "", ""
	}
	if errors.As(cert.CheckSignatureFrom(parent), new(x509.InsecureAlgorithmError)) {
		return fmt.Sprintf("is signed with %s, which is not secure", cert.SignatureAlgorithm), "Have it issued anew with SHA-256, SHA-384 or SHA-512."
	}
	switch {
	case parent.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil:
		return "", ""
	case !parent.IsCA:
		return fmt.Sprintf("is issued by %q, which is no authority", parent.Subject), "Have it issued by an authority, whose certificate has basicConstraints CA:TRUE."
	case parent.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Sprintf("is issued by %q, which is not for signing certificates", parent.Subject), "Have it issued by an authority whose certificate has keyUsage keyCertSign."
	}
	return "", ""
}

// Read reads a PEM file that holds certificates and nothing else. It does not judge them.
func Read(path string) (*Chain, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads the content of a PEM file, which path names in errors.
func Parse(path string, data []byte) (*Chain, error) {
	var certificates []*x509.Certificate
	blocks := bytes.Count(data, []byte("-----BEGIN "))
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, invalid("%s holds a PEM block %q, expected certificates only", path, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, invalid("%s: certificate %d cannot be read: %v", path, len(certificates)+1, err)
		}
		if key, isRSA := cert.PublicKey.(*rsa.PublicKey); isRSA && key.N.BitLen() > maxRSA {
			return nil, invalid("%s: certificate %d has an RSA key of %d bits, expected at most %d", path, len(certificates)+1, key.N.BitLen(), maxRSA)
		}
		certificates, data = append(certificates, cert), rest
	}
	switch {
	case len(certificates) == 0 && isDER(data):
		return nil, invalid("%s is a certificate in DER, expected PEM", path).WithHint("`openssl x509 -inform der -in FILE -out FILE.pem` converts it.")
	case len(certificates) == 0:
		return nil, invalid("%s holds no certificate in PEM", path)
	case len(certificates) > notationwire.MaxCertificates:
		return nil, invalid("%s holds %d certificates, expected at most %d", path, len(certificates), notationwire.MaxCertificates)
	case len(certificates) != blocks: // what is broken the decoder passes over
		return nil, invalid("%s has %d PEM blocks, of which %d can be read", path, blocks, len(certificates))
	}
	return &Chain{Path: path, Certificates: certificates}, nil
}

func isDER(data []byte) bool {
	_, err := x509.ParseCertificate(data)
	return err == nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, invalid("there is no certificate file %s", path)
	case err == nil && !info.Mode().IsRegular():
		return nil, invalid("%s is no file", path)
	case err != nil:
		return nil, unreadable(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return nil, unreadable(path, err)
	case len(data) > MaxFile:
		return nil, invalid("%s is longer than the %d bytes allowed", path, MaxFile)
	}
	return data, nil
}

// unreadable names the file once: the os package's error does so, too.
func unreadable(path string, err error) error {
	cause := err
	var p *fs.PathError
	if errors.As(err, &p) {
		cause = p.Err
	}
	return invalid("%s cannot be read: %v", path, cause).WithHint("Check the path, and that the current user may read the file.").WithCause(err)
}

func invalid(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}
