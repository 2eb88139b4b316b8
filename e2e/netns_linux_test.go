package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/awskms-offline/awskms-offline/e2e/internal/build"
)

// insideVariable makes this test binary, started in a network namespace of its own, the program that switches the
// loopback interface on and becomes the command in its arguments.
const insideVariable = "AWSKMS_OFFLINE_E2E_INSIDE_NETNS"

func init() {
	if os.Getenv(insideVariable) == "" {
		return
	}
	if err := becomeIsolated(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "netns:", err)
		os.Exit(125)
	}
}

// becomeIsolated returns only with an error.
func becomeIsolated(command []string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback); err != nil {
		return fmt.Errorf("switching lo on: %w", err)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	if len(interfaces) != 1 || interfaces[0].Flags&net.FlagLoopback == 0 {
		return fmt.Errorf("the namespace has more than the loopback interface: %v", interfaces)
	}
	if err := os.Unsetenv(insideVariable); err != nil {
		return err
	}
	return syscall.Exec(command[0], command, os.Environ())
}

// TestDemoWithoutNetwork runs the demo where there is no network but the loopback interface.
func TestDemoWithoutNetwork(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: in a user namespace of anybody else the files of root belong to nobody, " +
			"and the key store rightly refuses folders of nobody above it")
	}
	demo := filepath.Join(t.TempDir(), "demo")
	if err := build.Package(shared.root, "./demo/show", demo, os.Stderr); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, demo, "-root", shared.root, "-bin", shared.bin)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	identity := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: identity, GidMappings: identity,
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.ENOSYS) {
		t.Skipf("the system allows no network namespace here (CLONE_NEWUSER, CLONE_NEWNET): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the demo without network: %v\n%s", err, output.Bytes())
	}
	for _, word := range []string{"Successfully verified signature for 127.0.0.1:", "Disabled", "cosign: our plugin on PATH", "Verified OK", "All as it should be"} {
		if !strings.Contains(output.String(), word) {
			t.Errorf("the demo did not say %q:\n%s", word, output.Bytes())
		}
	}
}
