package nearest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestName(t *testing.T) {
	for _, c := range []struct {
		asked, want string
		from        []string
	}{
		{"release", "Release", []string{"debug", "Release"}},
		{"release", "relase", []string{"relax", "relase"}},
		{"release", "", []string{"release", "releasing-1", "something"}},
		{"ab", "cd", []string{"cd"}},
		{"", "", nil},
	} {
		if got := Name(c.asked, c.from); got != c.want {
			t.Errorf("%q: got %q, expected %q", c.asked, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"abc", "xbc", 1}, {"abc", "bc", 1}, {"abcdef", "bcdefa", 2}, {"aaaaaa", "bbbbbb", 4}} {
		if got := distance(c.a, c.b, 4); got != c.want {
			t.Errorf("%q, %q: got %d, expected %d", c.a, c.b, got, c.want)
		}
	}
}

// TestCommonBeginning: names that share a long beginning, as the ARNs of one account do, take about as long as those that
// share none. A trust policy may name 256 keys that are absent, and each is looked for among two thousand.
func TestCommonBeginning(t *testing.T) {
	const beginning = "arn:aws:kms:us-east-1:111122223333:key/"
	names := func(beginning func(i int) string) (all []string) {
		for i := range 2000 {
			all = append(all, beginning(i)+fmt.Sprintf("%08x", uint64(i)*2654435761))
		}
		return all
	}
	least := func(candidates []string) time.Duration {
		best := time.Hour
		for range 7 {
			start := time.Now()
			Name(beginning+"ffffffff", candidates)
			best = min(best, time.Since(start))
		}
		return best
	}
	shared := least(names(func(int) string { return beginning }))
	differ := least(names(func(i int) string { return strings.Repeat(string(rune('b'+i%20)), len(beginning)) }))
	if shared > 4*differ {
		t.Errorf("names that begin alike take %v, others %v", shared, differ)
	}
}
