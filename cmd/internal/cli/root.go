// Package cli is the command line awskms-offline, one file a command. Main is its only entrance; it never calls os.Exit.
//
// A command returns an error or nothing: what is printed for an error, and the exit code, are decided in one place, by
// the table in kmserr. Results go to standard output, everything said to a person beside them to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const name = "awskms-offline"

// app is one run of the command line.
type app struct {
	ctx            context.Context // ends with Ctrl-C
	stdin          io.Reader
	stdout, stderr io.Writer

	home   string
	output string
	unsafe bool
	root   *cobra.Command
	// refused is set by a command that has printed its refusal in the machine's form itself.
	printed bool
}

// Main runs the command line with args, which are without the program's name, and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	defer func() {
		if r := recover(); r != nil {
			a.say(kmserr.New(kmserr.Internal, "the command stopped: %v", r).WithHint("%s", kmserr.Lookup(kmserr.Internal).Cure))
			code = kmserr.ExitOurSide
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	a.ctx = ctx
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process

	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return kmserr.ExitDone
	}
	if !a.printed {
		a.refuse(err)
	}
	return kmserr.ExitCode(err)
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "Verify signatures of AWS KMS keys with no network and no credentials",
		Long: "awskms-offline verifies signatures of AWS KMS keys with no network and no credentials, by the same key IDs, ARNs\n" +
			"and aliases, from a store of keys that were downloaded before.",
		Example:       "  awskms-offline keys import release.json\n  awskms-offline verify --key-id alias/release --signature app.sig app.tar.gz",
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2,
		Version:                    buildinfo.Version,
		Args:                       noSuchCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return invalid("%s", err.Error()).WithHint("See `%s --help`.", c.CommandPath()).WithCause(err)
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", "", "the key store's folder, an absolute path (default: found as docs/keystore.md says)")
	flags.StringVar(&a.output, "output", "text", "text for people, json for machines")
	flags.BoolVar(&a.unsafe, "unsafe-store-permissions", false, "take a store that others can write")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		switch a.output {
		case "text", "json":
			return nil
		case "pem", "der":
			if c.Name() == "show" {
				return nil
			}
		}
		return invalid("--output is %q, expected text or json", a.output)
	}
	root.AddCommand(a.keys(), a.verify(), a.digest(), a.doctor(), a.version())
	strictDefaults(root)
	a.root = root
	return root
}

// strictDefaults makes cobra's own two commands refuse what they do not know: by default they print a help page and
// exit with 0, so that a script which misspells a shell's name installs that page as its completion.
func strictDefaults(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args, c.SuggestionsMinimumDistance = noSuchCommand, 2
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			for _, shell := range c.Commands() {
				shell.Example = "  " + shell.CommandPath() + " > " + name + "." + shell.Name()
				shell.Args = exactly(0, "no argument")
			}
		case "help":
			c.Example = "  " + name + " help keys import"
			c.Run = nil
			c.RunE = func(c *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err != nil {
					return invalid("%v", err).WithCause(err)
				}
				if len(rest) > 0 {
					return noSuchCommand(topic, rest)
				}
				topic.InitDefaultHelpFlag()
				return topic.Help()
			}
		}
	}
}

// noSuchCommand refuses a word where a command belongs, with the nearest ones.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := invalid("%q is no command of %s", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return e.WithHint("Did you mean %s?", strings.Join(near, " or "))
	}
	return e.WithHint("See `%s --help`.", c.CommandPath())
}

// exactly is cobra.ExactArgs in our words.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return invalid("%s takes %s, but %s given", c.CommandPath(), what, given(len(args))).
				WithHint("See `%s --help`.", c.CommandPath())
		}
		return nil
	}
}

func given(n int) string {
	switch n {
	case 0:
		return "none is"
	case 1:
		return "1 argument is"
	}
	return fmt.Sprintf("%d arguments are", n)
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return invalid("%s takes %s, but none is given", c.CommandPath(), what).WithHint("See `%s --help`.", c.CommandPath())
		}
		return nil
	}
}

func invalid(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}

// homeFlag returns --home if it was given, be it empty.
func (a *app) homeFlag() *string {
	if f := a.root.PersistentFlags().Lookup("home"); f != nil && f.Changed {
		return &a.home
	}
	return nil
}

func (a *app) storeOptions() keystore.Options {
	return keystore.Options{UnsafePermissions: a.unsafe}
}

func (a *app) openStore() (*keystore.Store, error) {
	home, err := keystore.Locate(a.homeFlag(), "--home")
	if err != nil {
		return nil, err
	}
	store, err := keystore.Open(home, a.storeOptions())
	if err != nil {
		return nil, err
	}
	a.warn(store.Warnings())
	return store, nil
}

func (a *app) openWriter() (*keystore.Writer, error) {
	home, err := keystore.LocateToWrite(a.homeFlag(), "--home")
	if err != nil {
		return nil, err
	}
	w, err := keystore.OpenWriter(home, a.storeOptions())
	if err != nil {
		return nil, err
	}
	a.warn(w.Store().Warnings())
	return w, nil
}

func (a *app) openVerifier(maxMessage int64) (*verifier.Verifier, error) {
	return verifier.Open(verifier.Options{
		Home: a.homeFlag(), HomeOption: "--home", UnsafeStorePermissions: a.unsafe, MaxMessage: maxMessage,
		FrontEnd: audit.FrontEnd{Name: name, Version: buildinfo.Version},
	})
}

// say prints a line for a person beside the result: the fact, then the hint on a line of its own.
func (a *app) say(err error) {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && !errors.As(err, new(*kmserr.Error)) {
		return
	}
	e := kmserr.As(err)
	text := e.Error()
	if e.KeyARN != "" && !strings.Contains(text, e.KeyARN) {
		text += " (" + e.KeyARN + ")"
	}
	fmt.Fprintf(a.stderr, "%s: %s\n", name, text)
	if e.Hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", e.Hint)
	}
}

// refuse prints err, each part of a joined one, and in the machine's form where that is asked for.
func (a *app) refuse(err error) {
	for _, one := range parts(err) {
		a.say(one)
	}
	if a.output == "json" {
		_ = a.json(map[string]any{"Error": errorJSON(err)})
	}
}

// parts returns the errors that were joined, or err alone.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// machineError is an error in JSON output.
type machineError struct {
	Code    string `json:"Code"`
	Message string `json:"Message"`
	Hint    string `json:"Hint,omitempty"`
	KeyID   string `json:"KeyId,omitempty"`
}

func errorJSON(err error) machineError {
	e := kmserr.As(err)
	return machineError{Code: string(e.Name), Message: e.Fact, Hint: e.Hint, KeyID: e.KeyARN}
}

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.stderr, "warning: %s\n", w)
	}
}

// json prints v as one indented object.
func (a *app) json(v any) error {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return a.write(append(b, '\n'))
}

// write writes the result. A result that cannot be written is an error: nobody has it.
func (a *app) write(b []byte) error {
	if _, err := a.stdout.Write(b); err != nil {
		return kmserr.New(kmserr.StoreAccess, "the result cannot be written to standard output: %v", err).WithCause(err)
	}
	return nil
}

func (a *app) printf(format string, args ...any) error {
	return a.write(fmt.Appendf(nil, format, args...))
}
