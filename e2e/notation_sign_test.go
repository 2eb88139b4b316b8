package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// envelopes are what notation calls its signature formats.
var envelopes = []string{"jws", "cose"}

// signingHost is a host with both of our plugins for Notation, credentials for the KMS at endpoint, and a key store of its
// own that is empty.
func signingHost(t *testing.T, endpoint string) *harness.Host {
	t.Helper()
	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notation-awskms-offline", "notation-awskms-signer"} {
		if err := h.InstallPlugin(filepath.Join(shared.bin, build.Executable(name))); err != nil {
			t.Fatal(err)
		}
	}
	h.Extra = credentials(endpoint)
	return h
}

func credentials(endpoint string) []string {
	return []string{"AWS_ENDPOINT_URL_KMS=" + endpoint, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true"}
}

// trust makes the host trust these keys, by their certificates and their ARNs alone.
func trust(t *testing.T, h *harness.Host, certificates []string, stores []string, arns ...string) {
	t.Helper()
	if err := h.AddCertificates(store, certificates...); err != nil {
		t.Fatal(err)
	}
	if err := h.WriteTrustPolicy(harness.Statement{Name: "test", Scopes: []string{"*"}, Level: "strict", Stores: append([]string{"ca:" + store}, stores...), Identities: arns}); err != nil {
		t.Fatal(err)
	}
}

// notationSign runs notation sign with our plugin.
func notationSign(t *testing.T, h *harness.Host, envelope, keyID, reference string, options ...string) harness.Result {
	t.Helper()
	args := []string{"sign", "--insecure-registry", "--plugin", "awskms-signer", "--id", keyID, "--signature-format", envelope}
	for _, o := range options {
		if !strings.HasPrefix(o, "--") {
			args = append(args, "--plugin-config")
		}
		args = append(args, o)
	}
	return do(t, h, h.Notation, append(args, reference)...)
}

func do(t *testing.T, h *harness.Host, program string, args ...string) harness.Result {
	t.Helper()
	r, err := h.Run(program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// well demands that a program had no reason to refuse.
func well(t *testing.T, r harness.Result) {
	t.Helper()
	if r.Code != 0 {
		t.Fatal(r)
	}
}

// says demands a refusal in these words.
func says(t *testing.T, r harness.Result, words ...string) {
	t.Helper()
	if r.Code == 0 {
		t.Errorf("no refusal\n%s", r)
	}
	for _, w := range words {
		if !strings.Contains(strings.ReplaceAll(r.Output(), `\"`, `"`), w) {
			t.Errorf("%q is not in\n%s", w, r)
		}
	}
}

// verifies demands that notation verifies the image, without any KMS.
func verifies(t *testing.T, h *harness.Host, reference string) {
	t.Helper()
	with := h.Extra
	h.Extra = nil
	defer func() { h.Extra = with }()
	r, err := h.VerifyRegistry(reference)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, fixture.Passes, nil)
}

// refuses demands that notation refuses the image.
func refuses(t *testing.T, h *harness.Host, reference string, reason ...string) {
	t.Helper()
	with := h.Extra
	h.Extra = nil
	defer func() { h.Extra = with }()
	r, err := h.VerifyRegistry(reference)
	if err != nil {
		t.Fatal(err)
	}
	says(t, r, append(reason, "signature verification failed")...)
}

// private is the private key of a key of testdata.
func private(t *testing.T, name string) crypto.Signer {
	t.Helper()
	data, err := os.ReadFile(fixture.Lookup(name).PrivateFile(shared.testdata))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}

// codeSigning is a certificate with Notation's profile.
func codeSigning(edits ...func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"release"}, CommonName: "release"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

// certified writes a certificate chain of a public key into two files: the whole chain, and its root, which is to be trusted.
// Without an authority the certificate is self-signed by key.
func certified(t *testing.T, key crypto.Signer, withAuthority bool, edits ...func(*x509.Certificate)) (chain, root string) {
	t.Helper()
	leaf := codeSigning(edits...)
	issuer, issuerKey := leaf, key
	var rest []*x509.Certificate
	if withAuthority {
		caKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ca := codeSigning(func(c *x509.Certificate) {
			c.Subject.CommonName, c.IsCA, c.KeyUsage, c.ExtKeyUsage = "authority", true, x509.KeyUsageCertSign, nil
		})
		issuer, issuerKey = created(t, ca, ca, caKey.Public(), caKey), caKey
		rest = []*x509.Certificate{issuer}
	}
	made := append([]*x509.Certificate{created(t, leaf, issuer, key.Public(), issuerKey)}, rest...)
	last := made[len(made)-1]
	return pemFile(t, "chain.pem", made...), pemFile(t, last.SerialNumber.String()+".pem", last) // trust stores go by names
}

func created(t *testing.T, template, issuer *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pemFile(t *testing.T, name string, certificates ...*x509.Certificate) string {
	t.Helper()
	var data []byte
	for _, c := range certificates {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNotationSign: the real notation signs with a key in KMS through our plugin and pushes; the real notation verifies
// through our other plugin, which has never heard of KMS.
func TestNotationSign(t *testing.T) {
	endpoint := startFakeKMS(t, t.TempDir())
	for _, name := range []string{"p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"} {
		for _, authority := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/authority %t", name, authority), func(t *testing.T) {
				t.Parallel()
				arn := fixture.Lookup(name).ARN()
				chain, root := certified(t, private(t, name), authority)
				h := signingHost(t, endpoint)
				well(t, do(t, h, h.CLI, "keys", "pull", arn))
				trust(t, h, []string{root}, nil, arn)
				for _, envelope := range envelopes {
					repository, digest, reference := repositoryAndImage(t, envelope)
					well(t, notationSign(t, h, envelope, arn, reference, "certificate-chain="+chain))
					verifies(t, h, reference)
					tamper(t, h, repository, digest)
				}
			})
		}
	}
}

// repositoryAndImage pushes an image that no other test has.
func repositoryAndImage(t *testing.T, name string) (repository_, digest, reference string) {
	t.Helper()
	repository_ = repository(t) + "/" + name
	digest, err := shared.registry.PushImage(repository_, repository_)
	if err != nil {
		t.Fatal(err)
	}
	return repository_, digest, shared.registry.Reference(repository_, digest)
}

// tamper takes the one signature of an image, and demands that its evil twins are refused: a bit of the signature changed,
// and another image under it.
func tamper(t *testing.T, h *harness.Host, repository, digest string) {
	t.Helper()
	signatures, err := shared.registry.NotationSignatures(repository, digest)
	if err != nil || len(signatures) != 1 {
		t.Fatalf("%d signatures of %s (%v)", len(signatures), repository, err)
	}
	good := signatures[0]
	twin := repository + "/twin"
	other, err := shared.registry.PushImage(twin, twin)
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.registry.PushNotationSignature(twin, other, good); err != nil {
		t.Fatal(err)
	}
	refuses(t, h, shared.registry.Reference(twin, other))

	bad := repository + "/bad"
	if _, err := shared.registry.PushImage(bad, repository); err != nil { // the same image
		t.Fatal(err)
	}
	spoiled := good
	spoiled.Envelope = bytes.Clone(good.Envelope)
	if good.EnvelopeType == "application/cose" {
		spoiled.Envelope[len(spoiled.Envelope)-10] ^= 1 // the signature is last
	} else {
		var jws map[string]any
		if err := json.Unmarshal(good.Envelope, &jws); err != nil {
			t.Fatal(err)
		}
		signature, err := base64.RawURLEncoding.DecodeString(jws["signature"].(string))
		if err != nil {
			t.Fatal(err)
		}
		signature[10] ^= 1
		jws["signature"] = base64.RawURLEncoding.EncodeToString(signature)
		if spoiled.Envelope, err = json.Marshal(jws); err != nil {
			t.Fatal(err)
		}
	}
	if err := shared.registry.PushNotationSignature(bad, digest, spoiled); err != nil {
		t.Fatal(err)
	}
	refuses(t, h, shared.registry.Reference(bad, digest))
}

// TestNotationSignDisabledLater: a signature verifies until the store hears that KMS disabled the key, and then no more, nor
// can the key sign.
func TestNotationSignDisabledLater(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	arn := fixture.Lookup("p256").ARN()
	chain, root := certified(t, private(t, "p256"), false)
	h := signingHost(t, endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", arn))
	trust(t, h, []string{root}, nil, arn)
	_, _, reference := repositoryAndImage(t, "app")
	well(t, notationSign(t, h, "cose", arn, reference, "certificate-chain="+chain))
	verifies(t, h, reference)

	callKMS(t, endpoint, "DisableKey", map[string]any{"KeyId": arn})
	verifies(t, h, reference) // what is known offline is as old as the last refresh
	do(t, h, h.CLI, "keys", "refresh")
	refuses(t, h, reference, "DisabledException")
	says(t, notationSign(t, h, "cose", arn, reference, "certificate-chain="+chain), "DisabledException", arn)

	callKMS(t, endpoint, "EnableKey", map[string]any{"KeyId": arn})
	do(t, h, h.CLI, "keys", "refresh")
	verifies(t, h, reference)
}

// callKMS calls the fake KMS, or moto, as the AWS CLI would, but for the request's signature, which neither checks.
func callKMS(t *testing.T, endpoint, operation string, input map[string]any) (answer map[string]any) {
	t.Helper()
	return callKMSIn(t, endpoint, "us-east-1", operation, input)
}

func callKMSIn(t *testing.T, endpoint, region, operation string, input map[string]any) (answer map[string]any) {
	t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261123/"+region+"/kms/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s (%v)", operation, response.Status, data, err)
	}
	if len(bytes.TrimSpace(data)) > 0 {
		if err := json.Unmarshal(data, &answer); err != nil {
			t.Fatal(err)
		}
	}
	return answer
}

// between is a KMS whose answers to Sign a test may replace.
func between(t *testing.T, endpoint string, replace func(status int, body []byte) (int, []byte)) string {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Header.Get("X-Amz-Target") != "TrentService.Sign" {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if err := r.Body.Close(); err != nil {
			return err
		}
		r.StatusCode, body = replace(r.StatusCode, body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		r.Header.Del("X-Amz-Crc32")
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// TestNotationSignRefused: what must not be signed is not pushed, and the user reads why.
func TestNotationSignRefused(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	fails := func(code, message string) string {
		return between(t, endpoint, func(int, []byte) (int, []byte) {
			return http.StatusBadRequest, fmt.Appendf(nil, `{"__type":%q,"message":%q}`, code, message)
		})
	}
	wrong := between(t, endpoint, func(status int, body []byte) (int, []byte) {
		var answer map[string]any
		if json.Unmarshal(body, &answer) != nil || status != http.StatusOK {
			return http.StatusTeapot, nil
		}
		signature, _ := base64.StdEncoding.DecodeString(answer["Signature"].(string))
		signature[len(signature)-1] ^= 1
		answer["Signature"] = signature
		body, _ = json.Marshal(answer)
		return status, body
	})
	arn := fixture.Lookup("p256").ARN()
	key := private(t, "p256")
	good, _ := certified(t, key, true)
	stranger, _ := certified(t, private(t, "p384"), true)
	expired, _ := certified(t, key, true, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	noUsage, _ := certified(t, key, true, func(c *x509.Certificate) { c.ExtKeyUsage = nil })
	for _, c := range []struct {
		name     string
		endpoint string
		key      string
		options  []string
		says     []string
	}{
		{"a wrong signature", wrong, arn, []string{"certificate-chain=" + good}, []string{"does not verify by KMS's own public key"}},
		{"access denied", fails("AccessDeniedException", "not you"), arn, []string{"certificate-chain=" + good}, []string{"AccessDeniedException", "not you", "Allow kms:Sign"}},
		{"throttled", fails("ThrottlingException", "Rate exceeded"), arn, []string{"certificate-chain=" + good}, []string{"ThrottlingException", "Rate exceeded"}},
		{"disabled", endpoint, fixture.Lookup("p256-disabled").ARN(), []string{"certificate-chain=" + fixture.Lookup("p256-disabled").CertificateFile(shared.testdata)}, []string{"DisabledException"}},
		{"another key's certificate", endpoint, arn, []string{"certificate-chain=" + stranger}, []string{"KeyMaterialMismatchException", "holds the public key with SHA-256"}},
		{"expired", endpoint, arn, []string{"certificate-chain=" + expired}, []string{"expired at"}},
		{"no extended key usage", endpoint, arn, []string{"certificate-chain=" + noUsage}, []string{"is not for code signing"}},
		{"no certificate", endpoint, arn, nil, []string{"there is no certificate of " + arn, "cert self-sign"}},
		{"unknown option", endpoint, arn, []string{"certificate=" + good}, []string{`no plugin option "certificate"`, "certificate-chain"}},
		{"no such key", endpoint, "alias/none", []string{"certificate-chain=" + good}, []string{"NotFoundException"}},
		{"a key that Notation has no algorithm for", endpoint, fixture.Lookup("mldsa65").ARN(), []string{"certificate-chain=" + good}, []string{"ML_DSA_65", "no algorithm"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := signingHost(t, c.endpoint)
			repository, digest, reference := repositoryAndImage(t, "app")
			for _, envelope := range envelopes {
				says(t, notationSign(t, h, envelope, c.key, reference, c.options...), c.says...)
				if c.name == "throttled" {
					break // it is tried for many seconds
				}
			}
			if signatures, err := shared.registry.NotationSignatures(repository, digest); err != nil || len(signatures) > 0 {
				t.Errorf("%d signatures were pushed (%v)", len(signatures), err)
			}
		})
	}
}

// TestNotationSignRaw: with verification-plugin=off notation makes the envelope itself, and verifies it itself, by the
// subject, on a host without our verification plugin.
func TestNotationSignRaw(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	options := timestamping(t)
	for _, name := range []string{"p256", "p521", "rsa3072"} {
		for _, envelope := range envelopes {
			t.Run(name+"/"+envelope, func(t *testing.T) {
				t.Parallel()
				chain, root := certified(t, private(t, name), true)
				h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
				if err != nil {
					t.Fatal(err)
				}
				if err := h.InstallPlugin(filepath.Join(shared.bin, build.Executable("notation-awskms-signer"))); err != nil {
					t.Fatal(err)
				}
				h.Extra = credentials(endpoint)
				trust(t, h, []string{root}, nil, "x509.subject: C=US, ST=WA, O=release, CN=release")
				repository, digest, reference := repositoryAndImage(t, "app")
				well(t, notationSign(t, h, envelope, fixture.Lookup(name).ARN(), reference, "certificate-chain="+chain, "verification-plugin=off",
					"--timestamp-url="+options.url, "--timestamp-root-cert="+options.root))
				verifies(t, h, reference)
				if r := do(t, h, h.Notation, "inspect", "--insecure-registry", "--output", "json", reference); r.Code != 0 ||
					strings.Contains(r.Stdout, "verificationPlugin") || !strings.Contains(r.Stdout, "fake TSA") {
					t.Errorf("the envelope is not as notation makes it:\n%s", r)
				}
				tamper(t, h, repository, digest)
			})
		}
	}
}

type tsaOptions struct{ url, root string }

// timestamping starts a timestamping authority.
func timestamping(t *testing.T) tsaOptions {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "tsa.pem")
	return tsaOptions{startFake(t, dir, "internal/faketsa/testdata/faketsa", root), root}
}

// TestNotationSignTimestamp: a countersigned signature outlives its certificate, one without does not. Notation's own flag
// is without effect where a plugin makes the envelope, which is why this one has options. What the trust policy says of
// timestamps is as docs/notation.md has it.
func TestNotationSignTimestamp(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	options := timestamping(t)
	for _, envelope := range envelopes {
		t.Run(envelope, func(t *testing.T) {
			t.Parallel()
			arn := fixture.Lookup("p384").ARN()
			h := signingHost(t, endpoint)
			well(t, do(t, h, h.CLI, "keys", "pull", arn))
			page := guide(t, "Timestamps")
			_, command, _ := strings.Cut(page, "```console\nnotation ")
			command, _, _ = strings.Cut(command, "\n```")
			well(t, do(t, h, h.Notation, strings.Fields(strings.Replace(command, "tsa-root.pem", options.root, 1))...))
			_, _, stamped := repositoryAndImage(t, "stamped")
			_, _, plain := repositoryAndImage(t, "plain")
			ends := time.Now().Add(time.Minute) // from here a busy machine must be quick enough
			chain, root := certified(t, private(t, "p384"), true, func(c *x509.Certificate) { c.NotAfter = ends })
			trust(t, h, []string{root}, nil, arn)
			if err := h.AddCertificates("awskms", root); err != nil { // the page's store
				t.Fatal(err)
			}
			asThePageSays := func() {
				t.Helper()
				_, policy, _ := strings.Cut(page, "```json\n")
				policy, _, _ = strings.Cut(policy, "```")
				if !strings.Contains(policy, fixture.Lookup("p256").ARN()) {
					t.Fatalf("docs/notation.md trusts another key:\n%s", policy)
				}
				file := filepath.Join(t.TempDir(), "trustpolicy.json")
				if err := os.WriteFile(file, []byte(strings.Replace(policy, fixture.Lookup("p256").ARN(), arn, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
				well(t, do(t, h, h.Notation, "policy", "import", "--force", file))
			}
			demand := func(stores ...string) {
				t.Helper()
				if err := h.WriteTrustPolicy(harness.Statement{Name: "test", Scopes: []string{"*"}, Level: "strict",
					Stores: append([]string{"ca:" + store}, stores...), Identities: []string{arn}}); err != nil {
					t.Fatal(err)
				}
			}
			well(t, notationSign(t, h, envelope, arn, stamped, "certificate-chain="+chain, "tsa-url="+options.url, "tsa-root="+options.root))
			well(t, notationSign(t, h, envelope, arn, plain, "certificate-chain="+chain, "--timestamp-url="+options.url, "--timestamp-root-cert="+options.root))
			verifies(t, h, plain)
			asThePageSays()
			verifies(t, h, plain)
			verifies(t, h, stamped)
			demand("tsa:time")
			verifies(t, h, stamped)
			refuses(t, h, plain, "no timestamp countersignature was found")
			time.Sleep(time.Until(ends) + time.Second)
			verifies(t, h, stamped)
			asThePageSays()
			verifies(t, h, stamped)
			refuses(t, h, plain, "no timestamp countersignature was found")
			demand()
			refuses(t, h, plain, "expired")
			refuses(t, h, stamped, "expired")
		})
	}
}

// TestNotationSignExpiry: --expiry and --user-metadata reach the envelope.
func TestNotationSignExpiry(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	arn := fixture.Lookup("p256").ARN()
	chain, root := certified(t, private(t, "p256"), false)
	h := signingHost(t, endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", arn))
	trust(t, h, []string{root}, nil, arn)
	_, _, reference := repositoryAndImage(t, "app")
	before := time.Now()
	well(t, notationSign(t, h, "jws", arn, reference, "certificate-chain="+chain, "--expiry=20s", "--user-metadata=build=4711"))
	verifies(t, h, reference)
	for metadata, want := range map[string]fixture.Outcome{"build=4711": fixture.Passes, "build=4712": fixture.Refuses} {
		r, err := h.VerifyRegistry(reference, "--user-metadata", metadata)
		if err != nil {
			t.Fatal(err)
		}
		check(t, r, want, nil)
	}
	time.Sleep(time.Until(before.Add(22 * time.Second)))
	refuses(t, h, reference, "expire")
}

// TestNotationSignAlias: a signature names the key that the alias meant, so a moved alias changes none that is there, and the
// next one has to be trusted by its own key.
func TestNotationSignAlias(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	before, after := fixture.Lookup("p256").ARN(), fixture.Lookup("p384").ARN()
	callKMS(t, endpoint, "CreateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": before})
	oldChain, oldRoot := certified(t, private(t, "p256"), false)
	newChain, newRoot := certified(t, private(t, "p384"), false)
	h := signingHost(t, endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", before, after))
	trust(t, h, []string{oldRoot, newRoot}, nil, before)
	_, _, first := repositoryAndImage(t, "first")
	_, _, second := repositoryAndImage(t, "second")
	well(t, notationSign(t, h, "jws", "alias/release", first, "certificate-chain="+oldChain))
	verifies(t, h, first)

	callKMS(t, endpoint, "DeleteAlias", map[string]any{"AliasName": "alias/release"})
	callKMS(t, endpoint, "CreateAlias", map[string]any{"AliasName": "alias/release", "TargetKeyId": after})
	says(t, notationSign(t, h, "jws", "alias/release", second, "certificate-chain="+oldChain), "KeyMaterialMismatchException", after)
	well(t, notationSign(t, h, "jws", "alias/release", second, "certificate-chain="+newChain))
	verifies(t, h, first)
	refuses(t, h, second, "awskms-offline.keyArn")
	if err := h.WriteTrustPolicy(harness.Statement{Name: "test", Scopes: []string{"*"}, Level: "strict", Stores: []string{"ca:" + store}, Identities: []string{before, after}}); err != nil {
		t.Fatal(err)
	}
	verifies(t, h, first)
	verifies(t, h, second)
}

// TestNotationSignReplica: what a multi-Region key signed in one Region is trusted by its ARN of another.
func TestNotationSignReplica(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	primary := fixture.Lookup("p256-mrk").ARN()
	replica := strings.Replace(primary, "us-east-1", "eu-west-1", 1)
	chain, root := certified(t, private(t, "p256-mrk"), false)
	h := signingHost(t, endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", primary))
	trust(t, h, []string{root}, nil, primary)
	for _, envelope := range envelopes {
		_, _, reference := repositoryAndImage(t, envelope)
		well(t, notationSign(t, h, envelope, replica, reference, "certificate-chain="+chain))
		verifies(t, h, reference)
	}
}

// TestNotationSignDoctor: the signing plugin is no danger to a safe set-up.
func TestNotationSignDoctor(t *testing.T) {
	t.Parallel()
	endpoint := startFakeKMS(t, t.TempDir())
	arn := fixture.Lookup("p256").ARN()
	_, root := certified(t, private(t, "p256"), false)
	h := signingHost(t, endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", arn))
	trust(t, h, []string{root}, nil, arn)
	well(t, do(t, h, h.CLI, "doctor"))
}

// TestNotationSignMoto signs with keys of moto, a KMS that we did not write, and verifies. moto signs a digest as if it were
// the message; testdata/moto_digest.py teaches it better.
func TestNotationSignMoto(t *testing.T) {
	t.Parallel()
	python := "python3"
	if runtime.GOOS == "windows" {
		python = "python"
	}
	if err := exec.Command(python, "-c", "import moto.server").Run(); err != nil {
		t.Skipf("%s has no moto (pip install 'moto[server,kms]'): that another KMS's signatures verify is not tested", python)
	}
	endpoint := startMoto(t, python, filepath.Join("testdata", "moto_digest.py"))
	create := func(t *testing.T, spec string) (arn string) {
		t.Helper()
		return callKMS(t, endpoint, "CreateKey", map[string]any{"KeySpec": spec, "KeyUsage": "SIGN_VERIFY"})["KeyMetadata"].(map[string]any)["Arn"].(string)
	}
	for _, spec := range []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"} {
		t.Run(spec, func(t *testing.T) {
			arn := create(t, spec)
			h := signingHost(t, endpoint)
			well(t, do(t, h, h.CLI, "keys", "pull", arn))
			certificate := filepath.Join(t.TempDir(), spec+".crt")
			well(t, do(t, h, h.CLI, "cert", "self-sign", "--key-id", arn, "--subject", "CN=release,O=Example,ST=WA,C=US", "--days", "1", "--file", certificate))
			well(t, do(t, h, h.CLI, "cert", "check", certificate, "--key-id", arn))
			trust(t, h, []string{certificate}, nil, arn)
			for _, envelope := range envelopes {
				repository, digest, reference := repositoryAndImage(t, envelope)
				well(t, notationSign(t, h, envelope, arn, reference))
				verifies(t, h, reference)
				tamper(t, h, repository, digest)
			}
		})
	}
	t.Run("salts that KMS never makes", func(t *testing.T) {
		arn := create(t, "RSA_2048")
		h := signingHost(t, endpoint)
		certificate := filepath.Join(t.TempDir(), "rsa.crt")
		says(t, do(t, h, h.CLI, "cert", "self-sign", "--key-id", arn, "--subject", "CN=release", "--days", "1", "--file", certificate), "does not verify by KMS's own public key")
		says(t, do(t, h, h.CLI, "sign", "--key-id", arn, "--signing-algorithm", "RSASSA_PSS_SHA_256", h.CLI), "does not verify by KMS's own public key")
		well(t, do(t, h, h.CLI, "sign", "--key-id", arn, "--signing-algorithm", "RSASSA_PKCS1_V1_5_SHA_256", h.CLI))
	})
}

// TestNotationSignMotoAsItIs: a KMS that signs a digest as if it were the message, as moto up to 5.2 at least does, is found
// out before anything is pushed. One that signs as KMS does has to verify.
func TestNotationSignMotoAsItIs(t *testing.T) {
	t.Parallel()
	moto, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not installed (pip install 'moto[server,kms]'): that its wrong signatures are found is not tested")
	}
	endpoint := startMoto(t, moto)
	made := callKMS(t, endpoint, "CreateKey", map[string]any{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	arn := made["KeyMetadata"].(map[string]any)["Arn"].(string)
	key := motoKey{t: t, endpoint: endpoint, arn: arn}
	chain, root := certified(t, key, false)
	h := signingHost(t, endpoint)
	well(t, do(t, h, h.CLI, "keys", "pull", arn))
	trust(t, h, []string{root}, nil, arn)
	for _, envelope := range envelopes {
		repository, digest, reference := repositoryAndImage(t, envelope)
		r := notationSign(t, h, envelope, arn, reference, "certificate-chain="+chain)
		if r.Code == 0 {
			verifies(t, h, reference)
			continue
		}
		says(t, r, "does not verify by KMS's own public key", "thrown away")
		if signatures, err := shared.registry.NotationSignatures(repository, digest); err != nil || len(signatures) > 0 {
			t.Errorf("%d signatures were pushed (%v)", len(signatures), err)
		}
	}
}

func startMoto(t *testing.T, program string, args ...string) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "-H", "127.0.0.1", "-p", port)...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s does not start: %v", program, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	endpoint = "http://127.0.0.1:" + port
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if response, err := http.Get(endpoint + "/moto-api/"); err == nil {
			_ = response.Body.Close()
			return endpoint
		}
	}
	t.Fatal("moto does not answer")
	return ""
}

// motoKey is an ECDSA key in moto, as crypto.MessageSigner.
type motoKey struct {
	t             *testing.T
	endpoint, arn string
}

func (k motoKey) Public() crypto.PublicKey {
	der, err := base64.StdEncoding.DecodeString(callKMS(k.t, k.endpoint, "GetPublicKey", map[string]any{"KeyId": k.arn})["PublicKey"].(string))
	if err != nil {
		k.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		k.t.Fatal(err)
	}
	return public
}

func (motoKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("moto signs no digests")
}

func (k motoKey) SignMessage(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	answer := callKMS(k.t, k.endpoint, "Sign", map[string]any{
		"KeyId": k.arn, "Message": message, "MessageType": "RAW", "SigningAlgorithm": fmt.Sprintf("ECDSA_SHA_%d", opts.HashFunc().Size()*8),
	})
	return base64.StdEncoding.DecodeString(answer["Signature"].(string))
}
