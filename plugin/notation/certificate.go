package notation

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// publicKeyOf returns the DER SubjectPublicKeyInfo of a DER certificate (RFC 5280, section 4.1), strictly: one Certificate
// and nothing after it. The key itself is not looked into here.
//
// Nothing else of a certificate counts in this plugin. Notation's core has read the chain with crypto/x509 and checked it
// before it calls; crypto/x509 would do that work again, and it links package net, for which the plugin would start later
// (docs/decisions/0016-the-leafs-key-alone.md). A test holds the key to be what crypto/x509 finds.
func publicKeyOf(der []byte) ([]byte, error) {
	input := cryptobyte.String(der)
	var certificate, tbs, key cryptobyte.String
	if !input.ReadASN1(&certificate, asn1.SEQUENCE) {
		return nil, errors.New("malformed certificate")
	}
	if !input.Empty() {
		return nil, errors.New("there are bytes after its end")
	}
	if !certificate.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!certificate.SkipASN1(asn1.SEQUENCE) || // signatureAlgorithm
		!certificate.SkipASN1(asn1.BIT_STRING) { // signatureValue; crypto/x509 takes what follows inside the certificate
		return nil, errors.New("malformed certificate")
	}
	if !tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || // version
		!tbs.SkipASN1(asn1.INTEGER) || // serialNumber
		!tbs.SkipASN1(asn1.SEQUENCE) || // signature
		!tbs.SkipASN1(asn1.SEQUENCE) || // issuer
		!tbs.SkipASN1(asn1.SEQUENCE) || // validity
		!tbs.SkipASN1(asn1.SEQUENCE) || // subject
		!tbs.ReadASN1Element(&key, asn1.SEQUENCE) {
		return nil, errors.New("malformed certificate body")
	}
	return key, nil
}
