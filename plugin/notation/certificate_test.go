package notation

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestMalformedCertificates leaves out each part of a certificate, and puts another kind of thing in its place.
func TestMalformedCertificates(t *testing.T) {
	sequence := func(parts ...asn1.RawValue) []byte { return must(asn1.Marshal(parts)) }
	split := func(der []byte) (parts []asn1.RawValue) {
		if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 {
			t.Fatal(err)
		}
		return parts
	}
	null := asn1.RawValue{FullBytes: []byte{5, 0}}
	good := cert("p256")
	outer := split(good)
	body := split(outer[0].FullBytes)
	if !bytes.Equal(sequence(outer...), good) || len(outer) != 3 || len(body) < 7 {
		t.Fatal("the test takes certificates apart wrongly")
	}
	refused := func(name string, der []byte, says string) {
		if key, err := publicKeyOf(der); key != nil || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %x, %v", name, key, err)
		}
		if _, err := x509.ParseCertificate(der); err == nil {
			t.Errorf("%s: crypto/x509 takes it", name)
		}
	}
	refused("nothing", nil, "malformed certificate")
	refused("an INTEGER", []byte{2, 1, 0}, "malformed certificate")
	for i := range outer {
		refused(fmt.Sprintf("cut before part %d", i), sequence(outer[:i]...), "malformed certificate")
		changed := slices.Clone(outer)
		changed[i] = null
		refused(fmt.Sprintf("part %d is NULL", i), sequence(changed...), "malformed certificate")
	}
	with := func(body []asn1.RawValue) []byte {
		return sequence(append([]asn1.RawValue{{FullBytes: sequence(body...)}}, outer[1:]...)...)
	}
	for i := range 7 { // what follows the key is optional
		refused(fmt.Sprintf("the body is cut before part %d", i), with(body[:i]), "malformed certificate body")
		changed := slices.Clone(body)
		changed[i] = null
		refused(fmt.Sprintf("part %d of the body is NULL", i), with(changed), "malformed certificate body")
	}
	// A version of which nothing can be skipped.
	changed := slices.Clone(body)
	changed[0] = asn1.RawValue{FullBytes: []byte{0xa0, 0x84, 0xff, 0xff, 0xff, 0xff}}
	if key, err := publicKeyOf(sequence(append([]asn1.RawValue{{FullBytes: append([]byte{0x30, 6}, changed[0].FullBytes...)}}, outer[1:]...)...)); err == nil {
		t.Errorf("a version without an end: %x", key)
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
