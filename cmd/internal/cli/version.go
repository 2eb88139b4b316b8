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
			d := buildDetailsOf()
			if a.output == "json" {
				return a.json(d)
			}
			return a.printf("%s %s (commit %s, %s, %s)\n", name, d.Version, d.Commit, d.Go, d.System)
		},
	}
}

// buildDetails say what this program was built from and for.
type buildDetails struct {
	Version string `json:"Version"`
	Commit  string `json:"Commit"`
	Go      string `json:"Go"`
	System  string `json:"System"`
}

func buildDetailsOf() buildDetails {
	d := buildDetails{Version: buildinfo.Version, Commit: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				d.Commit = s.Value
			}
		}
	}
	return d
}
