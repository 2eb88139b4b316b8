// Package kmserr holds the errors of awskms-offline: one type, one table.
//
// Where AWS KMS has a name for a refusal the error carries that name (AWS KMS API Reference, "Common Errors" and the
// errors of Verify, Sign, GetPublicKey and DescribeKey); where it has none the name is ours. The name alone decides the
// exit code of the command line and the error code of the Notation plugin contract, by the table in this package, so that
// every front end says the same thing about the same fact.
//
// The fact and the advice are two sentences. Error returns the fact; Hint, which a front end prints on a line of its
// own, says what to do next.
package kmserr

import (
	"errors"
	"fmt"
	"strings"
)

// Name is the name of an error, spelled as KMS spells its own: "NotFoundException".
type Name string

// The names. The comment of each group says where it is from.
const (
	// Names of AWS KMS.
	NotFound             Name = "NotFoundException"
	Disabled             Name = "DisabledException"
	KMSInvalidState      Name = "KMSInvalidStateException"
	InvalidKeyUsage      Name = "InvalidKeyUsageException"
	InvalidSignature     Name = "KMSInvalidSignatureException"
	UnsupportedOperation Name = "UnsupportedOperationException"
	Validation           Name = "ValidationException"
	AccessDenied         Name = "AccessDeniedException"
	Throttling           Name = "ThrottlingException"

	// Names of our own: a decision about a key.
	Ambiguous           Name = "AmbiguousKeyException"
	KeyBlocked          Name = "KeyBlockedException"
	KeyNotAllowed       Name = "KeyNotAllowedException"
	AlgorithmNotAllowed Name = "AlgorithmNotAllowedException"
	OutsideValidity     Name = "OutsideValidityException"
	SnapshotExpired     Name = "SnapshotExpiredException"
	Clock               Name = "ClockException"
	KeyMaterialMismatch Name = "KeyMaterialMismatchException"
	DigestMismatch      Name = "DigestMismatchException"
	CertificateInvalid  Name = "CertificateInvalidException"
	AuditIntegrity      Name = "AuditIntegrityException"

	// Names of our own: our side failed, nothing was decided.
	StoreIntegrity   Name = "StoreIntegrityException"
	StoreAccess      Name = "StoreAccessException"
	PolicyInvalid    Name = "PolicyInvalidException"
	AuditUnavailable Name = "AuditUnavailableException"
	DeadlineExceeded Name = "DeadlineExceededException"
	KMSService       Name = "KMSServiceException"
	TimestampService Name = "TimestampServiceException"
	Internal         Name = "InternalException"
)

// Exit codes of the command line.
const (
	ExitDone    = 0 // verified, or done
	ExitRefused = 1 // decided: no
	ExitBadCall = 2 // not readable as a question
	ExitOurSide = 3 // the system failed; nothing was decided
)

// Error codes of the Notation plugin contract (Notary Project, plugin-extensibility.md, "Plugin contract").
const (
	notationValidation   = "VALIDATION_ERROR"
	notationAccessDenied = "ACCESS_DENIED"
	notationTimeout      = "TIMEOUT"
	notationThrottled    = "THROTTLED"
	notationError        = "ERROR"
)

// Entry is one row of the table: what a name means to each front end.
type Entry struct {
	Name Name
	// Exit is the exit code of the command line: ExitRefused, ExitBadCall or ExitOurSide, never 0.
	Exit int
	// Notation is the error code of the Notation plugin contract (Notary Project, plugin-extensibility.md, "Error
	// codes"), for errors that are no answer to a capability.
	Notation string
	// Meaning, Causes and Cure are for the documentation: what it says, what usually brings it about, what to do.
	Meaning string
	Causes  string
	Cure    string
}

// table is in the order of the documentation. A name that is not here is treated as Internal.
var table = []Entry{
	{InvalidSignature, ExitRefused, notationValidation,
		"The signature is not one of this key over this message with this algorithm.",
		"The file is another one than was signed or was changed on the way (line ends, compression, a truncated download); the signature was made by another key or algorithm; a digest was given as the message or the other way round; for SM2, another distinguishing ID; for RSA, PSS for PKCS#1 v1.5.",
		"Check that the message, the key and the signing algorithm are those used to sign, and that the message was not changed."},
	{NotFound, ExitRefused, notationValidation,
		"No record of the key or alias is in the store.",
		"The key was never imported or pulled on this machine; the identifier has a typing error or names another Region or account; another store is in use (the message names it); the alias was deleted in KMS.",
		"Import the key with `awskms-offline keys import`, or use one of the names that the message lists."},
	{Ambiguous, ExitRefused, notationValidation,
		"A bare key ID or alias is known in several accounts or Regions.",
		"The store holds keys of several accounts or Regions, and the identifier names neither.",
		"Use one of the full ARNs that the message lists."},
	{Disabled, ExitRefused, notationAccessDenied,
		"The key was disabled in KMS when its state was recorded.",
		"Somebody disabled the key in KMS, by hand or by a key rotation runbook.",
		"This store does not learn by itself that a key was enabled again in KMS: run `awskms-offline keys refresh` where AWS can be called, or import the key's new describe-key output with --snapshot-time, which says when that was."},
	{KMSInvalidState, ExitRefused, notationAccessDenied,
		"The recorded key state does not allow verification, for example PendingDeletion.",
		"The key is scheduled for deletion, was deleted, waits for its key material, is in a custom key store that is disconnected, or its imported material expired; or the policy demands a known state and none was recorded.",
		"This store does not learn by itself that a state changed in KMS: run `awskms-offline keys refresh` where AWS can be called, or import the key's new describe-key output with --snapshot-time, which says when that was."},
	{InvalidKeyUsage, ExitRefused, notationValidation,
		"The key is not for signing, or the algorithm does not go with the key spec.",
		"An encryption or key agreement key was named; an algorithm of another key spec was asked for; the record lists fewer algorithms than its spec has.",
		"Use a key whose KeyUsage is SIGN_VERIFY, with one of its SigningAlgorithms."},
	{KeyBlocked, ExitRefused, notationAccessDenied,
		"The key is blocked in this store, by its ARN or by its key material.",
		"Somebody ran `awskms-offline keys block`, for this key, for another Region's replica of it, or for another name of the same key material.",
		"Ask whoever blocked it; `awskms-offline keys show` tells the reason."},
	{KeyNotAllowed, ExitRefused, notationAccessDenied,
		"The policy's list of allowed keys does not hold this key.",
		"A policy with `\"allowList\": true` is in force and no grant names the key; the record comes from a source that the policy does not take; in `doctor`, Notation's or cosign's set-up lets other keys in.",
		"Name the key's ARN in a grant of that policy with `\"verify\": true` (docs/policy.md), or use an allowed key."},
	{AlgorithmNotAllowed, ExitRefused, notationAccessDenied,
		"The policy does not allow this signing algorithm or message type for this key.",
		"A restriction of the policy lists fewer `signingAlgorithms` or `messageTypes`; a pinned distinguishing ID cannot be seen in a digest; the policy does not permit `sm2-entl`.",
		"Use one that the message lists, or change the policy."},
	{OutsideValidity, ExitRefused, notationAccessDenied,
		"Now is before notBefore or after notAfter of the policy for this key.",
		"`notBefore` or `notAfter` of a restriction; a clock that is wrong.",
		"Use a key that is valid now, or change the policy."},
	{SnapshotExpired, ExitRefused, notationAccessDenied,
		"What is known of the key is older than the policy allows, or has no date.",
		"`keys refresh` has not run for longer than `maxSnapshotAge`; a file was imported without `--snapshot-time`.",
		"Run `awskms-offline keys refresh` where AWS can be called; or import newly downloaded get-public-key and describe-key output with --snapshot-time, which says when that was, and with --alias if it is an alias that is too old."},
	{Clock, ExitRefused, notationAccessDenied,
		"The clock of this machine stands before the time of the snapshot.",
		"The clock was set back or was never set (a machine without a battery, a restored virtual machine); a snapshot or log line was made while a clock stood ahead.",
		"Set the clock. If it is right, what was written while a clock stood ahead has to go: `awskms-offline keys refresh` dates a record anew, and a log whose last line lies in the future is moved away (docs/audit.md)."},
	{KeyMaterialMismatch, ExitRefused, notationValidation,
		"The public key differs from the one recorded under this ARN; key material of a KMS key never changes.",
		"A file for another key under this ARN; a forged or damaged record; a key made by an emulator; in Notation, the certificate of another key; KMS lists signing algorithms that the record does not, as for one imported with `--signing-algorithms` (remove the record and pull it).",
		"Find out which of the two is genuine before anything else: one of them is not this KMS key."},
	{DigestMismatch, ExitRefused, notationValidation,
		"The digest given is not that of this message for this key and algorithm.",
		"The file was changed, or the digest is of another file; it was computed for another key (SM2's and ML-DSA's have the key in them), algorithm or distinguishing ID; the bare hash was taken for SM2's e; AWS's SM2OfflineOperationHelper made it with an ID of 32 bytes or more, which needs `--sm2-entl aws-java-helper`.",
		"Check that the message, the key, the algorithm and for SM2 the distinguishing ID are those that the digest was computed with."},
	{CertificateInvalid, ExitRefused, notationValidation,
		"Notation does not take a certificate chain for signing.",
		"A certificate without the code signing usage, with CA rights, out of its time, in the wrong order, or of another key.",
		"Do what the hint says; `awskms-offline cert check` tells all that is wrong with the chain."},
	{AuditIntegrity, ExitRefused, notationError,
		"The log of decisions does not say any more what was written.",
		"A line was changed, removed, inserted or cut off by something other than this program, or a rotated file is missing.",
		"Keep the files as they are, and find out who could write them; a copy kept elsewhere shows what was there."},
	{UnsupportedOperation, ExitRefused, notationValidation,
		"What was asked cannot be verified offline, or not with this key.",
		"ML-DSA's μ without the message; signing or creating keys through a program that only verifies; a key type that the client cannot carry.",
		"Follow the message: it names the form that works."},
	{Validation, ExitBadCall, notationValidation,
		"The call or one of its files cannot be read as a question.",
		"A misspelt flag, identifier or algorithm; an empty signature or key file, one that is unreadable, a key file that is too long; a digest of the wrong length or as hexadecimal text; a private key where a public one belongs; a path of the key store, of $HOME or $XDG_CONFIG_HOME that is relative.",
		"Correct the flag, field or file that the message names."},
	{StoreIntegrity, ExitOurSide, notationError,
		"The key store is damaged, contradicts itself, or can be written by others.",
		"Permissions that let others write (a group-writable umask under a strict policy, a world-writable folder), a file edited by hand, a restored backup of parts, a link that leaves the home.",
		"Run `awskms-offline doctor` and follow what it says."},
	{StoreAccess, ExitOurSide, notationError,
		"The key store cannot be found, read or written, or a file that a command makes cannot be written.",
		"No home was made yet; the environment has no HOME (cron, containers: set AWSKMS_OFFLINE_HOME); a store that another user made, for the whole machine perhaps, and did not open to others; a full or read-only disk.",
		"Check the path that the message names, its permissions and the room on its disk."},
	{PolicyInvalid, ExitOurSide, notationError,
		"A policy file is there but cannot be enforced, or whether one is there cannot be relied on.",
		"A comment or a missing comma, an unknown or repeated member, a rule without a key; a machine's folder that the user cannot read, or that everyone can write, who then could have taken the policy away.",
		"Correct the policy file or the permissions that the message names."},
	{AuditUnavailable, ExitOurSide, notationError,
		"The log that the policy requires cannot be written, or a log cannot be read.",
		"A full or read-only disk, a folder that may not be made, a file or folder that everyone can write, a file that is no log, an environment without HOME, another process that holds the log's lock for longer than two seconds.",
		"Make the log's folder writable and its disk not full."},
	{DeadlineExceeded, ExitOurSide, notationTimeout,
		"The answer was not ready before the deadline.",
		"A slow or stuck disk or network file system, a message that does not end, a very busy machine, cosign's `--timeout`; where AWS or a timestamping authority is called, the network to it; Ctrl-C.",
		"Try again; if it stays, look at the disk that holds the store."},
	{AccessDenied, ExitOurSide, notationAccessDenied,
		"AWS does not let these credentials do that, or does not take them any more.",
		"An IAM policy or key policy without the action, a service control policy, expired or missing credentials, another account's key.",
		"Allow the action that the message names on that key, or renew the credentials."},
	{Throttling, ExitOurSide, notationThrottled,
		"AWS KMS answers no more requests for now, after several attempts.",
		"KMS's request quota is shared by the account: many pulls at once, or heavy signing beside them.",
		"Try again later, or with fewer requests at once."},
	{KMSService, ExitOurSide, notationError,
		"AWS KMS could not be reached, or gave an answer that is none.",
		"No network, a proxy, a wrong Region or endpoint, a fault of the service; or an answer about another key than was asked for.",
		"Check the network, the Region, the endpoint and the credentials."},
	{TimestampService, ExitOurSide, notationError,
		"The timestamping authority could not be reached, or gave no timestamp that can be trusted.",
		"No network, a wrong `tsa-url`, a root certificate that is not the authority's, a clock that differs from the authority's, a certificate that is valid only since a moment ago or not any more, a CRL or OCSP server that cannot be reached.",
		"Check the network, the authority's address and its root certificate, and this machine's clock."},
	{Internal, ExitOurSide, notationError,
		"A fault of this program; nothing was verified.",
		"A bug, or a machine whose memory or disk fails.",
		"Report it with the text of the message."},
}

// Table returns a copy of the table, in the order of the documentation.
func Table() []Entry { return append([]Entry(nil), table...) }

// Lookup returns the row of n. An unknown name gets the row of Internal, so that no name ever maps to success.
func Lookup(n Name) Entry {
	for _, e := range table {
		if e.Name == n {
			return e
		}
	}
	return Lookup(Internal)
}

// Error is every error this project's packages return about keys, messages, signatures, policy and store. Its With methods
// change it; Besides makes another.
type Error struct {
	Name Name
	// KeyARN is the key or alias ARN (or whatever identifier was asked for) the error is about; empty if none is known.
	KeyARN string
	// Fact is one sentence without a final period: what was found and, where that helps, what was expected.
	Fact string
	// Hint is what a person does next; empty if the fact says it all.
	Hint string
	// Cause is the error below, for errors.Is and errors.As; its text is not repeated by Error.
	Cause error
}

// New returns an error with the fact formatted as by fmt.Sprintf.
func New(n Name, format string, args ...any) *Error {
	return &Error{Name: n, Fact: fmt.Sprintf(format, args...)}
}

// WithHint sets the hint and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithCure sets the hint to the table's cure for e's name and returns e.
func (e *Error) WithCure() *Error {
	e.Hint = Lookup(e.Name).Cure
	return e
}

// WithKey sets the key the error is about, unless one is set, and returns e.
func (e *Error) WithKey(arn string) *Error {
	if e.KeyARN == "" {
		e.KeyARN = arn
	}
	return e
}

// WithCause sets the error below and returns e.
func (e *Error) WithCause(err error) *Error {
	e.Cause = err
	return e
}

// Error returns the name and the fact: "NotFoundException: no record of …". It is never empty: an empty errorMessage
// would be taken for a yes by cosign.
func (e *Error) Error() string {
	if e == nil {
		e = &Error{}
	}
	name, fact := e.Name, e.Fact
	if name == "" {
		name = Internal
	}
	if fact == "" {
		fact = Lookup(name).Meaning
	}
	return string(name) + ": " + fact
}

// Unwrap returns the error below.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Cause
}

// As returns err as an *Error, the first that it is or wraps. What is no *Error becomes Internal with err's text, a nil
// pointer in an error as well; nil stays nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e
	}
	return &Error{Name: Internal, Fact: err.Error(), Cause: err}
}

// Besides returns a copy of err, as by As, whose hint ends with text, sentences in full; err may be a value that its maker
// returns again. nil stays nil.
func Besides(err error, text string) *Error {
	e := As(err)
	if e == nil {
		return nil
	}
	told := *e
	told.Hint = strings.TrimSpace(told.Hint + " " + strings.TrimSpace(text))
	return &told
}

// Is reports whether the first *Error that err is or wraps, in errors.As's order, has that name.
func Is(err error, n Name) bool {
	var e *Error
	return errors.As(err, &e) && e != nil && e.Name == n
}

// ExitCode returns the exit code for err; 0 for nil. Several errors, joined by errors.Join or however else, and however
// deep, give the gravest: 3 over 2 over 1.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	code := ExitDone // none yet: no error's own
	switch e := err.(type) {
	case *Error:
		return Lookup(As(e).Name).Exit // its cause is no second error
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			code = max(code, ExitCode(one))
		}
	case interface{ Unwrap() error }:
		code = ExitCode(e.Unwrap())
	}
	if code == ExitDone {
		return Lookup(Internal).Exit
	}
	return code
}
