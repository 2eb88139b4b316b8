package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// folders makes a machine's folder and a home with these policies; "" is none.
func folders(t testing.TB, machine, home string) (machineFolder, homeFolder string) {
	t.Helper()
	dir := t.TempDir()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	machineFolder, homeFolder = filepath.Join(dir, "machine"), filepath.Join(dir, "home")
	for folder, text := range map[string]string{machineFolder: machine, homeFolder: home} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			write(t, filepath.Join(folder, FileName), text)
		}
	}
	return machineFolder, homeFolder
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func refuses(t testing.TB, p Policy, err error, name kmserr.Name, says ...string) {
	t.Helper()
	if p != nil || err == nil {
		t.Fatalf("got %v, %v", p, err)
	}
	e := kmserr.As(err)
	if e.Name != name || e.Hint == "" {
		t.Errorf("got %v | %s, expected %s", e, e.Hint, name)
	}
	for _, text := range says {
		if !strings.Contains(e.Fact+" | "+e.Hint, text) {
			t.Errorf("%q is not in: %s | %s", text, e.Fact, e.Hint)
		}
	}
}

func TestLoad(t *testing.T) {
	age := withRestriction(`"maxSnapshotAge":"1h"`)
	known := withRestriction(`"requireKnownState":true`)
	t.Run("none", func(t *testing.T) {
		m, h := folders(t, "", "")
		for _, o := range []Options{{}, {Home: h}, {MachineFolder: m}, {Home: h, MachineFolder: m}, {Home: h + "x", MachineFolder: m + "x"}} {
			if p, err := Load(o); err != nil || p != (None{}) {
				t.Errorf("%+v: got %v, %v", o, p, err)
			}
		}
	})
	t.Run("both", func(t *testing.T) {
		m, h := folders(t, age, known)
		p, err := load(h, m)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Rules(subject(t))
		if err != nil || r.MaxSnapshotAge == 0 || !r.RequireKnownState {
			t.Errorf("got %+v, %v", r, err)
		}
		sum := sha256.Sum256([]byte(age))
		files := p.Files()
		if len(files) != 2 || files[0] != (File{filepath.Join(m, FileName), hex.EncodeToString(sum[:])}) || files[1].Path != filepath.Join(h, FileName) {
			t.Errorf("got %v", files)
		}
	})
	for name, o := range map[string]func(m, h string) Options{
		"the home's":    func(m, h string) Options { return Options{Home: h} },
		"the machine's": func(m, h string) Options { return Options{MachineFolder: h} },
		"another home":  func(m, h string) Options { return Options{Home: m, MachineFolder: h} },
	} {
		t.Run(name, func(t *testing.T) {
			m, h := folders(t, "", age)
			p, err := Load(o(m, h))
			if err != nil {
				t.Fatal(err)
			}
			if r, err := p.Rules(subject(t)); err != nil || r.MaxSnapshotAge == 0 {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	t.Run("either invalid", func(t *testing.T) {
		for _, bad := range []string{"", "{}", with("\n\"x\":1"), with(`"restrictions":[{"name":"r","maxSnapshotAge":"1y"},{"name":"r","notBefore":"x"}]`)} {
			for _, machine := range []bool{true, false} {
				m, h := folders(t, age, known)
				path := filepath.Join(h, FileName)
				if machine {
					path = filepath.Join(m, FileName)
				}
				write(t, path, bad)
				p, err := load(h, m)
				refuses(t, p, err, kmserr.PolicyInvalid, path)
				p, err = Load(Options{Home: h, MachineFolder: m, UnsafePermissions: true})
				refuses(t, p, err, kmserr.PolicyInvalid, path)
			}
		}
		m, h := folders(t, "", with(`"restrictions":[{"name":"r","maxSnapshotAge":"1y"},{"name":"s","notBefore":"x"},{"name":"t","sources":[]}]`))
		p, err := load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, `has "1y" at /restrictions/0/maxSnapshotAge`, "(and 2 more)", "policy check")
	})
	t.Run("too large", func(t *testing.T) {
		m, h := folders(t, "", with(`"description":"`+strings.Repeat(" ", MaxFile)+`"`))
		p, err := load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, "more than 1048576 bytes")
	})
	t.Run("a folder in its place", func(t *testing.T) {
		m, h := folders(t, "", "")
		if err := os.Mkdir(filepath.Join(h, FileName), 0o700); err != nil {
			t.Fatal(err)
		}
		p, err := load(h, m)
		refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(h, FileName), "expected an ordinary file")
	})
	t.Run("the machine's folder is a file", func(t *testing.T) {
		m, h := folders(t, age, "")
		p, err := load(h, filepath.Join(m, FileName))
		refuses(t, p, err, kmserr.PolicyInvalid, "is no folder")
		// The store, which is asked next, would say the same of a home.
		if p, err := load(filepath.Join(m, FileName), ""); p != nil || !kmserr.Is(err, kmserr.StoreAccess) {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("relative", func(t *testing.T) {
		if p, err := load("home", ""); err == nil {
			t.Errorf("got %v", p)
		}
	})
}

// The home's rules for a store that others can write are the store's; a policy that they can write is refused here.
func TestHomesAllowed(t *testing.T) {
	m, h := folders(t, "", "")
	quoted := func(path string) string { return `"` + strings.ReplaceAll(path, `\`, `\\`) + `"` }
	write(t, filepath.Join(m, FileName), with("\n\"homes\":["+quoted(h)+","+quoted(m)+"]"))
	for _, home := range []string{h, h + string(filepath.Separator), filepath.Join(m, ".."+string(filepath.Separator)+"home"), m, ""} {
		if p, err := load(home, m); err != nil || p == nil {
			t.Errorf("%q: %v", home, err)
		}
	}
	for _, home := range []string{h + "2", filepath.Dir(h), filepath.Join(h, "x")} {
		p, err := load(home, m)
		refuses(t, p, err, kmserr.StoreAccess, "the home "+home+" is not allowed", filepath.Join(m, FileName)+", line 2,", h+", "+m)
	}
	p, err := load(filepath.Dir(h), m)
	refuses(t, p, err, kmserr.StoreAccess)

	// A home that names homes would choose for itself.
	write(t, filepath.Join(h, FileName), with(`"homes":[`+quoted(h)+`]`))
	p, err = load(h, m)
	refuses(t, p, err, kmserr.PolicyInvalid, "only the machine's policy chooses the homes")
	// Where the machine's folder is the home, its policy is the machine's.
	if p, err := load(m, m); err != nil || len(p.Files()) != 1 {
		t.Errorf("%v, %v", p, err)
	}
}

func TestHomesAreComparedAsWritten(t *testing.T) {
	m, h := folders(t, "", "")
	link := h + "-link"
	if err := os.Symlink(h, link); err != nil {
		t.Skipf("no links here: that homes are compared as they are written is not tested: %v", err)
	}
	text := with(`"homes":["` + strings.ReplaceAll(h, `\`, `\\`) + `"]`)
	write(t, filepath.Join(m, FileName), text)
	p, err := load(link, m)
	refuses(t, p, err, kmserr.StoreAccess, link)
}

func TestLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making links needs a right: that they are followed within the folder and not out of it is not tested")
	}
	age := withRestriction(`"maxSnapshotAge":"1h"`)
	t.Run("ConfigMap", func(t *testing.T) {
		_, h := folders(t, "", "")
		if err := os.Mkdir(filepath.Join(h, "..2026"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(h, "..2026", FileName), age)
		for link, target := range map[string]string{"..data": "..2026", FileName: "..data/" + FileName} {
			if err := os.Symlink(target, filepath.Join(h, link)); err != nil {
				t.Fatal(err)
			}
		}
		p, err := load(h, "")
		if err != nil || p.Files()[0].Path != filepath.Join(h, FileName) {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("out of the folder", func(t *testing.T) {
		m, h := folders(t, age, "")
		if err := os.Symlink(filepath.Join(m, FileName), filepath.Join(h, FileName)); err != nil {
			t.Fatal(err)
		}
		p, err := load(h, "")
		refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(h, FileName), "leaves")
	})
	t.Run("nowhere", func(t *testing.T) {
		m, h := folders(t, "", "")
		for _, folder := range []string{m, h} {
			if err := os.Symlink("none", filepath.Join(folder, FileName)); err != nil {
				t.Fatal(err)
			}
		}
		p, err := load(h, "")
		refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(h, FileName), "not there")
		p, err = load("", m)
		refuses(t, p, err, kmserr.PolicyInvalid, filepath.Join(m, FileName), "not there")
	})
	t.Run("the machine's folder leads nowhere", func(t *testing.T) {
		m, h := folders(t, "", "")
		if err := os.Symlink("none", m+"-link"); err != nil {
			t.Fatal(err)
		}
		p, err := load(h, m+"-link")
		refuses(t, p, err, kmserr.PolicyInvalid, m+"-link", "not there")
	})
	t.Run("behind a link, two dots", func(t *testing.T) {
		// To the system link/../home is deep/home, which is the machine's folder; to who cleans the path it is the home.
		m, h := folders(t, withRestriction(`"maxSnapshotAge":"2h"`), age)
		dir := filepath.Dir(h)
		if err := os.MkdirAll(filepath.Join(dir, "deep", "a"), 0o700); err != nil {
			t.Fatal(err)
		}
		for link, target := range map[string]string{"link": filepath.Join("deep", "a"), filepath.Join("deep", filepath.Base(h)): m} {
			if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		twoWays := dir + "/link/../" + filepath.Base(h)
		if same, err := os.Stat(twoWays); err != nil || !os.SameFile(same, stat(t, m)) {
			t.Fatal("to the system the path is not the machine's folder", err)
		}
		p, err := load(twoWays, m)
		if err != nil || len(p.Files()) != 2 || p.Files()[1].Path != filepath.Join(h, FileName) {
			t.Fatalf("%v, %v", p, err)
		}
		write(t, filepath.Join(m, FileName), with(`"homes":["`+h+`"]`))
		if p, err := load(twoWays, m); err != nil || len(p.Files()) != 2 {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("one folder by two names", func(t *testing.T) {
		m, _ := folders(t, with(`"homes":["/nowhere"]`), "")
		if err := os.Symlink(m, m+"-link"); err != nil {
			t.Fatal(err)
		}
		p, err := load(m+"-link", m)
		refuses(t, p, err, kmserr.StoreAccess, m+"-link", "/nowhere")
	})
}

func TestCheckFile(t *testing.T) {
	_, h := folders(t, "", with(`"homes":["/x"]`))
	path := filepath.Join(h, FileName)
	if _, err := Check(path); err != nil {
		t.Error(err)
	}
	if _, err := CheckHome(path); !kmserr.Is(err, kmserr.PolicyInvalid) || !strings.Contains(err.Error(), "only the machine's policy chooses the homes") {
		t.Error(err)
	}
	write(t, path, with(`"homes":["x"],"log":{"mode":"x"}`))
	if _, err := Check(path); kmserr.ExitCode(err) != kmserr.ExitOurSide || strings.Count(err.Error(), path) != 2 {
		t.Error(err)
	}
	for _, none := range []string{h, path + "x"} {
		if _, err := Check(none); !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%s: %v", none, err)
		}
	}
	write(t, path, strings.Repeat(" ", MaxFile+1))
	if _, err := Check(path); err == nil || !strings.Contains(err.Error(), "more than the 1048576 allowed") {
		t.Error(err)
	}
	t.Chdir(h)
	write(t, path, "{}")
	if _, err := Check(FileName); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// load has every check of permissions.
func load(home, machineFolder string) (Policy, error) {
	return Load(Options{Home: home, MachineFolder: machineFolder})
}
