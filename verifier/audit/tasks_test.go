package audit

import (
	"context"
	"fmt"
	"runtime"
	"strings"
)

// The test binary started again with this variable does one thing with a log, "<task> <path>", and prints "done" and what it
// learned, or "failed" and the error.
const taskVariable = "AWSKMS_OFFLINE_TEST_TASK"

// fewLines is a RotateBytes that keeps about three lines in a file.
const fewLines = 5000

// taskLines are written by every task that writes; before them a log has ten.
var taskLines = map[string]int{"append": 1, "group": 7, "rotate": 1, "rotate unflushed": 1}

func runTask(task, path string) (learned any, err error) {
	l, err := NewFileLog(Config{Path: path, Required: true})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	switch task {
	case "append":
		return nil, l.Append(ctx, decision(11))
	case "group":
		l.cfg.RotateBytes = fewLines
		return nil, l.AppendAll(ctx, decisions(11, 17))
	case "rotate":
		l.cfg.RotateBytes = 1
		return nil, l.Append(ctx, decision(11))
	case "rotate unflushed":
		l.cfg.RotateBytes, l.cfg.NoSync = 1, true
		return nil, l.Append(ctx, decision(11))
	case "last time":
		return l.LastTime()
	case "head":
		return HeadOf(ctx, path)
	case "verify":
		report, err := Verify(ctx, path, Options{})
		return []any{report.Intact, report.Lines, report.Files}, err
	case "show":
		lines := 0
		for _, line := range Lines(ctx, path, Filter{}) {
			if err != nil {
				return nil, fmt.Errorf("something comes after the error %w", err)
			}
			err = line
			lines++
		}
		return lines, err
	}
	return nil, fmt.Errorf("there is no task %q", task)
}

func printTask(task string) int {
	runtime.LockOSThread() // a thread's calls are counted for itself: see strace.EachFault
	name, path, _ := strings.Cut(task, "\n")
	learned, err := runTask(name, path)
	code, said := 0, fmt.Sprintln("done", learned)
	if err != nil {
		code, said = 1, fmt.Sprintln("failed", err)
	}
	if _, err := fmt.Print(said); err != nil {
		return 2
	}
	return code
}
