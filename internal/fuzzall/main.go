// Command fuzzall runs every native fuzz target of the module, one after the other, each for the same time.
//
// `go test -fuzz` takes one target of one package a call; a list kept by hand would miss the target that was added last.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	each := flag.Duration("time", time.Minute, "how long each target runs")
	flag.Parse()
	if err := run(*each); err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(1)
	}
}

func run(each time.Duration) error {
	packages, err := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...").Output()
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	targets := 0
	for _, pkg := range strings.Fields(string(packages)) {
		names, err := exec.Command("go", "test", "-list", "^Fuzz", pkg).Output()
		if err != nil {
			return fmt.Errorf("list the fuzz targets of %s: %w", pkg, err)
		}
		for _, name := range strings.Fields(string(names)) {
			if !strings.HasPrefix(name, "Fuzz") {
				continue
			}
			targets++
			fmt.Printf("fuzz %s %s for %s\n", pkg, name, each)
			cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", each.String(),
				"-fuzzminimizetime", "10x", pkg) // else a slow target spends all its time on making inputs shorter
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s %s: %w\n%s", pkg, name, err, out)
			}
		}
	}
	if targets == 0 {
		return fmt.Errorf("no fuzz target was found")
	}
	fmt.Printf("%d fuzz targets ran, none found a failure\n", targets)
	return nil
}
