package notation

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	testdata = "../../testdata"
	identity = string(plugin.CapabilityTrustedIdentityVerifier)
	revoked  = string(plugin.CapabilityRevocationCheckVerifier)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// known are the keys of testdata, by name, with a state where testdata has one.
func known(t testing.TB, name string, edits ...func(*kmskey.Record)) *kmskey.Key {
	t.Helper()
	r, err := kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json"))))
	if err != nil {
		t.Fatal(err)
	}
	r.Snapshot.Time, r.Snapshot.Source = must(kmskey.ParseTime("2026-11-23T11:00:00Z")), kmskey.SourceFile
	if data, err := os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")); err == nil {
		m, err := kmskey.DecodeDescribeKey(data)
		if err != nil {
			t.Fatal(err)
		}
		r.KeyMetadata, r.Snapshot.StateTime = &m, r.Snapshot.Time
	}
	for _, edit := range edits {
		edit(&r)
	}
	key, err := kmskey.NewKey(r)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// arnOf returns the ARN of a key of testdata.
func arnOf(t testing.TB, name string) string { return known(t, name).ARN().String() }

// cert returns the DER of a certificate of testdata.
func cert(name string) []byte {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "certs", name+".crt"))))
	return block.Bytes
}

// selfSigned returns a certificate of the key.
func selfSigned(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// newHome makes a store with the keys.
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

// object is a piece of a request, to be edited member by member.
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

// question is what a test varies in a request; the rest is as notation v1.3.2 sends it.
type question struct {
	home         string
	leaf         []byte
	identities   []string
	capabilities []string // nil: both
	extended     object
}

func (q question) object() object {
	critical := object{"contentType": "application/vnd.cncf.notary.payload.v1+json", "signingScheme": "notary.x509", "expiry": "0001-01-01T00:00:00Z"}
	var unprocessed any
	if q.extended != nil {
		critical["extendedAttributes"] = q.extended
		unprocessed = slices.Sorted(maps.Keys(q.extended))
	}
	capabilities := q.capabilities
	if capabilities == nil {
		capabilities = []string{identity, revoked}
	}
	return object{
		"contractVersion": "1.0",
		"signature":       object{"criticalAttributes": critical, "unprocessedAttributes": unprocessed, "certificateChain": [][]byte{q.leaf}},
		"trustPolicy":     object{"trustedIdentities": q.identities, "signatureVerification": capabilities},
		"pluginConfig":    object{"home": q.home},
	}
}

func (q question) json() []byte { return must(json.Marshal(q.object())) }

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
		if len(errs) != 0 || len(out) == 0 || !json.Valid(out) || out[0] != '{' {
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

// verdictOf is one capability's result.
type verdictOf struct {
	Success bool
	Reason  string
}

type response struct {
	VerificationResults map[string]verdictOf
	ProcessedAttributes []any
}

// ask verifies and returns the response, which must answer exactly the capabilities that were asked for.
func ask(t testing.TB, q question) response {
	t.Helper()
	out, failure := run(t, "verify-signature", q.json())
	if failure != nil {
		t.Fatalf("an error: %v", failure)
	}
	var r response
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	want := q.capabilities
	if want == nil {
		want = []string{identity, revoked}
	}
	for _, c := range want {
		if r.VerificationResults[c].Reason == "" {
			t.Errorf("%s has no reason: %s", c, out)
		}
	}
	if len(r.VerificationResults) != len(want) || r.ProcessedAttributes == nil {
		t.Errorf("got %s", out)
	}
	return r
}

// askError verifies and returns the error, whose code must be this one.
func askError(t testing.TB, request []byte, code plugin.ErrorCode, says ...string) *plugin.Error {
	t.Helper()
	out, failure := run(t, "verify-signature", request)
	if failure == nil {
		t.Fatalf("answered %s", out)
	}
	if failure.ErrCode != code {
		t.Fatalf("got %v, expected %s", failure, code)
	}
	for _, text := range says {
		if !strings.Contains(failure.Message, text) {
			t.Errorf("%q is not in %q", text, failure.Message)
		}
	}
	return failure
}
