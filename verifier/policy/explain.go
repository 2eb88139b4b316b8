package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// The kinds of Origin.
const (
	KindGrant       = "grant"
	KindRestriction = "restriction"
	KindMember      = "member" // of the policy itself: Name is its JSON Pointer
)

// Origin is where a rule stands.
type Origin struct {
	File string // absolute path
	Line int    // counted from 1
	Kind string // one of the constants
	Name string // the rule's own, or the member's JSON Pointer
}

// String returns `restriction "age" (/etc/awskms-offline/policy.json:12)`, or `/store (…:3)` for a member.
func (o Origin) String() string {
	name := o.Name
	if o.Kind != KindMember {
		name = fmt.Sprintf("%s %q", o.Kind, o.Name)
	}
	return fmt.Sprintf("%s (%s:%d)", name, o.File, o.Line)
}

func (s *source) at(pointer string) Origin {
	return Origin{File: s.path, Line: s.lines[pointer], Kind: KindMember, Name: pointer}
}

// place names a file and a line for a sentence.
func place(path string, line int) string {
	if line == 0 {
		return path
	}
	return fmt.Sprintf("%s, line %d,", path, line)
}

// Effect is one rule in force, for people. The members of the format that are about the same thing are one effect.
type Effect struct {
	// Member is the rule's name in the format: "maxSnapshotAge", "store.permissions".
	Member string
	// Value is what is in force: "30d", "Enabled, Updating", "not limited".
	Value string
	// From is where it comes from; empty for a default, which is KMS's own behaviour.
	From []Origin
	// Conflicts say what was not followed, and why: one sentence each without a final period.
	Conflicts []string
}

// Explain returns every rule for a subject, always the same members in the same order.
func (p *set) Explain(s Subject) ([]Effect, error) {
	r, err := p.Rules(s)
	if err != nil {
		return nil, err
	}
	e := explainer{p.match(s)}
	effects := []Effect{
		e.verify(r),
		e.keyStates(r),
		e.flag("requireKnownState", r.RequireKnownState, "a known key state is demanded", "an unknown key state verifies",
			only.knownState),
		e.limit("maxSnapshotAge", duration(r.MaxSnapshotAge), func(o only) string { return duration(o.age) }),
		e.limit("notBefore", stamp(r.NotBefore), func(o only) string { return stamp(o.notBefore) }),
		e.limit("notAfter", stamp(r.NotAfter), func(o only) string { return stamp(o.notAfter) }),
		leaves(e, "sources", r.Sources, func(o only) []string { return o.sources }),
		leaves(e, "signingAlgorithms", r.SigningAlgorithms, func(o only) []kmskey.SigningAlgorithm { return o.algorithms }),
		leaves(e, "messageTypes", r.MessageTypes, func(o only) []kmskey.MessageType { return o.types }),
		e.distinguishingID(r),
		e.grant("sm2Entl", r.AllowJavaHelperENTL, "standard or aws-java-helper", "standard", givesJavaHelper),
		e.grant("aliasHistory", r.AllowAliasHistory, "any: a signature of a key that an alias meant once verifies", "current, as in KMS", givesHistory),
		e.grant("aliasHistoryForNotation", r.AllowAliasHistoryForNotation, "any", "current", givesHistoryForNotation),
		e.whenRevocationSkipped(r),
		e.stateFailsIdentity(r),
	}
	return append(effects, p.explainStoreAndLog(e)...), nil
}

// unlimited stands for no value, in texts that limit compares.
const unlimited = "not limited"

func duration(d time.Duration) string {
	if d == 0 {
		return unlimited
	}
	return kmskey.FormatAge(d)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return unlimited
	}
	return t.UTC().Format(time.RFC3339)
}

func orNone[T ~string](names []T) string {
	if len(names) == 0 {
		return "none"
	}
	return kmskey.JoinNames(names)
}

func quoteIDs(ids []kmskey.DistinguishingID) string {
	if len(ids) == 0 {
		return "none"
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprintf("%q", id.String())
	}
	return strings.Join(texts, " or ")
}

// explainer collects where rules come from. What is in force it takes from Rules: it explains, and decides nothing.
type explainer struct{ matches []match }

// restrictions yields every restriction about the subject.
func (e explainer) restrictions(yield func(*restriction)) {
	for _, m := range e.matches {
		for _, t := range m.restrictions {
			yield(t)
		}
	}
}

func (e explainer) flag(member string, on bool, yes, no string, says func(only) bool) Effect {
	out := Effect{Member: member, Value: no}
	if on {
		out.Value = yes
	}
	e.restrictions(func(t *restriction) {
		if says(t.only) {
			out.From = append(out.From, t.origin)
		}
	})
	return out
}

// limit explains a rule of which the strictest value holds.
func (e explainer) limit(member, value string, says func(only) string) Effect {
	out := Effect{Member: member, Value: value}
	var loses []string
	e.restrictions(func(t *restriction) {
		switch v := says(t.only); v {
		case unlimited:
		case value:
			out.From = append(out.From, t.origin)
		default:
			loses = append(loses, v+" of "+t.origin.String())
		}
	})
	for _, l := range loses {
		out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s %s of %s wins over %s", member, value, out.From[0], l))
	}
	return out
}

// leaves explains a rule that is a list, of which the intersection holds.
func leaves[T ~string](e explainer, member string, left []T, says func(only) []T) Effect {
	out := Effect{Member: member, Value: "all"}
	if left != nil {
		out.Value = orNone(left)
	}
	e.restrictions(func(t *restriction) {
		list := says(t.only)
		if list == nil {
			return
		}
		out.From = append(out.From, t.origin)
		if lost := without(list, left); len(lost) > 0 {
			out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s of %s is not allowed by another restriction, which wins", kmskey.JoinNames(lost), t.origin))
		}
	})
	return out
}

func without[T comparable](list, those []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return slices.Contains(those, x) })
}

// grant explains a widening that every policy must give.
func (e explainer) grant(member string, on bool, yes, no string, gives func(*grant) bool) Effect {
	out := Effect{Member: member, Value: no}
	if on {
		out.Value = yes
	}
	var given []Origin
	var lacking []string
	for _, m := range e.matches {
		n := len(given)
		for _, g := range m.grants {
			if gives(g) {
				given = append(given, g.origin)
			}
		}
		if len(given) == n {
			lacking = append(lacking, m.path)
		}
	}
	if on {
		out.From = given
		return out
	}
	for _, g := range given {
		out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s gives it, and %s, which does not, wins", g, strings.Join(lacking, " and ")))
	}
	return out
}

func (e explainer) verify(r Rules) Effect {
	out := Effect{Member: "verify", Value: "allowed: there is no list of allowed keys"}
	var without []Origin
	var given []Origin
	for _, m := range e.matches {
		if !m.allowList {
			continue
		}
		out.From = append(out.From, m.at("/allowList"))
		if m.excludes() {
			without = append(without, m.at("/allowList"))
		}
		for _, g := range m.grants {
			if g.verify {
				given = append(given, g.origin)
			}
		}
	}
	switch {
	case r.Excluded != "":
		out.Value = "refused: the key " + r.Excluded
		for _, g := range given {
			out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s allows the key, and the list of allowed keys of %s, which does not, wins", g, without[0]))
		}
	case len(out.From) > 0:
		out.Value = "allowed: the key is on the list of allowed keys"
		out.From = append(out.From, given...)
	}
	return out
}

func (e explainer) keyStates(r Rules) Effect {
	states := r.KeyStates
	if states == nil {
		states = kmsStates
	}
	out := Effect{Member: "keyStates", Value: orNone(states)}
	for _, m := range e.matches {
		for _, g := range m.grants {
			if len(g.keyStates) == 0 {
				continue
			}
			if len(without(g.keyStates, without(states, kmsStates))) < len(g.keyStates) {
				out.From = append(out.From, g.origin)
			}
			if lost := without(without(g.keyStates, states), kmsStates); len(lost) > 0 {
				out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s of %s is not allowed by a restriction or another policy, which wins", kmskey.JoinNames(lost), g.origin))
			}
		}
	}
	e.restrictions(func(t *restriction) {
		if t.states == nil {
			return
		}
		out.From = append(out.From, t.origin)
		if lost := without(t.states, states); len(lost) > 0 {
			out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s of %s does not verify: no grant gives it, or another restriction or policy wins", kmskey.JoinNames(lost), t.origin))
		}
	})
	return out
}

func (e explainer) distinguishingID(r Rules) Effect {
	out := Effect{Member: "distinguishingId", Value: "the caller's, the record's, or the default " + kmskey.DefaultDistinguishingID}
	e.restrictions(func(t *restriction) {
		if t.id.Given() {
			out.From = append(out.From, t.origin)
		}
	})
	if !r.pinsDistinguishingID() {
		return out
	}
	for _, m := range e.matches {
		for _, g := range m.grants {
			if len(g.ids) == 0 {
				continue
			}
			out.From = append(out.From, g.origin)
			if lost := without(g.ids, r.DistinguishingIDs); len(lost) > 0 {
				out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s of %s is not allowed by another policy's pin, which wins", quoteIDs(lost), g.origin))
			}
		}
	}
	switch others := without(r.DistinguishingIDs, []kmskey.DistinguishingID{r.DistinguishingID}); {
	case len(r.DistinguishingIDs) == 0:
		out.Value = "none"
	case !r.DistinguishingID.Given():
		out.Value = quoteIDs(r.DistinguishingIDs) + ", and the caller must name one"
	case len(others) > 0:
		out.Value = quoteIDs([]kmskey.DistinguishingID{r.DistinguishingID}) + "; if the caller names it, " + quoteIDs(others)
	default:
		out.Value = quoteIDs([]kmskey.DistinguishingID{r.DistinguishingID})
	}
	e.restrictions(func(t *restriction) {
		if t.id.Given() && t.id != r.DistinguishingID {
			out.Conflicts = append(out.Conflicts, fmt.Sprintf("%q of %s contradicts another restriction", t.id.String(), t.origin))
		}
	})
	return out
}

func (e explainer) whenRevocationSkipped(r Rules) Effect {
	out := Effect{Member: "notation.whenRevocationSkipped", Value: skippedFail + ": key state and age fail the identity"}
	if r.IgnoreStateWhenRevocationSkipped {
		out.Value = skippedIgnore + ": key state and age fail nothing"
	}
	for _, m := range e.matches {
		if m.skipped == "" {
			continue
		}
		from := m.at("/notation/whenRevocationSkipped")
		if r.IgnoreStateWhenRevocationSkipped == (m.skipped == skippedIgnore) {
			out.From = append(out.From, from)
		} else {
			out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s of %s is not said by every policy, so %s wins", m.skipped, from, skippedFail))
		}
	}
	return out
}

func (e explainer) stateFailsIdentity(r Rules) Effect {
	out := Effect{Member: "notation.stateFailsIdentity", Value: fmt.Sprint(r.StateFailsIdentity)}
	for _, m := range e.matches {
		if m.stateFails {
			out.From = append(out.From, m.at("/notation/stateFailsIdentity"))
		}
	}
	return out
}

func (p *set) explainStoreAndLog(e explainer) []Effect {
	store, log := p.Store(), p.Log()
	permissions := Effect{Member: "store.permissions", Value: permissionsWarn + ": what the group can write is a warning"}
	region := Effect{Member: "store.multiRegion", Value: multiRegionAny + ": a multi-Region key may be answered by its replicas"}
	if store.StrictPermissions {
		permissions.Value = permissionsStrict + ": what the group can write is refused"
	}
	if store.ExactRegion {
		region.Value = multiRegionExact
	}
	for _, m := range e.matches {
		e.switched(&permissions, m, "/store/permissions", m.permissions, permissionsStrict, store.StrictPermissions)
		e.switched(&region, m, "/store/multiRegion", m.multiRegion, multiRegionExact, store.ExactRegion)
	}
	mode := Effect{Member: "log.mode", Value: logBestEffort}
	switch {
	case log.Off:
		mode.Value = logOff
	case log.Required:
		mode.Value = logRequired
	}
	path := Effect{Member: "log.path", Value: "the default place"}
	if log.Path != "" {
		path.Value = log.Path
	}
	rotate := Effect{Member: "log.rotateAt", Value: "never"}
	sync := Effect{Member: "log.sync", Value: fmt.Sprint(log.Sync)}
	for _, m := range e.matches {
		if m.log == nil {
			continue
		}
		if m.log.Mode != nil {
			from := m.at("/log/mode")
			if *m.log.Mode == mode.Value {
				mode.From = append(mode.From, from)
			} else {
				mode.Conflicts = append(mode.Conflicts, fmt.Sprintf("%s wins over %s of %s: it is the stricter", mode.Value, *m.log.Mode, from))
			}
		}
		if m.log.Path != nil {
			from := m.at("/log/path")
			if *m.log.Path == path.Value {
				path.From = append(path.From, from)
			} else {
				path.Conflicts = append(path.Conflicts, fmt.Sprintf("%s wins over %s of %s: the machine's place holds", path.Value, *m.log.Path, from))
			}
		}
		if m.log.RotateAt != nil {
			from := m.at("/log/rotateAt")
			switch rotate.Value {
			case "never":
				rotate.Value, rotate.From = *m.log.RotateAt, append(rotate.From, from)
			case *m.log.RotateAt:
				rotate.From = append(rotate.From, from)
			default:
				rotate.Conflicts = append(rotate.Conflicts, fmt.Sprintf("%s wins over %s of %s: the machine's size holds", rotate.Value, *m.log.RotateAt, from))
			}
		}
		if m.log.Sync != nil && *m.log.Sync {
			sync.From = append(sync.From, m.at("/log/sync"))
		}
	}
	return []Effect{permissions, region, mode, path, sync, rotate}
}

// switched adds what one policy says about a rule with a strict word.
func (explainer) switched(out *Effect, m match, pointer, word, strict string, isStrict bool) {
	switch {
	case word == "":
	case (word == strict) == isStrict:
		out.From = append(out.From, m.at(pointer))
	default:
		out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s wins over %s of %s: it is the stricter", strict, word, m.at(pointer)))
	}
}
