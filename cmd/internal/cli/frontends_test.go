package cli

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/plugin/notation"
	"github.com/awskms-offline/awskms-offline/plugin/sigstore"
	"github.com/awskms-offline/awskms-offline/sigstoreverifier"
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
	// stateOnly says that a refusal is by state or age, which Notation is told apart from the identity.
	stateOnly bool
}

// exception finds the name of an error in what a front end said.
var exception = regexp.MustCompile(`[A-Z][A-Za-z]*Exception`)

// frontEnds ask the same question by every way in. said is empty for a yes, and else holds the error's code.
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
	"batch": func(t *testing.T, a asked) string {
		line := encode(t, map[string]any{"key_id": a.keyID, "signing_algorithm": "ECDSA_SHA_256", "signature": a.signature, "message": []byte(a.message)})
		file := filepath.Join(t.TempDir(), "signatures.jsonl")
		write(t, file, append(line, '\n'))
		code, stdout, stderr := call("verify", "--batch", file)
		if code == 0 {
			if !strings.Contains(stdout, `"signature_valid":true`) || strings.Count(stdout, "\n") != 1 {
				t.Errorf("exit code 0 and %q", stdout)
			}
			return ""
		}
		return stdout + stderr
	},
	"sigstore-go": func(t *testing.T, a asked) string {
		o := verifier.Options{FrontEnd: audit.FrontEnd{Name: "test", Version: "1"}}
		v, err := verifier.Open(o)
		if err != nil {
			return verifier.Unlogged(err, verifier.LogRefusal(t.Context(), o, audit.EventVerify, a.keyID, err)).Error()
		}
		defer v.Close()
		key, err := sigstoreverifier.New(v, a.keyID, sigstoreverifier.Options{SigningAlgorithm: kmskey.ECDSASHA256})
		if err != nil {
			t.Fatal(err)
		}
		if err := key.VerifySignature(bytes.NewReader(a.signature), strings.NewReader(a.message)); err != nil {
			return err.Error() + ". " + kmserr.As(err).Hint
		}
		return ""
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
		identity, revocation := answer.VerificationResults["SIGNATURE_VERIFIER.TRUSTED_IDENTITY"], answer.VerificationResults["SIGNATURE_VERIFIER.REVOCATION_CHECK"]
		if identity.Success != (revocation.Success || a.stateOnly) {
			t.Errorf("identity and revocation: %+v", answer)
		}
		if !revocation.Success {
			return revocation.Reason
		}
		return ""
	},
	"library": func(t *testing.T, a asked) string {
		o := verifier.Options{FrontEnd: audit.FrontEnd{Name: "test", Version: "1"}}
		v, err := verifier.Open(o)
		if err != nil {
			return verifier.Unlogged(err, verifier.LogRefusal(t.Context(), o, audit.EventVerify, a.keyID, err)).Error()
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
	grant := func(keys, gives string) func(*testing.T, string) {
		return policy(`{"version":"1","grants":[{"name":"a","keys":["` + keys + `"],` + gives + `}]}`)
	}
	restriction := func(demands string) func(*testing.T, string) {
		return policy(`{"version":"1","restrictions":[{"name":"a",` + demands + `}]}`)
	}
	cases := []struct {
		name    string
		key     string // p256 if empty
		keyID   string // the key's ARN if empty
		state   string // of describe-key's answer, instead of the fixture's: members of KeyMetadata; "none": there is no answer
		prepare func(*testing.T, string)
		code    kmserr.Name // empty: verified
	}{
		{name: "nothing"},
		{name: "by alias", keyID: "arn:aws:kms:us-east-1:111122223333:alias/release"},
		{name: "no such key", keyID: arn[:len(arn)-1] + "0", code: kmserr.NotFound},
		{name: "allow-list, named", prepare: policy(`{"version":"1","allowList":true,"grants":[{"name":"a","keys":["` + arn + `"],"verify":true}]}`)},
		{name: "allow-list, named by alias", prepare: policy(`{"version":"1","allowList":true,"grants":[{"name":"a","keys":["arn:aws:kms:us-east-1:111122223333:alias/release"],"verify":true}]}`)},
		{name: "allow-list, not named", prepare: policy(`{"version":"1","allowList":true,"grants":[{"name":"a","keys":["` + disabled + `"],"verify":true}]}`), code: kmserr.KeyNotAllowed},
		{name: "allow-list, nobody", prepare: policy(`{"version":"1","allowList":true}`), code: kmserr.KeyNotAllowed},
		{name: "algorithm, allowed", prepare: restriction(`"signingAlgorithms":["ECDSA_SHA_256"]`)},
		{name: "algorithm, another", prepare: restriction(`"signingAlgorithms":["RSASSA_PSS_SHA_256"]`), code: kmserr.AlgorithmNotAllowed},
		{name: "source, allowed", prepare: restriction(`"sources":["operator"]`)},
		{name: "source, another", prepare: restriction(`"sources":["kms"]`), code: kmserr.KeyNotAllowed},
		{name: "Disabled", key: "p256-disabled", code: kmserr.Disabled},
		{name: "Disabled, granted", key: "p256-disabled", prepare: grant(disabled, `"keyStates":["Disabled"]`)},
		{name: "Disabled, granted and forbidden", key: "p256-disabled", prepare: policy(`{"version":"1","grants":[{"name":"a","keys":["` + disabled + `"],"keyStates":["Disabled"]}],"restrictions":[{"name":"b","keyStates":["Enabled"]}]}`), code: kmserr.Disabled},
		{name: "state, forbidden", prepare: restriction(`"keyStates":["Updating"]`), code: kmserr.KMSInvalidState},
		{name: "Updating", state: `"KeyState":"Updating","Enabled":true`},
		{name: "PendingDeletion", state: `"KeyState":"PendingDeletion","Enabled":false,"DeletionDate":"2100-01-01T00:00:00Z"`, code: kmserr.KMSInvalidState},
		{name: "PendingDeletion, granted", state: `"KeyState":"PendingDeletion","Enabled":false,"DeletionDate":"2100-01-01T00:00:00Z"`, prepare: grant(arn, `"keyStates":["PendingDeletion"]`)},
		{name: "DeletionDate past, granted", state: `"KeyState":"PendingDeletion","Enabled":false,"DeletionDate":"2026-01-01T00:00:00Z"`, prepare: grant(arn, `"keyStates":["PendingDeletion"]`), code: kmserr.KMSInvalidState},
		{name: "PendingImport", state: `"KeyState":"PendingImport","Enabled":false`, code: kmserr.KMSInvalidState},
		{name: "Unavailable", state: `"KeyState":"Unavailable","Enabled":false`, code: kmserr.KMSInvalidState},
		{name: "ValidTo past", state: `"KeyState":"Enabled","Enabled":true,"ValidTo":"2026-01-01T00:00:00Z"`, code: kmserr.KMSInvalidState},
		{name: "ValidTo to come", state: `"KeyState":"Enabled","Enabled":true,"ValidTo":"2100-01-01T00:00:00Z"`},
		{name: "state unknown", state: "none"},
		{name: "state unknown, a known one demanded", state: "none", prepare: restriction(`"requireKnownState":true`), code: kmserr.KMSInvalidState},
		{name: "state unknown, Enabled demanded", state: "none", prepare: restriction(`"keyStates":["Enabled"]`), code: kmserr.KMSInvalidState},
		{name: "age, fresh enough", prepare: restriction(`"maxSnapshotAge":"36500d"`)},
		{name: "age, too old", prepare: restriction(`"maxSnapshotAge":"1s"`), code: kmserr.SnapshotExpired},
		{name: "not before", prepare: restriction(`"notBefore":"2100-01-01T00:00:00Z"`), code: kmserr.OutsideValidity},
		{name: "not after", prepare: restriction(`"notAfter":"2020-01-01T00:00:00Z"`), code: kmserr.OutsideValidity},
		{name: "within both", prepare: restriction(`"notBefore":"2020-01-01T00:00:00Z","notAfter":"2100-01-01T00:00:00Z"`)},
		{name: "blocked by ARN", prepare: cli("keys", "block", arn, "--reason", "incident"), code: kmserr.KeyBlocked},
		{name: "blocked since, which is recorded and not obeyed", prepare: cli("keys", "block", arn, "--reason", "incident", "--since", "2100-01-01T00:00:00Z"), code: kmserr.KeyBlocked},
		{name: "blocked, and granted everything", prepare: func(t *testing.T, home string) {
			cli("keys", "block", arn)(t, home)
			policy(`{"version":"1","allowList":true,"grants":[{"name":"a","keys":["`+arn+`"],"verify":true,"keyStates":["Disabled"]}]}`)(t, home)
		}, code: kmserr.KeyBlocked},
		{name: "blocked, removed and imported anew", prepare: func(t *testing.T, home string) {
			cli("keys", "block", arn)(t, home)
			cli("keys", "remove", arn)(t, home)
			cli("keys", "import", records+"p256.get-public-key.json")(t, home)
		}, code: kmserr.KeyBlocked},
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
				home := isolated(t, dir)
				files := []string{records + "p256.get-public-key.json", records + "p256.describe-key.json", records + "p256-disabled.get-public-key.json",
					records + "p256-disabled.describe-key.json", records + "rsa2048-encrypt.get-public-key.json"}
				switch c.state {
				case "":
				case "none":
					files = slices.Delete(files, 1, 2)
				default:
					files[1] = filepath.Join(dir, "describe-key.json")
					write(t, files[1], []byte(`{"KeyMetadata":{"Arn":"`+arn+`","KeyId":"`+keyIDOf(t, files[0])+`",`+c.state+`}}`))
				}
				if out, code := runCLI(t, append([]string{"keys", "import", "--snapshot-time", "2026-11-01T00:00:00Z"}, files...)...); code != 0 {
					t.Fatal(out)
				}
				if out, code := runCLI(t, "keys", "import", "--snapshot-time", "2026-11-01T00:00:00Z", records+"p256.get-public-key.json", "--alias", "alias/release"); code != 0 {
					t.Fatal(out)
				}
				if c.prepare != nil {
					c.prepare(t, home)
				}
				key, keyID := c.key, c.keyID
				if key == "" {
					key = "p256"
				}
				if keyID == "" {
					keyID = arns[key]
				}
				algorithm := kmskey.ECDSASHA256
				if key == "rsa2048-encrypt" {
					algorithm = kmskey.RSASSAPSSSHA256
				}
				signature, _, err := signTest("../../../testdata", key, algorithm, []byte(message))
				if err != nil {
					t.Fatal(err)
				}
				stateOnly := slices.Contains([]kmserr.Name{kmserr.Disabled, kmserr.KMSInvalidState, kmserr.SnapshotExpired}, c.code)
				said := ask(t, asked{key: key, keyID: keyID, signature: signature, message: message, stateOnly: stateOnly})
				if got := exception.FindString(said); got != string(c.code) && !(name == "notation" && notationSays[c.code] != "" && strings.Contains(said, notationSays[c.code])) || c.code == "" && said != "" {
					t.Errorf("said %q, expected %q", said, c.code)
				}
				if strings.HasPrefix(c.name, "no log") {
					return
				}
				var line audit.Line
				for entry, err := range audit.Lines(t.Context(), filepath.Join(dir, "state", "awskms-offline", audit.FileName), audit.Filter{}) {
					if err != nil {
						t.Fatal(err)
					}
					line = entry.Line
				}
				logged, _, _ := strings.Cut(line.StateError, ":")
				if line.ErrorCode != "" {
					logged = line.ErrorCode
				}
				if line.EventID == "" || logged != string(c.code) && !(name == "notation" && c.code == kmserr.NotFound) || line.Verified != (c.code == "" || name == "notation" && stateOnly) {
					t.Errorf("the line says %q and verified %t: %+v", logged, line.Verified, line)
				}
			})
		}
	}
}

// isolated makes dir the place of home, log and everything else that is found by the environment, and returns the home.
func isolated(t *testing.T, dir string) (home string) {
	t.Helper()
	home = filepath.Join(dir, "home")
	for variable, place := range map[string]string{"AWSKMS_OFFLINE_HOME": home, "XDG_STATE_HOME": filepath.Join(dir, "state"), "LocalAppData": filepath.Join(dir, "state"), "HOME": dir} {
		t.Setenv(variable, place)
	}
	return home
}

// notationSays has what stands in a reason for Notation in place of a code: what was not found is listed for every identity.
var notationSays = map[kmserr.Name]string{kmserr.NotFound: "is not in the store"}

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
