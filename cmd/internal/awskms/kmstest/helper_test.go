package kmstest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// testdata is the repository's.
var testdata = filepath.Join("..", "..", "..", "..", "testdata")

// wholeBody is the SDK's HTTP client without a race that it loses against a server as near as this one: smithy-go 1.28.9
// closes the request's body as soon as the answer's headers are there, and answers io.EOF where net/http then asks it to
// write the rest (WriteTo); net/http takes that for a failure to write and closes the connection, under the answer's body
// if that is still being read. Without WriteTo there is nothing to lose.
type wholeBody struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (w wholeBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return w.next.Do(r)
}

// client is the real SDK client, in a Region, with an access key, that tries once.
func client(t testing.TB, s *kmstest.Server, region, accessKeyID string, options ...func(*kms.Options)) *kms.Client {
	t.Helper()
	// Nothing of the machine may act on the test.
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	cfg, err := config.LoadDefaultConfig(context.Background(),
		config.WithRegion(region),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(accessKeyID, "secret", "")),
		config.WithRetryMaxAttempts(1),
		config.WithBaseEndpoint(s.URL()))
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTPClient = wholeBody{awshttp.NewBuildableClient()}
	return kms.NewFromConfig(cfg, options...)
}

// standard is the client of the default account in the default Region.
func standard(t testing.TB, s *kmstest.Server) *kms.Client {
	t.Helper()
	return client(t, s, kmstest.DefaultRegion, "AKIAIOSFODNN7EXAMPLE")
}

// wantError fails unless err is KMS's error of that code, message and status.
func wantError(t testing.TB, err error, code, message string, status int) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("error is %v, want %s", err, code)
	}
	if api.ErrorCode() != code || api.ErrorMessage() != message {
		t.Errorf("error is %s: %q\nwant     %s: %q", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != status {
		t.Errorf("status is not %d: %v", status, err)
	}
}

// material reads a committed private key.
func material(t testing.TB, name string) *kmstest.Material {
	t.Helper()
	m, err := kmstest.ReadKeyFile(filepath.Join(testdata, "keys", name+".key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// signingKeys are the committed keys of all specs that sign, by spec.
func signingKeys(t testing.TB) map[string]*kmstest.Material {
	t.Helper()
	keys := make(map[string]*kmstest.Material)
	for _, name := range []string{
		"rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "secp256k1", "ed25519", "sm2", "mldsa44", "mldsa65", "mldsa87",
	} {
		m := material(t, name)
		keys[m.Spec()] = m
	}
	if len(keys) != 12 {
		t.Fatalf("%d specs, want 12", len(keys))
	}
	return keys
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
