//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// answered are the answers of a batch, which must be in order from the line given.
func answered(t *testing.T, out []byte, first int64) (valid []bool) {
	t.Helper()
	for data := range bytes.Lines(out) {
		var a struct {
			Line  int64
			Valid bool `json:"signature_valid"`
		}
		if err := json.Unmarshal(data, &a); err != nil || a.Line != first+int64(len(valid)) {
			t.Fatalf("answer %d is %q (%v)", len(valid)+1, data, err)
		}
		valid = append(valid, a.Valid)
	}
	return valid
}

// TestBatchBadBytes: a line of 100 MB is held nowhere; neither it nor a line that is no UTF-8, or holds a NUL, keeps the next
// from being answered.
func TestBatchBadBytes(t *testing.T) {
	w := newBatchWorld(t)
	kind := batchKinds[0]
	messages, signatures := w.signed(t, kind, 1)
	good := w.line(kind, 0, messages[0], signatures[0])
	type part struct {
		data  []byte
		times int
	}
	input := func(parts ...part) (out []byte, code int, peak int64) {
		cmd := w.run("-")
		peakOf := peakMemory(t, cmd)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			for range p.times {
				if _, err := stdin.Write(p.data); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = stdin.Close()
		_ = cmd.Wait()
		return stdout.Bytes(), cmd.ProcessState.ExitCode(), peakOf()
	}
	_, _, few := input(part{good, 2})
	long := bytes.Repeat([]byte("x"), 1<<20)
	out, code, most := input(part{good, 1}, part{[]byte(`{"id":"long","message":"`), 1}, part{long, 100}, part{[]byte("\"}\n"), 1},
		part{bytes.Replace(good, []byte(`"key_id":"`), []byte("\"key_id\":\"\xff\xfe"), 1), 1},
		part{bytes.Replace(good, []byte(`"key_id":"`), []byte("\"key_id\":\"\x00"), 1), 1},
		part{[]byte("\xef\xbb\xbf"), 1}, part{good, 1},
		part{bytes.TrimSuffix(good, []byte("\n")), 1}, // the last line needs no line feed
	)
	if valid := answered(t, out, 1); code != 2 || fmt.Sprint(valid) != "[true false false false false true]" {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	for line, says := range map[int]string{2: "longer than the 1048576 bytes allowed", 3: "UTF-8", 4: "invalid character", 5: "byte order mark"} {
		if text := strings.Split(string(out), "\n")[line-1]; !strings.Contains(text, `"code":"ValidationException"`) || !strings.Contains(text, says) {
			t.Errorf("the answer to line %d is %s, expected %q", line, text, says)
		}
	}
	if most > few+(16<<20) {
		t.Errorf("the peak memory is %d bytes, and %d without the long line", most, few)
	}
}

// running is a batch whose input stays open: it was given n good lines, and has answered the first of them.
func running(t *testing.T, w *batchWorld, n int, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout *bufio.Reader, closeStdout func(), stderr *strings.Builder) {
	t.Helper()
	messages, signatures := w.signed(t, batchKinds[0], 1)
	cmd = w.run(append([]string{"-"}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe() // StdoutPipe would be closed by Wait
	if err != nil {
		t.Fatal(err)
	}
	stderr = &strings.Builder{}
	cmd.Stdout, cmd.Stderr = write, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = read.Close()
	})
	good := w.line(batchKinds[0], 0, messages[0], signatures[0])
	go func() {
		_, _ = stdin.Write(bytes.Repeat(good, n)) // an error is seen by what is answered
	}()
	stdout = bufio.NewReader(read)
	if line, err := stdout.ReadString('\n'); err != nil || !strings.Contains(line, `"signature_valid":true`) {
		t.Fatalf("the first answer is %q, %v", line, err)
	}
	return cmd, stdin, stdout, func() { _ = read.Close() }, stderr
}

// ends waits for the process, which must end by itself soon.
func ends(t *testing.T, cmd *exec.Cmd, stderr *strings.Builder, code int) {
	t.Helper()
	done := make(chan bool)
	go func() {
		select {
		case <-done:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
		}
	}()
	_ = cmd.Wait()
	close(done)
	if cmd.ProcessState.ExitCode() != code {
		t.Fatalf("exit code %d, expected %d\n%s", cmd.ProcessState.ExitCode(), code, stderr.String())
	}
}

// TestBatchInterrupted: Ctrl-C, and SIGTERM as CI servers and time-outs send it, end a batch that waits for its input, with exit code 3 though every answer was a yes; the
// number of answers that it tells is that of the answers given, and report and log say that it is not whole.
func TestBatchInterrupted(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) { interruptsBatch(t, signal) })
	}
}

func interruptsBatch(t *testing.T, signal syscall.Signal) {
	w := newBatchWorld(t)
	report := filepath.Join(t.TempDir(), "r.xml")
	const n = 500
	cmd, _, stdout, _, stderr := running(t, w, n, "--report", "junit="+report)
	var out []byte
	for range n - 1 {
		line, err := stdout.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, line...)
	}
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	ends(t, cmd, stderr, 3)
	rest, err := io.ReadAll(stdout)
	if err != nil || len(rest) != 0 || len(answered(t, out, 2)) != n-1 {
		t.Errorf("%d bytes more, %v", len(rest), err)
	}
	for _, says := range []string{"interrupted: 500 lines answered", "`--skip 500` goes on behind them", "500 lines: 500 verified, 0 not"} {
		if !strings.Contains(stderr.String(), says) {
			t.Errorf("said %q, expected %q", stderr.String(), says)
		}
	}
	if text, err := os.ReadFile(report); err != nil || !strings.Contains(string(text), `tests="501" failures="0" errors="1"`) || !strings.Contains(string(text), "the lines behind line 500") {
		t.Errorf("the report is %.600s, %v", text, err)
	}
	if logged := w.logged(t); logged != n+1 { // why it ended has a line too
		t.Errorf("%d lines in the log, expected %d", logged, n+1)
	}
}

// TestBatchAnswersIntoItsFiles: answers written to the end of the batch would be lines of it, and a report in the place of the
// answers would leave none.
func TestBatchAnswersIntoItsFiles(t *testing.T) {
	w := newBatchWorld(t)
	messages, signatures := w.signed(t, batchKinds[0], 1)
	batch, answers := filepath.Join(t.TempDir(), "lines"), filepath.Join(t.TempDir(), "answers")
	lines := w.line(batchKinds[0], 0, messages[0], signatures[0])
	write(t, batch, lines)
	for _, c := range []struct {
		out  string
		args []string
		says string
	}{
		{batch, []string{batch}, "is the file that the answers are written to"},
		{answers, []string{batch, "--report", "junit=" + answers}, "which the answers are written to"},
	} {
		out, err := os.OpenFile(c.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		stderr := &strings.Builder{}
		cmd := w.run(c.args...)
		cmd.Stdout, cmd.Stderr = out, stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ends(t, cmd, stderr, 2)
		if !strings.Contains(stderr.String(), c.says) {
			t.Errorf("said %q, expected %q", stderr, c.says)
		}
	}
	if after, err := os.ReadFile(batch); err != nil || !bytes.Equal(after, lines) {
		t.Errorf("the batch is %q, %v", after, err)
	}
}

// TestTerminatedInAWrite: SIGTERM, sent once, ends a command that hangs in writing to a pipe that nobody reads.
func TestTerminatedInAWrite(t *testing.T) {
	w := newBatchWorld(t)
	cmd, _, _, _, _ := running(t, w, 20_000)
	time.Sleep(time.Second) // the pipe is full by now; if not, it is when the signal comes
	begun := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if !hung.Stop() {
		t.Fatal("it hangs")
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended after %s with %v, expected by SIGTERM", time.Since(begun), cmd.ProcessState)
	}
}

// TestBatchBrokenPipe: a reader that goes away ends the batch with exit code 3, a sentence and how to go on, by no signal.
func TestBatchBrokenPipe(t *testing.T) {
	w := newBatchWorld(t)
	cmd, stdin, _, closeStdout, stderr := running(t, w, 20_000)
	closeStdout()
	ends(t, cmd, stderr, 3)
	_ = stdin.Close()
	told := regexp.MustCompile("the answers cannot be written to standard output: broken pipe; ([0-9]+) lines? answered\nhint: .*`--skip ([0-9]+)` goes on behind them").FindStringSubmatch(stderr.String())
	if told == nil || told[1] != told[2] {
		t.Fatalf("said %q", stderr.String())
	}
	// What was told to be answered has its line, and what goes on begins behind it.
	var written int64
	if _, err := fmt.Sscan(told[1], &written); err != nil || w.logged(t) < written {
		t.Errorf("%d answers, %d lines in the log", written, w.logged(t))
	}
	messages, signatures := w.signed(t, batchKinds[0], 1)
	file := filepath.Join(t.TempDir(), "lines")
	write(t, file, bytes.Repeat(w.line(batchKinds[0], 0, messages[0], signatures[0]), int(written)+3))
	out, err := w.run(file, "--skip", told[2]).Output()
	if err != nil || len(answered(t, out, written+1)) != 3 {
		t.Errorf("%v: %s", err, out)
	}
}

// Answers that are not out are told, whatever ended the batch: here the first line keeps the others waiting, so that its answer
// is one of many that are written together, and does not verify.
func TestBatchAnswersLostByFailFast(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor has no answer waiting behind another: that the answers of a batch are told to be lost is not tested")
	}
	w := newBatchWorld(t)
	kind := batchKinds[0]
	messages, signatures := w.signed(t, kind, 9)
	long := filepath.Join(t.TempDir(), "long")
	write(t, long, nil)
	if err := os.Truncate(long, 400<<20); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	fmt.Fprintf(&lines, `{"id":0,"key_id":%q,"message_file":%q,"signature":%q,"signing_algorithm":%q}`+"\n", w.arns[kind.key],
		long, base64.StdEncoding.EncodeToString(signatures[0]), kind.alg)
	for i := 1; i < len(messages); i++ {
		lines.Write(w.line(kind, int64(i), messages[i], signatures[i]))
	}
	cmd := w.run("-", "--fail-fast")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("this system has no /dev/full: answers that cannot be written are not tested: %v", err)
	}
	defer full.Close()
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &lines, full, &stderr
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != kmserr.ExitOurSide || !strings.Contains(stderr.String(), "the answers cannot be written to standard output") ||
		strings.Contains(stderr.String(), "stopped at line") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
}
