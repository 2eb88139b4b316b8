package rawverify

import (
	"crypto/ecdsa"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// verifyECDSA checks ECDSA (FIPS 186-5, section 6.4.2) on NIST's curves, with high S as with low.
func verifyECDSA(pub *ecdsa.PublicKey, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, d digest, sig []byte) error {
	if _, _, fault := derSignature(sig, pub.Params().N.Bytes()); fault != "" {
		return illFormed(alg, fault)
	}
	if !ecdsa.VerifyASN1(pub, d.bytes(), sig) {
		return refused(alg, typ)
	}
	return nil
}

// verifySecp256k1 is verifyECDSA on SEC 2's secp256k1.
func verifySecp256k1(pub *secp256k1.PublicKey, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, d digest, sig []byte) error {
	rBytes, sBytes, fault := derSignature(sig, secp256k1.Params().N.Bytes())
	if fault != "" {
		return illFormed(alg, fault)
	}
	var r, s secp256k1.ModNScalar
	// SetByteSlice cuts what is longer than 32 bytes and reduces what is not below the order; derSignature refused both.
	if r.SetByteSlice(rBytes) || s.SetByteSlice(sBytes) {
		return illFormed(alg, "r or s is not below the order of the curve")
	}
	if !secp256k1ecdsa.NewSignature(&r, &s).Verify(d.bytes(), pub) {
		return refused(alg, typ)
	}
	return nil
}
