package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
	"github.com/awskms-offline/awskms-offline/e2e/internal/kmssign"
)

// BenchmarkCosignVerify runs `cosign verify` of one image with our plugin, with the same key as a PEM file, and with
// cosign's own awskms:// against a fake KMS on this machine, in turns, and reports the median of the ratios.
func BenchmarkCosignVerify(b *testing.B) {
	h, err := harness.NewHost(b.TempDir(), shared.notation, shared.bin)
	if err != nil {
		b.Fatal(err)
	}
	h.Home, h.Bin = shared.records, shared.bin
	cosign := build.ClientPath(shared.root, "cosign")
	key := fixture.Lookup("p256")

	digest, err := shared.registry.PushImage("bench/app", "bench")
	if err != nil {
		b.Fatal(err)
	}
	reference := shared.registry.Reference("bench/app", digest)
	payload := harness.SimpleSigning(shared.registry.Scope("bench/app"), digest)
	write := func(name string, data []byte) string {
		path := filepath.Join(h.Dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	der, err := kmssign.Sign(shared.testdata, key.Name, "ECDSA_SHA_256", payload, "")
	if err != nil {
		b.Fatal(err)
	}
	signature := []byte(base64.StdEncoding.EncodeToString(der))
	if r, err := h.Run(cosign, "attach", "signature", "--payload", write("payload", payload), "--signature", write("signature", signature), reference); err != nil || r.Code != 0 {
		b.Fatal(r, err)
	}
	spki, err := os.ReadFile(key.PublicFile(shared.testdata))
	if err != nil {
		b.Fatal(err)
	}
	file := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))

	endpoint := startFakeKMS(b, h.Dir)
	h.Extra = []string{"AWS_ENDPOINT_URL_KMS=" + endpoint, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_REGION=us-east-1"}
	once := func(key string) time.Duration {
		start := time.Now()
		r, err := h.Run(cosign, "verify", "--key", key, "--insecure-ignore-tlog", reference)
		if err != nil || r.Code != 0 {
			b.Fatal(r, err)
		}
		return time.Since(start)
	}
	var toFile, toKMS []float64
	var ours time.Duration
	for b.Loop() {
		mine := once("awskms-offline://" + key.ARN())
		ours += mine
		toFile = append(toFile, float64(mine)/float64(once(file)))
		toKMS = append(toKMS, float64(mine)/float64(once("awskms:///"+key.ARN())))
	}
	median := func(all []float64) float64 {
		slices.Sort(all)
		return all[len(all)/2]
	}
	b.ReportMetric(median(toFile), "x-key-file")
	b.ReportMetric(median(toKMS), "x-awskms")
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/run")
}

// startFakeKMS builds and starts the main module's fake KMS with the keys of testdata; it ends with the test.
func startFakeKMS(b testing.TB, dir string) (endpoint string) {
	b.Helper()
	return startFake(b, dir, "cmd/internal/awskms/kmstest/testdata/fakekms", "-testdata", shared.testdata)
}

// startFake builds and starts a program of the main module that says on its first line where it serves; it ends with the
// test.
func startFake(b testing.TB, dir, pkg string, args ...string) (endpoint string) {
	b.Helper()
	binary := filepath.Join(dir, build.Executable(path.Base(pkg)))
	if err := build.Internal(shared.root, "./"+pkg, binary, os.Stderr); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err, stderr.String())
	}
	return strings.TrimSpace(line)
}
