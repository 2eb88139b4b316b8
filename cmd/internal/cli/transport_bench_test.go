package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// BenchmarkTransport measures what crosses an air gap: the import of an export of so many keys, each with an alias, into
// an empty store, and the export of that store, each as a process of its own with its peak memory.
func BenchmarkTransport(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1_000, 100_000} {
		dir := b.TempDir()
		command := filepath.Join(dir, name) // as which testscript.Main runs the command line
		if err := os.Symlink(self, command); err != nil {
			b.Skipf("this system makes no links: %v", err)
		}
		file := filepath.Join(dir, "keys.tar")
		out, err := os.Create(file)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := writeArchive(out, manyKeys(b, size)); err != nil {
			b.Fatal(err)
		}
		if err := out.Close(); err != nil {
			b.Fatal(err)
		}
		run := func(b *testing.B, args ...string) {
			cmd := exec.Command(command, args...)
			cmd.Stderr = os.Stderr
			peak := peakMemory(b, cmd)
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(peak())/(1<<20), "peak-MiB")
		}
		home := ""
		b.Run(fmt.Sprintf("import/%d", size), func(b *testing.B) {
			for b.Loop() {
				home = filepath.Join(b.TempDir(), "home")
				run(b, "keys", "import", "--home", home, file)
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "keys/s")
			// The export is of the last store.
			b.StopTimer()
			kept := filepath.Join(dir, "home")
			_ = os.RemoveAll(kept)
			if err := os.Rename(home, kept); err != nil {
				b.Fatal(err)
			}
			home = kept
		})
		b.Run(fmt.Sprintf("export/%d", size), func(b *testing.B) {
			if home == "" {
				b.Skip("there is no store: run import too")
			}
			for b.Loop() {
				run(b, "keys", "export", "--home", home, "--file", filepath.Join(b.TempDir(), "again.tar"))
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// manyKeys yields the files of a store with so many keys, each of its own material, and an alias for each.
func manyKeys(b *testing.B, size int) func(func(keystore.File, error) bool) {
	return func(yield func(keystore.File, error) bool) {
		file := func(path string, data []byte) bool {
			f, err := keystore.DecodeFile(path, data)
			return yield(f, err)
		}
		for i := range size {
			private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
			if err != nil {
				b.Fatal(err)
			}
			id := fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", i)
			key, err := kmskey.NewKey(kmskey.Record{KeyID: "arn:aws:kms:us-east-1:111122223333:key/" + id, PublicKey: der,
				KeyUsage: kmskey.SignVerify, SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.ECDSASHA256}})
			if err != nil {
				b.Fatal(err)
			}
			data, err := key.Encode()
			if err != nil {
				b.Fatal(err)
			}
			if !file("keys/aws/us-east-1/111122223333/"+id+".json", data) {
				return
			}
		}
		for i := range size {
			data, err := json.MarshalIndent(map[string]string{
				"Alias":       fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:alias/key-%08d", i),
				"TargetKeyId": fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", i),
			}, "", "  ")
			if err != nil {
				b.Fatal(err)
			}
			if !file(fmt.Sprintf("aliases/aws/us-east-1/111122223333/key-%08d.json", i), append(data, '\n')) {
				return
			}
		}
	}
}
