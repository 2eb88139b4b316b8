package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// fakeKMS is the fake KMS with the keys of testdata, in the environment, and a home that is not there yet.
func fakeKMS(t *testing.T) (server *kmstest.Server, arns map[string]string) {
	t.Helper()
	dir := t.TempDir()
	testdata, err := filepath.Abs("../../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	server = kmstest.Start(t)
	if arns, err = server.Load(testdata); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": server.URL(), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
		"AWSKMS_OFFLINE_HOME": filepath.Join(dir, "home"), "HOME": dir, "XDG_STATE_HOME": filepath.Join(dir, "state"), "XDG_CONFIG_HOME": dir,
	} {
		t.Setenv(name, value)
	}
	t.Chdir(dir)
	return server, arns
}

// signing is fakeKMS, and a home that has the signing keys.
func signing(t *testing.T) (server *kmstest.Server, arns map[string]string) {
	t.Helper()
	server, arns = fakeKMS(t)
	var all []string
	for name := range signingKeys {
		all = append(all, arns[name])
	}
	if code, _, stderr := call(append([]string{"keys", "pull"}, all...)...); code != 0 {
		t.Fatal(stderr)
	}
	return server, arns
}

func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// signingKeys are keys of testdata of every spec that signs.
var signingKeys = map[string]kmskey.KeySpec{
	"rsa2048": kmskey.RSA2048, "rsa3072": kmskey.RSA3072, "rsa4096": kmskey.RSA4096,
	"p256": kmskey.ECCNISTP256, "p384": kmskey.ECCNISTP384, "p521": kmskey.ECCNISTP521, "secp256k1": kmskey.ECCSECGP256K1,
	"ed25519": kmskey.ECCNISTEdwards25519, "mldsa44": kmskey.MLDSA44, "mldsa65": kmskey.MLDSA65, "mldsa87": kmskey.MLDSA87, "sm2": kmskey.SM2,
}

// TestSignVerifies: what sign signs, verify verifies, over the same file: every key spec, with every algorithm that it has, in
// every form that KMS takes.
func TestSignVerifies(t *testing.T) {
	server, arns := signing(t)
	write(t, "short", []byte("short"))
	write(t, "long", bytes.Repeat([]byte("long"), 3000))
	signed := 0
	for name, spec := range signingKeys {
		for _, algorithm := range spec.SigningAlgorithms() {
			named := []string{"--key-id", arns[name]}
			if len(spec.SigningAlgorithms()) > 1 {
				named = append(named, "--signing-algorithm", string(algorithm))
			}
			// check signs and verifies, and tells how KMS was asked.
			check := func(file, want string, options ...string) {
				t.Helper()
				signature := filepath.Join(t.TempDir(), "sig")
				server.ResetLog()
				if code, _, stderr := call(slices.Concat([]string{"sign", "--signature", signature}, named, options, []string{file})...); code != 0 {
					t.Errorf("%s %s %q: %s", algorithm, file, options, stderr)
					return
				}
				requests := server.Requests()
				if asked := requests[len(requests)-1]; asked.Operation != "Sign" || asked.MessageType != want {
					t.Errorf("%s %s %q: KMS was asked to %s %s, expected %s", algorithm, file, options, asked.Operation, asked.MessageType, want)
				}
				if want == "RAW" { // to verify, a message is a message
					options = nil
				}
				if code, _, stderr := call(slices.Concat([]string{"verify", "--signature", signature}, named, options, []string{file})...); code != 0 {
					t.Errorf("%s %s %q: %s", algorithm, file, options, stderr)
				}
				if code, _, _ := call(slices.Concat([]string{"verify", "--signature", signature}, named, []string{os.Args[0]})...); code != 1 {
					t.Errorf("%s %s %q: another file: exit code %d", algorithm, file, options, code)
				}
				signed++
			}
			switch algorithm {
			case kmskey.ED25519SHA512:
				check("short", "RAW")
				code, _, stderr := call(slices.Concat([]string{"sign"}, named, []string{"long"})...)
				if code != 2 || !strings.Contains(stderr, "longer than the 4096 bytes") || !strings.Contains(stderr, "ED25519_PH_SHA_512") {
					t.Errorf("exit code %d, %s", code, stderr)
				}
			case kmskey.MLDSASHAKE256:
				check("short", "RAW")
				check("long", "EXTERNAL_MU")
			default:
				check("short", "DIGEST")
				check("long", "DIGEST")
				digest := "digest." + name + string(algorithm)
				code, stdout, stderr := call(slices.Concat([]string{"digest", "--encoding", "raw"}, named, []string{"long"})...)
				if code != 0 {
					t.Fatal(stderr)
				}
				write(t, digest, []byte(stdout))
				check(digest, "DIGEST", "--message-type", "DIGEST")
			}
			if algorithm.Takes(kmskey.Raw) {
				check("short", "RAW", "--message-type", "RAW")
			}
			if algorithm == kmskey.SM2DSA {
				check("short", "DIGEST", "--distinguishing-id", "release@example.com")
				check("long", "DIGEST", "--distinguishing-id", "")
				check("short", "RAW", "--message-type", "RAW", "--distinguishing-id", kmskey.DefaultDistinguishingID)
			}
		}
	}
	if signed != 18*4+4*4+4+1*2+3+3*3+3 {
		t.Errorf("%d signatures", signed)
	}
}

func TestSignRefuses(t *testing.T) {
	server, arns := signing(t)
	write(t, "m", []byte("message"))
	write(t, "d", make([]byte, 48))
	write(t, "hex", []byte(strings.Repeat("0", 64)))
	write(t, "long", make([]byte, 4097))
	write(t, "there", nil)
	image := "registry.example.com/app@sha256:" + strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		prepare func()
		args    []string
		code    int
		says    string
	}{
		"no algorithm":   {args: []string{arns["rsa2048"], "m"}, code: 2, says: "has several"},
		"another's":      {args: []string{arns["p256"], "--signing-algorithm", "ECDSA_SHA_384", "m"}, code: 1, says: "incompatible with key spec"},
		"usage":          {args: []string{arns["rsa2048-encrypt"], "--signing-algorithm", "RSASSA_PSS_SHA_256", "m"}, code: 1, says: "InvalidKeyUsageException"},
		"no key":         {args: []string{"alias/none", "m"}, code: 1, says: "NotFoundException"},
		"ID of no SM2":   {args: []string{arns["p256"], "--distinguishing-id", "x", "m"}, code: 2, says: "is for SM2 keys"},
		"ID of a digest": {args: []string{arns["sm2"], "--distinguishing-id", "x", "--message-type", "DIGEST", "m"}, code: 2, says: "holds its ID already"},
		"digest length":  {args: []string{arns["p256"], "--message-type", "DIGEST", "m"}, code: 2, says: "Digest is invalid length"},
		"no message":     {args: []string{arns["p256"]}, code: 2, says: "no message is given"},
		"EXTERNAL_MU":    {args: []string{arns["mldsa65"], "--message-type", "EXTERNAL_MU", "m"}, code: 1, says: "Give the message and leave --message-type out"},
		"message type":   {args: []string{arns["mldsa65"], "--message-type", "raw", "m"}, code: 2, says: "expected RAW or DIGEST"},
		"RAW for PH":     {args: []string{arns["ed25519"], "--signing-algorithm", "ED25519_PH_SHA_512", "--message-type", "RAW", "m"}, code: 2, says: "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512"},
		"DIGEST for Ed":  {args: []string{arns["ed25519"], "--signing-algorithm", "ED25519_SHA_512", "--message-type", "DIGEST", "d"}, code: 2, says: "Message type DIGEST is incompatible with algorithm ED25519_SHA_512"},
		"DIGEST for ML":  {args: []string{arns["mldsa65"], "--message-type", "DIGEST", "d"}, code: 2, says: "Message type DIGEST is incompatible with algorithm ML_DSA_SHAKE_256"},
		"ID of RAW":      {args: []string{arns["sm2"], "--distinguishing-id", "x", "--message-type", "RAW", "m"}, code: 2, says: "KMS signs SM2 messages with the ID 1234567812345678 alone"},
		"no ID of RAW":   {args: []string{arns["sm2"], "--distinguishing-id", "", "--message-type", "RAW", "m"}, code: 2, says: "KMS signs SM2 messages with the ID 1234567812345678 alone"},
		"RAW too long":   {args: []string{arns["p256"], "--message-type", "RAW", "long"}, code: 2, says: "longer than the 4096 bytes"},
		"a digest's hex": {args: []string{arns["p256"], "--message-type", "DIGEST", "hex"}, code: 2, says: "64 bytes, expected 32"},
		"another's digest": {args: []string{arns["p256"], "--signing-algorithm", "ECDSA_SHA_384", "--message-type", "DIGEST", "d"}, code: 1,
			says: "InvalidKeyUsageException: Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256"},
		"empty":          {args: []string{arns["p256"], "there"}, code: 2, says: "empty"},
		"empty RAW":      {args: []string{arns["p256"], "--message-type", "RAW", "there"}, code: 2, says: "the message is empty"},
		"empty, ML-DSA":  {args: []string{arns["mldsa65"], "there"}, code: 2, says: "the message is empty"},
		"payload there":  {args: []string{arns["p256"], "--cosign-payload", image, "--payload", "there", "--signature", "s"}, code: 2, says: "--payload names there, which is there already"},
		"encoding":       {args: []string{arns["p256"], "--encoding", "hex", "m"}, code: 2, says: "expected base64 or raw"},
		"file there":     {args: []string{arns["p256"], "--signature", "there", "m"}, code: 2, says: "there already"},
		"image by tag":   {args: []string{arns["p256"], "--cosign-payload", "app:1", "--payload", "p", "--signature", "s"}, code: 2, says: "by its digest"},
		"image and file": {args: []string{arns["p256"], "--cosign-payload", image, "--payload", "p", "--signature", "s", "m"}, code: 2, says: "takes no file"},
		"payload alone":  {args: []string{arns["p256"], "--cosign-payload", image, "--payload", "p"}, code: 2, says: "needs --payload and --signature"},
		"denied":         {prepare: func() { server.Deny("kms:Sign", arns["p384"]) }, args: []string{arns["p384"], "m"}, code: 3, says: "Allow kms:Sign on arn:"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.prepare != nil {
				c.prepare()
			}
			server.ResetLog()
			code, stdout, stderr := call(append([]string{"sign", "--key-id"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.says) || stdout != "" {
				t.Errorf("exit code %d, expected %d and %q:\n%s%s", code, c.code, c.says, stdout, stderr)
			}
			if n := server.Count("Sign"); n > 0 && name != "denied" {
				t.Errorf("KMS was asked for %d signatures all the same", n)
			}
		})
	}
}

// TestSignPayloadToStandardOutput: a payload that cannot go where it is to is refused before KMS signs.
func TestSignPayloadToStandardOutput(t *testing.T) {
	server, arns := fakeKMS(t)
	code, _, stderr := call("sign", "--key-id", arns["p256"], "--cosign-payload", "example.com/app@sha256:"+strings.Repeat("0", 64), "--payload", "-", "--signature", "sig")
	if code != 2 || !strings.Contains(stderr, "--payload is -, and this goes into a file") || server.Count("Sign") != 0 {
		t.Errorf("exit code %d, %d signatures\n%s", code, server.Count("Sign"), stderr)
	}
}

// A key that KMS does not use is mended in KMS: no store is told to learn of it.
func TestSignKeyState(t *testing.T) {
	server, arns := fakeKMS(t)
	write(t, "short", []byte("short"))
	for state, hint := range map[string]string{
		"Disabled": "hint: Enable the key (aws kms enable-key)", "PendingDeletion": "aws kms cancel-key-deletion", "Unavailable": "aws kms describe-key",
	} {
		server.SetState(arns["p256"], kmstest.State{Name: state})
		for _, form := range [][]string{nil, {"--message-type", "RAW"}} {
			code, stdout, stderr := call(append([]string{"sign", "--key-id", arns["p256"], "short"}, form...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, hint) || strings.Contains(stderr, "keys refresh") {
				t.Errorf("%s, %q: exit code %d, %q\n%s", state, form, code, stdout, stderr)
			}
		}
	}
}

// A signature that KMS's own public key does not verify never leaves.
func TestSignThrowsAwayWhatDoesNotVerify(t *testing.T) {
	server, arns := signing(t)
	write(t, "m", []byte("message"))
	// A sound signature, of another key.
	server.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Edit(func(answer map[string]any) {
		answer["Signature"] = "MEUCIQCEptb0YYUwufTnkl1JlF+7myBy2pJr61ndQGspvroUlAIgFtTSxGyLxfx+mnOy++7RBaTSc8qNDTUGJU3E5ydV6Ig="
	}))
	code, stdout, stderr := call("sign", "--key-id", arns["p256"], "m")
	if code != 3 || stdout != "" || !strings.Contains(stderr, "does not verify by KMS's own public key") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestSignTemporaryFolder: a container's /tmp is often open to everyone, without the sticky bit; an absent one is named.
func TestSignTemporaryFolder(t *testing.T) {
	_, arns := signing(t)
	write(t, "m", []byte("message"))
	open := filepath.Join(t.TempDir(), "tmp")
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"TMPDIR", "TMP"} {
		t.Setenv(variable, open)
	}
	if code, _, stderr := call("sign", "--key-id", arns["p256"], "m"); code != 0 {
		t.Error(stderr)
	}
	if left, err := os.ReadDir(open); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, variable := range []string{"TMPDIR", "TMP"} {
		t.Setenv(variable, filepath.Join(open, "none"))
	}
	if code, stdout, stderr := call("sign", "--key-id", arns["p256"], "m"); code != 3 || stdout != "" || !strings.Contains(stderr, "Set TMPDIR") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestSignForms: binary or base64, on standard output or in a new file, and as JSON: each verifies.
func TestSignForms(t *testing.T) {
	_, arns := signing(t)
	write(t, "m", []byte("message"))
	for name, c := range map[string]struct {
		args     []string
		inFile   bool
		encoding string
	}{
		"base64": {nil, false, "base64"}, "raw": {[]string{"--encoding", "raw"}, false, "binary"}, "-": {[]string{"--signature", "-"}, false, "base64"},
		"file": {[]string{"--signature", "file"}, true, "base64"}, "raw file": {[]string{"--signature", "raw file", "--encoding", "raw"}, true, "binary"},
	} {
		code, stdout, stderr := call(slices.Concat([]string{"sign", "--key-id", arns["p256"]}, c.args, []string{"m"})...)
		if code != 0 {
			t.Errorf("%s: %s", name, stderr)
			continue
		}
		if c.inFile {
			if !strings.HasPrefix(stdout, "Signed: "+arns["p256"]) {
				t.Errorf("%s: got %s", name, stdout)
			}
		} else {
			write(t, name, []byte(stdout))
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, encoding, err := decodeSignature(data); err != nil || encoding != c.encoding {
			t.Errorf("%s: it is %s (%v), expected %s", name, encoding, err, c.encoding)
		}
		if code, _, stderr := call("verify", "--key-id", arns["p256"], "--signature", "./"+name, "m"); code != 0 {
			t.Errorf("%s: %s", name, stderr)
		}
	}
	code, stdout, stderr := call("sign", "--key-id", arns["p256"], "--output", "json", "m")
	var answer struct{ KeyID, Signature, SigningAlgorithm string }
	if err := json.Unmarshal([]byte(stdout), &answer); code != 0 || err != nil || answer.KeyID != arns["p256"] || answer.SigningAlgorithm != "ECDSA_SHA_256" {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	write(t, "json", []byte(answer.Signature))
	if code, _, stderr := call("verify", "--key-id", arns["p256"], "--signature", "json", "m"); code != 0 {
		t.Error(stderr)
	}
}

func TestSignCosignPayload(t *testing.T) {
	_, arns := signing(t)
	image := "registry.example.com:5000/app:1.0@sha256:" + strings.Repeat("a", 64)
	if code, _, stderr := call("sign", "--key-id", arns["sm2"], "--cosign-payload", image, "--payload", "payload.json", "--signature", "payload.sig"); code != 0 {
		t.Fatal(stderr)
	}
	payload, err := os.ReadFile("payload.json")
	if want := `{"critical":{"identity":{"docker-reference":"registry.example.com:5000/app"},"image":{"docker-manifest-digest":"sha256:` + strings.Repeat("a", 64) +
		`"},"type":"cosign container image signature"},"optional":null}`; err != nil || string(payload) != want {
		t.Errorf("%s, %v", payload, err)
	}
	if code, _, stderr := call("verify", "--key-id", arns["sm2"], "--signature", "payload.sig", "payload.json"); code != 0 {
		t.Error(stderr)
	}
}
