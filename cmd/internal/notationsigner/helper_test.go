package notationsigner

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

const testdata = "../../../testdata"

// payload is as Notation sends it, for an image of one kilobyte.
const payload = `{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:a0adb0dc8d36f2e061d57d59a40cc82fd25808ff42adeff833c7d2c9e9f50862","size":1024}}`

// notationKeys are the keys of testdata that Notation can sign with.
var notationKeys = []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521"}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fake is a fake KMS with the keys of testdata.
type fake struct {
	*kmstest.Server
	arns map[string]string
}

func start(t testing.TB) *fake {
	t.Helper()
	server := kmstest.Start(t)
	arns, err := server.Load(testdata)
	if err != nil {
		t.Fatal(err)
	}
	return &fake{server, arns}
}

// config is a plugin configuration that leads to the fake and, if chain is not empty, to that certificate chain.
func (f *fake) config(chain string, more ...string) map[string]string {
	c := map[string]string{"endpoint-url": f.URL(), "region": "us-east-1"}
	if chain != "" {
		c["certificate-chain"] = chain
	}
	for i := 0; i < len(more); i += 2 {
		c[more[i]] = more[i+1]
	}
	return c
}

// object is a request, to be edited member by member.
type object map[string]any

func (o object) with(name string, value any) object {
	o = maps.Clone(o)
	if value == nil {
		delete(o, name)
	} else {
		o[name] = value
	}
	return o
}

func (o object) json() []byte { return must(json.Marshal(o)) }

// envelopeOf is a generate-envelope request as notation v1.3.2 sends it.
func envelopeOf(keyID, envelopeType string, config map[string]string) object {
	return object{
		"contractVersion": "1.0", "keyId": keyID, "payloadType": payloadType, "signatureEnvelopeType": envelopeType,
		"payload": []byte(payload), "pluginConfig": config,
	}
}

var envelopeTypes = []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope}

// run calls the plugin as notation does, and demands what holds for every answer: a response on standard output alone
// with exit code 0, or one error object on standard error alone with exit code 1.
func run(t testing.TB, command string, request []byte) (stdout []byte, failure *plugin.Error) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main([]string{command}, bytes.NewReader(request), &out, &errs)
	return outcome(t, code, out.Bytes(), errs.Bytes())
}

func outcome(t testing.TB, code int, out, errs []byte) ([]byte, *plugin.Error) {
	t.Helper()
	switch {
	case code == 0:
		if len(errs) != 0 || !json.Valid(out) || out[0] != '{' {
			t.Fatalf("exit code 0 with standard output %q, standard error %q", out, errs)
		}
		return out, nil
	case code == 1:
		if len(out) != 0 {
			t.Fatalf("exit code 1 with standard output %q", out)
		}
		var e plugin.Error
		dec := json.NewDecoder(bytes.NewReader(errs))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil || e.ErrCode == "" || e.Message == "" || dec.More() || strings.Count(string(errs), "\n") != 1 {
			t.Fatalf("exit code 1 with standard error %q (%v)", errs, err)
		}
		return nil, &e
	}
	t.Fatalf("exit code %d", code)
	return nil, nil
}

// sign makes an envelope and verifies it with Notation's core library.
func sign(t testing.TB, request object) *signature.EnvelopeContent {
	t.Helper()
	out, failure := run(t, "generate-envelope", request.json())
	if failure != nil {
		t.Fatal(failure)
	}
	var response plugin.GenerateEnvelopeResponse
	if err := json.Unmarshal(out, &response); err != nil {
		t.Fatal(err)
	}
	if response.SignatureEnvelopeType != request["signatureEnvelopeType"] {
		t.Errorf("got an envelope of type %q", response.SignatureEnvelopeType)
	}
	envelope, err := signature.ParseEnvelope(response.SignatureEnvelopeType, response.SignatureEnvelope)
	if err != nil {
		t.Fatal(err)
	}
	content, err := envelope.Verify()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Flags that a refusal may name: notation's own, and those of a whole command of ours.
var (
	aFlag         = regexp.MustCompile(`--[a-z-]+`)
	wholeCommand  = regexp.MustCompile("`awskms-offline [^`]*`|\\(awskms-offline [^)]*\\)")
	notationFlags = []string{"--plugin", "--id", "--plugin-config", "--timestamp-url", "--timestamp-root-cert"}
)

// refused calls a command that must be refused with this code and these words.
func refused(t testing.TB, command string, request []byte, code plugin.ErrorCode, says ...string) {
	t.Helper()
	out, failure := run(t, command, request)
	if failure == nil {
		t.Fatalf("answered %s", out)
	}
	if failure.ErrCode != code {
		t.Errorf("got %v, expected %s", failure, code)
	}
	for _, flag := range aFlag.FindAllString(wholeCommand.ReplaceAllString(failure.Message, ""), -1) {
		if !slices.Contains(notationFlags, flag) {
			t.Errorf("notation has no flag %s: %s", flag, failure.Message)
		}
	}
	for _, text := range says {
		if !strings.Contains(failure.Message, text) {
			t.Errorf("%q is not in %q", text, failure.Message)
		}
	}
}

// certFile is the self-signed certificate of a key of testdata.
func certFile(name string) string {
	return must(filepath.Abs(filepath.Join(testdata, "certs", name+".crt")))
}

// keyOf is the private key of a key of testdata.
func keyOf(name string) crypto.Signer {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
	return must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer)
}

// template is a certificate that meets Notation's profile, but for the edits.
func template(subject string, edits ...func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: subject},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		BasicConstraintsValid: true,
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

// authority is what a certification authority's certificate has other than a leaf.
func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
}

// issue makes a certificate of key; a nil issuer stands for the subject itself.
func issue(subject *x509.Certificate, key crypto.Signer, issuer *x509.Certificate, issuerKey crypto.Signer) *x509.Certificate {
	if issuer == nil {
		issuer, issuerKey = subject, key
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, subject, issuer, key.Public(), issuerKey))))
}

// file writes a chain as PEM.
func file(t testing.TB, chain ...*x509.Certificate) string {
	t.Helper()
	var data []byte
	for _, c := range chain {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return write(t, data)
}

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// signatureOf is a generate-signature request as notation v1.3.2 sends it for a P-256 key.
func signatureOf(keyID string, config map[string]string) object {
	return object{
		"contractVersion": "1.0", "keyId": keyID, "keySpec": "EC-256", "hashAlgorithm": "SHA-256",
		"payload": []byte("what notation signs"), "pluginConfig": config,
	}
}
