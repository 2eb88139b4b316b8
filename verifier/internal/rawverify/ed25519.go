package rawverify

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha512"
	"io"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// verifyEd25519 checks pure Ed25519 (RFC 8032, section 5.1.7), which hashes the message twice behind different prefixes
// and so needs it in memory.
func verifyEd25519(ctx context.Context, pub ed25519.PublicKey, typ kmskey.MessageType, input io.Reader, sig []byte, opts Options) (Facts, error) {
	const alg = kmskey.ED25519SHA512
	message, facts, err := readMessage(ctx, alg, typ, input, opts.Limit())
	if err != nil {
		return facts, err
	}
	if err := checkLength(alg, sig, ed25519.SignatureSize); err != nil {
		return facts, err
	}
	if err := ed25519.VerifyWithOptions(pub, message, sig, &ed25519.Options{}); err != nil {
		return facts, refused(alg, typ).WithCause(err)
	}
	return facts, nil
}

// verifyEd25519ph checks what KMS calls Ed25519ph. KMS takes the digest SHA-512(M) for the message, and RFC 8032's
// Ed25519ph hashes its message: the prehash in the signature is SHA-512(SHA-512(M)), with an empty context. A signature
// over the single hash is not one that KMS makes, and fails.
func verifyEd25519ph(pub ed25519.PublicKey, typ kmskey.MessageType, d digest, sig []byte) error {
	const alg = kmskey.ED25519PHSHA512
	if err := checkLength(alg, sig, ed25519.SignatureSize); err != nil {
		return err
	}
	prehash := sha512.Sum512(d.bytes())
	if err := ed25519.VerifyWithOptions(pub, prehash[:], sig, &ed25519.Options{Hash: crypto.SHA512}); err != nil {
		return refused(alg, typ).WithCause(err)
	}
	return nil
}
