package keystore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	uuidA = "1234abcd-12ab-34cd-56ef-1234567890ab"
	uuidB = "2234abcd-12ab-34cd-56ef-1234567890ab"
	mrkA  = "mrk-1234abcd12ab34cd56ef1234567890ab"
)

var (
	east    = kmskey.Scope{Partition: "aws", Region: "us-east-1", Account: "111122223333"}
	west    = kmskey.Scope{Partition: "aws", Region: "us-west-2", Account: "111122223333"}
	other   = kmskey.Scope{Partition: "aws", Region: "us-east-1", Account: "444455556666"}
	china   = kmskey.Scope{Partition: "aws-cn", Region: "cn-north-1", Account: "111122223333"}
	arnA    = kmskey.ARN{Scope: east, KeyID: uuidA}
	arnB    = kmskey.ARN{Scope: east, KeyID: uuidB}
	mrkEast = kmskey.ARN{Scope: east, KeyID: mrkA}
	mrkWest = kmskey.ARN{Scope: west, KeyID: mrkA}
)

// material returns a fresh public key of spec ECC_NIST_P256, as KMS answers it.
func material(t testing.TB) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// record returns the record of a signing key; edit, if not nil, changes it first.
func record(t testing.TB, arn kmskey.ARN, der []byte, edit func(*kmskey.Record)) *kmskey.Key {
	t.Helper()
	r := kmskey.Record{KeyID: arn.String(), PublicKey: der, KeyUsage: kmskey.SignVerify,
		SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.ECDSASHA256}}
	if edit != nil {
		edit(&r)
	}
	k, err := kmskey.NewKey(r)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func at(t testing.TB, text string) kmskey.Time {
	t.Helper()
	if text == "" {
		return kmskey.Time{}
	}
	tm, err := kmskey.ParseTime(text)
	if err != nil {
		t.Fatal(err)
	}
	return tm
}

// newHome returns a home that nobody else can write, whatever the umask is. It is not there yet.
func newHome(t testing.TB) Home {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return Home{Path: filepath.Join(dir, "home"), ChosenBy: "test"}
}

func openWriterT(t testing.TB, home Home) *Writer {
	t.Helper()
	w, err := OpenWriter(home, Options{})
	if err != nil {
		t.Fatal(explain(err))
	}
	w.now = func() time.Time { return testNow }
	t.Cleanup(func() { w.Close() })
	return w
}

// testNow is a while after every date in these tests, whenever they run.
var testNow = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func openT(t testing.TB, home Home) *Store {
	t.Helper()
	s, err := Open(home, Options{})
	if err != nil {
		t.Fatal(explain(err))
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, w *Writer, k *kmskey.Key, opts PutOptions) Outcome {
	t.Helper()
	o, err := w.Put(k, opts)
	if err != nil {
		t.Fatal(explain(err))
	}
	return o
}

// storeOf makes a home with the keys and closes it.
func storeOf(t testing.TB, keys ...*kmskey.Key) Home {
	t.Helper()
	home := newHome(t)
	w := openWriterT(t, home)
	for _, k := range keys {
		put(t, w, k, PutOptions{})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return home
}

func ref(t testing.TB, text string) kmskey.Ref {
	t.Helper()
	r, err := kmskey.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeFile puts a file into the home, as a person would.
func writeFile(t testing.TB, home Home, rel, content string) string {
	t.Helper()
	path := filepath.Join(home.Path, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func explain(err error) string {
	var e *kmserr.Error
	if errors.As(err, &e) {
		return e.Error() + " | " + e.Hint
	}
	return err.Error()
}

// refused demands an error of that name whose fact and hint hold every text, and whose fact is no sentence with a full
// stop.
func refused(t testing.TB, err error, name kmserr.Name, holds ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, expected %s", name)
	}
	var e *kmserr.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *kmserr.Error", err)
	}
	if e.Name != name {
		t.Fatalf("got %s, expected %s", explain(err), name)
	}
	if strings.HasSuffix(e.Fact, ".") {
		t.Errorf("the fact ends with a period: %s", e.Fact)
	}
	for _, text := range holds {
		if !strings.Contains(e.Fact+" | "+e.Hint, text) {
			t.Errorf("%q is not in: %s", text, explain(err))
		}
	}
}

func problems(s *Store) []Problem {
	var all []Problem
	for p := range s.Fsck() {
		all = append(all, p)
	}
	return all
}

func sound(t testing.TB, s *Store) {
	t.Helper()
	for _, p := range problems(s) {
		t.Errorf("fsck: %s (%s)", p.Fact, p.Remedy)
	}
}
