package notationsigner

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	nx509 "github.com/notaryproject/notation-core-go/x509"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	// maxChainFile is the longest certificate file read, in bytes.
	maxChainFile = 256 << 10
	// maxCertificates is how many certificates the verification plugin takes.
	maxCertificates = 32
	// chainsFolder is where the home keeps certificate chains: certs/<SHA-256 of the key, hex>.pem.
	chainsFolder = "certs"
)

// chain is a certificate chain that meets Notation's profile, leaf first.
type chain struct {
	path         string
	certificates []*x509.Certificate
}

// der is the chain as the contract wants it.
func (c *chain) der() [][]byte {
	out := make([][]byte, len(c.certificates))
	for i, cert := range c.certificates {
		out[i] = cert.Raw
	}
	return out
}

// chainPath is where the home keeps the chain of a key. The home, and the file, need not be there.
func chainPath(home *string, key *kmskey.Key) (string, error) {
	h, err := keystore.LocateToWrite(home, "the plugin option "+optionHome)
	if err != nil {
		return "", err
	}
	return filepath.Join(h.Path, chainsFolder, key.Fingerprint()+".pem"), nil
}

// readChain reads a certificate chain and checks all that Notation demands of it now.
func readChain(path string, now time.Time) (*chain, error) {
	certificates, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	if err := nx509.ValidateCodeSigningCertChain(certificates, &now); err != nil {
		return nil, invalid("%s is no certificate chain for Notation: %v", path, err).
			WithHint("It must hold the key's certificate, then each one's issuer, and end with the root: `awskms-offline cert check` says more.")
	}
	leaf := certificates[0]
	switch {
	case slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		// The specification forbids it, the library lets it pass.
		return nil, invalid("%s is no certificate chain for Notation: the certificate of %q is for every extended key usage, expected code signing", path, leaf.Subject)
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
		return nil, invalid("%s: the certificate of %q is not for code signing", path, leaf.Subject).
			WithHint("Get one with the extended key usage codeSigning (1.3.6.1.5.5.7.3.3).")
	}
	return &chain{path: path, certificates: certificates}, nil
}

// belongsTo refuses a chain whose leaf is not the certificate of the KMS key.
func (c *chain) belongsTo(key *kmskey.Key) error {
	fingerprint, _, err := kmskey.FingerprintDER(c.certificates[0].RawSubjectPublicKeyInfo)
	if err != nil {
		return invalid("%s: the first certificate: %s", c.path, kmserr.As(err).Fact)
	}
	if fingerprint == key.Fingerprint() {
		return nil
	}
	arn := key.ARN().String()
	return kmserr.New(kmserr.KeyMaterialMismatch, "the first certificate in %s holds the public key with SHA-256 %s, and %s has the one with %s",
		c.path, fingerprint, arn, key.Fingerprint()).
		WithHint("Give the certificate of that key, first in its file; or sign with the key of that certificate.").WithKey(arn)
}

// readCertificates reads a PEM file that holds certificates and nothing else.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
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
		certificates, data = append(certificates, cert), rest
	}
	switch {
	case len(certificates) == 0:
		return nil, invalid("%s holds no certificate in PEM", path)
	case len(certificates) > maxCertificates:
		return nil, invalid("%s holds %d certificates, expected at most %d", path, len(certificates), maxCertificates)
	case strings.Contains(string(data), "-----BEGIN"):
		return nil, invalid("%s holds something behind certificate %d that is no PEM", path, len(certificates))
	}
	return certificates, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, invalid("there is no certificate file %s", path)
	case err == nil && !info.Mode().IsRegular():
		return nil, invalid("%s is no file", path)
	case err != nil:
		return nil, invalid("%s cannot be read: %v", path, err).WithCause(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, invalid("%s cannot be read: %v", path, err).WithCause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxChainFile+1))
	switch {
	case err != nil:
		return nil, invalid("%s cannot be read: %v", path, err).WithCause(err)
	case len(data) > maxChainFile:
		return nil, invalid("%s is longer than the %d bytes allowed", path, maxChainFile)
	}
	return data, nil
}
