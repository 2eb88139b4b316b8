package policy

import (
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestConflicts: what is not followed is said, with both sides.
func TestConflicts(t *testing.T) {
	const m, h = machinePath, homePath
	for name, c := range map[string]struct {
		machine, home string
		member, value string
		from          []string
		conflicts     []string
	}{
		"age": {
			machine: with(`"restrictions":[{"name":"X","maxSnapshotAge":"24h"}]`),
			home:    with("\n" + `"restrictions":[{"name":"Y","maxSnapshotAge":"720h"}]`),
			member:  "maxSnapshotAge", value: "1d", from: []string{`restriction "X" (` + m + `:1)`},
			conflicts: []string{`maxSnapshotAge 1d of restriction "X" (` + m + `:1) wins over 30d of restriction "Y" (` + h + `:2)`},
		},
		"age, agreed": {
			home:   with(`"restrictions":[{"name":"X","maxSnapshotAge":"24h"},{"name":"Y","maxSnapshotAge":"1d"}]`),
			member: "maxSnapshotAge", value: "1d", from: []string{`restriction "X"`, `restriction "Y"`},
		},
		"notAfter": {
			home:   with(`"restrictions":[{"name":"X","notAfter":"2027-01-01T00:00:00Z"},{"name":"Y","notAfter":"2026-01-01T00:00:00Z"}]`),
			member: "notAfter", value: "2026-01-01T00:00:00Z", from: []string{`restriction "Y"`}, conflicts: []string{"wins over 2027-01-01T00:00:00Z of restriction \"X\""},
		},
		"notBefore": {
			home:   with(`"restrictions":[{"name":"X","notBefore":"2027-01-01T00:00:00Z"},{"name":"Y","notBefore":"2026-01-01T00:00:00Z"}]`),
			member: "notBefore", value: "2027-01-01T00:00:00Z", from: []string{`restriction "X"`}, conflicts: []string{"wins over 2026-01-01T00:00:00Z of restriction \"Y\""},
		},
		"algorithms": {
			machine: withRestriction(`"signingAlgorithms":["SM2DSA","ECDSA_SHA_256"]`), home: withRestriction(`"signingAlgorithms":["SM2DSA"]`),
			member: "signingAlgorithms", value: "SM2DSA", from: []string{m, h}, conflicts: []string{`ECDSA_SHA_256 of restriction "r" (` + m + `:1) is not allowed by another`},
		},
		"sources, none": {
			machine: withRestriction(`"sources":["kms"]`), home: withRestriction(`"sources":["file"]`),
			member: "sources", value: "none", from: []string{m, h}, conflicts: []string{"kms of", "file of"},
		},
		"list": {
			machine: withGrant(`"verify":true`), home: with(`"allowList":true`),
			member: "verify", value: "refused: the key is not on the list of allowed keys of the policy " + h, from: []string{m, h},
			conflicts: []string{`grant "g" (` + m + `:1) allows the key, and the list of allowed keys of /allowList (` + h + `:1), which does not, wins`},
		},
		"list, allowed": {
			home: withGrant(`"verify":true`), member: "verify", value: "allowed: the key is on the list of allowed keys", from: []string{"/allowList", `grant "g"`},
		},
		"states": {
			machine: with(""), home: withGrant(`"keyStates":["Disabled","Enabled"]`),
			member: "keyStates", value: "Enabled, Updating", conflicts: []string{`Disabled of grant "g" (` + h + `:1) is not allowed`},
		},
		"states, not granted": {
			home:   withRestriction(`"keyStates":["Enabled","Disabled"]`),
			member: "keyStates", value: "Enabled", from: []string{`restriction "r"`}, conflicts: []string{"Disabled of restriction \"r\" (" + h + ":1) does not verify: no grant gives it"},
		},
		"states, granted": {
			home: withGrant(`"keyStates":["Disabled"]`), member: "keyStates", value: "Enabled, Updating, Disabled", from: []string{`grant "g"`},
		},
		"Java helper": {
			machine: with(""), home: withGrant(`"sm2Entl":"aws-java-helper"`),
			member: "sm2Entl", value: "standard", conflicts: []string{`grant "g" (` + h + `:1) gives it, and ` + m + `, which does not, wins`},
		},
		"history": {
			home: withGrant(`"aliasHistory":"any"`), member: "aliasHistory", value: "any: a signature of a key that an alias meant once verifies", from: []string{`grant "g"`},
		},
		"pins": {
			machine: withRestriction(`"distinguishingId":"X"`), home: withRestriction(`"distinguishingId":"Y"`),
			member: "distinguishingId", value: "none", from: []string{m, h}, conflicts: []string{`"X" of restriction "r" (` + m + `:1) contradicts`, `"Y" of`},
		},
		"pin and exception": {
			home:   with(`"grants":[` + grantTo("g", keyA, `"distinguishingIds":["Y"]`) + `],"restrictions":[{"name":"r","distinguishingId":"X"}]`),
			member: "distinguishingId", value: `"X"; if the caller names it, "Y"`, from: []string{`restriction "r"`, `grant "g"`},
		},
		"exception, against": {
			machine: withRestriction(`"distinguishingId":"X"`), home: withGrant(`"distinguishingIds":["Y"]`),
			member: "distinguishingId", value: `"X"`, from: []string{m, h}, conflicts: []string{`"Y" of grant "g" (` + h + `:1) is not allowed by another policy's pin`},
		},
		"pins excepted": {
			home:   with(`"grants":[` + grantTo("g", keyA, `"distinguishingIds":["Z"]`) + `],"restrictions":[{"name":"r","distinguishingId":"X"},{"name":"s","distinguishingId":"Y"}]`),
			member: "distinguishingId", value: `"Z", and the caller must name one`, from: []string{`"r"`, `"s"`, `"g"`}, conflicts: []string{`"X" of`, `"Y" of`},
		},
		"skipped": {
			machine: with(""), home: with(`"notation":{"whenRevocationSkipped":"ignore"}`),
			member: "notation.whenRevocationSkipped", value: "fail: key state and age fail the identity", conflicts: []string{"ignore of /notation/whenRevocationSkipped (" + h + ":1) is not said by every policy, so fail wins"},
		},
		"permissions": {
			machine: with(`"store":{"permissions":"warn"}`), home: with(`"store":{"permissions":"strict"}`),
			member: "store.permissions", value: "strict: what the group can write is refused", from: []string{h}, conflicts: []string{"strict wins over warn of /store/permissions (" + m + ":1)"},
		},
		"log mode": {
			machine: with(`"log":{"mode":"required"}`), home: with(`"log":{"mode":"off"}`),
			member: "log.mode", value: "required", from: []string{m}, conflicts: []string{"required wins over off of /log/mode (" + h + ":1): it is the stricter"},
		},
		"log path": {
			machine: with(`"log":{"path":"/a"}`), home: with(`"log":{"path":"/b"}`),
			member: "log.path", value: local("/a"), from: []string{m}, conflicts: []string{local("/a") + " wins over " + local("/b") + " of /log/path (" + h + ":1): the machine's place holds"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			effects, err := setOf(t, c.machine, c.home).Explain(subject(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range effects {
				if e.Member != c.member {
					continue
				}
				if e.Value != c.value {
					t.Errorf("the value is %q", e.Value)
				}
				var from []string
				for _, o := range e.From {
					from = append(from, o.String())
				}
				for what, lists := range map[string][2][]string{"from": {from, c.from}, "conflicts": {e.Conflicts, c.conflicts}} {
					got, want := lists[0], lists[1]
					if len(got) != len(want) {
						t.Errorf("%s: got %q", what, got)
						continue
					}
					for i := range want {
						if !strings.Contains(got[i], want[i]) {
							t.Errorf("%s: got %q, expected %q", what, got[i], want[i])
						}
					}
				}
				return
			}
			t.Errorf("there is no %s", c.member)
		})
	}
}

func TestNone(t *testing.T) {
	p := None{}
	r, err := p.Rules(subject(t))
	if err != nil || !r.AllowJavaHelperENTL || p.Store() != (StoreRules{}) || p.Log() != (LogRules{}) || p.Aliases(kmskey.ARN{}) != nil || p.Files() != nil || p.Warnings() != nil {
		t.Errorf("%+v, %v", r, err)
	}
	effects, err := p.Explain(subject(t))
	if err != nil || len(effects) == 0 {
		t.Fatal(err)
	}
	for _, e := range effects {
		if len(e.From)+len(e.Conflicts) > 0 {
			t.Errorf("%+v", e)
		}
	}
}
