package verifier_test

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// A program that embeds the verifier opens the store once and asks for every signature.
func Example() {
	home, err := exampleHome("sm2.get-public-key.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)

	v, err := verifier.Open(verifier.Options{
		Home: &home, HomeOption: "example",
		FrontEnd: audit.FrontEnd{Name: "example", Version: "1.0.0"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	message, _ := os.ReadFile("../testdata/sm2/message.txt")
	signature, _ := os.ReadFile("../testdata/sm2/signature.der")
	id, _ := os.ReadFile("../testdata/sm2/distinguishing-id.txt")
	distinguishingID, err := kmskey.ParseDistinguishingID(strings.TrimSpace(string(id)))
	if err != nil {
		fmt.Println(err)
		return
	}
	request := verifier.Request{
		KeyID:   "arn:aws-cn:kms:cn-north-1:111122223333:key/" + exampleKeyID(home),
		Message: strings.NewReader(string(message)), Signature: signature,
		DistinguishingID: distinguishingID,
	}
	verified, err := v.Verify(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("verified with", verified.Decision().SigningAlgorithm)

	request.Message = strings.NewReader(string(message) + "!")
	_, err = v.Verify(context.Background(), request)
	var refusal *kmserr.Error
	if errors.As(err, &refusal) {
		fmt.Println("refused:", refusal.Name)
	}
	// Output:
	// verified with SM2DSA
	// refused: KMSInvalidSignatureException
}

// What is encrypted here, `aws kms decrypt` decrypts with the key.
func ExampleVerifier_Encrypt() {
	home, err := exampleHome("rsa2048-encrypt.get-public-key.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	v, err := verifier.Open(verifier.Options{Home: &home, HomeOption: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	made, err := v.Encrypt(context.Background(), verifier.EncryptRequest{
		KeyID:               "arn:aws:kms:us-east-1:111122223333:key/6d5f1b03-40f2-47d3-89ec-7eaa2c1dea00",
		EncryptionAlgorithm: kmskey.RSAESOAEPSHA256,
		Plaintext:           strings.NewReader("a data key of 32 bytes, let's say"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(made.EncryptionAlgorithm(), len(made.Ciphertext()), "bytes")

	_, err = v.Encrypt(context.Background(), verifier.EncryptRequest{
		KeyID:               "arn:aws:kms:us-east-1:111122223333:key/6d5f1b03-40f2-47d3-89ec-7eaa2c1dea00",
		EncryptionAlgorithm: kmskey.RSAESOAEPSHA256,
		Plaintext:           strings.NewReader(strings.Repeat("too long", 100)),
	})
	fmt.Println(err)
	// Output:
	// RSAES_OAEP_SHA_256 256 bytes
	// ValidationException: the plaintext is longer than the 190 bytes that RSAES_OAEP_SHA_256 takes with a key of spec RSA_2048
}

// Both sides have the same secret: this one by its private key and KMS's public one, KMS by the other two halves.
func ExampleVerifier_DeriveSharedSecret() {
	home, err := exampleHome("p256-agree.get-public-key.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	v, err := verifier.Open(verifier.Options{Home: &home, HomeOption: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	mine, err := os.ReadFile("../testdata/keys/p256.key.pem")
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := v.DeriveSharedSecret(context.Background(), verifier.DeriveRequest{
		KeyID: "arn:aws:kms:us-east-1:111122223333:key/477713e1-60d4-4867-ad46-c619b35e96f9", PrivateKey: mine,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := hkdf.Key(sha256.New, secret.Bytes(), nil, "what the key is for", 32)
	fmt.Println(secret, "of", len(secret.Bytes()), "bytes, a key of", len(key), "bytes,", err)
	// Output:
	// a shared secret of 32 bytes, a key of 32 bytes, <nil>
}

// A batch asks as it goes, and is answered in order: a bad line is an answer for that line.
func ExampleVerifier_VerifyBatch() {
	home, err := exampleHome("sm2.get-public-key.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	v, err := verifier.Open(verifier.Options{Home: &home, HomeOption: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	signature, _ := os.ReadFile("../testdata/sm2/signature.der")
	id, _ := os.ReadFile("../testdata/sm2/distinguishing-id.txt")
	questions := func(yield func(verifier.Question) bool) {
		for _, file := range []string{"message.txt", "distinguishing-id.txt", "nowhere.txt"} {
			if !yield(func() (verifier.Request, error) { // runs in a worker
				distinguishingID, err := kmskey.ParseDistinguishingID(strings.TrimSpace(string(id)))
				if err != nil {
					return verifier.Request{}, err
				}
				message, err := os.Open(filepath.Join("../testdata/sm2", file)) // the batch closes it
				if err != nil {
					return verifier.Request{}, kmserr.New(kmserr.Validation, "%s cannot be read", file)
				}
				return verifier.Request{KeyID: exampleKeyID(home), Message: message, Signature: signature, DistinguishingID: distinguishingID}, nil
			}) {
				return
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	answered, verified := 0, 0
	for answer := range v.VerifyBatch(ctx, questions, verifier.BatchOptions{}) {
		answered++
		if answer.Err != nil {
			fmt.Println(answer.Index, kmserr.As(answer.Err).Name)
			continue
		}
		verified++
		fmt.Println(answer.Index, "verified with", answer.Verified.Decision().SigningAlgorithm)
	}
	// Whoever goes by the whole demands all of them, and that there were some: none verified is no yes.
	fmt.Println(answered == 3 && verified == answered)
	// Output:
	// 0 verified with SM2DSA
	// 1 KMSInvalidSignatureException
	// 2 ValidationException
	// false
}

// exampleHome makes a store with one record. Programs import with the command line, or with keystore.OpenWriter as here.
func exampleHome(record string) (string, error) {
	dir, err := os.MkdirTemp("", "awskms-offline-example-")
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join("..", "testdata", "records", record))
	if err != nil {
		return "", err
	}
	key, err := kmskey.ParseKey(data)
	if err != nil {
		return "", err
	}
	w, err := keystore.OpenWriter(keystore.Home{Path: dir, ChosenBy: "example"}, keystore.Options{})
	if err != nil {
		return "", err
	}
	_, err = w.Put(key, keystore.PutOptions{})
	return dir, errors.Join(err, w.Close())
}

func exampleKeyID(home string) string {
	files, _ := filepath.Glob(filepath.Join(home, "keys", "aws-cn", "cn-north-1", "111122223333", "*.json"))
	if len(files) != 1 {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(files[0]), ".json")
}
