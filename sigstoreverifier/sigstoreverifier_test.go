package sigstoreverifier

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier"
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

func known(name string) *kmskey.Key {
	r := must(kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json")))))
	if data, err := os.ReadFile(filepath.Join(testdata, "records", name+".describe-key.json")); err == nil {
		m := must(kmskey.DecodeDescribeKey(data))
		r.KeyMetadata = &m
	}
	return must(kmskey.NewKey(r))
}

// open returns a verifier of a store with the keys.
func open(t *testing.T, names ...string) *verifier.Verifier {
	t.Helper()
	home := keystore.Home{Path: filepath.Join(must(filepath.EvalSymlinks(t.TempDir())), "home"), ChosenBy: "test"}
	w := must(keystore.OpenWriter(home, keystore.Options{}))
	for _, name := range names {
		must(w.Put(known(name), keystore.PutOptions{}))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	store := must(keystore.Open(home, keystore.Options{}))
	t.Cleanup(func() { store.Close() })
	return must(verifier.New(verifier.Config{Store: store, Policy: policy.None{}}))
}

func sign(t *testing.T, name string, algorithm kmskey.SigningAlgorithm, message []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
	if algorithm == kmskey.MLDSASHAKE256 {
		return must(must(mldsax509.ParsePKCS8PrivateKey(block.Bytes)).(*mldsa.PrivateKey).Sign(nil, message, &mldsa.Options{}))
	}
	var opts crypto.SignerOpts = algorithm.Hash()
	digest := message
	switch algorithm.Hash() {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		digest = sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		digest = sum[:]
	case crypto.SHA512:
		sum := sha512.Sum512(message)
		digest = sum[:]
	default:
		opts = crypto.Hash(0)
	}
	if strings.HasPrefix(string(algorithm), "RSASSA_PSS") {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: algorithm.Hash()}
	}
	return must(must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer).Sign(rand.Reader, digest, opts))
}

var message = []byte("the message")

func TestVerifySignature(t *testing.T) {
	v := open(t, "p256", "p384", "rsa2048", "ed25519", "mldsa65", "p256-disabled", "rsa2048-encrypt")
	sum := sha256.Sum256(message)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		key     string
		signed  kmskey.SigningAlgorithm
		options Options
		opts    []signature.VerifyOption
		message []byte // nil: the message
		refusal kmserr.Name
	}{
		"P-256":              {key: "p256", signed: kmskey.ECDSASHA256},
		"P-384":              {key: "p384", signed: kmskey.ECDSASHA384},
		"Ed25519":            {key: "ed25519", signed: kmskey.ED25519SHA512},
		"ML-DSA":             {key: "mldsa65", signed: kmskey.MLDSASHAKE256},
		"PKCS1":              {key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA256},
		"PKCS1 SHA-512":      {key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA512, opts: []signature.VerifyOption{options.WithCryptoSignerOpts(crypto.SHA512)}},
		"PKCS1 SHA-1":        {key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA256, opts: []signature.VerifyOption{options.WithCryptoSignerOpts(crypto.SHA1)}, refusal: kmserr.Validation},
		"PSS unsaid":         {key: "rsa2048", signed: kmskey.RSASSAPSSSHA256, refusal: kmserr.InvalidSignature},
		"PSS":                {key: "rsa2048", signed: kmskey.RSASSAPSSSHA256, options: Options{SigningAlgorithm: kmskey.RSASSAPSSSHA256}},
		"digest":             {key: "p256", signed: kmskey.ECDSASHA256, opts: []signature.VerifyOption{options.WithDigest(sum[:])}, message: []byte{}},
		"digest and message": {key: "p256", signed: kmskey.ECDSASHA256, opts: []signature.VerifyOption{options.WithDigest(sum[:])}, refusal: kmserr.Validation},
		"digest of ML-DSA":   {key: "mldsa65", signed: kmskey.MLDSASHAKE256, opts: []signature.VerifyOption{options.WithDigest(sum[:])}, message: []byte{}, refusal: kmserr.Validation},
		"digest too long":    {key: "p256", signed: kmskey.ECDSASHA256, opts: []signature.VerifyOption{options.WithDigest(append(sum[:], 0))}, message: []byte{}, refusal: kmserr.Validation},
		"remote":             {key: "p256", signed: kmskey.ECDSASHA256, opts: []signature.VerifyOption{options.WithRemoteVerification(true)}, refusal: kmserr.Validation},
		"version":            {key: "p256", signed: kmskey.ECDSASHA256, opts: []signature.VerifyOption{options.WithKeyVersion("1")}, refusal: kmserr.Validation},
		"context over":       {key: "p256", signed: kmskey.ECDSASHA256, opts: []signature.VerifyOption{options.WithContext(over)}, refusal: kmserr.DeadlineExceeded},
		"another message":    {key: "p256", signed: kmskey.ECDSASHA256, message: []byte("another"), refusal: kmserr.InvalidSignature},
		"disabled":           {key: "p256-disabled", signed: kmskey.ECDSASHA256, refusal: kmserr.Disabled},
		"usage":              {key: "rsa2048-encrypt", signed: kmskey.RSASSAPKCS1SHA256, refusal: kmserr.InvalidKeyUsage},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := New(v, known(c.key).ARN().String(), c.options)
			if err != nil {
				t.Fatal(err)
			}
			input := message
			if c.message != nil {
				input = c.message
			}
			err = a.VerifySignature(bytes.NewReader(sign(t, c.key, c.signed, message)), bytes.NewReader(input), c.opts...)
			if c.refusal == "" && err != nil || c.refusal != "" && !kmserr.Is(err, c.refusal) {
				t.Errorf("got %v, expected %q", err, c.refusal)
			}
		})
	}
}

func TestPublicKey(t *testing.T) {
	v := open(t, "p256", "sm2", "p256-disabled")
	a := must(New(v, known("p256").ARN().String(), Options{}))
	key, err := a.PublicKey(options.WithContext(context.Background()))
	if err != nil || !bytes.Equal(must(x509.MarshalPKIXPublicKey(key)), known("p256").PublicKeyDER()) {
		t.Errorf("got %v, %v", key, err)
	}
	for name, want := range map[string]kmserr.Name{"sm2": kmserr.UnsupportedOperation, "p256-disabled": kmserr.Disabled, "p521": kmserr.NotFound} {
		if key, err := must(New(v, known(name).ARN().String(), Options{})).PublicKey(); key != nil || !kmserr.Is(err, want) {
			t.Errorf("%s: got %v, %v, expected %s", name, key, err, want)
		}
	}
	if _, err := a.PublicKey(options.WithRemoteVerification(true)); !kmserr.Is(err, kmserr.Validation) {
		t.Errorf("remote: %v", err)
	}
}

func TestWhatWasNotMadeRefuses(t *testing.T) {
	var none *Verifier
	for _, a := range []*Verifier{none, {}} {
		if err := a.VerifySignature(strings.NewReader("s"), strings.NewReader("m")); !kmserr.Is(err, kmserr.Internal) {
			t.Errorf("got %v", err)
		}
		if key, err := a.PublicKey(); key != nil || !kmserr.Is(err, kmserr.Internal) {
			t.Errorf("got %v, %v", key, err)
		}
	}
	if a, err := New(nil, "alias/a", Options{}); a != nil || err == nil {
		t.Errorf("got %v, %v", a, err)
	}
	v := open(t, "p256")
	if a, err := New(v, "nonsense", Options{}); a != nil || !kmserr.Is(err, kmserr.Validation) {
		t.Errorf("got %v, %v", a, err)
	}
	a := must(New(v, known("p256").ARN().String(), Options{}))
	for name, sig := range map[string]io.Reader{"none": nil, "empty": strings.NewReader(""), "endless": endless{}, "broken": broken{}} {
		if err := a.VerifySignature(sig, bytes.NewReader(message)); err == nil {
			t.Errorf("%s signature: no error", name)
		}
	}
	if err := a.VerifySignature(strings.NewReader("s"), nil); err == nil {
		t.Error("no message: no error")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cable pulled") }
