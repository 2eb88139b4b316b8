package cli

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/plugin/notation"
	"github.com/awskms-offline/awskms-offline/plugin/sigstore"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// asked is what one case asks of every front end.
type asked struct {
	key       string // a name in testdata
	keyID     string
	signature []byte
	message   string
}

// frontEnds ask the same question by the four ways in. said is empty for a yes, and else holds the error's code.
var frontEnds = map[string]func(t *testing.T, a asked) (said string){
	"command line": func(t *testing.T, a asked) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "message"), []byte(a.message))
		write(t, filepath.Join(dir, "sig"), a.signature)
		code, stdout, stderr := call("verify", "--key-id", a.keyID, "--signing-algorithm", "ECDSA_SHA_256", "--signature", filepath.Join(dir, "sig"), filepath.Join(dir, "message"))
		if code == 0 {
			if !strings.Contains(stdout, "Verified") {
				t.Errorf("exit code 0 and %q", stdout)
			}
			return ""
		}
		return stderr
	},
	"sigstore": func(t *testing.T, a asked) string {
		type object = map[string]any
		rpc := object{"keyVersion": "", "remoteVerification": false}
		request := encode(t, object{
			"initOptions": object{"protocolVersion": "v1", "keyResourceID": a.keyID, "hashFunc": 5, "rpcOptions": rpc},
			"methodName":  "verifySignature",
			"verifySignature": object{"signature": a.signature,
				"verifyOptions": object{"rpcOptions": rpc, "messageOptions": object{"digest": nil}}},
		})
		var stdout, stderr bytes.Buffer
		if code := sigstore.Main([]string{"v1", string(request)}, strings.NewReader(a.message), &stdout, &stderr); code != 0 {
			return stdout.String()
		}
		if strings.TrimSpace(stdout.String()) != `{"verifySignature":{}}` {
			t.Errorf("answered %s", stdout.String())
		}
		return ""
	},
	"notation": func(t *testing.T, a asked) string {
		type object = map[string]any
		text, err := os.ReadFile(filepath.Join("../../../testdata/certs", a.key+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		request := encode(t, object{
			"contractVersion": "1.0",
			"signature": object{"criticalAttributes": object{"contentType": "application/vnd.cncf.notary.payload.v1+json", "signingScheme": "notary.x509", "expiry": "0001-01-01T00:00:00Z"},
				"unprocessedAttributes": nil, "certificateChain": [][]byte{block.Bytes}},
			"trustPolicy":  object{"trustedIdentities": []string{a.keyID}, "signatureVerification": []string{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY", "SIGNATURE_VERIFIER.REVOCATION_CHECK"}},
			"pluginConfig": object{},
		})
		var stdout, stderr bytes.Buffer
		if code := notation.Main([]string{"verify-signature"}, bytes.NewReader(request), &stdout, &stderr); code != 0 {
			return stderr.String()
		}
		var answer struct {
			VerificationResults map[string]struct {
				Success bool
				Reason  string
			}
		}
		if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil || len(answer.VerificationResults) != 2 {
			t.Fatalf("%v: %s", err, stdout.String())
		}
		for _, result := range answer.VerificationResults {
			if !result.Success {
				return result.Reason
			}
		}
		return ""
	},
	"library": func(t *testing.T, a asked) string {
		v, err := verifier.Open(verifier.Options{FrontEnd: audit.FrontEnd{Name: "test", Version: "1"}})
		if err != nil {
			return err.Error()
		}
		defer v.Close()
		if _, err = v.Verify(t.Context(), verifier.Request{KeyID: a.keyID, SigningAlgorithm: kmskey.ECDSASHA256,
			Message: strings.NewReader(a.message), Signature: a.signature}); err != nil {
			return err.Error()
		}
		return ""
	},
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEveryProtectionInEveryFrontEnd: what one protection forbids is refused by the same code whichever way one asks, and
// what it allows verifies; every answer leaves its line in the log.
func TestEveryProtectionInEveryFrontEnd(t *testing.T) {
	const (
		message  = "message"
		arn      = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
		disabled = "arn:aws:kms:us-east-1:111122223333:key/4a1a4994-f0fd-4ba6-9c22-339ff5c1f92f"
		records  = "../../../testdata/records/"
	)
	policy := func(text string) func(*testing.T, string) {
		return func(t *testing.T, home string) { write(t, filepath.Join(home, "policy.json"), []byte(text)) }
	}
	cli := func(args ...string) func(*testing.T, string) {
		return func(t *testing.T, home string) {
			if code, _, stderr := call(args...); code != 0 {
				t.Fatal(stderr)
			}
		}
	}
	cases := []struct {
		name    string
		key     string // p256 if empty
		prepare func(*testing.T, string)
		code    kmserr.Name // empty: verified
	}{
		{name: "nothing"},
		{name: "allow-list, named", prepare: policy(`{"version":"1","allowList":true,"grants":[{"name":"a","keys":["` + arn + `"],"verify":true}]}`)},
		{name: "allow-list, not named", prepare: policy(`{"version":"1","allowList":true,"grants":[{"name":"a","keys":["` + disabled + `"],"verify":true}]}`), code: kmserr.KeyNotAllowed},
		{name: "allow-list, nobody", prepare: policy(`{"version":"1","allowList":true}`), code: kmserr.KeyNotAllowed},
		{name: "algorithm, allowed", prepare: policy(`{"version":"1","restrictions":[{"name":"a","signingAlgorithms":["ECDSA_SHA_256"]}]}`)},
		{name: "algorithm, another", prepare: policy(`{"version":"1","restrictions":[{"name":"a","signingAlgorithms":["RSASSA_PSS_SHA_256"]}]}`), code: kmserr.AlgorithmNotAllowed},
		{name: "state", key: "p256-disabled", code: kmserr.Disabled},
		{name: "state, granted", key: "p256-disabled", prepare: policy(`{"version":"1","grants":[{"name":"a","keys":["` + disabled + `"],"keyStates":["Disabled"]}]}`)},
		{name: "state, forbidden", prepare: policy(`{"version":"1","restrictions":[{"name":"a","keyStates":["Updating"]}]}`), code: kmserr.KMSInvalidState},
		{name: "age, fresh enough", prepare: policy(`{"version":"1","restrictions":[{"name":"a","maxSnapshotAge":"36500d"}]}`)},
		{name: "age, too old", prepare: policy(`{"version":"1","restrictions":[{"name":"a","maxSnapshotAge":"1s"}]}`), code: kmserr.SnapshotExpired},
		{name: "not before", prepare: policy(`{"version":"1","restrictions":[{"name":"a","notBefore":"2100-01-01T00:00:00Z"}]}`), code: kmserr.OutsideValidity},
		{name: "not after", prepare: policy(`{"version":"1","restrictions":[{"name":"a","notAfter":"2020-01-01T00:00:00Z"}]}`), code: kmserr.OutsideValidity},
		{name: "blocked by ARN", prepare: cli("keys", "block", arn, "--reason", "incident"), code: kmserr.KeyBlocked},
		{name: "blocked and unblocked", prepare: func(t *testing.T, home string) {
			cli("keys", "block", arn)(t, home)
			cli("keys", "unblock", arn)(t, home)
		}},
		{name: "usage", key: "rsa2048-encrypt", code: kmserr.InvalidKeyUsage},
		{name: "no policy that can be read", prepare: policy(`{"version":"1","allowList":"yes"}`), code: kmserr.PolicyInvalid},
		{name: "no log where one is required", prepare: policy(`{"version":"1","log":{"mode":"required","path":"/dev/null/audit.jsonl"}}`), code: kmserr.AuditUnavailable},
		{name: "no log where one is wished for", prepare: policy(`{"version":"1","log":{"mode":"best-effort","path":"/dev/null/audit.jsonl"}}`)},
	}
	arns := map[string]string{"p256": arn, "p256-disabled": disabled, "rsa2048-encrypt": "arn:aws:kms:us-east-1:111122223333:key/" + keyIDOf(t, records+"rsa2048-encrypt.get-public-key.json")}
	for _, c := range cases {
		for name, ask := range frontEnds {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				home := filepath.Join(dir, "home")
				t.Setenv("AWSKMS_OFFLINE_HOME", home)
				t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
				t.Setenv("LocalAppData", filepath.Join(dir, "state"))
				t.Setenv("HOME", dir)
				if out, code := runCLI(t, "keys", "import", "--snapshot-time", "2026-11-01T00:00:00Z",
					records+"p256.get-public-key.json", records+"p256.describe-key.json", records+"p256-disabled.get-public-key.json",
					records+"p256-disabled.describe-key.json", records+"rsa2048-encrypt.get-public-key.json"); code != 0 {
					t.Fatal(out)
				}
				if c.prepare != nil {
					c.prepare(t, home)
				}
				key := c.key
				if key == "" {
					key = "p256"
				}
				signer, algorithm := key, kmskey.ECDSASHA256
				if key == "rsa2048-encrypt" {
					algorithm = kmskey.RSASSAPSSSHA256
				}
				signature, _, err := signTest("../../../testdata", signer, algorithm, []byte(message))
				if err != nil {
					t.Fatal(err)
				}
				said := ask(t, asked{key: key, keyID: arns[key], signature: signature, message: message})
				if c.code == "" && said != "" || c.code != "" && !strings.Contains(said, string(c.code)) && !strings.Contains(said, notationSays[c.code]) {
					t.Errorf("said %q, expected %q", said, c.code)
				}
				if strings.HasPrefix(c.name, "no ") {
					return
				}
				code, stdout, stderr := call("audit", "show", "--output", "json")
				if code != 0 || !strings.Contains(stdout+stderr, "eventID") || c.code != "" && !strings.Contains(stdout, string(c.code)) {
					t.Errorf("the log has no line of it: %d\n%s%s", code, stdout, stderr)
				}
			})
		}
	}
}

// notationSays has what stands in a reason for notation in place of a code.
var notationSays = map[kmserr.Name]string{kmserr.KeyBlocked: "is blocked here"}

func keyIDOf(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	record, err := kmskey.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(record.KeyID, ":key/")
	return id
}
