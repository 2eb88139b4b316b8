//go:build unix

package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestStoreForEveryUser: what one user imports no other can read, and the refusal has the command that docs/air-gap.md and
// docs/policy.md give for a store of the whole machine. After it the store verifies for others, until the next write.
func TestStoreForEveryUser(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	home, message, signature := filepath.Join(dir, "home"), filepath.Join(dir, "message"), filepath.Join(dir, "signature")
	sig, _, err := signTest("../../../testdata", "p256", kmskey.ECDSASHA256, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, message, []byte("text"))
	write(t, signature, sig)
	testenv.Publish(t, dir)
	change := func(args ...string) {
		t.Helper()
		if out, code := runCLI(t, append(args, "--home", home)...); code != 0 {
			t.Fatal(out)
		}
	}
	command := "find -H " + home + " -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +"
	verifies := func(want int, says ...string) {
		t.Helper()
		testenv.AsNobody(t, func() {
			var stdout, stderr bytes.Buffer
			code := Main([]string{"verify", "--home", home, "--key-id", arn, "--signature", signature, message}, strings.NewReader(""), &stdout, &stderr)
			for _, text := range says {
				if !strings.Contains(stderr.String(), text) {
					t.Errorf("%q is not in what is said", text)
				}
			}
			if code != want {
				t.Errorf("exit code %d, expected %d\n%s%s", code, want, stdout.String(), stderr.String())
			}
		})
	}
	publish := func() {
		t.Helper()
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	unread := []string{"StoreAccessException", "permission denied", "hint: ", "if it is for every user of this machine, run after each change of it: sudo " + command}

	// Who can open the lock, be it to read, can keep every writer out.
	closed := func() {
		t.Helper()
		testenv.AsNobody(t, func() {
			if f, err := os.Open(filepath.Join(home, "lock")); !errors.Is(err, fs.ErrPermission) {
				f.Close()
				t.Errorf("another user opens the lock: %v", err)
			}
		})
	}

	change("keys", "import", "../../../testdata/records/p256.get-public-key.json")
	verifies(kmserr.ExitOurSide, unread...)
	publish()
	verifies(kmserr.ExitDone)
	closed()
	if err := os.Chmod(filepath.Join(home, "lock"), 0o644); err != nil { // as with chmod -R
		t.Fatal(err)
	}
	// A block that others cannot read refuses them all the same.
	change("keys", "block", arn)
	verifies(kmserr.ExitOurSide, unread...)
	closed()
	publish()
	verifies(kmserr.ExitRefused, "KeyBlockedException")
	closed()

	for _, page := range []string{"air-gap.md", "policy.md"} {
		testenv.InPage(t, page, "sudo find -H /etc/awskms-offline -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +")
	}
}
