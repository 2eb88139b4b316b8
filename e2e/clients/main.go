// Command clients builds the real clients that the end-to-end tests and the demo run, into .cache/clients of the main
// module. What is built already from the same pins is left alone.
package main

import (
	"fmt"
	"os"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	for _, c := range build.Clients {
		if err := build.EnsureClients(root, os.Stdout, c.Name); err != nil {
			return err
		}
		fmt.Println(build.ClientPath(root, c.Name))
	}
	return nil
}
