// Command dependencies prints docs/dependencies.md: what each binary links of others, why, and under which licence. A test
// holds the page to it, and another allows the licences.
package main

import (
	"fmt"
	"os"
)

func main() {
	page, err := Page("../..")
	if len(os.Args) > 1 {
		page, err = Page(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(page)
}
