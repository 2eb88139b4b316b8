package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Prints the version, the commit it was built from, and the Go release and system it was built for.",
		Example: "  awskms-offline version --output json",
		Args:    exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			commit := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						commit = s.Value
					}
				}
			}
			system := runtime.GOOS + "/" + runtime.GOARCH
			if a.output == "json" {
				return a.json(map[string]string{"Version": buildinfo.Version, "Commit": commit, "Go": runtime.Version(), "System": system})
			}
			return a.printf("%s %s (commit %s, %s, %s)\n", name, buildinfo.Version, commit, runtime.Version(), system)
		},
	}
}
