package policy

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// The words of the format. docs/policy.schema.json has the same, which a test holds.
const (
	permissionsStrict, permissionsWarn = "strict", "warn"
	multiRegionExact, multiRegionAny   = "exact", "fallback"
	logOff, logBestEffort, logRequired = "off", "best-effort", "required"
	skippedIgnore, skippedFail         = "ignore", "fail"
	historyAny                         = "any"
	toStandardError                    = "-"
)

var (
	permissionWords  = []string{permissionsStrict, permissionsWarn}
	multiRegionWords = []string{multiRegionExact, multiRegionAny}
	logWords         = []string{logOff, logBestEffort, logRequired}
	skippedWords     = []string{skippedIgnore, skippedFail}
	historyWords     = []string{historyAny}
	entlWords        = []string{kmskey.ENTLAWSJavaHelper.String()}
	sourceWords      = []string{kmskey.SourceKMS, kmskey.SourceFile, kmskey.SourceOperator}
	// keyStates are KMS's, in the order in which lists of them are shown.
	keyStates = []kmskey.KeyState{kmskey.StateEnabled, kmskey.StateUpdating, kmskey.StateDisabled, kmskey.StatePendingDeletion,
		kmskey.StatePendingReplicaDel, kmskey.StatePendingImport, kmskey.StateUnavailable, kmskey.StateCreating}
)

// source is one policy file, checked. What a file does not say is the zero value, or nil.
type source struct {
	path    string
	machine bool
	lines   lineMap // of rules, and of the members of sections

	allowList    bool
	permissions  string
	multiRegion  string
	homes        []string
	log          *logSection
	skipped      string
	stateFails   bool
	grants       []grant
	restrictions []restriction
}

type grant struct {
	origin          Origin
	keys            map[kmskey.ARN]bool
	aliases         map[kmskey.AliasARN]bool
	verify          bool
	keyStates       []kmskey.KeyState
	history         bool
	historyNotation bool
	javaHelper      bool
	ids             []kmskey.DistinguishingID
}

type restriction struct {
	origin Origin
	keys   []pattern // nil: every key
	only
}

// only is what a restriction leaves.
type only struct {
	algorithms []kmskey.SigningAlgorithm
	types      []kmskey.MessageType
	states     []kmskey.KeyState
	known      bool
	age        time.Duration
	notBefore  time.Time
	notAfter   time.Time
	sources    []string
	id         kmskey.DistinguishingID
}

// knownState reports whether a key state must be known: one that is not is none of a list either.
func (o only) knownState() bool { return o.known || o.states != nil }

// pattern is a key ARN of which account, Region and key ID may each be "*", as a whole.
type pattern kmskey.ARN

const wildcard = "*"

func (p pattern) matches(arn kmskey.ARN) bool {
	is := func(want, got string) bool { return want == wildcard || want == got }
	return p.Partition == arn.Partition && is(p.Region, arn.Region) && is(p.Account, arn.Account) && is(p.KeyID, arn.KeyID)
}

// parsePattern takes "*" for a whole field only. The rest of the ARN is read by the rules for every other ARN, with
// something well-formed standing in for the wildcards.
func parsePattern(text string) (pattern, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 6 {
		_, err := kmskey.ParseARN(text)
		if err == nil {
			err = kmserr.New(kmserr.Validation, "%q is no key ARN", text)
		}
		return pattern{}, err
	}
	var wild [3]bool
	for i, field := range []struct {
		at   int
		wild string
		fill string
	}{{3, wildcard, "us-east-1"}, {4, wildcard, "111122223333"}, {5, "key/" + wildcard, "key/00000000-0000-0000-0000-000000000000"}} {
		if wild[i] = parts[field.at] == field.wild; wild[i] {
			parts[field.at] = field.fill
		}
	}
	arn, err := kmskey.ParseARN(strings.Join(parts, ":"))
	if err != nil {
		return pattern{}, err
	}
	for i, field := range []*string{&arn.Region, &arn.Account, &arn.KeyID} {
		if wild[i] {
			*field = wildcard
		}
	}
	return pattern(arn), nil
}

// checker turns a document into a source, and collects what is wrong with it.
type checker struct {
	path     string
	data     []byte
	machine  bool
	problems []problem
	all      lineMap // made for the first problem
}

// problem is one thing that is wrong, with its place: line 0 is unknown.
type problem struct {
	pointer string
	line    int
	err     *kmserr.Error
}

// errors returns what is wrong in the order of the file, what has no line last.
func (c *checker) errors() []*kmserr.Error {
	slices.SortStableFunc(c.problems, func(a, b problem) int { return cmp.Compare(uint(a.line-1), uint(b.line-1)) })
	var all []*kmserr.Error
	for _, p := range c.problems {
		all = append(all, p.err)
	}
	return all
}

// complain records that the value at a pointer is wrong: "has VALUE at POINTER, expected …".
func (c *checker) complain(pointer string, found any, format string, args ...any) {
	if c.all == nil {
		c.all = locate(c.data, deepest)
	}
	line := c.all[pointer]
	c.problems = append(c.problems, problem{pointer, line, invalid(c.path, line, "has %s at %s, %s", show(found), pointer, fmt.Sprintf(format, args...))})
}

// phrase is what was found where it is no text of the file.
type phrase string

func phrasef(format string, args ...any) phrase { return phrase(fmt.Sprintf(format, args...)) }

// show quotes what was found, a long text cut short.
func show(found any) string {
	text, ok := found.(string)
	if !ok {
		return fmt.Sprint(found)
	}
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:most], ""))
	}
	return strconv.Quote(text)
}

// word reads one of a few words; "" where there is none.
func (c *checker) word(pointer string, found *string, words []string) string {
	if found == nil {
		return ""
	}
	if !slices.Contains(words, *found) {
		c.complain(pointer, *found, "expected %s", either(words))
		return ""
	}
	return *found
}

// either writes words for a sentence: a, b or c.
func either[T ~string](words []T) string {
	text := ""
	for i, w := range words {
		switch i {
		case 0:
		case len(words) - 1:
			text += " or "
		default:
			text += ", "
		}
		text += string(w)
	}
	return text
}

// onlyTrue reads a member whose false would say nothing, and could be taken for a prohibition.
func (c *checker) onlyTrue(pointer string, found *bool) bool {
	if found != nil && !*found {
		c.complain(pointer, false, "expected true: false says nothing here, so leave the member out")
	}
	return found != nil && *found
}

// list checks the length of a list and that nothing is in it twice. An absent list is nil.
func (c *checker) list(pointer string, items []string, most int) bool {
	if items == nil {
		return false
	}
	if len(items) == 0 {
		c.complain(pointer, phrase("an empty list"), "expected at least one item, or leave the member out")
		return false
	}
	if len(items) > most {
		c.complain(pointer, phrasef("a list of %d items", len(items)), "expected at most %d", most)
		return false
	}
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		if seen[item] {
			c.complain(at(pointer, i), item, "which is in the list already")
		}
		seen[item] = true
	}
	return true
}

func at(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

// wordList reads a list of words, in the order of the words.
func wordList[T ~string](c *checker, pointer string, items []string, words []T) []T {
	if !c.list(pointer, items, maxList) {
		return nil
	}
	for i, item := range items {
		if !slices.Contains(words, T(item)) {
			c.complain(at(pointer, i), item, "expected %s", either(words))
		}
	}
	var read []T
	for _, w := range words {
		if slices.Contains(items, string(w)) {
			read = append(read, w)
		}
	}
	return read
}

func (c *checker) source(doc document) *source {
	lines := locate(c.data, rulesLevel)
	s := &source{path: c.path, machine: c.machine, lines: lines, log: doc.Log}
	if doc.Version != formatVersion {
		c.complain("/version", doc.Version, "expected %q, the only version that this program enforces", formatVersion)
	}
	c.description("/description", doc.Description)
	s.allowList = doc.AllowList != nil && *doc.AllowList
	if doc.Store != nil {
		s.permissions = c.word("/store/permissions", doc.Store.Permissions, permissionWords)
		s.multiRegion = c.word("/store/multiRegion", doc.Store.MultiRegion, multiRegionWords)
	}
	s.homes = c.homes(doc.Homes)
	c.log(doc.Log)
	if doc.Notation != nil {
		s.skipped = c.word("/notation/whenRevocationSkipped", doc.Notation.WhenRevocationSkipped, skippedWords)
		s.stateFails = doc.Notation.StateFailsIdentity != nil && *doc.Notation.StateFailsIdentity
	}
	for _, section := range []struct {
		pointer string
		count   int
	}{{"/grants", len(doc.Grants)}, {"/restrictions", len(doc.Restrictions)}} {
		if section.count > maxRules {
			c.complain(section.pointer, phrasef("a list of %d items", section.count), "expected at most %d", maxRules)
			return s
		}
	}
	names := make(map[string]bool)
	for i, g := range doc.Grants {
		s.grants = append(s.grants, c.grant(at("/grants", i), g, doc.AllowList != nil, names))
		s.grants[i].origin.Line = lines[at("/grants", i)]
	}
	names = make(map[string]bool)
	for i, r := range doc.Restrictions {
		s.restrictions = append(s.restrictions, c.restriction(at("/restrictions", i), r, names))
		s.restrictions[i].origin.Line = lines[at("/restrictions", i)]
	}
	return s
}

func (c *checker) homes(homes []string) []string {
	if homes == nil {
		return nil
	}
	if !c.machine {
		c.complain("/homes", phrase("a list of homes"), "expected none: only the machine's policy chooses the homes")
		return nil
	}
	if !c.list("/homes", homes, maxList) {
		return nil
	}
	var clean []string
	for i, home := range homes {
		if c.absolute(at("/homes", i), home, "") {
			clean = append(clean, filepath.Clean(home))
		}
	}
	return clean
}

// absolute checks a path of this system.
func (c *checker) absolute(pointer, path, or string) bool {
	switch {
	case !filepath.IsAbs(path):
		c.complain(pointer, path, "expected an absolute path%s", or)
	case len(path) > maxPath:
		c.complain(pointer, path, "expected at most %d bytes", maxPath)
	case hasControl(path):
		c.complain(pointer, path, "expected a path without control characters")
	default:
		return true
	}
	return false
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

func (c *checker) log(l *logSection) {
	if l == nil {
		return
	}
	mode := c.word("/log/mode", l.Mode, logWords)
	if l.Path != nil && *l.Path != toStandardError {
		c.absolute("/log/path", *l.Path, ", or - for standard error")
	}
	if l.RotateAt != nil {
		if _, ok := parseSize(*l.RotateAt); !ok {
			c.complain("/log/rotateAt", *l.RotateAt, "expected a whole number of 1 to 9999 with MiB or GiB, such as 64MiB")
		}
	}
	if mode == logOff && (l.Path != nil || l.Sync != nil || l.RotateAt != nil) {
		c.complain("/log/mode", logOff, "and path, sync or rotateAt beside it, which an absent log cannot obey")
	}
}

// parseSize reads "64MiB" or "1GiB" and returns bytes.
func parseSize(text string) (int64, bool) {
	for unit, shift := range map[string]uint{"MiB": 20, "GiB": 30} {
		digits, ok := strings.CutSuffix(text, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 14)
		return int64(n) << shift, err == nil && n <= 9999 && digits[0] != '0'
	}
	return 0, false
}

func (c *checker) description(pointer, text string) {
	switch {
	case utf8.RuneCountInString(text) > maxDescription:
		c.complain(pointer, text, "expected at most %d characters", maxDescription)
	case hasControl(text):
		c.complain(pointer, text, "expected a text without control characters")
	}
}

// name reads a rule's name, which stands in logs and messages.
func (c *checker) name(kind, pointer, name string, taken map[string]bool) Origin {
	pointer += "/name"
	switch {
	case name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r > '~' || r == '"' || r == '\\'
	}) || name[0] == ' ' || name[len(name)-1] == ' ':
		c.complain(pointer, name, "expected 1 to %d printable ASCII characters without quotation marks and backslashes, no space at either end", maxName)
	case taken[name]:
		c.complain(pointer, name, "which is the name of another %s", kind)
	}
	taken[name] = true
	return Origin{File: c.path, Kind: kind, Name: name}
}

func (c *checker) grant(pointer string, g grantSection, switched bool, names map[string]bool) grant {
	out := grant{origin: c.name(KindGrant, pointer, g.Name, names)}
	c.description(pointer+"/description", g.Description)
	out.keys, out.aliases = c.exactKeys(pointer+"/keys", g.Keys)
	out.verify = c.onlyTrue(pointer+"/verify", g.Verify)
	out.keyStates = wordList(c, pointer+"/keyStates", g.KeyStates, keyStates)
	out.history = c.word(pointer+"/aliasHistory", g.AliasHistory, historyWords) != ""
	out.historyNotation = c.onlyTrue(pointer+"/aliasHistoryForNotation", g.AliasHistoryForNotation)
	out.javaHelper = c.word(pointer+"/sm2Entl", g.SM2ENTL, entlWords) != ""
	out.ids = c.ids(pointer+"/distinguishingIds", g.DistinguishingIDs)
	if g.AliasHistoryForNotation != nil && g.AliasHistory == nil {
		c.complain(pointer+"/aliasHistoryForNotation", *g.AliasHistoryForNotation, `which needs "aliasHistory":"any" beside it`)
	}
	if g.Verify != nil && *g.Verify && !switched {
		// Somebody who writes this means to let only these keys verify; without the switch every key does.
		c.complain(pointer+"/verify", true, `but "allowList" is not given, so every key may verify: set "allowList":true, or false if that is meant`)
	}
	if g.Verify == nil && g.KeyStates == nil && g.AliasHistory == nil && g.SM2ENTL == nil && g.DistinguishingIDs == nil {
		c.complain(pointer, phrase("a grant that gives nothing"), "expected verify, keyStates, aliasHistory, sm2Entl or distinguishingIds")
	}
	return out
}

func (c *checker) exactKeys(pointer string, keys []string) (map[kmskey.ARN]bool, map[kmskey.AliasARN]bool) {
	if !c.list(pointer, keys, maxKeys) {
		return nil, nil
	}
	arns, aliases := make(map[kmskey.ARN]bool), make(map[kmskey.AliasARN]bool)
	for i, text := range keys {
		if strings.Contains(text, wildcard) {
			c.complain(at(pointer, i), text, "expected an exact ARN: wildcards are for restrictions, which take away")
			continue
		}
		ref, err := kmskey.ParseRef(text)
		if err != nil {
			c.complain(at(pointer, i), text, "expected the ARN of a key or alias: %s", kmserr.As(err).Fact)
			continue
		}
		if arn, ok := ref.ARN(); ok {
			arns[arn] = true
		} else if alias, ok := ref.AliasARN(); ok {
			aliases[alias] = true
		} else {
			c.complain(at(pointer, i), text, "expected a full ARN, which names account and Region")
		}
	}
	return arns, aliases
}

func (c *checker) ids(pointer string, texts []string) []kmskey.DistinguishingID {
	if !c.list(pointer, texts, maxList) {
		return nil
	}
	var ids []kmskey.DistinguishingID
	for i, text := range texts {
		if id := c.id(at(pointer, i), text); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *checker) id(pointer, text string) kmskey.DistinguishingID {
	id, err := kmskey.ParseDistinguishingID(text)
	if err != nil {
		c.complain(pointer, text, "expected a distinguishing ID: %s", kmserr.As(err).Fact)
	}
	return id
}

func (c *checker) restriction(pointer string, r restrictSection, names map[string]bool) restriction {
	out := restriction{origin: c.name(KindRestriction, pointer, r.Name, names)}
	c.description(pointer+"/description", r.Description)
	if c.list(pointer+"/keys", r.Keys, maxKeys) {
		for i, text := range r.Keys {
			out.keys = append(out.keys, c.pattern(at(pointer+"/keys", i), text))
		}
	}
	out.only = only{
		algorithms: wordList(c, pointer+"/signingAlgorithms", r.SigningAlgorithms, kmskey.SigningAlgorithms()),
		types:      wordList(c, pointer+"/messageTypes", r.MessageTypes, kmskey.MessageTypes()),
		states:     wordList(c, pointer+"/keyStates", r.KeyStates, keyStates),
		known:      c.onlyTrue(pointer+"/requireKnownState", r.RequireKnownState),
		age:        c.age(pointer+"/maxSnapshotAge", r.MaxSnapshotAge),
		notBefore:  c.time(pointer+"/notBefore", r.NotBefore),
		notAfter:   c.time(pointer+"/notAfter", r.NotAfter),
		sources:    wordList(c, pointer+"/sources", r.Sources, sourceWords),
	}
	if r.DistinguishingID != nil {
		out.id = c.id(pointer+"/distinguishingId", *r.DistinguishingID)
	}
	if !out.notAfter.IsZero() && out.notAfter.Before(out.notBefore) {
		c.complain(pointer+"/notAfter", *r.NotAfter, "which is before notBefore, %s", *r.NotBefore)
	}
	if r.SigningAlgorithms == nil && r.MessageTypes == nil && r.KeyStates == nil && r.RequireKnownState == nil && r.MaxSnapshotAge == nil &&
		r.NotBefore == nil && r.NotAfter == nil && r.Sources == nil && r.DistinguishingID == nil {
		c.complain(pointer, phrase("a restriction that takes nothing away"), "expected signingAlgorithms, messageTypes, keyStates, requireKnownState, "+
			"maxSnapshotAge, notBefore, notAfter, sources or distinguishingId")
	}
	return out
}

func (c *checker) pattern(pointer, text string) pattern {
	p, err := parsePattern(text)
	switch {
	case err == nil:
	case strings.Contains(text, ":alias/"):
		c.complain(pointer, text, "expected a key ARN: a restriction by alias would not hold for the key under its other names")
	case strings.Contains(text, wildcard):
		c.complain(pointer, text, "expected a key ARN in which * stands for the whole Region, account or key ID, and for nothing else")
	default:
		c.complain(pointer, text, "expected a key ARN, with * for the whole Region, account or key ID if every one is meant: %s", kmserr.As(err).Fact)
	}
	return p
}

func (c *checker) age(pointer string, text *string) time.Duration {
	if text == nil {
		return 0
	}
	if age, ok := kmskey.ParseAge(*text); ok {
		return age
	}
	c.complain(pointer, *text, "expected a whole number of at most five digits and one of d, h, m and s, such as 30d or 720h")
	return 0
}

// time reads RFC 3339 in whole seconds.
func (c *checker) time(pointer string, text *string) time.Time {
	if text == nil {
		return time.Time{}
	}
	utc := len("2026-01-02T03:04:05Z")
	n := len(*text)
	// time.Parse takes offsets of a day and of sixty minutes, too.
	offset := n == utc+5 && strings.ContainsRune("+-", rune((*text)[utc-1])) && (*text)[n-5:n-3] < "24" && (*text)[n-2:] < "60"
	if n == utc || offset {
		if t, err := time.Parse(time.RFC3339, *text); err == nil && t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 {
			return t.UTC()
		}
	}
	c.complain(pointer, *text, "expected a time such as 2026-11-23T11:00:00Z or 2026-11-23T12:00:00+01:00")
	return time.Time{}
}
