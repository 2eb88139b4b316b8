// Command notation-awskms-offline is the Notation verification plugin "awskms-offline".
package main

import (
	"os"

	"github.com/awskms-offline/awskms-offline/plugin/notation"
)

func main() {
	os.Exit(notation.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
