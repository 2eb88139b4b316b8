package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/startbench"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func BenchmarkStart(b *testing.B) {
	home := filepath.Join(b.TempDir(), "home")
	call := calls(b, home, prepare(b, home))
	startbench.Run(b, ".",
		call("defaultAlgorithm", "defaultAlgorithm", "{}", ""),
		call("publicKey", "publicKey", `{"publicKeyOptions":{`+rpc+`}}`, ""),
		verifies(b, call, "verifySignature"))
}

// BenchmarkStartManyKeys compares whole runs over a store of 100,000 keys with those over one of 10.
func BenchmarkStartManyKeys(b *testing.B) {
	var both []startbench.Call
	for _, size := range []int{100_000, 10} {
		home := filepath.Join(b.TempDir(), "home")
		key := prepare(b, home)
		folder := filepath.Join(home, "keys", key.ARN().Partition, key.ARN().Region, key.ARN().Account)
		data, err := key.Encode()
		if err != nil {
			b.Fatal(err)
		}
		for i := range size - 1 {
			id := fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", i)
			if err := os.WriteFile(filepath.Join(folder, id+".json"), bytes.ReplaceAll(data, []byte(key.ARN().KeyID), []byte(id)), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		both = append(both, verifies(b, calls(b, home, key), strconv.Itoa(size)))
	}
	startbench.Compare(b, ".", both[0], both[1])
}

// BenchmarkPolicyAndLog compares whole runs with a policy and the log with those that log nothing.
func BenchmarkPolicyAndLog(b *testing.B) {
	var both []startbench.Call
	for _, c := range []struct{ name, policy string }{
		{"policy-and-log", `{"version":"1","allowList":true,"grants":[{"name":"release","keys":["%s"],"verify":true}],
			"restrictions":[{"name":"algorithms","signingAlgorithms":["ECDSA_SHA_256"],"messageTypes":["RAW"]}]}`},
		{"no-log", `{"version":"1","log":{"mode":"off"}}`},
	} {
		home := filepath.Join(b.TempDir(), "home")
		key := prepare(b, home)
		if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(strings.ReplaceAll(c.policy, "%s", key.ARN().String())), 0o600); err != nil {
			b.Fatal(err)
		}
		both = append(both, verifies(b, calls(b, home, key), c.name))
	}
	startbench.Compare(b, ".", both[0], both[1])
}

const rpc = `"rpcOptions":{"keyVersion":"","remoteVerification":false}`

type caller func(name, method, args, stdin string) startbench.Call

// calls returns a maker of calls as sigstore's client makes them.
func calls(b *testing.B, home string, key *kmskey.Key) caller {
	state := b.TempDir() // for the log of decisions
	return func(name, method, args, stdin string) startbench.Call {
		return startbench.Call{
			Name: name, Stdin: []byte(stdin), Env: []string{keystore.EnvHome + "=" + home, "XDG_STATE_HOME=" + state},
			Args: []string{"v1", fmt.Sprintf(`{"initOptions":{"protocolVersion":"v1","keyResourceID":%q,"hashFunc":5,%s},"methodName":%q,%[3]q:%s}`, "/"+key.ARN().String(), rpc, method, args)},
		}
	}
}

func verifies(b *testing.B, call caller, name string) startbench.Call {
	signature, err := os.ReadFile("../../plugin/sigstore/testdata/p256.sig")
	if err != nil {
		b.Fatal(err)
	}
	return call(name, "verifySignature", fmt.Sprintf(`{"signature":%q,"verifyOptions":{%s,"messageOptions":{"digest":null}}}`, base64.StdEncoding.EncodeToString(signature), rpc), "the message\n")
}

// prepare makes a home with one record and a policy that demands the log.
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
	policy := fmt.Sprintf(`{"version":"1","allowList":true,"store":{"permissions":"strict"},"log":{"mode":"required"},
		"grants":[{"name":"release keys","keys":[%q],"verify":true}],
		"restrictions":[{"name":"every key","signingAlgorithms":["ECDSA_SHA_256"]}]}`, key.ARN())
	if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(policy), 0o600); err != nil {
		b.Fatal(err)
	}
	return key
}
