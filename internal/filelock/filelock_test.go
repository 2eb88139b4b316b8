package filelock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const write = os.O_RDWR | os.O_CREATE

var errBusy = errors.New("busy")

// counted returns a left that says each time that it is called.
func counted() (left func(), calls <-chan struct{}) {
	c := make(chan struct{}, 10)
	return func() { c <- struct{}{} }, c
}

// came demands that exactly one call comes.
func came(t *testing.T, calls <-chan struct{}) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(10 * time.Second):
		t.Fatal("left was not called")
	}
	if len(calls) != 0 {
		t.Error("left was called again")
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errBusy)
	t.Cleanup(cancel)
	return ctx
}

// TestOneWriter: who waits in vain gives up, and what it gets afterwards is given back at once.
func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	leftFirst, first := counted()
	release, err := Acquire(t.Context(), path, write, leftFirst)
	if err != nil {
		t.Fatal(err)
	}
	var late []<-chan struct{}
	for name, flag := range map[string]int{"a writer": write, "a reader": os.O_RDONLY} {
		left, calls := counted()
		if _, err := Acquire(soon(t), path, flag, left); !errors.Is(err, errBusy) {
			t.Fatalf("%s: got %v, expected %v", name, err, errBusy)
		}
		if len(calls) != 0 {
			t.Errorf("%s: left was called, but the lock is waited for", name)
		}
		late = append(late, calls)
	}
	if len(first) != 0 {
		t.Error("left was called, but the lock is held")
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	came(t, first)
	for _, calls := range late {
		came(t, calls)
	}
	release, err = Acquire(t.Context(), path, write, func() {})
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

func TestReadersShare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		release, err := Acquire(soon(t), path, os.O_RDONLY, func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	if _, err := Acquire(soon(t), path, write, func() {}); !errors.Is(err, errBusy) {
		t.Errorf("a writer beside readers: got %v, expected %v", err, errBusy)
	}
}

func TestUnopened(t *testing.T) {
	left, calls := counted()
	if _, err := Acquire(t.Context(), filepath.Join(t.TempDir(), "none", "lock"), write, left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, expected %v", err, fs.ErrNotExist)
	}
	came(t, calls)
}
