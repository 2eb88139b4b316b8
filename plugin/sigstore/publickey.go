package sigstore

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"

	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// defaultSpec is the key spec that cosign's own awskms:// creates, too.
const defaultSpec = string(kmskey.ECCNISTP256)

// signingSpecs are the specs of KMS keys that can sign.
func signingSpecs() []string {
	var names []string
	for _, spec := range kmskey.KeySpecs() {
		if len(spec.SigningAlgorithms()) > 0 {
			names = append(names, string(spec))
		}
	}
	return names
}

// publicKey is the answer to publicKey: the key itself, whatever its type. A stand-in that the client can read would
// verify nothing, and name a key that signed nothing.
func (c *call) publicKey(authorized *verifier.Authorized) (*response, error) {
	der := authorized.PublicKeyDER()
	if len(der) == 0 {
		return nil, kmserr.New(kmserr.Internal, "the verifier gave neither a key nor a reason")
	}
	var value wire.Object
	value.Text("publicKeyPEM", base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	answer := answered(methodPublicKey, value, c.notes(authorized.Decision()))
	switch spec := kmskey.KeySpec(authorized.Decision().KeySpec); spec {
	case kmskey.SM2, kmskey.ECCSECGP256K1, kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87:
		answer.notes = append(answer.notes, fmt.Sprintf("cosign itself cannot read a public key of spec %s, which it asks for in bundles of the new format; "+
			"with this key use verify-blob, verify of an image signed by cosign attach signature, verify-attestation of the old format, "+
			"or verify-blob-attestation --signature (docs/cosign.md)", spec))
	}
	return answer, nil
}
