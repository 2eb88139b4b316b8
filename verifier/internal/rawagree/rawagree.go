// Package rawagree derives the secret that a private key shares with a public key of KMS: the same bytes as KMS
// DeriveSharedSecret answers for the other two halves. It knows nothing of records, states or policy; only package verifier
// calls it, after everything else was permitted.
//
// The secret is the x coordinate of the product, as long as the curve's field: 32, 48 or 66 bytes (SEC 1, section 3.3.1).
// All four curves have the cofactor 1, so that SM2's form with the cofactor (GB/T 32918.3 leaves it to KMS) is the plain
// one. No key derivation function is applied.
package rawagree

import (
	"crypto/ecdh"

	sm2ecdh "github.com/emmansun/gmsm/ecdh"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// curve is what this package knows of a curve.
type curve struct {
	spec kmskey.KeySpec
	// name is what people and openssl call it.
	name string
	// size is the length in bytes of a private key, and of a secret.
	size int
	nist func() ecdh.Curve // nil for SM2
}

var curves = []curve{
	{kmskey.ECCNISTP256, "P-256", 32, ecdh.P256},
	{kmskey.ECCNISTP384, "P-384", 48, ecdh.P384},
	{kmskey.ECCNISTP521, "P-521", 66, ecdh.P521},
	{kmskey.SM2, "SM2", 32, nil},
}

func curveOf(spec kmskey.KeySpec) *curve {
	for i := range curves {
		if curves[i].spec == spec {
			return &curves[i]
		}
	}
	return nil
}

// Derive returns the secret that the private key shares with pub.
//
// InvalidKeyUsageException: pub is of a spec without key agreement. ValidationException: the private key is on another
// curve, and the sentence names both. InternalException: a key holds no material of its spec. No error holds a part of a
// secret.
func Derive(pub *spki.PublicKey, private *PrivateKey) ([]byte, error) {
	if pub == nil || private == nil || private.curve == nil {
		return nil, kmserr.New(kmserr.Internal, "there are no two keys to derive a secret from")
	}
	spec := kmskey.KeySpec(pub.Spec)
	c := curveOf(spec)
	if c == nil {
		return nil, kmserr.New(kmserr.InvalidKeyUsage, "Algorithm %s is incompatible with key spec %s", kmskey.ECDH, spec)
	}
	if c != private.curve {
		return nil, kmserr.New(kmserr.Validation, "the private key is on the curve %s, and the KMS key on %s (%s)", private.curve.name, c.name, spec).
			WithHint("Make a key on %s; both must be on one curve.", c.name)
	}
	secret, err := derive(c, pub, private)
	if err != nil {
		return nil, kmserr.New(kmserr.Internal, "%s failed: %v", kmskey.ECDH, err).WithCause(err)
	}
	if len(secret) != c.size {
		return nil, kmserr.New(kmserr.Internal, "%s gave %d bytes, expected %d", kmskey.ECDH, len(secret), c.size)
	}
	return secret, nil
}

func derive(c *curve, pub *spki.PublicKey, private *PrivateKey) ([]byte, error) {
	if c.nist == nil {
		if pub.SM2 == nil {
			return nil, errNoMaterial
		}
		point := make([]byte, 1+2*c.size)
		point[0] = 4
		// PublicKey.Bytes, which is to be used instead of X and Y, knows only the standard library's curves.
		pub.SM2.X.FillBytes(point[1 : 1+c.size]) //nolint:staticcheck // see above
		pub.SM2.Y.FillBytes(point[1+c.size:])    //nolint:staticcheck // see above
		remote, err := sm2ecdh.P256().NewPublicKey(point)
		if err != nil {
			return nil, err
		}
		return private.sm2.ECDH(remote)
	}
	if pub.ECDSA == nil {
		return nil, errNoMaterial
	}
	remote, err := pub.ECDSA.ECDH()
	if err != nil {
		return nil, err
	}
	return private.nist.ECDH(remote)
}
