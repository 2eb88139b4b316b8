// Command fakekms runs the fake AWS KMS of package kmstest as a program, for the documentation's examples and for tests
// of other modules:
//
//	go run ./cmd/internal/awskms/kmstest/testdata/fakekms --testdata testdata &
//	AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws kms list-keys --region us-east-1 --endpoint-url http://127.0.0.1:PORT
//
// The first line on stdout is the endpoint, "http://127.0.0.1:PORT"; then comes one line a key of testdata, its name and
// ARN. It ends at an interrupt. It signs whatever it is asked to with keys that are public, so it listens on loopback only.
//
// It stands below testdata so that no wildcard of the go command finds it: `go build ./cmd/...` makes what is released.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest/fakekms"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := fakekms.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
