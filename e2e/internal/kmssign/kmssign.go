// Package kmssign signs with the private keys of testdata as AWS KMS would: the same algorithms, the same encodings.
package kmssign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	// The hashes that algorithms name.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// Key is a private key.
type Key struct {
	// private is an *sm2.PrivateKey, *secp256k1.PrivateKey or *mldsa.PrivateKey, or a key of the standard library.
	private any
}

// Sign signs the message with the test key of that name, by KMS's algorithm of that name. distinguishingID is for SM2;
// empty stands for the default one.
func Sign(testdata, key, algorithm string, message []byte, distinguishingID string) ([]byte, error) {
	k, err := Load(testdata, key)
	if err != nil {
		return nil, err
	}
	return k.Sign(algorithm, message, distinguishingID)
}

// Load reads the private key of the test key of that name.
func Load(testdata, name string) (*Key, error) {
	k := fixture.Lookup(name)
	text, err := os.ReadFile(k.PrivateFile(testdata))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", k.PrivateFile(testdata))
	}
	switch {
	case k.Spec == "SM2":
		scalar, err := scalar(block.Bytes)
		if err != nil {
			return nil, err
		}
		return made(sm2.NewPrivateKey(scalar))
	case k.Spec == "ECC_SECG_P256K1":
		scalar, err := scalar(block.Bytes)
		return made(secp256k1.PrivKeyFromBytes(scalar), err)
	case strings.HasPrefix(k.Spec, "ML_DSA"):
		return made(mldsax509.ParsePKCS8PrivateKey(block.Bytes))
	}
	return made(x509.ParsePKCS8PrivateKey(block.Bytes))
}

// New makes a key of KMS's key spec that nobody else has.
func New(spec string) (*Key, error) {
	switch spec {
	case "RSA_2048":
		return made(rsa.GenerateKey(rand.Reader, 2048))
	case "ECC_NIST_P256":
		return made(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ECC_NIST_P384":
		return made(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "ECC_NIST_P521":
		return made(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case "ECC_NIST_EDWARDS25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return made(private, err)
	case "ECC_SECG_P256K1":
		return made(secp256k1.GeneratePrivateKey())
	case "SM2":
		return made(sm2.GenerateKey(rand.Reader))
	case "ML_DSA_65":
		return made(mldsa.GenerateKey(mldsa.MLDSA65()))
	}
	return nil, fmt.Errorf("no way to make a key of spec %s", spec)
}

func made[K any](private K, err error) (*Key, error) {
	if err != nil {
		return nil, err
	}
	return &Key{private}, nil
}

// Sign signs the message by KMS's algorithm of that name; see Sign.
func (k *Key) Sign(algorithm string, message []byte, distinguishingID string) ([]byte, error) {
	switch private := k.private.(type) {
	case *sm2.PrivateKey:
		var id []byte
		if distinguishingID != "" {
			id = []byte(distinguishingID)
		}
		digest, err := sm2.CalculateSM2Hash(&private.PublicKey, message, id)
		if err != nil {
			return nil, err
		}
		return sm2.SignDeterministic(private, digest, nil)
	case *mldsa.PrivateKey:
		return private.Sign(nil, message, &mldsa.Options{})
	case *secp256k1.PrivateKey:
		return secp256k1ecdsa.Sign(private, digest(crypto.SHA256, message)).Serialize(), nil
	case ed25519.PrivateKey:
		if algorithm == "ED25519_SHA_512" {
			return private.Sign(rand.Reader, message, crypto.Hash(0))
		}
	case crypto.Signer:
		hash, known := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[len(algorithm)-3:]]
		if !known {
			break
		}
		var opts crypto.SignerOpts = hash
		if strings.HasPrefix(algorithm, "RSASSA_PSS") {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		return private.Sign(rand.Reader, digest(hash, message), opts)
	}
	return nil, fmt.Errorf("no way to sign with %s and a %T", algorithm, k.private)
}

func digest(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// scalar reads the private scalar of an elliptic curve key that crypto/x509 does not know (RFC 5958, RFC 5915).
func scalar(pkcs8 []byte) ([]byte, error) {
	var outer struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}
	if _, err := asn1.Unmarshal(pkcs8, &outer); err != nil {
		return nil, err
	}
	var inner struct {
		Version    int
		PrivateKey []byte
		Public     asn1.BitString `asn1:"optional,explicit,tag:1"`
	}
	_, err := asn1.Unmarshal(outer.PrivateKey, &inner)
	return inner.PrivateKey, err
}
