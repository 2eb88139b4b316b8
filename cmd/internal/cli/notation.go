package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/cmd/internal/confine"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
)

func (a *app) notation() *cobra.Command {
	var program string
	var helpers []string
	c := &cobra.Command{
		Use:   "notation [flags] COMMAND [notation's flags]",
		Short: "Run notation so that no signature can choose another plugin or program than this plugin",
		Long: `Runs notation in place of this program, with what follows as its arguments, so that it can start nothing but the plugin
awskms-offline of its plugin folder. A signature says by which plugin it is to be verified: without this Notation runs whatever other plugin
is installed, and by a name with ".." in it any file of this machine. Output and exit code are notation's.

Needs Linux with Landlock (5.13 or newer), and a notation and a plugin that are linked statically, as their releases are. Credential
helpers of Docker's configuration, which notation starts for registries, are named by --allow-program and have to be so too. Never name
a shell or an interpreter there: a signature can have it run any file.

--home becomes $AWSKMS_OFFLINE_HOME for the plugin.`,
		Example: "  awskms-offline notation verify -v registry.example.com/app@sha256:a0adb0dc8d36f2e061d57d59a40cc82fd25808ff42adeff833c7d2c9e9f50862",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return invalid("no command of notation is given").WithHint("See `notation --help`; to verify: awskms-offline notation verify IMAGE.")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.runNotation(program, helpers, args) },
	}
	// What follows notation's own command is notation's.
	c.Flags().SetInterspersed(false)
	pathVar(c.Flags(), &program, "notation", "", "notation itself, an absolute path (default: found on $PATH)")
	c.Flags().StringSliceVar(&helpers, "allow-program", nil, "a further program that notation may start, an absolute path")
	return c
}

func (a *app) runNotation(program string, helpers, args []string) error {
	switch {
	case a.output != "text":
		return invalid("--output is %q, but the output is notation's", a.output).WithHint("Leave it out, and see `notation COMMAND --help`.")
	case a.unsafe:
		return invalid("--unsafe-store-permissions is not for plugins, which check the store's permissions always").WithHint("Leave it out.")
	case program == "":
		found, err := confine.Find("notation")
		if err != nil {
			return invalid("notation is not found on $PATH: %v", reason(err)).WithHint("Install it, or give its path with --notation.")
		}
		program = found
	}
	for _, path := range append([]string{program}, helpers...) {
		if !filepath.IsAbs(path) {
			return invalid("the program %q is not named by an absolute path", path).WithHint("Give its full path.")
		}
	}
	if home := a.homeFlag(); home != nil {
		if !filepath.IsAbs(*home) {
			return invalid("--home is %q, expected an absolute path", *home).WithHint("Give the folder's full path.")
		}
		if err := os.Setenv(keystore.EnvHome, *home); err != nil {
			return invalid("--home cannot be handed on: %v", err).WithCause(err)
		}
	}
	plugin, err := installedPlugin()
	if err != nil {
		return err
	}
	return invalid("notation was not run: %v", confine.Exec(program, args, os.Environ(), append(helpers, plugin)...)).
		WithHint("What notation verifies is as safe without this where nobody else can place files on the machine: see docs/notation.md.")
}

// installedPlugin is the plugin that notation would run for signatures that name ours.
func installedPlugin() (path string, err error) {
	var r report
	_, plugins, err := locateNotation(&r, "")
	if err != nil {
		return "", err
	}
	for _, f := range r.findings {
		return "", invalid("%s", f.Fact).WithHint("Set $NOTATION_CONFIG, and $NOTATION_LIBEXEC where plugins lie elsewhere, to absolute paths.")
	}
	path = pluginPath(filepath.Join(plugins, notationPlugin), notationPlugin)
	if _, err := ourPlugin(path, notationPlugin); err != nil {
		if absent(path) {
			return "", invalid("the plugin %s is not installed: there is no %s", notationPlugin, path).
				WithHint("%s", installPlugin())
		}
		return "", err
	}
	return path, nil
}

// installPlugin says how the plugin is installed, by what a release calls its archive for this system.
func installPlugin() string {
	form := "tar.gz"
	if runtime.GOOS == "windows" {
		form = "zip"
	}
	return fmt.Sprintf("Install it: notation plugin install --file notation-%s_VERSION_%s_%s.%s, from a release as docs/install.md says.",
		notationPlugin, runtime.GOOS, runtime.GOARCH, form)
}

// pluginPath is the program of a plugin in its folder (Notary Project, plugin-extensibility.md, "Installation").
func pluginPath(dir, name string) string {
	suffix := ""
	if runtime.GOOS == "windows" {
		suffix = ".exe"
	}
	return filepath.Join(dir, "notation-"+name+suffix)
}
