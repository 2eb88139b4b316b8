package policy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// now is when every decision is taken; the records are ten hours older.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func record(keyARN string, der []byte, state kmskey.KeyState, aliases ...string) *kmskey.Key {
	spec := must2(kmskey.FingerprintDER(der))
	r := kmskey.Record{KeyID: keyARN, PublicKey: der, KeySpec: spec, KeyUsage: kmskey.SignVerify, SigningAlgorithms: spec.SigningAlgorithms(), Aliases: aliases}
	r.Snapshot.Time = kmskey.Time{Time: now.Add(-10 * time.Hour)}
	r.Snapshot.Source = kmskey.SourceFile
	if state != kmskey.StateUnknown {
		enabled := state == kmskey.StateEnabled
		r.KeyMetadata = &kmskey.KeyMetadata{KeyState: state, Enabled: &enabled}
		r.Snapshot.StateTime = r.Snapshot.Time
	}
	return must(kmskey.NewKey(r))
}

func must2(_ string, spec kmskey.KeySpec, err error) kmskey.KeySpec { return must(spec, err) }

// keptLog takes every line, as a policy may require.
type keptLog struct{}

func (keptLog) Append(context.Context, audit.Decision) error { return nil }
func (keptLog) Required() bool                               { return true }

// TestStricterNeverVerifiesMore is the property of the rules, at the level of whole decisions: a policy that says more
// restrictions or fewer grants turns no refusal into a success. The distinguishing ID is named by the caller.
func TestStricterNeverVerifiesMore(t *testing.T) {
	message := []byte("message")
	ecdsaKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ecdsaDER := must(x509.MarshalPKIXPublicKey(&ecdsaKey.PublicKey))
	digest := sha256.Sum256(message)
	ecdsaSignature := must(ecdsa.SignASN1(rand.Reader, ecdsaKey, digest[:]))

	sm2Key := must(sm2.GenerateKey(rand.Reader))
	point := must(sm2.PublicKeyToECDH(&sm2Key.PublicKey)).Bytes()
	type algorithm struct{ Algorithm, Curve asn1.ObjectIdentifier }
	sm2DER := must(asn1.Marshal(struct {
		Algorithm algorithm
		Key       asn1.BitString
	}{algorithm{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}}, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}}))
	sm2Signature := func(id string) []byte {
		return must(sm2Key.SignWithSM2(rand.Reader, []byte(id), message))
	}

	dir := must(filepath.EvalSymlinks(t.TempDir()))
	home, machine := filepath.Join(dir, "home"), filepath.Join(dir, "machine")
	if err := os.Mkdir(machine, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	named := func(keyID, id string) func(*verifier.Verifier) error {
		signature, wanted := sm2Signature(id), must(kmskey.ParseDistinguishingID(id))
		return func(v *verifier.Verifier) error {
			_, err := v.Verify(ctx, verifier.Request{KeyID: keyID, Message: bytes.NewReader(message), Signature: signature, DistinguishingID: wanted})
			return err
		}
	}
	plain := func(input []byte, typ kmskey.MessageType) func(*verifier.Verifier) error {
		return func(v *verifier.Verifier) error {
			_, err := v.Verify(ctx, verifier.Request{KeyID: policy.TestKeyB, Message: bytes.NewReader(input), MessageType: typ, Signature: ecdsaSignature})
			return err
		}
	}
	authorize := func(req verifier.KeyRequest) func(*verifier.Verifier) error {
		req.WithoutPublicKey = req.PublicKey == nil
		return func(v *verifier.Verifier) error {
			_, err := v.AuthorizeKey(ctx, req)
			return err
		}
	}
	const mrk = ":111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	east, west, europe := "arn:aws:kms:us-east-1"+mrk, "arn:aws:kms:us-west-2"+mrk, "arn:aws:kms:eu-west-1"+mrk
	ofA, ofB := must(kmskey.ParseARN(policy.TestKeyA)), must(kmskey.ParseARN(policy.TestKeyB))
	plainBy := func(keyID string) func(*verifier.Verifier) error {
		return func(v *verifier.Verifier) error {
			_, err := v.Verify(ctx, verifier.Request{KeyID: keyID, Message: bytes.NewReader(message), Signature: ecdsaSignature})
			return err
		}
	}
	questions := map[string]func(*verifier.Verifier) error{
		"fallback":              plainBy(west),
		"a replica":             plainBy(east),
		"SM2, moved":            named(policy.TestMoved, policy.TestPin),
		"by a former alias":     plainBy("alias/moved"),
		"AuthorizeKey, former":  authorize(verifier.KeyRequest{KeyID: policy.TestMoved, PublicKey: ecdsaDER, SigningAlgorithm: kmskey.ECDSASHA256, MessageType: kmskey.Raw}),
		"AuthorizeKey, skipped": authorize(verifier.KeyRequest{KeyID: policy.TestAliasA, RevocationSkipped: true}),
		"AuthorizeKey, apart":   authorize(verifier.KeyRequest{KeyID: policy.TestAliasA, SeparateState: true}),
		"SM2, the pinned ID":    named(policy.TestKeyA, policy.TestPin),
		"SM2, another ID":       named(policy.TestKeyA, "Y"),
		"SM2, by alias":         named(policy.TestAliasA, policy.TestPin),
		"SM2, by key ID":        named("1234abcd-12ab-34cd-56ef-1234567890ab", policy.TestPin),
		"ECDSA, message":        plain(message, kmskey.MessageTypeUnset),
		"ECDSA, digest":         plain(digest[:], kmskey.Digest),
		"AuthorizeKey":          authorize(verifier.KeyRequest{KeyID: policy.TestKeyB, PublicKey: ecdsaDER}),
		"AuthorizeKey, by name": authorize(verifier.KeyRequest{KeyID: "alias/release"}),
		"AuthorizeKey, state":   authorize(verifier.KeyRequest{KeyID: policy.TestKeyB, SeparateState: true}),
	}

	random := mathrand.New(mathrand.NewPCG(5, 6))
	yes, turned, excluded := 0, 0, map[bool]int{}
	asked, foreseen := map[string]int{}, map[string]int{}
	for round := range 150 {
		if round%30 == 0 { // with other key states
			if err := os.RemoveAll(home); err != nil {
				t.Fatal(err)
			}
			states := []kmskey.KeyState{kmskey.StateEnabled, kmskey.StateUnknown, kmskey.StateDisabled}
			w := must(keystore.OpenWriter(keystore.Home{Path: home, ChosenBy: "test"}, keystore.Options{}))
			must(w.Put(record(policy.TestKeyA, sm2DER, states[round/30%3], "alias/release"), keystore.PutOptions{}))
			must(w.Put(record(policy.TestKeyB, ecdsaDER, states[(round/30+2)%3]), keystore.PutOptions{}))
			must(w.Put(record(east, ecdsaDER, kmskey.StateEnabled), keystore.PutOptions{}))
			must(w.Put(record(europe, ecdsaDER, states[round/30%3]), keystore.PutOptions{}))
			// What is known of this alias is older than anything else, so that some limits exclude it alone.
			yesterday := kmskey.Time{Time: now.Add(-30 * time.Hour)}
			must(w.Put(record(policy.TestKeyB, ecdsaDER, kmskey.StateUnknown), keystore.PutOptions{Aliases: []string{"alias/moved"}, AliasTime: yesterday}))
			must(w.MoveAlias(kmskey.AliasARN{Scope: ofB.Scope, Alias: "alias/moved"}, ofA.KeyID, kmskey.Time{Time: yesterday.Add(time.Hour)}))
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		before, after, how := policy.RandomPair(random)
		answers := func(texts [2]string) map[string]error {
			for i, folder := range []string{machine, home} {
				path := filepath.Join(folder, policy.FileName)
				err := os.Remove(path)
				if texts[i] != "" {
					err = os.WriteFile(path, []byte(texts[i]), 0o600)
				}
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			rules := must(policy.Load(policy.Options{Home: home, MachineFolder: machine}))
			store := must(keystore.Open(keystore.Home{Path: home, ChosenBy: "test"}, keystore.Options{StrictPermissions: rules.Store().StrictPermissions}))
			defer store.Close()
			clock := now
			v := must(verifier.New(verifier.Config{Store: store, Policy: rules, Log: keptLog{}, Now: func() time.Time { return clock }}))
			out := map[string]error{}
			for name, ask := range questions {
				out[name] = ask(v)
				if kmserr.Is(out[name], kmserr.Internal) {
					t.Fatal(out[name])
				}
			}
			// What is explained is what decides.
			for name, keyID := range map[string]string{"fallback": west, "a replica": east, "ECDSA, message": policy.TestKeyB} {
				explained, err := v.ExplainPolicy(keyID)
				if err != nil {
					if out[name] == nil {
						t.Fatalf("%s verifies, and cannot be explained: %v", keyID, err)
					}
					continue
				}
				refused := false
				for _, e := range append([]verifier.PolicyExplanation{*explained}, explained.Replicas...) {
					refused = refused || strings.HasPrefix(e.Effects[0].Value, "refused")
				}
				byList := out[name] != nil && (strings.Contains(out[name].Error(), "list of allowed keys") || strings.Contains(out[name].Error(), "by an alias alone"))
				if refused && out[name] == nil || byList && !refused {
					t.Fatalf("of %s it is explained that the list refuses it: %t, and %v\n%s", keyID, refused, out[name], texts)
				}
				excluded[refused]++
			}
			// What is foreseen is what is so: of a key that the outlook refuses nothing verifies, of another one something does,
			// up to the moment that it names.
			for keyID, asked := range map[string][]string{policy.TestKeyB: {"ECDSA, message", "ECDSA, digest"}, policy.TestMoved: {"SM2, moved"}, policy.TestKeyA: {"SM2, the pinned ID"}} {
				verifies := func() bool {
					return slices.ContainsFunc(asked, func(name string) bool { return questions[name](v) == nil })
				}
				outlook := must(v.Outlook(ctx, keyID))
				if got := verifies(); got && outlook.Refusal != nil || !got && outlook.Refusal == nil && keyID == policy.TestKeyB {
					t.Fatalf("%s verifies: %t, and the outlook is %v\n%s", keyID, got, outlook.Refusal, texts)
				}
				if outlook.Until.IsZero() || !verifies() {
					continue
				}
				foreseen[keyID]++
				for _, moment := range []struct {
					at  time.Time
					yes bool
				}{{outlook.Until.Add(-time.Second), true}, {outlook.Until.Add(time.Second), false}} {
					if clock = moment.at; verifies() != moment.yes {
						t.Fatalf("%s is to end on %s (%s); on %s it verifies: %t\n%s", keyID, outlook.Until, outlook.Because, moment.at, !moment.yes, texts)
					}
				}
				clock = now
			}
			return out
		}
		first, then := answers(before), answers(after)
		for name := range questions {
			if first[name] != nil && then[name] == nil {
				t.Fatalf("%s: %s turned %v into a success\nbefore: %s\nafter:  %s", name, how, first[name], before, after)
			}
			if first[name] == nil {
				yes++
				asked[name]++
				if then[name] != nil {
					turned++
				}
			}
		}
	}
	if foreseen[policy.TestKeyB] < 5 || foreseen[policy.TestMoved] < 5 || foreseen[policy.TestKeyA] < 5 {
		t.Errorf("ends foreseen: %v: the test looks at too little", foreseen)
	}
	if yes < 100 || turned < 20 || excluded[true] < 20 || excluded[false] < 20 {
		t.Errorf("%d successes, of which %d turned into refusals, excluded %v: the test looks at too little", yes, turned, excluded)
	}
	for name := range questions {
		if asked[name] == 0 {
			t.Errorf("%s was never a success: the test looks at too little", name)
		}
	}
	t.Logf("%d successes, of which %d turned into refusals", yes, turned)
}
