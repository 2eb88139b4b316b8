package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// Transports of an image to notation.
var transports = []string{"registry", "oci-layout"}

// verify runs the real notation on the case.
func (s *suite) verify(h *harness.Host, c fixture.Case, transport string, extra ...string) (harness.Result, error) {
	if transport == "registry" {
		return h.VerifyRegistry(s.registry.Reference(c.Name, c.Digest), extra...)
	}
	return h.VerifyLayout(s.layout, c.Digest, layoutScope+c.Name, extra...)
}

// check compares what notation did with the outcome, and looks for every part of the reason where a user finds reasons.
func check(t *testing.T, r harness.Result, want fixture.Outcome, reason []string) {
	t.Helper()
	reasons := strings.Join(harness.Reasons(r.Stderr), "\n")
	got := fixture.Refuses
	switch {
	case r.Code == 0 && !strings.Contains(r.Stdout, "Successfully verified signature for "):
		t.Errorf("exit code 0 without the word that it verified")
	case r.Code == 0 && reasons != "":
		got = fixture.Warns
	case r.Code == 0:
		got = fixture.Passes
	case !strings.Contains(r.Stderr, "Error: signature verification failed"):
		t.Errorf("exit code %d without the error that verification failed", r.Code)
	}
	if got != want {
		t.Errorf("notation %s, want that it %s", got, want)
	}
	for _, part := range reason {
		if !strings.Contains(reasons, part) {
			t.Errorf("the reason does not name %q", part)
		}
	}
	if t.Failed() {
		t.Log(r)
	}
}

// failedChecks lists the checks of which notation warns.
func failedChecks(stderr string) []string {
	var checks []string
	for line := range strings.Lines(stderr) {
		if after, ok := strings.CutPrefix(line, "Warning: "); ok {
			if name, _, ok := strings.Cut(after, ` was set to "log" and failed with error: `); ok {
				checks = append(checks, name)
			}
		}
	}
	return checks
}

// TestMatrix runs every signed image of testdata at every level, out of a registry and out of an OCI layout.
func TestMatrix(t *testing.T) {
	good, bad := 0, 0
	for _, c := range shared.cases {
		if c.Good() {
			good++
		} else {
			bad++
		}
		for _, level := range fixture.Levels {
			for _, transport := range transports {
				t.Run(c.Name+"/"+level+"/"+transport, func(t *testing.T) {
					t.Parallel()
					r, err := shared.verify(shared.hosts[level], c, transport)
					if err != nil {
						t.Fatal(err)
					}
					var reason []string
					if c.Outcomes[level] != fixture.Passes {
						reason = c.Reason
					}
					check(t, r, c.Outcomes[level], reason)
					if c.Outcomes[level] == fixture.Warns {
						// Revocation fails wherever the identity does; a failed state alone must not say that
						// the identity failed.
						failed := failedChecks(r.Stderr)
						if !slices.Contains(failed, c.Check) || c.Check == "revocation" && len(failed) != 1 {
							t.Errorf("notation warns of %v, want %s\n%s", failed, c.Check, r)
						}
					}
				})
			}
		}
	}
	// JWS and COSE: six keys and a multi-Region one; eleven ways to be bad.
	if good != 2*7 || bad != 2*11 {
		t.Errorf("testdata has %d good and %d bad images, want 14 and 22", good, bad)
	}
}

// confined is the scripts' NOTATION_CONFINED: yes where this system lets `awskms-offline notation` confine notation.
func confined(t *testing.T) string {
	t.Helper()
	h := shared.hosts["strict"]
	r, err := h.Run(h.CLI, "notation", "--notation", h.Notation, "version")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" || strings.Contains(r.Stderr, "this kernel has no Landlock") {
		return "no"
	}
	if r.Code != 0 {
		t.Fatal(r)
	}
	return "yes"
}

// host makes a host of its own for a test that needs another trust policy, plugin or key store.
func host(t *testing.T, statements ...harness.Statement) *harness.Host {
	t.Helper()
	h, err := shared.newHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.WriteTrustPolicy(statements...); err != nil {
		t.Fatal(err)
	}
	return h
}

// run verifies out of the registry.
func run(t *testing.T, h *harness.Host, c fixture.Case, extra ...string) harness.Result {
	t.Helper()
	r, err := shared.verify(h, c, "registry", extra...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// installAlwaysYes installs a plugin that says yes to everything.
func installAlwaysYes(t *testing.T, h *harness.Host) {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), build.Executable("notation-always-yes"))
	if err := build.Package(shared.root, "./internal/alwaysyes", plugin, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if err := h.InstallPlugin(plugin); err != nil {
		t.Fatal(err)
	}
}

// TestAlwaysYesPlugin shows why no other plugin with a SIGNATURE_VERIFIER capability may be installed: the signature
// chooses the plugin, so a stranger's signature that names a careless one passes at level strict under a trust policy
// that names nothing but the ARN of our key. The doctor has to report it.
func TestAlwaysYesPlugin(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"jws-foreign-plugin", "cose-foreign-plugin"} {
		t.Run(name, func(t *testing.T) {
			c := shared.lookup(t, name)
			h := host(t, shared.statement(c, "strict"))
			check(t, run(t, h, c), fixture.Refuses, c.Reason)

			installAlwaysYes(t, h)
			check(t, run(t, h, c), fixture.Passes, nil)

			r, err := h.Run(h.CLI, "doctor", "--home", h.Home)
			if err != nil {
				t.Fatal(err)
			}
			if r.Code == 0 || !strings.Contains(r.Output(), "always-yes") {
				t.Errorf("doctor does not report the plugin that says yes to everything:\n%s", r)
			}
		})
	}
}

// TestPlantedPlugin shows that no plugin need be installed: a signature names any file of the machine by a path, and notation runs
// it and believes it. `awskms-offline notation` lets only our plugin be started,
// not even an installed one.
func TestPlantedPlugin(t *testing.T) {
	t.Parallel()
	for _, envelope := range []string{"jws", "cose"} {
		t.Run(envelope, func(t *testing.T) {
			planted, foreign, good := shared.lookup(t, envelope+"-planted-plugin"), shared.lookup(t, envelope+"-foreign-plugin"), shared.lookup(t, envelope+"-p256")
			h := host(t, shared.statement(planted, "strict"), shared.statement(foreign, "strict"), shared.statement(good, "strict"))
			check(t, run(t, h, planted), fixture.Refuses, planted.Reason)

			file := filepath.Join(h.Dir, build.Executable(filepath.Base(fixture.PlantedPlugin)))
			if err := build.Package(shared.root, "./internal/alwaysyes", file, os.Stderr); err != nil {
				t.Fatal(err)
			}
			check(t, run(t, h, planted), fixture.Passes, nil)

			installAlwaysYes(t, h)
			check(t, run(t, h, foreign), fixture.Passes, nil)

			verify := func(c fixture.Case) harness.Result {
				t.Helper()
				r, err := h.Run(h.CLI, "notation", "--home", h.Home, "--notation", h.Notation, "verify", "-v", "--insecure-registry", shared.registry.Reference(c.Name, c.Digest))
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := verify(good)
			if confined(t) == "no" {
				if r.Code != 2 || !strings.Contains(r.Stderr, "notation was not run") {
					t.Errorf("what cannot be confined was not refused: %s", r)
				}
				t.Skip("that notation is confined is not tested: this system has no Landlock")
			}
			check(t, r, fixture.Passes, nil)
			for _, c := range []fixture.Case{planted, foreign} {
				check(t, verify(c), fixture.Refuses, []string{"permission denied"})
			}
		})
	}
}

// TestBypass shows the second danger: a signature that names no plugin is notation's alone, and an x509.subject beside
// our ARN lets a stranger with a certificate of that subject pass. ARNs alone refuse it; the doctor has to report it.
func TestBypass(t *testing.T) {
	t.Parallel()
	c := shared.lookup(t, "jws-no-plugin")
	h := host(t, shared.statement(c, "strict"))
	check(t, run(t, h, c), fixture.Refuses, c.Reason)

	loose := shared.statement(c, "strict")
	loose.Identities = append([]string{subjectOf(c.SigningKey)}, loose.Identities...)
	if err := h.WriteTrustPolicy(loose); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, h, c), fixture.Passes, nil)
	r, err := h.Run(h.CLI, "doctor", "--home", h.Home)
	if err != nil {
		t.Fatal(err)
	}
	if r.Code == 0 || !strings.Contains(r.Output(), "x509.subject") {
		t.Errorf("doctor does not report the x509.subject beside our ARN:\n%s", r)
	}
}

// TestSafeSetUp: level strict, ARNs alone, no plugin but ours, no certificates but the trusted key's. The doctor has
// nothing to report, so that what it reports in the tests above is about the danger.
func TestSafeSetUp(t *testing.T) {
	t.Parallel()
	c := shared.lookup(t, "cose-p256")
	h, err := shared.newHostTrusting(t.TempDir(), fixture.Lookup(c.SigningKey).CertificateFile(shared.testdata))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.WriteTrustPolicy(shared.statement(c, "strict")); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, h, c), fixture.Passes, nil)
	r, err := h.Run(h.CLI, "doctor", "--home", h.Home)
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 0 {
		t.Errorf("doctor reports a safe set-up:\n%s", r)
	}
}

// subjectOf is the trusted identity that matches the certificate of a test key.
func subjectOf(key string) string {
	return "x509.subject: C=US, ST=WA, O=awskms-offline testdata, CN=" + key
}

// TestIdentitiesThatAreNoARN: with our plugin asked, what is no ARN trusts nobody. Beside an ARN it is ignored, and the
// reason says so; alone it is a failure that names the forms that are taken.
func TestIdentitiesThatAreNoARN(t *testing.T) {
	t.Parallel()
	p256 := fixture.Lookup("p256").ARN()
	for _, test := range []struct {
		name, image string
		identities  []string
		want        fixture.Outcome
		reason      []string
	}{
		{"subject beside the ARN of the key", "jws-p256", []string{subjectOf("p256"), p256}, fixture.Passes, nil},
		{"subject of a stranger beside an ARN", "jws-stranger", []string{subjectOf("p256-stranger"), p256}, fixture.Refuses,
			[]string{"x509.subject", "ignored", p256}},
		{"subject alone", "jws-p256", []string{subjectOf("p256")}, fixture.Refuses, []string{"x509.subject", "arn:"}},
		{"star alone", "jws-p256", []string{"*"}, fixture.Refuses, []string{"arn:"}},
		{"star alone, stranger", "cose-stranger", []string{"*"}, fixture.Refuses, []string{"arn:"}},
		{"wildcard in an ARN alone", "jws-p256", []string{"arn:aws:kms:us-east-1:" + fixture.Account + ":key/*"}, fixture.Refuses,
			[]string{"key/*"}},
		{"wildcard in an ARN beside another key's", "jws-p256",
			[]string{"arn:aws:kms:*:" + fixture.Account + ":key/" + fixture.Lookup("p256").ID(), fixture.Lookup("p384").ARN()},
			fixture.Refuses, []string{"arn:aws:kms:*:", "ignored"}},
		{"ARN in capitals", "jws-p256", []string{strings.ToUpper(p256[:4]) + p256[4:]}, fixture.Refuses, nil},
		{"several ARNs, one of them the key's", "jws-p256", []string{fixture.Lookup("p384").ARN(), p256}, fixture.Passes, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := shared.lookup(t, test.image)
			s := shared.statement(c, "strict")
			s.Identities = test.identities
			check(t, run(t, host(t, s), c), test.want, test.reason)
		})
	}
}

// TestRevocationSkipped: where the trust policy skips revocation, notation does not ask for it; the key's state then
// decides the identity, so that a disabled key is refused all the same.
func TestRevocationSkipped(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"strict", "permissive"} {
		for _, envelope := range []string{"jws", "cose"} {
			t.Run(level+"/"+envelope, func(t *testing.T) {
				t.Parallel()
				disabled, good := shared.lookup(t, envelope+"-disabled"), shared.lookup(t, envelope+"-p256")
				var statements []harness.Statement
				for _, c := range []fixture.Case{disabled, good} {
					s := shared.statement(c, level)
					s.Override = map[string]string{"revocation": "skip"}
					statements = append(statements, s)
				}
				h := host(t, statements...)
				check(t, run(t, h, disabled), fixture.Refuses, append([]string{"trusted identify verification", "fails the identity, because the trust policy skips revocation"}, disabled.Reason...))
				check(t, run(t, h, good), fixture.Passes, nil)
			})
		}
	}
}

// TestAliasIdentity: an alias ARN is a trusted identity as well; an alias that the store does not know is none.
func TestAliasIdentity(t *testing.T) {
	t.Parallel()
	c := shared.lookup(t, "jws-p256")
	k := fixture.Lookup("p256")
	prefix := "arn:aws:kms:us-east-1:" + fixture.Account + ":"
	s := shared.statement(c, "strict")
	s.Identities = []string{prefix + "alias/release/signing"}
	h := host(t, s)
	h.Home = filepath.Join(h.Dir, "keys-with-alias")
	if err := h.ImportRecords(append([]string{"--alias", "alias/release/signing"}, k.Records(shared.testdata)...)...); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, h, c), fixture.Passes, nil)

	s.Identities = []string{prefix + "alias/Release/signing"}
	if err := h.WriteTrustPolicy(s); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, h, c), fixture.Refuses, []string{s.Identities[0]})
}

// TestMultiRegionFallback: the ARN of a replica without a record of its own is answered by the record of another Region.
func TestMultiRegionFallback(t *testing.T) {
	t.Parallel()
	c := shared.lookup(t, "jws-mrk")
	k := fixture.Lookup(c.SigningKey)
	h := host(t, shared.statement(c, "strict"))
	h.Home = filepath.Join(h.Dir, "keys-of-one-region")
	primary := k.Regions[0]
	if err := h.ImportRecords(k.PublicRecord(shared.testdata, primary), k.DescribeRecord(shared.testdata, primary)); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, h, c), fixture.Passes, nil)
}

// TestBrokenStore: a store that cannot be used is an error, which no level lets pass.
func TestBrokenStore(t *testing.T) {
	t.Parallel()
	c := shared.lookup(t, "cose-p256")
	for _, test := range []struct {
		name  string
		spoil func(home string) error
	}{
		{"absent", func(home string) error { return os.RemoveAll(home) }},
		{"records cut short", func(home string) error {
			return filepath.WalkDir(filepath.Join(home, "keys"), func(path string, d os.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				return os.Truncate(path, 100)
			})
		}},
	} {
		for _, level := range fixture.Levels {
			t.Run(test.name+"/"+level, func(t *testing.T) {
				t.Parallel()
				h := host(t, shared.statement(c, level))
				h.Home = filepath.Join(h.Dir, "broken")
				if err := h.ImportRecords(fixture.Lookup("p256").Records(shared.testdata)...); err != nil {
					t.Fatal(err)
				}
				check(t, run(t, h, c), fixture.Passes, nil)
				if err := test.spoil(h.Home); err != nil {
					t.Fatal(err)
				}
				check(t, run(t, h, c), fixture.Refuses, []string{h.Home})
			})
		}
	}
}

// TestPluginConfigHome: --plugin-config home=… chooses the key store, and nothing else is taken.
func TestPluginConfigHome(t *testing.T) {
	t.Parallel()
	c := shared.lookup(t, "jws-p256")
	h := host(t, shared.statement(c, "strict"))
	home := h.Home
	h.Home = filepath.Join(h.Dir, "nothing-here")
	check(t, run(t, h, c, "--plugin-config", "home="+home), fixture.Passes, nil)
	check(t, run(t, h, c, "--plugin-config", "homes="+home), fixture.Refuses, []string{"homes"})
	check(t, run(t, h, c, "--plugin-config", "home=relative"), fixture.Refuses, []string{"relative"})
}
