package rawverify

import (
	"crypto/rsa"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// verifyRSA checks RSASSA-PSS and RSASSA-PKCS1-v1_5 (RFC 8017, sections 8.1.2 and 8.2.2), whose signatures are exactly as
// long as the modulus.
func verifyRSA(pub *rsa.PublicKey, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, d digest, sig []byte) error {
	if err := checkLength(alg, sig, pub.Size()); err != nil {
		return err
	}
	switch alg {
	case kmskey.RSASSAPKCS1SHA256, kmskey.RSASSAPKCS1SHA384, kmskey.RSASSAPKCS1SHA512:
		if err := rsa.VerifyPKCS1v15(pub, alg.Hash(), d.bytes(), sig); err != nil {
			return refused(alg, typ).WithCause(err)
		}
		return nil
	case kmskey.RSASSAPSSSHA256, kmskey.RSASSAPSSSHA384, kmskey.RSASSAPSSSHA512:
		return verifyPSS(pub, alg, typ, d, sig)
	}
	return kmserr.New(kmserr.Internal, "%s is no RSA algorithm", alg)
}

// verifyPSS demands a salt of the hash's length and MGF1 with the same hash, as KMS makes them. A signature that would
// pass with another salt length is told apart, for that is a setting of the signer's (OpenSSL's default is the longest).
func verifyPSS(pub *rsa.PublicKey, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, d digest, sig []byte) error {
	strict := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: alg.Hash()}
	err := rsa.VerifyPSS(pub, alg.Hash(), d.bytes(), sig, &strict)
	if err == nil {
		return nil
	}
	lax := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: alg.Hash()}
	if rsa.VerifyPSS(pub, alg.Hash(), d.bytes(), sig, &lax) == nil {
		return kmserr.New(kmserr.InvalidSignature, "the signature is one of this key, but its PSS salt is not %d bytes long, as %s demands", alg.Hash().Size(), alg).
			WithHint("KMS makes no such signature; sign with a salt as long as the hash.").WithCause(err)
	}
	return refused(alg, typ).WithCause(err)
}
