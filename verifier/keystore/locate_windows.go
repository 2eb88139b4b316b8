package keystore

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// machineFolder asks the system: %ProgramData% is an environment variable, which any caller could set.
func machineFolder() string {
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return ""
	}
	return filepath.Join(data, folderName)
}
