package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
	"github.com/awskms-offline/awskms-offline/e2e/internal/kmssign"
)

// signer is one way to sign: a test key, an algorithm, and how cosign's user has to name both.
type signer struct {
	name, key, algorithm string
	// id is SM2's distinguishing ID; empty for the default.
	id string
	// option is the query of the key reference.
	option string
	// unreadable keys are those that cosign itself cannot parse.
	unreadable bool
	// sha256 algorithms sign the SHA-256 of the message and nothing else.
	sha256 bool
	// other is a key to ask for instead, which must be refused.
	other string
}

var signers = []signer{
	{name: "p256", key: "p256", algorithm: "ECDSA_SHA_256", sha256: true, other: "p256-other"},
	{name: "p384", key: "p384", algorithm: "ECDSA_SHA_384", other: "p256"},
	{name: "p521", key: "p521", algorithm: "ECDSA_SHA_512", other: "p256"},
	{name: "rsa-pkcs1", key: "rsa2048", algorithm: "RSASSA_PKCS1_V1_5_SHA_256", sha256: true, other: "rsa3072"},
	{name: "rsa-pss", key: "rsa2048", algorithm: "RSASSA_PSS_SHA_256", option: "?signing-algorithm=RSASSA_PSS_SHA_256", sha256: true, other: "rsa3072"},
	{name: "ed25519", key: "ed25519", algorithm: "ED25519_SHA_512", other: "p256"},
	{name: "secp256k1", key: "secp256k1", algorithm: "ECDSA_SHA_256", sha256: true, unreadable: true, other: "p256"},
	{name: "sm2", key: "sm2", algorithm: "SM2DSA", unreadable: true, other: "p256"},
	{name: "sm2-custom", key: "sm2", algorithm: "SM2DSA", id: "release@example.com & co", option: "?distinguishing-id=release@example.com%20%26%20co", unreadable: true, other: "p256"},
	{name: "mldsa65", key: "mldsa65", algorithm: "ML_DSA_SHAKE_256", unreadable: true, other: "mldsa44"},
}

func (s signer) sign(t *testing.T, message []byte) []byte {
	t.Helper()
	signature, err := kmssign.Sign(shared.testdata, s.key, s.algorithm, message, s.id)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// twin is what is wrong with a signature, if anything.
type twin string

const (
	good             twin = "good"
	changedMessage   twin = "message changed"
	changedSignature twin = "signature changed"
	strangersKey     twin = "signed by another key of the same spec"
)

// strangers are keys that no store has, by spec: each made once, for RSA takes its time.
var strangers = struct {
	sync.Mutex
	keys map[string]*kmssign.Key
}{keys: make(map[string]*kmssign.Key)}

func stranger(t *testing.T, spec string) *kmssign.Key {
	t.Helper()
	strangers.Lock()
	defer strangers.Unlock()
	if strangers.keys[spec] == nil {
		key, err := kmssign.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		strangers.keys[spec] = key
	}
	return strangers.keys[spec]
}

// signed returns a signature over the message, as the twin has it.
func (s signer) signed(t *testing.T, message []byte, w twin) []byte {
	t.Helper()
	if w == strangersKey {
		signature, err := stranger(t, fixture.Lookup(s.key).Spec).Sign(s.algorithm, message, s.id)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	if w == changedMessage {
		message = slices.Clone(message)
		message[len(message)/2] ^= 1
	}
	signature := s.sign(t, message)
	if w == changedSignature {
		signature[len(signature)-1] ^= 1
	}
	return signature
}

// client is one cosign.
type client struct {
	name, path string
	two        bool
}

// flow is one way in which cosign verifies. prepare makes what is verified and returns cosign's arguments without --key.
type flow struct {
	name string
	// parses: cosign asks for the public key and parses it itself.
	parses bool
	// digestOnly: the plugin gets nothing but a SHA-256.
	digestOnly bool
	// three: cosign 2 has no such flow.
	three   bool
	prepare func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string
}

const cosignMessage = "what is signed\n"

// newBundle are the arguments that make cosign 2 read bundles of the new format.
func (c client) newBundle(t *testing.T, h *harness.Host) []string {
	if !c.two {
		return nil
	}
	root := file(t, h, "root.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[]}`))
	return []string{"--new-bundle-format", "--trusted-root", root}
}

// run runs the client with no wish for the network: cosign 2 fetches sigstore's trusted root, whether it needs it or not,
// unless it is told of another one.
func (c client) run(t *testing.T, h *harness.Host, args ...string) harness.Result {
	t.Helper()
	if c.two {
		offline := *h
		offline.Extra = append(slices.Clone(h.Extra), "SIGSTORE_ROOT_FILE="+os.DevNull)
		h = &offline
	}
	r := do(t, h, c.path, args...)
	if strings.Contains(r.Stderr, "TUF") {
		t.Errorf("the network was asked for a trusted root:\n%s", r)
	}
	return r
}

func file(t *testing.T, h *harness.Host, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(h.Dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// repository is one that no other test has.
func repository(t *testing.T) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '/' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	return strings.ReplaceAll(strings.Trim(clean, "-"), "-/", "/")
}

func image(t *testing.T) (repository_, digest, reference string) {
	t.Helper()
	repository_ = repository(t)
	digest, err := shared.registry.PushImage(repository_, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	return repository_, digest, shared.registry.Reference(repository_, digest)
}

// attach stores with the real cosign.
func attach(t *testing.T, c client, h *harness.Host, args ...string) {
	t.Helper()
	r, err := h.Run(c.path, append([]string{"attach"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 0 {
		t.Fatal(r)
	}
}

// attached is an image with a signature of the old format.
func attached(t *testing.T, c client, h *harness.Host, s signer, w twin) (reference string) {
	repository, digest, reference := image(t)
	payload := harness.SimpleSigning(shared.registry.Scope(repository), digest)
	signature := base64.StdEncoding.EncodeToString(s.signed(t, payload, w))
	attach(t, c, h, "signature", "--allow-http-registry", "--payload", file(t, h, "payload.json", payload), "--signature", file(t, h, "payload.sig", []byte(signature)), reference)
	return reference
}

// savedWithBundle is an image with a bundle, as the real cosign saves both in a folder.
func savedWithBundle(t *testing.T, c client, h *harness.Host, s signer, w twin, predicate string) (dir string) {
	repository, digest, reference := image(t)
	statement := harness.InTotoStatement(repository, digest, predicate)
	if err := shared.registry.PushReferrer(repository, digest, predicate, harness.EnvelopeBundle(statement, s.signed(t, harness.PAE(statement), w))); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(h.Dir, "image")
	if r, err := h.Run(c.path, "save", "--allow-http-registry", "--dir", dir, reference); err != nil || r.Code != 0 {
		t.Fatal(r, err)
	}
	return dir
}

// flowsOf are the flows that the client has.
func flowsOf(c client) []flow {
	return slices.DeleteFunc(slices.Clone(flows), func(f flow) bool { return f.three && c.two })
}

var flows = []flow{
	{name: "verify-blob --signature", prepare: func(t *testing.T, _ client, h *harness.Host, s signer, w twin) []string {
		signature := base64.StdEncoding.EncodeToString(s.signed(t, []byte(cosignMessage), w))
		return []string{"verify-blob", "--signature", file(t, h, "message.sig", []byte(signature)), file(t, h, "message", []byte(cosignMessage))}
	}},
	{name: "verify-blob --bundle", prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		bundle := harness.Bundle([]byte(cosignMessage), s.signed(t, []byte(cosignMessage), w))
		args := append([]string{"verify-blob", "--bundle", file(t, h, "message.bundle", bundle)}, c.newBundle(t, h)...)
		return append(args, file(t, h, "message", []byte(cosignMessage)))
	}},
	{name: "verify-blob sha256", digestOnly: true, prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		bundle := harness.Bundle([]byte(cosignMessage), s.signed(t, []byte(cosignMessage), w))
		sum := sha256.Sum256([]byte(cosignMessage))
		args := append([]string{"verify-blob", "--bundle", file(t, h, "message.bundle", bundle)}, c.newBundle(t, h)...)
		return append(args, "sha256:"+hex.EncodeToString(sum[:]))
	}},
	{name: "verify, attached signature", prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		return []string{"verify", "--allow-http-registry", attached(t, c, h, s, w)}
	}},
	{name: "verify, local image", prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		dir := filepath.Join(h.Dir, "image")
		r, err := h.Run(c.path, "save", "--allow-http-registry", "--dir", dir, attached(t, c, h, s, w))
		if err != nil || r.Code != 0 {
			t.Fatal(r, err)
		}
		return []string{"verify", "--local-image", dir}
	}},
	{name: "verify, bundle", parses: true, prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		repository, digest, reference := image(t)
		statement := harness.InTotoStatement(repository, digest, harness.SignPredicate)
		bundle := harness.EnvelopeBundle(statement, s.signed(t, harness.PAE(statement), w))
		if err := shared.registry.PushReferrer(repository, digest, harness.SignPredicate, bundle); err != nil {
			t.Fatal(err)
		}
		return append(append([]string{"verify", "--allow-http-registry"}, c.newBundle(t, h)...), reference)
	}},
	{name: "verify, local image with a bundle", parses: true, three: true, prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		return []string{"verify", "--local-image", savedWithBundle(t, c, h, s, w, harness.SignPredicate)}
	}},
	{name: "verify-attestation, local image with a bundle", parses: true, three: true, prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		return []string{"verify-attestation", "--local-image", "--type", harness.CustomPredicate, savedWithBundle(t, c, h, s, w, harness.CustomPredicate)}
	}},
	{name: "verify-attestation, old format", prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		repository, digest, reference := image(t)
		statement := harness.InTotoStatement(repository, digest, harness.CustomPredicate)
		attach(t, c, h, "attestation", "--allow-http-registry", "--attestation", file(t, h, "attestation.json", harness.Envelope(statement, s.signed(t, harness.PAE(statement), w))), reference)
		return []string{"verify-attestation", "--allow-http-registry", "--type", harness.CustomPredicate, reference}
	}},
	{name: "verify-attestation, bundle", parses: true, prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		repository, digest, reference := image(t)
		statement := harness.InTotoStatement(repository, digest, harness.CustomPredicate)
		bundle := harness.EnvelopeBundle(statement, s.signed(t, harness.PAE(statement), w))
		if err := shared.registry.PushReferrer(repository, digest, harness.CustomPredicate, bundle); err != nil {
			t.Fatal(err)
		}
		return append(append([]string{"verify-attestation", "--allow-http-registry", "--type", harness.CustomPredicate}, c.newBundle(t, h)...), reference)
	}},
	{name: "verify-blob-attestation --bundle", parses: true, prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		statement := blobStatement(harness.CustomPredicate)
		bundle := harness.EnvelopeBundle(statement, s.signed(t, harness.PAE(statement), w))
		args := append([]string{"verify-blob-attestation", "--type", harness.CustomPredicate, "--bundle", file(t, h, "att.bundle", bundle)}, c.newBundle(t, h)...)
		return append(args, file(t, h, "message", []byte(cosignMessage)))
	}},
	{name: "verify-blob-attestation --signature", prepare: func(t *testing.T, c client, h *harness.Host, s signer, w twin) []string {
		statement := blobStatement(harness.CustomPredicate)
		envelope := harness.Envelope(statement, s.signed(t, harness.PAE(statement), w))
		return []string{"verify-blob-attestation", "--type", harness.CustomPredicate, "--signature", file(t, h, "att.json", envelope), file(t, h, "message", []byte(cosignMessage))}
	}},
}

func blobStatement(predicate string) []byte {
	sum := sha256.Sum256([]byte(cosignMessage))
	return harness.InTotoStatement("message", "sha256:"+hex.EncodeToString(sum[:]), predicate)
}

// expectation is how a run must end: exit code 0 or not, and what the user must see.
type expectation struct {
	ok   bool
	says string
}

// expected is what the table of docs/cosign.md promises.
func (f flow) expected(s signer, w twin) expectation {
	switch {
	case f.parses && s.unreadable:
		return expectation{says: "cosign itself cannot read a public key of spec " + fixture.Lookup(s.key).Spec}
	case f.digestOnly && !s.sha256 && (s.key == "p384" || s.key == "p521"):
		return expectation{says: "Digest is invalid length for algorithm"}
	case f.digestOnly && !s.sha256:
		return expectation{says: "a hash of the message is given, but"}
	case w != good:
		return expectation{says: "awskms-offline: KMSInvalidSignatureException"}
	}
	return expectation{ok: true}
}

func clients(t *testing.T) []client {
	all := []client{{name: "cosign3", path: build.ClientPath(shared.root, "cosign")}}
	if *withCosign2 {
		return append(all, client{name: "cosign2", path: build.ClientPath(shared.root, "cosign2"), two: true})
	}
	t.Log("cosign 2 is left out: make test-clients runs it too")
	return all
}

// cosignHost is a host of its own whose programs find the plugins in bin.
func cosignHost(t *testing.T, bin string) *harness.Host {
	t.Helper()
	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	h.Home, h.Bin = shared.records, bin
	return h
}

func verifyWith(t *testing.T, c client, h *harness.Host, key string, args []string) harness.Result {
	t.Helper()
	return c.run(t, h, slices.Insert(slices.Clone(args), 1, "--key", key, "--insecure-ignore-tlog")...)
}

func (e expectation) check(t *testing.T, r harness.Result, also ...string) {
	t.Helper()
	for _, says := range also {
		if !strings.Contains(r.Output(), says) {
			t.Errorf("%q is not in what the user sees:\n%s", says, r)
		}
	}
	switch {
	case e.ok && r.Code != 0:
		t.Errorf("refused:\n%s", r)
	case !e.ok && r.Code == 0:
		t.Errorf("A WRONG YES:\n%s", r)
	case !e.ok && !strings.Contains(r.Output(), e.says):
		t.Errorf("%q is not in what the user sees:\n%s", e.says, r)
	}
}

// otherUsages are KMS's key usages beside SIGN_VERIFY, by key spec. The other specs have none.
var otherUsages = map[string]struct{ usage, list, algorithm string }{
	"RSA_2048":      {"ENCRYPT_DECRYPT", "EncryptionAlgorithms", "RSAES_OAEP_SHA_256"},
	"SM2":           {"ENCRYPT_DECRYPT", "EncryptionAlgorithms", "SM2PKE"},
	"ECC_NIST_P256": {"KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
	"ECC_NIST_P384": {"KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
	"ECC_NIST_P521": {"KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
}

// badStore is a store with the signers' keys, each as KMS would describe it after a change.
func badStore(t *testing.T, change func(k fixture.Key, public, metadata map[string]any)) (home string) {
	t.Helper()
	h := cosignHost(t, shared.bin)
	h.Home = filepath.Join(h.Dir, "kms-keys")
	var files []string
	done := make(map[string]bool)
	for _, s := range signers {
		if done[s.key] {
			continue
		}
		done[s.key] = true
		k := fixture.Lookup(s.key)
		data, err := os.ReadFile(k.PublicRecord(shared.testdata, k.Regions[0]))
		if err != nil {
			t.Fatal(err)
		}
		var public map[string]any
		if err := json.Unmarshal(data, &public); err != nil {
			t.Fatal(err)
		}
		metadata := map[string]any{"Arn": k.ARN(), "KeyId": k.ID(), "KeySpec": k.Spec, "KeyUsage": k.Usage, "KeyState": "Enabled", "Enabled": true, "MultiRegion": false}
		change(k, public, metadata)
		files = append(files, file(t, h, s.key+".get-public-key.json", mustJSON(t, public)),
			file(t, h, s.key+".describe-key.json", mustJSON(t, map[string]any{"KeyMetadata": metadata})))
	}
	if err := h.ImportRecords(files...); err != nil {
		t.Fatal(err)
	}
	return h.Home
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCosign runs every flow of the real cosign with every kind of key. Each has its twins that must be refused: one byte of
// the message, one of the signature, another key of the spec that signed; and, with the good signature, another key asked
// for, the same key disabled, and the same key with another usage or, for specs that have none, one for encryption.
func TestCosign(t *testing.T) {
	disabled := badStore(t, func(_ fixture.Key, _, metadata map[string]any) {
		metadata["KeyState"], metadata["Enabled"] = "Disabled", false
	})
	otherUsage := badStore(t, func(k fixture.Key, public, metadata map[string]any) {
		if other, has := otherUsages[k.Spec]; has {
			delete(public, "SigningAlgorithms")
			public["KeyUsage"], metadata["KeyUsage"], public[other.list] = other.usage, other.usage, []string{other.algorithm}
		}
	})
	for _, c := range clients(t) {
		for _, f := range flowsOf(c) {
			for _, s := range signers {
				t.Run(c.name+"/"+f.name+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					k := fixture.Lookup(s.key)
					key := "awskms-offline://" + k.ARN() + s.option
					for _, w := range []twin{changedMessage, changedSignature, strangersKey} {
						t.Run(string(w), func(t *testing.T) {
							h := cosignHost(t, shared.bin)
							f.expected(s, w).check(t, verifyWith(t, c, h, key, f.prepare(t, c, h, s, w)))
						})
					}
					h := cosignHost(t, shared.bin)
					args := f.prepare(t, c, h, s, good)
					expected := f.expected(s, good)
					t.Run("good", func(t *testing.T) { expected.check(t, verifyWith(t, c, h, key, args)) })
					if expected.ok {
						t.Run("another key asked for", func(t *testing.T) {
							other := "awskms-offline://" + fixture.Lookup(s.other).ARN()
							expectation{says: "awskms-offline: KMSInvalidSignatureException"}.check(t, verifyWith(t, c, h, other, args))
						})
					}
					t.Run("disabled", func(t *testing.T) {
						h := *h
						h.Home = disabled
						expectation{says: "awskms-offline: DisabledException"}.check(t, verifyWith(t, c, &h, key, args))
					})
					t.Run("another usage", func(t *testing.T) {
						h, key := *h, key
						if _, has := otherUsages[k.Spec]; has {
							h.Home = otherUsage
						} else {
							key = "awskms-offline://" + fixture.Lookup("rsa2048-encrypt").ARN()
						}
						expectation{says: "awskms-offline: InvalidKeyUsageException"}.check(t, verifyWith(t, c, &h, key, args))
					})
				})
			}
		}
	}
}

// TestCosignGuards: a signature that is good, asked for in ways that must be refused. In every flow, the reason seen.
func TestCosignGuards(t *testing.T) {
	p256 := fixture.Lookup("p256").ARN()
	for _, c := range clients(t) {
		for _, f := range flowsOf(c) {
			t.Run(c.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				h := cosignHost(t, shared.bin)
				args := f.prepare(t, c, h, signers[0], good)
				for reference, says := range map[string]string{
					fixture.Lookup("p256-stranger").ARN():     "NotFoundException",
					"/alias/nobody":                           "NotFoundException",
					"localhost:4566/" + p256:                  `names "localhost:4566" before the key`,
					p256 + "?signing-algorithm=ECDSA_SHA_384": "is incompatible with key spec",
					p256 + "?signing-algorithm=ECDSA_SHA_256&signing-algorithm=ECDSA_SHA_256": "stands twice",
					p256 + "?home=/tmp":             "unknown option",
					p256 + "?signing-algorithm=%zz": "invalid URL escape",
				} {
					expectation{says: "awskms-offline: "}.check(t, verifyWith(t, c, h, "awskms-offline://"+reference, args), says)
				}
			})
		}
	}
}

// TestCosignBlobs: what the flows above have no example of.
func TestCosignBlobs(t *testing.T) {
	for _, c := range clients(t) {
		h := cosignHost(t, shared.bin)
		verify := func(s signer, message []byte, options ...string) harness.Result {
			args := []string{"verify-blob", "--signature", file(t, h, "blob.sig", []byte(base64.StdEncoding.EncodeToString(s.sign(t, message))))}
			return verifyWith(t, c, h, "awskms-offline:///"+fixture.Lookup(s.key).ARN()+s.option, append(append(args, options...), file(t, h, "blob", message)))
		}
		p256, disabled := signers[0], signer{key: "p256-disabled", algorithm: "ECDSA_SHA_256"}
		// cosign reports another error than the plugin's if a message of this size is not read to its end.
		large := bytes.Repeat([]byte(cosignMessage), 8<<20/len(cosignMessage))
		expectation{ok: true}.check(t, verify(p256, large))
		expectation{says: "awskms-offline: DisabledException"}.check(t, verify(disabled, large), "plugin returned error: DisabledException")
		// KMS signs no empty message.
		expectation{says: "the message on standard input is empty"}.check(t, verify(p256, nil))
		// Of RSA's algorithms cosign names the hash only; the padding, and all of PSS, is an option of the key.
		rsa := func(algorithm, option string) signer {
			return signer{key: "rsa2048", algorithm: algorithm, option: option}
		}
		message := []byte(cosignMessage)
		expectation{ok: true}.check(t, verify(rsa("RSASSA_PKCS1_V1_5_SHA_512", "?signing-algorithm=RSASSA_PKCS1_V1_5_SHA_512"), message))
		expectation{ok: true}.check(t, verify(rsa("RSASSA_PSS_SHA_512", "?signing-algorithm=RSASSA_PSS_SHA_512"), message))
		expectation{says: "No signing algorithm was given, so RSASSA_PKCS1_V1_5_SHA_256 was taken"}.check(t, verify(rsa("RSASSA_PSS_SHA_256", ""), message))
		expectation{says: "No signing algorithm was given, so RSASSA_PKCS1_V1_5_SHA_256 was taken"}.check(t, verify(rsa("RSASSA_PKCS1_V1_5_SHA_512", ""), message))
	}
}

// TestCosignFlags: an image, with the flags that docs/cosign.md names.
func TestCosignFlags(t *testing.T) {
	for _, c := range clients(t) {
		h := cosignHost(t, shared.bin)
		for _, v := range []struct {
			signer
			flags []string
			expectation
		}{
			{signers[0], []string{"--private-infrastructure"}, expectation{ok: true}},
			{signer{key: "p256-disabled", algorithm: "ECDSA_SHA_256"}, []string{"--private-infrastructure"}, expectation{says: "DisabledException"}},
			{signer{key: "rsa2048", algorithm: "RSASSA_PKCS1_V1_5_SHA_512"}, []string{"--insecure-ignore-tlog", "--signature-digest-algorithm", "sha512"}, expectation{ok: true}},
			{signer{key: "rsa2048", algorithm: "RSASSA_PKCS1_V1_5_SHA_512"}, []string{"--insecure-ignore-tlog"}, expectation{says: "KMSInvalidSignatureException"}},
			{signer{key: "p384", algorithm: "ECDSA_SHA_384"}, []string{"--insecure-ignore-tlog", "--signature-digest-algorithm", "sha384"}, expectation{ok: true}},
		} {
			t.Run(c.name+"/"+v.key+strings.Join(v.flags, " "), func(t *testing.T) {
				reference := attached(t, c, h, v.signer, good)
				r := c.run(t, h, append([]string{"verify", "--allow-http-registry", "--key", "awskms-offline://" + fixture.Lookup(v.key).ARN(), reference}, v.flags...)...)
				v.check(t, r)
				if v.ok && strings.Contains(r.Stderr, "WARNING") != slices.Contains(v.flags, "--insecure-ignore-tlog") {
					t.Errorf("the warning is not as docs/cosign.md says:\n%s", r)
				}
			})
		}
	}
}

// TestCosignTakesAnEmptyAnswerForAYes shows why the tests above can fail: with a plugin that answers {} they do.
func TestCosignTakesAnEmptyAnswerForAYes(t *testing.T) {
	bin := t.TempDir()
	plugin := filepath.Join(bin, build.Executable("sigstore-kms-awskms-offline"))
	if err := build.Package(shared.root, "./internal/emptyanswer", plugin, os.Stderr); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range clients(t) {
		for _, f := range flowsOf(c) {
			if f.parses {
				continue // an empty answer to publicKey is no key
			}
			h := cosignHost(t, bin)
			if r := verifyWith(t, c, h, "awskms-offline://x", f.prepare(t, c, h, signers[0], changedSignature)); r.Code == 0 {
				passed++
			} else {
				t.Errorf("%s: %s", f.name, r)
			}
		}
	}
	t.Logf("%d tampered signatures passed with a plugin that answers {}", passed)
}

// TestCosignTakesNoKeyFromABundle: cosign before 2.6.5 and 3.1.3 takes the public key in a bundle of the old format for the one
// that --key names, says yes to whoever made the bundle, and does not ask the plugin (GHSA-fx35-mq7g-6g98).
func TestCosignTakesNoKeyFromABundle(t *testing.T) {
	p256 := signers[0]
	stranger := signer{key: "p256-stranger", algorithm: "ECDSA_SHA_256"}
	key := read(t, publicPEM(t, cosignHost(t, shared.bin), stranger.key))
	certificate := read(t, fixture.Lookup(stranger.key).CertificateFile(shared.testdata))
	statement := blobStatement(harness.CustomPredicate)
	for _, c := range clients(t) {
		for _, command := range []struct {
			words  []string
			signed func(s signer) []byte
		}{
			{[]string{"verify-blob"}, func(s signer) []byte { return s.sign(t, []byte(cosignMessage)) }},
			{[]string{"verify-blob-attestation", "--type", harness.CustomPredicate}, func(s signer) []byte {
				return harness.Envelope(statement, s.sign(t, harness.PAE(statement)))
			}},
		} {
			for _, b := range []struct {
				name, reference string
				signer
				brings string
				expectation
			}{
				{"nothing", fixture.Lookup(p256.key).ARN(), p256, "", expectation{ok: true}}, // so what follows is not refused for its format
				{"another key", fixture.Lookup(p256.key).ARN(), stranger, key, expectation{says: "loading verifier certificate from bundle"}},
				{"another key in base64", fixture.Lookup(p256.key).ARN(), stranger, base64.StdEncoding.EncodeToString([]byte(key)), expectation{says: "loading verifier certificate from bundle"}},
				{"another key for a disabled one", fixture.Lookup("p256-disabled").ARN(), stranger, key, expectation{says: "loading verifier certificate from bundle"}},
				{"another key for one that is not there", "alias/none", stranger, key, expectation{says: "loading verifier certificate from bundle"}},
				{"another key's certificate", fixture.Lookup(p256.key).ARN(), stranger, certificate, expectation{says: "awskms-offline: KMSInvalidSignatureException"}},
			} {
				t.Run(c.name+"/"+command.words[0]+"/"+b.name, func(t *testing.T) {
					h := cosignHost(t, shared.bin)
					args := append(slices.Clone(command.words), "--bundle", file(t, h, "old.bundle", harness.OldBundle(command.signed(b.signer), b.brings)))
					b.check(t, verifyWith(t, c, h, "awskms-offline:///"+b.reference, append(args, file(t, h, "message", []byte(cosignMessage)))))
					log, err := os.ReadFile(filepath.Join(h.Dir, "state", "awskms-offline", "audit.jsonl"))
					if err != nil && !os.IsNotExist(err) { // a plugin that is not asked writes none
						t.Fatal(err)
					}
					if strings.Contains(string(log), `"verified":true`) != b.ok {
						t.Errorf("the log says:\n%s", log)
					}
				})
			}
		}
	}
}

// TestCosignSigning: what cannot be done here says what can.
func TestCosignSigning(t *testing.T) {
	for _, c := range clients(t) {
		h := cosignHost(t, shared.bin)
		key := "awskms-offline://" + fixture.Lookup("p256").ARN()
		for _, call := range []struct {
			args []string
			says []string
		}{
			{[]string{"generate-key-pair", "--kms", key}, []string{"cannot create keys", "aws kms create-key"}},
			{[]string{"sign-blob", "--yes", "--key", key, "--tlog-upload=false", "--use-signing-config=false", "--bundle", filepath.Join(h.Dir, "out.bundle"), file(t, h, "message", []byte(cosignMessage))}, []string{"cannot sign", "aws kms sign"}},
			{[]string{"public-key", "--key", "awskms-offline://" + fixture.Lookup("p256-disabled").ARN()}, []string{"DisabledException"}},
		} {
			args := call.args
			if c.two {
				args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "--use-signing-config") })
			}
			r, err := h.Run(c.path, args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, says := range call.says {
				expectation{says: says}.check(t, r)
			}
		}
		r, err := h.Run(c.path, "public-key", "--key", key)
		if err != nil || r.Code != 0 || !strings.Contains(r.Stdout, "BEGIN PUBLIC KEY") {
			t.Errorf("%v %s", err, r)
		}
	}
}
