package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
)

// What a filter cannot look at is not taken for a match: a key that nobody asked for must not become one that verifies.
func TestPullAllWhatCannotBeFiltered(t *testing.T) {
	const account, region = "111122223333", "us-east-1"
	for name, c := range map[string]struct {
		prepare func(s *kmstest.Server, wanted, other string)
		args    []string
		code    int
		brought []string // of wanted, other
		says    []string
	}{
		"all allowed": {nil, []string{"--tag", "team=build"}, 0, []string{"wanted"}, nil},
		"DescribeKey denied": {func(s *kmstest.Server, _, _ string) { s.Deny("DescribeKey", "*") }, []string{"--tag", "team=build"}, 0,
			[]string{"wanted"}, []string{"the key state is recorded as unknown"}},
		"DescribeKey denied, no filter": {func(s *kmstest.Server, _, _ string) { s.Deny("DescribeKey", "*") }, nil, 0,
			[]string{"wanted", "other"}, []string{"2 new, 0 unchanged, 0 changed, 0 refused", "2 others are not for signing"}},
		"ListResourceTags denied": {func(s *kmstest.Server, _, _ string) { s.Deny("ListResourceTags", "*") }, []string{"--tag", "team=build"}, 3,
			nil, []string{"Allow kms:ListResourceTags on arn:aws:kms:", "2 refused"}},
		"ListResourceTags of one denied": {func(s *kmstest.Server, _, other string) { s.Deny("ListResourceTags", other) }, []string{"--tag", "team=build"}, 3,
			[]string{"wanted"}, []string{"1 new, 0 unchanged, 0 changed, 1 refused"}},
		"an empty value is a value": {nil, []string{"--tag", "team="}, 2, nil, []string{"nothing was brought; 4 others"}},
		"a name alone":              {nil, []string{"--tag", "team"}, 0, []string{"wanted", "other"}, nil},
		"aliases denied":            {func(s *kmstest.Server, _, _ string) { s.Deny("ListAliases", "*") }, []string{"--alias-prefix", "alias/wanted"}, 3, nil, []string{"Allow kms:ListAliases on *"}},
		"the same tag twice":        {nil, []string{"--tag", "team=build", "--tag", "team=web"}, 2, nil, []string{"--tag team is given twice"}},
		"the same Region twice":     {nil, []string{"--region", region + "," + region}, 2, nil, []string{"--region us-east-1 is given twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			fakeKMS(t) // for the environment
			server := kmstest.Start(t)
			t.Setenv("AWS_ENDPOINT_URL_KMS", server.URL())
			add := func(k kmstest.Key) string {
				k.Account, k.Region = account, region
				return server.AddKey(k)
			}
			arns := map[string]string{
				"wanted": add(kmstest.Key{Aliases: []string{"alias/wanted"}, Tags: []kmstest.Tag{{TagKey: "team", TagValue: "build"}}}),
				"other":  add(kmstest.Key{Aliases: []string{"alias/other"}, Tags: []kmstest.Tag{{TagKey: "team", TagValue: "web"}}}),
			}
			add(kmstest.Key{Spec: "SYMMETRIC_DEFAULT"})
			add(kmstest.Key{Spec: "RSA_2048", Usage: "ENCRYPT_DECRYPT", Material: kmstest.Shared("RSA_2048")})
			if c.prepare != nil {
				c.prepare(server, arns["wanted"], arns["other"])
			}
			code, stdout, stderr := call(append([]string{"keys", "pull", "--all"}, c.args...)...)
			if code != c.code || strings.Count(stdout, "new: ") != len(c.brought) {
				t.Errorf("exit code %d, expected %d:\n%s%s", code, c.code, stdout, stderr)
			}
			for _, key := range c.brought {
				if !strings.Contains(stdout, "new: "+arns[key]) {
					t.Errorf("%s was not brought:\n%s%s", key, stdout, stderr)
				}
			}
			for _, says := range c.says {
				if !strings.Contains(stderr, says) {
					t.Errorf("%q is not in\n%s", says, stderr)
				}
			}
		})
	}
}

// A Region whose keys cannot be listed keeps no other Region's keys back.
func TestPullAllWithARegionDenied(t *testing.T) {
	server, arns := fakeKMS(t)
	abroad := server.AddKey(kmstest.Key{Account: "111122223333", Region: "eu-west-1"})
	server.Inject(kmstest.Rule{Operation: "ListKeys", Region: "us-east-1"}, kmstest.Fail(&kmstest.Error{Code: "AccessDeniedException"}))
	code, stdout, stderr := call("keys", "pull", "--all", "--region", "us-east-1,eu-west-1", "--output", "json")
	var answer struct {
		Results []struct{ KeyId, Change string }
		Errors  []struct{ Code, Message, Hint string }
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 3 || !slices.ContainsFunc(answer.Results, func(r struct{ KeyId, Change string }) bool { return r.KeyId == abroad && r.Change == "new" }) ||
		len(answer.Errors) != 1 || answer.Errors[0].Code != "AccessDeniedException" || !strings.Contains(answer.Errors[0].Hint, "Allow kms:ListKeys on *") {
		t.Errorf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if strings.Contains(stdout, arns["p256"]) {
		t.Errorf("the Region's keys were brought:\n%s", stdout)
	}
}

// Where KMS lists no aliases, of a key of another account or because it is denied, each alias on record is asked for
// itself: else it would go on meaning its old key.
func TestRefreshWithoutAliasList(t *testing.T) {
	const foreign = "444455556666"
	for name, account := range map[string]string{"another account": foreign, "ListAliases denied": "111122223333"} {
		t.Run(name, func(t *testing.T) {
			server, _ := fakeKMS(t)
			alias := "arn:aws:kms:eu-west-1:" + account + ":alias/release"
			server.AddKey(kmstest.Key{Account: account, Region: "eu-west-1", Aliases: []string{"alias/release"}})
			if account != foreign {
				server.Deny("ListAliases", "*")
			}
			if code, _, stderr := call("keys", "pull", alias); code != 0 {
				t.Fatal(stderr)
			}
			_, first, _ := call("keys", "show", alias)
			if code, stdout, stderr := call("keys", "refresh"); code != 0 || !strings.Contains(stderr, "1 unchanged, 0 changed") || strings.Contains(stdout, "alias/release") {
				t.Errorf("nothing moved: exit code %d\n%s%s", code, stdout, stderr)
			}
			if aliasTime(t, "eu-west-1", account, "release") == "" {
				t.Error("the alias has no time")
			}
			next := server.AddKey(kmstest.Key{Account: account, Region: "eu-west-1"})
			server.RemoveAlias(alias)
			server.PutAlias("alias/release", next)
			code, stdout, stderr := call("keys", "refresh")
			if code != 0 || !strings.Contains(stdout, "changed: "+alias) || !strings.Contains(stdout, "→ "+next[strings.LastIndex(next, "/")+1:]) {
				t.Errorf("moved: exit code %d\n%s%s", code, stdout, stderr)
			}
			if code, _, stderr := call("keys", "show", alias); code != 1 || !strings.Contains(stderr, next[strings.LastIndex(next, "/")+1:]) {
				t.Errorf("the alias still means\n%s%s", first, stderr)
			}
			// By the key itself the alias is seen to have been its own.
			old := strings.Fields(first)[1]
			if _, shown, _ := call("keys", "show", old); !strings.Contains(shown, "alias/release meant this key from 20") {
				t.Errorf("no history in\n%s", shown)
			}
			// An alias that is denied while its key is not may mean any key.
			if code, _, stderr := call("keys", "pull", alias); code != 0 {
				t.Fatal(stderr)
			}
			last := server.AddKey(kmstest.Key{Account: account, Region: "eu-west-1"})
			server.RemoveAlias(alias)
			server.PutAlias("alias/release", last)
			server.Deny("DescribeKey", last)
			if code, _, stderr := call("keys", "refresh", next); code != 3 || !strings.Contains(stderr, alias+": what it means now is not known, and may be another key") {
				t.Errorf("denied: exit code %d\n%s", code, stderr)
			}
			// One that comes back, from a key that is not in the store or from nowhere, is seen to do so.
			server.RemoveAlias(alias)
			if code, stdout, stderr := call("keys", "refresh"); code != 0 || !strings.Contains(stdout, "changed: "+alias) {
				t.Errorf("gone: exit code %d\n%s%s", code, stdout, stderr)
			}
			server.PutAlias("alias/release", next)
			if code, stdout, stderr := call("keys", "refresh"); code != 0 || !strings.Contains(stdout, "changed: "+alias) {
				t.Errorf("back: exit code %d\n%s%s", code, stdout, stderr)
			}
			if code, _, stderr := call("keys", "show", alias); code != 0 {
				t.Errorf("the alias does not mean its key again\n%s", stderr)
			}
			// One that went away and belongs to a key that is denied puts nothing at risk.
			server.RemoveAlias(alias)
			if code, _, stderr := call("keys", "refresh"); code != 0 {
				t.Errorf("gone again: exit code %d\n%s", code, stderr)
			}
			server.PutAlias("alias/release", last)
			if code, _, stderr := call("keys", "refresh", next); code != 0 || !strings.Contains(stderr, "note: "+alias+": what it means now is not known") {
				t.Errorf("denied, and no longer the key's: exit code %d\n%s", code, stderr)
			}
		})
	}
}

// TestRefreshOfARemovedKey: a key that is removed while KMS is asked about it stays removed, and a pull that gets no public
// key of it makes no record of KMS's from what a file said.
func TestRefreshOfARemovedKey(t *testing.T) {
	for name, c := range map[string]struct {
		state string
		args  []string
	}{
		"refresh": {"Enabled", []string{"refresh"}}, "refresh, pending deletion": {"PendingDeletion", []string{"refresh"}},
		"pull, pending deletion": {"PendingDeletion", []string{"pull", "KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			server, arns := fakeKMS(t)
			key := arns["p256"]
			if code, _, stderr := call("keys", "pull", key, arns["p384"]); code != 0 {
				t.Fatal(stderr)
			}
			server.SetState(key, kmstest.State{Name: c.state})
			// The last thing that is asked, once the record was read.
			asked := make(chan bool)
			removed := make(chan bool)
			var once sync.Once
			server.Inject(kmstest.Rule{Operation: "ListAliases", Key: key}, kmstest.Edit(func(map[string]any) {
				once.Do(func() { close(asked); <-removed })
			}))
			go func() {
				defer close(removed)
				<-asked
				if code, _, stderr := call("keys", "remove", key); code != 0 {
					t.Error(stderr)
				}
			}()
			code, stdout, stderr := call(append([]string{"keys"}, strings.Split(strings.ReplaceAll(strings.Join(c.args, " "), "KEY", key), " ")...)...)
			if code != 3 || strings.Contains(stdout, key) || !strings.Contains(stderr, key+" was removed from the store meanwhile") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
			if code, _, stderr := call("keys", "show", key); code != 1 {
				t.Errorf("the record is there again: exit code %d\n%s", code, stderr)
			}
		})
	}
}

// TestAllowedByAliasAlone: a policy may allow what names a key by its alias (condition key kms:RequestAlias), and nothing that
// names it by its ARN.
func TestAllowedByAliasAlone(t *testing.T) {
	server, arns := fakeKMS(t)
	write(t, "short", []byte("short"))
	server.PutAlias("alias/condition", arns["p256"])
	for _, action := range []string{"GetPublicKey", "DescribeKey", "Sign"} {
		server.DenyUnlessBy("alias/condition", action, "*")
	}
	for _, alias := range []string{"alias/condition", "arn:aws:kms:us-east-1:111122223333:alias/condition"} {
		code, stdout, stderr := call("sign", "--key-id", alias, "--signature", "sig"+strconv.Itoa(len(alias)), "short")
		if code != 0 || !strings.Contains(stdout, "Signed: "+arns["p256"]) {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	if code, _, stderr := call("sign", "--key-id", arns["p256"], "short"); code != 3 || !strings.Contains(stderr, "AccessDeniedException") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if code, stdout, stderr := call("keys", "pull", "alias/condition"); code != 0 || strings.Contains(stderr, "recorded as unknown") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := call("keys", "list"); code != 0 || !strings.Contains(stdout, "Enabled") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	// What else goes wrong by the alias is no denial: the state could have been had, and the signature.
	failing := server.Inject(kmstest.Rule{Operation: "DescribeKey", Key: "alias/condition"}, kmstest.Fail(kmstest.ExpiredToken))
	if code, stdout, stderr := call("keys", "pull", "alias/condition"); code != 3 || !strings.Contains(stderr, "Renew the credentials") || strings.Contains(stderr, "recorded as unknown") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	failing()
	failing = server.Inject(kmstest.Rule{Operation: "Sign", Key: "alias/condition"}, kmstest.Fail(&kmstest.Error{Code: "DisabledException", Message: "is disabled.", Status: 400}))
	if code, stdout, stderr := call("sign", "--key-id", "alias/condition", "short"); code != 1 || stdout != "" || !strings.Contains(stderr, "DisabledException") || !strings.Contains(stderr, "aws kms enable-key") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	failing()
	// Where it means another key by then, its state is not taken for that of the key that was fetched, nor its signature.
	move := server.Inject(kmstest.Rule{Operation: "DescribeKey", Key: "alias/condition"}, kmstest.Edit(func(answer map[string]any) {
		m := answer["KeyMetadata"].(map[string]any)
		m["Arn"], m["KeyId"] = arns["p384"], arns["p384"][strings.LastIndex(arns["p384"], "/")+1:]
	}))
	if code, stdout, stderr := call("keys", "pull", "alias/condition"); code != 0 || !strings.Contains(stderr, "recorded as unknown") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	move()
	server.Inject(kmstest.Rule{Operation: "GetPublicKey"}, kmstest.Edit(func(map[string]any) {
		server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/condition")
		server.PutAlias("alias/condition", server.AddKey(kmstest.Key{Account: "111122223333", Region: "us-east-1"}))
	}))
	if code, stdout, stderr := call("sign", "--key-id", "alias/condition", "short"); code != 3 || stdout != "" || !strings.Contains(stderr, "alias/condition came to mean another key") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// aliasTime is what the alias's file says it is as of.
func aliasTime(t *testing.T, region, account, alias string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(os.Getenv("AWSKMS_OFFLINE_HOME"), "aliases/aws", region, account, alias+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Time string }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Time
}

// timedOut is DependencyTimeoutException with a status that is not tried again, which would take long.
var timedOut = &kmstest.Error{Code: kmstest.DependencyTimeout.Code, Message: kmstest.DependencyTimeout.Message}

// A timeout within KMS says nothing of what is allowed: an alias that has moved to this key still means another one here, and
// cron must hear of it.
func TestAliasesTimedOut(t *testing.T) {
	for _, command := range []string{"pull", "refresh"} {
		t.Run(command, func(t *testing.T) {
			server, arns := fakeKMS(t)
			server.PutAlias("alias/moves", arns["p256"])
			if code, _, stderr := call("keys", "pull", arns["p256"], arns["p384"]); code != 0 {
				t.Fatal(stderr)
			}
			server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/moves")
			server.PutAlias("alias/moves", arns["p384"])
			server.Inject(kmstest.Rule{Operation: "ListAliases"}, kmstest.Fail(timedOut))
			code, stdout, stderr := call("keys", command, arns["p384"], "--output", "json")
			var answer struct {
				Results []struct{ KeyId, Change string }
				Errors  []struct{ Code, Message, KeyId string }
			}
			if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 3 || len(answer.Results) != 1 || answer.Results[0].Change != "unchanged" ||
				len(answer.Errors) != 1 || answer.Errors[0].Code != "DeadlineExceededException" || answer.Errors[0].KeyId != arns["p384"] ||
				!strings.Contains(answer.Errors[0].Message, "the aliases of "+arns["p384"]+" are not known") {
				t.Errorf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
			}
		})
	}
}

// That the aliases could not be had for another reason than a missing permission is a failure; what was learned of the key
// is stored all the same, above all that it is disabled.
func TestRefreshWhenOnePartFails(t *testing.T) {
	for name, fault := range map[string]func(s *kmstest.Server, key string){
		"aliases: not JSON": func(s *kmstest.Server, _ string) { s.Inject(kmstest.Rule{Operation: "ListAliases"}, kmstest.NotJSON()) },
		"aliases: credentials expired": func(s *kmstest.Server, _ string) {
			s.Inject(kmstest.Rule{Operation: "ListAliases"}, kmstest.Fail(kmstest.ExpiredToken))
		},
		"aliases: KMS timed out": func(s *kmstest.Server, _ string) {
			s.Inject(kmstest.Rule{Operation: "ListAliases"}, kmstest.Fail(timedOut))
		},
	} {
		for _, state := range []string{"Disabled", "PendingDeletion"} { // of the latter KMS gives no public key
			t.Run(name+", "+state, func(t *testing.T) {
				server, arns := fakeKMS(t)
				if code, _, stderr := call("keys", "pull", arns["p256"]); code != 0 {
					t.Fatal(stderr)
				}
				server.SetState(arns["p256"], kmstest.State{Name: state})
				fault(server, arns["p256"])
				code, stdout, stderr := call("keys", "refresh")
				if code != 3 || !strings.Contains(stdout, "Enabled → "+state) || !strings.Contains(stderr, "the aliases of "+arns["p256"]+" are not known") {
					t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
			})
		}
	}
	t.Run("state: credentials expired", func(t *testing.T) {
		server, arns := fakeKMS(t)
		server.Inject(kmstest.Rule{Operation: "DescribeKey"}, kmstest.Fail(kmstest.ExpiredToken))
		code, stdout, stderr := call("keys", "pull", arns["p256"])
		if code != 3 || strings.Contains(stdout, "new: ") || !strings.Contains(stderr, "Renew the credentials") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	})
	t.Run("GetPublicKey refuses a disabled key", func(t *testing.T) {
		server, arns := fakeKMS(t)
		if code, _, stderr := call("keys", "pull", arns["p256"]); code != 0 {
			t.Fatal(stderr)
		}
		server.SetState(arns["p256"], kmstest.State{Name: "Disabled"})
		server.Inject(kmstest.Rule{Operation: "GetPublicKey"}, kmstest.Fail(&kmstest.Error{Code: "DisabledException", Message: "is disabled."}))
		if code, stdout, stderr := call("keys", "refresh"); code != 0 || !strings.Contains(stdout, "Enabled → Disabled") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
		server.Deny("DescribeKey", "*")
		if code, _, stderr := call("keys", "refresh"); code != 3 || !strings.Contains(stderr, "is disabled.; and its state cannot be had") || !strings.Contains(stderr, "Allow kms:DescribeKey") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

// A pull outlasts another writer that holds the lock for longer than a command waits that writes once.
func TestPullWaitsForOtherWriters(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes eleven seconds: that a pull waits for other writers is not tested")
	}
	_, arns := fakeKMS(t)
	other, err := keystore.OpenWriter(keystore.Home{Path: os.Getenv("AWSKMS_OFFLINE_HOME"), ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(11*time.Second, func() { _ = other.Close() })
	if code, stdout, stderr := call("keys", "pull", arns["p256"], arns["p384"]); code != 0 || strings.Count(stdout, "new: ") != 2 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// One damaged record keeps no other from being refreshed or told, and is not passed over in silence.
func TestOneDamagedRecord(t *testing.T) {
	server, arns := fakeKMS(t)
	if code, _, stderr := call("keys", "pull", arns["p256"], arns["p384"], arns["p521"]); code != 0 {
		t.Fatal(stderr)
	}
	damaged := filepath.Join(os.Getenv("AWSKMS_OFFLINE_HOME"), "keys/aws/us-east-1/111122223333", arns["p384"][strings.LastIndex(arns["p384"], "/")+1:]+".json")
	write(t, damaged, []byte("{"))
	server.SetState(arns["p256"], kmstest.State{Name: "Disabled"})
	server.SetState(arns["p521"], kmstest.State{Name: "Disabled"})
	code, stdout, stderr := call("keys", "refresh")
	if code != 3 || strings.Count(stdout, "Enabled → Disabled") != 2 || strings.Count(stderr, "StoreIntegrityException") != 1 {
		t.Errorf("refresh: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = call("keys", "status", "--output", "json")
	if code != 3 || strings.Count(stdout, "DisabledException") != 2 || !strings.Contains(stderr, "StoreIntegrityException") {
		t.Errorf("status: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestRefreshPendingDeletionWithAnAlias: KMS gives no public key of a key that is pending deletion, so the one on record keeps its
// date. What KMS says of its aliases is of now all the same: one that moved to it must not go on meaning the key it left.
func TestRefreshPendingDeletionWithAnAlias(t *testing.T) {
	server, arns := fakeKMS(t)
	write(t, "message", []byte("message"))
	server.PutAlias("alias/moves", arns["p256"])
	for _, key := range []string{arns["p384"], arns["p256"]} { // the older record is the alias's new key
		if code, _, stderr := call("keys", "pull", key); code != 0 {
			t.Fatal(stderr)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if code, _, stderr := call("sign", "--key-id", arns["p256"], "--signature", "sig", "message"); code != 0 {
		t.Fatal(stderr)
	}
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/moves")
	server.PutAlias("alias/moves", arns["p384"])
	server.SetState(arns["p384"], kmstest.State{Name: "PendingDeletion"})
	code, stdout, stderr := call("keys", "refresh", arns["p384"])
	if code != 0 || !strings.Contains(stdout, "→ PendingDeletion") || strings.Contains(stdout, "kept") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := call("verify", "--key-id", "alias/moves", "--signature", "sig", "message"); code != 1 || !strings.Contains(stderr, "PendingDeletion") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestPullOfAKeyPendingDeletion: KMS gives no public key of it. The one in the store must not stay Enabled for that, however it is
// asked for.
func TestPullOfAKeyPendingDeletion(t *testing.T) {
	for _, asked := range []string{"arn", "alias/release", "--all"} {
		t.Run(asked, func(t *testing.T) {
			server, arns := fakeKMS(t)
			write(t, "message", []byte("message"))
			server.PutAlias("alias/before", arns["p256"])
			if code, _, stderr := call("keys", "pull", arns["p256"]); code != 0 {
				t.Fatal(stderr)
			}
			if code, _, stderr := call("sign", "--key-id", arns["p256"], "--signature", "sig", "message"); code != 0 {
				t.Fatal(stderr)
			}
			server.PutAlias("alias/release", arns["p256"])
			server.SetState(arns["p256"], kmstest.State{Name: "PendingDeletion"})
			if asked == "arn" {
				asked = arns["p256"]
			}
			code, stdout, stderr := call("keys", "pull", asked)
			if code != 0 || !strings.Contains(stdout, "Enabled → PendingDeletion") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
			for _, name := range []string{arns["p256"], "alias/before", "alias/release"} {
				if code, _, stderr := call("verify", "--key-id", name, "--signature", "sig", "message"); code != 1 || !strings.Contains(stderr, "PendingDeletion") {
					t.Errorf("%s: exit code %d, %s", name, code, stderr)
				}
			}
		})
	}
}

// fillHistory makes the history of an alias as long as its file may be.
func fillHistory(t *testing.T, alias, keyID string) {
	t.Helper()
	path := filepath.Join(os.Getenv("AWSKMS_OFFLINE_HOME"), "aliases/aws/us-east-1/111122223333", strings.TrimPrefix(alias, "alias/")+".json")
	const most = 64 << 10
	var data []byte
	for former := []map[string]string{}; len(data) < most-100; {
		former = append(former, map[string]string{"KeyId": keyID})
		var err error
		if data, err = json.Marshal(map[string]any{"Alias": "arn:aws:kms:us-east-1:111122223333:" + alias, "TargetKeyId": keyID, "Time": "2020-01-01T00:00:00Z", "History": former}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, data)
}

// TestOneAliasThatCannotMove: it keeps no other from its turn, which would else go on meaning its old key.
func TestOneAliasThatCannotMove(t *testing.T) {
	server, arns := fakeKMS(t)
	server.PutAlias("alias/a", arns["p256"])
	server.PutAlias("alias/b", arns["p256"])
	if code, _, stderr := call("keys", "pull", arns["p256"]); code != 0 {
		t.Fatal(stderr)
	}
	fillHistory(t, "alias/a", arns["p256"][strings.LastIndex(arns["p256"], "/")+1:])
	for _, alias := range []string{"alias/a", "alias/b"} {
		server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:" + alias)
	}
	code, stdout, stderr := call("keys", "refresh")
	if code != 3 || !strings.Contains(stdout, "changed: arn:aws:kms:us-east-1:111122223333:alias/b") || strings.Count(stderr, "alias/a would be longer than 65536 bytes") != 1 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := call("keys", "show", "alias/b"); code != 1 || !strings.Contains(stderr, "meant no key") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestRefreshOverADamagedAlias: the file of an alias keeps no key verifying that KMS has disabled, and no other alias of that key.
func TestRefreshOverADamagedAlias(t *testing.T) {
	server, arns := fakeKMS(t)
	server.PutAlias("alias/a", arns["p256"])
	server.PutAlias("alias/b", arns["p256"])
	if code, _, stderr := call("keys", "pull", arns["p256"]); code != 0 {
		t.Fatal(stderr)
	}
	write(t, filepath.Join(os.Getenv("AWSKMS_OFFLINE_HOME"), "aliases/aws/us-east-1/111122223333/a.json"), []byte("{}"))
	server.SetState(arns["p256"], kmstest.State{Name: "Disabled"})
	server.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/b")
	code, stdout, stderr := call("keys", "refresh")
	if code != 3 || !strings.Contains(stdout, "Enabled → Disabled") || strings.Count(stderr, "a.json") != 1 || !strings.Contains(stderr, "1 changed, 0 refused") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := storedRecord(t, arns["p256"]).KeyMetadata.KeyState; got != "Disabled" {
		t.Errorf("the record says %s", got)
	}
	if code, _, stderr := call("keys", "show", "alias/b"); code != 1 || !strings.Contains(stderr, "meant no key") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
