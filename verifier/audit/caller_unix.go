//go:build !windows

package audit

import (
	"os"
	"os/user"
	"strconv"
)

// currentUser is whose rights the process has, by the system's own list: an environment variable could say anything.
func currentUser() UserIdentity {
	id := UserIdentity{PrincipalID: strconv.Itoa(os.Geteuid())}
	if u, err := user.LookupId(id.PrincipalID); err == nil {
		id.UserName = u.Username
	}
	return id
}
