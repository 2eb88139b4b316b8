package verifier

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// opened returns a Verifier as a program opened it some time ago.
func opened(t *testing.T, home string) *Verifier {
	t.Helper()
	v, err := Open(Options{Home: &home, HomeOption: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	v.live.read = v.live.read.Add(-readAge)
	return v
}

// demand asks every question there is; each must be refused by this name, or none if it is "".
func demand(t *testing.T, v *Verifier, want kmserr.Name, why string) {
	t.Helper()
	_, verify := v.Verify(context.Background(), good(arnText))
	_, authorize := v.AuthorizeKey(context.Background(), KeyRequest{KeyID: arnText, WithoutPublicKey: true})
	outlook, err := v.Outlook(context.Background(), arnText)
	if err == nil {
		err = outlook.Refusal
	}
	for question, err := range map[string]error{"Verify": verify, "AuthorizeKey": authorize, "Outlook": err} {
		if want == "" && err != nil || want != "" && !kmserr.Is(err, want) {
			t.Errorf("%s, %s: got %v, expected %s", why, question, err, want)
		}
	}
}

// What a program knows of the store and the policies is a second old at most.
func TestASecondAtMost(t *testing.T) {
	if viewAge != time.Second || readAge != time.Second {
		t.Errorf("a view lives %s, what Open read %s", viewAge, readAge)
	}
}

// What Open read is the reading of one decision soon after, whatever was asked of the policy before it; every other reads for
// itself.
func TestOneReadingOfOpen(t *testing.T) {
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	for name, c := range map[string]struct {
		waited time.Duration
		want   []kmserr.Name
	}{
		"at once":          {0, []kmserr.Name{"", kmserr.KeyNotAllowed, kmserr.KeyNotAllowed}},
		"after its second": {readAge, []kmserr.Name{kmserr.KeyNotAllowed, kmserr.KeyNotAllowed}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(w.home.Path, policy.FileName)
			_ = os.Remove(path)
			v, err := Open(Options{Home: &w.home.Path, HomeOption: "test"})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			v.live.read = v.live.read.Add(-c.waited)
			if err := os.WriteFile(path, []byte(`{"version":"1","allowList":true,"log":{"mode":"off"}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			v.ExactRegion()
			if _, err := v.Outlook(t.Context(), arnText); err != nil {
				t.Error(err)
			}
			for i, want := range c.want {
				if _, err := v.Verify(t.Context(), good(arnText)); err == nil && want != "" || err != nil && !kmserr.Is(err, want) {
					t.Errorf("decision %d: %v, expected %q", i+1, err, want)
				}
			}
		})
	}
}

// A batch of a verifier that was opened long ago goes by what is in force now, and a question that takes its time by what
// is so afterwards.
func TestBatchGoesByWhatIsInForce(t *testing.T) {
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	v := opened(t, w.home.Path)
	if err := os.WriteFile(filepath.Join(w.home.Path, "policy.json"), []byte(`{"version":"1","log":{"mode":"off"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	questions := func(yield func(Question) bool) {
		_ = yield(Ask(good(arnText))) && yield(func() (Request, error) {
			w.block(t, keystore.Block{KeyID: arnText})
			time.Sleep(viewAge + 100*time.Millisecond)
			return good(arnText), nil
		})
	}
	var got []error
	for a := range v.VerifyBatch(context.Background(), questions, BatchOptions{Workers: 1}) {
		got = append(got, a.Err)
	}
	if len(got) != 2 || got[0] != nil || !kmserr.Is(got[1], kmserr.KeyBlocked) {
		t.Errorf("got %v", got)
	}
}

const (
	arnText  = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	arnOther = "arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"
)

// A program that runs for weeks must obey a policy that was made stricter today, and refuse by one that cannot be read.
func TestPolicyIsReadAnew(t *testing.T) {
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	v := opened(t, w.home.Path)
	demand(t, v, "", "no policy")
	path := filepath.Join(w.home.Path, "policy.json")
	for _, c := range []struct {
		policy string
		want   kmserr.Name
	}{
		{`{"version":"1","allowList":true}`, kmserr.KeyNotAllowed},
		{`{"version":"1","restrictions":[{"name":"x","requireKnownState":true}]}`, kmserr.KMSInvalidState},
		{`{"version":"1","restrictions":[{"name":"x","maxSnapshotAge":"1d"}]}`, kmserr.SnapshotExpired},
		{`{"version":"1","sneaky":true}`, kmserr.PolicyInvalid},
		{`{"version":"1"}`, ""},
	} {
		if err := os.WriteFile(path, []byte(c.policy), 0o600); err != nil {
			t.Fatal(err)
		}
		demand(t, v, c.want, c.policy)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	demand(t, v, "", "the policy removed")
}

// The log goes where the policy says now, and where it was required and cannot be written the answer is no.
func TestLogIsWherePolicySaysNow(t *testing.T) {
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	v := opened(t, w.home.Path)
	dir := t.TempDir()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	log, blocked := filepath.Join(dir, "log.jsonl"), filepath.Join(dir, "folder.jsonl")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	say := func(path string) {
		text := `{"version":"1","log":{"mode":"required","path":` + string(must(json.Marshal(path))) + `}}`
		if err := os.WriteFile(filepath.Join(w.home.Path, "policy.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say(log)
	if _, err := v.Verify(context.Background(), good(arnText)); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(log); err != nil || strings.Count(string(data), "\n") != 1 {
		t.Errorf("the log holds %q, %v", data, err)
	}
	say(blocked)
	if _, err := v.Verify(context.Background(), good(arnText)); !kmserr.Is(err, kmserr.AuditUnavailable) {
		t.Errorf("got %v", err)
	}
}

// A log that has no place is one that cannot be written, and required where the policy says so.
func TestLogWithoutAPlace(t *testing.T) {
	for _, required := range []bool{false, true} {
		log := openLog(policy.LogRules{Path: "no/absolute/path.jsonl", Required: required}, false)
		if log == nil || log.Required() != required {
			t.Fatalf("%v, required: %t", log, required)
		}
		if err := log.Append(t.Context(), audit.Decision{}); err == nil {
			t.Error("a line was written nowhere")
		}
	}
	if log := openLog(policy.LogRules{Off: true}, false); log != nil {
		t.Errorf("a log that is off: %v", log)
	}
	for _, sync := range []bool{false, true} {
		c := logConfig(policy.LogRules{Sync: sync, Required: !sync, RotateBytes: 1 << 20}, "/log", sync)
		if c.NoSync == sync || c.Required == sync || c.RotateBytes != 1<<20 || c.Path != "/log" || c.UnsafePermissions != sync || c.Writer == nil {
			t.Errorf("%+v", c)
		}
	}
	// Where the log is off, a refusal has no line, and that is no failure.
	home := newWorld(t).home.Path
	if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(`{"version":"1","log":{"mode":"off"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := LogRefusal(t.Context(), Options{Home: &home, HomeOption: "test"}, audit.EventVerify, "alias/a", kmserr.New(kmserr.Validation, "x")); err != nil {
		t.Error(err)
	}
}

// Where another folder was put in the home's place, nothing of the old one counts.
func TestHomeIsReplaced(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no folder that is open: a folder that is exchanged is not tested")
	}
	key := record(t, arnText, signerOf(kmskey.ECCNISTP256))
	old, next := newWorld(t, key), newWorld(t, key)
	next.block(t, keystore.Block{KeyID: arnText})
	v := opened(t, old.home.Path)
	demand(t, v, "", "before")
	if err := os.Rename(old.home.Path, old.home.Path+".old"); err != nil {
		t.Fatal(err)
	}
	demand(t, v, kmserr.StoreAccess, "no home")
	if err := os.Rename(next.home.Path, old.home.Path); err != nil {
		t.Fatal(err)
	}
	demand(t, v, kmserr.KeyBlocked, "the next home")
	store := v.Store()
	if !store.ReadsFrom(must(os.Stat(old.home.Path))) {
		t.Error("Store returns the old one")
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if _, err := store.Resolve(must(kmskey.ParseRef(arnText)), keystore.ResolveOptions{}); !kmserr.Is(err, kmserr.StoreAccess) {
		t.Errorf("the store is open behind Close: %v", err)
	}
}

// A home that is everyone's since it was opened, or below a folder that is, may have lost its policy and its blocks to anybody.
func TestHomeIsEveryonesNow(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no mode of everyone's: that a home which others can write by now is refused is not tested")
	}
	for name, folder := range map[string]func(home string) string{
		"the home": func(home string) string { return home }, "the folder above": filepath.Dir,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
			w.block(t, keystore.Block{KeyID: arnText})
			v := opened(t, w.home.Path)
			demand(t, v, kmserr.KeyBlocked, "nobody else's")
			var got []error
			questions := func(yield func(Question) bool) {
				_ = yield(Ask(good(arnText))) && yield(func() (Request, error) {
					if err := os.Chmod(folder(w.home.Path), 0o777); err != nil {
						t.Error(err)
					}
					if err := os.RemoveAll(filepath.Join(w.home.Path, "blocks")); err != nil {
						t.Error(err)
					}
					time.Sleep(viewAge + 100*time.Millisecond)
					return good(arnText), nil
				})
			}
			for a := range v.VerifyBatch(t.Context(), questions, BatchOptions{Workers: 1}) {
				got = append(got, a.Err)
			}
			if len(got) != 2 || !kmserr.Is(got[0], kmserr.KeyBlocked) || !kmserr.Is(got[1], kmserr.StoreIntegrity) {
				t.Errorf("a batch: %v", got)
			}
			demand(t, v, kmserr.StoreIntegrity, "everyone's")
		})
	}
}

// Rules and records are of one folder, whatever is moved in between, and by whoever first sees it.
func TestRulesAndRecordsOfOneHome(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no folder that is open: that rules and records are of one home is not tested")
	}
	known, unknown := record(t, arnText, signerOf(kmskey.ECCNISTP256)), record(t, arnOther, signerOf(kmskey.ECCNISTP256))
	// The old home has no policy and no record of the other key; the new one has it, and does not allow it.
	worlds := func(t *testing.T) (home string, move func()) {
		t.Helper()
		old, next := newWorld(t, known), newWorld(t, known, unknown)
		text := `{"version":"1","log":{"mode":"off"},"allowList":true,"grants":[{"name":"one","keys":["` + arnText + `"],"verify":true}]}`
		if err := os.WriteFile(filepath.Join(next.home.Path, policy.FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return old.home.Path, func() {
			for _, names := range [][2]string{{old.home.Path, old.home.Path + ".old"}, {next.home.Path, old.home.Path}} {
				if err := os.Rename(names[0], names[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// once calls the given function behind the next reading of the rules, and no other.
	once := func(read reload, then func()) reload {
		return func() (policy.Policy, fs.FileInfo, error) {
			defer func() {
				if now := then; now != nil {
					then = nil
					now()
				}
			}()
			return read()
		}
	}
	for name, c := range map[string]struct {
		between func(*Verifier)
		want    kmserr.Name
	}{
		"nobody else": {func(*Verifier) {}, kmserr.StoreAccess}, // the old home may be on its way out: what it has not is not absent
		"another decision": {func(v *Verifier) {
			if _, err := v.Verify(t.Context(), good(arnText)); err != nil {
				t.Error(err)
			}
		}, kmserr.KeyNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			home, move := worlds(t)
			v := opened(t, home)
			v.live.reload = once(v.live.reload, func() { move(); c.between(v) })
			if _, err := v.Verify(t.Context(), good(arnOther)); !kmserr.Is(err, c.want) {
				t.Errorf("got %v, expected %s", err, c.want)
			}
			if _, err := v.Verify(t.Context(), good(arnText)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("Open", func(t *testing.T) {
		home, move := worlds(t)
		store, rules, err := openWithRules(keystore.Home{Path: home, ChosenBy: "test"}, false, once(rulesOf(home, false), move))
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if len(rules.Files()) != 1 || !store.ReadsFrom(must(os.Stat(home))) {
			t.Errorf("rules %v", rules.Files())
		}
	})
	t.Run("a batch", func(t *testing.T) {
		home, move := worlds(t)
		v := opened(t, home)
		moved := false
		v.reload = func(read reload) reload {
			return func() (policy.Policy, fs.FileInfo, error) {
				if !moved { // the batch has its store, of the old home; the rules that it reads are the new one's
					moved = true
					move()
				}
				return read()
			}
		}(v.reload)
		for a := range v.VerifyBatch(t.Context(), func(yield func(Question) bool) { yield(Ask(good(arnText))) }, BatchOptions{Workers: 1}) {
			if !kmserr.Is(a.Err, kmserr.StoreAccess) {
				t.Errorf("got %v", a.Err)
			}
		}
	})
	t.Run("again and again", func(t *testing.T) {
		home, _ := worlds(t)
		elsewhere := must(os.Stat(t.TempDir()))
		v := opened(t, home)
		read := v.live.reload
		v.live.reload = func() (policy.Policy, fs.FileInfo, error) {
			rules, _, err := read()
			return rules, elsewhere, err
		}
		_, err := v.Verify(t.Context(), good(arnText))
		refused(t, err, kmserr.StoreAccess, "was replaced by another folder again and again", "Try again")
		if n := v.live.users.Load(); n != 0 || len(v.live.replaced) != 0 {
			t.Errorf("%d users are left, %d stores", n, len(v.live.replaced))
		}
		if _, _, err := openWithRules(keystore.Home{Path: home, ChosenBy: "test"}, false, v.live.reload); !kmserr.Is(err, kmserr.StoreAccess) {
			t.Errorf("got %v", err)
		}
	})
}

// Where nothing is decided, what was read is gone by for a second: keys status asks about every key.
func TestReadOnceASecondToTell(t *testing.T) {
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	v := opened(t, w.home.Path)
	read, count := v.live.reload, 0
	v.live.reload = func() (policy.Policy, fs.FileInfo, error) { count++; return read() }
	verify := func() { must(v.Verify(t.Context(), good(arnText))) }
	tell := func() { must(v.Outlook(t.Context(), arnText)); v.ExactRegion() }
	for i, step := range []struct {
		ask  func()
		want int
	}{{tell, 1}, {tell, 1}, {verify, 2}, {verify, 3}, {tell, 3}, {verify, 4}, {func() { v.live.read = v.live.read.Add(-readAge); tell() }, 5}, {tell, 5}, {verify, 6}} {
		if step.ask(); count != step.want {
			t.Errorf("after step %d the policies were read %d times, expected %d", i, count, step.want)
		}
	}
}

// Why there is no verifier is what the home's opening says.
func TestOpenRefused(t *testing.T) {
	w := newWorld(t)
	none := filepath.Join(w.home.Path, "none")
	for home, c := range map[string]struct {
		name kmserr.Name
		says string
	}{
		none:       {kmserr.StoreAccess, "the key store " + none + " (test) is not there"},
		"relative": {kmserr.Validation, `"relative"`},
	} {
		v, err := Open(Options{Home: &home, HomeOption: "test"})
		if v != nil {
			t.Errorf("%s: a verifier is given beside %v", home, err)
		}
		refused(t, err, c.name, c.says)
	}
}

// What a batch or a digest was asked is the one reading of Open too.
func TestOneReadingOfOpenForAll(t *testing.T) {
	for name, ask := range map[string]func(*testing.T, *Verifier){
		"batch": func(t *testing.T, v *Verifier) {
			for range v.VerifyBatch(t.Context(), func(yield func(Question) bool) { yield(Ask(good(arnText))) }, BatchOptions{}) {
			}
		},
		"digest": func(t *testing.T, v *Verifier) {
			must(v.Digest(t.Context(), DigestRequest{KeyID: arnText, Message: strings.NewReader("m")}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
			v := must(Open(Options{Home: &w.home.Path, HomeOption: "test"}))
			defer v.Close()
			if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(`{"version":"1","allowList":true,"log":{"mode":"off"}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			ask(t, v)
			if _, err := v.Verify(t.Context(), good(arnText)); !kmserr.Is(err, kmserr.KeyNotAllowed) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A program that runs for weeks keeps no folder open for each time that its keys were renewed: only those that are read still.
func TestReplacedStoresAreClosed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no folder that is open: a folder that is exchanged is not tested")
	}
	key := record(t, arnText, signerOf(kmskey.ECCNISTP256))
	one, other := newWorld(t, key), newWorld(t, key)
	v := opened(t, one.home.Path)
	replace := func() {
		aside := one.home.Path + ".aside"
		for _, move := range [][2]string{{one.home.Path, aside}, {other.home.Path, one.home.Path}, {aside, other.home.Path}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
		demand(t, v, "", "replaced")
	}
	reads := func(store *keystore.Store) bool { // it may refuse, as another folder is in its place
		_, err := store.Resolve(must(kmskey.ParseRef(arnText)), keystore.ResolveOptions{})
		return err == nil || !strings.Contains(err.Error(), "closed")
	}
	demand(t, v, "", "before")
	asked := v.Store()
	replace()
	// Every way to ask, and one that is under way.
	_, _, _ = v.Policy(), v.ExactRegion(), must(v.ExplainPolicy(arnText))
	must(v.Digest(t.Context(), DigestRequest{KeyID: arnText, Message: strings.NewReader("m")}))
	for a := range v.VerifyBatch(t.Context(), func(yield func(Question) bool) { yield(Ask(good(arnText))) }, BatchOptions{}) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	underWay := v.live.cfg.Store
	req := good(arnText)
	message := req.Message
	req.Message = readerFunc(func(p []byte) (int, error) {
		if v.live.cfg.Store == underWay {
			replace()
			if replace(); !reads(underWay) {
				t.Error("a store was closed while it was read")
			}
		}
		return message.Read(p)
	})
	if _, err := v.Verify(t.Context(), req); err != nil {
		t.Error(err)
	}
	var all []*keystore.Store
	for range 20 {
		all = append(all, v.live.cfg.Store)
		replace()
	}
	for i, store := range append(all, underWay) {
		if reads(store) {
			t.Errorf("store %d is open still", i)
		}
	}
	if len(v.live.replaced) != 1 || !reads(asked) || !reads(v.live.cfg.Store) {
		t.Errorf("%d replaced stores are kept, expected the one that was asked for and may be read", len(v.live.replaced))
	}
	if err := v.Close(); err != nil || reads(asked) {
		t.Errorf("Close: %v; the store that was asked for is open: %t", err, reads(asked))
	}
}

// TestReplacedByMany: what several goroutines decide by is not closed under them.
func TestReplacedByMany(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no folder that is open: a folder that is exchanged is not tested")
	}
	key := record(t, arnText, signerOf(kmskey.ECCNISTP256))
	one, other := newWorld(t, key), newWorld(t, key)
	v := opened(t, one.home.Path)
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				// Between two renames there is no home, and that alone may be the reason of a refusal.
				if _, err := v.Verify(context.Background(), good(arnText)); err != nil && (!kmserr.Is(err, kmserr.StoreAccess) || strings.Contains(err.Error(), "closed")) {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		aside := one.home.Path + ".aside"
		for _, move := range [][2]string{{one.home.Path, aside}, {other.home.Path, one.home.Path}, {aside, other.home.Path}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	all.Wait()
	if n := len(v.live.replaced); n > 8 {
		t.Errorf("%d replaced stores are open", n)
	}
}

// What others may write is refused as soon as the policy says strict.
func TestStrictnessIsReadAnew(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no groups' mode: a home that its group may write is not tested")
	}
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	keys := filepath.Join(w.home.Path, "keys")
	if err := os.Chmod(keys, 0o770); err != nil {
		t.Fatal(err)
	}
	v := opened(t, w.home.Path)
	demand(t, v, "", "a warning")
	if err := os.WriteFile(filepath.Join(w.home.Path, "policy.json"), []byte(`{"version":"1","store":{"permissions":"strict"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	demand(t, v, kmserr.StoreIntegrity, "strict")
}

func TestReadAnewByMany(t *testing.T) {
	w := newWorld(t, record(t, arnText, signerOf(kmskey.ECCNISTP256)))
	v := opened(t, w.home.Path)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if _, err := v.Verify(context.Background(), good(arnText)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// Encrypting and deriving go by what is in force now as well.
func TestOtherUsagesGoByWhatIsInForce(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			w := newWorld(t, record(t, arnText, op.s, op.usage))
			w.v = opened(t, w.home.Path)
			if _, _, err := op.ask(w, t.Context(), arnText, false); err != nil {
				t.Fatal(err)
			}
			policy := filepath.Join(w.home.Path, "policy.json")
			for text, want := range map[string]kmserr.Name{
				`{"version":"1","allowList":true,"log":{"mode":"off"}}`: kmserr.KeyNotAllowed,
				`{`: kmserr.PolicyInvalid,
			} {
				if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, _, err := op.ask(w, t.Context(), arnText, false); out != nil || !kmserr.Is(err, want) {
					t.Errorf("%s: got %d bytes, %v, expected %s", text, len(out), err, want)
				}
			}
		})
	}
}

// A verifier that was closed answers nothing any more, however long ago: it opens no store anew.
func TestClosedForGood(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	v := opened(t, w.home.Path)
	demand(t, v, "", "")
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		demand(t, v, kmserr.StoreAccess, "was closed")
		if _, err := v.Digest(t.Context(), DigestRequest{KeyID: arnA, Message: strings.NewReader("m")}); !kmserr.Is(err, kmserr.StoreAccess) {
			t.Errorf("a digest: %v", err)
		}
		for a := range v.VerifyBatch(t.Context(), func(yield func(Question) bool) { yield(Ask(good(arnA))) }, BatchOptions{}) {
			if !kmserr.Is(a.Err, kmserr.StoreAccess) {
				t.Errorf("a batch: %v", a.Err)
			}
		}
	}
}
