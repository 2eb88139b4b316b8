package keystore

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// BenchmarkResolve shows that a look-up costs the same however many keys there are.
func BenchmarkResolve(b *testing.B) {
	der := material(b)
	for _, size := range []int{10, 1_000, 100_000} {
		home := newHome(b)
		// Written by hand: what is measured is reading, and a hundred thousand flushes take their time.
		writeFile(b, home, ".made", "")
		for i := range size {
			arn := kmskey.ARN{Scope: east, KeyID: fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", i)}
			key := record(b, arn, der, nil)
			data, err := key.Encode()
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
		s := openT(b, home)
		for _, form := range []struct{ name, asked string }{
			{"ARN", "arn:aws:kms:us-east-1:111122223333:key/%08x-12ab-34cd-56ef-1234567890ab"},
			{"key-ID", "%08x-12ab-34cd-56ef-1234567890ab"},
			{"alias-ARN", "arn:aws:kms:us-east-1:111122223333:alias/key-%d"},
			{"alias", "alias/key-%d"},
		} {
			b.Run(fmt.Sprintf("%s/%d", form.name, size), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					asked, err := kmskey.ParseRef(fmt.Sprintf(form.asked, i%size))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := s.Resolve(asked, ResolveOptions{}); err != nil {
						b.Fatal(explain(err))
					}
				}
			})
		}
	}
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
