package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestForm pins the bytes of a line: whoever collects them relies on the form, and a change is a new eventVersion.
func TestForm(t *testing.T) {
	l := Line{
		EventVersion: EventVersion, EventID: "00000000-0000-4000-8000-000000000000", EventSource: EventSource,
		UserIdentity: UserIdentity{PrincipalID: "1000", UserName: "alice"}, HostName: "build",
		Process: Process{ID: 12, Name: "/usr/bin/notation-awskms-offline"}, ParentProcess: Process{ID: 1},
		Recovered: &Recovered{File: "audit.jsonl.torn-x", Bytes: 3, SHA256: "ab"},
		Decision: Decision{
			EventTime: kmskey.Time{Time: someTime}, EventName: EventVerify, FrontEnd: FrontEnd{Name: "notation", Version: "0.1.0"},
			Home: "/home", HomeChosenBy: "$HOME", Asked: "alias/a", Options: map[string]string{"b": "2", "a": "1"},
			ErrorCode: "NotFoundException", ErrorMessage: "no record",
		},
	}
	l.follow(Head{Sequence: 6, Hash: sha256.Sum256(nil)})
	const want = `{"eventVersion":"1.0","sequence":7,"previous":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",` +
		`"eventID":"00000000-0000-4000-8000-000000000000","eventSource":"awskms-offline",` +
		`"userIdentity":{"principalId":"1000","userName":"alice"},"hostName":"build",` +
		`"process":{"id":12,"name":"/usr/bin/notation-awskms-offline"},"parentProcess":{"id":1},` +
		`"recovered":{"file":"audit.jsonl.torn-x","bytes":3,"sha256":"ab"},` +
		`"eventTime":"2026-11-23T11:00:00Z","eventName":"Verify","frontEnd":{"name":"notation","version":"0.1.0"},` +
		`"home":"/home","homeChosenBy":"$HOME","asked":"alias/a","options":{"a":"1","b":"2"},` +
		`"verified":false,"errorCode":"NotFoundException","errorMessage":"no record"}` + "\n"
	got, err := l.appendTo(nil)
	if err != nil || string(got) != want {
		t.Errorf("%v, got\n%s expected\n%s", err, got, want)
	}
	back, place, err := decodeLine(got[:len(got)-1])
	if err != nil || !reflect.DeepEqual(back, l) || place.sequence != 7 || place.previous != sha256.Sum256(nil) {
		t.Errorf("%v, got %+v", err, back)
	}
}

// TestLines reads a log with the standard library's means only, as a reader elsewhere would.
func TestLines(t *testing.T) {
	path := newLog(t, 3)
	previous := strings.Repeat("0", 64)
	ids := make(map[string]bool)
	raw := readLines(t, path)
	for i, line := range parsed(t, path) {
		if line["sequence"] != float64(i+1) || line["previous"] != previous {
			t.Errorf("line %d has the place %v, %v", i+1, line["sequence"], line["previous"])
		}
		sum := sha256.Sum256([]byte(strings.TrimSuffix(raw[i], "\n")))
		previous = hex.EncodeToString(sum[:])
		id := line["eventID"].(string)
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || ids[id] {
			t.Errorf("the eventID is %q", id)
		}
		ids[id] = true
		for _, name := range []string{"userIdentity", "process", "parentProcess"} {
			if len(line[name].(map[string]any)) == 0 {
				t.Errorf("%s is empty", name)
			}
		}
		if line["eventTime"] != someTime.Add(time.Duration(i+1)*time.Second).Format(time.RFC3339) || line["eventSource"] != "awskms-offline" {
			t.Errorf("got %v", line)
		}
	}
	report := intact(t, path, 3, Options{})
	if report.Last.String() != "3:"+previous {
		t.Errorf("the head is %s, expected 3:%s", report.Last, previous)
	}
}

// TestEveryFieldIsWritten: a field of Decision that the line left out would be forgotten silently.
func TestEveryFieldIsWritten(t *testing.T) {
	var d Decision
	fill(reflect.ValueOf(&d).Elem(), func() string { return "text" }, 1)
	l := newLine(d)
	l.follow(Head{})
	data, err := l.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := decodeLine(data[:len(data)-1])
	if err != nil || !reflect.DeepEqual(back.Decision, d) {
		t.Errorf("%v: got\n%+v, expected\n%+v", err, back.Decision, d)
	}
	if back.Shortened {
		t.Error("it is called shortened")
	}
}

// TestJSON: a line is what package json makes of it by its tags, member for member, whatever is empty.
func TestJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "a", "\"\\\n", "<&>", "ü\u2028", "\x00\x1f", "\xff\xfe", "\U0001F511", "policy"}
	var empty func(v reflect.Value)
	empty = func(v reflect.Value) {
		switch {
		case r.IntN(3) == 0:
			v.SetZero()
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[kmskey.Time]():
			for _, f := range v.Fields() {
				empty(f)
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				empty(v.Index(i))
			}
		}
	}
	for range 2000 {
		var l Line
		for _, part := range []any{&l.Decision, &l.UserIdentity, &l.Process, &l.ParentProcess, &l.EventVersion, &l.Previous, &l.EventID, &l.EventSource, &l.HostName, &l.Sequence, &l.Shortened} {
			v := reflect.ValueOf(part).Elem()
			fill(v, func() string { return texts[r.IntN(len(texts))] }, r.IntN(4))
			empty(v)
		}
		l.EventTime = kmskey.Time{Time: someTime}
		if r.IntN(2) == 0 {
			l.Recovered = &Recovered{File: "f", Bytes: r.Int64N(3), SHA256: "ab"}
		}
		want, wantErr := jsonv2.Marshal(l, jsonv2.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		got, err := l.json(nil)
		if (err == nil) != (wantErr == nil) || err == nil && string(got) != string(want) {
			t.Fatalf("%v, %v\ngot      %s\nexpected %s", err, wantErr, got, want)
		}
	}
}

// fill sets every field in v: texts to text(), lists and maps to items items.
func fill(v reflect.Value, text func() string, items int) {
	if at, ok := v.Addr().Interface().(*kmskey.Time); ok {
		*at = kmskey.Time{Time: someTime.Add(123456789)}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(maxSequence)
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(f, text, items)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), items, items))
		for i := range items {
			fill(v.Index(i), text, items)
		}
	case reflect.Map:
		m := make(map[string]string)
		for i := range items {
			m[fmt.Sprint(i, text())] = text()
		}
		v.Set(reflect.ValueOf(m))
	default:
		panic(v.Type())
	}
}

// TestLongestLine: whatever a caller sends, the line fits, is read again, and still tells long texts apart.
func TestLongestLine(t *testing.T) {
	for name, one := range map[string]string{"plain": "a", "escaped": "\x00", "control": "\u0085", "astral": "\U000E0001", "invalid": "\xff", "continuation": "\x80", "marks": "…"} {
		for _, items := range []int{1, 1000} {
			t.Run(fmt.Sprint(name, items), func(t *testing.T) {
				var d Decision
				size := 70_000 / items
				fill(reflect.ValueOf(&d).Elem(), func() string { return strings.Repeat(one, size) }, items)
				d.EventTime = kmskey.Time{Time: someTime}
				was := slices.Clone(d.Warnings)
				options := maps.Clone(d.Options)
				l := newLine(d)
				l.HostName, l.UserIdentity.UserName, l.Process.Name = d.Asked, d.Asked, d.Asked
				l.follow(Head{Sequence: maxSequence - 1})
				data, err := l.appendTo(nil)
				if err != nil || len(data) > MaxLine {
					t.Fatalf("%d bytes, %v", len(data), err)
				}
				back, _, err := decodeLine(data[:len(data)-1])
				if err != nil || !back.Shortened || !back.Verified {
					t.Fatalf("%v: %+v", err, back)
				}
				sum := sha256.Sum256([]byte(d.Asked))
				if mark := fmt.Sprintf("… [shortened from %d bytes, SHA-256 %x]", len(d.Asked), sum); items == 1 && !strings.HasSuffix(back.Asked, mark) {
					t.Errorf("asked is %q, without %q", back.Asked, mark)
				}
				if !slices.Equal(d.Warnings, was) || !maps.Equal(d.Options, options) {
					t.Error("the caller's own lists were changed")
				}
			})
		}
	}
}

// TestOnlyTheLongIsShortened: a long identifier costs nothing of the rest.
func TestOnlyTheLongIsShortened(t *testing.T) {
	d := decision(1)
	d.Asked = strings.Repeat("x", 4<<20)
	l := newLine(d)
	data, err := l.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back Line
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(back.Asked, strings.Repeat("x", 4096)+"… [") {
		t.Errorf("asked is %q", back.Asked)
	}
	back.Asked = d.Asked
	if !reflect.DeepEqual(back.Decision, d) {
		t.Errorf("got %+v", back.Decision)
	}
}

// TestBadTexts: what is no UTF-8 does not keep a line from being written.
func TestBadTexts(t *testing.T) {
	d := decision(1)
	d.Asked, d.Warnings = "alias/\xff", []string{"\xc3\x28"}
	d.Options = map[string]string{"\xff": "1", "\xfe": "2"} // the same name once made valid
	l := newLine(d)
	data, err := l.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back Line
	if err := json.Unmarshal(data, &back); err != nil || back.Asked != "alias/\ufffd" || back.Warnings[0] != "\ufffd(" || len(back.Options) != 1 {
		t.Errorf("%v, got %+v", err, back)
	}
	if !jsontext.Value(data).IsValid() {
		t.Errorf("a name is there twice: %s", data)
	}
}

// TestPlain: nothing in a line acts on a terminal or hides there, and a reader gets the texts back.
func TestPlain(t *testing.T) {
	text := "\x00\x1b[31m\x7f\u0085\u009b31m\u200b\u202e\u2028\ufeff\U000E0001 – é 鍵 😀"
	d := decision(1)
	d.Asked = text
	l := newLine(d)
	data, err := l.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"\x00", "\x1b", "\x7f", "\u0085", "\u009b", "\u200b", "\u202e", "\u2028", "\ufeff", "\U000E0001"} {
		if bytes.Contains(data, []byte(hidden)) {
			t.Errorf("%q is in the line", hidden)
		}
	}
	if !bytes.Contains(data, []byte(" – é 鍵 😀")) {
		t.Errorf("what can be read was escaped: %s", data)
	}
	var back Line
	if err := json.Unmarshal(data, &back); err != nil || back.Asked != text {
		t.Errorf("%v, got %q", err, back.Asked)
	}
}

// TestNewCharacters: a character that the Unicode of one Go release knows, and that of another does not, makes no log look
// changed, be it written as it is, as now, or as an escape, as builds did that did not know it. Every other spelling is found.
func TestNewCharacters(t *testing.T) {
	const assigned, free = "\U0002ebf0", "\u0378" // of Unicode 15.1, and of none
	d := decision(1)
	d.Home = "/home/" + assigned + free
	path := logPath(t)
	if err := openLog(t, Config{Path: path, NoSync: true}).Append(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	raw := readLines(t, path)[0]
	if !strings.Contains(raw, `"/home/`+assigned+free+`"`) {
		t.Fatalf("the line is %s", raw)
	}
	home := func(text string) string { return strings.Replace(raw, "/home/"+assigned+free, "/home/"+text, 1) }
	for _, sound := range []string{`\ud87a\udff0\u0378`, `\ud87a\udff0` + free, assigned + `\u0378`, assigned + free} {
		writeLines(t, path, []string{home(sound)})
		intact(t, path, 1, Options{})
	}
	for _, other := range []string{`\uD87A\uDFF0` + free, assigned + `\u0378\u0061`, assigned + free + "\u202e", assigned + free + `\u202E`, assigned + free + "\u007f"} {
		writeLines(t, path, []string{home(other)})
		broken(t, path, Options{}, Changed)
	}
	// A second line chains what is written, not what it means.
	writeLines(t, path, []string{home(`\ud87a\udff0\u0378`)})
	if err := openLog(t, Config{Path: path, NoSync: true}).Append(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	intact(t, path, 2, Options{})
	lines := readLines(t, path)
	writeLines(t, path, []string{raw, lines[1]})
	broken(t, path, Options{}, Changed)
}

// TestEventTime: a line has a time that its reader takes.
func TestEventTime(t *testing.T) {
	if got := newLine(Decision{}).EventTime; time.Since(got.Time).Abs() > time.Minute {
		t.Errorf("got %v for no time", got)
	}
	for _, year := range []int{-1, 1601, 1969, 1970, 9999, 10000} {
		at := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		l := newLine(Decision{EventTime: kmskey.Time{Time: at}})
		if year == 1970 || year == 9999 {
			if !l.EventTime.Equal(at) {
				t.Errorf("the year %d became %v", year, l.EventTime)
			}
		}
		l.follow(Head{})
		data, err := l.appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeLine(data[:len(data)-1]); err != nil {
			t.Errorf("the year %d: %v", year, err)
		}
	}
}

// TestDecodeLine: nothing but what marshal writes is a line.
func TestDecodeLine(t *testing.T) {
	l := newLine(decision(1))
	l.follow(Head{})
	data, err := l.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := string(data[:len(data)-1])
	swap := func(old, new string) string {
		changed := strings.Replace(good, old, new, 1)
		if changed == good {
			t.Fatalf("%q is not in %s", old, good)
		}
		return changed
	}
	if _, _, err := decodeLine([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ line, says string }{
		"empty":             {"", "no JSON object"},
		"array":             {"[" + good + "]", "no JSON object"},
		"cut":               {good[:len(good)-1], "no JSON object"},
		"trailing":          {good + "{}", "no JSON object"},
		"byte order mark":   {"\ufeff" + good, "no JSON object"},
		"space before":      {" " + good, "no JSON object"},
		"space after":       {good + " ", "not in the form"},
		"carriage return":   {good + "\r", "not in the form"},
		"zeros":             {strings.Repeat("\x00", 100), "no JSON object"},
		"unknown member":    {swap(`{`, `{"more":1,`), "unknown member /more"},
		"inner member":      {swap(`"frontEnd":{`, `"frontEnd":{"more":1,`), "unknown member /frontEnd/more"},
		"letter case":       {swap(`"verified"`, `"Verified"`), "unknown member /Verified"},
		"twice":             {swap(`"verified"`, `"verified":true,"verified"`), "has a member twice"},
		"null":              {swap(`"frontEnd":{"name":"test","version":"1.2.3"}`, `"frontEnd":null`), "not in the form"},
		"missing":           {swap(`"verified":false,`, ``), "not in the form"},
		"another type":      {swap(`"verified":false`, `"verified":0`), "bad value at /verified"},
		"order":             {swap(`"eventVersion":"1.0","sequence":1`, `"sequence":1,"eventVersion":"1.0"`), "not in the form"},
		"later version":     {swap(`"eventVersion":"1.0"`, `"eventVersion":"1.1","new":1`), `eventVersion "1.1"`},
		"no version":        {swap(`"eventVersion":"1.0",`, ``), "no eventVersion"},
		"sequence 0":        {swap(`"sequence":1`, `"sequence":0`), "the sequence 0"},
		"sequence negative": {swap(`"sequence":1`, `"sequence":-1`), "the sequence -1"},
		"sequence fraction": {swap(`"sequence":1`, `"sequence":1.5`), "bad value at /sequence"},
		"sequence exponent": {swap(`"sequence":1`, `"sequence":1e0`), "bad value at /sequence"},
		"sequence 2^53":     {swap(`"sequence":1`, `"sequence":9007199254740992`), "the sequence 9007199254740992"},
		"sequence text":     {swap(`"sequence":1`, `"sequence":"1"`), "bad value at /sequence"},
		"previous short":    {swap(`"previous":"00`, `"previous":"`), "previous"},
		"previous capital":  {swap(`"previous":"00`, `"previous":"AA`), "previous"},
		"no time":           {swap(`"eventTime":"2026-11-23T11:00:01Z",`, ``), "no eventTime"},
		"time elsewhere":    {swap(`"2026-11-23T11:00:01Z"`, `"2026-11-23T12:00:01+01:00"`), "not in the form"},
		"escaped letter":    {swap(`"Verify"`, `"\u0056erify"`), "not in the form"},
		"too long":          {swap(`"home":"`, `"home":"`+strings.Repeat("x", MaxLine)), "longer than the 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			l, _, err := decodeLine([]byte(c.line))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, expected %q", err, c.says)
			}
			if l.Verified || l.Sequence != 0 {
				t.Errorf("with the error came %+v", l)
			}
		})
	}
}

// TestDecodePlace: what a crash leaves of a line is none, and no crash leaves what is JSON and no line.
func TestDecodePlace(t *testing.T) {
	l := newLine(decision(1))
	l.follow(Head{})
	good := string(must(l.appendTo(nil)))
	good = good[:len(good)-1]
	torn := errNoObject.Error()
	longest := `{"` + strings.Repeat("x", MaxLine-1-len(good)-len(`"":1,`)) + `":1,` + good[1:]
	if _, err := decodePlace([]byte(longest)); err != nil || len(longest) != MaxLine-1 {
		t.Errorf("%v of %d bytes", err, len(longest))
	}
	for n := range len(good) {
		if _, err := decodePlace([]byte(good[:n])); !errors.Is(err, errNoObject) {
			t.Errorf("%v for %s", err, good[:n])
		}
	}
	for name, c := range map[string]struct {
		line, says string
	}{
		"two":                  {good + good, torn},
		"behind":               {good + "x", torn},
		"a bad value, and cut": {`{"sequence":"a","previous":"`, torn},
		"a byte too long":      {strings.Replace(longest, "x", "xx", 1), "longer than"},
		"65 digits":            {strings.Replace(good, `"previous":"`, `"previous":"0`, 1), "no SHA-256"},
		"66 digits":            {strings.Replace(good, `"previous":"`, `"previous":"00`, 1), "no SHA-256"},
		"no digit behind 64":   {strings.Replace(good, strings.Repeat("0", 64)+`"`, strings.Repeat("0", 64)+`zz"`, 1), "no SHA-256"},
		"previous no text":     {strings.Replace(good, `"`+strings.Repeat("0", 64)+`"`, strings.Repeat("1", 64), 1), "bad value at /previous"},
		"version no text":      {strings.Replace(good, `"1.0"`, `1.0`, 1), "bad value at /eventVersion"},
	} {
		if p, err := decodePlace([]byte(c.line)); c.line == good || err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, errNoObject) != (c.says == torn) || p != (place{}) {
			t.Errorf("%s: got %+v, %v, expected %q", name, p, err, c.says)
		}
	}
}

func TestParseHead(t *testing.T) {
	for _, h := range []Head{{}, {Sequence: 1, Hash: sha256.Sum256(nil)}, {Sequence: maxSequence, Hash: sha256.Sum256([]byte("a"))}} {
		if got, err := ParseHead(h.String()); err != nil || got != h {
			t.Errorf("%s: got %v, %v", h, got, err)
		}
	}
	hash := strings.Repeat("ab", 32)
	for _, text := range []string{"", ":", "1", "1:", hash, ":" + hash, "-1:" + hash, "01:" + hash, "+1:" + hash, "1:" + strings.ToUpper(hash), "1:" + hash + "0",
		"1:" + hash + "00", " 1:" + hash, "1:" + hash + "\n", "9007199254740992:" + hash, "99999999999999999999:" + hash} {
		if got, err := ParseHead(text); err == nil || got != (Head{}) {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestCaller(t *testing.T) {
	who := caller()
	if who.user.PrincipalID == "" || who.process.ID == 0 || who.process.Name == "" || who.parent.ID == 0 {
		t.Errorf("got %+v", who)
	}
	if runtime.GOOS != "windows" {
		if u, err := user.LookupId(who.user.PrincipalID); err != nil || who.user.UserName != u.Username {
			t.Errorf("the user is %+v, expected %+v, %v", who.user, u, err)
		}
	}
	if runtime.GOOS == "linux" {
		if got, want := programOf(os.Getpid()), must(filepath.EvalSymlinks(must(os.Executable()))); got != want {
			t.Errorf("the program of this process is %q, expected %q", got, want)
		}
	}
}

// Texts that are written out, so that no program formats them at its start, name the limits that hold.
func TestLimitsAreNamed(t *testing.T) {
	for err, limit := range map[error]int{errTooLong: MaxLine, errDamaged: maxTorn} {
		if !strings.Contains(err.Error(), " "+strconv.Itoa(limit)+" bytes") {
			t.Errorf("%q does not name %d", err, limit)
		}
	}
}

// TestJustTooLong: the longest line that fits stays as it is, and one that is a byte longer is shortened.
func TestJustTooLong(t *testing.T) {
	l := newLine(Decision{})
	l.follow(Head{})
	room := MaxLine - len(must(l.appendTo(nil)))
	for extra, shortened := range []bool{false, true, true} {
		l.Asked = strings.Repeat("a", room+extra)
		data, err := l.appendTo(nil)
		if err != nil || len(data) > MaxLine || bytes.Contains(data, []byte(`"shortened":true`)) != shortened {
			t.Errorf("%d bytes more than there is room for: %d bytes, %v", extra, len(data), err)
		}
	}
}

// TestAppendTo: a line is the same whatever stands before it, which stays.
func TestAppendTo(t *testing.T) {
	for name, asked := range map[string]string{"plain": "alias/a", "escaped": "alias/\u202e\u0085", "shortened": strings.Repeat("\u202e", MaxLine)} {
		t.Run(name, func(t *testing.T) {
			l := newLine(Decision{Asked: asked})
			l.follow(Head{})
			alone, err := l.appendTo(nil)
			if err != nil {
				t.Fatal(err)
			}
			before := append(make([]byte, 0, 4*MaxLine), "line before \u202e\n"...)
			if behind, err := l.appendTo(before); err != nil || string(behind) != string(before)+string(alone) {
				t.Errorf("%v, got\n%q expected\n%q", err, behind, string(before)+string(alone))
			}
		})
	}
}
