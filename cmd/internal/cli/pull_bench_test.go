package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

// BenchmarkPull measures a pull of 1,000 keys, each with an alias, from a fake KMS that takes 20 ms for every answer,
// against the same calls one after the other, which waiting alone would take that long.
func BenchmarkPull(b *testing.B) {
	const keys, latency = 1000, 20 * time.Millisecond
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := filepath.Join(b.TempDir(), name) // as which testscript.Main runs the command line
	if err := os.Symlink(self, command); err != nil {
		b.Skipf("this system makes no links: %v", err)
	}
	server := kmstest.Start(b)
	server.AddKeys(keys, kmstest.Key{Account: "111122223333", Region: "us-east-1", Aliases: []string{"alias/many/%d"}})
	server.SetLatency(latency)
	b.Run(fmt.Sprint(keys), func(b *testing.B) {
		asked := 0
		for b.Loop() {
			server.ResetLog()
			cmd := exec.Command(command, "keys", "pull", "--all", "--home", filepath.Join(b.TempDir(), "home"))
			cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL_KMS="+server.URL(), "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x")
			peak := peakMemory(b, cmd)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			b.ReportMetric(float64(peak())/(1<<20), "peak-MiB")
			asked += len(server.Requests())
		}
		b.ReportMetric(float64(asked/b.N), "calls")
		b.ReportMetric(b.Elapsed().Seconds()/(float64(asked)*latency.Seconds()), "x-sequential-bound")
	})
}
