package verifier

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

const (
	arnThen = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-0000-4000-8000-000000000001"
	arnNow  = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-0000-4000-8000-000000000002"
)

// aliasHistory is a policy with a grant of alias history for these former keys.
func (w *world) aliasHistory(notation bool, formers ...string) {
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		if !s.Former {
			return policy.Rules{}, nil
		}
		for _, arn := range formers {
			if s.ARN.String() == arn {
				return policy.Rules{AllowAliasHistory: true, AllowAliasHistoryForNotation: notation, Applied: []string{"history"}}, nil
			}
		}
		return policy.Rules{}, nil
	}
}

// oneByOne is a message that cannot be read again.
type oneByOne struct{ io.Reader }

// rotated is a world whose alias/release meant the RSA key and means the P-256 key now.
func rotated(t *testing.T, edits ...edit) (w *world, then, now *signer) {
	t.Helper()
	then, now = newSigner(kmskey.RSA2048), newSigner(kmskey.ECCNISTP256)
	old, current := record(t, arnThen, then, edits...), record(t, arnNow, now)
	w = newWorld(t, old, current)
	w.alias(t, old, at("2026-01-01T00:00:00Z"))
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Put(current, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: at("2026-06-01T00:00:00Z"), MoveAlias: true})
		return err
	})
	return w, then, now
}

func TestAliasHistory(t *testing.T) {
	message := []byte("signed before the alias moved")
	ask := func(s *signer, a kmskey.SigningAlgorithm) Request {
		r := request("alias/release", s, a, message)
		r.DefaultAlgorithms, r.SigningAlgorithm = []kmskey.SigningAlgorithm{kmskey.RSASSAPKCS1SHA256}, ""
		return r
	}
	t.Run("without a grant", func(t *testing.T) {
		w, then, now := rotated(t)
		_, err := w.verify(t, ask(then, kmskey.RSASSAPKCS1SHA256))
		refused(t, err, kmserr.InvalidSignature)
		if _, err := w.verify(t, ask(now, kmskey.ECDSASHA256)); err != nil {
			t.Error(err)
		}
	})
	t.Run("with a grant", func(t *testing.T) {
		w, then, now := rotated(t)
		w.aliasHistory(false, arnThen)
		d, err := w.verify(t, ask(then, kmskey.RSASSAPKCS1SHA256))
		if err != nil || d.KeyARN != arnThen || d.SigningAlgorithm != string(kmskey.RSASSAPKCS1SHA256) || d.Options["alias-history"] == "" ||
			!strings.Contains(strings.Join(d.Warnings, "\n"), "a key that it meant until 2026-06-01T00:00:00Z") || len(d.PolicyRules) != 1 {
			t.Errorf("%+v, %v", d, err)
		}
		if d, err := w.verify(t, ask(now, kmskey.ECDSASHA256)); err != nil || d.KeyARN != arnNow || strings.Contains(strings.Join(d.Warnings, "\n"), "meant until") {
			t.Errorf("%+v, %v", d, err)
		}
		// A message that cannot be read again is held, within the limit.
		r := ask(then, kmskey.RSASSAPKCS1SHA256)
		r.Message = oneByOne{bytes.NewReader(message)}
		if _, err := w.verify(t, r); err != nil {
			t.Error(err)
		}
		w.v.cfg.MaxMessage = int64(len(message) - 1)
		r.Message = oneByOne{bytes.NewReader(message)}
		_, err = w.verify(t, r)
		refused(t, err, kmserr.Validation, "the alias's history makes it be read more than once")
		w.v.cfg.MaxMessage = 0

		// Nobody's signature is nobody's, and the refusal is about the key that the alias means.
		d, err = w.verify(t, ask(newSigner(kmskey.ECCNISTP256), kmskey.ECDSASHA256))
		refused(t, err, kmserr.InvalidSignature)
		if d.KeyARN != arnNow {
			t.Errorf("%+v", d)
		}
		// The key itself, asked for by its ARN, needs no history.
		r = request(arnNow, then, kmskey.RSASSAPKCS1SHA256, message)
		r.SigningAlgorithm = ""
		_, err = w.verify(t, r)
		refused(t, err, kmserr.InvalidSignature)
	})
	for name, c := range map[string]struct {
		edits  []edit
		change func(*world)
	}{
		"disabled": {edits: []edit{state(kmskey.StateDisabled)}},
		"blocked":  {change: func(w *world) { w.block(t, keystore.Block{KeyID: arnThen, Reason: "lost"}) }},
		"removed": {change: func(w *world) {
			w.write(t, func(writer *keystore.Writer) error {
				_, err := writer.Remove(must(kmskey.ParseRef(arnThen)))
				return err
			})
		}},
		"not granted": {change: func(w *world) { w.aliasHistory(false, arnNow) }},
	} {
		t.Run("former key "+name, func(t *testing.T) {
			w, then, now := rotated(t, c.edits...)
			w.aliasHistory(false, arnThen)
			if c.change != nil {
				c.change(w)
			}
			_, err := w.verify(t, ask(then, kmskey.RSASSAPKCS1SHA256))
			refused(t, err, kmserr.InvalidSignature)
			if _, err := w.verify(t, ask(now, kmskey.ECDSASHA256)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("damaged record", func(t *testing.T) {
		w, then, _ := rotated(t)
		w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
			if s.Former {
				return policy.Rules{}, io.ErrUnexpectedEOF
			}
			return policy.Rules{}, nil
		}
		_, err := w.verify(t, ask(then, kmskey.RSASSAPKCS1SHA256))
		refused(t, err, kmserr.PolicyInvalid)
	})
}

// For Notation only if the grant says so.
func TestAliasHistoryForNotation(t *testing.T) {
	w, then, now := rotated(t)
	ask := func(s *signer) KeyRequest { return KeyRequest{KeyID: "alias/release", PublicKey: s.der} }
	_, err := w.authorize(t, ask(then))
	refused(t, err, kmserr.KeyMaterialMismatch)
	w.aliasHistory(false, arnThen)
	_, err = w.authorize(t, ask(then))
	refused(t, err, kmserr.KeyMaterialMismatch)
	w.aliasHistory(true, arnThen)
	a, err := w.authorize(t, ask(then))
	if err != nil || a.ARN().String() != arnThen || !bytes.Equal(a.PublicKeyDER(), then.der) {
		t.Errorf("%v, %v", a.ARN(), err)
	}
	if a, err := w.authorize(t, ask(now)); err != nil || a.ARN().String() != arnNow {
		t.Errorf("%v, %v", a.ARN(), err)
	}
	_, err = w.authorize(t, ask(newSigner(kmskey.ECCNISTP256)))
	refused(t, err, kmserr.KeyMaterialMismatch)
	w.block(t, keystore.Block{KeyID: arnThen})
	_, err = w.authorize(t, ask(then))
	refused(t, err, kmserr.KeyBlocked)

	// What cannot be told about a former key is no "another key".
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		if s.Former {
			return policy.Rules{}, io.ErrUnexpectedEOF
		}
		return policy.Rules{}, nil
	}
	_, err = w.authorize(t, ask(then))
	refused(t, err, kmserr.PolicyInvalid)
}

// A former key's record that is damaged, or is not what it is asked for, ends it: the store is not to be relied on.
func TestDamagedFormer(t *testing.T) {
	w, then, _ := rotated(t)
	w.aliasHistory(true, arnThen)
	path := filepath.Join(w.home.Path, "keys", "aws", "us-east-1", "111122223333")
	other := must(os.ReadFile(filepath.Join(path, strings.TrimPrefix(arnNow, "arn:aws:kms:us-east-1:111122223333:key/")+".json")))
	for name, content := range map[string][]byte{"cut off": other[:100], "of another key": other} {
		file := filepath.Join(path, strings.TrimPrefix(arnThen, "arn:aws:kms:us-east-1:111122223333:key/")+".json")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := w.authorize(t, KeyRequest{KeyID: "alias/release", PublicKey: then.der})
		if !kmserr.Is(err, kmserr.StoreIntegrity) {
			t.Errorf("%s: AuthorizeKey: %v", name, err)
		}
		_, err = w.verify(t, request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("m")))
		if !kmserr.Is(err, kmserr.StoreIntegrity) {
			t.Errorf("%s: Verify: %v", name, err)
		}
	}
}

// datedLog is a log that says when its last line was written.
type datedLog struct {
	*fakeLog
	last time.Time
	err  error
}

func (l datedLog) LastTime() (time.Time, error) { return l.last, l.err }

// A clock that stands before the log's last line is wrong: what depends on time is refused, the rest is warned of.
func TestClockBeforeTheLog(t *testing.T) {
	s := newSigner(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, arnNow, s, seen("2026-11-24T11:00:00Z")))
	ask := func() Request { return request(arnNow, s, kmskey.ECDSASHA256, []byte("m")) }
	w.v.cfg.Log = datedLog{w.log, w.now.Add(6 * time.Minute), nil}
	d, err := w.verify(t, ask())
	if err != nil || !strings.Contains(strings.Join(d.Warnings, "\n"), "the last line of the log") {
		t.Errorf("%v, %v", d.Warnings, err)
	}
	w.rules(policy.Rules{MaxSnapshotAge: 24 * time.Hour})
	_, err = w.verify(t, ask())
	refused(t, err, kmserr.Clock, "the last line of the log is of")
	w.v.cfg.Log = datedLog{w.log, w.now.Add(clockTolerance), nil}
	if _, err := w.verify(t, ask()); err != nil {
		t.Error(err)
	}
	w.v.cfg.Log = datedLog{w.log, w.now.Add(6 * time.Minute), io.ErrUnexpectedEOF}
	if _, err := w.verify(t, ask()); err != nil {
		t.Error(err)
	}
}

func TestOutlook(t *testing.T) {
	s := newSigner(kmskey.ECCNISTP256)
	for name, c := range map[string]struct {
		edits   []edit
		rules   policy.Rules
		refusal kmserr.Name
		until   string
		because string
	}{
		"no end":   {},
		"age":      {edits: []edit{seen("2026-11-24T00:00:00Z")}, rules: policy.Rules{MaxSnapshotAge: 48 * time.Hour}, until: "2026-11-26T00:00:00Z", because: "too old"},
		"too old":  {edits: []edit{seen("2026-11-01T00:00:00Z")}, rules: policy.Rules{MaxSnapshotAge: 48 * time.Hour}, refusal: kmserr.SnapshotExpired},
		"deletion": {edits: []edit{state(kmskey.StatePendingDeletion), deleted("2026-12-01T00:00:00Z")}, rules: policy.Rules{KeyStates: []kmskey.KeyState{kmskey.StatePendingDeletion}}, until: "2026-12-01T00:00:00Z", because: "DeletionDate"},
		"policy":   {rules: policy.Rules{NotAfter: at("2026-11-25T00:00:00Z").Time}, until: "2026-11-25T00:00:00Z", because: "notAfter"},
		"disabled": {edits: []edit{state(kmskey.StateDisabled)}, refusal: kmserr.Disabled},
		"usage":    {edits: []edit{usage(kmskey.KeyAgreement)}, refusal: kmserr.InvalidKeyUsage},
		"nothing":  {rules: policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{}}, refusal: kmserr.AlgorithmNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnNow, s, c.edits...))
			w.rules(c.rules)
			o, err := w.v.Outlook(t.Context(), arnNow)
			if err != nil {
				t.Fatal(err)
			}
			if c.refusal != "" {
				refused(t, o.Refusal, c.refusal)
			} else if o.Refusal != nil {
				t.Error(o.Refusal)
			}
			if (c.until == "") != o.Until.IsZero() || c.until != "" && !o.Until.Equal(at(c.until).Time) || !strings.Contains(o.Because, c.because) {
				t.Errorf("until %v because %q", o.Until, o.Because)
			}
			if len(w.log.lines) != 0 {
				t.Error("an outlook is no decision, and was logged")
			}
		})
	}
	w := newWorld(t)
	if o, err := w.v.Outlook(t.Context(), arnNow); o != nil || !kmserr.Is(err, kmserr.NotFound) {
		t.Errorf("%v, %v", o, err)
	}
}
