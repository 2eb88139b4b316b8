package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// folderName is the home's name below the user's configuration folder, and the machine's folder's name.
const folderName = "awskms-offline"

// Locate chooses the home to read: explicit, if not nil, given by the flag or option explicitName; else
// $AWSKMS_OFFLINE_HOME, if set; else awskms-offline in the user's configuration folder, if it is there; else the
// machine's folder, if it is there. One home is used, never a mixture. What was set but is empty or relative is a
// ValidationException, and never passed over; no home at all is a StoreAccessException.
func Locate(explicit *string, explicitName string) (Home, error) {
	return systemPlaces().locate(explicit, explicitName)
}

// LocateToWrite chooses the home to write: as Locate does, but where none is there yet it is the user's, to be made.
func LocateToWrite(explicit *string, explicitName string) (Home, error) {
	return systemPlaces().locateToWrite(explicit, explicitName)
}

// MachineFolder returns the folder that the machine's administrator sets up for all users: a home, and a policy that
// applies beside any home's. It is /etc/awskms-offline, on macOS /Library/Application Support/awskms-offline, on Windows
// awskms-offline in the ProgramData folder. It may not be there; "" if the system cannot tell it.
func MachineFolder() string { return systemPlaces().machine }

// places are where homes may be, and the environment that says so.
type places struct {
	lookupEnv  func(string) (string, bool)
	userConfig func() (string, error)
	machine    string
	// lstat, as a link that leads nowhere is there too: passing it over would choose another store.
	lstat func(string) (fs.FileInfo, error)
}

func systemPlaces() places {
	return places{lookupEnv: os.LookupEnv, userConfig: os.UserConfigDir, machine: machineFolder(), lstat: os.Lstat}
}

func (p places) locate(explicit *string, explicitName string) (Home, error) {
	home, user, err := p.choose(explicit, explicitName)
	if err != nil || home.Path != "" {
		return home, err
	}
	looked := "there is no user configuration folder, as the environment names no home directory"
	if user != "" {
		looked = "neither " + user + " nor " + p.machine + " is there"
	}
	return Home{}, kmserr.New(kmserr.StoreAccess, "there is no key store: $%s is not set, and %s", EnvHome, looked).
		WithHint("`awskms-offline keys import FILE` makes one; or set $%s to the absolute path of one.", EnvHome)
}

func (p places) locateToWrite(explicit *string, explicitName string) (Home, error) {
	home, user, err := p.choose(explicit, explicitName)
	if err != nil || home.Path != "" {
		return home, err
	}
	if user == "" {
		return Home{}, kmserr.New(kmserr.StoreAccess,
			"there is no place for a key store: $%s is not set, and the environment names no home directory", EnvHome).
			WithHint("Set $%s to an absolute path.", EnvHome)
	}
	return Home{Path: user, ChosenBy: ChosenByUser}, nil
}

// cleaned makes one folder of a path with ".." behind a link, which to the system is another one than to who cleans it.
func cleaned(home Home) Home {
	home.Path = filepath.Clean(home.Path)
	return home
}

// choose returns the home, or the zero Home if none is there, and the user's, which may not be there.
func (p places) choose(explicit *string, explicitName string) (home Home, user string, err error) {
	value, set := p.lookupEnv(EnvHome)
	if explicit != nil || set {
		home = Home{Path: value, ChosenBy: ChosenByEnv}
		if explicit != nil {
			home = Home{Path: *explicit, ChosenBy: explicitName}
		}
		if !filepath.IsAbs(home.Path) {
			return Home{}, "", notAbsolute(home)
		}
		return cleaned(home), "", nil
	}
	config, err := p.userConfig()
	switch {
	case err == nil && filepath.IsAbs(config):
		user = filepath.Join(config, folderName)
	case err == nil: // of a relative $HOME, say, which would hide the user's store as well
		return Home{}, "", kmserr.New(kmserr.Validation, "the environment says that the user's configuration is in %q, expected an absolute path", config).
			WithHint("Correct $HOME (on Windows %%AppData%%), or set $%s to the absolute path of the key store.", EnvHome)
	default:
		// Without a home directory there is no user's store. A configuration folder that is named but cannot be used
		// would hide the user's store, and the machine's would be taken in its place.
		if value, _ := p.lookupEnv("XDG_CONFIG_HOME"); value != "" {
			return Home{}, "", kmserr.New(kmserr.Validation, "$XDG_CONFIG_HOME is %q, expected an absolute path", value).
				WithHint("Correct it, or set $%s to the absolute path of the key store.", EnvHome)
		}
	}
	for _, candidate := range []Home{{user, ChosenByUser}, {p.machine, ChosenByMachine}} {
		if candidate.Path == "" {
			continue
		}
		_, err := p.lstat(candidate.Path)
		switch {
		case err == nil:
			return candidate, user, nil
		case !errors.Is(err, fs.ErrNotExist):
			return Home{}, "", access(err, "cannot tell whether the key store %s is there: %v", candidate.Path, err).
				WithHint("Make it readable, or set $%s to the absolute path of the one to use.", EnvHome)
		}
	}
	return Home{}, user, nil
}
