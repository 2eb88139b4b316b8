package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// TestCapture has the fake KMS sign in every form. Whether its signatures are right is asked by the signer itself.
func TestCapture(t *testing.T) {
	server := kmstest.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	args := []string{"--endpoint-url", server.URL(), "--region", "us-east-1"}
	want := 0
	for spec, forms := range map[string]int{
		"RSA_2048": 6 * 2, "ECC_NIST_P256": 2, "ECC_SECG_P256K1": 2, "ECC_NIST_EDWARDS25519": 2, "ML_DSA_44": 2, "SM2": 3,
	} {
		args = append(args, server.AddKey(kmstest.Key{Spec: spec}))
		want += forms * len(messages)
	}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	var got file
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Vectors) != want {
		t.Errorf("%d vectors, expected %d", len(got.Vectors), want)
	}
	if !strings.HasPrefix(got.Source, "NOT AWS KMS") {
		t.Errorf("an emulator's vectors have the source %q", got.Source)
	}
	for _, v := range got.Vectors {
		if v.KeySpec == "" || len(v.PublicKey) == 0 || len(v.Signature) == 0 {
			t.Errorf("a vector without its parts: %+v", v)
		}
	}
	if err := run(t.Context(), nil, &out); err == nil {
		t.Error("no key is no error")
	}
}
