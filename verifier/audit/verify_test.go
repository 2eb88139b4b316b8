package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// relink gives the lines of a log new numbers and hashes from the line n (from 1) on: what a forger who knows the form can
// do.
func relink(t testing.TB, lines []string, n int) {
	t.Helper()
	var h Head
	for i, raw := range lines {
		raw = strings.TrimSuffix(raw, "\n")
		l, _, err := decodeLine([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if i+1 < n {
			h = headOf(l, []byte(raw+"\n"))
			continue
		}
		l.follow(h)
		data, err := l.appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		lines[i], h = string(data), headOf(l, data)
	}
}

// TestTampering: each thing that can be done to a log is found, at its first place, and called by its name.
func TestTampering(t *testing.T) {
	const n = 10
	edit := func(line, old, new string) string {
		changed := strings.Replace(line, old, new, 1)
		if changed == line {
			t.Fatalf("%q is not in %s", old, line)
		}
		return changed
	}
	rehash := func(line string) string {
		at := strings.Index(line, `"previous":"`) + len(`"previous":"`)
		return line[:at] + strings.Repeat("0", 64) + line[at+64:]
	}
	for name, c := range map[string]struct {
		tamper   func(l []string) []string
		kind     Kind
		number   int64 // of the line named
		sequence int64
		says     string
	}{
		"one letter":                   {func(l []string) []string { l[4] = edit(l[4], `"Verify"`, `"verify"`); return l }, Changed, 5, 5, "line 6 holds another SHA-256 of it"},
		"refused made verified":        {func(l []string) []string { l[4] = edit(l[4], `"verified":false`, `"verified":true`); return l }, Changed, 5, 5, "line 6"},
		"a time":                       {func(l []string) []string { l[4] = edit(l[4], `11:00:05Z`, `10:00:05Z`); return l }, Changed, 5, 5, "line 6"},
		"the first line":               {func(l []string) []string { l[0] = edit(l[0], `"Verify"`, `"verify"`); return l }, Changed, 1, 1, "line 2"},
		"the line before the last":     {func(l []string) []string { l[8] = edit(l[8], `"Verify"`, `"verify"`); return l }, Changed, 9, 9, "line 10"},
		"its hash":                     {func(l []string) []string { l[4] = rehash(l[4]); return l }, Changed, 5, 5, "neither"},
		"the first hash":               {func(l []string) []string { l[0] = edit(l[0], `"previous":"0`, `"previous":"1`); return l }, Changed, 1, 1, "64 zeros"},
		"the last hash":                {func(l []string) []string { l[9] = rehash(l[9]); return l }, Changed, 9, 9, "or that one was changed"},
		"its number":                   {func(l []string) []string { l[4] = edit(l[4], `"sequence":5`, `"sequence":50`); return l }, Changed, 5, 5, "line 50 stands where line 5"},
		"its number, lower":            {func(l []string) []string { l[4] = edit(l[4], `"sequence":5`, `"sequence":2`); return l }, Inserted, 5, 5, "line 2 stands where line 5"},
		"a space":                      {func(l []string) []string { l[4] = edit(l[4], `,`, `, `); return l }, Changed, 5, 5, "not in the form"},
		"a carriage return":            {func(l []string) []string { l[4] = edit(l[4], "\n", "\r\n"); return l }, Changed, 5, 5, "line 6"},
		"a member more":                {func(l []string) []string { l[4] = edit(l[4], `"home"`, `"more":1,"home"`); return l }, Changed, 5, 5, "line 6"},
		"a member more in the last":    {func(l []string) []string { l[9] = edit(l[9], `"home"`, `"more":1,"home"`); return l }, Changed, 10, 10, "unknown member /more"},
		"a member twice":               {func(l []string) []string { l[4] = edit(l[4], `"home"`, `"asked":"x","home"`); return l }, Changed, 5, 5, "line 6 holds another SHA-256 of it"},
		"a member twice in the last":   {func(l []string) []string { l[9] = edit(l[9], `"home"`, `"asked":"x","home"`); return l }, Changed, 10, 10, "has a member twice"},
		"blanked":                      {func(l []string) []string { l[4] = "\n"; return l }, Changed, 5, 5, "no JSON object"},
		"spaces of the same length":    {func(l []string) []string { l[4] = strings.Repeat(" ", len(l[4])-1) + "\n"; return l }, Changed, 5, 5, "no JSON object"},
		"joined":                       {func(l []string) []string { l[4] = strings.TrimSuffix(l[4], "\n"); return l }, Changed, 5, 5, "no JSON object"},
		"far too long":                 {func(l []string) []string { l[4] = strings.Repeat("x", 3*chunkSize) + "\n"; return l }, Changed, 5, 5, "longer than"},
		"a later version":              {func(l []string) []string { l[4] = edit(l[4], `"eventVersion":"1.0"`, `"eventVersion":"1.9"`); return l }, Changed, 5, 5, `eventVersion "1.9"`},
		"two neighbours swapped":       {func(l []string) []string { l[4], l[5] = l[5], l[4]; return l }, Swapped, 5, 5, "line 6 stands where line 5 was expected, which comes later"},
		"two far lines swapped":        {func(l []string) []string { l[2], l[7] = l[7], l[2]; return l }, Swapped, 3, 3, "line 8 stands where line 3"},
		"the ends swapped":             {func(l []string) []string { l[0], l[9] = l[9], l[0]; return l }, Swapped, 1, 1, "line 10 stands where line 1"},
		"a line moved down":            {func(l []string) []string { return slices.Insert(slices.Delete(slices.Clone(l), 2, 3), 6, l[2]) }, Swapped, 3, 3, "line 4 stands where line 3"},
		"a block moved":                {func(l []string) []string { return slices.Concat(l[:2], l[5:8], l[2:5], l[8:]) }, Swapped, 3, 3, "line 6 stands where line 3"},
		"backwards":                    {func(l []string) []string { slices.Reverse(l); return l }, Swapped, 1, 1, "line 10"},
		"one removed":                  {func(l []string) []string { return slices.Delete(l, 4, 5) }, Removed, 5, 5, "line 5 is missing"},
		"three removed":                {func(l []string) []string { return slices.Delete(l, 4, 7) }, Removed, 5, 5, "lines 5 to 7 are missing"},
		"the first removed":            {func(l []string) []string { return l[1:] }, Removed, 1, 1, "line 1 is missing"},
		"all but the last removed":     {func(l []string) []string { return l[9:] }, Removed, 1, 1, "lines 1 to 9 are missing"},
		"the line before last removed": {func(l []string) []string { return slices.Delete(l, 8, 9) }, Removed, 9, 9, "line 9 is missing"},
		"one repeated":                 {func(l []string) []string { return slices.Insert(l, 5, l[4]) }, Inserted, 5, 5, "line 5 is there twice"},
		"an old one repeated":          {func(l []string) []string { return slices.Insert(l, 5, l[1]) }, Inserted, 6, 6, "line 2 stands where line 6"},
		"repeated at the end":          {func(l []string) []string { return append(l, l[3]) }, Inserted, 11, 11, "line 4 stands where line 11"},
		"a forged one that fits": {func(l []string) []string {
			forged := slices.Concat(l[:4], []string{edit(l[9], `"Verify"`, `"Forged"`)})
			relink(t, forged, 5)
			return slices.Insert(l, 4, forged[4])
		}, Inserted, 5, 5, "the chain goes on from the other one"},
		"a forged one that fits not": {func(l []string) []string {
			return slices.Insert(l, 4, edit(edit(l[9], `"sequence":10`, `"sequence":5`), `"Verify"`, `"Forged"`))
		}, Inserted, 5, 5, "not this one"},
		"removed and renumbered by hand": {func(l []string) []string {
			l = slices.Delete(l, 4, 5)
			for i := 4; i < len(l); i++ {
				l[i] = edit(l[i], fmt.Sprintf(`"sequence":%d`, i+2), fmt.Sprintf(`"sequence":%d`, i+1))
			}
			return l
		}, Changed, 5, 5, "neither"},
		"two forged ones that fit not": {func(l []string) []string {
			forged := rehash(edit(l[9], `"sequence":10`, `"sequence":5`))
			return slices.Insert(l, 4, forged, forged)
		}, Changed, 5, 5, "neither"},
		"a forged one behind": {func(l []string) []string { return slices.Insert(l, 5, edit(l[4], `"Verify"`, `"Forged"`)) }, Inserted, 6, 6, "line 5 stands where line 6"},
		"its hash, and the next holds that": {func(l []string) []string {
			own := parsedLine(t, l[4]).Previous
			l[4], l[5] = rehash(l[4]), edit(l[5], parsedLine(t, l[5]).Previous, own)
			return l
		}, Changed, 5, 5, "neither"},
		"its hash, and rubbish behind": {func(l []string) []string { l[4], l[5] = rehash(l[4]), "rubbish\n"; return l }, Changed, 5, 5, "neither"},
		"the last blanked":             {func(l []string) []string { l[9] = "\n"; return l }, Changed, 10, 10, "no JSON object"},
		"the end torn off":             {func(l []string) []string { l[9] = ""; l[8] = l[8][:100]; return l }, Torn, 9, 9, "in the middle of a line"},
		"the line feed":                {func(l []string) []string { l[9] = strings.TrimSuffix(l[9], "\n"); return l }, Torn, 10, 10, "in the middle of a line"},
		"zeros at the end":             {func(l []string) []string { return append(l, "\x00\x00\x00") }, Torn, 11, 11, "in the middle of a line"},
		// More than a piece of the reading, and more than the next writer mends.
		"many zeros":     {func(l []string) []string { return append(l, strings.Repeat("\x00", 3*chunkSize)) }, Torn, 11, 11, "in the middle of a line"},
		"too many zeros": {func(l []string) []string { return append(l, strings.Repeat("\x00", maxTorn+MaxLine)) }, Changed, 11, 11, "longer than"},
		"another file":   {func([]string) []string { return []string{"no log"} }, Changed, 1, 1, "no JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newLog(t, n)
			lines := c.tamper(readLinesWithEnds(t, path))
			if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			b := broken(t, path, Options{}, c.kind)
			if b.Number != c.number || b.Sequence != c.sequence || b.File != path || !strings.Contains(b.Why, c.says) {
				t.Errorf("got line %d, sequence %d: %v", b.Number, b.Sequence, b)
			}
		})
	}
}

func parsedLine(t testing.TB, raw string) Line {
	t.Helper()
	l, _, err := decodeLine([]byte(strings.TrimSuffix(raw, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestForms: a line in another form is found although the lines behind it hold its SHA-256, as whoever can write the log can
// make them.
func TestForms(t *testing.T) {
	const sequence = `"sequence":5,`
	for name, c := range map[string]struct {
		change func(line string) string
		says   string
	}{
		"capitals": {func(s string) string {
			previous := parsedLine(t, s).Previous
			return strings.Replace(s, previous, strings.ToUpper(previous), 1)
		}, "lower-case"},
		"no hash":         {func(s string) string { return strings.Replace(s, parsedLine(t, s).Previous, "", 1) }, "no SHA-256"},
		"too long a hash": {func(s string) string { return strings.Replace(s, `","eventID"`, `0","eventID"`, 1) }, "no SHA-256"},
		"a space":         {func(s string) string { return strings.Replace(s, sequence, `"sequence": 5,`, 1) }, "not in the form"},
		"a zero":          {func(s string) string { return strings.Replace(s, sequence, `"sequence":0,`, 1) }, "the sequence 0"},
		"beyond the last": {func(s string) string { return strings.Replace(s, sequence, `"sequence":9007199254740992,`, 1) }, "the sequence 9007199254740992"},
		"too long": {func(s string) string {
			return strings.Replace(s, `"home":"`, `"home":"`+strings.Repeat("h", MaxLine-len(s)+1), 1)
		}, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newLog(t, 7)
			lines := readLinesWithEnds(t, path)
			changed := c.change(lines[4])
			if changed == lines[4] {
				t.Fatal("nothing is changed")
			}
			lines[4] = changed
			for i := 5; i < len(lines); i++ {
				lines[i] = strings.Replace(lines[i], parsedLine(t, lines[i]).Previous, hexSHA256([]byte(strings.TrimSuffix(lines[i-1], "\n"))), 1)
			}
			writeLines(t, path, lines)
			if b := broken(t, path, Options{}, Changed); b.Number != 5 || !strings.Contains(b.Why, c.says) {
				t.Errorf("got %v", b)
			}
		})
	}
}

func readLinesWithEnds(t testing.TB, path string) []string {
	lines := readLines(t, path)
	lines[len(lines)-1] += "\n"
	return lines
}

// TestHead: what the chain alone cannot show, a head noted elsewhere does.
func TestHead(t *testing.T) {
	path := newLog(t, 10)
	var heads []Head
	lines := readLinesWithEnds(t, path)
	for _, raw := range lines {
		l, _, err := decodeLine([]byte(strings.TrimSuffix(raw, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, headOf(l, []byte(raw)))
	}
	if got, err := HeadOf(t.Context(), path); err != nil || got != heads[9] {
		t.Errorf("got %v, %v", got, err)
	}
	for _, h := range heads {
		r := intact(t, path, 10, Options{ExpectHead: h})
		if r.First != heads[0] || r.Last != heads[9] || !r.FirstTime.Equal(decision(1).EventTime.Time) || !r.LastTime.Equal(decision(10).EventTime.Time) {
			t.Errorf("got %+v", r)
		}
	}

	// The end removed: nothing shows it but the head.
	writeLines(t, path, lines[:7])
	intact(t, path, 7, Options{})
	intact(t, path, 7, Options{ExpectHead: heads[6]})
	for _, h := range heads[7:] {
		if b := broken(t, path, Options{ExpectHead: h}, Removed); b.Number != 0 || b.Sequence != 8 || !strings.Contains(b.Why, "ends with line 7") {
			t.Errorf("got %+v", b)
		}
	}

	// Written anew from line 4 on, with its chain.
	anew := slices.Clone(lines)
	anew[3] = strings.Replace(anew[3], `"verified":true`, `"verified":false`, 1)
	relink(t, anew, 4)
	writeLines(t, path, anew)
	intact(t, path, 10, Options{})
	intact(t, path, 10, Options{ExpectHead: heads[2]})
	for _, h := range heads[3:] {
		if b := broken(t, path, Options{ExpectHead: h}, Changed); b.Sequence != h.Sequence || b.Number != h.Sequence || !strings.Contains(b.Why, "written anew") {
			t.Errorf("got %+v", b)
		}
	}

	// With the beginning taken away on purpose only later heads, and the start itself, can be compared.
	writeLines(t, path, lines[4:])
	start := Options{ExpectStart: heads[3]}
	intact(t, path, 6, start)
	for i, h := range heads {
		opts := Options{ExpectStart: heads[3], ExpectHead: h}
		if i < 3 {
			broken(t, path, opts, Removed)
		} else {
			intact(t, path, 6, opts)
		}
	}
	if b := broken(t, path, Options{ExpectStart: heads[4]}, Inserted); b.Number != 1 {
		t.Errorf("got %+v", b)
	}
	broken(t, path, Options{ExpectStart: heads[2]}, Removed)
	other := heads[3]
	other.Hash[0]++
	if b := broken(t, path, Options{ExpectStart: other}, Changed); b.Number != 1 || !strings.Contains(b.Why, "does not follow the start") {
		t.Errorf("got %+v", b)
	}
	for _, l := range [][]string{lines[4:], nil} { // also where nothing came after the start
		writeLines(t, path, l)
		if b := broken(t, path, Options{ExpectStart: heads[3], ExpectHead: other}, Removed); !strings.Contains(b.Why, "line 4, noted elsewhere, cannot be compared") {
			t.Errorf("got %+v", b)
		}
	}
}

// TestAnyChange: whatever single byte is changed, whatever lines are dropped, doubled or swapped at random: it is found.
func TestAnyChange(t *testing.T) {
	path := newLog(t, 12)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, err := HeadOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	for i := range 1000 {
		var forged string
		switch i % 5 {
		case 0, 1: // a byte
			b := slices.Clone(whole)
			at := random.IntN(len(b))
			b[at] ^= byte(1 + random.IntN(255))
			forged = string(b)
		case 2: // lines out
			l := slices.Clone(lines)
			from := random.IntN(len(l))
			l = slices.Delete(l, from, min(len(l), from+1+random.IntN(3)))
			forged = strings.Join(l, "")
		case 3: // lines doubled
			l := slices.Clone(lines)
			forged = strings.Join(slices.Insert(l, random.IntN(len(l)+1), lines[random.IntN(len(l))]), "")
		case 4: // any order but the right one
			l := slices.Clone(lines)
			for strings.Join(l, "") == string(whole) {
				random.Shuffle(len(l), func(a, b int) { l[a], l[b] = l[b], l[a] })
			}
			forged = strings.Join(l, "")
		}
		if err := os.WriteFile(path, []byte(forged), 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Verify(context.Background(), path, Options{ExpectHead: head})
		if err == nil || report.Intact || report.Break == nil {
			t.Fatalf("attempt %d was not found: %+v", i, report)
		}
		if report.Break.Why == "" || report.Break.Sequence == 0 {
			t.Errorf("got %+v", report.Break)
		}
	}
}

// TestRotatedTampering: the same through files: one taken away, emptied, cut, put in another's place, or changed at its
// end.
func TestRotatedTampering(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(t *testing.T, dir string, files []string) error
		kind   Kind
		file   int // of the break
		number int64
	}{
		"removed":       {func(_ *testing.T, _ string, f []string) error { return os.Remove(f[1]) }, Removed, 2, 1},
		"the oldest":    {func(_ *testing.T, _ string, f []string) error { return os.Remove(f[0]) }, Removed, 1, 1},
		"emptied":       {func(_ *testing.T, _ string, f []string) error { return os.Truncate(f[1], 0) }, Removed, 2, 1},
		"cut":           {func(_ *testing.T, _ string, f []string) error { return os.Truncate(f[1], 300) }, Changed, 1, 1},
		"its line feed": {func(t *testing.T, _ string, f []string) error { return os.Truncate(f[1], sizeOf(t, f[1])-1) }, Changed, 1, 3},
		"the newest's line feed": {func(t *testing.T, d string, f []string) error { // which no crash takes from a rotated file, nor any writer gives back
			return errors.Join(os.Remove(filepath.Join(d, FileName)), os.Truncate(f[2], sizeOf(t, f[2])-1))
		}, Changed, 2, 3},
		"renamed away": {func(_ *testing.T, d string, f []string) error { return os.Rename(f[1], filepath.Join(d, "x")) }, Removed, 2, 1},
		"renamed to last": {func(_ *testing.T, d string, f []string) error {
			return os.Rename(f[0], filepath.Join(d, rotatedName(FileName, 99)))
		}, Swapped, 1, 1},
		"the last line changed": {func(t *testing.T, _ string, f []string) error {
			data, err := os.ReadFile(f[1])
			if err != nil {
				return err
			}
			at := strings.LastIndex(string(data), `"Verify"`)
			data[at+1] = 'w'
			return os.WriteFile(f[1], data, 0o600)
		}, Changed, 1, 3},
		"a member more in the last, before an empty file": {func(t *testing.T, d string, f []string) error {
			lines := readLinesWithEnds(t, f[2])
			lines[2] = strings.Replace(lines[2], `"home"`, `"more":1,"home"`, 1)
			writeLines(t, f[2], lines)
			return os.Truncate(filepath.Join(d, FileName), 0)
		}, Changed, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			path, files := rotatedLog(t)
			intact(t, path, 12, Options{})
			if err := c.tamper(t, filepath.Dir(path), files); err != nil {
				t.Fatal(err)
			}
			if b := broken(t, path, Options{}, c.kind); b.File != files[c.file] || b.Number != c.number {
				t.Errorf("got %v", b)
			}
		})
	}
}

// rotatedLog returns the path of a log of 12 lines, and of its three rotated files, of three lines each.
func rotatedLog(t *testing.T) (path string, rotated []string) {
	t.Helper()
	path = logPath(t)
	l := openLog(t, Config{Path: path, NoSync: true})
	l.cfg.RotateBytes = fewLines
	appendAll(t, l, 1, 12)
	rotated, err := filepath.Glob(path + ".0*")
	if err != nil || len(rotated) != 3 {
		t.Fatalf("%q, %v", rotated, err)
	}
	return path, rotated
}

func sizeOf(t *testing.T, path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestUnreadable: what cannot be read to its end is never intact.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"no file": filepath.Join(dir, "none"), "no folder": filepath.Join(dir, "none", "none"), "empty": ""} {
		report, err := Verify(t.Context(), path, Options{})
		if !kmserr.Is(err, kmserr.Validation) || report != (Report{}) {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		if _, err := HeadOf(t.Context(), path); !kmserr.Is(err, kmserr.Validation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := newLog(t, 3)
	ended, end := context.WithCancel(t.Context())
	end()
	for range 50 { // however it falls between the reading's parts
		if report, err := Verify(ended, path, Options{}); err == nil || report.Intact {
			t.Fatalf("given up, it is %+v, %v", report, err)
		}
	}
	if report, err := Verify(&givenUp{t.Context(), true}, path, Options{}); !kmserr.Is(err, kmserr.AuditUnavailable) || report.Intact {
		t.Errorf("given up after the reading, it is %+v, %v", report, err)
	}
	unavailableError(t, errOf(Verify(t.Context(), filepath.Join(path, FileName), Options{})), "cannot be read")
	if err := os.Mkdir(filepath.Join(filepath.Dir(path), rotatedName(FileName, 1)), 0o700); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), path, Options{})
	if report.Intact {
		t.Errorf("with a folder among its files it is %+v", report)
	}
	unavailableError(t, err, "a folder", "Move it away")
	unavailableError(t, errOf(HeadOf(t.Context(), filepath.Join(filepath.Dir(path), rotatedName(FileName, 1)))), "a folder", "Move it away")
	writeLines(t, path, []string{"{}\n"})
	unavailableError(t, errOf(HeadOf(t.Context(), path)), "no line of this log")
}

// givenUp is a context that says so, once it is over, to those only who ask.
type givenUp struct {
	context.Context
	over bool
}

func (*givenUp) Done() <-chan struct{} { return nil }

func (g *givenUp) Err() error {
	if g.over {
		return context.Canceled
	}
	return nil
}

// TestUnreadableBehind: what comes behind a break, and cannot be read, is no reason to call the break another one.
func TestUnreadableBehind(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(l []string) []string // the first file's lines
		file   int                       // that cannot be read
	}{
		"at once": {func(l []string) []string { l[2] = l[0]; return l }, 1},
		"later":   {func(l []string) []string { return slices.Delete(l, 1, 2) }, 2},
	} {
		path, files := rotatedLog(t)
		writeLines(t, files[0], c.tamper(readLinesWithEnds(t, files[0])))
		if err := errors.Join(os.Remove(files[c.file]), os.Mkdir(files[c.file], 0o700)); err != nil {
			t.Fatal(err)
		}
		report, err := Verify(t.Context(), path, Options{})
		if report != (Report{}) {
			t.Errorf("%s: got %+v", name, report)
		}
		unavailableError(t, err, "a folder")
	}
	path := newLog(t, 1)
	s, err := openSnapshot(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	v := verification{snapshot: s}
	b, err := v.explain(nil, &checked{file: s.name, open: true, bad: errNoEnd})
	if b != nil {
		t.Errorf("got %v", b)
	}
	unavailableError(t, err, "closed")
}

func errOf[T any](_ T, err error) error { return err }

// TestEmptyLog: a log of no line is intact, and its head is the beginning of a chain.
func TestEmptyLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	writeLines(t, path, nil)
	intact(t, path, 0, Options{})
	if h, err := HeadOf(t.Context(), path); err != nil || !h.IsZero() {
		t.Errorf("%v, %v", h, err)
	}
	broken(t, path, Options{ExpectHead: Head{Sequence: 1}}, Removed)
}

// TestCopy: a log is read where it has no lock file, and by a relative path.
func TestCopy(t *testing.T) {
	path := newLog(t, 3)
	if err := os.Remove(path + lockSuffix); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(path))
	intact(t, FileName, 3, Options{})
	names, err := os.ReadDir(".")
	if err != nil || len(names) != 1 {
		t.Errorf("reading left %v, %v", names, err)
	}
}

// TestVerifyNeverLeaks: whatever ends the reading, its workers end too.
func TestVerifyNeverLeaks(t *testing.T) {
	path := newLog(t, 2000) // several pieces
	lines := readLinesWithEnds(t, path)
	lines[1000] = "broken\n"
	writeLines(t, path, lines)
	before := runtime.NumGoroutine()
	for range 20 {
		broken(t, path, Options{}, Changed)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestGivenUp: a reading that was given up between two pieces never looks like the end of the log.
func TestGivenUp(t *testing.T) {
	const lines = 2000 // several pieces
	path := newLog(t, lines)
	for range 100 {
		s, err := openSnapshot(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		in := inspect(ctx, s)
		cancel()
		n := 0
		for ; err == nil && n <= lines+1; n++ {
			_, err = in.next()
		}
		if errors.Is(err, io.EOF) && n != lines+1 || !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d lines: %v", n-1, err)
		}
		if _, again := in.next(); !errors.Is(again, err) {
			t.Fatalf("first %v, then %v", err, again)
		}
		in.stop()
		s.close()
	}
}

// TestConstantMemory: what Verify holds does not grow with the log.
func TestConstantMemory(t *testing.T) {
	path := newLog(t, 100)
	peak := func() uint64 {
		var most uint64
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}()
		if _, err := Verify(t.Context(), path, Options{}); err != nil {
			t.Error(err)
		}
		close(stop)
		<-stopped
		return most
	}
	// 32 MB of long lines, which are the quicker ones to write.
	l := openLog(t, Config{Path: path, NoSync: true})
	d := decision(1)
	d.Home = strings.Repeat("h", 40_000)
	for range 800 {
		if err := l.Append(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // garbage is not held
	runtime.GC()
	if got := peak(); got > 16<<20 {
		t.Errorf("%d MB are held for a log of %d MB", got>>20, sizeOf(t, path)>>20)
	}
}

func TestBreakError(t *testing.T) {
	var b *Break
	path := newLog(t, 3)
	_, err := Verify(t.Context(), path, Options{ExpectHead: Head{Sequence: 4}})
	if !errors.As(err, &b) || b.Error() != path+": removed: the log ends with line 3, and the head noted elsewhere is line 4" {
		t.Errorf("got %v", err)
	}
	writeLines(t, path, readLinesWithEnds(t, path)[1:])
	_, err = Verify(t.Context(), path, Options{})
	if !errors.As(err, &b) || b.Error() != path+", line 1: removed: line 1 is missing before it" || !strings.Contains(err.Error(), b.Error()) {
		t.Errorf("got %v", err)
	}
}
