package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

var update = flag.Bool("update", false, "write testdata/awscli anew")

// What the AWS CLI prints, in the forms of its two versions: version 1 prints times as the numbers that KMS sends, version
// 2 as ISO 8601. Either does as the other if it is told to; the numbers are "none" to version 1, and "wire" to version 2.
var awsForms = map[string]string{"v1": "none", "v2": "iso8601"}

// TestAWSCLIFiles imports what the AWS CLI printed.
func TestAWSCLIFiles(t *testing.T) {
	for form := range awsForms {
		t.Run(form, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "home")
			folder := filepath.Join("../../../testdata/awscli", form)
			if out, code := runCLI(t, "keys", "import", "--home", home, folder, "--snapshot-time", "2026-11-23T12:00:00Z"); code != 0 || strings.Count(out, "new: ") != 2 {
				t.Fatalf("exit code %d\n%s", code, out)
			}
			out, _ := runCLI(t, "keys", "show", "--home", home, "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257", "--output", "json")
			var record struct {
				KeySpec, KeyUsage string
				KeyMetadata       struct {
					KeyState     string
					CreationDate json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(out), &record); err != nil || record.KeySpec != "ECC_NIST_P256" || record.KeyMetadata.KeyState != "Enabled" || len(record.KeyMetadata.CreationDate) == 0 {
				t.Errorf("%v: got %s", err, out)
			}
		})
	}
}

// creation is the only thing in an answer that differs from run to run.
var creation = regexp.MustCompile(`"CreationDate": [^,\n]+`)

// TestAWSCLIPrintsTheFiles lets the real AWS CLI ask the fake KMS: it must still print what the files hold.
func TestAWSCLIPrintsTheFiles(t *testing.T) {
	program, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed (pip install awscli): that testdata/awscli is what it prints is not tested")
	}
	testdata, err := filepath.Abs("../../../testdata/awscli")
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("aws --version: %v\n%s", err, version)
	}
	t.Logf("%s", version)
	server, arns := fakeKMS(t)
	for form, timestamps := range awsForms {
		if timestamps == "none" && strings.HasPrefix(string(version), "aws-cli/2") {
			timestamps = "wire"
		}
		config := filepath.Join(t.TempDir(), "config")
		write(t, config, []byte("[default]\ncli_timestamp_format = "+timestamps+"\n"))
		for _, key := range []string{"p256", "sm2"} {
			for _, operation := range []string{"get-public-key", "describe-key"} {
				region := "us-east-1"
				if key == "sm2" {
					region = "cn-north-1"
				}
				cmd := exec.Command(program, "--endpoint-url", server.URL(), "--region", region, "--output", "json", "kms", operation, "--key-id", arns[key])
				cmd.Env = append(os.Environ(), "AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				got, err := cmd.Output()
				if err != nil {
					t.Fatalf("aws kms %s: %v\n%s", operation, err, stderr.String())
				}
				file := filepath.Join(testdata, form, key+"."+operation+".json")
				if *update {
					write(t, file, got)
					continue
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if a, b := creation.ReplaceAll(got, nil), creation.ReplaceAll(want, nil); !bytes.Equal(a, b) {
					t.Errorf("%s is now\n%s", file, got)
				}
			}
		}
	}
}

// TestPullFromMoto pulls from a KMS that we did not write. What moto labels SM2 is a P-256 key; its GetPublicKey answers
// with a bare key ID, so the ARN is DescribeKey's.
func TestPullFromMoto(t *testing.T) {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not installed (pip install 'moto[server,kms]'): pulling from a KMS that is not ours is not tested")
	}
	fakeKMS(t) // for the environment
	endpoint := startMoto(t, program)
	t.Setenv("AWS_ENDPOINT_URL_KMS", endpoint)
	for _, spec := range []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "RSA_2048"} {
		id, arn := createInMoto(t, endpoint, spec)
		code, stdout, stderr := call("keys", "pull", id)
		if code != 0 || !strings.Contains(stdout, "new: "+arn) {
			t.Errorf("%s: exit code %d\n%s%s", spec, code, stdout, stderr)
		}
	}
	id, arn := createInMoto(t, endpoint, "SM2")
	code, stdout, stderr := call("keys", "pull", id)
	if code != kmserr.ExitOurSide || !strings.Contains(stderr, "SM2") || !strings.Contains(stderr, "ECC_NIST_P256") && !strings.Contains(stderr, "RSA_2048") {
		t.Errorf("SM2: exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, _ := call("keys", "show", arn); code == 0 {
		t.Error("the key that is labelled SM2 was stored")
	}
	if code, stdout, stderr := call("keys", "refresh"); code != 0 || !strings.Contains(stdout+stderr, "4 unchanged") {
		t.Errorf("refresh: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func createInMoto(t *testing.T, endpoint, spec string) (id, arn string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(`{"KeySpec":"`+spec+`","KeyUsage":"SIGN_VERIFY"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "TrentService.CreateKey")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261123/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=x")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		KeyMetadata struct{ KeyID, Arn string }
	}
	if err := json.Unmarshal(body, &made); err != nil || made.KeyMetadata.Arn == "" {
		t.Fatalf("moto made no key of spec %s: %s", spec, body)
	}
	return made.KeyMetadata.KeyID, made.KeyMetadata.Arn
}

func startMoto(t *testing.T, program string) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	if err := cmd.Start(); err != nil {
		t.Skipf("moto_server does not start: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	endpoint = "http://127.0.0.1:" + port
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if response, err := http.Get(endpoint + "/moto-api/"); err == nil {
			_ = response.Body.Close()
			return endpoint
		}
	}
	t.Fatal("moto_server does not answer")
	return ""
}

// TestSignCommand runs the command that digest prints by the real AWS CLI against the fake KMS: its signature verifies.
func TestSignCommand(t *testing.T) {
	program, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed (pip install awscli): that it takes the command that digest prints is not tested")
	}
	records, err := filepath.Abs("../../../testdata/records")
	if err != nil {
		t.Fatal(err)
	}
	server, arns := fakeKMS(t)
	dir := t.TempDir()
	message := filepath.Join(dir, "message")
	write(t, message, []byte("a message"))
	for key, algorithm := range map[string]string{"p256": "ECDSA_SHA_256", "sm2": "SM2DSA", "mldsa65": "ML_DSA_SHAKE_256", "rsa3072": "RSASSA_PSS_SHA_384", "ed25519": "ED25519_PH_SHA_512"} {
		t.Run(key, func(t *testing.T) {
			if code, _, stderr := call("keys", "import", filepath.Join(records, key+".get-public-key.json")); code != 0 {
				t.Fatal(stderr)
			}
			code, line, stderr := call("digest", "--key-id", arns[key], "--signing-algorithm", algorithm, "--file", filepath.Join(dir, "the "+key), message)
			if code != 0 {
				t.Fatal(stderr)
			}
			args := words(line)
			cmd := exec.Command(program, append([]string{"--endpoint-url", server.URL(), "--query", "Signature", "--output", "text"}, args[1:]...)...)
			cmd.Env = append(os.Environ(), "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
			var said bytes.Buffer
			cmd.Stderr = &said
			signature, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, said.String())
			}
			write(t, filepath.Join(dir, key+".sig"), signature)
			if code, _, stderr := call("verify", "--key-id", arns[key], "--signing-algorithm", algorithm, "--signature", filepath.Join(dir, key+".sig"), message); code != 0 {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
		})
	}
}
