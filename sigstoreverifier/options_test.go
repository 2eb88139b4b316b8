package sigstoreverifier

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"testing"
	"time"

	"filippo.io/mldsa"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func digestOption() []signature.VerifyOption {
	return []signature.VerifyOption{options.WithDigest(digestOf(kmskey.ECDSASHA256, message))}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestSilentReaders: a signature or message that never comes is not waited for.
func TestSilentReaders(t *testing.T) {
	a := newVerifier(t, open(t, "p256"), "p256", Options{})
	silent := readerFunc(func([]byte) (int, error) { return 0, nil })
	for what, ask := range map[string]func() error{
		"signature": func() error { return a.VerifySignature(silent, bytes.NewReader(message)) },
		"message": func() error {
			return a.VerifySignature(bytes.NewReader(sign("p256", kmskey.ECDSASHA256, message)), silent)
		},
		"message beside a digest": func() error {
			return a.VerifySignature(bytes.NewReader(sign("p256", kmskey.ECDSASHA256, message)), silent, digestOption()...)
		},
	} {
		err := ask()
		a.check(err)
		if !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	endless := readerFunc(func(p []byte) (int, error) { cancel(); return 1, nil })
	err := a.VerifySignature(endless, bytes.NewReader(message), options.WithContext(ctx))
	a.check(err)
	if !kmserr.Is(err, kmserr.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestRPCOptions: every call honours the context and refuses what it cannot honour.
func TestRPCOptions(t *testing.T) {
	v := open(t, "p256")
	over, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	type option interface {
		signature.VerifyOption
		signature.PublicKeyOption
	}
	for name, c := range map[string]struct {
		opts  []option
		want  kmserr.Name
		holds string
	}{
		"none":                    {nil, "", ""},
		"a context":               {[]option{options.WithContext(context.Background())}, "", ""},
		"no-ops":                  {[]option{options.WithRemoteVerification(false), options.WithKeyVersion(""), options.WithRPCAuthOpts(options.RPCAuth{}), options.NoOpOptionImpl{}}, "", ""},
		"a context that is over":  {[]option{options.WithContext(over)}, kmserr.DeadlineExceeded, "its time was over"},
		"a deadline that is past": {[]option{options.WithContext(late)}, kmserr.DeadlineExceeded, "its time was over"},
		"a nil context":           {[]option{options.WithContext(nil)}, kmserr.Validation, "context is nil"}, //nolint:staticcheck // what is tested
		"a nil option":            {[]option{nil}, kmserr.Validation, "options is nil"},
		"a key version":           {[]option{options.WithKeyVersion("0")}, kmserr.Validation, `key version "0"`},
		"remote verification":     {[]option{options.WithRemoteVerification(true)}, kmserr.Validation, "calls nobody"},
		"credentials":             {[]option{options.WithRPCAuthOpts(options.RPCAuth{Address: "https://vault:8200"})}, kmserr.Validation, "WithRPCAuthOpts"},
		"the last of several":     {[]option{options.WithKeyVersion("1"), options.WithKeyVersion("")}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var verify []signature.VerifyOption
			var public []signature.PublicKeyOption
			for _, o := range c.opts {
				verify, public = append(verify, o), append(public, o)
			}
			a := newVerifier(t, v, "p256", Options{})
			err := a.VerifySignature(bytes.NewReader(sign("p256", kmskey.ECDSASHA256, message)), bytes.NewReader(message), verify...)
			a.check(err)
			refused(t, err, c.want, c.holds)
			key, err := a.PublicKey(public...)
			a.check(err)
			if refused(t, err, c.want, c.holds); (key == nil) != (err != nil) {
				t.Errorf("%v beside %v", key, err)
			}
		})
	}
}

// TestDigestOption: a digest is one that was given, be it nothing, and the only question.
func TestDigestOption(t *testing.T) {
	v := open(t, "p256", "p384")
	ofNothing := sign("p256", kmskey.ECDSASHA256, nil)
	for name, c := range map[string]struct {
		key     string
		sig     []byte
		message string
		digest  []byte
		want    kmserr.Name
		holds   string
	}{
		// sigstore-go asks like this where neither the bundle nor its caller has a digest: nothing must not be verified.
		"nil":                 {"p256", ofNothing, "", nil, kmserr.Validation, "digest given is empty"},
		"empty":               {"p256", ofNothing, "", []byte{}, kmserr.Validation, "digest given is empty"},
		"one zero byte":       {"p256", ofNothing, "", []byte{0}, kmserr.Validation, "1 byte"},
		"a message beside it": {"p256", sign("p256", kmskey.ECDSASHA256, message), string(message), digestOf(kmskey.ECDSASHA256, message), kmserr.Validation, "and a message too"},
		"of another hash":     {"p384", sign("p384", kmskey.ECDSASHA384, message), "", digestOf(kmskey.ECDSASHA256, message), kmserr.Validation, "48"},
		"of nothing":          {"p256", ofNothing, "", digestOf(kmskey.ECDSASHA256, nil), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newVerifier(t, v, c.key, Options{})
			err := a.VerifySignature(bytes.NewReader(c.sig), bytes.NewReader([]byte(c.message)), options.WithDigest(c.digest))
			a.check(err)
			refused(t, err, c.want, c.holds)
		})
	}
}

// strange is a crypto.SignerOpts that nobody knows.
type strange struct{}

func (strange) HashFunc() crypto.Hash { return crypto.SHA256 }

func TestCryptoSignerOpts(t *testing.T) {
	v := open(t, "p256", "p384", "rsa2048", "ed25519", "mldsa65")
	var noPSS *rsa.PSSOptions
	pss := func(hash crypto.Hash, salt int) crypto.SignerOpts {
		return &rsa.PSSOptions{Hash: hash, SaltLength: salt}
	}
	for name, c := range map[string]struct {
		key    string
		signed kmskey.SigningAlgorithm
		o      Options
		opts   crypto.SignerOpts
		want   kmserr.Name
	}{
		"RSA, SHA-256":                       {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{}, crypto.SHA256, ""},
		"RSA, SHA-512":                       {"rsa2048", kmskey.RSASSAPKCS1SHA512, Options{}, crypto.SHA512, ""},
		"RSA, in place of the option's":      {"rsa2048", kmskey.RSASSAPKCS1SHA384, Options{Hash: crypto.SHA512}, crypto.SHA384, ""},
		"RSA, nil stands for SHA-256":        {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{Hash: crypto.SHA512}, nil, ""},
		"RSA, another":                       {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{}, crypto.SHA512, kmserr.InvalidSignature},
		"RSA, none":                          {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{}, crypto.Hash(0), kmserr.Validation},
		"RSA, SHA-1":                         {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{}, crypto.SHA1, kmserr.Validation},
		"RSA, the algorithm is settled":      {"rsa2048", kmskey.RSASSAPSSSHA384, Options{SigningAlgorithm: kmskey.RSASSAPSSSHA384}, crypto.SHA256, ""},
		"P-384, SHA-256 as for all":          {"p384", kmskey.ECDSASHA384, Options{}, crypto.SHA256, ""},
		"P-256, none":                        {"p256", kmskey.ECDSASHA256, Options{}, crypto.Hash(0), ""},
		"P-256, SHA-1":                       {"p256", kmskey.ECDSASHA256, Options{}, crypto.SHA1, kmserr.Validation},
		"P-256, PSS":                         {"p256", kmskey.ECDSASHA256, Options{}, pss(crypto.SHA256, rsa.PSSSaltLengthAuto), kmserr.InvalidKeyUsage},
		"PSS":                                {"rsa2048", kmskey.RSASSAPSSSHA512, Options{}, pss(crypto.SHA512, rsa.PSSSaltLengthAuto), ""},
		"PSS, salt as the hash":              {"rsa2048", kmskey.RSASSAPSSSHA256, Options{}, pss(crypto.SHA256, rsa.PSSSaltLengthEqualsHash), ""},
		"PSS, salt in bytes":                 {"rsa2048", kmskey.RSASSAPSSSHA256, Options{}, pss(crypto.SHA256, 32), ""},
		"PSS, another salt":                  {"rsa2048", kmskey.RSASSAPSSSHA256, Options{}, pss(crypto.SHA256, 20), kmserr.Validation},
		"PSS, default hash":                  {"rsa2048", kmskey.RSASSAPSSSHA256, Options{}, pss(0, 0), ""},
		"PSS, the option's hash":             {"rsa2048", kmskey.RSASSAPSSSHA384, Options{Hash: crypto.SHA384}, pss(0, 0), ""},
		"PSS, the algorithm's hash":          {"rsa2048", kmskey.RSASSAPSSSHA512, Options{SigningAlgorithm: kmskey.RSASSAPSSSHA512}, pss(0, 0), ""},
		"PSS, settled so":                    {"rsa2048", kmskey.RSASSAPSSSHA256, Options{SigningAlgorithm: kmskey.RSASSAPSSSHA256}, pss(crypto.SHA256, 0), ""},
		"PSS, settled otherwise":             {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{SigningAlgorithm: kmskey.RSASSAPKCS1SHA256}, pss(crypto.SHA256, 0), kmserr.Validation},
		"PSS, settled otherwise, no hash":    {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{SigningAlgorithm: kmskey.RSASSAPKCS1SHA256}, pss(0, 0), kmserr.Validation},
		"PSS, but PKCS#1 was signed":         {"rsa2048", kmskey.RSASSAPKCS1SHA256, Options{}, pss(crypto.SHA256, 0), kmserr.InvalidSignature},
		"PSS, SHA-1":                         {"rsa2048", kmskey.RSASSAPSSSHA256, Options{}, pss(crypto.SHA1, 0), kmserr.Validation},
		"PSS, a nil pointer":                 {"rsa2048", kmskey.RSASSAPSSSHA256, Options{}, noPSS, kmserr.Internal},
		"Ed25519, none":                      {"ed25519", kmskey.ED25519SHA512, Options{}, crypto.Hash(0), ""},
		"Ed25519, SHA-256 as for all":        {"ed25519", kmskey.ED25519SHA512, Options{}, crypto.SHA256, ""},
		"Ed25519, pure":                      {"ed25519", kmskey.ED25519SHA512, Options{}, &ed25519.Options{}, ""},
		"Ed25519, prehash":                   {"ed25519", kmskey.ED25519PHSHA512, Options{}, &ed25519.Options{Hash: crypto.SHA512}, ""},
		"Ed25519, prehash, but pure signed":  {"ed25519", kmskey.ED25519SHA512, Options{}, &ed25519.Options{Hash: crypto.SHA512}, kmserr.InvalidSignature},
		"Ed25519, context":                   {"ed25519", kmskey.ED25519SHA512, Options{}, &ed25519.Options{Context: "c"}, kmserr.Validation},
		"Ed25519, SHA-256 prehash":           {"ed25519", kmskey.ED25519SHA512, Options{}, &ed25519.Options{Hash: crypto.SHA256}, kmserr.Validation},
		"ML-DSA, SHA-256 as for all":         {"mldsa65", kmskey.MLDSASHAKE256, Options{}, crypto.SHA256, ""},
		"ML-DSA, options that are not known": {"mldsa65", kmskey.MLDSASHAKE256, Options{}, &mldsa.Options{Context: "c"}, kmserr.Validation},
		"P-256, options that nobody knows":   {"p256", kmskey.ECDSASHA256, Options{}, strange{}, kmserr.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			a := newVerifier(t, v, c.key, c.o)
			err := a.VerifySignature(bytes.NewReader(sign(c.key, c.signed, message)), bytes.NewReader(message), options.WithCryptoSignerOpts(c.opts))
			a.check(err)
			refused(t, err, c.want)
		})
	}
}
