package cli

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestCosignVersions(t *testing.T) {
	for version, fits := range map[string]bool{
		"0.6.0": false, "1.13.6": false,
		"2.0.0": false, "2.5.0": false, "2.6.4": false, "2.6.5": true, "2.6.6": true, "2.6.10": true, "2.7.0": true, "2.10.0": true,
		"2.6.5-rc.1": false, "2.6.5-0.20260805120000-0123456789ab": false, "2.6.6-rc.1": true, "2.6.5+dirty": true, "2.6.4+dirty": false,
		"3.0.0": false, "3.0.6": false, "3.0.10": false, "3.1.0": false, "3.1.2": false, "3.1.3": true, "3.1.4": true, "3.1.10": true, "3.2.0": true, "3.10.0": true,
		"3.1.3-rc.1": false, "3.1.3-rc.1+dirty": false, "3.1.3+a-b": true, "3.1.4-0.20260901120000-0123456789ab": true,
		"4.0.0": true, "10.0.0": true,
		"": false, "3": false, "3.1": false, "v3.1.3": false, "3.1.3.1": false, "3.1.99999999999999999999": false,
	} {
		if got := cosignFits(version); got != fits {
			t.Errorf("%q fits: %v, want %v", version, got, fits)
		}
	}
}

func TestCosignVersionOfABuild(t *testing.T) {
	const three, two = "github.com/sigstore/cosign/v3", "github.com/sigstore/cosign/v2"
	ldflags := func(version string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "-compiler", Value: "gc"}, {Key: "-ldflags", Value: "-buildid= -X sigs.k8s.io/release-utils/version.gitVersion=" + version + " -X sigs.k8s.io/release-utils/version.gitCommit=0123"}}
	}
	for name, c := range map[string]struct {
		info debug.BuildInfo
		want string // or what the error says, behind a "!"
	}{
		"a release":                   {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "v3.1.2"}}, "3.1.2"},
		"a release, and the makefile": {debug.BuildInfo{Path: two + "/cmd/cosign", Main: debug.Module{Path: two, Version: "v2.6.4"}, Settings: ldflags("v2.6.5")}, "2.6.4"},
		"version 1":                   {debug.BuildInfo{Path: "github.com/sigstore/cosign/cmd/cosign", Main: debug.Module{Path: "github.com/sigstore/cosign", Version: "v1.13.6"}}, "1.13.6"},
		"a changed tree":              {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "v3.1.3+dirty"}}, "3.1.3+dirty"},
		"a commit behind a release":   {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "v3.1.3-0.20260801120000-0123456789ab"}}, "3.1.3-0.20260801120000-0123456789ab"},
		"the makefile's alone":        {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "(devel)"}, Settings: ldflags("v3.1.2")}, "3.1.2"},
		"the makefile's of a commit":  {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "v3.0.0-20260801120000-0123456789ab"}, Settings: ldflags("v3.1.3")}, "3.1.3"},
		"a commit without tags":       {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "v3.0.0-20260801120000-0123456789ab+dirty"}}, "!a build without one"},
		"a working tree":              {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "(devel)"}}, "!a build without one"},
		"a hash from the makefile":    {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three}, Settings: ldflags("0123abc")}, "!a build without one"},
		"a fork in cosign's place":    {debug.BuildInfo{Path: three + "/cmd/cosign", Main: debug.Module{Path: three, Version: "v3.1.3", Replace: &debug.Module{Path: "example.com/cosign"}}}, "!a build without one"},
		"a fork":                      {debug.BuildInfo{Path: "example.com/cosign/cmd/cosign", Main: debug.Module{Path: "example.com/cosign", Version: "v3.1.3"}}, "!not cosign"},
		"another program of it":       {debug.BuildInfo{Path: three + "/cmd/conformance", Main: debug.Module{Path: three, Version: "v3.1.3"}}, "!not cosign"},
		"nothing":                     {debug.BuildInfo{}, "!not cosign"},
	} {
		got, err := cosignVersion(&c.info)
		if says, refused := strings.CutPrefix(c.want, "!"); refused {
			if err == nil || got != "" || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q, %v; want an error with %q", name, got, err, says)
			}
		} else if got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

// TestDoctorOfCosign: the first cosign on the search path counts, and it is not run.
func TestDoctorOfCosign(t *testing.T) {
	const needed = "2.6.5, or 3.1.3 or newer"
	for name, c := range map[string]struct {
		cosign []byte // nil for none
		plugin bool
		code   int
		says   []string // nothing of cosign if empty
	}{
		"none":                      {plugin: true},
		"fit":                       {fakeCosign("v3.1.3"), true, 0, []string{"ok       cosign: ", " is of version 3.1.3\n"}},
		"old, with the plugin":      {fakeCosign("v3.1.2"), true, 1, []string{"danger   cosign: ", " is of version 3.1.2, in which verify-blob and verify-blob-attestation let a public key in the file of --bundle take the place of --key", "hint: Install cosign " + needed}},
		"old, without the plugin":   {fakeCosign("v2.6.4"), false, 0, []string{"warning  cosign: ", " is of version 2.6.4, in which "}},
		"without a version":         {fakeCosign("(devel)"), true, 0, []string{"warning  cosign: the version of ", " cannot be told: it is a build without one; expected " + needed, "hint: Ask it: cosign version."}},
		"no program that tells one": {[]byte("#!/bin/sh\ntouch \"$0.was-run\"\n"), true, 0, []string{"warning  cosign: the version of ", " cannot be told: "}},
		"cut off":                   {fakeCosign("v3.1.3")[:200], true, 0, []string{"warning  cosign: the version of ", " cannot be told: "}},
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, t.TempDir())
			if out, code := runCLI(t, "keys", "import", "../../../testdata/records/p256.get-public-key.json"); code != 0 {
				t.Fatal(out)
			}
			empty, bin, behind := t.TempDir(), t.TempDir(), t.TempDir()
			t.Setenv("PATH", strings.Join([]string{empty, bin, behind}, string(os.PathListSeparator)))
			place := func(dir, name string, data []byte) {
				if runtime.GOOS == "windows" {
					name += ".exe"
				}
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if c.cosign != nil {
				place(bin, "cosign", c.cosign)
				place(behind, "cosign", fakeCosign("v2.2.2"))
			}
			if c.plugin {
				place(behind, sigstorePlugin, []byte("#!/bin/sh\ntouch \"$0.was-run\"\n"))
			}
			var stdout, stderr strings.Builder
			if code := Main([]string{"doctor"}, strings.NewReader(""), &stdout, &stderr); code != c.code || stderr.Len() > 0 {
				t.Errorf("exit code %d, want %d; said %q", code, c.code, stderr.String())
			}
			out := stdout.String()
			for _, says := range c.says {
				if !strings.Contains(out, says) {
					t.Errorf("doctor does not say %q", says)
				}
			}
			if lines := strings.Count(out, " cosign: "); lines != min(len(c.says), 1) {
				t.Errorf("doctor says %d lines of cosign", lines)
			}
			if ran, _ := filepath.Glob(filepath.Join(filepath.Dir(bin), "*", "*.was-run")); len(ran) > 0 {
				t.Errorf("doctor ran something: %v", ran)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// fakeCosign is a file that is a cosign of this version to debug/buildinfo, and runs nowhere: the header of an ELF executable and
// one segment, which begins as the Go linker's section .go.buildinfo does.
func fakeCosign(version string) []byte {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.0", Path: "github.com/sigstore/cosign/v3/cmd/cosign",
		Main: debug.Module{Path: "github.com/sigstore/cosign/v3", Version: version},
	}
	if strings.HasPrefix(version, "v2") {
		info.Path, info.Main.Path = "github.com/sigstore/cosign/v2/cmd/cosign", "github.com/sigstore/cosign/v2"
	}
	_, text, _ := strings.Cut(info.String(), "\n") // behind the line of the Go version, which stands by itself
	guard := strings.Repeat("#", 16)               // of whatever bytes
	data := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, s := range []string{info.GoVersion, guard + text + guard} {
		data = append(binary.AppendUvarint(data, uint64(len(s))), s...)
	}
	const header, segment, address = 64, 56, 0x400000
	size := uint64(len(data))
	var file bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Phoff: header, Ehsize: header, Phentsize: segment, Phnum: 1,
		},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: header + segment, Vaddr: address, Paddr: address, Filesz: size, Memsz: size},
		data,
	} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			panic(fmt.Sprint(err))
		}
	}
	return file.Bytes()
}
