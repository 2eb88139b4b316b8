package kmskey

import (
	"crypto"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/internal/nearest"
)

// KeySpec is KMS's KeySpec: "RSA_2048". The zero value is no spec.
type KeySpec string

// The key specs of KMS (AWS KMS API Reference, GetPublicKey, KeySpec) that have a public key.
const (
	RSA2048             KeySpec = "RSA_2048"
	RSA3072             KeySpec = "RSA_3072"
	RSA4096             KeySpec = "RSA_4096"
	ECCNISTP256         KeySpec = "ECC_NIST_P256"
	ECCNISTP384         KeySpec = "ECC_NIST_P384"
	ECCNISTP521         KeySpec = "ECC_NIST_P521"
	ECCSECGP256K1       KeySpec = "ECC_SECG_P256K1"
	ECCNISTEdwards25519 KeySpec = "ECC_NIST_EDWARDS25519"
	MLDSA44             KeySpec = "ML_DSA_44"
	MLDSA65             KeySpec = "ML_DSA_65"
	MLDSA87             KeySpec = "ML_DSA_87"
	SM2                 KeySpec = "SM2"
	MLKEM512            KeySpec = "ML_KEM_512"
	MLKEM768            KeySpec = "ML_KEM_768"
	MLKEM1024           KeySpec = "ML_KEM_1024"
)

var keySpecs = []KeySpec{
	RSA2048, RSA3072, RSA4096, ECCNISTP256, ECCNISTP384, ECCNISTP521, ECCSECGP256K1, ECCNISTEdwards25519,
	MLDSA44, MLDSA65, MLDSA87, SM2, MLKEM512, MLKEM768, MLKEM1024,
}

// KeySpecs returns all of them. Like every list of this package it is the caller's own: what KMS has cannot be changed from
// outside.
func KeySpecs() []KeySpec { return slices.Clone(keySpecs) }

// KeyUsage is KMS's KeyUsage. The zero value is no usage and verifies nothing.
type KeyUsage string

// The key usages of asymmetric keys (AWS KMS API Reference, GetPublicKey, KeyUsage).
const (
	SignVerify             KeyUsage = "SIGN_VERIFY"
	EncryptDecrypt         KeyUsage = "ENCRYPT_DECRYPT"
	KeyAgreement           KeyUsage = "KEY_AGREEMENT"
	EncapsulateDecapsulate KeyUsage = "ENCAPSULATE_DECAPSULATE"
)

// MessageType says what an input is, in KMS's words. The zero value, MessageTypeUnset, means that nothing was said: the
// input is a message, for every algorithm.
type MessageType string

// The message types (AWS KMS API Reference, Verify, MessageType).
const (
	MessageTypeUnset MessageType = ""
	// Raw is a message.
	Raw MessageType = "RAW"
	// Digest is the bare hash of a message: exactly the hash's length in raw bytes.
	Digest MessageType = "DIGEST"
	// ExternalMu is ML-DSA's message representative μ, 64 bytes (FIPS 204, section 6.2).
	ExternalMu MessageType = "EXTERNAL_MU"
)

// MessageTypes returns the three that can be said.
func MessageTypes() []MessageType { return []MessageType{Raw, Digest, ExternalMu} }

// SigningAlgorithm is KMS's SigningAlgorithm: "ECDSA_SHA_256". The zero value means that none was given.
type SigningAlgorithm string

// The signing algorithms of KMS (AWS KMS API Reference, Sign, SigningAlgorithm).
const (
	RSASSAPSSSHA256   SigningAlgorithm = "RSASSA_PSS_SHA_256"
	RSASSAPSSSHA384   SigningAlgorithm = "RSASSA_PSS_SHA_384"
	RSASSAPSSSHA512   SigningAlgorithm = "RSASSA_PSS_SHA_512"
	RSASSAPKCS1SHA256 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	RSASSAPKCS1SHA384 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_384"
	RSASSAPKCS1SHA512 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_512"
	ECDSASHA256       SigningAlgorithm = "ECDSA_SHA_256"
	ECDSASHA384       SigningAlgorithm = "ECDSA_SHA_384"
	ECDSASHA512       SigningAlgorithm = "ECDSA_SHA_512"
	ED25519SHA512     SigningAlgorithm = "ED25519_SHA_512"
	ED25519PHSHA512   SigningAlgorithm = "ED25519_PH_SHA_512"
	MLDSASHAKE256     SigningAlgorithm = "ML_DSA_SHAKE_256"
	SM2DSA            SigningAlgorithm = "SM2DSA"
)

var signingAlgorithms = []SigningAlgorithm{
	RSASSAPSSSHA256, RSASSAPSSSHA384, RSASSAPSSSHA512,
	RSASSAPKCS1SHA256, RSASSAPKCS1SHA384, RSASSAPKCS1SHA512,
	ECDSASHA256, ECDSASHA384, ECDSASHA512,
	SM2DSA, MLDSASHAKE256, ED25519SHA512, ED25519PHSHA512,
}

// SigningAlgorithms returns all of KMS's, in the order of its API Reference.
func SigningAlgorithms() []SigningAlgorithm { return slices.Clone(signingAlgorithms) }

// Known reports whether a is one of KMS's signing algorithms, spelled exactly.
func (a SigningAlgorithm) Known() bool { return slices.Contains(signingAlgorithms, a) }

// Hash returns the hash whose digest KMS takes as MessageType DIGEST with a, or 0: for pure Ed25519 and ML-DSA, which
// take none, and for SM2DSA, whose SM3 the standard library does not number.
func (a SigningAlgorithm) Hash() crypto.Hash {
	switch a {
	case RSASSAPSSSHA256, RSASSAPKCS1SHA256, ECDSASHA256:
		return crypto.SHA256
	case RSASSAPSSSHA384, RSASSAPKCS1SHA384, ECDSASHA384:
		return crypto.SHA384
	case RSASSAPSSSHA512, RSASSAPKCS1SHA512, ECDSASHA512, ED25519PHSHA512:
		return crypto.SHA512
	}
	return 0
}

// DigestSize returns the length in bytes that a DIGEST for a must have, or 0 where a takes none.
func (a SigningAlgorithm) DigestSize() int {
	if a == SM2DSA {
		return 32 // SM3
	}
	if h := a.Hash(); h != 0 {
		return h.Size()
	}
	return 0
}

// Takes reports whether KMS takes this message type with a (AWS KMS Developer Guide, "Key spec reference").
func (a SigningAlgorithm) Takes(t MessageType) bool {
	switch t {
	case Raw:
		return a.Known() && a != ED25519PHSHA512
	case Digest:
		return a.DigestSize() != 0
	case ExternalMu:
		return a == MLDSASHAKE256
	}
	return false
}

var rsaAlgorithms = []SigningAlgorithm{
	RSASSAPKCS1SHA256, RSASSAPKCS1SHA384, RSASSAPKCS1SHA512, RSASSAPSSSHA256, RSASSAPSSSHA384, RSASSAPSSSHA512,
}

// SigningAlgorithms returns the signing algorithms that KMS has for the spec, in the order GetPublicKey lists them; nil
// for a spec that cannot sign.
func (s KeySpec) SigningAlgorithms() []SigningAlgorithm {
	switch s {
	case RSA2048, RSA3072, RSA4096:
		return slices.Clone(rsaAlgorithms)
	case ECCNISTP256, ECCSECGP256K1:
		return []SigningAlgorithm{ECDSASHA256}
	case ECCNISTP384:
		return []SigningAlgorithm{ECDSASHA384}
	case ECCNISTP521:
		return []SigningAlgorithm{ECDSASHA512}
	case ECCNISTEdwards25519:
		return []SigningAlgorithm{ED25519SHA512, ED25519PHSHA512}
	case MLDSA44, MLDSA65, MLDSA87:
		return []SigningAlgorithm{MLDSASHAKE256}
	case SM2:
		return []SigningAlgorithm{SM2DSA}
	}
	return nil
}

// EncryptionAlgorithm is KMS's EncryptionAlgorithm: "RSAES_OAEP_SHA_256". The zero value means that none was given.
type EncryptionAlgorithm string

// The encryption algorithms of asymmetric keys (AWS KMS API Reference, Encrypt, EncryptionAlgorithm).
const (
	RSAESOAEPSHA1   EncryptionAlgorithm = "RSAES_OAEP_SHA_1"
	RSAESOAEPSHA256 EncryptionAlgorithm = "RSAES_OAEP_SHA_256"
	SM2PKE          EncryptionAlgorithm = "SM2PKE"
)

// EncryptionAlgorithms returns all of them, in the order of the API Reference.
func EncryptionAlgorithms() []EncryptionAlgorithm {
	return []EncryptionAlgorithm{RSAESOAEPSHA1, RSAESOAEPSHA256, SM2PKE}
}

// Known reports whether a is one of KMS's encryption algorithms for asymmetric keys, spelled exactly.
func (a EncryptionAlgorithm) Known() bool { return slices.Contains(EncryptionAlgorithms(), a) }

// MaxPlaintext returns the longest plaintext in bytes that KMS takes with a and a key of this spec, or 0 if they do not go
// together: k-2h-2 for OAEP (RFC 8017, section 7.1.1), 1024 for SM2PKE (AWS KMS Developer Guide, "Key spec reference").
func (a EncryptionAlgorithm) MaxPlaintext(s KeySpec) int {
	if !slices.Contains(s.EncryptionAlgorithms(), a) {
		return 0
	}
	modulus := map[KeySpec]int{RSA2048: 256, RSA3072: 384, RSA4096: 512}[s]
	switch a {
	case RSAESOAEPSHA1:
		return modulus - 2*20 - 2
	case RSAESOAEPSHA256:
		return modulus - 2*32 - 2
	case SM2PKE:
		return 1024
	}
	return 0
}

// EncryptionAlgorithms returns the encryption algorithms that KMS has for the spec, in the order GetPublicKey lists them;
// nil for a spec that cannot encrypt.
func (s KeySpec) EncryptionAlgorithms() []EncryptionAlgorithm {
	switch s {
	case RSA2048, RSA3072, RSA4096:
		return []EncryptionAlgorithm{RSAESOAEPSHA1, RSAESOAEPSHA256}
	case SM2:
		return []EncryptionAlgorithm{SM2PKE}
	}
	return nil
}

// KeyAgreementAlgorithm is KMS's KeyAgreementAlgorithm. The zero value means that none was given.
type KeyAgreementAlgorithm string

// ECDH is the only key agreement algorithm of KMS (AWS KMS API Reference, DeriveSharedSecret, KeyAgreementAlgorithm).
const ECDH KeyAgreementAlgorithm = "ECDH"

// KeyAgreementAlgorithms returns the key agreement algorithms that KMS has for the spec; nil for a spec that has none.
func (s KeySpec) KeyAgreementAlgorithms() []KeyAgreementAlgorithm {
	if slices.Contains(s.Usages(), KeyAgreement) {
		return []KeyAgreementAlgorithm{ECDH}
	}
	return nil
}

// Usages returns the usages that KMS allows for the spec; nil for a spec unknown here.
func (s KeySpec) Usages() []KeyUsage {
	switch s {
	case RSA2048, RSA3072, RSA4096:
		return []KeyUsage{SignVerify, EncryptDecrypt}
	case ECCNISTP256, ECCNISTP384, ECCNISTP521:
		return []KeyUsage{SignVerify, KeyAgreement}
	case ECCSECGP256K1, ECCNISTEdwards25519, MLDSA44, MLDSA65, MLDSA87:
		return []KeyUsage{SignVerify}
	case SM2:
		return []KeyUsage{SignVerify, EncryptDecrypt, KeyAgreement}
	case MLKEM512, MLKEM768, MLKEM1024:
		return []KeyUsage{EncapsulateDecapsulate}
	}
	return nil
}

// JoinNames joins names of any of this package's string types with ", ".
func JoinNames[T ~string](names []T) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}

// nearestName returns the one of KMS's names that a person most likely meant by text: the same but for letter case and
// separators, or nearly. Empty if none is near. It is for hints and decides nothing.
func nearestName[T ~string](text string, names []T) T {
	squeeze := strings.NewReplacer("_", "", "-", "", " ", "")
	squeezed := make([]string, len(names))
	for i, name := range names {
		squeezed[i] = squeeze.Replace(string(name))
	}
	asked := squeeze.Replace(strings.ToUpper(text))
	i := slices.Index(squeezed, asked)
	if i < 0 {
		i = slices.Index(squeezed, nearest.Name(asked, squeezed))
	}
	if i < 0 || len(squeezed[i])-len(asked) > 1 { // SHA_1 is no slip of the pen for SHA_512
		return ""
	}
	return names[i]
}

// HintNearest is nearestName as a sentence for a hint; empty if none is near.
func HintNearest[T ~string](text string, names []T) string {
	if near := nearestName(text, names); near != "" {
		return "Did you mean " + string(near) + "?"
	}
	return ""
}
