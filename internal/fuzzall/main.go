// Command fuzzall runs the module's native fuzz targets, one after the other: each for the same time, or each until it has
// used so much processor time.
//
// `go test -fuzz` takes one target of one package a call; a list kept by hand would miss the target that was added last. A
// target that finds something does not end the run: what was found is told with the command that repeats it, and the next
// target goes on.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	var o options
	flag.DurationVar(&o.slice, "time", time.Minute, "how long each target runs; with -cpu how long at once")
	flag.DurationVar(&o.cpu, "cpu", 0, "run each target until it has used so much processor time, over all runs in -results")
	flag.IntVar(&o.parallel, "parallel", 0, "how many inputs are tried at once; 0: as many as there are processors")
	flag.StringVar(&o.results, "results", "", "a file that gets a line a run: commit, target, seconds, CPU seconds, executions, new interesting inputs, outcome")
	table := flag.Bool("table", false, "print what is in -results as the table of docs/reliability.md, and run nothing")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: fuzzall [flags] [TARGET…]\n\nTARGET is a name as in `verifier/internal/spki.FuzzSPKI`, or a folder's; they run in the order given. None: all.")
		flag.PrintDefaults()
	}
	flag.Parse()
	do := o.run
	if *table {
		do = o.table
	}
	if err := do(flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(1)
	}
}

type options struct {
	slice, cpu time.Duration
	parallel   int
	results    string
}

func (o options) run(names []string, out io.Writer) error {
	if o.cpu > 0 && o.results == "" {
		return fmt.Errorf("-cpu needs -results, where the processor time used is kept")
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	all, err := targets(root)
	if err != nil {
		return err
	}
	all, err = choose(all, names)
	if err != nil {
		return err
	}
	past, err := readResults(o.results)
	if err != nil {
		return err
	}
	binaries, err := os.MkdirTemp("", "fuzzall-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(binaries) }() // a temporary folder

	var failed []string
	for _, t := range all {
		for first := true; first || o.cpu > 0; first = false {
			if o.cpu > 0 && past[t.String()].cpu >= o.cpu {
				break
			}
			r, err := o.fuzz(root, binaries, t)
			if err != nil {
				return err
			}
			past[t.String()] = past[t.String()].plus(r)
			fmt.Fprintln(out, r)
			if err := r.keep(o.results); err != nil {
				return err
			}
			if r.failure != "" {
				failed = append(failed, t.String())
				fmt.Fprintln(out, r.failure)
				break
			}
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d fuzz targets failed: %s", len(failed), len(all), strings.Join(failed, ", "))
	}
	fmt.Fprintf(out, "%d fuzz targets ran, none found a failure\n", len(all))
	return nil
}

func moduleRoot() (string, error) {
	file, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(file))), nil
}

// choose returns the targets named, in that order; all of them where none is.
func choose(all []target, names []string) ([]target, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []target
	for _, name := range names {
		before := len(chosen)
		for _, t := range all {
			if (t.String() == name || t.folder == name) && !slices.Contains(chosen, t) {
				chosen = append(chosen, t)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("there is no fuzz target %s", name)
		}
	}
	return chosen, nil
}

// result is what one run of one target came to.
type result struct {
	target           target
	commit           string
	wall, cpu        time.Duration
	execs, interests int64
	// failure is empty where nothing was found: else the output, and how to repeat it.
	failure string
}

func (r result) String() string {
	return fmt.Sprintf("fuzz %s: %s, %s of CPU, %d executions, %d new interesting inputs",
		r.target, r.wall.Round(time.Second), r.cpu.Round(time.Second), r.execs, r.interests)
}

const nothingFound = "nothing found"

func (r result) keep(path string) error {
	if path == "" {
		return nil
	}
	outcome := nothingFound
	if r.failure != "" {
		outcome = "found a failure"
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%.0f\t%.1f\t%d\t%d\t%s\n", r.commit, r.target, r.wall.Seconds(), r.cpu.Seconds(), r.execs, r.interests, outcome)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// total is what all runs of a target came to.
type total struct {
	cpu      time.Duration
	execs    int64
	failures int
}

func (t total) plus(r result) total {
	t.cpu, t.execs = t.cpu+r.cpu, t.execs+r.execs
	if r.failure != "" {
		t.failures++
	}
	return t
}

// readResults adds up what earlier runs came to, by target.
func readResults(path string) (map[string]total, error) {
	all := map[string]total{}
	if path == "" {
		return all, nil
	}
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 7 {
			return nil, fmt.Errorf("%s has a line of %d fields, expected 7", path, len(fields))
		}
		seconds, err := strconv.ParseFloat(fields[3], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r := result{cpu: time.Duration(seconds * float64(time.Second))}
		if r.execs, err = strconv.ParseInt(fields[4], 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if fields[6] != nothingFound {
			r.failure = fields[6]
		}
		all[fields[1]] = all[fields[1]].plus(r)
	}
	return all, nil
}

// table prints the results, and what has none.
func (o options) table(names []string, out io.Writer) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	all, err := targets(root)
	if err != nil {
		return err
	}
	if all, err = choose(all, names); err != nil {
		return err
	}
	past, err := readResults(o.results)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| target | CPU minutes | executions | runs that failed |\n|---|---|---|---|\n")
	for _, t := range all {
		p := past[t.String()]
		fmt.Fprintf(out, "| %s | %.1f | %d | %d |\n", t, p.cpu.Minutes(), p.execs, p.failures)
	}
	return nil
}

var (
	progress = regexp.MustCompile(`execs: (\d+) .*new interesting: (\d+)`)
	written  = regexp.MustCompile(`Failing input written to \S*?([^\s/\\]+)[/\\]([0-9a-f]+)\b`)
)

// fuzz runs one target once. What it was built into is kept: its processor time must be that of fuzzing only.
func (o options) fuzz(root, binaries string, t target) (result, error) {
	r := result{target: t, commit: commit(root)}
	dir := filepath.Join(root, filepath.FromSlash(t.folder))
	binary := filepath.Join(binaries, strings.ReplaceAll(t.folder, "/", "-")+".exe")
	if _, err := os.Stat(binary); err != nil {
		build := exec.Command("go", "test", "-c", "-fuzz", "^Fuzz", "-o", binary, ".")
		build.Dir = dir
		if out, err := build.CombinedOutput(); err != nil {
			return r, fmt.Errorf("build the targets of %s: %w\n%s", t.folder, err, out)
		}
	}
	cache, err := cacheOf(t)
	if err != nil {
		return r, err
	}
	args := []string{"-test.run=^$", "-test.fuzz=^" + t.name + "$", "-test.fuzztime=" + o.slice.String(), "-test.fuzzcachedir=" + cache,
		"-test.fuzzminimizetime=10x"} // else a slow target spends all its time on making inputs shorter
	if o.parallel > 0 {
		args = append(args, "-test.parallel="+strconv.Itoa(o.parallel))
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	started := time.Now()
	out, err := cmd.CombinedOutput()
	r.wall = time.Since(started)
	if cmd.ProcessState == nil {
		return r, fmt.Errorf("run %s: %w", t, err)
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() // of the workers too: they have been waited for
	if all := progress.FindAllSubmatch(out, -1); len(all) > 0 {
		last := all[len(all)-1]
		r.execs, _ = strconv.ParseInt(string(last[1]), 10, 64)
		r.interests, _ = strconv.ParseInt(string(last[2]), 10, 64)
	}
	if err != nil && !lateOnly(out) {
		r.failure = fmt.Sprintf("%s%v", out, err)
		if m := written.FindSubmatch(out); m != nil {
			r.failure += fmt.Sprintf("\nThe input is in %s/testdata/fuzz/%s/%s. To repeat it:\n  go test -run '^%s$/^%s$' ./%s",
				t.folder, m[1], m[2], m[1], m[2], t.folder)
		}
	}
	return r, nil
}

// lateOnly reports whether the only thing wrong is that a worker was still busy when the time was over, which the testing
// package takes for a failure. It names an input where one failed.
func lateOnly(out []byte) bool {
	return strings.Contains(string(out), "context deadline exceeded") &&
		!strings.Contains(string(out), "Failing input") && !strings.Contains(string(out), "seed corpus") && !strings.Contains(string(out), "panic")
}

// cacheOf is where the go command keeps interesting inputs, so that `go test -fuzz` and this program go on from each other's.
func cacheOf(t target) (string, error) {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("find the build cache: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "fuzz", filepath.FromSlash(t.pkg)), nil
}

func commit(root string) string {
	cmd := exec.Command("git", "rev-parse", "--short=12", "HEAD")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
