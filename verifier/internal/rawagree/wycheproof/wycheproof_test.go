// Package wycheproof runs Project Wycheproof's ECDH vectors through rawagree: each public key through spki.Parse, as KMS
// would have answered it, each private key through ParsePrivateKey. It is a package of its own because the vectors are a
// hundred megabytes.
package wycheproof

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	vectors "github.com/c2sp/wycheproof"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawagree"
	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
)

var curves = map[string]struct {
	oid  asn1.ObjectIdentifier
	size int
}{
	"secp256r1": {asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 32},
	"secp384r1": {asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 48},
	"secp521r1": {asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 66},
}

// TestECDH: valid vectors give their secret, and all others are refused: what Wycheproof calls acceptable is BER, compressed
// points and spelled-out parameters, none of which KMS writes.
func TestECDH(t *testing.T) {
	total := 0
	for _, s := range []struct {
		file          string
		vectors, same int
	}{
		{"ecdh_secp256r1_test.json", 612, 330}, {"ecdh_secp256r1_pem_test.json", 612, 330}, {"ecdh_secp256r1_ecpoint_test.json", 355, 330},
		{"ecdh_secp384r1_test.json", 1047, 771}, {"ecdh_secp384r1_pem_test.json", 1047, 771}, {"ecdh_secp384r1_ecpoint_test.json", 790, 771},
		{"ecdh_secp521r1_test.json", 916, 632}, {"ecdh_secp521r1_pem_test.json", 916, 632}, {"ecdh_secp521r1_ecpoint_test.json", 661, 632},
	} {
		t.Run(s.file, func(t *testing.T) {
			ran, same := run(t, s.file)
			if ran != s.vectors || same != s.same {
				t.Errorf("%d vectors ran and %d gave the secret, expected %d and %d", ran, same, s.vectors, s.same)
			}
			total += ran
			testenv.InPage(t, "reliability.md", fmt.Sprintf("| %s | ECDH | %d | %d | %d |", strings.TrimSuffix(s.file, "_test.json"), ran, same, ran-same))
		})
	}
	if total != 6956 {
		t.Errorf("%d vectors ran in all, expected 6956", total)
	}
}

func run(t *testing.T, file string) (ran, same int) {
	b, err := fs.ReadFile(vectors.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		TestGroups []struct {
			Curve string
			Tests []struct {
				TcID                            int
				Comment                         string
				Flags                           []string
				Public, Private, Shared, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &content); err != nil {
		t.Fatal(err)
	}
	for _, g := range content.TestGroups {
		for _, v := range g.Tests {
			ran++
			der, private := inputs(t, g.Curve, v.Public, v.Private)
			key, err := rawagree.ParsePrivateKey(private)
			if err != nil {
				t.Errorf("%d (%s): the private key: %v", v.TcID, v.Comment, err)
				continue
			}
			var secret []byte
			pub, err := spki.Parse(der)
			if err == nil {
				secret, err = rawagree.Derive(pub, key)
			}
			want, hexErr := hex.DecodeString(v.Shared)
			switch {
			case hexErr != nil:
				t.Fatal(hexErr)
			case (err == nil) != (v.Result == "valid"):
				t.Errorf("%d (%s, %v, %s): got %v", v.TcID, v.Comment, v.Flags, v.Result, err)
			case err == nil && !bytes.Equal(secret, want):
				t.Errorf("%d (%s): got %x, expected %x", v.TcID, v.Comment, secret, want)
			case err == nil:
				same++
			}
		}
	}
	return ran, same
}

// inputs turns a vector's keys into a DER SubjectPublicKeyInfo and a private key's file.
func inputs(t *testing.T, curve, public, private string) (der, file []byte) {
	c := curves[curve]
	if strings.HasPrefix(private, "-----BEGIN") {
		block, _ := pem.Decode([]byte(public))
		if block == nil {
			return nil, []byte(private)
		}
		return block.Bytes, []byte(private)
	}
	raw := unhex(t, public)
	if len(raw) == 0 || raw[0] != 0x30 { // a bare point
		raw = marshal(t, struct {
			Algorithm struct{ OID, Curve asn1.ObjectIdentifier }
			Key       asn1.BitString
		}{struct{ OID, Curve asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, c.oid}, asn1.BitString{Bytes: raw, BitLength: 8 * len(raw)}})
	}
	scalar := bytes.TrimLeft(unhex(t, private), "\x00") // a number, of any length
	scalar = slices.Concat(make([]byte, c.size-len(scalar)), scalar)
	return raw, marshal(t, struct {
		Version int
		Key     []byte
		Curve   asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
	}{1, scalar, c.oid})
}

func unhex(t *testing.T, text string) []byte {
	if len(text)%2 == 1 {
		text = "0" + text
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func marshal(t *testing.T, v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
