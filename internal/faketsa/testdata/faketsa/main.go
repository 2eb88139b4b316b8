// Command faketsa runs the timestamping authority of package faketsa as a program, for tests of other modules:
//
//	go run ./internal/faketsa/testdata/faketsa ROOT.pem
//
// It writes its root certificate to ROOT.pem and its URL on stdout, and serves on loopback until it is killed.
//
// It stands below testdata so that no wildcard of the go command finds it.
package main

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/faketsa"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faketsa:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the file for the root certificate")
	}
	authority, err := faketsa.New()
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[0], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root.Raw}), 0o600); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return (&http.Server{Handler: authority, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
}
