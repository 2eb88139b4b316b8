// Command errordocs prints docs/errors.md from the one table of errors; a test holds the page to it.
package main

import (
	"fmt"
	"os"
)

func main() {
	if _, err := fmt.Print(Page()); err != nil {
		os.Exit(1)
	}
}
