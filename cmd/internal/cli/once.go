package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// once is the value of a flag that has one value: pflag would take the last that is given, and a message, a batch or a
// SHA-256 that was named before it would be looked at by nobody.
type once struct {
	pflag.Value
	given []string
}

// Set refuses a second value, unless it is the first again.
func (o *once) Set(text string) error {
	if o.given = append(o.given, text); o.given[0] != text {
		return givenTwice{o.given[0], text}
	}
	return o.Value.Set(text)
}

type givenTwice struct{ before, now string }

func (g givenTwice) Error() string {
	return fmt.Sprintf("is given twice, as %q and as %q", g.before, g.now)
}

// eachOnce makes every flag of c and of the commands below it one of which once is the value, but for lists.
func eachOnce(c *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{c.PersistentFlags(), c.Flags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if _, list := f.Value.(pflag.SliceValue); !list {
				f.Value = &once{Value: f.Value}
			}
		})
	}
	for _, below := range c.Commands() {
		eachOnce(below)
	}
}
