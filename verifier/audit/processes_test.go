package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary started again with this variable is a writer: "<path> <writer> <from> <to> <rotate>".
const writerVariable = "AWSKMS_OFFLINE_TEST_WRITER"

func TestMain(m *testing.M) {
	if task := os.Getenv(writerVariable); task != "" {
		os.Exit(runWriter(task))
	}
	if task := os.Getenv(taskVariable); task != "" {
		os.Exit(printTask(task))
	}
	if path := os.Getenv(limitedVariable); path != "" {
		os.Exit(runLimited(path))
	}
	os.Exit(m.Run())
}

// runWriter appends its decisions one by one, and acknowledges each on standard output once Append has returned.
func runWriter(task string) int {
	fields := strings.Split(task, " ")
	number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
	l, err := NewFileLog(Config{Path: fields[0]})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l.cfg.RotateBytes = int64(number(4))
	for n := number(2); n < number(3); n++ {
		d := decision(n)
		d.Asked = name(number(1), n)
		err := l.Append(context.Background(), d)
		for errors.Is(err, errBusy) { // on a busy machine 64 writers can take longer than one waits; nothing was written then, or the line is there twice
			err = l.Append(context.Background(), d)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(n)
	}
	return 0
}

func name(writer, n int) string { return fmt.Sprintf("writer-%d-decision-%d", writer, n) }

// TestProcesses: 64 writers at once, many of them killed at a random moment, and their work taken up by another one.
// Every line that was acknowledged is there exactly once, and the chain holds.
func TestProcesses(t *testing.T) {
	const writers = 64
	each := 200
	if testing.Short() {
		each = 5
	}
	for _, rotate := range []int{0, 100_000} {
		t.Run(fmt.Sprintf("rotate=%d", rotate), func(t *testing.T) {
			path := logPath(t)
			var mu sync.Mutex
			acknowledged := make(map[string]bool)
			kills, failures := 0, 0
			var done sync.WaitGroup
			for w := range writers {
				done.Go(func() {
					for from := 0; from < each; {
						killed, err := writeAndKill(path, w, &from, each, rotate, func(n int) {
							mu.Lock()
							acknowledged[name(w, n)] = true
							mu.Unlock()
						})
						mu.Lock()
						if killed {
							kills++
						}
						if err != nil {
							failures++
							t.Errorf("writer %d: %v", w, err)
						}
						tooMany := failures > 10
						mu.Unlock()
						if tooMany {
							return
						}
					}
				})
			}
			done.Wait()
			report, err := Verify(t.Context(), path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			times := make(map[string]int)
			for entry, err := range Lines(t.Context(), path, Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				times[entry.Asked]++
			}
			lost, doubled, unacknowledged := 0, 0, 0
			for asked := range acknowledged {
				if times[asked] == 0 {
					lost++
				}
			}
			for asked, n := range times {
				if n > 1 {
					doubled++
				}
				if !acknowledged[asked] {
					unacknowledged++
				}
			}
			t.Logf("%d lines in %d files, %d processes killed, %d lines found torn, %d written by a process killed before it could say so",
				report.Lines, report.Files, kills, report.Recovered, unacknowledged)
			if lost > 0 || doubled > 0 || len(acknowledged)+unacknowledged != int(report.Lines) {
				t.Errorf("of %d acknowledged lines %d are lost; %d are there twice", len(acknowledged), lost, doubled)
			}
			if rotate > 0 && report.Files < 2 || kills == 0 {
				t.Errorf("the test is not what it is taken for: %d files, %d kills", report.Files, kills)
			}
		})
	}
}

// writeAndKill starts a writer of the decisions from *from on, and perhaps kills it at a random moment. It moves *from
// behind the last decision that was acknowledged, or that was under way when the writer died: whether its line was
// written nobody knows, so nobody writes it again.
func writeAndKill(path string, writer int, from *int, to, rotate int, acknowledge func(int)) (killed bool, err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerVariable+"="+fmt.Sprintf("%s %d %d %d %d", path, writer, *from, to, rotate))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	kill := func() {}
	if rand.IntN(3) > 0 {
		timer := time.AfterFunc(time.Duration(rand.IntN(800))*time.Millisecond, func() { cmd.Process.Kill() })
		kill = func() { timer.Stop() }
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			continue // killed while it said so
		}
		acknowledge(n)
		*from = n + 1
	}
	kill()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() < 0 || stderr.Len() == 0:
		*from++
		return true, nil
	}
	return false, fmt.Errorf("%w: %s", err, stderr.String())
}

// TestKilledInTheMiddle writes a line in two halves and dies between them: that is found, and the chain goes on.
func TestKilledInTheMiddle(t *testing.T) {
	path := newLog(t, 2)
	l := openLog(t, Config{Path: path})
	died := errors.New("died")
	func() {
		defer func() {
			if r, _ := recover().(error); !errors.Is(r, died) {
				t.Fatalf("got %v", r)
			}
		}()
		l.write = func(f *os.File, b []byte) (int, error) {
			if _, err := f.Write(b[:len(b)/2]); err != nil {
				return 0, err
			}
			panic(died)
		}
		_ = l.Append(t.Context(), decision(3))
	}()
	broken(t, path, Options{}, Torn)
	appendAll(t, openLog(t, Config{Path: path}), 4, 4)
	if r := intact(t, path, 3, Options{}); r.Recovered != 1 {
		t.Errorf("got %+v", r)
	}
	// The panicking goroutine gave the lock back, to its own log as well.
	l.write = (*os.File).Write
	appendAll(t, l, 5, 5)
}
