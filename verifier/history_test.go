package verifier

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
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
		refused(t, err, kmserr.InvalidSignature, "Until 2026-06-01T00:00:00Z alias/release meant the key "+must(kmskey.ParseARN(arnThen)).KeyID)
		r := ask(then, kmskey.RSASSAPKCS1SHA256)
		r.KeyID = arnNow
		if _, err := w.verify(t, r); err == nil || strings.Contains(kmserr.As(err).Hint, "Until") {
			t.Errorf("by the key's own name: %v", err)
		}
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
		// Of a longer one the key that is meant now decides alone, as it would without the grant.
		w.v.cfg.MaxMessage = int64(len(message) - 1)
		r.Message = oneByOne{bytes.NewReader(message)}
		d, err = w.verify(t, r)
		refused(t, err, kmserr.InvalidSignature, "were not tried: the message is longer than 28 bytes", "give the message as a file")
		if d.KeyARN != arnNow || d.Options["alias-history"] != "" {
			t.Errorf("%+v", d)
		}
		r = ask(now, kmskey.ECDSASHA256)
		r.Message = oneByOne{bytes.NewReader(message)}
		if d, err := w.verify(t, r); err != nil || d.KeyARN != arnNow || d.InputBytes != int64(len(message)) {
			t.Errorf("%+v, %v", d, err)
		}
		// No limit is none: the message is read, and a signature over nothing is none over it.
		w.v.cfg.MaxMessage = math.MaxInt64
		r = ask(then, kmskey.RSASSAPKCS1SHA256)
		r.Message = oneByOne{bytes.NewReader(message)}
		if d, err := w.verify(t, r); err != nil || d.InputBytes != int64(len(message)) {
			t.Errorf("%+v, %v", d, err)
		}
		for _, s := range []*signer{then, now} {
			algorithm := s.spec.SigningAlgorithms()[0]
			r := request("alias/release", s, algorithm, nil)
			r.SigningAlgorithm = ""
			r.DefaultAlgorithms = []kmskey.SigningAlgorithm{algorithm}
			r.Message = oneByOne{bytes.NewReader(message)}
			_, err := w.verify(t, r)
			refused(t, err, kmserr.InvalidSignature)
		}
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
	// What makes no sense to the key that is meant now may make sense to the former one: that is asked, as it would be if the
	// other one were blocked.
	for name, change := range map[string]func(*Request){
		"no algorithm, and the key that is meant now has several": func(*Request) {},
		"a digest of the former key's length": func(r *Request) {
			r.MessageType, r.Message = kmskey.Digest, bytes.NewReader(digestOf(kmskey.ECDSASHA384, message))
		},
		"the former key's algorithm": func(r *Request) { r.SigningAlgorithm = kmskey.ECDSASHA384 },
	} {
		for _, blocked := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", blocked: ", blocked), func(t *testing.T) {
				then := newSigner(kmskey.ECCNISTP384)
				old, current := record(t, arnThen, then), record(t, arnNow, signerOf(kmskey.RSA2048))
				w := newWorld(t, old, current)
				w.alias(t, old, at("2026-01-01T00:00:00Z"))
				w.write(t, func(writer *keystore.Writer) error {
					_, err := writer.Put(current, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: at("2026-06-01T00:00:00Z"), MoveAlias: true})
					return err
				})
				if blocked {
					w.block(t, keystore.Block{KeyID: arnNow, Reason: "lost"})
				}
				ask := func(s *signer) Request {
					r := request("alias/release", s, kmskey.ECDSASHA384, message)
					r.SigningAlgorithm = ""
					change(&r)
					return r
				}
				if d, err := w.verify(t, ask(then)); err == nil {
					t.Errorf("without a grant %s verified it", d.KeyARN)
				}
				w.aliasHistory(false, arnThen)
				if d, err := w.verify(t, ask(then)); err != nil || d.KeyARN != arnThen || d.SigningAlgorithm != string(kmskey.ECDSASHA384) {
					t.Errorf("%+v, %v", d, err)
				}
				if d, err := w.verify(t, ask(newSigner(kmskey.ECCNISTP384))); err == nil || d.KeyARN != arnNow {
					t.Errorf("another key's signature: %+v, %v", d, err)
				}
				w.block(t, keystore.Block{KeyID: arnThen, Reason: "lost"})
				if d, err := w.verify(t, ask(then)); err == nil || d.KeyARN != arnNow {
					t.Errorf("the former key is blocked: %+v, %v", d, err)
				}
			})
		}
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

// TestExplainFormers: policy show says for every key that an alias meant before what decides, which another key's grant does
// not.
func TestExplainFormers(t *testing.T) {
	message := []byte("signed before the alias moved")
	const release = "arn:aws:kms:us-east-1:111122223333:alias/release"
	for _, c := range []struct {
		list   string
		grants []string
		stands bool
	}{
		{"false", []string{release}, true}, {"false", []string{arnThen}, true}, {"false", []string{arnNow}, false},
		{"true", []string{release, arnNow}, false}, {"true", []string{release, arnThen}, true},
	} {
		w, then, _ := rotated(t)
		text := `{"version":"1","allowList":` + c.list + `,"grants":[{"name":"history","keys":["` + strings.Join(c.grants, `","`) + `"],"aliasHistory":"any","verify":true}]}`
		if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := New(Config{Store: w.v.cfg.Store, Policy: must(policy.Load(policy.Options{Home: w.home.Path})), Now: func() time.Time { return w.now }})
		if err != nil {
			t.Fatal(err)
		}
		e, err := v.ExplainPolicy("alias/release")
		if err != nil || e.ARN.String() != arnNow || len(e.Formers) != 1 || e.Formers[0].ARN.String() != arnThen {
			t.Fatalf("%v, %+v", err, e)
		}
		says := func(member, value string) bool {
			return slices.ContainsFunc(e.Formers[0].Effects, func(e policy.Effect) bool { return e.Member == member && strings.HasPrefix(e.Value, value) })
		}
		explained := says("aliasHistory", "any") && says("verify", "allowed")
		_, err = v.Verify(t.Context(), request("alias/release", then, kmskey.RSASSAPKCS1SHA256, message))
		if explained != c.stands || (err == nil) != c.stands {
			t.Errorf("%+v: explained as %t, decided %v", c, explained, err)
		}
		if e, err := v.ExplainPolicy(arnNow); err != nil || e.Formers != nil {
			t.Errorf("%v, %+v", err, e)
		}
		w.write(t, func(writer *keystore.Writer) error {
			_, err := writer.Remove(must(kmskey.ParseRef(arnThen)))
			return err
		})
		if e, err := v.ExplainPolicy("alias/release"); err != nil || e.Formers != nil {
			t.Errorf("%v, %+v", err, e)
		}
	}
}

// What is known of another alias may be too old: that of which the history is granted is not that one.
func TestExplainFormersBesideAStaleAlias(t *testing.T) {
	w, then, _ := rotated(t, seen("2026-11-23T00:00:00Z"))
	release := kmskey.AliasARN{Scope: must(kmskey.ParseARN(arnThen)).Scope, Alias: "alias/release"}
	w.write(t, func(writer *keystore.Writer) error {
		old, err := writer.Store().Resolve(must(kmskey.ParseRef(arnThen)), keystore.ResolveOptions{})
		if err != nil {
			return err
		}
		_, err = writer.Put(old.Entries[0].Key, keystore.PutOptions{Aliases: []string{"alias/other"}})
		return err
	})
	grant := func(name string, alias kmskey.AliasARN, gives string) string {
		return `{"name":"` + name + `","keys":["` + alias.String() + `"],` + gives + `}`
	}
	for age, c := range map[string]struct {
		unheeded int // aliases: other, which has no date, and release
		history  string
	}{"365d": {1, "any"}, "1d": {2, "current"}} {
		text := `{"version":"1","allowList":false,"grants":[` + grant("history", release, `"aliasHistory":"any"`) + `,` + grant("other", aliasNamed("other"), `"verify":true`) + `],
			"restrictions":[{"name":"age","maxSnapshotAge":"` + age + `"}]}`
		w.v = w.under(t, text)
		e, err := w.v.ExplainPolicy("alias/release")
		if err != nil || len(e.Formers) != 1 || len(e.Formers[0].Unheeded) != c.unheeded || !slices.ContainsFunc(e.Formers[0].Effects, func(e policy.Effect) bool {
			return e.Member == "aliasHistory" && strings.HasPrefix(e.Value, c.history)
		}) {
			t.Errorf("%s: %v, %+v", age, err, e)
		}
		_, err = w.v.Verify(t.Context(), request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("m")))
		if (err == nil) != (c.history == "any") {
			t.Errorf("%s: %v", age, err)
		}
	}
}

// TestHistoryByAnotherAlias: a grant of a key's history holds by whichever alias means the key now, as every grant does, and
// no longer than that is known.
func TestHistoryByAnotherAlias(t *testing.T) {
	message := []byte("signed before the alias moved")
	fresh := seen("2026-11-23T00:00:00Z")
	w, then, now := rotated(t, fresh)
	other := aliasNamed("other")
	w.write(t, func(writer *keystore.Writer) error {
		if _, err := writer.Put(record(t, arnNow, now, fresh), keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: at("2026-11-23T00:00:00Z")}); err != nil {
			return err
		}
		_, err := writer.Put(record(t, arnThen, then, fresh), keystore.PutOptions{Aliases: []string{other.Alias}, AliasTime: at("2026-01-02T00:00:00Z")})
		return err
	})
	for _, c := range []struct {
		grant, age string
		name       kmserr.Name
		says       string
	}{
		{other.String(), "365d", "", ""},
		{other.String(), "30d", kmserr.SnapshotExpired, "the alias stands for the key by what it meant before, and no grant holds by " + other.String()},
		{arnNow, "365d", kmserr.KeyMaterialMismatch, ""},
	} {
		v := w.under(t, `{"version":"1","grants":[{"name":"history","keys":["`+c.grant+`"],"aliasHistory":"any","aliasHistoryForNotation":true}],
			"restrictions":[{"name":"age","maxSnapshotAge":"`+c.age+`"}]}`)
		stands := c.name == ""
		_, err := v.AuthorizeKey(t.Context(), KeyRequest{KeyID: "alias/release", PublicKey: then.der})
		if stands && err != nil {
			t.Errorf("%+v: %v", c, err)
		} else if !stands {
			refused(t, err, c.name, c.says)
		}
		if _, err := v.Verify(t.Context(), request("alias/release", then, kmskey.RSASSAPKCS1SHA256, message)); (err == nil) != stands {
			t.Errorf("%+v: %v", c, err)
		}
		e, err := v.ExplainPolicy("alias/release")
		if err != nil || len(e.Formers) != 1 || slices.ContainsFunc(e.Formers[0].Effects, func(e policy.Effect) bool {
			return e.Member == "aliasHistory" && strings.HasPrefix(e.Value, "any")
		}) != stands {
			t.Errorf("%+v: %v, %+v", c, err, e)
		}
		current, once, err := v.IdentityKeys("alias/release")
		want := map[bool][2]int{true: {2, 0}, false: {1, 1}}[stands]
		if err != nil || len(current) != want[0] || len(once) != want[1] || current[0].ARN().String() != arnNow || append(current, once...)[1].ARN().String() != arnThen {
			t.Errorf("%+v: %v, %v, %v", c, current, once, err)
		}
	}
}

// TestFormerLosesItsGrantMeanwhile: a former key is one no more where the alias by which it was allowed has moved between two looks.
func TestFormerLosesItsGrantMeanwhile(t *testing.T) {
	w, then, _ := rotated(t)
	looks := 0
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		if s.Former {
			looks++
		}
		return policy.Rules{AllowAliasHistory: s.Former && looks == 1, AllowAliasHistoryForNotation: s.Former && looks == 1}, nil
	}
	_, err := w.authorize(t, KeyRequest{KeyID: "alias/release", PublicKey: then.der})
	refused(t, err, kmserr.KeyNotAllowed, "no grant lets alias/release stand for the key that it meant before")
	looks = 0
	r := request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("m"))
	r.DefaultAlgorithms, r.SigningAlgorithm = []kmskey.SigningAlgorithm{kmskey.RSASSAPKCS1SHA256}, ""
	_, err = w.verify(t, r)
	refused(t, err, kmserr.InvalidSignature)
	if looks != 2 {
		t.Errorf("the policy was asked %d times about the former key, expected 2", looks)
	}
	// It was asked, so there is nothing to ask by another name.
	if e := kmserr.As(err); strings.Contains(e.Hint, "meant the key") {
		t.Errorf("the hint is %q", e.Hint)
	}
}

// TestMovedAtNoKnownTime: an alias that moved by an import without a date says no date.
func TestMovedAtNoKnownTime(t *testing.T) {
	then, now := newSigner(kmskey.ECCNISTP256), newSigner(kmskey.ECCNISTP256)
	old, current := record(t, arnThen, then), record(t, arnNow, now)
	w := newWorld(t, old, current)
	for _, key := range []*kmskey.Key{old, current} {
		w.write(t, func(writer *keystore.Writer) error {
			_, err := writer.Put(key, keystore.PutOptions{Aliases: []string{"alias/release"}, MoveAlias: true})
			return err
		})
	}
	_, err := w.verify(t, request("alias/release", then, kmskey.ECDSASHA256, []byte("m")))
	refused(t, err, kmserr.InvalidSignature, " Once alias/release meant the key "+must(kmskey.ParseARN(arnThen)).KeyID+": ")
}

// TestIdentityKeys: what stands for no key is an error, and a key that the alias meant before counts only with a record.
func TestIdentityKeys(t *testing.T) {
	w, _, _ := rotated(t)
	_, _, err := w.v.IdentityKeys("arn:aws:kms:us-east-1:111122223333:alias/none")
	refused(t, err, kmserr.NotFound)
	_, _, err = new(Verifier).IdentityKeys(arnNow)
	refused(t, err, kmserr.Internal)
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Remove(must(kmskey.ParseRef(arnThen)))
		return err
	})
	if now, once, err := w.v.IdentityKeys("alias/release"); err != nil || len(now) != 1 || len(once) != 0 {
		t.Errorf("%v, %v, %v", now, once, err)
	}
}

// under returns a verifier of the world's store under a policy file.
func (w *world) under(t *testing.T, text string) *Verifier {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := New(Config{Store: w.v.cfg.Store, Policy: must(policy.Load(policy.Options{Home: w.home.Path})), Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestHistoryOfAStaleAlias: that an alias stands for what it meant before is known as of the alias's date, so a grant of its
// history ends with it, as every other grant by the alias does, also where Notation lets age fail nothing.
func TestHistoryOfAStaleAlias(t *testing.T) {
	fresh := seen("2026-11-23T00:00:00Z")
	w, then, now := rotated(t, fresh)
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Put(record(t, arnNow, now, fresh), keystore.PutOptions{})
		return err
	})
	keyGrant := func(arn string) string { return `{"name":"` + arn + `","keys":["` + arn + `"],"verify":true}` }
	for age, name := range map[string]kmserr.Name{"365d": "", "30d": kmserr.SnapshotExpired} {
		v := w.under(t, `{"version":"1","allowList":true,"notation":{"whenRevocationSkipped":"ignore"},"grants":[
			{"name":"history","keys":["arn:aws:kms:us-east-1:111122223333:alias/release"],"verify":true,"aliasHistory":"any","aliasHistoryForNotation":true},
			`+keyGrant(arnThen)+`],"restrictions":[{"name":"age","maxSnapshotAge":"`+age+`"}]}`)
		for _, s := range []*signer{then, now} {
			for _, req := range []KeyRequest{{RevocationSkipped: true}, {SeparateState: true}, {}} {
				req.KeyID, req.PublicKey = "alias/release", s.der
				a, err := v.AuthorizeKey(t.Context(), req)
				switch {
				case name == "" && (err != nil || a.StateError() != nil):
					t.Errorf("%s, separate %t, skipped %t: %v", age, req.SeparateState, req.RevocationSkipped, err)
				case name != "":
					refused(t, err, name, map[*signer]string{then: "the alias stands for the key by what it meant before, and ", now: "the policy allows the key by an alias alone, and "}[s]+
						"no grant holds by arn:aws:kms:us-east-1:111122223333:alias/release")
				}
			}
		}
		// By its own name the key is allowed by a grant of its own.
		if _, err := v.AuthorizeKey(t.Context(), KeyRequest{KeyID: arnThen, PublicKey: then.der}); err != nil {
			t.Errorf("%s: %v", age, err)
		}
	}
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

// TestFormerOfAnUncheckedStore: that nobody asked who could write the store is said of a former key too, once.
func TestFormerOfAnUncheckedStore(t *testing.T) {
	w, then, _ := rotated(t)
	w.aliasHistory(true, arnThen)
	store, err := keystore.Open(w.home, keystore.Options{UnsafePermissions: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w.v.cfg.Store = store
	d, err := w.verify(t, request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("m")))
	if err != nil || d.KeyARN != arnThen {
		t.Fatalf("%+v, %v", d, err)
	}
	a, err := w.authorize(t, KeyRequest{KeyID: "alias/release", PublicKey: then.der})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []audit.Decision{d, a.Decision(), w.log.lines[0], w.log.lines[1]} {
		if got := strings.Join(d.Warnings, "\n"); strings.Count(got, "was not asked") != 1 || strings.Count(got, "meant until") != 1 || d.Options[optionUnsafeStore] != "true" {
			t.Errorf("options %v, warnings:\n%s", d.Options, got)
		}
	}
}

// A former key's record that is damaged, or is not what it is asked for, ends it: the store is not to be relied on.
func TestDamagedFormer(t *testing.T) {
	w, then, _ := rotated(t)
	w.aliasHistory(true, arnThen)
	path := filepath.Join(w.home.Path, "keys", "aws", "us-east-1", "111122223333")
	other := must(os.ReadFile(filepath.Join(path, strings.TrimPrefix(arnNow, "arn:aws:kms:us-east-1:111122223333:key/")+".json")))
	for name, content := range map[string][]byte{"is damaged": other[:100], "is that of " + arnNow: other} {
		file := filepath.Join(path, strings.TrimPrefix(arnThen, "arn:aws:kms:us-east-1:111122223333:key/")+".json")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := w.authorize(t, KeyRequest{KeyID: "alias/release", PublicKey: then.der})
		if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: AuthorizeKey: %v", name, err)
		}
		_, err = w.verify(t, request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("m")))
		if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Verify: %v", name, err)
		}
	}
}

// A failure ends the search among former keys, wherever it is, and what no key can be asked is refused.
func TestFailureEndsTheSearch(t *testing.T) {
	message := []byte("signed before the alias moved")
	for name, c := range map[string]struct {
		change func(w *world, req *Request)
		want   kmserr.Name
	}{
		"the policy cannot tell of the key that is meant now": {func(w *world, _ *Request) {
			granted := w.policy.rules
			w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
				if !s.Former {
					return policy.Rules{}, io.ErrUnexpectedEOF
				}
				return granted(s)
			}
		}, kmserr.PolicyInvalid},
		"the call makes no sense": {func(_ *world, req *Request) { req.MessageType = "none" }, kmserr.Validation},
		"the policy cannot tell of a former key, asked again": {func(w *world, _ *Request) {
			granted, asked := w.policy.rules, 0
			w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
				if s.Former {
					if asked++; asked > 1 {
						return policy.Rules{}, io.ErrUnexpectedEOF
					}
				}
				return granted(s)
			}
		}, kmserr.PolicyInvalid},
		"there is no message": {func(_ *world, req *Request) { req.Message = nil }, kmserr.Validation},
		"the message is gone": {func(_ *world, req *Request) { req.Message = oneByOne{failing{}} }, kmserr.Validation},
		"its reader says why": {func(_ *world, req *Request) {
			req.Message = oneByOne{readerFunc(func([]byte) (int, error) { return 0, kmserr.New(kmserr.DeadlineExceeded, "late") })}
		}, kmserr.DeadlineExceeded},
		"it never comes": {func(_ *world, req *Request) {
			req.Message = readerFunc(func([]byte) (int, error) { return 0, nil })
		}, kmserr.Validation},
		"the message fails once, and is there then": {func(_ *world, req *Request) { req.Message = oneByOne{failingOnce(message, io.ErrNoProgress)} }, kmserr.Validation},
		"its reader says why once": {func(_ *world, req *Request) {
			req.Message = oneByOne{failingOnce(message, kmserr.New(kmserr.DeadlineExceeded, "late"))}
		}, kmserr.DeadlineExceeded},
		"it cannot be read anew": {func(_ *world, req *Request) { req.Message = &onceSeeker{Reader: bytes.NewReader(message)} }, kmserr.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			w, then, _ := rotated(t)
			w.aliasHistory(false, arnThen)
			req := request("alias/release", then, kmskey.RSASSAPKCS1SHA256, message)
			req.DefaultAlgorithms, req.SigningAlgorithm = []kmskey.SigningAlgorithm{kmskey.RSASSAPKCS1SHA256}, ""
			if _, err := w.verify(t, req); err != nil {
				t.Fatal(err)
			}
			req.Message = bytes.NewReader(message)
			c.change(w, &req)
			_, err := w.verify(t, req)
			refused(t, err, c.want)
		})
	}
	// Whoever gave up is not kept until a message has come that has no end.
	w, then, _ := rotated(t)
	w.aliasHistory(false, arnThen)
	ctx, cancel := context.WithCancel(t.Context())
	req := request("alias/release", then, kmskey.RSASSAPKCS1SHA256, message)
	req.Message = readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	_, err := w.verifyWith(t, ctx, req)
	refused(t, err, kmserr.DeadlineExceeded)
	// What can be read anew is not held, however long; what is held may be as long as the limit.
	w, then, _ = rotated(t)
	w.aliasHistory(false, arnThen)
	for limit, reader := range map[int64]io.Reader{1: bytes.NewReader(message), int64(len(message)): oneByOne{bytes.NewReader(message)}} {
		w.v.cfg.MaxMessage = limit
		req := request("alias/release", then, kmskey.RSASSAPKCS1SHA256, message)
		req.DefaultAlgorithms, req.SigningAlgorithm, req.Message = []kmskey.SigningAlgorithm{kmskey.RSASSAPKCS1SHA256}, "", reader
		if _, err := w.verify(t, req); err != nil {
			t.Errorf("a limit of %d: %v", limit, err)
		}
	}
}

// failingOnce reads a message, but for the first time.
func failingOnce(message []byte, err error) io.Reader {
	rest, failed := bytes.NewReader(message), false
	return readerFunc(func(p []byte) (int, error) {
		if !failed {
			failed = true
			return 0, err
		}
		return rest.Read(p)
	})
}

// onceSeeker tells where it is, and cannot go back.
type onceSeeker struct {
	*bytes.Reader
	asked bool
}

func (s *onceSeeker) Seek(offset int64, whence int) (int64, error) {
	if s.asked {
		return 0, io.ErrClosedPipe
	}
	s.asked = true
	return s.Reader.Seek(offset, whence)
}

// Of a long history so many keys are looked at, the newest first and each once, and never the one that is meant now.
func TestFormersAreBounded(t *testing.T) {
	s := newSigner(kmskey.ECCNISTP256)
	arn := func(i int) string {
		return fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-0000-4000-8000-%012d", i)
	}
	var keys []*kmskey.Key
	var granted []string
	for i := range maxFormers + 3 {
		keys, granted = append(keys, record(t, arn(i), s)), append(granted, arn(i))
	}
	w := newWorld(t, keys...)
	w.alias(t, keys[0], at("2026-01-01T00:00:00Z"))
	d := w.v.newDecision(audit.EventVerify, aliasA)
	if err := w.v.resolve(d, aliasA); err != nil {
		t.Fatal(err)
	}
	w.aliasHistory(false, granted...)
	for range 2 { // each twice
		for _, key := range keys {
			d.found.Alias.History = append(d.found.Alias.History, keystore.AliasHistory{KeyID: key.ARN().KeyID})
		}
	}
	formers, err := w.v.formers(d, allowsHistory)
	if err != nil || len(formers) != maxFormers {
		t.Fatalf("%d formers, %v", len(formers), err)
	}
	for i, former := range formers {
		if want := keys[len(keys)-1-i].ARN(); former.found.Target != want {
			t.Errorf("former %d is %s, expected %s", i, former.found.Target, want)
		}
	}
	// A grant less lets no older key in.
	w.aliasHistory(false, granted[:len(granted)-1]...)
	if formers, err := w.v.formers(d, allowsHistory); err != nil || len(formers) != maxFormers-1 || formers[len(formers)-1].found.Target != keys[3].ARN() {
		t.Errorf("%d formers, %v", len(formers), err)
	}
	w.aliasHistory(false, granted...)
	d.found.Alias.History = []keystore.AliasHistory{{KeyID: keys[0].ARN().KeyID}, {KeyID: keys[1].ARN().KeyID}, {KeyID: keys[1].ARN().KeyID}}
	if formers, err := w.v.formers(d, allowsHistory); err != nil || len(formers) != 1 {
		t.Errorf("%d formers, %v", len(formers), err)
	}
	// What is answered for a former key is checked to be it.
	other, err := w.v.cfg.Store.Resolve(must(kmskey.ParseRef(arn(2))), keystore.ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := &view{Store: w.v.cfg.Store, lastLine: func() time.Time { return time.Time{} }}
	seen.resolved.answers = map[resolveKey]remembered[*keystore.Resolution]{
		{ref: must(kmskey.ParseRef(arn(1))), opts: keystore.ResolveOptions{ExactRegion: true, Terse: true}}: {value: other},
	}
	w.v.seen = seen
	_, err = w.v.formers(d, allowsHistory)
	refused(t, err, kmserr.StoreIntegrity, "the store answered to "+arn(1))
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
	w.v.cfg.Log = datedLog{w.log, w.now.Add(ClockTolerance), nil}
	if _, err := w.verify(t, ask()); err != nil {
		t.Error(err)
	}
	w.v.cfg.Log = datedLog{w.log, w.now.Add(6 * time.Minute), io.ErrUnexpectedEOF}
	if _, err := w.verify(t, ask()); err != nil {
		t.Error(err)
	}
}

func aliasNamed(name string) kmskey.AliasARN {
	return kmskey.AliasARN{Scope: must(kmskey.ParseARN(arnNow)).Scope, Alias: "alias/" + name}
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
		"no type":  {rules: policy.Rules{MessageTypes: []kmskey.MessageType{}}, refusal: kmserr.AlgorithmNotAllowed},
		"digests":  {rules: policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}}},
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

	// A grant by alias ends with what is known of the alias, if the key needs it.
	for name, c := range map[string]struct {
		others []kmskey.AliasARN // grants by these are enough, too
		state  kmskey.KeyState
		until  string
	}{
		"by one alias":              {until: "2026-11-30T00:00:00Z"},
		"a state by one alias":      {state: kmskey.StateDisabled, until: "2026-11-30T00:00:00Z"},
		"by another alias as well":  {others: []kmskey.AliasARN{aliasNamed("later")}, until: "2026-12-01T00:00:00Z"},
		"by an older one as well":   {others: []kmskey.AliasARN{aliasNamed("sooner")}, until: "2026-11-30T00:00:00Z"},
		"by the key's ARN, as well": {others: []kmskey.AliasARN{{}}, until: "2026-12-03T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			key := record(t, arnNow, s, seen("2026-11-23T00:00:00Z"), state(cmp.Or(c.state, kmskey.StateEnabled)), func(r *kmskey.Record) { r.Snapshot.StateTime = r.Snapshot.Time })
			w := newWorld(t, key)
			w.write(t, func(writer *keystore.Writer) error {
				for name, when := range map[string]string{"release": "2026-11-20T00:00:00Z", "later": "2026-11-21T00:00:00Z", "sooner": "2026-11-19T00:00:00Z"} {
					if _, err := writer.Put(key, keystore.PutOptions{Aliases: []string{"alias/" + name}, AliasTime: at(when)}); err != nil {
						return err
					}
				}
				return nil
			})
			enough := slices.Concat(c.others, []kmskey.AliasARN{aliasNamed("release")})
			w.policy.aliases = []kmskey.AliasARN{aliasNamed("release"), aliasNamed("later"), aliasNamed("sooner")}
			w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
				r := policy.Rules{MaxSnapshotAge: 240 * time.Hour}
				for _, a := range append(s.Aliases, kmskey.AliasARN{}) {
					if slices.Contains(enough, a) {
						r.KeyStates = []kmskey.KeyState{kmskey.StateEnabled, kmskey.StateDisabled}
						return r, nil
					}
				}
				if c.state == "" {
					r.Excluded = "is not on the list"
				}
				return r, nil
			}
			o, err := w.v.Outlook(t.Context(), arnNow)
			if err != nil || o.Refusal != nil || !o.Until.Equal(at(c.until).Time) {
				t.Fatalf("%v, %+v, expected an end on %s", err, o, c.until)
			}
			for _, moment := range []struct {
				now time.Time
				yes bool
			}{{o.Until, true}, {o.Until.Add(time.Second), false}} {
				w.now = moment.now
				if _, err := w.verify(t, request(arnNow, s, kmskey.ECDSASHA256, []byte("m"))); (err == nil) != moment.yes {
					t.Errorf("at %s: %v", moment.now, err)
				}
			}
		})
	}

	// The first end counts, whatever comes first; and what cannot be told is no outlook.
	for notAfter, because := range map[string]string{"2026-11-30T00:00:00Z": "notAfter", "2026-12-30T00:00:00Z": "DeletionDate"} {
		w := newWorld(t, record(t, arnNow, s, state(kmskey.StateEnabled), deleted("2026-12-10T00:00:00Z"), validTo("2027-01-01T00:00:00Z")))
		w.rules(policy.Rules{NotAfter: at(notAfter).Time})
		if o, err := w.v.Outlook(t.Context(), arnNow); err != nil || !strings.Contains(o.Because, because) {
			t.Errorf("%s: %+v, %v", notAfter, o, err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if o, err := w.v.Outlook(over, arnNow); o != nil || !kmserr.Is(err, kmserr.DeadlineExceeded) {
			t.Errorf("%v, %v", o, err)
		}
		w.rules(policy.Rules{Excluded: "is excluded"})
		if o, err := w.v.Outlook(over, arnNow); o != nil || !kmserr.Is(err, kmserr.DeadlineExceeded) {
			t.Errorf("%v, %v", o, err)
		}
		w.policy.rules = func(policy.Subject) (policy.Rules, error) { return policy.Rules{}, io.ErrUnexpectedEOF }
		if o, err := w.v.Outlook(t.Context(), arnNow); o != nil || !kmserr.Is(err, kmserr.PolicyInvalid) {
			t.Errorf("%v, %v", o, err)
		}
	}
}
