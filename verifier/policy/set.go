package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// set is the policies in force together, the machine's first. Each is judged by itself; what is in force is what all of
// them allow.
type set struct {
	sources  []*source
	files    []File
	warnings []string
}

// kmsStates verify in KMS itself.
var kmsStates = slices.DeleteFunc(slices.Clone(keyStates), func(s kmskey.KeyState) bool { return !s.Verifies() })

// match is what one policy says about one subject: its rules that are about the key.
type match struct {
	*source
	grants       []*grant
	restrictions []*restriction
}

// named says how a grant names a subject.
type named int

const (
	notNamed    named = iota
	formerAlias       // by an alias that meant the key once
	nowNamed          // by its ARN, or by an alias that means it now
)

func (g *grant) names(s Subject) named {
	if g.keys[s.ARN] {
		return nowNamed
	}
	for _, alias := range s.Aliases {
		if alias.Scope == s.ARN.Scope && g.aliases[alias] {
			return nowNamed
		}
	}
	// A bare alias was resolved in the key's own account and Region, as every alias is.
	if s.Asked.Alias == "" || !s.Asked.Scope.IsZero() && s.Asked.Scope != s.ARN.Scope ||
		!g.aliases[kmskey.AliasARN{Scope: s.ARN.Scope, Alias: s.Asked.Alias}] {
		return notNamed
	}
	if s.Former {
		return formerAlias
	}
	return nowNamed
}

func (r *restriction) concerns(arn kmskey.ARN) bool {
	return r.keys == nil || slices.ContainsFunc(r.keys, func(p pattern) bool { return p.matches(arn) })
}

func (p *set) match(s Subject) []match {
	matches := make([]match, len(p.sources))
	for i, src := range p.sources {
		m := match{source: src}
		for j := range src.grants {
			g := &src.grants[j]
			switch g.names(s) {
			case nowNamed:
				m.grants = append(m.grants, g)
			case formerAlias:
				// It meant the key once, so it says that this may count, and nothing else about the key.
				if g.history {
					m.grants = append(m.grants, &grant{origin: g.origin, history: true, historyNotation: g.historyNotation})
				}
			}
		}
		for j := range src.restrictions {
			if src.restrictions[j].concerns(s.ARN) {
				m.restrictions = append(m.restrictions, &src.restrictions[j])
			}
		}
		matches[i] = m
	}
	return matches
}

// any reports whether one of the grants gives it.
func (m match) any(gives func(*grant) bool) bool { return slices.ContainsFunc(m.grants, gives) }

// all reports whether every policy gives it.
func all(matches []match, gives func(match) bool) bool {
	return !slices.ContainsFunc(matches, func(m match) bool { return !gives(m) })
}

// intersect keeps of a what is in b; nil restricts nothing, and what was restricted stays so.
func intersect[T comparable](a, b []T) []T {
	switch {
	case b == nil:
		return a
	case a == nil:
		return slices.Clone(b)
	}
	both := []T{}
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
		}
	}
	return both
}

// Store returns the stricter of every policy.
func (p *set) Store() StoreRules {
	var r StoreRules
	for _, s := range p.sources {
		r.ExactRegion = r.ExactRegion || s.multiRegion == multiRegionExact
		r.StrictPermissions = r.StrictPermissions || s.permissions == permissionsStrict
	}
	return r
}

// Log returns the stricter of every policy; of two places the machine's.
func (p *set) Log() LogRules {
	r := LogRules{Off: len(p.sources) > 0}
	for _, s := range p.sources {
		mode := s.logMode()
		r.Off = r.Off && mode == logOff // to log nothing is a widening: every policy must give it
		r.Required = r.Required || mode == logRequired
		if s.log == nil {
			continue
		}
		r.Sync = r.Sync || s.log.Sync != nil && *s.log.Sync
		if s.log.RotateAt != nil && r.RotateBytes == 0 {
			r.RotateBytes, _ = parseSize(*s.log.RotateAt) // checked when it was read
		}
		if r.Path == "" && s.log.Path != nil {
			r.Path = *s.log.Path
		}
	}
	return r
}

func (s *source) logMode() string {
	if s.log == nil || s.log.Mode == nil {
		return logBestEffort
	}
	return *s.log.Mode
}

// Files returns the files read.
func (p *set) Files() []File { return slices.Clone(p.files) }

// Granted returns what the grants name.
func (p *set) Granted() (all []Granted) {
	for _, s := range p.sources {
		for _, g := range s.grants {
			var keys []string
			for arn := range g.keys {
				keys = append(keys, arn.String())
			}
			for alias := range g.aliases {
				keys = append(keys, alias.String())
			}
			slices.Sort(keys)
			all = append(all, Granted{g.origin, keys})
		}
	}
	return all
}

// Warnings returns what was met on reading.
func (p *set) Warnings() []string { return slices.Clone(p.warnings) }

// Aliases returns the aliases of grants in the key's scope, sorted.
func (p *set) Aliases(arn kmskey.ARN) []kmskey.AliasARN {
	// Not by searching the list: a policy may name thousands, and every decision asks.
	known := make(map[kmskey.AliasARN]bool)
	for _, s := range p.sources {
		for i := range s.grants {
			for alias := range s.grants[i].aliases {
				if alias.Scope == arn.Scope {
					known[alias] = true
				}
			}
		}
	}
	found := slices.Collect(maps.Keys(known))
	slices.SortFunc(found, func(a, b kmskey.AliasARN) int { return strings.Compare(a.Alias, b.Alias) })
	return found
}

// Rules combines what every policy says about the subject.
func (p *set) Rules(s Subject) (Rules, error) {
	if s.ARN == (kmskey.ARN{}) {
		return Rules{}, kmserr.New(kmserr.Internal, "the policy was asked about no key ARN")
	}
	return combine(p.match(s)), nil
}

func combine(matches []match) Rules {
	r := Rules{AllowJavaHelperENTL: all(matches, func(m match) bool { return m.any(givesJavaHelper) })}
	if len(matches) == 0 {
		return r
	}
	r.AllowAliasHistory = all(matches, func(m match) bool { return m.any(givesHistory) })
	r.AllowAliasHistoryForNotation = all(matches, func(m match) bool { return m.any(givesHistoryForNotation) })
	r.IgnoreStateWhenRevocationSkipped = all(matches, func(m match) bool { return m.skipped == skippedIgnore })
	for _, m := range matches {
		r.StateFailsIdentity = r.StateFailsIdentity || m.stateFails
		if r.Excluded == "" && m.excludes() {
			r.Excluded = "is not on the list of allowed keys of the policy " + m.path
		}
		r.KeyStates = intersect(r.KeyStates, m.states())
		for _, t := range m.restrictions {
			r.narrow(t.only)
		}
	}
	if slices.Equal(r.KeyStates, kmsStates) {
		r.KeyStates = nil
	}
	r.DistinguishingID, r.DistinguishingIDs = pinned(matches)
	for _, m := range matches {
		r.Applied = append(r.Applied, m.applied()...)
	}
	return r
}

// excludes reports whether the policy has a list of allowed keys, and this key is not on it.
func (m match) excludes() bool { return m.allowList && !m.any(givesVerify) }

// states are KMS's own and those that grants add, before any restriction.
func (m match) states() []kmskey.KeyState {
	var states []kmskey.KeyState
	for _, s := range keyStates {
		if s.Verifies() || m.any(func(g *grant) bool { return slices.Contains(g.keyStates, s) }) {
			states = append(states, s)
		}
	}
	return states
}

// pins are the distinguishing IDs that the policy's restrictions fix, each once.
func (m match) pins() []kmskey.DistinguishingID {
	var pins []kmskey.DistinguishingID
	for _, t := range m.restrictions {
		if t.id.Given() && !slices.Contains(pins, t.id) {
			pins = append(pins, t.id)
		}
	}
	return pins
}

// ids are those that a policy with a pin lets a caller name: the pin, if its restrictions agree on one, and what grants
// except. nil without a pin.
func (m match) ids() []kmskey.DistinguishingID {
	pins := m.pins()
	if pins == nil {
		return nil
	}
	ids := []kmskey.DistinguishingID{}
	if len(pins) == 1 {
		ids = append(ids, pins[0])
	}
	for _, g := range m.grants {
		for _, id := range g.ids {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// pinned returns what a caller gets who names none, and all that may be named. A pin that another policy's pin or
// restrictions forbid is none.
func pinned(matches []match) (pin kmskey.DistinguishingID, ids []kmskey.DistinguishingID) {
	var pins []kmskey.DistinguishingID
	for _, m := range matches {
		ids = intersect(ids, m.ids())
		pins = append(pins, m.pins()...)
	}
	for _, p := range pins {
		if !slices.Contains(ids, p) {
			continue
		}
		if pin.Given() && pin != p {
			return kmskey.DistinguishingID{}, ids
		}
		pin = p
	}
	return pin, ids
}

// applied names what has a part in the rules of a key.
func (m match) applied() []string {
	var names []string
	if m.allowList {
		names = append(names, m.at("/allowList").String())
	}
	if m.stateFails {
		names = append(names, m.at("/notation/stateFailsIdentity").String())
	}
	if m.skipped == skippedIgnore {
		names = append(names, m.at("/notation/whenRevocationSkipped").String())
	}
	for _, g := range m.grants {
		names = append(names, g.origin.String())
	}
	for _, t := range m.restrictions {
		names = append(names, t.origin.String())
	}
	return names
}

// The grants' gifts.
func givesVerify(g *grant) bool             { return g.verify }
func givesJavaHelper(g *grant) bool         { return g.javaHelper }
func givesHistory(g *grant) bool            { return g.history }
func givesHistoryForNotation(g *grant) bool { return g.history && g.historyNotation }

func (r *Rules) narrow(o only) {
	r.SigningAlgorithms = intersect(r.SigningAlgorithms, o.algorithms)
	r.MessageTypes = intersect(r.MessageTypes, o.types)
	r.KeyStates = intersect(r.KeyStates, o.states)
	r.OnlyKeyStates = intersect(r.OnlyKeyStates, o.states)
	r.Sources = intersect(r.Sources, o.sources)
	r.RequireKnownState = r.RequireKnownState || o.knownState()
	if o.age != 0 && (r.MaxSnapshotAge == 0 || o.age < r.MaxSnapshotAge) {
		r.MaxSnapshotAge = o.age
	}
	if o.notBefore.After(r.NotBefore) {
		r.NotBefore = o.notBefore
	}
	if !o.notAfter.IsZero() && (r.NotAfter.IsZero() || o.notAfter.Before(r.NotAfter)) {
		r.NotAfter = o.notAfter
	}
}
