package keystore

import (
	"errors"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Repair mends what a crash can leave: it adds to the by-key index the records that it lacks, removes from it what has
// no such record and is not blocked, and removes aliases that mean a key without a record, unless they remember a former meaning. It
// returns what it did, one clause each. What is damaged it leaves to Fsck to report.
func (w *Writer) Repair() ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	did, err := w.repair()
	if err != nil {
		return did, known(err)
	}
	return did, nil
}

func (w *Writer) repair() (did []string, err error) {
	s := w.store
	indexed := make(map[string]bool) // paths of index entries that must be there
	damaged := make(map[kmskey.ARN]bool)
	for arn, err := range s.recordNames(keysFolder) {
		if err != nil {
			return did, err
		}
		entry, err := s.readRecord(arn)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			damaged[arn] = true
			continue
		}
		rel := indexPath(entry.Key.Fingerprint()) + "/" + markerName(arn)
		indexed[rel] = true
		added, err := w.mark(entry.Key.Fingerprint(), arn)
		if err != nil {
			return did, err
		}
		if added {
			did = append(did, "indexed "+arn.String())
		}
	}
	for mark, err := range s.index() {
		if err != nil {
			return did, err
		}
		if mark.ok && !indexed[mark.rel] && !damaged[mark.arn] && !s.blockedByName(mark.arn) { // see unmark
			if err := w.remove(mark.rel, indexFolder); err != nil {
				return did, err
			}
			did = append(did, "removed "+s.abs(mark.rel)+", which has no such record")
		}
	}
	for alias, err := range s.Aliases(kmskey.Scope{}) {
		if err != nil || len(alias.History) > 0 || alias.TargetKeyID == "" { // that KMS has no such alias is knowledge too
			continue
		}
		if there, err := s.exists(recordPath(alias.Target())); there || err != nil {
			continue
		}
		if err := w.remove(aliasPath(alias.ARN), aliasesFolder); err != nil {
			return did, err
		}
		did = append(did, "removed "+alias.ARN.String()+", as no record of "+alias.Target().String()+" is there")
	}
	return did, nil
}

// marker is an entry of the by-key index.
type marker struct {
	rel         string
	fingerprint string
	arn         kmskey.ARN
	ok          bool // the path has the form of one
}

// index yields every file below by-key.
func (s *Store) index() func(func(marker, error) bool) {
	return func(yield func(marker, error) bool) {
		folders, _, err := s.names(indexFolder, 0)
		if err != nil {
			yield(marker{rel: indexFolder}, err)
			return
		}
		for _, ab := range folders {
			if len(ab) != 2 || !isFingerprint(strings.Repeat(ab, 32)) {
				if !yield(marker{rel: indexFolder + "/" + ab}, nil) {
					return
				}
				continue
			}
			keys, _, err := s.names(indexFolder+"/"+ab, 0)
			if err != nil {
				if !yield(marker{rel: indexFolder + "/" + ab}, err) {
					return
				}
				continue
			}
			for _, fingerprint := range keys {
				rel := indexFolder + "/" + ab + "/" + fingerprint
				if !isFingerprint(fingerprint) || fingerprint[:2] != ab {
					if !yield(marker{rel: rel}, nil) {
						return
					}
					continue
				}
				names, _, err := s.names(rel, 0)
				if err != nil {
					if !yield(marker{rel: rel}, err) {
						return
					}
					continue
				}
				for _, name := range names {
					arn, ok := parseMarker(name)
					if !yield(marker{rel + "/" + name, fingerprint, arn, ok}, nil) {
						return
					}
				}
			}
		}
	}
}
