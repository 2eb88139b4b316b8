package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// machineVariable makes TestMachinePolicy the test itself: it then has a mount namespace, and may put into /etc what it
// likes.
const machineVariable = "AWSKMS_OFFLINE_TEST_OWN_ETC"

// TestMachinePolicy: the policy in /etc/awskms-offline holds in every front end beside the home's, wherever a caller says
// that the home is, and nothing moves it or turns it off.
func TestMachinePolicy(t *testing.T) {
	if os.Getenv(machineVariable) == "" {
		if os.Getuid() != 0 {
			t.Skip("needs root, to have an /etc of its own: the machine's policy is not tested")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestMachinePolicy$", "-test.v")
		cmd.Env = append(os.Environ(), machineVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(err.Error(), "operation not permitted") {
			t.Skip("this system lets root have no mount namespace: the machine's policy is not tested")
		}
		if err != nil || regexp.MustCompile(`--- PASS: TestMachinePolicy/`).FindAll(out, -1) == nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", "/etc", "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	const (
		arn      = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
		disabled = "arn:aws:kms:us-east-1:111122223333:key/4a1a4994-f0fd-4ba6-9c22-339ff5c1f92f"
		machine  = "/etc/awskms-offline"
		message  = "message"
		records  = "../../../testdata/records/"
	)
	allow := func(key string) string {
		return `{"version":"1","allowList":true,"grants":[{"name":"allowed","keys":["` + key + `"],"verify":true}]}`
	}
	age := func(days string) string {
		return `{"version":"1","restrictions":[{"name":"fresh","maxSnapshotAge":"` + days + `"}]}`
	}
	grantDisabled := `{"version":"1","grants":[{"name":"old","keys":["` + disabled + `"],"keyStates":["Disabled"]}]}`
	for _, c := range []struct {
		name, machine, home string
		key                 string // p256 if empty
		mode                os.FileMode
		code                kmserr.Name
		shows               string // policy show says so
		log                 string // where the line must be; empty: where HOME is
	}{
		{name: "silent", machine: `{"version":"1"}`, home: `{"version":"1"}`},
		{name: "alone", machine: allow(disabled), code: kmserr.KeyNotAllowed},
		{name: "the home allows it", machine: allow(disabled), home: allow(arn), code: kmserr.KeyNotAllowed, shows: "is not on the list of allowed keys of the policy /etc/awskms-offline/policy.json"},
		{name: "the home does not", machine: allow(arn), home: allow(disabled), code: kmserr.KeyNotAllowed},
		{name: "both do", machine: allow(arn), home: allow(arn)},
		{name: "the machine's age", machine: age("1d"), home: age("36500d"), code: kmserr.SnapshotExpired, shows: `maxSnapshotAge 1d of restriction "fresh" (/etc/awskms-offline/policy.json:1) wins over 36500d of restriction "fresh" (`},
		{name: "the home's age", machine: age("36500d"), home: age("1d"), code: kmserr.SnapshotExpired, shows: `(/etc/awskms-offline/policy.json:1)`},
		{name: "a grant of the home alone", machine: `{"version":"1"}`, home: grantDisabled, key: "p256-disabled", code: kmserr.Disabled, shows: "Disabled of grant \"old\""},
		{name: "a grant of the machine alone", machine: grantDisabled, home: `{"version":"1"}`, key: "p256-disabled", code: kmserr.Disabled},
		{name: "a grant of the machine, no policy of the home", machine: grantDisabled, key: "p256-disabled"},
		{name: "another home", machine: `{"version":"1","homes":["/srv/keys"]}`, code: kmserr.StoreAccess},
		{name: "broken", machine: `{"version":"1",}`, code: kmserr.PolicyInvalid},
		{name: "written by everyone", machine: `{"version":"1"}`, mode: 0o666, code: kmserr.PolicyInvalid},
		{name: "the log's place", machine: `{"version":"1","log":{"path":"/etc/log/audit.jsonl"}}`, home: `{"version":"1","log":{"mode":"off"}}`, log: "/etc/log/audit.jsonl",
			shows: "best-effort wins over off of /log/mode"},
		{name: "the log's place, another home's policy is broken", machine: `{"version":"1","log":{"path":"/etc/log/audit.jsonl"}}`, home: `{}`, code: kmserr.PolicyInvalid, log: "/etc/log/audit.jsonl"},
		{name: "no log", machine: `{"version":"1","log":{"mode":"required","path":"/dev/null/audit.jsonl"}}`, home: `{"version":"1","log":{"mode":"off"}}`, code: kmserr.AuditUnavailable},
	} {
		for name, ask := range frontEnds {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				home := isolated(t, dir)
				if err := os.RemoveAll(machine); err != nil {
					t.Fatal(err)
				}
				if err := os.RemoveAll("/etc/log"); err != nil {
					t.Fatal(err)
				}
				if out, code := runCLI(t, "keys", "import", "--snapshot-time", "2026-11-01T00:00:00Z", records+"p256.get-public-key.json", records+"p256.describe-key.json",
					records+"p256-disabled.get-public-key.json", records+"p256-disabled.describe-key.json"); code != 0 {
					t.Fatal(out)
				}
				if err := os.Mkdir(machine, 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(machine, "policy.json"), []byte(c.machine))
				if c.mode != 0 {
					if err := os.Chmod(filepath.Join(machine, "policy.json"), c.mode); err != nil {
						t.Fatal(err)
					}
				}
				if c.home != "" {
					write(t, filepath.Join(home, "policy.json"), []byte(c.home))
				}
				key := c.key
				if key == "" {
					key = "p256"
				}
				keyID := map[string]string{"p256": arn, "p256-disabled": disabled}[key]
				signature, _, err := signTest("../../../testdata", key, kmskey.ECDSASHA256, []byte(message))
				if err != nil {
					t.Fatal(err)
				}
				said := ask(t, asked{key: key, keyID: keyID, signature: signature, message: message, stateOnly: c.code == kmserr.Disabled || c.code == kmserr.SnapshotExpired})
				if got := exception.FindString(said); got != string(c.code) || c.code == "" && said != "" {
					t.Errorf("said %q, expected %q", said, c.code)
				}
				if c.shows != "" {
					if _, stdout, stderr := call("policy", "show", keyID); !strings.Contains(stdout, c.shows) {
						t.Errorf("policy show does not say %q: %s%s", c.shows, stdout, stderr)
					}
				}
				if c.code == kmserr.AuditUnavailable {
					return
				}
				log := c.log
				if log == "" {
					log = filepath.Join(dir, "state", "awskms-offline", audit.FileName)
				}
				lines := 0
				for _, err := range audit.Lines(t.Context(), log, audit.Filter{}) {
					if err != nil {
						t.Fatal(err)
					}
					lines++
				}
				if lines != 1 {
					t.Errorf("%d lines in %s", lines, log)
				}
			})
		}
	}
	// That the group may have taken a policy away is what doctor says, too, as every decision does.
	t.Run("doctor: the group", func(t *testing.T) {
		dir := t.TempDir()
		home := filepath.Join(dir, "home")
		for name, value := range map[string]string{"HOME": dir, "XDG_CONFIG_HOME": dir, "XDG_STATE_HOME": filepath.Join(dir, "state"), "AWSKMS_OFFLINE_HOME": home} {
			t.Setenv(name, value)
		}
		if err := errors.Join(os.RemoveAll(machine), os.Mkdir(machine, 0o770), os.Chmod(machine, 0o770)); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := call("keys", "import", records+"p256.get-public-key.json", records+"p256.describe-key.json"); code != 0 {
			t.Fatal(stderr)
		}
		if code, stdout, stderr := call("doctor"); code != 0 || strings.Count(stdout, machine+" can be written by its group") != 1 {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}
