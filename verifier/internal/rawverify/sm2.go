package rawverify

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// helperDiffers is the length of ID in bytes from which the Java helper's ENTL is not the standard's.
const helperDiffers = 32

// verifySM2 checks SM2 (GB/T 32918.2, section 7.1) over e = SM3(ZA ‖ M), or over e itself where the input is the digest.
//
// Where the two rules for ENTL differ the message is hashed behind both ZAs, in the same pass: a signature that only the
// other rule makes sense of is refused all the same, but told apart.
func verifySM2(ctx context.Context, pub *ecdsa.PublicKey, typ kmskey.MessageType, input io.Reader, sig []byte, opts Options) (Facts, error) {
	const alg = kmskey.SM2DSA
	if typ == kmskey.Digest {
		d, facts, err := readGivenDigest(ctx, alg, input)
		if err != nil {
			return facts, err
		}
		return facts, checkSM2(pub, typ, d, sig)
	}

	log, h := sha256.New(), newSM2Hash(pub, opts.DistinguishingID, opts.ENTL)
	sinks := []io.Writer{log, h}
	var otherRule hash.Hash
	if len(opts.DistinguishingID.Bytes()) >= helperDiffers {
		otherRule = newSM2Hash(pub, opts.DistinguishingID, otherENTL(opts.ENTL))
		sinks = append(sinks, otherRule)
	}
	n, err := stream(ctx, input, inputName(typ), unlimited, sinks...)
	if err != nil {
		return Facts{}, err
	}
	facts := newFacts(n, log)
	err = checkSM2(pub, typ, hashed(h), sig)
	if err != nil && otherRule != nil && checkSM2(pub, typ, hashed(otherRule), sig) == nil {
		if opts.ENTL == kmskey.ENTLAWSJavaHelper {
			return facts, kmserr.New(kmserr.InvalidSignature, "the signature fails by the ENTL rule of AWS's Java helper, and would pass by the standard's").
				WithHint("Leave the option sm2-entl out: this signature was made by the standard.")
		}
		return facts, kmserr.New(kmserr.InvalidSignature, "the signature fails by the standard, and would pass by the ENTL rule of AWS's Java helper, which miscounts a distinguishing ID of %d bytes or more",
			helperDiffers).WithHint("To accept signatures over digests that SM2OfflineOperationHelper computed, give the option sm2-entl, %s.", kmskey.ENTLAWSJavaHelper)
	}
	return facts, err
}

func checkSM2(pub *ecdsa.PublicKey, typ kmskey.MessageType, e digest, sig []byte) error {
	const alg = kmskey.SM2DSA
	if _, _, fault := derSignature(sig, sm2.P256().Params().N.Bytes()); fault != "" {
		return illFormed(alg, fault)
	}
	if !sm2.VerifyASN1(pub, e.bytes(), sig) {
		return refused(alg, typ)
	}
	return nil
}

func otherENTL(rule kmskey.ENTL) kmskey.ENTL {
	if rule == kmskey.ENTLAWSJavaHelper {
		return kmskey.ENTLStandard
	}
	return kmskey.ENTLAWSJavaHelper
}

// newSM2Hash returns an SM3 that has ZA in it already and becomes e with the message.
//
// ZA = SM3(ENTL ‖ ID ‖ a ‖ b ‖ xG ‖ yG ‖ xA ‖ yA) (GB/T 32918.2, section 5.5), each number in 32 bytes. It is composed
// here and not by gmsm because only so the helper's ENTL can be had; and gmsm takes an empty ID for the default, in its
// CalculateZA too, against what that function's comment says.
func newSM2Hash(pub *ecdsa.PublicKey, id kmskey.DistinguishingID, rule kmskey.ENTL) hash.Hash {
	user := []byte(kmskey.DefaultDistinguishingID)
	if id.Given() {
		user = id.Bytes()
	}
	// kmskey.DistinguishingID is at most 8,191 bytes, so its bits fit.
	entl := binary.BigEndian.AppendUint16(nil, uint16(len(user)*8))
	if rule == kmskey.ENTLAWSJavaHelper {
		entl[0] = 0 // the helper takes the high byte of the wrong half
	}
	curve := pub.Params()
	za := sm3.New()
	_, _ = za.Write(entl)
	_, _ = za.Write(user)
	_, _ = za.Write(sm2CurveA[:])
	var number [32]byte
	// PublicKey.Bytes, which is to be used instead of X and Y, knows only the standard library's curves.
	for _, n := range []*big.Int{curve.B, curve.Gx, curve.Gy, pub.X, pub.Y} { //nolint:staticcheck // see above
		_, _ = za.Write(n.FillBytes(number[:]))
	}
	e := sm3.New()
	_, _ = e.Write(za.Sum(nil))
	return e
}

// sm2CurveA is the curve's a = p-3 (GB/T 32918.5, section 2), which elliptic.CurveParams leaves out.
var sm2CurveA = [32]byte{
	0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
	0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC,
}
