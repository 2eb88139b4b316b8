package policy

import (
	"fmt"
	"runtime"
	"strings"
)

// The keys of the tests.
const (
	keyA   = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	keyB   = "arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"
	keyC   = "arn:aws-cn:kms:cn-north-1:444455556666:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	aliasA = "arn:aws:kms:us-east-1:111122223333:alias/release"
)

// local makes an absolute path of this system out of a slash's.
func local(path string) string {
	if runtime.GOOS == "windows" {
		return "C:" + path
	}
	return path
}

// with is a policy with these members beside the version. Texts that start with a slash are made this system's paths.
func with(members string) string {
	if members == "" {
		return `{"version":"1"}`
	}
	return `{"version":"1",` + strings.ReplaceAll(members, `"/`, `"`+local("/")) + `}`
}

func withGrant(members string) string {
	return with(`"allowList":true,"grants":[{"name":"g","keys":["` + keyA + `"],` + members + `}]`)
}

func withRestriction(members string) string {
	return with(`"restrictions":[{"name":"r",` + members + `}]`)
}

// many returns n members of a list, made by a format with one %d.
func many(format string, n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(items, ",")
}

// verdict says who takes an example.
type verdict int

const (
	taken   verdict = iota // by both
	refused                // by both
	// schemaTakes: what no schema can say, or only at a price that nobody would read. Every difference there is stands in
	// this table.
	schemaTakes
)

// example is one policy, as the machine's.
type example struct {
	verdict verdict
	policy  string
	says    string // what the first problem says, if refused
	line    int    // where; 0 is not compared
}

// examples are judged by the decoder and by the JSON schema.
var examples = map[string]example{
	"least":              {taken, with(""), "", 0},
	"$schema":            {taken, with(`"$schema":"https://example.com/s.json"`), "", 0},
	"strict":             {taken, strictHead + strictTail, "", 0},
	"description":        {taken, with(`"description":"Für die Schlüssel."`), "", 0},
	"description, 1000":  {taken, with(`"description":"` + strings.Repeat("ü", 1000) + `"`), "", 0},
	"description, 1001":  {refused, with(`"description":"` + strings.Repeat("ü", 1001) + `"`), "at most 1000 characters", 0},
	"description, lines": {refused, with(`"description":"a\nb"`), "control characters", 0},

	"array":                  {refused, `[]`, "not a JSON object", 1},
	"no version":             {refused, `{}`, "lacks the member /version", 1},
	"version 2":              {refused, `{"version":"2"}`, `has "2" at /version, expected "1"`, 1},
	"version a number":       {refused, `{"version":1}`, "/version: a JSON number where a string is expected", 1},
	"null version":           {refused, `{"version":null}`, "null for the member /version", 1},
	"unknown member":         {refused, "{\"version\":\"1\",\n\"grant\":[]}", "unknown member /grant", 2},
	"letter case":            {refused, "{\"version\":\"1\",\n\"AllowList\":true}", `"AllowList", which differs from "allowList"`, 2},
	"unknown in a grant":     {refused, withGrant("\n\"verify\":true,\n\"states\":[]"), "unknown member /grants/0/states", 3},
	"letter case in a grant": {refused, withGrant("\n\"verify\":true,\n\"Verify\":true"), `differs from "verify"`, 3},
	"null grants":            {refused, with(`"grants":null`), "null for the member /grants", 0},
	"null grant":             {refused, with("\n\"grants\":[\nnull]"), "null for the member /grants/0", 3},
	"grants no list":         {refused, with(`"grants":{}`), "/grants", 0},

	"allowList, text":      {refused, with(`"allowList":"true"`), "/allowList: a JSON string where a boolean is expected", 0},
	"allowList and grant":  {taken, withGrant(`"verify":true`), "", 0},
	"no list, no grant":    {taken, with(`"allowList":false,"grants":[],"restrictions":[]`), "", 0},
	"allowList forgotten":  {refused, with("\"grants\":[{\"name\":\"g\",\n\"keys\":[\"" + keyA + "\"],\n\"verify\":true}]"), `"allowList" is not given`, 3},
	"allowList off":        {taken, with(`"allowList":false,"grants":[{"name":"g","keys":["` + keyA + `"],"verify":true}]`), "", 0},
	"other grant, no list": {taken, with(`"grants":[{"name":"g","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "", 0},

	"store":             {taken, with(`"store":{"permissions":"strict","multiRegion":"exact"}`), "", 0},
	"store, defaults":   {taken, with(`"store":{"permissions":"warn","multiRegion":"fallback"}`), "", 0},
	"store, empty":      {taken, with(`"store":{}`), "", 0},
	"permissions, typo": {refused, with("\"store\":{\n\"permissions\":\"Strict\"}"), `has "Strict" at /store/permissions, expected strict or warn`, 2},
	"multiRegion, typo": {refused, with(`"store":{"multiRegion":true}`), "/store/multiRegion", 0},

	"homes":              {taken, with(`"homes":["/srv/keys","/etc/awskms-offline"]`), "", 0},
	"homes, none":        {refused, with(`"homes":[]`), "empty list at /homes", 0},
	"homes, relative":    {refused, with(`"homes":["keys"]`), "expected an absolute path", 0},
	"homes, twice":       {refused, with("\"homes\":[\"/a\",\n\"/a\"]"), "in the list already", 2},
	"homes, control":     {refused, with(`"homes":["/a\u0000"]`), "control characters", 0},
	"homes, empty":       {refused, with(`"homes":[""]`), "absolute path", 0},
	"log":                {taken, with(`"log":{"path":"/var/log/a.jsonl","mode":"required","sync":true}`), "", 0},
	"log, stderr":        {taken, with(`"log":{"path":"-"}`), "", 0},
	"log, off":           {taken, with(`"log":{"mode":"off"}`), "", 0},
	"log, off with path": {refused, with(`"log":{"mode":"off","path":"-"}`), "cannot obey", 0},
	"log, rotation":      {taken, with(`"log":{"rotateAt":"1GiB"}`), "", 0},
	"log, rotation 0":    {refused, with(`"log":{"rotateAt":"0MiB"}`), "such as 64MiB", 0},
	"log, rotation unit": {refused, with(`"log":{"rotateAt":"64MB"}`), "such as 64MiB", 0},
	"log, rotation long": {refused, with(`"log":{"rotateAt":"10000MiB"}`), "such as 64MiB", 0},
	"log, rotation 01":   {refused, with(`"log":{"rotateAt":"01MiB"}`), "such as 64MiB", 0},
	"log, off rotated":   {refused, with(`"log":{"mode":"off","rotateAt":"1MiB"}`), "cannot obey", 0},
	"log, off with sync": {refused, with(`"log":{"mode":"off","sync":true}`), "cannot obey", 0},
	"log, relative":      {refused, with(`"log":{"path":"a.jsonl"}`), "absolute path, or - for standard error", 0},
	"log, mode typo":     {refused, with(`"log":{"mode":"best effort"}`), "expected off, best-effort or required", 0},
	"log, required":      {refused, with(`"log":{"required":true}`), "unknown member /log/required", 0},
	"notation":           {taken, with(`"notation":{"whenRevocationSkipped":"ignore","stateFailsIdentity":true}`), "", 0},
	"notation, typo":     {refused, with(`"notation":{"whenRevocationSkipped":"skip"}`), "expected ignore or fail", 0},

	"grant of everything": {taken, withGrant(`"description":"d","verify":true,"keyStates":["Disabled","PendingDeletion","PendingReplicaDeletion","PendingImport","Unavailable","Creating","Enabled","Updating"],` +
		`"aliasHistory":"any","aliasHistoryForNotation":true,"sm2Entl":"aws-java-helper","distinguishingIds":["a","","hex:","hex:00ff"]`), "", 0},
	"grant by alias":           {taken, with(`"allowList":true,"grants":[{"name":"g","keys":["` + aliasA + `","` + keyC + `"],"verify":true}]`), "", 0},
	"grant without name":       {refused, with(`"grants":[{"keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "lacks the member /grants/0/name", 1},
	"grant without keys":       {refused, with(`"grants":[{"name":"g","keyStates":["Disabled"]}]`), "lacks the member /grants/0/keys", 1},
	"grant of no keys":         {refused, with(`"grants":[{"name":"g","keys":[],"keyStates":["Disabled"]}]`), "empty list at /grants/0/keys", 0},
	"grant of nothing":         {refused, with("\n\"grants\":[\n{\"name\":\"g\",\n\"keys\":[\"" + keyA + "\"]}]"), "gives nothing", 3},
	"verify false":             {refused, withGrant(`"verify":false`), "false says nothing here", 0},
	"name empty":               {refused, with(`"grants":[{"name":"","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "/grants/0/name", 0},
	"name, space before":       {refused, with(`"grants":[{"name":" g","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "no space at either end", 0},
	"name, quotation mark":     {refused, with(`"grants":[{"name":"\"","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "/grants/0/name", 0},
	"name, backslash":          {refused, with(`"grants":[{"name":"a\\b","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "/grants/0/name", 0},
	"name, letters of others":  {refused, with(`"grants":[{"name":"ключ","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "/grants/0/name", 0},
	"name, a sentence":         {taken, with(`"grants":[{"name":"It's ok: [old] (keys), ~90 %!","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "", 0},
	"name, 100":                {taken, with(`"grants":[{"name":"` + strings.Repeat("n", 100) + `","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "", 0},
	"name, 101":                {refused, with(`"grants":[{"name":"` + strings.Repeat("n", 101) + `","keys":["` + keyA + `"],"keyStates":["Disabled"]}]`), "/grants/0/name", 0},
	"name twice":               {schemaTakes, with(`"restrictions":[{"name":"r","notBefore":"2026-01-01T00:00:00Z"},` + "\n" + `{"name":"r","notAfter":"2026-01-01T00:00:00Z"}]`), "the name of another restriction", 2},
	"one name, two kinds":      {taken, with(`"grants":[{"name":"r","keys":["` + keyA + `"],"keyStates":["Disabled"]}],"restrictions":[{"name":"r","requireKnownState":true}]`), "", 0},
	"grant, wildcard":          {refused, with(`"grants":[{"name":"g","keys":["arn:aws:kms:*:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],"keyStates":["Disabled"]}]`), "wildcards are for restrictions", 0},
	"grant, every key":         {refused, with(`"grants":[{"name":"g","keys":["*"],"keyStates":["Disabled"]}]`), "wildcards are for restrictions", 0},
	"grant, bare key ID":       {refused, with(`"grants":[{"name":"g","keys":["1234abcd-12ab-34cd-56ef-1234567890ab"],"keyStates":["Disabled"]}]`), "expected a full ARN", 0},
	"grant, bare alias":        {refused, with(`"grants":[{"name":"g","keys":["alias/a"],"keyStates":["Disabled"]}]`), "expected a full ARN", 0},
	"grant, upper case":        {refused, with(`"grants":[{"name":"g","keys":["` + strings.ToUpper(keyA) + `"],"keyStates":["Disabled"]}]`), "expected the ARN of a key or alias", 0},
	"grant, line break":        {refused, with(`"grants":[{"name":"g","keys":["` + keyA + `\n"],"keyStates":["Disabled"]}]`), "expected the ARN of a key or alias", 0},
	"grant, key twice":         {refused, with(`"grants":[{"name":"g","keys":["` + keyA + `","` + keyA + `"],"keyStates":["Disabled"]}]`), "in the list already", 0},
	"grant, second key bad":    {refused, with("\"grants\":[{\"name\":\"g\",\"keyStates\":[\"Disabled\"],\"keys\":[\n\"" + keyA + "\",\n\"" + keyB + "x\"]}]"), "/grants/0/keys/1", 3},
	"grant, alias too long":    {schemaTakes, with(`"grants":[{"name":"g","keys":["arn:aws:kms:us-east-1:111122223333:alias/` + strings.Repeat("a", 251) + `"],"keyStates":["Disabled"]}]`), "256 with alias/", 0},
	"grant, state typo":        {refused, withGrant(`"keyStates":["disabled"]`), "expected Enabled, Updating, Disabled", 0},
	"grant, no states":         {refused, withGrant(`"keyStates":[]`), "empty list", 0},
	"grant, history current":   {refused, withGrant(`"aliasHistory":"current"`), "expected any", 0},
	"Notation's history alone": {refused, withGrant(`"verify":true,"aliasHistoryForNotation":true`), `needs "aliasHistory":"any"`, 0},
	"Notation's history, no":   {refused, withGrant(`"aliasHistory":"any","aliasHistoryForNotation":false`), "false says nothing here", 0},
	"grant, ENTL standard":     {refused, withGrant(`"sm2Entl":"standard"`), "expected aws-java-helper", 0},
	"grant, ID bad hex":        {refused, withGrant(`"distinguishingIds":["hex:0"]`), "/grants/0/distinguishingIds/0", 0},
	"grant, ID twice":          {refused, withGrant(`"distinguishingIds":["a","a"]`), "in the list already", 0},
	"grant, a restriction's":   {refused, withGrant(`"verify":true,"maxSnapshotAge":"1h"`), "unknown member /grants/0/maxSnapshotAge", 0},
	"10000 keys":               {taken, with(`"allowList":true,"grants":[{"name":"g","verify":true,"keys":[` + many(`"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567%05d"`, 10000) + `]}]`), "", 0},
	"10001 keys":               {refused, with(`"allowList":true,"grants":[{"name":"g","verify":true,"keys":[` + many(`"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567%05d"`, 10001) + `]}]`), "expected at most 10000", 0},
	"1001 grants":              {refused, with(`"grants":[` + many(`{"name":"g%d","keys":["`+keyA+`"],"keyStates":["Disabled"]}`, 1001) + `]`), "expected at most 1000", 0},

	"restriction of everything": {taken, withRestriction(`"description":"d","keys":["` + keyA + `"],"signingAlgorithms":["ECDSA_SHA_256","SM2DSA"],"messageTypes":["RAW","DIGEST","EXTERNAL_MU"],"keyStates":["Enabled"],` +
		`"requireKnownState":true,"maxSnapshotAge":"720h","notBefore":"2026-01-01T00:00:00Z","notAfter":"2027-01-01T00:00:00+01:00","sources":["kms","file","operator"],"distinguishingId":"hex:616263"`), "", 0},
	"restriction, Region":           {taken, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:*:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"]`), "", 0},
	"restriction, account":          {taken, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-1:*:key/1234abcd-12ab-34cd-56ef-1234567890ab"]`), "", 0},
	"restriction, all of it":        {taken, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:*:*:key/*"]`), "", 0},
	"restriction, no keys":          {refused, withRestriction(`"requireKnownState":true,"keys":[]`), "empty list", 0},
	"restriction of nothing":        {refused, with(`"restrictions":[{"name":"r","keys":["` + keyA + `"]}]`), "takes nothing away", 0},
	"restriction, false":            {refused, withRestriction(`"requireKnownState":false`), "false says nothing here", 0},
	"restriction, a grant's":        {refused, withRestriction(`"requireKnownState":true,"verify":true`), "unknown member /restrictions/0/verify", 0},
	"restriction by alias":          {refused, withRestriction(`"requireKnownState":true,"keys":["` + aliasA + `"]`), "under its other names", 0},
	"wildcard, partition":           {refused, withRestriction(`"requireKnownState":true,"keys":["arn:*:kms:us-east-1:111122223333:key/*"]`), "and for nothing else", 0},
	"wildcard, service":             {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:*:us-east-1:111122223333:key/*"]`), "and for nothing else", 0},
	"wildcard, part of a Region":    {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:us-*:111122223333:key/*"]`), "and for nothing else", 0},
	"wildcard, part of an account":  {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-1:1111*:key/*"]`), "and for nothing else", 0},
	"wildcard, part of a key ID":    {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-1:111122223333:key/mrk-*"]`), "and for nothing else", 0},
	"wildcard, across parts":        {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:*:key/*"]`), "and for nothing else", 0},
	"wildcard, the whole resource":  {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-1:111122223333:*"]`), "and for nothing else", 0},
	"wildcard, everything":          {refused, withRestriction(`"requireKnownState":true,"keys":["*"]`), "and for nothing else", 0},
	"wildcard, two":                 {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:**:111122223333:key/*"]`), "and for nothing else", 0},
	"wildcard, a further part":      {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:*:*:*:key/*"]`), "and for nothing else", 0},
	"question mark":                 {refused, withRestriction(`"requireKnownState":true,"keys":["arn:aws:kms:us-east-?:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]`), "expected a key ARN", 0},
	"restriction, algorithm typo":   {refused, withRestriction(`"signingAlgorithms":["ECDSA_SHA256"]`), "expected RSASSA_PSS_SHA_256", 0},
	"restriction, no algorithm":     {refused, withRestriction(`"signingAlgorithms":[]`), "empty list", 0},
	"restriction, algorithm twice":  {refused, withRestriction(`"signingAlgorithms":["SM2DSA","SM2DSA"]`), "in the list already", 0},
	"restriction, type typo":        {refused, withRestriction(`"messageTypes":["raw"]`), "expected RAW, DIGEST or EXTERNAL_MU", 0},
	"restriction, source typo":      {refused, withRestriction(`"sources":["aws"]`), "expected kms, file or operator", 0},
	"restriction, source none":      {refused, withRestriction(`"sources":[""]`), "expected kms, file or operator", 0},
	"age, days":                     {taken, withRestriction(`"maxSnapshotAge":"30d"`), "", 0},
	"age, most":                     {taken, withRestriction(`"maxSnapshotAge":"99999d"`), "", 0},
	"age, too much":                 {refused, withRestriction(`"maxSnapshotAge":"100000d"`), "30d or 720h", 0},
	"age, zero":                     {refused, withRestriction(`"maxSnapshotAge":"0h"`), "30d or 720h", 0},
	"age, leading zero":             {refused, withRestriction(`"maxSnapshotAge":"01h"`), "30d or 720h", 0},
	"age, negative":                 {refused, withRestriction(`"maxSnapshotAge":"-1h"`), "30d or 720h", 0},
	"age, signed":                   {refused, withRestriction(`"maxSnapshotAge":"+1h"`), "30d or 720h", 0},
	"age, no unit":                  {refused, withRestriction(`"maxSnapshotAge":"720"`), "30d or 720h", 0},
	"age, two units":                {refused, withRestriction(`"maxSnapshotAge":"1h30m"`), "30d or 720h", 0},
	"age, number":                   {refused, withRestriction(`"maxSnapshotAge":720`), "/maxSnapshotAge", 0},
	"age, empty":                    {refused, withRestriction(`"maxSnapshotAge":""`), "30d or 720h", 0},
	"age, underscore":               {refused, withRestriction(`"maxSnapshotAge":"1_0h"`), "30d or 720h", 0},
	"time, no zone":                 {refused, withRestriction(`"notBefore":"2026-01-01T00:00:00"`), "expected a time such as", 0},
	"time, date":                    {refused, withRestriction(`"notBefore":"2026-01-01"`), "expected a time such as", 0},
	"time, fraction":                {refused, withRestriction(`"notBefore":"2026-01-01T00:00:00.5Z"`), "expected a time such as", 0},
	"time, month 13":                {refused, withRestriction(`"notBefore":"2026-13-01T00:00:00Z"`), "expected a time such as", 0},
	"time, number":                  {refused, withRestriction(`"notBefore":1767225600`), "/notBefore", 0},
	"time, 1969":                    {refused, withRestriction(`"notBefore":"1969-01-01T00:00:00Z"`), "expected a time such as", 0},
	"time, 1969 in UTC":             {schemaTakes, withRestriction(`"notBefore":"1970-01-01T00:00:00+01:00"`), "expected a time such as", 0},
	"time, lower case":              {refused, withRestriction(`"notBefore":"2026-01-01t00:00:00z"`), "expected a time such as", 0},
	"time, short hour":              {refused, withRestriction(`"notBefore":"2026-01-01T0:00:00+01:000"`), "expected a time such as", 0},
	"times crossed":                 {schemaTakes, withRestriction("\"notBefore\":\"2026-01-01T00:00:00Z\",\n\"notAfter\":\"2025-01-01T00:00:00Z\""), "which is before notBefore", 2},
	"times equal":                   {taken, withRestriction(`"notBefore":"2026-01-01T00:00:00Z","notAfter":"2026-01-01T00:00:00Z"`), "", 0},
	"ID, empty":                     {taken, withRestriction(`"distinguishingId":""`), "", 0},
	"ID, bad hex":                   {refused, withRestriction(`"distinguishingId":"hex:zz"`), "distinguishing ID", 0},
	"ID, 8191 bytes":                {taken, withRestriction(`"distinguishingId":"` + strings.Repeat("a", 8191) + `"`), "", 0},
	"ID, 8192 bytes":                {refused, withRestriction(`"distinguishingId":"` + strings.Repeat("a", 8192) + `"`), "8192 bytes long", 0},
	"ID, 8191 bytes in hexadecimal": {taken, withRestriction(`"distinguishingId":"hex:` + strings.Repeat("ff", 8191) + `"`), "", 0},
	"ID, 8192 bytes in hexadecimal": {refused, withRestriction(`"distinguishingId":"hex:` + strings.Repeat("ff", 8192) + `"`), "8192 bytes long", 0},
	"ID, 8192 bytes, fewer letters": {schemaTakes, withRestriction(`"distinguishingId":"` + strings.Repeat("ü", 4096) + `"`), "8192 bytes long", 0},
	"an ID is a list":               {refused, withRestriction(`"distinguishingId":["a"]`), "/distinguishingId", 0},
	"1001 restrictions":             {refused, with(`"restrictions":[` + many(`{"name":"r%d","requireKnownState":true}`, 1001) + `]`), "expected at most 1000", 0},
}

// notJSON are refused before a schema is asked.
var notJSON = map[string]example{
	"nothing":         {refused, "", "is empty", 1},
	"byte order mark": {refused, "\ufeff{\"version\":\"1\"}", "byte order mark", 1},
	"comment":         {refused, "{\n// who\n\"version\":\"1\"}", "not valid JSON", 2},
	"trailing comma":  {refused, "{\"version\":\"1\",\n}", "not valid JSON", 0},
	"twice":           {refused, "{\"version\":\"1\",\n\"allowList\":true,\n\"allowList\":false}", `"allowList" twice`, 3},
	"twice, escaped":  {refused, "{\"version\":\"1\",\n\"allowList\":true,\n\"\\u0061llowList\":false}", `"allowList" twice`, 3},
	"twice, deep":     {refused, withGrant("\n\"verify\":true,\n\"verify\":true"), `"verify" twice`, 3},
	"cut short":       {refused, "{\"version\":\"1\",\n\n", "not valid JSON", 3},
	"two objects":     {refused, "{\"version\":\"1\"}\n{\"version\":\"1\"}", "more data after the JSON object", 0},
	"bad UTF-8":       {refused, "{\"version\":\"1\",\n\"description\":\"\xff\"}", "not valid JSON", 2},
	"deep":            {refused, with("\n\"x\":" + strings.Repeat("[", 100) + strings.Repeat("]", 100)), "unknown member /x", 2},
	"deep, known":     {refused, with("\n\"grants\":" + strings.Repeat("[", 100000) + strings.Repeat("]", 100000)), "a JSON array where an object is expected", 2},
	"10 MB":           {refused, with(`"description":"` + strings.Repeat("a", 10<<20) + `"`), "more than the 1048576 allowed", 1},
	"UTF-16":          {refused, "{\x00\"\x00", "not valid JSON", 1},
}
