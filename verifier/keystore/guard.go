package keystore

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// guard checks who could have written what is read. Each system's half is check and checkAncestor; what a system cannot
// tell is refused.
type guard struct {
	unsafe bool // check nothing
	strict bool // refuse what the group can write
	system systemGuard

	mu       sync.Mutex
	warnings map[string]struct{}
	more     bool
}

// maxWarnings bounds what a store that is wrong throughout makes a caller print.
const maxWarnings = 10

func newGuard(opts Options) *guard {
	return &guard{unsafe: opts.UnsafePermissions, strict: opts.StrictPermissions, system: newSystemGuard(),
		warnings: make(map[string]struct{})}
}

// handle is a file or folder that is open. with lends its handle to those checks that need it.
type handle struct {
	path string // absolute, for people
	info fs.FileInfo
	with func(func(*os.File) error) error
}

func folderHandle(path string, root *os.Root, info fs.FileInfo) handle {
	return handle{path: path, info: info, with: func(use func(*os.File) error) error {
		f, err := root.Open(".")
		if err != nil {
			return err
		}
		defer f.Close()
		return use(f)
	}}
}

func fileHandle(path string, f *os.File, info fs.FileInfo) handle {
	return handle{path: path, info: info, with: func(use func(*os.File) error) error { return use(f) }}
}

// open checks a file or folder of the home.
func (g *guard) open(h handle) error {
	if g.unsafe {
		return nil
	}
	return g.judge(g.system.check(h))
}

// ancestor checks a folder above the home, or a link on the way to it.
func (g *guard) ancestor(path string, info fs.FileInfo) error {
	if g.unsafe {
		return nil
	}
	return g.judge(g.system.checkAncestor(path, info))
}

// finding is what a system's check says: nothing, a warning that strictness makes a refusal, or a refusal.
type finding struct {
	fact    string
	hint    string
	warning bool
}

func (g *guard) judge(found *finding) error {
	switch {
	case found == nil:
		return nil
	case found.warning && !g.strict:
		g.warn(found.fact + "; " + found.hint)
		return nil
	}
	return kmserr.New(kmserr.StoreIntegrity, "%s", found.fact).WithHint("%s", upperFirst(found.hint))
}

func (g *guard) warn(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, there := g.warnings[text]; there {
		return
	}
	if len(g.warnings) >= maxWarnings {
		g.more = true
		return
	}
	g.warnings[text] = struct{}{}
}

func (g *guard) list() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var texts []string
	for text := range g.warnings {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	if g.more {
		texts = append(texts, fmt.Sprintf("there are more than %d such warnings", maxWarnings))
	}
	return texts
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
