package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// randomPolicy makes policies of few values, so that they meet and contradict each other often.
type randomPolicy struct{ *rand.Rand }

func pick[T any](r randomPolicy, from ...T) T { return from[r.IntN(len(from))] }

// some returns a list of one or more different values.
func some(r randomPolicy, from ...string) []string {
	list := slices.Clone(from)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+r.IntN(len(list))]
}

func (r randomPolicy) one(in int) bool { return r.IntN(in) == 0 }

var truth = true

const (
	aliasMoved = "arn:aws:kms:us-east-1:111122223333:alias/moved"
	mrkEast    = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	mrkWest    = "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	mrkEurope  = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
)

func (r randomPolicy) grant(name string) grantSection {
	g := grantSection{Name: name, Keys: some(r, keyA, keyB, aliasA, aliasMoved, mrkEast, mrkWest, mrkEurope)}
	if r.one(2) {
		g.Verify = &truth
	}
	if r.one(3) {
		g.KeyStates = some(r, "Disabled", "Enabled", "PendingDeletion")
	}
	if r.one(3) {
		g.AliasHistory = pick(r, &historyWords[0])
		if r.one(2) {
			g.AliasHistoryForNotation = &truth
		}
	}
	if r.one(3) {
		g.SM2ENTL = &entlWords[0]
	}
	if r.one(2) {
		g.DistinguishingIDs = some(r, "X", "Y", "")
	}
	if g.Verify == nil && g.KeyStates == nil && g.AliasHistory == nil && g.SM2ENTL == nil && g.DistinguishingIDs == nil {
		g.Verify = &truth
	}
	return g
}

func (r randomPolicy) restriction(name string) restrictSection {
	s := restrictSection{Name: name}
	if r.one(2) {
		s.Keys = some(r, keyA, keyB, "arn:aws:kms:us-east-1:*:key/*", "arn:aws:kms:us-west-2:111122223333:key/*", "arn:aws:kms:*:111122223333:key/*")
	}
	text := func(from ...string) *string { return &from[r.IntN(len(from))] }
	for s.SigningAlgorithms == nil && s.MessageTypes == nil && s.KeyStates == nil && s.RequireKnownState == nil && s.MaxSnapshotAge == nil &&
		s.NotBefore == nil && s.NotAfter == nil && s.Sources == nil && s.DistinguishingID == nil {
		if r.one(5) {
			s.SigningAlgorithms = some(r, "ECDSA_SHA_256", "SM2DSA")
		}
		if r.one(5) {
			s.MessageTypes = some(r, "RAW", "DIGEST")
		}
		if r.one(5) {
			s.KeyStates = some(r, "Enabled", "Updating", "Disabled", "PendingDeletion")
		}
		if r.one(5) {
			s.RequireKnownState = &truth
		}
		if r.one(5) {
			s.MaxSnapshotAge = text("1h", "2d", "48h", "30d")
		}
		if r.one(5) {
			s.NotBefore = text("2026-01-01T00:00:00Z", "2026-12-01T00:00:00Z")
		}
		if r.one(5) && s.NotBefore == nil {
			s.NotAfter = text("2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z")
		}
		if r.one(5) {
			s.Sources = some(r, "kms", "file", "operator")
		}
		if r.one(4) {
			s.DistinguishingID = text("X", "Y", "")
		}
	}
	return s
}

func (r randomPolicy) document() document {
	d := document{Version: formatVersion}
	on := r.one(2)
	d.AllowList = &on
	if r.one(3) {
		d.Notation = &notationSection{WhenRevocationSkipped: pick(r, &skippedWords[0], &skippedWords[1], nil)}
	}
	if r.one(3) {
		d.Store = &storeSection{MultiRegion: pick(r, &multiRegionWords[0], &multiRegionWords[1]), Permissions: pick(r, &permissionWords[0], nil)}
	}
	if r.one(3) {
		d.Log = &logSection{Mode: pick(r, &logWords[0], &logWords[1], &logWords[2])}
	}
	for i := range r.IntN(4) {
		d.Grants = append(d.Grants, r.grant(fmt.Sprint("g", i)))
	}
	for i := range r.IntN(4) {
		d.Restrictions = append(d.Restrictions, r.restriction(fmt.Sprint("r", i)))
	}
	return d
}

// stricter changes a document in one way that must not widen it, and says how.
func (r randomPolicy) stricter(d document) (document, string) {
	grants, restrictions := slices.Clone(d.Grants), slices.Clone(d.Restrictions)
	switch r.IntN(4) {
	case 0, 1:
		added := r.restriction("added")
		d.Restrictions = slices.Insert(restrictions, r.IntN(len(restrictions)+1), added)
		return d, "added a restriction"
	case 2:
		if len(grants) > 0 {
			i := r.IntN(len(grants))
			d.Grants = slices.Delete(grants, i, i+1)
			return d, "removed a grant"
		}
	}
	if r.one(2) {
		d.AllowList = &truth
		return d, "switched the list on"
	}
	d.Store, d.Log = &storeSection{MultiRegion: &multiRegionWords[0], Permissions: &permissionWords[0]}, &logSection{Mode: &logWords[2]}
	return d, "made store and log strict"
}

func encode(t testing.TB, d document) string {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wider says in what b allows something that a refuses; "" if in nothing.
func wider(a, b Rules) string {
	for what, allowed := range map[string]func(Rules) bool{
		"the key itself":           func(r Rules) bool { return r.Excluded == "" },
		"alias history":            func(r Rules) bool { return r.AllowAliasHistory },
		"Notation's alias history": func(r Rules) bool { return r.AllowAliasHistoryForNotation },
		"the Java helper":          func(r Rules) bool { return r.AllowJavaHelperENTL },
		"an unknown state":         func(r Rules) bool { return !r.RequireKnownState },
	} {
		if allowed(b) && !allowed(a) {
			return what
		}
	}
	for _, s := range keyStates {
		allowed := func(r Rules) bool { return r.KeyStates == nil && s.Verifies() || slices.Contains(r.KeyStates, s) }
		if allowed(b) && !allowed(a) {
			return "the state " + string(s)
		}
	}
	for _, s := range keyStates { // whoever encrypts with a key in a state that grants cannot allow
		allowed := func(r Rules) bool { return r.OnlyKeyStates == nil || slices.Contains(r.OnlyKeyStates, s) }
		if allowed(b) && !allowed(a) {
			return "encrypting in the state " + string(s)
		}
	}
	for _, x := range kmskey.SigningAlgorithms() {
		allowed := func(r Rules) bool { return r.SigningAlgorithms == nil || slices.Contains(r.SigningAlgorithms, x) }
		if allowed(b) && !allowed(a) {
			return string(x)
		}
	}
	for _, x := range kmskey.MessageTypes() {
		allowed := func(r Rules) bool { return r.MessageTypes == nil || slices.Contains(r.MessageTypes, x) }
		if allowed(b) && !allowed(a) {
			return string(x)
		}
	}
	for _, x := range append([]string{""}, sourceWords...) {
		allowed := func(r Rules) bool { return r.Sources == nil || slices.Contains(r.Sources, x) }
		if allowed(b) && !allowed(a) {
			return "the source " + x
		}
	}
	for _, age := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour, 48 * time.Hour, 720 * time.Hour, 100000 * time.Hour} {
		allowed := func(r Rules) bool { return r.MaxSnapshotAge == 0 || age <= r.MaxSnapshotAge }
		if allowed(b) && !allowed(a) {
			return "the age " + age.String()
		}
	}
	for year := range 3 {
		now := time.Date(2025+year, 11, 15, 0, 0, 0, 0, time.UTC)
		allowed := func(r Rules) bool {
			return !now.Before(r.NotBefore) && (r.NotAfter.IsZero() || !now.After(r.NotAfter))
		}
		if allowed(b) && !allowed(a) {
			return now.String()
		}
	}
	// The caller names the ID: a silent one gets the pin, which may be the right ID where the record's was not.
	for _, text := range []string{"X", "Y", "", "Z"} {
		id, err := kmskey.ParseDistinguishingID(text)
		if err != nil {
			panic(err)
		}
		_, errA := PickDistinguishingID(id, a)
		_, errB := PickDistinguishingID(id, b)
		if errB == nil && errA != nil {
			return "the distinguishing ID " + text
		}
	}
	return ""
}

// TestStricterNeverWidens is the property that a policy stands on: whatever is said, saying more restrictions or fewer
// grants, in either of two policies, or adding a second policy, allows nothing that was refused.
func TestStricterNeverWidens(t *testing.T) {
	const rounds = 4000
	r := randomPolicy{rand.New(rand.NewPCG(1, 2))}
	subjects := []Subject{
		subject(t),
		{Asked: ref(t, aliasA), ARN: arn(t, keyA)},
		{Asked: ref(t, aliasA), ARN: arn(t, keyB), Former: true},
		{Asked: ref(t, keyB), ARN: arn(t, keyB), Aliases: subjectAliases(t)},
	}
	changes, narrowed := map[string]int{}, 0
	for range rounds {
		machine, home := r.document(), r.document()
		docs := map[bool][]document{true: {machine, home}, false: {home}}[r.one(2)]
		before := setFrom(t, docs)
		var how string
		after := slices.Clone(docs)
		if len(docs) == 1 && r.one(4) {
			after, how = []document{r.document(), docs[0]}, "added a policy of the machine"
		} else {
			i := r.IntN(len(docs))
			after[i], how = r.stricter(docs[i])
		}
		changes[how]++
		then := setFrom(t, after)
		for _, s := range subjects {
			a, errA := before.Rules(s)
			b, errB := then.Rules(s)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if what := wider(a, b); what != "" {
				t.Fatalf("%s, and that allows %s to %v\nbefore: %v\nafter:  %v", how, what, s, encodeAll(t, docs), encodeAll(t, after))
			}
			if wider(b, a) != "" {
				narrowed++
			}
		}
		if x, y := before.Store(), then.Store(); x.ExactRegion && !y.ExactRegion || x.StrictPermissions && !y.StrictPermissions {
			t.Fatalf("%s: the store's rules %+v became %+v", how, x, y)
		}
		if x, y := before.Log(), then.Log(); x.Required && !y.Required || !x.Off && y.Off {
			t.Fatalf("%s: the log's rules %+v became %+v", how, x, y)
		}
	}
	if len(changes) < 5 || narrowed < rounds/4 {
		t.Errorf("%v, of which %d narrowed something: the test looks at too little", changes, narrowed)
	}
}

func subjectAliases(t testing.TB) []kmskey.AliasARN { return []kmskey.AliasARN{alias(t, aliasA)} }

// setFrom makes the set of documents: one is the home's, of two the first is the machine's.
func setFrom(t testing.TB, docs []document) *set {
	if len(docs) == 1 {
		return setOf(t, "", encode(t, docs[0]))
	}
	return setOf(t, encode(t, docs[0]), encode(t, docs[1]))
}

func encodeAll(t testing.TB, docs []document) []string {
	var all []string
	for _, d := range docs {
		all = append(all, encode(t, d))
	}
	return all
}

// TestOrderDoesNotMatter: policies and rules hold together, not one before the other.
func TestOrderDoesNotMatter(t *testing.T) {
	r := randomPolicy{rand.New(rand.NewPCG(3, 4))}
	for range 1000 {
		d := r.document()
		other := d
		other.Grants, other.Restrictions = slices.Clone(d.Grants), slices.Clone(d.Restrictions)
		slices.Reverse(other.Grants)
		slices.Reverse(other.Restrictions)
		a, errA := setFrom(t, []document{d}).Rules(subject(t))
		b, errB := setFrom(t, []document{other}).Rules(subject(t))
		if errA != nil || errB != nil || wider(a, b) != "" || wider(b, a) != "" {
			t.Fatalf("%+v\n%+v\n%s", a, b, encode(t, d))
		}
		explained(t, setFrom(t, []document{d, other}), subject(t))
	}
}
