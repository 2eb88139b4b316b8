package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// TestProtections: the real notation and the real cosign refuse what a policy, a block or the key's state forbids, with
// the reason where the user sees it; and both verify the same signature where nothing forbids it. Every run leaves its
// line in the log.
func TestProtections(t *testing.T) {
	p256 := fixture.Lookup("p256")
	for _, c := range []struct {
		name, policy string
		key          string // p256 unless given
		prepare      []string
		says         string
	}{
		{name: "nothing"},
		{name: "policy that allows it", policy: `{"version":"1","allowList":true,"grants":[{"name":"release","keys":["` + p256.ARN() + `"],"verify":true}]}`},
		{name: "disabled", key: "p256-disabled", says: "DisabledException"},
		{name: "blocked", prepare: []string{"keys", "block", p256.ARN(), "--reason", "incident 4711"}, says: "the key is blocked here"},
		{name: "stale", policy: `{"version":"1","restrictions":[{"name":"age","maxSnapshotAge":"1s"}]}`, says: "SnapshotExpiredException"},
		{name: "algorithm not allowed", policy: `{"version":"1","restrictions":[{"name":"rsa","signingAlgorithms":["RSASSA_PSS_SHA_256"]}]}`, says: "AlgorithmNotAllowedException"},
		{name: "not on the allow-list", policy: `{"version":"1","allowList":true}`, says: "KeyNotAllowedException"},
		{name: "policy broken", policy: `{"version":"1","allowList":"yes"}`, says: "PolicyInvalidException"},
		{name: "log required and impossible", policy: `{"version":"1","log":{"mode":"required","path":"/dev/null/audit.jsonl"}}`, says: "AuditUnavailableException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			name := c.key
			if name == "" {
				name = "p256"
			}
			key := fixture.Lookup(name)
			dir := t.TempDir()
			h, err := shared.newHostTrusting(filepath.Join(dir, "host"), key.CertificateFile(shared.testdata))
			if err != nil {
				t.Fatal(err)
			}
			h.Home, h.Bin = filepath.Join(dir, "home"), shared.bin
			if err := h.ImportRecords(key.Records(shared.testdata)...); err != nil {
				t.Fatal(err)
			}
			if c.policy != "" {
				if err := os.WriteFile(filepath.Join(h.Home, "policy.json"), []byte(c.policy), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.prepare != nil {
				if r, err := h.Run(h.CLI, c.prepare...); err != nil || r.Code != 0 {
					t.Fatal(r, err)
				}
			}
			signed := signer{key: name, algorithm: "ECDSA_SHA_256"}
			message := file(t, h, "message", []byte(cosignMessage))
			signature := file(t, h, "message.sig", []byte(base64.StdEncoding.EncodeToString(signed.sign(t, []byte(cosignMessage)))))
			expected := expectation{ok: c.says == "", says: c.says}
			r, err := h.Run(build.ClientPath(shared.root, "cosign"), "verify-blob", "--key", "awskms-offline://"+key.ARN(), "--insecure-ignore-tlog", "--signature", signature, message)
			if err != nil {
				t.Fatal(err)
			}
			expected.check(t, r)

			image := shared.lookup(t, map[string]string{"p256": "cose-p256", "p256-disabled": "cose-disabled"}[name])
			if err := h.WriteTrustPolicy(harness.Statement{Name: "test", Scopes: []string{shared.registry.Scope(image.Name)}, Level: "strict",
				Stores: []string{"ca:" + store}, Identities: []string{key.ARN()}}); err != nil {
				t.Fatal(err)
			}
			if r, err = h.VerifyRegistry(shared.registry.Reference(image.Name, image.Digest)); err != nil {
				t.Fatal(err)
			}
			if !expected.ok {
				expected.says = strings.TrimSuffix(c.says, "Exception")
			}
			expected.check(t, r)

			if strings.Contains(c.policy, "/dev/null") {
				return
			}
			log, err := os.ReadFile(filepath.Join(h.Dir, "state", "awskms-offline", "audit.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			for _, frontEnd := range []string{"sigstore-kms-awskms-offline", "notation-awskms-offline"} {
				if !strings.Contains(string(log), `"name":"`+frontEnd+`"`) {
					t.Errorf("no line of %s in the log:\n%s", frontEnd, log)
				}
			}
			// A key whose state alone refuses it is identified and refused at once; the line says both.
			verified := 0
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, `"verified":true`) && !strings.Contains(line, `"stateError":"`) {
					verified++
				}
			}
			if (verified > 0) != expected.ok {
				t.Errorf("the log says verified %d times:\n%s", verified, log)
			}
		})
	}
}
