package cli

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// FuzzBatchLine: a line that is taken is read by encoding/json too, with the same values, and asks about one message.
func FuzzBatchLine(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"key_id":"alias/a","message":"YQ==","signature":"YQ=="}`,
		`{"id":"x","key_id":"alias/a","digest":"YQ==","signature":"YQ==","signing_algorithm":"ECDSA_SHA_256","message_type":"DIGEST"}`,
		`{"key_id":"alias/a","message":"","signature":"","distinguishing_id":"hex:00","sm2_entl":"standard"}`,
		`{"key_id":"alias/a","message":"YQ==","signature":"YQ==","signing_algorithm":"","message_type":""}`,
		`{"key_id":"alias/a","message":"YQ==","digest":"YQ==","signature":"YQ=="}`,
		`{"key_id":"alias/a","Key_ID":"alias/b","message":"YQ==","signature":"YQ=="}`,
		`{"id":{},"key_id":"alias/a","message":"YQ==","signature":"YQ=="}`, `{"id":null}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := decodeBatchLine(data)
		if len(q.ID) > 0 && !json.Valid(q.ID) {
			t.Fatalf("the answer would have the id %q", q.ID)
		}
		if err != nil {
			if !kmserr.Is(err, kmserr.Validation) {
				t.Fatal(err)
			}
			return
		}
		var std struct {
			ID               json.RawMessage `json:"id"`
			KeyID            string          `json:"key_id"`
			Message          *[]byte         `json:"message"`
			Digest           *[]byte         `json:"digest"`
			MessageFile      *string         `json:"message_file"`
			Signature        []byte          `json:"signature"`
			SigningAlgorithm *string         `json:"signing_algorithm"`
			MessageType      *string         `json:"message_type"`
			DistinguishingID *string         `json:"distinguishing_id"`
			SM2ENTL          *string         `json:"sm2_entl"`
		}
		if err := json.Unmarshal(data, &std); err != nil {
			t.Fatalf("%s is taken here, and encoding/json says %v", data, err)
		}
		ours := fmt.Sprintf("%q", []string{string(q.ID), q.KeyID, shown(q.Message), shown(q.Digest), shown(q.MessageFile), string(q.Signature),
			shown(q.SigningAlgorithm), shown(q.MessageType), shown(q.DistinguishingID), shown(q.SM2ENTL)})
		theirs := fmt.Sprintf("%q", []string{string(std.ID), std.KeyID, shown(std.Message), shown(std.Digest), shown(std.MessageFile), string(std.Signature),
			shown(std.SigningAlgorithm), shown(std.MessageType), shown(std.DistinguishingID), shown(std.SM2ENTL)})
		if ours != theirs {
			t.Fatalf("%s reads as %s here, as %s in encoding/json", data, ours, theirs)
		}
		if q.MessageFile != nil {
			return // opens what is named
		}
		req, err := q.request()
		if err != nil {
			if !kmserr.Is(err, kmserr.Validation) {
				t.Fatal(err)
			}
			return
		}
		if (q.Message == nil) == (q.Digest == nil) {
			t.Fatalf("%s asks about two messages, or none", data)
		}
		read, err := io.ReadAll(req.Message)
		if want := q.Message; err != nil || want == nil && (req.MessageType != kmskey.Digest || !bytes.Equal(read, *q.Digest)) || want != nil && !bytes.Equal(read, *want) {
			t.Fatalf("%s asks about %q (%v)", data, read, err)
		}
	})
}

func shown[T string | []byte](p *T) string {
	if p == nil {
		return "absent"
	}
	return "=" + string(*p)
}

// FuzzKeyFile: what keys import takes out of a file is a public key that crypto/x509, where it knows the algorithm, reads too;
// nothing that says itself that it is a private key is taken; and a refusal has a sentence.
func FuzzKeyFile(f *testing.F) {
	records, err := filepath.Glob("../../../testdata/records/*.json")
	if err != nil || len(records) == 0 {
		f.Fatal(records, err)
	}
	for _, path := range append(records, "../../../testdata/keys/p256.spki.der", "../../../testdata/keys/p256.key.pem", "../../../testdata/certs/p256.crt") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		if strings.HasSuffix(path, ".der") {
			f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: data}))
			f.Add([]byte(base64.StdEncoding.EncodeToString(data)))
		}
	}
	f.Add([]byte(`[{"KeyMetadata":{"Arn":"x","KeyState":"Enabled"}},{"KeyId":"","PublicKey":"","KeyUsage":""}]`))
	f.Add([]byte(`{"kty":"EC","d":""}`))
	flags := importFlags{keyID: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", usage: "SIGN_VERIFY"}
	f.Fuzz(func(t *testing.T, data []byte) {
		var all importSet
		if err := parseKeyFile("file", data, flags, &all); err != nil {
			if e := kmserr.As(err); e.Name != kmserr.Validation || e.Fact == "" {
				t.Fatal(err)
			}
			return
		}
		if len(all.records)+len(all.states) == 0 {
			t.Fatalf("%q is taken, and holds nothing", data)
		}
		if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
			t.Fatalf("%q is taken", data)
		}
		for _, r := range all.records {
			if _, err := x509.ParsePKCS8PrivateKey(r.record.PublicKey); err == nil {
				t.Fatalf("%q is a private key, and taken", data)
			}
			key, err := kmskey.NewKey(r.record)
			if err != nil {
				continue // keys import says so
			}
			switch key.Spec() {
			case kmskey.RSA2048, kmskey.RSA3072, kmskey.RSA4096, kmskey.ECCNISTP256, kmskey.ECCNISTP384, kmskey.ECCNISTP521, kmskey.ECCNISTEdwards25519:
				if _, err := x509.ParsePKIXPublicKey(r.record.PublicKey); err != nil {
					t.Fatalf("%q is taken as a key of spec %s, and crypto/x509 says %v", data, key.Spec(), err)
				}
			}
		}
	})
}

// FuzzSignatureFile: a signature is what the file holds, or what encoding/base64 makes of it.
func FuzzSignatureFile(f *testing.F) {
	for _, seed := range []string{"MEQCIA==\n", "MEQC IA==", "0D\x02", " \n", "", "MEQCIB==", "AAAA\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, encoding, err := decodeSignature(raw)
		if err != nil {
			if len(got) != 0 || !kmserr.Is(err, kmserr.Validation) || len(bytes.TrimSpace(raw)) != 0 {
				t.Fatalf("%q: %q, %v", raw, got, err)
			}
			return
		}
		switch encoding {
		case "binary":
			if !bytes.Equal(got, raw) {
				t.Fatalf("%q reads as %q", raw, got)
			}
		case "base64":
			text := strings.Map(func(r rune) rune {
				if strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", r) {
					return r
				}
				return -1
			}, string(raw))
			if want, err := base64.StdEncoding.DecodeString(text); err != nil || !bytes.Equal(want, got) || len(got) == 0 {
				t.Fatalf("%q reads as %q, expected %q, %v", raw, got, want, err)
			}
		default:
			t.Fatalf("%q: %q", raw, encoding)
		}
	})
}

// FuzzArchive: a tar that is taken is to the byte what keys export writes of its files, and package tar finds in it, asked
// without us, the same files and nothing else.
func FuzzArchive(f *testing.F) {
	write := func(files ...keystore.File) []byte {
		var b bytes.Buffer
		if _, err := writeArchive(&b, func(yield func(keystore.File, error) bool) {
			for _, file := range files {
				if !yield(file, nil) {
					return
				}
			}
		}); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add(write())
	exported := filepath.Join(f.TempDir(), "keys.tar")
	home := filepath.Join(f.TempDir(), "home")
	for _, args := range [][]string{
		{"keys", "import", "../../../testdata/records/p256.get-public-key.json", "--alias", "alias/release"},
		{"keys", "import", "../../../testdata/records/p384.get-public-key.json"},
		{"keys", "block", "alias/release", "--reason", "a test"},
		{"keys", "export", "--file", exported},
	} {
		if out, code := runCLI(f, append(args, "--home", home)...); code != 0 {
			f.Fatal(out)
		}
	}
	whole, err := os.ReadFile(exported)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		a := &archive{content: io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))}
		var visited []keystore.File
		if err := a.check(func(file keystore.File) error {
			file.Data = bytes.Clone(file.Data)
			visited = append(visited, file)
			return nil
		}); err != nil {
			return
		}
		var again bytes.Buffer
		if _, err := writeArchive(&again, a.files()); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Fatalf("taken, but not what is written: %v", err)
		}
		r := tar.NewReader(bytes.NewReader(data))
		for i := -1; ; i++ {
			h, err := r.Next()
			if errors.Is(err, io.EOF) && i == len(visited) {
				return
			}
			if err != nil {
				t.Fatalf("after %d of %d files: %v", i, len(visited), err)
			}
			content, err := io.ReadAll(r)
			if err != nil || h.Typeflag != tar.TypeReg || i >= len(visited) ||
				i < 0 && h.Name != manifestName || i >= 0 && (h.Name != visited[i].Path || !bytes.Equal(content, visited[i].Data)) {
				t.Fatalf("file %d is %s in package tar, %v", i, h.Name, err)
			}
		}
	})
}
