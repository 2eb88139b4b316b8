package notation

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/internal/notationwire"
)

// TestContractNames holds the names to the framework's.
func TestContractNames(t *testing.T) {
	for ours, theirs := range map[string]string{
		commandMetadata:              string(plugin.CommandGetMetadata),
		commandVerify:                string(plugin.CommandVerifySignature),
		string(capabilityIdentity):   string(plugin.CapabilityTrustedIdentityVerifier),
		string(capabilityRevocation): string(plugin.CapabilityRevocationCheckVerifier),
		notationwire.ContractVersion: plugin.ContractVersion,
	} {
		if ours != theirs {
			t.Errorf("%q is %q in the framework", ours, theirs)
		}
	}
}

func certificates(t testing.TB) map[string][]byte {
	t.Helper()
	files := must(filepath.Glob(filepath.Join(testdata, "certs", "*.crt")))
	if len(files) < 5 {
		t.Fatalf("%d certificates only", len(files))
	}
	all := make(map[string][]byte)
	for _, file := range files {
		block, _ := pem.Decode(must(os.ReadFile(file)))
		if block == nil {
			t.Fatalf("%s is no PEM", file)
		}
		all[filepath.Base(file)] = block.Bytes
	}
	return all
}

// checkKeyOf: where crypto/x509, with which Notation's core checked the signature, reads a certificate, the key is the
// same.
func checkKeyOf(t *testing.T, der []byte) {
	t.Helper()
	theirs, err := x509.ParseCertificate(der)
	if err != nil {
		return
	}
	ours, err := publicKeyOf(der)
	if err != nil || !bytes.Equal(ours, theirs.RawSubjectPublicKeyInfo) {
		t.Fatalf("got %x, %v, and crypto/x509 %x", ours, err, theirs.RawSubjectPublicKeyInfo)
	}
}

// TestPublicKeyOf tries every certificate, each of them cut at every byte, and with every byte changed.
func TestPublicKeyOf(t *testing.T) {
	for name, der := range certificates(t) {
		if _, err := x509.ParseCertificate(der); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkKeyOf(t, der)
		for i := range der {
			if key, err := publicKeyOf(der[:i]); err == nil || key != nil {
				t.Errorf("%s, cut at %d: %x", name, i, key)
			}
			for _, flip := range []byte{0x01, 0x20, 0x80, 0xff} {
				changed := bytes.Clone(der)
				changed[i] ^= flip
				checkKeyOf(t, changed)
			}
		}
		if key, err := publicKeyOf(append(bytes.Clone(der), 0)); err == nil || key != nil {
			t.Errorf("%s with a byte more: %x", name, key)
		}
	}
}

// FuzzPublicKeyOf: whatever crypto/x509 reads has the same key here, and nothing panics.
func FuzzPublicKeyOf(f *testing.F) {
	for _, der := range certificates(f) {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		checkKeyOf(t, der)
		if key, err := publicKeyOf(der); (err == nil) != (len(key) > 0) || err == nil && !bytes.Contains(der, key) {
			t.Fatalf("got %x, %v", key, err)
		}
	})
}
