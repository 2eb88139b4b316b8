//go:build unix

package fileguard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// folder makes a folder with one file in it, both with these modes.
func folder(t *testing.T, mode, fileMode os.FileMode) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "folder")
	for _, err := range []error{os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600),
		os.Chmod(filepath.Join(dir, "file"), fileMode), os.Chmod(dir, mode)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(g *Guard, dir string) (string, error) {
	tree, err := g.Open(dir)
	if err != nil {
		return "", err
	}
	defer tree.Close()
	data, _, err := tree.Read("file", 100)
	return string(data), err
}

func TestModes(t *testing.T) {
	for name, c := range map[string]struct {
		folder, file os.FileMode
		opts         Options
		refused      string // what the error says; "" for none
		warned       string // what the only warning says
	}{
		"private":                    {folder: 0o700, file: 0o600},
		"readable by all":            {folder: 0o755, file: 0o644, opts: Options{Strict: true}},
		"folder of everyone":         {folder: 0o777, file: 0o600, refused: "folder can be written by everyone (mode 0777)"},
		"file of everyone":           {folder: 0o700, file: 0o666, refused: "file can be written by everyone (mode 0666)"},
		"sticky is no excuse here":   {folder: 0o777 | os.ModeSticky, file: 0o600, refused: "folder can be written by everyone"},
		"folder of the group":        {folder: 0o770, file: 0o600, warned: "folder can be written by its group"},
		"file of the group":          {folder: 0o700, file: 0o660, warned: "file can be written by its group"},
		"folder of the group,strict": {folder: 0o770, file: 0o600, opts: Options{Strict: true}, refused: "folder can be written by its group"},
		"file of the group, strict":  {folder: 0o700, file: 0o660, opts: Options{Strict: true}, refused: "file can be written by its group"},
		"unsafe":                     {folder: 0o777, file: 0o666, opts: Options{Unsafe: true}},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(c.opts)
			content, err := read(g, folder(t, c.folder, c.file))
			if c.refused != "" {
				if content != "" || !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), c.refused) || kmserr.As(err).Hint == "" {
					t.Errorf("got %q, %v | %s", content, err, kmserr.As(err).Hint)
				}
			} else if content != "content" || err != nil {
				t.Errorf("got %q, %v", content, err)
			}
			switch w := g.Warnings(); {
			case c.warned == "" && len(w) > 0:
				t.Errorf("warned: %q", w)
			case c.warned != "" && (len(w) == 0 || !strings.Contains(strings.Join(w, "|"), c.warned)):
				t.Errorf("warned: %q, expected %s", w, c.warned)
			}
		})
	}
}

// The root of a ConfigMap volume has mode 0777; what keeps others from writing is its read-only mount.
func TestReadOnlyMount(t *testing.T) {
	dir := folder(t, 0o777, 0o600)
	g := New(Options{Strict: true})
	g.system.readOnly = func(*os.File) (bool, error) { return true, nil }
	if content, err := read(g, dir); err != nil || content != "content" {
		t.Error(content, err)
	}
	g.system.readOnly = func(*os.File) (bool, error) { return true, os.ErrInvalid }
	if _, err := read(g, dir); !kmserr.Is(err, kmserr.StoreIntegrity) {
		t.Errorf("what cannot be told was taken for read-only: %v", err)
	}
	g = New(Options{})
	g.system.readOnly = func(*os.File) (bool, error) { return true, nil }
	g.system.euid = 4242 // the files are those of root, or of nobody trusted
	_, err := read(g, dir)
	if os.Geteuid() == 0 {
		if err != nil {
			t.Error(err)
		}
	} else if !kmserr.Is(err, kmserr.StoreIntegrity) || !strings.Contains(err.Error(), "belongs to") {
		t.Error(err)
	}
}

func TestAbsentAndRelative(t *testing.T) {
	g := New(Options{})
	if _, err := g.Open("relative"); !kmserr.Is(err, kmserr.StoreAccess) {
		t.Error(err)
	}
	dir := folder(t, 0o700, 0o600)
	if _, err := g.Open(filepath.Join(dir, "none")); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	tree, err := g.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, _, err := tree.Read("none", 1); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	if _, _, err := tree.Read("file", 6); err == nil || !strings.Contains(err.Error(), "more than 6 bytes") {
		t.Error(err)
	}
}

// TestAbsentBelowALink: what is not there below a link that leads somewhere is absent, as anywhere else; a link that leads
// nowhere, or into nothing, is not.
func TestAbsentBelowALink(t *testing.T) {
	dir, err := filepath.EvalSymlinks(folder(t, 0o700, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"relative": ".", "absolute": dir, "chain": "relative/absolute/chained", "chained": "absolute", "nowhere": "none", "into": "absolute/none", "through": "into/more",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, nowhere := range map[string]string{
		"relative/none": "", "absolute/none/more": "", "chain/none": "", "chain/chain/none": "",
		"nowhere": "nowhere", "into": "into", "into/more": "into", "through": "into", "relative/through/more": "into",
	} {
		real, err := New(Options{}).ResolveFolder(filepath.Join(dir, path))
		leads := fmt.Sprintf("%s is a link that leads to %s, which is not there", filepath.Join(dir, nowhere), filepath.Join(dir, "none"))
		if real != "" || nowhere == "" && !errors.Is(err, ErrAbsent) || nowhere != "" && (!kmserr.Is(err, kmserr.StoreAccess) || !strings.Contains(err.Error(), leads)) {
			t.Errorf("%s: got %q, %v", path, real, err)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b-c_d.json": "/a/b-c_d.json", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "/$(x)": "'/$(x)'", "/a\nb": "'/a\nb'", "": "''",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: got %s, expected %s", in, got, want)
		}
	}
}
