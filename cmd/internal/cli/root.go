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
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/nearest"
	"github.com/awskms-offline/awskms-offline/internal/visible"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const name = "awskms-offline"

// app is one run of the command line.
type app struct {
	ctx            context.Context // ends with Ctrl-C, and with SIGTERM, as CI servers and time-outs send it
	stdin          io.Reader
	stdout, stderr io.Writer
	out, err       palette // of stdout and stderr

	home   string
	output string
	unsafe bool
	root   *cobra.Command
	args   []string
	// answer is what verify knows before it is decided, for the refusal in the machine's form.
	answer verifyAnswer
	// explain is verify's --explain.
	explain bool
	// asked is set once the verifier was asked, which logs its decision itself.
	asked bool
	// pages writes what cobra prints: help, versions, completions.
	pages pageWriter
	// printed is set by a command whose result holds its refusals already.
	printed bool
	// warned are the warnings that were told.
	warned []string
}

// Main runs the command line with args, which are without the program's name, and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, args: args, out: paletteFor(stdout), err: paletteFor(stderr)}
	defer enableColours(a.out, a.err)()
	defer func() {
		if r := recover(); r != nil {
			a.stopped(r)
			code = kmserr.ExitOurSide
		}
	}()
	ctx, stop := untilSignal()
	defer stop()
	a.ctx = ctx

	root := a.command()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = helpInstead(command)
	}
	if a.pages.err != nil && err == nil {
		err = unwritten(a.pages.err)
	}
	if err != nil && !a.printed {
		err = a.refuse(command, err)
	}
	if lost := a.delivered(); lost != nil {
		a.say(lost)
		err = errors.Join(err, lost)
	}
	return kmserr.ExitCode(err)
}

// stopped answers a panic like any other refusal, in the log and in the machine's form too. Should that panic as well, only a
// sentence is left.
func (a *app) stopped(panicked any) {
	err := kmserr.New(kmserr.Internal, "the command stopped: %v", panicked).WithHint("%s", kmserr.Lookup(kmserr.Internal).Cure)
	answered := a.survives(func() {
		command, _, _ := a.root.Find(a.args)
		if a.printed { // nothing may follow the result
			a.logRefusal(command, err)
			a.say(err)
			return
		}
		_ = a.refuse(command, err) // the exit code is the gravest already
	})
	if !answered {
		a.survives(func() { a.say(err) })
	}
}

// survives reports whether do returned.
func (*app) survives(do func()) (returned bool) {
	defer func() { _ = recover() }() // what it was about is told, or cannot be
	do()
	return true
}

// termGrace is how long a command may go on after SIGTERM, to say how far it came. Who sends it to end a hang, as timeout does,
// sends it once; who presses Ctrl-C can press it again.
const termGrace = 5 * time.Second

// untilSignal returns a context that ends with the first Ctrl-C or SIGTERM. The second ends the process, as does the end of
// termGrace: a command may hang in writing to a pipe that nobody reads. stop ends the watch.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		var got os.Signal
		select {
		case got = <-signals:
		case <-done:
			return
		}
		signal.Stop(signals)
		cancel()
		if got != syscall.SIGTERM {
			return
		}
		select {
		case <-done:
		case <-time.After(termGrace):
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Signal(got) // Windows has no such signal, and ends the process itself
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// Command is the command line as Main runs it, for those who describe it: it does nothing.
func Command() *cobra.Command { return new(app).command() }

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "Verify signatures of AWS KMS keys with no network and no credentials",
		Long: "awskms-offline verifies signatures of AWS KMS keys with no network and no credentials, by the same key IDs, ARNs\n" +
			"and aliases, from a store of keys that were downloaded before.\n\n" +
			"Pages that are named docs/… are in https://github.com/awskms-offline/awskms-offline/tree/main/docs.",
		Example:       "  awskms-offline keys import release.json release-state.json --alias alias/release\n  awskms-offline verify --key-id alias/release --signature app.sig app.tar.gz",
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2,
		Version:                    buildinfo.Version,
		Args:                       noSuchCommand,
		RunE:                       noCommand,
	}
	a.pages.w = a.stdout
	root.SetIn(a.stdin)
	root.SetOut(&a.pages)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if asksForJSON(a.args) {
			a.output = "json" // it may stand behind the flag that could not be read
		}
		// Where a command belongs and a misspelt one stands, its flags are unknown too, and no fault.
		if _, rest, findErr := c.Root().Find(a.args); c.HasAvailableSubCommands() && findErr == nil && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			return noSuchCommand(c, rest)
		}
		var twice givenTwice
		var value *pflag.InvalidValueError
		if errors.As(err, &value) && errors.As(err, &twice) {
			return invalid("--%s %v", value.GetFlag().Name, twice).WithCause(err).WithHint("Give it once: of two values only the last would count.")
		}
		if value != nil {
			return invalidValue(value).WithHint("See `%s --help`.", c.CommandPath())
		}
		e := invalid("%s", err.Error()).WithCause(err)
		if near := meantFlag(c, err); near != "" {
			return e.WithHint("Did you mean %s? See `%s --help`.", near, c.CommandPath())
		}
		return e.WithHint("See `%s --help`.", c.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", "", "the key store's folder, an absolute path (default: found as docs/keystore.md says)")
	flags.StringVar(&a.output, "output", "text", "text for people, json for machines")
	flags.BoolVar(&a.unsafe, "unsafe-store-permissions", false, "take a store that others can write")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := noneEmpty(c); err != nil {
			return err
		}
		switch a.output {
		case "text", "json":
			return nil
		case "pem", "der":
			if c.CommandPath() == name+" keys show" {
				return nil
			}
		}
		if c.CommandPath() == name+" keys show" {
			return invalid("--output is %q, expected text, json, pem or der", a.output)
		}
		return invalid("--output is %q, expected text or json", a.output)
	}
	root.AddCommand(a.keys(), a.verify(), a.digest(), a.sign(), a.encrypt(), a.derive(), a.cert(), a.policy(), a.audit(), a.doctor(), a.notation(), a.version())
	strictDefaults(root)
	eachOnce(root)
	a.root = root
	return root
}

// invalidValue says of a flag's value what was expected: what package strconv says is for programmers.
func invalidValue(err *pflag.InvalidValueError) *kmserr.Error {
	f := err.GetFlag()
	expected := map[string]string{
		"bool": "true or false", "int": "a whole number", "int64": "a whole number", "duration": "a time such as 90s or 5m",
		"stringSlice": "values separated by commas, or one in a flag of its own",
	}[f.Value.Type()]
	if expected == "" {
		return invalid("--%s is %q: %v", f.Name, err.GetValue(), err.Unwrap()).WithCause(err)
	}
	if errors.Is(err, strconv.ErrRange) {
		expected += " that is nearer to 0"
	}
	return invalid("--%s is %q, expected %s", f.Name, err.GetValue(), expected).WithCause(err)
}

// helpInstead refuses help, or the version, where something was to be done as well: a file that somebody named --help must
// not pass for verified because a page was printed.
func helpInstead(c *cobra.Command) error {
	asked := ""
	for _, n := range []string{"help", "version"} {
		if f := c.Flags().Lookup(n); asked == "" && f != nil && f.Changed {
			asked = n
		}
	}
	if asked == "" {
		return nil
	}
	more := c.Flags().NArg() > 0
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { more = more || f.Changed && f.Name != asked })
	if !more {
		return nil
	}
	return invalid("--%s is given beside other arguments: the %[1]s was printed, and nothing else was done", asked).
		WithHint("To name a file that begins with a dash, write ./ before its name, or -- before it.")
}

// noneEmpty refuses a flag that is given and empty, as a shell's variable that is not set makes it: what the flag was to
// demand, a head of the log or a tar's SHA-256, would be demanded by nobody.
func noneEmpty(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "home", "message-type": // have words of their own
			return
		case "distinguishing-id": // may be empty
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			if values = list.GetSlice(); len(values) == 0 {
				values = []string{""}
			}
		}
		// Whoever blocks a key is in a hurry, and what is said of it can be said later.
		if err == nil && slices.Contains(values, "") && c.CommandPath() != name+" keys block" {
			hint := "Give one, or leave the flag out; a variable that is not set is empty."
			if strings.HasPrefix(f.Name, "expect-") {
				hint = "A variable that is not set is empty: without the value nothing is checked."
			}
			err = invalid("--%s is empty, expected a value", f.Name).WithHint("%s", hint)
		}
	})
	return err
}

// asksForJSON reports whether args have --output json, for a call whose flags could not be read.
func asksForJSON(args []string) bool {
	for i, arg := range args {
		switch {
		case arg == "--":
			return false
		case arg == "--output=json", arg == "--output" && i+1 < len(args) && args[i+1] == "json":
			return true
		}
	}
	return false
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
			c.RunE = noCommand
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

// noCommand refuses a call without a command, as a shell's unset variable in its place leaves it, and shows what there is.
func noCommand(c *cobra.Command, _ []string) error {
	c.SetOut(c.ErrOrStderr())
	_ = c.Help() // the error says what matters
	return invalid("no command of %s is given", c.CommandPath())
}

// noSuchCommand refuses a word where a command belongs, with the nearest ones.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := invalid("%q is no command of %s", args[0], c.CommandPath())
	near := c.SuggestionsFor(args[0])
	if len(near) == 0 { // `import` for `keys import`
		for _, group := range c.Commands() {
			for _, command := range group.Commands() {
				if command.Name() == args[0] {
					near = append(near, "`"+command.CommandPath()+"`")
				}
			}
		}
	}
	if len(near) > 0 {
		return e.WithHint("Did you mean %s?", strings.Join(near, " or "))
	}
	return e.WithHint("See `%s --help`.", c.CommandPath())
}

// meantFlag returns the flag of c that a person most likely meant by the one that err says is unknown: the only one of
// which the one is the other's beginning (--key for --key-id), else the nearest. "" if there is none.
func meantFlag(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return ""
	}
	asked := unknown.GetSpecifiedName()
	var names, alike []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		names = append(names, f.Name)
		if strings.HasPrefix(f.Name, asked) || strings.HasPrefix(asked, f.Name) {
			alike = append(alike, f.Name)
		}
	})
	near := ""
	switch len(alike) {
	case 0:
		near = nearest.Name(asked, names)
	case 1:
		near = alike[0]
	}
	if near == "" {
		return ""
	}
	return "--" + near
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
	if n == 0 {
		return "none is"
	}
	return count(n, "argument is", "arguments are")
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return invalid("%s takes %s, but none is given", c.CommandPath(), what).WithHint("See `%s --help`.", c.CommandPath())
		}
		return nil
	}
}

func atMostOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return invalid("%s takes %s, but %s given", c.CommandPath(), what, given(len(args))).WithHint("See `%s --help`.", c.CommandPath())
		}
		return nil
	}
}

// count is a number of things, and what is said of them.
func count[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
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

// storeOptions are those of the policy in force. One that cannot be told keeps everything from verifying; what only looks at the
// store, or brings keys, goes on, as strictly as that policy might want it.
func (a *app) storeOptions(home keystore.Home) keystore.Options {
	options, err := verifier.StoreOptions(home.Path, a.unsafe)
	if err != nil {
		a.warn([]string{fmt.Sprintf("the store's permissions are taken for strict, as what the policy says of them cannot be told: %v", err)})
	}
	return options
}

func (a *app) openStore() (*keystore.Store, error) {
	store, err := a.openStoreWith(a.storeOptions)
	if err == nil {
		a.warn(store.Warnings())
	}
	return store, err
}

// openStoreQuietly is for a command that tells of the store and its policy elsewhere. Several goroutines may call it.
func (a *app) openStoreQuietly() (*keystore.Store, error) {
	return a.openStoreWith(func(home keystore.Home) keystore.Options {
		options, _ := verifier.StoreOptions(home.Path, a.unsafe) // the policy's error is among what is told elsewhere
		return options
	})
}

func (a *app) openStoreWith(options func(keystore.Home) keystore.Options) (*keystore.Store, error) {
	home, err := keystore.Locate(a.homeFlag(), "--home")
	if err != nil {
		return nil, err
	}
	store, err := keystore.Open(home, options(home))
	return store, a.ofHome(err)
}

// ofHome names the flag in the refusal of a store whose folder is none.
func (a *app) ofHome(err error) error {
	if info, statErr := os.Stat(a.home); kmserr.Is(err, kmserr.StoreAccess) && a.home != "" && statErr == nil && !info.IsDir() {
		return kmserr.New(kmserr.StoreAccess, "--home names %s, which is no folder", a.home).WithCause(err).
			WithHint("Name the key store's folder; `awskms-offline doctor` tells the one in use without the flag.")
	}
	return err
}

func (a *app) openWriter() (*keystore.Writer, error) { return a.openWriterWith(a.storeOptions) }

// openToBlock opens the store whatever the policy says: a block only takes away, and whoever needs one is in a hurry.
func (a *app) openToBlock() (*keystore.Writer, error) {
	return a.openWriterWith(func(keystore.Home) keystore.Options { return keystore.Options{UnsafePermissions: a.unsafe} })
}

func (a *app) openWriterWith(options func(keystore.Home) keystore.Options) (*keystore.Writer, error) {
	home, err := keystore.LocateToWrite(a.homeFlag(), "--home")
	if err != nil {
		return nil, err
	}
	w, err := keystore.OpenWriter(home, options(home))
	if err != nil {
		return nil, a.ofHome(err)
	}
	a.warn(w.Store().Warnings())
	return w, nil
}

func (a *app) openVerifier(maxMessage int64) (*verifier.Verifier, error) {
	options := a.verifierOptions()
	options.MaxMessage = maxMessage
	v, err := verifier.Open(options)
	return v, a.ofHome(err)
}

func (a *app) verifierOptions() verifier.Options {
	var explain func(verifier.Step)
	if a.explain {
		explain = func(s verifier.Step) { fmt.Fprintf(a.stderr, "%s\n", plain(s.String())) }
	}
	return verifier.Options{
		Explain: explain,
		Home:    a.homeFlag(), HomeOption: "--home", UnsafeStorePermissions: a.unsafe,
		FrontEnd: audit.FrontEnd{Name: name, Version: buildinfo.Version},
	}
}

// say prints a line for a person beside the result: the fact, then the hint on a line of its own.
func (a *app) say(err error) {
	e := kmserr.As(err)
	text := e.Error()
	if e.KeyARN != "" && !strings.Contains(text, e.KeyARN) {
		text += " (" + e.KeyARN + ")"
	}
	code, fact, named := strings.Cut(plain(text), ":")
	if named {
		code = a.err.bad(code) + ":"
	}
	fmt.Fprintf(a.stderr, "%s: %s%s\n", name, code, fact)
	if e.Hint != "" {
		fmt.Fprintf(a.stderr, "%s %s\n", a.err.aside("hint:"), plain(e.Hint))
	}
}

// refuse prints err, each part of a joined one, and in the machine's form where that is asked for. It returns err, and
// what kept it from being written.
func (a *app) refuse(c *cobra.Command, err error) error {
	a.logRefusal(c, err)
	var all []machineError
	for _, one := range parts(err) {
		a.say(one)
		all = append(all, errorJSON(one))
	}
	if a.output != "json" {
		return err
	}
	problem := all[0]
	refusal := map[string]any{"Error": problem}
	if len(all) > 1 {
		refusal["Errors"] = all
	}
	var result any = refusal
	if eventOf(c) == audit.EventVerify {
		answer := a.answer
		answer.KeyID, answer.Error = problem.KeyID, &problem
		result = answer
	}
	if writeErr := a.json(result); writeErr != nil {
		a.say(writeErr)
		return errors.Join(err, writeErr)
	}
	return err
}

// logRefusal leaves the line of a call that the verifier was not asked about, or not only.
func (a *app) logRefusal(c *cobra.Command, err error) {
	event := eventOf(c)
	if event == "" || a.asked {
		return
	}
	keyID, _ := c.Flags().GetString("key-id")
	a.logLine(event, keyID, err)
}

func (a *app) logLine(event, keyID string, refusal error) {
	if why := verifier.LogRefusal(context.Background(), a.verifierOptions(), event, keyID, refusal); why != nil {
		a.warn([]string{fmt.Sprintf("the refusal was not logged: %v", why)})
	}
}

// result prints v in the machine's form, where v tells the failures itself, and says them to people as well.
func (a *app) result(v any, failures []error) error {
	if err := a.json(v); err != nil {
		return errors.Join(append(failures, err)...)
	}
	for _, err := range failures {
		for _, one := range parts(err) {
			a.say(one)
		}
	}
	a.printed = true
	return errors.Join(failures...)
}

// parts returns the errors that were joined, however deep, or err alone.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, parts(one)...)
	}
	return all
}

// plain returns text for a terminal: the reason of a block or the name of a file must not move the cursor or look like a line
// of our own.
func plain(text string) string { return visible.Text(text) }

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
		if !slices.Contains(a.warned, w) { // a command may open the store more than once
			a.warned = append(a.warned, w)
			fmt.Fprintf(a.stderr, "%s %s\n", a.err.caution("warning:"), plain(w))
		}
	}
}

// note prints what a person should know beside a result.
func (a *app) note(text string) { fmt.Fprintf(a.stderr, "%s %s\n", a.err.aside("note:"), plain(text)) }

// encoded is v as JSON. A name of a file may be no UTF-8; what is none becomes U+FFFD, for an answer without a letter is
// better than none.
func encoded(v any, options ...json.Options) ([]byte, error) {
	return json.Marshal(v, append(options, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))...)
}

// json prints v as one indented object.
func (a *app) json(v any) error {
	b, err := encoded(v, jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return a.write(append(visible.JSON(b), '\n'))
}

// write writes the result. A result that cannot be written is an error: nobody has it.
func (a *app) write(b []byte) error {
	if _, err := a.stdout.Write(b); err != nil {
		return unwritten(err)
	}
	return nil
}

func unwritten(err error) error {
	return kmserr.New(kmserr.StoreAccess, "the result cannot be written to standard output: %v", err).WithCause(err)
}

// pageWriter keeps the error of writing for Main: cobra shows nobody that of help, and that of a completion as it is.
type pageWriter struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (p *pageWriter) Write(b []byte) (int, error) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
	return len(b), nil
}

// delivered closes standard output if it is a file: there are file systems of the network that say only then that they have
// no room for what was written. Nothing is written afterwards.
func (a *app) delivered() error {
	file, ok := a.stdout.(interface {
		Stat() (fs.FileInfo, error)
		io.Closer
	})
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if err := file.Close(); err != nil {
		return kmserr.New(kmserr.StoreAccess, "the result cannot be written to standard output: %v", reason(err)).
			WithHint("Do not rely on the file: make room for it, then run the command again.").WithCause(err)
	}
	return nil
}

func (a *app) printf(format string, args ...any) error {
	return a.write(fmt.Appendf(nil, format, args...))
}

// oneStandardInput refuses files of which more than one is to be read from standard input.
func oneStandardInput(files []string) error {
	if n := len(slices.DeleteFunc(slices.Clone(files), func(file string) bool { return file != "-" })); n > 1 {
		return invalid("%d files are to be read from standard input, expected one", n).WithHint("Give the others as files.")
	}
	return nil
}
