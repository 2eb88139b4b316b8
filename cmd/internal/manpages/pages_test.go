package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/cmd/internal/cli"
)

// TestPages: every command has its page, which holds its flags and examples; two runs give the same bytes.
func TestPages(t *testing.T) {
	date := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	dir, again := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, again} {
		if err := write(d, date); err != nil {
			t.Fatal(err)
		}
	}
	files := 0
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !bytes.Equal(read(t, path), read(t, filepath.Join(again, below))) {
			t.Errorf("%s differs between two runs", below)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	commands := 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if !c.IsAvailableCommand() && c.HasParent() {
			return
		}
		commands++
		page := string(read(t, filepath.Join(dir, "man1", strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")))
		if !strings.Contains(page, "Nov 2026") || c.Example != "" && !strings.Contains(page, ".SH EXAMPLE") {
			t.Errorf("the page of %s has no date or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(cli.Command())
	if commands < 30 || files < commands+4 {
		t.Errorf("%d commands and %d files", commands, files)
	}
	for _, file := range []string{"awskms-offline.bash", "_awskms-offline", "awskms-offline.fish", "awskms-offline.ps1"} {
		if text := read(t, filepath.Join(dir, "completions", file)); !bytes.Contains(text, []byte("awskms-offline")) {
			t.Errorf("%s does not complete this program", file)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
