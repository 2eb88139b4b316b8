//go:build !unix && !windows

package fileguard

import "io/fs"

const nonblock = 0

type systemGuard struct{}

func newSystemGuard() systemGuard { return systemGuard{} }

func (systemGuard) check(h handle) *finding { return cannotTell(h.path) }

func (systemGuard) checkAncestor(path string, _ fs.FileInfo) *finding { return cannotTell(path) }

func cannotTell(path string) *finding {
	return &finding{fact: "who can write " + path + " cannot be told on this system", hint: "use a system that can tell, or accept the risk with --unsafe-store-permissions, which the command line alone has"}
}

func publishing(folder string) string { return "let everybody read " + folder }

func shellQuote(path string) string { return path }
