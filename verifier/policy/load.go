package policy

import (
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

// Load returns the policy in force for a home: that of the machine's folder and that of the home, with every check of
// permissions.
func Load(home, machineFolder string) (Policy, error) {
	return LoadWith(Options{Home: home, MachineFolder: machineFolder})
}

// LoadWith returns the policy in force: None where neither file is there. A policy that is there and cannot be read, could
// have been written by others or cannot be enforced is a PolicyInvalidException, and so is a machine's folder that cannot
// be looked into. A home that cannot be looked into, or that the machine's policy does not allow, is a
// StoreAccessException or, as from the store itself, a StoreIntegrityException.
func LoadWith(o Options) (Policy, error) {
	p := &set{}
	var guards []*fileguard.Guard
	var seen []os.FileInfo
	for _, from := range []struct {
		folder  string
		machine bool
	}{{o.MachineFolder, true}, {o.Home, false}} {
		if from.folder == "" {
			continue
		}
		// The machine's folder may be the home: its policy then is the machine's, and there is no other.
		info, err := os.Stat(from.folder)
		if err == nil {
			if slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
				continue
			}
			seen = append(seen, info)
		}
		guard := fileguard.New(fileguard.Options{Unsafe: o.UnsafePermissions && !from.machine})
		path, data, err := readFrom(from.folder, from.machine, guard)
		if err != nil {
			return nil, err
		}
		if path == "" {
			continue
		}
		src, problems := parse(path, data, from.machine)
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
		return LoadWith(o)
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

// readFrom reads the policy of a folder; path is "" if there is none.
func readFrom(folder string, machine bool, guard *fileguard.Guard) (path string, data []byte, err error) {
	path = filepath.Join(folder, FileName)
	data, unread := readGuarded(folder, guard)
	switch {
	case unread == nil:
		return path, data, nil
	case errors.Is(unread, fileguard.ErrAbsent):
		return "", nil, nil
	}
	// Whether there is a policy is found out without judging who could write: a home that others can write is the store's
	// to refuse, in its own words.
	there, err := exists(folder)
	switch {
	case err != nil && machine:
		return "", nil, unusable(path, "whether it is there cannot be told", err)
	case err != nil:
		return "", nil, err
	case there:
		return "", nil, unusable(path, "it cannot be relied on", unread)
	}
	return "", nil, nil
}

func readGuarded(folder string, guard *fileguard.Guard) ([]byte, error) {
	tree, err := guard.Open(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.Close() }() // what was only read loses nothing
	data, _, err := tree.Read(FileName, MaxFile)
	return data, err
}

func exists(folder string) (bool, error) {
	tree, err := fileguard.New(fileguard.Options{Unsafe: true}).Open(folder)
	if errors.Is(err, fileguard.ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = tree.Close() }() // what was only read loses nothing
	there, err := tree.Exists(FileName)
	if err != nil {
		// What stands in the policy's place, a link that leads nowhere, say, is the policy's matter and not the store's.
		return true, nil
	}
	return there, nil
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
		if !slices.ContainsFunc(s.homes, func(allowed string) bool { return samePath(allowed, filepath.Clean(home)) }) {
			from := s.at("/homes")
			return kmserr.New(kmserr.StoreAccess, "the home %s is not allowed on this machine: the policy %s allows %s",
				home, place(from.File, from.Line), strings.Join(s.homes, ", ")).
				WithHint("Use an allowed home, or ask whoever runs this machine to add yours.")
		}
	}
	return nil
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

// CheckHomes does what Check does, and judges the file as a home's policy.
func CheckHomes(file string) (warnings []string, err error) { return check(file, false) }

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
