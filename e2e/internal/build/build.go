// Package build builds the programs that the end-to-end tests and the demo run: the real clients, from the versions
// that e2e/go.mod and the modules in e2e/clients pin, and our own binaries, from the main module.
//
// It calls the go command. All is built without cgo, as it is released. The package links little on purpose: see command
// demo.
package build

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Module is the path of the main module; Root looks for it.
const Module = "github.com/awskms-offline/awskms-offline"

// Root returns the folder of the main module, found from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			first, _, _ := bytes.Cut(mod, []byte("\n"))
			if string(bytes.TrimSpace(first)) == "module "+Module {
				return dir, nil
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod of %s in the working directory or above it", Module)
		}
		dir = parent
	}
}

// Client is a program of others that verifies signatures with our plugins.
type Client struct {
	// Name of the binary.
	Name string
	// Module is where its version is looked up, Package its main package.
	Module, Package string
	// Dir is the folder below e2e whose go.mod and go.sum pin both. Each cosign has a module of its own, so that it is
	// built with the dependencies of its release.
	Dir string
}

// Clients are all clients. The demo needs the first, the tests the first three; the others are for test-clients.
var Clients = []Client{
	{Name: "notation", Module: "github.com/notaryproject/notation", Package: "github.com/notaryproject/notation/cmd/notation", Dir: "."},
	{Name: "cosign", Module: "github.com/sigstore/cosign/v3", Package: "github.com/sigstore/cosign/v3/cmd/cosign", Dir: "clients/cosign3"},
	{Name: "oras", Module: "oras.land/oras", Package: "oras.land/oras/cmd/oras", Dir: "clients/oras"},
	{Name: "cosign2", Module: "github.com/sigstore/cosign/v2", Package: "github.com/sigstore/cosign/v2/cmd/cosign", Dir: "clients/cosign2"},
	{Name: "ratify", Module: "github.com/ratify-project/ratify", Package: "github.com/ratify-project/ratify/cmd/ratify", Dir: "clients/ratify"},
}

// Products are our own binaries, by the names of their folders below cmd.
var Products = []string{"awskms-offline", "notation-awskms-offline", "notation-awskms-signer", "sigstore-kms-awskms-offline"}

// heartbeat is how long a build may be silent.
const heartbeat = 5 * time.Second

// ClientPath is where the client's binary is, once built. root is the main module's folder.
func ClientPath(root, name string) string {
	return filepath.Join(root, ".cache", "clients", Executable(name))
}

// Executable adds what the system wants at the end of a program's name.
func Executable(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}

// EnsureClients builds those of the named clients that are not built yet from the same go.mod, go.sum and Go release. One
// line a build, and one every few seconds while it lasts, goes to progress.
func EnsureClients(root string, progress io.Writer, names ...string) error {
	for _, c := range Clients {
		if !slices.Contains(names, c.Name) {
			continue
		}
		stamp, err := pins(root, c)
		if err != nil {
			return err
		}
		path := ClientPath(root, c.Name)
		stampPath := path + ".stamp"
		old, err := os.ReadFile(stampPath)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := os.Stat(path); err == nil && string(old) == stamp {
			continue
		}
		if err := buildClient(root, c, path, progress); err != nil {
			return err
		}
		if err := os.WriteFile(stampPath, []byte(stamp), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pins is what decides a client's binary, as text.
func pins(root string, c Client) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, "e2e", filepath.FromSlash(c.Dir), name))
		if err != nil {
			return "", err
		}
		b.Write(data)
	}
	return b.String(), nil
}

func buildClient(root string, c Client, path string, progress io.Writer) error {
	module := filepath.Join(root, "e2e", filepath.FromSlash(c.Dir))
	version, err := goCommand(module, "list", "-m", "-f", "{{.Version}}", c.Module).Output()
	if err != nil {
		return fmt.Errorf("looking up the version of %s: %w", c.Module, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// Built beside its place and renamed, so that a build that runs at the same time, or breaks, leaves no half a binary.
	temporary, err := os.MkdirTemp(filepath.Dir(path), c.Name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	made := filepath.Join(temporary, filepath.Base(path))
	what := c.Name + " " + strings.TrimSpace(string(version))
	if err := run(progress, what, goCommand(module, "build", "-trimpath", "-o", made, c.Package)); err != nil {
		return err
	}
	return os.Rename(made, path)
}

// EnsureProducts builds our binaries into dir.
func EnsureProducts(root, dir string, progress io.Writer) error {
	args := []string{"build", "-trimpath", "-o", dir + string(filepath.Separator)}
	for _, name := range Products {
		args = append(args, "./cmd/"+name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return run(progress, strings.Join(Products, ", "), goCommand(root, args...))
}

// Package builds one main package of the e2e module, such as a plugin that misbehaves for a test.
func Package(root, pkg, path string, progress io.Writer) error {
	return run(progress, filepath.Base(path), goCommand(filepath.Join(root, "e2e"), "build", "-trimpath", "-o", path, pkg))
}

// Submodule builds the main package of a module of its own, dir below e2e, such as containerd's part in a test.
func Submodule(root, dir, path string, progress io.Writer) error {
	return run(progress, filepath.Base(path), goCommand(filepath.Join(root, "e2e", filepath.FromSlash(dir)), "build", "-trimpath", "-o", path, "."))
}

// Internal builds a main package of the main module that is no product, such as the fake KMS.
func Internal(root, pkg, path string, progress io.Writer) error {
	return run(progress, filepath.Base(path), goCommand(root, "build", "-trimpath", "-o", path, pkg))
}

func goCommand(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return cmd
}

// run runs the go command; what it printed is in the error.
func run(progress io.Writer, what string, cmd *exec.Cmd) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	fmt.Fprintf(progress, "building %s …\n", what)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("building %s: %w", what, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("building %s: %w\n%s", what, err, output.Bytes())
			}
			fmt.Fprintf(progress, "built %s in %.1f s\n", what, time.Since(start).Seconds())
			return nil
		case <-ticker.C:
			fmt.Fprintf(progress, "  … still building %s: %.0f s\n", what, time.Since(start).Seconds())
		}
	}
}
