package notation

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FuzzMain puts whole requests to the plugin, with a store behind it. Whatever comes in, there is one answer in the
// contract's shape; and a success is there only for a leaf whose key a trusted identity names, as encoding/json reads the
// request, and which is not disabled.
func FuzzMain(f *testing.F) {
	store := map[string]*kmskey.Key{}
	home := newHome(f, known(f, "p256"), known(f, "rsa2048"), known(f, "p256-disabled"), known(f, "rsa2048-encrypt"))
	f.Setenv(keystore.EnvHome, home)
	if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(`{"version":"1","log":{"mode":"off"}}`), 0o600); err != nil {
		f.Fatal(err)
	}
	seed := func(name string, capabilities []string, extended object, identities ...string) {
		q := question{leaf: cert(name), identities: identities, capabilities: capabilities, extended: extended}
		f.Add(must(json.Marshal(q.object().with("pluginConfig", nil))))
	}
	for _, name := range []string{"p256", "rsa2048", "p256-disabled", "rsa2048-encrypt"} {
		key := known(f, name)
		store[key.ARN().String()] = key
		seed(name, nil, nil, key.ARN().String())
		seed(name, []string{identity}, object{KeyARNAttribute: key.ARN().String()}, "x509.subject:CN=a", key.ARN().String())
		seed("p256-stranger", nil, nil, key.ARN().String(), "*")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, failure := run(t, "verify-signature", data)
		if failure != nil {
			return
		}
		var r response
		var asked secondReading
		if err := json.Unmarshal(out, &r); err != nil || len(r.VerificationResults) == 0 {
			t.Fatalf("answered %s", out)
		}
		// Here "strict" is not needed: what is taken has one reading, and that must be this one.
		if err := json.Unmarshal(data, &asked); err != nil || len(asked.Signature.CertificateChain) == 0 {
			t.Fatalf("answered %s, and encoding/json says %v", data, err)
		}
		// A certificate that crypto/x509 refuses Notation's core has refused before it calls; the key must be in it all the same.
		der := asked.Signature.CertificateChain[0]
		holds := func(key *kmskey.Key) bool { return bytes.Contains(der, key.PublicKeyDER()) }
		if leaf, err := x509.ParseCertificate(der); err == nil {
			holds = func(key *kmskey.Key) bool { return bytes.Equal(key.PublicKeyDER(), leaf.RawSubjectPublicKeyInfo) }
		}
		for capability, verdict := range r.VerificationResults {
			if !slices.Contains(asked.TrustPolicy.SignatureVerification, plugin.Capability(capability)) || verdict.Reason == "" {
				t.Fatalf("answered %s", out)
			}
			if !verdict.Success {
				continue
			}
			trusted := false
			for _, identity := range asked.TrustPolicy.TrustedIdentities {
				key := store[identity]
				if key == nil {
					continue
				}
				disabled := key.State() == kmskey.StateDisabled && (capability == revoked || len(r.VerificationResults) == 1)
				trusted = trusted || holds(key) && key.Usage() == kmskey.SignVerify && !disabled
			}
			if !trusted {
				t.Fatalf("%s succeeds for the request %s", capability, data)
			}
		}
	})
}

// secondReading is what the plugin goes by of a request, for encoding/json. Notation's own types read more, which is not used
// here and may be anything.
type secondReading struct {
	ContractVersion string
	Signature       struct{ CertificateChain [][]byte }
	TrustPolicy     struct {
		TrustedIdentities     []string
		SignatureVerification []plugin.Capability
	}
	PluginConfig map[string]string
}
