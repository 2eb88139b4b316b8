package verifier

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
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
		// History and ForNotation: keys that an alias meant before.
		History     string `json:"aliasHistory,omitempty"`
		ForNotation bool   `json:"aliasHistoryForNotation,omitempty"`
		ENTL        string `json:"sm2Entl,omitempty"`
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
type chance struct {
	*rand.Rand
	algorithms []kmskey.SigningAlgorithm // that restrictions allow
}

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
		r.SigningAlgorithms = some(c, c.algorithms...)
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
	p, err := policy.Load(o)
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
	// algorithm and messageType are the signature's, where it is about one.
	algorithm   kmskey.SigningAlgorithm
	messageType kmskey.MessageType
	ask         func(*world) error
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
					case q.signs && only.SigningAlgorithms != nil && !slices.Contains(only.SigningAlgorithms, q.algorithm),
						q.signs && only.MessageTypes != nil && !slices.Contains(only.MessageTypes, q.messageType),
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
	c := chance{rand.New(rand.NewPCG(5, 6)), []kmskey.SigningAlgorithm{kmskey.ECDSASHA256, kmskey.SM2DSA}}
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
			propertyQuestion{name: "Verify", asked: arn, used: used, signs: true, algorithm: kmskey.ECDSASHA256, messageType: kmskey.Raw, ask: func(w *world) error {
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

// rotation is an alias that meant the key arnThen and means arnNow.
type rotation struct{ then, now kmskey.KeySpec }

// usual is the algorithm that the questions about a key of that spec name.
func usual(spec kmskey.KeySpec) kmskey.SigningAlgorithm {
	if spec == kmskey.RSA2048 {
		return kmskey.RSASSAPKCS1SHA256
	}
	return spec.SigningAlgorithms()[0]
}

// questions asks by alias about a signature of each of the two keys, in every way that fits one of them or both.
func (r rotation) questions() (all []historyQuestion) {
	for arn, spec := range map[string]kmskey.KeySpec{arnThen: r.then, arnNow: r.now} {
		s, message := signerOf(spec), []byte("signed before or after")
		all = append(all, historyQuestion{name: "AuthorizeKey", of: arn, notation: true, ask: func(w *world) (string, kmskey.SigningAlgorithm, error) {
			a, err := w.v.AuthorizeKey(context.Background(), KeyRequest{KeyID: aliasA, PublicKey: s.der})
			return a.Decision().KeyARN, "", err
		}})
		for _, algorithm := range []kmskey.SigningAlgorithm{"", usual(r.then), usual(r.now)} {
			for _, form := range []string{"message", "digest", "ID"} {
				req := Request{KeyID: aliasA, SigningAlgorithm: algorithm, Signature: s.sign(usual(spec), message)}
				input := message
				switch {
				case form == "digest" && spec != kmskey.SM2:
					req.MessageType, input = kmskey.Digest, digestOf(usual(spec), message)
				case form == "ID" && r.then == kmskey.SM2:
					req.DistinguishingID = must(kmskey.ParseDistinguishingID("somebody@example.com"))
					req.Signature = s.sign(usual(spec), withID("somebody@example.com", string(message)))
				case form != "message":
					continue
				}
				name := fmt.Sprintf("%s with the algorithm %q", form, algorithm)
				all = append(all, historyQuestion{name: name, of: arn, messageType: cmp.Or(req.MessageType, kmskey.Raw), ask: func(w *world) (string, kmskey.SigningAlgorithm, error) {
					req := req
					req.Message = bytes.NewReader(input)
					verified, err := w.v.Verify(context.Background(), req)
					return verified.Decision().KeyARN, kmskey.SigningAlgorithm(verified.Decision().SigningAlgorithm), err
				}})
			}
		}
	}
	slices.SortFunc(all, func(a, b historyQuestion) int { return cmp.Compare(a.name+a.of, b.name+b.of) })
	return all
}

// historyQuestion is one about a signature of the key of, asked by the alias.
type historyQuestion struct {
	name, of    string
	notation    bool
	messageType kmskey.MessageType
	// ask returns the key that answered, and its algorithm.
	ask func(*world) (string, kmskey.SigningAlgorithm, error)
}

// whyNot says which rule of which file forbids the yes of that key, "" if none does.
func (q historyQuestion) whyNot(now time.Time, files []policyFile, records map[string]kmskey.Record, answered string, algorithm kmskey.SigningAlgorithm) string {
	if answered != q.of {
		return answered + " did not sign that"
	}
	as := propertyQuestion{asked: answered, used: []string{answered}, signs: !q.notation, algorithm: algorithm, messageType: q.messageType}
	var read []policyFile
	for _, f := range files {
		gives := func(g policyGrant) bool {
			return (slices.Contains(g.Keys, aliasA) || slices.Contains(g.Keys, arnThen)) && g.History != "" && (g.ForNotation || !q.notation)
		}
		if answered == arnThen && !slices.ContainsFunc(f.Grants, gives) {
			return "no grant lets the alias stand for what it meant"
		}
		f.Grants = slices.Clone(f.Grants)
		for i, g := range f.Grants {
			if answered == arnNow && slices.Contains(g.Keys, aliasA) { // what it means now, and nothing else, has what else the alias is granted
				f.Grants[i].Keys = append(slices.Clone(g.Keys), arnNow)
			}
		}
		read = append(read, f)
	}
	if q.notation {
		as.signs = true // the states that a grant adds serve an identity too; algorithms and types are looked at by the set
		for i := range read {
			read[i].Restrictions = slices.Clone(read[i].Restrictions)
			for j := range read[i].Restrictions {
				read[i].Restrictions[j].SigningAlgorithms, read[i].Restrictions[j].MessageTypes = nil, nil
			}
		}
	}
	return as.whyNot(now, read, records)
}

// TestStricterNeverWidensHistory holds the same where an alias may stand for a key of another spec that it meant before: what
// fits the one key fits the other one not, so that each refusal of the first must lead on to the second.
func TestStricterNeverWidensHistory(t *testing.T) {
	const rounds = 60
	c := chance{rand.New(rand.NewPCG(7, 8)), []kmskey.SigningAlgorithm{kmskey.ECDSASHA256, kmskey.SM2DSA, kmskey.RSASSAPKCS1SHA256}}
	keys := []string{arnThen, arnNow, aliasA}
	grant := func() policyGrant {
		g := c.grant(keys)
		if !c.one(3) {
			g.History, g.ForNotation = "any", c.one(2)
		}
		return g
	}
	yes, narrowed := map[string]int{}, map[string]int{}
	for _, r := range []rotation{{kmskey.ECCNISTP256, kmskey.RSA2048}, {kmskey.RSA2048, kmskey.ECCNISTP256}, {kmskey.SM2, kmskey.RSA2048}, {kmskey.ECCNISTP384, kmskey.ECCNISTP256}} {
		w, records := r.world(t, c)
		questions := r.questions()
		for range rounds {
			files := []policyFile{c.file(keys[:2]), c.file(keys[:2])}[:1+c.IntN(2)]
			for i := range files {
				files[i].Grants = append(files[i].Grants, grant(), grant())
			}
			after := slices.Clone(files)
			i := c.IntN(len(files))
			stricter, how := c.stricter(files[i], keys[:2])
			after[i] = stricter
			before, then := load(t, files), load(t, after)
			for _, q := range questions {
				w.v.cfg.Policy = before
				key, algorithm, first := q.ask(w)
				w.v.cfg.Policy = then
				keyThen, algorithmThen, second := q.ask(w)
				tell := func(what string, args ...any) {
					t.Fatalf("%+v, %s, signed by %s: %s\nbefore: %s: %v\nafter:  %s: %v", r, q.name, q.of, fmt.Sprintf(what, args...), must(json.Marshal(files)), first, must(json.Marshal(after)), second)
				}
				if first != nil && second == nil {
					tell("%s, and that turned a refusal into a yes", how)
				}
				for _, is := range []struct {
					err       error
					files     []policyFile
					key       string
					algorithm kmskey.SigningAlgorithm
				}{{first, files, key, algorithm}, {second, after, keyThen, algorithmThen}} {
					if is.err != nil {
						continue
					}
					if why := q.whyNot(w.now, is.files, records, is.key, is.algorithm); why != "" {
						tell("a yes although %s", why)
					}
				}
				if first == nil {
					yes[q.of]++
				}
				if first == nil && second != nil {
					narrowed[q.of]++
				}
			}
		}
	}
	for _, arn := range []string{arnThen, arnNow} {
		if yes[arn] < 50 || narrowed[arn] < 10 {
			t.Errorf("%s: %d times yes, of which %d were narrowed: the test looks at too little", arn, yes[arn], narrowed[arn])
		}
	}
}

// world is a store with both keys, and the alias that moved from the one to the other.
func (r rotation) world(t *testing.T, c chance) (*world, map[string]kmskey.Record) {
	records := map[string]kmskey.Record{}
	made := func(arn string, spec kmskey.KeySpec) *kmskey.Key {
		key := record(t, arn, signerOf(spec), source(some(c, kmskey.SourceKMS, kmskey.SourceFile)[0]), seen("2026-11-24T11:00:00Z"), state(some(c, kmskey.StateEnabled, kmskey.StateDisabled)[0]))
		records[arn] = key.Record()
		return key
	}
	then, now := made(arnThen, r.then), made(arnNow, r.now)
	w := newWorld(t, then, now)
	w.alias(t, then, at("2026-11-20T00:00:00Z"))
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Put(now, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: at("2026-11-24T11:00:00Z"), MoveAlias: true})
		return err
	})
	return w, records
}
