package verifier

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// encrypts and agrees make a record one of the other usages, as GetPublicKey answers it.
func encrypts(r *kmskey.Record) {
	r.KeyUsage, r.SigningAlgorithms, r.EncryptionAlgorithms = kmskey.EncryptDecrypt, nil, []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}
}

func agrees(r *kmskey.Record) {
	r.KeyUsage, r.SigningAlgorithms, r.KeyAgreementAlgorithms = kmskey.KeyAgreement, nil, []string{"ECDH"}
}

// myKey is the caller's private key on P-256.
var myKey = must(ecdh.P256().GenerateKey(rand.Reader))

func myPrivateKey() []byte { return must(x509.MarshalPKCS8PrivateKey(myKey)) }

const secretText = "a plaintext that nobody may see in a log"

// operation is Encrypt or DeriveSharedSecret, with a sound key and question.
type operation struct {
	name  string
	event string
	s     *signer
	usage edit
	// would is what a refusal by state says.
	would string
	// ask returns what came out, nil with an error.
	ask func(w *world, ctx context.Context, keyID string, unsafe bool) ([]byte, audit.Decision, error)
}

func operations() []operation {
	return []operation{
		{"Encrypt", audit.EventEncrypt, signerOf(kmskey.RSA2048), encrypts, "KMS will not decrypt", func(w *world, ctx context.Context, keyID string, unsafe bool) ([]byte, audit.Decision, error) {
			out, err := w.v.Encrypt(ctx, EncryptRequest{KeyID: keyID, EncryptionAlgorithm: kmskey.RSAESOAEPSHA256, Plaintext: strings.NewReader(secretText), UnsafeAllowState: unsafe})
			return out.Ciphertext(), out.Decision(), err
		}},
		{"DeriveSharedSecret", audit.EventDeriveSharedSecret, signerOf(kmskey.ECCNISTP256), agrees, "KMS will not derive", func(w *world, ctx context.Context, keyID string, unsafe bool) ([]byte, audit.Decision, error) {
			out, err := w.v.DeriveSharedSecret(ctx, DeriveRequest{KeyID: keyID, PrivateKey: myPrivateKey(), UnsafeAllowState: unsafe})
			return out.Bytes(), out.Decision(), err
		}},
	}
}

// kmsStates are the states of KMS, ours, and one that KMS may have one day.
var guardStates = []kmskey.KeyState{kmskey.StateEnabled, kmskey.StateUpdating, kmskey.StateDisabled, kmskey.StatePendingDeletion, kmskey.StatePendingImport,
	kmskey.StatePendingReplicaDel, kmskey.StateUnavailable, kmskey.StateCreating, kmskey.StateNotFound, "Frozen"}

// TestGuardsOfOtherUsages: each guard refuses, and UnsafeAllowState passes the key's state and nothing else.
func TestGuardsOfOtherUsages(t *testing.T) {
	states := func(all ...kmskey.KeyState) []kmskey.KeyState { return all }
	type guard struct {
		edits   []edit
		rules   policy.Rules
		prepare func(t *testing.T, w *world)
		// name is the refusal without UnsafeAllowState, "" for none; withUnsafe the one with it.
		name, withUnsafe kmserr.Name
		says             string
	}
	guards := map[string]guard{
		"nothing against it":       {},
		"its state is unknown":     {rules: policy.Rules{}},
		"for signatures":           {edits: []edit{func(r *kmskey.Record) { r.EncryptionAlgorithms, r.KeyAgreementAlgorithms = nil, nil; signs(r) }}, name: kmserr.InvalidKeyUsage, withUnsafe: kmserr.InvalidKeyUsage, says: "is for SIGN_VERIFY, expected "},
		"no algorithm in its list": {edits: []edit{func(r *kmskey.Record) { r.EncryptionAlgorithms, r.KeyAgreementAlgorithms = nil, nil }}, name: kmserr.InvalidKeyUsage, withUnsafe: kmserr.InvalidKeyUsage, says: "the record of " + arnA + " lists no"},
		"deleted in the past":      {edits: []edit{state(kmskey.StatePendingDeletion), deleted("2026-11-24T11:59:59Z")}, name: kmserr.KMSInvalidState, withUnsafe: kmserr.KMSInvalidState, says: "which is past"},
		"to be deleted":            {edits: []edit{state(kmskey.StatePendingDeletion), deleted("2026-12-24T11:59:59Z")}, name: kmserr.KMSInvalidState, says: "to be deleted on 2026-12-24T11:59:59Z"},
		"material expired":         {edits: []edit{state(kmskey.StateEnabled), validTo("2026-11-24T11:59:59Z")}, name: kmserr.KMSInvalidState, withUnsafe: kmserr.KMSInvalidState, says: "ValidTo"},
		"blocked": {prepare: func(t *testing.T, w *world) {
			w.block(t, keystore.Block{KeyID: arnA, Reason: "lost"})
		}, name: kmserr.KeyBlocked, withUnsafe: kmserr.KeyBlocked, says: "lost"},
		"blocked and disabled":      {edits: []edit{state(kmskey.StateDisabled)}, prepare: func(t *testing.T, w *world) { w.block(t, keystore.Block{KeyID: arnA}) }, name: kmserr.KeyBlocked, withUnsafe: kmserr.KeyBlocked},
		"not on the list":           {rules: policy.Rules{Excluded: "is not on the list"}, name: kmserr.KeyNotAllowed, withUnsafe: kmserr.KeyNotAllowed},
		"source":                    {rules: policy.Rules{Sources: []string{"kms"}}, name: kmserr.KeyNotAllowed, withUnsafe: kmserr.KeyNotAllowed},
		"outside its time":          {rules: policy.Rules{NotAfter: at("2026-11-24T11:00:00Z").Time}, name: kmserr.OutsideValidity, withUnsafe: kmserr.OutsideValidity},
		"too old":                   {rules: policy.Rules{MaxSnapshotAge: 1}, name: kmserr.SnapshotExpired, withUnsafe: kmserr.SnapshotExpired},
		"must be known":             {rules: policy.Rules{RequireKnownState: true}, name: kmserr.KMSInvalidState, withUnsafe: kmserr.KMSInvalidState, says: "demands a known one"},
		"granted for signatures":    {edits: []edit{state(kmskey.StateDisabled)}, rules: policy.Rules{KeyStates: states("Enabled", "Updating", "Disabled")}, name: kmserr.Disabled},
		"forbidden by the policy":   {edits: []edit{state(kmskey.StateDisabled)}, rules: policy.Rules{KeyStates: states("Enabled"), OnlyKeyStates: states("Enabled")}, name: kmserr.Disabled, withUnsafe: kmserr.Disabled},
		"left by the policy":        {edits: []edit{state(kmskey.StateDisabled)}, rules: policy.Rules{KeyStates: states("Enabled"), OnlyKeyStates: states("Enabled", "Disabled")}, name: kmserr.Disabled},
		"Updating forbidden":        {edits: []edit{state(kmskey.StateUpdating)}, rules: policy.Rules{KeyStates: states("Enabled"), OnlyKeyStates: states("Enabled")}, name: kmserr.KMSInvalidState, withUnsafe: kmserr.KMSInvalidState},
		"signing algorithms listed": {rules: policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{}, MessageTypes: []kmskey.MessageType{}}}, // they restrict signatures
		"the policy cannot tell": {prepare: func(_ *testing.T, w *world) {
			w.policy.rules = func(policy.Subject) (policy.Rules, error) { return policy.Rules{}, errors.New("broken") }
		}, name: kmserr.PolicyInvalid, withUnsafe: kmserr.PolicyInvalid},
		"the log is required":    {prepare: func(_ *testing.T, w *world) { w.log.required, w.log.err = true, errors.New("full") }, name: kmserr.AuditUnavailable, withUnsafe: kmserr.AuditUnavailable},
		"the log panics":         {prepare: func(_ *testing.T, w *world) { w.log.required, w.log.panics = true, true }, name: kmserr.AuditUnavailable, withUnsafe: kmserr.AuditUnavailable},
		"the log is best effort": {prepare: func(_ *testing.T, w *world) { w.log.err = errors.New("full") }},
	}
	for _, s := range guardStates {
		name := kmserr.KMSInvalidState
		g := guard{edits: []edit{state(s)}, name: name, says: "is " + string(s)}
		switch s {
		case kmskey.StateEnabled, kmskey.StateUpdating:
			g.name, g.says = "", ""
		case kmskey.StateDisabled:
			g.name, g.says = kmserr.Disabled, "is disabled"
		case kmskey.StateNotFound, "Frozen": // it never comes back; nobody knows what it is
			g.withUnsafe = name
		}
		guards["state "+string(s)] = g
	}
	for _, op := range operations() {
		for name, g := range guards {
			for unsafe, want := range map[bool]kmserr.Name{false: g.name, true: g.withUnsafe} {
				t.Run(fmt.Sprintf("%s/%s/%v", op.name, name, unsafe), func(t *testing.T) {
					w := newWorld(t, record(t, arnA, op.s, append([]edit{op.usage}, g.edits...)...))
					w.rules(g.rules)
					if g.prepare != nil {
						g.prepare(t, w)
					}
					out, d, err := op.ask(w, t.Context(), arnA, unsafe)
					line := w.check(t, 0, op.event, arnA, d, err)
					if (out != nil) == (err != nil) {
						t.Fatalf("%d bytes together with %v", len(out), err)
					}
					if want != "" {
						refused(t, err, want, g.says)
						byState := want == kmserr.Disabled || want == kmserr.KMSInvalidState && strings.Contains(err.Error(), "KMS said so") && name != "Updating forbidden"
						if hint := kmserr.As(err).Hint; strings.Contains(hint, "--unsafe-allow-state") != (g.withUnsafe == "" && byState) {
							t.Errorf("the hint says %q", hint)
						}
						if byState && !strings.Contains(err.Error(), op.would) {
							t.Errorf("%v does not tell the consequence", err)
						}
						if name == "Updating forbidden" && strings.Contains(err.Error(), op.would) {
							t.Errorf("%v tells what KMS would not do, where only the policy refuses", err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if name != "the log is best effort" && (line.Options[optionAllowState] == "true") != unsafe {
						t.Errorf("the line's options: %v", line.Options)
					}
					told := slices.ContainsFunc(d.Warnings, func(s string) bool { return strings.Contains(s, op.would) })
					if passed := g.name != ""; told != passed {
						t.Errorf("the warnings: %q", d.Warnings)
					}
				})
			}
		}
	}
}

// signs makes a record one for signatures again.
func signs(r *kmskey.Record) {
	r.KeyUsage = kmskey.SignVerify
	key := must(kmskey.NewKey(kmskey.Record{KeyID: r.KeyID, PublicKey: r.PublicKey, KeyUsage: kmskey.SignVerify, SigningAlgorithms: []kmskey.SigningAlgorithm{"?"}}))
	r.SigningAlgorithms = key.Spec().SigningAlgorithms()
}

// TestGrantsOfStatesVerifyOnly: the same grant lets a signature of a disabled key verify.
func TestGrantsOfStatesVerifyOnly(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StateDisabled)))
	w.rules(policy.Rules{KeyStates: []kmskey.KeyState{"Enabled", "Updating", "Disabled"}})
	if _, err := w.verify(t, good(arnA)); err != nil {
		t.Error(err)
	}
}

// TestEncrypt: what comes out decrypts, and what went in is nowhere in the log.
func TestEncrypt(t *testing.T) {
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", "rsa2048.key.pem"))))
	private := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
	w := newWorld(t, record(t, arnA, signerOf(kmskey.RSA2048), encrypts, state(kmskey.StateEnabled)))
	out, err := w.v.Encrypt(t.Context(), EncryptRequest{KeyID: arnA, EncryptionAlgorithm: kmskey.RSAESOAEPSHA256, Plaintext: strings.NewReader(secretText)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rsa.DecryptOAEP(sha256.New(), nil, private, out.Ciphertext(), nil); err != nil || string(got) != secretText {
		t.Errorf("decrypted %q, %v", got, err)
	}
	d := out.Decision()
	if out.EncryptionAlgorithm() != kmskey.RSAESOAEPSHA256 || d.KeyARN != arnA || !d.Verified || d.Options["encryption-algorithm"] != "RSAES_OAEP_SHA_256" {
		t.Errorf("%s, %+v", out.EncryptionAlgorithm(), d)
	}
	silent(t, w, []byte(secretText))

	// Nothing of a refused one either, and not its length.
	for _, plaintext := range []string{secretText + strings.Repeat("x", 151), ""} {
		out, err := w.v.Encrypt(t.Context(), EncryptRequest{KeyID: arnA, EncryptionAlgorithm: kmskey.RSAESOAEPSHA256, Plaintext: strings.NewReader(plaintext)})
		refused(t, err, kmserr.Validation, "190 bytes")
		if out != nil {
			t.Error("a result beside an error")
		}
	}
	silent(t, w, []byte(secretText))

	var none *Encrypted
	for _, zero := range []*Encrypted{none, {}} {
		if zero.Ciphertext() != nil || zero.EncryptionAlgorithm() != "" || zero.Decision().Verified {
			t.Error("the zero Encrypted says something")
		}
	}
	changed := out.Ciphertext()
	changed[0] ^= 1
	if bytes.Equal(changed, out.Ciphertext()) {
		t.Error("a caller can change the result")
	}
}

// silent demands that no line holds the secret, its hashes, or a length.
func silent(t *testing.T, w *world, secret []byte) {
	t.Helper()
	sum := sha256.Sum256(secret)
	for _, line := range w.log.lines {
		if line.InputBytes != 0 || line.InputSHA256 != "" || line.SignatureSHA256 != "" {
			t.Errorf("the line has %+v", line)
		}
		text := string(must(json.Marshal(line)))
		for _, part := range [][]byte{secret, secret[:len(secret)/2], sum[:]} {
			for _, form := range []string{string(part), hex.EncodeToString(part), base64.StdEncoding.EncodeToString(part)[:len(part)]} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
					t.Errorf("the line holds %q: %s", form, text)
				}
			}
		}
	}
	if len(w.log.lines) == 0 {
		t.Error("there is no line")
	}
}

// TestEncryptionAlgorithms: nothing is guessed where there are two, and the record decides.
func TestEncryptionAlgorithms(t *testing.T) {
	sm2Encrypts := func(r *kmskey.Record) {
		r.KeyUsage, r.SigningAlgorithms, r.EncryptionAlgorithms = kmskey.EncryptDecrypt, nil, []string{"SM2PKE", "NEW_PKE"}
	}
	only1 := func(r *kmskey.Record) { r.EncryptionAlgorithms = []string{"RSAES_OAEP_SHA_1", "SM2PKE"} }
	for name, c := range map[string]struct {
		spec  kmskey.KeySpec
		edits []edit
		ask   kmskey.EncryptionAlgorithm
		took  kmskey.EncryptionAlgorithm
		name  kmserr.Name
		says  string
	}{
		"RSA, SHA-1":        {kmskey.RSA2048, []edit{encrypts}, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_1", "", ""},
		"RSA, none":         {kmskey.RSA2048, []edit{encrypts}, "", "", kmserr.Validation, "one of: RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256"},
		"RSA, unknown":      {kmskey.RSA2048, []edit{encrypts}, "RSAES_OAEP_SHA_512", "", kmserr.Validation, "none of KMS's"},
		"RSA, SM2's":        {kmskey.RSA2048, []edit{encrypts}, "SM2PKE", "", kmserr.InvalidKeyUsage, "Algorithm SM2PKE is incompatible with key spec RSA_2048"},
		"RSA, a symmetric":  {kmskey.RSA2048, []edit{encrypts}, "SYMMETRIC_DEFAULT", "", kmserr.Validation, "none of KMS's"},
		"RSA, not recorded": {kmskey.RSA2048, []edit{encrypts, only1}, "RSAES_OAEP_SHA_256", "", kmserr.InvalidKeyUsage, "lists RSAES_OAEP_SHA_1, not RSAES_OAEP_SHA_256"},
		"RSA, recorded":     {kmskey.RSA2048, []edit{encrypts, only1}, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_1", "", ""},
		"RSA, one recorded": {kmskey.RSA2048, []edit{encrypts, only1}, "", "", kmserr.Validation, "one of: RSAES_OAEP_SHA_1."},
		"SM2, none":         {kmskey.SM2, []edit{sm2Encrypts}, "", "SM2PKE", "", ""},
		"SM2":               {kmskey.SM2, []edit{sm2Encrypts}, "SM2PKE", "SM2PKE", "", ""},
		"SM2, an unknown":   {kmskey.SM2, []edit{sm2Encrypts}, "NEW_PKE", "", kmserr.Validation, "none of KMS's"},
		"SM2, RSA's":        {kmskey.SM2, []edit{sm2Encrypts}, "RSAES_OAEP_SHA_1", "", kmserr.InvalidKeyUsage, "incompatible with key spec SM2"},
		"letter case":       {kmskey.SM2, []edit{sm2Encrypts}, "sm2pke", "", kmserr.Validation, "none of KMS's"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnA, signerOf(c.spec), c.edits...))
			out, err := w.v.Encrypt(t.Context(), EncryptRequest{KeyID: arnA, EncryptionAlgorithm: c.ask, Plaintext: strings.NewReader("x")})
			if c.name != "" {
				refused(t, err, c.name, c.says)
				return
			}
			if err != nil || out.EncryptionAlgorithm() != c.took {
				t.Errorf("%s, %v", out.EncryptionAlgorithm(), err)
			}
		})
	}
}

type unreadable struct{ err error }

func (f unreadable) Read([]byte) (int, error) {
	if f.err == nil {
		panic("the reader panics")
	}
	return 0, f.err
}

// TestPlaintextReaders: what cannot be read, and a reader that has no end.
func TestPlaintextReaders(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.RSA2048), encrypts))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	endless := &counting{}
	ending, end := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		name kmserr.Name
		says string
	}{
		"none":      {t.Context(), nil, kmserr.Validation, "there is no plaintext"},
		"broken":    {t.Context(), unreadable{errors.New("disk")}, kmserr.Validation, "cannot be read: disk"},
		"of ours":   {t.Context(), unreadable{kmserr.New(kmserr.DeadlineExceeded, "interrupted")}, kmserr.DeadlineExceeded, "interrupted"},
		"panics":    {t.Context(), unreadable{}, kmserr.Internal, "panics"},
		"endless":   {t.Context(), endless, kmserr.Validation, "longer than the 214 bytes"},
		"ends late": {ending, readerFunc(func(p []byte) (int, error) { end(); return 1, nil }), kmserr.DeadlineExceeded, "canceled"},
		"silent":    {t.Context(), readerFunc(func([]byte) (int, error) { return 0, nil }), kmserr.Validation, "no data or error"},
		"cancelled": {ended, strings.NewReader("x"), kmserr.DeadlineExceeded, ""},
	} {
		out, err := w.v.Encrypt(c.ctx, EncryptRequest{KeyID: arnA, EncryptionAlgorithm: kmskey.RSAESOAEPSHA1, Plaintext: c.r})
		if out != nil {
			t.Errorf("%s: a result", name)
		}
		refused(t, err, c.name, c.says)
	}
	if endless.n > 215 {
		t.Errorf("%d bytes were read, expected one more than allowed at most", endless.n)
	}
}

type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) { c.n += len(p); return len(p), nil }

// TestDerive: the secret is what the other side has, and it is nowhere in the log or in what is printed.
func TestDerive(t *testing.T) {
	kms := must(ecdh.P256().GenerateKey(rand.Reader))
	der := must(x509.MarshalPKIXPublicKey(kms.PublicKey()))
	w := newWorld(t, record(t, arnA, &signer{spec: kmskey.ECCNISTP256, der: der}, agrees, state(kmskey.StateEnabled)))
	want := must(kms.ECDH(myKey.PublicKey()))
	out, err := w.v.DeriveSharedSecret(t.Context(), DeriveRequest{KeyID: arnA, PrivateKey: myPrivateKey()})
	if err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("%x, expected %x: %v", out.Bytes(), want, err)
	}
	if d := out.Decision(); d.KeyARN != arnA || !d.Verified || d.Options["key-agreement-algorithm"] != "ECDH" {
		t.Errorf("%+v", d)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if text := fmt.Sprintf(format+format, out, *out); text != "a shared secreta shared secret" {
			t.Errorf("%s prints %s", format, text)
		}
	}
	silent(t, w, want)
	silent(t, w, myKey.Bytes())

	p384 := must(x509.MarshalPKCS8PrivateKey(must(ecdh.P384().GenerateKey(rand.Reader))))
	for says, private := range map[string][]byte{
		"is on the curve P-384, and the KMS key on P-256": p384, "is empty": nil, "longer than the 16384 bytes": make([]byte, MaxPrivateKey+1), "no PKCS#8": []byte("x"),
	} {
		out, err := w.v.DeriveSharedSecret(t.Context(), DeriveRequest{KeyID: arnA, PrivateKey: private})
		refused(t, err, kmserr.Validation, says)
		if out != nil {
			t.Error("a result beside an error")
		}
	}
	var none *SharedSecret
	for _, zero := range []*SharedSecret{none, {}} {
		if zero.Bytes() != nil || zero.Decision().Verified {
			t.Error("the zero SharedSecret says something")
		}
	}
}

// TestOtherUsagesResolve: aliases mean what they mean now, replicas stand for each other, and all of them must pass.
func TestOtherUsagesResolve(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			a, b := record(t, arnA, op.s, op.usage), record(t, arnB, op.s, op.usage)
			w := newWorld(t, a, b)
			w.alias(t, a, at("2026-11-20T00:00:00Z"))
			w.write(t, func(writer *keystore.Writer) error {
				_, err := writer.Put(b, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: at("2026-11-21T00:00:00Z"), MoveAlias: true})
				return err
			})
			w.rules(policy.Rules{AllowAliasHistory: true, AllowAliasHistoryForNotation: true})
			if _, d, err := op.ask(w, t.Context(), aliasA, false); err != nil || d.KeyARN != arnB {
				t.Errorf("the alias gave %s, %v", d.KeyARN, err)
			}
			w.block(t, keystore.Block{KeyID: arnB})
			_, _, err := op.ask(w, t.Context(), aliasA, false)
			refused(t, err, kmserr.KeyBlocked)

			w = newWorld(t, record(t, mrkEast, op.s, op.usage), record(t, mrkWest, op.s, op.usage, state(kmskey.StateDisabled)))
			_, _, err = op.ask(w, t.Context(), mrkEU, false)
			refused(t, err, kmserr.Disabled, mrkWest)
			if _, d, err := op.ask(w, t.Context(), mrkEast, false); err != nil || d.Fallback {
				t.Error(err)
			}
			if _, d, err := op.ask(w, t.Context(), mrkEU, true); err != nil || !d.Fallback || len(d.Warnings) < 2 {
				t.Errorf("%+v, %v", d, err)
			}
			for keyID, name := range map[string]kmserr.Name{"": kmserr.Validation, "alias/none": kmserr.NotFound, arnA: kmserr.NotFound} {
				_, _, err := op.ask(w, t.Context(), keyID, true)
				refused(t, err, name)
			}
			none := &world{v: &Verifier{}}
			_, _, err = op.ask(none, t.Context(), arnA, false)
			refused(t, err, kmserr.Internal)
		})
	}
}
