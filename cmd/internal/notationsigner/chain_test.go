package notationsigner

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/internal/notationwire"
)

// TestChains: a chain that Notation would not take is refused before KMS is asked.
func TestChains(t *testing.T) {
	kms := start(t)
	key, caKey, middleKey := keyOf("p256"), keyOf("p256-stranger"), keyOf("p256-other")
	root := issue(template("root", authority), caKey, nil, nil)
	middle := issue(template("middle", authority), middleKey, root, caKey)
	leaf := func(edits ...func(*x509.Certificate)) *x509.Certificate {
		return issue(template("leaf", edits...), key, middle, middleKey)
	}
	usage := func(u x509.KeyUsage) func(*x509.Certificate) { return func(c *x509.Certificate) { c.KeyUsage = u } }
	extended := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	life := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	good := leaf()
	pemOf := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	whole := must(os.ReadFile(file(t, good, middle, root)))
	many := make([]*x509.Certificate, notationwire.MaxCertificates+1)
	for i := range many {
		many[i] = good
	}
	for name, c := range map[string]struct {
		path string
		says string
	}{
		"expired":                   {file(t, leaf(life(-2*time.Hour, -time.Hour)), middle, root), "expired at"},
		"not yet valid":             {file(t, leaf(life(time.Hour, 2*time.Hour)), middle, root), "is not valid before"},
		"self-signed, expired":      {file(t, issue(template("self", life(-2*time.Hour, -time.Hour)), key, nil, nil)), "expired at"},
		"expired authority":         {file(t, good, issue(template("middle", authority, life(-2*time.Hour, -time.Hour)), middleKey, root, caKey), root), "certificate 2, of"},
		"no extended key usage":     {file(t, leaf(extended()), middle, root), "is not for code signing"},
		"for servers":               {file(t, leaf(extended(x509.ExtKeyUsageServerAuth)), middle, root), "is not for code signing"},
		"for servers too":           {file(t, leaf(extended(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageCodeSigning)), middle, root), "ServerAuth"},
		"for everything":            {file(t, leaf(extended(x509.ExtKeyUsageAny, x509.ExtKeyUsageCodeSigning)), middle, root), "every extended key usage"},
		"no digital signature":      {file(t, leaf(usage(x509.KeyUsageContentCommitment)), middle, root), "is not for digital signatures"},
		"key encipherment too":      {file(t, leaf(usage(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment)), middle, root), "KeyEncipherment"},
		"no key usage":              {file(t, leaf(usage(0)), middle, root), "is not for digital signatures"},
		"an authority as leaf":      {file(t, issue(template("ca", authority), key, nil, nil)), "is an authority's"},
		"an authority that is none": {file(t, good, issue(template("middle"), middleKey, root, caKey), root), "is no authority"},
		"wrong order":               {file(t, root, middle, good), "is not issued by certificate 2"},
		"issuer missing":            {file(t, good, root), "not issued by"},
		"root missing":              {file(t, good, middle), "is the last one and not self-signed"},
		"leaf alone":                {file(t, good), "self-signed"},
		"another root":              {file(t, good, middle, issue(template("root", authority), key, nil, nil)), "not issued by"},
		"root twice":                {file(t, good, middle, root, root), "self-signed intermediate"},
		"too many":                  {file(t, many...), "33 certificates, expected at most 32"},
		"a private key":             {write(t, append(bytes.Clone(whole), must(os.ReadFile(filepath.Join(testdata, "keys", "p256.key.pem")))...)), `PEM block "PRIVATE KEY"`},
		"cut in the middle":         {write(t, whole[:len(whole)-100]), "3 PEM blocks, of which 2 can be read"},
		"a broken one first":        {write(t, append(bytes.Replace(pemOf("CERTIFICATE", good.Raw), []byte("\nM"), []byte("\n*"), 1), whole...)), "4 PEM blocks, of which 3 can be read"},
		"no certificate in it":      {write(t, pemOf("CERTIFICATE", []byte("x"))), "certificate 1 cannot be read"},
		"DER":                       {write(t, good.Raw), "is a certificate in DER, expected PEM"},
		"empty":                     {write(t, nil), "no certificate in PEM"},
		"endless":                   {write(t, bytes.Repeat([]byte("x"), kmscert.MaxFile+1)), "longer than the 262144 bytes"},
		"absent":                    {filepath.Join(t.TempDir(), "none.pem"), "there is no certificate file"},
		"a folder":                  {t.TempDir(), "is no file"},
		"another key's leaf":        {file(t, issue(template("leaf"), middleKey, root, caKey), root), "KeyMaterialMismatchException"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(kms.Requests())
			for command, request := range map[string]object{
				"generate-envelope":  envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(c.path)),
				"generate-signature": signatureOf(kms.arns["p256"], kms.config(c.path, "verification-plugin", "off")),
			} {
				refused(t, command, request.json(), plugin.ErrorCodeValidation, c.says, c.path)
			}
			for _, r := range kms.Requests()[before:] {
				if r.Operation == "Sign" || name != "another key's leaf" {
					t.Errorf("KMS was asked %s", r.Operation)
				}
			}
		})
	}
	text := append([]byte("subject=CN = leaf\n"), whole...)
	for name, path := range map[string]string{"plain": file(t, good, middle, root), "with text between": write(t, append(text, '\n'))} {
		t.Run(name, func(t *testing.T) { sign(t, envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(path))) })
	}
}

// TestMismatchNamesBoth: who has two keys must see which is which.
func TestMismatchNamesBoth(t *testing.T) {
	kms := start(t)
	_, failure := run(t, "generate-envelope", envelopeOf(kms.arns["p384"], envelopeTypes[0], kms.config(certFile("p256"))).json())
	if failure == nil || strings.Count(failure.Message, "with SHA-256")+strings.Count(failure.Message, "the one with") < 2 || failure.Metadata["keyArn"] != kms.arns["p384"] {
		t.Errorf("got %v", failure)
	}
}
