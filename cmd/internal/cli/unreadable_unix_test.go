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
	"syscall"
	"testing"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/internal/testenv"
)

// giveAway gives a folder to somebody whom modes bind, and returns call as that user: for root to nobody, as whom the command is a
// program of its own.
func giveAway(t *testing.T, dir string) func(args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return call
	}
	const nobody = 65534
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(t.TempDir(), name) // as which testscript.Main runs the command line
	if err := os.Link(self, command); err != nil {
		t.Skipf("the test cannot be run by another user, so files that the current user may not read are not tested: %v", err)
	}
	testenv.Publish(t, dir)
	testenv.Publish(t, filepath.Dir(command))
	if err := os.Chmod(command, 0o755); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(command, args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Skipf("the test cannot be run by another user, so files that the current user may not read are not tested: %v", err)
		}
		return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
	}
}

// TestOneUnreadableRecord: what cannot be read of one key, or of one Region, keeps no other key from its turn.
func TestOneUnreadableRecord(t *testing.T) {
	for name, c := range map[string]struct {
		command   string
		untouched string // of keys/aws, cannot be read
		changed   int
		says      string
	}{
		"a record":            {"pull", "us-east-1/111122223333/KEY.json", 2, "1 refused"},
		"an account's folder": {"pull", "us-east-1/111122223333", 1, "2 refused"},
		"a Region's folder":   {"refresh", "us-east-1", 1, "0 refused"},
	} {
		t.Run(name, func(t *testing.T) {
			server, arns := fakeKMS(t)
			abroad := server.AddKey(kmstest.Key{Account: "111122223333", Region: "us-west-2"})
			keys := []string{arns["p384"], arns["p256"], abroad}
			if code, _, stderr := call(append([]string{"keys", "pull"}, keys...)...); code != 0 {
				t.Fatal(stderr)
			}
			for _, key := range keys {
				server.SetState(key, kmstest.State{Name: "Disabled"})
			}
			as := giveAway(t, os.Getenv("HOME"))
			id := arns["p384"][strings.LastIndex(arns["p384"], "/")+1:]
			path := filepath.Join(os.Getenv("AWSKMS_OFFLINE_HOME"), "keys/aws", strings.Replace(c.untouched, "KEY", id, 1))
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
			if c.command == "refresh" {
				keys = nil
			}
			code, stdout, stderr := as(append([]string{"keys", c.command, "--parallel", "1"}, keys...)...)
			if code != 3 || strings.Count(stdout, "Enabled → Disabled") != c.changed || !strings.Contains(stderr, "permission denied") || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}
