package kmskey

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	testdata = "../../testdata"
	keyARN   = prefix + "key/" + uuid
	mrkARN   = prefix + "key/" + mrk
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// spkiOf returns the public key of testdata/keys.
func spkiOf(t testing.TB, name string) []byte { return read(t, "keys/"+name+".spki.der") }

// object is a record's JSON, to be edited member by member.
type object map[string]any

func (o object) with(members object) object {
	o = maps.Clone(o)
	for name, value := range members {
		if value == nil {
			delete(o, name)
		} else {
			o[name] = value
		}
	}
	return o
}

func (o object) json(t testing.TB) []byte {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// signing returns a sound record of a key in testdata.
func signing(t testing.TB, name string, spec KeySpec) object {
	return object{"KeyId": keyARN, "PublicKey": spkiOf(t, name), "KeySpec": string(spec), "CustomerMasterKeySpec": string(spec),
		"KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": spec.SigningAlgorithms()}
}

func parse(t testing.TB, data []byte) *Key {
	t.Helper()
	k, err := ParseKey(data)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return k
}

// files are the keys of testdata and their specs.
var files = map[string]KeySpec{
	"rsa2048": RSA2048, "rsa3072": RSA3072, "rsa4096": RSA4096, "p256": ECCNISTP256, "p384": ECCNISTP384, "p521": ECCNISTP521,
	"secp256k1": ECCSECGP256K1, "ed25519": ECCNISTEdwards25519, "mldsa44": MLDSA44, "mldsa65": MLDSA65, "mldsa87": MLDSA87, "sm2": SM2,
}

// TestRecordsOfTheCLI reads what the AWS CLI prints.
func TestRecordsOfTheCLI(t *testing.T) {
	names, err := filepath.Glob(testdata + "/records/*get-public-key*.json")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d records, %v", len(names), err)
	}
	for _, name := range names {
		base := strings.SplitN(filepath.Base(name), ".", 2)[0]
		t.Run(filepath.Base(name), func(t *testing.T) {
			data := read(t, "records/"+filepath.Base(name))
			key := parse(t, data)
			der := spkiOf(t, base)
			if !bytes.Equal(key.PublicKeyDER(), der) {
				t.Error("the public key is another one")
			}
			if spec, ok := files[base]; ok && (key.Spec() != spec || key.Usage() != SignVerify || !slices.Equal(key.SigningAlgorithms(), spec.SigningAlgorithms())) {
				t.Errorf("got %s, %s, %s", key.Spec(), key.Usage(), JoinNames(key.SigningAlgorithms()))
			}
			if key.State() != StateUnknown || !strings.Contains(string(data), key.ARN().String()) || key.DistinguishingID().Given() {
				t.Errorf("got state %s, ARN %s", key.State(), key.ARN())
			}
			fingerprint, spec, err := FingerprintDER(der)
			if err != nil || fingerprint != key.Fingerprint() || spec != key.Spec() || key.Record().Snapshot.PublicKeySHA256 != fingerprint {
				t.Errorf("got fingerprint %s of %s (%v), expected %s of %s", fingerprint, spec, err, key.Fingerprint(), key.Spec())
			}
			if got := key.Record(); got.KeySpec == "" || got.CustomerMasterKeySpec != "" || !got.Snapshot.Time.IsZero() || got.Snapshot.Source != "" {
				t.Errorf("got %+v", got)
			}
			stable(t, key)
		})
	}
}

// stable demands that a key is written and read without loss.
func stable(t testing.TB, key *Key) []byte {
	t.Helper()
	first, err := key.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again := parse(t, first)
	second, err := again.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Fatalf("written as\n%s\nthen as\n%s", first, second)
	}
	if again.Fingerprint() != key.Fingerprint() || again.ARN() != key.ARN() || again.State() != key.State() || again.DistinguishingID() != key.DistinguishingID() {
		t.Fatal("what was written reads as another key")
	}
	return first
}

func TestNotForSigning(t *testing.T) {
	for name, want := range map[string]struct {
		spec  KeySpec
		usage KeyUsage
	}{
		"rsa2048-encrypt": {RSA2048, EncryptDecrypt}, "p256-agree": {ECCNISTP256, KeyAgreement}, "mlkem768": {MLKEM768, EncapsulateDecapsulate},
	} {
		key := parse(t, read(t, "records/"+name+".get-public-key.json"))
		if key.Spec() != want.spec || key.Usage() != want.usage || len(key.SigningAlgorithms()) != 0 {
			t.Errorf("%s: %s, %s, %s", name, key.Spec(), key.Usage(), JoinNames(key.SigningAlgorithms()))
		}
	}
}

func TestDescribeKey(t *testing.T) {
	names, err := filepath.Glob(testdata + "/records/*describe-key.json")
	if err != nil || len(names) < 7 {
		t.Fatalf("%d records, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data := read(t, "records/"+filepath.Base(name))
			m, err := DecodeDescribeKey(data)
			if err != nil {
				t.Fatal(err)
			}
			if m.KeyState == StateUnknown || m.Arn == "" || m.Enabled == nil || *m.Enabled != (m.KeyState == StateEnabled) || m.MultiRegion == nil {
				t.Errorf("got %+v", m)
			}
			for _, kept := range []string{"AWSAccountId", "CreationDate", "Origin", "Description"} {
				if _, ok := m.Unknown[kept]; !ok {
					t.Errorf("%s was lost", kept)
				}
			}
			record, err := DecodeRecord(read(t, "records/"+strings.Replace(filepath.Base(name), "describe-key", "get-public-key", 1)))
			if err != nil {
				t.Fatal(err)
			}
			record.KeyMetadata = &m
			key, err := NewKey(record)
			if err != nil {
				t.Fatal(err)
			}
			if key.State() != m.KeyState {
				t.Errorf("got state %s", key.State())
			}
			if written := stable(t, key); !bytes.Contains(written, []byte("AWSAccountId")) {
				t.Error("AWSAccountId was lost on writing")
			}
		})
	}
	v1, err := DecodeDescribeKey([]byte(`{"KeyMetadata":{"KeyId":"` + uuid + `","KeyState":"PendingDeletion","Enabled":false,"DeletionDate":1772442927.416}}`))
	if err != nil {
		t.Fatal(err)
	}
	v2, err := DecodeDescribeKey([]byte(`{"KeyMetadata":{"KeyId":"` + uuid + `","KeyState":"PendingDeletion","Enabled":false,"DeletionDate":"2026-03-02T10:15:27.416000+01:00"}}`))
	if err != nil || !v1.DeletionDate.Equal(v2.DeletionDate.Time) || v1.DeletionDate.IsZero() {
		t.Errorf("CLI v1 says %s, v2 %s (%v)", v1.DeletionDate, v2.DeletionDate, err)
	}
	for _, bad := range []string{``, `{}`, `{"KeyMetadata":null}`, `{"KeyMetadata":{}}`, `{"KeyMetadata":{"KeyState":null}}`, `{"KeyMetadata":[]}`,
		`{"KeyMetadata":{"KeyState":"Enabled","keystate":"Disabled"}}`, `{"KeyMetadata":{"KeyState":"Enabled"},"keymetadata":{}}`,
		`{"KeyMetadata":{"KeyState":"Enabled","KeyState":"Disabled"}}`, `{"KeyMetadata":{"KeyState":"Enabled","DeletionDate":"soon"}}`,
		`{"KeyMetadata":{"KeyState":"Enabled","Enabled":"yes"}}`, `{"KeyMetadata":{"KeyState":"Enabled"}}]`} {
		if m, err := DecodeDescribeKey([]byte(bad)); err == nil || !kmserr.Is(err, kmserr.Validation) || m.KeyState != StateUnknown {
			t.Errorf("%s: %+v, %v", bad, m, err)
		}
	}
}

// TestDisagreements: the label never outranks the material, and the text names both sides.
func TestDisagreements(t *testing.T) {
	p256, rsa2048 := signing(t, "p256", ECCNISTP256), signing(t, "rsa2048", RSA2048)
	meta := func(members object) object { return p256.with(object{"KeyMetadata": members}) }
	for name, c := range map[string]struct {
		record object
		says   []string
	}{
		"RSA labelled SM2, as moto makes it": {
			object{"KeyId": keyARN, "PublicKey": spkiOf(t, "rsa2048"), "CustomerMasterKeySpec": "SM2", "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": []string{"SM2DSA"}},
			[]string{"CustomerMasterKeySpec says SM2", "spec RSA_2048"}},
		"RSA with SM2's algorithm and no label": {
			object{"KeyId": keyARN, "PublicKey": spkiOf(t, "rsa2048"), "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": []string{"SM2DSA"}},
			[]string{"SigningAlgorithms lists SM2DSA", "spec RSA_2048"}},
		"P-256 labelled P-384":         {p256.with(object{"KeySpec": "ECC_NIST_P384"}), []string{"KeySpec says ECC_NIST_P384", "spec ECC_NIST_P256"}},
		"the old label alone wrong":    {p256.with(object{"CustomerMasterKeySpec": "RSA_2048"}), []string{"CustomerMasterKeySpec says RSA_2048", "spec ECC_NIST_P256"}},
		"P-256 labelled secp256k1":     {p256.with(object{"KeySpec": "ECC_SECG_P256K1"}), []string{"ECC_SECG_P256K1", "ECC_NIST_P256"}},
		"secp256k1 labelled P-256":     {signing(t, "secp256k1", ECCNISTP256), []string{"ECC_NIST_P256", "ECC_SECG_P256K1"}},
		"SM2 labelled P-256":           {signing(t, "sm2", ECCNISTP256), []string{"ECC_NIST_P256", "SM2"}},
		"RSA-2048 labelled RSA-3072":   {signing(t, "rsa2048", RSA3072), []string{"RSA_3072", "RSA_2048"}},
		"ML-DSA-44 labelled ML-DSA-65": {signing(t, "mldsa44", MLDSA65), []string{"ML_DSA_65", "ML_DSA_44"}},
		"a label in lower case":        {p256.with(object{"KeySpec": "ecc_nist_p256"}), []string{"ecc_nist_p256", "ECC_NIST_P256"}},
		"symmetric label":              {p256.with(object{"KeySpec": "SYMMETRIC_DEFAULT"}), []string{"SYMMETRIC_DEFAULT", "ECC_NIST_P256"}},

		"usage unknown":                  {p256.with(object{"KeyUsage": "SIGN"}), []string{`KeyUsage says "SIGN"`, "SIGN_VERIFY, KEY_AGREEMENT"}},
		"usage empty":                    {p256.with(object{"KeyUsage": ""}), []string{`KeyUsage says ""`, "SIGN_VERIFY"}},
		"usage that the spec has not":    {signing(t, "ed25519", ECCNISTEdwards25519).with(object{"KeyUsage": "ENCRYPT_DECRYPT", "SigningAlgorithms": nil}), []string{"ENCRYPT_DECRYPT", "ECC_NIST_EDWARDS25519 is for SIGN_VERIFY"}},
		"ML-KEM that signs":              {object{"KeyId": keyARN, "PublicKey": spkiOf(t, "mlkem768"), "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": []string{"ML_DSA_SHAKE_256"}}, []string{"SIGN_VERIFY", "ML_KEM_768"}},
		"signing without algorithms":     {p256.with(object{"SigningAlgorithms": nil}), []string{"KeyUsage says SIGN_VERIFY", "SigningAlgorithms is empty or absent"}},
		"signing with an empty list":     {p256.with(object{"SigningAlgorithms": []string{}}), []string{"SIGN_VERIFY", "empty or absent"}},
		"encryption with SigningAlgs":    {rsa2048.with(object{"KeyUsage": "ENCRYPT_DECRYPT"}), []string{"KeyUsage says ENCRYPT_DECRYPT", "SigningAlgorithms is given"}},
		"signing with EncryptionAlgs":    {rsa2048.with(object{"EncryptionAlgorithms": []string{"RSAES_OAEP_SHA_256"}}), []string{"SIGN_VERIFY", "EncryptionAlgorithms is given"}},
		"signing with KeyAgreementAlgs":  {p256.with(object{"KeyAgreementAlgorithms": []string{"ECDH"}}), []string{"SIGN_VERIFY", "KeyAgreementAlgorithms is given"}},
		"P-256 with P-384's algorithm":   {p256.with(object{"SigningAlgorithms": []string{"ECDSA_SHA_384"}}), []string{"lists ECDSA_SHA_384", "ECC_NIST_P256 has ECDSA_SHA_256"}},
		"one wrong algorithm among good": {p256.with(object{"SigningAlgorithms": []string{"ECDSA_SHA_256", "SM2DSA"}}), []string{"lists SM2DSA", "ECC_NIST_P256"}},

		"KeyId bare":               {p256.with(object{"KeyId": uuid}), []string{`KeyId is "` + uuid, "--key-id"}},
		"KeyId an alias":           {p256.with(object{"KeyId": prefix + "alias/x"}), []string{"no key ARN"}},
		"KeyId of another service": {p256.with(object{"KeyId": "arn:aws:iam:us-east-1:111122223333:key/" + uuid}), []string{"service"}},
		"KeyId absent":             {p256.with(object{"KeyId": nil}), []string{`KeyId is ""`}},

		"Arn of another key":          {meta(object{"KeyState": "Enabled", "Arn": mrkARN}), []string{"KeyMetadata.Arn says " + mrkARN, keyARN}},
		"KeyMetadata.KeyId of other":  {meta(object{"KeyState": "Enabled", "KeyId": mrk}), []string{"KeyMetadata.KeyId says " + mrk, keyARN}},
		"KeyMetadata.KeySpec":         {meta(object{"KeyState": "Enabled", "KeySpec": "RSA_2048"}), []string{"KeyMetadata.KeySpec says RSA_2048", "ECC_NIST_P256"}},
		"KeyMetadata.KeyUsage":        {meta(object{"KeyState": "Enabled", "KeyUsage": "KEY_AGREEMENT"}), []string{"KeyMetadata.KeyUsage says KEY_AGREEMENT", "SIGN_VERIFY"}},
		"Enabled and no state":        {meta(object{"KeyState": "enabled", "Enabled": true}), []string{`KeyState is "enabled", which is no state of KMS`, "Did you mean Enabled?"}},
		"Enabled and Disabled":        {meta(object{"KeyState": "Disabled", "Enabled": true}), []string{"Enabled says true", "KeyState says Disabled"}},
		"Enabled and PendingDeletion": {meta(object{"KeyState": "PendingDeletion", "Enabled": true}), []string{"Enabled says true", "PendingDeletion"}},
		"Enabled and unknown to us":   {meta(object{"KeyState": "Frozen", "Enabled": true}), []string{"Enabled says true", "Frozen"}},
		"not Enabled and Enabled":     {meta(object{"KeyState": "Enabled", "Enabled": false}), []string{"Enabled says false", "KeyState says Enabled"}},
		"MultiRegion, a plain UUID":   {meta(object{"KeyState": "Enabled", "MultiRegion": true}), []string{"MultiRegion says true", uuid}},
		"not MultiRegion, an MRK":     {meta(object{"KeyState": "Enabled", "MultiRegion": false}).with(object{"KeyId": mrkARN}), []string{"MultiRegion says false", mrk}},
		"KeyState empty":              {meta(object{"KeyState": ""}), []string{"KeyState is empty"}},
		"KeyState absent":             {meta(object{"Enabled": true}), []string{"lacks the member /KeyMetadata/KeyState"}},

		"a source of its own":      {p256.with(object{"Snapshot": object{"Source": "Kms"}}), []string{`Snapshot.Source is "Kms", expected kms, file, operator`}},
		"Snapshot of another key":  {p256.with(object{"Snapshot": object{"PublicKeySHA256": strings.Repeat("0", 64)}}), []string{"Snapshot.PublicKeySHA256 says 000", "the SHA-256 of PublicKey is"}},
		"Snapshot, a member more":  {p256.with(object{"Snapshot": object{"Tyme": "2026-01-02T03:04:05Z"}}), []string{"unknown member /Snapshot/Tyme"}},
		"Snapshot, no time":        {p256.with(object{"Snapshot": object{"Time": "2026-01-02"}}), []string{"/Snapshot/Time", "ISO 8601"}},
		"an alias with dots":       {p256.with(object{"Aliases": []string{"alias/../x"}}), []string{"Aliases holds", "alias/../x"}},
		"an alias without prefix":  {p256.with(object{"Aliases": []string{"release"}}), []string{"Aliases holds", "does not start with alias/"}},
		"a distinguishing ID":      {p256.with(object{"DistinguishingId": "x"}), []string{"DistinguishingId is given", "ECC_NIST_P256"}},
		"a distinguishing ID, bad": {signing(t, "sm2", SM2).with(object{"DistinguishingId": "hex:0"}), []string{"distinguishing ID"}},

		"PublicKey empty":           {p256.with(object{"PublicKey": ""}), []string{"PublicKey is empty"}},
		"PublicKey cut":             {p256.with(object{"PublicKey": spkiOf(t, "p256")[:50]}), []string{"PublicKey is not a DER SubjectPublicKeyInfo"}},
		"PublicKey and more":        {p256.with(object{"PublicKey": append(spkiOf(t, "p256"), 0)}), []string{"1 bytes after the end"}},
		"PublicKey, off the curve":  {p256.with(object{"PublicKey": flip(spkiOf(t, "p256"))}), []string{"not on the curve P-256"}},
		"secp256k1, off the curve":  {signing(t, "secp256k1", ECCSECGP256K1).with(object{"PublicKey": flip(spkiOf(t, "secp256k1"))}), []string{"not on the curve secp256k1"}},
		"SM2, off the curve":        {signing(t, "sm2", SM2).with(object{"PublicKey": flip(spkiOf(t, "sm2"))}), []string{"not on the curve SM2"}},
		"RSA of 2056 bits":          {rsa2048.with(object{"PublicKey": rsaSPKI(t, odd(2056), 65537)}), []string{"2056 bits", "2048, 3072 or 4096"}},
		"RSA of 2047 bits":          {rsa2048.with(object{"PublicKey": rsaSPKI(t, odd(2047), 65537)}), []string{"2047 bits"}},
		"RSA of 1024 bits":          {rsa2048.with(object{"PublicKey": rsaSPKI(t, odd(1024), 65537)}), []string{"1024 bits"}},
		"RSA, exponent 3":           {rsa2048.with(object{"PublicKey": rsaSPKI(t, odd(2048), 3)}), []string{"exponent 3, expected 65537"}},
		"RSA, even modulus":         {rsa2048.with(object{"PublicKey": rsaSPKI(t, new(big.Int).Lsh(big.NewInt(1), 2047), 65537)}), []string{"even RSA modulus"}},
		"PublicKey a private key":   {p256.with(object{"PublicKey": pkcs8(t)}), []string{"PublicKey"}},
		"PublicKey a curve too few": {p256.with(object{"PublicKey": ecSPKI(t, asn1.ObjectIdentifier{1, 3, 132, 0, 33}, make([]byte, 57))}), []string{"curve 1.3.132.0.33"}},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ParseKey(c.record.json(t))
			if key != nil {
				t.Errorf("got a key with an error")
			}
			refused(t, err, c.says...)
		})
	}
}

func flip(der []byte) []byte { der[len(der)-1] ^= 1; return der }

// odd returns an odd number of that many bits.
func odd(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return n.Add(n, big.NewInt(1))
}

func pkcs8(t testing.TB) []byte {
	text := read(t, "keys/p256.key.pem")
	_, text, _ = bytes.Cut(text, []byte("-----BEGIN PRIVATE KEY-----"))
	text, _, _ = bytes.Cut(text, []byte("-----END"))
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ""))
	if err != nil || len(der) < 60 {
		t.Fatalf("%d bytes, %v", len(der), err)
	}
	return der
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

type subjectPublicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

func spkiDER(t testing.TB, oid asn1.ObjectIdentifier, params, key []byte) []byte {
	return marshal(t, subjectPublicKeyInfo{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: params}},
		asn1.BitString{Bytes: key, BitLength: 8 * len(key)}})
}

func rsaSPKI(t testing.TB, n *big.Int, e int) []byte {
	return spkiDER(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, []byte{5, 0}, marshal(t, struct {
		N *big.Int
		E int
	}{n, e}))
}

func ecSPKI(t testing.TB, curve asn1.ObjectIdentifier, point []byte) []byte {
	return spkiDER(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, marshal(t, curve), point)
}

// TestSM2UnderBothIdentifiers: one key, one fingerprint, however it is spelled.
func TestSM2UnderBothIdentifiers(t *testing.T) {
	canonical := spkiOf(t, "sm2")
	point := canonical[len(canonical)-65:]
	oid := asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
	want := parse(t, signing(t, "sm2", SM2).json(t))
	for name, der := range map[string][]byte{
		"no parameters": spkiDER(t, oid, nil, point), "NULL": spkiDER(t, oid, []byte{5, 0}, point), "the curve": spkiDER(t, oid, marshal(t, oid), point),
	} {
		if bytes.Equal(der, canonical) {
			t.Fatalf("%s: no other spelling", name)
		}
		key := parse(t, signing(t, "sm2", SM2).with(object{"PublicKey": der}).json(t))
		if key.Fingerprint() != want.Fingerprint() || !bytes.Equal(key.PublicKeyDER(), canonical) || !bytes.Equal(key.Record().PublicKey, canonical) {
			t.Errorf("%s: another key", name)
		}
		if got, spec, err := FingerprintDER(der); err != nil || got != want.Fingerprint() || spec != SM2 {
			t.Errorf("%s: fingerprint %s of %s, %v", name, got, spec, err)
		}
		if a, b := stable(t, key), stable(t, want); !bytes.Equal(a, b) {
			t.Errorf("%s: written as\n%s\nexpected\n%s", name, a, b)
		}
	}
	if _, err := ParseKey(signing(t, "sm2", SM2).with(object{"PublicKey": spkiDER(t, oid, marshal(t, asn1.ObjectIdentifier{1, 2, 3}), point)}).json(t)); err == nil {
		t.Error("SM2 with another curve was accepted")
	}
}

func TestFingerprintDERRefuses(t *testing.T) {
	for _, der := range [][]byte{nil, {0x30}, []byte("-----BEGIN"), make([]byte, 9<<10)} {
		fingerprint, spec, err := FingerprintDER(der)
		refused(t, err, "the public key")
		if fingerprint != "" || spec != "" {
			t.Errorf("got %s, %s with an error", fingerprint, spec)
		}
	}
}

// full is a record with everything in it.
func full(t testing.TB) object {
	return signing(t, "sm2", SM2).with(object{
		"KeyId":    mrkARN,
		"Aliases":  []string{"alias/a", "alias/B/c"},
		"Snapshot": object{"Time": "2026-11-23T11:00:00Z", "StateTime": 1772442927, "Source": "kms"},
		"KeyMetadata": object{"KeyState": "Updating", "Enabled": true, "MultiRegion": true, "Arn": mrkARN, "KeyId": mrk, "KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY",
			"ValidTo": 1900000000.5, "Origin": "EXTERNAL", "MultiRegionConfiguration": object{"ReplicaKeys": []object{}}},
		"DistinguishingId":  "hex:00ff",
		"SigningAlgorithms": []string{"SM2DSA", "SM9DSA"},
		"NewerMember":       object{"b": []any{1, "x"}, "a": true},
	})
}

func TestUnknownIsKept(t *testing.T) {
	key := parse(t, full(t).json(t))
	written := stable(t, key)
	for _, kept := range []string{`"NewerMember"`, `"b": [`, `"MultiRegionConfiguration"`, `"Origin": "EXTERNAL"`, `"SM9DSA"`, `"DistinguishingId": "hex:00ff"`,
		`"StateTime": "2026-03-02T09:15:27Z"`, `"ValidTo": "2030-03-17T17:46:40.5Z"`} {
		if !bytes.Contains(written, []byte(kept)) {
			t.Errorf("%s was lost:\n%s", kept, written)
		}
	}
	if got := key.SigningAlgorithms(); !slices.Equal(got, []SigningAlgorithm{SM2DSA}) {
		t.Errorf("an unknown algorithm is used: %s", JoinNames(got))
	}
	if !bytes.HasSuffix(written, []byte("}\n")) || bytes.Contains(written, []byte("CustomerMasterKeySpec")) {
		t.Errorf("got %s", written)
	}
}

// Nothing distinguishes records that differ in the order of their members.
func TestEncodeIsDeterministic(t *testing.T) {
	members := full(t).with(object{"X1": 1, "X2": 2, "X3": 3, "X4": 4})
	want := stable(t, parse(t, members.json(t)))
	for range 20 {
		var b bytes.Buffer
		for name, value := range members {
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, ",%q: %s", name, text)
		}
		got, err := parse(t, []byte("{"+b.String()[1:]+"}")).Encode()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v, got\n%s\nexpected\n%s", err, got, want)
		}
	}
}

// An explicitly empty distinguishing ID is another one than none, on disk too.
func TestDistinguishingIDOfRecords(t *testing.T) {
	for text, given := range map[string]any{"none": nil, "empty": "", "empty in hex": "hex:", "text": "abc"} {
		key := parse(t, signing(t, "sm2", SM2).with(object{"DistinguishingId": given}).json(t))
		if key.DistinguishingID().Given() != (given != nil) {
			t.Errorf("%s: given %t", text, key.DistinguishingID().Given())
		}
		stable(t, key)
	}
}

func TestStrictlyDecoded(t *testing.T) {
	good := string(signing(t, "p256", ECCNISTP256).json(t))
	if _, err := DecodeRecord([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ data, says string }{
		"empty":                  {"", "the record is empty"},
		"PEM":                    {"-----BEGIN PUBLIC KEY-----\n", "is not a JSON object"},
		"twice":                  {`{"KeyUsage":"KEY_AGREEMENT",` + good[1:], `"KeyUsage" twice`},
		"case":                   {`{"keyusage":"KEY_AGREEMENT",` + good[1:], "letter case"},
		"case, KELVIN SIGN":      {"{\"\u212aeyUsage\":\"KEY_AGREEMENT\"," + good[1:], "letter case"},
		"case in KeyMetadata":    {`{"KeyMetadata":{"KeyState":"Disabled","keyState":"Enabled"},` + good[1:], "letter case"},
		"case in Snapshot":       {`{"Snapshot":{"time":0},` + good[1:], "letter case"},
		"after":                  {good + "{}", "more data after"},
		"null":                   {`{"KeyMetadata":null,` + good[1:], "null for the member /KeyMetadata"},
		"null among algorithms":  {strings.Replace(good, `["ECDSA_SHA_256"]`, `["ECDSA_SHA_256",null]`, 1), "null"},
		"describe-key alone":     {string(read(t, "records/p256.describe-key.json")), "lacks the member /KeyUsage, /PublicKey"},
		"a list":                 {"[" + good + "]", "not a JSON object"},
		"over 64 KiB":            {good + strings.Repeat(" ", MaxRecord), "more than the 65536 allowed"},
		"100 MB":                 {strings.Repeat("{", 100<<20), "more than the 65536 allowed"},
		"base64 in the URL form": {strings.Replace(good, `"PublicKey":"`, `"PublicKey":"_-`, 1), "/PublicKey"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ParseKey([]byte(c.data))
			if key != nil {
				t.Error("a key with an error")
			}
			refused(t, err, c.says)
		})
	}
}

func TestRecordTooLongToWrite(t *testing.T) {
	record, err := DecodeRecord(signing(t, "p256", ECCNISTP256).json(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 400 {
		record.Aliases = append(record.Aliases, fmt.Sprintf("alias/%s%d", strings.Repeat("a", 200), n))
	}
	key, err := NewKey(record)
	if err != nil {
		t.Fatal(err)
	}
	_, err = key.Encode()
	refused(t, err, "more than the 65536 allowed")
}

// What describe-key calls KeyId may be the ARN, and a key for encryption need not list its algorithms.
func TestAgreements(t *testing.T) {
	parse(t, signing(t, "p256", ECCNISTP256).with(object{"KeyMetadata": object{"KeyState": "Enabled", "KeyId": keyARN}}).json(t))
	parse(t, signing(t, "rsa2048", RSA2048).with(object{"KeyUsage": "ENCRYPT_DECRYPT", "SigningAlgorithms": nil}).json(t))
	parse(t, signing(t, "p256", ECCNISTP256).with(object{"KeyUsage": "KEY_AGREEMENT", "SigningAlgorithms": nil}).json(t))
}

// A record is as long as one that is read, with its final newline, and not a byte longer.
func TestLongestRecord(t *testing.T) {
	padded := func(n int) *Key {
		return parse(t, signing(t, "p256", ECCNISTP256).with(object{"Padding": strings.Repeat("x", n)}).json(t))
	}
	short, err := padded(1000).Encode()
	if err != nil {
		t.Fatal(err)
	}
	fits := 1000 + MaxRecord - len(short)
	if data, err := padded(fits).Encode(); err != nil || len(data) != MaxRecord {
		t.Errorf("%d bytes, %v", len(data), err)
	} else if _, err := ParseKey(data); err != nil {
		t.Error(err)
	}
	key := padded(fits)
	key.record.Unknown["Padding"] = jsontext.Value(`"` + strings.Repeat("x", fits+1) + `"`)
	if data, err := key.Encode(); err == nil {
		t.Errorf("%d bytes were written", len(data))
	}
}

// TestKeyIsImmutable changes everything that can be reached of what went into a key and of what comes out of it.
func TestKeyIsImmutable(t *testing.T) {
	record, err := DecodeRecord(full(t).json(t))
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey(record)
	if err != nil {
		t.Fatal(err)
	}
	want := stable(t, key)
	spoil := func(r *Record) {
		for i := range r.PublicKey {
			r.PublicKey[i] = 0
		}
		for i := range r.SigningAlgorithms {
			r.SigningAlgorithms[i] = "spoilt"
		}
		for i := range r.Aliases {
			r.Aliases[i] = "spoilt"
		}
		if m := r.KeyMetadata; m != nil {
			*m.Enabled, *m.MultiRegion, m.KeyState, m.ValidTo = false, false, StateDisabled, Time{time.Unix(1, 0)}
			for name, value := range m.Unknown {
				value[0] = 'x'
				m.Unknown[name] = jsontext.Value("1")
			}
			m.Unknown["Spoilt"] = jsontext.Value("1")
		}
		*r.DistinguishingID = "spoilt"
		for name, value := range r.Unknown {
			value[0] = 'x'
			delete(r.Unknown, name)
		}
	}
	spoil(&record)
	out := key.Record()
	spoil(&out)
	key.PublicKeyDER()[0] = 0
	key.SigningAlgorithms()[0] = "spoilt"
	got, err := key.Encode()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, the key became\n%s\nfrom\n%s", err, got, want)
	}
	if key.State() != StateUpdating || !key.SigningAlgorithms()[0].Known() {
		t.Errorf("state %s, algorithms %s", key.State(), JoinNames(key.SigningAlgorithms()))
	}
	var plain Record
	plain.EncryptionAlgorithms, plain.KeyAgreementAlgorithms = []string{"a"}, []string{"b"}
	copied := plain.clone()
	copied.EncryptionAlgorithms[0], copied.KeyAgreementAlgorithms[0] = "x", "x"
	if plain.EncryptionAlgorithms[0] != "a" || plain.KeyAgreementAlgorithms[0] != "b" {
		t.Error("lists of algorithms are shared")
	}
}

// A key size that is no KMS size, but a real key.
func TestRealRSAKeyOfOddSize(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2056)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = FingerprintDER(rsaSPKI(t, private.N, private.E))
	refused(t, err, "2056 bits")
}

// FuzzParseKey: what is accepted agrees with itself, is written, and reads the same again.
func FuzzParseKey(f *testing.F) {
	names, err := filepath.Glob(testdata + "/records/*.json")
	if err != nil || len(names) == 0 {
		f.Fatalf("no records: %v", err)
	}
	for _, name := range names {
		f.Add(read(f, "records/"+filepath.Base(name)))
	}
	f.Add(full(f).json(f))
	f.Add(signing(f, "p256", ECCNISTP256).with(object{"KeyMetadata": object{"KeyState": "PendingDeletion", "DeletionDate": 1}, "Snapshot": object{"Source": "file"}}).json(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = DecodeDescribeKey(data)
		key, err := ParseKey(data)
		if err != nil {
			if key != nil || kmserr.As(err).Name != kmserr.Validation || kmserr.As(err).Fact == "" {
				t.Fatalf("%+v, %v", key, err)
			}
			return
		}
		if !slices.Contains(key.Spec().Usages(), key.Usage()) || key.ARN().String() != key.Record().KeyID {
			t.Fatalf("%s is %s for %s", key.ARN(), key.Spec(), key.Usage())
		}
		for _, a := range key.SigningAlgorithms() {
			if !slices.Contains(key.Spec().SigningAlgorithms(), a) {
				t.Fatalf("%s has %s", key.Spec(), a)
			}
		}
		if (key.Usage() == SignVerify) != (len(key.Record().SigningAlgorithms) > 0) {
			t.Fatalf("%s with %d algorithms", key.Usage(), len(key.Record().SigningAlgorithms))
		}
		fingerprint, spec, err := FingerprintDER(key.PublicKeyDER())
		if err != nil || fingerprint != key.Fingerprint() || spec != key.Spec() {
			t.Fatalf("%s of %s, %v", fingerprint, spec, err)
		}
		if _, err := key.Encode(); err != nil {
			if len(data) < MaxRecord/8 {
				t.Fatalf("%d bytes were read and cannot be written: %v", len(data), err)
			}
			return
		}
		stable(t, key)
	})
}

// TestRecordThatIsNoJSON: a record that a program put together can hold what JSON cannot, and is not written as nothing.
func TestRecordThatIsNoJSON(t *testing.T) {
	record, err := DecodeRecord(signing(t, "p256", ECCNISTP256).json(t))
	if err != nil {
		t.Fatal(err)
	}
	record.SigningAlgorithms = append(record.SigningAlgorithms, "\xff") // names that KMS may have one day are kept
	key, err := NewKey(record)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := key.Encode(); err == nil || data != nil || !strings.Contains(err.Error(), "encode the record of "+keyARN) {
		t.Errorf("got %q, %v", data, err)
	}
}

// TestAlgorithmsOfOtherUsages: of the recorded names those count that KMS has for the spec.
func TestAlgorithmsOfOtherUsages(t *testing.T) {
	rsa := parse(t, signing(t, "rsa2048", RSA2048).with(object{"KeyUsage": "ENCRYPT_DECRYPT", "SigningAlgorithms": nil,
		"EncryptionAlgorithms": []string{"SM2PKE", "RSAES_OAEP_SHA_512", "RSAES_OAEP_SHA_256"}}).json(t))
	if got := rsa.EncryptionAlgorithms(); !slices.Equal(got, []EncryptionAlgorithm{RSAESOAEPSHA256}) {
		t.Errorf("got %v", got)
	}
	p256 := parse(t, signing(t, "p256", ECCNISTP256).with(object{"KeyUsage": "KEY_AGREEMENT", "SigningAlgorithms": nil,
		"KeyAgreementAlgorithms": []string{"X3DH", "ECDH"}}).json(t))
	if got := p256.KeyAgreementAlgorithms(); !slices.Equal(got, []KeyAgreementAlgorithm{ECDH}) {
		t.Errorf("got %v", got)
	}
}

// TestDatesThatCannotBeRead: what a record could not be read with is not written, as an endpoint that is no KMS may answer it.
func TestDatesThatCannotBeRead(t *testing.T) {
	key, err := ParseKey(signing(t, "p256", ECCNISTP256).json(t))
	if err != nil {
		t.Fatal(err)
	}
	for at, fits := range map[time.Time]bool{
		time.Unix(-1, 0): false, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC): false, {}: true,
		time.Unix(0, 0): true, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC): true,
	} {
		for name, set := range map[string]func(*KeyMetadata){
			"DeletionDate": func(m *KeyMetadata) { m.DeletionDate = Time{at} }, "ValidTo": func(m *KeyMetadata) { m.ValidTo = Time{at} },
		} {
			record := key.Record()
			record.KeyMetadata = &KeyMetadata{KeyState: StatePendingDeletion}
			set(record.KeyMetadata)
			made, err := NewKey(record)
			if !fits {
				if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "KeyMetadata."+name+": the year ") {
					t.Errorf("%s of %s: %v", name, at, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s of %s: %v", name, at, err)
				continue
			}
			text, err := made.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseKey(text); err != nil {
				t.Errorf("%s of %s: %v", name, at, err)
			}
		}
	}
}
