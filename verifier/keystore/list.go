package keystore

import (
	"errors"
	"iter"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// List yields every record, in the order of partition, Region, account and key ID, one at a time. A record that cannot
// be relied on is yielded as an entry with nothing but its Path, and the error; the others still follow. The last may be an error
// alone: the home was lost meanwhile (see Open), and there may be more.
func (s *Store) List() iter.Seq2[Entry, error] { return whole(s, s.list()) }

// whole yields what all does, and behind it why that may not be all there is.
func whole[T any](s *Store, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for one, err := range all {
			if !yield(one, err) {
				return
			}
		}
		if err := s.lost(); err != nil {
			var none T
			yield(none, known(err))
		}
	}
}

func (s *Store) list() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for arn, err := range s.recordNames(keysFolder) {
			if err != nil {
				if !yield(Entry{Path: s.abs(keysFolder)}, known(err)) {
					return
				}
				continue
			}
			entry, err := s.readRecord(arn)
			if errors.Is(err, errAbsent) {
				continue // removed since
			}
			if err != nil {
				entry, err = Entry{Path: s.abs(recordPath(arn))}, known(err)
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

// recordNames yields the ARNs whose files lie below base, by their names alone; what has not the form of one is passed
// over, a folder that cannot be read yields an error, and the others still follow.
func (s *Store) recordNames(base string) iter.Seq2[kmskey.ARN, error] {
	return func(yield func(kmskey.ARN, error) bool) {
		scopes, unread := s.scopes(base)
		for _, err := range unread {
			if !yield(kmskey.ARN{}, err) {
				return
			}
		}
		for _, scope := range scopes {
			files, _, err := s.names(scopePath(base, scope), 0)
			if err != nil {
				if !yield(kmskey.ARN{}, err) {
					return
				}
				continue
			}
			for _, file := range files {
				id, ok := strings.CutSuffix(file, suffix)
				if !ok || !isKeyID(id) {
					continue
				}
				if !yield(kmskey.ARN{Scope: scope, KeyID: id}, nil) {
					return
				}
			}
		}
	}
}
