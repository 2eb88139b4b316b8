package notation

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/awskms-offline/awskms-offline/internal/notationwire"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
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

// A refusal of the verifier's has its line from there, and no second one; what asks for no decision has none.
func TestLinesOfOtherCalls(t *testing.T) {
	home := newHome(t, known(t, "p256"))
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	t.Setenv(keystore.EnvHome, home)
	overwrite(t, home, "policy.json", string(must(json.Marshal(object{"version": "1", "log": object{"path": log}}))))
	if _, failure := run(t, "get-plugin-metadata", bytes.Repeat([]byte(" "), wire.MaxRequest+1)); failure == nil {
		t.Error("a request that is too long was answered")
	}
	if data, err := os.ReadFile(log); !os.IsNotExist(err) {
		t.Errorf("the log is %s (%v)", data, err)
	}
	overwrite(t, home, "keys/aws/us-east-1/111122223333/"+known(t, "p256").ARN().KeyID+".json", "")
	askError(t, question{home: home, leaf: cert("p256"), identities: []string{arnOf(t, "p256")}}.json(), plugin.ErrorCodeGeneric)
	if data := must(os.ReadFile(log)); bytes.Count(data, []byte("\n")) != 1 || !bytes.Contains(data, []byte("StoreIntegrityException")) {
		t.Errorf("the log is %s", data)
	}
}

// So has a call that breaks or hangs while its request is read, and one whose time is over in the middle of a decision, in the
// log of the home that it names.
func TestWhatBreaksIsLogged(t *testing.T) {
	limit := deadline
	t.Cleanup(func() { deadline = limit })
	home := newHome(t, known(t, "p256"))
	q := question{home: home, leaf: cert("p256"), identities: []string{arnOf(t, "p256")}}
	for name, c := range map[string]struct {
		stdin    io.Reader
		home     string // of the environment
		deadline time.Duration
		busy     bool   // the log is, until the answer is no longer waited for
		says     string // error name of the one line that says no
	}{
		"panics":           {panicking{}, home, limit, false, "InternalException"},
		"hangs":            {hanging{}, home, 50 * time.Millisecond, false, "DeadlineExceededException"},
		"breaks":           {failing{}, home, limit, false, "ValidationException"},
		"is not there yet": {bytes.NewReader(q.json()), filepath.Join(home, "none"), time.Second, true, "DeadlineExceededException"},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "audit.jsonl")
			t.Setenv(keystore.EnvHome, c.home)
			t.Setenv(wire.EnvExplain, "1")
			overwrite(t, home, "policy.json", string(must(json.Marshal(object{"version": "1", "log": object{"path": log}}))))
			if c.busy {
				lock := must(lockedfile.OpenFile(log+".lock", os.O_RDWR|os.O_CREATE, 0o600))
				time.AfterFunc(c.deadline+c.deadline/2, func() { lock.Close() }) // the log is waited for two seconds
			}
			deadline = c.deadline
			var out, errs bytes.Buffer
			code := Main([]string{"verify-signature"}, c.stdin, &out, &errs)
			if _, failure := outcome(t, code, out.Bytes(), errs.Bytes()); failure == nil || failure.Metadata["error"] != c.says {
				t.Errorf("answered %s %s", out.Bytes(), errs.Bytes())
			}
			if c.busy && !strings.Contains(errs.String(), "Step by step: "+Name+": key: ") {
				t.Errorf("how far the decision had come is not told: %s", errs.Bytes())
			}
			data := string(must(os.ReadFile(log)))
			for start := time.Now(); c.busy && !strings.Contains(data, `"verified":true`); data = string(must(os.ReadFile(log))) {
				if time.Since(start) > 10*time.Second {
					t.Fatalf("the decision itself has no line: %s", data)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if strings.Count(data, `"verified":false`) != 1 || strings.Count(data, c.says) != 1 {
				t.Errorf("the log is %s", data)
			}
		})
	}
}

// So has a call of which the verifier was never asked, in the log of the home that the call names, if it does.
func TestWhatCannotBeAskedIsLogged(t *testing.T) {
	home, good := newHome(t, known(t, "p256")), arnOf(t, "p256")
	_, ed25519Key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	q := question{home: home, leaf: cert("p256"), identities: []string{good}}
	of := func(leaf []byte) []byte { return question{home: home, leaf: leaf, identities: q.identities}.json() }
	signature := func(name string, value any) []byte {
		return must(json.Marshal(q.object().with("signature", q.object()["signature"].(object).with(name, value))))
	}
	for name, c := range map[string]struct {
		args    []string // verify-signature, if there are none
		request []byte
		unnamed bool // nobody can read there which home is meant
	}{
		"an argument too many":                         {args: []string{"verify-signature", "surplus"}, request: q.json(), unnamed: true},
		"a command that is misspelt":                   {args: []string{"verify_signature"}, request: q.json(), unnamed: true},
		"no command":                                   {args: []string{}, request: q.json(), unnamed: true},
		"Notation has no algorithm for the leaf's key": {request: of(selfSigned(t, ed25519Key))},
		"KMS has no key like the leaf's":               {request: of(selfSigned(t, must(rsa.GenerateKey(rand.Reader, 1024))))},
		"the leaf is no certificate":                   {request: of([]byte("x"))},
		"an unknown option":                            {request: must(json.Marshal(q.object().with("pluginConfig", object{"home": home, "hom": home})))},
		"a home that is no absolute path":              {request: must(json.Marshal(q.object().with("pluginConfig", object{"home": "home", "hom": home}))), unnamed: true},
		"too many certificates":                        {request: signature("certificateChain", slices.Repeat([][]byte{q.leaf}, notationwire.MaxCertificates+1))},
		"no identity":                                  {request: question{home: home, leaf: q.leaf, identities: []string{}}.json()},
		"another contract version":                     {request: must(json.Marshal(q.object().with("contractVersion", "2.0"))), unnamed: true},
		"no JSON":                                      {request: []byte("x"), unnamed: true},
		"too long":                                     {request: append(q.json(), bytes.Repeat([]byte(" "), wire.MaxRequest)...), unnamed: true},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "audit.jsonl")
			if c.unnamed {
				t.Setenv(keystore.EnvHome, home)
			}
			overwrite(t, home, "policy.json", string(must(json.Marshal(object{"version": "1", "log": object{"path": log}}))))
			args := c.args
			if args == nil {
				args = []string{"verify-signature"}
			}
			var out, errs bytes.Buffer
			code := Main(args, bytes.NewReader(c.request), &out, &errs)
			if _, failure := outcome(t, code, out.Bytes(), errs.Bytes()); failure == nil {
				t.Fatalf("answered %s", out.Bytes())
			}
			data, err := os.ReadFile(log)
			if err != nil || strings.Count(string(data), `"verified":false`) != 1 || !strings.Contains(string(data), "ValidationException") {
				t.Errorf("the log is %s (%v)", data, err)
			}
		})
	}
}
