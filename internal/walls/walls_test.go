// Package walls holds the house's walls by tests: what the verifying plugins must not link, on any system, and which way
// the arrows between packages point. The compiler holds what internal/ can; this holds the rest.
package walls

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/awskms-offline/awskms-offline/"

// verifyingPlugins answer without a network.
var verifyingPlugins = []string{"notation-awskms-offline", "sigstore-kms-awskms-offline"}

// forbidden are import paths, or prefixes of them where they end in a slash, that no verifying plugin links.
var forbidden = []string{
	"net/http", "os/exec", "plugin",
	// These a plugin would only start later for.
	"net/url", "crypto/x509", "encoding/json", "regexp", "text/template",
	"github.com/notaryproject/",
	"github.com/aws/",
	"github.com/sigstore/",
	"google.golang.org/protobuf/",
	"github.com/emmansun/gmsm/smx509",
	"github.com/spf13/cobra",
}

// forbiddenUnix are forbidden, too, but on Windows, where golang.org/x/sys/windows links them.
var forbiddenUnix = []string{"net", "net/netip"}

func dependencies(t *testing.T, goos string, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", pkg)
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s for %s: %v", pkg, goos, err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("go list -deps %s for %s lists %d packages only", pkg, goos, len(deps))
	}
	return deps
}

func matches(dep, pattern string) bool {
	if strings.HasSuffix(pattern, "/") {
		return strings.HasPrefix(dep, pattern)
	}
	return dep == pattern
}

func TestVerifyingPluginsLinkNoNetwork(t *testing.T) {
	for _, plugin := range verifyingPlugins {
		for _, goos := range []string{"linux", "darwin", "windows"} {
			t.Run(plugin+"/"+goos, func(t *testing.T) {
				t.Parallel()
				deps := dependencies(t, goos, module+"cmd/"+plugin)
				patterns := forbidden
				if goos != "windows" {
					patterns = slices.Concat(forbidden, forbiddenUnix)
				}
				for _, pattern := range patterns {
					for _, dep := range deps {
						if matches(dep, pattern) {
							t.Errorf("%s links %s", plugin, dep)
						}
					}
				}
				if !slices.Contains(deps, module+"verifier") {
					t.Errorf("%s does not link the verifier: the list is not what it is taken for", plugin)
				}
			})
		}
	}
}

// TestNothingOfOursStartsPrograms: the AWS SDK may run what a user configured to fetch credentials; our own packages run
// nothing, in no binary, but for confine, which puts notation in the command line's place. The signing plugin, which may use the network, links neither the command line nor sigstore.
func TestNothingOfOursStartsPrograms(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"cmd/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(pkg, module) {
			continue
		}
		ours++
		for _, path := range strings.Fields(imports) {
			if (path == "os/exec" || path == "plugin") && pkg != module+"cmd/internal/confine" {
				t.Errorf("%s imports %s", pkg, path)
			}
			if strings.HasPrefix(path, "github.com/aws/") && pkg != module+"cmd/internal/awskms" {
				t.Errorf("%s imports %s: only awskms talks to AWS", pkg, path)
			}
		}
	}
	if ours < 20 {
		t.Errorf("%d packages of ours only: the list is not what it is taken for", ours)
	}
	deps := dependencies(t, "linux", module+"cmd/notation-awskms-signer")
	for _, dep := range deps {
		for _, pattern := range []string{module + "cmd/internal/cli", "github.com/spf13/cobra", "github.com/sigstore/sigstore/pkg/signature", "github.com/notaryproject/notation-plugin-framework-go/cli"} {
			if matches(dep, pattern) {
				t.Errorf("the signing plugin links %s", dep)
			}
		}
	}
	if !slices.Contains(deps, module+"cmd/internal/awskms") {
		t.Error("the signing plugin does not link awskms: the list is not what it is taken for")
	}
}

// TestSigstoreAdapterIsForOthers: sigstore's signature package doubles a program's start, so no binary links the adapter.
func TestSigstoreAdapterIsForOthers(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", module+"cmd/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if slices.Contains(deps, module+"sigstoreverifier") {
		t.Error("a command links sigstoreverifier")
	}
	if !slices.Contains(deps, module+"verifier") {
		t.Error("no command links the verifier: the list is not what it is taken for")
	}
}

// TestArrowsPointOneWay: cmd → plugin → verifier → {keystore, policy, audit, internal} → kmskey → kmserr.
func TestArrowsPointOneWay(t *testing.T) {
	rules := []struct {
		pkg string
		not []string
	}{
		{"verifier/kmserr", []string{module}},
		{"internal/strictjson", []string{module}},
		{"internal/durable", []string{module}},
		{"internal/filelock", []string{module + "verifier", module + "verifier/", module + "plugin/", module + "cmd/"}},
		{"verifier/internal/spki", []string{module}},
		{"verifier/internal/fileguard", []string{module + "verifier/kmskey", module + "verifier/keystore", module + "verifier/policy", module + "verifier/audit", module + "verifier", module + "cmd/", module + "plugin/"}},
		{"verifier/kmskey", []string{module + "verifier/keystore", module + "verifier/policy", module + "verifier/audit", module + "verifier", module + "verifier/internal/rawverify"}},
		{"verifier/internal/rawverify", []string{module + "verifier/keystore", module + "verifier/policy", module + "verifier/audit", module + "verifier"}},
		{"verifier/keystore", []string{module + "verifier", module + "verifier/policy", module + "verifier/audit", module + "verifier/internal/rawverify"}},
		{"verifier/policy", []string{module + "verifier", module + "verifier/keystore", module + "verifier/audit"}},
		{"verifier/audit", []string{module + "verifier", module + "verifier/keystore", module + "verifier/policy"}},
		{"verifier", []string{module + "plugin/", module + "cmd/"}},
		{"plugin/notation", []string{module + "cmd/", module + "plugin/sigstore"}},
		{"plugin/sigstore", []string{module + "cmd/", module + "plugin/notation"}},
	}
	for _, rule := range rules {
		t.Run(rule.pkg, func(t *testing.T) {
			t.Parallel()
			deps := dependencies(t, "linux", module+rule.pkg)
			for _, dep := range deps {
				if dep == module+rule.pkg {
					continue
				}
				for _, not := range rule.not {
					if matches(dep, not) {
						t.Errorf("%s imports %s: the arrows point the other way", rule.pkg, dep)
					}
				}
			}
		})
	}
}
