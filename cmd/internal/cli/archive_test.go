package cli

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// entry is a file of a tar, with whatever header a case gives it.
type entry struct {
	name    string
	content string
	change  func(*tar.Header)
}

func makeTar(t *testing.T, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.content)), Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if e.change != nil {
			e.change(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readTar(t *testing.T, data []byte) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

// TestArchives takes an export apart and puts it together otherwise: only the tar that keys export made is taken, and
// whatever else is refused before a home is made.
func TestArchives(t *testing.T) {
	dir := t.TempDir()
	home, file := filepath.Join(dir, "home"), filepath.Join(dir, "keys.tar")
	const records = "../../../testdata/records/"
	for _, args := range [][]string{
		{"keys", "import", records + "p256.get-public-key.json", "--alias", "alias/release"},
		{"keys", "import", records + "p384.get-public-key.json"},
		{"keys", "block", "alias/release", "--reason", "a test"},
		{"keys", "export", "--file", file},
	} {
		if out, code := runCLI(t, append(args, "--home", home)...); code != 0 {
			t.Fatal(out)
		}
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := readTar(t, whole)
	names := slices.Sorted(maps.Keys(files))
	if len(names) != 4 { // an alias, a block, two keys
		t.Fatalf("the archive holds %q", names)
	}
	pick := func(folder string) (name string) {
		i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, folder) })
		if i < 0 {
			t.Fatalf("no %s in %q", folder, names)
		}
		return names[i]
	}
	all := func(change func(*[]entry)) []byte {
		var entries []entry
		for _, n := range names {
			entries = append(entries, entry{name: n, content: files[n]})
		}
		change(&entries)
		return makeTar(t, entries)
	}
	header := func(change func(*tar.Header)) []byte {
		return all(func(e *[]entry) { (*e)[len(*e)-1].change = change })
	}
	rename := func(from, to string) []byte {
		return all(func(e *[]entry) {
			i := slices.IndexFunc(*e, func(e entry) bool { return e.name == from })
			(*e)[i].name = to
		})
	}
	key, alias, block := pick("keys/"), pick("aliases/"), pick("blocks/")
	const notMade, byContent, notOurs = "is not as keys export made it", "by its content the file would be", "which keys export does not make"
	cases := map[string]struct {
		data []byte
		said string
	}{
		"as it was":           {all(func(*[]entry) {}), ""},
		"another order":       {all(func(e *[]entry) { slices.Reverse(*e) }), notMade},
		"an entry twice":      {all(func(e *[]entry) { *e = append(*e, (*e)[len(*e)-1]) }), notMade},
		"data after the end":  {append(bytes.Clone(whole), "more"...), notMade},
		"zeros after the end": {append(bytes.Clone(whole), make([]byte, 512)...), notMade},
		"no end":              {whole[:len(whole)-1024], notMade},
		"half an end":         {whole[:len(whole)-512], notMade},
		"cut within a file":   {whole[:600], "the tar is damaged"},
		"another mode":        {header(func(h *tar.Header) { h.Mode = 0o777 }), notMade},
		"a time":              {header(func(h *tar.Header) { h.ModTime = time.Unix(1, 0) }), notMade},
		"an owner":            {header(func(h *tar.Header) { h.Uid, h.Uname = 7, "eve" }), notMade},
		"an attribute":        {header(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} }), notMade},
		"a symbolic link":     {header(func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0 }), notOurs},
		"a hard link":         {header(func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeLink, names[0], 0 }), notOurs},
		"a folder": {all(func(e *[]entry) {
			*e = append(*e, entry{name: "keys/x/", change: func(h *tar.Header) { h.Typeflag, h.Mode = tar.TypeDir, 0o700 }})
		}), notOurs},
		"a name out of it":      {rename(key, "keys/../../x.json"), notOurs},
		"an absolute name":      {rename(key, "/"+key), notOurs},
		"a key's other name":    {rename(key, strings.Replace(key, "us-east-1", "us-west-2", 1)), byContent},
		"an alias's other name": {rename(alias, "aliases/a.json"), byContent},
		"a block's other name":  {rename(block, "blocks/a.json"), byContent},
		"a key as an alias":     {rename(key, "aliases/a.json"), "the alias"},
		"a file of another":     {rename(key, "policy.json"), "this is no part of an export"},
		"a backslash":           {rename(key, strings.ReplaceAll(key, "/", `\`)), ""}, // as the system has it
		"an alias alone":        {makeTar(t, []entry{{name: alias, content: files[alias]}}), "but not that key"},
		"a block of no key":     {makeTar(t, []entry{{name: "blocks/a.json", content: "{}"}}), "the block names no key"},
		"a bad fingerprint":     {makeTar(t, []entry{{name: "blocks/a.json", content: `{"PublicKeySHA256":"ABCD"}`}}), "64 digits of lower-case hexadecimal"},
		"a private key":         {makeTar(t, []entry{{name: key, content: "-----BEGIN PRIVATE KEY-----"}}), "THIS IS A PRIVATE KEY"},
		"a long file":           {makeTar(t, []entry{{name: key, content: strings.Repeat(" ", maxArchiveEntry+1)}}), notOurs},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, home := filepath.Join(dir, "a.tar"), filepath.Join(dir, "home")
			write(t, file, c.data)
			var stdout, stderr bytes.Buffer
			code := Main([]string{"keys", "import", "--home", home, file}, strings.NewReader(""), &stdout, &stderr)
			if name == "a backslash" {
				c.said = "no part of an export"
				if filepath.Separator == '\\' {
					c.said = byContent
				}
			}
			if c.said == "" {
				if code != 0 {
					t.Errorf("exit code %d\n%s", code, stderr.String())
				}
				return
			}
			if code != kmserr.ExitBadCall || !strings.Contains(stderr.String(), c.said) || !strings.Contains(stderr.String(), "a.tar") && name != "an alias alone" {
				t.Errorf("exit code %d, said %q, expected 2 and %q", code, stderr.String(), c.said)
			}
			if _, err := os.Stat(home); err == nil {
				t.Error("a home was made")
			}
		})
	}
}

// TestBlocksGoFirst: where a block of an archive cannot be written, no key of it is.
func TestBlocksGoFirst(t *testing.T) {
	dir := t.TempDir()
	source, home, file := filepath.Join(dir, "source"), filepath.Join(dir, "home"), filepath.Join(dir, "keys.tar")
	const records = "../../../testdata/records/"
	const arn = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
	for _, args := range [][]string{
		// Under the ARN that is blocked the source has another key than the home.
		{"keys", "import", "--home", source, "../../../testdata/keys/p256-other.spki.der", "--key-id", arn, "--key-usage", "SIGN_VERIFY"},
		{"keys", "block", "--home", source, arn},
		{"keys", "remove", "--home", source, arn},
		{"keys", "import", "--home", source, records + "p384.get-public-key.json"},
		{"keys", "export", "--home", source, "--file", file},
		{"keys", "import", "--home", home, records + "p256.get-public-key.json"},
	} {
		if out, code := runCLI(t, args...); code != 0 {
			t.Fatal(out)
		}
	}
	if _, code := runCLI(t, "keys", "import", "--home", home, file); code == 0 {
		t.Error("a block that contradicts the record is taken")
	}
	if out, _ := runCLI(t, "keys", "list", "--home", home); strings.Contains(out, "ECC_NIST_P384") {
		t.Errorf("keys were written without the blocks:\n%s", out)
	}
}
