package keystore

import (
	"crypto/sha256"
	"sync"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxRemembered is how many parsed keys are kept. A key takes a few kilobytes, of ML-DSA up to a hundred, as does the longest record.
const maxRemembered = 1024

// Remembering returns the same store with a memory: a record is read and checked anew each time, but bytes that were
// parsed before are not parsed again. Both are closed by closing one.
func (s *Store) Remembering() *Store {
	remembering := *s
	remembering.parsed = &parsedKeys{keys: make(map[[sha256.Size]byte]*kmskey.Key)}
	return &remembering
}

// parsedKeys holds keys by the SHA-256 of the bytes they were parsed from; nil holds none.
type parsedKeys struct {
	mu   sync.Mutex
	keys map[[sha256.Size]byte]*kmskey.Key
}

func (p *parsedKeys) parse(data []byte) (*kmskey.Key, error) {
	if p == nil {
		return kmskey.ParseKey(data)
	}
	sum := sha256.Sum256(data)
	p.mu.Lock()
	key := p.keys[sum]
	p.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := kmskey.ParseKey(data)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.keys) == maxRemembered {
		clear(p.keys) // whoever uses more keys than this in turn gains nothing from any other rule either
	}
	p.keys[sum] = key
	return key, nil
}
