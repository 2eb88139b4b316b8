package awskms

import (
	"strconv"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// A list that never ends must not be read for ever, nor held.
func TestPagesEnd(t *testing.T) {
	defer func(most int) { maxPages = most }(maxPages)
	maxPages = 100
	for name, c := range map[string]struct {
		next  func(page int) (marker string, more bool)
		pages int    // that are asked for
		says  string // "": no error
	}{
		"one page":                 {func(int) (string, bool) { return "", false }, 1, ""},
		"the last allowed":         {func(n int) (string, bool) { return strconv.Itoa(n), n < 100 }, 100, ""},
		"more, and not where":      {func(int) (string, bool) { return "", true }, 1, `at the marker ""`},
		"the same marker":          {func(int) (string, bool) { return "a", true }, 2, `at the marker "a", where it was already`},
		"two markers in turn":      {func(n int) (string, bool) { return strconv.Itoa(n % 2), true }, 3, "where it was already"},
		"a long way round":         {func(n int) (string, bool) { return strconv.Itoa(n % 50), true }, 51, "where it was already"},
		"a new marker every time":  {func(n int) (string, bool) { return strconv.Itoa(n), true }, 100, "after 100 pages"},
		"a long marker, not shown": {func(int) (string, bool) { return strings.Repeat("x", 1<<20), true }, 2, "where it was already"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			err := pages(func(*string) (*string, bool, error) {
				if asked++; asked > 1000 {
					t.Fatal("1000 pages were asked for")
				}
				marker, more := c.next(asked)
				return &marker, more, nil
			})
			if asked != c.pages {
				t.Errorf("%d pages were asked for, expected %d", asked, c.pages)
			}
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (!kmserr.Is(err, kmserr.KMSService) || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 300):
				t.Errorf("got %v", err)
			}
		})
	}
}
