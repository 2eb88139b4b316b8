package nearest

import "testing"

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
