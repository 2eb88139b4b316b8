package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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

// withRatify is what make test-clients sets.
var withRatify = flag.Bool("ratify", false, "run the tests of Ratify, which takes minutes to build")

func needShell(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil || runtime.GOOS == "windows" {
		t.Skip("the scripts of deploy/ are for nodes and containers with a POSIX shell")
	}
}

// TestContainerd asks deploy/containerd/notation-awskms as containerd does: containerd's own code runs it, with the
// configuration of deploy/containerd/config.toml and an environment like that of a systemd service.
func TestContainerd(t *testing.T) {
	t.Parallel()
	needShell(t)
	program := filepath.Join(t.TempDir(), "containerd")
	if err := build.Submodule(shared.root, "clients/containerd", program, os.Stderr); err != nil {
		t.Fatal(err)
	}
	names := []string{"jws-p256", "cose-p256", "jws-disabled", "jws-tampered", "jws-stranger", "jws-moved", "jws-wrong-keyarn"}
	var statements []harness.Statement
	for _, name := range names {
		statements = append(statements, shared.statement(shared.lookup(t, name), "strict"))
	}
	unsigned, digest, unsignedReference := repositoryAndImage(t, "unsigned")
	p256 := shared.lookup(t, "jws-p256")
	statements = append(statements, harness.Statement{
		Name: "unsigned", Scopes: []string{shared.registry.Scope(unsigned)}, Level: "strict", Stores: []string{"ca:" + store}, Identities: p256.Identities,
	})
	h := host(t, statements...)
	foreign := repository(t) + "/foreign"
	if err := shared.registry.Push(shared.layout, "jws-p256", foreign); err != nil {
		t.Fatal(err)
	}

	bin := filepath.Join(h.Dir, "image-verifier")
	script := filepath.Join(bin, "notation-awskms")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(read(t, filepath.Join(shared.root, "deploy", "containerd", "notation-awskms"))), 0o755); err != nil {
		t.Fatal(err)
	}
	text := read(t, filepath.Join(shared.root, "deploy", "containerd", "config.toml"))
	configure := func(old, new string) string {
		changed := strings.Replace(text, old, new, 1)
		if changed == text {
			t.Fatalf("config.toml has no %s", old)
		}
		return changed
	}
	text = configure("/opt/containerd/image-verifier/bin", bin)
	config := file(t, h, "config.toml", []byte(text))
	impatient := file(t, h, "impatient.toml", []byte(configure("'30s'", "'1s'")))

	settings := map[string]string{
		"NOTATION_CONFINED": confined(t), "AWSKMS_OFFLINE": h.CLI,
		"PATH": os.Getenv("PATH"), "NOTATION": shared.notation, "NOTATION_FLAGS": "--insecure-registry",
		"NOTATION_CONFIG": filepath.Join(h.Dir, "config", "notation"), "NOTATION_LIBEXEC": filepath.Join(h.Dir, "config", "notation"),
		"NOTATION_CACHE": filepath.Join(h.Dir, "cache"), "AWSKMS_OFFLINE_HOME": shared.records,
		"XDG_STATE_HOME": filepath.Join(h.Dir, "state"), "DOCKER_CONFIG": filepath.Join(h.Dir, "docker"),
	}
	// run runs a program in that environment, and nothing of the test's.
	run := func(t *testing.T, other map[string]string, stdin, program string, args ...string) (stdout, stderr string, code int) {
		t.Helper()
		cmd := exec.Command(program, args...)
		for name, value := range settings {
			if changed, ok := other[name]; ok {
				value = changed
			}
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		var out, problems bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problems
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return out.String(), problems.String(), code
	}
	pull := func(t *testing.T, other map[string]string, config, name, digest string) (ok bool, reason string) {
		t.Helper()
		stdout, stderr, code := run(t, other, "", program, config, name, digest)
		if code != 0 {
			return false, stderr
		}
		var judgement struct {
			OK     bool
			Reason string
		}
		if err := json.Unmarshal([]byte(stdout), &judgement); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		return judgement.OK, judgement.Reason
	}
	slow := filepath.Join(h.Dir, "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nsleep 20\n"), 0o755); err != nil {
		t.Fatal(err)
	}

	scope := func(name string) string { return shared.registry.Scope(name) }
	digestOf := func(name string) string { return shared.lookup(t, name).Digest }
	type pulling struct {
		image, digest, config string
		other                 map[string]string
		ok                    bool
		says                  string
	}
	cases := map[string]pulling{
		"tag":               {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), ok: true, says: "notation-awskms => Successfully verified signature for " + scope("jws-p256") + "@" + digestOf("jws-p256")},
		"no tag":            {image: scope("jws-p256"), digest: digestOf("jws-p256"), ok: true, says: "Successfully verified"},
		"digest":            {image: scope("cose-p256") + "@" + digestOf("cose-p256"), digest: digestOf("cose-p256"), ok: true, says: "Successfully verified"},
		"tag and digest":    {image: scope("cose-p256") + ":1.2@" + digestOf("cose-p256"), digest: digestOf("cose-p256"), ok: true, says: "Successfully verified"},
		"disabled":          {image: scope("jws-disabled") + ":latest", digest: digestOf("jws-disabled"), says: "DisabledException"},
		"tampered":          {image: scope("jws-tampered") + ":latest", digest: digestOf("jws-tampered"), says: "rejected image (exit code 1)"},
		"stranger":          {image: scope("jws-stranger") + ":latest", digest: digestOf("jws-stranger"), says: "no trusted identity is the key that signed"},
		"moved":             {image: scope("jws-moved") + ":latest", digest: digestOf("jws-moved"), says: "rejected image"},
		"another key's ARN": {image: scope("jws-wrong-keyarn") + ":latest", digest: digestOf("jws-wrong-keyarn"), says: "rejected image"},
		"unsigned":          {image: unsignedReference, digest: digest, says: "no signature is associated"},
		// The tag's digest is not what is pulled.
		"another digest": {image: scope("jws-p256") + "@" + digestOf("jws-p256"), digest: digestOf("jws-disabled"), says: "rejected image"},
		"no policy":      {image: scope(foreign) + ":latest", digest: digestOf("jws-p256"), says: "no applicable"},
		"no store":       {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), other: map[string]string{"AWSKMS_OFFLINE_HOME": filepath.Join(h.Dir, "none")}, says: filepath.Join(h.Dir, "none")},
		"no plugin":      {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), other: map[string]string{"NOTATION_LIBEXEC": filepath.Join(h.Dir, "none")}, says: "rejected image"},
		"no notation":    {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), other: map[string]string{"NOTATION": filepath.Join(h.Dir, "none")}, says: "rejected image (exit code 1)"},
		"slow":           {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), config: impatient, other: map[string]string{"NOTATION": slow, "NOTATION_CONFINED": "no"}, says: "failed to call verifier"},
		"not confined":   {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), other: map[string]string{"NOTATION_CONFINED": "no"}, ok: true, says: "Successfully verified"},
		"confined?":      {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), other: map[string]string{"NOTATION_CONFINED": "perhaps"}, says: "expected yes or no"},
		"no command":     {image: scope("jws-p256") + ":latest", digest: digestOf("jws-p256"), other: map[string]string{"NOTATION_CONFINED": "yes", "AWSKMS_OFFLINE": filepath.Join(h.Dir, "none")}, says: filepath.Join(h.Dir, "none")},
		"odd name":       {image: "--help", digest: digestOf("jws-p256"), says: "expected an image's name"},
		"odd digest":     {image: scope("jws-p256"), digest: "sha256:$(id)", says: "hexadecimal digits"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			use := config
			if c.config != "" {
				use = c.config
			}
			ok, reason := pull(t, c.other, use, c.image, c.digest)
			if ok != c.ok || !strings.Contains(reason, c.says) {
				t.Errorf("ok is %t, want %t; the reason must say %q and is:\n%s", ok, c.ok, c.says, reason)
			}
		})
	}

	// What containerd does not do today.
	good := []string{"-name", scope("jws-p256"), "-digest", digestOf("jws-p256"), "-stdin-media-type", "application/vnd.oci.descriptor.v1+json"}
	descriptor := func(name string) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}`+"\n", digestOf(name))
	}
	with := func(i int, value string) []string {
		args := slices.Clone(good)
		args[i] = value
		return args
	}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		ok    bool
		says  string
	}{
		"as containerd":      {good, descriptor("jws-p256"), true, "Successfully verified"},
		"another descriptor": {good, descriptor("jws-disabled"), false, "does not have the digest"},
		"no descriptor":      {good, "", false, "does not have the digest"},
		"another type":       {with(5, "application/json"), descriptor("jws-p256"), false, "-stdin-media-type"},
		"a new option":       {append(slices.Clone(good), "-platform", "linux"), descriptor("jws-p256"), false, "unknown option -platform"},
		"no value":           {good[:5], descriptor("jws-p256"), false, "has no value"},
		"no digest":          {slices.Concat(good[:2], good[4:]), descriptor("jws-p256"), false, "-digest"},
		"nothing":            {nil, "", false, "-name"},
	} {
		if stdout, stderr, code := run(t, nil, c.stdin, script, c.args...); (code == 0) != c.ok || !strings.Contains(stdout, c.says) {
			t.Errorf("%s: exit code %d; want ok %t and %q on stdout:\n%s%s", name, code, c.ok, c.says, stdout, stderr)
		}
	}
}

// patch is what the files of deploy/ say of a Deployment's pods.
type patch struct {
	Spec struct {
		Template struct {
			Spec struct {
				Init       []container `yaml:"initContainers"`
				Containers []container `yaml:"containers"`
				Volumes    []struct {
					Name      string         `yaml:"name"`
					Empty     map[string]any `yaml:"emptyDir"`
					ConfigMap *struct {
						Name  string          `yaml:"name"`
						Items []configMapItem `yaml:"items"`
					} `yaml:"configMap"`
				} `yaml:"volumes"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type configMapItem struct {
	Key  string `yaml:"key"`
	Path string `yaml:"path"`
}

type container struct {
	Command []string `yaml:"command"`
	Args    []string `yaml:"args"`
	Env     []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	Mounts []struct {
		Name     string `yaml:"name"`
		Path     string `yaml:"mountPath"`
		SubPath  string `yaml:"subPath"`
		ReadOnly bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
	WorkingDir string `yaml:"workingDir"`
}

// readPatch reads a patch, and demands that it mounts only volumes it has, and what verifies only to read.
func readPatch(t *testing.T, path string) patch {
	t.Helper()
	var p patch
	readYAML(t, path, &p)
	spec := p.Spec.Template.Spec
	if len(spec.Containers) != 1 {
		t.Fatalf("%s has %d containers", path, len(spec.Containers))
	}
	volumes := make(map[string]bool)
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range append(spec.Containers, spec.Init...) {
		for _, m := range c.Mounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %s, which is no volume", path, m.Name)
			}
		}
	}
	for _, m := range spec.Containers[0].Mounts {
		if m.ReadOnly == strings.HasSuffix(m.Name, "-log") {
			t.Errorf("%s mounts %s, read-only: %t", path, m.Name, m.ReadOnly)
		}
	}
	if kubectl, err := exec.LookPath("kubectl"); err != nil {
		t.Logf("kubectl is missing: whether it takes %s was not tried", path)
	} else {
		const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"ratify"},"spec":{"selector":{"matchLabels":{"a":"b"}},
			"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"ratify","image":"ratify"}]}}}}`
		cmd := exec.Command(kubectl, "patch", "--local", "-f", "-", "--patch-file", filepath.Join(shared.root, filepath.FromSlash(path)), "-o", "json")
		cmd.Stdin = strings.NewReader(deployment)
		output, err := cmd.Output()
		if err != nil || !bytes.Contains(output, []byte(spec.Volumes[0].Name)) {
			t.Errorf("kubectl patch with %s: %v\n%s", path, err, output)
		}
	}
	return p
}

// console returns the commands of a page's section.
func console(t *testing.T, page, title string) (commands []string) {
	t.Helper()
	_, section, found := strings.Cut(read(t, filepath.Join(shared.root, "docs", page)), "\n## "+title+"\n")
	if !found {
		t.Fatalf("docs/%s has no section %q", page, title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	inside := false
	for line := range strings.Lines(section) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "```") {
			inside = line == "```console"
		} else if inside {
			commands = append(commands, line)
		}
	}
	return commands
}

// sender is a host with one key under the alias of docs/kubernetes.md, whose keys are to be distributed.
func sender(t *testing.T) *harness.Host {
	t.Helper()
	h, err := harness.NewHost(t.TempDir(), shared.notation, shared.bin)
	if err != nil {
		t.Fatal(err)
	}
	well(t, do(t, h, h.CLI, append([]string{"keys", "import", "--alias", exampleAlias}, fixture.Lookup("p256").Records(shared.testdata)...)...))
	return h
}

// receiver is a host that trusts the key by its alias, out of a store that somebody else filled.
func receiver(t *testing.T, home string) *harness.Host {
	t.Helper()
	disabled := fixture.Lookup("p256-disabled").ARN()
	h := host(t, harness.Statement{Name: "release", Scopes: []string{"*"}, Level: "strict", Stores: []string{"ca:" + store},
		Identities: []string{"arn:aws:kms:us-east-1:" + fixture.Account + ":" + exampleAlias, disabled}})
	h.Home = home
	return h
}

// readOnly makes dir what a volume is to the container that reads it: open to everyone, and mounted read-only. Where the
// test may not mount, it is a folder of the current user's.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Log("not root on Linux: the volume is a plain folder, not a read-only mount")
		return
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("mount", "--bind", dir, dir).CombinedOutput(); err != nil {
		t.Logf("no mounting here, the volume is a plain folder: %s", output)
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	if output, err := exec.Command("mount", "-o", "remount,bind,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("mounting read-only: %v\n%s", err, output)
	}
}

// TestConfigMap: docs/kubernetes.md's ConfigMap, laid out by its patch as the kubelet lays it out.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	from := sender(t)
	data, problem := makeConfigMap(t, from)
	if problem != nil || len(data) != 2 {
		t.Fatalf("the ConfigMap has %d files, want 2\n%v", len(data), problem)
	}
	p := readPatch(t, "deploy/kubernetes/store-from-configmap.yaml")
	receives(t, configMapVolume(t, p, data))

	t.Run("blocked", func(t *testing.T) {
		from := sender(t)
		well(t, do(t, from, from.CLI, "keys", "block", exampleAlias, "--reason", "leaked"))
		data, problem := makeConfigMap(t, from)
		if problem == nil {
			t.Fatal("a ConfigMap was made that leaves the block out")
		}
		// As the page adds it.
		page := read(t, filepath.Join(shared.root, "docs", "kubernetes.md"))
		flag := regexp.MustCompile(`--from-file=(block\.json)=store/(\S+)`).FindStringSubmatch(page)
		item := regexp.MustCompile(`- key: (\S+)\n +path: (blocks/\S+)`).FindStringSubmatch(page)
		if flag == nil || item == nil || flag[1] != item[1] || flag[2] != item[2] {
			t.Fatalf("docs/kubernetes.md adds %q by the item %q", flag, item)
		}
		data[flag[1]] = read(t, filepath.Join(from.Dir, "store", filepath.FromSlash(flag[2])))
		blocked := readPatch(t, "deploy/kubernetes/store-from-configmap.yaml")
		for _, volume := range blocked.Spec.Template.Spec.Volumes {
			if volume.ConfigMap != nil {
				volume.ConfigMap.Items = append(volume.ConfigMap.Items, configMapItem{Key: item[1], Path: item[2]})
			}
		}
		c := shared.lookup(t, "jws-p256")
		refuses(t, receiver(t, configMapVolume(t, blocked, data)), shared.registry.Reference(c.Name, c.Digest), "KeyBlockedException")
	})
}

// makeConfigMap follows docs/kubernetes.md on the host and returns what the ConfigMap holds; or, beside what it would hold, how the page's
// own check failed.
func makeConfigMap(t *testing.T, from *harness.Host) (data map[string]string, problem fmt.Stringer) {
	t.Helper()
	data = make(map[string]string)
	ran := 0
	for _, command := range console(t, "kubernetes.md", "Keys in a ConfigMap") {
		check, rest, checked := strings.Cut(command, " && ")
		if checked {
			needShell(t)
			if result := do(t, from, "sh", "-c", check); result.Code != 0 {
				if problem = result; result.Stdout == "" {
					t.Errorf("%s fails and says nothing", check)
				}
			}
			command = rest
		}
		command, _, _ = strings.Cut(command, " | ") // kubectl apply, which needs a cluster
		words := strings.Fields(command)
		switch {
		case words[0] == "awskms-offline":
			well(t, do(t, from, from.CLI, words[1:]...))
		case words[0] == "mkdir", words[0] == "tar":
			if _, err := exec.LookPath(words[0]); err != nil {
				t.Skipf("%s is missing", words[0])
			}
			well(t, do(t, from, words[0], words[1:]...))
		case strings.HasPrefix(command, "kubectl create configmap "):
			if _, err := exec.LookPath("kubectl"); err == nil {
				made := do(t, from, "kubectl", words[1:]...)
				well(t, made)
				var configMap struct {
					Data map[string]string `yaml:"data"`
				}
				if err := yaml.Unmarshal([]byte(made.Stdout), &configMap); err != nil {
					t.Fatal(err)
				}
				data = configMap.Data
			} else {
				t.Log("kubectl is missing: the ConfigMap is made by the test")
				for _, word := range words {
					if pair, ok := strings.CutPrefix(word, "--from-file="); ok {
						key, path, _ := strings.Cut(pair, "=")
						data[key] = read(t, filepath.Join(from.Dir, filepath.FromSlash(path)))
					}
				}
			}
		case strings.HasPrefix(command, "kubectl patch "): // readPatch
		default:
			t.Fatalf("what is %q?", command)
		}
		ran++
	}
	if ran != 5 {
		t.Fatalf("%d commands ran, want 5", ran)
	}
	return data, problem
}

// configMapVolume lays a ConfigMap out as the kubelet does.
func configMapVolume(t *testing.T, p patch, data map[string]string) (home string) {
	t.Helper()
	home = filepath.Join(t.TempDir(), "volume")
	const stamp = "..2026_11_26_12_00_00.123456789"
	for _, volume := range p.Spec.Template.Spec.Volumes {
		if volume.ConfigMap == nil {
			continue
		}
		for _, item := range volume.ConfigMap.Items {
			content, ok := data[item.Key]
			if !ok {
				t.Fatalf("the ConfigMap has no %s", item.Key)
			}
			path := filepath.Join(home, stamp, filepath.FromSlash(item.Path))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(item.Path, "/")
			if err := os.Symlink(filepath.Join("..data", first), filepath.Join(home, first)); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(stamp, filepath.Join(home, "..data")); err != nil {
		t.Fatal(err)
	}
	readOnly(t, home)
	return home
}

// receives verifies out of the store, and demands the usual refusals.
func receives(t *testing.T, home string) {
	t.Helper()
	h := receiver(t, home)
	reference := func(name string) string {
		c := shared.lookup(t, name)
		return shared.registry.Reference(c.Name, c.Digest)
	}
	verifies(t, h, reference("jws-p256"))
	refuses(t, h, reference("jws-stranger"))
	refuses(t, h, reference("jws-tampered"))
	refuses(t, h, reference("jws-disabled")) // trusted, and not in this store
}

// TestRegistry: docs/kubernetes.md's way of keys through a registry by the real oras, into the store by the init containers
// of deploy/.
func TestRegistry(t *testing.T) {
	t.Parallel()
	if err := build.EnsureClients(shared.root, os.Stderr, "oras"); err != nil {
		t.Fatal(err)
	}
	oras := build.ClientPath(shared.root, "oras")
	from := sender(t)
	scope := shared.registry.Scope(repository(t))
	local := strings.NewReplacer("registry.example.com", scope, "oras push ", "oras push --plain-http ", "oras pull ", "oras pull --plain-http ", "1.2.3", "0.1.0")
	for _, program := range []string{"awskms-offline", "notation-awskms-offline"} {
		for _, arch := range []string{"amd64", "arm64"} { // the same program for both, whatever this machine is
			if err := from.Pack(filepath.Join(shared.bin, build.Executable(program)), program+"_0.1.0_linux_"+arch+".tar.gz"); err != nil {
				t.Fatal(err)
			}
		}
	}
	digests := make(map[string]string) // by repository
	digest := regexp.MustCompile(`Digest: (sha256:[0-9a-f]{64})`)
	ran := 0
	to := receiver(t, filepath.Join(t.TempDir(), "home"))
	for _, command := range console(t, "kubernetes.md", "Keys from a registry") {
		line := local.Replace(command)
		for name, value := range digests {
			line = strings.ReplaceAll(line, scope+"/"+name+"@"+docsDigest, scope+"/"+name+"@"+value)
		}
		words := strings.Fields(line)
		switch {
		case words[0] == "oras" && words[1] == "push":
			made := do(t, from, oras, words[1:]...)
			well(t, made)
			found := digest.FindStringSubmatch(made.Stdout)
			if found == nil {
				t.Fatalf("oras push says no digest\n%s", made)
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(words[3], scope+"/"), ":")
			digests[name] = found[1]
		case words[0] == "oras":
			well(t, do(t, to, oras, words[1:]...))
		case line == "awskms-offline keys export --file keys.tar":
			well(t, do(t, from, from.CLI, words[1:]...))
		case words[0] == "awskms-offline":
			sha := sum(t, filepath.Join(from.Dir, "keys.tar"))
			well(t, do(t, to, to.CLI, strings.Fields(strings.ReplaceAll(line, docsDigest[len("sha256:"):], sha))[1:]...))
		case strings.HasPrefix(command, "kubectl patch "): // readPatch
		default:
			t.Fatalf("what is %q?", command)
		}
		ran++
	}
	if ran != 6 || len(digests) != 2 {
		t.Fatalf("%d commands ran, want 6; pushed was %v", ran, digests)
	}
	receives(t, to.Home)

	t.Run("a registry that lies", func(t *testing.T) {
		target, err := url.Parse("http://" + shared.registry.Host)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.ModifyResponse = func(r *http.Response) error {
			if r.Request.Method != http.MethodGet || !strings.Contains(r.Request.URL.Path, "/blobs/") {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			r.Body = io.NopCloser(bytes.NewReader(bytes.Replace(body, []byte("Enabled"), []byte("enabled"), 1)))
			return nil
		}
		server := httptest.NewServer(proxy)
		defer server.Close()
		h := receiver(t, filepath.Join(t.TempDir(), "home"))
		reference := strings.TrimPrefix(server.URL, "http://") + "/" + repository0(t, scope) + "/kms-keys@" + digests["kms-keys"]
		result := do(t, h, oras, "pull", "--plain-http", reference)
		if _, err := os.Stat(filepath.Join(h.Dir, "keys.tar")); result.Code == 0 || err == nil {
			t.Errorf("oras took a changed tar (%v)\n%s", err, result)
		}
	})
	t.Run("init containers", func(t *testing.T) {
		needShell(t)
		// With a policy beside the keys, which refuses whatever has no line in the log.
		file(t, from, "policy.json", []byte(`{"version":"1","log":{"mode":"required"}}`))
		pushed := do(t, from, oras, "push", "--plain-http", scope+"/kms-keys:policy", "keys.tar", "policy.json")
		well(t, pushed)
		digests := maps.Clone(digests)
		digests["kms-keys"] = digest.FindStringSubmatch(pushed.Stdout)[1]
		volumes := t.TempDir()
		h := receiver(t, filepath.Join(volumes, "store"))
		h.Bin = filepath.Join(h.Dir, "image")
		if err := os.Mkdir(h.Bin, 0o755); err != nil {
			t.Fatal(err)
		}
		// The image's oras, but for the registry without TLS.
		wrapper := "#!/bin/sh\nset -eu\nshift\nexec " + oras + " pull --plain-http \"$@\"\n"
		if err := os.WriteFile(filepath.Join(h.Bin, "oras"), []byte(wrapper), 0o755); err != nil {
			t.Fatal(err)
		}
		stateHome, state := "", ""
		for _, path := range []string{"deploy/kubernetes/store-from-registry.yaml", "deploy/ratify/plugin.yaml"} {
			p := readPatch(t, path)
			for _, m := range p.Spec.Template.Spec.Containers[0].Mounts {
				if m.Name == "awskms-offline-log" {
					stateHome, state = m.Path, filepath.Join(volumes, m.Name, m.SubPath)
				}
			}
			for _, e := range p.Spec.Template.Spec.Containers[0].Env {
				if e.Name == "XDG_STATE_HOME" && e.Value != stateHome {
					t.Errorf("the log goes to %s, and what can be written is %s", e.Value, stateHome)
				}
			}
			for _, v := range p.Spec.Template.Spec.Volumes {
				dir := filepath.Join(volumes, v.Name)
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(dir, 0o777); err != nil { // as the kubelet makes an emptyDir
					t.Fatal(err)
				}
			}
			for _, c := range p.Spec.Template.Spec.Init {
				script := strings.Join(c.Args, "\n")
				work := ""
				for _, m := range c.Mounts {
					script = strings.NewReplacer(m.Path+" ", filepath.Join(volumes, m.Name)+" ", m.Path+"/", filepath.Join(volumes, m.Name)+"/").Replace(script)
					if m.Path == c.WorkingDir {
						work = filepath.Join(volumes, m.Name)
					}
				}
				h.WorkDir, h.Extra = work, nil
				for _, e := range c.Env {
					value := local.Replace(e.Value)
					for name, pinned := range digests {
						value = strings.ReplaceAll(value, scope+"/"+name+"@"+docsDigest, scope+"/"+name+"@"+pinned)
					}
					h.Extra = append(h.Extra, e.Name+"="+value)
				}
				if !slices.Equal(c.Command, []string{"/bin/sh", "-euc"}) || len(c.Args) != 1 {
					t.Fatalf("%s runs %q %q", path, c.Command, c.Args)
				}
				well(t, do(t, h, "sh", "-euc", script))
				if policy := filepath.Join(volumes, "awskms-offline-store", "policy.json"); strings.Contains(script, policy) {
					// Kubernetes may run it again on what it left, of which a strict policy takes a volume that everyone can write for spoilt.
					if err := os.WriteFile(policy, []byte(`{"version":"1","store":{"permissions":"strict"}}`), 0o600); err != nil {
						t.Fatal(err)
					}
					well(t, do(t, h, "sh", "-euc", script))
				}
			}
		}
		plugin := filepath.Join(volumes, "awskms-offline-plugin", "notation-awskms-offline")
		if metadata := do(t, h, plugin, "get-plugin-metadata"); !strings.Contains(metadata.Stdout, `"SIGNATURE_VERIFIER.TRUSTED_IDENTITY"`) {
			t.Errorf("the plugin is none\n%s", metadata)
		}
		home := filepath.Join(volumes, "awskms-offline-store")
		readOnly(t, home)
		receives(t, home)
		// A mounted subPath is all that the container sees of the volume.
		log := filepath.Join(t.TempDir(), "state")
		if err := os.Rename(state, log); err != nil {
			t.Fatal(err)
		}
		h = receiver(t, home)
		h.Extra = append(h.Extra, "XDG_STATE_HOME="+log)
		c := shared.lookup(t, "jws-p256")
		result, err := h.VerifyRegistry(shared.registry.Reference(c.Name, c.Digest))
		if err != nil {
			t.Fatal(err)
		}
		well(t, result)
		if lines := read(t, filepath.Join(log, "awskms-offline", "audit.jsonl")); !strings.Contains(lines, `"verified":true`) {
			t.Errorf("the log is %s", lines)
		}
	})
}

// repository0 is the repository of a scope.
func repository0(t *testing.T, scope string) string {
	t.Helper()
	name, ok := strings.CutPrefix(scope, shared.registry.Host+"/")
	if !ok {
		t.Fatalf("%s is not in the registry", scope)
	}
	return name
}
