package fakekms

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

var testdata = filepath.Join("..", "..", "..", "..", "..", "testdata")

func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	done := make(chan int)
	go func() {
		done <- Main(ctx, []string{"--testdata", testdata, "--keys", "1000", "--latency", "1ms", "--deny", "Sign=*"}, writer, &stderr)
		writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	lines.Scan()
	url := lines.Text()
	rest := make(chan string)
	go func() {
		var text strings.Builder
		for lines.Scan() {
			text.WriteString(lines.Text() + "\n")
		}
		rest <- text.String()
	}()
	c := kms.New(kms.Options{Region: "us-east-1", BaseEndpoint: &url,
		Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", "")})
	keys := 0
	for p := kms.NewListKeysPaginator(c, &kms.ListKeysInput{}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		keys += len(page.Keys)
	}
	if want := 1000 + 17; keys != want { // of 19 records one is in cn-north-1, one in eu-west-1
		t.Errorf("%d keys, want %d", keys, want)
	}
	described, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/key/999")})
	if err != nil || described.KeyMetadata.KeySpec != "ECC_NIST_P256" {
		t.Error(err)
	}
	_, err = c.Sign(ctx, &kms.SignInput{KeyId: aws.String("alias/key/999"), Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"})
	if err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
		t.Error(err)
	}
	stop()
	if code := <-done; code != 0 || stderr.Len() > 0 {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	if text := <-rest; !strings.Contains(text, "p256\tarn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257\n") {
		t.Errorf("stdout: %s", text)
	}
}

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--listen", "0.0.0.0:8089"}, 2, "want a loopback address"},
		{[]string{"--listen", "localhost:8089"}, 2, "want a loopback address"},
		{[]string{"--keys", "-1"}, 2, "--keys is -1"},
		{[]string{"--throttle-percent", "101"}, 2, "--throttle-percent is 101"},
		{[]string{"--latency", "-1s"}, 2, "--latency is -1s"},
		{[]string{"--deny", "Sign"}, 2, "want action=pattern"},
		{[]string{"more"}, 2, `unexpected argument "more"`},
		{[]string{"--testdata", "nowhere"}, 1, "nowhere"},
		{[]string{"--help"}, 0, "-listen"},
	} {
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), test.args, &stdout, &stderr)
		if code != test.code || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, %s%s", test.args, code, &stdout, &stderr)
		}
	}
}
