package notation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what goes over the wire, byte for byte but for its indentation and the home's path.
func golden(t *testing.T, name, home string, got []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(got), "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	text := indented.String()
	if home != "" {
		escaped := string(must(json.Marshal(home)))
		text = strings.ReplaceAll(text, escaped[1:len(escaped)-1], "HOME")
	}
	path := filepath.Join("testdata", "golden", name+".json")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with -update)", err)
	}
	if text != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs, got\n%s\nexpected\n%s", path, text, want)
	}
}

func TestGolden(t *testing.T) {
	version := buildinfo.Version
	buildinfo.Version = "0.0.0-test"
	t.Cleanup(func() { buildinfo.Version = version })
	t.Run("metadata", func(t *testing.T) {
		out, failure := run(t, "get-plugin-metadata", []byte(`{}`))
		if failure != nil {
			t.Fatal(failure)
		}
		golden(t, "metadata", "", out)
	})
	p256 := known(t, "p256")
	home := newHome(t, p256, known(t, "p256-disabled"), known(t, "p256-mrk.us-east-1"))
	write(t, home, func(w *keystore.Writer) error {
		_, err := w.Put(p256, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: p256.Snapshot().Time})
		return err
	})
	alias := "arn:aws:kms:us-east-1:111122223333:alias/release"
	for name, q := range map[string]question{
		"success":         {leaf: cert("p256"), identities: []string{p256.ARN().String()}, extended: object{KeyARNAttribute: p256.ARN().String()}},
		"success-alias":   {leaf: cert("p256"), identities: []string{alias, "x509.subject:CN=x"}},
		"success-replica": {leaf: cert("p256-mrk"), identities: []string{arnOf(t, "p256-mrk.eu-west-1")}},
		"disabled":        {leaf: cert("p256-disabled"), identities: []string{arnOf(t, "p256-disabled")}},
		"no-match":        {leaf: cert("p256"), identities: []string{arnOf(t, "p256-disabled"), arnOf(t, "rsa2048")}},
		"forms":           {leaf: cert("p256"), identities: []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			q.home = home
			out, failure := run(t, "verify-signature", q.json())
			if failure != nil {
				t.Fatal(failure)
			}
			golden(t, name, home, out)
		})
	}
	none := filepath.Join(home, "none")
	for name, request := range map[string][]byte{
		"error-version": must(json.Marshal(question{home: home, leaf: cert("p256"), identities: []string{alias}}.object().with("contractVersion", "2.0"))),
		"error-store":   question{home: none, leaf: cert("p256"), identities: []string{alias}}.json(),
	} {
		t.Run(name, func(t *testing.T) {
			_, failure := run(t, "verify-signature", request)
			if failure == nil {
				t.Fatal("no error")
			}
			golden(t, name, none, []byte(failure.Error()))
		})
	}
}

// TestEveryKeyOfNotation: each of the six kinds of keys matches with Notation's one algorithm for it.
func TestEveryKeyOfNotation(t *testing.T) {
	algorithms := map[string]kmskey.SigningAlgorithm{
		"rsa2048": kmskey.RSASSAPSSSHA256, "rsa3072": kmskey.RSASSAPSSSHA384, "rsa4096": kmskey.RSASSAPSSSHA512,
		"p256": kmskey.ECDSASHA256, "p384": kmskey.ECDSASHA384, "p521": kmskey.ECDSASHA512,
	}
	for name, algorithm := range algorithms {
		t.Run(name, func(t *testing.T) {
			key := known(t, name, func(r *kmskey.Record) { r.SigningAlgorithms = []kmskey.SigningAlgorithm{algorithm} })
			q := question{home: newHome(t, key), leaf: cert(name), identities: []string{key.ARN().String()}}
			r := ask(t, q)
			for _, c := range []string{identity, revoked} {
				if got := r.VerificationResults[c]; !got.Success || !strings.Contains(got.Reason, key.ARN().String()) || !strings.Contains(got.Reason, "2026-11-23") {
					t.Errorf("%s: %+v", c, got)
				}
			}
			if len(r.ProcessedAttributes) != 0 {
				t.Errorf("processed %v", r.ProcessedAttributes)
			}
			if !strings.HasPrefix(name, "rsa") {
				return
			}
			// The same key without that one algorithm.
			var others []kmskey.SigningAlgorithm
			for _, a := range key.Spec().SigningAlgorithms() {
				if a != algorithm {
					others = append(others, a)
				}
			}
			q.home = newHome(t, known(t, name, func(r *kmskey.Record) { r.SigningAlgorithms = others }))
			r = ask(t, q)
			for _, c := range []string{identity, revoked} {
				if got := r.VerificationResults[c]; got.Success || !strings.Contains(got.Reason, "InvalidKeyUsageException") || !strings.Contains(got.Reason, string(algorithm)) {
					t.Errorf("%s without %s: %+v", c, algorithm, got)
				}
			}
		})
	}
}

// TestTable is design's table of what Notation asks.
func TestTable(t *testing.T) {
	p256, other, disabled := known(t, "p256"), known(t, "p256-other"), known(t, "p256-disabled")
	mrkUS, mrkEU := known(t, "p256-mrk.us-east-1"), known(t, "p256-mrk.eu-west-1")
	arn := p256.ARN().String()
	alias := func(name string) string { return "arn:aws:kms:us-east-1:111122223333:alias/" + name }
	state := func(s kmskey.KeyState, edits ...func(*kmskey.KeyMetadata)) func(*kmskey.Record) {
		return func(r *kmskey.Record) {
			r.KeyMetadata = &kmskey.KeyMetadata{KeyState: s}
			r.Snapshot.StateTime = r.Snapshot.Time
			for _, e := range edits {
				e(r.KeyMetadata)
			}
		}
	}
	aliased := func(name string) func(*kmskey.Record) {
		return func(r *kmskey.Record) { r.Aliases = []string{"alias/" + name} }
	}
	const exact = `{"version":"1","store":{"multiRegion":"exact"}}`
	yes, no := true, false
	for name, c := range map[string]struct {
		keys        []*kmskey.Key
		block       *keystore.Block
		policy      string
		leaf        string
		identities  []string
		only        string // one capability, or both
		extended    object
		trusted     bool
		unrevoked   bool
		says        []string // in the reason of the first that fails, else of the identity
		hides       []string
		processed   *bool
		bothReasons bool
	}{
		"key ARN":                           {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, trusted: true, unrevoked: true, says: []string{arn, "2026-11-23", "source file", "Enabled"}},
		"alias ARN":                         {keys: []*kmskey.Key{known(t, "p256", aliased("release"))}, leaf: "p256", identities: []string{alias("release")}, trusted: true, unrevoked: true, says: []string{arn, alias("release")}},
		"state unknown":                     {keys: []*kmskey.Key{other}, leaf: "p256-other", identities: []string{other.ARN().String()}, trusted: true, unrevoked: true, says: []string{"key state unknown"}},
		"snapshot without a date":           {keys: []*kmskey.Key{known(t, "p256", func(r *kmskey.Record) { r.Snapshot.Time = kmskey.Time{} })}, leaf: "p256", identities: []string{arn}, trusted: true, unrevoked: true, says: []string{"without a date"}},
		"two identities, one key":           {keys: []*kmskey.Key{known(t, "p256", aliased("release"))}, leaf: "p256", identities: []string{alias("release"), arn}, trusted: true, unrevoked: true, says: []string{arn}},
		"absent beside a match":             {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{other.ARN().String(), arn}, trusted: true, unrevoked: true},
		"another key beside a match":        {keys: []*kmskey.Key{p256, other}, leaf: "p256", identities: []string{other.ARN().String(), arn}, trusted: true, unrevoked: true},
		"alias of a key that has no record": {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{alias("nothing"), arn}, trusted: true, unrevoked: true},

		"no match, absent":            {keys: []*kmskey.Key{p256}, leaf: "p256-stranger", identities: []string{arn, other.ARN().String()}, says: []string{"SHA-256 of its public key", arn + " is another key", other.ARN().String() + " is not in the store"}},
		"no match, alias of another":  {keys: []*kmskey.Key{known(t, "p256", aliased("release"))}, leaf: "p256-stranger", identities: []string{alias("release")}, says: []string{alias("release") + " resolved to " + arn}},
		"no match, known elsewhere":   {keys: []*kmskey.Key{p256, other}, leaf: "p256-other", identities: []string{arn}, says: []string{"the store has that key as " + other.ARN().String()}},
		"same subject, another key":   {keys: []*kmskey.Key{p256, other}, leaf: "p256-other", identities: []string{arn}, says: []string{"no trusted identity is the key that signed"}},
		"empty store":                 {leaf: "p256", identities: []string{arn}, says: []string{"is not in the store"}, hides: []string{"the store has that key"}},
		"another spec":                {keys: []*kmskey.Key{p256}, leaf: "rsa2048", identities: []string{arn}, says: []string{"RSA_2048", "another key"}},
		"revocation alone, no match":  {keys: []*kmskey.Key{p256}, leaf: "p256-stranger", identities: []string{arn}, only: revoked, says: []string{"no trusted identity"}},
		"revocation alone, a match":   {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, only: revoked, unrevoked: true},
		"revocation alone, disabled":  {keys: []*kmskey.Key{disabled}, leaf: "p256-disabled", identities: []string{disabled.ARN().String()}, only: revoked, says: []string{"DisabledException"}},
		"case of the ARN":             {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{strings.ToUpper(arn)}, says: []string{"ignored"}},
		"an account that has not got": {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{strings.Replace(arn, "1111", "9999", 1)}, says: []string{"is not in the store", "the store has that key as " + arn}},

		"Disabled":                       {keys: []*kmskey.Key{disabled}, leaf: "p256-disabled", identities: []string{disabled.ARN().String()}, trusted: true, says: []string{"DisabledException", "2026-11-23"}},
		"PendingDeletion":                {keys: []*kmskey.Key{known(t, "p256", state(kmskey.StatePendingDeletion, func(m *kmskey.KeyMetadata) { m.DeletionDate = must(kmskey.ParseTime("2100-01-01T00:00:00Z")) }))}, leaf: "p256", identities: []string{arn}, trusted: true, says: []string{"KMSInvalidStateException", "2100-01-01"}},
		"DeletionDate past":              {keys: []*kmskey.Key{known(t, "p256", state(kmskey.StateEnabled, func(m *kmskey.KeyMetadata) { m.DeletionDate = must(kmskey.ParseTime("2020-01-01T00:00:00Z")) }))}, leaf: "p256", identities: []string{arn}, trusted: true, says: []string{"2020-01-01", "past"}},
		"Disabled, revocation skipped":   {keys: []*kmskey.Key{disabled}, leaf: "p256-disabled", identities: []string{disabled.ARN().String()}, only: identity, says: []string{"DisabledException", "fails the identity, because the trust policy skips revocation"}},
		"Enabled, revocation skipped":    {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, only: identity, trusted: true},
		"two match, one is disabled":     {keys: []*kmskey.Key{mrkUS, known(t, "p256-mrk.eu-west-1", state(kmskey.StateDisabled))}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String(), mrkEU.ARN().String()}, trusted: true, says: []string{"DisabledException", mrkEU.ARN().String()}},
		"two match, one, skipped":        {keys: []*kmskey.Key{mrkUS, known(t, "p256-mrk.eu-west-1", state(kmskey.StateDisabled))}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String(), mrkEU.ARN().String()}, only: identity, says: []string{"DisabledException"}},
		"blocked":                        {keys: []*kmskey.Key{p256}, block: &keystore.Block{KeyID: arn, Reason: "stolen"}, leaf: "p256", identities: []string{arn}, says: []string{"KeyBlockedException", "stolen", arn}},
		"blocked by material":            {keys: []*kmskey.Key{p256}, block: &keystore.Block{PublicKeySHA256: p256.Fingerprint()}, leaf: "p256", identities: []string{arn}, says: []string{"KeyBlockedException"}},
		"blocked, revocation skipped":    {keys: []*kmskey.Key{p256}, block: &keystore.Block{KeyID: arn}, leaf: "p256", identities: []string{arn}, only: identity, says: []string{"KeyBlockedException"}},
		"another is blocked":             {keys: []*kmskey.Key{p256, other}, block: &keystore.Block{KeyID: other.ARN().String()}, leaf: "p256", identities: []string{other.ARN().String(), arn}, trusted: true, unrevoked: true},
		"for encryption":                 {keys: []*kmskey.Key{known(t, "rsa2048-encrypt")}, leaf: "rsa2048-encrypt", identities: []string{arnOf(t, "rsa2048-encrypt")}, says: []string{"InvalidKeyUsageException", "ENCRYPT_DECRYPT"}},
		"for encryption, beside a match": {keys: []*kmskey.Key{p256, known(t, "rsa2048-encrypt")}, leaf: "p256", identities: []string{arnOf(t, "rsa2048-encrypt"), arn}, trusted: true, unrevoked: true},

		"* beside an ARN":              {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn, "*"}, trusted: true, unrevoked: true, says: []string{`ignored, not KMS ARNs: "*"`}},
		"* alone":                      {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{"*"}, says: []string{"exact key ARNs", `"*"`, "the store has that key as " + arn}},
		"x509.subject alone":           {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{"x509.subject: C=US, O=x"}, says: []string{"exact key ARNs", "x509.subject"}},
		"wildcard in the ARN":          {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{"arn:aws:kms:us-east-1:111122223333:key/*"}, says: []string{"exact key ARNs"}},
		"wildcard in the Region":       {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{strings.Replace(arn, "us-east-1", "*", 1)}, says: []string{"exact key ARNs"}},
		"bare key ID":                  {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{p256.ARN().KeyID}, says: []string{"exact key ARNs"}},
		"bare alias":                   {keys: []*kmskey.Key{known(t, "p256", aliased("release"))}, leaf: "p256", identities: []string{"alias/release"}, says: []string{"exact key ARNs"}},
		"with dots":                    {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{alias("../../x")}, says: []string{"exact key ARNs"}},
		"empty identity":               {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{""}, says: []string{"exact key ARNs"}},
		"a long identity is cut short": {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{strings.Repeat("ab", 5000)}, says: []string{strings.Repeat("ab", 100)}, hides: []string{strings.Repeat("ab", 101)}},

		"replica by fallback":      {keys: []*kmskey.Key{mrkUS}, leaf: "p256-mrk", identities: []string{mrkEU.ARN().String()}, trusted: true, unrevoked: true, says: []string{mrkEU.ARN().String(), "replicas " + mrkUS.ARN().String()}},
		"replica by fallback, off": {keys: []*kmskey.Key{known(t, "p256-mrk.us-east-1", state(kmskey.StateDisabled))}, leaf: "p256-mrk", identities: []string{mrkEU.ARN().String()}, trusted: true, says: []string{"DisabledException", mrkUS.ARN().String()}},
		"replica, other blocked":   {keys: []*kmskey.Key{mrkUS}, block: &keystore.Block{KeyID: mrkEU.ARN().String()}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String()}, says: []string{"KeyBlockedException"}},

		"keyArn":                      {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: arn}, trusted: true, unrevoked: true, processed: &yes},
		"keyArn, alias trusted":       {keys: []*kmskey.Key{known(t, "p256", aliased("release"))}, leaf: "p256", identities: []string{alias("release")}, extended: object{KeyARNAttribute: arn}, trusted: true, unrevoked: true, processed: &yes},
		"keyArn of the second":        {keys: []*kmskey.Key{mrkUS, mrkEU}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String(), mrkEU.ARN().String()}, extended: object{KeyARNAttribute: mrkEU.ARN().String()}, trusted: true, unrevoked: true, processed: &yes},
		"keyArn of a replica":         {keys: []*kmskey.Key{mrkUS}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String()}, extended: object{KeyARNAttribute: mrkEU.ARN().String()}, trusted: true, unrevoked: true, processed: &yes},
		"keyArn of a replica, exact":  {keys: []*kmskey.Key{mrkUS}, policy: exact, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String()}, extended: object{KeyARNAttribute: mrkEU.ARN().String()}, says: []string{"the signature says that it was made with " + mrkEU.ARN().String(), "of another Region, which the policy does not let stand for it"}, processed: &no},
		"keyArn of the second, exact": {keys: []*kmskey.Key{mrkUS, mrkEU}, policy: exact, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String(), mrkEU.ARN().String()}, extended: object{KeyARNAttribute: mrkEU.ARN().String()}, trusted: true, unrevoked: true, processed: &yes},
		"keyArn, another account":     {keys: []*kmskey.Key{mrkUS}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String()}, extended: object{KeyARNAttribute: strings.Replace(mrkUS.ARN().String(), "1111", "9999", 1)}, says: []string{"the signature says that it was made with"}, processed: &no},
		"keyArn, another mrk- key":    {keys: []*kmskey.Key{mrkUS}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String()}, extended: object{KeyARNAttribute: strings.TrimSuffix(mrkUS.ARN().String(), mrkUS.ARN().KeyID) + "mrk-" + strings.Repeat("0", 32)}, says: []string{"the signature says that it was made with"}, processed: &no},
		"keyArn, another partition":   {keys: []*kmskey.Key{mrkUS}, leaf: "p256-mrk", identities: []string{mrkUS.ARN().String()}, extended: object{KeyARNAttribute: strings.Replace(mrkUS.ARN().String(), "arn:aws:kms:us-east-1", "arn:aws-cn:kms:cn-north-1", 1)}, says: []string{"the signature says that it was made with"}, processed: &no},
		"keyArn of a blocked key":     {keys: []*kmskey.Key{p256}, block: &keystore.Block{KeyID: arn}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: arn}, says: []string{"KeyBlockedException"}, processed: &yes},
		"keyArn, another Region":      {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: strings.Replace(arn, "us-east-1", "us-east-2", 1)}, says: []string{"the signature says that it was made with"}, processed: &no},
		"keyArn of another":           {keys: []*kmskey.Key{p256, other}, leaf: "p256", identities: []string{arn, other.ARN().String()}, extended: object{KeyARNAttribute: other.ARN().String()}, says: []string{other.ARN().String(), "the trusted identity is " + arn}, processed: &no},
		"keyArn a number":             {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: 7}, says: []string{"is no text but a JSON number"}, processed: &no},
		"keyArn null":                 {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: json.RawMessage("null")}, says: []string{"is no text but a JSON null"}, processed: &no},
		"keyArn a list":               {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: []string{arn}}, says: []string{"is no text"}, processed: &no},
		"keyArn empty":                {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{KeyARNAttribute: ""}, says: []string{"no key ARN"}, processed: &no},
		"keyArn an alias":             {keys: []*kmskey.Key{known(t, "p256", aliased("release"))}, leaf: "p256", identities: []string{alias("release")}, extended: object{KeyARNAttribute: alias("release")}, says: []string{"no key ARN"}, processed: &no},
		"keyArn, no match":            {keys: []*kmskey.Key{p256}, leaf: "p256-stranger", identities: []string{arn}, extended: object{KeyARNAttribute: arn}, says: []string{"no trusted identity"}, processed: &no},
		"keyArn in another case":      {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{strings.ToUpper(KeyARNAttribute): other.ARN().String()}, trusted: true, unrevoked: true, processed: &no},
		"keyArn of a disabled key":    {keys: []*kmskey.Key{disabled}, leaf: "p256-disabled", identities: []string{disabled.ARN().String()}, extended: object{KeyARNAttribute: disabled.ARN().String()}, trusted: true, processed: &yes},
		"unknown critical attr":       {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{"com.example.attr": "x"}, trusted: true, unrevoked: true, processed: &no},
		"our attribute and another":   {keys: []*kmskey.Key{p256}, leaf: "p256", identities: []string{arn}, extended: object{"com.example.attr": "x", KeyARNAttribute: arn}, trusted: true, unrevoked: true, processed: &yes},
	} {
		t.Run(name, func(t *testing.T) {
			q := question{home: newHome(t, c.keys...), leaf: cert(c.leaf), identities: c.identities, extended: c.extended}
			if c.only != "" {
				q.capabilities = []string{c.only}
			}
			if c.block != nil {
				write(t, q.home, func(w *keystore.Writer) error {
					_, err := w.Block(*c.block)
					return err
				})
			}
			if c.policy != "" {
				if err := os.WriteFile(filepath.Join(q.home, "policy.json"), []byte(c.policy), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := ask(t, q)
			trusted, unrevoked := r.VerificationResults[identity], r.VerificationResults[revoked]
			if trusted.Success != c.trusted || unrevoked.Success != c.unrevoked {
				t.Errorf("trusted %+v, expected %t; unrevoked %+v, expected %t", trusted, c.trusted, unrevoked, c.unrevoked)
			}
			reason := trusted.Reason
			if c.only == revoked || c.trusted && !c.unrevoked && c.only == "" {
				reason = unrevoked.Reason
			}
			for _, text := range c.says {
				if !strings.Contains(reason, text) {
					t.Errorf("%q is not in %q", text, reason)
				}
			}
			for _, text := range c.hides {
				if strings.Contains(reason, text) {
					t.Errorf("%q is in %q", text, reason)
				}
			}
			if c.processed != nil {
				if want := map[bool]string{true: "[" + KeyARNAttribute + "]", false: "[]"}[*c.processed]; fmt.Sprint(r.ProcessedAttributes) != want {
					t.Errorf("processed %v, expected %s", r.ProcessedAttributes, want)
				}
			} else if len(r.ProcessedAttributes) != 0 {
				t.Errorf("processed %v", r.ProcessedAttributes)
			}
		})
	}
}

// TestMetadata: what notation reads before anything else.
func TestMetadata(t *testing.T) {
	for _, request := range []string{``, `{}`, `{"pluginConfig":{"home":"x"}}`, `not JSON`} {
		out, failure := run(t, "get-plugin-metadata", []byte(request))
		if failure != nil {
			t.Fatal(failure)
		}
		var m plugin.GetMetadataResponse
		if err := json.Unmarshal(out, &m); err != nil || m.Name != Name || m.Version != buildinfo.Version || m.Description == "" || m.URL == "" ||
			fmt.Sprint(m.SupportedContractVersions) != "[1.0]" || fmt.Sprint(m.Capabilities) != "["+identity+" "+revoked+"]" {
			t.Errorf("%v, %s", err, out)
		}
	}
	if _, failure := run(t, "get-plugin-metadata", make([]byte, wire.MaxRequest+1)); failure == nil || failure.ErrCode != plugin.ErrorCodeValidation {
		t.Errorf("too long a request: %v", failure)
	}
}

func TestCommands(t *testing.T) {
	for _, args := range [][]string{nil, {}, {""}, {"generate-signature"}, {"generate-envelope"}, {"describe-key"}, {"VERIFY-SIGNATURE"}, {"--help"},
		{"verify-signature", "x"}, {"get-plugin-metadata", "get-plugin-metadata"}} {
		var out, errs bytes.Buffer
		code := Main(args, strings.NewReader("{}"), &out, &errs)
		_, failure := outcome(t, code, out.Bytes(), errs.Bytes())
		if failure == nil || failure.ErrCode != plugin.ErrorCodeValidation || failure.Metadata["error"] != "ValidationException" {
			t.Errorf("%q: %v", args, failure)
		}
	}
}

func TestBadRequests(t *testing.T) {
	p256 := known(t, "p256")
	arn := p256.ARN().String()
	home := newHome(t, p256)
	good := question{home: home, leaf: cert("p256"), identities: []string{arn}}
	text := string(good.json())
	replaced := func(old, new string) []byte {
		if !strings.Contains(text, old) {
			t.Fatalf("%s is not in the request", old)
		}
		return []byte(strings.Replace(text, old, new, 1))
	}
	signature, _ := good.object()["signature"].(object)
	critical, _ := signature["criticalAttributes"].(object)
	trust, _ := good.object()["trustPolicy"].(object)
	edited := func(o object) []byte { return must(json.Marshal(o)) }
	withSignature := func(name string, value any) []byte {
		return edited(good.object().with("signature", signature.with(name, value)))
	}
	withCritical := func(name string, value any) []byte {
		return withSignature("criticalAttributes", critical.with(name, value))
	}
	withTrust := func(name string, value any) []byte {
		return edited(good.object().with("trustPolicy", trust.with(name, value)))
	}
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	rsa2056 := must(rsa.GenerateKey(rand.Reader, 2056))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const validation, version = plugin.ErrorCodeValidation, plugin.ErrorCodeUnsupportedContractVersion
	for name, c := range map[string]struct {
		request []byte
		code    plugin.ErrorCode
		says    string
	}{
		"empty":              {nil, validation, "is empty"},
		"null":               {[]byte("null"), validation, "not a JSON object"},
		"not JSON":           {[]byte("hello"), validation, "not a JSON object"},
		"empty object":       {[]byte("{}"), validation, "lacks the member /contractVersion, /signature, /trustPolicy"},
		"byte order mark":    {append([]byte("\xef\xbb\xbf"), text...), validation, "byte order mark"},
		"trailing junk":      {[]byte(text + "x"), validation, "more data after"},
		"two requests":       {[]byte(text + text), validation, "more data after"},
		"over 4 MiB":         {[]byte(text + strings.Repeat(" ", wire.MaxRequest)), validation, "longer than the 4194304 bytes"},
		"deeply nested":      {[]byte(strings.Repeat(`{"a":`, 100000)), validation, "nested deeper"},
		"deeply in brackets": {replaced(`"contractVersion"`, `"x":`+strings.Repeat("[", 100000)+strings.Repeat("]", 100000)+`,"contractVersion"`), validation, "nested deeper"},

		"version 2.0":          {replaced(`"contractVersion":"1.0"`, `"contractVersion":"2.0"`), version, `"2.0", expected "1.0"`},
		"version 1":            {replaced(`"contractVersion":"1.0"`, `"contractVersion":"1"`), version, `"1"`},
		"version 1.1":          {replaced(`"contractVersion":"1.0"`, `"contractVersion":"1.1"`), version, `"1.1"`},
		"version empty":        {replaced(`"contractVersion":"1.0"`, `"contractVersion":""`), version, `""`},
		"version with a space": {replaced(`"contractVersion":"1.0"`, `"contractVersion":"1.0 "`), version, `"1.0 "`},
		"version a number":     {replaced(`"contractVersion":"1.0"`, `"contractVersion":1.0`), validation, "/contractVersion"},
		"version null":         {replaced(`"contractVersion":"1.0"`, `"contractVersion":null`), validation, "null for the member /contractVersion"},
		"version twice":        {replaced(`"contractVersion":"1.0"`, `"contractVersion":"1.0","contractVersion":"1.0"`), validation, "twice"},
		"version 2, new shape": {[]byte(`{"contractVersion":"2.0","signatures":[]}`), version, `"2.0"`},

		"duplicate member":       {replaced(`"trustedIdentities"`, `"trustedIdentities":["`+arn+`"],"trustedIdentities"`), validation, "twice"},
		"duplicate, escaped":     {replaced(`"trustedIdentities"`, `"\u0074rustedIdentities":["`+arn+`"],"trustedIdentities"`), validation, "twice"},
		"case of a member":       {replaced(`"trustedIdentities"`, `"TrustedIdentities":["*"],"trustedIdentities"`), validation, "letter case"},
		"case of trustPolicy":    {replaced(`"trustPolicy"`, `"TRUSTPOLICY":{},"trustPolicy"`), validation, "letter case"},
		"case of the chain":      {replaced(`"certificateChain"`, `"CertificateChain":[],"certificateChain"`), validation, "letter case"},
		"case of the scheme":     {withCritical("signingscheme", "notary.x509"), validation, "letter case"},
		"no signature":           {edited(good.object().with("signature", nil)), validation, "/signature"},
		"no trust policy":        {edited(good.object().with("trustPolicy", nil)), validation, "/trustPolicy"},
		"no scheme":              {withCritical("signingScheme", nil), validation, "/signature/criticalAttributes/signingScheme"},
		"unknown scheme":         {withCritical("signingScheme", "notary.pgp"), validation, `signingScheme is "notary.pgp"`},
		"no content type":        {withCritical("contentType", nil), validation, "contentType"},
		"attributes a list":      {withCritical("extendedAttributes", []string{}), validation, "/extendedAttributes"},
		"unknown capability":     {withTrust("signatureVerification", []string{identity, "SIGNATURE_VERIFIER.MAGIC"}), validation, `"SIGNATURE_VERIFIER.MAGIC"`},
		"a generator's":          {withTrust("signatureVerification", []string{"SIGNATURE_GENERATOR.RAW"}), validation, "SIGNATURE_GENERATOR.RAW"},
		"capability twice":       {withTrust("signatureVerification", []string{identity, identity}), validation, "twice"},
		"capability in case":     {withTrust("signatureVerification", []string{strings.ToLower(identity)}), validation, "has not"},
		"no capabilities":        {withTrust("signatureVerification", []string{}), validation, "is empty, expected a capability"},
		"capabilities absent":    {withTrust("signatureVerification", nil), validation, "signatureVerification"},
		"capabilities null":      {withTrust("signatureVerification", json.RawMessage("null")), validation, "null"},
		"no identities":          {withTrust("trustedIdentities", []string{}), validation, "trustedIdentities is empty"},
		"identities absent":      {withTrust("trustedIdentities", nil), validation, "trustedIdentities"},
		"identities null":        {withTrust("trustedIdentities", json.RawMessage("null")), validation, "null"},
		"an identity null":       {withTrust("trustedIdentities", []any{arn, nil}), validation, "null for the member /trustPolicy/trustedIdentities/1"},
		"an identity a number":   {withTrust("trustedIdentities", []any{7}), validation, "/trustPolicy/trustedIdentities/0"},
		"identities text":        {withTrust("trustedIdentities", arn), validation, "an array is expected"},
		"257 identities":         {withTrust("trustedIdentities", repeat(arn, 257)), validation, "257 entries, expected at most 256"},
		"no certificates":        {withSignature("certificateChain", [][]byte{}), validation, "certificateChain is empty"},
		"certificates absent":    {withSignature("certificateChain", nil), validation, "certificateChain"},
		"33 certificates":        {withSignature("certificateChain", repeat(cert("p256"), 33)), validation, "33 certificates, expected at most 32"},
		"a certificate cut":      {withSignature("certificateChain", [][]byte{cert("p256")[:100]}), validation, "no usable certificate"},
		"a certificate and more": {withSignature("certificateChain", [][]byte{append(cert("p256"), 0)}), validation, "no usable certificate"},
		"a certificate empty":    {withSignature("certificateChain", [][]byte{{}}), validation, "no usable certificate"},
		"a certificate in PEM":   {withSignature("certificateChain", []string{"-----BEGIN CERTIFICATE-----"}), validation, "/signature/certificateChain/0"},
		"a certificate of P-224": {withSignature("certificateChain", [][]byte{selfSigned(t, p224)}), validation, "certificateChain[0]"},
		"a certificate of RSA odd": {withSignature("certificateChain", [][]byte{selfSigned(t, rsa2056)}), validation,
			"2056 bits"},
		"a certificate of Ed25519": {withSignature("certificateChain", [][]byte{selfSigned(t, ed)}), validation, "ECC_NIST_EDWARDS25519, for which Notation has no algorithm"},
		"config, unknown key":      {edited(good.object().with("pluginConfig", object{"home": home, "unsafe": "1"})), validation, `unknown key "unsafe"`},
		"config, Home":             {edited(good.object().with("pluginConfig", object{"Home": home})), validation, `unknown key "Home"`},
		"config, a number":         {edited(good.object().with("pluginConfig", object{"home": 7})), validation, "/pluginConfig/home"},
		"config, home null":        {edited(good.object().with("pluginConfig", object{"home": json.RawMessage("null")})), validation, "null for the member /pluginConfig/home"},
		"config, home relative":    {edited(good.object().with("pluginConfig", object{"home": "store"})), validation, "expected an absolute path"},
		"config, home ./":          {edited(good.object().with("pluginConfig", object{"home": "./"})), validation, "expected an absolute path"},
		"config, home ~":           {edited(good.object().with("pluginConfig", object{"home": "~/store"})), validation, "expected an absolute path"},
		"config, home empty":       {edited(good.object().with("pluginConfig", object{"home": ""})), validation, "expected an absolute path"},
		"config a list":            {edited(good.object().with("pluginConfig", []string{})), validation, "/pluginConfig"},
	} {
		t.Run(name, func(t *testing.T) {
			askError(t, c.request, c.code, c.says)
		})
	}
}

func repeat[T any](v T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

func TestGoodRequests(t *testing.T) {
	p256 := known(t, "p256")
	good := question{home: newHome(t, p256), leaf: cert("p256"), identities: []string{p256.ARN().String()}}
	signature, _ := good.object()["signature"].(object)
	critical, _ := signature["criticalAttributes"].(object)
	t.Setenv(keystore.EnvHome, good.home)
	for name, request := range map[string]object{
		"unknown members":   good.object().with("later", object{"MODE": 1, "mode": nil}),
		"config absent":     good.object().with("pluginConfig", nil),
		"config null":       good.object().with("pluginConfig", json.RawMessage("null")),
		"config empty":      good.object().with("pluginConfig", object{}),
		"signing authority": good.object().with("signature", signature.with("criticalAttributes", critical.with("signingScheme", "notary.x509.signingAuthority"))),
		"signing time":      good.object().with("signature", signature.with("criticalAttributes", critical.with("authenticSigningTime", "2026-11-23T11:00:00Z"))),
		"a chain of 32":     good.object().with("signature", signature.with("certificateChain", append([][]byte{cert("p256")}, repeat([]byte("x"), 31)...))),
		"256 identities":    good.object().with("trustPolicy", object{"trustedIdentities": repeat(p256.ARN().String(), 256), "signatureVerification": []string{identity, revoked}}),
	} {
		t.Run(name, func(t *testing.T) {
			out, failure := run(t, "verify-signature", must(json.Marshal(request)))
			if failure != nil {
				t.Fatal(failure)
			}
			var r response
			if err := json.Unmarshal(out, &r); err != nil || !r.VerificationResults[identity].Success || !r.VerificationResults[revoked].Success {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}

// TestTimeInsideASignatureProvesNothing: the policy's times are compared with now, whenever the signer says to have signed.
func TestTimeInsideASignatureProvesNothing(t *testing.T) {
	p256 := known(t, "p256")
	q := question{home: newHome(t, p256), leaf: cert("p256"), identities: []string{p256.ARN().String()}}
	t.Setenv(keystore.EnvHome, q.home)
	signature, _ := q.object()["signature"].(object)
	critical, _ := signature["criticalAttributes"].(object)
	for _, c := range []struct {
		notBefore, notAfter, signed string
		passes                      bool
	}{
		{"2020-01-01T00:00:00Z", "2020-12-31T00:00:00Z", "2020-06-01T00:00:00Z", false},
		{"2020-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "2019-06-01T00:00:00Z", true},
		{"2020-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "2020-06-01T00:00:00Z", true},
	} {
		rules := `{"version":"1","restrictions":[{"name":"times","notBefore":"` + c.notBefore + `","notAfter":"` + c.notAfter + `"}]}`
		if err := os.WriteFile(filepath.Join(q.home, "policy.json"), []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		out, failure := run(t, "verify-signature", must(json.Marshal(q.object().with("signature", signature.with("criticalAttributes", critical.with("authenticSigningTime", c.signed))))))
		if failure != nil {
			t.Fatal(failure)
		}
		var r response
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatal(err)
		}
		for _, asked := range []string{identity, revoked} {
			if got, answered := r.VerificationResults[asked]; !answered || got.Success != c.passes || !c.passes && !strings.Contains(got.Reason, "OutsideValidityException") {
				t.Errorf("%+v: %s: %s", c, asked, out)
			}
		}
	}
}

// TestOurSide: what cannot be decided is an error, also beside a match, and never a success.
func TestOurSide(t *testing.T) {
	p256, other := known(t, "p256"), known(t, "p256-other")
	arn := p256.ARN().String()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, home string)
		name  kmserr.Name
	}{
		"a corrupt record beside a match": {func(t *testing.T, home string) {
			overwrite(t, home, "keys/aws/us-east-1/111122223333/"+other.ARN().KeyID+".json", "{}")
		}, kmserr.StoreIntegrity},
		"a record of another key beside a match": {func(t *testing.T, home string) {
			overwrite(t, home, "keys/aws/us-east-1/111122223333/"+other.ARN().KeyID+".json", string(must(p256.Encode())))
		}, kmserr.StoreIntegrity},
		"the record itself is corrupt": {func(t *testing.T, home string) {
			overwrite(t, home, "keys/aws/us-east-1/111122223333/"+p256.ARN().KeyID+".json", "")
		}, kmserr.StoreIntegrity},
		"a corrupt block": {func(t *testing.T, home string) {
			overwrite(t, home, "blocks/"+p256.Fingerprint()+".json", "{}")
		}, kmserr.StoreIntegrity},
		"a policy that is not enforced": {func(t *testing.T, home string) {
			overwrite(t, home, policy.FileName, "{}")
		}, kmserr.PolicyInvalid},
		"no store": {func(t *testing.T, home string) {
			if err := os.RemoveAll(home); err != nil {
				t.Fatal(err)
			}
		}, kmserr.StoreAccess},
		"a file for a store": {func(t *testing.T, home string) {
			if err := errors.Join(os.RemoveAll(home), os.WriteFile(home, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"a store that others can write": {func(t *testing.T, home string) {
			if runtime.GOOS == "windows" {
				t.Skip("Windows has no POSIX modes: a store that others can write is not tested")
			}
			if err := os.Chmod(home, 0o777); err != nil {
				t.Fatal(err)
			}
		}, kmserr.StoreIntegrity},
	} {
		t.Run(name, func(t *testing.T) {
			q := question{home: newHome(t, p256, other), leaf: cert("p256"), identities: []string{arn, other.ARN().String()}}
			if r := ask(t, q); !r.VerificationResults[identity].Success {
				t.Fatal("no success before")
			}
			c.spoil(t, q.home)
			failure := askError(t, q.json(), plugin.ErrorCodeGeneric)
			if got := kmserr.Name(failure.Metadata["error"]); c.name != "" && got != c.name || kmserr.Lookup(got).Exit != kmserr.ExitOurSide {
				t.Errorf("got %v, expected %s", failure, c.name)
			}
		})
	}
}

func overwrite(t *testing.T, home, rel, content string) {
	t.Helper()
	path := filepath.Join(home, filepath.FromSlash(rel))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// rules is a policy that says the same of every key.
type rules struct {
	policy.None
	r policy.Rules
}

func (r rules) Rules(policy.Subject) (policy.Rules, error) { return r.r, nil }

// TestLevels: what policy says of Notation's levels, and the age of a snapshot.
func TestLevels(t *testing.T) {
	disabled := known(t, "p256-disabled")
	for name, c := range map[string]struct {
		rules              policy.Rules
		only               string
		trusted, unrevoked bool
	}{
		"no rules":                        {trusted: true},
		"state fails the identity":        {rules: policy.Rules{StateFailsIdentity: true}},
		"skipped":                         {only: identity},
		"skipped, ignored":                {rules: policy.Rules{IgnoreStateWhenRevocationSkipped: true}, only: identity, trusted: true},
		"skipped, ignored, but fatal":     {rules: policy.Rules{IgnoreStateWhenRevocationSkipped: true, StateFailsIdentity: true}, only: identity},
		"ignored only where it's skipped": {rules: policy.Rules{IgnoreStateWhenRevocationSkipped: true}, trusted: true},
		"state permitted":                 {rules: policy.Rules{KeyStates: []kmskey.KeyState{"Disabled"}}, trusted: true, unrevoked: true},
		"too old":                         {rules: policy.Rules{KeyStates: []kmskey.KeyState{"Disabled"}, MaxSnapshotAge: time.Hour}, trusted: true},
		"too old, skipped":                {rules: policy.Rules{KeyStates: []kmskey.KeyState{"Disabled"}, MaxSnapshotAge: time.Hour}, only: identity},
		"excluded":                        {rules: policy.Rules{Excluded: "is excluded", IgnoreStateWhenRevocationSkipped: true}},
		"excluded, skipped":               {rules: policy.Rules{Excluded: "is excluded", IgnoreStateWhenRevocationSkipped: true}, only: identity},
		"no algorithm":                    {rules: policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{}}},
		"validity":                        {rules: policy.Rules{NotAfter: time.Unix(1, 0)}},
		"messages":                        {rules: policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Raw}}, trusted: true},
		"digests only":                    {rules: policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}}},
		"digests only, skipped, ignored":  {rules: policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}, IgnoreStateWhenRevocationSkipped: true}, only: identity},
		"no message type":                 {rules: policy.Rules{MessageTypes: []kmskey.MessageType{}}},
	} {
		t.Run(name, func(t *testing.T) {
			q := question{home: newHome(t, disabled), leaf: cert("p256-disabled"), identities: []string{disabled.ARN().String()}}
			if c.only != "" {
				q.capabilities = []string{c.only}
			}
			store, err := keystore.Open(keystore.Home{Path: q.home}, keystore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := verifier.New(verifier.Config{Store: store, Policy: rules{r: c.rules}, Now: func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) }})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			req, err := decodeRequest(q.json())
			if err != nil {
				t.Fatal(err)
			}
			answer, err := (&call{logs: true}).respond(context.Background(), v, req, kmskey.ECDSASHA256)
			if err != nil {
				t.Fatal(err)
			}
			var r plugin.VerifySignatureResponse
			if err := json.Unmarshal(answer, &r); err != nil {
				t.Fatal(err)
			}
			trusted, unrevoked := r.VerificationResults[plugin.CapabilityTrustedIdentityVerifier], r.VerificationResults[plugin.CapabilityRevocationCheckVerifier]
			if c.only != revoked && trusted.Success != c.trusted || c.only == "" && unrevoked.Success != c.unrevoked || c.only == identity && unrevoked != nil {
				t.Errorf("trusted %+v, unrevoked %+v", trusted, unrevoked)
			}
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("the pipe panics") }

type hanging struct{}

func (hanging) Read([]byte) (int, error) { select {} }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func (failing) Write([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func TestBrokenStreams(t *testing.T) {
	limit := deadline
	deadline = 50 * time.Millisecond
	t.Cleanup(func() { deadline = limit })
	for _, command := range []string{"verify-signature", "get-plugin-metadata"} {
		for name, c := range map[string]struct {
			stdin io.Reader
			code  plugin.ErrorCode
			name  kmserr.Name
		}{
			"panics": {panicking{}, plugin.ErrorCodeGeneric, kmserr.Internal},
			"hangs":  {hanging{}, plugin.ErrorCodeTimeout, kmserr.DeadlineExceeded},
			"breaks": {failing{}, plugin.ErrorCodeValidation, kmserr.Validation},
		} {
			var out, errs bytes.Buffer
			code := Main([]string{command}, c.stdin, &out, &errs)
			_, failure := outcome(t, code, out.Bytes(), errs.Bytes())
			if failure == nil || failure.ErrCode != c.code || failure.Metadata["error"] != string(c.name) {
				t.Errorf("%s, %s: %v", command, name, failure)
			}
		}
	}
	deadline = limit
	var errs bytes.Buffer
	if code := Main([]string{"get-plugin-metadata"}, strings.NewReader("{}"), failing{}, &errs); code != 1 || !strings.Contains(errs.String(), "cannot be written") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

func TestDeadline(t *testing.T) {
	if deadline != 30*time.Second {
		t.Errorf("the deadline is %s", deadline)
	}
}

// FuzzRequest: no request panics, makes neither an answer nor an error, or is accepted without what an answer needs.
func FuzzRequest(f *testing.F) {
	leaf := cert("p256")
	good := question{home: filepath.Join(must(filepath.Abs(".")), "none"), leaf: leaf, identities: []string{"arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"}}
	f.Add(good.json())
	good.extended = object{KeyARNAttribute: "x", "other": []int{1}}
	f.Add(good.json())
	f.Add([]byte(`{"contractVersion":"2.0"}`))
	good.home = "relative"
	f.Add(good.json())
	f.Add([]byte(`{"contractVersion":"1.0","signature":{"criticalAttributes":{"contentType":"","signingScheme":"notary.x509"},"certificateChain":[""]},"trustPolicy":{"trustedIdentities":["*"],"signatureVerification":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := decodeRequest(data)
		if req == nil && err == nil {
			t.Fatal("neither a request nor an error")
		}
		if err != nil {
			if e := kmserr.As(err); e.Name != kmserr.Validation || wire.Text(err) == "" {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if len(req.leafKey) == 0 || len(req.capabilities) == 0 || len(req.capabilities) > 2 || len(req.TrustPolicy.TrustedIdentities) == 0 || req.ContractVersion != "1.0" {
			t.Fatalf("accepted %+v", req)
		}
		var theirs secondReading
		if err := json.Unmarshal(data, &theirs); err != nil {
			t.Fatalf("accepted, and encoding/json says %v", err)
		}
		if theirs.ContractVersion != req.ContractVersion || !slices.Equal(theirs.TrustPolicy.TrustedIdentities, req.TrustPolicy.TrustedIdentities) ||
			!slices.EqualFunc(theirs.TrustPolicy.SignatureVerification, req.capabilities, func(a plugin.Capability, b capability) bool { return string(a) == string(b) }) || !maps.Equal(theirs.PluginConfig, req.PluginConfig) ||
			!slices.EqualFunc(theirs.Signature.CertificateChain, req.Signature.CertificateChain, bytes.Equal) {
			t.Fatalf("%s reads as %+v here, and as %+v in encoding/json", data, req, theirs)
		}
		if home, ok := req.PluginConfig[homeOption]; len(req.PluginConfig) > 1 || len(req.PluginConfig) == 1 && !ok || ok && !filepath.IsAbs(home) {
			t.Fatalf("accepted the configuration %v", req.PluginConfig)
		}
		_, _ = req.algorithm()
	})
}

// A refusal whose line cannot be written stands, and says so.
func TestUnloggedRefusal(t *testing.T) {
	home := newHome(t, known(t, "p256"))
	policy := must(json.Marshal(object{"version": "1", "log": object{"mode": "best-effort", "path": t.TempDir()}}))
	if err := os.WriteFile(filepath.Join(home, "policy.json"), policy, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keystore.EnvHome, home)
	askError(t, []byte(`{"contractVersion":"1.0"}`), plugin.ErrorCodeValidation, "lacks the member", "Besides, the decision was not logged")
}

// A yes without a line in the log says so, as every other warning: nobody sees a plugin's standard error.
func TestUnloggedYes(t *testing.T) {
	home := newHome(t, known(t, "p256"))
	overwrite(t, home, "policy.json", string(must(json.Marshal(object{"version": "1", "log": object{"mode": "best-effort", "path": t.TempDir()}}))))
	r := ask(t, question{home: home, leaf: cert("p256"), identities: []string{arnOf(t, "p256")}})
	for _, capability := range []string{identity, revoked} {
		if v := r.VerificationResults[capability]; !v.Success || !strings.Contains(v.Reason, "warning: the decision was not logged") {
			t.Errorf("%s: %+v", capability, v)
		}
	}
}

// An alias whose key has no record is told from an alias that is not there, and from one that KMS had no more.
func TestAliasOfNoRecord(t *testing.T) {
	key := known(t, "p256", func(r *kmskey.Record) { r.Aliases = []string{"alias/release"} })
	home := newHome(t, key)
	arn := key.ARN()
	if err := os.Remove(filepath.Join(home, "keys", arn.Partition, arn.Region, arn.Account, arn.KeyID+".json")); err != nil {
		t.Fatal(err)
	}
	const alias = "arn:aws:kms:us-east-1:111122223333:alias/"
	// KMS had it no more when the store was refreshed.
	gone := `{"Alias":"` + alias + `gone","TargetKeyId":"","Time":"2026-01-02T03:04:05Z"}`
	overwrite(t, home, "aliases/"+arn.Partition+"/"+arn.Region+"/"+arn.Account+"/gone.json", gone)
	r := ask(t, question{home: home, leaf: cert("p256"), identities: []string{alias + "release", alias + "nothing", alias + "gone"}})
	reason := r.VerificationResults[identity].Reason
	for _, text := range []string{
		alias + "release means " + arn.String() + ", which is not in the store", "no alias " + alias + "nothing is in the store " + home,
		"the alias " + alias + "gone meant no key: KMS had no such alias on 2026-01-02",
	} {
		if !strings.Contains(reason, text) {
			t.Errorf("%q is not in %q", text, reason)
		}
	}
}

// Where the environment asks for it, each step is told on standard error, beside the response.
func TestExplain(t *testing.T) {
	t.Setenv("AWSKMS_OFFLINE_EXPLAIN", "1")
	q := question{home: newHome(t, known(t, "p256")), leaf: cert("p256"), identities: []string{arnOf(t, "p256")}}
	var out, errs bytes.Buffer
	if code := Main([]string{"verify-signature"}, bytes.NewReader(q.json()), &out, &errs); code != 0 || !json.Valid(out.Bytes()) {
		t.Fatalf("exit code %d, %s", code, out.Bytes())
	}
	for _, step := range []string{"key: ", "public key: it is that key's", "policy: ", "state: Enabled", "algorithm: ECDSA_SHA_256", "log: "} {
		if !strings.Contains(errs.String(), "awskms-offline: "+step) {
			t.Errorf("%q is not in %q", step, errs.String())
		}
	}
	// An error object stands alone on standard error, or Notation would not find the reason in it.
	overwrite(t, q.home, "blocks/"+known(t, "p256").Fingerprint()+".json", "{}")
	failure := askError(t, q.json(), plugin.ErrorCodeGeneric)
	if got := failure.Error(); !strings.Contains(got, "StoreIntegrityException") || !strings.Contains(got, "Step by step: awskms-offline: key: ") || !strings.Contains(got, "; policy: NO, StoreIntegrityException") {
		t.Errorf("the error says %q", got)
	}
}

// TestAbsentIdentitiesAreTold: a trust policy may name 256 keys, most of them of other accounts' machines. Of none that is
// absent the store is searched for what it has instead: with a thousand accounts that alone took longer than the deadline.
func TestAbsentIdentitiesAreTold(t *testing.T) {
	t.Setenv("AWSKMS_OFFLINE_EXPLAIN", "1")
	p256 := known(t, "p256")
	absent := arnOf(t, "p256-other")
	q := question{home: newHome(t, p256), leaf: cert("p256"), identities: []string{absent, strings.Replace(absent, "key/", "alias/", 1), p256.ARN().String()}}
	var out, errs bytes.Buffer
	if code := Main([]string{"verify-signature"}, bytes.NewReader(q.json()), &out, &errs); code != 0 || !strings.Contains(out.String(), `"success":true`) {
		t.Fatalf("exit code %d, %s, %s", code, out.String(), errs.String())
	}
	if said := errs.String(); strings.Count(said, "is in the store") != 2 || strings.Contains(said, "which holds") {
		t.Errorf("said %s", said)
	}
}

// TestLongTextsAreCut: a reason is for a person, and quotes of a request of megabytes no more than tells what is wrong.
func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("\u0085", 400_000)
	good := question{home: newHome(t, known(t, "p256")), leaf: cert("p256"), identities: []string{arnOf(t, "p256")}}
	for name, request := range map[string]object{
		"version": good.object().with("contractVersion", long),
		"option":  good.object().with("pluginConfig", object{long: "x"}),
		"home":    good.object().with("pluginConfig", object{"home": long}),
	} {
		if out, failure := run(t, "verify-signature", must(json.Marshal(request))); failure == nil || len(failure.Message) > 64<<10 {
			t.Errorf("%s: answered %d bytes, or a message that is too long", name, len(out))
		}
	}
	if _, failure := run(t, "verify-signature", []byte(`{"`+long+`":1,"`+long+`":2}`)); failure == nil || len(failure.Message) > 64<<10 {
		t.Error("a name twice: an answer, or a message that is too long")
	}
	q := good
	q.extended = object{KeyARNAttribute: long}
	if got := ask(t, q).VerificationResults[identity]; got.Success || len(got.Reason) > 64<<10 {
		t.Errorf("the attribute: success %t, a reason of %d bytes", got.Success, len(got.Reason))
	}
}
