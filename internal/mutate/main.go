// Command mutate breaks the code that decides what verifies, one guard and one comparison at a time, and asks the tests.
//
// Every break is in one build, behind a switch that the environment sets, so that thousands of them cost two builds and not
// thousands. The build is an overlay: no file of the tree is changed. First each test runs alone, to tell which breaks it
// passes by; then each break runs with just these tests, those of its own package first, then those of packages that use it.
// A run that fails or hangs has caught the break. What no test catches must be in the list of breaks that change nothing that
// matters, with the reason; what is in that list and caught, or not there any more, must leave it.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/strace"
)

const module = "github.com/awskms-offline/awskms-offline/"

// subject is a package on the way from a request to its answer.
type subject struct {
	folder string
	// but are files that are not on that way.
	but []string
	// users are the packages whose tests are asked too, in this order.
	users []string
}

var subjects = []subject{
	{"verifier", []string{"encrypt.go", "derive.go", "explain.go", "policyview.go"}, []string{"plugin/notation", "plugin/sigstore"}},
	{"verifier/internal/rawverify", nil, []string{"verifier/internal/rawverify/wycheproof", "verifier"}},
	{"verifier/internal/spki", nil, []string{"verifier/kmskey", "verifier/internal/rawverify/wycheproof"}},
	{"verifier/internal/fileguard", []string{"file.go"}, // which is for the log
		[]string{"verifier/keystore", "verifier/policy", "verifier"}},
	{"verifier/kmskey", nil, []string{"verifier/keystore", "verifier"}},
	{"verifier/keystore", []string{"writer.go", "merge.go", "fsck.go", "index.go", "alias_write.go", "block_write.go", "list.go", "file.go"}, []string{"verifier", "plugin/notation"}},
	{"verifier/policy", []string{"explain.go", "strict.go"}, []string{"verifier"}},
	{"verifier/audit", nil, []string{"verifier"}},
	{"plugin/notation", nil, nil},
	{"plugin/sigstore", nil, nil},
	{"internal/filelock", nil, []string{"verifier/audit", "verifier/keystore"}},
	{"internal/strictjson", nil, []string{"verifier/kmskey", "plugin/notation", "plugin/sigstore"}},
	{"internal/wire", nil, []string{"plugin/notation", "plugin/sigstore"}},
	{"internal/notationwire", nil, []string{"plugin/notation"}},
	{"internal/sigstorerules", nil, []string{"plugin/sigstore"}},
}

func main() {
	var r runner
	flag.IntVar(&r.parallel, "parallel", 2, "how many breaks are tried at once")
	flag.StringVar(&r.results, "results", "", "keep what came out in this file, and go on from it: what was caught, or is harmless, is not tried again")
	flag.StringVar(&r.page, "page", "", "write the page about the results here")
	flag.BoolVar(&r.own, "own", false, "ask the package's own tests only")
	flag.BoolVar(&r.reportOnly, "report", false, "try nothing: tell what is in -results")
	flag.BoolVar(&r.listOnly, "list", false, "list the breaks and try none")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mutate [flags] [PLACE…]\n\nPLACE is a package of the verify path, as in verifier/internal/spki, or a file of one. None: all.")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := r.run(ctx, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

type runner struct {
	parallel      int
	results, page string
	own, listOnly bool
	reportOnly    bool

	root, dir, overlay string
	mutants            []mutant

	mu     sync.Mutex
	suites map[string]*suite
}

func (r *runner) run(ctx context.Context, places []string) (err error) {
	chosen := subjects
	if len(places) > 0 {
		chosen = nil
		for _, place := range places {
			folder := place
			if path.Ext(place) == ".go" {
				folder = path.Dir(place)
			}
			i := slices.IndexFunc(subjects, func(s subject) bool { return s.folder == folder })
			if i < 0 {
				return fmt.Errorf("%s is no package of the verify path, nor in one", place)
			}
			if !slices.ContainsFunc(chosen, func(s subject) bool { return s.folder == subjects[i].folder }) {
				chosen = append(chosen, subjects[i])
			}
		}
	}
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	r.root = filepath.Dir(strings.TrimSpace(string(gomod)))
	if r.dir, err = os.MkdirTemp("", "mutate-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(r.dir) }() // a temporary folder
	if err := r.prepare(ctx, chosen); err != nil {
		return err
	}
	if len(places) > 0 {
		r.mutants = slices.DeleteFunc(r.mutants, func(m mutant) bool {
			return !slices.Contains(places, m.pkg) && !slices.Contains(places, m.pkg+"/"+m.file)
		})
	}
	if r.listOnly {
		for _, m := range r.mutants {
			fmt.Printf("%s/%s:%d\t%s\t%s\t%s\n", m.pkg, m.file, m.line, m.fn, m.kind, m.text)
		}
		fmt.Printf("%d breaks\n", len(r.mutants))
		return nil
	}
	harmless, err := readHarmless()
	if err != nil {
		return err
	}
	done, err := readOutcomes(r.results)
	if err != nil {
		return err
	}
	r.suites = map[string]*suite{}
	outcomes := make([]outcome, len(r.mutants))
	todo := make(chan int)
	var workers sync.WaitGroup
	var failure error
	for range max(1, r.parallel) {
		workers.Go(func() {
			for i := range todo {
				r.mu.Lock()
				stopped := failure != nil
				r.mu.Unlock()
				if stopped {
					continue
				}
				o, err := r.try(ctx, chosen, r.mutants[i])
				r.mu.Lock()
				outcomes[i] = o
				if err == nil {
					err = o.keep(r.results)
				}
				failure = errors.Join(failure, err)
				r.mu.Unlock()
			}
		})
	}
	for i, m := range r.mutants {
		o, tried := done[m.name()]
		if o.mutant = m; r.reportOnly || tried && (o.verdict == caught || harmless[m.name()] != "") {
			outcomes[i] = o
			continue
		}
		todo <- i
	}
	close(todo)
	workers.Wait()
	if failure != nil {
		return failure
	}
	return r.report(outcomes, harmless, len(places) == 0)
}

// prepare finds the breaks and writes the overlay.
func (r *runner) prepare(ctx context.Context, chosen []subject) error {
	exports, err := r.exportData(ctx)
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for _, s := range chosen {
		dir := filepath.Join(r.root, filepath.FromSlash(s.folder))
		cmd := exec.CommandContext(ctx, "go", "list", "-f", `{{.Name}} {{join .GoFiles " "}}`, ".")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("list the files of %s: %w", s.folder, err)
		}
		fields := strings.Fields(string(out))
		fset := token.NewFileSet()
		var files []*ast.File
		sources := map[string][]byte{}
		for _, name := range fields[1:] {
			source, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				return err
			}
			files, sources[name] = append(files, file), source
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
		pkg, err := config.Check(module+s.folder, fset, files, info)
		if err != nil {
			return fmt.Errorf("check the types of %s: %w", s.folder, err)
		}
		for i, name := range fields[1:] {
			if slices.Contains(s.but, name) {
				continue
			}
			b := breaker{fset: fset, info: info, pkg: pkg, source: sources[name], file: files[i], folder: s.folder, name: name, next: len(r.mutants)}
			b.run()
			r.mutants = append(r.mutants, b.mutants...)
			instead := filepath.Join(r.dir, strings.ReplaceAll(s.folder, "/", "-")+"-"+name)
			if err := os.WriteFile(instead, b.written(), 0o600); err != nil {
				return err
			}
			replace[filepath.Join(dir, name)] = instead
		}
		beside := filepath.Join(r.dir, strings.ReplaceAll(s.folder, "/", "-")+"-zz_mutate.go")
		if err := os.WriteFile(beside, fmt.Appendf(nil, switches, fields[0]), 0o600); err != nil {
			return err
		}
		replace[filepath.Join(dir, "zz_mutate.go")] = beside
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	r.overlay = filepath.Join(r.dir, "overlay.json")
	return os.WriteFile(r.overlay, data, 0o600)
}

// exportData is where the compiler keeps what it knows of each package, by import path.
func (r *runner) exportData(ctx context.Context) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-export", "-f", "{{.ImportPath}} {{.Export}}", "./verifier/...", "./plugin/...", "./internal/...")
	cmd.Dir = r.root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the dependencies: %w", err)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	return exports, nil
}

// crowds are tests that start dozens of processes, which ask what other tests ask too, but all at once.
var crowds = []string{"TestDecidingProcesses", "TestProcesses"}

// suite is the tests of one package, built with every break in it.
type suite struct {
	once   sync.Once
	err    error
	binary string
	dir    string
	tests  []tested
	caught map[string]int // how many breaks a test has caught
}

// tested is one test, how long it takes with no break, and the breaks that it passes by.
type tested struct {
	name string
	took time.Duration
	hits map[int]bool
}

func (r *runner) suite(ctx context.Context, folder string) (*suite, error) {
	r.mu.Lock()
	s := r.suites[folder]
	if s == nil {
		s = &suite{caught: map[string]int{}}
		r.suites[folder] = s
	}
	r.mu.Unlock()
	s.once.Do(func() { s.err = s.prepare(ctx, r, folder) })
	return s, s.err
}

func (s *suite) prepare(ctx context.Context, r *runner, folder string) error {
	s.dir = filepath.Join(r.root, filepath.FromSlash(folder))
	s.binary = filepath.Join(r.dir, strings.ReplaceAll(folder, "/", "-")+".exe")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", r.overlay, "-o", s.binary, ".")
	build.Dir = s.dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests of %s: %w\n%s", folder, err, out)
	}
	list := exec.CommandContext(ctx, s.binary, "-test.list", ".")
	list.Dir = s.dir
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the tests of %s: %w", folder, err)
	}
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "Benchmark") || slices.Contains(crowds, name) {
			continue
		}
		hits := s.binary + "." + name
		started := time.Now()
		if out, err := s.run(ctx, time.Hour, []string{name}, "AWSKMS_OFFLINE_MUTANT_HITS="+hits); err != nil {
			return fmt.Errorf("%s of %s fails without a break: %w\n%s", name, folder, err, out)
		}
		t := tested{name: name, took: time.Since(started), hits: map[int]bool{}}
		data, err := os.ReadFile(hits)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for line := range strings.Lines(string(data)) {
			var id int
			if _, err := fmt.Sscan(line, &id); err != nil {
				return fmt.Errorf("%s: %w", hits, err)
			}
			t.hits[id] = true
		}
		s.tests = append(s.tests, t)
	}
	slices.SortStableFunc(s.tests, func(a, b tested) int { return cmp.Compare(a.took, b.took) })
	return nil
}

var errHangs = errors.New("the tests hang")

// run runs tests by name. That they take longer than the limit is errHangs.
func (s *suite) run(ctx context.Context, limit time.Duration, names []string, env string) ([]byte, error) {
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	cmd := exec.CommandContext(limited, s.binary, "-test.run=^("+strings.Join(names, "|")+")$", "-test.failfast", "-test.timeout=0")
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Environ(), env, strace.Every+"=1")
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errHangs
	}
	return out.Bytes(), err
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)

// batch is tests that run in one process, and the time that they take with no break.
type batch struct {
	tests []string
	took  time.Duration
}

// batches are the tests that pass the break by, in the order in which they are most likely to catch it soon.
func (r *runner) batches(s *suite, id int) []batch {
	var passing []tested
	for _, t := range s.tests {
		if t.hits[id] {
			passing = append(passing, t)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(passing, func(a, b tested) int {
		worth := func(t tested) float64 { return float64(1+s.caught[t.name]) / (0.05 + t.took.Seconds()) }
		return cmp.Compare(worth(b), worth(a))
	})
	var all []batch
	for i, t := range passing {
		if i == 0 || i == 2 || i == 6 || i == 14 {
			all = append(all, batch{})
		}
		last := &all[len(all)-1]
		last.tests, last.took = append(last.tests, t.name), last.took+t.took
	}
	return all
}

// try runs the tests that pass the break by, until one catches it.
func (r *runner) try(ctx context.Context, chosen []subject, m mutant) (outcome, error) {
	of := chosen[slices.IndexFunc(chosen, func(s subject) bool { return s.folder == m.pkg })]
	o := outcome{mutant: m, verdict: survived}
	if r.own {
		of.users = nil
	}
	for _, folder := range append([]string{m.pkg}, of.users...) {
		s, err := r.suite(ctx, folder)
		if err != nil {
			return o, err
		}
		for _, b := range r.batches(s, m.id) {
			o.reached = true
			limit, env := 20*time.Second+2*b.took, fmt.Sprintf("AWSKMS_OFFLINE_MUTANT=%d", m.id)
			out, err := s.run(ctx, limit, b.tests, env)
			if errors.Is(err, errHangs) { // or the machine had something else to do
				out, err = s.run(ctx, 2*limit, b.tests, env)
			}
			if err == nil {
				continue
			}
			if ctx.Err() != nil {
				return o, ctx.Err()
			}
			o.hangs = errors.Is(err, errHangs)
			if failed := failedTest.FindSubmatch(out); failed != nil {
				r.mu.Lock()
				s.caught[string(failed[1])]++
				r.mu.Unlock()
			}
			o.verdict, o.by = caught, folder
			return o, nil
		}
	}
	return o, nil
}
