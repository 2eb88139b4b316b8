// Command sigstore-kms-awskms-offline is the sigstore KMS plugin for the scheme awskms-offline://.
package main

import (
	"os"

	"github.com/awskms-offline/awskms-offline/plugin/sigstore"
)

func main() {
	os.Exit(sigstore.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
