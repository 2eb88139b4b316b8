package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain is also the program that confines another: Exec does not come back.
func TestMain(m *testing.M) {
	if text := os.Getenv("CONFINE_TEST"); text != "" {
		var call struct {
			Program    string
			Args, Also []string
		}
		err := json.Unmarshal([]byte(text), &call)
		if err == nil {
			err = Exec(call.Program, call.Args, []string{"PLACE=here"}, call.Also...)
		}
		fmt.Println("not run:", err)
		if errors.Is(err, ErrUnsupported) {
			os.Exit(4)
		}
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// starter starts each program that it is given, as notation does, and says what came of it.
const starter = `package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	for _, path := range os.Args[1:] {
		out, err := exec.Command(path, "hello").CombinedOutput()
		fmt.Printf("%s: %s (%v)\n", path, out, err)
	}
	if len(os.Args) == 1 {
		fmt.Print("started in ", os.Getenv("PLACE"))
	}
}
`

// build makes a static program, and returns its path.
func build(t *testing.T, dir, name, source string) string {
	t.Helper()
	file := filepath.Join(dir, name+".go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, file)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// run confines program in a process of its own.
func run(t *testing.T, program string, args, also []string) (out string, code int) {
	t.Helper()
	call, err := json.Marshal(map[string]any{"Program": program, "Args": args, "Also": also})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CONFINE_TEST="+string(call))
	cmd.Dir = filepath.Dir(program)
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestExec: what is named runs, by whatever link; nothing else does, neither by itself nor through an interpreter.
func TestExec(t *testing.T) {
	dir := t.TempDir()
	program, allowed := build(t, dir, "starter", starter), build(t, dir, "allowed", `package main; import "fmt"; func main() { fmt.Print("I ran") }`)
	if err := os.WriteFile(filepath.Join(dir, "hello"), []byte("echo I ran\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	other, script, link, linkToOther := filepath.Join(dir, "other"), filepath.Join(dir, "script"), filepath.Join(dir, "link"), filepath.Join(dir, "link-to-other")
	data, err := os.ReadFile(allowed)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{other: data, script: []byte("#!/bin/sh\necho I ran\n")} {
		if err := os.WriteFile(path, content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(allowed, link), os.Symlink(other, linkToOther)); err != nil {
		t.Fatal(err)
	}
	runs := []string{allowed, link, filepath.Join(dir, "none", "..", "allowed")}
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	// /bin/sh would run the file hello of the working directory, which is its argument.
	refused := []string{other, script, linkToOther, "/bin/sh", "/proc/self/root" + other}
	for _, path := range append(runs, refused...) { // unconfined all of them run, or this test shows nothing
		cmd := exec.Command(path, "hello")
		cmd.Dir = dir
		if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "I ran") {
			t.Fatalf("%s: %v, %s", path, err, out)
		}
	}

	out, code := run(t, program, append(runs, refused...), []string{allowed})
	if code == 4 {
		t.Skipf("that the kernel confines a program is not tested: %s", out)
	}
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, path := range runs {
		if !strings.Contains(out, path+": I ran (<nil>)\n") {
			t.Errorf("%s did not run", path)
		}
	}
	for _, path := range refused {
		if !strings.Contains(out, path+":  (fork/exec "+path+": permission denied)\n") {
			t.Errorf("%s was not refused", path)
		}
	}
	// itself, and by the environment that is handed on
	if out, code := run(t, program, []string{program}, nil); code != 0 || !strings.Contains(out, program+": hello:") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := run(t, program, nil, nil); code != 0 || out != "started in here" {
		t.Errorf("exit code %d: %s", code, out)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestExecRefuses: what cannot be confined is not run, and nothing is where a file that may run is not there.
func TestExecRefuses(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho I ran\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none")
	program := build(t, dir, "starter", starter)
	for name, c := range map[string]struct {
		program string
		also    []string
		says    string
	}{
		"a script":                {script, nil, script + " is no program that can be confined"},
		"no program":              {none, nil, none + " is no program that can be confined"},
		"a program not there too": {program, []string{none}, none},
		"a folder":                {program, []string{dir}, dir},
		"a script too":            {program, []string{script}, script + " is no program that can be confined"},
	} {
		out, code := run(t, c.program, nil, c.also)
		if code == 4 {
			t.Skipf("%s: that the kernel confines a program is not tested: %s", name, out)
		}
		if code != 3 || !strings.Contains(out, "not run: ") || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
	}
	// A loader would run any file.
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skipf("that a dynamic program is refused is not tested: %v", err)
	}
	if err := checkStatic(sh); err == nil || !strings.Contains(err.Error(), "linked dynamically") {
		t.Errorf("/bin/sh: %v (where it is static, this test needs another program)", err)
	}
}
