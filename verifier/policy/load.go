package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Options say which policies are loaded.
type Options struct {
	// Home and MachineFolder are absolute paths; either may be empty, for none, and either may not be there.
	Home, MachineFolder string
	// UnsafePermissions skips the checks of owners and permissions for the home's policy, as for the store beside it. The
	// machine's is checked all the same, and the home's as well if either says that permissions are strict.
	UnsafePermissions bool
}

// Load returns the policy in force: None where neither file is there. A policy that is there and cannot be read, could
// have been written by others or cannot be enforced is a PolicyInvalidException, and so is a machine's folder that cannot
// be looked into. A home that cannot be looked into, or that the machine's policy does not allow, is a
// StoreAccessException or, as from the store itself, a StoreIntegrityException.
func Load(o Options) (Policy, error) { return new(Loader).Load(o) }

// Loader loads policies again and again. Each time the files are read and their permissions checked; only what holds the
// same bytes as the last time is not parsed again. The zero value is ready, and may be used by several goroutines.
type Loader struct {
	mu     sync.Mutex
	parsed map[file]parsed
}

// file is a policy's file; a machine's is judged otherwise than a home's.
type file struct {
	path    string
	machine bool
}

// parsed is what a file's bytes mean. Nobody changes it.
type parsed struct {
	data     []byte
	src      *source
	problems []*kmserr.Error
}

func (l *Loader) parse(path string, data []byte, machine bool) (*source, []*kmserr.Error) {
	l.mu.Lock()
	was, there := l.parsed[file{path, machine}]
	l.mu.Unlock()
	if there && bytes.Equal(was.data, data) {
		return was.src, was.problems
	}
	now := parsed{data: data}
	now.src, now.problems = parse(path, data, machine)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parsed == nil {
		l.parsed = make(map[file]parsed)
	}
	l.parsed[file{path, machine}] = now
	return now.src, now.problems
}

// Load does what the function Load does.
func (l *Loader) Load(o Options) (Policy, error) {
	// A path with ".." behind a link means one folder to the system and another one to those who clean it.
	o.Home, o.MachineFolder = cleaned(o.Home), cleaned(o.MachineFolder)
	p := &set{}
	var guards []*fileguard.Guard
	var machineFolder os.FileInfo
	for _, from := range []struct {
		folder  string
		machine bool
	}{{o.MachineFolder, true}, {o.Home, false}} {
		if from.folder == "" {
			continue
		}
		guard := fileguard.New(fileguard.Options{Unsafe: o.UnsafePermissions && !from.machine})
		path, data, folder, err := readFrom(from.folder, from.machine, guard)
		if err != nil {
			return nil, err
		}
		if path == "" {
			continue
		}
		// The machine's folder may be the home: its policy then is the machine's, and there is no other. Compared are the
		// folders that were read, not paths, which may lead elsewhere by now.
		if from.machine {
			machineFolder = folder
		} else if os.SameFile(machineFolder, folder) { // nil is no folder
			continue
		}
		src, problems := l.parse(path, data, from.machine)
		if len(problems) > 0 {
			return nil, first(problems)
		}
		sum := sha256.Sum256(data)
		p.sources = append(p.sources, src)
		p.files = append(p.files, File{Path: path, SHA256: hex.EncodeToString(sum[:])})
		guards = append(guards, guard)
	}
	if len(p.sources) == 0 {
		return None{}, nil
	}
	if o.UnsafePermissions && p.Store().StrictPermissions {
		o.UnsafePermissions = false
		return l.Load(o)
	}
	if err := p.checkHome(o.Home); err != nil {
		return nil, err
	}
	for _, guard := range guards {
		p.warnings = append(p.warnings, guard.Warnings()...)
	}
	if p.Store().StrictPermissions && len(p.warnings) > 0 {
		fact, hint, _ := strings.Cut(p.warnings[0], "; ")
		return nil, kmserr.New(kmserr.PolicyInvalid, "%s, and the policy says %q:%q", fact, "permissions", permissionsStrict).WithHint("%s", hint)
	}
	return p, nil
}

// readFrom reads the policy of a folder; path is "" if there is none. info is of the folder that the policy was read from.
func readFrom(folder string, machine bool, guard *fileguard.Guard) (path string, data []byte, info os.FileInfo, err error) {
	path = filepath.Join(folder, FileName)
	data, info, unread := readGuarded(folder, guard)
	switch {
	case unread == nil:
		return path, data, info, nil
	case errors.Is(unread, fileguard.ErrAbsent):
		return "", nil, nil, nil
	}
	// Whether there is a policy is found out without judging who could write: a home that others can write is the store's
	// to refuse, in its own words. The machine's folder nobody else looks at, and where others can write they could have
	// taken the policy away.
	found, err := look(folder)
	switch {
	case err != nil && machine:
		return "", nil, nil, unusable(path, "whether it is there cannot be told", err)
	case err != nil:
		return "", nil, nil, err
	case found.policy:
		return "", nil, nil, unusable(path, "it cannot be relied on", unread)
	case found.folder && machine:
		return "", nil, nil, unusable(path, "it is not there, and that cannot be relied on", unread)
	}
	return "", nil, nil, nil
}

func readGuarded(folder string, guard *fileguard.Guard) ([]byte, os.FileInfo, error) {
	tree, err := guard.Open(folder)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = tree.Close() }() // what was only read loses nothing
	data, _, err := tree.Read(FileName, MaxFile)
	if err != nil {
		return nil, nil, err
	}
	info, err := tree.Root().Stat(".")
	return data, info, err
}

// there is what of a policy's place is there.
type there struct{ folder, policy bool }

func look(folder string) (there, error) {
	tree, err := fileguard.New(fileguard.Options{Unsafe: true}).Open(folder)
	if errors.Is(err, fileguard.ErrAbsent) {
		return there{}, nil
	}
	if err != nil {
		return there{}, err
	}
	defer func() { _ = tree.Close() }() // what was only read loses nothing
	policy, err := tree.Exists(FileName)
	// What stands in the policy's place, a link that leads nowhere, say, is the policy's matter and not the store's.
	return there{folder: true, policy: policy || err != nil}, nil
}

func unusable(path, what string, err error) *kmserr.Error {
	cause := kmserr.As(err)
	fact := cause.Fact
	hint := cause.Hint
	if hint == "" {
		hint = "Mend or move away what stands in the policy's place; nothing verifies until it can be read."
	}
	return kmserr.New(kmserr.PolicyInvalid, "the policy %s: %s: %s", path, what, fact).WithHint("%s", hint).WithCause(err)
}

// first returns the first problem, and how many more there are.
func first(problems []*kmserr.Error) *kmserr.Error {
	e := *problems[0]
	if more := len(problems) - 1; more > 0 {
		e.Fact += fmt.Sprintf(" (and %d more)", more)
	}
	return &e
}

// checkHome holds a home against the machine's list. Paths are compared as they are written: what a link leads to could
// be changed between this comparison and the opening of the store.
func (p *set) checkHome(home string) error {
	for _, s := range p.sources {
		if s.homes == nil || home == "" {
			continue
		}
		if !slices.ContainsFunc(s.homes, func(allowed string) bool { return samePath(allowed, home) }) {
			from := s.at("/homes")
			return kmserr.New(kmserr.StoreAccess, "the home %s is not allowed on this machine: the policy %s allows %s",
				home, place(from.File, from.Line), strings.Join(s.homes, ", ")).
				WithHint("Use an allowed home, or ask whoever runs this machine to add yours.")
		}
	}
	return nil
}

func cleaned(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Clean(path)
}

func samePath(a, b string) bool {
	if runtime.GOOS == "windows" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// Check says what is wrong with a policy file, wherever it lies: nil, or an error of several, joined, each of them a
// PolicyInvalidException. The file is judged as a machine's policy would be, which may say more than a home's. Who can
// write it does not matter here. Of a file that is good, warnings are what it brings about that its writer may not expect, a
// sentence each.
func Check(file string) (warnings []string, err error) { return check(file, true) }

// CheckHome does what Check does, and judges the file as a home's policy.
func CheckHome(file string) (warnings []string, err error) { return check(file, false) }

func check(file string, machine bool) (warnings []string, err error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, kmserr.New(kmserr.Validation, "the path %q cannot be made absolute: %v", file, err)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, kmserr.New(kmserr.Validation, "%s is no ordinary file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, kmserr.New(kmserr.Validation, "%s cannot be read: %v", path, fileguard.Cause(err)).WithCause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, kmserr.New(kmserr.Validation, "%s cannot be read: %v", path, fileguard.Cause(err)).WithCause(err)
	}
	return checkBytes(path, data, machine)
}

// CheckBytes does what Check does for a policy that was read already; path names it in errors.
func CheckBytes(path string, data []byte) (warnings []string, err error) {
	return checkBytes(path, data, true)
}

func checkBytes(path string, data []byte, machine bool) (warnings []string, err error) {
	s, problems := parse(path, data, machine)
	if s != nil {
		if lost := (&set{sources: []*source{s}}).Log().LostUnderNotation(); lost != "" {
			from := s.at("/log/path")
			warnings = append(warnings, "the policy "+place(from.File, from.Line)+" "+lost)
		}
	}
	var all []error
	for _, e := range problems {
		if e.Hint == checkIt { // which is being done
			e.Hint = ""
		}
		all = append(all, e)
	}
	return warnings, errors.Join(all...)
}
