// Package wycheproof lets the private keys of Project Wycheproof's OAEP vectors decrypt what rawencrypt encrypts. It is a
// package of its own because the vectors are a hundred megabytes.
package wycheproof

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"

	vectors "github.com/c2sp/wycheproof"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawencrypt"
	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type group struct {
	KeySize         int
	Sha, MgfSha     string
	PrivateKeyPkcs8 hexBytes
	Tests           []struct {
		TcID           int
		Msg, Ct, Label hexBytes
		Result         string
	}
}

// TestOAEP: each message of a valid vector, encrypted here with the vector's public key, is what its private key decrypts.
// That the private key, hash and empty label go together is first seen by the vector's own ciphertext.
func TestOAEP(t *testing.T) {
	files, err := fs.Glob(vectors.TestVectors, "rsa_oaep_*_test.json")
	if err != nil {
		t.Fatal(err)
	}
	encrypted, keys, empty := map[string]int{}, 0, 0
	for _, file := range files {
		b, err := fs.ReadFile(vectors.TestVectors, file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ TestGroups []group }
		if err := json.Unmarshal(b, &content); err != nil {
			t.Fatal(err)
		}
		for _, g := range content.TestGroups {
			alg, hash := kmskey.RSAESOAEPSHA256, crypto.SHA256
			if g.Sha == "SHA-1" {
				alg, hash = kmskey.RSAESOAEPSHA1, crypto.SHA1
			}
			if g.Sha != hash.String() || g.MgfSha != g.Sha {
				continue // KMS has no such algorithm
			}
			parsed, err := x509.ParsePKCS8PrivateKey(g.PrivateKeyPkcs8)
			if err != nil {
				continue // smaller than what crypto/x509 takes, and than KMS's
			}
			private := parsed.(*rsa.PrivateKey)
			der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			pub, err := spki.Parse(der)
			if err != nil {
				continue // of a size that KMS has not
			}
			keys++
			for _, v := range g.Tests {
				if v.Result != "valid" {
					continue
				}
				if got, err := rsa.DecryptOAEP(hash.New(), nil, private, v.Ct, v.Label); err != nil || !bytes.Equal(got, v.Msg) {
					t.Fatalf("%s %d: the vector does not decrypt: %v", file, v.TcID, err)
				}
				ct, err := rawencrypt.Encrypt(pub, alg, v.Msg)
				if len(v.Msg) == 0 {
					empty++
					if !kmserr.Is(err, kmserr.Validation) || ct != nil {
						t.Errorf("%s %d: an empty plaintext: %v", file, v.TcID, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s %d: %v", file, v.TcID, err)
				}
				if got, err := rsa.DecryptOAEP(hash.New(), nil, private, ct, nil); err != nil || !bytes.Equal(got, v.Msg) {
					t.Errorf("%s %d: the ciphertext does not decrypt to the message: %v", file, v.TcID, err)
				}
				encrypted[pub.Spec+" "+string(alg)]++
			}
		}
	}
	total := 0
	for _, n := range encrypted {
		total += n
	}
	if keys != wantKeys || total != wantEncrypted || empty != wantEmpty || len(encrypted) != 6 {
		t.Errorf("%d keys, %d messages encrypted, %d empty ones refused, expected %d, %d and %d: %v", keys, total, empty, wantKeys, wantEncrypted, wantEmpty, encrypted)
	}
	testenv.InPage(t, "reliability.md", fmt.Sprintf("| rsa_oaep_*, the messages of KMS's key sizes and hashes | RSAES_OAEP | %d | %d | %d |", total+empty, total, empty))
}

const wantKeys, wantEncrypted, wantEmpty = 10, 79, 10
