// Package keystore is what was downloaded, on disk: records of keys, aliases and blocks, each a small file whose path
// says what it must be and whose content must say the same.
//
// The store decides what verifies. So the reading half checks, on the handles it reads from, that nobody but the current
// user and the administrator can write what it reads; it tells "not found" (which alone may look elsewhere) from
// "ambiguous", "corrupt" and "cannot be read"; and it checks that what it found is what was asked for. The writing half
// never loses knowledge: a state gives way only to a newer one, key material to none.
//
// Below the home:
//
//	keys/<partition>/<region>/<account>/<key-id>.json        one record a key, kmskey.Record
//	aliases/<partition>/<region>/<account>/<name>.json       what an alias meant, and when; <name> is escaped
//	blocks/<sha256>.json                                     a block by key material
//	blocks/arn/<partition>/<region>/<account>/<key-id>.json  a block by ARN
//	certs/<sha256>.pem                                       a key's chain of certificates, for those who sign; no decision reads it
//	by-key/<ab>/<sha256>/<partition>.<region>.<account>.<key-id>  empty: which ARNs hold this key; for hints and blocks only
//	tmp/                                                     half-written files; what lies there is no damage
//	lock                                                     held by the one writer
//
// Reading takes no lock and writes nothing, so a read-only mount serves. A Store and a Writer may be used by several
// goroutines at once.
package keystore

import (
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// EnvHome is the environment variable that names the home.
const EnvHome = "AWSKMS_OFFLINE_HOME"

// Home is where everything lies and how it was chosen.
type Home struct {
	// Path is absolute, as it was given: links in it are resolved when the store is opened.
	Path string
	// ChosenBy is the name of the flag or option, or one of the constants below.
	ChosenBy string
}

// How a home is chosen where no flag or option did.
const (
	ChosenByEnv     = "$" + EnvHome
	ChosenByUser    = "user configuration folder"
	ChosenByMachine = "machine folder"
)

// Options say how much of the store's permissions is demanded. The zero value is what the rules ask for.
type Options struct {
	// UnsafePermissions skips every check of owners and permissions. Links still cannot leave the home.
	UnsafePermissions bool
	// StrictPermissions refuses what the group can write, which otherwise is a warning. UnsafePermissions then skips nothing.
	StrictPermissions bool
}

// ResolveOptions say where a lookup may look. The zero value follows KMS's own rules.
type ResolveOptions struct {
	// ExactRegion turns the multi-Region fallback off.
	ExactRegion bool
	// Terse leaves out of a NotFoundException about an ARN what the store holds instead. To find that out takes the longer the
	// more accounts and Regions the store has: too long for whoever looks for many keys that may well be absent.
	Terse bool
}

// Resolution is what an identifier meant. There is one only if everything in it could be read and agrees.
type Resolution struct {
	// Asked is the identifier as it was given.
	Asked kmskey.Ref
	// Target is the key ARN that was asked for: the alias's target for an alias, the one found for a bare key ID.
	Target kmskey.ARN
	// Entries is never empty. The first is the one whose record decides. There are more only by multi-Region fallback:
	// all hold the same public key, and all of them must pass.
	Entries []Entry
	// Fallback says that Target has no record of its own and the entries are those of other Regions.
	Fallback bool
	// Alias is set if an alias was asked for.
	Alias *AliasEntry
}

// Entry is a record as it was read.
type Entry struct {
	Key *kmskey.Key
	// Path is the file's absolute path, by the name it was looked up under.
	Path string
	// SHA256 is that of the file's bytes, in lower-case hexadecimal.
	SHA256 string
}

// AliasEntry is an alias as it was read.
type AliasEntry struct {
	ARN kmskey.AliasARN
	// TargetKeyID is the bare key ID that the alias meant, in the alias's own account and Region; empty if KMS said that
	// it had no such alias any more.
	TargetKeyID string
	// Time is when KMS, or a person, said so; zero if nobody said when.
	Time kmskey.Time
	// History is what the alias meant before, oldest first.
	History []AliasHistory
	// Path is the file's absolute path, SHA256 that of its bytes in lower-case hexadecimal.
	Path, SHA256 string
}

// Target returns the ARN of the key that the alias meant.
func (a AliasEntry) Target() kmskey.ARN { return kmskey.ARN{Scope: a.ARN.Scope, KeyID: a.TargetKeyID} }

// AliasHistory is a former meaning of an alias.
type AliasHistory struct {
	KeyID string      `json:"KeyId" strict:"required"`
	From  kmskey.Time `json:"From,omitzero"`
	To    kmskey.Time `json:"To,omitzero"`
}

// Block forbids a key, by its ARN, by its material, or by both.
type Block struct {
	// KeyID is the key's ARN; empty for a block by material alone.
	KeyID string `json:"KeyId,omitempty"`
	// PublicKeySHA256 is the SHA-256 of the canonical SubjectPublicKeyInfo in lower-case hexadecimal; empty where the key
	// was not in the store when its ARN was blocked.
	PublicKeySHA256 string      `json:"PublicKeySHA256,omitempty"`
	Reason          string      `json:"Reason,omitempty"`
	By              string      `json:"By,omitempty"`
	Time            kmskey.Time `json:"Time,omitzero"`
	// Since is recorded and shown, never obeyed: a block refuses old signatures too, as no time in a signature is proof.
	Since kmskey.Time `json:"Since,omitzero"`
	// Path is the file's absolute path, SHA256 that of its bytes in lower-case hexadecimal.
	Path   string `json:"-"`
	SHA256 string `json:"-"`
}

// Problem is one finding of Fsck.
type Problem struct {
	// Path is the absolute path of the file or folder.
	Path string
	// KeyARN is the key or alias it is about; empty if none is known.
	KeyARN string
	// Fact is one sentence without a final period; Remedy says what to do.
	Fact, Remedy string
	// Harmless marks what never makes a verification wrong or fail: a stray file, say.
	Harmless bool
	// Repairable marks what Writer.Repair mends.
	Repairable bool
}

// Change is what became of a key.
type Change string

// The changes.
const (
	New       Change = "new"
	Unchanged Change = "unchanged"
	Changed   Change = "changed"
	Removed   Change = "removed"
)

// Outcome is what a write did.
type Outcome struct {
	// ARN is the key's; zero where Remove was given an alias, which then is Alias, and for a block by material alone.
	ARN   kmskey.ARN
	Alias kmskey.AliasARN
	// Change concerns the record and the aliases given with it.
	Change Change
	// Confirmed says that a change is one of dates only: what was known was said again, later.
	Confirmed bool
	// What lists what changed, Kept what was given but gives way to what is known, and of Remove what stands in for what was
	// removed: one clause each.
	What, Kept []string
}

// PutOptions say what a write may do to aliases. The zero value makes new ones from the record's list and moves none.
type PutOptions struct {
	// MoveAlias lets an alias that means another key move to this one.
	MoveAlias bool
	// FromKMS says that KMS itself just answered: aliases may move by newer evidence.
	FromKMS bool
	// OnRecord says that what is put changes a record that is there: if it was removed meanwhile, a NotFoundException.
	OnRecord bool
	// Aliases are further aliases of the key, "alias/NAME", beside those in the record.
	Aliases []string
	// AliasTime is when Aliases were true; zero if nobody said when. Those in the record are as old as its Snapshot.Time.
	AliasTime kmskey.Time
	// DryRun decides everything, errors included, and writes nothing.
	DryRun bool
}
