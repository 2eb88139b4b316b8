package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const testdata = "../../testdata"

// BenchmarkStart runs the built plugin and an empty Go program in turn, and reports the median of the plugin's time over
// the empty program's, pair by pair: a ratio holds where the machine's speed drifts.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	plugin := build(b, dir, "notation-awskms-offline", ".")
	empty := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(empty, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	peer := build(b, dir, "empty", empty)
	request := prepare(b, filepath.Join(dir, "home"))

	for _, command := range []struct {
		name  string
		stdin []byte
	}{{"get-plugin-metadata", []byte("{}")}, {"verify-signature", request}} {
		b.Run(command.name, func(b *testing.B) {
			var ratios []float64
			var ours time.Duration
			for b.Loop() {
				mine := once(b, command.stdin, plugin, command.name)
				ours += mine
				ratios = append(ratios, float64(mine)/float64(once(b, nil, peer)))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "x-empty-program")
			b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "µs/run")
		})
	}
}

func build(b *testing.B, dir, name, source string) string {
	b.Helper()
	binary := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, source)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go build %s: %v\n%s", source, err, out)
	}
	return binary
}

func once(b *testing.B, stdin []byte, binary string, args ...string) time.Duration {
	cmd := exec.Command(binary, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		b.Fatalf("%s %v: %v\n%s", binary, args, err, out)
	}
	if len(args) > 0 && !bytes.HasPrefix(out, []byte("{")) {
		b.Fatalf("%s %v answered %s", binary, args, out)
	}
	return took
}

// prepare makes a home with one record and returns a request that it answers with success.
func prepare(b *testing.B, home string) []byte {
	b.Helper()
	record, err := os.ReadFile(filepath.Join(testdata, "records", "p256.get-public-key.json"))
	if err != nil {
		b.Fatal(err)
	}
	key, err := kmskey.ParseKey(record)
	if err != nil {
		b.Fatal(err)
	}
	w, err := keystore.OpenWriter(keystore.Home{Path: home, ChosenBy: "benchmark"}, keystore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.Put(key, keystore.PutOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(testdata, "certs", "p256.crt"))
	if err != nil {
		b.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		b.Fatal("p256.crt is no PEM")
	}
	chain, err := json.Marshal([][]byte{block.Bytes})
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Appendf(nil, `{"contractVersion":"1.0","signature":{"criticalAttributes":{`+
		`"contentType":"application/vnd.cncf.notary.payload.v1+json","signingScheme":"notary.x509"},`+
		`"unprocessedAttributes":null,"certificateChain":%s},"trustPolicy":{"trustedIdentities":[%q],`+
		`"signatureVerification":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK"]},`+
		`"pluginConfig":{"home":%q}}`, chain, key.ARN(), home)
}
