// Package fakekms is the fake AWS KMS of package kmstest as a program; kmstest/testdata/fakekms is its main.
package fakekms

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// maxKeys is how many keys --keys takes: what the project's largest test needs, ten times.
const maxKeys = 1_000_000

type options struct {
	listen, testdata string
	keys, throttle   int
	latency          time.Duration
	denials          [][2]string // action, pattern of ARNs
	expired          bool
}

// Main runs the program until the context ends. It answers the exit code: 0 when it was interrupted, 1 if it could not start, 2 for wrong flags.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "fakekms:", err)
		return 2
	}
	if err := serve(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, "fakekms:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("fakekms", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to listen on, of loopback; port 0 is any free one")
	f.StringVar(&o.testdata, "testdata", "", "`folder` with records/ and keys/ to answer for")
	f.IntVar(&o.keys, "keys", 0, "add `n` ECC_NIST_P256 keys in us-east-1, all with one public key, named alias/key/0 and so on")
	f.DurationVar(&o.latency, "latency", 0, "`time` that every answer takes longer")
	f.IntVar(&o.throttle, "throttle-percent", 0, "`percent` of requests to throttle")
	f.BoolVar(&o.expired, "expired-credentials", false, "answer that all credentials are expired")
	f.Func("deny", "`action=pattern` to forbid: GetPublicKey=arn:aws:kms:*; may be given several times", func(value string) error {
		action, pattern, ok := strings.Cut(value, "=")
		if !ok {
			return fmt.Errorf("want action=pattern")
		}
		o.denials = append(o.denials, [2]string{action, pattern})
		return nil
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	address, err := netip.ParseAddrPort(o.listen)
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case err != nil || !address.Addr().IsLoopback():
		return o, fmt.Errorf("--listen is %q; want a loopback address and port, 127.0.0.1:8089", o.listen)
	case o.keys < 0 || o.keys > maxKeys:
		return o, fmt.Errorf("--keys is %d; want 0 to %d", o.keys, maxKeys)
	case o.throttle < 0 || o.throttle > 100:
		return o, fmt.Errorf("--throttle-percent is %d; want 0 to 100", o.throttle)
	case o.latency < 0:
		return o, fmt.Errorf("--latency is %v; want 0 or more", o.latency)
	}
	return o, nil
}

func serve(ctx context.Context, o options, stdout io.Writer) error {
	s := kmstest.New()
	var arns map[string]string
	if o.testdata != "" {
		var err error
		if arns, err = s.Load(o.testdata); err != nil {
			return err
		}
	}
	if o.keys > 0 {
		s.AddKeys(o.keys, kmstest.Key{Aliases: []string{"alias/key/%d"}})
	}
	if o.latency > 0 {
		s.SetLatency(o.latency)
	}
	if o.throttle > 0 {
		s.ThrottlePercent(o.throttle)
	}
	if o.expired {
		s.ExpireCredentials("")
	}
	for _, d := range o.denials {
		s.Deny(d[0], d[1])
	}
	if err := s.Listen(o.listen); err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintln(stdout, s.URL())
	for _, name := range slices.Sorted(maps.Keys(arns)) {
		fmt.Fprintf(stdout, "%s\t%s\n", name, arns[name])
	}
	<-ctx.Done()
	return nil
}
