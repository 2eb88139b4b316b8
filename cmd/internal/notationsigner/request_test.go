package notationsigner

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const someARN = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"

// TestOptions: an option is known, has a value that means something, and comes once.
func TestOptions(t *testing.T) {
	abs := must(filepath.Abs("x"))
	for name, c := range map[string]struct {
		config string
		says   string
	}{
		"unknown":            {`{"certificate_chain":"x"}`, `no plugin option "certificate_chain"`},
		"letter case":        {`{"Region":"us-east-1"}`, `no plugin option "Region"`},
		"empty name":         {`{"":"x"}`, `no plugin option ""`},
		"twice":              {`{"region":"us-east-1","region":"us-west-2"}`, `"region" twice`},
		"plugin yes":         {`{"verification-plugin":"yes"}`, "expected on or off"},
		"plugin OFF":         {`{"verification-plugin":"OFF"}`, "expected on or off"},
		"relative chain":     {`{"certificate-chain":"chain.pem"}`, "certificate-chain is \"chain.pem\", expected an absolute path"},
		"relative home":      {`{"home":"./"}`, "home is \"./\", expected an absolute path"},
		"relative root":      {`{"tsa-url":"http://x","tsa-root":"x"}`, "tsa-root is \"x\", expected an absolute path"},
		"region":             {`{"region":"us-east-1.example.com/"}`, "no AWS Region"},
		"endpoint":           {`{"endpoint-url":"localhost:8080"}`, "expected an http or https URL"},
		"endpoint's scheme":  {`{"endpoint-url":"file:///x"}`, "expected an http or https URL"},
		"TSA":                {`{"tsa-url":"x","tsa-root":` + string(must(json.Marshal(abs))) + `}`, "expected an http or https URL"},
		"TSA without root":   {`{"tsa-url":"http://x"}`, "without tsa-root"},
		"root without TSA":   {`{"tsa-root":` + string(must(json.Marshal(abs))) + `}`, "without tsa-url"},
		"TSA without plugin": {`{"verification-plugin":"off","tsa-url":"http://x","tsa-root":` + string(must(json.Marshal(abs))) + `}`, "--timestamp-url"},
		"a number":           {`{"region":1}`, "/pluginConfig/region"},
		"null":               {`{"region":null}`, "null for the member /pluginConfig/region"},
		"a list":             {`[]`, "/pluginConfig"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, "get-plugin-metadata", []byte(`{"pluginConfig":`+c.config+`}`), plugin.ErrorCodeValidation, c.says)
			refused(t, "describe-key", []byte(`{"contractVersion":"1.0","keyId":"`+someARN+`","pluginConfig":`+c.config+`}`), plugin.ErrorCodeValidation, c.says)
		})
	}
	for _, name := range allOptions {
		refused(t, "get-plugin-metadata", object{"pluginConfig": object{name: ""}}.json(), plugin.ErrorCodeValidation, "the plugin option "+name+" is empty")
	}
}

func TestRequests(t *testing.T) {
	validation, version := plugin.ErrorCodeValidation, plugin.ErrorCodeUnsupportedContractVersion
	good := envelopeOf(someARN, envelopeTypes[0], nil)
	replaced := func(old, new string) []byte {
		before := string(good.json())
		after := strings.Replace(before, old, new, 1)
		if before == after {
			t.Fatalf("%s is not in %s", old, before)
		}
		return []byte(after)
	}
	for name, c := range map[string]struct {
		request []byte
		code    plugin.ErrorCode
		says    string
	}{
		"nothing":                 {nil, validation, "is empty"},
		"no object":               {[]byte("[]"), validation, "not a JSON object"},
		"no JSON":                 {[]byte("{"), validation, "not valid JSON"},
		"empty object":            {[]byte("{}"), validation, "lacks the member /contractVersion, /keyId, /payload, /payloadType, /signatureEnvelopeType"},
		"two objects":             {append(good.json(), "{}"...), validation, "more data"},
		"too long":                {append(good.json(), bytes.Repeat([]byte(" "), wire.MaxRequest)...), validation, "longer than the 4194304 bytes"},
		"a member twice":          {replaced(`"keyId":`, `"keyId":"alias/x","keyId":`), validation, `"keyId" twice`},
		"another letter case":     {replaced(`"keyId":`, `"keyID":"alias/x","keyId":`), validation, "letter case"},
		"version 2.0":             {replaced(`"contractVersion":"1.0"`, `"contractVersion":"2.0"`), version, `"2.0", expected "1.0"`},
		"version 2.0, other form": {[]byte(`{"contractVersion":"2.0","key":{}}`), version, `"2.0"`},
		"version empty":           {replaced(`"contractVersion":"1.0"`, `"contractVersion":""`), version, `""`},
		"key null":                {replaced(`"keyId":"`+someARN+`"`, `"keyId":null`), validation, "/keyId"},
		"key empty":               {good.with("keyId", "").json(), validation, "keyId: "},
		"key a path":              {good.with("keyId", "../../etc/passwd").json(), validation, "keyId: "},
		"key another service's":   {good.with("keyId", "arn:aws:s3:::bucket").json(), validation, "keyId: "},
		"key without a Region":    {good.with("keyId", "alias/release").json(), validation, "no Region is known"},
		"payload type":            {good.with("payloadType", "application/vnd.in-toto+json").json(), validation, `payloadType is "application/vnd.in-toto+json"`},
		"envelope type":           {good.with("signatureEnvelopeType", "application/jose").json(), validation, "application/cose"},
		"payload empty":           {good.with("payload", "").json(), validation, "payload is empty"},
		"payload no base64":       {good.with("payload", "*").json(), validation, "/payload"},
		"expiry below zero":       {good.with("expiryDurationInSeconds", -1).json(), validation, "not below zero"},
		"expiry a fraction":       {good.with("expiryDurationInSeconds", 1.5).json(), validation, "/expiryDurationInSeconds"},
		"expiry without end":      {good.with("expiryDurationInSeconds", uint64(1)<<63).json(), validation, "expected at most 3162240000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_REGION", "")
			refused(t, "generate-envelope", c.request, c.code, c.says)
		})
	}
}

func TestCommands(t *testing.T) {
	for name, args := range map[string][]string{
		"none": nil, "two": {"get-plugin-metadata", "x"}, "unknown": {"verify-signature"}, "empty": {""}, "a flag": {"--help"},
	} {
		var out, errs bytes.Buffer
		code := Main(args, strings.NewReader("{}"), &out, &errs)
		if _, failure := outcome(t, code, out.Bytes(), errs.Bytes()); failure == nil || failure.ErrCode != plugin.ErrorCodeValidation {
			t.Errorf("%s: %v", name, failure)
		}
	}
}

// TestPayload: what Notation's library would write otherwise than it was asked is not signed for anyone.
func TestPayload(t *testing.T) {
	kms := start(t)
	jws, cose := envelopeTypes[0], envelopeTypes[1]
	for name, c := range map[string]struct {
		payload string
		jws     string // what is wrong with it there
	}{
		"spaces":        {"{ \"a\" : [ 1 , null ] }\n", ""},
		"a large size":  {`{"size":9007199254740991}`, ""},
		"54 bits":       {`{"size":9007199254740993}`, "would not be the same"},
		"a fraction":    {`{"a":1.0}`, "would not be the same"},
		"no object":     {`["a"]`, "makes no envelope"},
		"no JSON":       {"anything", "makes no envelope"},
		"a name twice":  {`{"a":1,"a":2}`, ""}, // means the last in every reader of Notation's
		"two documents": {`{"a":1}{"b":2}`, "makes no envelope"},
	} {
		t.Run(name, func(t *testing.T) {
			request := envelopeOf(kms.arns["p256"], cose, kms.config(certFile("p256"))).with("payload", []byte(c.payload))
			if content := sign(t, request); string(content.Payload.Content) != c.payload {
				t.Errorf("COSE: %s", content.Payload.Content)
			}
			request = request.with("signatureEnvelopeType", jws)
			if c.jws != "" {
				refused(t, "generate-envelope", request.json(), plugin.ErrorCodeValidation, c.jws)
				return
			}
			sign(t, request)
		})
	}
}

// FuzzRequest: no request panics, is refused with another error than a ValidationException, or is accepted without what
// signing needs.
func FuzzRequest(f *testing.F) {
	f.Add(envelopeOf(someARN, envelopeTypes[0], map[string]string{"verification-plugin": "off", "home": "/x"}).json())
	f.Add(envelopeOf("alias/x", envelopeTypes[1], nil).with("expiryDurationInSeconds", 1).json())
	f.Add(signatureOf(someARN, map[string]string{"verification-plugin": "off"}).json())
	f.Add([]byte(`{"contractVersion":"2.0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		refusal := func(got bool, err error) bool {
			if got == (err != nil) {
				t.Fatalf("a request: %t, together with an error %v", got, err)
			}
			if err != nil && (kmserr.As(err).Name != kmserr.Validation || wire.Text(err) == "") {
				t.Fatalf("refused with %v", err)
			}
			return err != nil
		}
		_, err := decodeMetadataRequest(data)
		refusal(err == nil, err)
		if req, err := decodeGenerateEnvelope(data); !refusal(req != nil, err) {
			if len(req.Payload) == 0 || req.ref.String() == "" || req.ContractVersion != "1.0" || req.PayloadType != payloadType || req.ExpiryDurationInSeconds > maxExpiry || !json.Valid(data) {
				t.Fatalf("accepted %+v", req)
			}
			for _, path := range []string{req.options.chain, req.options.tsaRoot} {
				if path != "" && !filepath.IsAbs(path) {
					t.Fatalf("accepted %+v", req.options)
				}
			}
		}
		if req, err := decodeGenerateSignature(data); !refusal(req != nil, err) && (req.options.verificationPlugin || len(req.Payload) == 0) {
			t.Fatalf("accepted %+v", req)
		}
		req, err := decodeDescribeKey(data)
		refusal(req != nil, err)
	})
}
