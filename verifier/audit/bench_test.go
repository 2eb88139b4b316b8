package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{true, false} {
		b.Run(fmt.Sprintf("fsync=%v", sync), func(b *testing.B) {
			l := openLog(b, Config{Path: logPath(b), NoSync: !sync})
			d := decision(1)
			for b.Loop() {
				if err := l.Append(context.Background(), d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWriters reports the lines a second of several writers, each with its own lock as processes have.
func BenchmarkWriters(b *testing.B) {
	for _, flush := range []bool{true, false} {
		for _, writers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("fsync=%v/writers=%d", flush, writers), func(b *testing.B) {
				path := logPath(b)
				var done sync.WaitGroup
				for w := range writers {
					l := openLog(b, Config{Path: path, NoSync: !flush})
					done.Go(func() {
						for n := w; n < b.N; n += writers {
							if err := l.Append(context.Background(), decision(n)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				done.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			})
		}
	}
}

// BenchmarkVerify reads a log of 1,000,000 lines, or of 20,000 in short mode, in turns with a plain reading of the file that
// computes its SHA-256: what no check of the chain can do without.
func BenchmarkVerify(b *testing.B) {
	lines := 1_000_000
	if testing.Short() {
		lines = 20_000
	}
	path := manyLines(b, lines)
	report := intact(b, path, int64(lines), Options{})
	b.SetBytes(report.Bytes)
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		if _, err := Verify(context.Background(), path, Options{}); err != nil {
			b.Fatal(err)
		}
		ours := time.Since(start)
		b.StopTimer()
		start = time.Now()
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(sha256.New(), f); err != nil {
			b.Fatal(err)
		}
		ratios = append(ratios, float64(ours)/float64(time.Since(start)))
		f.Close()
		b.StartTimer()
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x-sha256")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys>>20), "MiB-of-heap")
}

// manyLines writes a log in groups, as a batch does.
func manyLines(b *testing.B, n int) string {
	path := logPath(b)
	l := openLog(b, Config{Path: path, NoSync: true})
	for from := 0; from < n; from += 1000 {
		group := make([]Decision, 0, 1000)
		for i := from; i < min(from+1000, n); i++ {
			group = append(group, decision(i+1))
		}
		if err := l.AppendAll(context.Background(), group); err != nil {
			b.Fatal(err)
		}
	}
	return path
}

func BenchmarkLastTime(b *testing.B) {
	path := newLog(b, 10)
	l := openLog(b, Config{Path: path})
	for b.Loop() {
		if at, err := l.LastTime(); err != nil || at.IsZero() {
			b.Fatal(at, err)
		}
	}
}
