package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// dist is what make snapshot sets.
var dist = flag.String("dist", "", "also test the release in `DIR`, as goreleaser left it")

// release is what goreleaser made.
type release struct {
	dir, version string
	// commit is when the commit was made: the time of every file in an archive.
	commit time.Time
}

// theRelease reads what goreleaser noted of itself.
func theRelease(t *testing.T) release {
	t.Helper()
	if *dist == "" {
		t.Skip("no release to test: make snapshot makes one and runs this")
	}
	dir, err := filepath.Abs(*dist)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "metadata.json"))
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		Version, Commit string
	}
	if err := json.Unmarshal(data, &metadata); err != nil {
		t.Fatal(err)
	}
	var commit time.Time
	text, err := (&harness.Host{Dir: shared.root}).Run("git", "show", "-s", "--format=%cI", metadata.Commit)
	if err == nil {
		commit, err = time.Parse(time.RFC3339, strings.TrimSpace(text.Stdout))
	}
	if err != nil {
		t.Fatal(err)
	}
	return release{dir, metadata.Version, commit}
}

// archive is the name of a program's archive for a system.
func (r release) archive(program, system, arch string) string {
	extension := ".tar.gz"
	if system == "windows" {
		extension = ".zip"
	}
	return fmt.Sprintf("%s_%s_%s_%s%s", program, r.version, system, arch, extension)
}

// path is where a file of the release lies, for the machine that the test runs on.
func (r release) path(program string) string {
	return filepath.Join(r.dir, r.archive(program, runtime.GOOS, runtime.GOARCH))
}

func sum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// checksums are the release's, by file name.
func (r release) checksums(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		hash, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			t.Fatalf("checksums.txt: %q", line)
		}
		sums[name] = hash
	}
	return sums
}

// member is one file of an archive.
type member struct {
	name, owner string
	mode        os.FileMode
	time        time.Time
}

func members(t *testing.T, path string) (all []member) {
	t.Helper()
	if strings.HasSuffix(path, ".zip") {
		z, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, f := range z.File {
			all = append(all, member{f.Name, "root", f.Mode(), f.Modified})
		}
		return all
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, member{h.Name, h.Uname, h.FileInfo().Mode(), h.ModTime})
	}
}

// TestReleaseFiles: every program in an archive of its own for every system, with the licence and no second executable, in
// the checksums and with an SBOM; the packages; and nothing in an archive that depends on who built it, or when.
func TestReleaseFiles(t *testing.T) {
	r := theRelease(t)
	sums := r.checksums(t)
	for name := range scripts {
		if sums[name] == "" {
			t.Errorf("checksums.txt does not have %s", name)
		}
	}
	for name, hash := range sums {
		path := filepath.Join(r.dir, name)
		if dir, ok := scripts[name]; ok {
			path = filepath.Join(shared.root, filepath.FromSlash(dir), name)
		}
		if got := sum(t, path); got != hash {
			t.Errorf("%s has SHA-256 %s, and checksums.txt says %s", name, got, hash)
		}
	}
	archives := 0
	for _, program := range build.Products {
		for _, system := range []string{"linux", "darwin", "windows"} {
			for _, arch := range []string{"amd64", "arm64"} {
				archives++
				name, binary := r.archive(program, system, arch), program
				if system == "windows" {
					binary += ".exe"
				}
				var found []string
				for _, m := range members(t, filepath.Join(r.dir, name)) {
					found = append(found, fmt.Sprintf("%s %s %s", m.name, m.mode, m.owner))
					if !m.time.Equal(r.commit) {
						t.Errorf("%s in %s is of %s, and the commit of %s", m.name, name, m.time, r.commit)
					}
				}
				want := []string{"LICENSE -rw-r--r-- root", binary + " -rwxr-xr-x root"}
				if slices.Sort(found); !slices.Equal(found, want) {
					t.Errorf("%s holds %q, want %q", name, found, want)
				}
				sbom := name + ".spdx.json"
				for _, file := range []string{name, sbom} {
					if sums[file] == "" {
						t.Errorf("checksums.txt does not have %s", file)
					}
				}
				checkSBOM(t, filepath.Join(r.dir, sbom), program)
			}
		}
	}
	if archives != 24 {
		t.Errorf("%d archives, want 24", archives)
	}
	packages := make(map[string]int)
	for name := range sums {
		if extension := filepath.Ext(name); extension == ".deb" || extension == ".rpm" || extension == ".apk" {
			packages[extension]++
		}
	}
	for _, extension := range []string{".deb", ".rpm", ".apk"} {
		if packages[extension] != 4 { // two packages, two processors
			t.Errorf("%d packages end in %s, want 4", packages[extension], extension)
		}
	}
	for _, name := range []string{"homebrew/Casks/awskms-offline.rb", "homebrew/Casks/sigstore-kms-awskms-offline.rb", "scoop/awskms-offline.json", "scoop/sigstore-kms-awskms-offline.json"} {
		data, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		system := "darwin"
		if strings.HasSuffix(name, ".json") {
			system = "windows"
		}
		program := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
		if hash := sums[r.archive(program, system, "arm64")]; !bytes.Contains(data, []byte(hash)) {
			t.Errorf("%s does not have the SHA-256 of %s's archive for %s/arm64, %s:\n%s", name, program, system, hash, data)
		}
	}
}

// scripts are released as they are in the repository, by the folder they are from.
var scripts = map[string]string{"install.sh": "ci", "verify-image.sh": "ci", "notation-awskms": "deploy/containerd"}

// TestReleaseSettings: what .goreleaser.yaml publishes that no snapshot shows. The scripts are released, and in the checksums;
// Homebrew and Scoop get pull requests, since the release is a draft and its addresses lead nowhere yet.
func TestReleaseSettings(t *testing.T) {
	t.Parallel()
	type extra struct {
		Files []struct{ Glob string } `yaml:"extra_files"`
	}
	type publisher struct {
		Name       string
		Repository struct {
			Branch      string
			PullRequest struct{ Enabled bool } `yaml:"pull_request"`
		}
	}
	var settings struct {
		Casks    []publisher `yaml:"homebrew_casks"`
		Scoops   []publisher
		Checksum extra
		Release  struct {
			extra `yaml:",inline"`
			Draft bool
		}
	}
	readYAML(t, ".goreleaser.yaml", &settings)
	for what, list := range map[string]extra{"checksum": settings.Checksum, "release": settings.Release.extra} {
		found := make(map[string]string)
		for _, f := range list.Files {
			found[path.Base(f.Glob)] = path.Dir(f.Glob)
		}
		if !maps.Equal(found, scripts) {
			t.Errorf("%s has the files %v, want %v", what, found, scripts)
		}
	}
	publishers := append(settings.Casks, settings.Scoops...)
	if len(publishers) != 4 || !settings.Release.Draft {
		t.Errorf("%d casks and scoops, want 4; draft: %t", len(publishers), settings.Release.Draft)
	}
	for _, p := range publishers {
		if p.Repository.Branch == "" || !p.Repository.PullRequest.Enabled {
			t.Errorf("%s is pushed before the release is published: branch %q, pull request %t", p.Name, p.Repository.Branch, p.Repository.PullRequest.Enabled)
		}
	}
}

// checkSBOM: the bill of materials names the libraries that decide, so it is one of the binary and not of an empty folder.
func checkSBOM(t *testing.T, path, program string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	var document struct {
		Version  string                  `json:"spdxVersion"`
		Packages []struct{ Name string } `json:"packages"`
	}
	if err := json.Unmarshal(data, &document); err != nil || !strings.HasPrefix(document.Version, "SPDX-2.") {
		t.Errorf("%s: version %q, %v", path, document.Version, err)
		return
	}
	for _, want := range []string{build.Module, "stdlib"} {
		if !slices.ContainsFunc(document.Packages, func(p struct{ Name string }) bool { return p.Name == want }) {
			t.Errorf("%s names no package %s", path, want)
		}
	}
}

// TestReleaseInstalled installs the archives with the real notation in each of its ways, and verifies images with them.
func TestReleaseInstalled(t *testing.T) {
	r := theRelease(t)
	archive := r.path("notation-awskms-offline")
	hash := sum(t, archive)
	server := httptest.NewTLSServer(http.FileServer(http.Dir(r.dir)))
	defer server.Close()
	address := server.URL + "/" + filepath.Base(archive)
	wrong := strings.Repeat("0", 64)

	for name, way := range map[string]struct {
		args    []string
		refused string
	}{
		"file":                     {args: []string{"--file", archive}},
		"file and checksum":        {args: []string{"--file", archive, "--sha256sum", hash}},
		"file and another's":       {args: []string{"--file", archive, "--sha256sum", wrong}, refused: "SHA-256"},
		"address and checksum":     {args: []string{"--url", address, "--sha256sum", hash}},
		"address and another's":    {args: []string{"--url", address, "--sha256sum", wrong}, refused: "SHA-256"},
		"address without checksum": {args: []string{"--url", address}, refused: "requires non-empty SHA256 checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
			if err != nil {
				t.Fatal(err)
			}
			if way.args[0] == "--url" {
				if runtime.GOOS != "linux" {
					t.Skip("only on Linux can a program be told by its environment to trust the test's server (SSL_CERT_FILE)")
				}
				certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
				h.Extra = []string{"SSL_CERT_FILE=" + file(t, h, "server.crt", certificate)}
			}
			result := do(t, h, h.Notation, append([]string{"plugin", "install"}, way.args...)...)
			if way.refused != "" {
				if result.Code == 0 || !strings.Contains(result.Stderr, way.refused) {
					t.Errorf("expected a refusal that says %q\n%s", way.refused, result)
				}
				return
			}
			well(t, result)
			if listed := do(t, h, h.Notation, "plugin", "ls"); !strings.Contains(listed.Stdout, " "+r.version+" ") {
				t.Errorf("expected version %s\n%s", r.version, listed)
			}
			h.Home = shared.records
			if err := h.AddCertificates(store, fixture.Lookup("p256").CertificateFile(shared.testdata)); err != nil {
				t.Fatal(err)
			}
			good, bad := shared.lookup(t, "jws-p256"), shared.lookup(t, "jws-disabled")
			if err := h.AddCertificates(store, fixture.Lookup("p256-disabled").CertificateFile(shared.testdata)); err != nil {
				t.Fatal(err)
			}
			if err := h.WriteTrustPolicy(shared.statement(good, "strict"), shared.statement(bad, "strict")); err != nil {
				t.Fatal(err)
			}
			verifies(t, h, shared.registry.Reference(good.Name, good.Digest))
			refuses(t, h, shared.registry.Reference(bad.Name, bad.Digest), "DisabledException")
		})
	}
	t.Run("signer", func(t *testing.T) {
		h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
		if err != nil {
			t.Fatal(err)
		}
		well(t, do(t, h, h.Notation, "plugin", "install", "--file", r.path("notation-awskms-signer"), "--sha256sum", r.checksums(t)[filepath.Base(r.path("notation-awskms-signer"))]))
	})
}

// TestReleasePage follows docs/install.md with this release: its downloads come out of the folder, and what it builds has to be
// what the archive holds.
func TestReleasePage(t *testing.T) {
	r := theRelease(t)
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("docs/install.md shows the commands for linux/amd64")
	}
	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(read(t, filepath.Join(shared.root, "docs", "install.md")), "1.2.3", r.version)
	inside, ran := false, 0
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			inside = line == "```console"
			continue
		}
		if !inside {
			continue
		}
		words := strings.Fields(strings.TrimPrefix(line, "sudo "))
		switch words[0] {
		case "curl":
			name := words[len(words)-1][strings.LastIndex(words[len(words)-1], "/")+1:]
			if strings.HasSuffix(name, ".sigstore.json") { // which cosign needs below; a snapshot is not signed
				continue
			}
			file(t, h, name, []byte(read(t, filepath.Join(r.dir, name))))
		case "sha256sum", "tar":
			well(t, do(t, h, words[0], words[1:]...))
		case "install":
			words[len(words)-1] = t.TempDir()
			well(t, do(t, h, words[0], words[1:]...))
		case "notation":
			if slices.Contains(words, "--url") { // TestReleaseInstalled
				continue
			}
			well(t, do(t, h, h.Notation, words[1:]...))
		case "cosign", "gh": // of a release that is published
			continue
		default:
			maker := &harness.Host{Dir: t.TempDir(), WorkDir: shared.root, Extra: goEnvironment(t)}
			rebuilt := filepath.Join(maker.Dir, "rebuilt")
			well(t, do(t, maker, "sh", "-c", strings.Replace(line, "-o rebuilt", "-o "+rebuilt, 1)))
			const program = "notation-awskms-offline"
			well(t, do(t, h, "tar", "-xzf", r.path(program), program))
			if a, b := sum(t, rebuilt), sum(t, filepath.Join(h.Dir, program)); a != b {
				t.Errorf("rebuilt is %s, and the archive has %s", a, b)
			}
		}
		ran++
	}
	if ran != 8 {
		t.Errorf("%d commands ran, want 8", ran)
	}
}

// goEnvironment is what the go command has here, for a host that has nothing of it.
func goEnvironment(t *testing.T) (env []string) {
	t.Helper()
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "GOTOOLCHAIN"} {
		r := do(t, &harness.Host{Dir: shared.root, Extra: []string{"HOME=" + os.Getenv("HOME"), "XDG_CACHE_HOME=", "XDG_CONFIG_HOME="}}, "go", "env", name)
		well(t, r)
		env = append(env, name+"="+strings.TrimSpace(r.Stdout))
	}
	return env
}
