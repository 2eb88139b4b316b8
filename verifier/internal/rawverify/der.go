package rawverify

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// derSignature reads the signature of ECDSA (RFC 3279, section 2.2.3) and of SM2 (GM/T 0009, section 7.3): a SEQUENCE of
// two INTEGERs r and s in DER, nothing before, between or after, each from 1 to order-1. It returns them big-endian with
// no leading zeros, or a clause that says what is wrong.
//
// The check is ours, not the libraries': their parsers differ in what they take, and one that took BER or r‖s side by
// side would give one signature many spellings.
func derSignature(sig, order []byte) (r, s []byte, fault string) {
	r, s, fault = derIntegers(sig, order)
	if fault != "" && len(sig) == 2*len(order) {
		fault += " (it has the length of r and s side by side, IEEE P1363, where KMS writes DER)"
	}
	return r, s, fault
}

func derIntegers(sig, order []byte) (r, s []byte, fault string) {
	input := cryptobyte.String(sig)
	if !input.PeekASN1Tag(cbasn1.SEQUENCE) {
		return nil, nil, "it is no DER SEQUENCE, which starts with the byte 30"
	}
	var seq cryptobyte.String
	if !input.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return nil, nil, "its SEQUENCE is truncated, or the length is not in DER's shortest form"
	}
	if !input.Empty() {
		return nil, nil, fmt.Sprintf("%d bytes follow the end of its SEQUENCE", len(input))
	}
	if r, fault = derScalar(&seq, "r", order); fault != "" {
		return nil, nil, fault
	}
	if s, fault = derScalar(&seq, "s", order); fault != "" {
		return nil, nil, fault
	}
	if !seq.Empty() {
		return nil, nil, fmt.Sprintf("%d bytes follow s in its SEQUENCE", len(seq))
	}
	return r, s, ""
}

func derScalar(seq *cryptobyte.String, name string, order []byte) (scalar []byte, fault string) {
	var b cryptobyte.String
	switch {
	case !seq.ReadASN1(&b, cbasn1.INTEGER) || len(b) == 0:
		return nil, name + " is no DER INTEGER"
	case b[0]&0x80 != 0:
		return nil, name + " is negative"
	case len(b) > 1 && b[0] == 0 && b[1]&0x80 == 0:
		return nil, name + " has more leading zeros than DER allows"
	}
	scalar = bytes.TrimLeft(b, "\x00")
	switch {
	case len(scalar) == 0:
		return nil, name + " is zero"
	case len(scalar) > len(order), len(scalar) == len(order) && bytes.Compare(scalar, order) >= 0:
		return nil, name + " is not below the order of the curve"
	}
	return scalar, ""
}
