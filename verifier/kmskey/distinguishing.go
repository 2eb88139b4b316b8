package kmskey

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// DefaultDistinguishingID is the SM2 user ID of GM/T 0009-2012, the only one KMS itself uses with MessageType RAW.
const DefaultDistinguishingID = "1234567812345678"

// MaxDistinguishingID is the longest SM2 user ID in bytes: ENTL counts its bits in two bytes (GB/T 32918.2, 5.5).
const MaxDistinguishingID = 8191

// DistinguishingID is an SM2 user ID, or none: "not given" and "given and empty" are two values. The zero value is "not
// given".
type DistinguishingID struct {
	given bool
	bytes string
}

// NewDistinguishingID returns a given ID, which may be empty. Longer than MaxDistinguishingID is a ValidationException.
func NewDistinguishingID(id []byte) (DistinguishingID, error) {
	if len(id) > MaxDistinguishingID {
		return DistinguishingID{}, kmserr.New(kmserr.Validation,
			"the distinguishing ID is %d bytes long, expected at most %d: its length in bits must fit in two bytes", len(id), MaxDistinguishingID)
	}
	return DistinguishingID{given: true, bytes: string(id)}, nil
}

// ParseDistinguishingID reads the text form of flags, options and records: the ID itself, or "hex:" and hexadecimal
// digits for bytes that are no text. "hex:" alone, like the empty text, is the given and empty ID.
func ParseDistinguishingID(text string) (DistinguishingID, error) {
	if digits, ok := strings.CutPrefix(text, "hex:"); ok {
		id, err := hex.DecodeString(digits)
		if err != nil {
			return DistinguishingID{}, kmserr.New(kmserr.Validation, "the distinguishing ID starts with hex:, and %.100q is no hexadecimal number of whole bytes", digits).
				WithHint("Write hex: and an even number of hexadecimal digits, or give the ID as plain text.")
		}
		return NewDistinguishingID(id)
	}
	return NewDistinguishingID([]byte(text))
}

// Given reports whether there is an ID, be it empty.
func (d DistinguishingID) Given() bool { return d.given }

// Bytes returns the ID's bytes; nil if not given.
func (d DistinguishingID) Bytes() []byte {
	if !d.given {
		return nil
	}
	return []byte(d.bytes)
}

// String returns the text form that ParseDistinguishingID reads, "" for an empty ID as for none.
func (d DistinguishingID) String() string {
	if !utf8.ValidString(d.bytes) || strings.HasPrefix(d.bytes, "hex:") || strings.ContainsFunc(d.bytes, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return "hex:" + hex.EncodeToString([]byte(d.bytes))
	}
	return d.bytes
}

// ENTL is the rule by which SM2's ZA counts the ID's bits.
type ENTL int

// The two rules.
const (
	// ENTLStandard is GB/T 32918.2, section 5.5: two bytes, big-endian.
	ENTLStandard ENTL = iota
	// ENTLAWSJavaHelper is what AWS's published SM2OfflineOperationHelper computes: the high byte is always 0, which
	// differs from the standard from 32 bytes of ID on.
	ENTLAWSJavaHelper
)

// ENTLNamed returns the rule of that name, which is what String returns, and whether there is one.
func ENTLNamed(name string) (rule ENTL, known bool) {
	for _, rule := range []ENTL{ENTLStandard, ENTLAWSJavaHelper} {
		if rule.String() == name {
			return rule, true
		}
	}
	return ENTLStandard, false
}

// String returns the rule's name.
func (e ENTL) String() string {
	if e == ENTLAWSJavaHelper {
		return "aws-java-helper"
	}
	return "standard"
}
