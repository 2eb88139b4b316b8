package kmstest

import "slices"

// Key usages.
const (
	SignVerify             = "SIGN_VERIFY"
	EncryptDecrypt         = "ENCRYPT_DECRYPT"
	KeyAgreement           = "KEY_AGREEMENT"
	GenerateVerifyMac      = "GENERATE_VERIFY_MAC"
	EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE"
)

// algorithms are the algorithm names of one KeySpec and KeyUsage.
type algorithms map[string][]string

// specs lists the algorithms of each KeySpec by KeyUsage, in the order in which KMS was seen to answer them (SM2 and
// ML_KEM: the order of the documentation; they have one each). The first usage named by defaultUsage is taken where none
// is given.
var specs = map[string]algorithms{
	"RSA_2048":              {SignVerify: rsaSigning, EncryptDecrypt: rsaEncryption},
	"RSA_3072":              {SignVerify: rsaSigning, EncryptDecrypt: rsaEncryption},
	"RSA_4096":              {SignVerify: rsaSigning, EncryptDecrypt: rsaEncryption},
	"ECC_NIST_P256":         {SignVerify: {"ECDSA_SHA_256"}, KeyAgreement: {"ECDH"}},
	"ECC_NIST_P384":         {SignVerify: {"ECDSA_SHA_384"}, KeyAgreement: {"ECDH"}},
	"ECC_NIST_P521":         {SignVerify: {"ECDSA_SHA_512"}, KeyAgreement: {"ECDH"}},
	"ECC_SECG_P256K1":       {SignVerify: {"ECDSA_SHA_256"}},
	"ECC_NIST_EDWARDS25519": {SignVerify: {"ED25519_PH_SHA_512", "ED25519_SHA_512"}},
	"SM2":                   {SignVerify: {"SM2DSA"}, EncryptDecrypt: {"SM2PKE"}, KeyAgreement: {"ECDH"}},
	"ML_DSA_44":             {SignVerify: {"ML_DSA_SHAKE_256"}},
	"ML_DSA_65":             {SignVerify: {"ML_DSA_SHAKE_256"}},
	"ML_DSA_87":             {SignVerify: {"ML_DSA_SHAKE_256"}},
	"ML_KEM_768":            {EncapsulateDecapsulate: {"ML_KEM"}},
	"ML_KEM_1024":           {EncapsulateDecapsulate: {"ML_KEM"}},
	"SYMMETRIC_DEFAULT":     {EncryptDecrypt: {"SYMMETRIC_DEFAULT"}},
	"HMAC_224":              {GenerateVerifyMac: {"HMAC_SHA_224"}},
	"HMAC_256":              {GenerateVerifyMac: {"HMAC_SHA_256"}},
	"HMAC_384":              {GenerateVerifyMac: {"HMAC_SHA_384"}},
	"HMAC_512":              {GenerateVerifyMac: {"HMAC_SHA_512"}},
}

var (
	rsaSigning = []string{
		"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512",
	}
	rsaEncryption = []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}
)

// signingAlgorithms and messageTypes are the enumerations of the API.
var (
	signingAlgorithms = slices.Concat(rsaSigning, []string{
		"ECDSA_SHA_256", "ECDSA_SHA_384", "ECDSA_SHA_512", "SM2DSA", "ML_DSA_SHAKE_256", "ED25519_SHA_512", "ED25519_PH_SHA_512",
	})
	messageTypes = []string{"RAW", "DIGEST", "EXTERNAL_MU"}
)

// symmetric tells whether keys of the spec have no public key.
func symmetric(spec string) bool {
	return spec == "SYMMETRIC_DEFAULT" || specs[spec][GenerateVerifyMac] != nil
}

// defaultUsage is the usage of a test key of which none was said: signing, if the spec can.
func defaultUsage(spec string) string {
	for _, usage := range []string{SignVerify, EncryptDecrypt, GenerateVerifyMac, EncapsulateDecapsulate} {
		if specs[spec][usage] != nil {
			return usage
		}
	}
	return ""
}

// Specs lists every KeySpec that the fake has, sorted.
func Specs() []string {
	var names []string
	for name := range specs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Usages lists the key usages of a KeySpec, sorted.
func Usages(spec string) []string {
	var names []string
	for name := range specs[spec] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
