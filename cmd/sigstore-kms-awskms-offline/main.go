// The program answers within milliseconds. What Go's runtime would find out for a long run, the container's share of
// processors and names for its own memory, takes a tenth of that: docs/decisions/0017-settings-of-the-runtime.md.

//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0

// Command sigstore-kms-awskms-offline is the sigstore KMS plugin for the scheme awskms-offline://.
package main

import (
	"os"

	"github.com/awskms-offline/awskms-offline/plugin/sigstore"
)

func main() {
	os.Exit(sigstore.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
