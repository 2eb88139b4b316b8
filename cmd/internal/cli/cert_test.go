package cli

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nx509 "github.com/notaryproject/notation-core-go/x509"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// TestCertSelfSign: KMS signs a certificate of each key that Notation can use; Notation's library takes it, OpenSSL reads it,
// and it lies where the signing plugin looks.
func TestCertSelfSign(t *testing.T) {
	server, arns := fakeKMS(t)
	home := os.Getenv("AWSKMS_OFFLINE_HOME")
	for _, name := range []string{"p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "self.crt")
			code, stdout, stderr := call("cert", "self-sign", "--key-id", arns[name], "--subject", `CN=release\, \+1,O=Example,ST=WA,C=US`, "--days", "30", "--file", file)
			if code != 0 || !strings.HasPrefix(stdout, "new: ") {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			kept, err := filepath.Glob(filepath.Join(home, "certs", "*.pem"))
			if err != nil || len(kept) == 0 {
				t.Fatalf("%q, %v", kept, err)
			}
			block, rest := pem.Decode(text)
			if block == nil || len(rest) > 0 {
				t.Fatalf("not one block of PEM: %s", text)
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			if err := nx509.ValidateCodeSigningCertChain([]*x509.Certificate{cert}, &now); err != nil {
				t.Error(err)
			}
			if got := cert.Subject.String(); got != `CN=release\, \+1,O=Example,ST=WA,C=US` || cert.NotAfter.Sub(cert.NotBefore) != 30*24*time.Hour+kmscert.ClockTolerance || cert.SerialNumber.Sign() <= 0 {
				t.Errorf("subject %s, %s to %s, serial number %s", got, cert.NotBefore, cert.NotAfter, cert.SerialNumber)
			}
			openssl(t, "x509", "-in", file, "-noout", "-text")
			openssl(t, "verify", "-check_ss_sig", "-CAfile", file, "-partial_chain", file)
			if code, stdout, stderr := call("keys", "pull", arns[name]); code != 0 {
				t.Fatal(stdout, stderr)
			}
			for _, args := range [][]string{{file}, nil} {
				code, stdout, stderr := call(append([]string{"cert", "check", "--key-id", arns[name]}, args...)...)
				if code != 0 || !strings.Contains(stdout, "good for Notation, and of "+arns[name]) || !strings.Contains(stdout, "KMS key "+arns[name]) {
					t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
			}
			// A second one takes its place only if told to.
			again := []string{"cert", "self-sign", "--key-id", arns[name], "--subject", "CN=again", "--days", "1"}
			if code, _, stderr := call(again...); code != kmserr.ExitBadCall || !strings.Contains(stderr, "holds another certificate chain") || !strings.Contains(stderr, "--replace") {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
			if code, stdout, stderr := call(append(again, "--replace")...); code != 0 || !strings.HasPrefix(stdout, "changed: ") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	if code, stdout, stderr := call("doctor"); code != 0 && strings.Contains(stdout+stderr, "certs") {
		t.Errorf("the doctor does not know the chains: %s%s", stdout, stderr)
	}
	for name, says := range map[string]string{
		"sm2": "UnsupportedOperationException", "ed25519": "UnsupportedOperationException", "secp256k1": "UnsupportedOperationException",
		"mldsa65": "UnsupportedOperationException", "rsa2048-encrypt": "InvalidKeyUsageException",
	} {
		for _, command := range [][]string{{"self-sign", "--days", "1"}, {"csr"}} {
			code, stdout, stderr := call(append([]string{"cert", command[0], "--key-id", arns[name], "--subject", "CN=a"}, command[1:]...)...)
			if code == 0 || stdout != "" || !strings.Contains(stderr, says) {
				t.Errorf("%s %s: exit code %d\n%s%s", command[0], name, code, stdout, stderr)
			}
		}
	}
	// A KMS that answers with a wrong signature, that denies, that does not know the key.
	remove := server.Inject(kmstest.Rule{Operation: "Sign"}, kmstest.Edit(func(answer map[string]any) { answer["Signature"] = []byte("wrong") }))
	wrong := []string{"cert", "self-sign", "--key-id", arns["p256"], "--subject", "CN=a", "--days", "1", "--replace", "--file", "wrong.crt"}
	if code, _, stderr := call(wrong...); code != kmserr.ExitOurSide || !strings.Contains(stderr, "does not verify by KMS's own public key") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if _, err := os.Stat("wrong.crt"); err == nil {
		t.Error("a wrong certificate was written")
	}
	remove()
	allow := server.Deny("kms:Sign", "*")
	if code, _, stderr := call(wrong...); code != kmserr.ExitOurSide || !strings.Contains(stderr, "AccessDeniedException") || !strings.Contains(stderr, "Allow kms:Sign on "+arns["p256"]) ||
		strings.Contains(stderr, "--print-iam-policy") { // which does not print kms:Sign
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	allow()
}

// TestCertCSR: an OpenSSL authority issues the certificate that a request asks for, and the chain is taken.
func TestCertCSR(t *testing.T) {
	_, arns := fakeKMS(t)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed: that an authority takes the requests is not tested")
	}
	write(t, "ca.cnf", []byte("[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ca\n[dn]\nCN=authority\n[ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n"))
	openssl(t, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-config", "ca.cnf", "-days", "30")
	for _, name := range []string{"p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"} {
		if code, _, stderr := call("keys", "pull", arns[name]); code != 0 {
			t.Fatal(stderr)
		}
		csr := name + ".csr"
		if code, stdout, stderr := call("cert", "csr", "--key-id", arns[name], "--subject", "C=US,ST=WA,O=Example,CN=release", "--file", csr); code != 0 || !strings.Contains(stdout, csr+": a request of "+arns[name]) {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		openssl(t, "req", "-in", csr, "-noout", "-verify")
		openssl(t, "x509", "-req", "-in", csr, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", name+".crt", "-days", "7", "-copy_extensions", "copy")
		whole, reversed := name+".pem", name+"-reversed.pem"
		join(t, whole, name+".crt", "ca.crt")
		join(t, reversed, "ca.crt", name+".crt")
		if code, stdout, stderr := call("cert", "add", whole, "--key-id", arns[name]); code != 0 || !strings.HasPrefix(stdout, "new: ") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
		for file, says := range map[string][]string{
			reversed:      {"the certificate of " + arns[name] + " is number 2, expected first", "hint: Put it first"},
			name + ".crt": {"is the last one and not self-signed"},
			"ca.crt":      {"KeyMaterialMismatchException", "is an authority's"},
		} {
			for _, command := range []string{"check", "add"} {
				code, _, stderr := call("cert", command, file, "--key-id", arns[name])
				if code != kmserr.ExitRefused {
					t.Errorf("%s %s: exit code %d", command, file, code)
				}
				for _, text := range says {
					if !strings.Contains(stderr, text) {
						t.Errorf("%s %s: %q is not in\n%s", command, file, text, stderr)
					}
				}
			}
		}
	}
	code, stdout, stderr := call("cert", "csr", "--key-id", arns["p256"], "--subject", "CN=release", "--output", "json")
	var printed struct{ KeyID, Csr string }
	if err := json.Unmarshal([]byte(stdout), &printed); code != 0 || err != nil || printed.KeyID != arns["p256"] {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	write(t, "printed.csr", []byte(printed.Csr))
	openssl(t, "req", "-in", "printed.csr", "-noout", "-verify")
	if code, _, stderr := call("cert", "check", "rsa2048.pem", "--key-id", arns["p256"]); code != kmserr.ExitRefused || !strings.Contains(stderr, "KeyMaterialMismatchException") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if code, stdout, _ := call("cert", "show", "--key-id", arns["p256"]); code != 0 || !strings.Contains(stdout, "issued by CN=authority") || !strings.Contains(stdout, "for digital signatures, code signing") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// TestCertOfAKeyThatDoesNotSign: a certificate that the key once got, or that an authority issued unasked, is no good.
func TestCertOfAKeyThatDoesNotSign(t *testing.T) {
	file, err := filepath.Abs("../../../testdata/certs/rsa2048-encrypt.crt")
	if err != nil {
		t.Fatal(err)
	}
	_, arns := fakeKMS(t)
	if code, _, stderr := call("keys", "pull", arns["rsa2048-encrypt"]); code != 0 {
		t.Fatal(stderr)
	}
	for _, command := range []string{"check", "add"} {
		code, stdout, stderr := call("cert", command, file, "--key-id", arns["rsa2048-encrypt"])
		if code != kmserr.ExitRefused || stdout != "" || !strings.Contains(stderr, "InvalidKeyUsageException: "+arns["rsa2048-encrypt"]+" is for ENCRYPT_DECRYPT, expected SIGN_VERIFY") {
			t.Errorf("%s: exit code %d\n%s%s", command, code, stdout, stderr)
		}
	}
}

func join(t *testing.T, file string, parts ...string) {
	t.Helper()
	var all []byte
	for _, part := range parts {
		data, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	write(t, file, all)
}

// openssl runs OpenSSL, if it is there.
func openssl(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("openssl is not installed: its opinion is not asked")
		return
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Errorf("openssl %q: %v\n%s", args, err, out)
	}
}
