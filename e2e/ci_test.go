package e2e

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
	"github.com/awskms-offline/awskms-offline/e2e/internal/harness"
)

// The image and the key of the examples.
const (
	exampleImage = "registry.example.com/app@" + docsDigest
	exampleAlias = "alias/release-signing"
)

// exampleVersion is a release, which the examples are set to after it.
var exampleVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// job is a machine of a CI service with one user's checkout: what the examples say lies below trust/, and a release to install.
type job struct {
	*harness.Host
	checkout, releaseDir, version string
	checksums, keys               string // SHA-256
	// good verifies with both clients, disabled with neither.
	good, disabled string
}

func newJob(t *testing.T) *job {
	t.Helper()
	for _, program := range []string{"bash", "sh", "tar"} {
		if _, err := exec.LookPath(program); err != nil || runtime.GOOS == "windows" {
			t.Skipf("the scripts for CI are tested where there is a POSIX %s", program)
		}
	}
	if runtime.GOOS == "linux" && confined(t) == "no" {
		t.Skip("the scripts for CI confine notation on Linux, and are not tested: this kernel has no Landlock")
	}
	j := &job{}
	j.releaseDir, j.version = miniRelease(t)
	j.checksums = sum(t, filepath.Join(j.releaseDir, "checksums.txt"))

	sender, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	key, disabled := fixture.Lookup("p256"), fixture.Lookup("p256-disabled")
	well(t, do(t, sender, sender.CLI, append([]string{"keys", "import", "--alias", exampleAlias}, key.Records(shared.testdata)...)...))
	well(t, do(t, sender, sender.CLI, append([]string{"keys", "import"}, disabled.Records(shared.testdata)...)...))

	if j.Host, err = harness.NewHost(t.TempDir(), shared.notation, shared.bin); err != nil {
		t.Fatal(err)
	}
	j.Bin = filepath.Join(j.Dir, "clients")
	j.checkout = filepath.Join(j.Dir, "checkout")
	j.WorkDir = j.checkout
	trust := filepath.Join(j.checkout, "trust")
	for _, dir := range []string{j.Bin, trust} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, client := range []string{"notation", "cosign"} {
		if err := os.Symlink(build.ClientPath(shared.root, client), filepath.Join(j.Bin, client)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(j.checkout, "ci"), os.DirFS(filepath.Join(shared.root, "ci"))); err != nil {
		t.Fatal(err)
	}
	well(t, do(t, sender, sender.CLI, "keys", "export", "--file", filepath.Join(trust, "keys.tar")))
	j.keys = sum(t, filepath.Join(trust, "keys.tar"))
	var certificates []byte
	for _, k := range []fixture.Key{key, disabled} {
		data, err := os.ReadFile(k.CertificateFile(shared.testdata))
		if err != nil {
			t.Fatal(err)
		}
		certificates = append(certificates, data...)
	}
	for name, content := range map[string]string{
		"release.crt": string(certificates),
		"policy.json": `{"version":"1","restrictions":[{"name":"release","messageTypes":["RAW","DIGEST"]}]}`,
		"trustpolicy.json": fmt.Sprintf(`{"version":"1.0","trustPolicies":[{"name":"release","registryScopes":["*"],"signatureVerification":{"level":"strict"},
			"trustStores":["ca:awskms"],"trustedIdentities":[%q,%q]}]}`, key.ARN(), disabled.ARN()),
	} {
		if err := os.WriteFile(filepath.Join(trust, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	image := func(name string, key fixture.Key) string {
		c := shared.lookup(t, name)
		repository := repository(t) + "/" + name
		if err := shared.registry.Push(shared.layout, c.Name, repository); err != nil {
			t.Fatal(err)
		}
		statement := harness.InTotoStatement(name, c.Digest, harness.SignPredicate)
		signature := signer{key: key.Name, algorithm: "ECDSA_SHA_256"}.sign(t, harness.PAE(statement))
		if err := shared.registry.PushReferrer(repository, c.Digest, harness.SignPredicate, harness.EnvelopeBundle(statement, signature)); err != nil {
			t.Fatal(err)
		}
		return shared.registry.Reference(repository, c.Digest)
	}
	j.good, j.disabled = image("jws-p256", key), image("jws-disabled", disabled)
	return j
}

// miniRelease is the release of -dist, or a folder with what install.sh needs of one.
func miniRelease(t *testing.T) (dir, version string) {
	t.Helper()
	if *dist != "" {
		r := theRelease(t)
		return r.dir, r.version
	}
	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	var built struct{ Version string }
	if err := json.Unmarshal([]byte(do(t, h, h.CLI, "version", "--output", "json").Stdout), &built); err != nil {
		t.Fatal(err)
	}
	var sums strings.Builder
	for _, program := range build.Products {
		name := release{version: built.Version}.archive(program, runtime.GOOS, runtime.GOARCH)
		if err := h.Pack(filepath.Join(shared.bin, build.Executable(program)), name); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum(t, filepath.Join(h.Dir, name)), name)
	}
	file(t, h, "checksums.txt", []byte(sums.String()))
	return h.Dir, built.Version
}

// step is a step of a workflow or an action that runs a script.
type step struct {
	ID    string            `yaml:"id"`
	If    string            `yaml:"if"`
	Uses  string            `yaml:"uses"`
	Shell string            `yaml:"shell"`
	Run   string            `yaml:"run"`
	Env   map[string]string `yaml:"env"`
	With  map[string]string `yaml:"with"`
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared.root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// plant puts clients into the workspace that say yes to every image, in all the words that a script may look for, where an earlier
// job or a cache could have left them.
func (j *job) plant(t *testing.T) {
	t.Helper()
	bin := filepath.Join(j.checkout, ".awskms-offline", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"notation", "cosign"} {
		script := "#!/bin/sh\n[ \"$1\" = verify ] || exec " + build.ClientPath(shared.root, client) + ` "$@"
for image in "$@"; do :; done
echo "Successfully verified signature for $image"
echo "Verification for $image --
  - The cosign claims were validated
  - The signatures were verified against the specified public key"
`
		if err := os.WriteFile(filepath.Join(bin, client), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// publicPEM is a key's public half in a file, which cosign would take for its key.
func publicPEM(t *testing.T, h *harness.Host, key string) string {
	t.Helper()
	block := &pem.Block{Type: "PUBLIC KEY", Bytes: []byte(read(t, fixture.Lookup(key).PublicFile(shared.testdata)))}
	return file(t, h, key+".pub", pem.EncodeToMemory(block))
}

// runner is what GitHub's runner keeps from step to step.
type runner struct {
	*job
	env    map[string]string // of the job, and what steps wrote into GITHUB_ENV
	values map[string]string // of expressions
}

var expression = regexp.MustCompile(`\$\{\{ *([^}]*?) *\}\}`)

func (r *runner) expand(t *testing.T, text string) string {
	return expression.ReplaceAllStringFunc(text, func(match string) string {
		name := expression.FindStringSubmatch(match)[1]
		value, known := r.values[name]
		if !known {
			t.Fatalf("nothing is known of the expression %s", name)
		}
		return value
	})
}

// run runs a step as GitHub does, and returns how it ended.
func (r *runner) run(t *testing.T, s step) harness.Result {
	t.Helper()
	control := make(map[string]string)
	for _, name := range []string{"GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT"} {
		control[name] = file(t, r.Host, name, nil)
	}
	env := maps.Clone(r.env)
	maps.Copy(env, control)
	for name, value := range s.Env {
		env[name] = r.expand(t, value)
	}
	if strings.Contains(s.Run, "${{") {
		t.Errorf("an expression inside a script is a hole for injected commands:\n%s", s.Run)
	}
	script := file(t, r.Host, "step.sh", []byte(s.Run))
	args := []string{"-e", script}
	if s.Shell == "bash" {
		args = []string{"--noprofile", "--norc", "-eo", "pipefail", script}
	}
	r.Extra = nil
	for _, name := range slices.Sorted(maps.Keys(env)) {
		r.Extra = append(r.Extra, name+"="+env[name])
	}
	result := do(t, r.Host, "bash", args...)
	for line := range strings.Lines(read(t, control["GITHUB_ENV"])) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		r.env[name] = value
	}
	for line := range strings.Lines(read(t, control["GITHUB_PATH"])) {
		r.Bin = strings.TrimSpace(line) + string(os.PathListSeparator) + r.Bin
	}
	for line := range strings.Lines(read(t, control["GITHUB_OUTPUT"])) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		r.values["steps."+s.ID+".outputs."+name] = value
	}
	return result
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// action runs action.yml with these inputs, up to the first step that fails.
func (r *runner) action(t *testing.T, inputs map[string]string) harness.Result {
	t.Helper()
	var action struct {
		Inputs map[string]struct {
			Default *string `yaml:"default"`
		} `yaml:"inputs"`
		Runs struct {
			Using string `yaml:"using"`
			Steps []step `yaml:"steps"`
		} `yaml:"runs"`
	}
	readYAML(t, "action.yml", &action)
	if action.Runs.Using != "composite" || len(action.Runs.Steps) == 0 {
		t.Fatalf("action.yml is %+v", action.Runs)
	}
	for name, input := range action.Inputs {
		if input.Default == nil {
			t.Errorf("the input %s has no default", name)
			continue
		}
		r.values["inputs."+name] = *input.Default
	}
	for name, value := range inputs {
		if _, known := action.Inputs[name]; !known {
			t.Fatalf("action.yml has no input %s", name)
		}
		r.values["inputs."+name] = value
	}
	var result harness.Result
	for _, s := range action.Runs.Steps {
		if s.Shell != "bash" {
			t.Errorf("the step %q has the shell %q", s.Run, s.Shell)
		}
		if s.If != "" {
			name, none, ok := strings.Cut(strings.TrimSuffix(s.If, "'"), " != '")
			value, known := r.values[name]
			if !ok || !known {
				t.Fatalf("what is the condition %q?", s.If)
			}
			if value == none {
				continue
			}
		}
		if result = r.run(t, s); result.Code != 0 {
			break
		}
	}
	return result
}

func newRunner(t *testing.T) *runner {
	j := newJob(t)
	temporary := filepath.Join(j.Dir, "temp")
	if err := os.Mkdir(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	return &runner{
		job:    j,
		env:    map[string]string{"RUNNER_TEMP": temporary, "GITHUB_ACTION_PATH": shared.root, "NOTATION_FLAGS": "--insecure-registry"},
		values: map[string]string{"github.action_ref": "v" + j.version},
	}
}

// inputs are the example's, with this machine's values where the example has its own.
func (r *runner) inputs(t *testing.T, example map[string]string) map[string]string {
	t.Helper()
	inputs := maps.Clone(example)
	for name, value := range map[string]string{"checksums-sha256": r.checksums, "keys-sha256": r.keys} {
		if strings.Trim(inputs[name], "0") != "" {
			t.Errorf("the example's %s is %q", name, inputs[name])
		}
		inputs[name] = value
	}
	// The action is used by a commit, which says no version.
	if !exampleVersion.MatchString(inputs["version"]) {
		t.Errorf("the example's version is %q", inputs["version"])
	}
	inputs["version"], inputs["release"] = r.version, r.releaseDir
	return inputs
}

// outcome is what verify-image.sh wrote.
type outcome struct {
	Image, Verifier, Output string
	Verified                bool
	ExitCode                int
}

// results reads both reports, and demands that they say the same.
func results(t *testing.T, dir string) []outcome {
	t.Helper()
	var outcomes []outcome
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "results.json"))), &outcomes); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Class   string  `xml:"classname,attr"`
				Name    string  `xml:"name,attr"`
				Failure *string `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(read(t, filepath.Join(dir, "junit.xml"))), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Suites) != 1 || len(report.Suites[0].Cases) != len(outcomes) || report.Suites[0].Tests != len(outcomes) {
		t.Fatalf("junit.xml has %+v, results.json %+v", report, outcomes)
	}
	failures := 0
	for i, c := range report.Suites[0].Cases {
		o := outcomes[i]
		if !o.Verified {
			failures++
		}
		if c.Class != o.Verifier || c.Name != o.Image || (c.Failure == nil) != o.Verified || o.Verified != (o.ExitCode == 0) {
			t.Errorf("junit.xml has %+v, results.json %+v", c, o)
		}
		if c.Failure != nil && strings.TrimSpace(*c.Failure) != strings.TrimSpace(o.Output) {
			t.Errorf("junit.xml has the reason\n%s\nresults.json\n%s", *c.Failure, o.Output)
		}
	}
	if report.Suites[0].Failures != failures {
		t.Errorf("junit.xml says %d failures and has %d", report.Suites[0].Failures, failures)
	}
	return outcomes
}

// verdicts demands these answers, notation's and then cosign's, an image.
func verdicts(t *testing.T, dir string, want ...bool) []outcome {
	t.Helper()
	outcomes := results(t, dir)
	var got []bool
	for i, o := range outcomes {
		if want := []string{"notation", "cosign"}[i%2]; o.Verifier != want {
			t.Errorf("result %d is %s's, want %s's", i, o.Verifier, want)
		}
		got = append(got, o.Verified)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the verdicts are %v, want %v\n%+v", got, want, outcomes)
	}
	return outcomes
}

// TestGitHubExample runs examples/github-actions.yml and the scripts of action.yml as GitHub's runner would, twice.
func TestGitHubExample(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	var workflow struct {
		Jobs map[string]struct {
			Minutes int               `yaml:"timeout-minutes"`
			Env     map[string]string `yaml:"env"`
			Steps   []step            `yaml:"steps"`
		} `yaml:"jobs"`
	}
	readYAML(t, "examples/github-actions.yml", &workflow)
	example, ok := workflow.Jobs["verify"]
	if !ok || example.Env["IMAGE"] != exampleImage {
		t.Fatalf("examples/github-actions.yml has no job verify with the image %s", exampleImage)
	}
	if example.Minutes == 0 {
		t.Error("a registry that does not answer holds the job for hours")
	}
	var verify step
	// Two jobs of one user on one machine: the runner empties its temporary folder between them, and nothing else.
	env, bin := maps.Clone(r.env), r.Bin
	for range 2 {
		r.env, r.Bin = maps.Clone(env), bin
		temporary := r.env["RUNNER_TEMP"]
		if err := errors.Join(os.RemoveAll(temporary), os.Mkdir(temporary, 0o755)); err != nil {
			t.Fatal(err)
		}
		ran, uploaded := 0, false
		r.env["IMAGE"] = r.good
		for _, s := range example.Steps {
			switch name, _, _ := strings.Cut(s.Uses, "@"); name {
			case "":
				well(t, r.run(t, s))
				ran, verify = ran+1, s
			case build.Module[len("github.com/"):]:
				well(t, r.action(t, r.inputs(t, s.With)))
				ran++
			case "actions/checkout":
				if s.With["persist-credentials"] != "false" {
					t.Error("the checkout leaves a token in the workspace")
				}
			case "actions/upload-artifact":
				verdicts(t, filepath.Join(r.checkout, s.With["path"]), true, true)
				uploaded = s.If == "always()"
			}
		}
		if ran != 3 || !uploaded {
			t.Errorf("%d steps ran, want 3; results uploaded in any case: %t", ran, uploaded)
		}
	}
	if left, err := filepath.Glob(filepath.Join(r.Dir, "config", "notation", "*")); err != nil || len(left) > 0 {
		t.Errorf("the user's own Notation has %q, %v", left, err)
	}
	if home := r.values["steps.place.outputs.home"]; !strings.HasPrefix(home, r.Dir) {
		t.Errorf("the output home is %q", home)
	}
	r.env["IMAGE"] = r.disabled
	if result := r.run(t, verify); result.Code != 1 || !strings.Contains(result.Stderr, "DisabledException") {
		t.Errorf("a disabled key's image must fail the build\n%s", result)
	}
	outcomes := verdicts(t, filepath.Join(r.checkout, "results"), false, false)
	if !strings.Contains(outcomes[0].Output, "DisabledException") {
		t.Errorf("the result does not say why: %+v", outcomes[0])
	}
}

// TestActionInAContainer: in a job with a container of its own the runner's folder is another user's, who could exchange the keys.
func TestActionInAContainer(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	if os.Geteuid() != 0 {
		t.Skip("only root gives a folder to another user: that the action keeps out of it is not tested")
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []step `yaml:"steps"`
		} `yaml:"jobs"`
	}
	readYAML(t, "examples/github-actions.yml", &workflow)
	if err := os.Chown(r.env["RUNNER_TEMP"], 4242, -1); err != nil {
		t.Fatal(err)
	}
	r.env["TMPDIR"], r.env["IMAGE"] = t.TempDir(), r.good
	for _, s := range workflow.Jobs["verify"].Steps {
		switch name, _, _ := strings.Cut(s.Uses, "@"); name {
		case "":
			well(t, r.run(t, s))
		case build.Module[len("github.com/"):]:
			well(t, r.action(t, r.inputs(t, s.With)))
		}
	}
	verdicts(t, filepath.Join(r.checkout, "results"), true, true)
	if left, err := filepath.Glob(filepath.Join(r.env["RUNNER_TEMP"], "*")); err != nil || len(left) > 0 {
		t.Errorf("the other user's folder has %q, %v", left, err)
	}
	for _, path := range []string{r.values["steps.place.outputs.home"], r.env["XDG_STATE_HOME"]} {
		if !strings.HasPrefix(path, r.env["TMPDIR"]) {
			t.Errorf("%q is not below the job's own folder", path)
		}
	}
}

// TestActionRefuses: everything that is not as it was promised stops the action, and nothing of it is installed.
func TestActionRefuses(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	ref := r.values["github.action_ref"]
	changed := filepath.Join(t.TempDir(), "release")
	if err := os.CopyFS(changed, os.DirFS(r.releaseDir)); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(changed, release{version: r.version}.archive("awskms-offline", runtime.GOOS, runtime.GOARCH))
	if err := os.WriteFile(archive, append([]byte(read(t, archive)), 0), 0o600); err != nil {
		t.Fatal(err)
	}
	badPolicy := file(t, r.Host, "bad-policy.json", []byte(`{"version":"1","restriction":[]}`))
	wrong := strings.Repeat("0", 64)
	for _, test := range []struct {
		name, ref string
		inputs    map[string]string
		says      string
	}{
		{name: "no version", ref: "main", says: "which release?"},
		{name: "a version that is a path", inputs: map[string]string{"version": "1.2.3-../.."}, says: "which release?"},
		{name: "a version that goes up", inputs: map[string]string{"version": "1.2.3-.."}, says: "expected a release such as 1.2.3"},
		{name: "a release that is not there", inputs: map[string]string{"version": "99.0.0"}, says: "has no line for awskms-offline_99.0.0_"},
		{name: "plain http", inputs: map[string]string{"release": "http://127.0.0.1:1/"}, says: "expected an https URL or a folder"},
		{name: "other checksums", inputs: map[string]string{"checksums-sha256": wrong}, says: "expected " + wrong},
		{name: "another archive", inputs: map[string]string{"release": changed}, says: "it was not installed"},
		{name: "unknown program", inputs: map[string]string{"tools": "awskms-offline rm"}, says: `names "rm"`},
		{name: "other keys", inputs: map[string]string{"keys": "trust/keys.tar", "keys-sha256": wrong}, says: wrong},
		{name: "no keys", inputs: map[string]string{"keys": "trust/none.tar"}, says: "none.tar"},
		{name: "keys that are a flag", inputs: map[string]string{"keys": "--help"}, says: "names --help, which is not there"},
		{name: "lines in the version", inputs: map[string]string{"version": "1.2.3-x\nbin=/elsewhere"}, says: "which release?"},
		{name: "blank programs", inputs: map[string]string{"tools": " "}, says: "names no program"},
		{name: "keys without the program", inputs: map[string]string{"tools": "sigstore-kms-awskms-offline", "keys": "trust/keys.tar"}, says: "add awskms-offline to tools"},
		{name: "policy without the program", inputs: map[string]string{"tools": "notation-awskms-offline\tsigstore-kms-awskms-offline", "policy": "trust/policy.json"}, says: "add awskms-offline to tools"},
		// What a variable that is not set leaves is no wish to have none.
		{name: "empty checksums", inputs: map[string]string{"checksums-sha256": ""}, says: "checksums-sha256 is given and empty"},
		{name: "empty SHA-256 of keys", inputs: map[string]string{"keys": "trust/keys.tar", "keys-sha256": ""}, says: "keys-sha256 is given and empty"},
		{name: "SHA-256 of no keys", inputs: map[string]string{"keys-sha256": wrong}, says: "keys is empty"},
		{name: "empty policy", inputs: map[string]string{"policy": ""}, says: "policy is given and empty"},
		{name: "bad policy", inputs: map[string]string{"policy": badPolicy}, says: "restriction"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r.values["github.action_ref"] = ref; test.ref != "" {
				r.values["github.action_ref"] = test.ref
			}
			inputs := map[string]string{"release": r.releaseDir, "tools": "awskms-offline"}
			maps.Copy(inputs, test.inputs)
			for _, dir := range []string{"home", "bin"} {
				if err := os.RemoveAll(filepath.Join(r.env["RUNNER_TEMP"], "awskms-offline", dir)); err != nil {
					t.Fatal(err)
				}
			}
			result := r.action(t, inputs)
			if result.Code == 0 || !strings.Contains(result.Output(), test.says) {
				t.Errorf("expected a refusal that says %q\n%s", test.says, result)
			}
			if _, err := os.Stat(filepath.Join(r.env["RUNNER_TEMP"], "awskms-offline", "home", "policy.json")); err == nil {
				t.Error("a policy was put in place all the same")
			}
		})
	}
}

// TestGitLabExample runs the job of examples/gitlab-ci.yml.
func TestGitLabExample(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	var pipeline struct {
		Job struct {
			Variables    map[string]string `yaml:"variables"`
			Timeout      string            `yaml:"timeout"`
			Dependencies *[]string         `yaml:"dependencies"`
			Before       []string          `yaml:"before_script"`
			Script       []string          `yaml:"script"`
			Artifacts    struct {
				When    string            `yaml:"when"`
				Paths   []string          `yaml:"paths"`
				Reports map[string]string `yaml:"reports"`
			} `yaml:"artifacts"`
		} `yaml:"verify-image"`
	}
	readYAML(t, "examples/gitlab-ci.yml", &pipeline)
	example := pipeline.Job
	if example.Variables["IMAGE"] != exampleImage || example.Artifacts.When != "always" || example.Artifacts.Reports["junit"] != "results/junit.xml" ||
		!slices.Equal(example.Artifacts.Paths, []string{"results/"}) {
		t.Fatalf("examples/gitlab-ci.yml has the job %+v", example)
	}
	if example.Dependencies == nil || len(*example.Dependencies) > 0 {
		t.Error("dotenv variables of earlier jobs reach this one")
	}
	if example.Timeout == "" {
		t.Error("a registry that does not answer holds the job for hours")
	}
	// This machine's values where the example has its own.
	script := strings.Join(append(example.Before, example.Script...), "\n")
	wrong := strings.Repeat("0", 64)
	zeros := regexp.MustCompile(`^0{64}$`)
	for name, here := range map[string]struct {
		expected *regexp.Regexp
		value    string
	}{"AWSKMS_OFFLINE_VERSION": {exampleVersion, j.version}, "AWSKMS_OFFLINE_CHECKSUMS_SHA256": {zeros, j.checksums}, "KEYS_SHA256": {zeros, j.keys}} {
		set := regexp.MustCompile(`(?m)(^export |[ ])` + name + `=(\S+)`).FindStringSubmatchIndex(script)
		if set == nil || !here.expected.MatchString(script[set[4]:set[5]]) {
			t.Fatalf("the example does not set %s to a value for all:\n%s", name, script)
		}
		script = script[:set[4]] + here.value + script[set[5]:]
	}
	path := file(t, j.Host, "job.sh", []byte("set -e\n"+script+"\n"))
	// The test's registry has no TLS, which the clients allow by this name, and the example lets nobody give notation flags.
	for _, image := range []*string{&j.good, &j.disabled} {
		*image = strings.Replace(*image, "127.0.0.1:", "localhost:", 1)
	}
	run := func(image string, inherited map[string]string) harness.Result {
		variables := maps.Clone(example.Variables)
		maps.Copy(variables, map[string]string{"IMAGE": image, "AWSKMS_OFFLINE_RELEASE": j.releaseDir, "CI_PROJECT_DIR": j.checkout})
		maps.Copy(variables, inherited)
		j.Extra = nil
		for name, value := range variables {
			j.Extra = append(j.Extra, name+"="+value)
		}
		return do(t, j.Host, "sh", path)
	}
	well(t, run(j.good, nil))
	verdicts(t, filepath.Join(j.checkout, "results"), true, true)
	j.plant(t)
	// A dotenv report, and the variables of whoever starts the pipeline, come after the example's own.
	pub := publicPEM(t, j.Host, "p256-disabled")
	for name, inherited := range map[string]map[string]string{
		"nothing":     nil,
		"another key": {"VERIFIERS": "cosign", "COSIGN_KEY": pub},
		"flags":       {"NOTATION_FLAGS": "--help", "COSIGN_FLAGS": "--key=" + pub, "COSIGN_LOCAL_IMAGE": "true"},
		"nobody":      {"VERIFIERS": " ", "verifier": "cosign"},
	} {
		if result := run(j.disabled, inherited); result.Code != 1 {
			t.Errorf("%s: a disabled key's image must fail the build\n%s", name, result)
		}
		verdicts(t, filepath.Join(j.checkout, "results"), false, false)
	}
	well(t, run(j.good, map[string]string{
		"AWSKMS_OFFLINE_TOOLS": "awskms-offline", "AWSKMS_OFFLINE_CHECKSUMS_SHA256": wrong, "AWSKMS_OFFLINE_VERSION": "99.0.0", "KEYS_SHA256": wrong,
		"NOTATION_FLAGS": "--help", "NOTATION_HELPERS": "/nowhere", "NOTATION_LIBEXEC": j.Dir, "RESULTS": j.Dir,
	}))
	verdicts(t, filepath.Join(j.checkout, "results"), true, true)
}

// TestShellExample runs examples/verify.sh.
func TestShellExample(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	script := filepath.Join(shared.root, "examples", "verify.sh")
	if result := do(t, j.Host, "sh", script, j.good); result.Code == 0 || !strings.Contains(result.Stderr, "AWSKMS_OFFLINE_CHECKSUMS_SHA256") {
		t.Errorf("expected a refusal without checksums\n%s", result)
	}
	j.Extra = []string{
		"AWSKMS_OFFLINE_VERSION=" + j.version, "AWSKMS_OFFLINE_RELEASE=" + j.releaseDir, "AWSKMS_OFFLINE_CHECKSUMS_SHA256=" + j.checksums,
		"KEYS_SHA256=" + j.keys, "NOTATION_FLAGS=--insecure-registry",
	}
	well(t, do(t, j.Host, "sh", script, j.good))
	verdicts(t, filepath.Join(j.checkout, "results"), true, true)
	if result := do(t, j.Host, "sh", script, j.good, j.disabled); result.Code != 1 {
		t.Errorf("the second of two images is bad: want exit code 1\n%s", result)
	}
	verdicts(t, filepath.Join(j.checkout, "results"), true, true, false, false)
	j.plant(t)
	if result := do(t, j.Host, "sh", script, j.disabled); result.Code != 1 {
		t.Errorf("what an earlier job left in the workspace decides: want exit code 1\n%s", result)
	}
	verdicts(t, filepath.Join(j.checkout, "results"), false, false)
	t.Run("a key that is trusted no more", func(t *testing.T) {
		sender, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
		if err != nil {
			t.Fatal(err)
		}
		well(t, do(t, sender, sender.CLI, append([]string{"keys", "import"}, fixture.Lookup("p256-disabled").Records(shared.testdata)...)...))
		other := filepath.Join(sender.Dir, "keys.tar")
		well(t, do(t, sender, sender.CLI, "keys", "export", "--file", other))
		trusted := filepath.Join(j.checkout, "trust", "keys.tar")
		before := read(t, trusted)
		for code, content := range []string{before, read(t, other)} {
			if err := os.WriteFile(trusted, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if result := do(t, j.Host, "env", "KEYS_SHA256="+sum(t, trusted), "sh", script, j.good); result.Code != code {
				t.Errorf("exit code %d, want %d: what another run trusted is not trusted by this one\n%s", result.Code, code, result)
			}
		}
		if err := os.WriteFile(trusted, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
	})

	// The verifying script alone.
	verify := filepath.Join(shared.root, "ci", "verify-image.sh")
	install := filepath.Join(shared.root, "ci", "install.sh")
	if result := do(t, j.Host, "sh", install); result.Code != 1 || !strings.Contains(result.Stderr, "AWSKMS_OFFLINE_BIN is not set") {
		t.Errorf("expected a refusal to install into a folder that nobody named\n%s", result)
	}
	bin := filepath.Join(j.Dir, "bin")
	j.Bin = bin + string(os.PathListSeparator) + j.Bin
	base := append(j.Extra, "COSIGN_KEY=awskms-offline:///"+exampleAlias, "AWSKMS_OFFLINE_BIN="+bin)
	j.Extra = base
	if result := do(t, j.Host, "env", "AWSKMS_OFFLINE_TOOLS= ", "tool=awskms-offline", "sh", install); result.Code != 1 || !strings.Contains(result.Stderr, "names no program") {
		t.Errorf("expected a refusal of a list without a program\n%s", result)
	}
	if result := do(t, j.Host, "env", "AWSKMS_OFFLINE_CHECKSUMS_SHA256=", "sh", install); result.Code != 1 || !strings.Contains(result.Stderr, "AWSKMS_OFFLINE_CHECKSUMS_SHA256 is empty") {
		t.Errorf("expected a refusal of an empty SHA-256\n%s", result)
	}
	well(t, do(t, j.Host, "sh", install))
	well(t, do(t, j.Host, "env", "awskms-offline", "keys", "import", "trust/keys.tar"))
	well(t, do(t, j.Host, "env", "notation", "cert", "add", "--type", "ca", "--store", "awskms", "trust/release.crt"))
	well(t, do(t, j.Host, "env", "notation", "policy", "import", "--force", "trust/trustpolicy.json"))
	run := func(extra []string, images ...string) harness.Result {
		j.Extra = append(slices.Clone(base), extra...)
		return do(t, j.Host, "sh", append([]string{verify}, images...)...)
	}
	if result := run(nil, j.good, j.disabled); result.Code != 1 {
		t.Errorf("one of two images is bad: want exit code 1\n%s", result)
	}
	verdicts(t, filepath.Join(j.checkout, "awskms-offline-results"), true, true, false, false)
	well(t, run([]string{"VERIFIERS=notation", "NOTATION_CONFINED=no", "NOTATION_HELPERS=/nowhere"}, j.good))
	if runtime.GOOS == "linux" { // what it may start as well has to be there
		if result := run([]string{"VERIFIERS=notation", "NOTATION_HELPERS=/nowhere"}, j.good); result.Code != 1 || !strings.Contains(result.Stderr, "/nowhere") {
			t.Errorf("want exit code 1\n%s", result)
		}
	}
	tag, _, _ := strings.Cut(j.good, "@")
	for name, test := range map[string]struct {
		extra  []string
		images []string
		says   string
	}{
		"no image":      {says: "no image was named"},
		"a tag":         {images: []string{tag + ":latest"}, says: "does not name its digest"},
		"a flag":        {images: []string{"--" + j.good}, says: "is no image"},
		"no verifier":   {extra: []string{"VERIFIERS= "}, images: []string{j.good}, says: "names no verifier"},
		"an old one":    {extra: []string{"VERIFIERS= ", "verifier=cosign"}, images: []string{j.good}, says: "names no verifier"},
		"no key":        {extra: []string{"COSIGN_KEY="}, images: []string{j.good}, says: "COSIGN_KEY is not set"},
		"a key's file":  {extra: []string{"COSIGN_KEY=cosign.pub"}, images: []string{j.good}, says: `COSIGN_KEY is "cosign.pub", expected awskms-offline://`},
		"an address":    {extra: []string{"COSIGN_KEY=https://example.com/awskms-offline://k.pub"}, images: []string{j.good}, says: "expected awskms-offline://"},
		"no key's name": {extra: []string{"COSIGN_KEY=awskms-offline://"}, images: []string{j.good}, says: "expected awskms-offline://"},
		"what verifier": {extra: []string{"VERIFIERS=true"}, images: []string{j.good}, says: `names "true"`},
		"confined?":     {extra: []string{"NOTATION_CONFINED=perhaps"}, images: []string{j.good}, says: `NOTATION_CONFINED is "perhaps", expected yes or no`},
		"no command":    {extra: []string{"NOTATION_CONFINED=yes", "PATH=" + filepath.Join(j.Dir, "clients") + string(os.PathListSeparator) + "/usr/bin" + string(os.PathListSeparator) + "/bin"}, images: []string{j.good}, says: "awskms-offline is not on PATH"},
		"no digest":     {images: []string{j.good[:len(j.good)-1] + "g"}, says: "does not name its digest"},
	} {
		if result := run(test.extra, test.images...); result.Code != 2 || !strings.Contains(result.Stderr, test.says) {
			t.Errorf("%s: expected exit code 2 and %q\n%s", name, test.says, result)
		}
		// The results of the run before are none of this one's.
		if left, err := filepath.Glob(filepath.Join(j.checkout, "awskms-offline-results", "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %q are left, %v", name, left, err)
		}
	}

	for _, results := range []string{verify, filepath.Join(verify, "results")} { // which is a file
		if result := run([]string{"RESULTS=" + results}, j.good); result.Code != 2 || !strings.Contains(result.Stderr, "RESULTS is ") || strings.Contains(result.Stdout, "verified") {
			t.Errorf("RESULTS is %s: expected exit code 2 before any image is looked at\n%s", results, result)
		}
	}

	// A client that ends with 0 has not, by that alone, verified this image with this key.
	cosign := client{name: "cosign 3", path: build.ClientPath(shared.root, "cosign")}
	_, goodDigest, _ := strings.Cut(j.good, "@")
	movedTo, _, moved := image(t)
	payload := harness.SimpleSigning(shared.registry.Scope(movedTo), goodDigest)
	signature := base64.StdEncoding.EncodeToString(signer{key: "p256", algorithm: "ECDSA_SHA_256"}.sign(t, payload))
	attach(t, cosign, j.Host, "signature", "--payload", file(t, j.Host, "payload.json", payload), "--signature", file(t, j.Host, "payload.sig", []byte(signature)), moved)
	// As cosign saves an image, in a folder that is called as another image is.
	saved := filepath.Join(j.checkout, filepath.FromSlash(j.disabled))
	if err := os.MkdirAll(filepath.Dir(saved), 0o755); err != nil {
		t.Fatal(err)
	}
	well(t, do(t, j.Host, cosign.path, "save", "--dir", saved, j.good))
	pub := publicPEM(t, j.Host, "p256-disabled")
	for name, test := range map[string]struct {
		verifier, image string
		extra           []string
		says            string
	}{
		"cosign's help":                {"cosign", j.disabled, []string{"COSIGN_FLAGS=--help"}, "cosign does not say that it verified " + j.disabled},
		"notation's help":              {"notation", j.disabled, []string{"NOTATION_FLAGS=--help"}, "notation does not say that it verified"},
		"another image for notation":   {"notation", j.disabled, []string{"NOTATION_FLAGS=--insecure-registry " + j.good}, "notation verified another image"},
		"another image for cosign":     {"cosign", j.disabled, []string{"COSIGN_FLAGS=" + j.good}, "KMSInvalidSignatureException"},
		"another key":                  {"cosign", j.disabled, []string{"COSIGN_FLAGS=--key=" + pub}, "KMSInvalidSignatureException"},
		"another key, ours swallowed":  {"cosign", j.disabled, []string{"COSIGN_FLAGS=--key=" + pub + " --registry-username"}, ""},
		"another image's signature":    {"cosign", moved, nil, "digest in claim"},
		"unchecked by the environment": {"cosign", moved, []string{"COSIGN_CHECK_CLAIMS=false"}, "digest in claim"},
		"unchecked by a flag":          {"cosign", moved, []string{"COSIGN_FLAGS=--check-claims=false"}, "digest in claim"},
		"saved, by the environment":    {"cosign", j.disabled, []string{"COSIGN_LOCAL_IMAGE=true"}, "KMSInvalidSignatureException"},
		"saved, by a flag":             {"cosign", j.disabled, []string{"COSIGN_FLAGS=--local-image"}, "KMSInvalidSignatureException"},
	} {
		t.Run(name, func(t *testing.T) {
			result := run(append([]string{"VERIFIERS=" + test.verifier}, test.extra...), test.image)
			if result.Code != 1 || !strings.Contains(result.Stderr, test.says) {
				t.Errorf("want exit code 1 and %q\n%s", test.says, result)
			}
		})
	}

	// Each cosign says what the script looks for.
	clients := []client{cosign}
	if *withCosign2 {
		clients = append(clients, client{name: "cosign 2", path: build.ClientPath(shared.root, "cosign2"), two: true})
	} else {
		t.Log("make test-clients asks cosign 2 as well")
	}
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			own := filepath.Join(j.Dir, c.name)
			if err := errors.Join(os.Mkdir(own, 0o755), os.Symlink(c.path, filepath.Join(own, "cosign"))); err != nil {
				t.Fatal(err)
			}
			before := j.Bin
			j.Bin = own + string(os.PathListSeparator) + before
			defer func() { j.Bin = before }()
			reference := attached(t, c, j.Host, signer{key: "p256", algorithm: "ECDSA_SHA_256"}, good)
			for _, extra := range []string{"COSIGN_CHECK_CLAIMS=false", "COSIGN_FLAGS=--check-claims=false"} {
				well(t, run([]string{"VERIFIERS=cosign", "SIGSTORE_ROOT_FILE=/dev/null", extra}, reference))
				if result := run([]string{"VERIFIERS=cosign", "SIGSTORE_ROOT_FILE=/dev/null", extra}, moved); result.Code != 1 || !strings.Contains(result.Stderr, "digest in claim") {
					t.Errorf("another image's signature with %s: want exit code 1\n%s", extra, result)
				}
			}
		})
	}

	// What this cosign says must all be said, whatever another may leave out.
	words := []string{"Verification for " + j.good + " --", "  - The cosign claims were validated", "  - The signatures were verified against the specified public key"}
	real := j.Bin
	j.Bin = filepath.Join(j.Dir, "fake") + string(os.PathListSeparator) + real
	if err := os.Mkdir(filepath.Join(j.Dir, "fake"), 0o755); err != nil {
		t.Fatal(err)
	}
	for leftOut := range len(words) + 1 {
		spoken := slices.Clone(words)
		if leftOut < len(words) {
			spoken[leftOut] = strings.Replace(words[leftOut], "a", "A", 1)
		}
		script := "#!/bin/sh\necho '" + strings.Join(spoken, "'\necho '") + "'\n"
		if err := os.WriteFile(filepath.Join(j.Dir, "fake", "cosign"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if result := run([]string{"VERIFIERS=cosign"}, j.good); (result.Code == 0) != (leftOut == len(words)) {
			t.Errorf("cosign says %q: exit code %d\n%s", spoken, result.Code, result)
		}
	}
	j.Bin = real

	// What Notation's trust policy lets through unverified is not verified, though notation says so with exit code 0.
	for level, c := range map[string]struct{ image, trusted, says string }{
		"skip":       {j.good, "", "the trust policy skips it"},
		"audit":      {j.good, "p384", "does not enforce a check that failed"},
		"permissive": {j.disabled, "p256-disabled", "does not enforce a check that failed"},
	} {
		t.Run(level, func(t *testing.T) {
			policy := `{"version":"1.0","trustPolicies":[{"name":"release","registryScopes":["*"],"signatureVerification":{"level":"` + level + `"}`
			if level != "skip" {
				policy += fmt.Sprintf(`,"trustStores":["ca:awskms"],"trustedIdentities":[%q]`, fixture.Lookup(c.trusted).ARN())
			}
			if err := os.WriteFile(filepath.Join(j.checkout, "trust", "trustpolicy.json"), []byte(policy+`}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			well(t, do(t, j.Host, "env", "notation", "policy", "import", "--force", "trust/trustpolicy.json"))
			well(t, do(t, j.Host, "env", "notation", "verify", "--insecure-registry", c.image))
			if result := run([]string{"VERIFIERS=notation"}, c.image); result.Code != 1 {
				t.Errorf("want exit code 1\n%s", result)
			}
			outcomes := results(t, filepath.Join(j.checkout, "awskms-offline-results"))
			if len(outcomes) != 1 || outcomes[0].Verified || !strings.Contains(outcomes[0].Output, c.says) {
				t.Errorf("the results are %+v, want a refusal that says %q", outcomes, c.says)
			}
		})
	}
}

var (
	pinnedImage = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)
	pinnedUse   = regexp.MustCompile(`@[0-9a-f]{40}$`)
)

// TestPinned: what the files for users run of others is named by digest or commit, never by a tag, which can be moved.
func TestPinned(t *testing.T) {
	t.Parallel()
	images, uses := 0, 0
	var walk func(path string, node *yaml.Node)
	walk = func(path string, node *yaml.Node) {
		for i, child := range node.Content {
			walk(path, child)
			if node.Kind != yaml.MappingNode || i%2 == 1 {
				continue
			}
			switch value := node.Content[i+1]; {
			case child.Value == "image" && value.Kind == yaml.ScalarNode:
				images++
				if !pinnedImage.MatchString(value.Value) {
					t.Errorf("%s:%d: the image %s has no digest", path, value.Line, value.Value)
				}
			case child.Value == "uses" && !strings.HasPrefix(value.Value, "./"):
				uses++
				if !pinnedUse.MatchString(value.Value) {
					t.Errorf("%s:%d: %s is not named by a commit", path, value.Line, value.Value)
				}
			}
		}
	}
	for _, pattern := range []string{".github/workflows/*", "action.yml", "examples/*.yml", "deploy/*/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join(shared.root, filepath.FromSlash(pattern)))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %q, %v", pattern, paths, err)
		}
		for _, path := range paths {
			decoder := yaml.NewDecoder(strings.NewReader(read(t, path)))
			for {
				var document yaml.Node
				err := decoder.Decode(&document)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				walk(path, &document)
			}
		}
	}
	if images != 3 || uses < 15 {
		t.Errorf("%d images, want 3; %d uses, want 15 or more", images, uses)
	}
}

// TestInstallEnds: install.sh tells curl to give up on a server that does not answer, or stops sending.
func TestInstallEnds(t *testing.T) {
	t.Parallel()
	needShell(t)
	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	h.Bin = filepath.Join(h.Dir, "bin")
	if err := errors.Join(os.Mkdir(h.Bin, 0o755), os.WriteFile(filepath.Join(h.Bin, "curl"), []byte("#!/bin/sh\necho \"$*\"\nexit 28\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	h.Extra = []string{"AWSKMS_OFFLINE_VERSION=1.2.3", "AWSKMS_OFFLINE_BIN=" + filepath.Join(h.Dir, "installed")}
	result := do(t, h, "sh", filepath.Join(shared.root, "ci", "install.sh"))
	if result.Code != 1 || !strings.Contains(result.Stderr, "could not be downloaded") {
		t.Errorf("expected a refusal\n%s", result)
	}
	for _, limit := range []string{"--proto =https", "--connect-timeout 20", "--speed-limit 1 --speed-time 60"} {
		if !strings.Contains(result.Stdout, limit) {
			t.Errorf("curl is not given %s\n%s", limit, result)
		}
	}
}
