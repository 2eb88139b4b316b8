package kmskey

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	uuid   = "1234abcd-12ab-34cd-56ef-1234567890ab"
	mrk    = "mrk-1234abcd12ab34cd56ef1234567890ab"
	prefix = "arn:aws:kms:us-east-1:111122223333:"
)

// refused demands a ValidationException whose fact and hint hold every text.
func refused(t testing.TB, err error, holds ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	e := kmserr.As(err)
	if e.Name != kmserr.Validation {
		t.Fatalf("got %s, expected a ValidationException", err)
	}
	if e.Fact == "" || strings.HasSuffix(e.Fact, ".") {
		t.Errorf("the fact is no sentence without a period: %q", e.Fact)
	}
	for _, text := range holds {
		if !strings.Contains(e.Fact+" | "+e.Hint, text) {
			t.Errorf("%q is not in: %s | %s", text, e.Fact, e.Hint)
		}
	}
}

func TestParseRef(t *testing.T) {
	scope := Scope{Partition: "aws", Region: "us-east-1", Account: "111122223333"}
	in := func(partition, region string) Scope { return Scope{partition, region, "111122223333"} }
	long := "alias/" + strings.Repeat("a", 250)
	for _, c := range []struct {
		text string
		want Ref
	}{
		{uuid, Ref{KeyID: uuid}},
		{mrk, Ref{KeyID: mrk}},
		{"00000000-0000-0000-0000-000000000000", Ref{KeyID: "00000000-0000-0000-0000-000000000000"}},
		{"alias/release", Ref{Alias: "alias/release"}},
		{"alias/a", Ref{Alias: "alias/a"}},
		{"alias/Team_1/prod-2/Key", Ref{Alias: "alias/Team_1/prod-2/Key"}},
		{"alias/aws/ebs", Ref{Alias: "alias/aws/ebs"}},
		{"alias/key", Ref{Alias: "alias/key"}},
		{"alias/alias/x", Ref{Alias: "alias/alias/x"}},
		{"alias/" + uuid, Ref{Alias: "alias/" + uuid}},
		{"alias/-", Ref{Alias: "alias/-"}},
		{long, Ref{Alias: long}},
		{prefix + "key/" + uuid, Ref{Scope: scope, KeyID: uuid}},
		{prefix + "key/" + mrk, Ref{Scope: scope, KeyID: mrk}},
		{prefix + "alias/a/b", Ref{Scope: scope, Alias: "alias/a/b"}},
		{prefix + long, Ref{Scope: scope, Alias: long}},
		{"arn:aws-cn:kms:cn-northwest-1:111122223333:key/" + uuid, Ref{Scope: in("aws-cn", "cn-northwest-1"), KeyID: uuid}},
		{"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/" + uuid, Ref{Scope: in("aws-us-gov", "us-gov-west-1"), KeyID: uuid}},
		{"arn:aws-iso-b:kms:us-isob-east-1:111122223333:key/" + uuid, Ref{Scope: in("aws-iso-b", "us-isob-east-1"), KeyID: uuid}},
		{"arn:aws-iso:kms:us-iso-east-1:111122223333:alias/x", Ref{Scope: in("aws-iso", "us-iso-east-1"), Alias: "alias/x"}},
		{"arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/" + mrk, Ref{Scope: in("aws-eusc", "eusc-de-east-1"), KeyID: mrk}},
		{"arn:aws:kms:abcdefghijkl-1:111122223333:key/" + uuid, Ref{Scope: in("aws", "abcdefghijkl-1"), KeyID: uuid}},
		{"arn:aws-a-b-c:kms:xy-1-2-3-4:111122223333:key/" + uuid, Ref{Scope: in("aws-a-b-c", "xy-1-2-3-4"), KeyID: uuid}},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := ParseRef(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %+v, expected %+v", got, c.want)
			}
			if got.String() != c.text {
				t.Errorf("String says %s", got)
			}
			arn, isARN := got.ARN()
			if want := strings.Contains(c.text, ":key/"); isARN != want || isARN && arn.String() != c.text {
				t.Errorf("ARN says %s, %t", arn, isARN)
			}
			alias, isAlias := got.AliasARN()
			if want := strings.Contains(c.text, ":alias/"); isAlias != want || isAlias && alias.String() != c.text {
				t.Errorf("AliasARN says %s, %t", alias, isAlias)
			}
			parsed, err := ParseARN(c.text)
			if isARN != (err == nil) || isARN && parsed != arn || !isARN && parsed != (ARN{}) {
				t.Errorf("ParseARN says %+v, %v", parsed, err)
			}
			if arn.MultiRegion() != strings.HasSuffix(c.text, mrk) {
				t.Errorf("MultiRegion says %t", arn.MultiRegion())
			}
		})
	}
}

func TestParseRefRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"empty":                      {"", "is empty"},
		"too long":                   {strings.Repeat("a", MaxIdentifier+1), "2049 bytes long"},
		"too long an ARN":            {prefix + "alias/" + strings.Repeat("a", MaxIdentifier), "bytes long"},
		"a word":                     {"release", "Is alias/release meant? Give"},
		"cosign's reference":         {"awskms-offline:///alias/release", "without awskms-offline://, which"},
		"upper-case UUID":            {strings.ToUpper(uuid), "lower case: " + uuid},
		"upper-case MRK":             {strings.ToUpper(mrk), "lower case: " + mrk},
		"UUID without dashes":        {strings.ReplaceAll(uuid, "-", ""), "four forms"},
		"UUID, dashes moved":         {"1234abcd1-2ab-34cd-56ef-1234567890ab", "four forms"},
		"UUID, one digit more":       {uuid + "0", "four forms"},
		"UUID, one digit less":       {uuid[:35], "four forms"},
		"UUID, no hexadecimal":       {"g" + uuid[1:], "four forms"},
		"UUID in braces":             {"{" + uuid + "}", "four forms"},
		"MRK, one digit less":        {mrk[:35], "four forms"},
		"MRK with dashes":            {"mrk-" + uuid, "four forms"},
		"space before":               {" " + uuid, "four forms"},
		"line end after":             {uuid + "\n", "four forms"},
		"NUL after":                  {uuid + "\x00", "four forms"},
		"key/ without an ARN":        {"key/" + uuid, "four forms"},
		"a fullwidth digit":          {"１" + uuid[1:], "four forms"},
		"Alias/":                     {"Alias/release", "case-sensitive"},
		"ARN:":                       {strings.ToUpper(prefix) + "key/" + uuid, "case-sensitive"},
		"alias without a name":       {"alias/", "single /"},
		"alias, leading slash":       {"alias//release", "single /"},
		"alias, trailing slash":      {"alias/release/", "single /"},
		"alias, double slash":        {"alias/a//b", "single /"},
		"alias, dots":                {"alias/..", "single /"},
		"alias, dots within":         {"alias/../../etc/passwd", "single /"},
		"alias, one dot":             {"alias/a.b", "single /"},
		"alias, backslash":           {`alias/a\b`, "single /"},
		"alias, colon":               {"alias/a:b", "single /"},
		"alias, NUL":                 {"alias/a\x00b", "single /"},
		"alias, NUL at the end":      {"alias/a\x00", "single /"},
		"alias, space":               {"alias/a b", "single /"},
		"alias, line end":            {"alias/a\n", "single /"},
		"alias, percent":             {"alias/%2e%2e", "single /"},
		"alias, tilde":               {"alias/~a", "single /"},
		"alias, star":                {"alias/*", "single /"},
		"alias, umlaut":              {"alias/schlüssel", "single /"},
		"alias, bad UTF-8":           {"alias/\xff", "single /"},
		"alias of 257 characters":    {"alias/" + strings.Repeat("a", 251), "257 characters long, expected at most 256"},
		"ARN, alias of 257":          {prefix + "alias/" + strings.Repeat("a", 251), "257 characters long, expected at most 256"},
		"ARN alone":                  {"arn:", "2 parts, expected 6"},
		"ARN cut short":              {"arn:aws:kms:us-east-1:111122223333", "5 parts, expected 6"},
		"ARN of S3":                  {"arn:aws:s3:us-east-1:111122223333:key/" + uuid, `of the service "s3", expected kms`},
		"ARN of KMS":                 {"arn:aws:KMS:us-east-1:111122223333:key/" + uuid, `of the service "KMS"`},
		"ARN without a service":      {"arn:aws::us-east-1:111122223333:key/" + uuid, `of the service ""`},
		"ARN, partition AWS":         {"arn:AWS:kms:us-east-1:111122223333:key/" + uuid, `the partition "AWS"`},
		"ARN, partition awscn":       {"arn:awscn:kms:us-east-1:111122223333:key/" + uuid, `the partition "awscn"`},
		"ARN, partition aws-":        {"arn:aws-:kms:us-east-1:111122223333:key/" + uuid, `the partition "aws-"`},
		"ARN, partition aws-CN":      {"arn:aws-CN:kms:cn-north-1:111122223333:key/" + uuid, `the partition "aws-CN"`},
		"ARN, partition of 5 parts":  {"arn:aws-a-b-c-d:kms:us-east-1:111122223333:key/" + uuid, "the partition"},
		"ARN, a long partition":      {"arn:aws-" + strings.Repeat("a", 17) + ":kms:us-east-1:111122223333:key/" + uuid, "the partition"},
		"ARN, partition with a path": {"arn:aws-../..:kms:us-east-1:111122223333:key/" + uuid, "the partition"},
		"ARN, no partition":          {"arn::kms:us-east-1:111122223333:key/" + uuid, `the partition ""`},
		"ARN, no Region":             {"arn:aws:kms::111122223333:key/" + uuid, `the Region ""`},
		"ARN, Region of one part":    {"arn:aws:kms:useast1:111122223333:key/" + uuid, `the Region "useast1"`},
		"ARN, Region without number": {"arn:aws:kms:us:111122223333:key/" + uuid, "the Region"},
		"ARN, Region of 13 letters":  {"arn:aws:kms:abcdefghijklm-1:111122223333:key/" + uuid, "the Region"},
		"ARN, Region u-1":            {"arn:aws:kms:u-1:111122223333:key/" + uuid, "the Region"},
		"ARN, Region US-EAST-1":      {"arn:aws:kms:US-EAST-1:111122223333:key/" + uuid, "the Region"},
		"ARN, Region ..":             {"arn:aws:kms:..:111122223333:key/" + uuid, "the Region"},
		"ARN, Region with a slash":   {"arn:aws:kms:us-east-1/..:111122223333:key/" + uuid, "the Region"},
		"ARN, Region star":           {"arn:aws:kms:*:111122223333:key/" + uuid, "the Region"},
		"ARN, Region of 6 parts":     {"arn:aws:kms:us-1-2-3-4-5:111122223333:key/" + uuid, "the Region"},
		"ARN, Region ends with -":    {"arn:aws:kms:us-east-:111122223333:key/" + uuid, "the Region"},
		"ARN, 11 digits":             {"arn:aws:kms:us-east-1:11112222333:key/" + uuid, "not twelve digits"},
		"ARN, 13 digits":             {"arn:aws:kms:us-east-1:1111222233334:key/" + uuid, "not twelve digits"},
		"ARN, account in letters":    {"arn:aws:kms:us-east-1:aaaabbbbcccc:key/" + uuid, "not twelve digits"},
		"ARN, Arabic digits":         {"arn:aws:kms:us-east-1:١١١١٢٢:key/" + uuid, "not twelve digits"},
		"ARN, no account":            {"arn:aws:kms:us-east-1::key/" + uuid, "not twelve digits"},
		"ARN, no resource":           {prefix, "neither a key nor an alias"},
		"ARN, no key ID":             {prefix + "key/", "neither a lower-case UUID"},
		"ARN, upper-case key":        {prefix + "key/" + strings.ToUpper(uuid), "neither a lower-case UUID"},
		"ARN, Key/":                  {prefix + "Key/" + uuid, "neither a key nor an alias"},
		"ARN, key ID alone":          {prefix + uuid, "neither a key nor an alias"},
		"ARN, key:ID":                {prefix + "key:" + uuid, "neither a key nor an alias"},
		"ARN, key star":              {prefix + "key/*", "neither a lower-case UUID"},
		"ARN, key with a path":       {prefix + "key/../" + uuid, "neither a lower-case UUID"},
		"ARN, key and more":          {prefix + "key/" + uuid + ":x", "neither a lower-case UUID"},
		"ARN, key and a slash":       {prefix + "key/" + uuid + "/", "neither a lower-case UUID"},
		"ARN, key and a NUL":         {prefix + "key/" + uuid + "\x00", "neither a lower-case UUID"},
		"ARN, a grant":               {prefix + "grant/x", "neither a key nor an alias"},
		"ARN, alias with dots":       {prefix + "alias/../x", "single /"},
		"ARN, alias slash at end":    {prefix + "alias/x/", "single /"},
		"ARN, alias star":            {prefix + "alias/*", "single /"},
		"ARN twice":                  {prefix + "key/" + prefix + "key/" + uuid, "neither a lower-case UUID"},
		"a URL":                      {"awskms:///" + prefix + "key/" + uuid, "four forms"},
		"an x509 subject":            {"x509.subject:CN=x", "four forms"},
		"a star":                     {"*", "four forms"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRef(c.text)
			if got != (Ref{}) {
				t.Errorf("got %+v with an error", got)
			}
			refused(t, err, c.says)
			if kmserr.As(err).Hint == "" && !strings.Contains(name, "257") {
				t.Errorf("no hint: %v", err)
			}
			if arn, err := ParseARN(c.text); err == nil || arn != (ARN{}) {
				t.Errorf("ParseARN says %+v, %v", arn, err)
			}
		})
	}
}

// TestForms holds the forms to the regular expressions that say the same, for each sample with any byte at any place replaced,
// left out, put in before and put at the end, and for what is as long as allowed and longer.
func TestForms(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, form := range []struct {
		name    string
		is      func(string) bool
		pattern string
		samples []string
	}{
		{"partition", isPartition, `^aws(-[a-z0-9]{1,16}){0,3}$`, []string{"aws", "aws-cn", "aws-us-gov", "aws-az09-b-c", "aws-a-b-c-d", "aws-" + x(16), "aws-" + x(17), "Aws"}},
		{"region", isRegion, `^[a-z]{2,12}(-[a-z0-9]{1,16}){1,4}$`, []string{"us-east-1", "az-a-b-c-09", "az-a-b-c-d-e", "us", x(2) + "-1", x(12) + "-1", x(13) + "-1", "us-" + x(16), "us-" + x(17)}},
		{"account", isAccount, `^[0-9]{12}$`, []string{"012345678901", "999999999999"}},
		{"key ID", isKeyID, `^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`, []string{uuid, mrk, "0123456789abcdef-0f-0f-0f-0123456789", "09afaf09-09af-09af-09af-09af09af09af"}},
		{"alias", isAlias, `^alias(/[A-Za-z0-9_-]+)+$`, []string{"alias/AZaz09_-", "alias/a/b/c", "alias/", "alias", "alias/a//b", "Alias/a"}},
	} {
		pattern := regexp.MustCompile(form.pattern)
		ran, yes := 0, 0
		check := func(text string) {
			ran++
			want := pattern.MatchString(text)
			if want {
				yes++
			}
			if form.is(text) != want {
				t.Errorf("%s %q: %t, expected %t", form.name, text, !want, want)
			}
		}
		check("")
		for _, sample := range form.samples {
			check(sample)
			for i := range len(sample) {
				check(sample[:i] + sample[i+1:])
				for c := range 256 {
					check(sample[:i] + string([]byte{byte(c)}) + sample[i+1:])
					check(sample[:i] + string([]byte{byte(c)}) + sample[i:])
				}
			}
			for c := range 256 {
				check(sample + string([]byte{byte(c)}))
			}
		}
		if yes == 0 || yes == ran {
			t.Errorf("%s: %d of %d are such", form.name, yes, ran)
		}
	}
}

// An identifier may be as long as KMS allows, and not a byte longer.
func TestLongestIdentifier(t *testing.T) {
	for n, says := range map[int]string{MaxIdentifier: "none of KMS's four forms", MaxIdentifier + 1: "2049 bytes long, expected at most 2048"} {
		if _, err := ParseRef(strings.Repeat("x", n)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestParseAlias(t *testing.T) {
	if got, err := ParseAlias("alias/a/b"); err != nil || got != "alias/a/b" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", "release", "Alias/x", "alias/", "alias/a/", "alias//a", "alias/..", "alias/a\x00", prefix + "alias/a"} {
		if got, err := ParseAlias(bad); err == nil || got != "" || !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%q: got %q, %v", bad, got, err)
		}
	}
	_, err := ParseAlias("release")
	refused(t, err, "Write alias/release.")
}

func TestZeroValuesAreNothing(t *testing.T) {
	if s := (ARN{}).String() + (AliasARN{}).String() + (Ref{}).String(); s != "" {
		t.Errorf("got %q", s)
	}
	if _, ok := (Ref{}).ARN(); ok {
		t.Error("the zero Ref is a key ARN")
	}
	if _, ok := (Ref{}).AliasARN(); ok {
		t.Error("the zero Ref is an alias ARN")
	}
	if !(Scope{}).IsZero() || (Scope{}).Check() == nil {
		t.Error("the zero Scope is a scope")
	}
}

// FuzzParseRef: what is accepted is written as it was read, and no part of it is anything but a plain name in a path.
func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{uuid, mrk, "alias/a/b", prefix + "key/" + uuid, prefix + "alias/a", "arn:aws-cn:kms:cn-north-1:111122223333:key/" + mrk,
		"alias/../x", prefix + "key/..", "arn:aws:kms:../..:111122223333:key/" + uuid, "alias/a\x00", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseRef(text)
		if err != nil {
			if ref != (Ref{}) || kmserr.As(err).Name != kmserr.Validation || kmserr.As(err).Fact == "" {
				t.Fatalf("%q: %+v, %v", text, ref, err)
			}
			return
		}
		if ref.String() != text || (ref.KeyID == "") == (ref.Alias == "") || len(text) > MaxIdentifier {
			t.Fatalf("%q was read as %+v", text, ref)
		}
		if again, err := ParseRef(ref.String()); err != nil || again != ref {
			t.Fatalf("%q reads as %+v, then as %+v, %v", text, ref, again, err)
		}
		parts := strings.Split(ref.Alias, "/")
		if ref.Alias != "" && (parts[0] != "alias" || len(parts) < 2) {
			t.Fatalf("%q: the alias is %q", text, ref.Alias)
		}
		if ref.KeyID != "" {
			parts = []string{ref.KeyID}
		}
		if !ref.Scope.IsZero() {
			parts = append(parts, ref.Scope.Partition, ref.Scope.Region, ref.Scope.Account)
		}
		for _, part := range parts {
			if part == "" || strings.ContainsAny(part, "./\\:~*?\x00 ") || path.Clean(part) != part || filepath.Base(part) != part {
				t.Fatalf("%q: the part %q is no plain name", text, part)
			}
			for _, c := range []byte(part) {
				if c <= ' ' || c > '~' {
					t.Fatalf("%q: the part %q holds the byte %#x", text, part, c)
				}
			}
		}
	})
}

// TestHintsOfRefusedRefs: a hint is given where it leads on, and nowhere else.
func TestHintsOfRefusedRefs(t *testing.T) {
	const forms = "Give a key ARN"
	for text, hint := range map[string]string{
		"release":                        "Is alias/release meant? " + forms,
		"Release_2/x":                    "Is alias/Release_2/x meant? " + forms,
		"key/release":                    forms,
		"key/" + strings.Repeat("0", 36): forms,
		"mrk-1234":                       forms,
		"1234abcd-12ab":                  forms,
		"release 2":                      forms,
		"/release":                       forms,
		"ALIAS/x":                        "Identifiers are case-sensitive",
		"awskms:///alias":                "Give the key alone, without awskms://",
	} {
		_, err := ParseRef(text)
		if got := kmserr.As(err).Hint; !strings.HasPrefix(got, hint) {
			t.Errorf("%s: got %q, expected %q", text, got, hint)
		}
	}
}
