package notationsigner

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/notaryproject/tspclient-go"

	"github.com/awskms-offline/awskms-offline/internal/faketsa"
)

// tsa starts an authority and returns it with the plugin's options for it. edits change its certificate.
func tsa(t *testing.T, edits ...func(*x509.Certificate)) (*faketsa.Authority, []string) {
	t.Helper()
	authority, err := faketsa.New(edits...)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(authority)
	t.Cleanup(server.Close)
	return authority, []string{"tsa-url", server.URL, "tsa-root", file(t, authority.Root)}
}

// TestTimestamp: the envelope has a countersignature of its signature by the authority.
func TestTimestamp(t *testing.T) {
	kms := start(t)
	_, options := tsa(t)
	for _, name := range []string{"p256", "p384", "rsa4096"} {
		for _, envelopeType := range envelopeTypes {
			info := sign(t, envelopeOf(kms.arns[name], envelopeType, kms.config(certFile(name), options...))).SignerInfo
			token, err := tspclient.ParseSignedToken(info.UnsignedAttributes.TimestampSignature)
			if err != nil {
				t.Fatal(err)
			}
			stamped, err := token.Info()
			if err != nil {
				t.Fatal(err)
			}
			if at, err := stamped.Validate(info.Signature); err != nil || time.Since(at.Value) > time.Minute {
				t.Errorf("%s: %v, %v", name, at, err)
			}
		}
	}
}

// TestTimestampRefused: no signature without the timestamp that was asked for.
func TestTimestampRefused(t *testing.T) {
	kms := start(t)
	serve := func(handler http.HandlerFunc) []string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		_, options := tsa(t)
		options[1] = server.URL
		return options
	}
	spoiled := func(spoil func(*tspclient.TSTInfo)) []string {
		authority, options := tsa(t)
		authority.Spoil = spoil
		return options
	}
	_, good := tsa(t)
	stranger, _ := tsa(t)
	for name, c := range map[string]struct {
		options []string
		code    plugin.ErrorCode
		says    string
	}{
		"another root": {[]string{"tsa-url", good[1], "tsa-root", file(t, stranger.Root)}, plugin.ErrorCodeGeneric, "TimestampServiceException"},
		"another message": {spoiled(func(i *tspclient.TSTInfo) { i.MessageImprint.HashedMessage = make([]byte, 32) }),
			plugin.ErrorCodeGeneric, "TimestampServiceException"},
		"another nonce": {spoiled(func(i *tspclient.TSTInfo) { i.Nonce.SetInt64(1) }), plugin.ErrorCodeGeneric, "TimestampServiceException"},
		"an error page": {serve(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }), plugin.ErrorCodeGeneric, "503"},
		"another type":  {serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }), plugin.ErrorCodeGeneric, "content type"},
		"nobody":        {[]string{"tsa-url", "http://127.0.0.1:1", "tsa-root", good[3]}, plugin.ErrorCodeGeneric, "there is no timestamp of http://127.0.0.1:1"},
		"no nonce":      {spoiled(func(i *tspclient.TSTInfo) { i.Nonce = nil }), plugin.ErrorCodeGeneric, "nonce"},
		"rejected": {serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tspclient.MediaTypeTimestampReply)
			_, _ = w.Write([]byte{0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02}) // status 2, rejection
		}), plugin.ErrorCodeGeneric, "reject"},
		"too much": {serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tspclient.MediaTypeTimestampReply)
			_, _ = w.Write(make([]byte, 2<<20))
		}), plugin.ErrorCodeGeneric, "large"},
		"talkative": {serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", strings.Repeat("x", 100_000))
		}),
			plugin.ErrorCodeGeneric, "xxx…"},
		"no root file": {[]string{"tsa-url", good[1], "tsa-root", good[3] + "x"}, plugin.ErrorCodeValidation, "there is no certificate file"},
		"a leaf for root": {[]string{"tsa-url", good[1], "tsa-root", file(t, issue(template("leaf"), keyOf("p256"),
			issue(template("root", authority), keyOf("p384"), nil, nil), keyOf("p384")))}, plugin.ErrorCodeValidation, "is no root certificate, but issued by"},
		"a namesake for root": {[]string{"tsa-url", good[1], "tsa-root", file(t, issue(template("root", authority), keyOf("p256"),
			issue(template("root", authority), keyOf("p384"), nil, nil), keyOf("p384")))}, plugin.ErrorCodeValidation, "cannot serve as a root certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, envelopeType := range envelopeTypes {
				refused(t, "generate-envelope", envelopeOf(kms.arns["p256"], envelopeType, kms.config(certFile("p256"), c.options...)).json(), c.code, c.says)
			}
		})
	}
	// A redirect does not leave https.
	from, to := must(http.NewRequest(http.MethodPost, "https://a", nil)), must(http.NewRequest(http.MethodPost, "http://b", nil))
	if err := checkRedirect(to, []*http.Request{from}); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("got %v", err)
	}
	for _, via := range [][]*http.Request{{to}, {from, to}} {
		if err := checkRedirect(to, via); err != nil {
			t.Error(err)
		}
	}
	if err := checkRedirect(from, []*http.Request{to}); err != nil {
		t.Error(err)
	}
	around := serve(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	refused(t, "generate-envelope", envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"), around...)).json(),
		plugin.ErrorCodeGeneric, "redirects more than ten times")
	// Of credentials in the URL, for an authority that asks for some, only the authority gets to know.
	busy := serve(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "user" || password != "s3cret" {
			t.Error("the authority is not told the password")
		}
		http.Error(w, "no", http.StatusServiceUnavailable)
	})
	large := serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", tspclient.MediaTypeTimestampReply)
		_, _ = w.Write(make([]byte, 2<<20))
	})
	for name, url := range map[string]string{
		"an answer":          strings.Replace(busy[1], "//", "//user:s3cret@", 1),
		"nobody answers":     "http://user:s3cret@127.0.0.1:1",
		"a key for user":     "http://s3cret@127.0.0.1:1",
		"an empty password":  "http://s3cret:@127.0.0.1:1",
		"an escaped user":    "http://s%33cret@127.0.0.1:1",
		"an odd user":        "http://s!3cret@127.0.0.1:1",
		"in the query":       "http://127.0.0.1:1/tsa?token=s3cret",
		"in a long answer":   strings.Replace(large[1], "//", "//us!er:s3cret@", 1),
		"in no host's query": "http:///tsa?token=s3cret",
		"in ftp's query":     "ftp://127.0.0.1/?token=s3cret",
		"in an odd query":    "http://127.0.0.1/%zz?token=s3cret",
		"another scheme":     "ftp://user:s3cret@127.0.0.1:1/path",
		"no host":            "https://user:s3cret@",
		"a # not escaped":    "https://user:s#3cret@127.0.0.1:1",
		"a % not escaped":    "https://user:s3cret%@127.0.0.1:1",
		"no scheme":          "user:s3cret@127.0.0.1:1",
		"none, and another":  "ftp://127.0.0.1:1/user@path",
	} {
		t.Run("password, "+name, func(t *testing.T) {
			request := envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"), "tsa-url", url, "tsa-root", good[3])).json()
			_, failure := run(t, "generate-envelope", request)
			if failure == nil {
				t.Fatal("signed")
			}
			if said := failure.Message; strings.Contains(said, "3cret") || !strings.Contains(url, "3cret") && !strings.Contains(said, url) {
				t.Error(said)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		done := make(chan struct{})
		options := serve(func(http.ResponseWriter, *http.Request) { <-done })
		defer close(done)
		request := envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"), options...)).json()
		limit, tsaLimit := deadline, tsaTimeout
		t.Cleanup(func() { deadline, tsaTimeout = limit, tsaLimit })
		deadline = time.Second
		refused(t, "generate-envelope", request, plugin.ErrorCodeTimeout, "no answer within 1s: there is no timestamp")
		deadline, tsaTimeout = limit, time.Second
		refused(t, "generate-envelope", request, plugin.ErrorCodeTimeout, "DeadlineExceededException: there is no timestamp of "+options[1])
	})
}

// TestTimestampTime: what Notation would refuse for its time when it verifies does not leave, nor a time that is not now.
func TestTimestampTime(t *testing.T) {
	kms := start(t)
	now := time.Now().Truncate(time.Second)
	long := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(-20, 0, 0), now.AddDate(20, 0, 0) }
	clock := func(off time.Duration) func(*faketsa.Authority) {
		return func(a *faketsa.Authority) { a.Now = func() time.Time { return time.Now().Add(off) } }
	}
	accuracy := func(accuracy tspclient.Accuracy) func(*faketsa.Authority) {
		return func(a *faketsa.Authority) { a.Spoil = func(i *tspclient.TSTInfo) { i.Accuracy = accuracy } }
	}
	from := func(at time.Time) func(*x509.Certificate) { return func(c *x509.Certificate) { c.NotBefore = at } }
	until := func(at time.Time) func(*x509.Certificate) { return func(c *x509.Certificate) { c.NotAfter = at } }
	for name, c := range map[string]struct {
		authority func(*faketsa.Authority)
		tsa       func(*x509.Certificate) // its certificate
		signer    func(*x509.Certificate)
		says      string // empty: it is good
	}{
		"four minutes behind":  {clock(-4 * time.Minute), long, long, ""},
		"four minutes ahead":   {clock(4 * time.Minute), long, long, ""},
		"six minutes behind":   {clock(-6 * time.Minute), long, long, "expected are 5m0s between them at most"},
		"six minutes ahead":    {clock(6 * time.Minute), long, long, "and this machine's clock says "},
		"ten years behind":     {clock(-10 * 365 * 24 * time.Hour), long, long, "expected are 5m0s"},
		"two hundred years on": {clock(200 * 365 * 24 * time.Hour), long, long, "expected are 5m0s"},
		"accurate to the half": {accuracy(tspclient.Accuracy{Seconds: 1, Milliseconds: 999, Microseconds: 999}), long, long, ""},
		"accurate to a minute": {accuracy(tspclient.Accuracy{Seconds: 60}), long, long, ""},
		"at the limit":         {accuracy(tspclient.Accuracy{Seconds: 300}), long, long, "accurate to 300 s, expected less than 5m0s"},
		"behind and vague": {func(a *faketsa.Authority) { clock(-4 * time.Minute)(a); accuracy(tspclient.Accuracy{Seconds: 120})(a) },
			long, long, "give or take 2m0s"},
		"accurate to an hour":        {accuracy(tspclient.Accuracy{Seconds: 3600}), long, long, "accurate to 3600 s"},
		"less than accurate":         {accuracy(tspclient.Accuracy{Seconds: -1}), long, long, "its accuracy is -1 s, 0 ms and 0 µs, which is malformed"},
		"a thousand milliseconds":    {accuracy(tspclient.Accuracy{Milliseconds: 1000}), long, long, "1000 ms"},
		"negative milliseconds":      {accuracy(tspclient.Accuracy{Milliseconds: -1}), long, long, "-1 ms"},
		"a thousand microseconds":    {accuracy(tspclient.Accuracy{Microseconds: 1000}), long, long, "1000 µs"},
		"negative microseconds":      {accuracy(tspclient.Accuracy{Microseconds: -1}), long, long, "-1 µs"},
		"accurate beyond all bounds": {accuracy(tspclient.Accuracy{Seconds: 1<<31 - 1}), long, long, "accurate to 2147483647 s"},
		"before the certificate":     {clock(-4 * time.Minute), long, from(now), "is valid from " + now.UTC().Format(time.RFC3339) + " only"},
		"perhaps before it":          {accuracy(tspclient.Accuracy{Seconds: 280}), long, from(now.Add(-30 * time.Second)), "and the certificate of \"CN=p256\" is valid from"},
		"after the certificate":      {clock(270 * time.Second), long, until(now.Add(4 * time.Minute)), "is valid until " + now.Add(4*time.Minute).UTC().Format(time.RFC3339) + " only"},
		"perhaps after it":           {accuracy(tspclient.Accuracy{Seconds: 280}), long, until(now.Add(4 * time.Minute)), "is valid until"},
		"before the authority's own": {clock(-4 * time.Minute), from(now.Add(-time.Minute)), long, "when it does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			authority, options := tsa(t, c.tsa)
			c.authority(authority)
			chain := file(t, issue(template("p256", c.signer), keyOf("p256"), nil, nil))
			request := envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(chain, options...))
			if c.says == "" {
				sign(t, request)
				return
			}
			refused(t, "generate-envelope", request.json(), plugin.ErrorCodeGeneric, "TimestampServiceException: the timestamp of "+options[1]+" is no good", c.says)
		})
	}
}

// TestTimestampAuthority: the authority's certificate must be one for timestamps and must not be revoked; what cannot be told of
// that is no.
func TestTimestampAuthority(t *testing.T) {
	kms := start(t)
	asks := func(options []string) []byte {
		return envelopeOf(kms.arns["p256"], envelopeTypes[0], kms.config(certFile("p256"), options...)).json()
	}
	for name, c := range map[string]struct {
		edit func(*x509.Certificate)
		says string
	}{
		"expired": {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "expired"},
		"for code": {func(c *x509.Certificate) {
			c.ExtraExtensions, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		}, "key usage"},
		"not critical":      {func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = false }, "critical"},
		"no CRL to be had":  {func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://127.0.0.1:1/crl"} }, "cannot be told: http://127.0.0.1:1/crl: "},
		"nobody to be told": {func(c *x509.Certificate) { c.OCSPServer = []string{"http://[::1/"} }, "is revoked cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			_, options := tsa(t, c.edit)
			refused(t, "generate-envelope", asks(options), plugin.ErrorCodeGeneric, "TimestampServiceException", c.says, "The signature was thrown away.")
		})
	}
	for _, revoked := range []bool{false, true} {
		var list []byte
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }))
		t.Cleanup(server.Close)
		authority, options := tsa(t, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{server.URL} })
		list = must(authority.RevocationList(revoked))
		out, failure := run(t, "generate-envelope", asks(options))
		switch {
		case revoked && (failure == nil || !strings.Contains(failure.Message, `"CN=fake TSA" is revoked`)):
			t.Errorf("signed by a revoked authority: %s (%v)", out, failure)
		case !revoked && failure != nil:
			t.Error(failure)
		}
	}
}
