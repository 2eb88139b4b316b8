//go:build !windows

package keystore

import "runtime"

func machineFolder() string {
	if runtime.GOOS == "darwin" {
		return "/Library/Application Support/" + folderName
	}
	return "/etc/" + folderName
}
