// Command demo builds what the demo needs and runs it: the real notation from the pinned sources, our command line and
// plugin from this checkout, and command show, which says what is to be seen. It needs Go and nothing else.
//
// It links next to nothing, so that it can say what takes so long a few seconds after it was called, even where Go has to
// compile the whole standard library first.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
)

func main() {
	keep := flag.Bool("keep", false, "at the end keep the home, and the registry until Ctrl-C, to try the commands")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	start := time.Now()
	err := run(*keep)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		// Command show has said what went wrong.
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Printf("\nThe demo took %.0f s, with all that had to be built.\n", time.Since(start).Seconds())
}

func run(keep bool) error {
	fmt.Print("awskms-offline: an image that an AWS KMS key signed, verified without AWS, credentials or network.\n\n")
	root, err := build.Root()
	if err != nil {
		return err
	}
	bin := filepath.Join(root, "bin")
	if err := build.EnsureProducts(root, bin, os.Stdout); err != nil {
		return err
	}
	if err := build.EnsureClients(root, os.Stdout, "notation"); err != nil {
		return err
	}
	show := filepath.Join(root, ".cache", build.Executable("demo"))
	if err := build.Package(root, "./demo/show", show, os.Stdout); err != nil {
		return err
	}
	args := []string{"-root", root, "-bin", bin}
	if keep {
		args = append(args, "-keep")
	}
	cmd := exec.Command(show, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
