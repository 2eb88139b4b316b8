package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// binary is a program of ours. Its modules are those of all systems together.
type binary struct {
	name, network string
}

var binaries = []binary{
	{"notation-awskms-offline", "none"},
	{"sigstore-kms-awskms-offline", "none"},
	{"awskms-offline", "`keys pull`, `keys refresh`, and what signs with KMS"},
	{"notation-awskms-signer", "signs with KMS"},
}

var systems = []string{"linux", "darwin", "windows"}

// reasons say why we depend on a module directly: on all that go.mod requires without "// indirect".
var reasons = map[string]string{
	"github.com/cloudflare/circl":                           "ML-DSA: eight times as fast as Go's own ([decision 19](decisions/0019-the-fastest-library-of-those-that-pass.md))",
	"github.com/decred/dcrd/dcrec/secp256k1/v4":             "secp256k1, which Go's standard library has not",
	"github.com/emmansun/gmsm":                              "SM2 and SM3, which Go's standard library has not",
	"github.com/go-json-experiment/json":                    "the grammar of strict JSON: duplicates and invalid UTF-8 are refused (encoding/json takes them)",
	"github.com/rogpeppe/go-internal":                       "file locks on every system, as the go command takes them; test scripts",
	"golang.org/x/crypto":                                   "cryptobyte: strict DER",
	"golang.org/x/sys":                                      "owners, permissions and mounts as each system tells them",
	"github.com/aws/aws-sdk-go-v2":                          "calls to AWS KMS",
	"github.com/aws/aws-sdk-go-v2/config":                   "AWS's usual chain of credentials",
	"github.com/aws/aws-sdk-go-v2/credentials":              "the same chain; tests give credentials of their own by it",
	"github.com/aws/aws-sdk-go-v2/service/kms":              "calls to AWS KMS",
	"github.com/aws/smithy-go":                              "errors of AWS's SDK",
	"github.com/fatih/color":                                "colour in a terminal, where it is wanted",
	"github.com/go-ldap/ldap/v3":                            "distinguished names of certificates (RFC 4514)",
	"github.com/mattn/go-colorable":                         "colour in consoles of Windows",
	"github.com/notaryproject/notation-core-go":             "Notation's signature envelopes, to sign",
	"github.com/notaryproject/notation-plugin-framework-go": "types of Notation's contract, to sign",
	"github.com/notaryproject/tspclient-go":                 "timestamps (RFC 3161), to sign",
	"github.com/schollz/progressbar/v3":                     "progress of long transfers in a terminal",
	"github.com/sigstore/sigstore":                          "sigstore's interfaces, for the library adapter; no binary links it",
	"github.com/spf13/cobra":                                "the command line",
	"github.com/spf13/pflag":                                "flags",
	"golang.org/x/term":                                     "whether output is a terminal, and its width",
	"filippo.io/mldsa":                                      "tests: the second opinion on ML-DSA, and a signer",
	"github.com/c2sp/wycheproof":                            "tests: vectors of attacks",
	"github.com/santhosh-tekuri/jsonschema/v6":              "tests: the JSON schemas of the policy and of the answers",
}

// goModule is what `go list -m -json` says of a module.
type goModule struct {
	Path, Version, Dir string
	Indirect, Main     bool
}

// goList runs the go command in root, for a system, and decodes the JSON values that it prints.
func goList[T any](root, goos string, args ...string) ([]T, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH=amd64")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	var all []T
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one T
		err := dec.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("go list %s: %w", strings.Join(args, " "), err)
		}
		all = append(all, one)
	}
}

// linked returns the modules of others that a binary links on any system, sorted.
func linked(root, name string) ([]goModule, error) {
	found := map[string]goModule{}
	for _, goos := range systems {
		packages, err := goList[struct{ Module *goModule }](root, goos, "-deps", "-json=Module", "./cmd/"+name)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Module != nil && !p.Module.Main {
				found[p.Module.Path] = *p.Module
			}
		}
	}
	all := make([]goModule, 0, len(found))
	for _, path := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[path])
	}
	return all, nil
}

// licences are told by sentences that stand in no other's text. The first that fits counts.
var licences = []struct{ name, says string }{
	{"Apache-2.0", "Apache License"},
	{"MPL-2.0", "Mozilla Public License"},
	{"GPL", "GNU GENERAL PUBLIC LICENSE"},
	{"LGPL", "GNU LESSER GENERAL PUBLIC LICENSE"},
	{"BSD-3-Clause", "Neither the name of"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any"},
}

// licence reads the licence of a module from its files.
func licence(m goModule) (string, error) {
	names, err := filepath.Glob(filepath.Join(m.Dir, "*"))
	if err != nil || m.Dir == "" {
		return "", fmt.Errorf("%s is not there: run `go mod download`", m.Path)
	}
	for _, name := range names {
		base := strings.ToUpper(filepath.Base(name))
		if !strings.HasPrefix(base, "LICENSE") && !strings.HasPrefix(base, "LICENCE") && !strings.HasPrefix(base, "COPYING") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		text := strings.Join(strings.Fields(string(data)), " ")
		for _, l := range licences {
			if strings.Contains(text, l.says) {
				return l.name, nil
			}
		}
	}
	return "", fmt.Errorf("%s has no licence that is known here", m.Path)
}

// Page returns docs/dependencies.md for the module in root.
func Page(root string) (string, error) {
	modules, err := goList[goModule](root, "linux", "-m", "-json", "all")
	if err != nil {
		return "", err
	}
	byPath := map[string]goModule{}
	for _, m := range modules {
		byPath[m.Path] = m
	}
	uses := map[string][]string{} // by module: the binaries that link it
	var b strings.Builder
	fmt.Fprint(&b, intro)
	lists := map[string][]goModule{}
	for _, bin := range binaries {
		list, err := linked(root, bin.name)
		if err != nil {
			return "", err
		}
		lists[bin.name] = list
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", bin.name, len(list), bin.network)
		for _, m := range list {
			uses[m.Path] = append(uses[m.Path], bin.name)
		}
	}
	fmt.Fprint(&b, "\n## What we chose\n\n| module | licence | what for | linked into |\n|---|---|---|---|\n")
	for _, path := range slices.Sorted(maps.Keys(reasons)) {
		text, err := licence(byPath[path])
		if err != nil {
			return "", err
		}
		into := "none"
		switch n := len(uses[path]); {
		case n == len(binaries):
			into = "all"
		case n > 0:
			into = "`" + strings.Join(uses[path], "`, `") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", path, text, reasons[path], into)
	}
	fmt.Fprint(&b, "\n## What each binary links\n")
	for _, bin := range binaries {
		fmt.Fprintf(&b, "\n### %s\n\n", bin.name)
		for _, m := range lists[bin.name] {
			text, err := licence(m)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "- %s (%s)\n", m.Path, text)
		}
	}
	return b.String() + outro, nil
}

const intro = `# Dependencies

Made by ` + "`make docs`" + ` from go.mod, the packages that the programs link on Linux, macOS and Windows, and the licence files of the
modules; a test fails where this page says something else. Versions are in go.mod, their hashes in go.sum.

| binary | modules of others | network |
|---|---|---|
`

const outro = `
## What is checked

| what | command |
|---|---|
| this page: modules, reasons, licences (Apache-2.0, BSD, MIT and ISC are allowed; MPL-2.0 for go-cose, in what signs) | ` + "`go test ./internal/dependencies`" + ` |
| the modules in the cache are those of go.sum | ` + "`go mod verify`, by the same test" + ` |
| what the verifying plugins must not link: a network, other programs, the AWS SDK | ` + "`go test ./internal/walls`" + ` |
| two builds in two folders give the same bytes | ` + "`make reproducible`" + `; the same test, with a shared build cache |
| known vulnerabilities | ` + "`make vulncheck`" + `, which asks vuln.go.dev, and says so where that cannot be reached |
`
