package audit

import (
	"os"
	"sync"
)

// identity is who asks: the process that this is.
type identity struct {
	user    UserIdentity
	host    string
	process Process
	parent  Process
}

// caller is found out once, at the first line: none of it is needed to refuse a call that cannot be read. What cannot be
// told stays empty; it is no reason to withhold a line.
var caller = sync.OnceValue(func() identity {
	host, _ := os.Hostname()
	name, _ := os.Executable()
	parent := os.Getppid()
	return identity{
		user: currentUser(), host: host,
		process: Process{ID: os.Getpid(), Name: name},
		parent:  Process{ID: parent, Name: programOf(parent)},
	}
})
