// Command clients builds the real clients that the end-to-end tests and the demo run, into .cache/clients of the main
// module: those that are named, or all. What is built already from the same pins is left alone.
package main

import (
	"fmt"
	"os"
	"slices"

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
	names := os.Args[1:]
	if len(names) == 0 {
		for _, c := range build.Clients {
			names = append(names, c.Name)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(build.Clients, func(c build.Client) bool { return c.Name == name }) {
			return fmt.Errorf("there is no client %q", name)
		}
		if err := build.EnsureClients(root, os.Stdout, name); err != nil {
			return err
		}
		fmt.Println(build.ClientPath(root, name))
	}
	return nil
}
