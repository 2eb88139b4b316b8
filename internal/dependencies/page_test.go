package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// full builds without a cache.
var full = flag.Bool("full", false, "build every program twice from nothing")

func TestPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Page(root)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != want {
		t.Error("docs/dependencies.md is not what is linked: run `make docs`, and look at what it changes")
	}
}

// TestEveryDependencyHasAReason: what go.mod requires directly is what has a reason, and nothing else has one.
func TestEveryDependencyHasAReason(t *testing.T) {
	modules, err := goList[goModule](root, "linux", "-m", "-json", "all")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for _, m := range modules {
		if m.Indirect || m.Main {
			if reasons[m.Path] != "" {
				t.Errorf("%s has a reason and is no direct dependency", m.Path)
			}
			continue
		}
		direct++
		if reasons[m.Path] == "" {
			t.Errorf("%s has no reason", m.Path)
		}
	}
	if direct != len(reasons) {
		t.Errorf("%d reasons for %d direct dependencies", len(reasons), direct)
	}
}

// TestVerifyingPluginsLinkLittle: every module more is somebody more to trust with a yes.
func TestVerifyingPluginsLinkLittle(t *testing.T) {
	want := []string{
		"github.com/cloudflare/circl", "github.com/decred/dcrd/dcrec/secp256k1/v4", "github.com/emmansun/gmsm", "github.com/go-json-experiment/json",
		"github.com/rogpeppe/go-internal", "golang.org/x/crypto", "golang.org/x/sys",
	}
	for _, name := range []string{"notation-awskms-offline", "sigstore-kms-awskms-offline"} {
		list, err := linked(root, name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list {
			got = append(got, m.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s links %v, expected %v", name, got, want)
		}
	}
}

// TestLicences: whatever a binary links may be given on under Apache-2.0.
func TestLicences(t *testing.T) {
	// A file of MPL-2.0 stays under it, and nothing else does: what signs links one such module, unchanged.
	exceptions := map[string]string{"github.com/veraison/go-cose": "MPL-2.0"}
	allowed := []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "ISC"}
	for _, bin := range binaries {
		list, err := linked(root, bin.name)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) < 5 {
			t.Errorf("%s links %d modules only: the list is not what it is taken for", bin.name, len(list))
		}
		for _, m := range list {
			name, err := licence(m)
			if err != nil {
				t.Error(err)
			} else if !slices.Contains(allowed, name) && (exceptions[m.Path] != name || bin.network == "none") {
				t.Errorf("%s links %s, whose licence is %s", bin.name, m.Path, name)
			}
		}
	}
}

func TestLicenceIsTold(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\nVersion 2.0": "Apache-2.0", "GNU GENERAL\nPUBLIC LICENSE": "GPL", "Mozilla Public License, version 2.0": "MPL-2.0",
		"Permission is hereby granted, free of charge, to": "MIT", "All rights reserved.": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "LICENSE.txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := licence(goModule{Path: "example.com/m", Dir: dir})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, expected %q", text, got, err, want)
		}
	}
}

func TestModulesAreGoSums(t *testing.T) {
	cmd := exec.Command("go", "mod", "verify")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "all modules verified") {
		t.Errorf("go mod verify: %v\n%s", err, out)
	}
}

// TestReproducible builds the programs in two folders, of names that differ in length, and compares their bytes.
func TestReproducible(t *testing.T) {
	programs := []string{"notation-awskms-offline"}
	if *full {
		programs = nil
		for _, bin := range binaries {
			programs = append(programs, bin.name)
		}
	}
	build := func(folder string) map[string]string {
		source := filepath.Join(t.TempDir(), folder)
		for _, part := range []string{"cmd", "internal", "plugin", "verifier", "go.mod", "go.sum"} {
			copyPart(t, part, source)
		}
		built := map[string]string{}
		for _, name := range programs {
			out := filepath.Join(source, "out", name)
			cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./cmd/"+name)
			cmd.Dir = source
			cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
			if *full {
				cmd.Env = append(cmd.Env, "GOCACHE="+filepath.Join(source, "cache"))
			}
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go build ./cmd/%s: %v\n%s", name, err, text)
			}
			data, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			built[name] = string(data)
		}
		return built
	}
	one, two := build("a"), build("another-folder/below")
	for _, name := range programs {
		if len(one[name]) < 1<<20 || one[name] != two[name] {
			t.Errorf("%s: %d bytes and %d bytes, which differ", name, len(one[name]), len(two[name]))
		}
	}
}

func copyPart(t *testing.T, part, to string) {
	t.Helper()
	from := filepath.Join(root, part)
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(to, part)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, part), data, 0o600); err != nil {
		t.Fatal(err)
	}
}
