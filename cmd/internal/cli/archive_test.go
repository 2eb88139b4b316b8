package cli

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
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

func entryNames(t *testing.T, data []byte) (names []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
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
	names := entryNames(t, whole)
	if len(names) != 6 { // the format, a block in two files, two keys, an alias
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
	key, alias, block := pick("keys/"), pick("aliases/"), pick("blocks/arn/")
	swap := func(i, j int) func(*[]entry) {
		return func(e *[]entry) { (*e)[i], (*e)[j] = (*e)[j], (*e)[i] }
	}
	content := func(name, old, new string) []byte {
		return all(func(e *[]entry) {
			i := slices.IndexFunc(*e, func(e entry) bool { return e.name == name })
			(*e)[i].content = strings.Replace((*e)[i].content, old, new, 1)
			if (*e)[i].content == files[name] {
				t.Fatalf("%s has no %q", name, old)
			}
		})
	}
	const notMade, byContent, after = "is not as keys export made it", "by its content the file would be", "which keys export does not write so"
	cases := map[string]struct {
		data []byte
		said string
	}{
		"as it was":             {all(func(*[]entry) {}), ""},
		"another order of keys": {all(swap(3, 4)), after},
		"a key before a block":  {all(swap(2, 3)), after},
		"an alias before a key": {all(swap(4, 5)), after},
		"an entry twice":        {all(func(e *[]entry) { *e = append(*e, (*e)[len(*e)-1]) }), after},
		"the format twice":      {all(func(e *[]entry) { *e = append(*e, (*e)[0]) }), "this is no part of a key store"},
		"another format":        {content("export.json", "export/1", "export/2"), "A later awskms-offline"},
		"more in the format":    {content("export.json", "{", `{"Signed": true, `), "is not as keys export writes it"},
		"data after the end":    {append(bytes.Clone(whole), "more"...), notMade},
		"zeros after the end":   {append(bytes.Clone(whole), make([]byte, 512)...), notMade},
		"no end":                {whole[:len(whole)-1024], notMade},
		"half an end":           {whole[:len(whole)-512], notMade},
		"cut within a file":     {whole[:1400], "the tar is damaged"},
		"another mode":          {header(func(h *tar.Header) { h.Mode = 0o777 }), notMade},
		"a time":                {header(func(h *tar.Header) { h.ModTime = time.Unix(1, 0) }), notMade},
		"an owner":              {header(func(h *tar.Header) { h.Uid, h.Uname = 7, "eve" }), notMade},
		"an attribute":          {header(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} }), notMade},
		"a symbolic link":       {header(func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0 }), "aliases/"},
		"a hard link":           {header(func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeLink, names[0], 0 }), "aliases/"},
		"a folder": {all(func(e *[]entry) {
			*e = append(*e, entry{name: "keys/x/", change: func(h *tar.Header) { h.Typeflag, h.Mode = tar.TypeDir, 0o700 }})
		}), "keys/x/"},
		"a name out of it":      {rename(key, "keys/../../x.json"), byContent},
		"an absolute name":      {rename(key, "/"+key), "this is no part of a key store"},
		"a key's other name":    {rename(key, strings.Replace(key, "us-east-1", "us-west-2", 1)), byContent},
		"an alias's other name": {rename(alias, "aliases/a.json"), byContent},
		"a block's other name":  {rename(block, "blocks/a.json"), byContent},
		"a key as an alias":     {rename(key, "aliases/a.json"), "the alias"},
		"a file of another":     {rename(key, "policy.json"), "this is no part of a key store"},
		"a backslash":           {rename(key, strings.ReplaceAll(key, "/", `\`)), "this is no part of a key store"},
		"another form":          {content(key, "\n", "\n\n"), "not in the form that a key store has it in"},
		"an unknown member":     {content(alias, "{", `{"X": 1, `), "the alias"},
		"an alias of tomorrow":  {content(alias, "\"\n}", "\",\n  \"Time\": \"2999-01-01T00:00:00Z\"\n}"), "in the tar, " + alias + ": Time is"},
		"a key of tomorrow":     {content(key, `"Source"`, `"Time": "2999-01-01T00:00:00Z", "Source"`), "keys/"},
		"a block of no key":     {makeTar(t, []entry{{name: "export.json", content: manifest}, {name: "blocks/a.json", content: "{}"}}), "has neither KeyId nor PublicKeySHA256"},
		"a bad fingerprint":     {makeTar(t, []entry{{name: "export.json", content: manifest}, {name: "blocks/a.json", content: `{"PublicKeySHA256":"ABCD"}`}}), "64 digits of lower-case hexadecimal"},
		"a private key":         {makeTar(t, []entry{{name: "export.json", content: manifest}, {name: key, content: "-----BEGIN PRIVATE KEY-----"}}), "THIS IS A PRIVATE KEY"},
		"a long file":           {makeTar(t, []entry{{name: "export.json", content: manifest}, {name: key, content: strings.Repeat(" ", 1<<20)}}), "more than the"},
		"nothing":               {makeTar(t, []entry{{name: "export.json", content: manifest}}), "the export holds no key"},
		"no file":               {makeTar(t, nil), "neither JSON nor a public key"},
		"compressed":            {[]byte{0x1f, 0x8b, 8, 0}, "compressed with gzip"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, home := filepath.Join(dir, "a.tar"), filepath.Join(dir, "home")
			write(t, file, c.data)
			var stdout, stderr bytes.Buffer
			code := Main([]string{"keys", "import", "--home", home, file}, strings.NewReader(""), &stdout, &stderr)
			if c.said == "" {
				if code != 0 {
					t.Errorf("exit code %d\n%s", code, stderr.String())
				}
				return
			}
			if code != kmserr.ExitBadCall || !strings.Contains(stderr.String(), c.said) || !strings.Contains(stderr.String(), "a.tar") {
				t.Errorf("exit code %d, said %q, expected 2 and %q", code, stderr.String(), c.said)
			}
			if _, err := os.Stat(home); err == nil {
				t.Error("a home was made")
			}
		})
	}
}

// TestBlockBesideAnotherKey: a block in an archive is taken whatever key lies under its ARN here, and keeps no other file of the
// archive out.
func TestBlockBesideAnotherKey(t *testing.T) {
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
	for _, says := range []string{"blocked: " + arn, "unchanged: " + arn} { // as often as it is imported
		if out, code := runCLI(t, "keys", "import", "--home", home, file); code != 0 || !strings.Contains(out, says) {
			t.Errorf("exit code %d\n%s", code, out)
		}
	}
	if out, _ := runCLI(t, "keys", "show", "--home", home, arn); !strings.Contains(out, "BLOCKED") {
		t.Errorf("the key is not blocked:\n%s", out)
	}
	if out, _ := runCLI(t, "keys", "list", "--home", home); !strings.Contains(out, "ECC_NIST_P384") {
		t.Errorf("the other key was not taken:\n%s", out)
	}
}

// TestImportIsAllOrNothing: one key of an export that cannot be taken keeps all of it from being written, and the second
// import of what was taken changes nothing.
func TestImportIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	source, home, file := filepath.Join(dir, "source"), filepath.Join(dir, "home"), filepath.Join(dir, "keys.tar")
	const records = "../../../testdata/records/"
	const arn = "arn:aws:kms:us-east-1:111122223333:key/b7935bd4-23e0-4377-9361-7ea4c0edc257"
	run := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := Main(args, strings.NewReader(""), &stdout, &stderr); code != want {
			t.Fatalf("%q: exit code %d, expected %d\n%s%s", args, code, want, stdout.String(), stderr.String())
		}
		return stdout.String() + stderr.String()
	}
	run(0, "keys", "import", "--home", source, records+"p384.get-public-key.json", "--alias", "alias/release")
	run(0, "keys", "import", "--home", source, records+"p256.get-public-key.json")
	run(0, "keys", "import", "--home", source, records+"p521.get-public-key.json")
	run(0, "keys", "export", "--home", source, "--file", file)
	// The home has another key under one of the ARNs.
	run(0, "keys", "import", "--home", home, "../../../testdata/keys/p256-other.spki.der", "--key-id", arn, "--key-usage", "SIGN_VERIFY")
	before := run(0, "keys", "list", "--home", home)
	if out := run(1, "keys", "import", "--home", home, file); !strings.Contains(out, "KeyMaterialMismatchException") {
		t.Errorf("said %s", out)
	}
	if after := run(0, "keys", "list", "--home", home); after != before {
		t.Errorf("the store changed:\n%s", after)
	}
	run(0, "keys", "remove", "--home", home, arn)
	if out := run(0, "keys", "import", "--home", home, file); strings.Count(out, "new: ") != 4 {
		t.Errorf("got\n%s", out)
	}
	if out := run(0, "keys", "import", "--home", home, file); strings.Count(out, "unchanged: ") != 4 {
		t.Errorf("got\n%s", out)
	}
	again := filepath.Join(dir, "again.tar")
	run(0, "keys", "export", "--home", home, "--file", again)
	one, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Error("the store is another one")
	}
	// An alias that moved on the other side moves here only if told to.
	run(0, "keys", "import", "--home", source, records+"p521.get-public-key.json", "--alias", "alias/release", "--move-alias", "--snapshot-time", "2026-11-01T00:00:00Z")
	moved := filepath.Join(dir, "moved.tar")
	run(0, "keys", "export", "--home", source, "--file", moved)
	if out := run(2, "keys", "import", "--home", home, moved); !strings.Contains(out, "--move-alias") {
		t.Errorf("said %s", out)
	}
	run(0, "keys", "import", "--home", home, moved, "--move-alias")
	if out := run(0, "keys", "show", "--home", home, "alias/release"); !strings.Contains(out, "P521") {
		t.Errorf("got\n%s", out)
	}
}

// TestEveryRefusalIsTold: of however many keys that cannot be imported, each is named: the last may be the one that matters.
func TestEveryRefusalIsTold(t *testing.T) {
	dir := t.TempDir()
	home, good, bad := filepath.Join(dir, "home"), filepath.Join(dir, "good.json"), filepath.Join(dir, "bad.json")
	var arns []string
	for i := range 150 {
		arns = append(arns, fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-%012d", i))
	}
	for file, record := range map[string]string{good: "p256", bad: "p256-other"} {
		content, err := os.ReadFile("../../../testdata/records/" + record + ".get-public-key.json")
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		if err := json.Unmarshal(content, &answer); err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, arn := range arns {
			answer["KeyId"] = arn
			one, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			all = append(append(all, one...), '\n')
		}
		write(t, file, all)
	}
	if out, code := runCLI(t, "keys", "import", "--home", home, good); code != 0 {
		t.Fatal(out)
	}
	code, _, stderr := call("keys", "import", "--home", home, bad)
	if n := strings.Count(stderr, "KeyMaterialMismatchException"); code != kmserr.ExitRefused || n != len(arns) {
		t.Errorf("exit code %d, %d refusals told of %d:\n%.2000s", code, n, len(arns), stderr)
	}
	for _, arn := range arns {
		if !strings.Contains(stderr, arn) {
			t.Errorf("%s is not told of", arn)
		}
	}
}

// TestArchiveThatChanges: every reading of a tar finds what the first one did, whose SHA-256 --expect-sha256 compares, or is
// refused: of what keys export made and of a tar of key files, whichever of its bytes changed, and when.
func TestArchiveThatChanges(t *testing.T) {
	dir := t.TempDir()
	home, exported, foreign := filepath.Join(dir, "home"), filepath.Join(dir, "keys.tar"), filepath.Join(dir, "files.tar")
	for _, args := range [][]string{
		{"keys", "import", "--home", home, "../../../testdata/records/p256.get-public-key.json"},
		{"keys", "export", "--home", home, "--file", exported},
	} {
		if out, code := runCLI(t, args...); code != 0 {
			t.Fatal(out)
		}
	}
	key, err := os.ReadFile("../../../testdata/records/p256.get-public-key.json")
	if err != nil {
		t.Fatal(err)
	}
	// Longer than what is compared at a time, so that there is a part that no reading has reached yet.
	write(t, foreign, makeTar(t, []entry{{name: "a.json", content: string(key)}, {name: "pad.txt", content: strings.Repeat("x", 3*chunkSize)}, {name: "b.json", content: string(key)}}))
	all := func(files iter.Seq2[keystore.File, error]) (err error) {
		for _, e := range files {
			err = errors.Join(err, e)
		}
		return err
	}
	readings := map[string]struct {
		file string
		read func(*archive) error
	}{
		"what it is": {exported, func(a *archive) error { _, err := a.exported(); return err }},
		"the check":  {exported, func(a *archive) error { return a.check(func(keystore.File) error { return nil }) }},
		"its files":  {exported, func(a *archive) error { return all(a.files()) }},
		"key files": {foreign, func(a *archive) (err error) {
			for _, e := range a.keyFiles(func(string) {}) {
				err = errors.Join(err, e)
			}
			return err
		}},
		"the end": {foreign, func(a *archive) error { return a.ended() }},
	}
	for name, c := range readings {
		was, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(was)
		for change, now := range map[string][]byte{
			"nothing":        was,
			"the first byte": flipped(was, 0),
			"the last byte":  flipped(was, len(was)-1),
			"cut off":        was[:len(was)-512],
			"emptied":        nil,
		} {
			if name == "the end" && change == "the first byte" {
				continue // which that reading does not reach
			}
			t.Run(name+", "+change, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "a.tar")
				write(t, file, was)
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				a, err := openTar(t.Context(), file, nil, f) // it closes f
				if err != nil {
					t.Fatal(err)
				}
				defer a.close()
				write(t, file, now) // the same file, so that f reads it
				if err := a.expect(hex.EncodeToString(sum[:])); err != nil {
					t.Errorf("the first reading is forgotten: %v", err)
				}
				err = c.read(a)
				if change == "nothing" && err != nil || change != "nothing" && (!errors.Is(err, errChanged) || kmserr.ExitCode(err) != kmserr.ExitBadCall) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func flipped(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 1
	return data
}

// TestExpectedTarIsTheOneImported: whoever changes the tar once its SHA-256 was compared has nothing imported, of whichever
// kind it was before and is then.
func TestExpectedTarIsTheOneImported(t *testing.T) {
	dir := t.TempDir()
	const records = "../../../testdata/records/"
	tars := make(map[string][]byte)
	for _, key := range []string{"p256", "p384"} {
		home, file := filepath.Join(dir, key), filepath.Join(dir, key+".tar")
		for _, args := range [][]string{{"keys", "import", "--home", home, records + key + ".get-public-key.json"}, {"keys", "export", "--home", home, "--file", file}} {
			if out, code := runCLI(t, args...); code != 0 {
				t.Fatal(out)
			}
		}
		content, err := os.ReadFile(records + key + ".get-public-key.json")
		if err != nil {
			t.Fatal(err)
		}
		tars[key+" in files"] = makeTar(t, []entry{{name: "key.json", content: string(content)}})
		if tars[key], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for was, good := range tars {
		for now, other := range tars {
			if was == now {
				continue
			}
			t.Run(was+", then "+now, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "a.tar")
				write(t, file, good)
				sum := sha256.Sum256(good)
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				archive, err := openTar(t.Context(), file, nil, f)
				if err != nil {
					t.Fatal(err)
				}
				if err := archive.expect(hex.EncodeToString(sum[:])); err != nil {
					t.Fatal(err)
				}
				write(t, file, other)
				all := &importSet{}
				err = (&app{ctx: t.Context(), stderr: io.Discard}).takeTar(archive, importFlags{}, all)
				if !strings.Contains(fmt.Sprint(err), "the tar changed while it was read") || len(all.archives) > 0 {
					t.Errorf("got %v and %d archives", err, len(all.archives))
				}
			})
		}
	}
}

// TestFolderTarIsWhole: a tar of files that is cut off between two of them is refused, as what was cut off may be the state
// of a key that is disabled.
func TestFolderTarIsWhole(t *testing.T) {
	var entries []entry
	for _, name := range []string{"p256-disabled.get-public-key.json", "p256-disabled.describe-key.json"} {
		content, err := os.ReadFile(filepath.Join("..", "..", "..", "testdata", "records", name))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name: name, content: string(content)})
	}
	whole := makeTar(t, entries)
	// What is passed over may be of any length, and git archive's first entry is no file.
	more := append([]entry{
		{name: "pax_global_header", change: func(h *tar.Header) {
			*h = tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: h.Name, PAXRecords: map[string]string{"comment": "a commit"}}
		}},
		{name: "guide.pdf", content: strings.Repeat("x", maxManyKeys+1)}, {name: "keys/.old.json", content: strings.Repeat("x", maxManyKeys+1)},
	}, entries...)
	first := len(makeTar(t, entries[:1])) - 2*512
	for name, c := range map[string]struct {
		data []byte
		code int
	}{
		"whole": {whole, 0}, "among others": {makeTar(t, more), 0}, "longer": {append(bytes.Clone(whole), make([]byte, 10240)...), 0},
		"between files": {whole[:first], 2}, "before its end": {whole[:len(whole)-2*512], 2}, "in its end": {whole[:len(whole)-512], 2},
		"and something": {append(bytes.Clone(whole), 'x'), 2},
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, t.TempDir())
			var stdout, stderr strings.Builder
			code := Main([]string{"keys", "import", "-"}, bytes.NewReader(c.data), &stdout, &stderr)
			if code != c.code || code != 0 && !strings.Contains(stderr.String(), "the tar was cut off") {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, stdout.String(), stderr.String())
			}
		})
	}
}
