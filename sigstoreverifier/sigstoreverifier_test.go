package sigstoreverifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

var message = []byte("the message")

// signingKeys are testdata's keys that sign, one at least of each of KMS's key specs.
var signingKeys = []string{
	"p256", "p384", "p521", "secp256k1", "ed25519", "rsa2048", "rsa3072", "rsa4096", "mldsa44", "mldsa65", "mldsa87", "sm2",
}

// TestEveryKeyAndAlgorithm: yes for the signature; no for its tampered twins, each by its reason.
func TestEveryKeyAndAlgorithm(t *testing.T) {
	v := open(t, append(signingKeys, "p256-other")...)
	specs := make(map[kmskey.KeySpec]bool)
	count := 0
	for _, name := range signingKeys {
		spec := known(name).Spec()
		specs[spec] = true
		for _, algorithm := range spec.SigningAlgorithms() {
			count++
			t.Run(name+"/"+string(algorithm), func(t *testing.T) {
				a := newVerifier(t, v, name, Options{SigningAlgorithm: algorithm})
				sig := sign(name, algorithm, message)
				ask := func(sig, message []byte, opts ...signature.VerifyOption) error {
					err := a.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message), opts...)
					a.check(err)
					return err
				}
				refused(t, ask(sig, message), "")
				refused(t, ask(sig, append(message[:len(message):len(message)], '!')), kmserr.InvalidSignature)
				refused(t, ask(sig, nil), kmserr.InvalidSignature)
				broken := bytes.Clone(sig)
				broken[len(broken)-1] ^= 1
				refused(t, ask(broken, message), kmserr.InvalidSignature)

				digest := digestOf(algorithm, message)
				switch algorithm {
				case kmskey.SM2DSA, kmskey.MLDSASHAKE256, kmskey.ED25519SHA512:
					refused(t, ask(sig, nil, options.WithDigest(digest)), kmserr.Validation, "a hash of the message is given", "Give the message itself")
				default:
					refused(t, ask(sig, nil, options.WithDigest(digest)), "")
					// ECDSA's libraries look at the first bytes of a digest only.
					for _, junk := range []int{1, 7, len(digest), 1000, 1 << 20} {
						long := append(bytes.Clone(digest), bytes.Repeat([]byte{'x'}, junk)...)
						refused(t, ask(sig, nil, options.WithDigest(long)), kmserr.Validation, fmt.Sprintf("expected exactly %d", len(digest)))
					}
					refused(t, ask(sig, nil, options.WithDigest(digest[1:])), kmserr.Validation)
					refused(t, ask(sig, nil, options.WithDigest(digestOf(algorithm, []byte("another")))), kmserr.InvalidSignature)
				}
				err := a.VerifySignature(bytes.NewReader(sig), nil, options.WithDigest(digest)) // as Rekor's clients call it
				a.check(err)
				if empty := ask(sig, nil, options.WithDigest(digest)); (err == nil) != (empty == nil) {
					t.Errorf("no message: %v, an empty one: %v", err, empty)
				}
			})
		}
	}
	for _, spec := range kmskey.KeySpecs() {
		if len(spec.SigningAlgorithms()) > 0 && !specs[spec] {
			t.Errorf("no key of spec %s was tried", spec)
		}
	}
	if count != 3*6+3+1+2+3+1 {
		t.Errorf("%d pairs of key and algorithm were tried", count)
	}
	a := newVerifier(t, v, "p256-other", Options{})
	err := a.VerifySignature(bytes.NewReader(sign("p256", kmskey.ECDSASHA256, message)), bytes.NewReader(message))
	a.check(err)
	refused(t, err, kmserr.InvalidSignature)
}

// TestDefaults: with nothing named, what cosign signs with, and nothing else is tried.
func TestDefaults(t *testing.T) {
	v := open(t, signingKeys...)
	for _, name := range signingKeys {
		for _, algorithm := range known(name).Spec().SigningAlgorithms() {
			for _, hash := range []crypto.Hash{0, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, algorithm, hash), func(t *testing.T) {
					want := kmserr.InvalidSignature
					switch {
					case len(known(name).Spec().SigningAlgorithms()) == 1, algorithm == kmskey.ED25519SHA512,
						algorithm == map[crypto.Hash]kmskey.SigningAlgorithm{crypto.SHA256: kmskey.RSASSAPKCS1SHA256, crypto.SHA384: kmskey.RSASSAPKCS1SHA384, crypto.SHA512: kmskey.RSASSAPKCS1SHA512}[hash],
						hash == 0 && algorithm == kmskey.RSASSAPKCS1SHA256:
						want = ""
					}
					a := newVerifier(t, v, name, Options{Hash: hash})
					err := a.VerifySignature(bytes.NewReader(sign(name, algorithm, message)), bytes.NewReader(message))
					a.check(err)
					refused(t, err, want)
				})
			}
		}
	}
}

// TestDistinguishingID: testdata's SM2 signature is of an ID of its own.
func TestDistinguishingID(t *testing.T) {
	v := open(t, "sm2", "p256")
	file := func(name string) []byte { return must(os.ReadFile(filepath.Join(testdata, "sm2", name))) }
	id := must(kmskey.ParseDistinguishingID(strings.TrimSpace(string(file("distinguishing-id.txt")))))
	ask := func(name string, o Options) error {
		a := newVerifier(t, v, name, o)
		err := a.VerifySignature(bytes.NewReader(file("signature.der")), bytes.NewReader(file("message.txt")))
		a.check(err)
		return err
	}
	refused(t, ask("sm2", Options{DistinguishingID: id}), "")
	refused(t, ask("sm2", Options{}), kmserr.InvalidSignature)
	refused(t, ask("sm2", Options{DistinguishingID: must(kmskey.NewDistinguishingID(nil))}), kmserr.InvalidSignature)
	refused(t, ask("p256", Options{DistinguishingID: id}), kmserr.Validation, "for SM2 keys")
	refused(t, ask("p256", Options{ENTL: kmskey.ENTLAWSJavaHelper}), kmserr.Validation, "for SM2 keys")
}

func TestKeysThatMayNot(t *testing.T) {
	v := open(t, "p256-disabled", "rsa2048-encrypt", "p256-agree", "mlkem768")
	for name, want := range map[string]kmserr.Name{
		"p256-disabled": kmserr.Disabled, "rsa2048-encrypt": kmserr.InvalidKeyUsage, "p256-agree": kmserr.InvalidKeyUsage,
		"mlkem768": kmserr.InvalidKeyUsage, "p521": kmserr.NotFound,
	} {
		t.Run(name, func(t *testing.T) {
			a := newVerifier(t, v, name, Options{})
			err := a.VerifySignature(bytes.NewReader([]byte("signature")), bytes.NewReader(message))
			a.check(err)
			refused(t, err, want)
			key, err := a.PublicKey()
			a.check(err)
			refused(t, err, want)
			if key != nil {
				t.Errorf("a key beside the error: %v", key)
			}
		})
	}
}

// TestStoreIsAskedAnew: what changes in the store counts from the next call on.
func TestStoreIsAskedAnew(t *testing.T) {
	home := newHome(t, "p256")
	v := must(verifier.Open(verifier.Options{Home: &home.Path, HomeOption: "test"}))
	t.Cleanup(func() { v.Close() })
	a := newVerifier(t, opened{Verifier: v}, "p256", Options{})
	ask := func() error {
		err := a.VerifySignature(bytes.NewReader(sign("p256", kmskey.ECDSASHA256, message)), bytes.NewReader(message))
		a.check(err)
		return err
	}
	refused(t, ask(), "")
	write(t, home, func(w *keystore.Writer) {
		must(w.Block(keystore.Block{KeyID: known("p256").ARN().String(), Reason: "compromised"}))
	})
	refused(t, ask(), kmserr.KeyBlocked)
	if key, err := a.PublicKey(); key != nil || !kmserr.Is(err, kmserr.KeyBlocked) {
		t.Errorf("got %v, %v", key, err)
	}
}

func TestPublicKey(t *testing.T) {
	v := open(t, signingKeys...)
	for _, name := range signingKeys {
		t.Run(name, func(t *testing.T) {
			want := known(name)
			a := newVerifier(t, v, name, Options{})
			key, err := a.PublicKey()
			a.check(err)
			refused(t, err, "")
			switch k := key.(type) {
			case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
				if !bytes.Equal(must(x509.MarshalPKIXPublicKey(k)), want.PublicKeyDER()) {
					t.Error("another key")
				}
				if _, err := signature.LoadVerifier(k, crypto.SHA256); err != nil {
					t.Errorf("sigstore does not take it: %v", err)
				}
			case PublicKey:
				if !bytes.Equal(k.DER(), want.PublicKeyDER()) || k.KeySpec() != want.Spec() || k.String() != string(want.Spec())+" public key" {
					t.Errorf("another key: %v", k)
				}
				if _, err := x509.ParsePKIXPublicKey(want.PublicKeyDER()); err == nil {
					t.Error("crypto/x509 knows this key")
				}
				again, err := a.PublicKey()
				a.check(err)
				if !k.Equal(again) || k.Equal(PublicKey{}) || (PublicKey{}).Equal(PublicKey{}) {
					t.Error("Equal is wrong")
				}
				if _, err := signature.LoadVerifier(key, crypto.SHA256); err == nil {
					t.Error("sigstore takes it for a key that it knows")
				}
				if _, err := x509.MarshalPKIXPublicKey(key); err == nil {
					t.Error("crypto/x509 takes it for a key that it knows")
				}
			default:
				t.Errorf("a key of type %T", key)
			}
		})
	}
	id := must(kmskey.ParseDistinguishingID("me"))
	for name, c := range map[string]struct {
		key  string
		opts Options
		want kmserr.Name
	}{
		"another algorithm": {"p256", Options{SigningAlgorithm: kmskey.ECDSASHA384}, kmserr.InvalidKeyUsage},
		"an ID":             {"p256", Options{DistinguishingID: id}, kmserr.Validation},
		"an ENTL rule":      {"p256", Options{ENTL: kmskey.ENTLAWSJavaHelper}, kmserr.Validation},
		"an ID of SM2":      {"sm2", Options{DistinguishingID: id}, ""},
	} {
		a := newVerifier(t, v, c.key, c.opts)
		key, err := a.PublicKey()
		a.check(err)
		if refused(t, err, c.want); (key != nil) != (err == nil) {
			t.Errorf("%s: %v beside %v", name, key, err)
		}
	}
}

func TestWhatWasNotMadeRefuses(t *testing.T) {
	var none *Verifier
	for _, a := range []*Verifier{none, {}, {verifier: &verifier.Verifier{}, keyID: "alias/a"}} {
		sig := sign("p256", kmskey.ECDSASHA256, message)
		refused(t, a.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)), kmserr.Internal, "not made by New")
		key, err := a.PublicKey()
		if refused(t, err, kmserr.Internal, "not made by New"); key != nil {
			t.Errorf("a key beside the error: %v", key)
		}
	}
	refused(t, none.answer(audit.Decision{}, nil), kmserr.Internal)
}

func TestNew(t *testing.T) {
	v := open(t).Verifier
	for name, c := range map[string]struct {
		v     *verifier.Verifier
		keyID string
		o     Options
		want  kmserr.Name
	}{
		"a key":                  {v, "alias/release", Options{}, ""},
		"an algorithm":           {v, "alias/release", Options{SigningAlgorithm: kmskey.SM2DSA}, ""},
		"a hash":                 {v, "alias/release", Options{Hash: crypto.SHA384}, ""},
		"no verifier":            {nil, "alias/release", Options{}, kmserr.Internal},
		"no key":                 {v, "", Options{}, kmserr.Validation},
		"a path":                 {v, "../alias/release", Options{}, kmserr.Validation},
		"a reference of cosign":  {v, "awskms-offline:///alias/release", Options{}, kmserr.Validation},
		"no algorithm of KMS's":  {v, "alias/release", Options{SigningAlgorithm: "ecdsa_sha_256"}, kmserr.Validation},
		"no hash of KMS's":       {v, "alias/release", Options{Hash: crypto.SHA1}, kmserr.Validation},
		"no hash at all":         {v, "alias/release", Options{Hash: 99}, kmserr.Validation},
		"a hash and a algorithm": {v, "alias/release", Options{Hash: crypto.SHA256, SigningAlgorithm: kmskey.RSASSAPSSSHA256}, kmserr.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := New(c.v, c.keyID, c.o)
			refused(t, err, c.want)
			if (a == nil) != (err != nil) {
				t.Errorf("%v beside %v", a, err)
			}
		})
	}
}

// TestReaders: what the caller's readers do is a refusal or nothing.
func TestReaders(t *testing.T) {
	v := open(t, "p256")
	sig := sign("p256", kmskey.ECDSASHA256, message)
	var noBuffer *bytes.Buffer
	for name, c := range map[string]struct {
		sig, message io.Reader
		opts         []signature.VerifyOption
		want         kmserr.Name
		holds        string
	}{
		"byte by byte":              {&slow{bytes.NewReader(sig)}, &slow{bytes.NewReader(message)}, nil, "", ""},
		"no signature":              {nil, bytes.NewReader(message), nil, kmserr.Validation, "no signature"},
		"an empty signature":        {bytes.NewReader(nil), bytes.NewReader(message), nil, kmserr.Validation, "empty"},
		"an endless signature":      {endless{}, bytes.NewReader(message), nil, kmserr.InvalidSignature, "longer than 16384 bytes"},
		"a broken signature":        {broken{}, bytes.NewReader(message), nil, kmserr.Validation, "cable pulled"},
		"a panicking signature":     {noBuffer, bytes.NewReader(message), nil, kmserr.Internal, "stopped"},
		"no message":                {bytes.NewReader(sig), nil, nil, kmserr.Validation, "no message"},
		"a broken message":          {bytes.NewReader(sig), io.MultiReader(bytes.NewReader(message), broken{}), nil, kmserr.Validation, "cable pulled"},
		"a panicking message":       {bytes.NewReader(sig), noBuffer, nil, kmserr.Internal, "stopped"},
		"a broken, and a digest":    {bytes.NewReader(sig), broken{}, digestOption(), kmserr.Validation, "whether a message is given too cannot be told"},
		"a panicking, and a digest": {bytes.NewReader(sig), noBuffer, digestOption(), kmserr.Internal, "stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newVerifier(t, v, "p256", Options{})
			err := a.VerifySignature(c.sig, c.message, c.opts...)
			a.check(err)
			refused(t, err, c.want, c.holds)
		})
	}
}

func TestObserverThatPanics(t *testing.T) {
	v := open(t, "p256")
	a := must(New(v.Verifier, known("p256").ARN().String(), Options{Observe: func(audit.Decision, error) { panic("no room") }}))
	refused(t, a.VerifySignature(bytes.NewReader(sign("p256", kmskey.ECDSASHA256, message)), bytes.NewReader(message)), kmserr.Internal, "no room")
	key, err := a.PublicKey()
	if refused(t, err, kmserr.Internal, "no room"); key != nil {
		t.Errorf("a key beside the error: %v", key)
	}
}

// TestEveryCallHasItsLine: what the line holds of a call whose options alone are refused. That each has one, and of the same
// name as the answer, holds for every test here: see checked.
func TestEveryCallHasItsLine(t *testing.T) {
	v := open(t, "p256")
	sig := sign("p256", kmskey.ECDSASHA256, message)
	var noBuffer *bytes.Buffer
	for name, ask := range map[string]func(*checked) error{
		"verify": func(a *checked) error {
			return a.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message), options.WithKeyVersion("1"))
		},
		"verify, panicking": func(a *checked) error { return a.VerifySignature(noBuffer, bytes.NewReader(message)) },
		"key":               func(a *checked) error { _, err := a.PublicKey(options.WithKeyVersion("1")); return err },
		"key, panicking":    func(a *checked) error { _, err := a.PublicKey((*option)(nil)); return err },
	} {
		event := audit.EventVerify
		if strings.HasPrefix(name, "key") {
			event = audit.EventAuthorizeKey
		}
		t.Run(name, func(t *testing.T) {
			a := newVerifier(t, v, "p256", Options{})
			err := ask(a)
			a.check(err)
			if a.line.EventName != event || a.line.ErrorMessage != kmserr.As(err).Fact || a.line.Home == "" {
				t.Errorf("%v: the line is %+v", err, a.line)
			}
			for _, required := range []bool{false, true} {
				v.log.required, v.log.err = required, errors.New("disk full")
				err := ask(a)
				v.log.required, v.log.err = false, nil
				if want := kmserr.As(err).Name == kmserr.AuditUnavailable; want != required || !strings.Contains(kmserr.As(err).Fact+kmserr.As(err).Hint, "disk full") {
					t.Errorf("no line, required %t: %v | %s", required, err, kmserr.As(err).Hint)
				}
			}
		})
	}
}

// option is one whose nil pointer panics.
type option struct{ options.NoOpOptionImpl }

func (o *option) ApplyKeyVersion(version *string) { *version = o.String() }
func (o *option) String() string                  { return fmt.Sprint(o.NoOpOptionImpl) }

func TestManyAtOnce(t *testing.T) {
	v := open(t, "p256")
	a := must(New(v.Verifier, known("p256").ARN().String(), Options{}))
	sig := sign("p256", kmskey.ECDSASHA256, message)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			input := message
			if i%2 == 1 {
				input = []byte("another")
			}
			if err := a.VerifySignature(bytes.NewReader(sig), bytes.NewReader(input)); (err == nil) != (i%2 == 0) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cable pulled") }

type slow struct{ r io.Reader }

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(1, len(p))]) }
