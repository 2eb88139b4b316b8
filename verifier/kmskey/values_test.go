package kmskey

import (
	"bytes"
	"crypto"
	"slices"
	"strings"
	"testing"
	"time"
)

// specs is kms-facts' table: every spec with its usages and signing algorithms.
var specs = map[KeySpec]struct {
	usages     []KeyUsage
	algorithms []SigningAlgorithm
}{
	RSA2048:             {[]KeyUsage{SignVerify, EncryptDecrypt}, rsaSix},
	RSA3072:             {[]KeyUsage{SignVerify, EncryptDecrypt}, rsaSix},
	RSA4096:             {[]KeyUsage{SignVerify, EncryptDecrypt}, rsaSix},
	ECCNISTP256:         {[]KeyUsage{SignVerify, KeyAgreement}, []SigningAlgorithm{"ECDSA_SHA_256"}},
	ECCNISTP384:         {[]KeyUsage{SignVerify, KeyAgreement}, []SigningAlgorithm{"ECDSA_SHA_384"}},
	ECCNISTP521:         {[]KeyUsage{SignVerify, KeyAgreement}, []SigningAlgorithm{"ECDSA_SHA_512"}},
	ECCSECGP256K1:       {[]KeyUsage{SignVerify}, []SigningAlgorithm{"ECDSA_SHA_256"}},
	ECCNISTEdwards25519: {[]KeyUsage{SignVerify}, []SigningAlgorithm{"ED25519_SHA_512", "ED25519_PH_SHA_512"}},
	MLDSA44:             {[]KeyUsage{SignVerify}, []SigningAlgorithm{"ML_DSA_SHAKE_256"}},
	MLDSA65:             {[]KeyUsage{SignVerify}, []SigningAlgorithm{"ML_DSA_SHAKE_256"}},
	MLDSA87:             {[]KeyUsage{SignVerify}, []SigningAlgorithm{"ML_DSA_SHAKE_256"}},
	SM2:                 {[]KeyUsage{SignVerify, EncryptDecrypt, KeyAgreement}, []SigningAlgorithm{"SM2DSA"}},
	MLKEM512:            {[]KeyUsage{EncapsulateDecapsulate}, nil},
	MLKEM768:            {[]KeyUsage{EncapsulateDecapsulate}, nil},
	MLKEM1024:           {[]KeyUsage{EncapsulateDecapsulate}, nil},
}

var rsaSix = []SigningAlgorithm{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
	"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512"}

func TestSpecs(t *testing.T) {
	signing := 0
	used := make(map[SigningAlgorithm]bool)
	for spec, want := range specs {
		if got := spec.Usages(); !slices.Equal(got, want.usages) {
			t.Errorf("%s: usages %s", spec, JoinNames(got))
		}
		got := spec.SigningAlgorithms()
		if !slices.Equal(got, want.algorithms) {
			t.Errorf("%s: algorithms %s", spec, JoinNames(got))
		}
		if len(got) > 0 {
			signing++
			got[0] = "spoilt"
			if spec.SigningAlgorithms()[0] == "spoilt" {
				t.Errorf("%s: the list can be changed from outside", spec)
			}
		}
		for _, a := range want.algorithms {
			used[a] = true
		}
	}
	if signing != 12 || len(used) != 13 || len(SigningAlgorithms()) != 13 {
		t.Errorf("%d signing specs, %d algorithms of specs, %d in the list; expected 12, 13, 13", signing, len(used), len(SigningAlgorithms()))
	}
	for _, none := range []KeySpec{"", "SYMMETRIC_DEFAULT", "HMAC_256", "rsa_2048", "RSA_1024"} {
		if none.Usages() != nil || none.SigningAlgorithms() != nil {
			t.Errorf("%q is a spec", none)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	digest := map[SigningAlgorithm]int{
		RSASSAPSSSHA256: 32, RSASSAPSSSHA384: 48, RSASSAPSSSHA512: 64, RSASSAPKCS1SHA256: 32, RSASSAPKCS1SHA384: 48, RSASSAPKCS1SHA512: 64,
		ECDSASHA256: 32, ECDSASHA384: 48, ECDSASHA512: 64, SM2DSA: 32, ED25519PHSHA512: 64, ED25519SHA512: 0, MLDSASHAKE256: 0,
	}
	for _, a := range SigningAlgorithms() {
		size, listed := digest[a]
		if !listed || !a.Known() || a.DigestSize() != size {
			t.Errorf("%s: digest of %d bytes, expected %d", a, a.DigestSize(), size)
		}
		if a.Takes(Raw) != (a != ED25519PHSHA512) || a.Takes(Digest) != (size > 0) || a.Takes(ExternalMu) != (a == MLDSASHAKE256) {
			t.Errorf("%s takes RAW %t, DIGEST %t, EXTERNAL_MU %t", a, a.Takes(Raw), a.Takes(Digest), a.Takes(ExternalMu))
		}
		if a.Takes(MessageTypeUnset) || a.Takes("raw") {
			t.Errorf("%s takes message types that are none", a)
		}
		if h := a.Hash(); h != 0 && h.Size() != size || h == 0 && size != 0 && a != SM2DSA {
			t.Errorf("%s: hash %v", a, h)
		}
	}
	for _, a := range []SigningAlgorithm{"", "ecdsa_sha_256", "ECDSA_SHA_1", "ECDSA_SHA_256 "} {
		if a.Known() || a.Hash() != crypto.Hash(0) || a.DigestSize() != 0 || a.Takes(Raw) || a.Takes(Digest) || a.Takes(ExternalMu) {
			t.Errorf("%q is an algorithm", a)
		}
	}
}

func TestStates(t *testing.T) {
	for _, s := range []KeyState{StateUnknown, StateCreating, StateDisabled, StatePendingDeletion, StatePendingImport,
		StatePendingReplicaDel, StateUnavailable, "enabled", "Frozen"} {
		if s.Verifies() {
			t.Errorf("%s verifies", s)
		}
	}
	if !StateEnabled.Verifies() || !StateUpdating.Verifies() {
		t.Error("Enabled or Updating does not verify")
	}
	if StateUnknown.String() != "unknown" || StateDisabled.String() != "Disabled" {
		t.Error("a state has another name")
	}
}

func TestTime(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-11-23T11:00:00Z"`:                "2026-11-23T11:00:00Z",
		`"2026-03-02T09:15:27.416000+00:00"`:    "2026-03-02T09:15:27.416Z",
		`"2026-03-02T10:15:27.416000+01:00"`:    "2026-03-02T09:15:27.416Z",
		`"2026-03-02T10:15:27+0100"`:            "2026-03-02T09:15:27Z",
		`"2026-03-02T09:15:27.123456789-00:00"`: "2026-03-02T09:15:27.123456789Z",
		`1772442927.416`:                        "2026-03-02T09:15:27.416Z",
		`1772442927`:                            "2026-03-02T09:15:27Z",
		`1.772442927416E9`:                      "2026-03-02T09:15:27.416Z",
		`0`:                                     "1970-01-01T00:00:00Z",
		`253402300799`:                          "9999-12-31T23:59:59Z",
	} {
		var got Time
		if err := got.UnmarshalJSON([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		written, err := got.MarshalJSON()
		if err != nil || string(written) != `"`+want+`"` || got.Location() != time.UTC {
			t.Errorf("%s is written %s (%v), expected %s", text, written, err, want)
		}
		var again Time
		if err := again.UnmarshalJSON(written); err != nil || !again.Equal(got.Time) {
			t.Errorf("%s is read again as %s (%v)", written, again, err)
		}
	}
	for _, text := range []string{`""`, `"2026-11-23"`, `"2026-11-23T11:00:00"`, `"2026-11-23 11:00:00Z"`, `"now"`, `"1772442927"`,
		`"2026-02-30T11:00:00Z"`, `"1969-12-31T23:59:59Z"`, `"9999-12-31T23:59:59-01:00"`, `"0001-01-01T00:00:00Z"`, `-1`, `253402300799.9999`,
		`253402300800`, `1e400`, `NaN`, `inf`, `null`, `true`, `{}`, `[]`, ``, `"`, `"\u0032026-11-23T11:00:00Z"`} {
		var got Time
		if err := got.UnmarshalJSON([]byte(text)); err == nil || !got.IsZero() {
			t.Errorf("%s was read as %s (%v)", text, got, err)
		}
	}
	if got, err := ParseTime("2026-11-23T12:00:00+01:00"); err != nil || !got.Equal(time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("got %s, %v", got, err)
	}
	for _, text := range []string{"", "1772442927", "yesterday", `"`, "2026-11-23T11:00:00Z\x00"} {
		if got, err := ParseTime(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

func TestParseAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "720h": 720 * time.Hour, "15m": 15 * time.Minute, "1s": time.Second, "99999d": 99999 * 24 * time.Hour} {
		if got, ok := ParseAge(text); !ok || got != want {
			t.Errorf("%s was read as %s, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "d", "7", "0d", "07d", "+7d", "-7d", "7 d", "7D", "7w", "1h30m", "1.5h", "100000s", "７d", "d7"} {
		if got, ok := ParseAge(text); ok || got != 0 {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

func TestFormatAge(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		want string
	}{
		{720 * time.Hour, "30d"}, {36 * time.Hour, "36h"}, {24 * time.Hour, "1d"}, {90 * time.Minute, "90m"}, {90 * time.Second, "90s"},
		{99999 * 24 * time.Hour, "99999d"}, {1500 * time.Millisecond, "1.5s"}, {0, "0s"},
	} {
		got := FormatAge(c.age)
		if got != c.want {
			t.Errorf("%d is written %s, expected %s", c.age, got, c.want)
		}
		if again, ok := ParseAge(got); ok && again != c.age {
			t.Errorf("%s is read as %s", got, again)
		}
	}
}

func TestDistinguishingID(t *testing.T) {
	for _, c := range []struct {
		text, bytes, again string
	}{
		{"1234567812345678", "1234567812345678", "1234567812345678"},
		{"", "", ""},
		{"hex:", "", ""},
		{"hex:616263", "abc", "abc"},
		{"hex:FF00", "\xff\x00", "hex:ff00"},
		{"hex:6865783a", "hex:", "hex:6865783a"},
		{"HEX:41", "HEX:41", "HEX:41"},
		{"schlüssel", "schlüssel", "schlüssel"},
		{"a\nb", "a\nb", "hex:610a62"},
		{" a ", " a ", " a "},
		{strings.Repeat("a", MaxDistinguishingID), strings.Repeat("a", MaxDistinguishingID), strings.Repeat("a", MaxDistinguishingID)},
	} {
		id, err := ParseDistinguishingID(c.text)
		if err != nil || !id.Given() || string(id.Bytes()) != c.bytes || id.String() != c.again {
			t.Errorf("%.20q: %v %q %q (%v)", c.text, id.Given(), id.Bytes(), id, err)
		}
		if again, err := ParseDistinguishingID(id.String()); err != nil || again != id {
			t.Errorf("%.20q: %q reads as %q (%v)", c.text, id, again, err)
		}
	}
	for _, text := range []string{"hex:4", "hex:4g", "hex: 41", "hex:0x41", strings.Repeat("a", MaxDistinguishingID+1),
		strings.Repeat("ü", 4096), "hex:" + strings.Repeat("00", MaxDistinguishingID+1)} {
		if id, err := ParseDistinguishingID(text); err == nil || id.Given() {
			t.Errorf("%.20q is an ID", text)
		}
	}
	_, err := NewDistinguishingID(make([]byte, 8192))
	refused(t, err, "8192 bytes long, expected at most 8191")

	var none DistinguishingID
	empty, err := NewDistinguishingID(nil)
	if err != nil || none.Given() || !empty.Given() || none == empty || none.Bytes() != nil || empty.Bytes() == nil {
		t.Error("the empty ID and none are the same")
	}
	raw := []byte("abc")
	id, err := NewDistinguishingID(raw)
	raw[0] = 'x'
	id.Bytes()[1] = 'x'
	if err != nil || !bytes.Equal(id.Bytes(), []byte("abc")) {
		t.Errorf("an ID can be changed from outside: %q", id)
	}
}

// What cannot be shown as text is shown in hexadecimal digits.
func TestDistinguishingIDAsText(t *testing.T) {
	for id, want := range map[string]string{"plain": "plain", "\xff": "hex:ff", "\x7f": "hex:7f", "\x1f": "hex:1f", "hex:": "hex:6865783a", " ~": " ~", "": ""} { //nolint:gocritic // the space is meant
		d, err := NewDistinguishingID([]byte(id))
		if err != nil || d.String() != want {
			t.Errorf("%q: %q, %v, expected %q", id, d, err, want)
		}
	}
}

// A number that is no time is told as such, not as one of another year.
func TestNumbersThatAreNoTime(t *testing.T) {
	for _, text := range []string{"-1", "-0.001", "253402300800", "1e300", "1e400"} {
		var at Time
		if err := at.UnmarshalJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), text+" is no time") || !at.IsZero() {
			t.Errorf("%s: %v, %v", text, at, err)
		}
	}
	var at Time
	if err := at.UnmarshalJSON([]byte("253402300799")); err != nil || at.Year() != 9999 {
		t.Errorf("%v, %v", at, err)
	}
}

func TestENTL(t *testing.T) {
	if ENTLStandard != 0 {
		t.Error("the zero value is not the standard")
	}
	for name, want := range map[string]ENTL{"standard": ENTLStandard, "aws-java-helper": ENTLAWSJavaHelper} {
		if rule, known := ENTLNamed(name); rule != want || !known || want.String() != name {
			t.Errorf("%s is the rule %s, known: %t", name, rule, known)
		}
	}
	for _, name := range []string{"", "Standard", "aws-java-helper "} {
		if rule, known := ENTLNamed(name); rule != ENTLStandard || known {
			t.Errorf("%q is the rule %s, known: %t", name, rule, known)
		}
	}
	if ENTL(7).String() != "standard" {
		t.Error("there are other rules")
	}
}

// What a caller does with a list must not change what verifies.
func TestListsAreTheCallersOwn(t *testing.T) {
	for range 2 {
		if !SM2DSA.Known() || SigningAlgorithm("SM9DSA").Known() || !SM2PKE.Known() {
			t.Fatal("a caller changed what KMS has")
		}
		for _, a := range [][]SigningAlgorithm{SigningAlgorithms(), RSA2048.SigningAlgorithms(), SM2.SigningAlgorithms()} {
			for i := range a {
				a[i] = "SM9DSA"
			}
		}
		clear(EncryptionAlgorithms())
		clear(MessageTypes())
		clear(KeySpecs())
	}
	if KeySpecs()[0] != RSA2048 || MessageTypes()[0] != Raw || !slices.Equal(SM2.SigningAlgorithms(), []SigningAlgorithm{SM2DSA}) ||
		slices.Contains(RSA2048.SigningAlgorithms(), "SM9DSA") {
		t.Error("a caller changed what KMS has")
	}
}

func TestNearestName(t *testing.T) {
	for text, want := range map[string]SigningAlgorithm{
		"ecdsa-sha-256": ECDSASHA256, "ECDSA_SHA256": ECDSASHA256, "RSASSA_PSS_SHA_265": RSASSAPSSSHA256, "RSASSA_PKCS1_V1_5_SHA512": RSASSAPKCS1SHA512,
		"ED25519_SHA512": ED25519SHA512, "SM2_DSA": SM2DSA, "ml_dsa_shake256": MLDSASHAKE256, "HS256": "", "ECDSA_SHA_1": "",
		"rsassa-pss-sha-256": RSASSAPSSSHA256, "RSASSA_PSS_SHA256": RSASSAPSSSHA256, "ECDSA_SHA_26": ECDSASHA256, "ECDSA_SHA_2": "", "": "", "ECDSA": "", "RSASSA_PSS": "",
	} {
		if got := nearestName(text, SigningAlgorithms()); got != want {
			t.Errorf("%q: got %q, expected %q", text, got, want)
		}
	}
	if got := HintNearest("sm2", SigningAlgorithms()); got != "" {
		t.Errorf("got %q", got)
	}
	if got := HintNearest("RSAES-OAEP-SHA256", EncryptionAlgorithms()); got != "Did you mean RSAES_OAEP_SHA_256?" {
		t.Errorf("got %q", got)
	}
}

// TestEncryptionAlgorithms: the specs that encrypt are RSA's and SM2, and what goes with none of them takes no plaintext.
func TestEncryptionAlgorithms(t *testing.T) {
	rsa := map[EncryptionAlgorithm][3]int{RSAESOAEPSHA1: {214, 342, 470}, RSAESOAEPSHA256: {190, 318, 446}}
	for _, spec := range KeySpecs() {
		want := map[EncryptionAlgorithm]int{}
		switch i := slices.Index([]KeySpec{RSA2048, RSA3072, RSA4096}, spec); {
		case i >= 0:
			for a, most := range rsa {
				want[a] = most[i]
			}
		case spec == SM2:
			want[SM2PKE] = 1024
		}
		if got := spec.EncryptionAlgorithms(); len(got) != len(want) {
			t.Errorf("%s: got %v", spec, got)
		}
		for _, a := range append(slices.Clone(EncryptionAlgorithms()), "", "RSAES_OAEP_SHA_512") {
			if got := a.MaxPlaintext(spec); got != want[a] {
				t.Errorf("%s with %s: at most %d bytes, expected %d", a, spec, got, want[a])
			}
			if slices.Contains(spec.EncryptionAlgorithms(), a) != (want[a] > 0) {
				t.Errorf("%s with %s: %v", a, spec, spec.EncryptionAlgorithms())
			}
		}
	}
}

// TestTimeThatIsNoNumber: what ParseFloat takes and JSON has not is no time.
func TestTimeThatIsNoNumber(t *testing.T) {
	for _, text := range []string{"NaN", "Inf", "-Inf", "-1", "253402300800", "1e300"} {
		if err := new(Time).UnmarshalJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), text+" is no time: expected") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
