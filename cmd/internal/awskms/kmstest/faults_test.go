package kmstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// patient makes a client try often, without waiting long.
func patient(o *kms.Options) {
	o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts, r.MaxBackoff = 20, time.Millisecond
	})
	o.RetryMaxAttempts = 20
}

func getPublicKey(c *kms.Client, id string) (*kms.GetPublicKeyOutput, error) {
	return c.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &id})
}

func TestDeny(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256"), Aliases: []string{"alias/a"}})
	other := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	s.SetCaller("AKIADEPLOY", kmstest.Caller{Account: kmstest.DefaultAccount, ARN: "arn:aws:sts::111122223333:assumed-role/deploy/ci"})
	deploy := client(t, s, "us-east-1", "AKIADEPLOY")
	denied := func(user, action, resource string) string {
		return "User: " + user + " is not authorized to perform: kms:" + action + " on resource: " + resource +
			" because no identity-based policy allows the kms:" + action + " action"
	}
	const tester, role = "arn:aws:iam::111122223333:user/tester", "arn:aws:sts::111122223333:assumed-role/deploy/ci"

	allow := s.Deny("kms:GetPublicKey", arn)
	_, err := getPublicKey(c, arn)
	wantError(t, err, "AccessDeniedException", denied(tester, "GetPublicKey", arn), 400)
	_, err = getPublicKey(deploy, "alias/a")
	wantError(t, err, "AccessDeniedException", denied(role, "GetPublicKey", arn), 400)
	if _, err := getPublicKey(c, other); err != nil {
		t.Error(err)
	}
	if _, err := c.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &arn}); err != nil {
		t.Error(err)
	}
	allow()
	if _, err := getPublicKey(c, arn); err != nil {
		t.Error(err)
	}

	for action, call := range map[string]func() error{
		"ListKeys": func() error { _, err := c.ListKeys(context.Background(), &kms.ListKeysInput{}); return err },
		"ListAliases": func() error {
			_, err := c.ListAliases(context.Background(), &kms.ListAliasesInput{})
			return err
		},
	} {
		allow := s.Deny(action, "*")
		wantError(t, call(), "AccessDeniedException", denied(tester, action, "*"), 400)
		allow()
		if err := call(); err != nil {
			t.Error(err)
		}
	}

	allow = s.Deny("*", "arn:aws:kms:*:111122223333:key/*")
	_, err = getPublicKey(c, arn)
	wantError(t, err, "AccessDeniedException", denied(tester, "GetPublicKey", arn), 400)
	// Who may not use a key is not told whether there is one.
	gone := "arn:aws:kms:us-east-1:111122223333:key/00000000-12ab-34cd-56ef-1234567890ab"
	_, err = getPublicKey(c, gone)
	wantError(t, err, "AccessDeniedException", denied(tester, "GetPublicKey", gone), 400)
	allow()
	_, err = getPublicKey(c, gone)
	wantError(t, err, "NotFoundException", "Key '"+gone+"' does not exist", 400)
}

func TestThrottling(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	impatient, c := standard(t, s), client(t, s, "us-east-1", "AKIA", patient)

	s.ThrottleNext(1)
	_, err := getPublicKey(impatient, arn)
	wantError(t, err, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.", 400)
	if _, err := getPublicKey(impatient, arn); err != nil {
		t.Errorf("after the throttling: %v", err)
	}

	s.ResetLog()
	s.ThrottleNext(5)
	if _, err := getPublicKey(c, arn); err != nil {
		t.Error(err)
	}
	requests := s.Requests()
	if len(requests) != 6 || s.Count("") != 6 || s.Count("GetPublicKey") != 6 || s.Count("Sign") != 0 {
		t.Fatalf("%d requests, want 6", len(requests))
	}
	for i, r := range requests {
		wantErr, wantStatus := "ThrottlingException", 400
		if i == 5 {
			wantErr, wantStatus = "", 200
		}
		if r.Attempt != i+1 || r.Error != wantErr || r.Status != wantStatus || r.Operation != "GetPublicKey" || r.KeyID != arn ||
			r.Region != "us-east-1" || r.Account != kmstest.DefaultAccount || r.AccessKeyID != "AKIA" ||
			!strings.Contains(r.UserAgent, "aws-sdk-go-v2") {
			t.Errorf("request %d: %+v", i, r)
		}
	}

	s.ResetLog()
	remove := s.ThrottlePercent(20)
	for range 200 {
		if _, err := getPublicKey(c, arn); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	throttled := s.Count("") - 200
	if throttled < 25 || throttled > 90 {
		t.Errorf("%d of %d requests were throttled, want about 20 %%", throttled, s.Count(""))
	}
	s.ResetLog()
	getPublicKey(impatient, arn)
	if s.Count("") != 1 || s.Requests()[0].Status != 200 {
		t.Error("still throttled")
	}
}

func TestCredentials(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	old, fresh := client(t, s, "us-east-1", "ASIAOLD"), client(t, s, "us-east-1", "ASIAFRESH")
	renew := s.ExpireCredentials("ASIAOLD")
	_, err := getPublicKey(old, arn)
	wantError(t, err, "ExpiredTokenException", "The security token included in the request is expired", 400)
	if _, err := getPublicKey(fresh, arn); err != nil {
		t.Error(err)
	}
	renew()
	if _, err := getPublicKey(old, arn); err != nil {
		t.Error(err)
	}
	remove := s.Inject(kmstest.Rule{AccessKeyID: "ASIAOLD"}, kmstest.Fail(kmstest.UnknownToken))
	_, err = getPublicKey(old, arn)
	wantError(t, err, "UnrecognizedClientException", "The security token included in the request is invalid.", 400)
	remove()
	anonymous := kms.New(kms.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.URL()), Credentials: aws.AnonymousCredentials{}})
	_, err = getPublicKey(anonymous, arn)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "MissingAuthenticationTokenException" {
		t.Errorf("without credentials: %v", err)
	}
}

func TestRules(t *testing.T) {
	s := kmstest.Start(t)
	m := material(t, "p256")
	arn := s.AddKey(kmstest.Key{Material: m, Aliases: []string{"alias/a"}})
	other := s.AddKey(kmstest.Key{Material: m})
	west := s.AddKey(kmstest.Key{Material: m, Region: "us-west-2", Aliases: []string{"alias/a"}})
	c, there := standard(t, s), client(t, s, "us-west-2", "AKIA")
	id := arn[strings.LastIndex(arn, "/")+1:]
	struck := func(c *kms.Client, id string) bool {
		t.Helper()
		_, err := getPublicKey(c, id)
		if err != nil {
			wantError(t, err, "KMSInternalException", kmstest.InternalFailure.Message, 500)
		}
		return err != nil
	}
	for _, key := range []string{arn, id, "alias/a", "arn:aws:kms:us-east-1:111122223333:alias/a"} {
		remove := s.Inject(kmstest.Rule{Key: key}, kmstest.Fail(kmstest.InternalFailure))
		for _, asked := range []string{arn, id, "alias/a"} {
			if !struck(c, asked) {
				t.Errorf("a rule for %s spares %s", key, asked)
			}
		}
		if struck(c, other) {
			t.Errorf("a rule for %s strikes another key", key)
		}
		if key == arn && struck(there, west) {
			t.Errorf("a rule for %s strikes another Region", key)
		}
		remove()
	}
	remove := s.Inject(kmstest.Rule{Region: "us-west-2"}, kmstest.Fail(kmstest.InternalFailure))
	if struck(c, arn) || !struck(there, west) {
		t.Error("a rule for a Region strikes wrongly")
	}
	remove()
	remove = s.Inject(kmstest.Rule{Operation: "DescribeKey"}, kmstest.Fail(kmstest.InternalFailure))
	if struck(c, arn) {
		t.Error("a rule for DescribeKey strikes GetPublicKey")
	}
	remove()
	s.Inject(kmstest.Rule{Times: 2}, kmstest.Fail(kmstest.InternalFailure))
	if got := []bool{struck(c, arn), struck(c, arn), struck(c, arn)}; !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("twice: %v", got)
	}
	s.Inject(kmstest.Rule{Times: 1}, kmstest.Fail(kmstest.DependencyTimeout))
	_, err := getPublicKey(c, arn)
	wantError(t, err, "DependencyTimeoutException", kmstest.DependencyTimeout.Message, 503)
}

func TestSlow(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	c := standard(t, s)
	remove := s.SetLatency(30 * time.Millisecond)
	begin := time.Now()
	if _, err := getPublicKey(c, arn); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 30*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	remove()

	s.Inject(kmstest.Rule{}, kmstest.Delay(time.Hour))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &arn})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want that the deadline passed", err)
	}
}

// TestConcurrency counts the requests that are answered at one time.
func TestConcurrency(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	c := standard(t, s)
	s.SetLatency(100 * time.Millisecond)
	for _, n := range []int{7, 1} {
		s.ResetLog()
		var wait sync.WaitGroup
		for range n {
			wait.Go(func() {
				if _, err := getPublicKey(c, arn); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if got := s.MaxConcurrency(); got != n {
			t.Errorf("MaxConcurrency is %d, want %d", got, n)
		}
	}
}

// TestCut cuts the connection at several places; one answer has some 330 bytes.
func TestCut(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	c, again := standard(t, s), client(t, s, "us-east-1", "AKIA", patient)
	for _, after := range []int{-1, 0, 1, 100, 250} {
		s.ResetLog()
		s.Inject(kmstest.Rule{Times: 1}, kmstest.CutAfter(after))
		public, err := getPublicKey(c, arn)
		if err == nil {
			t.Errorf("cut after %d bytes: %+v", after, public)
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", after, err)
		}
		if r := s.Requests(); len(r) != 1 || r[0].Status != 0 {
			t.Errorf("cut after %d bytes: %+v", after, r)
		}
		s.Inject(kmstest.Rule{Times: 2}, kmstest.CutAfter(-1))
		if _, err := getPublicKey(again, arn); err != nil {
			t.Errorf("after two cuts: %v", err)
		}
	}
	if _, _, answer := post(t, s, "GetPublicKey", `{"KeyId":"`+arn+`"}`); len(answer) < 260 {
		t.Errorf("the whole answer has %d bytes: the longest cut was not inside it", len(answer))
	}
}

func TestWrongAnswers(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	c := standard(t, s)
	for name, fault := range map[string]kmstest.Fault{
		"no JSON":      kmstest.NotJSON(),
		"half JSON":    kmstest.Answer(200, "application/x-amz-json-1.1", `{"KeyId":"arn:aws:k`),
		"wrong type":   kmstest.Answer(200, "application/x-amz-json-1.1", `{"PublicKey":{"a":1}}`),
		"bad base64":   kmstest.Edit(func(a map[string]any) { a["PublicKey"] = "!!!" }),
		"proxy":        kmstest.Answer(502, "text/html", "<html>Bad Gateway</html>"),
		"another KMS":  kmstest.Answer(301, "text/plain", ""),
		"forbidden":    kmstest.Answer(403, "application/json", `{"message":"Forbidden"}`),
		"empty answer": kmstest.Answer(400, "application/x-amz-json-1.1", ""),
	} {
		remove := s.Inject(kmstest.Rule{}, fault)
		if public, err := getPublicKey(c, arn); err == nil {
			t.Errorf("%s: taken as %+v", name, public)
		}
		remove()
	}

	s.Inject(kmstest.Rule{Times: 1}, kmstest.Edit(func(answer map[string]any) {
		delete(answer, "KeySpec")
		answer["KeyId"] = "another"
	}))
	public, err := getPublicKey(c, arn)
	if err != nil || public.KeySpec != "" || *public.KeyId != "another" || public.KeyUsage != "SIGN_VERIFY" {
		t.Errorf("edited: %+v %v", public, err)
	}
	// The edit is of one answer only.
	public, err = getPublicKey(c, arn)
	if err != nil || *public.KeyId != arn {
		t.Errorf("%v", err)
	}
	s.Inject(kmstest.Rule{Operation: "Sign", Times: 1}, kmstest.Edit(func(answer map[string]any) { answer["Signature"] = "AAAA" }))
	signed, err := c.Sign(context.Background(), signInput(arn, "ECDSA_SHA_256", "RAW", message))
	if err != nil || !bytes.Equal(signed.Signature, []byte{0, 0, 0}) {
		t.Errorf("%+v %v", signed, err)
	}
}

func TestOversized(t *testing.T) {
	s := kmstest.Start(t)
	const size = 40 << 20
	s.Inject(kmstest.Rule{}, kmstest.Oversized(size))
	if _, _, answer := post(t, s, "GetPublicKey", `{"KeyId":"x"}`); len(answer) != size || !json.Valid(answer) {
		t.Errorf("%d bytes, want %d of JSON", len(answer), size)
	}
	// The real client takes it all, for it knows no limit: pull has to set one.
	s.Inject(kmstest.Rule{}, kmstest.Oversized(1<<20))
	if public, err := getPublicKey(standard(t, s), "x"); err == nil && public.PublicKey != nil {
		t.Error("a public key out of padding")
	}
}

// post sends a request that the SDK would not, and reads the answer to its end.
func post(t testing.TB, s *kmstest.Server, operation, body string, change ...func(*http.Request)) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.URL()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/kms/aws4_request, "+
		"SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
	for _, f := range change {
		f(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, answer
}

func TestProtocol(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{Material: material(t, "ed25519"), Created: time.UnixMilli(1773313199787)})
	key := `{"KeyId":"` + arn + `"}`
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, test := range []struct {
		name, operation, body string
		change                func(*http.Request)
		status                int
		want                  string
	}{
		{name: "good", operation: "GetPublicKey", body: key, status: 200,
			want: `{"CustomerMasterKeySpec":"ECC_NIST_EDWARDS25519","KeyId":"` + arn + `","KeySpec":"ECC_NIST_EDWARDS25519","KeyUsage":"SIGN_VERIFY",` +
				`"PublicKey":"MCowBQYDK2VwAyEAjJem1U3TSO1bbatDJCDYq5V1rjnK8N24JooKG7C5h+0=","SigningAlgorithms":["ED25519_PH_SHA_512","ED25519_SHA_512"]}`},
		{name: "unknown members", operation: "GetPublicKey", body: `{"KeyId":"` + arn + `","Extra":[1,{}]}`, status: 200},
		{name: "times are numbers", operation: "DescribeKey", body: key, status: 200,
			want: `{"KeyMetadata":{"AWSAccountId":"111122223333","Arn":"` + arn + `","CreationDate":1.773313199787E9,` +
				`"CustomerMasterKeySpec":"ECC_NIST_EDWARDS25519","Description":"","Enabled":true,"KeyId":"` + arn[strings.LastIndex(arn, "/")+1:] +
				`","KeyManager":"CUSTOMER","KeySpec":"ECC_NIST_EDWARDS25519","KeyState":"Enabled","KeyUsage":"SIGN_VERIFY","MultiRegion":false,` +
				`"Origin":"AWS_KMS","SigningAlgorithms":["ED25519_PH_SHA_512","ED25519_SHA_512"]}}`},
		{name: "no key", operation: "GetPublicKey", body: `{}`, status: 400,
			want: `{"__type":"ValidationException","message":"1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"}`},
		{name: "not found", operation: "GetPublicKey", body: `{"KeyId":"x"}`, status: 400, want: `{"__type":"NotFoundException","message":"Invalid keyId 'x'"}`},
		{name: "no JSON", operation: "GetPublicKey", body: `KeyId=x`, status: 400},
		{name: "wrong type", operation: "GetPublicKey", body: `{"KeyId":1}`, status: 400},
		{name: "other letters", operation: "GetPublicKey", body: `{"keyid":"` + arn + `"}`, status: 400},
		{name: "unknown operation", operation: "Decrypt", body: key, status: 400, want: `{"__type":"UnknownOperationException"}`},
		{name: "other service", operation: "GetPublicKey", body: key, change: set("X-Amz-Target", "DynamoDB.GetPublicKey"), status: 400},
		{name: "other protocol", operation: "GetPublicKey", body: key, change: set("Content-Type", "application/cbor"), status: 400},
		{name: "scope of another service", operation: "GetPublicKey", body: key, status: 400,
			change: func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/kms/", "/s3/", 1))
			}},
		{name: "no signature", operation: "GetPublicKey", body: key, change: set("Authorization", "Basic YTpi"), status: 400},
		{name: "GET", operation: "GetPublicKey", body: "", change: func(r *http.Request) { r.Method = http.MethodGet }, status: 404},
		{name: "too large", operation: "GetPublicKey", body: strings.Repeat(" ", 256<<10) + key, status: 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			var change []func(*http.Request)
			if test.change != nil {
				change = append(change, test.change)
			}
			status, header, body := post(t, s, test.operation, test.body, change...)
			if status != test.status || test.want != "" && string(body) != test.want {
				t.Errorf("%d %s\nwant %d %s", status, body, test.status, test.want)
			}
			if header.Get("Content-Type") != "application/x-amz-json-1.1" || len(header.Get("X-Amzn-Requestid")) != 36 {
				t.Errorf("headers %v", header)
			}
		})
	}
}

// TestManyKeys holds a hundred thousand keys: what they cost, and that nothing that asks for one looks at all.
func TestManyKeys(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	s := kmstest.Start(t)
	arns := s.AddKeys(n, kmstest.Key{Material: material(t, "p256"), Aliases: []string{"alias/key/%d"}})
	took := time.Since(begin)
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d keys with aliases: %d MiB, %v", n, size>>20, took)
	if size > 128<<20 {
		t.Errorf("%d MiB", size>>20)
	}
	if took > 20*time.Second {
		t.Errorf("%v", took)
	}
	c := standard(t, s)
	begin = time.Now()
	const calls = 300
	for i := range calls {
		arn := arns[i*(n/calls)]
		if public, err := getPublicKey(c, arn); err != nil || *public.KeyId != arn {
			t.Fatal(err)
		}
		aliases, err := c.ListAliases(context.Background(), &kms.ListAliasesInput{KeyId: &arn})
		if err != nil || len(aliases.Aliases) != 1 {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin) / (2 * calls); took > 20*time.Millisecond {
		t.Errorf("%v a call", took)
	}
	pages, keys := 0, 0
	p := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: aws.Int32(1000)})
	for p.HasMorePages() {
		page, err := p.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		keys += len(page.Keys)
	}
	if pages != n/1000 || keys != n {
		t.Errorf("%d keys in %d pages", keys, pages)
	}
	if public, err := getPublicKey(c, "alias/key/99999"); err != nil || *public.KeyId != arns[n-1] {
		t.Error(err)
	}
}

// TestProgram is what a program does, which has no *testing.T.
func TestProgram(t *testing.T) {
	s := kmstest.Start(nil)
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Error(s.URL())
	}
	s.AddKey(kmstest.Key{Material: material(t, "p256")})
	if err := s.Listen("127.0.0.1:0"); err == nil {
		t.Error("a server listens twice")
	}
	s.Close()
	s.Close()
	if _, err := standard(t, s).ListKeys(context.Background(), &kms.ListKeysInput{}); err == nil {
		t.Error("a closed server answers")
	}
	kmstest.New().Close()
}

// TestIDs are the same for the same material, in every run.
func TestIDs(t *testing.T) {
	ids := func(name string) []string {
		s := kmstest.New()
		return append(s.AddKeys(3, kmstest.Key{Material: material(t, name)}), s.AddKey(kmstest.Key{Material: material(t, name), MultiRegion: true}))
	}
	first := ids("p256")
	if !slices.Equal(first, ids("p256")) {
		t.Error("another ID in another run")
	}
	for i, arn := range ids("p256-other") {
		if arn == first[i] {
			t.Error("the same ID for other material: it would look as if the key had changed")
		}
	}
}

// TestMisuse: a wrong call is a mistake of the test, which shall be told at once.
func TestMisuse(t *testing.T) {
	s := kmstest.New()
	m := material(t, "p256")
	arn := s.AddKey(kmstest.Key{Material: m, Aliases: []string{"alias/a"}})
	unknown := "arn:aws:kms:us-east-1:111122223333:key/00000000-12ab-34cd-56ef-1234567890ab"
	for name, f := range map[string]func(){
		"unknown spec":        func() { s.AddKey(kmstest.Key{Spec: "RSA_1024"}) },
		"ML_KEM_512":          func() { s.AddKey(kmstest.Key{Spec: "ML_KEM_512"}) },
		"usage and spec":      func() { s.AddKey(kmstest.Key{Material: m, Usage: kmstest.EncryptDecrypt}) },
		"material and spec":   func() { s.AddKey(kmstest.Key{Material: m, Spec: "SM2"}) },
		"public HMAC":         func() { s.AddKey(kmstest.Key{Material: m, Spec: "HMAC_256"}) },
		"ID twice":            func() { s.AddKey(kmstest.Key{Material: m, ID: arn[strings.LastIndex(arn, "/")+1:]}) },
		"ID of another kind":  func() { s.AddKey(kmstest.Key{Material: m, ID: "mrk-d3b95762d3b95762d3b95762d3b95762"}) },
		"replicas of none":    func() { s.AddKey(kmstest.Key{Material: m, Replicas: []string{"eu-west-1"}}) },
		"account":             func() { s.AddKey(kmstest.Key{Material: m, Account: "me"}) },
		"Region":              func() { s.AddKey(kmstest.Key{Material: m, Region: "Mars"}) },
		"alias twice":         func() { s.AddKey(kmstest.Key{Material: m, Aliases: []string{"alias/a"}}) },
		"alias name":          func() { s.AddKey(kmstest.Key{Material: m, Aliases: []string{"a"}}) },
		"state of no key":     func() { s.SetState(unknown, kmstest.State{}) },
		"removal of no key":   func() { s.RemoveKey(unknown) },
		"material of no key":  func() { s.ReplaceMaterial(unknown, m) },
		"alias of no key":     func() { s.PutAlias("alias/x", unknown) },
		"removal of no alias": func() { s.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/x") },
		"primary of no mrk":   func() { s.SetPrimary(arn, "eu-west-1") },
		"many with one ID":    func() { s.AddKeys(2, kmstest.Key{Material: m, ID: "1234abcd-12ab-34cd-56ef-1234567890ab"}) },
		"no ARN":              func() { kmstest.InRegion("x", "us-east-1") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
