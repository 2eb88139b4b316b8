package verifier

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

const (
	arnA     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	arnB     = "arn:aws:kms:us-east-1:111122223333:key/2234abcd-12ab-34cd-56ef-1234567890ab"
	mrkEast  = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	mrkWest  = "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	mrkEU    = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	aliasA   = "arn:aws:kms:us-east-1:111122223333:alias/release"
	testdata = "../testdata"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// signer is what KMS would be for one key: its public key, and signatures over messages by the libraries themselves, never
// by way of this project's own digests.
type signer struct {
	spec kmskey.KeySpec
	der  []byte
	sign func(a kmskey.SigningAlgorithm, message []byte) []byte
}

// made keeps keys for the run: RSA and ML-DSA keys are slow to make.
var made sync.Map

// signerOf returns the run's one key of a spec.
func signerOf(spec kmskey.KeySpec) *signer {
	if s, ok := made.Load(spec); ok {
		return s.(*signer)
	}
	s, _ := made.LoadOrStore(spec, newSigner(spec))
	return s.(*signer)
}

func newSigner(spec kmskey.KeySpec) *signer {
	s := &signer{spec: spec}
	switch spec {
	case kmskey.RSA2048, kmskey.RSA3072, kmskey.RSA4096:
		block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", "rsa"+strings.TrimPrefix(string(spec), "RSA_")+".key.pem"))))
		key := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
		s.der = must(x509.MarshalPKIXPublicKey(&key.PublicKey))
		s.sign = func(a kmskey.SigningAlgorithm, message []byte) []byte {
			if strings.HasPrefix(string(a), "RSASSA_PSS") {
				return must(rsa.SignPSS(rand.Reader, key, hashOf(a), digestOf(a, message), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
			}
			return must(rsa.SignPKCS1v15(rand.Reader, key, hashOf(a), digestOf(a, message)))
		}
	case kmskey.ECCNISTP256, kmskey.ECCNISTP384, kmskey.ECCNISTP521:
		curve := map[kmskey.KeySpec]elliptic.Curve{kmskey.ECCNISTP256: elliptic.P256(), kmskey.ECCNISTP384: elliptic.P384(), kmskey.ECCNISTP521: elliptic.P521()}[spec]
		key := must(ecdsa.GenerateKey(curve, rand.Reader))
		s.der = must(x509.MarshalPKIXPublicKey(&key.PublicKey))
		s.sign = func(a kmskey.SigningAlgorithm, message []byte) []byte {
			return must(ecdsa.SignASN1(rand.Reader, key, digestOf(a, message)))
		}
	case kmskey.ECCSECGP256K1:
		key := must(secp256k1.GeneratePrivateKey())
		s.der = ecSPKI(asn1.ObjectIdentifier{1, 3, 132, 0, 10}, key.PubKey().SerializeUncompressed())
		s.sign = func(a kmskey.SigningAlgorithm, message []byte) []byte {
			return secp256k1ecdsa.Sign(key, digestOf(a, message)).Serialize()
		}
	case kmskey.ECCNISTEdwards25519:
		public, key, err := ed25519.GenerateKey(rand.Reader)
		s.der = must(x509.MarshalPKIXPublicKey(must(public, err)))
		s.sign = func(a kmskey.SigningAlgorithm, message []byte) []byte {
			if a == kmskey.ED25519SHA512 {
				return ed25519.Sign(key, message)
			}
			once := sha512.Sum512(message)
			twice := sha512.Sum512(once[:]) // as KMS does
			return must(key.Sign(rand.Reader, twice[:], crypto.SHA512))
		}
	case kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87:
		params := map[kmskey.KeySpec]mldsa.Parameters{kmskey.MLDSA44: mldsa.MLDSA44(), kmskey.MLDSA65: mldsa.MLDSA65(), kmskey.MLDSA87: mldsa.MLDSA87()}[spec]
		last := map[kmskey.KeySpec]int{kmskey.MLDSA44: 17, kmskey.MLDSA65: 18, kmskey.MLDSA87: 19}[spec]
		key := must(mldsa.GenerateKey(params))
		s.der = spkiDER(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, last}, nil, key.PublicKey().Bytes())
		s.sign = func(_ kmskey.SigningAlgorithm, message []byte) []byte {
			return must(key.Sign(nil, message, &mldsa.Options{}))
		}
	case kmskey.SM2:
		key := must(sm2.GenerateKey(rand.Reader))
		point := append([]byte{4}, key.X.FillBytes(make([]byte, 32))...)
		point = append(point, key.Y.FillBytes(make([]byte, 32))...)
		s.der = ecSPKI(asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}, point)
		s.sign = func(_ kmskey.SigningAlgorithm, message []byte) []byte {
			id, message, ok := bytes.Cut(message, []byte("\x00id\x00"))
			if !ok {
				id, message = []byte(kmskey.DefaultDistinguishingID), id
			}
			return must(key.SignWithSM2(rand.Reader, id, message))
		}
	default:
		panic("no signer for " + string(spec))
	}
	return s
}

// withID marks the message for an SM2 signer to sign under this distinguishing ID.
func withID(id, message string) []byte { return []byte(id + "\x00id\x00" + message) }

func hashOf(a kmskey.SigningAlgorithm) crypto.Hash {
	switch name := string(a); {
	case strings.HasSuffix(name, "_256"):
		return crypto.SHA256
	case strings.HasSuffix(name, "_384"):
		return crypto.SHA384
	}
	return crypto.SHA512
}

func digestOf(a kmskey.SigningAlgorithm, message []byte) []byte {
	h := hashOf(a).New()
	h.Write(message)
	return h.Sum(nil)
}

func ecSPKI(curve asn1.ObjectIdentifier, point []byte) []byte {
	return spkiDER(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, must(asn1.Marshal(curve)), point)
}

func spkiDER(oid asn1.ObjectIdentifier, params, key []byte) []byte {
	return must(asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: params}}, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}}))
}

// edit changes a record before it is checked.
type edit func(*kmskey.Record)

// record returns the record of a signing key.
func record(t testing.TB, arn string, s *signer, edits ...edit) *kmskey.Key {
	t.Helper()
	r := kmskey.Record{KeyID: arn, PublicKey: s.der, KeyUsage: kmskey.SignVerify, SigningAlgorithms: s.spec.SigningAlgorithms()}
	for _, e := range edits {
		e(&r)
	}
	key, err := kmskey.NewKey(r)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func at(text string) kmskey.Time { return must(kmskey.ParseTime(text)) }

// state returns an edit that adds what DescribeKey said.
func state(s kmskey.KeyState) edit {
	return func(r *kmskey.Record) {
		r.KeyMetadata = &kmskey.KeyMetadata{KeyState: s}
		r.Snapshot.StateTime = at("2026-11-23T11:00:00Z")
	}
}

func deleted(on string) edit {
	return func(r *kmskey.Record) { r.KeyMetadata.DeletionDate = at(on) }
}

func validTo(end string) edit { return func(r *kmskey.Record) { r.KeyMetadata.ValidTo = at(end) } }

func seen(when string) edit { return func(r *kmskey.Record) { r.Snapshot.Time = at(when) } }

func source(name string) edit { return func(r *kmskey.Record) { r.Snapshot.Source = name } }

func algorithms(names ...kmskey.SigningAlgorithm) edit {
	return func(r *kmskey.Record) { r.SigningAlgorithms = names }
}

func usage(u kmskey.KeyUsage) edit {
	return func(r *kmskey.Record) { r.KeyUsage, r.SigningAlgorithms = u, nil }
}

func distinguishing(id string) edit { return func(r *kmskey.Record) { r.DistinguishingID = &id } }

// world is a store on disk, a policy, a log and a clock.
type world struct {
	home   keystore.Home
	policy *fakePolicy
	log    *fakeLog
	now    time.Time
	v      *Verifier
}

// newWorld makes a store with these keys, and a verifier over it.
func newWorld(t testing.TB, keys ...*kmskey.Key) *world {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{home: keystore.Home{Path: filepath.Join(dir, "home"), ChosenBy: "test"}, log: &fakeLog{},
		policy: &fakePolicy{}, now: at("2026-11-24T12:00:00Z").Time}
	w.write(t, func(writer *keystore.Writer) error {
		for _, key := range keys {
			if _, err := writer.Put(key, keystore.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	store, err := keystore.Open(w.home, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.v, err = New(Config{Store: store, Policy: w.policy, Log: w.log, FrontEnd: audit.FrontEnd{Name: "test", Version: "v0"},
		Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.v.Close() })
	return w
}

func (w *world) write(t testing.TB, change func(*keystore.Writer) error) {
	t.Helper()
	writer, err := keystore.OpenWriter(w.home, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(change(writer), writer.Close()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) alias(t testing.TB, key *kmskey.Key, when kmskey.Time) {
	t.Helper()
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Put(key, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: when})
		return err
	})
}

func (w *world) block(t testing.TB, b keystore.Block) {
	t.Helper()
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Block(b)
		return err
	})
}

// rules sets the policy's rules for every key.
func (w *world) rules(r policy.Rules) {
	w.policy.rules = func(policy.Subject) (policy.Rules, error) { return r, nil }
}

// verify asks, and demands what holds for every answer: a result if and only if there is no error, and a line that says
// the same.
func (w *world) verify(t testing.TB, req Request) (audit.Decision, error) {
	t.Helper()
	return w.verifyWith(t, context.Background(), req)
}

func (w *world) verifyWith(t testing.TB, ctx context.Context, req Request) (audit.Decision, error) {
	t.Helper()
	before := len(w.log.lines)
	result, err := w.v.Verify(ctx, req)
	if (result != nil) == (err != nil) {
		t.Fatalf("result %v together with error %v", result, err)
	}
	return w.check(t, before, audit.EventVerify, req.KeyID, result.Decision(), err), err
}

// authorize asks for the key itself where req has none to compare.
func (w *world) authorize(t testing.TB, req KeyRequest) (*Authorized, error) {
	t.Helper()
	req.WithoutPublicKey = req.PublicKey == nil
	before := len(w.log.lines)
	result, err := w.v.AuthorizeKey(context.Background(), req)
	if (result != nil) == (err != nil) {
		t.Fatalf("result %v together with error %v", result, err)
	}
	w.check(t, before, audit.EventAuthorizeKey, req.KeyID, result.Decision(), err)
	return result, err
}

// check compares an answer with its line in the log, and returns the line.
func (w *world) check(t testing.TB, before int, event, asked string, d audit.Decision, err error) audit.Decision {
	t.Helper()
	if d.Verified != (err == nil) {
		t.Fatalf("the decision says verified: %t, the error %v", d.Verified, err)
	}
	if err != nil {
		e, ok := err.(*kmserr.Error)
		if !ok || e == nil || e.Fact == "" || strings.HasSuffix(e.Fact, ".") || e.KeyARN == "" && asked != "" {
			t.Errorf("no error with a fact and a key: %#v", err)
		}
	}
	if w.log.err != nil || w.log.panics {
		return d
	}
	if len(w.log.lines) != before+1 {
		t.Fatalf("%d lines in the log, expected 1", len(w.log.lines)-before)
	}
	line := w.log.lines[before]
	if line.Verified != (err == nil) || line.EventName != event || line.Asked != asked || line.Home != w.home.Path || line.HomeChosenBy != "test" ||
		line.FrontEnd != (audit.FrontEnd{Name: "test", Version: "v0"}) || !line.EventTime.Equal(w.now) {
		t.Errorf("the line says %+v", line)
	}
	if err != nil && (line.ErrorCode != string(kmserr.As(err).Name) || line.ErrorMessage != kmserr.As(err).Fact) || err == nil && line.ErrorCode+line.ErrorMessage != "" {
		t.Errorf("the line says %s: %s; the error %v", line.ErrorCode, line.ErrorMessage, err)
	}
	return line
}

// fakePolicy answers what a test says, and remembers what it was asked.
type fakePolicy struct {
	policy.None
	store   policy.StoreRules
	rules   func(policy.Subject) (policy.Rules, error)
	aliases []kmskey.AliasARN
	asked   []policy.Subject
}

func (p *fakePolicy) Aliases(kmskey.ARN) []kmskey.AliasARN { return p.aliases }

func (p *fakePolicy) Store() policy.StoreRules { return p.store }

func (p *fakePolicy) Rules(s policy.Subject) (policy.Rules, error) {
	p.asked = append(p.asked, s)
	if p.rules == nil {
		return policy.None{}.Rules(s)
	}
	return p.rules(s)
}

type fakeLog struct {
	lines    []audit.Decision
	err      error
	panics   bool
	required bool
}

func (l *fakeLog) Append(ctx context.Context, d audit.Decision) error {
	if l.panics {
		panic("the log panics")
	}
	if l.err == nil && ctx.Err() == nil {
		l.lines = append(l.lines, d)
	}
	return cmp.Or(l.err, ctx.Err())
}

func (l *fakeLog) Required() bool { return l.required }

// refused demands an error of that name whose fact and hint hold every text.
func refused(t testing.TB, err error, name kmserr.Name, holds ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, expected %s", name)
	}
	e := kmserr.As(err)
	if e.Name != name {
		t.Fatalf("got %v | %s, expected %s", err, e.Hint, name)
	}
	for _, text := range holds {
		if !strings.Contains(e.Fact+" | "+e.Hint, text) {
			t.Errorf("%q is not in: %s | %s", text, e.Fact, e.Hint)
		}
	}
}

// request is a sound question about a message signed by s.
func request(keyID string, s *signer, a kmskey.SigningAlgorithm, message []byte) Request {
	req := Request{KeyID: keyID, SigningAlgorithm: a, Signature: s.sign(a, message)}
	_, plain, ok := bytes.Cut(message, []byte("\x00id\x00"))
	if !ok {
		plain = message
	}
	req.Message = bytes.NewReader(plain)
	return req
}

// good is a sound question about a P-256 key.
func good(keyID string) Request {
	return request(keyID, signerOf(kmskey.ECCNISTP256), kmskey.ECDSASHA256, []byte("message"))
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
