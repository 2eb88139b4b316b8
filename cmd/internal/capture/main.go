// Command capture lets the real AWS KMS sign and writes what it answered as test vectors: the oracle that no emulator
// is. testdata/vectors/README.md says how to add them. It takes AWS's usual credential chain and calls GetPublicKey,
// DescribeKey and Sign.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		os.Exit(1)
	}
}
