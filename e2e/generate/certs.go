package main

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// The certificates outlive the project; the signatures fall between.
var (
	notBefore   = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter    = time.Date(2125, 1, 1, 0, 0, 0, 0, time.UTC)
	signingTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

// writeCertificate writes the self-signed certificate that a Notary Project signature of this key carries.
func writeCertificate(testdata string, k fixture.Key, m *material) error {
	cert, err := selfSign(k, m.signer)
	if err != nil {
		return err
	}
	m.certificate = cert
	return os.WriteFile(k.CertificateFile(testdata),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644)
}

// selfSign makes a leaf by the Notary Project's certificate requirements (signature-specification.md): no CA, key usage
// digitalSignature and critical, extended key usage codeSigning, and a subject with C, ST and O. The same key gives the
// same bytes: no random source makes ECDSA deterministic (RFC 6979), and PKCS #1 v1.5 is so anyway.
func selfSign(k fixture.Key, signer crypto.Signer) (*x509.Certificate, error) {
	cn := k.CommonName
	if cn == "" {
		cn = k.Name
	}
	serial := sha256.Sum256([]byte("awskms-offline certificate " + k.Name))
	serial[0] &= 0x7f
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:16]),
		Subject: pkix.Name{
			Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"awskms-offline testdata"}, CommonName: cn,
		},
		NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
