package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.Hash.New
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FuzzMain puts whole calls to the plugin, with a store behind it. Whatever comes in, there is one answer; and a yes is there
// only where the standard library, asked without us, finds the signature to be one of a key of the store that is named, over
// the message on standard input or the digest in the call, as encoding/json reads it.
func FuzzMain(f *testing.F) {
	names := []string{"p256", "rsa2048", "ed25519"}
	var keys []*kmskey.Key
	for _, name := range append(names, "p256-disabled", "rsa2048-encrypt") {
		keys = append(keys, known(f, name))
	}
	home := newHome(f, keys...)
	if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(`{"version":"1","log":{"mode":"off"}}`), 0o600); err != nil {
		f.Fatal(err)
	}
	message := []byte("a message")
	sum := sha256.Sum256(message)
	algorithms := map[string]kmskey.SigningAlgorithm{"p256": kmskey.ECDSASHA256, "rsa2048": kmskey.RSASSAPKCS1SHA256, "ed25519": kmskey.ED25519SHA512}
	for i, name := range names {
		signature := sign(f, name, algorithms[name], message)
		f.Add(verifyCall(keys[i].ARN().String(), signature).text(), message)
		f.Add(verifyCall("/"+keys[i].ARN().KeyID+"?signing-algorithm="+string(algorithms[name]), signature).text(), message)
		f.Add(digestCall(keys[i].ARN().String(), signature, sum[:]).text(), []byte(nil))
		f.Add(newCall(keys[i].ARN().String(), "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).text(), []byte(nil))
	}
	f.Add(verifyCall(keys[1].ARN().String()+"?signing-algorithm=RSASSA_PSS_SHA_256", sign(f, "rsa2048", kmskey.RSASSAPSSSHA256, message)).text(), message)
	f.Add(verifyCall(keys[3].ARN().String(), []byte("x")).text(), message)
	f.Fuzz(func(t *testing.T, text string, stdin []byte) {
		answer, refusal, _ := runOver(t, bytes.NewReader(stdin), "v1", text)
		if refusal != "" {
			return
		}
		var asked struct { // what is not used here may be anything
			InitOptions     struct{ KeyResourceID string }
			MethodName      string
			VerifySignature struct {
				Signature     []byte
				VerifyOptions struct{ MessageOptions struct{ Digest *[]byte } }
			}
		}
		if err := json.Unmarshal([]byte(text), &asked); err != nil {
			t.Fatalf("answered %s, and encoding/json says %v", answer, err)
		}
		for method := range answer {
			if method != asked.MethodName {
				t.Fatalf("asked for %q, answered %s", asked.MethodName, answer)
			}
		}
		if answer["verifySignature"] == nil {
			return
		}
		for _, key := range keys[:len(names)] {
			if bytes.Contains([]byte(asked.InitOptions.KeyResourceID), []byte(key.ARN().KeyID)) &&
				signed(t, key, stdin, asked.VerifySignature.VerifyOptions.MessageOptions.Digest, asked.VerifySignature.Signature) {
				return
			}
		}
		t.Fatalf("a yes to %s over %q", text, stdin)
	})
}

// signed asks the standard library whether the signature is one of the key's with any of its algorithms.
func signed(t *testing.T, key *kmskey.Key, message []byte, digest *[]byte, signature []byte) bool {
	t.Helper()
	public := must(x509.ParsePKIXPublicKey(key.PublicKeyDER()))
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		h := hash.New()
		h.Write(message)
		sum := h.Sum(nil)
		if digest != nil {
			sum = *digest
		}
		if len(sum) != hash.Size() {
			continue
		}
		switch k := public.(type) {
		case *ecdsa.PublicKey:
			if hash == crypto.SHA256 && ecdsa.VerifyASN1(k, sum, signature) {
				return true
			}
		case *rsa.PublicKey:
			if rsa.VerifyPKCS1v15(k, hash, sum, signature) == nil ||
				rsa.VerifyPSS(k, hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}) == nil {
				return true
			}
		case ed25519.PublicKey:
			again := sha512Of(sum)
			if digest == nil && ed25519.Verify(k, message, signature) ||
				hash == crypto.SHA512 && ed25519.VerifyWithOptions(k, again, signature, &ed25519.Options{Hash: crypto.SHA512}) == nil {
				return true
			}
		}
	}
	return false
}

func sha512Of(b []byte) []byte {
	h := crypto.SHA512.New()
	h.Write(b)
	return h.Sum(nil)
}
