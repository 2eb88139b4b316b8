// Command manpages writes the command line's man pages and shell completions into a folder:
//
//	go run ./cmd/internal/manpages bin/share
//
// SOURCE_DATE_EPOCH (reproducible-builds.org), seconds since 1970, is the date in the pages; without it today's.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manpages DIR")
		os.Exit(2)
	}
	date := time.Now()
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			fmt.Fprintf(os.Stderr, "manpages: SOURCE_DATE_EPOCH is %q, expected seconds since 1970\n", text)
			os.Exit(2)
		}
		date = time.Unix(seconds, 0).UTC()
	}
	if err := write(os.Args[1], date); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}
