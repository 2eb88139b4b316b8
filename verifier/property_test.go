package verifier

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// The policies of this test, written as people write them; docs/policy.md.
type (
	policyFile struct {
		Version      string            `json:"version"`
		AllowList    bool              `json:"allowList"`
		Store        map[string]string `json:"store,omitempty"`
		Grants       []policyGrant     `json:"grants,omitempty"`
		Restrictions []policyOnly      `json:"restrictions,omitempty"`
	}
	policyGrant struct {
		Name      string            `json:"name"`
		Keys      []string          `json:"keys"`
		Verify    bool              `json:"verify,omitempty"`
		KeyStates []kmskey.KeyState `json:"keyStates,omitempty"`
	}
	policyOnly struct {
		Name              string                    `json:"name"`
		Keys              []string                  `json:"keys,omitempty"`
		SigningAlgorithms []kmskey.SigningAlgorithm `json:"signingAlgorithms,omitempty"`
		MessageTypes      []kmskey.MessageType      `json:"messageTypes,omitempty"`
		KeyStates         []kmskey.KeyState         `json:"keyStates,omitempty"`
		RequireKnownState bool                      `json:"requireKnownState,omitempty"`
		MaxSnapshotAge    string                    `json:"maxSnapshotAge,omitempty"`
		NotAfter          string                    `json:"notAfter,omitempty"`
		Sources           []string                  `json:"sources,omitempty"`
	}
)

// concerns reports whether the restriction is about the key, by the words of docs/policy.md: "*" stands for a whole field.
func (r policyOnly) concerns(arn string) bool {
	got := strings.Split(arn, ":")
	return r.Keys == nil || slices.ContainsFunc(r.Keys, func(key string) bool {
		for i, want := range strings.Split(key, ":") {
			if want != got[i] && want != "*" && want != "key/*" {
				return false
			}
		}
		return true
	})
}

// chance makes policies and records of few values, so that they meet often.
type chance struct{ *rand.Rand }

func (c chance) one(in int) bool { return c.IntN(in) == 0 }

func some[T any](c chance, from ...T) []T {
	list := slices.Clone(from)
	c.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+c.IntN(len(list))]
}

func (c chance) grant(keys []string) policyGrant {
	g := policyGrant{Keys: some(c, keys...), Verify: !c.one(4)}
	if c.one(2) || !g.Verify {
		g.KeyStates = some(c, kmskey.StateDisabled, kmskey.StatePendingDeletion)
	}
	return g
}

func (c chance) restriction(keys []string) policyOnly {
	var r policyOnly
	if !c.one(3) {
		r.Keys = some(c, append([]string{"arn:aws:kms:*:111122223333:key/*", "arn:aws:kms:eu-west-1:*:key/*", "arn:aws:kms:us-west-2:*:key/*"}, keys...)...)[:1]
	}
	switch c.IntN(8) {
	case 0:
		r.SigningAlgorithms = some(c, kmskey.ECDSASHA256, kmskey.SM2DSA)
	case 1:
		r.MessageTypes = some(c, kmskey.Raw, kmskey.Digest)
	case 2, 3:
		r.KeyStates = some(c, kmskey.StateEnabled, kmskey.StateUpdating, kmskey.StateDisabled, kmskey.StatePendingDeletion)
	case 4:
		r.RequireKnownState = true
	case 5:
		r.MaxSnapshotAge = some(c, "2h", "48h", "240h")[0]
	case 6:
		r.NotAfter = some(c, "2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z")[0]
	case 7:
		r.Sources = some(c, kmskey.SourceKMS, kmskey.SourceFile)
	}
	return r
}

func (c chance) file(keys []string) policyFile {
	f := policyFile{Version: "1", AllowList: c.one(3)}
	if c.one(8) {
		f.Store = map[string]string{"multiRegion": "exact"}
	}
	for range 1 + c.IntN(3) {
		f.Grants = append(f.Grants, c.grant(keys))
	}
	for range c.IntN(3) {
		f.Restrictions = append(f.Restrictions, c.restriction(keys))
	}
	return f
}

// stricter changes a policy in one way that must not widen it, and says how.
func (c chance) stricter(f policyFile, keys []string) (policyFile, string) {
	switch c.IntN(5) {
	case 0:
		f.AllowList = true
		return f, "switched the list on"
	case 1:
		f.Store = map[string]string{"multiRegion": "exact"}
		return f, "switched the fallback off"
	case 2:
		i := c.IntN(len(f.Grants))
		f.Grants = slices.Delete(slices.Clone(f.Grants), i, i+1)
		return f, "removed a grant"
	}
	f.Restrictions = append(slices.Clone(f.Restrictions), c.restriction(keys))
	return f, "added a restriction"
}

// load writes the policies, of two the first into the machine's folder, and reads them as a program does.
func load(t *testing.T, files []policyFile) policy.Policy {
	t.Helper()
	dir := must(filepath.EvalSymlinks(t.TempDir()))
	o := policy.Options{Home: filepath.Join(dir, "home"), MachineFolder: filepath.Join(dir, "machine")}
	folders := []string{o.MachineFolder, o.Home}
	for i, f := range files {
		for n := range f.Grants {
			f.Grants[n].Name = fmt.Sprint("g", n)
		}
		for n := range f.Restrictions {
			f.Restrictions[n].Name = fmt.Sprint("r", n)
		}
		folder := folders[len(folders)-len(files)+i]
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, policy.FileName), must(json.Marshal(f)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := policy.LoadWith(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// propertyQuestion is one that a front end asks about a multi-Region key.
type propertyQuestion struct {
	name  string
	asked string
	// used are the ARNs whose records answer: two replicas', or that of the ARN itself.
	used []string
	// signs says that it is about a signature, whose algorithm and message type the policy restricts; unsafe that the key's
	// state was said not to matter.
	signs, unsafe bool
	ask           func(*world) error
}

// whyNot says which rule of which file forbids a yes, read from the files as they are written; "" if none does.
func (q propertyQuestion) whyNot(now time.Time, files []policyFile, records map[string]kmskey.Record) string {
	took := append([]string{q.asked}, q.used...)
	for _, f := range files {
		if f.Store["multiRegion"] == "exact" && !slices.Contains(q.used, q.asked) {
			return "the fallback is off"
		}
		for _, arn := range took {
			named := func(g policyGrant) bool { return g.Verify && slices.Contains(g.Keys, arn) }
			if f.AllowList && !slices.ContainsFunc(f.Grants, named) {
				return arn + " is not on the list"
			}
		}
	}
	for _, used := range q.used {
		r := records[used]
		state := kmskey.StateUnknown
		if r.KeyMetadata != nil {
			state = r.KeyMetadata.KeyState
		}
		for _, f := range files {
			for _, arn := range took {
				granted := func(g policyGrant) bool {
					return q.signs && slices.Contains(g.Keys, arn) && slices.Contains(g.KeyStates, state)
				}
				if state != kmskey.StateUnknown && !state.Verifies() && !q.unsafe && !slices.ContainsFunc(f.Grants, granted) {
					return used + " is " + state.String()
				}
				for _, only := range f.Restrictions {
					if !only.concerns(arn) {
						continue
					}
					age, _ := time.ParseDuration(only.MaxSnapshotAge)
					switch {
					case q.signs && only.SigningAlgorithms != nil && !slices.Contains(only.SigningAlgorithms, kmskey.ECDSASHA256),
						q.signs && only.MessageTypes != nil && !slices.Contains(only.MessageTypes, kmskey.Raw),
						only.KeyStates != nil && !slices.Contains(only.KeyStates, state),
						only.RequireKnownState && state == kmskey.StateUnknown,
						age != 0 && now.Sub(r.Snapshot.Time.Time) > age,
						age != 0 && state != kmskey.StateUnknown && now.Sub(r.Snapshot.StateTime.Time) > age,
						only.NotAfter != "" && now.After(at(only.NotAfter).Time),
						only.Sources != nil && !slices.Contains(only.Sources, r.Snapshot.Source):
						return fmt.Sprintf("%+v is about %s, and %s has %+v", only, arn, used, r)
					}
				}
			}
		}
	}
	return ""
}

// TestStricterNeverWidensFallbackAndOtherUsages holds what a policy stands on where several records answer for one key and where
// no signature is asked about: a stricter policy turns no refusal into a yes, and a yes is one by every rule of every file for
// the ARN asked for and for every replica that answered, as the files are written.
func TestStricterNeverWidensFallbackAndOtherUsages(t *testing.T) {
	const worlds, rounds = 10, 16
	c := chance{rand.New(rand.NewPCG(5, 6))}
	other := func(arn, id string) string { return strings.Replace(arn, "mrk-1", "mrk-"+id, 1) }
	ops := operations()
	var questions []propertyQuestion
	var keys []string
	for _, arn := range []string{mrkWest, mrkEast} {
		used := []string{arn}
		if arn == mrkWest {
			used = []string{mrkEast, mrkEU}
		}
		questions = append(questions,
			propertyQuestion{name: "Verify", asked: arn, used: used, signs: true, ask: func(w *world) error {
				_, err := w.v.Verify(t.Context(), good(arn))
				return err
			}})
		keys = append(keys, arn)
		for i, op := range ops {
			id := fmt.Sprint(2 + i)
			asked := other(arn, id)
			keys = append(keys, asked)
			var answering []string
			for _, u := range used {
				answering = append(answering, other(u, id))
			}
			for _, unsafe := range []bool{false, true} {
				questions = append(questions, propertyQuestion{name: fmt.Sprint(op.name, " unsafe:", unsafe), asked: asked, used: answering, unsafe: unsafe, ask: func(w *world) error {
					_, _, err := op.ask(w, t.Context(), asked, unsafe)
					return err
				}})
			}
		}
	}
	yes, narrowed := map[string]int{}, map[string]int{}
	for range worlds {
		var stored []*kmskey.Key
		records := map[string]kmskey.Record{}
		for _, arn := range []string{mrkEast, mrkEU} {
			for i := range 1 + len(ops) {
				edits := []edit{source(some(c, kmskey.SourceKMS, kmskey.SourceFile)[0]), seen(some(c, "2026-11-24T11:00:00Z", "2026-11-20T11:00:00Z")[0])}
				if s := some(c, kmskey.StateEnabled, kmskey.StateEnabled, kmskey.StateUpdating, kmskey.StateDisabled, kmskey.StatePendingDeletion, kmskey.StateUnknown)[0]; s != kmskey.StateUnknown {
					edits = append(edits, state(s))
				}
				name, s := arn, signerOf(kmskey.ECCNISTP256)
				if i > 0 {
					name, s, edits = other(arn, fmt.Sprint(1+i)), ops[i-1].s, append(edits, ops[i-1].usage)
				}
				key := record(t, name, s, edits...)
				stored, records[name] = append(stored, key), key.Record()
			}
		}
		w := newWorld(t, stored...)
		for range rounds {
			files := []policyFile{c.file(keys), c.file(keys)}[:1+c.IntN(2)]
			after, how := slices.Clone(files), "added a policy of the machine"
			if len(files) == 1 && c.one(6) {
				after = []policyFile{c.file(keys), files[0]}
			} else {
				i := c.IntN(len(files))
				after[i], how = c.stricter(files[i], keys)
			}
			before, then := load(t, files), load(t, after)
			for _, q := range questions {
				w.v.cfg.Policy = before
				first := q.ask(w)
				w.v.cfg.Policy = then
				second := q.ask(w)
				tell := func(what string, args ...any) {
					t.Fatalf("%s %s: %s\nbefore: %s: %v\nafter:  %s: %v", q.name, q.asked, fmt.Sprintf(what, args...), must(json.Marshal(files)), first, must(json.Marshal(after)), second)
				}
				if first != nil && second == nil {
					tell("%s, and that turned a refusal into a yes", how)
				}
				for _, is := range []struct {
					err   error
					files []policyFile
				}{{first, files}, {second, after}} {
					if why := q.whyNot(w.now, is.files, records); why != "" && is.err == nil {
						tell("a yes although %s", why)
					}
				}
				if first == nil {
					yes[q.name+q.asked]++
				}
				if first == nil && second != nil {
					narrowed[q.name+q.asked]++
				}
			}
		}
	}
	for _, q := range questions {
		if name := q.name + q.asked; yes[name] < 10 || narrowed[name] < 2 {
			t.Errorf("%s %s: %d times yes, of which %d were narrowed: the test looks at too little", q.name, q.asked, yes[name], narrowed[name])
		}
	}
}
