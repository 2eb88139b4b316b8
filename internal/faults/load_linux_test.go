package faults

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"iter"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// tally is what one worker saw.
type tally struct {
	runs, busy int
	took       map[string][]time.Duration // by program
}

// TestLoad lets many processes ask at once, all through one log, while others write the store: no answer may be wrong, and
// the log must have a line for each. A process that finds the log busy for two seconds refuses; such refusals are counted
// and told, and have no line.
func TestLoad(t *testing.T) {
	processes, length := 16, 2*time.Second
	if *full {
		processes, length = 200, 5*time.Minute
	}
	w := newWorld(t)
	end := time.Now().Add(length)
	var running sync.WaitGroup
	refreshed := 0
	running.Go(func() { refreshed = w.refresh(t, end) })
	tallies := make([]tally, processes)
	for i := range processes {
		running.Go(func() { tallies[i] = w.ask(t, uint64(i), end) })
	}
	running.Wait()

	runs, busy, took := 0, 0, map[string][]time.Duration{}
	for _, one := range tallies {
		runs, busy = runs+one.runs, busy+one.busy
		for program, times := range one.took {
			took[program] = append(took[program], times...)
		}
	}
	if lines, _ := w.lines(t); lines != runs-busy {
		t.Errorf("the log has %d lines, expected %d: %d runs, %d of them refused because the log was busy", lines, runs-busy, runs, busy)
	}
	if runs < processes || refreshed < 2 {
		t.Errorf("%d runs and %d refreshes only", runs, refreshed)
	}
	s := w.open(t)
	defer s.Close()
	w.intact(t, "after the load", s, false)
	t.Logf("%d processes at once for %s: %d answers, none wrong, %d refused as the log was busy; the store was written %d times; the log is whole",
		processes, length, runs, busy, refreshed)
	for _, program := range slices.Sorted(maps.Keys(took)) {
		all := took[program]
		slices.Sort(all)
		t.Logf("%s: %d runs, p50 %s, p99 %s", program, len(all), all[len(all)/2].Round(time.Millisecond), all[len(all)*99/100].Round(time.Millisecond))
	}
}

// ask runs calls at random, one after the other, until the end.
func (w world) ask(t *testing.T, seed uint64, end time.Time) tally {
	random := mathrand.New(mathrand.NewPCG(seed, 7))
	calls := w.calls()
	one := tally{took: map[string][]time.Duration{}}
	for one.runs == 0 || time.Now().Before(end) {
		c := calls[random.IntN(len(calls))]
		o := w.run(t, c, nil)
		one.runs++
		one.took[c.program] = append(one.took[c.program], o.took)
		switch text := string(o.stdout) + string(o.stderr); {
		case !o.yes && strings.Contains(text, string(kmserr.AuditUnavailable)) && strings.Contains(text, "busy"):
			one.busy++
		case o.yes != c.right:
			t.Errorf("%s: %s", c.name, o)
		}
	}
	return one
}

// refresh writes the store as a cron job does, until the end: newer snapshots of every key, and a block that comes and goes
// on a key that nobody asks about.
func (w world) refresh(t *testing.T, end time.Time) (times int) {
	extra := must(kmskey.DecodeRecord(must(os.ReadFile(filepath.Join(testdata, "records", "rsa2048.get-public-key.json"))))).KeyID
	taken := time.Now().Add(-30 * time.Minute)
	run := func(args ...string) {
		if o := w.run(t, call{name: strings.Join(args, " "), program: "awskms-offline", args: args}, nil); o.code != 0 {
			t.Errorf("%v: %s", args, o)
		}
		times++
	}
	run("keys", "import", filepath.Join(testdata, "records", "rsa2048.get-public-key.json"))
	for time.Now().Before(end) {
		taken = taken.Add(time.Second / 10)
		for _, name := range []string{good, blocked, disabled} {
			file := func(kind string) string { return filepath.Join(testdata, "records", name+"."+kind+".json") }
			run("keys", "import", file("get-public-key"), file("describe-key"), "--snapshot-time", taken.UTC().Format(time.RFC3339Nano))
		}
		run("keys", "block", extra, "--reason", "load")
		run("keys", "unblock", extra)
	}
	return times
}

// use is what a process holds.
type use struct {
	heap, resident uint64 // bytes
	goroutines     int
	descriptors    int
}

func measure(t *testing.T) use {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	resident, err := strconv.ParseUint(strings.Fields(string(pages))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return use{m.HeapAlloc, resident * uint64(os.Getpagesize()), runtime.NumGoroutine(), len(open)}
}

func (u use) String() string {
	return fmt.Sprintf("%d KiB of heap, %d KiB resident, %d goroutines, %d file descriptors", u.heap>>10, u.resident>>10, u.goroutines, u.descriptors)
}

// TestGrowth verifies for long in one process, nine of ten in a batch and the others one by one, every eighth signature a
// wrong one, with policy and log: it must hold no more at the end than after the first tenth.
func TestGrowth(t *testing.T) {
	total := 20_000
	if *full {
		total = 10_000_000
	}
	w := newWorld(t)
	block, _ := pem.Decode(must(os.ReadFile(filepath.Join(testdata, "keys", "rsa2048.key.pem"))))
	private := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
	w.put(t, "rsa2048")
	arn := key("rsa2048").ARN().String()
	w.policy(t, "best-effort", []string{arn})
	rules, err := policy.Load(policy.Options{Home: w.home, MachineFolder: filepath.Join(w.home, "none")})
	if err != nil {
		t.Fatal(err)
	}
	// The disk would hold ten gigabytes of lines: they go where nothing keeps them.
	log, err := audit.NewFileLog(audit.Config{Path: "-", Writer: new(counter)})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{Store: w.open(t), Policy: rules, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	text := []byte("a message")
	sum := sha256.Sum256(text)
	signature := must(rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:]))
	wrong := bytes.Clone(signature)
	wrong[100] ^= 1
	request := func(i int) verifier.Request {
		r := verifier.Request{KeyID: arn, SigningAlgorithm: kmskey.RSASSAPKCS1SHA256, Message: bytes.NewReader(text), Signature: signature}
		if i%8 == 7 {
			r.Signature = wrong
		}
		return r
	}
	check := func(i int, err error) {
		if i%8 == 7 && !kmserr.Is(err, kmserr.InvalidSignature) || i%8 != 7 && err != nil {
			t.Fatalf("number %d: %v", i, err)
		}
	}
	const parts = 10
	part := total / parts
	start := time.Now()
	var first use
	for p := range parts {
		var questions iter.Seq[verifier.Question] = func(yield func(verifier.Question) bool) {
			for i := range part * 9 / 10 {
				if !yield(verifier.Ask(request(i))) {
					return
				}
			}
		}
		answers := 0
		for a := range v.VerifyBatch(t.Context(), questions, verifier.BatchOptions{}) {
			check(int(a.Index), a.Err)
			answers++
		}
		if answers != part*9/10 {
			t.Fatalf("%d answers to %d questions", answers, part*9/10)
		}
		for i := range part / 10 {
			_, err := v.Verify(t.Context(), request(i))
			check(i, err)
		}
		now := measure(t)
		t.Logf("after %d verifications, %s: %s", (p+1)*part, time.Since(start).Round(time.Second), now)
		if p == 0 {
			first = now
		}
		if now.heap > first.heap+1<<20 || now.resident > first.resident+32<<20 || now.goroutines > first.goroutines || now.descriptors > first.descriptors {
			t.Fatalf("it grows: %s after a tenth, %s now", first, now)
		}
	}
}

// counter is where lines go that nobody keeps.
type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
