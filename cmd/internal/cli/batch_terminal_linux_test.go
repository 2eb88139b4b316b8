package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBatchProgress: a bar on a terminal, when the answers go elsewhere, and never among the answers.
func TestBatchProgress(t *testing.T) {
	w := newBatchWorld(t)
	messages, signatures := w.signed(t, batchKinds[0], 1)
	file := filepath.Join(t.TempDir(), "lines")
	write(t, file, bytes.Repeat(w.line(batchKinds[0], 0, messages[0], signatures[0]), 1500))
	stderr, said := pseudoTerminal(t, 100)
	cmd := w.run(file)
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	text := said()
	if !strings.Contains(text, "verify") || !strings.Contains(text, "%") || !strings.Contains(text, "1500 lines: 1500 verified, 0 not") {
		t.Errorf("the terminal shows %q", text)
	}
	if len(answered(t, stdout.Bytes(), 1)) != 1500 {
		t.Error("the answers are not all there")
	}

	// Of a pipe the end is not known: lines are counted.
	stderr, said = pseudoTerminal(t, 100)
	cmd = w.run("-")
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.MultiReader(in), io.Discard, stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if text := said(); !strings.Contains(text, "verify") || !strings.Contains(text, "lines/") {
		t.Errorf("the terminal shows %q", text)
	}

	// Answers and a bar on one terminal would be mixed up.
	both, said := pseudoTerminal(t, 100)
	cmd = w.run(file)
	cmd.Stdout, cmd.Stderr = both, both
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if text := said(); strings.Contains(text, "%") || strings.Count(text, `"signature_valid":true`) != 1500 {
		t.Errorf("the terminal shows %.300q", text)
	}
}

// TestSecretOnATerminal: a shared secret is not shown, unless that is asked for.
func TestSecretOnATerminal(t *testing.T) {
	w := newBatchWorld(t)
	records := filepath.Join(w.testdata, "records")
	if out, code := runCLI(t, "keys", "import", "--home", w.home, filepath.Join(records, "p256-agree.get-public-key.json"), "--alias", "alias/exchange"); code != 0 {
		t.Fatal(out)
	}
	derive := func(stdout *os.File, args ...string) (int, string) {
		cmd := exec.Command(w.command, append([]string{"derive-shared-secret", "--key-id", "alias/exchange", "--private-key", filepath.Join(w.testdata, "keys", "p256.key.pem")}, args...)...)
		var stderr strings.Builder
		cmd.Env, cmd.Stdout, cmd.Stderr = w.env, stdout, &stderr
		if stdout == nil {
			var secret strings.Builder
			cmd.Stdout = &secret
			_ = cmd.Run()
			return cmd.ProcessState.ExitCode(), secret.String()
		}
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), stderr.String()
	}
	code, secret := derive(nil)
	if secret = strings.TrimSpace(secret); code != 0 || len(secret) != 44 {
		t.Fatalf("exit code %d, %q", code, secret)
	}
	for _, form := range [][]string{nil, {"--output", "json"}, {"--encoding", "raw"}} {
		tty, said := pseudoTerminal(t, 100)
		code, stderr := derive(tty, form...)
		if shown := said(); code != 2 || strings.Contains(shown, "SharedSecret") || strings.Contains(shown, secret) || !strings.Contains(stderr, "written to a terminal") || !strings.Contains(stderr, "--unsafe-print") {
			t.Errorf("%q: exit code %d, the terminal shows %q, said %q", form, code, shown, stderr)
		}
	}
	tty, said := pseudoTerminal(t, 100)
	code, _ = derive(tty, "--unsafe-print")
	if shown := said(); code != 0 || strings.TrimSpace(shown) != secret {
		t.Errorf("exit code %d, the terminal shows %q", code, shown)
	}
}
