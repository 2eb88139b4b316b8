package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// onTerminal runs the command line on a pseudo-terminal that has so many columns, and returns what a person sees.
func onTerminal(t *testing.T, columns uint16, args ...string) (shown string, code int) {
	t.Helper()
	terminal, seen := pseudoTerminal(t, columns)
	code = Main(args, strings.NewReader(""), terminal, terminal)
	return seen(), code
}

// pseudoTerminal opens a pseudo-terminal that has so many columns. seen closes it and returns what a person sees.
func pseudoTerminal(t *testing.T, columns uint16) (terminal *os.File, seen func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no pseudo-terminal here: ", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	// Through RawConn, as Fd would make reads of it block for ever.
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number uint32
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed != nil {
			return
		}
		if number, failed = unix.IoctlGetUint32(int(fd), unix.TIOCGPTN); failed != nil {
			return
		}
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: 24})
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&all, master) // it ends with EIO when the terminal is closed
	}()
	return terminal, func() string {
		terminal.Close()
		<-done
		return strings.ReplaceAll(all.String(), "\r\n", "\n")
	}
}

// TestUnchangedKeysOnATerminal: beside the progress bar, too, each key's outcome is a line.
func TestUnchangedKeysOnATerminal(t *testing.T) {
	_, arns := fakeKMS(t)
	pull := []string{"keys", "pull", arns["p256"], arns["p384"]}
	if code, _, stderr := call(pull...); code != 0 {
		t.Fatal(stderr)
	}
	for _, args := range [][]string{pull, {"keys", "refresh"}} {
		shown, code := onTerminal(t, 200, args...)
		if code != 0 || !strings.Contains(shown, "unchanged: "+arns["p256"]) || !strings.Contains(shown, "unchanged: "+arns["p384"]) {
			t.Errorf("%q: exit code %d, the terminal shows %q", args, code, shown)
		}
	}
}

func TestTerminal(t *testing.T) {
	prepareDocs(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	runDocumented(t, name+" keys import release.json release-state.json --alias alias/release")
	verify := []string{"verify", "--key-id", "alias/release", "--signature", "app.sig", "app.tar.gz"}
	wrong := []string{"verify", "--key-id", "alias/release", "--signature", "app.sig", "app.digest"}
	for what, c := range map[string]struct {
		env  string
		args []string
		code int
		has  []string
		not  []string
	}{
		"yes":        {args: verify, has: []string{"\x1b[32mVerified:\x1b["}},
		"no":         {args: wrong, code: 1, has: []string{"awskms-offline: \x1b[31mKMSInvalidSignatureException\x1b[", "\x1b[36mhint:\x1b["}},
		"no colours": {env: "NO_COLOR=1", args: verify, has: []string{"Verified: arn"}, not: []string{"\x1b["}},
		"dumb":       {env: "TERM=dumb", args: wrong, code: 1, has: []string{"awskms-offline: KMSInvalidSignatureException: "}, not: []string{"\x1b["}},
		"a machine":  {args: append([]string{"--output", "json"}, verify...), has: []string{`"SignatureValid": true`}, not: []string{"\x1b["}},
		"doctor":     {args: []string{"doctor"}, has: []string{"\x1b[32mok      \x1b["}},
	} {
		t.Run(what, func(t *testing.T) {
			if name, value, set := strings.Cut(c.env, "="); set {
				t.Setenv(name, value)
			}
			shown, code := onTerminal(t, 80, c.args...)
			if code != c.code {
				t.Errorf("exit code %d", code)
			}
			for _, text := range c.has {
				if !strings.Contains(shown, text) {
					t.Errorf("%q lacks %q", shown, text)
				}
			}
			for _, text := range c.not {
				if strings.Contains(shown, text) {
					t.Errorf("%q has %q", shown, text)
				}
			}
		})
	}
}

// Tables fit the terminal, and nothing of an ARN is lost.
func TestTablesFit(t *testing.T) {
	prepareDocs(t)
	runDocumented(t, name+" keys import release.json release-state.json --alias alias/release")
	runDocumented(t, name+" keys import sm2.json sm2-state.json --alias alias/a-name-that-is-longer-than-any-that-a-terminal-of-eighty-columns-could-hold")
	const arn = "arn:aws-cn:kms:cn-north-1:111122223333:key/688f71e2-6f8d-4c76-bf6b-a07a3caf25ad"
	for _, command := range [][]string{{"keys", "list"}, {"keys", "status"}} {
		for _, columns := range []uint16{80, 100, 400} {
			shown, code := onTerminal(t, columns, command...)
			lines := strings.Split(strings.TrimSuffix(shown, "\n"), "\n")
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > int(columns) {
					t.Errorf("%v in %d columns: a line of %d: %q", command, columns, n, line)
				}
			}
			if whole := strings.Contains(shown, "could-hold"); code != 0 || !strings.Contains(shown, arn) || whole != (columns == 400) || whole == strings.Contains(shown, "…") {
				t.Errorf("%v in %d columns: exit code %d\n%s", command, columns, code, shown)
			}
			if want := map[bool]int{true: 3, false: 5}[columns == 400]; len(lines) != want {
				t.Errorf("%v in %d columns: %d lines, expected %d\n%s", command, columns, len(lines), want, shown)
			}
		}
	}
}
