package notationsigner

import (
	// The hashes that algorithms name.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"math/big"
	"slices"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// algorithm is one of Notation's, in the names of KMS, of the plugin contract and of Notation's core library. Each is for
// one key spec alone, so it names that, too.
type algorithm struct {
	kms kmskey.SigningAlgorithm

	keySpec  plugin.KeySpec
	hashName plugin.HashAlgorithm
	name     plugin.SignatureAlgorithm

	core signature.KeySpec
}

var algorithms = []algorithm{
	{kmskey.RSASSAPSSSHA256, plugin.KeySpecRSA2048, plugin.HashAlgorithmSHA256,
		plugin.SignatureAlgorithmRSASSA_PSS_SHA256, signature.KeySpec{Type: signature.KeyTypeRSA, Size: 2048}},
	{kmskey.RSASSAPSSSHA384, plugin.KeySpecRSA3072, plugin.HashAlgorithmSHA384,
		plugin.SignatureAlgorithmRSASSA_PSS_SHA384, signature.KeySpec{Type: signature.KeyTypeRSA, Size: 3072}},
	{kmskey.RSASSAPSSSHA512, plugin.KeySpecRSA4096, plugin.HashAlgorithmSHA512,
		plugin.SignatureAlgorithmRSASSA_PSS_SHA512, signature.KeySpec{Type: signature.KeyTypeRSA, Size: 4096}},
	{kmskey.ECDSASHA256, plugin.KeySpecEC256, plugin.HashAlgorithmSHA256,
		plugin.SignatureAlgorithmECDSA_SHA256, signature.KeySpec{Type: signature.KeyTypeEC, Size: 256}},
	{kmskey.ECDSASHA384, plugin.KeySpecEC384, plugin.HashAlgorithmSHA384,
		plugin.SignatureAlgorithmECDSA_SHA384, signature.KeySpec{Type: signature.KeyTypeEC, Size: 384}},
	{kmskey.ECDSASHA512, plugin.KeySpecEC521, plugin.HashAlgorithmSHA512,
		plugin.SignatureAlgorithmECDSA_SHA512, signature.KeySpec{Type: signature.KeyTypeEC, Size: 521}},
}

// algorithmOf refuses a key that Notation cannot sign with.
func algorithmOf(key *kmskey.Key) (algorithm, error) {
	arn := key.ARN().String()
	if err := kmscert.Signs(key); err != nil {
		return algorithm{}, err
	}
	kms, there := notationwire.Algorithm(key.Spec())
	if !there {
		return algorithm{}, kmserr.New(kmserr.UnsupportedOperation, "%s has the key spec %s, for which Notation has no algorithm", arn, key.Spec()).
			WithHint("Notation takes %s; `awskms-offline sign` takes them all.", notationwire.KeySpecs).WithKey(arn)
	}
	return algorithms[slices.IndexFunc(algorithms, func(a algorithm) bool { return a.kms == kms })], nil
}

// digest is what KMS signs in place of the message, which may be longer than KMS takes.
func (a algorithm) digest(message []byte) []byte {
	h := a.kms.Hash().New()
	h.Write(message)
	return h.Sum(nil)
}

// encode turns KMS's signature into that of JWS and COSE: for ECDSA r and s of equal, fixed length behind one another (RFC
// 7518, section 3.4; RFC 9053, section 2.1) in place of their DER.
func (a algorithm) encode(fromKMS []byte) ([]byte, error) {
	if a.core.Type != signature.KeyTypeEC {
		return fromKMS, nil
	}
	var der struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(fromKMS, &der)
	length := (a.core.Size + 7) / 8
	if err != nil || len(rest) > 0 || der.R.Sign() <= 0 || der.S.Sign() <= 0 || der.R.BitLen() > 8*length || der.S.BitLen() > 8*length {
		return nil, kmserr.New(kmserr.KMSService, "KMS's ECDSA signature is no DER of two numbers of %d bits", a.core.Size)
	}
	out := make([]byte, 2*length)
	der.R.FillBytes(out[:length])
	der.S.FillBytes(out[length:])
	return out, nil
}
