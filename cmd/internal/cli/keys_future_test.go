package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// A store that was filled while the clock stood a year ahead must not be deaf for a year: what KMS says now is newer than
// what nobody can have known yet.
func TestRefreshAfterAWrongClock(t *testing.T) {
	server, arns := fakeKMS(t)
	write(t, "message", []byte("message"))
	server.PutAlias("alias/moves", arns["p256"])
	server.PutAlias("alias/leaves", arns["p256"])
	if code, _, stderr := call("keys", "pull", arns["p256"], arns["p384"]); code != 0 {
		t.Fatal(stderr)
	}
	if code, _, stderr := call("sign", "--key-id", arns["p256"], "--signature", "sig", "message"); code != 0 {
		t.Fatal(stderr)
	}
	year := regexp.MustCompile(`("(?:StateTime|Time)": ")20\d\d`)
	err := filepath.WalkDir(os.Getenv("AWSKMS_OFFLINE_HOME"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".json") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, year.ReplaceAll(data, []byte("${1}2999")), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := storedRecord(t, arns["p256"]).Snapshot.StateTime.Year(); got != 2999 {
		t.Fatalf("the test has not set the dates: %d", got)
	}
	server.SetState(arns["p256"], kmstest.State{Name: "Disabled"})
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/moves")
	server.PutAlias("alias/moves", arns["p384"])
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/leaves")
	if code, stdout, stderr := call("keys", "refresh"); code != 0 || !strings.Contains(stdout, "Enabled → Disabled") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := call("verify", "--key-id", arns["p256"], "--signature", "sig", "message"); code != 1 || !strings.Contains(stderr, "DisabledException") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if r := storedRecord(t, arns["p256"]); r.Snapshot.Time.Year() == 2999 || r.Snapshot.StateTime.Year() == 2999 {
		t.Errorf("the record says %+v", r.Snapshot)
	}
	if _, stdout, stderr := call("keys", "show", "alias/moves"); !strings.Contains(stdout, arns["p384"]) {
		t.Errorf("alias/moves: %s%s", stdout, stderr)
	}
	if code, stdout, stderr := call("keys", "show", "alias/leaves"); code != 1 || !strings.Contains(stderr, "meant no key") {
		t.Errorf("alias/leaves: %s%s", stdout, stderr)
	}
}
