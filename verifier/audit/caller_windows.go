package audit

import "golang.org/x/sys/windows"

// currentUser asks the process's token. os/user would ask a domain controller for more than is needed here, which can
// take seconds.
func currentUser() UserIdentity {
	var id UserIdentity
	if user, err := windows.GetCurrentProcessToken().GetTokenUser(); err == nil {
		id.PrincipalID = user.User.Sid.String()
	}
	name := make([]uint16, 256)
	size := uint32(len(name))
	if windows.GetUserNameEx(windows.NameSamCompatible, &name[0], &size) == nil {
		id.UserName = windows.UTF16ToString(name)
	}
	return id
}

// programOf asks for the path of a process's program.
func programOf(pid int) string {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(process)
	path := make([]uint16, windows.MAX_LONG_PATH)
	size := uint32(len(path))
	if windows.QueryFullProcessImageName(process, 0, &path[0], &size) != nil {
		return ""
	}
	return windows.UTF16ToString(path)
}
