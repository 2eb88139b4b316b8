package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestEveryKey imports every record of testdata/records alone, and verifies a signature by each of its algorithms that
// was made with its private key; a key that is not for signing, or is disabled, is refused.
func TestEveryKey(t *testing.T) {
	const testdata = "../../../testdata"
	records, err := filepath.Glob(filepath.Join(testdata, "records", "*.get-public-key*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"HOME", "XDG_CONFIG_HOME", "AppData", "ProgramData"} {
		t.Setenv(variable, t.TempDir())
	}
	specs, verified, refused := make(map[string]bool), 0, 0
	for _, path := range records {
		file := filepath.Base(path)
		key, _, _ := strings.Cut(file, ".")
		var record struct {
			KeyID             string `json:"KeyId"`
			KeyUsage          string
			KeySpec           string
			SigningAlgorithms []string
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &record); err != nil {
			t.Fatal(err)
		}
		home := filepath.Join(t.TempDir(), "home")
		args := []string{"keys", "import", "--home", home, path}
		if state := strings.Replace(path, ".get-public-key.", ".describe-key.", 1); state != path {
			if _, err := os.Stat(state); err == nil {
				args = append(args, state)
			}
		}
		if out, code := runCLI(t, args...); code != 0 {
			t.Errorf("%s: import: exit code %d\n%s", file, code, out)
			continue
		}
		if record.KeyUsage != "SIGN_VERIFY" || key == "p256-disabled" {
			want := "InvalidKeyUsageException"
			if key == "p256-disabled" {
				want = "DisabledException"
			}
			if got := verifyJSON(t, home, record.KeyID, "ECDSA_SHA_256", []byte("MEQCIA=="), []byte("m"), kmserr.ExitRefused); got.Error == nil || got.Error.Code != want {
				t.Errorf("%s: got %+v, expected %s", file, got.Error, want)
			}
			refused++
			continue
		}
		specs[record.KeySpec] = true
		for _, alg := range record.SigningAlgorithms {
			t.Run(file+"/"+alg, func(t *testing.T) { verifyKey(t, testdata, home, key, record.KeyID, alg) })
			verified++
		}
	}
	delete(specs, "") // AWS CLI of 2020 did not print it
	if len(specs) != 12 || verified != 32 || refused != 4 {
		t.Errorf("%d key specs, %d signatures and %d refused keys, expected 12, 32 and 4", len(specs), verified, refused)
	}
}

func verifyKey(t *testing.T, testdata, home, key, arn, alg string) {
	message := []byte("signed by " + key)
	sig, digest, err := signTest(testdata, key, kmskey.SigningAlgorithm(alg), message)
	if err != nil {
		t.Fatal(err)
	}
	got := verifyJSON(t, home, arn, alg, sig, message, kmserr.ExitDone)
	if !got.SignatureValid || got.KeyID != arn || got.SigningAlgorithm != alg || got.Assurance == nil {
		t.Errorf("answered %+v, expected the three members of aws kms verify and an assurance", got)
	}
	dir := t.TempDir()
	signature, file := filepath.Join(dir, "sig"), filepath.Join(dir, "message")
	write(t, signature, sig)
	write(t, file, message)
	text, code := runCLI(t, "verify", "--home", home, "--key-id", arn, "--signing-algorithm", alg, "--signature", signature, file)
	if code != 0 || !strings.HasPrefix(text, "Verified: "+arn+", "+alg+", key state ") {
		t.Errorf("exit code %d, said %q", code, text)
	}

	for _, message := range [][]byte{append(bytes.Clone(message), '.'), {}} {
		if got := verifyJSON(t, home, arn, alg, sig, message, kmserr.ExitRefused); got.SignatureValid || got.Error.Code != "KMSInvalidSignatureException" {
			t.Errorf("of another message it says %+v", got)
		}
	}
	flipped := bytes.Clone(sig)
	flipped[len(flipped)/2] ^= 1
	if got := verifyJSON(t, home, arn, alg, flipped, message, kmserr.ExitRefused); got.SignatureValid {
		t.Error("a signature with one bit flipped verifies")
	}
	if digest == nil || alg == "ED25519_SHA_512" || alg == "ML_DSA_SHAKE_256" {
		return
	}
	// The hash is its bytes: one more, or its hexadecimal text, is no hash.
	for want, input := range map[int][]byte{kmserr.ExitDone: digest, kmserr.ExitBadCall: append(bytes.Clone(digest), 0)} {
		verifyJSON(t, home, arn, alg, sig, input, want, "--message-type", "DIGEST")
	}
}

// verifyJSON runs verify with JSON output, which must exit with want.
func verifyJSON(t *testing.T, home, arn, alg string, sig, message []byte, want int, more ...string) (answer verifyAnswer) {
	t.Helper()
	dir := t.TempDir()
	signature, file := filepath.Join(dir, "sig"), filepath.Join(dir, "message")
	write(t, signature, sig)
	write(t, file, message)
	args := append([]string{"verify", "--home", home, "--output", "json", "--key-id", arn, "--signing-algorithm", alg, "--signature", signature, file}, more...)
	out, code := runCLI(t, args...)
	if code != want {
		t.Errorf("exit code %d, expected %d\n%s", code, want, out)
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return answer
}

// runCLI returns standard output and the exit code.
func runCLI(t testing.TB, args ...string) (string, int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(args, strings.NewReader(""), &stdout, &stderr)
	if code != 0 && stderr.Len() == 0 {
		t.Errorf("exit code %d of %q without a sentence", code, args)
	}
	return stdout.String(), code
}

// TestResultThatCannotBeWritten: a result that nobody has is no success, in text or JSON.
func TestResultThatCannotBeWritten(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	const record = "../../../testdata/records/p256.get-public-key.json"
	if out, code := runCLI(t, "keys", "import", "--home", home, record, "--alias", "alias/a"); code != 0 {
		t.Fatal(out)
	}
	for _, command := range []string{"keys list", "keys show alias/a", "keys export --file -", "digest --key-id alias/a everykey_test.go", "doctor", "version"} {
		for _, output := range []string{"text", "json"} {
			var stderr bytes.Buffer
			args := append(strings.Fields(command), "--home", home, "--output", output)
			if code := Main(args, strings.NewReader(""), fullDisk{}, &stderr); code != kmserr.ExitOurSide || !strings.Contains(stderr.String(), "cannot be written to standard output: disk full") {
				t.Errorf("%q: exit code %d, said %q", args, code, stderr.String())
			}
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }
