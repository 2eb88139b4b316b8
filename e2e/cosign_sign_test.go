package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// TestSignForCosign signs an image with `awskms-offline sign` in a fake KMS, attaches the signature with the real cosign,
// and verifies it with the real cosign: the key types that cosign itself cannot sign with.
func TestSignForCosign(t *testing.T) {
	endpoint := startFakeKMS(t, t.TempDir())
	cosign := build.ClientPath(shared.root, "cosign")
	for _, c := range []struct {
		name, key, option string
		args              []string
	}{
		{"sm2", "sm2", "", nil},
		{"sm2 with an ID", "sm2", "?distinguishing-id=release@example.com", []string{"--distinguishing-id", "release@example.com"}},
		{"mldsa44", "mldsa44", "", nil},
		{"mldsa65", "mldsa65", "", nil},
		{"mldsa87", "mldsa87", "", nil},
		{"ed25519", "ed25519", "", []string{"--signing-algorithm", "ED25519_SHA_512"}},
		{"ed25519ph", "ed25519", "?signing-algorithm=ED25519_PH_SHA_512", []string{"--signing-algorithm", "ED25519_PH_SHA_512"}},
		{"secp256k1", "secp256k1", "", nil},
		{"rsa pss", "rsa2048", "?signing-algorithm=RSASSA_PSS_SHA_384", []string{"--signing-algorithm", "RSASSA_PSS_SHA_384"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := cosignHost(t, shared.bin)
			h.Extra = []string{"AWS_ENDPOINT_URL_KMS=" + endpoint, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"}
			_, _, reference := image(t)
			payload, signature := filepath.Join(h.Dir, "payload.json"), filepath.Join(h.Dir, "payload.sig")
			args := append([]string{"sign", "--key-id", fixture.Lookup(c.key).ARN(), "--cosign-payload", reference, "--payload", payload, "--signature", signature}, c.args...)
			if r, err := h.Run(h.CLI, args...); err != nil || r.Code != 0 {
				t.Fatal(r, err)
			}
			generated, err := h.Run(cosign, "generate", "--allow-insecure-registry", reference)
			if err != nil || generated.Code != 0 {
				t.Fatal(generated, err)
			}
			if ours, err := os.ReadFile(payload); err != nil || string(ours) != generated.Stdout {
				t.Errorf("the payload is %q (%v), and cosign's %q", ours, err, generated.Stdout)
			}
			attach(t, client{path: cosign}, h, "signature", "--payload", payload, "--signature", signature, reference)
			h.Extra = nil
			r := verifyWith(t, client{path: cosign}, h, "awskms-offline://"+fixture.Lookup(c.key).ARN()+c.option, []string{"verify", reference})
			expectation{ok: true}.check(t, r)
			if c.option != "" { // it was needed
				r := verifyWith(t, client{path: cosign}, h, "awskms-offline://"+fixture.Lookup(c.key).ARN(), []string{"verify", reference})
				expectation{says: "KMSInvalidSignatureException"}.check(t, r)
			}
		})
	}
}
