package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
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
	for _, name := range []string{"rsa2048", "p256", "p384", "p521", "secp256k1", "ed25519", "mldsa65", "sm2"} {
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

// What sign signs, verify verifies, short or long, with every algorithm.
func TestSignVerifies(t *testing.T) {
	_, arns := signing(t)
	write(t, "short", []byte("short"))
	write(t, "long", bytes.Repeat([]byte("long"), 3000))
	for _, c := range []struct {
		key, algorithm string
		options        []string
		long           bool
	}{
		{"rsa2048", "RSASSA_PKCS1_V1_5_SHA_256", nil, true},
		{"rsa2048", "RSASSA_PSS_SHA_512", nil, true},
		{"p256", "", nil, true},
		{"p384", "", nil, true},
		{"p521", "ECDSA_SHA_512", nil, true},
		{"secp256k1", "", nil, true},
		{"ed25519", "ED25519_PH_SHA_512", nil, true},
		{"ed25519", "ED25519_SHA_512", nil, false},
		{"mldsa65", "", nil, true},
		{"sm2", "", nil, true},
		{"sm2", "", []string{"--distinguishing-id", "release@example.com"}, true},
	} {
		for _, file := range []string{"short", "long"} {
			t.Run(strings.Join(append([]string{c.key, c.algorithm, file}, c.options...), " "), func(t *testing.T) {
				signature := filepath.Join(t.TempDir(), "sig")
				args := append([]string{"--key-id", arns[c.key]}, c.options...)
				if c.algorithm != "" {
					args = append(args, "--signing-algorithm", c.algorithm)
				}
				code, _, stderr := call(append(append([]string{"sign", "--signature", signature}, args...), file)...)
				if file == "long" && !c.long {
					if code != 2 || !strings.Contains(stderr, "longer than the 4096 bytes") || !strings.Contains(stderr, "ED25519_PH_SHA_512") {
						t.Errorf("exit code %d, %s", code, stderr)
					}
					return
				}
				if code != 0 {
					t.Fatal(stderr)
				}
				if code, _, stderr := call(append(append([]string{"verify", "--signature", signature}, args...), file)...); code != 0 {
					t.Error(stderr)
				}
				if code, _, _ := call(append(append([]string{"verify", "--signature", signature}, args...), os.Args[0])...); code != 1 {
					t.Errorf("another file: exit code %d", code)
				}
			})
		}
	}
}

func TestSignRefuses(t *testing.T) {
	server, arns := signing(t)
	write(t, "m", []byte("message"))
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
		"EXTERNAL_MU":    {args: []string{arns["mldsa65"], "--message-type", "EXTERNAL_MU", "m"}, code: 2, says: "expected RAW or DIGEST"},
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
			code, stdout, stderr := call(append([]string{"sign", "--key-id"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.says) || stdout != "" {
				t.Errorf("exit code %d, expected %d and %q:\n%s%s", code, c.code, c.says, stdout, stderr)
			}
		})
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

func TestSignCosignPayload(t *testing.T) {
	_, arns := signing(t)
	image := "registry.example.com/app@sha256:" + strings.Repeat("a", 64)
	if code, _, stderr := call("sign", "--key-id", arns["sm2"], "--cosign-payload", image, "--payload", "payload.json", "--signature", "payload.sig"); code != 0 {
		t.Fatal(stderr)
	}
	payload, err := os.ReadFile("payload.json")
	if want := `{"critical":{"identity":{"docker-reference":"registry.example.com/app"},"image":{"docker-manifest-digest":"sha256:` + strings.Repeat("a", 64) +
		`"},"type":"cosign container image signature"},"optional":null}`; err != nil || string(payload) != want {
		t.Errorf("%s, %v", payload, err)
	}
	if code, _, stderr := call("verify", "--key-id", arns["sm2"], "--signature", "payload.sig", "payload.json"); code != 0 {
		t.Error(stderr)
	}
}
