package verifier

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// machinePolicy puts a policy into another machine's folder for the test, which is the machine's then.
func machinePolicy(t *testing.T, text string) {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, policy.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	machineIs(t, folder)
}

func machineIs(t *testing.T, folder string) {
	usual := machineFolder
	t.Cleanup(func() { machineFolder = usual })
	machineFolder = func() string { return folder }
}

// A machine's policy that nobody can look for is not none: it could forbid everything.
func TestMachineWithoutAFolder(t *testing.T) {
	home := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256))).home.Path
	if v, err := Open(Options{Home: &home, HomeOption: "test"}); err != nil {
		t.Fatal(err)
	} else if err := v.Close(); err != nil {
		t.Error(err)
	}
	machineIs(t, "")
	v, err := Open(Options{Home: &home, HomeOption: "test"})
	refused(t, err, kmserr.PolicyInvalid, "does not say where this machine's policy would be")
	if v != nil {
		t.Error("a verifier beside the error")
	}
}

// Whoever opens the store and asks for no decision is held to the policy's strictness, and to the strictest where it cannot be
// told.
func TestStoreOptions(t *testing.T) {
	home := newWorld(t).home.Path
	for name, c := range map[string]struct {
		machine string
		strict  bool
		err     kmserr.Name
	}{
		"silent":     {`{"version":"1"}`, false, ""},
		"strict":     {`{"version":"1","store":{"permissions":"strict"}}`, true, ""},
		"unreadable": {`{`, true, kmserr.PolicyInvalid},
	} {
		machinePolicy(t, c.machine)
		for _, unsafe := range []bool{false, true} {
			got, err := StoreOptions(home, unsafe)
			if want := (keystore.Options{UnsafePermissions: unsafe, StrictPermissions: c.strict}); got != want || (err != nil) != (c.err != "") || err != nil && !kmserr.Is(err, c.err) {
				t.Errorf("%s, %t: %+v, %v", name, unsafe, got, err)
			}
		}
	}
}

// A refusal gets its line where the policy says, and in the default place where no policy can be read: that it is the policy
// which refuses everything must be in a log, too.
func TestLineOfARefusal(t *testing.T) {
	state, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "LocalAppData"} {
		t.Setenv(variable, state)
	}
	place, err := audit.DefaultPath()
	if err != nil {
		t.Fatal(err)
	}
	home, relative := newWorld(t).home.Path, "no/absolute/path"
	lines := 0
	for _, c := range []struct{ home, machine string }{{home, `{"version":"1"}`}, {home, "{"}, {relative, `{"version":"1"}`}, {relative, "{"}} {
		machinePolicy(t, c.machine)
		refusal := kmserr.New(kmserr.Validation, "the reason")
		if err := LogRefusal(t.Context(), Options{Home: &c.home, HomeOption: "test"}, audit.EventVerify, "alias/a", refusal); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		lines++
		if data, err := os.ReadFile(place); err != nil || strings.Count(string(data), "the reason") != lines {
			t.Errorf("%+v: the log holds %q, %v", c, data, err)
		}
	}
	// Where the home's policy cannot be read, the machine's still says where the line goes.
	if err := os.WriteFile(filepath.Join(home, policy.FileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(state, "elsewhere.jsonl")
	machinePolicy(t, `{"version":"1","log":{"path":`+string(must(json.Marshal(elsewhere)))+`}}`)
	if err := LogRefusal(t.Context(), Options{Home: &home, HomeOption: "test"}, audit.EventVerify, "alias/a", kmserr.New(kmserr.Validation, "the reason")); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(elsewhere); err != nil || strings.Count(string(data), "the reason") != 1 {
		t.Errorf("the machine's log holds %q, %v", data, err)
	}
	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "LocalAppData"} {
		t.Setenv(variable, "")
	}
	if err := openLog(policy.LogRules{}, false).Append(t.Context(), audit.Decision{}); err == nil || !strings.Contains(err.Error(), "there is no place for the log: the environment variable") {
		t.Errorf("a log without a place: %v", err)
	}
}

// Without a log nobody is told of a line that was written.
func TestExplainWithoutALog(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	var last Step
	w.v.cfg.Log, w.v.cfg.Explain = nil, func(s Step) { last = s }
	if _, err := w.v.Verify(t.Context(), good(arnA)); err != nil {
		t.Fatal(err)
	}
	if last != (Step{Name: "log", Found: "off"}) {
		t.Errorf("the last step: %+v", last)
	}
}

// Nothing waits for a refusal by state where no rule was asked.
func TestNothingWaitsWithoutRules(t *testing.T) {
	d := &decision{}
	if d.mayWait(KeyRequest{SeparateState: true}) || d.mayWait(KeyRequest{RevocationSkipped: true}) {
		t.Error("a refusal without rules may wait")
	}
	d.rules = []policy.Rules{{}}
	if !d.mayWait(KeyRequest{SeparateState: true}) || d.mayWait(KeyRequest{RevocationSkipped: true}) {
		t.Error("a refusal by state is not told apart")
	}
}

// What makes no sense is refused as that, before any rule of the policy is asked about it.
func TestSenselessOptions(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.rules(policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Raw}})
	req := good(arnA)
	req.MessageType = "DIGESTED"
	_, err := w.verify(t, req)
	refused(t, err, kmserr.Validation, `the message type "DIGESTED" is none of KMS's`)
	req = good(arnA)
	req.ENTL = kmskey.ENTLAWSJavaHelper
	_, err = w.verify(t, req)
	refused(t, err, kmserr.Validation, "name an SM2 key")
}

// A policy that cannot tell refuses, whatever it returns beside its error, and when it is asked again without an alias that is
// known by something old.
func TestPolicyThatCannotTell(t *testing.T) {
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256), seen("2026-11-24T11:00:00Z"), state(kmskey.StateEnabled), func(r *kmskey.Record) { r.Snapshot.StateTime = r.Snapshot.Time })
	w := newWorld(t, key)
	w.alias(t, key, at("2025-01-01T00:00:00Z"))
	w.policy.aliases = []kmskey.AliasARN{must1(must(kmskey.ParseRef(aliasA)).AliasARN())}
	rules := policy.Rules{MaxSnapshotAge: 24 * time.Hour}
	for name, fails := range map[string]func(policy.Subject) bool{
		"never":                 func(policy.Subject) bool { return false },
		"at once":               func(policy.Subject) bool { return true },
		"asked without aliases": func(s policy.Subject) bool { return len(s.Aliases) == 0 },
	} {
		w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
			if fails(s) {
				return rules, io.ErrUnexpectedEOF
			}
			return rules, nil
		}
		if _, err := w.verify(t, good(arnA)); name == "never" && err != nil || name != "never" && !kmserr.Is(err, kmserr.PolicyInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.policy.aliases = nil
	w.policy.rules = func(policy.Subject) (policy.Rules, error) { return rules, io.ErrUnexpectedEOF }
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.PolicyInvalid, "the policy cannot tell about "+arnA)
}

// That nobody asks who could write is a caller's wish, which a strict policy does not grant, and which is in the answer.
func TestPermissionsThatAreNotAsked(t *testing.T) {
	strict, lax := &fakePolicy{store: policy.StoreRules{StrictPermissions: true}}, &fakePolicy{}
	for _, c := range []struct {
		rules        policy.Policy
		wished, want bool
	}{{lax, false, false}, {lax, true, true}, {strict, false, false}, {strict, true, false}} {
		if got := unsafeUnder(c.rules, c.wished); got != c.want {
			t.Errorf("strict: %t, wished: %t: %t", c.rules == strict, c.wished, got)
		}
	}
	home := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256))).home.Path
	for _, wished := range []bool{false, true} {
		v, err := Open(Options{Home: &home, HomeOption: "test", UnsafeStorePermissions: wished})
		if err != nil {
			t.Fatal(err)
		}
		verified, err := v.Verify(t.Context(), good(arnA))
		if err != nil {
			t.Fatal(err)
		}
		d := verified.Decision()
		if said := d.Options[optionUnsafeStore] == "true"; said != wished || strings.Contains(strings.Join(d.Warnings, "|"), "who else could write the key store") != wished {
			t.Errorf("wished: %t: the options say %v, the warnings %q", wished, d.Options, d.Warnings)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A log that everyone can write is taken where nobody asks, until the policy becomes strict.
func TestLogIsOpenedAnewUnderStrictness(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes: that a log which everyone can write is refused once the policy is strict is not tested")
	}
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	say := func(more string) {
		text := `{"version":"1","log":{"mode":"required","path":` + string(must(json.Marshal(path))) + `}` + more + `}`
		if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("")
	v, err := Open(Options{Home: &w.home.Path, HomeOption: "test", UnsafeStorePermissions: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	if _, err := v.Verify(t.Context(), good(arnA)); err != nil {
		t.Error(err)
	}
	say(`,"store":{"permissions":"strict"}`)
	_, err = v.Verify(t.Context(), good(arnA))
	refused(t, err, kmserr.AuditUnavailable, path)
}

// What a front end refuses by itself has its line, and stands unless something comes before it.
func TestRefuse(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	refusal := kmserr.New(kmserr.Validation, "the reason").WithHint("Do so.")
	for name, c := range map[string]struct {
		ctx     context.Context
		refusal error
		prepare func(*world)
		want    kmserr.Name
		holds   string
		line    bool
	}{
		"as it is":                 {refusal: refusal, want: kmserr.Validation, holds: "the reason | Do so.", line: true},
		"no context":               {ctx: nil, refusal: refusal, want: kmserr.Validation, line: true},
		"no error of ours":         {refusal: io.ErrUnexpectedEOF, want: kmserr.Internal, holds: "unexpected EOF", line: true},
		"no reason":                {want: kmserr.Internal, holds: "without a reason", line: true},
		"a nil pointer":            {refusal: (*kmserr.Error)(nil), want: kmserr.Internal, line: true},
		"the time is over":         {ctx: over, refusal: refusal, want: kmserr.DeadlineExceeded, line: true},
		"no line, none required":   {refusal: refusal, prepare: func(w *world) { w.log.err = errors.New("disk full") }, want: kmserr.Validation, holds: "Do so. Besides, the decision was not logged: disk full."},
		"no line where one must":   {refusal: refusal, prepare: func(w *world) { w.log.required, w.log.err = true, errors.New("disk full") }, want: kmserr.AuditUnavailable, holds: "disk full"},
		"a log that panics":        {refusal: refusal, prepare: func(w *world) { w.log.panics = true }, want: kmserr.Validation, holds: "not logged"},
		"a verifier without a log": {refusal: refusal, prepare: func(w *world) { w.v.cfg.Log = nil }, want: kmserr.Validation, holds: "the reason"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
			if c.prepare != nil {
				c.prepare(w)
			}
			err := w.v.Refuse(c.ctx, audit.EventAuthorizeKey, aliasA, c.refusal)
			if _, ours := err.(*kmserr.Error); !ours {
				t.Fatalf("got %T %v", err, err)
			}
			refused(t, err, c.want)
			if e := kmserr.As(err); !strings.Contains(e.Fact+" | "+e.Hint, c.holds) || e.KeyARN != aliasA {
				t.Errorf("%q, of %q, %q", e.Fact, e.KeyARN, e.Hint)
			}
			if !c.line {
				return
			}
			if len(w.log.lines) != 1 {
				t.Fatalf("%d lines: %+v", len(w.log.lines), w.log.lines)
			}
			line := w.log.lines[0]
			if line.Verified || line.EventName != audit.EventAuthorizeKey || line.Asked != aliasA || line.ErrorCode != string(c.want) ||
				line.ErrorMessage != kmserr.As(err).Fact || line.FrontEnd.Name != "test" || line.Home != w.home.Path || line.EventTime.IsZero() {
				t.Errorf("the line is %+v", line)
			}
		})
	}
	if refusal.KeyARN != "" || refusal.Hint != "Do so." {
		t.Errorf("the caller's error was changed: %+v", refusal)
	}
	var none *Verifier
	for _, v := range []*Verifier{none, {}} {
		refused(t, v.Refuse(t.Context(), audit.EventVerify, "alias/a", refusal), kmserr.Internal, "not made by New or Open")
	}
}

func TestHowOld(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		age  time.Duration
		want string
	}{
		{15*time.Minute + 1, "16m"}, {time.Hour, "1h"}, {time.Hour + 1, "1h1m"}, {day, "1d"}, {day + time.Second, "24h1m"},
		{2*day - time.Second, "2d"}, {2 * day, "2d"}, {2*day + time.Second, "2d1h"}, {30*day + 1, "30d1h"}, {33*day + 2*time.Hour, "33d2h"},
		{33*day - time.Minute, "33d"}, {math.MaxInt64, "106751d23h"},
	} {
		if got := howOld(c.age); got != c.want {
			t.Errorf("%s is told as %s, expected %s", c.age, got, c.want)
		}
	}
}

// A refusal by the policy names the rules that it may be by; one by anything else does not.
func TestRefusalNamesItsRules(t *testing.T) {
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StateEnabled), seen("2026-11-23T12:00:00Z"))
	disabled := record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StateDisabled))
	const rule, inForce = `restriction "r" (/etc/p.json:3)`, "In force for the key: "
	for name, c := range map[string]struct {
		key   *kmskey.Key
		rules policy.Rules
		name  kmserr.Name
		says  string // by whose rules, and what; empty: by none
	}{
		"algorithm":    {key, policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.SM2DSA}, Applied: []string{rule}}, kmserr.AlgorithmNotAllowed, inForce + rule + "."},
		"message type": {key, policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}, Applied: []string{rule, "b"}}, kmserr.AlgorithmNotAllowed, inForce + rule + "; b."},
		"time":         {key, policy.Rules{NotAfter: time.Unix(1, 0), Applied: []string{"1", "2", "3", "4", "5"}}, kmserr.OutsideValidity, inForce + "1; 2; 3; 4; 5."},
		"age":          {key, policy.Rules{MaxSnapshotAge: time.Hour, Applied: []string{"1", "2", "3", "4", "5", "6", "7"}}, kmserr.SnapshotExpired, inForce + "1; 2; 3; 4; 5; and 2 more."},
		"state":        {key, policy.Rules{KeyStates: []kmskey.KeyState{kmskey.StateDisabled}, Applied: []string{rule}}, kmserr.KMSInvalidState, inForce + rule + "."},
		"no state":     {record(t, arnA, signerOf(kmskey.ECCNISTP256)), policy.Rules{RequireKnownState: true, Applied: []string{rule}}, kmserr.KMSInvalidState, inForce + rule + "."},
		"past":         {record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StateEnabled), validTo("2026-11-24T11:59:59Z")), policy.Rules{Applied: []string{rule}}, kmserr.KMSInvalidState, ""},
		"KMS's state":  {disabled, policy.Rules{Applied: []string{rule}}, kmserr.Disabled, ""},
		"KMS's other":  {record(t, arnA, signerOf(kmskey.ECCNISTP256), state(kmskey.StatePendingDeletion)), policy.Rules{Applied: []string{rule}}, kmserr.KMSInvalidState, ""},
		"without one":  {key, policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.SM2DSA}}, kmserr.AlgorithmNotAllowed, ""},
	} {
		w := newWorld(t, c.key)
		w.rules(c.rules)
		_, err := w.verify(t, good(arnA))
		refused(t, err, c.name)
		if hint := kmserr.As(err).Hint; !strings.HasSuffix(hint, c.says) || c.says == "" && strings.Contains(hint, inForce) {
			t.Errorf("%s: the hint is %q", name, hint)
		}
	}
	w := newWorld(t, key)
	w.rules(policy.Rules{KeyStates: []kmskey.KeyState{kmskey.StateDisabled}})
	_, err := w.verify(t, good(arnA))
	refused(t, err, kmserr.KMSInvalidState, "is Enabled, and the policy allows the states: Disabled", "change the policy")
}
