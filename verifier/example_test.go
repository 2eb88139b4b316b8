package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
