package policy

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
)

// The keys of RandomPair's policies, and the alias that some of its grants name.
const (
	TestKeyA, TestKeyB, TestAliasA = keyA, keyB, aliasA
	// TestMoved is an alias that some grants name, too.
	TestMoved = aliasMoved
	// TestPin is the only distinguishing ID that RandomPair's restrictions fix.
	TestPin = "X"
)

// RandomPair returns the policies of a machine ("" for none) and a home, twice: as they are, and changed in one way that
// must not widen them, which how names.
func RandomPair(source *rand.Rand) (before, after [2]string, how string) {
	r := randomPolicy{source}
	docs := [2]document{r.document(), r.document()}
	if r.one(2) {
		docs[0] = document{}
	}
	changed := docs
	i := 1
	if docs[0].Version != "" && r.one(2) {
		i = 0
	}
	changed[i], how = r.stricter(docs[i])
	text := func(docs [2]document) (texts [2]string) {
		for i, d := range docs {
			if d.Version == "" {
				continue
			}
			d.Restrictions = slices.Clone(d.Restrictions)
			for j := range d.Restrictions {
				if pin := TestPin; d.Restrictions[j].DistinguishingID != nil {
					d.Restrictions[j].DistinguishingID = &pin
				}
			}
			b, err := json.Marshal(d)
			if err != nil {
				panic(err)
			}
			texts[i] = string(b)
		}
		return texts
	}
	return text(docs), text(changed), how
}
