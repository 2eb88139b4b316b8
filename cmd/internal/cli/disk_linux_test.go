package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// smallDisk mounts a disk of so many bytes where the home is to be.
func smallDisk(t *testing.T, home, size string) {
	t.Helper()
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", home, "tmpfs", 0, "mode=0700,size="+size); errors.Is(err, syscall.EPERM) {
		t.Skip("this user may not mount: a pull onto a full or read-only disk is not tested")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(home, syscall.MNT_DETACH) })
}

// storedKeys returns how many keys a home has, once everything in it was found sound.
func storedKeys(t *testing.T, home string) (n int) {
	t.Helper()
	store, err := keystore.Open(keystore.Home{Path: home, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for p := range store.Fsck() {
		if !p.Harmless && !p.Repairable { // the index may lack what was written last
			t.Errorf("fsck: %s", p.Fact)
		}
	}
	for _, err := range store.List() {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	return n
}

// A disk that becomes full ends a pull with one sentence; what is there is whole, and goes on once there is room.
// What was written is told, also where the disk was full before the key's alias was.
func TestPullOntoAFullDisk(t *testing.T) {
	for _, size := range []string{"600k", "604k", "608k"} { // so that it is full at another file of a key each time
		t.Run(size, func(t *testing.T) { pullOntoAFullDisk(t, size) })
	}
}

func pullOntoAFullDisk(t *testing.T, size string) {
	server, arns := fakeKMS(t)
	server.AddKeys(200, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}})
	home := os.Getenv("AWSKMS_OFFLINE_HOME")
	smallDisk(t, home, size)
	code, stdout, stderr := call("keys", "pull", "--all", "--alias-prefix", "alias/many/")
	if code != kmserr.ExitOurSide || strings.Count(stderr, "no space left on device") != 1 || !strings.Contains(stderr, "hint: Make room on the disk") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	before := storedKeys(t, home)
	if before == 0 || before >= 200 {
		t.Errorf("%d keys fit", before)
	}
	if told := strings.Count(stdout, "new: "); told != before || !strings.Contains(stderr, fmt.Sprintf("%d new, 0 unchanged, 0 changed, 0 refused; ", before)) ||
		!strings.Contains(stderr, fmt.Sprintf("; %d not asked", 200-before)) {
		t.Errorf("%d keys are stored, and told are %d\n%s", before, told, stderr)
	}
	// A single key neither.
	if code, _, stderr := call("keys", "pull", arns["rsa4096"]); code != kmserr.ExitOurSide || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if got := storedKeys(t, home); got != before {
		t.Errorf("%d keys, %d before", got, before)
	}
	if err := syscall.Mount("tmpfs", home, "tmpfs", syscall.MS_REMOUNT, "mode=0700,size=100m"); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call("keys", "pull", "--all", "--alias-prefix", "alias/many/"); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := storedKeys(t, home); got != 200 {
		t.Errorf("%d keys in the end", got)
	}
}

// An import that fills the disk tells what it stored.
func TestImportOntoAFullDisk(t *testing.T) {
	for size, whole := range map[string]bool{"4k": false, "8k": true} { // that of the record alone, and of its alias too
		t.Run(size, func(t *testing.T) {
			dir := t.TempDir()
			home := filepath.Join(dir, "home")
			isolated(t, dir)
			t.Setenv("AWSKMS_OFFLINE_HOME", home)
			smallDisk(t, home, size)
			args := []string{"keys", "import", "../../../testdata/records/p256.get-public-key.json", "--alias", "alias/release"}
			code, stdout, stderr := call(args...)
			if stored := storedKeys(t, home); stored != 1 || (code == 0) != whole || strings.Count(stdout, "new: arn:") != 1 ||
				!whole && (code != kmserr.ExitOurSide || strings.Count(stderr, "no space left on device") != 1) {
				t.Errorf("exit code %d, %d stored\n%s%s", code, stored, stdout, stderr)
			}
			var out, errs bytes.Buffer
			code = checkedMain(append(args, "--output", "json"), strings.NewReader(""), &out, &errs)
			if (code == 0) != whole || !strings.Contains(out.String(), `"Change": "unchanged"`) || strings.Contains(out.String(), `"Error"`) == whole {
				t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
			}
		})
	}
}

// An answer in JSON that cannot be written is told.
func TestPullAnswerThatCannotBeWritten(t *testing.T) {
	_, arns := fakeKMS(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var stderr strings.Builder
	code := Main([]string{"keys", "pull", arns["p256"], "--output", "json"}, strings.NewReader(""), full, &stderr)
	if code != kmserr.ExitOurSide || strings.Count(stderr.String(), "cannot be written to standard output") != 1 {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
}

// A store that is mounted read-only is read, never half-written, and the sentence says why.
func TestPullOntoAReadOnlyDisk(t *testing.T) {
	_, arns := fakeKMS(t)
	home := os.Getenv("AWSKMS_OFFLINE_HOME")
	smallDisk(t, home, "10m")
	if code, _, stderr := call("keys", "pull", arns["p256"]); code != 0 {
		t.Fatal(stderr)
	}
	if err := syscall.Mount("tmpfs", home, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"keys", "pull", arns["p384"]}, {"keys", "refresh"}, {"keys", "block", arns["p256"]}, {"keys", "remove", arns["p256"]},
	} {
		code, stdout, stderr := call(args...)
		if code != kmserr.ExitOurSide || !strings.Contains(stderr, "read-only file system") || !strings.Contains(stderr, "hint: The store is mounted read-only") {
			t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	if got := storedKeys(t, home); got != 1 {
		t.Errorf("%d keys", got)
	}
}

// An interrupt ends a pull with what was done and what to do next, and leaves the store whole. Keys whose answers were under
// way are not asked, rather than refused.
func TestPullInterrupted(t *testing.T) {
	const keys, slow = 100, defaultParallel
	server, _ := fakeKMS(t)
	var hasten []func()
	for i, arn := range server.AddKeys(keys, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}}) {
		if i >= keys-slow {
			hasten = append(hasten, server.Inject(kmstest.Rule{Operation: "GetPublicKey", Key: arn}, kmstest.Delay(time.Minute)))
		}
	}
	home := os.Getenv("AWSKMS_OFFLINE_HOME")
	go func() {
		for deadline := time.Now().Add(50 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if files, err := filepath.Glob(filepath.Join(home, "aliases", "*", "*", "*", "*.json")); err == nil && len(files) == keys-slow {
				break
			}
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	code, stdout, stderr := call("keys", "pull", "--all", "--alias-prefix", "alias/many/")
	if code != kmserr.ExitOurSide || !strings.Contains(stderr, "interrupted: 84 of 100 keys were done") || !strings.Contains(stderr, "hint: Run the command again") ||
		!strings.Contains(stderr, "84 new, 0 unchanged, 0 changed, 0 refused; ") || !strings.Contains(stderr, "; 16 not asked") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := storedKeys(t, home); got != keys-slow || got != strings.Count(stdout, "new: ") {
		t.Errorf("%d keys stored, %d told", got, strings.Count(stdout, "new: "))
	}
	for _, one := range hasten {
		one()
	}
	if code, _, stderr := call("keys", "pull", "--all", "--alias-prefix", "alias/many/"); code != 0 || storedKeys(t, home) != keys {
		t.Errorf("exit code %d, %d keys\n%s", code, storedKeys(t, home), stderr)
	}
}

// A tar from a pipe that finds no room in the folder of temporary files is not a tar that cannot be read.
func TestImportWithoutRoomForAPipe(t *testing.T) {
	_, arns := fakeKMS(t)
	if code, _, stderr := call("keys", "pull", arns["p256"], arns["rsa4096"]); code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "keys.tar")
	if code, _, stderr := call("keys", "export", "--file", file); code != 0 {
		t.Fatal(stderr)
	}
	tar, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer tar.Close()
	temporary := filepath.Join(t.TempDir(), "small")
	smallDisk(t, temporary, "4k")
	t.Setenv("TMPDIR", temporary)
	t.Setenv("AWSKMS_OFFLINE_HOME", filepath.Join(t.TempDir(), "other"))
	var stdout, stderr bytes.Buffer
	code := Main([]string{"keys", "import", "-"}, io.MultiReader(tar), &stdout, &stderr)
	if code != kmserr.ExitOurSide || !strings.Contains(stderr.String(), "standard input cannot be kept in a temporary file: no space left on device") {
		t.Errorf("exit code %d\n%s%s", code, stdout.String(), stderr.String())
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left there: %v, %v", left, err)
	}
}
