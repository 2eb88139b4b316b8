package cli

import (
	"bytes"
	"encoding/base64"
)

// decodeSignature tells a binary signature from base64 text, by the bytes alone: what is wholly base64 text, line breaks
// and a final newline aside, and decodes strictly, is text. A binary signature that looks so would have to consist of
// nothing but 64 letters, with a chance of 2 to the power of minus 128 or less for the shortest there is.
func decodeSignature(raw []byte) (signature []byte, encoding string, err error) {
	if len(raw) == 0 {
		return nil, "", invalid("the signature file is empty, expected a signature").
			WithHint("`aws kms sign --query Signature --output text` prints it in base64.")
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, "", invalid("the signature file holds nothing but white space")
	}
	if decoded, ok := decodeBase64(raw); ok {
		return decoded, "base64", nil
	}
	return raw, "binary", nil
}

// decodeBase64 decodes what is wholly base64 text (RFC 4648, section 4, padded), line breaks and other white space aside,
// and not empty.
func decodeBase64(raw []byte) ([]byte, bool) {
	decoded, err := base64.StdEncoding.Strict().DecodeString(string(bytes.Join(bytes.Fields(raw), nil)))
	return decoded, err == nil && len(decoded) > 0
}
