package rawverify

import (
	"context"
	"crypto/sha3"
	"io"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// muSize is the length of the message representative μ in bytes (FIPS 204, algorithm 7, line 6).
const muSize = 64

// verifyMLDSA checks pure ML-DSA (FIPS 204, algorithm 3) with an empty context. KMS's signatures of a message and of its μ
// are the same: where only μ is at hand there is nothing to ask, for no well-kept Go library verifies it: circl, gmsm and
// crypto/mldsa of Go 1.27 verify messages alone. Why circl: docs/decisions/0019-the-fastest-library-of-those-that-pass.md.
func verifyMLDSA(ctx context.Context, pub spki.MLDSA, typ kmskey.MessageType, input io.Reader, sig []byte, opts Options) (Facts, error) {
	const alg = kmskey.MLDSASHAKE256
	if typ == kmskey.ExternalMu {
		_, facts, err := readFixed(ctx, typ, input, muSize, "μ is invalid length for algorithm "+string(alg))
		if err == nil {
			err = kmserr.New(kmserr.UnsupportedOperation, "a signature of %s cannot be verified offline from μ alone", alg).
				WithHint("Give the message itself and leave the message type out: signatures made with EXTERNAL_MU verify against the message.")
		}
		return facts, err
	}
	message, facts, err := readMessage(ctx, alg, typ, input, opts.Limit())
	if err != nil {
		return facts, err
	}
	size, check := mldsaOf(pub)
	if err := checkLength(alg, sig, size); err != nil {
		return facts, err
	}
	if check == nil || !check(message, sig) {
		return facts, refused(alg, typ)
	}
	return facts, nil
}

// mldsaOf returns the length of a signature in bytes, and what checks one with the key; 0 and nil for what is no ML-DSA key.
func mldsaOf(pub spki.MLDSA) (size int, check func(message, sig []byte) bool) {
	switch k := pub.(type) {
	case *mldsa44.PublicKey:
		return mldsa44.SignatureSize, func(message, sig []byte) bool { return mldsa44.Verify(k, message, nil, sig) }
	case *mldsa65.PublicKey:
		return mldsa65.SignatureSize, func(message, sig []byte) bool { return mldsa65.Verify(k, message, nil, sig) }
	case *mldsa87.PublicKey:
		return mldsa87.SignatureSize, func(message, sig []byte) bool { return mldsa87.Verify(k, message, nil, sig) }
	}
	return 0, nil
}

// externalMu computes μ = SHAKE256(SHAKE256(pk, 64) ‖ 00 00 ‖ M, 64): FIPS 204, algorithm 7, line 6 with the prefix of
// algorithm 2 for pure signing, 0, and for the empty context, its length 0.
func externalMu(ctx context.Context, pub spki.MLDSA, message io.Reader) ([]byte, error) {
	h := sha3.NewSHAKE256()
	_, _ = h.Write(sha3.SumSHAKE256(pub.Bytes(), 64))
	_, _ = h.Write([]byte{0, 0})
	if _, err := stream(ctx, message, "message", unlimited, h); err != nil {
		return nil, err
	}
	mu := make([]byte, muSize)
	_, _ = h.Read(mu)
	return mu, nil
}
