package verifier

import (
	"context"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestZeroVerifier: a verifier that was not made says no, in a sentence.
func TestZeroVerifier(t *testing.T) {
	w := newWorld(t)
	without := func(leave func(*Config)) *Verifier {
		v := *w.v
		leave(&v.cfg)
		return &v
	}
	for name, v := range map[string]*Verifier{"nil": nil, "zero": {},
		"no store": without(func(c *Config) { c.Store = nil }), "no policy": without(func(c *Config) { c.Policy = nil }), "no clock": without(func(c *Config) { c.Now = nil }),
	} {
		t.Run(name, func(t *testing.T) {
			verified, err := v.Verify(context.Background(), Request{KeyID: "alias/a", Message: strings.NewReader("m"), Signature: []byte{1}})
			if verified != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("Verify answered %v, %v", verified, err)
			}
			if err != nil && !strings.Contains(err.Error(), "was not made by New or Open") {
				t.Error(err)
			}
			authorized, err := v.AuthorizeKey(context.Background(), KeyRequest{KeyID: "alias/a", WithoutPublicKey: true})
			if authorized != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("AuthorizeKey answered %v, %v", authorized, err)
			}
			outlook, err := v.Outlook(context.Background(), "alias/a")
			if outlook != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("Outlook answered %v, %v", outlook, err)
			}
			encrypted, err := v.Encrypt(context.Background(), EncryptRequest{KeyID: "alias/a", Plaintext: strings.NewReader("p")})
			if encrypted != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("Encrypt answered %v, %v", encrypted, err)
			}
			secret, err := v.DeriveSharedSecret(context.Background(), DeriveRequest{KeyID: "alias/a"})
			if secret != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("DeriveSharedSecret answered %v, %v", secret, err)
			}
			explained, err := v.ExplainPolicy("alias/a")
			if explained != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("ExplainPolicy answered %v, %v", explained, err)
			}
			if err := v.Close(); !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("Close answered %v", err)
			}
			if store, rules, exact := v.Store(), v.Policy(), v.ExactRegion(); store != nil || rules != nil || !exact {
				t.Errorf("it has the store %v, the policy %v, an exact Region: %t", store, rules, exact)
			}
			digested, err := v.Digest(context.Background(), DigestRequest{KeyID: "alias/a"})
			if digested != nil || !kmserr.Is(err, kmserr.Internal) {
				t.Errorf("Digest answered %v, %v", digested, err)
			}
		})
	}
}
