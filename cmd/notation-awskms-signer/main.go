// Command notation-awskms-signer is the Notation signing plugin "awskms-signer".
package main

import (
	"os"

	"github.com/awskms-offline/awskms-offline/cmd/internal/notationsigner"
)

func main() {
	os.Exit(notationsigner.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
