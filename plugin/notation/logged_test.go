package notation

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every refusal has its line in the log, also where the verifier was asked nothing, or had said yes to an identity.
func TestEveryRefusalIsLogged(t *testing.T) {
	home, good := newHome(t, known(t, "p256")), arnOf(t, "p256")
	for name, c := range map[string]struct {
		q    question
		last string // error name of the last line
	}{
		"no ARN among the identities": {question{identities: []string{"x509.subject: CN=x", "*"}}, "ValidationException"},
		"absent":                      {question{identities: []string{arnOf(t, "p384")}}, "NotFoundException"},
		"another key in the attribute": {question{identities: []string{good}, extended: object{KeyARNAttribute: arnOf(t, "p384")}},
			"KeyMaterialMismatchException"},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "audit.jsonl")
			overwrite(t, home, "policy.json", string(must(json.Marshal(object{"version": "1", "log": object{"path": log}}))))
			c.q.home, c.q.leaf = home, cert("p256")
			if r := ask(t, c.q); r.VerificationResults[identity].Success {
				t.Fatal("verified")
			}
			lines := strings.Split(strings.TrimSpace(string(must(os.ReadFile(log)))), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, `"verified":false`) || !strings.Contains(last, c.last) {
				t.Errorf("the last line is %s", last)
			}
		})
	}
}
