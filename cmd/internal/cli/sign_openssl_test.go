package cli

import (
	"crypto/sha512"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestSignForOpenSSL: what sign makes verifies in OpenSSL too, for every algorithm that it has, a long file and a
// distinguishing ID among them.
func TestSignForOpenSSL(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: that its verdict is ours is not tested")
	}
	_, arns := signing(t)
	has := func(algorithm string) bool {
		out, err := exec.Command(program, "list", "-signature-algorithms").Output()
		return err == nil && strings.Contains(string(out), algorithm)
	}
	write(t, "short", []byte("a message"))
	write(t, "long", []byte(strings.Repeat("a long message ", 10_000)))
	pss := func(hash string) []string {
		return []string{"dgst", "-" + hash, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"}
	}
	sm2 := func(id string) []string {
		return []string{"pkeyutl", "-rawin", "-digest", "sm3", "-pkeyopt", "distid:" + id}
	}
	type form struct {
		key, algorithm string
		verify         []string
		id             string
		needs          string
		short          bool // KMS takes no longer message
		hashed         bool // OpenSSL is given the message's SHA-512 for the message: KMS hashes Ed25519ph's digest again
	}
	forms := []form{
		{key: "p256", algorithm: "ECDSA_SHA_256", verify: []string{"dgst", "-sha256"}},
		{key: "p384", algorithm: "ECDSA_SHA_384", verify: []string{"dgst", "-sha384"}},
		{key: "p521", algorithm: "ECDSA_SHA_512", verify: []string{"dgst", "-sha512"}},
		{key: "secp256k1", algorithm: "ECDSA_SHA_256", verify: []string{"dgst", "-sha256"}},
		{key: "ed25519", algorithm: "ED25519_SHA_512", verify: []string{"pkeyutl", "-rawin"}, short: true},
		{key: "ed25519", algorithm: "ED25519_PH_SHA_512", verify: []string{"pkeyutl", "-rawin", "-pkeyopt", "instance:Ed25519ph"}, needs: "ED25519ph", hashed: true},
		{key: "sm2", algorithm: "SM2DSA", verify: sm2("1234567812345678")},
		{key: "sm2", algorithm: "SM2DSA", verify: sm2("release@example.com"), id: "release@example.com"},
	}
	for _, size := range []string{"44", "65", "87"} {
		forms = append(forms, form{key: "mldsa" + size, algorithm: "ML_DSA_SHAKE_256", verify: []string{"pkeyutl", "-rawin"}, needs: "ML-DSA-" + size})
	}
	for _, key := range []string{"rsa2048", "rsa3072", "rsa4096"} {
		for _, bits := range []string{"256", "384", "512"} {
			forms = append(forms, form{key: key, algorithm: "RSASSA_PKCS1_V1_5_SHA_" + bits, verify: []string{"dgst", "-sha" + bits}},
				form{key: key, algorithm: "RSASSA_PSS_SHA_" + bits, verify: pss("sha" + bits)})
		}
	}
	for _, c := range forms {
		t.Run(c.key+"/"+c.algorithm+c.id, func(t *testing.T) {
			if c.needs != "" && !has(c.needs) {
				t.Skipf("this OpenSSL has no %s", c.needs)
			}
			public := c.key + ".pem"
			code, pem, stderr := call("keys", "show", arns[c.key], "--output", "pem")
			if code != 0 {
				t.Fatal(stderr)
			}
			write(t, public, []byte(pem))
			for _, message := range []string{"short", "long"} {
				if c.short && message == "long" {
					continue
				}
				args := []string{"sign", "--key-id", arns[c.key], "--signing-algorithm", c.algorithm, "--encoding", "raw"}
				if c.id != "" {
					args = append(args, "--distinguishing-id", c.id)
				}
				code, signature, stderr := call(append(args, message)...)
				if code != 0 {
					t.Fatal(stderr)
				}
				write(t, "sig", []byte(signature))
				if c.hashed {
					data, err := os.ReadFile(message)
					if err != nil {
						t.Fatal(err)
					}
					sum := sha512.Sum512(data)
					message += ".sha512"
					write(t, message, sum[:])
				}
				verify := append(slices.Clone(c.verify), "-verify", "-pubin", "-inkey", public, "-sigfile", "sig", "-in", message)
				if c.verify[0] == "dgst" {
					verify = append(slices.Clone(c.verify), "-verify", public, "-signature", "sig", message)
				}
				if out, err := exec.Command(program, verify...).CombinedOutput(); err != nil {
					t.Errorf("%s: openssl %q: %v\n%s", message, verify, err, out)
				}
				write(t, "sig", append([]byte{signature[0]}, append([]byte(signature[1:len(signature)-1]), signature[len(signature)-1]^1)...))
				if out, err := exec.Command(program, verify...).CombinedOutput(); err == nil {
					t.Errorf("%s: openssl takes a changed signature too: %s", message, out)
				}
			}
		})
	}
}
