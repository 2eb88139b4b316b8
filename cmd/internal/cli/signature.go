package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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

// otherForm says of a signature file in which form else it holds a signature, a clause, and what mends that. Only what is
// wholly of such a form is: the bytes of a signature may begin with any mark.
func otherForm(raw []byte) (clause, hint string) {
	const alone = "Write it alone: `aws kms sign --query Signature --output text` prints it in base64."
	text := bytes.TrimSpace(raw)
	var members map[string]jsontext.Value
	var quoted string
	switch {
	case isUTF16(raw):
		return "is UTF-16 text, expected the signature's bytes or base64 in ASCII", notUTF16
	case bytes.HasPrefix(raw, []byte(utf8Mark)) && printable(raw[len(utf8Mark):]):
		return "starts with a byte order mark, expected the signature's bytes or base64 in plain ASCII", notUTF16
	case len(text) == 0:
		return "", ""
	case text[0] == '{' && json.Unmarshal(text, &members) == nil:
		if _, there := members["Signature"]; there {
			return "holds the JSON of `aws kms sign`, expected its Signature", alone
		}
		return "holds JSON, expected a signature", alone
	case text[0] == '"' && json.Unmarshal(text, &quoted) == nil:
		if _, ok := decodeBase64([]byte(quoted)); ok {
			return "holds base64 in quotation marks, expected it without", alone
		}
	case isHexadecimal(text):
		return "looks like hexadecimal text, expected the signature's bytes or base64", "`xxd -r -p FILE` makes its bytes of it."
	}
	return "", ""
}

const utf8Mark = "\xef\xbb\xbf"

// notUTF16 is what to do about text that PowerShell has written.
const notUTF16 = "PowerShell's > writes UTF-16: write it with `| Out-File -Encoding ascii FILE` instead."

// isUTF16 recognises text of ASCII's characters that was written as UTF-16, which begins with a mark.
func isUTF16(raw []byte) bool {
	if len(raw) < 4 || len(raw)%2 != 0 || !hasUTF16Mark(raw) {
		return false
	}
	zero := 1 // where the upper byte is: behind the other one
	if raw[0] == 0xfe {
		zero = 0
	}
	for i := 2; i < len(raw); i += 2 {
		if raw[i+zero] != 0 || !printable(raw[i+1-zero:i+2-zero]) {
			return false
		}
	}
	return true
}

func hasUTF16Mark(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff"))
}

// printable reports whether all of it is text in ASCII.
func printable(raw []byte) bool {
	return !bytes.ContainsFunc(raw, func(r rune) bool { return (r < ' ' || r > '~') && !unicode.IsSpace(r) })
}

// isHexadecimal recognises the hexadecimal digits of a signature, of which the shortest has some 64 bytes. As base64 they are
// one as well, of bytes that no signature has.
func isHexadecimal(text []byte) bool {
	digits := bytes.Join(bytes.Fields(bytes.TrimPrefix(text, []byte("0x"))), nil)
	_, err := hex.Decode(make([]byte, len(digits)), digits)
	return err == nil && len(digits) >= 64
}

// decodeBase64 decodes what is wholly base64 text (RFC 4648, section 4, padded), line breaks and other white space aside,
// and not empty.
func decodeBase64(raw []byte) ([]byte, bool) {
	decoded, err := base64.StdEncoding.Strict().DecodeString(string(bytes.Join(bytes.Fields(raw), nil)))
	return decoded, err == nil && len(decoded) > 0
}
