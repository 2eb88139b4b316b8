// Package kmskey holds the values that KMS speaks of: identifiers, key specs, usages, algorithms, message types, key
// states, and the record of a key with its decoded public half. Values are checked when they are made; a value that
// exists is well-formed. Nothing here reads a disk or a clock.
package kmskey

import (
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// MaxIdentifier is the longest identifier read, in bytes. KMS allows 2,048 for KeyId (API Reference, GetPublicKey).
const MaxIdentifier = 2048

// maxAlias counts "alias/" with the name (API Reference, CreateAlias, AliasName).
const maxAlias = 256

// The forms below hold before any path is built from an identifier. Partitions and Regions are no fixed lists: AWS adds to
// both. They are written out because compiling regular expressions would be half of a plugin's start.

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// isDashed reports whether s is a first part that head takes, and least to most parts of 1 to 16 lower-case letters and digits,
// each behind a dash.
func isDashed(s string, head func(string) bool, least, most int) bool {
	parts := strings.Split(s, "-")
	if n := len(parts) - 1; !head(parts[0]) || n < least || n > most {
		return false
	}
	for _, part := range parts[1:] {
		if len(part) < 1 || len(part) > 16 || !all(part, func(c byte) bool { return isLower(c) || isDigit(c) }) {
			return false
		}
	}
	return true
}

// isPartition: aws, aws-cn, aws-us-gov, aws-iso-b.
func isPartition(s string) bool {
	return isDashed(s, func(head string) bool { return head == "aws" }, 0, 3)
}

// isRegion: us-east-1, us-gov-west-1, eusc-de-east-1.
func isRegion(s string) bool {
	return isDashed(s, func(head string) bool { return len(head) >= 2 && len(head) <= 12 && all(head, isLower) }, 1, 4)
}

func isAccount(s string) bool { return len(s) == 12 && all(s, isDigit) }

// isKeyID: a lower-case UUID, or mrk- and 32 hexadecimal digits.
func isKeyID(s string) bool {
	isHex := func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }
	if digits, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(digits) == 32 && all(digits, isHex)
	}
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash && s[i] != '-' || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

// isAlias: alias/ and a name of letters, digits, _, - and single / between them.
func isAlias(s string) bool {
	name, ok := strings.CutPrefix(s, "alias/")
	if !ok {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || !all(part, func(c byte) bool {
			return isLower(c) || isDigit(c) || 'A' <= c && c <= 'Z' || c == '_' || c == '-'
		}) {
			return false
		}
	}
	return true
}

// Scope is where a key or alias lives: one account in one Region of one partition. The zero value is no scope.
type Scope struct {
	Partition string // "aws", "aws-cn"
	Region    string // "us-east-1"
	Account   string // twelve digits
}

// IsZero reports whether s is no scope.
func (s Scope) IsZero() bool { return s == Scope{} }

func (s Scope) arn(resource string) string {
	return "arn:" + s.Partition + ":kms:" + s.Region + ":" + s.Account + ":" + resource
}

// Check returns a ValidationException unless every part has AWS's form.
func (s Scope) Check() error {
	switch {
	case !isPartition(s.Partition):
		return kmserr.New(kmserr.Validation, "the partition %q is none of AWS's: expected aws or aws-…, in lower case", s.Partition)
	case !isRegion(s.Region):
		return kmserr.New(kmserr.Validation, "the Region %q has not the form of an AWS Region, such as us-east-1", s.Region)
	case !isAccount(s.Account):
		return kmserr.New(kmserr.Validation, "the account %q is not twelve digits", s.Account)
	}
	return nil
}

// ARN is a key ARN.
type ARN struct {
	Scope
	KeyID string // a lower-case UUID, or mrk- and 32 hexadecimal digits
}

// String returns "arn:PARTITION:kms:REGION:ACCOUNT:key/ID", or "" for the zero value.
func (a ARN) String() string {
	if a == (ARN{}) {
		return ""
	}
	return a.arn("key/" + a.KeyID)
}

// MultiRegion reports whether the key ID is that of a multi-Region key.
func (a ARN) MultiRegion() bool { return strings.HasPrefix(a.KeyID, "mrk-") }

// AliasARN is an alias ARN.
type AliasARN struct {
	Scope
	Alias string // with its prefix: "alias/release"
}

// String returns "arn:PARTITION:kms:REGION:ACCOUNT:alias/NAME", or "" for the zero value.
func (a AliasARN) String() string {
	if a == (AliasARN{}) {
		return ""
	}
	return a.arn(a.Alias)
}

// Ref is an identifier in one of KMS's four forms: key ID, key ARN, alias name, alias ARN. Exactly one of KeyID and
// Alias is set; Scope is zero in the two bare forms.
type Ref struct {
	Scope Scope
	KeyID string
	Alias string
}

// ParseRef reads any of the four forms, exactly and case-sensitively. Anything else is a ValidationException.
func ParseRef(s string) (Ref, error) {
	const forms = "Give a key ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), an alias ARN (…:alias/NAME), a key ID or alias/NAME."
	switch {
	case s == "":
		return Ref{}, kmserr.New(kmserr.Validation, "the key identifier is empty").WithHint(forms)
	case len(s) > MaxIdentifier:
		return Ref{}, kmserr.New(kmserr.Validation, "the key identifier is %d bytes long, expected at most %d", len(s), MaxIdentifier).WithHint(forms)
	case strings.HasPrefix(s, "arn:"):
		return parseARN(s)
	case strings.HasPrefix(s, "alias/"):
		if err := checkAlias(s); err != nil {
			return Ref{}, err
		}
		return Ref{Alias: s}, nil
	case isKeyID(s):
		return Ref{KeyID: s}, nil
	}
	e := kmserr.New(kmserr.Validation, "the key identifier %q has none of KMS's four forms", s).WithHint(forms)
	switch lower := strings.ToLower(s); {
	case isKeyID(lower):
		e.Hint = "Key IDs are written in lower case: " + lower
	case strings.HasPrefix(lower, "arn:"), strings.HasPrefix(lower, "alias/"):
		e.Hint = "Identifiers are case-sensitive; arn: and alias/ are lower case."
	case strings.Contains(s, "://"):
		e.Hint = "Give the key alone, without " + s[:strings.Index(s, "://")+3] + ", which is cosign's way to name it."
	case isAlias("alias/"+s) && !strings.HasPrefix(s, "key/") && strings.ContainsAny(lower, "ghijlnopqstuvwxyz"): // no digits of a key ID, nor mrk-
		e.Hint = "Is alias/" + s + " meant? " + e.Hint
	}
	return Ref{}, e
}

func parseARN(s string) (Ref, error) {
	fail := func(format string, args ...any) (Ref, error) {
		return Ref{}, kmserr.New(kmserr.Validation, format, args...).
			WithHint("A KMS ARN reads arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME.")
	}
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 {
		return fail("the ARN %q has %d parts, expected 6", s, len(parts))
	}
	if parts[2] != "kms" {
		return fail("the ARN %q is of the service %q, expected kms", s, parts[2])
	}
	scope := Scope{Partition: parts[1], Region: parts[3], Account: parts[4]}
	if err := scope.Check(); err != nil {
		return fail("in the ARN %q %s", s, kmserr.As(err).Fact)
	}
	resource := parts[5]
	if id, ok := strings.CutPrefix(resource, "key/"); ok {
		if !isKeyID(id) {
			return fail("in the ARN %q the key ID %q is neither a lower-case UUID nor mrk- and 32 hexadecimal digits", s, id)
		}
		return Ref{Scope: scope, KeyID: id}, nil
	}
	if strings.HasPrefix(resource, "alias/") {
		if err := checkAlias(resource); err != nil {
			return fail("in the ARN %q %s", s, kmserr.As(err).Fact)
		}
		return Ref{Scope: scope, Alias: resource}, nil
	}
	return fail("the ARN %q names neither a key nor an alias but %q", s, resource)
}

func checkAlias(alias string) error {
	if len(alias) > maxAlias {
		return kmserr.New(kmserr.Validation, "the alias is %d characters long, expected at most %d with alias/", len(alias), maxAlias)
	}
	if !isAlias(alias) {
		return kmserr.New(kmserr.Validation,
			"the alias %q is not alias/ and letters, digits, _, - and single / between them", alias).
			WithHint("An alias name takes A-Z, a-z, 0-9, _, - and /; no / at its start or end and none doubled.")
	}
	return nil
}

// ParseARN reads a key ARN and nothing else.
func ParseARN(s string) (ARN, error) {
	ref, err := ParseRef(s)
	if err != nil {
		return ARN{}, err
	}
	if arn, ok := ref.ARN(); ok {
		return arn, nil
	}
	return ARN{}, kmserr.New(kmserr.Validation, "%q is no key ARN", s).
		WithHint("Give the full ARN: arn:PARTITION:kms:REGION:ACCOUNT:key/ID.")
}

// ParseAlias reads an alias name with its prefix, "alias/NAME".
func ParseAlias(s string) (string, error) {
	if !strings.HasPrefix(s, "alias/") {
		return "", kmserr.New(kmserr.Validation, "the alias %q does not start with alias/", s).WithHint("Write alias/%s.", s)
	}
	if err := checkAlias(s); err != nil {
		return "", err
	}
	return s, nil
}

// ARN returns the key ARN, if r is one.
func (r Ref) ARN() (ARN, bool) {
	return ARN{Scope: r.Scope, KeyID: r.KeyID}, !r.Scope.IsZero() && r.KeyID != ""
}

// AliasARN returns the alias ARN, if r is one.
func (r Ref) AliasARN() (AliasARN, bool) {
	return AliasARN{Scope: r.Scope, Alias: r.Alias}, !r.Scope.IsZero() && r.Alias != ""
}

// String returns r as it was written.
func (r Ref) String() string {
	resource := r.Alias
	if r.KeyID != "" {
		resource = r.KeyID
		if !r.Scope.IsZero() {
			resource = "key/" + r.KeyID
		}
	}
	if r.Scope.IsZero() {
		return resource
	}
	return r.Scope.arn(resource)
}
