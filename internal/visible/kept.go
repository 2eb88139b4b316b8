package visible

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// hidden are the characters that KeptJSON escapes: controls, spaces other than the usual one, ends of lines and paragraphs,
// format characters (Cf) with the marks that turn the direction of writing, private ones, and those that Unicode keeps free
// for further invisible ones or never assigns. None of them is a letter or sign in any version of Unicode.
//
// They are written out and never change, though Unicode does: what is in a log is compared byte for byte with what this
// program writes, and a table of the Go release would call a sound log changed once another release built the program.
var hidden = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0000, Hi: 0x001f, Stride: 1}, {Lo: 0x007f, Hi: 0x00a0, Stride: 1}, {Lo: 0x00ad, Hi: 0x00ad, Stride: 1},
		{Lo: 0x0600, Hi: 0x0605, Stride: 1}, {Lo: 0x061c, Hi: 0x061c, Stride: 1}, {Lo: 0x06dd, Hi: 0x06dd, Stride: 1},
		{Lo: 0x070f, Hi: 0x070f, Stride: 1}, {Lo: 0x0890, Hi: 0x0891, Stride: 1}, {Lo: 0x08e2, Hi: 0x08e2, Stride: 1},
		{Lo: 0x1680, Hi: 0x1680, Stride: 1}, {Lo: 0x180e, Hi: 0x180e, Stride: 1}, {Lo: 0x2000, Hi: 0x200f, Stride: 1},
		{Lo: 0x2028, Hi: 0x202f, Stride: 1}, {Lo: 0x205f, Hi: 0x206f, Stride: 1}, {Lo: 0x3000, Hi: 0x3000, Stride: 1},
		{Lo: 0xd800, Hi: 0xf8ff, Stride: 1}, {Lo: 0xfdd0, Hi: 0xfdef, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
		{Lo: 0xfff0, Hi: 0xfffb, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x110bd, Hi: 0x110bd, Stride: 1}, {Lo: 0x110cd, Hi: 0x110cd, Stride: 1}, {Lo: 0x13430, Hi: 0x1343f, Stride: 1},
		{Lo: 0x1bca0, Hi: 0x1bca3, Stride: 1}, {Lo: 0x1d173, Hi: 0x1d17a, Stride: 1},
		// Between these two are the variation selectors, which are marks of a letter.
		{Lo: 0xe0000, Hi: 0xe00ff, Stride: 1}, {Lo: 0xe01f0, Hi: 0xe0fff, Stride: 1}, {Lo: 0xf0000, Hi: 0x10ffff, Stride: 1},
	},
	LatinOffset: 3,
}

func isHidden(r rune) bool {
	const never = 0xfffe // the last two of each plane
	return r&never == never || unicode.Is(hidden, r)
}

// AsKept returns JSON as KeptJSON writes it now. Earlier builds also escaped what the Unicode of their Go release did not
// know yet: such an escape becomes its character, and nothing else is touched. Whoever compares the result so finds every
// other difference, escapes in capital letters included.
func AsKept(b []byte) []byte {
	if !bytes.Contains(b, []byte(`\u`)) {
		return b
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		if r, n := escapedRune(b); n > 0 && r > 0x7f && !isHidden(r) {
			out, b = utf8.AppendRune(out, r), b[n:]
			continue
		}
		n := 1
		if b[0] == '\\' && len(b) > 1 {
			n = 2 // what follows a backslash begins no escape
		}
		out, b = append(out, b[:n]...), b[n:]
	}
	return out
}

// escapedRune returns the character whose escape b begins with, as escape writes it, and the escape's length; 0 if none.
func escapedRune(b []byte) (r rune, n int) {
	r, ok := escapedUnit(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := escapedUnit(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// escapedUnit reads \u and four hexadecimal digits in small letters.
func escapedUnit(b []byte) (unit rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' || !bytes.Equal(b[2:6], bytes.ToLower(b[2:6])) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}
