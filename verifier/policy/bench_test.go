package policy

import (
	"testing"
)

// BenchmarkLoad is what a policy costs a verification: reading two files, and the rules of one key.
func BenchmarkLoad(b *testing.B) {
	many := with(`"allowList":true,"grants":[{"name":"g","verify":true,"keys":["` + keyA + `",` + many(`"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567%05d"`, 9999) + `]}]`)
	strict, err := StrictFor(keyA)
	if err != nil {
		b.Fatal(err)
	}
	s := subject(b)
	for name, text := range map[string]string{"none": "", "strict": string(strict), "10000 keys": many} {
		b.Run(name, func(b *testing.B) {
			m, h := folders(b, text, text)
			for b.Loop() {
				p, err := load(h, m)
				if err != nil {
					b.Fatal(err)
				}
				if r, err := p.Rules(s); err != nil || r.Excluded != "" {
					b.Fatal(r, err)
				}
			}
		})
	}
}
