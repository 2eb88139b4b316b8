// Package kmssign signs with the private keys of testdata as AWS KMS would: the same algorithms, the same encodings.
package kmssign

import (
	"crypto"
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

// Sign signs the message with the test key of that name, by KMS's algorithm of that name. distinguishingID is for SM2;
// empty stands for the default one.
func Sign(testdata, key, algorithm string, message []byte, distinguishingID string) ([]byte, error) {
	k := fixture.Lookup(key)
	text, err := os.ReadFile(k.PrivateFile(testdata))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", k.PrivateFile(testdata))
	}
	switch {
	case algorithm == "SM2DSA":
		scalar, err := scalar(block.Bytes)
		if err != nil {
			return nil, err
		}
		private, err := sm2.NewPrivateKey(scalar)
		if err != nil {
			return nil, err
		}
		var id []byte
		if distinguishingID != "" {
			id = []byte(distinguishingID)
		}
		digest, err := sm2.CalculateSM2Hash(&private.PublicKey, message, id)
		if err != nil {
			return nil, err
		}
		return sm2.SignDeterministic(private, digest, nil)
	case algorithm == "ML_DSA_SHAKE_256":
		private, err := mldsax509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		return private.(*mldsa.PrivateKey).Sign(nil, message, &mldsa.Options{})
	case k.Spec == "ECC_SECG_P256K1":
		scalar, err := scalar(block.Bytes)
		if err != nil {
			return nil, err
		}
		return secp256k1ecdsa.Sign(secp256k1.PrivKeyFromBytes(scalar), digest(crypto.SHA256, message)).Serialize(), nil
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer := private.(crypto.Signer)
	if algorithm == "ED25519_SHA_512" {
		return signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	hash, known := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[len(algorithm)-3:]]
	if !known {
		return nil, fmt.Errorf("no way to sign with %s", algorithm)
	}
	var opts crypto.SignerOpts = hash
	if strings.HasPrefix(algorithm, "RSASSA_PSS") {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	return signer.Sign(rand.Reader, digest(hash, message), opts)
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
