//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	mathbig "math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// benched are the algorithms that are measured, with the name that `openssl speed` has for the primitive; "" where OpenSSL
// 3.0 measures none.
var benched = []struct {
	batchKind
	openssl string
}{
	{batchKind{"p256", kmskey.ECDSASHA256}, "ecdsap256"}, {batchKind{"ed25519", kmskey.ED25519SHA512}, "ed25519"}, {batchKind{"sm2", kmskey.SM2DSA}, "sm2"},
	{batchKind{"rsa2048", kmskey.RSASSAPSSSHA256}, "rsa2048"}, {batchKind{"rsa2048", kmskey.RSASSAPKCS1SHA256}, "rsa2048"},
	{batchKind{"p384", kmskey.ECDSASHA384}, "ecdsap384"}, {batchKind{"secp256k1", kmskey.ECDSASHA256}, ""}, {batchKind{"mldsa44", kmskey.MLDSASHAKE256}, ""},
}

// speed is work done by the clock, and by the processor time that it took: on a machine that does other things as well
// only the second tells much.
type speed struct{ perSecond, perCPUSecond float64 }

func (s speed) over(other speed) speed {
	return speed{s.perSecond / other.perSecond, s.perCPUSecond / other.perCPUSecond}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkBatch sets four things beside each other, in turns: `verify --batch` of a file, with everything: JSON in, the
// log, JSON out; VerifyBatch of the library, without log; the bare call of the library under it; `openssl speed`. All of
// them use all cores. The metrics are medians: lines a second of the command, and ratios, by the clock and (cpu) by
// processor time.
func BenchmarkBatch(b *testing.B) {
	w := newBatchWorld(b)
	openssl, _ := exec.LookPath("openssl")
	if openssl == "" {
		b.Log("openssl is not installed: its figures are left out")
	}
	for _, kind := range benched {
		b.Run(kind.key+"/"+string(kind.alg), func(b *testing.B) {
			messages, signatures := w.signed(b, kind.batchKind, 64)
			check := w.bareCheck(b, kind.batchKind)
			library := func() speed {
				return inProcess(func(until func() bool) int64 {
					var done atomic.Int64
					var all sync.WaitGroup
					for range runtime.GOMAXPROCS(0) {
						all.Go(func() {
							for i := 0; until(); i++ {
								if !check(messages[i%64], signatures[i%64]) {
									panic("it does not verify")
								}
								done.Add(1)
							}
						})
					}
					all.Wait()
					return done.Load()
				})
			}
			// As many lines as take about as long on one core: what a start costs must not count.
			n := int64(library().perCPUSecond * turn.Seconds())
			file := w.batchFile(b, kind.batchKind, n, messages, signatures)
			var metrics [7][]float64
			var rate []float64
			for b.Loop() {
				bare := library()
				command := w.commandSpeed(b, n, 0, file)
				api := w.apiSpeed(b, kind.batchKind, messages, signatures)
				rate = append(rate, command.perSecond)
				note := func(at int, s speed) {
					metrics[at], metrics[at+1] = append(metrics[at], s.perSecond), append(metrics[at+1], s.perCPUSecond)
				}
				note(0, command.over(bare))
				note(2, api.over(bare))
				if openssl != "" && kind.openssl != "" {
					own := opensslSpeed(b, openssl, kind.openssl)
					note(4, command.over(own))
					metrics[6] = append(metrics[6], bare.perCPUSecond/own.perCPUSecond)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(rate), "lines/s")
			for i, unit := range []string{"cmd/lib", "cmd/lib-cpu", "api/lib", "api/lib-cpu", "cmd/openssl", "cmd/openssl-cpu", "lib/openssl-cpu"} {
				if len(metrics[i]) > 0 {
					b.ReportMetric(median(metrics[i]), unit)
				}
			}
		})
	}
}

// BenchmarkBatchScaling is the command with one core and with two, in turns.
func BenchmarkBatchScaling(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Skip("this machine has one core")
	}
	w := newBatchWorld(b)
	for _, kind := range benched {
		if kind.openssl == "" {
			continue
		}
		b.Run(kind.key+"/"+string(kind.alg), func(b *testing.B) {
			messages, signatures := w.signed(b, kind.batchKind, 64)
			file := w.batchFile(b, kind.batchKind, 1000, messages, signatures)
			n := int64(w.commandSpeed(b, 1000, 0, file).perCPUSecond * turn.Seconds())
			file = w.batchFile(b, kind.batchKind, n, messages, signatures)
			var ratio, cpu []float64
			for b.Loop() {
				one, two := w.commandSpeed(b, n, 1, file), w.commandSpeed(b, n, 2, file)
				ratio, cpu = append(ratio, two.perSecond/one.perSecond), append(cpu, two.perCPUSecond/one.perCPUSecond)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ratio), "2-cores/1-core")
			b.ReportMetric(median(cpu), "cpu-ratio") // 1 if the second core costs nothing
		})
	}
}

// turn is how long each side runs in a turn, about.
const turn = time.Second

func cpuTime(b *syscall.Rusage) time.Duration {
	return time.Duration(b.Utime.Nano() + b.Stime.Nano())
}

// inProcess measures work that goes on as long as until says.
func inProcess(work func(until func() bool) int64) speed {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	var over atomic.Bool
	timer := time.AfterFunc(turn, func() { over.Store(true) })
	defer timer.Stop()
	start := time.Now()
	n := work(func() bool { return !over.Load() })
	took := time.Since(start)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	return speed{float64(n) / took.Seconds(), float64(n) / (cpuTime(&after) - cpuTime(&before)).Seconds()}
}

func (w *batchWorld) batchFile(b *testing.B, kind batchKind, n int64, messages, signatures [][]byte) string {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "batch.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	out := bufio.NewWriter(f)
	for i := range n {
		_, _ = out.Write(w.line(kind, i, messages[i%64], signatures[i%64]))
	}
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return f.Name()
}

// commandSpeed runs the command over a file of n lines with so many cores, 0 for all.
func (w *batchWorld) commandSpeed(b *testing.B, n int64, cores int, file string) speed {
	b.Helper()
	cmd := w.run(file)
	if cores > 0 {
		cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(cores))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v\n%s", err, stderr.String())
	}
	took := time.Since(start)
	return speed{float64(n) / took.Seconds(), float64(n) / (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
}

// apiSpeed is VerifyBatch without a log.
func (w *batchWorld) apiSpeed(b *testing.B, kind batchKind, messages, signatures [][]byte) speed {
	b.Helper()
	store, err := keystore.Open(keystore.Home{Path: w.home, ChosenBy: "benchmark"}, keystore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	v, err := verifier.New(verifier.Config{Store: store, Policy: policy.None{}, FrontEnd: audit.FrontEnd{Name: "benchmark"}})
	if err != nil {
		b.Fatal(err)
	}
	return inProcess(func(until func() bool) int64 {
		var n int64
		questions := func(yield func(verifier.Question) bool) {
			for i := 0; until(); i++ {
				message, signature := messages[i%64], signatures[i%64]
				if !yield(func() (verifier.Request, error) {
					return verifier.Request{KeyID: w.arns[kind.key], SigningAlgorithm: kind.alg, Message: bytes.NewReader(message), Signature: signature}, nil
				}) {
					return
				}
			}
		}
		for a := range v.VerifyBatch(b.Context(), questions, verifier.BatchOptions{}) {
			if a.Err != nil {
				b.Fatal(a.Err)
			}
			n++
		}
		return n
	})
}

// opensslSpeed asks OpenSSL for its verifications a second: by processor time of one process, and by the clock of one for
// each core.
func opensslSpeed(b *testing.B, openssl, primitive string) speed {
	b.Helper()
	measure := func(args ...string) float64 {
		args = append([]string{"speed", "-seconds", "1"}, append(args, primitive)...)
		out, err := exec.Command(openssl, args...).Output()
		if err != nil {
			b.Fatalf("openssl %q: %v", args, err)
		}
		rows := strings.Split(strings.TrimSpace(string(out)), "\n")
		fields := strings.Fields(rows[len(rows)-1])
		rate, err := strconv.ParseFloat(fields[len(fields)-1], 64) // the last column: verifications a second
		if err != nil {
			b.Fatalf("openssl says %s", out)
		}
		return rate
	}
	return speed{perSecond: measure("-multi", strconv.Itoa(runtime.GOMAXPROCS(0))), perCPUSecond: measure()}
}

// bareCheck is the library's own call for the key: the hash of the message, and the signature.
func (w *batchWorld) bareCheck(b *testing.B, kind batchKind) func(message, sig []byte) bool {
	b.Helper()
	der, err := os.ReadFile(filepath.Join(w.testdata, "keys", kind.key+".spki.der"))
	if err != nil {
		b.Fatal(err)
	}
	hashed := func(message []byte) []byte {
		h := kind.alg.Hash().New()
		h.Write(message)
		return h.Sum(nil)
	}
	switch kind.key {
	case "sm2":
		pub, err := sm2.NewPublicKey(der[len(der)-65:])
		if err != nil {
			b.Fatal(err)
		}
		return func(message, sig []byte) bool { return sm2.VerifyASN1WithSM2(pub, nil, message, sig) }
	case "secp256k1":
		pub, err := secp256k1.ParsePubKey(der[len(der)-65:])
		if err != nil {
			b.Fatal(err)
		}
		return func(message, sig []byte) bool {
			var v struct{ R, S *mathbig.Int }
			_, err := asn1.Unmarshal(sig, &v)
			var r, s secp256k1.ModNScalar
			r.SetByteSlice(v.R.Bytes())
			s.SetByteSlice(v.S.Bytes())
			return err == nil && secp256k1ecdsa.NewSignature(&r, &s).Verify(hashed(message), pub)
		}
	case "mldsa44":
		pub, err := mldsa.NewPublicKey(mldsa.MLDSA44(), der[len(der)-1312:])
		if err != nil {
			b.Fatal(err)
		}
		return func(message, sig []byte) bool { return mldsa.Verify(pub, message, sig, nil) == nil }
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		b.Fatal(err)
	}
	switch pub := parsed.(type) {
	case *ecdsa.PublicKey:
		return func(message, sig []byte) bool { return ecdsa.VerifyASN1(pub, hashed(message), sig) }
	case ed25519.PublicKey:
		return func(message, sig []byte) bool { return ed25519.Verify(pub, message, sig) }
	case *rsa.PublicKey:
		if kind.alg == kmskey.RSASSAPKCS1SHA256 {
			return func(message, sig []byte) bool {
				return rsa.VerifyPKCS1v15(pub, crypto.SHA256, hashed(message), sig) == nil
			}
		}
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		return func(message, sig []byte) bool {
			return rsa.VerifyPSS(pub, crypto.SHA256, hashed(message), sig, opts) == nil
		}
	}
	b.Fatalf("no library for %s", kind.key)
	return nil
}

// BenchmarkLongFile is digest of a file of 1 GiB against `openssl dgst`, in turns, with the most memory it took.
func BenchmarkLongFile(b *testing.B) {
	w := newBatchWorld(b)
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		b.Skip("openssl is not installed: there is nothing to measure against")
	}
	file := filepath.Join(b.TempDir(), "long")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for i := range 1 << 10 {
		copy(block, fmt.Sprint(i))
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	for key, hash := range map[string]string{"p256": "sha256", "p384": "sha384", "sm2": "sm3"} {
		b.Run(hash, func(b *testing.B) {
			run := func(cmd *exec.Cmd) (clock, cpu time.Duration) {
				cmd.Stderr, cmd.Stdout = os.Stderr, io.Discard
				start := time.Now()
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				return time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			var clock, cpu, peak, rate []float64
			for b.Loop() {
				cmd := exec.Command(w.command, "digest", "--key-id", w.arns[key], file)
				cmd.Env = w.env
				most := peakMemory(b, cmd)
				ours, oursCPU := run(cmd)
				theirs, theirsCPU := run(exec.Command(openssl, "dgst", "-"+hash, file))
				clock, cpu = append(clock, float64(theirs)/float64(ours)), append(cpu, float64(theirsCPU)/float64(oursCPU))
				peak, rate = append(peak, float64(most())/(1<<20)), append(rate, (1<<30)/1e6/ours.Seconds())
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(rate), "MB/s")
			b.ReportMetric(median(clock), "speed/openssl")
			b.ReportMetric(median(cpu), "speed/openssl-cpu")
			b.ReportMetric(slices.Max(peak), "peak-MiB")
		})
	}
}
