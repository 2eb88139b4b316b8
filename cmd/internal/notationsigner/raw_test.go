package notationsigner

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// TestRaw: describe-key, then generate-signature, for every key that Notation knows.
func TestRaw(t *testing.T) {
	kms := start(t)
	hashes := map[string]crypto.Hash{"SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384, "SHA-512": crypto.SHA512}
	for name, want := range map[string][3]string{
		"rsa2048": {"RSA-2048", "SHA-256", "RSASSA-PSS-SHA-256"},
		"rsa3072": {"RSA-3072", "SHA-384", "RSASSA-PSS-SHA-384"},
		"rsa4096": {"RSA-4096", "SHA-512", "RSASSA-PSS-SHA-512"},
		"p256":    {"EC-256", "SHA-256", "ECDSA-SHA-256"},
		"p384":    {"EC-384", "SHA-384", "ECDSA-SHA-384"},
		"p521":    {"EC-521", "SHA-512", "ECDSA-SHA-512"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := kms.config(certFile(name), "verification-plugin", "off")
			out, failure := run(t, "describe-key", object{"contractVersion": "1.0", "keyId": kms.arns[name], "pluginConfig": config}.json())
			if failure != nil {
				t.Fatal(failure)
			}
			var described plugin.DescribeKeyResponse
			if err := json.Unmarshal(out, &described); err != nil || described.KeyID != kms.arns[name] || string(described.KeySpec) != want[0] {
				t.Fatalf("got %s, %v", out, err)
			}
			request := signatureOf(kms.arns[name], config).with("keySpec", want[0]).with("hashAlgorithm", want[1])
			if out, failure = run(t, "generate-signature", request.json()); failure != nil {
				t.Fatal(failure)
			}
			var response plugin.GenerateSignatureResponse
			if err := json.Unmarshal(out, &response); err != nil || response.KeyID != kms.arns[name] || string(response.SigningAlgorithm) != want[2] || len(response.CertificateChain) != 1 {
				t.Fatalf("got %s, %v", out, err)
			}
			h := hashes[want[1]].New()
			h.Write([]byte("what notation signs"))
			var good bool
			switch public := must(x509.ParseCertificate(response.CertificateChain[0])).PublicKey.(type) {
			case *rsa.PublicKey:
				good = rsa.VerifyPSS(public, hashes[want[1]], h.Sum(nil), response.Signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
			case *ecdsa.PublicKey:
				half := (public.Params().BitSize + 7) / 8
				good = len(response.Signature) == 2*half &&
					ecdsa.Verify(public, h.Sum(nil), new(big.Int).SetBytes(response.Signature[:half]), new(big.Int).SetBytes(response.Signature[half:]))
			}
			if !good {
				t.Error("the signature does not verify")
			}
		})
	}
}

func TestRawRefuses(t *testing.T) {
	kms := start(t)
	config := kms.config(certFile("p256"), "verification-plugin", "off")
	good := signatureOf(kms.arns["p256"], config)
	for name, c := range map[string]struct {
		request object
		says    string
	}{
		"plugin wanted":  {good.with("pluginConfig", kms.config(certFile("p256"))), "cannot name the verification plugin"},
		"plugin on":      {good.with("pluginConfig", kms.config(certFile("p256"), "verification-plugin", "on")), "verification-plugin=off"},
		"another spec":   {good.with("keySpec", "EC-384"), `keySpec is "EC-384"`},
		"another hash":   {good.with("hashAlgorithm", "SHA-384"), `hashAlgorithm "SHA-384"`},
		"empty payload":  {good.with("payload", ""), "payload is empty"},
		"no payload":     {good.with("payload", nil), "lacks the member /payload"},
		"no hash":        {good.with("hashAlgorithm", nil), "lacks the member /hashAlgorithm"},
		"another's cert": {good.with("pluginConfig", kms.config(certFile("p384"), "verification-plugin", "off")), "KeyMaterialMismatch"},
		"tsa":            {good.with("pluginConfig", kms.config(certFile("p256"), "verification-plugin", "off", "tsa-url", "http://x", "tsa-root", certFile("p256"))), "--timestamp-url"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, "generate-signature", c.request.json(), plugin.ErrorCodeValidation, c.says)
		})
	}
	describe := object{"contractVersion": "1.0", "keyId": kms.arns["p256"], "pluginConfig": config}
	refused(t, "describe-key", describe.with("keyId", nil).json(), plugin.ErrorCodeValidation, "/keyId")
	refused(t, "describe-key", describe.with("keyId", kms.arns["sm2"]).json(), plugin.ErrorCodeValidation, "no algorithm")
	refused(t, "describe-key", describe.with("keyId", "alias/none").json(), plugin.ErrorCodeValidation, "NotFoundException")
	kms.Deny("GetPublicKey", "*")
	refused(t, "describe-key", describe.json(), plugin.ErrorCodeAccessDenied, "kms:GetPublicKey")
}

// TestEncode: DER with anything odd about it is no signature, and short numbers are padded.
func TestEncode(t *testing.T) {
	p256, p521, rsa2048 := algorithms[3], algorithms[5], algorithms[0]
	der := func(r, s *big.Int) []byte { return must(asn1.Marshal(struct{ R, S *big.Int }{r, s})) }
	one, big256 := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 255)
	got, err := p256.encode(der(one, big256))
	want := append(append(make([]byte, 31), 1), append([]byte{0x80}, make([]byte, 31)...)...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v", got, err)
	}
	if got, err := p521.encode(der(one, one)); err != nil || len(got) != 132 || got[65] != 1 || got[131] != 1 {
		t.Errorf("got %x, %v", got, err)
	}
	if got, err := rsa2048.encode([]byte("any")); err != nil || string(got) != "any" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "no DER": []byte("x"), "junk behind": append(der(one, one), 0), "zero": der(new(big.Int), one),
		"negative": der(one, big.NewInt(-1)), "too long": der(new(big.Int).Lsh(one, 256), one), "one number": must(asn1.Marshal(struct{ R *big.Int }{one})),
		"indefinite": []byte("\x30\x80\x02\x01\x01\x02\x01\x01\x00\x00"),
	} {
		if got, err := p256.encode(bad); err == nil || got != nil || !strings.Contains(err.Error(), "256 bits") {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}
