package keystore

import (
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestEscapeAlias(t *testing.T) {
	for alias, want := range map[string]string{
		"alias/release":                     "release",
		"alias/Release":                     "_release",
		"alias/_release":                    "__release",
		"alias/a/b":                         "a_.b",
		"alias/A/B_c-1":                     "_a_._b__c-1",
		"alias/aws/s3":                      "aws_.s3",
		"alias/con":                         "~" + hexSHA256([]byte("alias/con")),
		"alias/lpt1":                        "~" + hexSHA256([]byte("alias/lpt1")),
		"alias/CON":                         "_c_o_n",
		"alias/con1":                        "con1",
		"alias/con/x":                       "con_.x",
		"alias/" + strings.Repeat("x", 120): strings.Repeat("x", 120),
		"alias/" + strings.Repeat("x", 121): "~" + hexSHA256([]byte("alias/"+strings.Repeat("x", 121))),
		"alias/" + strings.Repeat("X", 60):  strings.Repeat("_x", 60),
		"alias/" + strings.Repeat("X", 61):  "~" + hexSHA256([]byte("alias/"+strings.Repeat("X", 61))),
		"alias/" + strings.Repeat("x", 250): "~" + hexSHA256([]byte("alias/"+strings.Repeat("x", 250))),
	} {
		if got := escapeAlias(alias); got != want {
			t.Errorf("%s: got %s, expected %s", alias, got, want)
		}
	}
	for _, name := range []string{"", "A", "_", "a_", "_1", "_A", "a/b", "..", "a.b", "con", strings.Repeat("x", 121),
		"~" + strings.Repeat("0", 64), "_.", "a_._.b", "_.a", "a b", "a\x00"} {
		if alias, ok := unescapeAlias(name); ok {
			t.Errorf("%q is taken for %q", name, alias)
		}
	}
}

// No two aliases share a file under any letter case, and a name says which alias it is or that it does not say.
func FuzzEscapeAlias(f *testing.F) {
	for _, pair := range [][2]string{{"a", "A"}, {"a/b", "a_.b"}, {"_a", "A"}, {"__", "_"}, {"con", "CON"}, {strings.Repeat("x", 250), strings.Repeat("X", 250)}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = aliasPrefix+a, aliasPrefix+b
		_, errA := kmskey.ParseAlias(a)
		_, errB := kmskey.ParseAlias(b)
		if errA != nil || errB != nil {
			t.Skip()
		}
		nameA, nameB := escapeAlias(a), escapeAlias(b)
		if (a == b) != strings.EqualFold(nameA, nameB) {
			t.Fatalf("%s and %s are %s and %s", a, b, nameA, nameB)
		}
		if len(nameA) > maxEscaped || strings.ToLower(nameA) != nameA || strings.ContainsAny(nameA, `/\:*?"<>|`+"\x00") || nameA[0] == '.' || nameA == "" {
			t.Fatalf("%s is %q, which is no name for a file", a, nameA)
		}
		back, ok := unescapeAlias(nameA)
		if ok != (nameA[0] != '~') || (ok && back != a) {
			t.Fatalf("%s is %s, and that is %q, %t", a, nameA, back, ok)
		}
	})
}

func FuzzUnescapeAlias(f *testing.F) {
	for _, name := range []string{"a", "_a", "a_.b", "~", "con", "__"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if alias, ok := unescapeAlias(name); ok && escapeAlias(alias) != name {
			t.Fatalf("%q is %q, which is %q", name, alias, escapeAlias(alias))
		}
	})
}

func FuzzDecodeAlias(f *testing.F) {
	f.Add([]byte(`{"Alias":"arn:aws:kms:us-east-1:111122223333:alias/a","TargetKeyId":"` + uuidA + `"}`))
	f.Add([]byte(`{"Alias":"arn:aws:kms:us-east-1:111122223333:alias/a","TargetKeyId":"` + mrkA + `","Time":"2026-11-23T11:00:00Z",` +
		`"History":[{"KeyId":"` + uuidB + `","From":1700000000,"To":"2026-11-23T11:00:00Z"}]}`))
	f.Add([]byte(`{"Alias":"arn:aws:kms:us-east-1:111122223333:alias/a","TargetKeyId":"","Time":"2026-11-23T11:00:00Z",` +
		`"History":[{"KeyId":"` + uuidB + `","To":"2026-11-23T11:00:00Z"}]}`))
	f.Add([]byte(`{"alias":1,"Alias":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAlias(data)
		if err != nil {
			return
		}
		if a.ARN.Scope.Check() != nil || a.TargetKeyID != "" && !isKeyID(a.TargetKeyID) { // empty: an alias that KMS no longer has
			t.Fatalf("took %+v", a)
		}
		again, err := encodeAlias(a)
		if err != nil {
			return // longer than it was
		}
		b, err := decodeAlias(again)
		if err != nil {
			t.Fatalf("wrote %s, which is refused: %v", again, err)
		}
		if b.ARN != a.ARN || b.TargetKeyID != a.TargetKeyID || !b.Time.Equal(a.Time.Time) || len(b.History) != len(a.History) {
			t.Fatalf("%+v became %+v", a, b)
		}
	})
}

func FuzzDecodeBlock(f *testing.F) {
	f.Add([]byte(`{"PublicKeySHA256":"` + strings.Repeat("0", 64) + `"}`))
	f.Add([]byte(`{"KeyId":"arn:aws:kms:us-east-1:111122223333:key/` + uuidA + `","Reason":"x","By":"y","Time":1,"Since":"2026-11-23T11:00:00Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodeBlock(data)
		if err != nil {
			return
		}
		if b.check() != nil || b.Path != "" || b.SHA256 != "" {
			t.Fatalf("took %+v", b)
		}
		again, err := encodeBlock(b)
		if err != nil {
			return
		}
		if c, err := decodeBlock(again); err != nil || c != b {
			t.Fatalf("%+v became %+v, %v", b, c, err)
		}
	})
}

func FuzzParseMarker(f *testing.F) {
	f.Add(markerName(arnA))
	f.Add("aws.us-east-1.111122223333")
	f.Fuzz(func(t *testing.T, name string) {
		if arn, ok := parseMarker(name); ok && markerName(arn) != name {
			t.Fatalf("%q is %v", name, arn)
		}
	})
}
