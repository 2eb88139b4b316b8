// Package fileguard reads files that decide trust: through checks, made on the handles read from, that nobody but the
// current user and the administrator could have written them, and without ever leaving the folder they lie in.
//
// Errors are *kmserr.Error: StoreIntegrityException for what can be written by others or is not what it must be, with the
// command that mends it as the hint, StoreAccessException for what cannot be read. ErrAbsent alone means "not there".
package fileguard

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Options say how much is demanded. The zero value is what the rules ask for.
type Options struct {
	// Unsafe skips every check of owners and permissions. Links still cannot leave the folder.
	Unsafe bool
	// Strict refuses what the group can write, which otherwise is a warning. Beside it Unsafe skips nothing: strictness is
	// demanded by a policy, and Unsafe asked for by whoever calls.
	Strict bool
}

// Skips reports whether nothing is checked.
func (o Options) Skips() bool { return o.Unsafe && !o.Strict }

// Guard checks who could have written what is read, and remembers what it warned of. Each system's half is check and
// checkAncestor; what a system cannot tell is refused.
type Guard struct {
	opts   Options
	system systemGuard

	mu       sync.Mutex
	warnings map[string]struct{}
	more     bool
}

// maxWarnings bounds what a folder that is wrong throughout makes a caller print.
const maxWarnings = 10

// New returns a guard for one reader.
func New(opts Options) *Guard {
	return &Guard{opts: opts, system: newSystemGuard(), warnings: make(map[string]struct{})}
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

// open checks a file or folder that is read.
func (g *Guard) open(h handle) error {
	if g.opts.Skips() {
		return nil
	}
	return g.judge(g.system.check(h))
}

// ancestor checks a folder above those that are read, or a link on the way to it.
func (g *Guard) ancestor(path string, info fs.FileInfo) error {
	if g.opts.Skips() {
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

func (g *Guard) judge(found *finding) error {
	switch {
	case found == nil:
		return nil
	case found.warning && !g.opts.Strict:
		g.warn(found.fact + "; " + found.hint)
		return nil
	}
	e := kmserr.New(kmserr.StoreIntegrity, "%s", found.fact).WithHint("%s", upperFirst(found.hint))
	if g.opts.Unsafe {
		e.Hint += "; --unsafe-store-permissions does not help where the policy says \"permissions\":\"strict\""
	}
	return e
}

func (g *Guard) warn(text string) {
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

// Warnings returns what was met so far that strictness would refuse: one clause each, without repetition, a bounded
// number.
func (g *Guard) Warnings() []string {
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

// upperFirst begins a hint, which every finding has, as a sentence.
func upperFirst(s string) string {
	return strings.ToUpper(s[:1]) + s[1:]
}
