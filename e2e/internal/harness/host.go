// Package harness runs the real clients against our binaries, each in a virtual host of its own: a folder that is the
// program's home, configuration and key store, so that no test sees another's or the user's.
package harness

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
)

// commandTimeout ends a program that hangs: notation has no time-out of its own for plugins.
const commandTimeout = 2 * time.Minute

// Host is one virtual host.
type Host struct {
	// Dir holds everything else; its owner removes it.
	Dir string
	// Home is the key store that our programs use.
	Home string
	// Notation and CLI are the programs.
	Notation, CLI string
	// Bin, if set, is first on the search path: cosign finds plugins there.
	Bin string
	// Extra is added to the environment of every program.
	Extra []string
	// WorkDir is where the programs run; empty means Dir.
	WorkDir string
	// Trace, if set, sees each command line before it runs.
	Trace func(line string)
}

// NewHost makes a host in dir, which must exist. notation is the client, bin the folder of our binaries.
func NewHost(dir, notation, bin string) (*Host, error) {
	h := &Host{
		Dir: dir, Home: filepath.Join(dir, "kms-keys"),
		Notation: notation, CLI: filepath.Join(bin, build.Executable("awskms-offline")),
	}
	return h, os.MkdirAll(h.configDir(), 0o700)
}

// configDir is what notation finds as os.UserConfigDir, with the environment of Environment.
func (h *Host) configDir() string { return filepath.Join(h.Dir, "config") }

// Environment is what every program of the host gets: where home and configuration are on each system, our key store,
// and nothing of the user's but the search path, the place for temporary files and what Windows needs.
func (h *Host) Environment() []string {
	env := []string{
		"HOME=" + h.Dir, "USERPROFILE=" + h.Dir,
		"XDG_CONFIG_HOME=" + h.configDir(), "APPDATA=" + h.configDir(),
		"XDG_CACHE_HOME=" + filepath.Join(h.Dir, "cache"), "LOCALAPPDATA=" + filepath.Join(h.Dir, "cache"),
		"XDG_STATE_HOME=" + filepath.Join(h.Dir, "state"),
		"AWSKMS_OFFLINE_HOME=" + h.Home,
		"NOTATION_EXPERIMENTAL=1",
	}
	for _, name := range []string{"PATH", "TMPDIR", "TMP", "TEMP", "SystemRoot", "ProgramData"} {
		if value, ok := os.LookupEnv(name); ok {
			if name == "PATH" && h.Bin != "" {
				value = h.Bin + string(os.PathListSeparator) + value
			}
			env = append(env, name+"="+value)
		}
	}
	return append(env, h.Extra...)
}

// Result is what a program left behind.
type Result struct {
	Command        string
	Stdout, Stderr string
	Code           int
}

// Output is both streams, for a search or a message.
func (r Result) Output() string { return r.Stdout + r.Stderr }

// String shows all of it.
func (r Result) String() string {
	return fmt.Sprintf("$ %s\nexit code %d\n%s%s", r.Command, r.Code, r.Stdout, r.Stderr)
}

// Run runs a program to its end. An error means that it could not be run; its refusal is in the result.
func (h *Host) Run(program string, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = h.Environment(), cmp.Or(h.WorkDir, h.Dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	r := Result{Command: CommandLine(program, args...)}
	if h.Trace != nil {
		h.Trace(r.Command)
	}
	err := cmd.Run()
	r.Stdout, r.Stderr = stdout.String(), stderr.String()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		r.Code, err = exit.ExitCode(), nil
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w\n%s", r.Command, err, r.Output())
	}
	return r, nil
}

// must runs a program that has no reason to refuse.
func (h *Host) must(program string, args ...string) error {
	r, err := h.Run(program, args...)
	if err != nil {
		return err
	}
	if r.Code != 0 {
		return errors.New(r.String())
	}
	return nil
}

// CommandLine prints a command so that it can be pasted into a POSIX shell.
func CommandLine(program string, args ...string) string {
	words := append([]string{program}, args...)
	for i, w := range words {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool {
			return !strings.ContainsRune("%+,-./:=@_", r) && !(r >= '0' && r <= '9') && !(r >= 'a' && r <= 'z') && !(r >= 'A' && r <= 'Z')
		}) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// ImportRecords imports KMS's answers into the host's key store with our command line.
func (h *Host) ImportRecords(files ...string) error {
	args := append([]string{"keys", "import", "--home", h.Home}, files...)
	return h.must(h.CLI, args...)
}

// InstallPlugin packs the plugin binary as a release does and installs it with notation.
func (h *Host) InstallPlugin(binary string) error {
	archive := filepath.Join(h.Dir, strings.TrimSuffix(filepath.Base(binary), ".exe")+".tar.gz")
	if err := pack(archive, binary); err != nil {
		return fmt.Errorf("packing %s: %w", binary, err)
	}
	return h.must(h.Notation, "plugin", "install", "--file", archive)
}

// Pack packs a binary as a release does, into an archive of that name in the host's folder.
func (h *Host) Pack(binary, name string) error { return pack(filepath.Join(h.Dir, name), binary) }

// pack makes a tar.gz with the one binary in it.
func pack(archive, binary string) (err error) {
	in, err := os.Open(binary)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	// Speed matters more than size: the archive lives for seconds.
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: filepath.Base(binary), Mode: 0o755, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return z.Close()
}

// AddCertificates puts certificates into notation's trust store of type ca.
func (h *Host) AddCertificates(store string, files ...string) error {
	return h.must(h.Notation, append([]string{"cert", "add", "--type", "ca", "--store", store}, files...)...)
}

// Statement is one statement of notation's trustpolicy.json.
type Statement struct {
	Name       string
	Scopes     []string
	Level      string
	Override   map[string]string
	Stores     []string
	Identities []string
}

// WriteTrustPolicy writes notation's trustpolicy.json. There is no command for it but `notation policy import`, which
// is used, so that notation checks what it gets.
func (h *Host) WriteTrustPolicy(statements ...Statement) error {
	type verification struct {
		Level    string            `json:"level"`
		Override map[string]string `json:"override,omitempty"`
	}
	type policy struct {
		Name                  string       `json:"name"`
		RegistryScopes        []string     `json:"registryScopes"`
		SignatureVerification verification `json:"signatureVerification"`
		TrustStores           []string     `json:"trustStores"`
		TrustedIdentities     []string     `json:"trustedIdentities"`
	}
	var policies []policy
	for _, s := range statements {
		policies = append(policies, policy{s.Name, s.Scopes, verification{s.Level, s.Override}, s.Stores, s.Identities})
	}
	data, err := json.MarshalIndent(map[string]any{"version": "1.0", "trustPolicies": policies}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(h.Dir, "trustpolicy.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return h.must(h.Notation, "policy", "import", "--force", path)
}

// VerifyRegistry runs notation verify on an image in a registry, told to say what it does.
func (h *Host) VerifyRegistry(reference string, extra ...string) (Result, error) {
	args := append([]string{"verify", "--verbose", "--insecure-registry"}, extra...)
	return h.Run(h.Notation, append(args, reference)...)
}

// VerifyLayout runs notation verify on an image in an OCI image layout; scope chooses the trust policy's statement.
func (h *Host) VerifyLayout(layout, digest, scope string, extra ...string) (Result, error) {
	args := append([]string{"verify", "--verbose", "--oci-layout", "--scope", scope}, extra...)
	return h.Run(h.Notation, append(args, layout+"@"+digest)...)
}

// Reasons picks out of what notation said on stderr why a check failed, one line each. Nothing else there counts: with
// --verbose it also prints the trust policy, and so every ARN in it. Notation quotes the reasons, some of them twice.
func Reasons(stderr string) []string {
	var reasons []string
	unquote := strings.NewReplacer(`\\`, `\`, `\"`, `"`)
	for line := range strings.Lines(stderr) {
		line = unquote.Replace(strings.TrimSpace(line))
		if _, reason, ok := strings.Cut(line, " failed verification with error: "); ok {
			reasons = append(reasons, reason)
		} else if strings.HasPrefix(line, "Warning: ") && strings.Contains(line, " failed with error: ") {
			reasons = append(reasons, line)
		}
	}
	return reasons
}
