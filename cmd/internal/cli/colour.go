package cli

import (
	"io"
	"os"

	"github.com/fatih/color"
	"github.com/mattn/go-colorable"
)

// palette colours words for people who look at a terminal. Its zero value leaves them as they are, and what a machine
// reads is never coloured.
type palette struct{ on bool }

// paletteFor colours on a terminal, unless NO_COLOR (no-color.org) is set to anything or TERM is dumb.
func paletteFor(w io.Writer) palette {
	return palette{isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (p palette) good(text string) string    { return p.paint(text, color.FgGreen) }
func (p palette) bad(text string) string     { return p.paint(text, color.FgRed) }
func (p palette) caution(text string) string { return p.paint(text, color.FgYellow) }
func (p palette) aside(text string) string   { return p.paint(text, color.FgCyan) }

func (p palette) paint(text string, as color.Attribute) string {
	if !p.on {
		return text
	}
	c := color.New(as)
	c.EnableColor()
	return c.Sprint(text)
}

// enableColours makes consoles of Windows act on colours; elsewhere terminals do. The function returned undoes it.
func enableColours(palettes ...palette) (undo func()) {
	for _, p := range palettes {
		if p.on {
			return colorable.EnableColorsStdout(nil)
		}
	}
	return func() {}
}
