package keystore

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// BenchmarkResolve shows that a look-up costs the same however many keys there are: the same look-ups in turn in stores of
// 10, 1,000 and 100,000 keys, and the medians of their ratios to the first.
func BenchmarkResolve(b *testing.B) {
	sizes := []int{10, 1_000, 100_000}
	var stores []*Store
	for _, size := range sizes {
		stores = append(stores, storeOfMany(b, size))
	}
	for _, form := range []struct{ name, asked string }{
		{"ARN", "arn:aws:kms:us-east-1:111122223333:key/%08x-12ab-34cd-56ef-1234567890ab"},
		{"key-ID", "%08x-12ab-34cd-56ef-1234567890ab"},
		{"alias-ARN", "arn:aws:kms:us-east-1:111122223333:alias/key-%d"},
		{"alias", "alias/key-%d"},
	} {
		b.Run(form.name, func(b *testing.B) {
			const lookUps = 20
			times := make([][]time.Duration, len(sizes))
			ratios := make([][]float64, len(sizes))
			n := 0
			for b.Loop() {
				var took [3]time.Duration
				for turn := range sizes {
					which := (turn + n) % len(sizes)
					refs := make([]kmskey.Ref, lookUps)
					for i := range refs {
						var err error
						// A prime step, so that no look-up is of a neighbour of the last one.
						if refs[i], err = kmskey.ParseRef(fmt.Sprintf(form.asked, (n*lookUps+i)*7919%sizes[which])); err != nil {
							b.Fatal(err)
						}
					}
					start := time.Now()
					for _, ref := range refs {
						if _, err := stores[which].Resolve(ref, ResolveOptions{}); err != nil {
							b.Fatal(explain(err))
						}
					}
					took[which] = time.Since(start)
				}
				for which, d := range took {
					times[which] = append(times[which], d/lookUps)
					ratios[which] = append(ratios[which], float64(d)/float64(took[0]))
				}
				n++
			}
			for which, size := range sizes {
				slices.Sort(times[which])
				slices.Sort(ratios[which])
				b.ReportMetric(float64(times[which][n/2].Nanoseconds())/1000, fmt.Sprintf("µs/%d", size))
				if which > 0 {
					b.ReportMetric(ratios[which][n/2], fmt.Sprintf("x-10/%d", size))
				}
			}
		})
	}
}

// storeOfMany is written by hand: what is measured is reading, and a hundred thousand flushes take their time.
func storeOfMany(b *testing.B, size int) *Store {
	der, home := material(b), newHome(b)
	writeFile(b, home, ".made", "")
	for i := range size {
		arn := kmskey.ARN{Scope: east, KeyID: fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", i)}
		data, err := record(b, arn, der, nil).Encode()
		if err != nil {
			b.Fatal(err)
		}
		writeFile(b, home, recordPath(arn), string(data))
		alias := AliasEntry{ARN: kmskey.AliasARN{Scope: east, Alias: "alias/key-" + strconv.Itoa(i)}, TargetKeyID: arn.KeyID}
		if data, err = encodeAlias(alias); err != nil {
			b.Fatal(err)
		}
		writeFile(b, home, aliasPath(alias.ARN), string(data))
	}
	return openT(b, home)
}

func BenchmarkOpen(b *testing.B) {
	home := storeOf(b, record(b, arnA, material(b), nil))
	for b.Loop() {
		s, err := Open(home, Options{})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
