package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = `package main

import (
	"errors"
	"fmt"
)

type kind string

func guard(a, b int, ok bool, k kind) (int, error) {
	if a < b && !ok || a == 7 {
		return 0, errors.New("x")
	}
	switch k {
	case "one", "two":
		return 1, nil
	}
	return 2, nil
}

func no() bool { return false }

func main() {
	for _, ok := range []bool{false, true} {
		n, err := guard(1, 2, ok, "one")
		fmt.Print(n, err, no(), " ")
	}
}
`

func broken(t *testing.T) *breaker {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "sample.go", sample, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	pkg, err := (&types.Config{Importer: importer.ForCompiler(fset, "source", nil)}).Check("main", fset, []*ast.File{file}, info)
	if err != nil {
		t.Fatal(err)
	}
	b := &breaker{fset: fset, info: info, pkg: pkg, source: []byte(sample), file: file, folder: "sample", name: "sample.go"}
	b.run()
	return b
}

// TestBreaks: each guard and comparison is broken once in each way, lines stay where they are, and the program that holds them
// all does with none of them what it did, and with each something else.
func TestBreaks(t *testing.T) {
	b := broken(t)
	var got []string
	for _, m := range b.mutants {
		got = append(got, fmt.Sprintf("%d %s: %s", m.line, m.kind, m.text))
	}
	want := []string{
		`11 never: a < b && !ok || a == 7`, `11 dropped: a < b && !ok`, `11 dropped: a < b`, `11 boundary: a < b`, `11 dropped: !ok`, `11 dropped: a == 7`,
		`12 no error: errors.New("x")`, `15 case dropped: "one"`, `15 case dropped: "two"`, `21 negated: false`,
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	written := b.written()
	if strings.Count(string(written), "\n") != strings.Count(sample, "\n") {
		t.Error("lines have moved")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module sample\n\ngo 1.26\n", "sample.go": string(written), "zz_mutate.go": fmt.Sprintf(switches, "main")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "sample.exe", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, written)
	}
	run := func(id int) string {
		cmd := exec.Command(filepath.Join(dir, "sample.exe"))
		cmd.Env = append(os.Environ(), fmt.Sprintf("AWSKMS_OFFLINE_MUTANT=%d", id))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	right := run(-1)
	if want := "0 x false 1 <nil> false "; right != want {
		t.Fatalf("with no break: %q, expected %q", right, want)
	}
	for _, m := range b.mutants {
		// These make no difference to what the sample asks.
		same := slices.Contains([]string{"dropped a == 7", "dropped a < b", "boundary a < b", `case dropped "two"`}, m.kind+" "+m.text)
		if out := run(m.id); (out == right) != same {
			t.Errorf("%s: %s: %q", m.kind, m.text, out)
		}
	}
}

// The list of harmless breaks is readable, and names breaks that there are.
func TestHarmless(t *testing.T) {
	harmless, err := readHarmless()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	r := runner{root: root, dir: t.TempDir()}
	if err := r.prepare(t.Context(), subjects); err != nil {
		t.Fatal(err)
	}
	if len(r.mutants) < 2000 {
		t.Errorf("%d breaks only: the list is not what it is taken for", len(r.mutants))
	}
	names := map[string]bool{}
	for _, m := range r.mutants {
		if names[m.name()] {
			t.Errorf("two breaks are called %s", m.name())
		}
		names[m.name()] = true
	}
	for name := range harmless {
		if !names[name] {
			t.Errorf("harmless.tsv has a break that there is not: %s", name)
		}
	}
}
