package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	all, err := targets("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 25 {
		t.Errorf("%d targets only: the list is not what it is taken for", len(all))
	}
	chosen, err := choose(all, []string{"verifier/internal/spki.FuzzSPKI", "verifier/audit"})
	if err != nil || len(chosen) < 4 || chosen[0].name != "FuzzSPKI" || chosen[1].folder != "verifier/audit" {
		t.Errorf("%v, %v", chosen, err)
	}
	if _, err := choose(all, []string{"verifier/internal/spki.FuzzNone"}); err == nil {
		t.Error("a target that there is not is chosen")
	}
}

// What was used in earlier runs counts, and a line that is none is an error, not nothing.
func TestResultsAddUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.tsv")
	one := result{target: target{folder: "a/b", name: "FuzzX"}, commit: "c", wall: time.Second, cpu: 1500 * time.Millisecond, execs: 7}
	for range 2 {
		if err := one.keep(path); err != nil {
			t.Fatal(err)
		}
	}
	one.failure = "x"
	if err := one.keep(path); err != nil {
		t.Fatal(err)
	}
	if past, err := readResults(path); err != nil || past["a/b.FuzzX"] != (total{cpu: 4500 * time.Millisecond, execs: 21, failures: 1}) {
		t.Errorf("%v, %v", past, err)
	}
	bad := filepath.Join(t.TempDir(), "bad.tsv")
	one.target.name = "Fuzz\tX"
	if err := one.keep(bad); err != nil {
		t.Fatal(err)
	}
	if _, err := readResults(bad); err == nil || !strings.Contains(err.Error(), "8 fields") {
		t.Errorf("got %v", err)
	}
	if err := (options{cpu: time.Minute}).run(nil, t.Output()); err == nil {
		t.Error("processor time is to be added up, and there is nowhere to keep it")
	}
}

func TestLateIsNoFinding(t *testing.T) {
	for out, late := range map[string]bool{
		"fuzz: elapsed: 3s, execs: 5\n--- FAIL: FuzzX (3.02s)\n    context deadline exceeded\nFAIL\n":                     true,
		"--- FAIL: FuzzX\n    --- FAIL: FuzzX (0.00s)\n  Failing input written to testdata/fuzz/FuzzX/582528ddfad69eb5\n": false,
		"failure while testing seed corpus entry: FuzzX/seed#0\n context deadline exceeded":                               false,
		"panic: context deadline exceeded": false,
		"signal: killed":                   false,
	} {
		if lateOnly([]byte(out)) != late {
			t.Errorf("%q: %t", out, !late)
		}
	}
	m := written.FindStringSubmatch("    Failing input written to testdata/fuzz/FuzzX/582528ddfad69eb5\n    To re-run:")
	if len(m) != 3 || m[1] != "FuzzX" || m[2] != "582528ddfad69eb5" {
		t.Errorf("got %q", m)
	}
}

// OSS-Fuzz builds every target, under a name of its own.
func TestOSSFuzzBuildsAll(t *testing.T) {
	all, err := targets("../..")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../../oss-fuzz/build.sh")
	if err != nil {
		t.Fatal(err)
	}
	built, names := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(script)) {
		fields := strings.Fields(line)
		if len(fields) != 4 || fields[0] != "target" {
			continue
		}
		if names[fields[3]] {
			t.Errorf("two targets are called %s", fields[3])
		}
		names[fields[3]], built[fields[1]+"."+fields[2]] = true, true
	}
	for _, target := range all {
		if !built[target.String()] {
			t.Errorf("oss-fuzz/build.sh lacks %s", target)
		}
		delete(built, target.String())
	}
	for name := range built {
		t.Errorf("oss-fuzz/build.sh builds %s, which there is not", name)
	}
}

// docs/reliability.md tells of every target what it has had, be it nothing.
func TestPageTellsOfAll(t *testing.T) {
	all, err := targets("../..")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range all {
		if !strings.Contains(string(page), "\n| "+target.String()+" | ") {
			t.Errorf("docs/reliability.md does not tell how long %s has run", target)
		}
	}
}
