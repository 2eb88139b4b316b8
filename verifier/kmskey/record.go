package kmskey

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// MaxRecord is the longest record read, in bytes.
const MaxRecord = 64 << 10

// Record is the answer of `aws kms get-public-key` under AWS's own member names, and what DescribeKey and we know
// beside it. It is what lies in the store. Members that AWS adds are kept and never used.
type Record struct {
	KeyID                  string             `json:"KeyId"`
	PublicKey              []byte             `json:"PublicKey" strict:"required"`
	CustomerMasterKeySpec  KeySpec            `json:"CustomerMasterKeySpec,omitempty"` // deprecated by AWS, equals KeySpec
	KeySpec                KeySpec            `json:"KeySpec,omitempty"`
	KeyUsage               KeyUsage           `json:"KeyUsage" strict:"required"`
	SigningAlgorithms      []SigningAlgorithm `json:"SigningAlgorithms,omitempty"`
	EncryptionAlgorithms   []string           `json:"EncryptionAlgorithms,omitempty"`
	KeyAgreementAlgorithms []string           `json:"KeyAgreementAlgorithms,omitempty"`

	KeyMetadata *KeyMetadata `json:"KeyMetadata,omitempty"`
	Aliases     []string     `json:"Aliases,omitempty"`
	Snapshot    Snapshot     `json:"Snapshot,omitzero"`
	// DistinguishingID is the text form of a DistinguishingID; nil where the default applies. SM2 only. It is written
	// when it is there: omitempty would leave out the explicitly empty ID, which then would read as none.
	DistinguishingID *string `json:"DistinguishingId,omitzero"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

// KeyMetadata is what DescribeKey says, as far as a verification needs it; the rest is kept.
type KeyMetadata struct {
	Arn          string   `json:"Arn,omitempty"`
	KeyID        string   `json:"KeyId,omitempty"`
	KeyState     KeyState `json:"KeyState" strict:"required"`
	Enabled      *bool    `json:"Enabled,omitempty"`
	KeySpec      KeySpec  `json:"KeySpec,omitempty"`
	KeyUsage     KeyUsage `json:"KeyUsage,omitempty"`
	MultiRegion  *bool    `json:"MultiRegion,omitempty"`
	DeletionDate Time     `json:"DeletionDate,omitzero"`
	ValidTo      Time     `json:"ValidTo,omitzero"`

	Unknown map[string]jsontext.Value `json:",embed"`
}

// Snapshot says when and whence the record's knowledge is. Neither time is ever that of an import.
type Snapshot struct {
	Time            Time   `json:"Time,omitzero"`      // KMS answered GetPublicKey
	StateTime       Time   `json:"StateTime,omitzero"` // KMS answered DescribeKey
	Source          string `json:"Source,omitempty"`   // "kms", "file", "operator"
	PublicKeySHA256 string `json:"PublicKeySHA256,omitempty"`
}

// Where a snapshot's knowledge is from.
const (
	SourceKMS      = "kms"      // pulled by this program from KMS
	SourceFile     = "file"     // imported from a file
	SourceOperator = "operator" // its time was stated by hand
)

// DecodeRecord reads a record, or the bare output of `aws kms get-public-key` (AWS CLI v1 or v2), strictly: at most
// MaxRecord bytes, one object, no member twice or in other letter case. It says nothing about the record's sense: that
// is NewKey's. Errors are ValidationExceptions.
func DecodeRecord(data []byte) (Record, error) {
	var r Record
	if err := strictjson.Decode(data, MaxRecord, strictjson.Keep, &r); err != nil {
		return Record{}, kmserr.New(kmserr.Validation, "the record %v", err).
			WithHint("Expected is the JSON that `aws kms get-public-key` prints.").WithCause(err)
	}
	return r, nil
}

// DecodeDescribeKey reads the output of `aws kms describe-key`, strictly, at most MaxRecord bytes.
func DecodeDescribeKey(data []byte) (KeyMetadata, error) {
	var answer struct {
		KeyMetadata KeyMetadata               `json:"KeyMetadata" strict:"required"`
		Unknown     map[string]jsontext.Value `json:",embed"`
	}
	if err := strictjson.Decode(data, MaxRecord, strictjson.Keep, &answer); err != nil {
		return KeyMetadata{}, kmserr.New(kmserr.Validation, "the key metadata %v", err).
			WithHint("Expected is the JSON that `aws kms describe-key` prints.").WithCause(err)
	}
	return answer.KeyMetadata, nil
}

// Key is a record whose parts agree with each other, and its decoded public key. It is immutable; only NewKey makes one.
type Key struct {
	record Record
	arn    ARN
	public *spki.PublicKey
	sum    string // the SHA-256 of public in hexadecimal
	did    DistinguishingID
}

// ParseKey decodes a record and checks it: DecodeRecord, then NewKey.
func ParseKey(data []byte) (*Key, error) {
	r, err := DecodeRecord(data)
	if err != nil {
		return nil, err
	}
	return NewKey(r)
}

// NewKey checks that everything the record says agrees: the label never outranks the material. A disagreement is a
// ValidationException that names both sides.
func NewKey(r Record) (*Key, error) {
	arn, err := ParseARN(r.KeyID)
	if err != nil {
		return nil, disagree("KeyId is %q: %s", r.KeyID, kmserr.As(err).Fact).
			WithHint("Give the key's ARN with --key-id, or import describe-key's output beside it: a bare key ID does not say which account and Region.")
	}
	public, err := spki.Parse(r.PublicKey)
	if err != nil {
		return nil, disagree("PublicKey %v", err).WithKey(r.KeyID)
	}
	sum := public.Fingerprint()
	k := &Key{arn: arn, public: public, sum: hex.EncodeToString(sum[:])}
	if k.record, err = k.reconcile(r); err != nil {
		return nil, kmserr.As(err).WithKey(r.KeyID)
	}
	return k, nil
}

func disagree(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}

// reconcile returns the record in canonical form, or names the two things in it that disagree.
func (k *Key) reconcile(r Record) (Record, error) {
	material := KeySpec(k.public.Spec)
	for _, label := range []struct {
		name string
		spec KeySpec
	}{{"KeySpec", r.KeySpec}, {"CustomerMasterKeySpec", r.CustomerMasterKeySpec}} {
		if label.spec != "" && label.spec != material {
			return r, disagree("%s says %s, but PublicKey is a key of spec %s", label.name, label.spec, material)
		}
	}
	r = r.clone()
	r.KeySpec, r.CustomerMasterKeySpec = material, ""
	r.PublicKey = k.public.DER

	if !slices.Contains(material.Usages(), r.KeyUsage) {
		return r, disagree("KeyUsage says %q, but a key of spec %s is for %s", r.KeyUsage, material, JoinNames(material.Usages()))
	}
	if err := checkAlgorithms(r, material); err != nil {
		return r, err
	}
	if err := k.checkMetadata(r); err != nil {
		return r, err
	}
	for _, alias := range r.Aliases {
		if _, err := ParseAlias(alias); err != nil {
			return r, disagree("Aliases holds %q: %s", alias, kmserr.As(err).Fact)
		}
	}
	if got := r.Snapshot.PublicKeySHA256; got != "" && got != k.sum {
		return r, disagree("Snapshot.PublicKeySHA256 says %s, but the SHA-256 of PublicKey is %s", got, k.sum)
	}
	r.Snapshot.PublicKeySHA256 = k.sum
	if sources := []string{SourceKMS, SourceFile, SourceOperator}; r.Snapshot.Source != "" && !slices.Contains(sources, r.Snapshot.Source) {
		return r, disagree("Snapshot.Source is %q, expected %s", r.Snapshot.Source, JoinNames(sources))
	}
	if r.DistinguishingID != nil {
		if material != SM2 {
			return r, disagree("DistinguishingId is given, but only SM2 keys have one and this is a key of spec %s", material)
		}
		did, err := ParseDistinguishingID(*r.DistinguishingID)
		if err != nil {
			return r, err
		}
		k.did = did
	}
	return r, nil
}

func checkAlgorithms(r Record, material KeySpec) error {
	lists := []struct {
		name  string
		count int
		usage KeyUsage
	}{
		{"SigningAlgorithms", len(r.SigningAlgorithms), SignVerify},
		{"EncryptionAlgorithms", len(r.EncryptionAlgorithms), EncryptDecrypt},
		{"KeyAgreementAlgorithms", len(r.KeyAgreementAlgorithms), KeyAgreement},
	}
	for _, list := range lists {
		if list.count > 0 && r.KeyUsage != list.usage {
			return disagree("KeyUsage says %s, but %s is given, which only %s keys have", r.KeyUsage, list.name, list.usage)
		}
		if list.count == 0 && r.KeyUsage == list.usage && list.usage == SignVerify {
			return disagree("KeyUsage says %s, but SigningAlgorithms is empty or absent", r.KeyUsage)
		}
	}
	for _, a := range r.SigningAlgorithms {
		if a.Known() && !slices.Contains(material.SigningAlgorithms(), a) {
			return disagree("SigningAlgorithms lists %s, but a key of spec %s has %s", a, material, JoinNames(material.SigningAlgorithms()))
		}
	}
	return nil
}

func (k *Key) checkMetadata(r Record) error {
	m := r.KeyMetadata
	if m == nil {
		return nil
	}
	switch {
	case m.Arn != "" && m.Arn != k.arn.String():
		return disagree("KeyMetadata.Arn says %s, but KeyId says %s", m.Arn, k.arn)
	case m.KeyID != "" && m.KeyID != k.arn.KeyID && m.KeyID != k.arn.String():
		return disagree("KeyMetadata.KeyId says %s, but KeyId says %s", m.KeyID, k.arn)
	case m.KeySpec != "" && m.KeySpec != r.KeySpec:
		return disagree("KeyMetadata.KeySpec says %s, but the public key is of spec %s", m.KeySpec, r.KeySpec)
	case m.KeyUsage != "" && m.KeyUsage != r.KeyUsage:
		return disagree("KeyMetadata.KeyUsage says %s, but KeyUsage says %s", m.KeyUsage, r.KeyUsage)
	case m.KeyState == StateUnknown:
		return disagree("KeyMetadata is there, but its KeyState is empty")
	case m.Enabled != nil && *m.Enabled && !slices.Contains(keyStates, m.KeyState): // else a state that KMS may have by now
		return disagree("KeyMetadata.KeyState is %q, which is no state of KMS that is known here, though KeyMetadata.Enabled says true", m.KeyState).
			WithHint("%s", strings.TrimSpace(HintNearest(string(m.KeyState), keyStates)+" Expected is the answer of `aws kms describe-key` as it came."))
	case m.Enabled != nil && *m.Enabled && !m.KeyState.Verifies(),
		m.Enabled != nil && !*m.Enabled && m.KeyState == StateEnabled:
		return disagree("KeyMetadata.Enabled says %t, but KeyMetadata.KeyState says %s", *m.Enabled, m.KeyState)
	case m.MultiRegion != nil && *m.MultiRegion != k.arn.MultiRegion():
		return disagree("KeyMetadata.MultiRegion says %t, but the key ID is %s", *m.MultiRegion, k.arn.KeyID)
	}
	for _, date := range []struct {
		name string
		at   Time
	}{{"DeletionDate", m.DeletionDate}, {"ValidTo", m.ValidTo}} {
		if err := new(Time).set(date.at.Time); err != nil && !date.at.IsZero() { // could be written, and not read again
			return disagree("KeyMetadata.%s: %v", date.name, err)
		}
	}
	return nil
}

// Encode returns the record as it is written to the store: canonical, indented, with a final newline. Equal records give
// equal bytes.
func (k *Key) Encode() ([]byte, error) {
	b, err := json.Marshal(k.record, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("encode the record of %s: %w", k.arn, err)
	}
	b = append(b, '\n')
	if len(b) > MaxRecord {
		return nil, kmserr.New(kmserr.Validation, "the record of %s is %d bytes long, more than the %d allowed", k.arn, len(b), MaxRecord).WithKey(k.arn.String())
	}
	return b, nil
}

// ARN returns the key's ARN.
func (k *Key) ARN() ARN { return k.arn }

// Spec returns the key spec, which is that of the material.
func (k *Key) Spec() KeySpec { return k.record.KeySpec }

// Usage returns the key usage.
func (k *Key) Usage() KeyUsage { return k.record.KeyUsage }

// SigningAlgorithms returns the recorded signing algorithms that are known here, in their order.
func (k *Key) SigningAlgorithms() []SigningAlgorithm {
	known := make([]SigningAlgorithm, 0, len(k.record.SigningAlgorithms))
	for _, a := range k.record.SigningAlgorithms {
		if a.Known() {
			known = append(known, a)
		}
	}
	return known
}

// EncryptionAlgorithms returns the recorded encryption algorithms that KMS has for the key's spec, in their order.
func (k *Key) EncryptionAlgorithms() []EncryptionAlgorithm {
	return recorded(k.record.EncryptionAlgorithms, k.Spec().EncryptionAlgorithms())
}

// KeyAgreementAlgorithms returns the recorded key agreement algorithms that KMS has for the key's spec, in their order.
func (k *Key) KeyAgreementAlgorithms() []KeyAgreementAlgorithm {
	return recorded(k.record.KeyAgreementAlgorithms, k.Spec().KeyAgreementAlgorithms())
}

// recorded returns those of a record's names that the spec has; names unknown here are kept in the record, never used.
func recorded[T ~string](names []string, spec []T) []T {
	var known []T
	for _, name := range names {
		if slices.Contains(spec, T(name)) {
			known = append(known, T(name))
		}
	}
	return known
}

// State returns the recorded key state, StateUnknown if the record has no KeyMetadata.
func (k *Key) State() KeyState {
	if k.record.KeyMetadata == nil {
		return StateUnknown
	}
	return k.record.KeyMetadata.KeyState
}

// Snapshot returns where the record is from, and when KMS said what it holds.
func (k *Key) Snapshot() Snapshot { return k.record.Snapshot }

// Metadata returns a copy of what DescribeKey said, nil if the record holds nothing of it.
func (k *Key) Metadata() *KeyMetadata { return k.record.KeyMetadata.clone() }

// Record returns a copy of the canonical record, which shares nothing with the key.
func (k *Key) Record() Record { return k.record.clone() }

func (r Record) clone() Record {
	r.PublicKey = bytes.Clone(r.PublicKey)
	r.SigningAlgorithms = slices.Clone(r.SigningAlgorithms)
	r.EncryptionAlgorithms = slices.Clone(r.EncryptionAlgorithms)
	r.KeyAgreementAlgorithms = slices.Clone(r.KeyAgreementAlgorithms)
	r.Aliases = slices.Clone(r.Aliases)
	r.KeyMetadata = r.KeyMetadata.clone()
	r.DistinguishingID = clonePointer(r.DistinguishingID)
	r.Unknown = cloneUnknown(r.Unknown)
	return r
}

func (m *KeyMetadata) clone() *KeyMetadata {
	if m = clonePointer(m); m != nil {
		m.Enabled, m.MultiRegion = clonePointer(m.Enabled), clonePointer(m.MultiRegion)
		m.Unknown = cloneUnknown(m.Unknown)
	}
	return m
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func cloneUnknown(members map[string]jsontext.Value) map[string]jsontext.Value {
	copied := maps.Clone(members)
	for name, value := range copied {
		copied[name] = value.Clone()
	}
	return copied
}

// PublicKeyDER returns the canonical DER SubjectPublicKeyInfo.
func (k *Key) PublicKeyDER() []byte { return bytes.Clone(k.public.DER) }

// Fingerprint returns the SHA-256 of PublicKeyDER in lower-case hexadecimal.
func (k *Key) Fingerprint() string { return k.sum }

// DistinguishingID returns the record's SM2 user ID; not given where the default applies.
func (k *Key) DistinguishingID() DistinguishingID { return k.did }

// Material returns the decoded public key. Its type is internal to verifier: no front end can check a signature with it.
func (k *Key) Material() *spki.PublicKey { return k.public }

// FingerprintDER returns what Fingerprint would for a key with this DER SubjectPublicKeyInfo, and its spec. A key that is
// none of KMS's is a ValidationException.
func FingerprintDER(der []byte) (fingerprint string, spec KeySpec, err error) {
	public, err := spki.Parse(der)
	if err != nil {
		return "", "", kmserr.New(kmserr.Validation, "the public key %v", err)
	}
	sum := public.Fingerprint()
	return hex.EncodeToString(sum[:]), KeySpec(public.Spec), nil
}
