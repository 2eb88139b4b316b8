package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/sm2"
)

// distinguishingID is longer than 31 bytes, so its length in bits needs the high byte of ENTL (GB/T 32918.2, 5.5): a
// verifier that drops that byte fails here.
const distinguishingID = "release-signing@awskms-offline.example"

const sm2Message = `This file is signed by an SM2 key under a distinguishing ID of its own.
AWS KMS signs such a message as MessageType DIGEST, with e = SM3(ZA || M) made outside.
`

// writeSM2 writes a message, the distinguishing ID and the DER signature over both.
func writeSM2(dir string, key *sm2.PrivateKey) error {
	digest, err := sm2.CalculateSM2Hash(&key.PublicKey, []byte(sm2Message), []byte(distinguishingID))
	if err != nil {
		return err
	}
	signature, err := sm2.SignDeterministic(key, digest, nil)
	if err != nil {
		return err
	}
	if !sm2.VerifyASN1WithSM2(&key.PublicKey, []byte(distinguishingID), []byte(sm2Message), signature) {
		return errors.New("the signature just made does not verify")
	}
	for name, content := range map[string][]byte{
		"message.txt": []byte(sm2Message), "distinguishing-id.txt": []byte(distinguishingID), "signature.der": signature,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
