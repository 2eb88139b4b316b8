package audit

import (
	"context"
	"fmt"
	"sync"
	"testing"
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

func BenchmarkVerify(b *testing.B) {
	const lines = 20_000
	path := newLog(b, lines)
	report := intact(b, path, lines, Options{})
	b.SetBytes(report.Bytes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(context.Background(), path, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
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
