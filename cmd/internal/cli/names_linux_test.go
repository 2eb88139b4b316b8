package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// A file's name may be any bytes on Linux. An answer that holds one is JSON all the same, and says what it would say of any
// other name.
func TestNamesThatAreNoText(t *testing.T) {
	const (
		arn     = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
		records = "../../../testdata/records/"
	)
	dir := t.TempDir()
	isolated(t, dir)
	odd := filepath.Join(dir, "b\xfcro")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(odd, "home")
	t.Setenv("AWSKMS_OFFLINE_HOME", home)
	if out, code := runCLI(t, "keys", "import", records+"p256.get-public-key.json"); code != 0 {
		t.Fatal(out)
	}
	if err := os.Chmod(home, 0o720); err != nil { // a warning names it in every answer
		t.Fatal(err)
	}
	message, signature := filepath.Join(dir, "m"), filepath.Join(dir, "m.sig")
	sig, _, err := signTest("../../../testdata", "p256", kmskey.ECDSASHA256, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{message: []byte("message"), signature: sig} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line, err := json.Marshal(map[string]string{"key_id": arn, "message": base64.StdEncoding.EncodeToString([]byte("message")), "signature": base64.StdEncoding.EncodeToString(sig)})
	if err != nil {
		t.Fatal(err)
	}
	batch := filepath.Join(odd, "batch")
	if err := os.WriteFile(batch, line, 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "bundle")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"verify", "--key-id", arn, "--signature", signature, message}, 0, "b�ro"},
		{[]string{"verify", "--key-id", arn, "--signature", signature, message + "\xff"}, 2, "m�, which is not there"},
		{[]string{"verify", "--batch", batch, "--report", "sarif=" + filepath.Join(odd, "r.sarif"), "--report", "junit=" + filepath.Join(odd, "r.xml")}, 0, "b�ro"},
		{[]string{"keys", "export", "--file", filepath.Join(odd, "k.tar")}, 0, "b�ro"},
		{[]string{"doctor", "--bundle", bundle}, 0, "b�ro"},
	} {
		var stdout, stderr bytes.Buffer
		code := Main(append(c.args, "--output", "json"), strings.NewReader(""), &stdout, &stderr)
		if code != c.code || !json.Valid(stdout.Bytes()) || !strings.Contains(stdout.String(), c.says) {
			t.Errorf("%q: exit code %d, %s%s", c.args, code, stdout.String(), stderr.String())
		}
	}
	for _, file := range []string{filepath.Join(odd, "r.sarif"), bundle} {
		if data, err := os.ReadFile(file); err != nil || !json.Valid(data) {
			t.Errorf("%q: %s (%v)", file, data, err)
		}
	}
}
