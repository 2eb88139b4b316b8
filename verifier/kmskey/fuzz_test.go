package kmskey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// FuzzParseARN: AWS's own parser reads the same out of every ARN that is taken.
func FuzzParseARN(f *testing.F) {
	for _, seed := range []string{prefix + "key/" + uuid, prefix + "alias/a/b", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/" + mrk,
		"arn:aws:kms:us-east-1:111122223333:key/" + uuid + ":x", "arn:aws:s3:::bucket", "arn:aws:kms::111122223333:key/" + uuid, "arn:", uuid} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ours, err := ParseRef(text)
		if err != nil || ours.Scope.IsZero() {
			if key, err := ParseARN(text); err == nil {
				t.Fatalf("%q is no ARN, and is the key %v", text, key)
			}
			return
		}
		theirs, err := arn.Parse(text)
		if err != nil {
			t.Fatalf("%q is taken here, and AWS says: %v", text, err)
		}
		resource := ours.Alias
		if ours.KeyID != "" {
			resource = "key/" + ours.KeyID
		}
		if want := (arn.ARN{Partition: ours.Scope.Partition, Service: "kms", Region: ours.Scope.Region, AccountID: ours.Scope.Account, Resource: resource}); theirs != want {
			t.Fatalf("%q reads as %+v here, and AWS reads %+v", text, ours, theirs)
		}
		key, err := ParseARN(text)
		if (err == nil) != (ours.KeyID != "") || err == nil && key.String() != text {
			t.Fatalf("%q is the key ARN %v (%v)", text, key, err)
		}
	})
}

// FuzzRecordAsJSON: whatever is taken for a record or for key metadata, encoding/json reads the same values out of it.
func FuzzRecordAsJSON(f *testing.F) {
	names, err := filepath.Glob(testdata + "/records/*.json")
	if err != nil || len(names) == 0 {
		f.Fatalf("no records: %v", err)
	}
	for _, name := range names {
		f.Add(read(f, "records/"+filepath.Base(name)))
	}
	f.Add(full(f).json(f))
	f.Add([]byte(`{"PublicKey":"AA==","KeyUsage":"SIGN_VERIFY","keyusage":"ENCRYPT_DECRYPT"}`))
	f.Add([]byte(`{"KeyMetadata":{"KeyState":"Enabled","KeyState":"Disabled"}}`))
	type metadata struct {
		Arn, KeyId, KeyState, KeySpec, KeyUsage string
		Enabled, MultiRegion                    *bool
	}
	read := func(m metadata) string {
		say := func(p *bool) string {
			if p == nil {
				return "absent"
			}
			return fmt.Sprint(*p)
		}
		return fmt.Sprintf("%q", []string{m.Arn, m.KeyId, m.KeyState, m.KeySpec, m.KeyUsage, say(m.Enabled), say(m.MultiRegion)})
	}
	ours := func(m KeyMetadata) metadata {
		return metadata{m.Arn, m.KeyID, string(m.KeyState), string(m.KeySpec), string(m.KeyUsage), m.Enabled, m.MultiRegion}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := DecodeDescribeKey(data); err == nil {
			var std struct{ KeyMetadata metadata }
			if err := json.Unmarshal(data, &std); err != nil || read(ours(m)) != read(std.KeyMetadata) {
				t.Fatalf("%s: key metadata %+v here, %+v (%v) in encoding/json", data, m, std, err)
			}
		} else if m.KeyState != "" || !kmserr.Is(err, kmserr.Validation) {
			t.Fatalf("%+v beside %v", m, err)
		}
		r, err := DecodeRecord(data)
		if err != nil {
			return
		}
		var std struct {
			KeyId, KeySpec, KeyUsage, CustomerMasterKeySpec                          string
			PublicKey                                                                []byte
			SigningAlgorithms, EncryptionAlgorithms, KeyAgreementAlgorithms, Aliases []string
			KeyMetadata                                                              *metadata
			Snapshot                                                                 struct{ Source, PublicKeySHA256 string }
			DistinguishingId                                                         *string
		}
		if err := json.Unmarshal(data, &std); err != nil {
			t.Fatalf("%s is a record here, and encoding/json says %v", data, err)
		}
		same := r.KeyID == std.KeyId && string(r.KeySpec) == std.KeySpec && string(r.KeyUsage) == std.KeyUsage &&
			string(r.CustomerMasterKeySpec) == std.CustomerMasterKeySpec && bytes.Equal(r.PublicKey, std.PublicKey) &&
			fmt.Sprintf("%q", [][]string{texts(r.SigningAlgorithms), r.EncryptionAlgorithms, r.KeyAgreementAlgorithms, r.Aliases}) ==
				fmt.Sprintf("%q", [][]string{std.SigningAlgorithms, std.EncryptionAlgorithms, std.KeyAgreementAlgorithms, std.Aliases}) &&
			r.Snapshot.Source == std.Snapshot.Source && r.Snapshot.PublicKeySHA256 == std.Snapshot.PublicKeySHA256 &&
			(r.KeyMetadata == nil) == (std.KeyMetadata == nil) && (r.KeyMetadata == nil || read(ours(*r.KeyMetadata)) == read(*std.KeyMetadata)) &&
			(r.DistinguishingID == nil) == (std.DistinguishingId == nil) && (r.DistinguishingID == nil || *r.DistinguishingID == *std.DistinguishingId)
		if !same {
			t.Fatalf("%s reads as %+v here, as %+v in encoding/json", data, r, std)
		}
	})
}

func texts[T ~string](names []T) []string {
	var all []string
	for _, n := range names {
		all = append(all, string(n))
	}
	return all
}

// FuzzTime: a number is the seconds that it says, to the millisecond; text is what package time reads; and what is written
// reads the same again.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{`1700000000.123`, `"2026-11-23T11:00:00.5+01:00"`, `"2026-11-23T11:00:00+0100"`, `253402300799`, `1e9`, `-1`, `"2026"`, `0.9999`, `"\u0032026-11-23T11:00:00Z"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) || bytes.ContainsAny(data, " \t\r\n") {
			return // strictjson hands over whole values only
		}
		var at Time
		if err := at.UnmarshalJSON(data); err != nil {
			if !at.IsZero() {
				t.Fatalf("%s: %v beside %v", data, at, err)
			}
			return
		}
		if data[0] == '"' {
			text := strings.Trim(string(data), `"`)
			want, err := time.Parse(time.RFC3339, text)
			if err != nil {
				want, err = time.Parse("2006-01-02T15:04:05Z0700", text)
			}
			if err != nil || !want.Equal(at.Time) {
				t.Fatalf("%s reads as %v, expected %v, %v", data, at, want, err)
			}
		} else {
			seconds, ok := new(big.Rat).SetString(string(data))
			if !ok {
				seconds = new(big.Rat) // its exponent is beyond big.Rat, so what is not out of range is nothing
			}
			got := new(big.Rat).SetFrac64(at.UnixMilli(), 1000)
			if off := got.Sub(got, seconds); off.Abs(off).Cmp(big.NewRat(1, 1000)) > 0 {
				t.Fatalf("%s reads as %v, which is %v seconds off", data, at, off.FloatString(6))
			}
		}
		written, err := at.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var again Time
		if err := again.UnmarshalJSON(written); err != nil || !again.Equal(at.Time) {
			t.Fatalf("%s is written as %s, which reads as %v, %v", data, written, again, err)
		}
	})
}

// FuzzDistinguishingID: text and bytes of an ID say the same both ways, and none of them is "not given".
func FuzzDistinguishingID(f *testing.F) {
	for _, seed := range []string{"", DefaultDistinguishingID, "hex:", "hex:00ff", "hex:0", "HEX:00", "a\x00b", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseDistinguishingID(text)
		if err != nil {
			if id.Given() || !kmserr.Is(err, kmserr.Validation) {
				t.Fatalf("%q: %v, %v", text, id, err)
			}
			return
		}
		if !id.Given() || len(id.Bytes()) > MaxDistinguishingID || !strings.HasPrefix(text, "hex:") && string(id.Bytes()) != text {
			t.Fatalf("%q is %x", text, id.Bytes())
		}
		if again, err := ParseDistinguishingID(id.String()); err != nil || again != id {
			t.Fatalf("%q is written as %q, which reads as %x, %v", text, id, again.Bytes(), err)
		}
	})
}
