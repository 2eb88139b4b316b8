package sigstoreverifier

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

const testdata = "../testdata"

func TestMain(m *testing.M) {
	dir, err := testenv.Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// known returns a key of testdata, with its state where testdata has one.
func known(name string) *kmskey.Key {
	r := must(kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json")))))
	if data, err := os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")); err == nil {
		m := must(kmskey.DecodeDescribeKey(data))
		r.KeyMetadata = &m
	}
	return must(kmskey.NewKey(r))
}

// opened is a verifier and the log that it writes.
type opened struct {
	*verifier.Verifier
	log *lines
}

// open returns a verifier of a store with the keys.
func open(t testing.TB, names ...string) opened {
	t.Helper()
	home := newHome(t, names...)
	store := must(keystore.Open(home, keystore.Options{}))
	t.Cleanup(func() { store.Close() })
	log := new(lines)
	return opened{must(verifier.New(verifier.Config{Store: store, Policy: policy.None{}, Log: log})), log}
}

// lines is a log that remembers what was written since it was last asked.
type lines struct {
	mu       sync.Mutex
	all      []audit.Decision
	required bool
	err      error
}

func (l *lines) Append(_ context.Context, d audit.Decision) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.all = append(l.all, d)
	}
	return l.err
}

func (l *lines) Required() bool { return l.required }

func (l *lines) take() []audit.Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.all
	l.all = nil
	return taken
}

func newHome(t testing.TB, names ...string) keystore.Home {
	t.Helper()
	home := keystore.Home{Path: filepath.Join(must(filepath.EvalSymlinks(t.TempDir())), "home"), ChosenBy: "test"}
	write(t, home, func(w *keystore.Writer) {
		for _, name := range names {
			must(w.Put(known(name), keystore.PutOptions{}))
		}
	})
	return home
}

func write(t testing.TB, home keystore.Home, change func(*keystore.Writer)) {
	t.Helper()
	w := must(keystore.OpenWriter(home, keystore.Options{}))
	change(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// newVerifier returns the Verifier of a key of testdata, whose every answer is compared with what its observer is told and
// with its line in the log.
func newVerifier(t testing.TB, v opened, name string, o Options) *checked {
	t.Helper()
	c := &checked{t: t, log: v.log}
	o.Observe = func(d audit.Decision, err error) { c.seen = append(c.seen, answer{d, err}) }
	a, err := New(v.Verifier, known(name).ARN().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	c.Verifier = a
	return c
}

type answer struct {
	decision audit.Decision
	err      error
}

type checked struct {
	*Verifier
	t    testing.TB
	log  *lines
	seen []answer
	line audit.Decision // of the last call
}

// check demands that err was the one answer observed since, that it is of our kind, that a yes rests on a decision, and that
// one line of the log says the same.
func (c *checked) check(err error) {
	c.t.Helper()
	if len(c.seen) != 1 {
		c.t.Fatalf("%d answers were observed, expected 1", len(c.seen))
	}
	was := c.seen[0]
	c.seen = nil
	if was.decision.Verified != (err == nil) || !errors.Is(err, was.err) || (was.decision.KeyARN != "") != (err == nil) {
		c.t.Errorf("the answer is %v, observed was %v", err, was)
	}
	if _, ours := err.(*kmserr.Error); err != nil && !ours {
		c.t.Errorf("the error is a %T: %v", err, err)
	}
	c.line = audit.Decision{}
	if c.log == nil {
		return // the verifier writes into a file
	}
	switch written := c.log.take(); {
	case len(written) != 1:
		c.t.Errorf("%v has %d lines in the log, expected 1", err, len(written))
	case written[0].Verified != (err == nil) || err != nil && written[0].ErrorCode != string(kmserr.As(err).Name) || written[0].Asked != c.keyID:
		c.t.Errorf("the answer is %v, the line %+v", err, written[0])
	default:
		c.line = written[0]
	}
}

// refused demands an error of that name whose fact and hint hold every text; no name: no error.
func refused(t testing.TB, err error, name kmserr.Name, holds ...string) {
	t.Helper()
	if name == "" {
		if err != nil {
			t.Errorf("refused: %v | %s", err, kmserr.As(err).Hint)
		}
		return
	}
	if !kmserr.Is(err, name) {
		t.Fatalf("got %v, expected %s", err, name)
	}
	e := kmserr.As(err)
	for _, text := range holds {
		if !strings.Contains(e.Fact+" | "+e.Hint, text) {
			t.Errorf("%q is not in: %s | %s", text, e.Fact, e.Hint)
		}
	}
}

// digestOf is the bare hash as a client makes it that knows only the name of the algorithm.
func digestOf(a kmskey.SigningAlgorithm, message []byte) []byte {
	hash := a.Hash()
	if hash == 0 {
		hash = crypto.SHA256
	}
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// sign signs with a private key of testdata as KMS does, by the libraries themselves.
func sign(name string, a kmskey.SigningAlgorithm, message []byte) []byte {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
	switch a {
	case kmskey.MLDSASHAKE256:
		return must(must(mldsax509.ParsePKCS8PrivateKey(block.Bytes)).(*mldsa.PrivateKey).Sign(nil, message, &mldsa.Options{}))
	case kmskey.SM2DSA:
		return must(must(sm2.NewPrivateKey(scalar(block.Bytes))).SignWithSM2(rand.Reader, []byte(kmskey.DefaultDistinguishingID), message))
	}
	digest := digestOf(a, message)
	if name == "secp256k1" {
		return secp256k1ecdsa.Sign(secp256k1.PrivKeyFromBytes(scalar(block.Bytes)), digest).Serialize()
	}
	var opts crypto.SignerOpts = a.Hash()
	switch {
	case strings.HasPrefix(string(a), "RSASSA_PSS"):
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.Hash()}
	case a == kmskey.ED25519SHA512:
		digest = message
	case a == kmskey.ED25519PHSHA512:
		digest = digestOf(a, digest) // KMS hashes what it is given once more
	}
	return must(must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer).Sign(rand.Reader, digest, opts))
}

// scalar takes the private number out of a PKCS#8 key on a curve that crypto/x509 does not know (RFC 5208, RFC 5915).
func scalar(pkcs8 []byte) []byte {
	var outer struct {
		Version   int
		Algorithm asn1.RawValue
		Key       []byte
	}
	must(asn1.Unmarshal(pkcs8, &outer))
	var inner struct {
		Version int
		Key     []byte
		Rest    asn1.RawValue `asn1:"optional"`
	}
	must(asn1.Unmarshal(outer.Key, &inner))
	return inner.Key
}
