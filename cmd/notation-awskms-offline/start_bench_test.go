package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/startbench"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const testdata = "../../testdata"

func BenchmarkStart(b *testing.B) {
	request := prepare(b, filepath.Join(b.TempDir(), "home"))
	startbench.Run(b, ".",
		startbench.Call{Name: "get-plugin-metadata", Args: []string{"get-plugin-metadata"}, Stdin: []byte("{}")},
		startbench.Call{Name: "verify-signature", Args: []string{"verify-signature"}, Stdin: request, Env: []string{"XDG_STATE_HOME=" + b.TempDir()}})
}

// prepare makes a home with one record and a policy that demands the log and returns a request that it answers with success.
func prepare(b *testing.B, home string) []byte {
	b.Helper()
	record, err := os.ReadFile(filepath.Join(testdata, "records", "p256.get-public-key.json"))
	if err != nil {
		b.Fatal(err)
	}
	key, err := kmskey.ParseKey(record)
	if err != nil {
		b.Fatal(err)
	}
	w, err := keystore.OpenWriter(keystore.Home{Path: home, ChosenBy: "benchmark"}, keystore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.Put(key, keystore.PutOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	policy := fmt.Sprintf(`{"version":"1","allowList":true,"store":{"permissions":"strict"},"log":{"mode":"required"},
		"grants":[{"name":"release keys","keys":[%q],"verify":true}],
		"restrictions":[{"name":"every key","signingAlgorithms":["ECDSA_SHA_256"]}]}`, key.ARN())
	if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(policy), 0o600); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(testdata, "certs", "p256.crt"))
	if err != nil {
		b.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		b.Fatal("p256.crt is no PEM")
	}
	chain, err := json.Marshal([][]byte{block.Bytes})
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Appendf(nil, `{"contractVersion":"1.0","signature":{"criticalAttributes":{`+
		`"contentType":"application/vnd.cncf.notary.payload.v1+json","signingScheme":"notary.x509"},`+
		`"unprocessedAttributes":null,"certificateChain":%s},"trustPolicy":{"trustedIdentities":[%q],`+
		`"signatureVerification":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK"]},`+
		`"pluginConfig":{"home":%q}}`, chain, key.ARN(), home)
}
