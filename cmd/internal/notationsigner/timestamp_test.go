package notationsigner

import (
	"net/http"
	"net/http/httptest"
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
