package cli

import (
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"
)

// keyColumn is the heading of the column of ARNs, which are too long for most terminals.
const keyColumn = "KEY"

// table prints rows under a heading, aligned. Where a terminal is too narrow for that, each key's ARN has a line of its own,
// and what does not fit of the rest ends in an ellipsis; into a file or a pipe everything goes as it is.
func (a *app) table(heading []string, rows [][]string) error {
	lines, err := aligned(append([][]string{heading}, rows...))
	if err != nil {
		return err
	}
	width := widthOf(a.stdout)
	if width == 0 || longest(lines) <= width {
		return a.printf("%s\n", strings.Join(lines, "\n"))
	}
	keys, rest := apart(heading, rows)
	if lines, err = aligned(rest); err != nil {
		return err
	}
	var b strings.Builder
	for i, line := range lines {
		if keys[i] != "" {
			b.WriteString(keys[i] + "\n")
		}
		b.WriteString(shortened("  "+line, width) + "\n")
	}
	return a.printf("%s", b.String())
}

// apart takes the column of keys out; that of the heading is empty.
func apart(heading []string, rows [][]string) (keys []string, rest [][]string) {
	for i, row := range append([][]string{heading}, rows...) {
		key, others := "", make([]string, 0, len(row))
		for j, cell := range row {
			switch {
			case heading[j] != keyColumn:
				others = append(others, cell)
			case i > 0:
				key = cell
			}
		}
		keys, rest = append(keys, key), append(rest, others)
	}
	return keys, rest
}

func aligned(rows [][]string) ([]string, error) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := io.WriteString(w, strings.Join(row, "\t")+"\n"); err != nil {
			return nil, err
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines, nil
}

func longest(lines []string) int {
	n := 0
	for _, line := range lines {
		n = max(n, utf8.RuneCountInString(line))
	}
	return n
}

func shortened(line string, width int) string {
	if runes := []rune(line); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}

// widthOf is a terminal's, in columns; 0 for what is none or does not tell.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		return 0
	}
	return width
}
