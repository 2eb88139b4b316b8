package keystore

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// merge joins what is known of a key with what is given now, so that no knowledge is lost and none grows laxer without
// newer evidence. what lists the changes, kept what was given and gives way to what is known.
//
//   - Key material, KeySpec and KeyUsage of a KMS key never change, and its SigningAlgorithms never grow: anything else is
//     a KeyMaterialMismatchException, as one of the two is not this key. A shorter list is taken, unless it is older.
//   - KeyMetadata is replaced by a newer StateTime only. The same or an older one gives way. Where it has no StateTime,
//     nobody can tell whether it is newer: it then stands in for absent metadata, and over present metadata that says
//     something else it is a ValidationException, rather than a state that a person gave and that is silently dropped.
//     Metadata on record without a StateTime gives way to dated metadata if that is as strict, or if KMS itself answered.
//   - Absent KeyMetadata keeps what is known.
//   - A DistinguishingId is nothing that KMS answers: absent, the record's stays. It replaces another one if its snapshot is
//     newer; nobody can tell that of one without a Time.
//   - Everything else is the newer snapshot's. One without a Time is newer than nothing.
func merge(old, given *kmskey.Key, fromKMS bool) (merged *kmskey.Key, what, kept []string, err error) {
	if err := sameKey(old, given); err != nil {
		return nil, nil, nil, err
	}
	was, now := old.Record(), given.Record()
	out := was
	newer := now.Snapshot.Time.After(was.Snapshot.Time.Time)                                 // a known time is newer than none
	older := !now.Snapshot.Time.IsZero() && now.Snapshot.Time.Before(was.Snapshot.Time.Time) // none is not older

	switch {
	case newer:
		what = append(what, change("Snapshot.Time", stamp(was.Snapshot.Time), stamp(now.Snapshot.Time)))
		out.Snapshot.Time, out.Snapshot.Source = now.Snapshot.Time, now.Snapshot.Source
		out.EncryptionAlgorithms, out.KeyAgreementAlgorithms = now.EncryptionAlgorithms, now.KeyAgreementAlgorithms
		out.Unknown = now.Unknown
		if now.Aliases != nil {
			out.Aliases = now.Aliases
		}
	case older:
		kept = append(kept, fmt.Sprintf("the snapshot of %s, as the one given is of %s", stamp(was.Snapshot.Time), stamp(now.Snapshot.Time)))
	}
	if !older {
		if slices.ContainsFunc(was.SigningAlgorithms, func(a kmskey.SigningAlgorithm) bool { return !slices.Contains(now.SigningAlgorithms, a) }) {
			what = append(what, change("SigningAlgorithms", kmskey.JoinNames(was.SigningAlgorithms), kmskey.JoinNames(now.SigningAlgorithms)))
			out.SigningAlgorithms = now.SigningAlgorithms
		}
		for _, alias := range now.Aliases {
			if !slices.Contains(out.Aliases, alias) {
				out.Aliases = append(out.Aliases, alias)
			}
		}
		switch known, given := was.DistinguishingID, now.DistinguishingID; {
		case given == nil, known != nil && *known == *given:
		case known != nil && !newer:
			kept = append(kept, fmt.Sprintf("DistinguishingId %s, as nobody can tell that %s is newer", idText(known), idText(given)))
		default:
			out.DistinguishingID = given
			what = append(what, change("DistinguishingId", idText(known), idText(given)))
		}
	}
	takeState, keptState, err := weighState(old, given, fromKMS)
	if err != nil {
		return nil, nil, nil, err
	}
	if keptState != "" {
		kept = append(kept, keptState)
	}
	if takeState {
		out.KeyMetadata, out.Snapshot.StateTime = now.KeyMetadata, now.Snapshot.StateTime
		if old.State() != given.State() {
			what = append(what, change("KeyState", old.State().String(), given.State().String()))
		}
		if !was.Snapshot.StateTime.Equal(now.Snapshot.StateTime.Time) {
			what = append(what, change("Snapshot.StateTime", stamp(was.Snapshot.StateTime), stamp(now.Snapshot.StateTime)))
		}
	}
	if takeState != newer && (takeState || out.KeyMetadata != nil) {
		// The two halves are now of two origins: the record may not claim more than the weaker one.
		out.Snapshot.Source = weakerSource(was.Snapshot.Source, now.Snapshot.Source)
	}
	merged, err = kmskey.NewKey(out)
	if err != nil {
		return nil, nil, nil, err
	}
	return merged, what, kept, nil
}

func sameKey(old, given *kmskey.Key) error {
	mismatch := func(what, was, now string) error {
		return kmserr.New(kmserr.KeyMaterialMismatch, "the %s of %s on record is %s, but the one given is %s", what, old.ARN(), was, now).
			WithHint("This never changes for a KMS key: find out which of the two is genuine. To take the new one all the same, remove the record first.").
			WithKey(old.ARN().String())
	}
	switch {
	case old.Fingerprint() != given.Fingerprint():
		return mismatch("public key", "SHA-256 "+old.Fingerprint()+" ("+string(old.Spec())+")", "SHA-256 "+given.Fingerprint()+" ("+string(given.Spec())+")")
	case old.Spec() != given.Spec():
		return mismatch("KeySpec", string(old.Spec()), string(given.Spec()))
	case old.Usage() != given.Usage():
		return mismatch("KeyUsage", string(old.Usage()), string(given.Usage()))
	}
	was, now := old.Record().SigningAlgorithms, given.Record().SigningAlgorithms
	for _, a := range now {
		if !slices.Contains(was, a) {
			return mismatch("list of SigningAlgorithms", kmskey.JoinNames(was), kmskey.JoinNames(now)+", which adds "+string(a))
		}
	}
	return nil
}

// weighState decides whether the given KeyMetadata replaces what is on record. kept is why it does not, where that needs
// saying.
func weighState(old, given *kmskey.Key, fromKMS bool) (take bool, kept string, err error) {
	was, now := old.Record(), given.Record()
	wasAt, nowAt := was.Snapshot.StateTime, now.Snapshot.StateTime
	switch {
	case now.KeyMetadata == nil && was.KeyMetadata != nil:
		return false, fmt.Sprintf("KeyState %s of %s, as none was given", old.State(), stamp(wasAt)), nil
	case now.KeyMetadata == nil:
		return false, "", nil
	case was.KeyMetadata == nil:
		return true, "", nil
	case sameMetadata(was.KeyMetadata, now.KeyMetadata):
		return nowAt.After(wasAt.Time), "", nil
	case nowAt.IsZero():
		return false, "", kmserr.New(kmserr.Validation, "the KeyMetadata given for %s (%s) has no StateTime, so nobody can tell that it is newer than the one on record (%s of %s)",
			old.ARN(), given.State(), old.State(), stamp(wasAt)).
			WithHint("State when KMS gave that answer with --snapshot-time.").WithKey(old.ARN().String())
	case wasAt.IsZero():
		if fromKMS || asStrict(was.KeyMetadata, now.KeyMetadata) {
			return true, "", nil
		}
		return false, "", kmserr.New(kmserr.Validation, "the KeyMetadata of %s on record (%s) has no StateTime, so nobody can tell that the one given (%s of %s), which may allow more, is newer",
			old.ARN(), inShort(was.KeyMetadata), inShort(now.KeyMetadata), stamp(nowAt)).
			WithHint("Pull the key from KMS; or remove the record and import it anew.").WithKey(old.ARN().String())
	case nowAt.After(wasAt.Time):
		return true, "", nil
	case nowAt.Equal(wasAt.Time):
		return false, "", kmserr.New(kmserr.Validation, "the KeyMetadata given for %s (%s) differs from the one on record (%s), but both are of %s",
			old.ARN(), given.State(), old.State(), stamp(nowAt)).
			WithHint("One of the two times is wrong: state the right one with --snapshot-time.").WithKey(old.ARN().String())
	}
	return false, fmt.Sprintf("KeyState %s of %s, as %s is of %s", old.State(), stamp(wasAt), given.State(), stamp(nowAt)), nil
}

// asStrict reports whether now allows no more than was, whatever a policy grants: of the states that do not verify none in
// place of another, as a grant may let either verify, but NotFound, which no grant does; and no later end.
func asStrict(was, now *kmskey.KeyMetadata) bool {
	noLater := func(was, now kmskey.Time) bool { return was.IsZero() || !now.IsZero() && !now.After(was.Time) }
	state := was.KeyState.Verifies() || was.KeyState == now.KeyState || now.KeyState == kmskey.StateNotFound
	return state && noLater(was.DeletionDate, now.DeletionDate) && noLater(was.ValidTo, now.ValidTo)
}

// inShort is what of a key's metadata decides.
func inShort(m *kmskey.KeyMetadata) string {
	text := m.KeyState.String()
	if !m.DeletionDate.IsZero() {
		text += ", DeletionDate " + stamp(m.DeletionDate)
	}
	if !m.ValidTo.IsZero() {
		text += ", ValidTo " + stamp(m.ValidTo)
	}
	return text
}

func sameMetadata(a, b *kmskey.KeyMetadata) bool {
	x, errX := json.Marshal(a, json.Deterministic(true))
	y, errY := json.Marshal(b, json.Deterministic(true))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// weakerSource returns the one of two sources that says less: a file says less than KMS's own answer to us, what a
// person stated less than a file, and no or an unknown source least.
func weakerSource(a, b string) string {
	rank := []string{kmskey.SourceKMS, kmskey.SourceFile, kmskey.SourceOperator}
	i, j := slices.Index(rank, a), slices.Index(rank, b)
	if i < 0 || (j >= 0 && i > j) {
		return a
	}
	return b
}

func change(name, was, now string) string { return fmt.Sprintf("%s %s → %s", name, was, now) }

func stamp(t kmskey.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

func idText(id *string) string {
	if id == nil {
		return "(default)"
	}
	return fmt.Sprintf("%q", *id)
}
