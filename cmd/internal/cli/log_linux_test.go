package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestLogOnABadDisk: a log whose disk is full or mounted read-only, in each mode, with and without flushing, asked through
// every front end. off does not notice; best-effort answers and tells; required answers no. What was in the log stays as
// it was, and goes on once the disk can be written again.
func TestLogOnABadDisk(t *testing.T) {
	const (
		arn     = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
		message = "message"
		records = "../../../testdata/records/"
	)
	good, _, err := signTest("../../../testdata", "p256", kmskey.ECDSASHA256, []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	for _, disk := range []string{"full", "read-only"} {
		for _, mode := range []string{"off", "best-effort", "required"} {
			for _, flush := range []bool{false, true} {
				if flush && mode == "off" {
					continue // no policy can say so
				}
				t.Run(fmt.Sprintf("%s/%s/sync=%t", disk, mode, flush), func(t *testing.T) {
					dir := t.TempDir()
					home, folder := isolated(t, dir), filepath.Join(dir, "log")
					smallDisk(t, folder, "1m")
					path := filepath.Join(folder, audit.FileName)
					if out, code := runCLI(t, "keys", "import", records+"p256.get-public-key.json", records+"p256.describe-key.json"); code != 0 {
						t.Fatal(out)
					}
					log, err := audit.NewFileLog(audit.Config{Path: path})
					if err != nil {
						t.Fatal(err)
					}
					if err := log.Append(t.Context(), audit.Decision{EventName: audit.EventVerify, Asked: arn}); err != nil {
						t.Fatal(err)
					}
					switch disk {
					case "full":
						filler, err := os.OpenFile(filepath.Join(folder, "filler"), os.O_WRONLY|os.O_CREATE, 0o600)
						if err != nil {
							t.Fatal(err)
						}
						for err == nil {
							_, err = filler.Write(make([]byte, 4096))
						}
						filler.Close()
						// The page that the log has begun still takes lines.
						for err = nil; err == nil; {
							err = log.Append(t.Context(), audit.Decision{EventName: audit.EventVerify, Asked: arn})
						}
					case "read-only":
						if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
							t.Fatal(err)
						}
					}
					before, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					policy := fmt.Sprintf(`{"version":"1","log":{"mode":%q,"path":%q,"sync":%t}}`, mode, path, flush)
					if mode == "off" {
						policy = `{"version":"1","log":{"mode":"off"}}`
					}
					write(t, filepath.Join(home, "policy.json"), []byte(policy))
					for name, ask := range frontEnds {
						said := ask(t, asked{key: "p256", keyID: arn, signature: good, message: message})
						want := ""
						if mode == "required" {
							want = string(kmserr.AuditUnavailable)
						}
						if exception.FindString(said) != want {
							t.Errorf("%s said %q, expected %q", name, said, want)
						}
						// A refusal stays the same refusal, and the user learns that it has no line.
						if name == "notation" {
							continue
						}
						said = ask(t, asked{key: "p256", keyID: arn, signature: []byte("none"), message: message})
						wants := map[string][]string{"off": {"KMSInvalidSignatureException"}, "best-effort": {"KMSInvalidSignatureException"}, "required": {"AuditUnavailableException"}}[mode]
						if mode == "best-effort" && name != "library" {
							wants = append(wants, "the decision was not logged: AuditUnavailableException")
						}
						for _, want := range wants {
							if !strings.Contains(said, want) {
								t.Errorf("%s said %q, expected %q", name, said, want)
							}
						}
					}
					if disk == "read-only" && mode != "off" { // which shows without writing
						code, stdout, _ := call("doctor")
						level, exit := "warning ", 0
						if mode == "required" {
							level, exit = "danger ", kmserr.ExitOurSide
						}
						if code != exit || !strings.Contains(stdout, level) || !strings.Contains(stdout, "read-only file system") {
							t.Errorf("doctor: exit code %d\n%s", code, stdout)
						}
					}
					if mode != "off" {
						write(t, filepath.Join(dir, "message"), []byte(message))
						write(t, filepath.Join(dir, "sig"), good)
						_, _, stderr := call("verify", "--key-id", arn, "--signature", filepath.Join(dir, "sig"), filepath.Join(dir, "message"))
						says := map[string]string{"full": "no space left on device", "read-only": "read-only file system"}[disk]
						if !strings.Contains(stderr, says) || mode == "best-effort" && strings.Count(stderr, "\n") != 1 {
							t.Errorf("standard error is %q, expected %q", stderr, says)
						}
					}
					if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
						t.Errorf("%v: the log was %d bytes long, and is %d", err, len(before), len(after))
					}
					if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, "mode=0700,size=10m"); err != nil {
						t.Fatal(err)
					}
					for name, ask := range frontEnds {
						if said := ask(t, asked{key: "p256", keyID: arn, signature: good, message: message}); said != "" {
							t.Errorf("%s said %q", name, said)
						}
					}
					report, err := audit.Verify(context.Background(), path, audit.Options{})
					lines := int64(strings.Count(string(before), "\n"))
					if mode != "off" {
						lines += int64(len(frontEnds))
					}
					if err != nil || report.Recovered != 0 || report.Lines != lines {
						t.Errorf("%v: %+v, expected %d lines", err, report, lines)
					}
				})
			}
		}
	}
}

// TestAuditShowFollow: what other processes write is shown as they write it, through a rotation, until Ctrl-C, which is no
// error.
func TestAuditShowFollow(t *testing.T) {
	dir := t.TempDir()
	isolated(t, dir)
	path := filepath.Join(dir, "state", "awskms-offline", audit.FileName)
	log, err := audit.NewFileLog(audit.Config{Path: path, RotateBytes: audit.MaxLine})
	if err != nil {
		t.Fatal(err)
	}
	appended := func(asked string) {
		if err := log.Append(t.Context(), audit.Decision{EventName: audit.EventVerify, Asked: asked, ErrorCode: string(kmserr.NotFound)}); err != nil {
			t.Error(err)
		}
	}
	appended("alias/before")
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Main([]string{"audit", "show", "--log", path, "--result", "refused", "--follow"}, strings.NewReader(""), writer, &stderr)
		writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	next := func(asked string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), " "+asked+" refused NotFoundException") {
			t.Fatalf("%q, %v: expected %s", lines.Text(), lines.Err(), asked)
		}
	}
	next("alias/before")
	long := func(n int) string { return fmt.Sprintf("alias/%d-%s", n, strings.Repeat("x", 1000)) }
	for n := range 100 { // a rotation is among them
		appended(long(n))
	}
	for n := range 100 {
		next(long(n))
	}
	if files, err := filepath.Glob(path + ".0*"); err != nil || len(files) == 0 {
		t.Errorf("%v: nothing was rotated", err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 || lines.Scan() {
		t.Errorf("exit code %d, %q, %s", got, lines.Text(), stderr.String())
	}
}

// TestAuditShowFollowDamage: a line that cannot be read is told when it comes, and makes the exit code at the end.
func TestAuditShowFollowDamage(t *testing.T) {
	dir := t.TempDir()
	isolated(t, dir)
	path := filepath.Join(dir, "state", "awskms-offline", audit.FileName)
	log, err := audit.NewFileLog(audit.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := log.Append(t.Context(), audit.Decision{EventName: audit.EventVerify, Asked: "alias/a", ErrorCode: string(kmserr.NotFound)}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, bytes.Replace(data, []byte("alias/a"), []byte("alias/\xff"), 1))
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Main([]string{"audit", "show", "--log", path, "--follow"}, strings.NewReader(""), io.Discard, writer)
		writer.Close()
	}()
	said := bufio.NewScanner(reader)
	if !said.Scan() || !strings.Contains(said.Text(), "AuditIntegrityException") {
		t.Fatalf("said %q, %v", said.Text(), said.Err())
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for said.Scan() {
		if strings.Contains(said.Text(), "AuditIntegrityException") {
			t.Errorf("said again: %q", said.Text())
		}
	}
	if got := <-code; got != kmserr.Lookup(kmserr.AuditIntegrity).Exit {
		t.Errorf("exit code %d", got)
	}
}

// TestAuditShowOfNoLog: of a log that is damaged throughout, so many lines are told as anybody reads.
func TestAuditShowOfNoLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	for lines, says := range map[int]string{maxDamage: "", maxDamage + 50: "there are 50 more such lines"} {
		write(t, log, append([]byte(`{"eventVersion":`+"\n"), bytes.Repeat([]byte("no line\n"), lines-1)...))
		code, stdout, stderr := call("audit", "show", "--log", log)
		if code != 1 || stdout != "" || strings.Count(stderr, "AuditIntegrityException") != min(lines, maxDamage+1) || !strings.Contains(stderr, says) {
			t.Errorf("%d lines: exit code %d, %d told\n%.3000s", lines, code, strings.Count(stderr, "AuditIntegrityException"), stderr)
		}
	}
}

// TestAuditShowInterrupted: a part of the lines does not pass for all of them.
func TestAuditShowInterrupted(t *testing.T) {
	dir := t.TempDir()
	isolated(t, dir)
	path := filepath.Join(dir, "state", "awskms-offline", audit.FileName)
	log, err := audit.NewFileLog(audit.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]audit.Decision, 6000)
	for n := range lines {
		lines[n] = audit.Decision{EventName: audit.EventVerify, Asked: "alias/" + strings.Repeat("x", 1000), ErrorCode: string(kmserr.NotFound)}
	}
	if err := log.AppendAll(t.Context(), lines); err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Main([]string{"audit", "show", "--log", path}, strings.NewReader(""), writer, &stderr)
		writer.Close()
	}()
	shown := bufio.NewReader(reader)
	if _, err := shown.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // until the signal is there; what is shown is small before it is read
	if _, err := io.Copy(io.Discard, shown); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 3 || !strings.Contains(stderr.String(), "interrupted: these are not all lines") {
		t.Errorf("exit code %d, %s", got, stderr.String())
	}
}
