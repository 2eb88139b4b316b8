package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// record returns what the store holds of a key.
func storedRecord(t *testing.T, arn string) kmskey.Record {
	t.Helper()
	code, stdout, stderr := call("keys", "show", arn, "--output", "json")
	if code != 0 {
		t.Fatal(stderr)
	}
	r, err := kmskey.DecodeRecord([]byte(stdout))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every spec arrives as KMS gave it, by every form of identifier, from several Regions and accounts in one call.
func TestPullEverySpec(t *testing.T) {
	server, arns := fakeKMS(t)
	testdata := testdataAtStart
	abroad := server.AddKey(kmstest.Key{Account: "444455556666", Region: "eu-west-1", Spec: "ECC_NIST_P384", Aliases: []string{"alias/abroad"}})
	var all []string
	for _, arn := range arns {
		all = append(all, arn)
	}
	all = append(all, abroad)
	code, stdout, stderr := call(append([]string{"keys", "pull"}, all...)...)
	if code != 0 || !strings.Contains(stderr, fmt.Sprintf("%d new, 0 unchanged, 0 changed, 0 refused", len(all))) || strings.Count(stdout, "new: arn:") != len(all) {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for name, arn := range arns {
		data, err := os.ReadFile(filepath.Join(testdata, "records", name+".get-public-key.json"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := kmskey.DecodeRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		got := storedRecord(t, arn)
		slices.Sort(got.SigningAlgorithms) // KMS's own order differs by the spec
		slices.Sort(want.SigningAlgorithms)
		if got.KeyID != want.KeyID || string(got.PublicKey) != string(want.PublicKey) || got.KeyUsage != want.KeyUsage || !slices.Equal(got.SigningAlgorithms, want.SigningAlgorithms) {
			t.Errorf("%s: got %+v", name, got)
		}
		if got.Snapshot.Source != kmskey.SourceKMS || time.Since(got.Snapshot.Time.Time) > time.Minute || time.Since(got.Snapshot.StateTime.Time) > time.Minute || got.KeyMetadata == nil {
			t.Errorf("%s: got the snapshot %+v", name, got.Snapshot)
		}
	}
	// By the other forms, and again: nothing is new but dates.
	server.PutAlias("alias/release", arns["p256"])
	id := arns["p256"][strings.LastIndex(arns["p256"], "/")+1:]
	for _, form := range []string{id, "alias/release", "arn:aws:kms:us-east-1:111122223333:alias/release", "arn:aws:kms:eu-west-1:444455556666:alias/abroad"} {
		if code, _, stderr := call("keys", "pull", form); code != 0 {
			t.Errorf("%s: %s", form, stderr)
		}
	}
	if _, _, stderr := call("keys", "pull", id); !strings.Contains(stderr, "0 new, 1 unchanged") {
		t.Error(stderr)
	}
}

// testdataAtStart is found before any test changes the folder.
var testdataAtStart, _ = filepath.Abs("../../../testdata")

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func TestPullAll(t *testing.T) {
	server, _ := fakeKMS(t)
	tagged := server.AddKey(kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/team-a"}, Tags: []kmstest.Tag{{TagKey: "team", TagValue: "build"}}})
	other := server.AddKey(kmstest.Key{Account: "111122223333", Region: "eu-west-1", Aliases: []string{"alias/team-b"}, Tags: []kmstest.Tag{{TagKey: "team", TagValue: "web"}}})
	server.AddKey(kmstest.Key{Account: "111122223333", Region: "us-east-1", Spec: "SYMMETRIC_DEFAULT"})
	server.SetPageSize(3)
	for _, c := range []struct {
		args []string
		want []string
		not  string
	}{
		{[]string{"--region", "us-east-1,eu-west-1", "--alias-prefix", "alias/team-"}, []string{tagged, other}, ""},
		{[]string{"--region", "us-east-1,eu-west-1", "--tag", "team=build"}, []string{tagged}, other},
		{[]string{"--region", "eu-west-1", "--tag", "team"}, []string{other}, tagged},
	} {
		t.Setenv("AWSKMS_OFFLINE_HOME", filepath.Join(t.TempDir(), "home"))
		code, stdout, stderr := call(append([]string{"keys", "pull", "--all"}, c.args...)...)
		if code != 0 || strings.Count(stdout, "new: ") != len(c.want) || c.not != "" && strings.Contains(stdout, c.not) {
			t.Errorf("%q: exit code %d\n%s%s", c.args, code, stdout, stderr)
		}
		for _, arn := range c.want {
			if !strings.Contains(stdout, "new: "+arn) {
				t.Errorf("%q: %s is not in\n%s", c.args, arn, stdout)
			}
		}
	}
	t.Setenv("AWSKMS_OFFLINE_HOME", filepath.Join(t.TempDir(), "home"))
	code, stdout, stderr := call("keys", "pull", "--all")
	if code != 0 || !strings.Contains(stderr, "others are not for signing") || strings.Contains(stdout, "ENCRYPT") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	_, list, _ := call("keys", "list")
	if strings.Contains(list, "ENCRYPT_DECRYPT") || strings.Contains(list, "KEY_AGREEMENT") || !strings.Contains(list, "ML_DSA_87") {
		t.Errorf("the store holds\n%s", list)
	}
}

// TestOneKeyAsksForOne: what a pull or refresh of one key asks for does not grow with the account, in which others have a
// thousand aliases.
func TestOneKeyAsksForOne(t *testing.T) {
	server, arns := fakeKMS(t)
	server.AddKeys(1000, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}})
	const alias = "alias/of-this-one"
	key := arns["p256"]
	server.PutAlias(alias, key)
	for _, call1 := range [][]string{
		{"pull", key}, {"pull", key[strings.LastIndex(key, "/")+1:]}, {"pull", alias}, {"pull", "arn:aws:kms:us-east-1:111122223333:" + alias},
		{"refresh", key}, {"refresh", alias}, {"refresh"},
	} {
		server.ResetLog()
		if code, _, stderr := call(append([]string{"keys"}, call1...)...); code != 0 {
			t.Fatalf("%v: %s", call1, stderr)
		}
		if server.Count("") != 3 || server.Count("GetPublicKey") != 1 || server.Count("DescribeKey") != 1 || server.Count("ListAliases") != 1 {
			t.Errorf("%v asked %+v", call1, server.Requests())
		}
		for _, r := range server.Requests() {
			if r.Operation == "ListAliases" && r.KeyID != key {
				t.Errorf("%v asked for the aliases of %q", call1, r.KeyID)
			}
		}
		if got := storedRecord(t, key).Aliases; !slices.Contains(got, alias) || slices.Contains(got, "alias/many/7") {
			t.Errorf("%v: the record has the aliases %v", call1, got)
		}
	}
	// An alias that KMS does not name for the key any more is asked for alone.
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:" + alias)
	server.ResetLog()
	if code, stdout, stderr := call("keys", "refresh", key); code != 0 || !strings.Contains(stdout, alias) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if server.Count("") != 4 || server.Count("ListAliases") != 1 || server.Count("DescribeKey") != 2 {
		t.Errorf("asked %+v", server.Requests())
	}
}

// One key that fails keeps no other back, and says what to do.
func TestPullFailures(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*kmstest.Server, map[string]string)
		code    int
		says    []string
		stored  bool // the key is stored all the same
	}{
		"GetPublicKey denied": {func(s *kmstest.Server, a map[string]string) { s.Deny("GetPublicKey", a["p256"]) }, 3, []string{"AccessDeniedException", "Allow kms:GetPublicKey on arn:aws:kms:us-east-1:", "keys pull --print-iam-policy"}, false},
		"DescribeKey denied":  {func(s *kmstest.Server, a map[string]string) { s.Deny("DescribeKey", a["p256"]) }, 0, []string{"the key state is recorded as unknown"}, true},
		"ListAliases denied":  {func(s *kmstest.Server, _ map[string]string) { s.Deny("ListAliases", "*") }, 0, []string{"aliases are not known"}, true},
		"credentials expired": {func(s *kmstest.Server, _ map[string]string) { s.ExpireCredentials("") }, 3, []string{"AccessDeniedException", "Renew the credentials"}, false},
		"cut, then whole": {func(s *kmstest.Server, _ map[string]string) {
			s.Inject(kmstest.Rule{Operation: "GetPublicKey", Times: 2}, kmstest.CutAfter(20))
		}, 0, nil, true},
		"not JSON": {func(s *kmstest.Server, a map[string]string) {
			s.Inject(kmstest.Rule{Operation: "GetPublicKey", Key: a["p256"]}, kmstest.NotJSON())
		}, 3, []string{"KMSServiceException"}, false},
		"empty answer": {func(s *kmstest.Server, a map[string]string) {
			s.Inject(kmstest.Rule{Operation: "GetPublicKey", Key: a["p256"]}, kmstest.Answer(200, "application/x-amz-json-1.1", "{}"))
		}, 3, []string{"without a key"}, false},
		"oversized": {func(s *kmstest.Server, a map[string]string) {
			s.Inject(kmstest.Rule{Operation: "GetPublicKey", Key: a["p256"]}, kmstest.Oversized(20<<20))
		}, 3, []string{"KMSServiceException", "the answer is longer than the 8388608 bytes allowed"}, false},
		"another key": {func(s *kmstest.Server, a map[string]string) { edit(s, a, "KeyId", a["p384"]) }, 3, []string{"answered about "}, false},
		"another spec": {func(s *kmstest.Server, a map[string]string) {
			edit(s, a, "KeySpec", "SM2")
			edit(s, a, "CustomerMasterKeySpec", "SM2")
		}, 3, []string{"KeySpec says SM2"}, false},
		"pending deletion": {func(s *kmstest.Server, a map[string]string) {
			s.SetState(a["p256"], kmstest.State{Name: "PendingDeletion"})
		}, 3, []string{"KMSInvalidStateException", "aws kms cancel-key-deletion"}, false},
		"gone":      {func(s *kmstest.Server, a map[string]string) { s.RemoveKey(a["p256"]) }, 3, []string{"NotFoundException"}, false},
		"no Region": {func(*kmstest.Server, map[string]string) { os.Unsetenv("AWS_REGION") }, 0, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			server, arns := fakeKMS(t)
			c.prepare(server, arns)
			code, stdout, stderr := call("keys", "pull", arns["p256"], arns["p521"])
			if code != c.code || strings.Contains(stdout, "new: "+arns["p521"]) != (name != "credentials expired") || strings.Contains(stdout, "new: "+arns["p256"]) != c.stored {
				t.Errorf("exit code %d, expected %d:\n%s%s", code, c.code, stdout, stderr)
			}
			for _, says := range c.says {
				if !strings.Contains(stderr, says) {
					t.Errorf("%q is not in\n%s", says, stderr)
				}
			}
			if _, _, stderr := call("doctor"); strings.Contains(stderr, "StoreIntegrity") {
				t.Error(stderr)
			}
		})
	}
	t.Run("Regions for a refresh", func(t *testing.T) { // each key has its own
		fakeKMS(t)
		if code, _, stderr := call("keys", "refresh", "--region", "us-east-1,eu-west-1"); code != 2 || !strings.Contains(stderr, "2 Regions are given") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("bare name without a Region", func(t *testing.T) {
		fakeKMS(t)
		os.Unsetenv("AWS_REGION")
		if code, _, stderr := call("keys", "pull", "alias/a"); code != 2 || !strings.Contains(stderr, "Give --region") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

func edit(s *kmstest.Server, arns map[string]string, member, value string) {
	s.Inject(kmstest.Rule{Operation: "GetPublicKey", Key: arns["p256"]}, kmstest.Edit(func(answer map[string]any) { answer[member] = value }))
}

// The adaptive mode slows down while KMS throttles, so it is given fewer keys.
func TestPullThrottled(t *testing.T) {
	for mode, keys := range map[string]int{"adaptive": 8, "standard": 100} {
		t.Run(mode, func(t *testing.T) {
			server, _ := fakeKMS(t)
			t.Setenv("AWS_RETRY_MODE", mode)
			server.AddKeys(keys, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}})
			server.ThrottlePercent(20)
			code, _, stderr := call("keys", "pull", "--all", "--alias-prefix", "alias/many/", "--parallel", "32")
			if code != 0 || !strings.Contains(stderr, fmt.Sprintf("%d new, 0 unchanged, 0 changed, 0 refused", keys)) {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	server, arns := fakeKMS(t)
	write(t, "message", []byte("message"))
	server.PutAlias("alias/release", arns["p256"])
	server.PutAlias("alias/moves", arns["p256"])
	server.PutAlias("alias/leaves", arns["p256"])
	if code, _, stderr := call("keys", "pull", arns["p256"], arns["p384"], arns["p521"]); code != 0 {
		t.Fatal(stderr)
	}
	if code, _, stderr := call("sign", "--key-id", arns["p256"], "--signature", "sig", "message"); code != 0 {
		t.Fatal(stderr)
	}
	verify := func(key string) (int, string) {
		code, _, stderr := call("verify", "--key-id", key, "--signature", "sig", "message")
		return code, stderr
	}
	refresh := func(code int, says ...string) string {
		t.Helper()
		got, stdout, stderr := call("keys", "refresh")
		if got != code {
			t.Errorf("exit code %d, expected %d\n%s%s", got, code, stdout, stderr)
		}
		for _, text := range says {
			if !strings.Contains(stdout+stderr, text) {
				t.Errorf("%q is not in\n%s%s", text, stdout, stderr)
			}
		}
		return stdout + stderr
	}
	refresh(0, "0 new, 3 unchanged, 0 changed, 0 refused")

	for _, state := range []string{"Disabled", "Unavailable", "PendingDeletion"} {
		server.SetState(arns["p256"], kmstest.State{Name: state})
		refresh(0, "changed: "+arns["p256"], "→ "+state)
		if code, stderr := verify(arns["p256"]); code != 1 || !strings.Contains(stderr, state) {
			t.Errorf("%s: exit code %d, %s", state, code, stderr)
		}
		server.SetState(arns["p256"], kmstest.State{})
		refresh(0, "→ Enabled")
		if code, stderr := verify(arns["p256"]); code != 0 {
			t.Errorf("enabled again: %s", stderr)
		}
	}

	// Aliases: to a key in the store, to one that is not, to none.
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/moves")
	server.PutAlias("alias/moves", arns["p384"])
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/release")
	server.PutAlias("alias/release", arns["rsa2048"])
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/leaves")
	refresh(0)
	for alias, says := range map[string]string{"alias/moves": "KMSInvalidSignatureException", "alias/release": "of which no record is in the store", "alias/leaves": "meant no key"} {
		if code, stderr := verify(alias); code != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d, %s", alias, code, stderr)
		}
	}
	if _, stdout, _ := call("keys", "show", "alias/moves"); !strings.Contains(stdout, "alias/moves was "+arns["p256"][strings.LastIndex(arns["p256"], "/")+1:]) {
		t.Errorf("no history in\n%s", stdout)
	}

	// A block stays, whatever KMS says.
	if code, _, stderr := call("keys", "block", arns["p256"], "--reason", "lost"); code != 0 {
		t.Fatal(stderr)
	}
	refresh(0)
	if code, stderr := verify(arns["p256"]); code != 1 || !strings.Contains(stderr, "KeyBlockedException") {
		t.Errorf("exit code %d, %s", code, stderr)
	}

	// Another public key is an alarm; the record is kept byte for byte.
	path := filepath.Join(os.Getenv("AWSKMS_OFFLINE_HOME"), "keys/aws/us-east-1/111122223333", arns["p521"][strings.LastIndex(arns["p521"], "/")+1:]+".json")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	material, err := kmstest.Generate("ECC_NIST_P521")
	if err != nil {
		t.Fatal(err)
	}
	server.ReplaceMaterial(arns["p521"], material)
	output := refresh(1, "KeyMaterialMismatchException", "1 refused")
	if strings.Count(output, "SHA-256") < 2 {
		t.Errorf("not both fingerprints in\n%s", output)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the record was changed: %v", err)
	}
	server.RemoveKey(arns["p521"])

	// A key that is gone is kept, and verifies no more.
	server.RemoveKey(arns["p384"])
	refresh(0, "→ NotFound", "KMS has no such key any more")
	if code, _, stderr := call("verify", "--key-id", arns["p384"], "--signature", "sig", "message"); code != 1 || !strings.Contains(stderr, "is NotFound") {
		t.Errorf("exit code %d, %s", code, stderr)
	}

	code, stdout, _ := call("keys", "refresh", arns["p256"], "--output", "json")
	var answer struct {
		Results []struct{ KeyId, Change string }
		Summary map[string]int
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 0 || len(answer.Results) != 1 || answer.Results[0].KeyId != arns["p256"] || answer.Summary["Unchanged"] != 1 {
		t.Errorf("exit code %d, %v:\n%s", code, err, stdout)
	}
}

// program is the command line as a program of its own.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), name) // as which testscript.Main runs it
	if err := os.Symlink(self, link); err != nil {
		t.Skipf("no symbolic links here, so nothing is tested that needs several processes: %v", err)
	}
	return link
}

// TestPullKilled kills a pull of 1,000 keys at random moments: every record is whole each time, at most the index lacks the
// last one, which a repair mends, and a second pull finishes.
func TestPullKilled(t *testing.T) {
	server, _ := fakeKMS(t)
	server.AddKeys(1000, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}})
	rounds := 50
	if testing.Short() {
		rounds = 3
	}
	home, inTheMiddle := os.Getenv("AWSKMS_OFFLINE_HOME"), 0
	pull := program(t)
	for round := range rounds {
		if round%5 == 0 {
			if err := os.RemoveAll(home); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(pull, "keys", "pull", "--all", "--alias-prefix", "alias/many/")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// From its first record on, so that a slow machine does not kill what has not begun.
		for deadline := time.Now().Add(20 * time.Second); !exists(filepath.Join(home, "keys")) && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		if cmd.Wait() != nil {
			inTheMiddle++
		}
		soundAfterKill(t, home)
	}
	if inTheMiddle < rounds/2 {
		t.Errorf("%d of %d pulls were killed before they were done: this tests little", inTheMiddle, rounds)
	}
	code, _, stderr := call("keys", "pull", "--all", "--alias-prefix", "alias/many/")
	if code != 0 {
		t.Fatal(stderr)
	}
	_, stdout, _ := call("keys", "list")
	if n := strings.Count(stdout, "alias/many/"); n != 1000 {
		t.Errorf("%d keys after the second pull", n)
	}
}

// soundAfterKill checks a store that a writer was killed in, and mends what that may leave.
func soundAfterKill(t *testing.T, home string) {
	t.Helper()
	at := keystore.Home{Path: home, ChosenBy: "test"}
	store, err := keystore.Open(at, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	unmarked := 0
	for p := range store.Fsck() {
		switch {
		case p.Harmless:
		case p.Repairable:
			unmarked++
		default:
			t.Errorf("after a kill: %s", p.Fact)
		}
	}
	if unmarked > 1 {
		t.Errorf("after a kill the index lacks %d keys, expected at most the last", unmarked)
	}
	for entry, err := range store.List() {
		if err != nil {
			t.Errorf("after a kill: %v, %v", entry.Path, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	w, err := keystore.OpenWriter(at, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Repair(); err != nil {
		t.Fatal(err)
	}
	for p := range w.Store().Fsck() {
		t.Errorf("after a kill and a repair: %s", p.Fact)
	}
}

// Eight processes pull the same keys at once, while sixteen verify: no error, no torn read.
func TestPullWhileVerifying(t *testing.T) {
	server, arns := signing(t)
	server.AddKeys(40, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}})
	write(t, "message", []byte("message"))
	if code, _, stderr := call("sign", "--key-id", arns["p256"], "--signature", "sig", "message"); code != 0 {
		t.Fatal(stderr)
	}
	command := program(t)
	run := func(args ...string) (string, error) {
		out, err := exec.Command(command, args...).CombinedOutput()
		return string(out), err
	}
	var pulls, others sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		pulls.Go(func() {
			for range 2 {
				if out, err := run("keys", "pull", "--all", "--region", "us-east-1"); err != nil {
					t.Errorf("pull: %v\n%s", err, out)
				}
			}
		})
	}
	var verified int
	var mu sync.Mutex
	for range 16 {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if out, err := run("verify", "--key-id", arns["p256"], "--signature", "sig", "message"); err != nil {
					t.Errorf("verify: %v\n%s", err, out)
					return
				}
				mu.Lock()
				verified++
				mu.Unlock()
			}
		})
	}
	pulls.Wait()
	close(done)
	others.Wait()
	if verified < 16 {
		t.Errorf("%d verifications meanwhile, expected one of each process at least", verified)
	}
	t.Logf("%d verifications meanwhile", verified)
}
