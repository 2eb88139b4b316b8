// Command awskms-offline verifies signatures of AWS KMS keys offline, and keeps the keys.
package main

import (
	"os"

	"github.com/awskms-offline/awskms-offline/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
