package verifier

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// signingSpecs are all twelve.
var signingSpecs = []kmskey.KeySpec{kmskey.RSA2048, kmskey.RSA3072, kmskey.RSA4096, kmskey.ECCNISTP256, kmskey.ECCNISTP384, kmskey.ECCNISTP521,
	kmskey.ECCSECGP256K1, kmskey.ECCNISTEdwards25519, kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87, kmskey.SM2}

// TestEverySigningAlgorithm verifies each pair of spec and algorithm through the door, in each form of the input.
func TestEverySigningAlgorithm(t *testing.T) {
	message := []byte("the message\nof this test\x00")
	pairs := 0
	for _, spec := range signingSpecs {
		s := signerOf(spec)
		w := newWorld(t, record(t, arnA, s, state(kmskey.StateEnabled)))
		for _, a := range spec.SigningAlgorithms() {
			pairs++
			t.Run(string(spec)+"/"+string(a), func(t *testing.T) {
				signature := s.sign(a, message)
				ask := func(typ kmskey.MessageType, input, signature []byte) error {
					_, err := w.verify(t, Request{KeyID: arnA, SigningAlgorithm: a, MessageType: typ, Message: bytes.NewReader(input), Signature: signature})
					return err
				}
				d, err := w.verify(t, Request{KeyID: arnA, SigningAlgorithm: a, Message: bytes.NewReader(message), Signature: signature})
				if err != nil {
					t.Fatal(err)
				}
				if d.SigningAlgorithm != string(a) || d.KeySpec != string(spec) || d.KeyARN != arnA || d.InputBytes != int64(len(message)) ||
					d.InputSHA256 != hexSHA256(message) || d.SignatureSHA256 != hexSHA256(signature) || d.KeyState != "Enabled" || d.PublicKeySHA256 != hexSHA256(s.der) {
					t.Errorf("the decision says %+v", d)
				}
				if err := ask(kmskey.Raw, message, signature); a == kmskey.ED25519PHSHA512 {
					refused(t, err, kmserr.Validation, "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512")
				} else if err != nil {
					t.Errorf("RAW: %v", err)
				}
				for _, bit := range []int{0, 9, len(signature) * 4, len(signature)*8 - 1} {
					refused(t, ask("", message, flipped(signature, bit)), kmserr.InvalidSignature)
				}
				refused(t, ask("", flipped(message, 3), signature), kmserr.InvalidSignature)
				refused(t, ask("", append(slices.Clone(message), 0), signature), kmserr.InvalidSignature)
				refused(t, ask("", nil, signature), kmserr.InvalidSignature)
				refused(t, ask("", message, signature[:len(signature)-1]), kmserr.InvalidSignature)
				refused(t, ask("", message, append(slices.Clone(signature), 0)), kmserr.InvalidSignature)
				refused(t, ask("", message, nil), kmserr.Validation, "signature is empty")
				refused(t, ask(kmskey.ExternalMu, make([]byte, 64), signature), map[bool]kmserr.Name{true: kmserr.UnsupportedOperation, false: kmserr.Validation}[a == kmskey.MLDSASHAKE256])

				if a.DigestSize() == 0 {
					refused(t, ask(kmskey.Digest, make([]byte, 64), signature), kmserr.Validation, "Message type DIGEST is incompatible")
					return
				}
				digest := w.digest(t, a, message)
				if err := ask(kmskey.Digest, digest, signature); err != nil {
					t.Fatalf("DIGEST: %v", err)
				}
				refused(t, ask(kmskey.Digest, flipped(digest, 5), signature), kmserr.InvalidSignature)
				refused(t, ask(kmskey.Digest, append(slices.Clone(digest), "junk"...), signature), kmserr.Validation, "Digest is invalid length for algorithm "+string(a))
				refused(t, ask(kmskey.Digest, digest[:len(digest)-1], signature), kmserr.Validation, "Digest is invalid length")
				refused(t, ask(kmskey.Digest, fmt.Appendf(nil, "%x", digest), signature), kmserr.Validation, "hexadecimal")
				refused(t, ask(kmskey.Digest, nil, signature), kmserr.Validation, "Digest is invalid length")
				// A digest is no message and a message no digest.
				refused(t, ask("", digest, signature), kmserr.InvalidSignature)
			})
		}
	}
	if pairs != 28 {
		t.Errorf("%d pairs of spec and algorithm, expected 28", pairs)
	}
}

// digest returns what KMS Sign takes as DIGEST, and checks it against the hash for all that have a plain one.
func (w *world) digest(t *testing.T, a kmskey.SigningAlgorithm, message []byte) []byte {
	t.Helper()
	d, err := w.v.Digest(context.Background(), DigestRequest{KeyID: arnA, SigningAlgorithm: a, Message: bytes.NewReader(message)})
	if err != nil {
		t.Fatal(err)
	}
	if d.MessageType != kmskey.Digest || d.SigningAlgorithm != a || d.KeyARN.String() != arnA || a != kmskey.SM2DSA && !bytes.Equal(d.Bytes, digestOf(a, message)) {
		t.Fatalf("got %+v", d)
	}
	return d.Bytes
}

func flipped(b []byte, bit int) []byte {
	b = slices.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// TestAnotherKeysSignature: no key verifies what another of the same spec signed.
func TestAnotherKeysSignature(t *testing.T) {
	for _, spec := range []kmskey.KeySpec{kmskey.ECCNISTP256, kmskey.ECCSECGP256K1, kmskey.ECCNISTEdwards25519, kmskey.MLDSA44, kmskey.SM2} {
		w := newWorld(t, record(t, arnA, newSigner(spec)))
		a := spec.SigningAlgorithms()[0]
		_, err := w.verify(t, request(arnA, signerOf(spec), a, []byte("m")))
		refused(t, err, kmserr.InvalidSignature)
	}
}

// TestWhatWasTakenForGranted: a refused signature's hint names what nobody said, and how to say it.
func TestWhatWasTakenForGranted(t *testing.T) {
	rsa, curve, chinese := signerOf(kmskey.RSA2048), signerOf(kmskey.ECCNISTP256), signerOf(kmskey.SM2)
	pkcs1 := []kmskey.SigningAlgorithm{kmskey.RSASSAPKCS1SHA256}
	usual := kmserr.Lookup(kmserr.InvalidSignature).Cure
	digest := make([]byte, 32)
	for name, c := range map[string]struct {
		signer  *signer
		edits   []edit
		rules   *policy.Rules
		req     Request
		assumed string
	}{
		"default algorithm": {signer: rsa, req: Request{DefaultAlgorithms: pkcs1, Signature: rsa.sign(kmskey.RSASSAPSSSHA256, []byte("m"))},
			assumed: "No signing algorithm was given, so RSASSA_PKCS1_V1_5_SHA_256 was taken: name another with the option signing-algorithm."},
		"algorithm named":      {signer: rsa, req: Request{SigningAlgorithm: kmskey.RSASSAPKCS1SHA256, Signature: rsa.sign(kmskey.RSASSAPSSSHA256, []byte("m"))}},
		"only algorithm":       {signer: curve, req: Request{Signature: curve.sign(kmskey.ECDSASHA256, []byte("x"))}},
		"default ID":           {signer: chinese, req: Request{Signature: chinese.sign(kmskey.SM2DSA, withID("x", "m"))}, assumed: `No distinguishing ID was given, so "1234567812345678" was taken`},
		"the record's ID":      {signer: chinese, edits: []edit{distinguishing("rec")}, req: Request{Signature: chinese.sign(kmskey.SM2DSA, withID("x", "m"))}, assumed: `so "rec" was taken`},
		"the policy's ID":      {signer: chinese, rules: &policy.Rules{DistinguishingID: did("pol")}, req: Request{Signature: chinese.sign(kmskey.SM2DSA, withID("x", "m"))}},
		"ID named":             {signer: chinese, req: Request{DistinguishingID: did("y"), Signature: chinese.sign(kmskey.SM2DSA, withID("x", "m"))}},
		"ID in the digest":     {signer: chinese, req: Request{MessageType: kmskey.Digest, Message: bytes.NewReader(digest), Signature: chinese.sign(kmskey.SM2DSA, withID("x", "m"))}},
		"ill-formed signature": {signer: chinese, req: Request{Signature: []byte("x")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnA, c.signer, c.edits...))
			if c.rules != nil {
				w.rules(*c.rules)
			}
			if c.req.KeyID = arnA; c.req.Message == nil {
				c.req.Message = strings.NewReader("m")
			}
			_, err := w.verify(t, c.req)
			refused(t, err, kmserr.InvalidSignature, c.assumed)
			hint := kmserr.As(err).Hint
			if c.assumed == "" && hint != usual && name != "ill-formed signature" || strings.Contains(hint, "was taken") != (c.assumed != "") || strings.Contains(usual, "was taken") {
				t.Errorf("the hint is %q", hint)
			}
		})
	}
}

// TestDecision is the table of guards: one fault each, everything else in order.
func TestDecision(t *testing.T) {
	p256, rsa := signerOf(kmskey.ECCNISTP256), signerOf(kmskey.RSA2048)
	for name, c := range map[string]struct {
		signer *signer
		edits  []edit
		rules  *policy.Rules
		now    string
		ask    func(*Request)
		name   kmserr.Name // empty: verified
		says   []string
	}{
		"sound":                        {},
		"sound, Enabled":               {edits: []edit{state(kmskey.StateEnabled)}},
		"sound, Updating":              {edits: []edit{state(kmskey.StateUpdating)}},
		"identifier, no form":          {ask: func(r *Request) { r.KeyID = "release" }, name: kmserr.Validation, says: []string{"four forms"}},
		"identifier, empty":            {ask: func(r *Request) { r.KeyID = "" }, name: kmserr.Validation, says: []string{"is empty"}},
		"identifier, with dots":        {ask: func(r *Request) { r.KeyID = "alias/../../x" }, name: kmserr.Validation},
		"absent":                       {ask: func(r *Request) { r.KeyID = arnB }, name: kmserr.NotFound, says: []string{arnA}},
		"bare key ID":                  {ask: func(r *Request) { r.KeyID = arnA[len(arnA)-36:] }},
		"another case":                 {ask: func(r *Request) { r.KeyID = strings.ToUpper(r.KeyID) }, name: kmserr.Validation},
		"usage, encryption":            {signer: rsa, edits: []edit{usage(kmskey.EncryptDecrypt)}, name: kmserr.InvalidKeyUsage, says: []string{"ENCRYPT_DECRYPT, expected SIGN_VERIFY"}},
		"usage, key agreement":         {edits: []edit{usage(kmskey.KeyAgreement)}, name: kmserr.InvalidKeyUsage, says: []string{"KEY_AGREEMENT"}},
		"Disabled":                     {edits: []edit{state(kmskey.StateDisabled)}, name: kmserr.Disabled, says: []string{"2026-11-23T11:00:00Z"}},
		"PendingDeletion":              {edits: []edit{state(kmskey.StatePendingDeletion), deleted("2026-12-24T00:00:00Z")}, name: kmserr.KMSInvalidState, says: []string{"PendingDeletion, to be deleted on 2026-12-24", "2026-11-23"}},
		"PendingReplicaDeletion":       {edits: []edit{state(kmskey.StatePendingReplicaDel)}, name: kmserr.KMSInvalidState},
		"Creating":                     {edits: []edit{state(kmskey.StateCreating)}, name: kmserr.KMSInvalidState},
		"PendingImport":                {edits: []edit{state(kmskey.StatePendingImport)}, name: kmserr.KMSInvalidState},
		"Unavailable":                  {edits: []edit{state(kmskey.StateUnavailable)}, name: kmserr.KMSInvalidState},
		"a state unknown to us":        {edits: []edit{state("Frozen")}, name: kmserr.KMSInvalidState, says: []string{"Frozen"}},
		"DeletionDate past, Enabled":   {edits: []edit{state(kmskey.StateEnabled), deleted("2026-11-24T12:00:00Z")}, name: kmserr.KMSInvalidState, says: []string{"DeletionDate 2026-11-24T12:00:00Z, which is past"}},
		"DeletionDate to come":         {edits: []edit{state(kmskey.StateEnabled), deleted("2026-11-24T12:00:01Z")}},
		"ValidTo past":                 {edits: []edit{state(kmskey.StateEnabled), validTo("2026-11-24T11:59:59Z")}, name: kmserr.KMSInvalidState, says: []string{"ValidTo"}},
		"ValidTo to come":              {edits: []edit{state(kmskey.StateEnabled), validTo("2026-11-25T00:00:00Z")}},
		"ValidTo to come, clock back":  {edits: []edit{state(kmskey.StateEnabled), validTo("2026-11-25T00:00:00Z")}, now: "2026-11-23T10:54:59Z", name: kmserr.Clock},
		"DeletionDate past, permitted": {edits: []edit{state(kmskey.StatePendingDeletion), deleted("2026-11-24T11:00:00Z")}, rules: &policy.Rules{KeyStates: []kmskey.KeyState{"PendingDeletion"}}, name: kmserr.KMSInvalidState, says: []string{"past"}},

		"policy, excluded":               {rules: &policy.Rules{Excluded: "is not on the list"}, name: kmserr.KeyNotAllowed, says: []string{"the key is not on the list"}},
		"policy, source":                 {edits: []edit{source("file")}, rules: &policy.Rules{Sources: []string{"kms"}}, name: kmserr.KeyNotAllowed, says: []string{`"file"`, "kms"}},
		"policy, no source":              {rules: &policy.Rules{Sources: []string{"kms"}}, name: kmserr.KeyNotAllowed, says: []string{`""`}},
		"policy, no source is allowed":   {edits: []edit{source("kms")}, rules: &policy.Rules{Sources: []string{}}, name: kmserr.KeyNotAllowed, says: []string{"none"}},
		"policy, source allowed":         {edits: []edit{source("kms")}, rules: &policy.Rules{Sources: []string{"file", "kms"}}},
		"policy, not before":             {rules: &policy.Rules{NotBefore: at("2026-11-24T12:00:01Z").Time}, name: kmserr.OutsideValidity, says: []string{"now is 2026-11-24T12:00:00Z", "from 2026-11-24T12:00:01Z to any time"}},
		"policy, not after":              {rules: &policy.Rules{NotAfter: at("2026-11-24T11:59:59Z").Time}, name: kmserr.OutsideValidity, says: []string{"from any time to 2026-11-24T11:59:59Z"}},
		"policy, within both":            {rules: &policy.Rules{NotBefore: at("2026-11-24T12:00:00Z").Time, NotAfter: at("2026-11-24T12:00:00Z").Time}},
		"policy, not after, clock back":  {edits: []edit{seen("2026-11-24T12:05:01Z")}, rules: &policy.Rules{NotAfter: at("2030-01-01T00:00:00Z").Time}, name: kmserr.Clock, says: []string{"the clock says 2026-11-24T12:00:00Z", "2026-11-24T12:05:01Z"}},
		"policy, not before, clock back": {edits: []edit{seen("2026-11-24T12:05:01Z")}, rules: &policy.Rules{NotBefore: at("2020-01-01T00:00:00Z").Time}, name: kmserr.Clock},
		"clock back, no rule":            {edits: []edit{seen("2027-01-01T00:00:00Z")}},
		"policy, state known":            {rules: &policy.Rules{RequireKnownState: true}, name: kmserr.KMSInvalidState, says: []string{"not known", "describe-key"}},
		"policy, state is known":         {edits: []edit{state(kmskey.StateEnabled)}, rules: &policy.Rules{RequireKnownState: true}},
		"policy, Disabled permitted":     {edits: []edit{state(kmskey.StateDisabled)}, rules: &policy.Rules{KeyStates: []kmskey.KeyState{"Enabled", "Disabled"}}},
		"policy, only Enabled":           {edits: []edit{state(kmskey.StateUpdating)}, rules: &policy.Rules{KeyStates: []kmskey.KeyState{"Enabled"}}, name: kmserr.KMSInvalidState},
		"policy, no state":               {edits: []edit{state(kmskey.StateEnabled)}, rules: &policy.Rules{KeyStates: []kmskey.KeyState{}}, name: kmserr.KMSInvalidState},
		"policy, age":                    {edits: []edit{seen("2026-11-23T11:59:59Z")}, rules: &policy.Rules{MaxSnapshotAge: 24 * time.Hour}, name: kmserr.SnapshotExpired, says: []string{arnA, "2026-11-23T11:59:59Z, 24h1m old", "allows 1d"}},
		"policy, age just so":            {edits: []edit{seen("2026-11-23T12:00:00Z")}, rules: &policy.Rules{MaxSnapshotAge: 24 * time.Hour}},
		"policy, age without a date":     {rules: &policy.Rules{MaxSnapshotAge: 1000000 * time.Hour}, name: kmserr.SnapshotExpired, says: []string{"has no date"}},
		"policy, age of the state":       {edits: []edit{seen("2026-11-24T11:00:00Z"), state(kmskey.StateEnabled)}, rules: &policy.Rules{MaxSnapshotAge: 24 * time.Hour}, name: kmserr.SnapshotExpired, says: []string{"the key state of"}},
		"policy, state without a date":   {edits: []edit{seen("2026-11-24T11:00:00Z"), state(kmskey.StateEnabled), func(r *kmskey.Record) { r.Snapshot.StateTime = kmskey.Time{} }}, rules: &policy.Rules{MaxSnapshotAge: 24 * time.Hour}, name: kmserr.SnapshotExpired, says: []string{"the key state of", "no date"}},
		"policy, age, clock back":        {edits: []edit{seen("2026-11-24T12:05:01Z")}, rules: &policy.Rules{MaxSnapshotAge: time.Hour}, name: kmserr.Clock},
		"policy, age, clock near":        {edits: []edit{seen("2026-11-24T12:05:00Z")}, rules: &policy.Rules{MaxSnapshotAge: time.Hour}},
		"policy, age below zero":         {edits: []edit{seen("2026-11-24T12:00:00Z")}, rules: &policy.Rules{MaxSnapshotAge: -time.Hour}, name: kmserr.SnapshotExpired},
		"state's clock back":             {edits: []edit{seen("2026-11-01T00:00:00Z"), state(kmskey.StateEnabled)}, now: "2026-11-23T10:00:00Z", rules: &policy.Rules{MaxSnapshotAge: 1000 * time.Hour}, name: kmserr.Clock, says: []string{"the key state of"}},

		"algorithm, none given":       {ask: func(r *Request) { r.SigningAlgorithm = "" }},
		"algorithm, unknown":          {ask: func(r *Request) { r.SigningAlgorithm = "ECDSA_SHA_1" }, name: kmserr.Validation, says: []string{`"ECDSA_SHA_1" is none of KMS's`, "SM2DSA"}},
		"algorithm, lower case":       {ask: func(r *Request) { r.SigningAlgorithm = "ecdsa_sha_256" }, name: kmserr.Validation},
		"algorithm of another spec":   {ask: func(r *Request) { r.SigningAlgorithm = kmskey.ECDSASHA384 }, name: kmserr.InvalidKeyUsage, says: []string{"Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256", "This key takes: ECDSA_SHA_256"}},
		"algorithm, several":          {signer: rsa, ask: func(r *Request) { r.SigningAlgorithm = "" }, name: kmserr.Validation, says: []string{"no signing algorithm is given", "RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PSS_SHA_512"}},
		"algorithm, several, narrow":  {signer: rsa, ask: func(r *Request) { r.SigningAlgorithm = "" }, rules: &policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.RSASSAPSSSHA384}}, name: kmserr.Validation, says: []string{"one of: RSASSA_PSS_SHA_384."}},
		"algorithm, Ed25519 has two":  {signer: signerOf(kmskey.ECCNISTEdwards25519), ask: func(r *Request) { r.SigningAlgorithm = "" }, name: kmserr.Validation, says: []string{"ED25519_SHA_512, ED25519_PH_SHA_512"}},
		"record narrowed":             {signer: rsa, edits: []edit{algorithms(kmskey.RSASSAPSSSHA256)}, name: kmserr.InvalidKeyUsage, says: []string{"lists RSASSA_PSS_SHA_256, not RSASSA_PKCS1_V1_5_SHA_256"}},
		"record of the future":        {edits: []edit{algorithms("ECDSA_SHA3_256")}, name: kmserr.InvalidKeyUsage, says: []string{"lists none, not ECDSA_SHA_256"}},
		"policy, algorithm":           {rules: &policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.SM2DSA}}, name: kmserr.AlgorithmNotAllowed, says: []string{"ECDSA_SHA_256 is not allowed", "none"}},
		"policy, default excluded":    {rules: &policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{}}, ask: func(r *Request) { r.SigningAlgorithm = "" }, name: kmserr.AlgorithmNotAllowed},
		"policy, message type":        {rules: &policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}}, name: kmserr.AlgorithmNotAllowed, says: []string{"message type RAW", "DIGEST"}},
		"policy, message types, RAW":  {rules: &policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Raw}}},
		"message type unknown":        {ask: func(r *Request) { r.MessageType = "raw" }, name: kmserr.Validation, says: []string{`"raw"`, "RAW, DIGEST, EXTERNAL_MU"}},
		"no message":                  {ask: func(r *Request) { r.Message = nil }, name: kmserr.Validation, says: []string{"no message"}},
		"message that cannot be read": {ask: func(r *Request) { r.Message = io.MultiReader(strings.NewReader("mess"), failing{}) }, name: kmserr.Validation, says: []string{"cannot be read"}},
		"ID for a key that has none":  {ask: func(r *Request) { r.DistinguishingID = did("x") }, name: kmserr.Validation, says: []string{"SM2"}},
		"ENTL for a key without":      {ask: func(r *Request) { r.ENTL = kmskey.ENTLAWSJavaHelper }, name: kmserr.Validation, says: []string{"SM2"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.signer
			if s == nil {
				s = p256
			}
			w := newWorld(t, record(t, arnA, s, c.edits...))
			if c.rules != nil {
				w.rules(*c.rules)
			}
			if c.now != "" {
				w.now = at(c.now).Time
			}
			req := request(arnA, s, s.spec.SigningAlgorithms()[0], []byte("message"))
			if c.ask != nil {
				c.ask(&req)
			}
			_, err := w.verify(t, req)
			if c.name == "" {
				if err != nil {
					t.Fatalf("%v | %s", err, kmserr.As(err).Hint)
				}
				return
			}
			refused(t, err, c.name, c.says...)
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

func did(id string) kmskey.DistinguishingID { return must(kmskey.NewDistinguishingID([]byte(id))) }

// TestOrder breaks everything at once and mends one thing after the other: the guards refuse in their fixed order.
func TestOrder(t *testing.T) {
	disabled := record(t, arnA, signerOf(kmskey.RSA2048), state(kmskey.StateDisabled), seen("2026-11-01T00:00:00Z"), usage(kmskey.EncryptDecrypt))
	w := newWorld(t)
	rules := policy.Rules{Excluded: "is excluded", NotAfter: at("2026-11-02T00:00:00Z").Time, MaxSnapshotAge: 24 * time.Hour,
		SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.RSASSAPSSSHA512}, MessageTypes: []kmskey.MessageType{kmskey.Digest}}
	w.rules(rules)
	req := Request{KeyID: "nothing", SigningAlgorithm: kmskey.ECDSASHA256, Message: strings.NewReader("other"),
		Signature: signerOf(kmskey.RSA2048).sign(kmskey.RSASSAPSSSHA256, []byte("message"))}
	expect := func(name kmserr.Name, says string) {
		t.Helper()
		_, err := w.verify(t, req)
		refused(t, err, name, says)
	}
	put := func(key *kmskey.Key) {
		w.write(t, func(writer *keystore.Writer) error {
			if _, err := writer.Remove(must(kmskey.ParseRef(arnA))); err != nil && !kmserr.Is(err, kmserr.NotFound) {
				return err
			}
			_, err := writer.Put(key, keystore.PutOptions{})
			return err
		})
	}
	expect(kmserr.Validation, "four forms")
	req.KeyID = arnA
	expect(kmserr.NotFound, arnA)
	put(disabled)
	w.block(t, keystore.Block{KeyID: arnA})
	expect(kmserr.KeyBlocked, "blocked")
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Unblock(must(kmskey.ParseARN(arnA)), disabled.Fingerprint())
		return err
	})
	expect(kmserr.KeyNotAllowed, "is excluded")
	rules.Excluded = ""
	w.rules(rules)
	expect(kmserr.OutsideValidity, "2026-11-02")
	rules.NotAfter = time.Time{}
	w.rules(rules)
	expect(kmserr.Disabled, "disabled")
	put(record(t, arnA, signerOf(kmskey.RSA2048), state(kmskey.StateEnabled), seen("2026-11-01T00:00:00Z"), usage(kmskey.EncryptDecrypt)))
	expect(kmserr.SnapshotExpired, "2026-11-01")
	rules.MaxSnapshotAge = 0
	w.rules(rules)
	expect(kmserr.InvalidKeyUsage, "ENCRYPT_DECRYPT")
	put(record(t, arnA, signerOf(kmskey.RSA2048), state(kmskey.StateEnabled), algorithms(kmskey.RSASSAPSSSHA256)))
	expect(kmserr.InvalidKeyUsage, "Algorithm ECDSA_SHA_256 is incompatible")
	req.SigningAlgorithm = kmskey.RSASSAPSSSHA512
	expect(kmserr.InvalidKeyUsage, "lists RSASSA_PSS_SHA_256")
	req.SigningAlgorithm = kmskey.RSASSAPSSSHA256
	expect(kmserr.AlgorithmNotAllowed, "RSASSA_PSS_SHA_256")
	rules.SigningAlgorithms = nil
	w.rules(rules)
	expect(kmserr.AlgorithmNotAllowed, "message type")
	rules.MessageTypes = nil
	w.rules(rules)
	expect(kmserr.InvalidSignature, "not one of this key")
	w.log.err, w.log.required = errors.New("disk full"), true
	expect(kmserr.AuditUnavailable, "disk full")
	w.log.err = nil
	req.Message = strings.NewReader("message")
	if _, err := w.verify(t, req); err != nil {
		t.Fatal(err)
	}
}

// TestMessageIsNotTouchedByARefusal: what is refused before the signature is looked at costs no reading.
func TestMessageIsNotTouchedByARefusal(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StateDisabled)))
	req := good(arnA)
	message := strings.NewReader("message")
	req.Message = message
	_, err := w.verify(t, req)
	refused(t, err, kmserr.Disabled)
	if message.Len() != len("message") {
		t.Error("the message was read")
	}
}

func TestBlocks(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	fingerprint := hexSHA256(p256.der)
	mrkRecord := func(arn string) *kmskey.Key { return record(t, arn, p256) }
	for name, c := range map[string]struct {
		keys  []*kmskey.Key
		block keystore.Block
		ask   string
		open  bool
	}{
		"by ARN":                              {[]*kmskey.Key{record(t, arnA, p256)}, keystore.Block{KeyID: arnA, Reason: "stolen", By: "ops"}, arnA, false},
		"by material":                         {[]*kmskey.Key{record(t, arnA, p256)}, keystore.Block{PublicKeySHA256: fingerprint, Reason: "stolen", By: "ops"}, arnA, false},
		"the same key under another ARN":      {[]*kmskey.Key{record(t, arnA, p256), record(t, arnB, p256)}, keystore.Block{KeyID: arnB, Reason: "stolen", By: "ops"}, arnA, false},
		"another Region of a multi-Region":    {[]*kmskey.Key{mrkRecord(mrkEast), mrkRecord(mrkWest)}, keystore.Block{KeyID: mrkWest, Reason: "stolen", By: "ops"}, mrkEast, false},
		"a Region that has no record":         {[]*kmskey.Key{mrkRecord(mrkEast)}, keystore.Block{KeyID: mrkEU, Reason: "stolen", By: "ops"}, mrkEast, false},
		"the ARN asked for, by fallback":      {[]*kmskey.Key{mrkRecord(mrkEast)}, keystore.Block{KeyID: mrkWest, Reason: "stolen", By: "ops"}, mrkWest, false},
		"the ARN used, by fallback":           {[]*kmskey.Key{mrkRecord(mrkEast)}, keystore.Block{KeyID: mrkEast, Reason: "stolen", By: "ops"}, mrkWest, false},
		"a third one, by fallback":            {[]*kmskey.Key{mrkRecord(mrkEast)}, keystore.Block{KeyID: mrkEU, Reason: "stolen", By: "ops"}, mrkWest, false},
		"another key":                         {[]*kmskey.Key{record(t, arnA, p256)}, keystore.Block{KeyID: arnB}, arnA, true},
		"since a time that is still to come":  {[]*kmskey.Key{record(t, arnA, p256)}, keystore.Block{KeyID: arnA, Reason: "stolen", By: "ops", Since: at("2099-01-01T00:00:00Z")}, arnA, false},
		"by bare key ID asked for":            {[]*kmskey.Key{record(t, arnA, p256)}, keystore.Block{KeyID: arnA, Reason: "stolen", By: "ops"}, arnA[len(arnA)-36:], false},
		"of a plain UUID, in another account": {[]*kmskey.Key{record(t, arnA, p256)}, keystore.Block{KeyID: strings.Replace(arnA, "111122223333", "444455556666", 1)}, arnA, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.keys...)
			if _, err := w.verify(t, good(c.ask)); err != nil {
				t.Fatalf("before the block: %v", err)
			}
			w.block(t, c.block)
			_, err := w.verify(t, good(c.ask))
			_, authErr := w.authorize(t, KeyRequest{KeyID: c.ask, PublicKey: p256.der, SeparateState: true})
			_, digestErr := w.v.Digest(context.Background(), DigestRequest{KeyID: c.ask, Message: strings.NewReader("m")})
			if c.open {
				if err := errors.Join(err, authErr, digestErr); err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, err, kmserr.KeyBlocked, "by ops", "stolen")
			refused(t, authErr, kmserr.KeyBlocked)
			for _, line := range w.log.lines[len(w.log.lines)-2:] { // each names the block as it was read
				if !slices.ContainsFunc(line.Files, func(f audit.File) bool {
					data, err := os.ReadFile(f.Path)
					return err == nil && strings.HasPrefix(f.Path, filepath.Join(w.home.Path, "blocks")) && f.SHA256 == hexSHA256(data)
				}) {
					t.Errorf("no block is among the files of the line: %v", line.Files)
				}
			}
			refused(t, digestErr, kmserr.KeyBlocked)
		})
	}
}

func TestUnreadableBlockRefuses(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, arnA, p256))
	w.block(t, keystore.Block{KeyID: arnB})
	path := filepath.Join(w.home.Path, "blocks", hexSHA256(p256.der)+".json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.StoreIntegrity, path)
}

func TestDamagedRecord(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	d, err := w.verify(t, good(arnA))
	if err != nil || len(d.Files) != 1 {
		t.Fatalf("%v, files %v", err, d.Files)
	}
	data := must(os.ReadFile(d.Files[0].Path))
	if d.Files[0].SHA256 != hexSHA256(data) {
		t.Errorf("the file's SHA-256 is %s", d.Files[0].SHA256)
	}
	for _, damage := range [][]byte{nil, []byte("{}"), bytes.Replace(data, []byte("SIGN_VERIFY"), []byte("KEY_AGREEMENT"), 1),
		bytes.Replace(data, []byte("ECC_NIST_P256"), []byte("ECC_NIST_P384"), 1), bytes.Replace(data, []byte("1234567890ab"), []byte("1234567890ac"), 1)} {
		if err := os.WriteFile(d.Files[0].Path, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := w.verify(t, good(arnA))
		refused(t, err, kmserr.StoreIntegrity, d.Files[0].Path)
	}
}

func TestAlias(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	key := record(t, arnA, p256, seen("2026-11-24T11:00:00Z"))
	w := newWorld(t, key)
	w.alias(t, key, at("2026-11-20T00:00:00Z"))
	for _, asked := range []string{aliasA, "alias/release"} {
		d, err := w.verify(t, good(asked))
		if err != nil || d.KeyARN != arnA || d.Asked != asked || len(d.Files) != 2 || !strings.Contains(d.Files[0].Path, "aliases") {
			t.Errorf("%v, %+v", err, d)
		}
	}
	// The age of an answer is that of its oldest part.
	w.rules(policy.Rules{MaxSnapshotAge: 24 * time.Hour})
	if _, err := w.verify(t, good(arnA)); err != nil {
		t.Error(err)
	}
	_, err := w.verify(t, good(aliasA))
	refused(t, err, kmserr.SnapshotExpired, "alias/release", "2026-11-20")
	// Rules apply to the resolved ARN, however it was asked for.
	w.policy.asked = nil
	w.rules(policy.Rules{})
	if _, err := w.verify(t, good("alias/release")); err != nil {
		t.Fatal(err)
	}
	if len(w.policy.asked) != 1 || w.policy.asked[0].ARN.String() != arnA || w.policy.asked[0].Asked.String() != "alias/release" {
		t.Errorf("the policy was asked for %+v", w.policy.asked)
	}
	_, err = w.verify(t, good(strings.Replace(aliasA, "release", "Release", 1)))
	refused(t, err, kmserr.NotFound)
}

func TestAliasWithoutADate(t *testing.T) {
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256), seen("2026-11-24T11:00:00Z"))
	w := newWorld(t, key)
	w.alias(t, key, kmskey.Time{})
	w.rules(policy.Rules{MaxSnapshotAge: 24 * time.Hour})
	_, err := w.verify(t, good(aliasA))
	refused(t, err, kmserr.SnapshotExpired, "alias/release", "has no date")
}

func TestAmbiguous(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	other := strings.Replace(arnA, "111122223333", "444455556666", 1)
	w := newWorld(t, record(t, arnA, p256), record(t, other, p256))
	_, err := w.verify(t, good(arnA[len(arnA)-36:]))
	refused(t, err, kmserr.Ambiguous, arnA, other)
}

func TestFallback(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	enabled := func(arn string, edits ...edit) *kmskey.Key {
		return record(t, arn, p256, append([]edit{state(kmskey.StateEnabled), seen("2026-11-24T11:00:00Z"), source("kms")}, edits...)...)
	}
	type test struct {
		keys  []*kmskey.Key
		rules policy.Rules
		exact bool
		ask   string
		name  kmserr.Name
		says  string
	}
	for name, c := range map[string]test{
		"one replica":                    {keys: []*kmskey.Key{enabled(mrkEast)}, ask: mrkWest},
		"two replicas":                   {keys: []*kmskey.Key{enabled(mrkEast), enabled(mrkEU)}, ask: mrkWest},
		"turned off":                     {keys: []*kmskey.Key{enabled(mrkEast)}, exact: true, ask: mrkWest, name: kmserr.NotFound, says: mrkEast},
		"one is Disabled":                {keys: []*kmskey.Key{enabled(mrkEU), enabled(mrkEast, state(kmskey.StateDisabled))}, ask: mrkWest, name: kmserr.Disabled, says: mrkEast},
		"the first is Disabled":          {keys: []*kmskey.Key{enabled(mrkEU, state(kmskey.StateDisabled)), enabled(mrkEast)}, ask: mrkWest, name: kmserr.Disabled, says: mrkEU},
		"its own record decides alone":   {keys: []*kmskey.Key{enabled(mrkWest), enabled(mrkEast, state(kmskey.StateDisabled))}, ask: mrkWest},
		"its own is Disabled":            {keys: []*kmskey.Key{enabled(mrkWest, state(kmskey.StateDisabled)), enabled(mrkEast)}, ask: mrkWest, name: kmserr.Disabled, says: mrkWest},
		"one is too old":                 {keys: []*kmskey.Key{enabled(mrkEU), enabled(mrkEast, seen("2026-10-01T00:00:00Z"))}, rules: policy.Rules{MaxSnapshotAge: 48 * time.Hour}, ask: mrkWest, name: kmserr.SnapshotExpired, says: mrkEast},
		"the source of the second":       {keys: []*kmskey.Key{enabled(mrkEU), enabled(mrkEast, source("file"))}, rules: policy.Rules{Sources: []string{"kms"}}, ask: mrkWest, name: kmserr.KeyNotAllowed, says: mrkEast},
		"both sources are allowed":       {keys: []*kmskey.Key{enabled(mrkEU), enabled(mrkEast, source("file"))}, rules: policy.Rules{Sources: []string{"kms", "file"}}, ask: mrkWest},
		"a second without a known state": {keys: []*kmskey.Key{enabled(mrkEU), record(t, mrkEast, p256)}, rules: policy.Rules{RequireKnownState: true}, ask: mrkWest, name: kmserr.KMSInvalidState, says: mrkEast},
		"the second's DeletionDate":      {keys: []*kmskey.Key{enabled(mrkEU), enabled(mrkEast, deleted("2026-11-01T00:00:00Z"))}, ask: mrkWest, name: kmserr.KMSInvalidState, says: "past"},
		"another key":                    {keys: []*kmskey.Key{enabled(mrkEU), record(t, mrkEast, newSigner(kmskey.ECCNISTP256))}, ask: mrkWest, name: kmserr.StoreIntegrity, says: "disagree"},
		"another account":                {keys: []*kmskey.Key{enabled(mrkEast)}, ask: strings.Replace(mrkWest, "111122223333", "444455556666", 1), name: kmserr.NotFound},
		"another partition":              {keys: []*kmskey.Key{enabled(mrkEast)}, ask: "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab", name: kmserr.NotFound},
		"a plain UUID":                   {keys: []*kmskey.Key{enabled(arnA)}, ask: strings.Replace(arnA, "us-east-1", "us-west-2", 1), name: kmserr.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.keys...)
			w.policy.store.ExactRegion = c.exact
			w.rules(c.rules)
			d, err := w.verify(t, good(c.ask))
			if c.name != "" {
				refused(t, err, c.name, c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			own := slices.ContainsFunc(c.keys, func(k *kmskey.Key) bool { return k.ARN().String() == c.ask })
			if d.KeyARN != c.ask || d.Fallback == own || len(d.FallbackARNs) > 0 == own || strings.Contains(strings.Join(d.Warnings, "\n"), "replicas") == own {
				t.Errorf("got %+v", d)
			}
			if d.KeyState != "Enabled" || len(c.rules.Sources) == 0 && d.SnapshotSource != "kms" {
				t.Errorf("state %q, source %q", d.KeyState, d.SnapshotSource)
			}
			if !own && (len(d.FallbackARNs) != len(c.keys) || len(d.Files) != len(c.keys) || len(w.policy.asked) != len(c.keys)+1 || w.policy.asked[0].ARN.String() != c.ask) {
				t.Errorf("fallback to %v, files %v, the policy was asked for %+v", d.FallbackARNs, d.Files, w.policy.asked)
			}
		})
	}
	t.Run("rules of one ARN", func(t *testing.T) {
		w := newWorld(t, enabled(mrkEast), enabled(mrkEU))
		for _, excluded := range []string{mrkEast, mrkWest, mrkEU} {
			w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
				if s.ARN.String() == excluded {
					return policy.Rules{Excluded: "is excluded"}, nil
				}
				return policy.Rules{}, nil
			}
			_, err := w.verify(t, good(mrkWest))
			refused(t, err, kmserr.KeyNotAllowed)
		}
	})
	t.Run("algorithms of one record", func(t *testing.T) {
		rsa := signerOf(kmskey.RSA2048)
		w := newWorld(t, record(t, mrkEU, rsa), record(t, mrkEast, rsa, algorithms(kmskey.RSASSAPSSSHA256)))
		_, err := w.verify(t, request(mrkWest, rsa, kmskey.RSASSAPSSSHA512, []byte("m")))
		refused(t, err, kmserr.AlgorithmNotAllowed, "RSASSA_PSS_SHA_256")
		if _, err := w.verify(t, request(mrkWest, rsa, kmskey.RSASSAPSSSHA256, []byte("m"))); err != nil {
			t.Error(err)
		}
	})
	t.Run("what is said is said of the weakest", func(t *testing.T) {
		w := newWorld(t, enabled(mrkEU), record(t, mrkEast, p256, seen("2026-11-01T00:00:00Z"), source("file")))
		d, err := w.verify(t, good(mrkWest))
		if err != nil || !d.SnapshotTime.Equal(at("2026-11-01T00:00:00Z").Time) || !d.StateTime.IsZero() ||
			d.KeyState != "Enabled, unknown" || d.SnapshotSource != "kms, file" {
			t.Errorf("%v, %+v", err, d)
		}
	})
}

func TestPolicyIsAsked(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.policy.rules = func(policy.Subject) (policy.Rules, error) { return policy.Rules{}, errors.New("line 7 is odd") }
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.PolicyInvalid, "line 7 is odd", arnA)
	w.policy.rules = func(policy.Subject) (policy.Rules, error) { panic("the policy panics") }
	_, err = w.verify(t, good(arnA))
	refused(t, err, kmserr.Internal, "the policy panics")
	w.rules(policy.Rules{Applied: []string{"rule 1", "rule 2"}})
	d, err := w.verify(t, good(arnA))
	if err != nil || !slices.Equal(d.PolicyRules, []string{"rule 1", "rule 2"}) {
		t.Errorf("%v, %v", err, d.PolicyRules)
	}
}

// TestAgeOfAnAlias: an answer by an alias is no younger than the alias, and one without a date has none.
func TestAgeOfAnAlias(t *testing.T) {
	for name, c := range map[string]struct{ alias, record, want string }{
		"older alias":    {"2026-01-01T00:00:00Z", "2026-11-24T11:59:00Z", "2026-01-01T00:00:00Z"},
		"younger alias":  {"2026-11-24T11:59:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		"undated alias":  {"", "2026-11-24T11:59:00Z", ""},
		"undated record": {"2026-11-24T11:59:00Z", "", ""},
		"neither dated":  {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var made, taken, want kmskey.Time
			for text, into := range map[*string]*kmskey.Time{&c.alias: &made, &c.record: &taken, &c.want: &want} {
				if *text != "" {
					*into = at(*text)
				}
			}
			key := record(t, arnA, signerOf(kmskey.ECCNISTP256), func(r *kmskey.Record) { r.Snapshot.Time = taken })
			w := newWorld(t, key)
			w.alias(t, key, made)
			var age string
			w.v.cfg.Explain = func(s Step) {
				if s.Name == "age" {
					age = s.Found
				}
			}
			for _, d := range []audit.Decision{must(w.verify(t, good("alias/release"))), must(w.authorize(t, KeyRequest{KeyID: aliasA})).Decision(), w.log.lines[0]} {
				if !d.SnapshotTime.Equal(want.Time) {
					t.Errorf("the answer is as of %s, expected %s", d.SnapshotTime, want)
				}
			}
			if says := fmt.Sprintf("alias/release as of %s, the key as of %s, from", known(made), known(taken)); !strings.HasPrefix(age, says) {
				t.Errorf("the step says %q, expected %q", age, says)
			}
			if d, err := w.verify(t, good(arnA)); err != nil || !d.SnapshotTime.Equal(taken.Time) {
				t.Errorf("by its ARN: as of %s, %v", d.SnapshotTime, err)
			}
			if says := fmt.Sprintf("the key as of %s, from", known(taken)); !strings.HasPrefix(age, says) {
				t.Errorf("the step says %q, expected %q", age, says)
			}
		})
	}
}

// TestDistinguishingID: policy's, else the caller's, else the record's, else the default.
func TestDistinguishingID(t *testing.T) {
	s := signerOf(kmskey.SM2)
	const long = "release-signing@awskms-offline.example, which is longer than 31 bytes"
	pin := func(id string) *policy.Rules { return &policy.Rules{DistinguishingID: did(id)} }
	for name, c := range map[string]struct {
		record *string
		rules  *policy.Rules
		ask    *string
		signed string
		entl   kmskey.ENTL
		option any // what the decision says of it; nil: nothing
		name   kmserr.Name
		says   string
	}{
		"default":                            {signed: kmskey.DefaultDistinguishingID},
		"default, another was used":          {signed: "other", name: kmserr.InvalidSignature},
		"the record's":                       {record: new("rec"), signed: "rec", option: "rec"},
		"the record's, not the default":      {record: new("rec"), signed: kmskey.DefaultDistinguishingID, name: kmserr.InvalidSignature},
		"the caller's":                       {ask: new("ask"), signed: "ask", option: "ask"},
		"the caller's before the record's":   {record: new("rec"), ask: new("ask"), signed: "ask", option: "ask"},
		"the caller's, the record's was":     {record: new("rec"), ask: new("ask"), signed: "rec", name: kmserr.InvalidSignature},
		"the caller's is the default":        {record: new("rec"), ask: new(kmskey.DefaultDistinguishingID), signed: kmskey.DefaultDistinguishingID},
		"the policy's before the record's":   {record: new("rec"), rules: pin("pol"), signed: "pol", option: "pol"},
		"the policy's, the record's was":     {record: new("rec"), rules: pin("pol"), signed: "rec", name: kmserr.InvalidSignature},
		"the policy's and the caller's same": {rules: pin("pol"), ask: new("pol"), signed: "pol", option: "pol"},
		"the policy's and the caller's":      {rules: pin("pol"), ask: new("ask"), signed: "ask", name: kmserr.Validation, says: `"ask" was asked for, but the policy fixes "pol"`},
		"the policy's, default asked for":    {rules: pin("pol"), ask: new(kmskey.DefaultDistinguishingID), signed: kmskey.DefaultDistinguishingID, name: kmserr.Validation, says: "pol"},
		"explicitly empty is not the policy": {rules: pin("pol"), ask: new(""), signed: "pol", name: kmserr.Validation, says: `""`},
		"the policy's is empty":              {rules: pin(""), ask: new("ask"), signed: "ask", name: kmserr.Validation, says: `fixes ""`},
		"the policy's is empty, default was": {rules: pin(""), signed: kmskey.DefaultDistinguishingID, name: kmserr.InvalidSignature},
		"explicitly empty is no default":     {ask: new(""), signed: kmskey.DefaultDistinguishingID, name: kmserr.InvalidSignature},
		"the record's is empty, default was": {record: new(""), signed: kmskey.DefaultDistinguishingID, name: kmserr.InvalidSignature},
		"long":                               {ask: new(long), signed: long, option: long},
		"helper's rule, not permitted":       {rules: &policy.Rules{}, ask: new(long), entl: kmskey.ENTLAWSJavaHelper, signed: long, name: kmserr.AlgorithmNotAllowed, says: `let a grant to this key say "sm2Entl":"aws-java-helper"`},
		"helper's rule, standard signature":  {ask: new(long), entl: kmskey.ENTLAWSJavaHelper, signed: long, name: kmserr.InvalidSignature},
		"a rule that is none":                {entl: 7, signed: kmskey.DefaultDistinguishingID, name: kmserr.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []edit
			if c.record != nil {
				edits = append(edits, distinguishing(*c.record))
			}
			w := newWorld(t, record(t, arnA, s, edits...))
			if c.rules != nil {
				w.rules(*c.rules)
			}
			req := request(arnA, s, kmskey.SM2DSA, withID(c.signed, "message"))
			req.ENTL = c.entl
			if c.ask != nil {
				req.DistinguishingID = did(*c.ask)
			}
			d, err := w.verify(t, req)
			if c.name != "" {
				refused(t, err, c.name, c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, said := d.Options["distinguishing-id"]
			if said != (c.option != nil) || said && got != c.option {
				t.Errorf("the options say %v", d.Options)
			}
		})
	}
	t.Run("digest", func(t *testing.T) {
		w := newWorld(t, record(t, arnA, s))
		w.rules(*pin("pol"))
		e, err := w.v.Digest(context.Background(), DigestRequest{KeyID: arnA, Message: strings.NewReader("message")})
		if err != nil {
			t.Fatal(err)
		}
		req := Request{KeyID: arnA, MessageType: kmskey.Digest, Message: bytes.NewReader(e.Bytes), Signature: s.sign(kmskey.SM2DSA, withID("pol", "message"))}
		// Nobody can tell which ID is in a digest: a caller could change what the policy pins.
		_, err = w.verify(t, req)
		refused(t, err, kmserr.AlgorithmNotAllowed, "pol", "Give the message itself")
		w.rules(policy.Rules{})
		req.Message = bytes.NewReader(e.Bytes)
		if _, err := w.verify(t, req); err != nil {
			t.Error(err)
		}
		req.Message, req.DistinguishingID = bytes.NewReader(e.Bytes), did("pol")
		_, err = w.verify(t, req)
		refused(t, err, kmserr.Validation, "DIGEST")
	})
	t.Run("replicas that differ", func(t *testing.T) {
		w := newWorld(t, record(t, mrkEU, s), record(t, mrkEast, s, distinguishing("rec")))
		_, err := w.verify(t, request(mrkWest, s, kmskey.SM2DSA, withID("rec", "m")))
		refused(t, err, kmserr.Validation, "different distinguishing IDs")
		req := request(mrkWest, s, kmskey.SM2DSA, withID("rec", "m"))
		req.DistinguishingID = did("rec")
		if _, err := w.verify(t, req); err != nil {
			t.Error(err)
		}
	})
}

// textbookSM2 signs a message by the words of GB/T 32918.2, section 5.5, with these two bytes of ENTL: gmsm takes the default
// for an empty ID, and knows nothing of the rule of AWS's helper.
func textbookSM2(key *sm2.PrivateKey, entl [2]byte, id, message string) []byte {
	p := key.Curve.Params()
	a := new(big.Int).Sub(p.P, big.NewInt(3))
	za := append(entl[:], id...)
	for _, n := range []*big.Int{a, p.B, p.Gx, p.Gy, key.X, key.Y} {
		za = append(za, n.FillBytes(make([]byte, 32))...)
	}
	sum := sm3.Sum(za)
	e := sm3.Sum(append(sum[:], message...))
	return must(sm2.SignASN1(rand.Reader, key, e[:], nil))
}

// TestEmptyIDAndJavaHelper: what no library makes by itself verifies where it is asked for and permitted, and the line says it.
func TestEmptyIDAndJavaHelper(t *testing.T) {
	key := must(sm2.GenerateKey(rand.Reader))
	point := append([]byte{4}, key.X.FillBytes(make([]byte, 32))...)
	s := &signer{spec: kmskey.SM2, der: ecSPKI(asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}, append(point, key.Y.FillBytes(make([]byte, 32))...))}
	long := strings.Repeat("release-signing@example.com ", 3)
	byStandard, byHelper := [2]byte{byte(len(long) * 8 >> 8), byte(len(long) * 8)}, [2]byte{0, byte(len(long) * 8)}
	for name, c := range map[string]struct {
		entl    [2]byte
		id      string
		ask     kmskey.ENTL
		rules   policy.Policy // nil: there is none
		refused kmserr.Name
	}{
		"explicitly empty":                   {},
		"explicitly empty, with a policy":    {rules: &fakePolicy{rules: func(policy.Subject) (policy.Rules, error) { return policy.Rules{}, nil }}},
		"helper's rule, no policy":           {entl: byHelper, id: long, ask: kmskey.ENTLAWSJavaHelper},
		"helper's rule, granted":             {entl: byHelper, id: long, ask: kmskey.ENTLAWSJavaHelper, rules: load(t, []policyFile{{Version: "1", Grants: []policyGrant{{Keys: []string{arnA}, ENTL: "aws-java-helper"}}}})},
		"helper's rule, granted to another":  {entl: byHelper, id: long, ask: kmskey.ENTLAWSJavaHelper, rules: load(t, []policyFile{{Version: "1", Grants: []policyGrant{{Keys: []string{arnB}, ENTL: "aws-java-helper"}}}}), refused: kmserr.AlgorithmNotAllowed},
		"helper's rule, a policy without it": {entl: byHelper, id: long, ask: kmskey.ENTLAWSJavaHelper, rules: load(t, []policyFile{{Version: "1"}}), refused: kmserr.AlgorithmNotAllowed},
		"helper's rule, not asked for":       {entl: byHelper, id: long, refused: kmserr.InvalidSignature},
		"standard's rule, helper's asked":    {entl: byStandard, id: long, ask: kmskey.ENTLAWSJavaHelper, refused: kmserr.InvalidSignature},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnA, s))
			w.v.cfg.Policy = policy.None{}
			if c.rules != nil {
				w.v.cfg.Policy = c.rules
			}
			d, err := w.verify(t, Request{
				KeyID: arnA, DistinguishingID: did(c.id), ENTL: c.ask, Message: strings.NewReader("message"), Signature: textbookSM2(key, c.entl, c.id, "message"),
			})
			if (err != nil) != (c.refused != "") || err != nil && !kmserr.Is(err, c.refused) {
				t.Fatalf("got %v, expected %q", err, c.refused)
			}
			want := map[string]string{"distinguishing-id": c.id}
			if c.ask == kmskey.ENTLAWSJavaHelper {
				want["sm2-entl"] = "aws-java-helper"
			}
			if !maps.Equal(d.Options, want) {
				t.Errorf("the options are %v, expected %v", d.Options, want)
			}
		})
	}
}

// TestSM2ByAStaleAlias: where a grant of SM2's options ended with what is known of its alias, the refusal says so.
func TestSM2ByAStaleAlias(t *testing.T) {
	fresh := seen("2026-11-23T00:00:00Z")
	s := newSigner(kmskey.SM2)
	key := record(t, arnNow, s, fresh)
	w := newWorld(t, key)
	w.alias(t, key, at("2026-01-01T00:00:00Z"))
	const alias = "arn:aws:kms:us-east-1:111122223333:alias/release"
	for age, name := range map[string]kmserr.Name{"365d": "", "30d": kmserr.AlgorithmNotAllowed} {
		v := w.under(t, `{"version":"1","grants":[{"name":"sm2","keys":["`+alias+`"],"sm2Entl":"aws-java-helper"}],"restrictions":[{"name":"age","maxSnapshotAge":"`+age+`"}]}`)
		_, err := v.AuthorizeKey(t.Context(), KeyRequest{KeyID: arnNow, PublicKey: s.der, ENTL: kmskey.ENTLAWSJavaHelper})
		_, verifyErr := v.Verify(t.Context(), Request{KeyID: arnNow, Message: strings.NewReader("message"), Signature: []byte("none"), ENTL: kmskey.ENTLAWSJavaHelper})
		if name == "" {
			if err != nil || kmserr.Is(verifyErr, kmserr.AlgorithmNotAllowed) {
				t.Errorf("%s: %v, %v", age, err, verifyErr)
			}
			continue
		}
		for _, err := range []error{err, verifyErr} {
			refused(t, err, name, "Besides, no grant holds by "+alias)
		}
	}
	// A pinned distinguishing ID as well, of which a grant by the alias would allow others.
	v := w.under(t, `{"version":"1","grants":[{"name":"sm2","keys":["`+alias+`"],"distinguishingIds":["theirs"]}],
		"restrictions":[{"name":"age","maxSnapshotAge":"30d"},{"name":"pin","distinguishingId":"ours"}]}`)
	_, err := v.Verify(t.Context(), Request{KeyID: arnNow, Message: strings.NewReader("message"), Signature: []byte("none"), DistinguishingID: did("theirs")})
	refused(t, err, kmserr.Validation, "the policy fixes", "Besides, no grant holds by "+alias)
}

// TestLineSaysWhatWasAsked: whichever step refuses, the line has what was asked for.
func TestLineSaysWhatWasAsked(t *testing.T) {
	s := signerOf(kmskey.SM2)
	want := map[string]string{"distinguishing-id": "somebody", "sm2-entl": "aws-java-helper", "max-message": "1024"}
	for name, prepare := range map[string]func(*testing.T, *world, *Request){
		"no such key":        func(_ *testing.T, _ *world, r *Request) { r.KeyID = arnB },
		"blocked":            func(t *testing.T, w *world, _ *Request) { w.block(t, keystore.Block{KeyID: arnA, Reason: "lost"}) },
		"policy":             func(_ *testing.T, w *world, _ *Request) { w.rules(policy.Rules{Excluded: "is excluded"}) },
		"state":              func(_ *testing.T, w *world, _ *Request) { w.rules(policy.Rules{RequireKnownState: true}) },
		"age":                func(_ *testing.T, w *world, _ *Request) { w.rules(policy.Rules{MaxSnapshotAge: time.Hour}) },
		"usage":              func(_ *testing.T, _ *world, r *Request) { r.KeyID = mrkEast },
		"the ENTL rule":      func(_ *testing.T, w *world, _ *Request) { w.rules(policy.Rules{}) },
		"no key has such ID": func(_ *testing.T, _ *world, r *Request) { r.KeyID = mrkWest },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnA, s), record(t, mrkEast, signerOf(kmskey.RSA2048), usage(kmskey.EncryptDecrypt), func(r *kmskey.Record) {
				r.EncryptionAlgorithms = []string{string(kmskey.RSAESOAEPSHA256)}
			}), record(t, mrkWest, signerOf(kmskey.ECCNISTP256)))
			w.v.cfg.MaxMessage = 1024
			req := request(arnA, s, kmskey.SM2DSA, withID("somebody", "message"))
			req.DistinguishingID, req.ENTL, req.MessageType = did("somebody"), kmskey.ENTLAWSJavaHelper, kmskey.Raw
			prepare(t, w, &req)
			d, err := w.verify(t, req)
			if err == nil || !maps.Equal(d.Options, want) || d.SigningAlgorithm != string(kmskey.SM2DSA) || d.MessageType != "RAW" {
				t.Errorf("%v: the line has %v, %q, %q; expected %v", err, d.Options, d.SigningAlgorithm, d.MessageType, want)
			}
			a := KeyRequest{KeyID: req.KeyID, SigningAlgorithm: kmskey.RSASSAPSSSHA256, MessageType: kmskey.Raw}
			before := len(w.log.lines)
			if _, err := w.authorize(t, a); err == nil {
				t.Error("authorized")
			}
			if line := w.log.lines[before]; line.SigningAlgorithm != string(a.SigningAlgorithm) || line.MessageType != "RAW" {
				t.Errorf("the line has %q, %q", line.SigningAlgorithm, line.MessageType)
			}
		})
	}
}

// TestNowIsReadOnce: every comparison of a decision is with the same now, former keys' and a batch's too.
func TestNowIsReadOnce(t *testing.T) {
	w, then, _ := rotated(t, seen("2026-11-20T00:00:00Z"), state(kmskey.StateEnabled))
	w.policy.rules = func(policy.Subject) (policy.Rules, error) {
		return policy.Rules{AllowAliasHistory: true, AllowAliasHistoryForNotation: true, MaxSnapshotAge: 9999 * time.Hour, NotBefore: at("2026-01-01T00:00:00Z").Time}, nil
	}
	w.policy.aliases = []kmskey.AliasARN{{Scope: must(kmskey.ParseARN(arnNow)).Scope, Alias: "alias/release"}}
	message := []byte("message")
	ask := func(s *signer, key string) Request { return request(key, s, kmskey.RSASSAPKCS1SHA256, message) }
	verify := func(key string) func() error {
		return func() error { _, err := w.v.Verify(t.Context(), ask(then, key)); return err }
	}
	authorize := func(req KeyRequest) func() error {
		req.WithoutPublicKey = req.PublicKey == nil
		return func() error { _, err := w.v.AuthorizeKey(t.Context(), req); return err }
	}
	var calls atomic.Int64
	w.v.cfg.Now = func() time.Time { calls.Add(1); return w.now }
	for name, c := range map[string]struct {
		questions int64
		ask       func() error
		refused   kmserr.Name
	}{
		"Verify":                  {questions: 1, ask: verify(arnThen)},
		"Verify, no such key":     {questions: 1, ask: verify(arnB), refused: kmserr.NotFound},
		"Verify, by history":      {questions: 1, ask: verify("alias/release")},
		"AuthorizeKey":            {questions: 1, ask: authorize(KeyRequest{KeyID: "alias/release"}), refused: kmserr.SnapshotExpired},
		"AuthorizeKey, a former":  {questions: 1, ask: authorize(KeyRequest{KeyID: "alias/release", PublicKey: then.der})},
		"AuthorizeKey, separated": {questions: 1, ask: authorize(KeyRequest{KeyID: arnThen, SeparateState: true})},
		"Encrypt": {questions: 1, ask: func() error {
			_, err := w.v.Encrypt(t.Context(), EncryptRequest{KeyID: arnThen, Plaintext: bytes.NewReader(message)})
			return err
		}, refused: kmserr.InvalidKeyUsage},
		"a batch of three": {questions: 3, ask: func() error {
			return batchOf(t.Context(), w.v, each(Ask(ask(then, arnThen)), Ask(ask(then, "alias/release")), Ask(ask(then, arnB))))[1].Err
		}},
	} {
		calls.Store(0)
		before := len(w.log.lines)
		if err := c.ask(); (err != nil) != (c.refused != "") || err != nil && !kmserr.Is(err, c.refused) {
			t.Errorf("%s: %v", name, err)
		}
		if got := calls.Load(); got != c.questions {
			t.Errorf("%s: now was read %d times, expected %d", name, got, c.questions)
		}
		for _, line := range w.log.lines[before:] {
			if !line.EventTime.Equal(w.now) {
				t.Errorf("%s: the line is of %s", name, line.EventTime)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, arnA, p256, seen("2027-01-01T00:00:00Z")))
	d, err := w.verify(t, good(arnA))
	text := strings.Join(d.Warnings, "\n")
	if err != nil || !strings.Contains(text, "the key state of "+arnA+" is not known") || !strings.Contains(text, "the clock says") || d.KeyState != "unknown" {
		t.Errorf("%v, %q, %s", err, d.Warnings, d.KeyState)
	}
	w = newWorld(t, record(t, arnB, p256, state(kmskey.StateEnabled)))
	d, err = w.verify(t, good(arnB))
	if err != nil || len(d.Warnings) != 0 {
		t.Errorf("%v, %q", err, d.Warnings)
	}
	if runtime.GOOS == "windows" {
		return
	}
	// What the store finds while it is read for a decision belongs to that decision.
	if err := os.Chmod(d.Files[0].Path, 0o660); err != nil {
		t.Fatal(err)
	}
	if d, err = w.verify(t, good(arnB)); err != nil || !strings.Contains(strings.Join(d.Warnings, "\n"), d.Files[0].Path) {
		t.Errorf("%v, %q", err, d.Warnings)
	}
}

func TestLog(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StateEnabled), seen("2026-11-24T11:00:00Z"), source("kms")))
	req := good(arnA)
	req.MessageType = kmskey.Raw
	if _, err := w.verify(t, req); err != nil {
		t.Fatal(err)
	}
	line := w.log.lines[0]
	if line.SnapshotSource != "kms" || !line.SnapshotTime.Equal(at("2026-11-24T11:00:00Z").Time) || !line.StateTime.Equal(at("2026-11-23T11:00:00Z").Time) ||
		line.MessageType != "RAW" || line.SigningAlgorithm != "ECDSA_SHA_256" || line.KeySpec != "ECC_NIST_P256" || len(line.Files) != 1 {
		t.Errorf("got %+v", line)
	}
	// Calls that cannot be parsed get a line too: verify checks that.
	_, err := w.verify(t, Request{KeyID: "?"})
	refused(t, err, kmserr.Validation)

	w.log.err = errors.New("disk full")
	d, err := w.verify(t, good(arnA))
	if err != nil || !strings.Contains(strings.Join(d.Warnings, "\n"), "not logged: disk full") {
		t.Errorf("a log that is not required: %v, %q", err, d.Warnings)
	}
	_, err = w.verify(t, good(arnB))
	refused(t, err, kmserr.NotFound)

	w.log.required = true
	_, err = w.verify(t, good(arnA))
	refused(t, err, kmserr.AuditUnavailable, "disk full")
	_, err = w.verify(t, good(arnB))
	refused(t, err, kmserr.AuditUnavailable)
	if !errors.Is(err, w.log.err) {
		t.Error("the cause was lost")
	}
	_, err = w.authorize(t, KeyRequest{KeyID: arnA})
	refused(t, err, kmserr.AuditUnavailable)

	// What the log itself says of the cure goes before the usual one, and its name does not stand twice.
	for _, c := range []struct {
		err        error
		fact, hint string
	}{
		{kmserr.New(kmserr.AuditUnavailable, "the folder is everyone's").WithHint("Run: chmod o-w ."), "the folder is everyone's", "Run: chmod o-w ."},
		{kmserr.New(kmserr.AuditUnavailable, "it is"), "it is", kmserr.Lookup(kmserr.AuditUnavailable).Cure},
		{kmserr.New(kmserr.Validation, "odd").WithHint("Other."), "ValidationException: odd", kmserr.Lookup(kmserr.AuditUnavailable).Cure},
		{fmt.Errorf("mirror: %w", kmserr.New(kmserr.AuditUnavailable, "odd")), "mirror: AuditUnavailableException: odd", kmserr.Lookup(kmserr.AuditUnavailable).Cure},
	} {
		w.log.err = c.err
		_, err := w.verify(t, good(arnA))
		e := kmserr.As(err)
		if e.Name != kmserr.AuditUnavailable || e.Fact != "the log that the policy requires cannot be written: "+c.fact || e.Hint != c.hint || !errors.Is(err, c.err) {
			t.Errorf("got %+v", e)
		}
	}

	w.log.err, w.log.panics = nil, true
	_, err = w.verify(t, good(arnA))
	refused(t, err, kmserr.AuditUnavailable, "the log panics")
}

type panicking struct{ value any }

func (p panicking) Read([]byte) (int, error) { panic(p.value) }

func TestPanics(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	for _, value := range []any{"the reader panics", errors.New("an error"), nil, 7} {
		req := good(arnA)
		req.Message = panicking{value}
		_, err := w.verify(t, req)
		refused(t, err, kmserr.Internal, "stopped")
		_, err = w.v.Digest(context.Background(), DigestRequest{KeyID: arnA, Message: panicking{value}})
		refused(t, err, kmserr.Internal)
	}
}

// named fails with an error that is the same at every call.
type named struct{ err error }

func (n named) Read([]byte) (int, error) { return 0, n.err }

func TestErrorsOfReadersAreNotChanged(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	shared := kmserr.New(kmserr.Validation, "the file is too long")
	req := good(arnA)
	req.Message = named{shared}
	_, err := w.verify(t, req)
	refused(t, err, kmserr.Validation, "the file is too long")
	if kmserr.As(err).KeyARN != arnA || shared.KeyARN != "" {
		t.Errorf("the answer is about %q, the reader's own error about %q", kmserr.As(err).KeyARN, shared.KeyARN)
	}
}

// canceller ends the context while the message is read.
type canceller struct {
	cancel context.CancelFunc
	io.Reader
}

func (c canceller) Read(p []byte) (int, error) {
	c.cancel()
	return c.Reader.Read(p)
}

func TestContext(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := w.verifyWith(t, over, good(arnA))
	refused(t, err, kmserr.DeadlineExceeded)
	_, err = w.verifyWith(t, over, good(arnB))
	refused(t, err, kmserr.DeadlineExceeded)

	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
	defer cancel()
	_, err = w.verifyWith(t, late, good(arnA))
	refused(t, err, kmserr.DeadlineExceeded)

	ctx, cancel := context.WithCancel(context.Background())
	req := good(arnA)
	req.Message = canceller{cancel, req.Message}
	_, err = w.verifyWith(t, ctx, req)
	refused(t, err, kmserr.DeadlineExceeded)
	if a, err := w.v.AuthorizeKey(over, KeyRequest{KeyID: arnA, WithoutPublicKey: true}); a != nil || !kmserr.Is(err, kmserr.DeadlineExceeded) {
		t.Errorf("%v, %v", a, err)
	}
	// A yes that comes too late is none.
	ctx, cancel = context.WithCancel(context.Background())
	w.policy.rules = func(policy.Subject) (policy.Rules, error) {
		cancel()
		return policy.Rules{}, nil
	}
	if a, err := w.v.AuthorizeKey(ctx, KeyRequest{KeyID: arnA, WithoutPublicKey: true}); a != nil || !kmserr.Is(err, kmserr.DeadlineExceeded) {
		t.Errorf("%v, %v", a, err)
	}
}

func TestZeroValuesSayNo(t *testing.T) {
	for _, d := range []audit.Decision{new(Verified).Decision(), (*Verified)(nil).Decision(), new(Authorized).Decision(), (*Authorized)(nil).Decision()} {
		if d.Verified || d.KeyARN != "" {
			t.Errorf("got %+v", d)
		}
	}
	for _, a := range []*Authorized{nil, {}} {
		if a.ARN() != (kmskey.ARN{}) || a.PublicKeyDER() != nil {
			t.Error("the zero Authorized has a key")
		}
		refused(t, a.StateError(), kmserr.Internal)
	}
}

func TestNew(t *testing.T) {
	w := newWorld(t)
	for _, cfg := range []Config{{}, {Store: w.v.Store()}, {Policy: policy.None{}}} {
		v, err := New(cfg)
		if v != nil {
			t.Error("a verifier with an error")
		}
		refused(t, err, kmserr.Internal)
	}
	v, err := New(Config{Store: w.v.Store(), Policy: policy.None{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(context.Background(), good(arnA)); !kmserr.Is(err, kmserr.NotFound) {
		t.Errorf("without a log and a clock: %v", err)
	}
}

// A policy's word counts for whoever makes a Verifier of parts, too.
func TestNewUnderAPolicy(t *testing.T) {
	w := newWorld(t)
	strict, err := keystore.Open(w.home, keystore.Options{StrictPermissions: true})
	if err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	for _, c := range []struct {
		policy string
		store  *keystore.Store
		log    audit.Log
		want   kmserr.Name
	}{
		{`{"version":"1","log":{"mode":"required"}}`, w.v.Store(), nil, kmserr.AuditUnavailable},
		{`{"version":"1","log":{"mode":"required"}}`, w.v.Store(), noLog{}, kmserr.AuditUnavailable},
		{`{"version":"1","log":{"mode":"required"}}`, w.v.Store(), noLog{required: true}, ""},
		{`{"version":"1"}`, w.v.Store(), nil, ""},
		{`{"version":"1","store":{"permissions":"strict"}}`, w.v.Store(), nil, kmserr.StoreIntegrity},
		{`{"version":"1","store":{"permissions":"strict"}}`, strict, nil, ""},
	} {
		if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(c.policy), 0o600); err != nil {
			t.Fatal(err)
		}
		rules, err := loadPolicy(w.home.Path, false)
		if err != nil {
			t.Fatal(err)
		}
		v, err := New(Config{Store: c.store, Policy: rules, Log: c.log})
		if c.want == "" && (v == nil || err != nil) || c.want != "" && (v != nil || !kmserr.Is(err, c.want)) {
			t.Errorf("%s, a log %v: %v, expected %s", c.policy, c.log, err, c.want)
		}
	}
}

func TestOpen(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	open := func(home string) (*Verifier, error) {
		return Open(Options{Home: &home, HomeOption: "--home", FrontEnd: audit.FrontEnd{Name: "test"}})
	}
	v, err := open(w.home.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	result, err := v.Verify(context.Background(), good(arnA))
	if err != nil || !result.Decision().Verified || result.Decision().HomeChosenBy != "--home" {
		t.Errorf("%v, %+v", err, result)
	}
	for name, c := range map[string]struct {
		home string
		name kmserr.Name
	}{
		"relative": {"home", kmserr.Validation}, "empty": {"", kmserr.Validation}, "absent": {filepath.Join(w.home.Path, "none"), kmserr.StoreAccess},
	} {
		v, err := open(c.home)
		if v != nil || err == nil {
			t.Errorf("%s: opened", name)
		}
		if exit := kmserr.ExitCode(err); exit != 2 && exit != 3 {
			t.Errorf("%s: %v, exit code %d", name, err, exit)
		}
	}
	// A policy that cannot be enforced must not be taken for enforced.
	for _, content := range []string{"{}", "", `{"restrictions":{}}`} {
		if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := open(w.home.Path)
		if v != nil {
			t.Error("opened in spite of a policy")
		}
		refused(t, err, kmserr.PolicyInvalid, policy.FileName)
	}
}

// TestCheckResolution: an answer of the store that is none to the question is never used.
func TestCheckResolution(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	ref := func(s string) kmskey.Ref { return must(kmskey.ParseRef(s)) }
	arn := func(s string) kmskey.ARN { return must(kmskey.ParseARN(s)) }
	entry := func(s string) keystore.Entry { return keystore.Entry{Key: record(t, s, p256)} }
	release := &keystore.AliasEntry{ARN: must1(ref(aliasA).AliasARN()), TargetKeyID: arn(arnA).KeyID}
	mrkAlias := &keystore.AliasEntry{ARN: must1(ref(strings.Replace(aliasA, "us-east-1", "us-west-2", 1)).AliasARN()), TargetKeyID: arn(mrkWest).KeyID}
	other := keystore.Entry{Key: record(t, mrkEU, newSigner(kmskey.ECCNISTP256))}
	for name, c := range map[string]struct {
		asked string
		found *keystore.Resolution
		ok    bool
	}{
		"itself":                  {arnA, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}}, true},
		"by bare ID":              {arn(arnA).KeyID, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}}, true},
		"by alias":                {aliasA, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}, Alias: release}, true},
		"by bare alias":           {"alias/release", &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}, Alias: release}, true},
		"by fallback":             {mrkWest, &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(mrkEast), entry(mrkEU)}, Fallback: true}, true},
		"nil":                     {arnA, nil, false},
		"no entries":              {arnA, &keystore.Resolution{Target: arn(arnA)}, false},
		"another target":          {arnA, &keystore.Resolution{Target: arn(arnB), Entries: []keystore.Entry{entry(arnB)}}, false},
		"another record":          {arnA, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnB)}}, false},
		"another bare ID":         {arn(arnA).KeyID, &keystore.Resolution{Target: arn(arnB), Entries: []keystore.Entry{entry(arnB)}}, false},
		"two records":             {arnA, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA), entry(arnA)}}, false},
		"an alias for an ARN":     {arnA, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}, Alias: release}, false},
		"no alias for an alias":   {aliasA, &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}}, false},
		"another alias":           {strings.Replace(aliasA, "release", "other", 1), &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}, Alias: release}, false},
		"an alias elsewhere":      {strings.Replace(aliasA, "east-1", "east-2", 1), &keystore.Resolution{Target: arn(arnA), Entries: []keystore.Entry{entry(arnA)}, Alias: release}, false},
		"an alias's other target": {aliasA, &keystore.Resolution{Target: arn(arnB), Entries: []keystore.Entry{entry(arnB)}, Alias: release}, false},
		"fallback of a UUID":      {strings.Replace(arnA, "east-1", "east-2", 1), &keystore.Resolution{Target: arn(strings.Replace(arnA, "east-1", "east-2", 1)), Entries: []keystore.Entry{entry(arnA)}, Fallback: true}, false},
		"fallback of a bare ID":   {arn(mrkWest).KeyID, &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(mrkEast)}, Fallback: true}, false},
		"fallback to an account":  {mrkWest, &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(strings.Replace(mrkEast, "1111", "9999", 1))}, Fallback: true}, false},
		"fallback to another key": {mrkWest, &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(mrkEast), other}, Fallback: true}, false},
		"the same ID elsewhere":   {arnA, &keystore.Resolution{Target: arn(strings.Replace(arnA, "east-1", "east-2", 1)), Entries: []keystore.Entry{entry(strings.Replace(arnA, "east-1", "east-2", 1))}}, false},
		"fallback to nothing":     {mrkWest, &keystore.Resolution{Target: arn(mrkWest), Fallback: true}, false},
		"fallback of an alias":    {mrkAlias.ARN.String(), &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(mrkEast)}, Alias: mrkAlias, Fallback: true}, false},
		"fallback to another use": {mrkWest, &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(mrkEast), {Key: record(t, mrkEU, p256, usage(kmskey.KeyAgreement))}}, Fallback: true}, false},
		"other Region, unsaid":    {mrkWest, &keystore.Resolution{Target: arn(mrkWest), Entries: []keystore.Entry{entry(mrkEast)}}, false},
	} {
		err := checkResolution(ref(c.asked), c.found)
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			refused(t, err, kmserr.StoreIntegrity, c.asked)
		}
	}
}

func must1[T any](v T, ok bool) T {
	if !ok {
		panic("none")
	}
	return v
}

// A grant by alias is for the key that the alias means now, however the key was asked for.
func TestGrantByAlias(t *testing.T) {
	a, b := record(t, arnA, signerOf(kmskey.ECCNISTP256)), record(t, arnB, signerOf(kmskey.ECCNISTP256))
	w := newWorld(t, a, b)
	w.alias(t, a, at("2026-11-01T00:00:00Z"))
	release := must1(must(kmskey.ParseRef(aliasA)).AliasARN())
	absent := must1(must(kmskey.ParseRef(strings.Replace(aliasA, "release", "absent", 1))).AliasARN())
	stable := must1(must(kmskey.ParseRef(strings.Replace(aliasA, "release", "stable", 1))).AliasARN())
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Put(b, keystore.PutOptions{Aliases: []string{"alias/stable"}})
		return err
	})
	w.policy.aliases = []kmskey.AliasARN{absent, release, stable}
	for arn, want := range map[string][]kmskey.AliasARN{arnA: {release}, arnB: {stable}} {
		w.policy.asked = nil
		if _, err := w.verify(t, good(arn)); err != nil {
			t.Fatal(err)
		}
		if len(w.policy.asked) != 1 || !slices.Equal(w.policy.asked[0].Aliases, want) {
			t.Errorf("of %s the policy was asked with the aliases %v, expected %v", arn, w.policy.asked[0].Aliases, want)
		}
	}
}

// An answer that rests on a grant by alias rests on what is known of the alias, which is therefore bounded by the policy's age,
// and is in the line, when the key was asked for by its ARN as well.
func TestGrantByStaleAlias(t *testing.T) {
	fresh := seen("2026-11-24T11:00:00Z")
	release := must1(must(kmskey.ParseRef(aliasA)).AliasARN())
	for name, c := range map[string]struct {
		alias  kmskey.Time
		limit  time.Duration
		refuse string
		name   kmserr.Name
	}{
		"as young as the key":       {alias: at("2026-11-24T11:00:00Z"), limit: 24 * time.Hour},
		"old, and nobody minds":     {alias: at("2025-01-01T00:00:00Z")},
		"undated, and nobody minds": {},
		"old":                       {at("2025-01-01T00:00:00Z"), 24 * time.Hour, "2025-01-01T00:00:00Z", kmserr.SnapshotExpired},
		"undated":                   {kmskey.Time{}, 24 * time.Hour, "no date", kmserr.SnapshotExpired},
		"as old as it may be":       {alias: at("2026-11-23T12:00:00Z"), limit: 24 * time.Hour},
		"a second older":            {at("2026-11-23T11:59:59Z"), 24 * time.Hour, "2026-11-23T11:59:59Z", kmserr.SnapshotExpired},
		"as far ahead as it may be": {alias: at("2026-11-24T12:05:00Z"), limit: 24 * time.Hour},
		"a second further":          {at("2026-11-24T12:05:01Z"), 24 * time.Hour, "the clock says", kmserr.Clock},
		"of tomorrow":               {at("2026-11-25T12:00:00Z"), 24 * time.Hour, "the clock says", kmserr.Clock},
	} {
		t.Run(name, func(t *testing.T) {
			key := record(t, arnA, signerOf(kmskey.ECCNISTP256), fresh, state(kmskey.StateDisabled), func(r *kmskey.Record) { r.Snapshot.StateTime = r.Snapshot.Time })
			w := newWorld(t, key)
			w.alias(t, key, c.alias)
			w.policy.aliases = []kmskey.AliasARN{release}
			granted := policy.Rules{MaxSnapshotAge: c.limit, KeyStates: []kmskey.KeyState{kmskey.StateDisabled}}
			for what, not := range map[kmserr.Name]policy.Rules{
				kmserr.KeyNotAllowed: {MaxSnapshotAge: c.limit, Excluded: "is not on the list"},
				kmserr.Disabled:      {MaxSnapshotAge: c.limit},
			} {
				w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
					if slices.Contains(s.Aliases, release) || s.Asked.Alias == release.Alias {
						return granted, nil
					}
					return not, nil
				}
				want := what
				if what == kmserr.KeyNotAllowed { // it is allowed; what is known is too old
					want = c.name
				}
				for _, asked := range []string{arnA, aliasA, "alias/release"} {
					line, err := w.verify(t, good(asked))
					files := 0
					for _, f := range line.Files {
						if strings.Contains(f.Path, "aliases") {
							files++
						}
					}
					if c.refuse == "" {
						if err != nil || files != 1 {
							t.Errorf("%s: %v, files %v", asked, err, line.Files)
						}
						continue
					}
					refused(t, err, want, "no grant holds by "+aliasA, c.refuse)
					if files > 0 && asked == arnA || len(line.Warnings) == 0 {
						t.Errorf("%s: files %v, warnings %v", asked, line.Files, line.Warnings)
					}
				}
				// Where age fails no identity, it gives none either: not under one name what it does not give under another.
				for _, asked := range []string{arnA, aliasA} {
					_, err := w.authorize(t, KeyRequest{KeyID: asked, SeparateState: true})
					if what == kmserr.KeyNotAllowed && c.refuse != "" {
						refused(t, err, want, "no grant holds by "+aliasA)
					} else if err != nil {
						t.Errorf("%s: %v", asked, err)
					}
				}
			}
		})
	}
}

// The outlook of a key that is on the list by an alias ends when what is known of the alias is too old, of the youngest of
// several.
func TestOutlookOfGrantByAlias(t *testing.T) {
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256), seen("2026-11-24T11:00:00Z"))
	w := newWorld(t, key)
	var aliases []kmskey.AliasARN
	for name, when := range map[string]string{"alias/older": "2026-11-24T03:00:00Z", "alias/release": "2026-11-24T05:00:00Z"} {
		w.write(t, func(writer *keystore.Writer) error {
			_, err := writer.Put(key, keystore.PutOptions{Aliases: []string{name}, AliasTime: at(when)})
			return err
		})
		aliases = append(aliases, kmskey.AliasARN{Scope: key.ARN().Scope, Alias: name})
	}
	w.policy.aliases = aliases
	for name, c := range map[string]struct {
		without policy.Rules
		until   string
		because string
	}{
		"by alias alone":       {policy.Rules{Excluded: "is not on the list"}, "2026-11-25T05:00:00Z", "the snapshot of " + aliasA + ", by which a grant names the key"},
		"a state by the alias": {policy.Rules{RequireKnownState: true}, "2026-11-25T05:00:00Z", aliasA},
		"by its ARN as well":   {policy.Rules{}, "2026-11-25T11:00:00Z", "the snapshot of " + arnA},
	} {
		w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
			r := c.without
			if len(s.Aliases) > 0 {
				r = policy.Rules{}
			}
			r.MaxSnapshotAge = 24 * time.Hour
			return r, nil
		}
		o, err := w.v.Outlook(t.Context(), arnA)
		if err != nil || o.Refusal != nil || !o.Until.Equal(at(c.until).Time) || !strings.Contains(o.Because, c.because) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	// Without a limit nothing is ever too old.
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		if len(s.Aliases) == 0 {
			return policy.Rules{Excluded: "is not on the list"}, nil
		}
		return policy.Rules{}, nil
	}
	if o, err := w.v.Outlook(t.Context(), arnA); err != nil || o.Refusal != nil || !o.Until.IsZero() {
		t.Errorf("without a limit: %+v, %v", o, err)
	}
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		if len(s.Aliases) == 0 {
			return policy.Rules{}, io.ErrUnexpectedEOF
		}
		return policy.Rules{MaxSnapshotAge: 24 * time.Hour}, nil
	}
	if o, err := w.v.Outlook(t.Context(), arnA); o != nil || !kmserr.Is(err, kmserr.PolicyInvalid) {
		t.Errorf("%+v, %v", o, err)
	}
}

// The alias that was asked for was read already, and is one of several.
func TestGrantByAnotherAlias(t *testing.T) {
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256))
	w := newWorld(t, key)
	w.alias(t, key, at("2026-11-24T11:00:00Z"))
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Put(key, keystore.PutOptions{Aliases: []string{"alias/other"}})
		return err
	})
	release := must1(must(kmskey.ParseRef(aliasA)).AliasARN())
	w.policy.aliases = []kmskey.AliasARN{release}
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		if slices.Equal(s.Aliases, []kmskey.AliasARN{release}) {
			return policy.Rules{}, nil
		}
		return policy.Rules{Excluded: "is not on the list"}, nil
	}
	for _, asked := range []string{arnA, aliasA, "alias/release", "alias/other"} {
		if _, err := w.verify(t, good(asked)); err != nil {
			t.Errorf("%s: %v", asked, err)
		}
	}
	seen := &view{Store: w.v.cfg.Store, lastLine: func() time.Time { return time.Time{} }}
	seen.aliases.answers = map[kmskey.AliasARN]remembered[*keystore.AliasEntry]{release: {err: kmserr.New(kmserr.StoreIntegrity, "read again")}}
	w.v.seen = seen
	if _, err := w.verify(t, good(aliasA)); err != nil {
		t.Error(err)
	}
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.StoreIntegrity, "read again")
}

// A key that a grant by an alias would not allow either is not on the list, however old what is known of the alias is.
func TestNotOnTheListByAStaleAlias(t *testing.T) {
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256), seen("2026-11-24T11:00:00Z"))
	w := newWorld(t, key)
	w.alias(t, key, at("2026-11-01T00:00:00Z"))
	w.policy.aliases = []kmskey.AliasARN{must1(must(kmskey.ParseRef(aliasA)).AliasARN())}
	w.rules(policy.Rules{MaxSnapshotAge: 24 * time.Hour, Excluded: "is not on the list"})
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.KeyNotAllowed, "is not on the list")
}

// What an answer rests on may be no older than the shortest limit of all that take part, an alias by which a grant holds
// included.
func TestGrantByStaleAliasOfAReplica(t *testing.T) {
	east := record(t, mrkEast, signerOf(kmskey.ECCNISTP256), seen("2026-11-24T11:00:00Z"))
	w := newWorld(t, east)
	w.alias(t, east, at("2026-11-20T11:00:00Z"))
	release := must1(must(kmskey.ParseRef(aliasA)).AliasARN())
	w.policy.aliases = []kmskey.AliasARN{release}
	limit := 240 * time.Hour
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		switch {
		case s.ARN.String() == mrkWest:
			return policy.Rules{MaxSnapshotAge: limit}, nil
		case slices.Contains(s.Aliases, release):
			return policy.Rules{}, nil
		}
		return policy.Rules{Excluded: "is not on the list"}, nil
	}
	if _, err := w.verify(t, good(mrkWest)); err != nil {
		t.Fatal(err)
	}
	limit = 24 * time.Hour
	_, err := w.verify(t, good(mrkWest))
	refused(t, err, kmserr.SnapshotExpired, aliasA, "allows an age of 1d")
}

// TestExplainPolicyAsDecided: what policy show says is what decides: for each of the records that answer for a key without one
// of its own, and by no grant that does not hold.
func TestExplainPolicyAsDecided(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	east, eu := record(t, mrkEast, p256), record(t, mrkEU, p256)
	w := newWorld(t, east, eu, record(t, arnA, p256))
	w.alias(t, record(t, arnA, p256), at("2026-11-01T00:00:00Z"))
	home := w.home.Path
	grant := func(name, key string) string {
		return `{"name":"` + name + `","keys":["` + key + `"],"verify":true}`
	}
	text := `{"version":"1","allowList":true,"grants":[` + grant("west", mrkWest) + `,` + grant("east", mrkEast) + `,` + grant("release", aliasA) + `],
		"restrictions":[{"name":"age","keys":["` + arnA + `"],"maxSnapshotAge":"1d"}]}`
	if err := os.WriteFile(filepath.Join(home, policy.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := New(Config{Store: w.v.cfg.Store, Policy: must(policy.Load(policy.Options{Home: home})), Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(e PolicyExplanation) string {
		for _, effect := range e.Effects {
			if effect.Member == "verify" {
				return effect.Value
			}
		}
		return ""
	}
	e, err := v.ExplainPolicy(mrkWest)
	if err != nil || e.ARN.String() != mrkWest || len(e.Replicas) != 2 || e.Replicas[0].ARN.String() != mrkEU || e.Replicas[1].ARN.String() != mrkEast {
		t.Fatalf("%v, %+v", err, e)
	}
	for i, want := range []string{"allowed", "refused", "allowed"} {
		if got := verdict(append([]PolicyExplanation{*e}, e.Replicas...)[i]); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %s, expected %s", i, got, want)
		}
	}
	_, err = v.Verify(t.Context(), good(mrkWest))
	refused(t, err, kmserr.KeyNotAllowed)
	for _, asked := range []string{arnA, aliasA, "alias/release"} {
		e, err := v.ExplainPolicy(asked)
		if err != nil || !strings.HasPrefix(verdict(*e), "refused") || len(e.Unheeded) != 1 || !strings.Contains(e.Unheeded[0], aliasA) || len(e.Replicas) > 0 {
			t.Errorf("%s: %v, %+v", asked, err, e)
		}
		_, err = v.Verify(t.Context(), good(asked))
		refused(t, err, kmserr.SnapshotExpired, aliasA)
	}
	if e, err := v.ExplainPolicy(""); err != nil || e.ARN != (kmskey.ARN{}) || len(e.Effects) == 0 || e.Effects[0].Member != "store.permissions" {
		t.Errorf("%v, %+v", err, e)
	}
}

// Of several limits of age the shortest holds, and a rule without one takes none away.
func TestAgeOfSeveralRules(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	old := func(arn string) *kmskey.Key { return record(t, arn, p256, seen("2026-11-24T00:00:00Z")) } // twelve hours
	for name, c := range map[string]struct {
		west, east, eu time.Duration
		expired        bool
	}{
		"none": {}, "long": {100 * time.Hour, 100 * time.Hour, 100 * time.Hour, false},
		"the first is short": {time.Hour, 100 * time.Hour, 100 * time.Hour, true}, "the last is short": {100 * time.Hour, 100 * time.Hour, time.Hour, true},
		"only the first has one": {time.Hour, 0, 0, true}, "only the last has one": {0, 0, time.Hour, true}, "the middle has none": {time.Hour, 0, 100 * time.Hour, true},
	} {
		w := newWorld(t, old(mrkEast), old(mrkEU))
		w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
			return policy.Rules{MaxSnapshotAge: map[string]time.Duration{mrkWest: c.west, mrkEast: c.east, mrkEU: c.eu}[s.ARN.String()]}, nil
		}
		_, err := w.verify(t, good(mrkWest))
		if expired := kmserr.Is(err, kmserr.SnapshotExpired); expired != c.expired || !expired && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signature's refusal names no flag that only other operations have, and every refusal by usage says what to do.
func TestRefusalsSayWhatIsSoForSignatures(t *testing.T) {
	s := signerOf(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, arnA, s, state(kmskey.StateDisabled)), record(t, arnB, s, usage(kmskey.KeyAgreement)))
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.Disabled)
	if e := kmserr.As(err); strings.Contains(e.Hint, "unsafe") || strings.Contains(e.Fact, "so KMS") {
		t.Errorf("%s | %s", e.Fact, e.Hint)
	}
	_, err = w.verify(t, good(arnB))
	refused(t, err, kmserr.InvalidKeyUsage, kmserr.Lookup(kmserr.InvalidKeyUsage).Cure)
}

// TestDigestGuards: what may not verify is not prepared for a signature either, whatever the refusal of a later step would be.
func TestDigestGuards(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	ask := func(w *world, edit func(*DigestRequest)) error {
		req := DigestRequest{KeyID: arnA, Message: strings.NewReader("m")}
		if edit != nil {
			edit(&req)
		}
		d, err := w.v.Digest(context.Background(), req)
		if (d != nil) == (err != nil) {
			t.Errorf("%v together with %v", d, err)
		}
		return err
	}
	w := newWorld(t, record(t, arnA, p256))
	w.rules(policy.Rules{Excluded: "is excluded"})
	refused(t, ask(w, nil), kmserr.KeyNotAllowed)
	w.rules(policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.SM2DSA}})
	refused(t, ask(w, nil), kmserr.AlgorithmNotAllowed)
	w.rules(policy.Rules{})
	w.block(t, keystore.Block{KeyID: arnA, Reason: "lost"})
	refused(t, ask(w, nil), kmserr.KeyBlocked)

	w = newWorld(t, record(t, arnA, p256, usage(kmskey.KeyAgreement)))
	refused(t, ask(w, nil), kmserr.InvalidKeyUsage, "expected SIGN_VERIFY")

	w = newWorld(t, record(t, arnA, p256, state(kmskey.StateDisabled)))
	refused(t, ask(w, nil), kmserr.Disabled)
	w = newWorld(t, record(t, arnA, p256, state(kmskey.StatePendingDeletion)))
	refused(t, ask(w, nil), kmserr.KMSInvalidState, "PendingDeletion")
	w = newWorld(t, record(t, arnA, p256))
	w.rules(policy.Rules{RequireKnownState: true})
	refused(t, ask(w, nil), kmserr.KMSInvalidState, "demands a known one")
	w = newWorld(t, record(t, arnA, p256, seen("2026-11-22T11:00:00Z")))
	w.rules(policy.Rules{MaxSnapshotAge: 24 * time.Hour})
	refused(t, ask(w, nil), kmserr.SnapshotExpired, "2026-11-22T11:00:00Z")

	w = newWorld(t, record(t, arnA, signerOf(kmskey.SM2)))
	w.rules(policy.Rules{DistinguishingID: did("pinned")})
	refused(t, ask(w, func(r *DigestRequest) { r.DistinguishingID = did("another") }), kmserr.Validation, "pinned", "another")

	w = newWorld(t, record(t, arnA, p256))
	v := opened(t, w.home.Path)
	if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.v = v
	refused(t, ask(w, nil), kmserr.PolicyInvalid)
}

// A line says which input was refused, and a message is read once and as a stream where there is no history, however long.
func TestInputOfRefusals(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	req := good(arnA)
	req.Message = strings.NewReader("another message")
	_, err := w.verify(t, req)
	refused(t, err, kmserr.InvalidSignature)
	if line := w.log.lines[len(w.log.lines)-1]; line.InputBytes != 15 || line.InputSHA256 != hexSHA256([]byte("another message")) {
		t.Errorf("the line says %+v", line)
	}
	req.Message = nil
	_, err = w.verify(t, req)
	refused(t, err, kmserr.Validation, "no message")
	if line := w.log.lines[len(w.log.lines)-1]; line.InputBytes != 0 || line.InputSHA256 != "" {
		t.Errorf("the line says %+v", line)
	}
	unsigned := good(arnA)
	unsigned.Signature = nil
	_, err = w.verify(t, unsigned)
	refused(t, err, kmserr.Validation, "the signature is empty")
	if line := w.log.lines[len(w.log.lines)-1]; line.InputSHA256 != "" {
		t.Errorf("nothing was read, and the line says %+v", line)
	}
	if d, err := w.verify(t, request(arnA, signerOf(kmskey.ECCNISTP256), kmskey.ECDSASHA256, nil)); err != nil || d.InputSHA256 != hexSHA256(nil) {
		t.Errorf("an empty message: %v, %+v", err, d)
	}
	w.v.cfg.MaxMessage = 1
	req.Message = oneByOne{strings.NewReader("message")}
	if _, err := w.verify(t, req); err != nil {
		t.Error(err)
	}
	var none context.Context
	if _, err := w.v.Verify(none, good(arnA)); err != nil {
		t.Error(err)
	}
}

// A bare hash is refused where the signature is not over one, in words that say so; and only a digest is one.
func TestBareHash(t *testing.T) {
	message := []byte("message")
	hash := digestOf(kmskey.ECDSASHA256, message)
	for _, spec := range []kmskey.KeySpec{kmskey.SM2, kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87, kmskey.ECCNISTP256} {
		s := signerOf(spec)
		w := newWorld(t, record(t, arnA, s))
		req := request(arnA, s, spec.SigningAlgorithms()[0], message)
		req.BareHash = true
		if _, err := w.verify(t, req); err != nil {
			t.Errorf("%s, the message: %v", spec, err)
		}
		req.MessageType, req.Message = kmskey.Digest, bytes.NewReader(hash)
		_, err := w.verify(t, req)
		if spec == kmskey.ECCNISTP256 {
			if err != nil {
				t.Errorf("%s: %v", spec, err)
			}
			continue
		}
		refused(t, err, kmserr.Validation, "a hash of the message is given, but")
	}
}

// A grant by an alias that cannot be read grants nothing, and is no restriction that can be left out either.
func TestGrantByDamagedAlias(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.policy.aliases = []kmskey.AliasARN{must1(must(kmskey.ParseRef(aliasA)).AliasARN())}
	if _, err := w.verify(t, good(arnA)); err != nil {
		t.Fatalf("an alias that is not there: %v", err)
	}
	file := filepath.Join(w.home.Path, "aliases", "aws", "us-east-1", "111122223333", "release.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.StoreIntegrity)
}

// What a lookup answers is checked to be what was asked for, whoever answered it.
func TestAnswerToAnotherQuestion(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)), record(t, arnB, signerOf(kmskey.ECCNISTP384)))
	ref := must(kmskey.ParseRef(arnA))
	other, err := w.v.cfg.Store.Resolve(must(kmskey.ParseRef(arnB)), keystore.ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := &view{Store: w.v.cfg.Store, lastLine: func() time.Time { return time.Time{} }}
	seen.resolved.answers = map[resolveKey]remembered[*keystore.Resolution]{{ref: ref}: {value: other}}
	w.v.seen = seen
	_, err = w.verify(t, good(arnA))
	refused(t, err, kmserr.StoreIntegrity, "the store answered to "+arnA)
	_, err = w.authorize(t, KeyRequest{KeyID: arnA})
	refused(t, err, kmserr.StoreIntegrity, "the store answered to "+arnA)
}

func TestDigest(t *testing.T) {
	p256, rsa := signerOf(kmskey.ECCNISTP256), signerOf(kmskey.RSA2048)
	for name, c := range map[string]struct {
		key  *kmskey.Key
		req  DigestRequest
		name kmserr.Name
	}{
		"sound":           {record(t, arnA, p256), DigestRequest{KeyID: arnA, Message: strings.NewReader("m")}, ""},
		"identifier":      {record(t, arnA, p256), DigestRequest{KeyID: "x", Message: strings.NewReader("m")}, kmserr.Validation},
		"absent":          {record(t, arnA, p256), DigestRequest{KeyID: arnB, Message: strings.NewReader("m")}, kmserr.NotFound},
		"no message":      {record(t, arnA, p256), DigestRequest{KeyID: arnA}, kmserr.Validation},
		"no algorithm":    {record(t, arnA, rsa), DigestRequest{KeyID: arnA, Message: strings.NewReader("m")}, kmserr.Validation},
		"wrong algorithm": {record(t, arnA, p256), DigestRequest{KeyID: arnA, SigningAlgorithm: kmskey.SM2DSA, Message: strings.NewReader("m")}, kmserr.InvalidKeyUsage},
		"usage":           {record(t, arnA, p256, usage(kmskey.KeyAgreement)), DigestRequest{KeyID: arnA, Message: strings.NewReader("m")}, kmserr.InvalidKeyUsage},
		"ID, not SM2":     {record(t, arnA, p256), DigestRequest{KeyID: arnA, Message: strings.NewReader("m"), DistinguishingID: did("")}, kmserr.Validation},
		"pure Ed25519":    {record(t, arnA, signerOf(kmskey.ECCNISTEdwards25519)), DigestRequest{KeyID: arnA, SigningAlgorithm: kmskey.ED25519SHA512, Message: strings.NewReader("m")}, kmserr.UnsupportedOperation},
	} {
		w := newWorld(t, c.key)
		d, err := w.v.Digest(context.Background(), c.req)
		if (d != nil) == (err != nil) {
			t.Errorf("%s: %v together with %v", name, d, err)
		}
		if c.name != "" {
			refused(t, err, c.name)
		} else if err != nil || !bytes.Equal(d.Bytes, digestOf(kmskey.ECDSASHA256, []byte("m"))) || d.MessageType != kmskey.Digest {
			t.Errorf("%s: %v, %+v", name, err, d)
		}
	}
	w := newWorld(t, record(t, arnA, signerOf(kmskey.MLDSA44)))
	d, err := w.v.Digest(context.Background(), DigestRequest{KeyID: arnA, Message: strings.NewReader("m")})
	if err != nil || d.MessageType != kmskey.ExternalMu || len(d.Bytes) != 64 {
		t.Errorf("%v, %+v", err, d)
	}
}

// The limit of messages that must be held is the configured one.
func TestMaxMessage(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTEdwards25519)))
	w.v.cfg.MaxMessage = 6
	_, err := w.verify(t, request(arnA, signerOf(kmskey.ECCNISTEdwards25519), kmskey.ED25519SHA512, []byte("message")))
	refused(t, err, kmserr.Validation, "longer than 6 bytes")
	w.v.cfg.MaxMessage = 0
	if limit := w.v.maxMessage(); limit != 256<<20 {
		t.Errorf("none is configured, and the limit is %d", limit)
	}
	w.v.cfg.MaxMessage = 7
	if _, err := w.verify(t, request(arnA, signerOf(kmskey.ECCNISTEdwards25519), kmskey.ED25519SHA512, []byte("message"))); err != nil {
		t.Error(err)
	}
}
