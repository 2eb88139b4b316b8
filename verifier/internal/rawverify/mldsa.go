package rawverify

import (
	"context"
	"crypto/sha3"
	"io"

	"filippo.io/mldsa"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// muSize is the length of the message representative μ in bytes (FIPS 204, algorithm 7, line 6).
const muSize = 64

// verifyMLDSA checks pure ML-DSA (FIPS 204, algorithm 3) with an empty context. KMS's signatures of a message and of its μ
// are the same: where only μ is at hand there is nothing to ask, for no well-kept Go library verifies it. filippo.io/mldsa,
// like crypto/mldsa of Go 1.27 that it stands in for, signs μ and verifies messages alone, and circl does neither.
func verifyMLDSA(ctx context.Context, pub *mldsa.PublicKey, typ kmskey.MessageType, input io.Reader, sig []byte, opts Options) (Facts, error) {
	const alg = kmskey.MLDSASHAKE256
	if typ == kmskey.ExternalMu {
		_, facts, err := readFixed(ctx, typ, input, muSize, "μ is invalid length for algorithm "+string(alg))
		if err == nil {
			err = kmserr.New(kmserr.UnsupportedOperation, "a signature of %s cannot be verified offline from μ alone", alg).
				WithHint("Give the message itself and leave the message type out: signatures made with EXTERNAL_MU verify against the message.")
		}
		return facts, err
	}
	message, facts, err := readMessage(ctx, alg, typ, input, opts.MaxMessage)
	if err != nil {
		return facts, err
	}
	if err := checkLength(alg, sig, pub.Parameters().SignatureSize()); err != nil {
		return facts, err
	}
	if err := mldsa.Verify(pub, message, sig, nil); err != nil {
		return facts, refused(alg, typ).WithCause(err)
	}
	return facts, nil
}

// externalMu computes μ = SHAKE256(SHAKE256(pk, 64) ‖ 00 00 ‖ M, 64): FIPS 204, algorithm 7, line 6 with the prefix of
// algorithm 2 for pure signing, 0, and for the empty context, its length 0.
func externalMu(ctx context.Context, pub *mldsa.PublicKey, message io.Reader) ([]byte, error) {
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
