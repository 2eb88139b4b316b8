package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// store is the name of notation's trust store with the certificates of all test keys.
const store = "kms"

// layoutScope is the first part of the scope by which a trust policy names an image of an OCI layout.
const layoutScope = "oci-layout.example/"

// suite is what all tests share: built once, read only.
type suite struct {
	root, testdata string
	// bin holds our binaries, notation is the real one.
	bin, notation string
	// records is the key store with all records of testdata.
	records string
	// layout is a copy of testdata's: notation opens a layout for writing.
	layout   string
	cases    []fixture.Case
	registry *harness.Registry
	// hosts has one host a level, with one statement a case and transport.
	hosts map[string]*harness.Host
}

var shared suite

// withCosign2 is what make test-clients sets.
var withCosign2 = flag.Bool("cosign2", false, "run the tests of cosign with cosign 2 too, which takes minutes to build")

// binaries lets a run use binaries that are built already.
var binaries = flag.String("binaries", "", "use the binaries in `DIR` instead of building them")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(setUpAndRun(m))
}

func setUpAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "awskms-offline-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := shared.setUp(dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer shared.registry.Close()
	return m.Run()
}

func (s *suite) setUp(dir string) error {
	var err error
	if s.root, err = build.Root(); err != nil {
		return err
	}
	s.testdata = filepath.Join(s.root, "testdata")
	if s.cases, err = fixture.Cases(s.testdata); err != nil {
		return err
	}
	clients := []string{"notation", "cosign"}
	if *withCosign2 {
		clients = append(clients, "cosign2")
	}
	if err := build.EnsureClients(s.root, os.Stderr, clients...); err != nil {
		return err
	}
	s.notation = build.ClientPath(s.root, "notation")
	if s.bin = *binaries; s.bin == "" {
		s.bin = filepath.Join(dir, "bin")
		if err := build.EnsureProducts(s.root, s.bin, os.Stderr); err != nil {
			return err
		}
	}
	s.layout = filepath.Join(dir, "layout")
	if err := os.CopyFS(s.layout, os.DirFS(fixture.LayoutDir(s.testdata))); err != nil {
		return err
	}
	if s.registry, err = harness.StartRegistry(); err != nil {
		return err
	}
	for _, c := range s.cases {
		if err := s.registry.Push(s.layout, c.Name, c.Name); err != nil {
			return fmt.Errorf("pushing %s: %w", c.Name, err)
		}
	}
	s.hosts = make(map[string]*harness.Host)
	s.records = filepath.Join(dir, "kms-keys")
	for _, level := range fixture.Levels {
		h, err := s.newHost(filepath.Join(dir, level))
		if err != nil {
			return err
		}
		if s.hosts[level] = h; len(s.hosts) == 1 {
			if err := h.ImportRecords(fixture.AllRecords(s.testdata)...); err != nil {
				return err
			}
		}
		var statements []harness.Statement
		for _, c := range s.cases {
			statements = append(statements, s.statement(c, level))
		}
		if err := h.WriteTrustPolicy(statements...); err != nil {
			return err
		}
	}
	return nil
}

// newHost makes a host with our plugin and all certificates, over the shared key store.
func (s *suite) newHost(dir string) (*harness.Host, error) {
	var certificates []string
	for _, k := range fixture.Keys {
		if k.Certificate {
			certificates = append(certificates, k.CertificateFile(s.testdata))
		}
	}
	return s.newHostTrusting(dir, certificates...)
}

// newHostTrusting makes a host with our plugin and these certificates, over the shared key store.
func (s *suite) newHostTrusting(dir string, certificates ...string) (*harness.Host, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h, err := harness.NewHost(dir, s.notation, s.bin)
	if err != nil {
		return nil, err
	}
	h.Home = s.records
	if err := h.InstallPlugin(filepath.Join(s.bin, build.Executable("notation-awskms-offline"))); err != nil {
		return nil, err
	}
	return h, h.AddCertificates(store, certificates...)
}

// statement is the trust policy's statement for one case, in the registry and in the layout.
func (s *suite) statement(c fixture.Case, level string) harness.Statement {
	return harness.Statement{
		Name: c.Name, Scopes: []string{s.registry.Scope(c.Name), layoutScope + c.Name},
		Level: level, Stores: []string{"ca:" + store}, Identities: c.Identities,
	}
}

// lookup returns the case of that name.
func (s *suite) lookup(t *testing.T, name string) fixture.Case {
	t.Helper()
	for _, c := range s.cases {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no case is called %s", name)
	return fixture.Case{}
}
