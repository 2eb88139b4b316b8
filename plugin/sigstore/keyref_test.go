package sigstore

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestProtocolNames holds the names to the client's.
func TestProtocolNames(t *testing.T) {
	for ours, theirs := range map[string]string{
		protocolVersion:           common.ProtocolVersion,
		methodDefaultAlgorithm:    common.DefaultAlgorithmMethodName,
		methodSupportedAlgorithms: common.SupportedAlgorithmsMethodName,
		methodCreateKey:           common.CreateKeyMethodName,
		methodPublicKey:           common.PublicKeyMethodName,
		methodSignMessage:         common.SignMessageMethodName,
		methodVerifySignature:     common.VerifySignatureMethodName,
	} {
		if ours != theirs {
			t.Errorf("%q is %q in the client", ours, theirs)
		}
	}
}

func TestParseKeyReference(t *testing.T) {
	id := func(text string) kmskey.DistinguishingID { return must(kmskey.ParseDistinguishingID(text)) }
	const arn = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
	for _, c := range []struct {
		text string
		want keyReference
	}{
		{"alias/a", keyReference{keyID: "alias/a"}},
		{"/alias/a", keyReference{keyID: "alias/a"}},
		{"alias/a/b", keyReference{keyID: "alias/a/b"}},
		{arn, keyReference{keyID: arn}},
		{"/" + arn, keyReference{keyID: arn}},
		{"b7935bd4-23e0-4377-9361-7ea4c0edc257", keyReference{keyID: "b7935bd4-23e0-4377-9361-7ea4c0edc257"}},
		{"arn%3aaws:kms:us-east-1:111122223333:alias%2Fa", keyReference{keyID: "arn:aws:kms:us-east-1:111122223333:alias/a"}},
		{"alias/a?signing-algorithm=RSASSA_PSS_SHA_256", keyReference{keyID: "alias/a", algorithm: kmskey.RSASSAPSSSHA256}},
		{"alias/a?distinguishing-id=ALICE%26CO%3D1", keyReference{keyID: "alias/a", distinguishingID: id("ALICE&CO=1")}},
		{"alias/a?distinguishing-id=a=b", keyReference{keyID: "alias/a", distinguishingID: id("a=b")}},
		{"alias/a?distinguishing-id=a+b?c", keyReference{keyID: "alias/a", distinguishingID: id("a+b?c")}},
		{"alias/a?distinguishing-id=", keyReference{keyID: "alias/a", distinguishingID: id("")}},
		{"alias/a?distinguishing-id=hex:00ff&sm2-entl=aws-java-helper", keyReference{keyID: "alias/a", distinguishingID: id("hex:00ff"), entl: kmskey.ENTLAWSJavaHelper}},
		{"alias/a?sm2-entl=standard", keyReference{keyID: "alias/a"}},
		// What is no KMS identifier is for the verifier to refuse: one place knows their forms.
		{"nonsense", keyReference{keyID: "nonsense"}},
		{strings.Repeat("a", maxReference), keyReference{keyID: strings.Repeat("a", maxReference)}},
	} {
		got, err := parseKeyReference(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q gave %+v, %v, expected %+v", c.text, got, err, c.want)
		}
	}
}

func TestParseKeyReferenceRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                                   "names no key",
		"/":                                  "names no key",
		"?signing-algorithm=ECDSA_SHA_256":   "names no key",
		"localhost:4566/alias/a":             `names "localhost:4566" before the key "alias/a", and no host is asked`,
		"kms.us-east-1.amazonaws.com/alias/": "no host is asked",
		"//alias/a":                          "starts with 4 slashes",
		"///":                                "starts with 5 slashes",
		"alias/a%zz":                         "invalid URL escape",
		"alias/a?":                           `the option "" of the key reference has no value`,
		"alias/a?signing-algorithm":          "has no value",
		"alias/a?signing-algorithm=":         "expected one of KMS's",
		"alias/a?signing-algorithm=ecdsa":    `is "ecdsa", expected one of KMS's: `,
		"alias/a?SIGNING-ALGORITHM=SM2DSA":   `unknown option "SIGNING-ALGORITHM"`,
		"alias/a?signing-algorithm=SM2DSA&signing-algorithm=SM2DSA": "stands twice",
		"alias/a?distinguishing-id=a&distinguishing-id=":            "stands twice",
		"alias/a?distinguishing-id=%":                               "invalid URL escape",
		"alias/a?distinguishing-id=hex:0":                           "starts with hex:",
		"alias/a?sm2-entl=other":                                    "expected standard or aws-java-helper",
		"alias/a?message-type=DIGEST":                               "no option message-type",
		"alias/a?home=/tmp":                                         `unknown option "home"`,
		"alias/a?&":                                                 "has no value",
		"alias/a?%73igning-algorithm=SM2DSA":                        "unknown option",
		strings.Repeat("a", maxReference+1):                         "bytes long, expected at most",
	} {
		ref, err := parseKeyReference(text)
		if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.80q gave %+v, %v, expected %q", text, ref, err, says)
		}
	}
	if _, err := parseKeyReference("alias/a?signing-algorithm=ecdsa-sha256"); kmserr.As(err).Hint != "Did you mean ECDSA_SHA_256?" {
		t.Errorf("got the hint %q", kmserr.As(err).Hint)
	}
}

// FuzzDecodeCall: a call that is taken has one reading, the client's own.
func FuzzDecodeCall(f *testing.F) {
	f.Add(verifyCall("alias/a?signing-algorithm=SM2DSA", []byte("signature")).text())
	f.Add(digestCall("/alias/a", nil, []byte("digest")).text())
	f.Add(newCall("alias/a", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).with("unknown", []int{1}).text())
	f.Add(newCall("alias/a", "createKey", object{"algorithm": "x"}).text())
	f.Fuzz(func(t *testing.T, text string) {
		c, err := decodeCall([]string{"v1", text}, time.Unix(0, 0))
		if err != nil {
			if !kmserr.Is(err, kmserr.Validation) && !kmserr.Is(err, kmserr.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			return
		}
		var theirs common.PluginArgs
		if err := json.Unmarshal([]byte(text), &theirs); err != nil {
			t.Fatalf("the client's own types cannot read it: %v", err)
		}
		if theirs.MethodName != c.MethodName || theirs.InitOptions.KeyResourceID != c.InitOptions.KeyResourceID || c.limit <= 0 || c.limit > deadline {
			t.Errorf("got %+v, the client's types say %+v", c, theirs)
		}
		if c.MethodName == common.VerifySignatureMethodName && !bytes.Equal(theirs.VerifySignature.Signature, c.VerifySignature.Signature) {
			t.Errorf("another signature")
		}
	})
}

// FuzzPercentDecoded holds percentDecoded to net/url.
func FuzzPercentDecoded(f *testing.F) {
	for _, text := range []string{"", "a", "%", "%2", "%2f", "a%2Fb%00+", "%zz", "%%41", "a%4", "%41%", "%c3%a9é"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, wantErr := url.PathUnescape(text)
		if got, err := percentDecoded(text); got != want || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%q gave %q, %v, and net/url %q, %v", text, got, err, want, wantErr)
		}
	})
}

func FuzzParseKeyReference(f *testing.F) {
	for _, text := range []string{"alias/a", "/alias/a?signing-algorithm=SM2DSA&distinguishing-id=%00&sm2-entl=standard", "host/alias/a", "%2f?a=b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := parseKeyReference(text)
		if err != nil {
			return
		}
		if ref.keyID == "" || ref.algorithm != "" && !ref.algorithm.Known() {
			t.Errorf("%q gave %+v", text, ref)
		}
		if again, err := parseKeyReference("/" + text); !strings.HasPrefix(text, "/") && (err != nil || again != ref) {
			t.Errorf("%q gave %+v, with three slashes %+v, %v", text, ref, again, err)
		}
	})
}
