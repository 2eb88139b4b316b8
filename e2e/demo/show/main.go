// Command show is the demo itself, once everything is built; see command demo, which builds and runs it.
//
// It shows the main job from end to end, in a throw-away home and with no network but the loopback interface:
// an image that an AWS KMS key signed is pushed to a registry of its own, and the real notation verifies it by the key's
// ARN, with our plugin. Then it refuses one whose key was disabled. Our own command line verifies what notation cannot, an
// SM2 signature with a distinguishing ID of its own; and so does the real cosign, if it is built already.
//
// Every command is printed as it runs. The exit code is 0 only if every one of them answered as it should.
package main

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

const store = "kms"

func main() {
	d := new(demo)
	flag.StringVar(&d.root, "root", "", "the main module's `DIR`, with the clients built")
	flag.StringVar(&d.bin, "bin", "", "our binaries are in `DIR`")
	flag.BoolVar(&d.keep, "keep", false, "at the end keep the home, and the registry until Ctrl-C, to try the commands")
	flag.Parse()
	if flag.NArg() > 0 || !filepath.IsAbs(d.root) || !filepath.IsAbs(d.bin) {
		flag.Usage()
		os.Exit(2)
	}
	if err := d.run(); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

type demo struct {
	root, bin string
	keep      bool
	steps     int
	host      *harness.Host
	registry  *harness.Registry
}

func (d *demo) run() (err error) {
	dir, err := os.MkdirTemp("", "awskms-offline-demo-")
	if err != nil {
		return err
	}
	if !d.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if d.registry, err = harness.StartRegistry(); err != nil {
		return err
	}
	defer d.registry.Close()

	good, disabled, err := d.cases()
	if err != nil {
		return err
	}
	if err := d.home(dir); err != nil {
		return err
	}
	if err := d.records(); err != nil {
		return err
	}
	if err := d.notation(good, disabled); err != nil {
		return err
	}
	if err := d.verify(good, disabled); err != nil {
		return err
	}
	if err := d.sm2(); err != nil {
		return err
	}
	if err := d.cosign(); err != nil {
		return err
	}

	fmt.Print(`
All as it should be.

Read next:
  docs/notation.md       the same for your own keys: install the plugin, the safe set-up, what each refusal means
  docs/cosign.md         the same with cosign
  docs/testdata.md       the keys, images and signatures that the demo used, and the bad ones it did not show
  go run ./demo -keep    in e2e/: keeps the home and the registry, to try the commands above
`)
	if d.keep {
		fmt.Printf("\nThe home is %s; remove it when you are done. The registry runs until Ctrl-C.\n", dir)
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		<-interrupted
	}
	return nil
}

// step prints a heading.
func (d *demo) step(title string) {
	d.steps++
	fmt.Printf("\n%d. %s\n\n", d.steps, title)
}

// cases picks the two images.
func (d *demo) cases() (good, disabled fixture.Case, err error) {
	cases, err := fixture.Cases(d.testdata())
	if err != nil {
		return good, disabled, err
	}
	for _, c := range cases {
		switch c.Name {
		case "cose-p256":
			good = c
		case "cose-disabled":
			disabled = c
		}
	}
	if good.Name == "" || disabled.Name == "" {
		return good, disabled, errors.New("testdata lacks the demo's images")
	}
	return good, disabled, nil
}

func (d *demo) testdata() string { return filepath.Join(d.root, "testdata") }

// home makes the throw-away home and prints the environment of all commands.
func (d *demo) home(dir string) (err error) {
	d.step("A throw-away home; nothing of yours is read or written")
	if d.host, err = harness.NewHost(dir, build.ClientPath(d.root, "notation"), d.bin); err != nil {
		return err
	}
	d.host.WorkDir = d.root
	d.host.Trace = func(line string) { fmt.Println("$ " + d.short(line)) }
	fmt.Println("$ cd " + harness.CommandLine(d.root))
	for _, variable := range d.host.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		switch name {
		case "HOME", "XDG_CONFIG_HOME", "AWSKMS_OFFLINE_HOME":
			fmt.Println("$ export " + name + "=" + harness.CommandLine(value))
		}
	}
	return nil
}

// short leaves out the folder in which the commands run.
func (d *demo) short(line string) string {
	return strings.ReplaceAll(line, d.root+string(filepath.Separator), "")
}

// expect runs a program and demands the exit code; what it printed is shown.
func (d *demo) expect(code int, program string, args ...string) error {
	r, err := d.host.Run(program, args...)
	if err != nil {
		return err
	}
	show(r.Stdout)
	show(r.Stderr)
	return d.demand(r, code)
}

func (d *demo) demand(r harness.Result, code int) error {
	if r.Code != code {
		return fmt.Errorf("exit code %d where %d was expected, of:\n%s", r.Code, code, r)
	}
	fmt.Printf("    → exit code %d, as expected\n\n", r.Code)
	return nil
}

// show indents what a program said.
func show(text string) {
	for line := range strings.Lines(text) {
		fmt.Println("    " + strings.TrimRight(line, "\r\n"))
	}
}

// records imports what `aws kms get-public-key` and `aws kms describe-key` answered.
func (d *demo) records() error {
	d.step("The keys, once, where AWS can be reached: the answers of aws kms get-public-key and describe-key, kept offline")
	var files []string
	for _, name := range []string{"p256", "p256-disabled", "sm2"} {
		files = append(files, fixture.Lookup(name).Records(d.testdata())...)
	}
	return d.expect(0, d.host.CLI, append([]string{"keys", "import", "--home", d.host.Home}, files...)...)
}

// notation sets up the real notation: plugin, certificates, a trust policy that names KMS keys by their ARNs.
func (d *demo) notation(cases ...fixture.Case) error {
	d.step("notation: our plugin, the keys' certificates, and a trust policy that names nothing but key ARNs")
	if err := d.host.InstallPlugin(filepath.Join(d.bin, build.Executable("notation-awskms-offline"))); err != nil {
		return err
	}
	var certificates []string
	var statements []harness.Statement
	for _, c := range cases {
		certificates = append(certificates, fixture.Lookup(c.SigningKey).CertificateFile(d.testdata()))
		statements = append(statements, harness.Statement{
			Name: c.Name, Scopes: []string{d.registry.Scope(c.Name)}, Level: "strict",
			Stores: []string{"ca:" + store}, Identities: c.Identities,
		})
	}
	if err := d.host.AddCertificates(store, certificates...); err != nil {
		return err
	}
	if err := d.host.WriteTrustPolicy(statements...); err != nil {
		return err
	}
	fmt.Println()
	for _, s := range statements {
		fmt.Printf("    %s: level %s, trusts %s\n", s.Scopes[0], s.Level, strings.Join(s.Identities, ", "))
	}
	return nil
}

// verify pushes the images and runs notation on them.
func (d *demo) verify(good, disabled fixture.Case) error {
	d.step("Two signed images in a registry (in this process, on " + d.registry.Host + "), and the real notation verify")
	for _, c := range []fixture.Case{good, disabled} {
		if err := d.registry.Push(fixture.LayoutDir(d.testdata()), c.Name, c.Name); err != nil {
			return err
		}
	}

	fmt.Println("# " + good.About)
	r, err := d.host.VerifyRegistry(d.registry.Reference(good.Name, good.Digest))
	if err != nil {
		return err
	}
	show(r.Stdout)
	if len(harness.Reasons(r.Stderr)) > 0 {
		return fmt.Errorf("a good signature verified with a warning:\n%s", r)
	}
	if err := d.demand(r, 0); err != nil {
		return err
	}

	fmt.Println("# " + disabled.About)
	if r, err = d.host.VerifyRegistry(d.registry.Reference(disabled.Name, disabled.Digest)); err != nil {
		return err
	}
	reasons := strings.Join(harness.Reasons(r.Stderr), "\n")
	show(reasons)
	for _, part := range disabled.Reason {
		if !strings.Contains(reasons, part) {
			return fmt.Errorf("the reason does not name %q:\n%s", part, r)
		}
	}
	return d.demand(r, 1)
}

// sm2 verifies with our own command line what notation, whose core knows no SM2, cannot.
func (d *demo) sm2() error {
	d.step("What notation cannot verify: SM2, with a distinguishing ID of the signer's own")
	dir := filepath.Join(d.testdata(), "sm2")
	id, err := os.ReadFile(filepath.Join(dir, "distinguishing-id.txt"))
	if err != nil {
		return err
	}
	verify := func(options ...string) []string {
		args := append([]string{"verify", "--home", d.host.Home, "--key-id", fixture.Lookup("sm2").ARN()}, options...)
		return append(args, "--signature", filepath.Join(dir, "signature.der"), filepath.Join(dir, "message.txt"))
	}
	if err := d.expect(0, d.host.CLI, verify("--distinguishing-id", string(id))...); err != nil {
		return err
	}
	fmt.Println("# Under the default distinguishing ID the same signature is not one.")
	return d.expect(1, d.host.CLI, verify()...)
}

// cosign verifies the same SM2 signature with the real cosign, which knows nothing of SM2 itself. Building cosign takes
// minutes, so the demo does not wait for one.
func (d *demo) cosign() error {
	client := build.ClientPath(d.root, "cosign")
	if _, err := os.Stat(client); err != nil {
		fmt.Print("\ncosign is not built, so its step is left out. make clients builds it, in some minutes.\n")
		return nil
	}
	d.step("cosign: our plugin on PATH, the key by its ARN, the same SM2 signature")
	d.host.Bin = d.bin
	fmt.Println("$ export PATH=" + d.short(d.bin) + string(os.PathListSeparator) + "$PATH")
	dir := filepath.Join(d.testdata(), "sm2")
	id, err := os.ReadFile(filepath.Join(dir, "distinguishing-id.txt"))
	if err != nil {
		return err
	}
	der, err := os.ReadFile(filepath.Join(dir, "signature.der"))
	if err != nil {
		return err
	}
	// cosign reads signatures in base64.
	signature := filepath.Join(d.host.Dir, "message.sig")
	if err := os.WriteFile(signature, []byte(base64.StdEncoding.EncodeToString(der)), 0o600); err != nil {
		return err
	}
	key := "awskms-offline://" + fixture.Lookup("sm2").ARN()
	verify := func(code int, key string) error {
		return d.expect(code, client, "verify-blob", "--key", key, "--signature", signature, "--insecure-ignore-tlog", filepath.Join(dir, "message.txt"))
	}
	if err := verify(0, key+"?distinguishing-id="+url.PathEscape(string(id))); err != nil {
		return err
	}
	fmt.Println("# the same without the signer's distinguishing ID")
	return verify(1, key)
}
