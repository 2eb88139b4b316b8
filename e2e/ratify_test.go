package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// TestRatify runs the real `ratify verify` with the notation verifier of deploy/ratify/verifier.yaml and our plugin in Ratify's
// plugin folder.
func TestRatify(t *testing.T) {
	if !*withRatify {
		t.Skip("Ratify is left out: make test-clients builds and runs it")
	}
	if err := build.EnsureClients(shared.root, os.Stderr, "ratify"); err != nil {
		t.Fatal(err)
	}
	var verifier struct {
		Kind string `yaml:"kind"`
		Spec struct {
			Name          string         `yaml:"name"`
			ArtifactTypes string         `yaml:"artifactTypes"`
			Parameters    map[string]any `yaml:"parameters"`
		} `yaml:"spec"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, filepath.Join(shared.root, "deploy", "ratify", "verifier.yaml")))))
	for verifier.Kind != "Verifier" {
		if err := decoder.Decode(&verifier); err != nil {
			t.Fatal(err)
		}
	}
	h := host(t, shared.statement(shared.lookup(t, "jws-p256"), "strict"))
	folder := filepath.Join(h.Dir, "ratify")
	certificates := filepath.Join(folder, "certificates")
	plugin := filepath.Join(folder, "plugins", "notation-awskms-offline")
	for _, dir := range []string{certificates, filepath.Dir(plugin)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(shared.bin, build.Executable("notation-awskms-offline")), plugin); err != nil {
		t.Fatal(err)
	}
	for _, k := range fixture.Keys {
		if k.Certificate {
			if err := os.WriteFile(filepath.Join(certificates, k.Name+".crt"), []byte(read(t, k.CertificateFile(shared.testdata))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// configure writes Ratify's configuration with the verifier's parameters, trusting these identities.
	configure := func(identities ...string) string {
		entry := maps.Clone(verifier.Spec.Parameters)
		entry["name"], entry["artifactTypes"] = verifier.Spec.Name, verifier.Spec.ArtifactTypes
		// What the KeyManagementProvider brings, which only a cluster has.
		delete(entry, "verificationCertStores")
		entry["verificationCerts"] = []string{certificates}
		text, err := json.Marshal(map[string]any{
			"store":    map[string]any{"version": "1.0.0", "plugins": []any{map[string]any{"name": "oras", "useHttp": true}}},
			"policy":   map[string]any{"version": "1.0.0", "plugin": map[string]any{"name": "configPolicy"}},
			"verifier": map[string]any{"version": "1.0.0", "plugins": []any{entry}},
		})
		if err != nil {
			t.Fatal(err)
		}
		written := fixture.Lookup("p256").ARN()
		if !bytes.Contains(text, []byte(`["`+written+`"]`)) {
			t.Fatalf("verifier.yaml does not trust %s alone: %s", written, text)
		}
		list, err := json.Marshal(identities)
		if err != nil {
			t.Fatal(err)
		}
		return file(t, h, "ratify.json", bytes.Replace(text, []byte(`["`+written+`"]`), list, 1))
	}
	h.Extra = []string{"RATIFY_CONFIG=" + folder}
	passed, refused := 0, 0
	for _, c := range shared.cases {
		result := do(t, h, build.ClientPath(shared.root, "ratify"), "verify", "--config", configure(c.Identities...), "--subject", shared.registry.Reference(c.Name, c.Digest))
		// The log of what went on comes first.
		var answer struct {
			Success bool             `json:"isSuccess"` // absent if not
			Reports []map[string]any `json:"verifierReports"`
		}
		begin := strings.Index(result.Stdout, "{\n")
		if result.Code != 0 || begin < 0 || json.Unmarshal([]byte(result.Stdout[begin:]), &answer) != nil || len(answer.Reports) == 0 {
			t.Errorf("%s: no answer\n%s", c.Name, result)
			continue
		}
		switch want := c.Outcomes["strict"] == fixture.Passes; {
		case answer.Success != want:
			t.Errorf("%s: Ratify says %t, want %t\n%s", c.Name, answer.Success, want, result)
		case want:
			passed++
		default:
			refused++
			if c.Check != "" && c.Plugin != "" && !strings.Contains(result.Output(), c.Plugin) {
				t.Errorf("%s: the reason does not name the plugin\n%s", c.Name, result)
			}
		}
	}
	if passed != 14 || refused != 20 {
		t.Errorf("%d images passed and %d were refused, want 14 and 20", passed, refused)
	}
}
