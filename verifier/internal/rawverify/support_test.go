package rawverify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const testdata = "../../../testdata"

// subject is one pair of key spec and algorithm with a key of its own, and the signer that KMS would be.
type subject struct {
	spec kmskey.KeySpec
	alg  kmskey.SigningAlgorithm
	pub  *spki.PublicKey
	// signDigest signs what Digest computes, as KMS does with DIGEST or EXTERNAL_MU; nil for pure Ed25519.
	signDigest func(digest []byte) ([]byte, error)
	// signMessage is for pure Ed25519.
	signMessage func(message []byte) ([]byte, error)
}

func (s subject) name() string { return string(s.spec) + "/" + string(s.alg) }

// sign returns a signature over message.
func (s subject) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	if s.signMessage != nil {
		return must(s.signMessage(message))
	}
	return s.signStream(t, bytes.NewReader(message), Options{})
}

func (s subject) signStream(t testing.TB, message io.Reader, opts Options) []byte {
	t.Helper()
	d, _, err := Digest(context.Background(), s.pub, s.alg, message, opts)
	if err != nil {
		t.Fatal(err)
	}
	return must(s.signDigest(d))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// subjects returns, with the same keys in every process, which the fuzz targets' workers are, all 28 pairs of a signing key spec and an algorithm it takes.
var subjects = sync.OnceValue(func() (all []subject) {
	for _, spec := range []kmskey.KeySpec{
		kmskey.RSA2048, kmskey.RSA3072, kmskey.RSA4096, kmskey.ECCNISTP256, kmskey.ECCNISTP384, kmskey.ECCNISTP521,
		kmskey.ECCSECGP256K1, kmskey.ECCNISTEdwards25519, kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87, kmskey.SM2,
	} {
		for _, alg := range spec.SigningAlgorithms() {
			all = append(all, newSubject(spec, alg, "first"))
		}
	}
	return all
})

func subjectOf(spec kmskey.KeySpec, alg kmskey.SigningAlgorithm) subject {
	return subjects()[slices.IndexFunc(subjects(), func(s subject) bool { return s.spec == spec && s.alg == alg })]
}

// newSubject makes a key from seed, save for RSA, which has one of testdata's.
func newSubject(spec kmskey.KeySpec, alg kmskey.SigningAlgorithm, seed string) subject {
	s := subject{spec: spec, alg: alg}
	scalar := func(size int) []byte { // below every order
		h := sha512.Sum512([]byte(seed))
		return append(make([]byte, size-31), h[:31]...)
	}
	switch spec {
	case kmskey.RSA2048, kmskey.RSA3072, kmskey.RSA4096:
		key := rsaKey(map[kmskey.KeySpec]string{kmskey.RSA2048: "rsa2048", kmskey.RSA3072: "rsa3072", kmskey.RSA4096: "rsa4096"}[spec])
		s.pub = must(spki.Parse(must(x509.MarshalPKIXPublicKey(&key.PublicKey))))
		var opts crypto.SignerOpts = alg.Hash()
		if slices.Contains([]kmskey.SigningAlgorithm{kmskey.RSASSAPSSSHA256, kmskey.RSASSAPSSSHA384, kmskey.RSASSAPSSSHA512}, alg) {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: alg.Hash()}
		}
		s.signDigest = func(d []byte) ([]byte, error) { return key.Sign(rand.Reader, d, opts) }
	case kmskey.ECCNISTP256, kmskey.ECCNISTP384, kmskey.ECCNISTP521:
		key := must(ecdsa.ParseRawPrivateKey(curves[spec], scalar((curves[spec].Params().BitSize+7)/8)))
		s.pub = must(spki.Parse(must(x509.MarshalPKIXPublicKey(&key.PublicKey))))
		s.signDigest = func(d []byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, d) }
	case kmskey.ECCSECGP256K1:
		key := secp256k1.PrivKeyFromBytes(scalar(32))
		s.pub = must(spki.Parse(ecSPKI(asn1.ObjectIdentifier{1, 3, 132, 0, 10}, key.PubKey().SerializeUncompressed())))
		s.signDigest = func(d []byte) ([]byte, error) { return secp256k1ecdsa.Sign(key, d).Serialize(), nil }
	case kmskey.ECCNISTEdwards25519:
		key := ed25519.NewKeyFromSeed(scalar(32))
		s.pub = must(spki.Parse(must(x509.MarshalPKIXPublicKey(key.Public()))))
		if alg == kmskey.ED25519SHA512 {
			s.signMessage = func(m []byte) ([]byte, error) { return key.Sign(rand.Reader, m, &ed25519.Options{}) }
			break
		}
		s.signDigest = func(d []byte) ([]byte, error) {
			again := sha512.Sum512(d) // as KMS does
			return key.Sign(rand.Reader, again[:], &ed25519.Options{Hash: crypto.SHA512})
		}
	case kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87:
		params := map[kmskey.KeySpec]mldsa.Parameters{kmskey.MLDSA44: mldsa.MLDSA44(), kmskey.MLDSA65: mldsa.MLDSA65(), kmskey.MLDSA87: mldsa.MLDSA87()}[spec]
		last := map[kmskey.KeySpec]int{kmskey.MLDSA44: 17, kmskey.MLDSA65: 18, kmskey.MLDSA87: 19}[spec]
		key := must(mldsa.NewPrivateKey(params, scalar(32)))
		s.pub = must(spki.Parse(marshalSPKI(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, last}, asn1.RawValue{}, key.PublicKey().Bytes())))
		s.signDigest = func(mu []byte) ([]byte, error) { return key.Sign(nil, mu, mldsacrypto.MLDSAMu) }
	case kmskey.SM2:
		key := must(sm2.NewPrivateKey(scalar(32)))
		s.pub = sm2Public(&key.PublicKey)
		s.signDigest = func(e []byte) ([]byte, error) { return sm2.SignASN1(rand.Reader, key, e, nil) }
	}
	return s
}

var curves = map[kmskey.KeySpec]elliptic.Curve{
	kmskey.ECCNISTP256: elliptic.P256(), kmskey.ECCNISTP384: elliptic.P384(), kmskey.ECCNISTP521: elliptic.P521(),
}

func sm2Public(pub *ecdsa.PublicKey) *spki.PublicKey {
	return must(spki.Parse(ecSPKI(asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}, must(sm2.PublicKeyToECDH(pub)).Bytes())))
}

func ecSPKI(curve asn1.ObjectIdentifier, point []byte) []byte {
	return marshalSPKI(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.RawValue{FullBytes: must(asn1.Marshal(curve))}, point)
}

func marshalSPKI(oid asn1.ObjectIdentifier, params asn1.RawValue, key []byte) []byte {
	return must(asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: params}, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}}))
}

// rsaKey reads one of testdata's: RSA keys of 4096 bits are slow to make.
func rsaKey(name string) *rsa.PrivateKey {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", name+".key.pem"))))
	return must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
}

// verify is Verify of bytes, without options.
func verify(s subject, typ kmskey.MessageType, input, sig []byte) (Facts, error) {
	return Verify(context.Background(), s.pub, s.alg, typ, bytes.NewReader(input), sig, Options{})
}

// wantError checks the error's name, that fact and hint are sentences, and parts of their text.
func wantError(t testing.TB, err error, name kmserr.Name, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("verified, expected %s", name)
	}
	e := kmserr.As(err)
	if e.Name != name {
		t.Fatalf("got %v, expected %s", err, name)
	}
	text := e.Error() + "\n" + e.Hint
	for _, part := range parts {
		if !bytes.Contains([]byte(text), []byte(part)) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	if e.Fact == "" || e.Fact[len(e.Fact)-1] == '.' {
		t.Errorf("the fact %q is no sentence without a final period", e.Fact)
	}
}

func id(b []byte) kmskey.DistinguishingID { return must(kmskey.NewDistinguishingID(b)) }
