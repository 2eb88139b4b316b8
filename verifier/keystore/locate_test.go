package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	config, machine := filepath.Join(dir, "config"), filepath.Join(dir, "machine")
	user := filepath.Join(config, folderName)
	elsewhere := filepath.Join(dir, "elsewhere")
	noHome := errors.New("no home directory")
	const read, write = "read", "write"
	for _, c := range []struct {
		name      string
		explicit  *string
		env       map[string]string
		configErr error
		config    string // "" for the usual one
		there     []string
		statErr   error
		want      Home
		refused   map[string]kmserr.Name // for reading, for writing
		holds     string
	}{
		{name: "explicit first", explicit: &elsewhere, env: map[string]string{EnvHome: user}, there: []string{user, machine}, want: Home{elsewhere, "--home"}},
		{name: "explicit, empty", explicit: new(string), there: []string{user}, refused: map[string]kmserr.Name{read: kmserr.Validation, write: kmserr.Validation}, holds: "--home is empty"},
		{name: "explicit, relative", explicit: pointer("store"), there: []string{user}, refused: map[string]kmserr.Name{read: kmserr.Validation, write: kmserr.Validation}, holds: "absolute"},
		{name: "environment", env: map[string]string{EnvHome: elsewhere}, there: []string{user, machine}, want: Home{elsewhere, ChosenByEnv}},
		{name: "environment, empty", env: map[string]string{EnvHome: ""}, there: []string{user}, refused: map[string]kmserr.Name{read: kmserr.Validation, write: kmserr.Validation}, holds: "$AWSKMS_OFFLINE_HOME is empty"},
		{name: "environment, relative", env: map[string]string{EnvHome: "./x"}, there: []string{user}, refused: map[string]kmserr.Name{read: kmserr.Validation, write: kmserr.Validation}, holds: "absolute"},
		{name: "the user's", there: []string{user, machine}, want: Home{user, ChosenByUser}},
		{name: "the machine's", there: []string{machine}, want: Home{machine, ChosenByMachine}},
		{name: "none", refused: map[string]kmserr.Name{read: kmserr.StoreAccess}, holds: "neither " + user + " nor " + machine + " is there", want: Home{user, ChosenByUser}},
		{name: "no HOME, the machine's", configErr: noHome, there: []string{machine}, want: Home{machine, ChosenByMachine}},
		{name: "no HOME, none", configErr: noHome, refused: map[string]kmserr.Name{read: kmserr.StoreAccess, write: kmserr.StoreAccess}, holds: "the environment names no home directory"},
		{name: "a relative XDG_CONFIG_HOME hides nothing", configErr: noHome, env: map[string]string{"XDG_CONFIG_HOME": "x"}, there: []string{machine},
			refused: map[string]kmserr.Name{read: kmserr.Validation, write: kmserr.Validation}, holds: "XDG_CONFIG_HOME"},
		{name: "a relative configuration folder hides nothing", config: "x", there: []string{machine, "x/" + folderName},
			refused: map[string]kmserr.Name{read: kmserr.Validation, write: kmserr.Validation}, holds: `"x", expected an absolute path`},
		{name: "what cannot be told is not absent", statErr: fs.ErrPermission, refused: map[string]kmserr.Name{read: kmserr.StoreAccess, write: kmserr.StoreAccess}, holds: "cannot tell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := places{
				lookupEnv: func(name string) (string, bool) { v, ok := c.env[name]; return v, ok },
				userConfig: func() (string, error) {
					if c.config != "" {
						return c.config, nil
					}
					return config, c.configErr
				},
				machine: machine,
				lstat: func(path string) (fs.FileInfo, error) {
					if path == "" {
						t.Error("the empty path was looked at")
					}
					if c.statErr != nil {
						return nil, c.statErr
					}
					for _, there := range c.there {
						if there == path {
							return nil, nil
						}
					}
					return nil, fs.ErrNotExist
				},
			}
			for how, locate := range map[string]func(*string, string) (Home, error){read: p.locate, write: p.locateToWrite} {
				got, err := locate(c.explicit, "--home")
				if name := c.refused[how]; name != "" {
					refused(t, err, name, c.holds)
					if got != (Home{}) {
						t.Errorf("%s: got %+v", how, got)
					}
				} else if err != nil || got != c.want {
					t.Errorf("%s: got %+v, %v, expected %+v", how, got, err, c.want)
				}
			}
		})
	}
}

func pointer(s string) *string { return &s }

func TestLocateHere(t *testing.T) {
	// Nothing in the environment moves the machine's folder.
	want := map[string]string{"windows": filepath.Join(os.Getenv("ProgramData"), folderName), "darwin": "/Library/Application Support/awskms-offline"}[runtime.GOOS]
	if want == "" {
		want = "/etc/awskms-offline"
	}
	for _, variable := range []string{"ProgramData", "ALLUSERSPROFILE", "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"} {
		t.Setenv(variable, t.TempDir())
	}
	if got := MachineFolder(); got != want {
		t.Errorf("the machine's folder is %q, expected %q", got, want)
	}
	dir := t.TempDir()
	t.Setenv(EnvHome, dir)
	if got, err := Locate(nil, ""); err != nil || got != (Home{dir, ChosenByEnv}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := LocateToWrite(nil, ""); err != nil || got != (Home{dir, ChosenByEnv}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.Unsetenv(EnvHome); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	t.Setenv("AppData", dir)
	got, err := LocateToWrite(nil, "")
	if err != nil || got.ChosenBy != ChosenByUser || filepath.Base(got.Path) != folderName {
		if _, err := os.Lstat(MachineFolder()); err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}
