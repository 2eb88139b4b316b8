// Package visible makes of text that a terminal would act on, or hide, what a person sees.
package visible

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns text with what a terminal would act on, or would not show, written as an escape of a Go string.
func Text(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}

// JSON returns JSON with the same meaning, in which is escaped what JSON leaves as it is although a terminal may act on it or
// hide it: C1 controls, marks that turn the direction of writing, and the like. In JSON whatever is not ASCII is part of a
// string. What that is follows the Unicode of the Go release: for what is shown, and compared with nothing.
func JSON(b []byte) []byte {
	return escape(b, func(r rune) bool { return !unicode.IsPrint(r) })
}

// KeptJSON is JSON for what is kept and compared later, perhaps by a program that another Go release built: what it escapes
// are the ranges of kept.go, and never others.
func KeptJSON(b []byte) []byte { return escape(b, isHidden) }

// escape writes as escapes what is hidden and not ASCII, or DEL.
func escape(b []byte, hidden func(rune) bool) []byte {
	escaped := func(r rune) bool { return r >= 0x7f && hidden(r) }
	if !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x7f }) { // as nearly all are
		return b
	}
	if bytes.IndexFunc(b, escaped) < 0 {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for _, r := range string(b) {
		switch {
		case !escaped(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
