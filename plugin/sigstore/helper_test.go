package sigstore

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const testdata = "../../testdata"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// known returns a key of testdata, with its state where testdata has one.
func known(t testing.TB, name string, edits ...func(*kmskey.Record)) *kmskey.Key {
	t.Helper()
	r, err := kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json"))))
	if err != nil {
		t.Fatal(err)
	}
	r.Snapshot.Time, r.Snapshot.Source = must(kmskey.ParseTime("2026-11-23T11:00:00Z")), kmskey.SourceFile
	if data, err := os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")); err == nil {
		m := must(kmskey.DecodeDescribeKey(data))
		r.KeyMetadata, r.Snapshot.StateTime = &m, r.Snapshot.Time
	}
	for _, edit := range edits {
		edit(&r)
	}
	return must(kmskey.NewKey(r))
}

// newHome makes a store with the keys and makes it the one in use.
func newHome(t testing.TB, keys ...*kmskey.Key) string {
	t.Helper()
	home := filepath.Join(must(filepath.EvalSymlinks(t.TempDir())), "home")
	write(t, home, func(w *keystore.Writer) error {
		for _, key := range keys {
			if _, err := w.Put(key, keystore.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	t.Setenv(keystore.EnvHome, home)
	return home
}

func write(t testing.TB, home string, change func(*keystore.Writer) error) {
	t.Helper()
	w, err := keystore.OpenWriter(keystore.Home{Path: home, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(change(w), w.Close()); err != nil {
		t.Fatal(err)
	}
}

// sign signs with a private key of testdata as KMS does.
func sign(t testing.TB, name string, algorithm kmskey.SigningAlgorithm, message []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
	if algorithm == kmskey.MLDSASHAKE256 {
		key := must(mldsax509.ParsePKCS8PrivateKey(block.Bytes)).(*mldsa.PrivateKey)
		return must(key.Sign(nil, message, &mldsa.Options{}))
	}
	key := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer)
	var digest []byte
	var opts crypto.SignerOpts
	switch hash := algorithm.Hash(); hash {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		digest, opts = sum[:], hash
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		digest, opts = sum[:], hash
	case crypto.SHA512:
		sum := sha512.Sum512(message)
		digest, opts = sum[:], hash
	default:
		digest, opts = message, crypto.Hash(0)
	}
	if strings.HasPrefix(string(algorithm), "RSASSA_PSS") {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: opts.HashFunc()}
	}
	return must(key.Sign(rand.Reader, digest, opts))
}

// object is a piece of a call, to be edited member by member.
type object map[string]any

func (o object) with(name string, value any) object {
	o = maps.Clone(o)
	if o == nil {
		o = object{}
	}
	o[name] = value
	return o
}

func (o object) without(name string) object {
	o = maps.Clone(o)
	delete(o, name)
	return o
}

// edit returns o with the object at the path replaced by what change makes of it.
func (o object) edit(path string, change func(object) object) object {
	if path == "" {
		return change(o)
	}
	first, rest, _ := strings.Cut(path, "/")
	inner, _ := o[first].(object)
	return o.with(first, inner.edit(rest, change))
}

// rpc is what the real client sends.
var rpc = object{"keyVersion": "", "remoteVerification": false}

func newCall(key, method string, args any) object {
	return object{
		"initOptions": object{"protocolVersion": "v1", "keyResourceID": key, "hashFunc": 5, "rpcOptions": rpc},
		"methodName":  method, method: args,
	}
}

func verifyCall(key string, signature []byte) object {
	return newCall(key, "verifySignature", object{
		"signature":     signature,
		"verifyOptions": object{"rpcOptions": rpc, "messageOptions": object{"digest": nil}},
	})
}

func (o object) text() string { return string(must(json.Marshal(o))) }

// run calls the plugin as sigstore's client does and demands what holds for every answer: one JSON object on standard
// output; and with it either exit code 0, or exit code 1, an errorMessage, and the same text on standard error.
func run(t testing.TB, stdin []byte, args ...string) (answer map[string]json.RawMessage, refusal, stderr string) {
	t.Helper()
	message := bytes.NewReader(stdin)
	answer, refusal, stderr = runOver(t, message, args...)
	if message.Len() > 0 {
		t.Errorf("%d bytes of the message were not read", message.Len())
	}
	return answer, refusal, stderr
}

// runOver is run without a look at what is left of the message: only a call about one reads it.
func runOver(t testing.TB, message io.Reader, args ...string) (answer map[string]json.RawMessage, refusal, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main(args, message, &out, &errs)
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("standard output %q: %v", out.Bytes(), err)
	}
	if raw, there := answer["errorMessage"]; there {
		if err := json.Unmarshal(raw, &refusal); err != nil || refusal == "" || len(answer) != 1 {
			t.Fatalf("standard output %q", out.Bytes())
		}
	}
	switch {
	case refusal == "" && (code != 0 || len(answer) != 1):
		t.Fatalf("exit code %d with %s", code, out.Bytes())
	case refusal != "" && (code != 1 || !strings.Contains(errs.String(), refusal)):
		t.Fatalf("exit code %d with %q, standard error %q", code, refusal, errs.String())
	}
	return answer, refusal, errs.String()
}

// refused runs a call that must be refused in words that hold all of says.
func refused(t testing.TB, call string, stdin []byte, says ...string) {
	t.Helper()
	answer, refusal, _ := run(t, stdin, "v1", call)
	if refusal == "" {
		t.Fatalf("answered %s", answer)
	}
	for _, text := range says {
		if !strings.Contains(refusal, text) {
			t.Errorf("%q is not in %q", text, refusal)
		}
	}
}

// verified runs a call that must be answered with a yes.
func verified(t testing.TB, call string, stdin []byte) (stderr string) {
	t.Helper()
	answer, refusal, stderr := run(t, stdin, "v1", call)
	if refusal != "" || string(answer["verifySignature"]) != "{}" {
		t.Fatalf("answered %s", answer)
	}
	return stderr
}
