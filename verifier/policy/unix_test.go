//go:build unix

package policy

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestMachineFolderReplaced: the machine's policy applies also to who looks for it while its folder is renewed, as by a link
// that is turned from one folder to the next before the first is removed.
func TestMachineFolderReplaced(t *testing.T) {
	defer func(was func(string)) { opened = was }(opened)
	text := withRestriction(`"maxSnapshotAge":"1h"`)
	dir, h := folders(t, "", "")
	link := filepath.Join(dir, "current")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made := 0
	next := func() string { made++; return filepath.Join(dir, strconv.Itoa(made)) }
	turn := func(to string) {
		was, _ := os.Readlink(link)
		must(os.Symlink(to, link+".new"))
		must(os.Rename(link+".new", link))
		if was != "" {
			must(os.RemoveAll(was))
		}
	}
	renew := func() {
		folder := next()
		must(os.Mkdir(folder, 0o700))
		write(t, filepath.Join(folder, FileName), text)
		turn(folder)
	}
	without := func() {
		folder := next()
		must(os.Mkdir(folder, 0o700))
		turn(folder)
	}
	aFile := func() {
		file := next()
		write(t, file, text)
		turn(file)
	}
	gone := func() {
		if was, err := os.Readlink(link); err == nil {
			must(os.RemoveAll(was))
			must(os.Remove(link))
		}
	}
	nothing := func() {}
	inPlace := func() { write(t, filepath.Join(link, FileName), text) }
	for name, c := range map[string]struct {
		before func()
		steps  []func() // what others do after each opening
		says   []string // why it is refused
		none   bool     // there is no policy
	}{
		"renewed once":                  {before: renew, steps: []func(){renew}},
		"renewed as often as one looks": {before: renew, steps: slices.Repeat([]func(){renew}, 2*(maxTurns-1))},
		"renewed more often":            {before: renew, steps: slices.Repeat([]func(){renew}, 2*maxTurns), says: []string{"replaced again and again", "Try again"}},
		"taken away":                    {before: renew, steps: []func(){without}, none: true},
		"put there":                     {before: without, steps: []func(){renew}},
		"made":                          {before: gone, steps: []func(){renew, renew}},
		"put into it":                   {before: without, steps: []func(){nothing, inPlace}},
		"taken away and put there":      {before: renew, steps: []func(){gone, renew}},
		"gone, then a file":             {before: gone, steps: []func(){aFile}, says: []string{"whether it is there cannot be told"}},
		"a folder without, then a file": {before: without, steps: []func(){aFile}, says: []string{"whether it is there cannot be told"}},
		"gone":                          {before: gone, none: true},
	} {
		opened = func(string) {}
		c.before()
		steps := c.steps
		opened = func(folder string) {
			if folder == link && len(steps) > 0 {
				step := steps[0]
				steps = steps[1:]
				step()
			}
		}
		p, err := load(h, link)
		switch {
		case c.says != nil:
			refuses(t, p, err, kmserr.PolicyInvalid, append(c.says, filepath.Join(link, FileName))...)
		case err != nil, (p == None{}) != c.none, !c.none && len(p.Files()) != 1:
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

// TestPermissions: whoever could write a policy could have taken its restrictions away.
func TestPermissions(t *testing.T) {
	age := withRestriction(`"maxSnapshotAge":"1h"`)
	strict := with(`"store":{"permissions":"strict"}`)
	t.Run("everyone", func(t *testing.T) {
		for _, of := range []string{"file", "folder"} {
			for _, machine := range []bool{true, false} {
				m, h := folders(t, age, age)
				folder := h
				if machine {
					folder = m
				}
				path := filepath.Join(folder, FileName)
				if of == "file" {
					chmod(t, path, 0o666)
				} else {
					chmod(t, folder, 0o777)
				}
				p, err := load(h, m)
				refuses(t, p, err, kmserr.PolicyInvalid, path, "can be written by everyone", "chmod o-w")
				// The switch for a store that others can write does not reach the machine's policy.
				p, err = Load(Options{Home: h, MachineFolder: m, UnsafePermissions: true})
				if machine {
					refuses(t, p, err, kmserr.PolicyInvalid, path)
				} else if err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Run("no home below a folder of everyone", func(t *testing.T) {
		m, h := folders(t, age, "")
		chmod(t, h, 0o777)
		if _, err := load(filepath.Join(h, "none"), m); err != nil { // what is not there has no policy; the store says the rest
			t.Error(err)
		}
	})
	t.Run("no policy in a home of everyone", func(t *testing.T) {
		m, h := folders(t, age, "")
		chmod(t, h, 0o777)
		if _, err := load(h, m); err != nil { // the store says it
			t.Error(err)
		}
	})
	t.Run("no policy in a machine's folder of everyone", func(t *testing.T) { // who can write there can have taken it away
		m, h := folders(t, "", age)
		chmod(t, m, 0o777)
		for _, unsafe := range []bool{false, true} {
			p, err := Load(Options{Home: h, MachineFolder: m, UnsafePermissions: unsafe})
			refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(m, FileName), "it is not there, and that cannot be relied on", "can be written by everyone", "chmod o-w")
		}
		if _, err := load(h, filepath.Join(m, "none")); err != nil { // no folder, no policy
			t.Error(err)
		}
	})
	t.Run("no policy in a machine's folder of the group", func(t *testing.T) {
		m, h := folders(t, "", "")
		for mode, warnings := range map[os.FileMode]int{0o770: 1, 0o750: 0} {
			chmod(t, m, mode)
			for _, text := range []string{"", age, strict} {
				if text != "" {
					write(t, filepath.Join(h, FileName), text)
				}
				p, err := load(h, m)
				if text == strict && warnings > 0 {
					refuses(t, p, err, kmserr.PolicyInvalid, m+" can be written by its group", "chmod g-w")
				} else if err != nil || len(p.Warnings()) != warnings {
					t.Errorf("%o, %s: %v, %v", mode, text, p, err)
				}
			}
			if err := os.Remove(filepath.Join(h, FileName)); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("the group", func(t *testing.T) {
		m, h := folders(t, "", age)
		path := filepath.Join(h, FileName)
		chmod(t, path, 0o660)
		p, err := load(h, m)
		if err != nil || len(p.Warnings()) != 1 {
			t.Fatalf("%v, %v", p, err)
		}
		// Strict in itself, or by the machine's.
		write(t, path, strict)
		chmod(t, path, 0o660)
		p, err = load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, path+" can be written by its group", "chmod g-w")
		p, err = Load(Options{Home: h, MachineFolder: m, UnsafePermissions: true})
		refuses(t, p, err, kmserr.PolicyInvalid, path+" can be written by its group")
		write(t, path, age)
		chmod(t, path, 0o660)
		write(t, filepath.Join(m, FileName), strict)
		p, err = load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, path+" can be written by its group")
		chmod(t, path, 0o600)
		if p, err := load(h, m); err != nil || p.Warnings() != nil {
			t.Errorf("%v, %v", p, err)
		}
		// And the machine's by the home's.
		write(t, path, strict)
		write(t, filepath.Join(m, FileName), age)
		chmod(t, filepath.Join(m, FileName), 0o660)
		p, err = load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(m, FileName)+" can be written by its group")
	})
	t.Run("unreadable", func(t *testing.T) {
		m, h := folders(t, "", age)
		path := filepath.Join(h, FileName)
		chmod(t, path, 0)
		if f, err := os.Open(path); err == nil {
			f.Close()
			t.Skip("this user reads everything: that a policy which cannot be read refuses is not tested")
		}
		p, err := load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, path, "run after each change of it: sudo find -H "+h+" -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +")
	})
	t.Run("another's", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give files away: that another user's policy is refused is not tested")
		}
		m, h := folders(t, age, "")
		if err := os.Chown(filepath.Join(m, FileName), 4242, 4242); err != nil {
			t.Skipf("that another user's policy is refused is not tested: %v", err)
		}
		p, err := load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, "belongs to the user with ID 4242")
	})
}

// TestCheckUnreadable: a policy that the user cannot read is not said to be good, nor one that breaks while it is read, and
// for a named pipe nobody waits.
// A Loader parses once what stays the same, and looks at everything else each time.
func TestLoader(t *testing.T) {
	m, h := folders(t, withRestriction(`"maxSnapshotAge":"2h"`), withRestriction(`"maxSnapshotAge":"1h"`))
	path := filepath.Join(h, FileName)
	var l Loader
	sources := func() []*source {
		t.Helper()
		p, home, err := l.Load(Options{Home: h, MachineFolder: m})
		if err != nil || !os.SameFile(home, stat(t, h)) {
			t.Fatal(home, err)
		}
		return p.(*set).sources
	}
	before := sources()
	if again := sources(); !slices.Equal(before, again) {
		t.Error("the same was parsed twice")
	}
	write(t, path, withRestriction(`"maxSnapshotAge":"3h"`)) // as long as before
	after := sources()
	if after[0] != before[0] || after[1] == before[1] {
		t.Error("what changed was not parsed, or what did not was")
	}
	chmod(t, path, 0o666)
	p, _, err := l.Load(Options{Home: h, MachineFolder: m})
	refuses(t, p, err, kmserr.PolicyInvalid, path, "can be written by everyone")
	chmod(t, path, 0o600)
	write(t, path, "{")
	for range 2 {
		p, _, err = l.Load(Options{Home: h, MachineFolder: m})
		refuses(t, p, err, kmserr.PolicyInvalid, path)
	}
	// The machine's policy has members that a home's has not.
	write(t, path, with(`"homes":["`+h+`"]`))
	p, _, err = l.Load(Options{Home: h})
	refuses(t, p, err, kmserr.PolicyInvalid, path)
	if _, _, err = l.Load(Options{MachineFolder: h}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for home, there := range map[string]bool{"": false, filepath.Join(h, "none"): false, h: true} {
		if _, folder, err := l.Load(Options{Home: home}); err != nil || (folder != nil) != there {
			t.Errorf("%q: %v, %v", home, folder, err)
		}
	}
	chmod(t, h, 0o777) // the store's to refuse, and no policy
	if _, folder, err := l.Load(Options{Home: h}); err != nil || !os.SameFile(folder, stat(t, h)) {
		t.Errorf("%v, %v", folder, err)
	}
	if left := sources(); len(left) != 1 || left[0] != before[0] {
		t.Errorf("%v", left)
	}
}

func TestCheckUnreadable(t *testing.T) {
	_, h := folders(t, "", with(`"allowList":false`))
	path := filepath.Join(h, FileName)
	testenv.Publish(t, h)
	testenv.AsNobody(t, func() {
		if _, err := Check(path); err != nil {
			t.Errorf("a file that everyone can read: %v", err)
		}
	})
	chmod(t, path, 0)
	testenv.AsNobody(t, func() {
		_, err := Check(path)
		if !kmserr.Is(err, kmserr.Validation) || kmserr.As(err).Fact != path+" cannot be read: permission denied" {
			t.Errorf("a file that nobody can read: %v", err)
		}
		p, err := load(h, "")
		refuses(t, p, err, kmserr.PolicyInvalid, path, "permission denied", "run after each change of it: sudo find -H "+h+" -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +")
		p, err = load("", h)
		refuses(t, p, err, kmserr.PolicyInvalid, path, "permission denied", "run after each change of it: sudo find -H "+h+" -type f -name '*lock' -o ! -type l -exec chmod a+rX {} +")
	})
	chmod(t, h, 0o311)
	testenv.AsNobody(t, func() {
		p, err := load("", h)
		refuses(t, p, err, kmserr.PolicyInvalid, path, "whether it is there cannot be told", "permission denied", "sudo find -H "+h+" ")
		p, err = load(h, "")
		refuses(t, p, err, kmserr.StoreAccess, h, "permission denied")
	})
	chmod(t, h, 0o755)
	pipe := filepath.Join(h, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := Check(pipe)
		answered <- err
	}()
	select {
	case err := <-answered:
		if !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), pipe+" is no ordinary file") {
			t.Errorf("a named pipe: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a named pipe is waited for")
	}
	if runtime.GOOS == "linux" { // where a process's memory is an ordinary file, of which the first bytes cannot be read
		if _, err := Check("/proc/self/mem"); !kmserr.Is(err, kmserr.Validation) || kmserr.As(err).Fact != "/proc/self/mem cannot be read: input/output error" {
			t.Errorf("a file that breaks: %v", err)
		}
	}
}

// TestCheckWithoutAFolder: a relative path says nothing where the working directory is gone.
func TestCheckWithoutAFolder(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Getwd(); err == nil {
		t.Skip("this system tells the path of a folder that is gone: that a relative path is then refused is not tested")
	}
	if _, err := Check(FileName); !kmserr.Is(err, kmserr.Validation) || !strings.Contains(err.Error(), "cannot be made absolute") {
		t.Errorf("got %v", err)
	}
}
