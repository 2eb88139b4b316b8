package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	homePath    = "/home/u/.config/awskms-offline/policy.json"
	machinePath = testPath
)

// setOf makes the policy of a machine's file and a home's; "" is none.
func setOf(t testing.TB, machine, home string) *set {
	t.Helper()
	p := &set{}
	for _, f := range []struct {
		path, text string
		machine    bool
	}{{machinePath, machine, true}, {homePath, home, false}} {
		if f.text == "" {
			continue
		}
		s, problems := parse(f.path, []byte(f.text), f.machine)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems[0], f.text)
		}
		p.sources = append(p.sources, s)
	}
	return p
}

func arn(t testing.TB, text string) kmskey.ARN {
	t.Helper()
	a, err := kmskey.ParseARN(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ref(t testing.TB, text string) kmskey.Ref {
	t.Helper()
	r, err := kmskey.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func alias(t testing.TB, text string) kmskey.AliasARN {
	t.Helper()
	a, ok := ref(t, text).AliasARN()
	if !ok {
		t.Fatalf("%s is no alias ARN", text)
	}
	return a
}

func id(t testing.TB, text string) kmskey.DistinguishingID {
	t.Helper()
	d, err := kmskey.ParseDistinguishingID(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// subject is keyA, asked for by its ARN.
func subject(t testing.TB) Subject { return Subject{Asked: ref(t, keyA), ARN: arn(t, keyA)} }

func grantTo(name, key, members string) string {
	return fmt.Sprintf(`{"name":%q,"keys":[%q],%s}`, name, key, members)
}

func TestRules(t *testing.T) {
	at := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	ids := func(texts ...string) []kmskey.DistinguishingID {
		out := []kmskey.DistinguishingID{}
		for _, text := range texts {
			out = append(out, id(t, text))
		}
		return out
	}
	const (
		nothing  = `{"version":"1"}`
		disabled = `"keyStates":["Disabled"]`
		java     = `"sm2Entl":"aws-java-helper"`
		history  = `"aliasHistory":"any"`
	)
	grants := func(all ...string) string { return with(`"grants":[` + strings.Join(all, ",") + `]`) }
	restrictions := func(all ...string) string {
		for i := range all {
			all[i] = fmt.Sprintf(`{"name":"r%d",%s}`, i, all[i])
		}
		return with(`"restrictions":[` + strings.Join(all, ",") + `]`)
	}
	pinned := func(pins []string, grant string) string {
		text := `"restrictions":[`
		for i, p := range pins {
			if i > 0 {
				text += ","
			}
			text += fmt.Sprintf(`{"name":"p%d","distinguishingId":%q}`, i, p)
		}
		text += "]"
		if grant != "" {
			text += `,"grants":[` + grantTo("g", keyA, grant) + `]`
		}
		return with(text)
	}
	states := func(s ...kmskey.KeyState) []kmskey.KeyState { return append([]kmskey.KeyState{}, s...) }

	for name, c := range map[string]struct {
		machine, home string
		asked         string
		aliases       []string
		former        bool
		want          Rules // without Applied
	}{
		"no policy":            {want: Rules{AllowJavaHelperENTL: true}},
		"a policy of nothing":  {home: nothing, want: Rules{}},
		"two of nothing":       {machine: nothing, home: nothing, want: Rules{}},
		"allowed":              {home: withGrant(`"verify":true`), want: Rules{}},
		"not on the list":      {home: with(`"allowList":true`), want: Rules{Excluded: "is not on the list of allowed keys of the policy " + homePath}},
		"another key's grant":  {home: with(`"allowList":true,"grants":[` + grantTo("g", keyB, `"verify":true`) + `]`), want: Rules{Excluded: "is not on the list of allowed keys of the policy " + homePath}},
		"a grant of another":   {home: with(`"allowList":true,"grants":[` + grantTo("g", keyA, disabled) + `]`), want: Rules{KeyStates: states("Enabled", "Updating", "Disabled"), Excluded: "is not on the list of allowed keys of the policy " + homePath}},
		"list off":             {home: with(`"allowList":false,"grants":[` + grantTo("g", keyB, `"verify":true`) + `]`), want: Rules{}},
		"on one list of two":   {machine: with(`"allowList":true`), home: withGrant(`"verify":true`), want: Rules{Excluded: "is not on the list of allowed keys of the policy " + machinePath}},
		"on the home's not":    {machine: withGrant(`"verify":true`), home: with(`"allowList":true`), want: Rules{Excluded: "is not on the list of allowed keys of the policy " + homePath}},
		"on both":              {machine: withGrant(`"verify":true`), home: withGrant(`"verify":true`), want: Rules{}},
		"on the only list":     {machine: withGrant(`"verify":true`), home: nothing, want: Rules{}},
		"states":               {home: grants(grantTo("g", keyA, `"keyStates":["Unavailable","Disabled"]`)), want: Rules{KeyStates: states("Enabled", "Updating", "Disabled", "Unavailable")}},
		"states of two grants": {home: grants(grantTo("g", keyA, disabled), grantTo("h", keyA, `"keyStates":["Creating"]`)), want: Rules{KeyStates: states("Enabled", "Updating", "Disabled", "Creating")}},
		"states of one policy": {machine: nothing, home: grants(grantTo("g", keyA, disabled)), want: Rules{}},
		"states of both":       {machine: grants(grantTo("g", keyA, `"keyStates":["Disabled","Creating"]`)), home: grants(grantTo("g", keyA, disabled)), want: Rules{KeyStates: states("Enabled", "Updating", "Disabled")}},
		"states, of KMS":       {home: grants(grantTo("g", keyA, `"keyStates":["Enabled"]`)), want: Rules{}},
		"states narrowed":      {home: restrictions(`"keyStates":["Enabled"]`), want: Rules{KeyStates: states("Enabled"), OnlyKeyStates: states("Enabled"), RequireKnownState: true}},
		"states, none granted": {home: restrictions(`"keyStates":["Enabled","Disabled"]`), want: Rules{KeyStates: states("Enabled"), OnlyKeyStates: states("Enabled", "Disabled"), RequireKnownState: true}},
		"states, none left":    {home: restrictions(`"keyStates":["Enabled"]`, `"keyStates":["Updating"]`), want: Rules{KeyStates: states(), OnlyKeyStates: states(), RequireKnownState: true}},
		"states, both ways":    {home: with(`"grants":[` + grantTo("g", keyA, disabled) + `],"restrictions":[{"name":"r","keyStates":["Disabled"]}]`), want: Rules{KeyStates: states("Disabled"), OnlyKeyStates: states("Disabled"), RequireKnownState: true}},
		"states by a machine":  {machine: restrictions(`"keyStates":["Enabled"]`), home: grants(grantTo("g", keyA, disabled)), want: Rules{KeyStates: states("Enabled"), OnlyKeyStates: states("Enabled"), RequireKnownState: true}},

		"known":               {home: restrictions(`"requireKnownState":true`), want: Rules{RequireKnownState: true}},
		"age":                 {home: restrictions(`"maxSnapshotAge":"30d"`, `"maxSnapshotAge":"24h"`, `"maxSnapshotAge":"2d"`), want: Rules{MaxSnapshotAge: 24 * time.Hour}},
		"age of two":          {machine: restrictions(`"maxSnapshotAge":"1h"`), home: restrictions(`"maxSnapshotAge":"24h"`), want: Rules{MaxSnapshotAge: time.Hour}},
		"times":               {home: restrictions(`"notBefore":"2026-01-01T00:00:00Z","notAfter":"2027-01-01T00:00:00Z"`, `"notBefore":"2026-02-01T00:00:00+01:00","notAfter":"2026-12-01T00:00:00Z"`), want: Rules{NotBefore: at("2026-01-31T23:00:00Z"), NotAfter: at("2026-12-01T00:00:00Z")}},
		"sources":             {machine: restrictions(`"sources":["file","kms"]`), home: restrictions(`"sources":["operator","file"]`), want: Rules{Sources: []string{"file"}}},
		"algorithms":          {home: restrictions(`"signingAlgorithms":["SM2DSA","ECDSA_SHA_256"]`), want: Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{"ECDSA_SHA_256", "SM2DSA"}}},
		"algorithms, none":    {machine: restrictions(`"signingAlgorithms":["SM2DSA"]`), home: restrictions(`"signingAlgorithms":["ECDSA_SHA_256"]`), want: Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{}}},
		"message types":       {home: restrictions(`"messageTypes":["DIGEST","RAW"]`, `"messageTypes":["DIGEST"]`), want: Rules{MessageTypes: []kmskey.MessageType{"DIGEST"}}},
		"of another key":      {home: restrictions(`"requireKnownState":true,"keys":["` + keyB + `"]`), want: Rules{}},
		"of this key":         {home: restrictions(`"requireKnownState":true,"keys":["` + keyB + `","` + keyA + `"]`), want: Rules{RequireKnownState: true}},
		"of the Region":       {home: restrictions(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-1:*:key/*"]`), want: Rules{RequireKnownState: true}},
		"of another Region":   {home: restrictions(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-2:*:key/*"]`), want: Rules{}},
		"of a shorter Region": {home: restrictions(`"requireKnownState":true,"keys":["arn:aws:kms:us-east:*:key/*"]`), want: Rules{}},
		"of the account":      {home: restrictions(`"requireKnownState":true,"keys":["arn:aws:kms:*:111122223333:key/*"]`), want: Rules{RequireKnownState: true}},
		"of another":          {home: restrictions(`"requireKnownState":true,"keys":["arn:aws:kms:*:111122223334:key/*"]`), want: Rules{}},
		"of a partition":      {home: restrictions(`"requireKnownState":true,"keys":["arn:aws-cn:kms:*:*:key/*"]`), want: Rules{}},
		"of the key ID":       {home: restrictions(`"requireKnownState":true,"keys":["arn:aws:kms:*:*:key/1234abcd-12ab-34cd-56ef-1234567890ab"]`), want: Rules{RequireKnownState: true}},

		"Java helper":                {home: grants(grantTo("g", keyA, java)), want: Rules{AllowJavaHelperENTL: true}},
		"Java helper, of one":        {machine: nothing, home: grants(grantTo("g", keyA, java)), want: Rules{}},
		"Java helper, of both":       {machine: grants(grantTo("g", keyA, java)), home: grants(grantTo("g", keyA, java)), want: Rules{AllowJavaHelperENTL: true}},
		"history":                    {home: grants(grantTo("g", keyA, history)), want: Rules{AllowAliasHistory: true}},
		"history, Notation":          {home: grants(grantTo("g", keyA, history+`,"aliasHistoryForNotation":true`)), want: Rules{AllowAliasHistory: true, AllowAliasHistoryForNotation: true}},
		"history, of one":            {machine: nothing, home: grants(grantTo("g", keyA, history)), want: Rules{}},
		"history, Notation's of one": {machine: grants(grantTo("g", keyA, history)), home: grants(grantTo("g", keyA, history+`,"aliasHistoryForNotation":true`)), want: Rules{AllowAliasHistory: true}},

		"by alias, asked by it":       {home: grants(grantTo("g", aliasA, java)), asked: aliasA, want: Rules{AllowJavaHelperENTL: true}},
		"by alias, asked by its name": {home: grants(grantTo("g", aliasA, java)), asked: "alias/release", want: Rules{AllowJavaHelperENTL: true}},
		"by alias, asked by another":  {home: grants(grantTo("g", aliasA, java)), asked: "alias/other", want: Rules{}},
		"by alias, another scope":     {home: grants(grantTo("g", "arn:aws:kms:us-east-2:111122223333:alias/release", java)), asked: "alias/release", want: Rules{}},
		"by alias, a lie of scope":    {home: grants(grantTo("g", aliasA, java)), asked: "arn:aws:kms:us-east-2:111122223333:alias/release", want: Rules{}},
		"by alias, asked by ARN":      {home: grants(grantTo("g", aliasA, java)), want: Rules{}},
		"by alias, told":              {home: grants(grantTo("g", aliasA, java)), aliases: []string{aliasA}, want: Rules{AllowJavaHelperENTL: true}},
		"by alias, told of another":   {home: grants(grantTo("g", aliasA, java)), aliases: []string{aliasA + "2"}, want: Rules{}},
		"by alias, told, elsewhere":   {home: grants(grantTo("g", "arn:aws:kms:us-east-2:111122223333:alias/release", java)), aliases: []string{"arn:aws:kms:us-east-2:111122223333:alias/release"}, want: Rules{}},
		"by former alias":             {home: withGrant(`"verify":true`), asked: aliasA, former: true, want: Rules{}},
		"by former alias, history":    {home: grants(grantTo("g", aliasA, history+`,"aliasHistoryForNotation":true,`+java+`,`+disabled)), asked: aliasA, former: true, want: Rules{AllowAliasHistory: true, AllowAliasHistoryForNotation: true}},
		"by former alias, list":       {home: with(`"allowList":true,"grants":[` + grantTo("g", aliasA, history+`,"verify":true`) + `]`), asked: aliasA, former: true, want: Rules{AllowAliasHistory: true, Excluded: "is not on the list of allowed keys of the policy " + homePath}},
		"by former alias, no history": {home: grants(grantTo("g", aliasA, java)), asked: aliasA, former: true, want: Rules{}},
		"by former alias and ARN":     {home: grants(grantTo("g", aliasA, history), grantTo("h", keyA, java)), asked: aliasA, former: true, want: Rules{AllowAliasHistory: true, AllowJavaHelperENTL: true}},

		"pin":                       {home: pinned([]string{"X"}, ""), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X")}},
		"pin, empty":                {home: pinned([]string{""}, ""), want: Rules{DistinguishingID: id(t, ""), DistinguishingIDs: ids("")}},
		"pin, twice":                {machine: pinned([]string{"X", "X"}, ""), home: pinned([]string{"hex:58"}, ""), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X")}},
		"pin, exception":            {home: pinned([]string{"X"}, `"distinguishingIds":["Y","X"]`), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X", "Y")}},
		"exception of nothing":      {home: grants(grantTo("g", keyA, `"distinguishingIds":["Y"]`)), want: Rules{}},
		"pins, contradicting":       {home: pinned([]string{"X", "Y"}, ""), want: Rules{DistinguishingIDs: ids()}},
		"pins, exception":           {home: pinned([]string{"X", "Y"}, `"distinguishingIds":["Z"]`), want: Rules{DistinguishingIDs: ids("Z")}},
		"pins, one is excepted":     {home: pinned([]string{"X", "Y"}, `"distinguishingIds":["X"]`), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X")}},
		"pins, both excepted":       {home: pinned([]string{"X", "Y"}, `"distinguishingIds":["X","Y"]`), want: Rules{DistinguishingIDs: ids("X", "Y")}},
		"pins of two policies":      {machine: pinned([]string{"X"}, ""), home: pinned([]string{"Y"}, ""), want: Rules{DistinguishingIDs: ids()}},
		"exception of one":          {machine: pinned([]string{"X"}, ""), home: pinned([]string{"X"}, `"distinguishingIds":["Y"]`), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X")}},
		"exception from its own":    {machine: nothing, home: pinned([]string{"X"}, `"distinguishingIds":["Y"]`), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X", "Y")}},
		"exception from another's":  {machine: pinned([]string{"X"}, ""), home: grants(grantTo("g", keyA, `"distinguishingIds":["Y"]`)), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X")}},
		"exception that reconciles": {machine: pinned([]string{"X"}, ""), home: pinned([]string{"Y"}, `"distinguishingIds":["X"]`), want: Rules{DistinguishingID: id(t, "X"), DistinguishingIDs: ids("X")}},

		"skipped":          {home: with(`"notation":{"whenRevocationSkipped":"ignore"}`), want: Rules{IgnoreStateWhenRevocationSkipped: true}},
		"skipped, of one":  {machine: nothing, home: with(`"notation":{"whenRevocationSkipped":"ignore"}`), want: Rules{}},
		"skipped, of both": {machine: with(`"notation":{"whenRevocationSkipped":"ignore"}`), home: with(`"notation":{"whenRevocationSkipped":"ignore"}`), want: Rules{IgnoreStateWhenRevocationSkipped: true}},
		"skipped, denied":  {machine: with(`"notation":{"whenRevocationSkipped":"ignore"}`), home: with(`"notation":{"whenRevocationSkipped":"fail"}`), want: Rules{}},
		"state fails":      {machine: with(`"notation":{"stateFailsIdentity":true}`), home: with(`"notation":{"stateFailsIdentity":false}`), want: Rules{StateFailsIdentity: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := subject(t)
			if c.asked != "" {
				s.Asked = ref(t, c.asked)
			}
			for _, a := range c.aliases {
				s.Aliases = append(s.Aliases, alias(t, a))
			}
			s.Former = c.former
			p := setOf(t, c.machine, c.home)
			got, err := p.Rules(s)
			if err != nil {
				t.Fatal(err)
			}
			got.Applied = nil
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			explained(t, p, s)
		})
	}
}

// explained demands an explanation that is complete, and says the same as the rules.
func explained(t testing.TB, p *set, s Subject) {
	t.Helper()
	effects, err := p.Explain(s)
	if err != nil {
		t.Fatal(err)
	}
	none, _ := None{}.Explain(s)
	if len(effects) != len(none) {
		t.Fatalf("%d effects, of no policy %d", len(effects), len(none))
	}
	for i, e := range effects {
		if e.Member != none[i].Member || e.Value == "" {
			t.Errorf("effect %d: %+v", i, e)
		}
		// What differs from the default comes from somewhere. That the Java helper needs a permission is of any policy.
		if e.Value != none[i].Value && len(e.From) == 0 && e.Member != "sm2Entl" {
			t.Errorf("%s is %s, and comes from nowhere", e.Member, e.Value)
		}
		for _, from := range e.From {
			if from.Line == 0 || from.File == "" || from.Name == "" {
				t.Errorf("%s comes from %+v", e.Member, from)
			}
		}
	}
}

func TestRulesOfNoKey(t *testing.T) {
	for _, p := range []*set{{}, setOf(t, "", strictHead+strictTail)} {
		if _, err := p.Rules(Subject{Asked: ref(t, "alias/release")}); err == nil {
			t.Error("there are rules for no key")
		}
	}
}

func TestApplied(t *testing.T) {
	p := setOf(t, with("\n\"restrictions\":[\n{\"name\":\"age\",\"maxSnapshotAge\":\"1d\"},\n{\"name\":\"other\",\"maxSnapshotAge\":\"1d\",\"keys\":[\""+keyB+"\"]}]"),
		with("\"allowList\":true,\"notation\":{\"stateFailsIdentity\":true},\n\"grants\":[\n{\"name\":\"mine\",\"keys\":[\""+keyA+"\"],\"verify\":true}]"))
	r, err := p.Rules(subject(t))
	want := []string{`restriction "age" (` + machinePath + `:3)`, "/allowList (" + homePath + ":1)",
		"/notation/stateFailsIdentity (" + homePath + ":1)", `grant "mine" (` + homePath + `:3)`}
	if err != nil || !slices.Equal(r.Applied, want) {
		t.Errorf("got %q, %v", r.Applied, err)
	}
}

func TestAliases(t *testing.T) {
	p := setOf(t, with(`"grants":[`+grantTo("a", aliasA, `"keyStates":["Disabled"]`)+`]`),
		with(`"grants":[`+grantTo("a", aliasA, `"keyStates":["Disabled"]`)+`,`+grantTo("b", "arn:aws:kms:us-east-1:111122223333:alias/a", `"keyStates":["Disabled"]`)+`,`+
			grantTo("c", "arn:aws:kms:us-east-2:111122223333:alias/a", `"keyStates":["Disabled"]`)+`]`))
	got := p.Aliases(arn(t, keyA))
	if len(got) != 2 || got[0].Alias != "alias/a" || got[1].String() != aliasA {
		t.Errorf("got %v", got)
	}
	if got := p.Aliases(arn(t, keyC)); got != nil {
		t.Errorf("got %v", got)
	}
}

// Every decision asks for the aliases: the list of thousands is not searched for each of them.
func TestThousandsOfAliases(t *testing.T) {
	grants := make([]string, 2)
	for i := range grants {
		keys := make([]string, 8000)
		for j := range keys {
			keys[j] = fmt.Sprintf(`"arn:aws:kms:us-east-1:111122223333:alias/a%d"`, i*len(keys)+j)
		}
		grants[i] = fmt.Sprintf(`{"name":"g%d","verify":true,"keys":[%s]}`, i, strings.Join(keys, ","))
	}
	began := time.Now()
	s, problems := parse(homePath, []byte(with(`"allowList":true,"grants":[`+strings.Join(grants, ",")+`]`)), false)
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	reading := time.Since(began)
	began = time.Now()
	found := (&set{sources: []*source{s, s}}).Aliases(arn(t, keyA))
	if took := time.Since(began); len(found) != 16000 || took > 20*reading+time.Second { // else some 50 times as long, and more
		t.Errorf("%d aliases in %v, and the file was read in %v", len(found), took, reading)
	}
}

func TestStoreAndLog(t *testing.T) {
	log := func(members string) string { return with(`"log":{` + members + `}`) }
	for name, c := range map[string]struct {
		machine, home string
		store         StoreRules
		log           LogRules
	}{
		"none":               {},
		"nothing":            {machine: with(""), home: with("")},
		"strict and exact":   {home: with(`"store":{"permissions":"strict","multiRegion":"exact"}`), store: StoreRules{ExactRegion: true, StrictPermissions: true}},
		"the stricter":       {machine: with(`"store":{"permissions":"strict","multiRegion":"fallback"}`), home: with(`"store":{"permissions":"warn","multiRegion":"exact"}`), store: StoreRules{ExactRegion: true, StrictPermissions: true}},
		"defaults":           {machine: with(`"store":{"permissions":"warn","multiRegion":"fallback"}`)},
		"log, empty":         {home: log(""), log: LogRules{}},
		"log":                {home: log(`"path":"/a","mode":"required","sync":true`), log: LogRules{Path: local("/a"), Required: true, Sync: true}},
		"log, off":           {home: log(`"mode":"off"`), log: LogRules{Off: true}},
		"log, off by one":    {machine: with(""), home: log(`"mode":"off"`), log: LogRules{}},
		"log, off by both":   {machine: log(`"mode":"off"`), home: log(`"mode":"off"`), log: LogRules{Off: true}},
		"log, off against":   {machine: log(`"mode":"required"`), home: log(`"mode":"off"`), log: LogRules{Required: true}},
		"log, off and path":  {machine: log(`"mode":"off"`), home: log(`"path":"/a"`), log: LogRules{Path: local("/a")}},
		"log, the machine's": {machine: log(`"path":"/a"`), home: log(`"path":"/b","mode":"required"`), log: LogRules{Path: local("/a"), Required: true}},
		"log, the home's":    {machine: log(`"mode":"required"`), home: log(`"path":"-"`), log: LogRules{Path: "-", Required: true}},
		"log, rotation":      {machine: log(`"rotateAt":"1GiB"`), home: log(`"rotateAt":"1MiB"`), log: LogRules{RotateBytes: 1 << 30}},
		"log, sync of one":   {machine: log(`"sync":true`), home: log(`"sync":false`), log: LogRules{Sync: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := setOf(t, c.machine, c.home)
			if got := p.Store(); got != c.store {
				t.Errorf("got %+v", got)
			}
			if got := p.Log(); got != c.log {
				t.Errorf("got %+v", got)
			}
			explained(t, p, subject(t))
		})
	}
}

func TestPickDistinguishingID(t *testing.T) {
	x, y, z, not := id(t, "X"), id(t, "Y"), id(t, "Z"), kmskey.DistinguishingID{}
	pin := func(p kmskey.DistinguishingID, all ...kmskey.DistinguishingID) Rules {
		return Rules{DistinguishingID: p, DistinguishingIDs: append([]kmskey.DistinguishingID{}, all...)}
	}
	for name, c := range map[string]struct {
		asked   kmskey.DistinguishingID
		rules   []Rules
		want    kmskey.DistinguishingID
		refused kmserr.Name
		says    string
	}{
		"nothing said":             {},
		"no rules":                 {rules: []Rules{{}, {}}},
		"asked":                    {asked: x, rules: []Rules{{}}, want: x},
		"asked, empty":             {asked: id(t, ""), rules: []Rules{{}}, want: id(t, "")},
		"pinned":                   {rules: []Rules{{}, pin(x, x)}, want: x},
		"pinned by one field":      {rules: []Rules{{DistinguishingID: x}}, want: x},
		"asked for the pin":        {asked: x, rules: []Rules{pin(x, x)}, want: x},
		"asked for another":        {asked: y, rules: []Rules{pin(x, x)}, refused: kmserr.Validation, says: `"Y" was asked for, but the policy fixes "X"`},
		"one field, another":       {asked: y, rules: []Rules{{DistinguishingID: x}}, refused: kmserr.Validation, says: `fixes "X"`},
		"asked for empty":          {asked: id(t, ""), rules: []Rules{pin(x, x)}, refused: kmserr.Validation},
		"pinned to empty":          {asked: x, rules: []Rules{pin(id(t, ""), id(t, ""))}, refused: kmserr.Validation, says: `fixes ""`},
		"an exception":             {asked: y, rules: []Rules{pin(x, x, y), {}}, want: y},
		"an exception for one":     {asked: y, rules: []Rules{pin(x, x, y), pin(x, x)}, refused: kmserr.Validation},
		"no pin, silent":           {rules: []Rules{pin(not, x, y)}, refused: kmserr.AlgorithmNotAllowed},
		"no pin, named":            {asked: y, rules: []Rules{pin(not, x, y)}, want: y},
		"no pin, another named":    {asked: z, rules: []Rules{pin(not, x, y)}, refused: kmserr.Validation, says: `fixes "X" or "Y"`},
		"none at all":              {rules: []Rules{pin(not)}, refused: kmserr.AlgorithmNotAllowed},
		"none at all, named":       {asked: x, rules: []Rules{pin(not)}, refused: kmserr.Validation, says: "fixes none"},
		"different pins":           {rules: []Rules{pin(x, x), pin(y, y)}, refused: kmserr.AlgorithmNotAllowed},
		"different pins, both may": {rules: []Rules{pin(x, x, y), pin(y, x, y)}, refused: kmserr.AlgorithmNotAllowed},
		"different pins, named":    {asked: x, rules: []Rules{pin(x, x, y), pin(y, x, y)}, want: x},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := PickDistinguishingID(c.asked, c.rules...)
			if got != c.want || (err != nil) != (c.refused != "") {
				t.Fatalf("got %v, %v", got, err)
			}
			if err != nil && (!kmserr.Is(err, c.refused) || !strings.Contains(err.Error(), c.says) || kmserr.As(err).Hint == "") {
				t.Error(err)
			}
		})
	}
	if PinsDistinguishingID() || PinsDistinguishingID(Rules{}) || !PinsDistinguishingID(Rules{}, pin(not)) || !PinsDistinguishingID(Rules{DistinguishingID: x}) {
		t.Error("PinsDistinguishingID")
	}
}

func TestStrict(t *testing.T) {
	p := setOf(t, "", strictHead+strictTail)
	r, err := p.Rules(subject(t))
	if err != nil || r.Excluded == "" || !r.RequireKnownState || r.MaxSnapshotAge != 720*time.Hour || !r.StateFailsIdentity || r.IgnoreStateWhenRevocationSkipped {
		t.Errorf("got %+v, %v", r, err)
	}
	if !p.Store().StrictPermissions || !p.Log().Required {
		t.Errorf("got %+v, %+v", p.Store(), p.Log())
	}
	for _, keys := range [][]string{{keyA}, {keyB, keyA, aliasA}} {
		text, err := StrictFor(keys...)
		if err != nil {
			t.Fatal(err)
		}
		r, err := setOf(t, "", string(text)).Rules(subject(t))
		if err != nil || r.Excluded != "" || !r.RequireKnownState {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	if text, err := StrictFor(); err != nil || string(text) != strictHead+strictTail {
		t.Error(err)
	}
	for _, bad := range []string{"alias/x", "\xff", `"`, "*"} {
		if text, err := StrictFor(bad); err == nil || text != nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// What grants name is told whole, in the policy's order: doctor asks whether a store has it.
func TestGranted(t *testing.T) {
	home := t.TempDir()
	const key, alias = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:us-east-1:111122223333:alias/release"
	if err := os.WriteFile(filepath.Join(home, FileName), []byte(`{"version":"1","allowList":true,"grants":[
		{"name":"b","keys":["`+key+`","`+alias+`"],"verify":true},
		{"name":"a","keys":["`+key+`"],"verify":true}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(Options{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range p.Granted() {
		got = append(got, g.Grant.Name, filepath.Base(g.Grant.File), strings.Join(g.Keys, " "))
	}
	if want := []string{"b", FileName, alias + " " + key, "a", FileName, key}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if len(None{}.Granted()) != 0 {
		t.Error("no policy grants something")
	}
}
