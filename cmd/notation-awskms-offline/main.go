// The program answers within milliseconds. What Go's runtime would find out for a long run, the container's share of
// processors and names for its own memory, takes a tenth of that: docs/decisions/0017-settings-of-the-runtime.md.

//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0

// Command notation-awskms-offline is the Notation verification plugin "awskms-offline".
package main

import (
	"os"

	"github.com/awskms-offline/awskms-offline/plugin/notation"
)

func main() {
	os.Exit(notation.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
