package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// maxSequence is the greatest sequence number: every JSON reader tells integers up to here apart (RFC 8259, section 6).
const maxSequence int64 = 1<<53 - 1

// Head is a point of the chain: a line by its number and the SHA-256 of its bytes. Noted elsewhere it proves later that
// the log still holds every line up to it. The zero value is the chain's beginning, before any line.
type Head struct {
	// Sequence is the line's number, from 1; 0 is the beginning.
	Sequence int64
	// Hash is the SHA-256 of the line's bytes without its line feed; zero for the beginning.
	Hash [sha256.Size]byte
}

// IsZero reports whether h is the beginning of a chain.
func (h Head) IsZero() bool { return h == Head{} }

// String returns the number and the hash in lower-case hexadecimal, with a colon between them.
func (h Head) String() string { return fmt.Sprintf("%d:%x", h.Sequence, h.Hash) }

// previous is the member of that name in the line that follows h: 64 zeros in the first line of all.
func (h Head) previous() string { return hex.EncodeToString(h.Hash[:]) }

// ParseHead reads what String writes, in exactly that form; anything else is a ValidationException.
func ParseHead(text string) (Head, error) {
	var h Head
	number, hash, _ := strings.Cut(text, ":")
	// What is no number, or no hash, is another text when it is written back.
	h.Sequence, _ = strconv.ParseInt(number, 10, 64)
	raw, _ := hex.DecodeString(hash)
	copy(h.Hash[:], raw)
	if h.Sequence < 0 || h.Sequence > maxSequence || h.String() != text {
		return Head{}, kmserr.New(kmserr.Validation, "%q is no head of a log, expected its last line's number, a colon and 64 lower-case hexadecimal digits", shortText(text, 200)).
			WithHint("`awskms-offline audit head` prints one.")
	}
	return h, nil
}
