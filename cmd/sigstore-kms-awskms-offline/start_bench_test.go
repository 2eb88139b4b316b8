package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/startbench"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func BenchmarkStart(b *testing.B) {
	home := filepath.Join(b.TempDir(), "home")
	key := prepare(b, home)
	signature, err := os.ReadFile("../../plugin/sigstore/testdata/p256.sig")
	if err != nil {
		b.Fatal(err)
	}
	const rpc = `"rpcOptions":{"keyVersion":"","remoteVerification":false}`
	call := func(method, args string, stdin string) startbench.Call {
		return startbench.Call{
			Name: method, Stdin: []byte(stdin), Env: []string{keystore.EnvHome + "=" + home},
			Args: []string{"v1", fmt.Sprintf(`{"initOptions":{"protocolVersion":"v1","keyResourceID":%q,"hashFunc":5,%s},"methodName":%q,%[3]q:%s}`, "/"+key.ARN().String(), rpc, method, args)},
		}
	}
	startbench.Run(b, ".",
		call("defaultAlgorithm", "{}", ""),
		call("publicKey", `{"publicKeyOptions":{`+rpc+`}}`, ""),
		call("verifySignature", fmt.Sprintf(`{"signature":%q,"verifyOptions":{%s,"messageOptions":{"digest":null}}}`, base64.StdEncoding.EncodeToString(signature), rpc), "the message\n"))
}

// prepare makes a home with one record.
func prepare(b *testing.B, home string) *kmskey.Key {
	b.Helper()
	record, err := os.ReadFile("../../testdata/records/p256.get-public-key.json")
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
	return key
}
