package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/awskms-offline/awskms-offline/cmd/internal/cli"
	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
)

// write writes what a package of the command line installs beside it, made from the commands themselves: man pages of
// section 1 below dir/man1, and completions for four shells below dir/completions. date stands in the pages, so that two
// runs give the same bytes.
func write(dir string, date time.Time) error {
	root := cli.Command()
	root.DisableAutoGenTag = true
	man, completions := filepath.Join(dir, "man1"), filepath.Join(dir, "completions")
	for _, folder := range []string{man, completions} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	header := &doc.GenManHeader{Title: "AWSKMS-OFFLINE", Section: "1", Source: root.Name() + " " + buildinfo.Version, Manual: "User commands", Date: &date}
	if err := doc.GenManTree(root, header, man); err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	for file, generate := range map[string]func(*cobra.Command, string) error{
		root.Name() + ".bash": func(c *cobra.Command, path string) error { return c.GenBashCompletionFileV2(path, true) },
		"_" + root.Name():     (*cobra.Command).GenZshCompletionFile,
		root.Name() + ".fish": func(c *cobra.Command, path string) error { return c.GenFishCompletionFile(path, true) },
		root.Name() + ".ps1":  (*cobra.Command).GenPowerShellCompletionFileWithDesc,
	} {
		if err := generate(root, filepath.Join(completions, file)); err != nil {
			return fmt.Errorf("completion %s: %w", file, err)
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	})
}
