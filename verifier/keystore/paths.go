package keystore

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Names in the home. All paths inside it are slash-separated and relative to it, as os.Root takes them.
const (
	keysFolder    = "keys"
	aliasesFolder = "aliases"
	blocksFolder  = "blocks"
	blockedARNs   = blocksFolder + "/arn"
	indexFolder   = "by-key"
	tmpFolder     = "tmp"
	lockFile      = "lock"
	suffix        = ".json"
)

// What else may lie in the home and is not stray, though Fsck does not look into it: the policy, the chains of certificates, and the
// log with what was rotated and kept aside of it.
var foreignNames = []string{"policy.json", "certs"}

// ChainPath is where the certificate chain of a key lies, slash-separated and relative to the home.
func ChainPath(fingerprint string) string { return path.Join("certs", fingerprint+".pem") }

const logPrefix = "audit.jsonl"

func scopePath(base string, s kmskey.Scope) string {
	return path.Join(base, s.Partition, s.Region, s.Account)
}

func recordPath(arn kmskey.ARN) string {
	return path.Join(scopePath(keysFolder, arn.Scope), arn.KeyID+suffix)
}

func aliasPath(alias kmskey.AliasARN) string {
	return path.Join(scopePath(aliasesFolder, alias.Scope), escapeAlias(alias.Alias)+suffix)
}

func blockPathOfKey(fingerprint string) string { return path.Join(blocksFolder, fingerprint+suffix) }

func blockPathOfARN(arn kmskey.ARN) string {
	return path.Join(scopePath(blockedARNs, arn.Scope), arn.KeyID+suffix)
}

func indexPath(fingerprint string) string {
	return path.Join(indexFolder, fingerprint[:2], fingerprint)
}

// markerName needs no escape: none of the parts can hold a dot.
func markerName(arn kmskey.ARN) string {
	return strings.Join([]string{arn.Partition, arn.Region, arn.Account, arn.KeyID}, ".")
}

func parseMarker(name string) (kmskey.ARN, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return kmskey.ARN{}, false
	}
	arn := kmskey.ARN{Scope: kmskey.Scope{Partition: parts[0], Region: parts[1], Account: parts[2]}, KeyID: parts[3]}
	return arn, arn.Scope.Check() == nil && isKeyID(arn.KeyID)
}

func isKeyID(s string) bool {
	ref, err := kmskey.ParseRef(s)
	return err == nil && ref.KeyID == s
}

func isFingerprint(s string) bool {
	return len(s) == 2*sha256.Size &&
		!strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// parts says which names may be a partition, a Region or an account, so that what else lies there is never walked into.
var parts = []func(string) bool{
	func(s string) bool {
		return kmskey.Scope{Partition: s, Region: "us-east-1", Account: "000000000000"}.Check() == nil
	},
	func(s string) bool {
		return kmskey.Scope{Partition: "aws", Region: s, Account: "000000000000"}.Check() == nil
	},
	func(s string) bool {
		return kmskey.Scope{Partition: "aws", Region: "us-east-1", Account: s}.Check() == nil
	},
}

const (
	aliasPrefix = "alias/"
	// maxEscaped is the longest escaped name, in bytes: with suffix and folders it stays within what every system takes.
	maxEscaped = 120
)

// deviceNames are files that Windows takes for devices, whatever their extension.
var deviceNames = []string{"con", "prn", "aux", "nul",
	"com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9"}

// escapeAlias returns the file name, without suffix, of an alias "alias/NAME". NAME is case-sensitive and may hold
// slashes; many file systems take a.json and A.json for one. So an upper-case letter becomes _ and its lower case, _
// becomes __, / becomes _. and two aliases never share a name under any letter case. What would be longer than
// maxEscaped bytes, or is a device on Windows, is ~ and the SHA-256 of the whole alias, prefix included.
func escapeAlias(alias string) string {
	var b strings.Builder
	for _, c := range []byte(strings.TrimPrefix(alias, aliasPrefix)) {
		switch {
		case c >= 'A' && c <= 'Z':
			b.WriteByte('_')
			b.WriteByte(c - 'A' + 'a')
		case c == '_':
			b.WriteString("__")
		case c == '/':
			b.WriteString("_.")
		default:
			b.WriteByte(c)
		}
	}
	if b.Len() > maxEscaped || slices.Contains(deviceNames, b.String()) {
		return "~" + hexSHA256([]byte(alias))
	}
	return b.String()
}

// unescapeAlias is the reverse of escapeAlias; false if no alias has that name, or only its hash is known.
func unescapeAlias(name string) (string, bool) {
	var b strings.Builder
	b.WriteString(aliasPrefix)
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '_' {
			if i++; i == len(name) {
				return "", false
			}
			switch next := name[i]; {
			case next >= 'a' && next <= 'z':
				c = next - 'a' + 'A'
			case next == '.':
				c = '/'
			case next != '_':
				return "", false
			}
		}
		b.WriteByte(c)
	}
	alias := b.String()
	if _, err := kmskey.ParseAlias(alias); err != nil || escapeAlias(alias) != name {
		return "", false
	}
	return alias, true
}

// integrity and access are the two ways in which the store itself fails: what it holds cannot be relied on, or cannot be
// got at.
func integrity(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.StoreIntegrity, format, args...)
}

func access(err error, format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.StoreAccess, format, args...).WithCause(err)
}
