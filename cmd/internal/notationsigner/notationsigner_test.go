package notationsigner

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what goes over the wire, byte for byte but for its indentation.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", "golden", name+".json")
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with -update)", err)
	}
	if indented.String() != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs, got\n%s\nexpected\n%s", path, indented.String(), want)
	}
}

// TestMetadata: one capability a call, and Notation hears which.
func TestMetadata(t *testing.T) {
	version := buildinfo.Version
	buildinfo.Version = "0.0.0-test"
	t.Cleanup(func() { buildinfo.Version = version })
	for _, c := range []struct{ golden, request string }{
		{"metadata", `{}`},
		{"metadata", ``},
		{"metadata", `{"pluginConfig":null}`},
		{"metadata", `{"pluginConfig":{"verification-plugin":"on","region":"eu-west-1"},"later":1}`},
		{"metadata-raw", `{"pluginConfig":{"verification-plugin":"off"}}`},
	} {
		out, failure := run(t, "get-plugin-metadata", []byte(c.request))
		if failure != nil {
			t.Fatalf("%s: %v", c.request, failure)
		}
		golden(t, c.golden, out)
	}
}

// TestEnvelope: every key that Notation knows, both envelopes, a self-signed certificate and a chain.
func TestEnvelope(t *testing.T) {
	kms := start(t)
	caKey, middleKey := keyOf("p256-stranger"), keyOf("p256-other")
	root := issue(template("root", authority), caKey, nil, nil)
	middle := issue(template("middle", authority), middleKey, root, caKey)
	for _, name := range notationKeys {
		for _, envelopeType := range envelopeTypes {
			t.Run(name+" "+envelopeType, func(t *testing.T) {
				t.Parallel()
				leaf := issue(template("leaf"), keyOf(name), middle, middleKey)
				for _, path := range []string{certFile(name), file(t, leaf, middle, root)} {
					before := time.Now().Truncate(time.Second)
					content := sign(t, envelopeOf(kms.arns[name], envelopeType, kms.config(path)).with("expiryDurationInSeconds", 3600))
					info := content.SignerInfo
					attributes := map[any]any{}
					for _, a := range info.SignedAttributes.ExtendedAttributes {
						if !a.Critical {
							t.Errorf("%s is not critical", a.Key)
						}
						attributes[a.Key] = a.Value
					}
					if len(attributes) != 3 || attributes["io.cncf.notary.verificationPlugin"] != "awskms-offline" ||
						attributes["io.cncf.notary.verificationPluginMinVersion"] != "0.1.0-0" || attributes["awskms-offline.keyArn"] != kms.arns[name] {
						t.Errorf("got the attributes %v", attributes)
					}
					if at := info.SignedAttributes.SigningTime; at.Before(before) || at.After(time.Now()) || !info.SignedAttributes.Expiry.Equal(at.Add(time.Hour)) {
						t.Errorf("signed at %s until %s", at, info.SignedAttributes.Expiry)
					}
					if info.UnsignedAttributes.SigningAgent != "notation-awskms-signer/"+buildinfo.Version || info.SignedAttributes.SigningScheme != signature.SigningSchemeX509 {
						t.Errorf("got %+v", info)
					}
					if !samePayload(envelopeType, []byte(payload), content.Payload.Content) || content.Payload.ContentType != payloadType {
						t.Errorf("got the payload %s", content.Payload.Content)
					}
				}
			})
		}
	}
}

// TestKeyIdentifiers: whatever names a key, the signature names its ARN.
func TestKeyIdentifiers(t *testing.T) {
	kms := start(t)
	arn := kms.arns["p256"]
	kms.PutAlias("alias/release", arn)
	for _, id := range []string{arn, arn[strings.LastIndex(arn, "/")+1:], "alias/release", "arn:aws:kms:us-east-1:111122223333:alias/release"} {
		content := sign(t, envelopeOf(id, envelopeTypes[0], kms.config(certFile("p256"))))
		if got, err := content.SignerInfo.ExtendedAttribute("awskms-offline.keyArn"); err != nil || got.Value != arn {
			t.Errorf("%s: %v, %v", id, got, err)
		}
		if !content.SignerInfo.SignedAttributes.Expiry.IsZero() {
			t.Errorf("expires %s", content.SignerInfo.SignedAttributes.Expiry)
		}
	}
}

// TestWithoutPlugin: nothing in the envelope that Notation alone could not process.
func TestWithoutPlugin(t *testing.T) {
	kms := start(t)
	content := sign(t, envelopeOf(kms.arns["p256"], envelopeTypes[1], kms.config(certFile("p256"), "verification-plugin", "off")))
	if n := len(content.SignerInfo.SignedAttributes.ExtendedAttributes); n != 0 {
		t.Errorf("%d extended attributes", n)
	}
}

// TestChainOfHome: without the option the chain is the home's, found by the key.
func TestChainOfHome(t *testing.T) {
	kms := start(t)
	home := t.TempDir()
	request := envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config("", "home", home))
	fingerprint, _, err := kmskey.FingerprintDER(must(x509.MarshalPKIXPublicKey(keyOf("p256").Public())))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, "certs", fingerprint+".pem")
	refused(t, "generate-envelope", request.json(), plugin.ErrorCodeValidation, path, "cert self-sign", "certificate-chain")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, must(os.ReadFile(certFile("p256"))), 0o600); err != nil {
		t.Fatal(err)
	}
	sign(t, request)
	if runtime.GOOS != "windows" { // whose permissions are no modes
		for _, open := range []string{home, filepath.Dir(path), path} { // to whoever would put an authority of their own into signatures
			info := must(os.Stat(open))
			if err := os.Chmod(open, 0o777); err != nil {
				t.Fatal(err)
			}
			refused(t, "generate-envelope", request.json(), plugin.ErrorCodeGeneric, "StoreIntegrityException", open, "can be written by everyone", "chmod o-w")
			if err := os.Chmod(open, info.Mode().Perm()); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("AWSKMS_OFFLINE_HOME", home)
	sign(t, envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config("")))
	if err := os.WriteFile(path, must(os.ReadFile(certFile("p256-other"))), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "generate-envelope", request.json(), plugin.ErrorCodeValidation, "holds the public key with SHA-256", fingerprint)
}

// TestRefusedKeys: what KMS or its keys are not good for.
func TestRefusedKeys(t *testing.T) {
	kms := start(t)
	for name, c := range map[string]struct {
		key, cert string
		code      plugin.ErrorCode
		says      []string
	}{
		"disabled":        {kms.arns["p256-disabled"], "p256-disabled", plugin.ErrorCodeAccessDenied, []string{"DisabledException"}},
		"another's cert":  {kms.arns["p256"], "p384", plugin.ErrorCodeValidation, []string{"KeyMaterialMismatchException", kms.arns["p256"]}},
		"encryption key":  {kms.arns["rsa2048-encrypt"], "rsa2048-encrypt", plugin.ErrorCodeValidation, []string{"InvalidKeyUsageException", "ENCRYPT_DECRYPT"}},
		"secp256k1":       {kms.arns["secp256k1"], "p256", plugin.ErrorCodeValidation, []string{"ECC_SECG_P256K1", "no algorithm"}},
		"SM2":             {kms.arns["sm2"], "p256", plugin.ErrorCodeValidation, []string{"SM2", "no algorithm"}},
		"Ed25519":         {kms.arns["ed25519"], "p256", plugin.ErrorCodeValidation, []string{"ECC_NIST_EDWARDS25519", "no algorithm"}},
		"ML-DSA":          {kms.arns["mldsa65"], "p256", plugin.ErrorCodeValidation, []string{"ML_DSA_65", "no algorithm"}},
		"absent":          {"arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000", "p256", plugin.ErrorCodeValidation, []string{"NotFoundException"}},
		"absent alias":    {"alias/none", "p256", plugin.ErrorCodeValidation, []string{"NotFoundException"}},
		"another account": {strings.Replace(kms.arns["p256"], "111122223333", "444455556666", 1), "p256", plugin.ErrorCodeValidation, []string{"NotFoundException"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, envelopeType := range envelopeTypes {
				refused(t, "generate-envelope", envelopeOf(c.key, envelopeType, kms.config(certFile(c.cert))).json(), c.code, c.says...)
			}
		})
	}
}

// TestFaults: what goes wrong between us and KMS. Nothing that KMS signed wrongly leaves.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*fake)
		code  plugin.ErrorCode
		says  []string
	}{
		"throttled": {spoil: func(f *fake) { f.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Fail(kmstest.Throttling)) },
			code: plugin.ErrorCodeThrottled, says: []string{"ThrottlingException", "Run the command again later."}},
		"too many at once": {spoil: func(f *fake) {
			f.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Fail(&kmstest.Error{Code: "LimitExceededException", Message: "too many"}))
		}, code: plugin.ErrorCodeThrottled, says: []string{"LimitExceededException: too many"}},
		"timed out within AWS": {spoil: func(f *fake) {
			f.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Fail(&kmstest.Error{Code: "DependencyTimeoutException", Message: "later"}))
		}, code: plugin.ErrorCodeTimeout, says: []string{"DependencyTimeoutException: later"}},
		"usage changed": {spoil: func(f *fake) {
			f.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Fail(&kmstest.Error{Code: "InvalidKeyUsageException", Message: "not so"}))
		}, code: plugin.ErrorCodeValidation, says: []string{"InvalidKeyUsageException: not so"}},
		"a wrong signature": {spoil: func(f *fake) {
			f.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Edit(func(answer map[string]any) {
				answer["Signature"] = "MEQCIFxwd7N2kmp9TBNRSqMl4PNXrhmxLUfjBVMUcUsrSTpqAiBmZ1OFWtuxZjtMQxtY7QQjJ9q4n3VYQWl1gvSpDq0dZQ=="
			}))
		}, code: plugin.ErrorCodeGeneric, says: []string{"does not verify by KMS's own public key", "thrown away"}},
		"no signature": {spoil: func(f *fake) {
			f.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Edit(func(answer map[string]any) { delete(answer, "Signature") }))
		}, code: plugin.ErrorCodeGeneric, says: []string{"does not verify"}},
		"may not sign":       {spoil: func(f *fake) { f.Deny("Sign", "*") }, code: plugin.ErrorCodeAccessDenied, says: []string{"AccessDeniedException", "Allow kms:Sign"}},
		"may not read":       {spoil: func(f *fake) { f.Deny("GetPublicKey", "*") }, code: plugin.ErrorCodeAccessDenied, says: []string{"Allow kms:GetPublicKey"}},
		"credentials ended":  {spoil: func(f *fake) { f.ExpireCredentials("") }, code: plugin.ErrorCodeAccessDenied, says: []string{"Renew the credentials"}},
		"no KMS":             {spoil: func(f *fake) { f.Close() }, code: plugin.ErrorCodeGeneric, says: []string{"KMSServiceException", "--plugin-config endpoint-url=URL"}},
		"another's answer":   {spoil: func(f *fake) { f.Inject(kmstest.Rule{Operation: "GetPublicKey"}, kmstest.NotJSON()) }, code: plugin.ErrorCodeGeneric, says: []string{"KMSServiceException"}},
		"disabled meanwhile": {spoil: func(f *fake) { f.SetState(f.arns["p256"], kmstest.State{Name: "Disabled"}) }, code: plugin.ErrorCodeAccessDenied, says: []string{"DisabledException"}},
		"pending deletion":   {spoil: func(f *fake) { f.SetState(f.arns["p256"], kmstest.State{Name: "PendingDeletion"}) }, code: plugin.ErrorCodeAccessDenied, says: []string{"KMSInvalidStateException"}},
		"another key's material": {spoil: func(f *fake) { f.ReplaceMaterial(f.arns["p256"], kmstest.Shared("ECC_NIST_P256")) },
			code: plugin.ErrorCodeValidation, says: []string{"KeyMaterialMismatchException"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // what is tried again takes its time
			kms := start(t)
			request := envelopeOf(kms.arns["p256"], envelopeTypes[1], kms.config(certFile("p256"))).json()
			c.spoil(kms)
			refused(t, "generate-envelope", request, c.code, c.says...)
		})
	}
}

// TestCredentials: whose credentials are absent or whose profile is, reads that, and not that KMS cannot be reached.
func TestCredentials(t *testing.T) {
	kms := start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	request := envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256")))
	refused(t, "generate-envelope", request.json(), plugin.ErrorCodeAccessDenied, "AccessDeniedException", "there are no AWS credentials", "--plugin-config profile=NAME")
	request = envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"), "profile", "nobody"))
	refused(t, "generate-envelope", request.json(), plugin.ErrorCodeValidation, `no profile "nobody"`, "--plugin-config profile=NAME")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	request = envelopeOf("alias/release", envelopeTypes[0], map[string]string{"endpoint-url": kms.URL(), "certificate-chain": certFile("p256")})
	refused(t, "generate-envelope", request.json(), plugin.ErrorCodeValidation, "no Region is known", "--plugin-config region=REGION")
	if n := len(kms.Requests()); n > 0 {
		t.Errorf("KMS was asked %d times", n)
	}
}

// TestProfile: the options profile and region say whose credentials sign, and where, whatever the environment says.
func TestProfile(t *testing.T) {
	kms := start(t)
	file := write(t, []byte("[profile release]\nregion = eu-west-1\naws_access_key_id = RELEASE\naws_secret_access_key = x\n"))
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_REGION", "")
	primary := kms.arns["p256-mrk.us-east-1"]
	keyID := primary[strings.LastIndex(primary, "/")+1:]
	config := map[string]string{"endpoint-url": kms.URL(), "certificate-chain": certFile("p256-mrk"), "profile": "release"}
	for region, want := range map[string]string{"": kms.arns["p256-mrk.eu-west-1"], "us-east-1": primary} {
		kms.ResetLog()
		if region != "" {
			config["region"] = region
		}
		content := sign(t, envelopeOf(keyID, envelopeTypes[0], config))
		if got, err := content.SignerInfo.ExtendedAttribute("awskms-offline.keyArn"); err != nil || got.Value != want {
			t.Errorf("region %q: the key is %v (%v), expected %s", region, got.Value, err, want)
		}
		for _, r := range kms.Requests() {
			if r.AccessKeyID != "RELEASE" {
				t.Errorf("region %q: %s was asked by %s", region, r.Operation, r.AccessKeyID)
			}
		}
		delete(config, "region")
	}
}

// TestCutOff: KMS is asked again where its answer breaks off, and one signature comes of it.
func TestCutOff(t *testing.T) {
	kms := start(t)
	kms.Inject(kmstest.Rule{Operation: "Sign", Times: 1}, kmstest.CutAfter(10))
	sign(t, envelopeOf(kms.arns["p256"], envelopeTypes[1], kms.config(certFile("p256"))))
	if n := kms.Count("Sign"); n != 2 {
		t.Errorf("KMS was asked to sign %d times, expected 2", n)
	}
}

// TestExplain: a KMS that hangs is a TIMEOUT, whichever of the clocks ran out first.
func TestExplain(t *testing.T) {
	hangs := kmserr.New(kmserr.KMSService, "KMS cannot be asked").WithCause(fmt.Errorf("request send failed: %w", os.ErrDeadlineExceeded))
	if e := kmserr.As(explain(t.Context(), hangs)); e.Name != kmserr.DeadlineExceeded {
		t.Errorf("got %v", e)
	}
	if e := kmserr.As(explain(t.Context(), kmserr.New(kmserr.KMSService, "KMS cannot be asked").WithCause(io.ErrUnexpectedEOF))); e.Name != kmserr.KMSService {
		t.Errorf("got %v", e)
	}
}

func TestDeadline(t *testing.T) {
	limit := deadline
	if limit != 2*time.Minute {
		t.Errorf("the deadline is %s", limit)
	}
	t.Cleanup(func() { deadline = limit })
	deadline = time.Second
	for operation, says := range map[string]string{"Sign": "Sign of", "GetPublicKey": "GetPublicKey of", "": "network"} {
		for _, command := range []string{"generate-envelope", "generate-signature"} {
			kms := start(t)
			kms.Inject(kmstest.Rule{Operation: operation}, kmstest.Delay(time.Hour))
			request := envelopeOf(kms.arns["p256"], envelopeTypes[1], kms.config(certFile("p256")))
			if command == "generate-signature" {
				request = signatureOf(kms.arns["p256"], kms.config(certFile("p256"), "verification-plugin", "off"))
			}
			start := time.Now()
			refused(t, command, request.json(), plugin.ErrorCodeTimeout, "no answer within 1s", says)
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("took %s", took)
			}
		}
	}
}

// TestNoTraces: a signer leaves nothing in the folder for temporary files.
func TestNoTraces(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	kms := start(t)
	sign(t, envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"))))
	refused(t, "generate-envelope", envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p384"))).json(), plugin.ErrorCodeValidation)
	raw := kms.config(certFile("p256"), "verification-plugin", "off")
	if _, failure := run(t, "generate-signature", signatureOf(kms.arns["p256"], raw).json()); failure != nil {
		t.Fatal(failure)
	}
	refused(t, "generate-signature", signatureOf(kms.arns["p256"], raw).with("keySpec", "EC-384").json(), plugin.ErrorCodeValidation)
	limit := deadline
	t.Cleanup(func() { deadline = limit })
	deadline = time.Second
	kms.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Delay(time.Hour))
	refused(t, "generate-envelope", envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"))).json(), plugin.ErrorCodeTimeout)
	if left := must(filepath.Glob(filepath.Join(dir, "*"))); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLeastPrivilege: GetPublicKey and Sign are enough, and nobody is asked for more than DescribeKey beside them.
func TestLeastPrivilege(t *testing.T) {
	kms := start(t)
	kms.Deny("DescribeKey", "*")
	sign(t, envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"))))
	var asked []string
	for _, r := range kms.Requests() {
		asked = append(asked, r.Operation)
	}
	if got := strings.Join(asked, " "); got != "GetPublicKey DescribeKey Sign" {
		t.Errorf("KMS was asked %s", got)
	}
}

// TestInterrupt: an interrupt ends the wait with an answer.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot interrupt itself alone")
	}
	kms := start(t)
	kms.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Delay(time.Hour))
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Second, func() { _ = self.Signal(os.Interrupt) })
	refused(t, "generate-envelope", envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"))).json(), plugin.ErrorCodeTimeout, "was interrupted")
}
