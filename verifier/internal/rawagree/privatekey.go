package rawagree

import (
	"bytes"
	"crypto/ecdh"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	sm2ecdh "github.com/emmansun/gmsm/ecdh"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// MaxPrivateKey is the longest private key file read, in bytes. One on P-521 in PEM has 400.
const MaxPrivateKey = 16 << 10

var errNoMaterial = errors.New("the key does not hold the material of its spec")

// PrivateKey is a private key on one of KMS's curves for key agreement. Only ParsePrivateKey makes one.
type PrivateKey struct {
	curve *curve
	nist  *ecdh.PrivateKey // or
	sm2   *sm2ecdh.PrivateKey
}

// Format keeps the key out of whatever is printed, whatever the verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "a private key") }

var oidEC = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

// specOfCurve returns the key spec of a curve's object identifier, "" for one that KMS does not agree keys on. It is no map:
// every program that links this package would fill it when it starts.
func specOfCurve(oid string) kmskey.KeySpec {
	switch oid {
	case "1.2.840.10045.3.1.7":
		return kmskey.ECCNISTP256
	case "1.3.132.0.34":
		return kmskey.ECCNISTP384
	case "1.3.132.0.35":
		return kmskey.ECCNISTP521
	case "1.2.156.10197.1.301":
		return kmskey.SM2
	}
	return ""
}

// otherName names what people may give by mistake.
func otherName(oid string) string {
	switch oid {
	case "1.2.840.113549.1.1.1":
		return "RSA"
	case "1.3.101.110":
		return "X25519"
	case "1.3.101.111":
		return "X448"
	case "1.3.101.112":
		return "Ed25519"
	case "1.3.132.0.10":
		return "secp256k1"
	}
	return ""
}

// ParsePrivateKey reads an elliptic-curve private key on P-256, P-384, P-521 or SM2: PKCS#8 (RFC 5208, RFC 5958) or SEC 1
// (RFC 5915), DER or PEM, at most MaxPrivateKey bytes. A public key beside it must be its own.
//
// Errors are ValidationExceptions and hold nothing of the key. Encrypted keys are refused: no passphrase is ever asked for.
func ParsePrivateKey(data []byte) (*PrivateKey, error) {
	if len(data) == 0 {
		return nil, invalid("the private key is empty")
	}
	if len(data) > MaxPrivateKey {
		return nil, invalid("the private key is longer than the %d bytes allowed", MaxPrivateKey)
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		return parsePEM(data)
	}
	return parseDER(data)
}

func invalid(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}

func encrypted() error {
	return invalid("the private key is encrypted with a passphrase, expected a plain one").
		WithHint("Decrypt it into a file that only you can read: `openssl pkey -in KEY -out PLAIN`.")
}

// parsePEM takes the one private key in the text. What `openssl ecparam -genkey` writes before it, the parameters, says
// nothing that the key does not.
func parsePEM(data []byte) (*PrivateKey, error) {
	var found *PrivateKey
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if strings.HasSuffix(block.Type, " PARAMETERS") {
			continue
		}
		if found != nil {
			return nil, invalid("the private key's file holds more than one key, expected one")
		}
		switch block.Type {
		case "ENCRYPTED PRIVATE KEY":
			return nil, encrypted()
		case "PRIVATE KEY", "EC PRIVATE KEY", "SM2 PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
				return nil, encrypted()
			}
		default:
			return nil, invalid("the private key's file holds a PEM block %.40q, expected PRIVATE KEY or EC PRIVATE KEY", block.Type)
		}
		key, err := parseDER(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = key
	}
	switch {
	case found == nil:
		return nil, invalid("the private key's file holds no sound PEM block, expected PRIVATE KEY or EC PRIVATE KEY")
	case bytes.Contains(data, []byte("-----BEGIN")):
		return nil, invalid("the private key's file holds a damaged PEM block behind the key")
	}
	return found, nil
}

// parseDER tells PKCS#8 from SEC 1 by their version: 0 or 1 with an algorithm behind it, or 1 with a number.
func parseDER(der []byte) (*PrivateKey, error) {
	input := cryptobyte.String(der)
	var outer cryptobyte.String
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, invalid("the private key is no PKCS#8 or SEC 1 structure in DER or PEM")
	}
	if outer.PeekASN1Tag(cbasn1.SEQUENCE) {
		return nil, notPrivate(outer)
	}
	var version int64
	if !outer.ReadASN1Integer(&version) {
		return nil, invalid("the private key is no PKCS#8 or SEC 1 structure: it has no version")
	}
	switch {
	case outer.PeekASN1Tag(cbasn1.SEQUENCE) && (version == 0 || version == 1):
		return parsePKCS8(outer)
	case outer.PeekASN1Tag(cbasn1.OCTET_STRING) && version == 1:
		return parseSEC1(outer, "")
	case outer.PeekASN1Tag(cbasn1.INTEGER):
		return nil, wrongAlgorithm("RSA")
	}
	return nil, invalid("the private key is no PKCS#8 or SEC 1 structure: it has the version %d", version)
}

// notPrivate tells what begins with an algorithm: an encrypted key, or a public one.
func notPrivate(outer cryptobyte.String) error {
	var algorithm cryptobyte.String
	switch {
	case outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) && outer.PeekASN1Tag(cbasn1.OCTET_STRING):
		return encrypted()
	case outer.PeekASN1Tag(cbasn1.BIT_STRING):
		return invalid("the private key's file holds a public key").WithHint("Give your own private key; the public one of the KMS key is in the store.")
	}
	return invalid("the private key is no PKCS#8 or SEC 1 structure: it has no version")
}

func wrongAlgorithm(name string) error {
	return invalid("the private key is for %s, expected an elliptic-curve key on P-256, P-384, P-521 or SM2", name)
}

func notOwn() error {
	return invalid("the private key's file holds a public key that is not its own")
}

// parsePKCS8 reads what follows the version.
func parsePKCS8(outer cryptobyte.String) (*PrivateKey, error) {
	broken := invalid("the private key is no sound PKCS#8 structure")
	var algorithm, key, public cryptobyte.String
	var hasPublic bool
	var oid asn1.ObjectIdentifier
	if !outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) || !outer.ReadASN1(&key, cbasn1.OCTET_STRING) {
		return nil, broken
	}
	if !oid.Equal(oidEC) {
		return nil, wrongAlgorithm(nameOf(oid))
	}
	// Attributes have no say.
	if !outer.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!outer.ReadOptionalASN1(&public, &hasPublic, cbasn1.Tag(1).ContextSpecific()) || !outer.Empty() {
		return nil, broken
	}
	spec, err := readCurve(&algorithm)
	if err != nil {
		return nil, err
	}
	if !algorithm.Empty() {
		return nil, broken
	}
	var inner cryptobyte.String
	var version int64
	if !key.ReadASN1(&inner, cbasn1.SEQUENCE) || !key.Empty() || !inner.ReadASN1Integer(&version) || version != 1 {
		return nil, broken
	}
	private, err := parseSEC1(inner, spec)
	if err != nil {
		return nil, err
	}
	if hasPublic && (len(public) == 0 || public[0] != 0 || !private.hasPoint(public[1:])) {
		return nil, notOwn()
	}
	return private, nil
}

func nameOf(oid asn1.ObjectIdentifier) string {
	if name := otherName(oid.String()); name != "" {
		return name
	}
	return "the algorithm " + oid.String()
}

// readCurve reads a named curve; parameters spelled out could be another curve that only looks like one.
func readCurve(params *cryptobyte.String) (kmskey.KeySpec, error) {
	if params.PeekASN1Tag(cbasn1.SEQUENCE) {
		return "", invalid("the private key spells out its curve's parameters, expected the curve's name").
			WithHint("Write it with the name: `openssl ec -in KEY -param_enc named_curve -out NAMED`.")
	}
	var oid asn1.ObjectIdentifier
	if !params.ReadASN1ObjectIdentifier(&oid) {
		return "", invalid("the private key names no curve")
	}
	spec := specOfCurve(oid.String())
	if spec == "" {
		name := otherName(oid.String())
		if name == "" {
			name = oid.String()
		}
		return "", invalid("the private key is on the curve %s, expected P-256, P-384, P-521 or SM2", name)
	}
	return spec, nil
}

// parseSEC1 reads what follows the version of an ECPrivateKey (RFC 5915). spec is the curve that PKCS#8 named, if any.
func parseSEC1(inner cryptobyte.String, spec kmskey.KeySpec) (*PrivateKey, error) {
	broken := invalid("the private key is no sound SEC 1 structure")
	var scalar, params, public cryptobyte.String
	var hasParams, hasPublic bool
	if !inner.ReadASN1(&scalar, cbasn1.OCTET_STRING) ||
		!inner.ReadOptionalASN1(&params, &hasParams, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!inner.ReadOptionalASN1(&public, &hasPublic, cbasn1.Tag(1).Constructed().ContextSpecific()) || !inner.Empty() {
		return nil, broken
	}
	if hasParams {
		named, err := readCurve(&params)
		switch {
		case err != nil:
			return nil, err
		case !params.Empty():
			return nil, broken
		case spec != "" && spec != named:
			return nil, invalid("the private key names two curves, %s and %s", curveOf(spec).name, curveOf(named).name)
		}
		spec = named
	}
	if spec == "" {
		return nil, invalid("the private key names no curve")
	}
	key, err := newPrivateKey(curveOf(spec), scalar)
	if err != nil {
		return nil, err
	}
	if hasPublic {
		var point asn1.BitString
		if !public.ReadASN1BitString(&point) || !public.Empty() || point.BitLength%8 != 0 {
			return nil, broken
		}
		if !key.hasPoint(point.Bytes) {
			return nil, notOwn()
		}
	}
	return key, nil
}

func newPrivateKey(c *curve, scalar []byte) (*PrivateKey, error) {
	// RFC 5915 demands the whole length; keys of older tools lack leading zeros.
	if len(scalar) == 0 || len(scalar) > c.size {
		return nil, invalid("the private key has %d bytes, expected %d on the curve %s", len(scalar), c.size, c.name)
	}
	whole := make([]byte, c.size)
	copy(whole[c.size-len(scalar):], scalar)
	key := &PrivateKey{curve: c}
	var err error
	if c.nist != nil {
		key.nist, err = c.nist().NewPrivateKey(whole)
	} else {
		key.sm2, err = sm2ecdh.P256().NewPrivateKey(whole)
	}
	if err != nil {
		return nil, invalid("the private key is not a number that a key on the curve %s may be", c.name)
	}
	return key, nil
}

// hasPoint reports whether the point, uncompressed or compressed, is the public key of k.
func (k *PrivateKey) hasPoint(point []byte) bool {
	var own []byte
	if k.nist != nil {
		own = k.nist.PublicKey().Bytes()
	} else {
		own = k.sm2.PublicKey().Bytes()
	}
	compressed := append([]byte{2 + own[len(own)-1]&1}, own[1:1+k.curve.size]...)
	return bytes.Equal(point, own) || bytes.Equal(point, compressed)
}
