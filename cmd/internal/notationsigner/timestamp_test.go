package notationsigner

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/notaryproject/tspclient-go"

	"github.com/awskms-offline/awskms-offline/internal/faketsa"
)

// tsa starts an authority and returns it with the plugin's options for it.
func tsa(t *testing.T) (*faketsa.Authority, []string) {
	t.Helper()
	authority, err := faketsa.New()
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
		"no root file":  {[]string{"tsa-url", good[1], "tsa-root", good[3] + "x"}, plugin.ErrorCodeValidation, "there is no certificate file"},
		"a leaf for root": {[]string{"tsa-url", good[1], "tsa-root", file(t, issue(template("leaf"), keyOf("p256"),
			issue(template("root", authority), keyOf("p384"), nil, nil), keyOf("p384")))}, plugin.ErrorCodeValidation, "is no root certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, envelopeType := range envelopeTypes {
				refused(t, "generate-envelope", envelopeOf(kms.arns["p256"], envelopeType, kms.config(certFile("p256"), c.options...)).json(), c.code, c.says)
			}
		})
	}
	// Of credentials in the URL, for an authority that asks for some, only the authority gets to know.
	busy := serve(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "user" || password != "s3cret" {
			t.Error("the authority is not told the password")
		}
		http.Error(w, "no", http.StatusServiceUnavailable)
	})
	for name, url := range map[string]string{
		"an answer":         strings.Replace(busy[1], "//", "//user:s3cret@", 1),
		"nobody answers":    "http://user:s3cret@127.0.0.1:1",
		"another scheme":    "ftp://user:s3cret@127.0.0.1:1/path",
		"no host":           "https://user:s3cret@",
		"a # not escaped":   "https://user:s#3cret@127.0.0.1:1",
		"a % not escaped":   "https://user:s3cret%@127.0.0.1:1",
		"no scheme":         "user:s3cret@127.0.0.1:1",
		"none, and another": "ftp://127.0.0.1:1/user@path",
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
