package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// Load returns the policy in force: None where neither file is there and nothing is to be warned of. A policy that is there and cannot be read, could
// have been written by others or cannot be enforced is a PolicyInvalidException, and so is a machine's folder that cannot
// be looked into, or that others can write where there is no policy in it. A home that cannot be looked into, or that the machine's policy does not allow, is a
// StoreAccessException or, as from the store itself, a StoreIntegrityException.
func Load(o Options) (Policy, error) {
	p, _, err := new(Loader).Load(o)
	return p, err
}

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

// Load does what the function Load does. home is the folder that was looked into for the home's policy, nil if it was not
// there or could not be opened: what is read of the home besides must come from the same.
func (l *Loader) Load(o Options) (p Policy, home fs.FileInfo, err error) {
	// A path with ".." behind a link means one folder to the system and another one to those who clean it.
	o.Home, o.MachineFolder = cleaned(o.Home), cleaned(o.MachineFolder)
	all := &set{}
	var guards []*fileguard.Guard
	var machineFolder fs.FileInfo
	for _, from := range []struct {
		folder  string
		machine bool
	}{{o.MachineFolder, true}, {o.Home, false}} {
		if from.folder == "" {
			continue
		}
		guard := fileguard.New(fileguard.Options{Unsafe: o.UnsafePermissions && !from.machine})
		read := readHome
		if from.machine {
			read = readMachine
		}
		found, err := read(from.folder, guard)
		if err != nil {
			return nil, nil, err
		}
		// The machine's folder may be the home: its policy then is the machine's, and there is no other. Compared are the
		// folders that were read, not paths, which may lead elsewhere by now.
		if from.machine {
			machineFolder = found.folder
			if machineFolder != nil { // who can write there can take a policy away, or put one there
				guards = append(guards, guard)
			}
		} else {
			home = found.folder
		}
		if !found.policy || os.SameFile(machineFolder, home) { // nil is no folder
			continue
		}
		path := filepath.Join(from.folder, FileName)
		src, problems := l.parse(path, found.data, from.machine)
		if len(problems) > 0 {
			return nil, nil, first(problems)
		}
		sum := sha256.Sum256(found.data)
		all.sources = append(all.sources, src)
		all.files = append(all.files, File{Path: path, SHA256: hex.EncodeToString(sum[:])})
		if !from.machine {
			guards = append(guards, guard)
		}
	}
	if o.UnsafePermissions && all.Store().StrictPermissions {
		o.UnsafePermissions = false
		return l.Load(o)
	}
	if err := all.checkHome(o.Home); err != nil {
		return nil, nil, err
	}
	for _, guard := range guards {
		all.warnings = append(all.warnings, guard.Warnings()...)
	}
	if len(all.sources) == 0 && len(all.warnings) == 0 {
		return None{}, home, nil
	}
	if all.Store().StrictPermissions && len(all.warnings) > 0 {
		fact, hint, _ := strings.Cut(all.warnings[0], "; ")
		return nil, nil, kmserr.New(kmserr.PolicyInvalid, "%s, and the policy says %q:%q", fact, "permissions", permissionsStrict).WithHint("%s", hint)
	}
	return all, home, nil
}

// found is what is there of a policy and its folder, nil if that is not there.
type found struct {
	folder fs.FileInfo
	policy bool
	data   []byte // of a policy that may be relied on
}

// readHome reads a home's policy. That the home was taken away or replaced meanwhile, the store finds out.
func readHome(folder string, guard *fileguard.Guard) (found, error) {
	return readFrom(folder, false, guard)
}

// maxTurns is how often the machine's folder is read while others come into its place.
const maxTurns = 5

// readMachine reads the machine's policy. That there is none counts only while the path leads to the folder that has none:
// whoever renews it puts the new one in place first and removes the old one afterwards.
func readMachine(folder string, guard *fileguard.Guard) (found, error) {
	for range maxTurns {
		f, err := readFrom(folder, true, guard)
		if err != nil || f.policy {
			return f, err
		}
		again, err := look(folder)
		if err == nil && !again.policy && (f.folder == nil && again.folder == nil || os.SameFile(f.folder, again.folder)) {
			return f, nil
		}
	}
	return found{}, kmserr.New(kmserr.PolicyInvalid, "the policy %s: whether it is there cannot be told: its folder was replaced again and again while it was read",
		filepath.Join(folder, FileName)).WithHint("Try again.")
}

// readFrom reads the policy of a folder.
func readFrom(folder string, machine bool, guard *fileguard.Guard) (found, error) {
	path := filepath.Join(folder, FileName)
	read, unread := readGuarded(folder, guard)
	if unread == nil {
		return read, nil
	}
	// Whether there is a policy is found out without judging who could write: a home that others can write is the store's
	// to refuse, in its own words. The machine's folder nobody else looks at, and where others can write they could have
	// taken the policy away.
	there, err := look(folder)
	switch {
	case err != nil && machine:
		return found{}, unusable(path, "whether it is there cannot be told", err)
	case err != nil:
		return found{}, err
	case there.policy:
		return found{}, unusable(path, "it cannot be relied on", unread)
	case there.folder != nil && machine:
		return found{}, unusable(path, "it is not there, and that cannot be relied on", unread)
	}
	return there, nil
}

// opened is called between the opening of a folder and the look at what is in it; tests do then what others may do.
var opened = func(folder string) {}

// readGuarded reads a policy through the checks of who could have written it. That there is none is no error.
func readGuarded(folder string, guard *fileguard.Guard) (f found, err error) {
	tree, err := guard.Open(folder)
	opened(folder)
	if errors.Is(err, fileguard.ErrAbsent) {
		return found{}, nil
	}
	if err != nil {
		return found{}, err
	}
	defer func() { _ = tree.Close() }() // what was only read loses nothing
	if f.folder, err = tree.Root().Stat("."); err != nil {
		return found{}, err
	}
	f.data, _, err = tree.Read(FileName, MaxFile)
	if errors.Is(err, fileguard.ErrAbsent) {
		return f, nil
	}
	f.policy = true
	return f, err
}

// look tells what is there, whoever could have written it.
func look(folder string) (f found, err error) {
	tree, err := fileguard.New(fileguard.Options{Unsafe: true}).Open(folder)
	opened(folder)
	if errors.Is(err, fileguard.ErrAbsent) {
		return found{}, nil
	}
	if err != nil {
		return found{}, err
	}
	defer func() { _ = tree.Close() }() // what was only read loses nothing
	if f.folder, err = tree.Root().Stat("."); err != nil {
		return found{}, err
	}
	f.policy, err = tree.Exists(FileName)
	if err != nil {
		f.policy = true // what stands in its place, a link that leads nowhere, say, is the policy's matter and not the store's
	}
	return f, nil
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
	return a == b || runtime.GOOS == "windows" && sameOnWindows(a, b)
}

// sameOnWindows takes no two names for one that are two to the file system: strings.EqualFold takes the Kelvin sign for a k,
// and so the folder of somebody else. Letters beyond ASCII must be written alike, which only refuses more.
func sameOnWindows(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) { // bytes, as what is no UTF-8 has no runes to tell apart
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c - 'A' + 'a'
	}
	return c
}

// Check says what is wrong with a policy file, wherever it lies: nil, or an error of several, joined, each of them a
// PolicyInvalidException, or a ValidationException where there is no such file to read. The file is judged as a machine's policy would be, which may say more than a home's. Who can
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
