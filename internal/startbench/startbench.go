// Package startbench measures what one whole run of a built program costs, against an empty Go program. A plugin is started
// anew for every question, so its start is its speed.
package startbench

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// Call is one way to run the program.
type Call struct {
	Name  string
	Args  []string
	Env   []string // added to the environment
	Stdin []byte
}

// Run builds the main package and an empty program, runs them in turn, and reports the median of the program's time over
// the empty one's, pair by pair: a ratio holds where the machine's speed drifts. Every run must exit with 0 and answer
// with a JSON object, which is what both plugin protocols do.
func Run(b *testing.B, mainPackage string, calls ...Call) {
	b.Helper()
	dir := b.TempDir()
	program := build(b, dir, "program", mainPackage)
	source := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	empty := build(b, dir, "empty", source)
	for _, call := range calls {
		b.Run(call.Name, func(b *testing.B) {
			var ratios []float64
			var ours time.Duration
			for b.Loop() {
				mine, out := once(b, program, call)
				if !bytes.HasPrefix(out, []byte("{")) {
					b.Fatalf("%s answered %s", call.Name, out)
				}
				ours += mine
				peer, _ := once(b, empty, Call{})
				ratios = append(ratios, float64(mine)/float64(peer))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "x-empty-program")
			b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "µs/run")
		})
	}
}

// Compare builds the main package and runs the first two calls in turn; it reports the median of the first's time over the
// second's, pair by pair.
func Compare(b *testing.B, mainPackage string, call, against Call) {
	b.Helper()
	program := build(b, b.TempDir(), "program", mainPackage)
	var ratios []float64
	for b.Loop() {
		mine, _ := once(b, program, call)
		peer, _ := once(b, program, against)
		ratios = append(ratios, float64(mine)/float64(peer))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], call.Name+"/"+against.Name)
}

// build builds a program and copies it, as an installation does: what the linker has written page by page is mapped in smaller
// pieces than a file that was copied, and starts a tenth slower on Linux.
func build(b *testing.B, dir, name, source string) string {
	b.Helper()
	linked, binary := filepath.Join(dir, name+".linked"), filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", linked, source)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go build %s: %v\n%s", source, err, out)
	}
	data, err := os.ReadFile(linked)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(binary, data, 0o700); err != nil {
		b.Fatal(err)
	}
	return binary
}

func once(b *testing.B, binary string, call Call) (time.Duration, []byte) {
	cmd := exec.Command(binary, call.Args...)
	cmd.Env = append(cmd.Environ(), call.Env...)
	cmd.Stdin = bytes.NewReader(call.Stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		b.Fatalf("%s %s: %v\n%s%s", binary, call.Name, err, stdout.Bytes(), stderr.Bytes())
	}
	return took, stdout.Bytes()
}
