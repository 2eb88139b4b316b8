package keystore

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Block forbids a key: by its ARN, by its material, or by both. Given an ARN whose record is in the store and no
// fingerprint, it takes the record's, so that the same key under another name is blocked too. A block that is there and
// legible stands as it is. The outcome's ARN is zero for a block by material alone.
func (w *Writer) Block(b Block) (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	outcome, err := w.block(b)
	if err != nil {
		return Outcome{}, known(err).WithKey(b.KeyID)
	}
	return outcome, nil
}

func (w *Writer) block(b Block) (Outcome, error) {
	// Who blocks a key is in a hurry, and a terminal may give what is no UTF-8.
	b.Reason, b.By = strings.ToValidUTF8(b.Reason, "\uFFFD"), strings.ToValidUTF8(b.By, "\uFFFD")
	if err := b.check(); err != nil {
		return Outcome{}, kmserr.New(kmserr.Validation, "the block %v", err)
	}
	outcome := Outcome{Change: Unchanged}
	if b.KeyID != "" {
		var err error
		if outcome.ARN, err = kmskey.ParseARN(b.KeyID); err != nil {
			return Outcome{}, err
		}
		entry, err := w.store.readRecord(outcome.ARN)
		switch {
		case err == nil && b.PublicKeySHA256 == "":
			b.PublicKeySHA256 = entry.Key.Fingerprint()
		case err == nil && b.PublicKeySHA256 != entry.Key.Fingerprint():
			return Outcome{}, otherMaterial(b, entry.Key)
		}
		// Whatever is wrong with a record must not keep anybody from blocking the key.
	}
	data, err := encodeBlock(b)
	if err != nil {
		return Outcome{}, err
	}
	put := func(rel string, read func() (Block, error)) error {
		was, err := read()
		joined, change, err := joinBlock(was, err, b, data)
		switch {
		case err != nil:
			return err
		case change == Unchanged:
			outcome.Kept = append(outcome.Kept, was.Path)
			return nil
		}
		outcome.Change = Changed
		outcome.What = append(outcome.What, w.store.abs(rel))
		return w.write(rel, joined)
	}
	if b.PublicKeySHA256 != "" {
		err := put(blockPathOfKey(b.PublicKeySHA256), func() (Block, error) { return w.store.readBlockOfKey(b.PublicKeySHA256) })
		if err != nil {
			return Outcome{}, err
		}
	}
	if b.KeyID != "" {
		err := put(blockPathOfARN(outcome.ARN), func() (Block, error) { return w.store.readBlockOfARN(outcome.ARN) })
		if err != nil {
			return Outcome{}, err
		}
	}
	if outcome.Change == Changed && len(outcome.Kept) == 0 {
		outcome.Change = New
	}
	return outcome, nil
}

// joinBlock returns what the file of a block is to hold, given what was read from it and b, encoded: a block that stands is
// not taken back, and at most learns of the key material. One that cannot be read gives way, as it refuses all that it may
// concern and b says what it does.
func joinBlock(was Block, readErr error, b Block, encoded []byte) (data []byte, change Change, err error) {
	switch {
	case errors.Is(readErr, errAbsent):
		return encoded, New, nil
	case kmserr.Is(readErr, kmserr.StoreIntegrity):
		return encoded, Changed, nil
	case readErr != nil:
		return nil, "", readErr
	case was.PublicKeySHA256 != "" || b.PublicKeySHA256 == "":
		return nil, Unchanged, nil
	}
	was.PublicKeySHA256 = b.PublicKeySHA256
	data, err = encodeBlock(was)
	return data, Changed, err
}

func otherMaterial(b Block, onRecord *kmskey.Key) error {
	return kmserr.New(kmserr.Validation, "the block says that the public key of %s is %s, but on record is %s",
		b.KeyID, b.PublicKeySHA256, onRecord.Fingerprint()).WithHint("Block the ARN and the fingerprint one by one, if both are meant.")
}

// Unblock removes every block that Blocks finds for a key, and returns them, one for each file: afterwards there is
// none. arn may be zero and fingerprint empty, not both; where the key's record is in the store its fingerprint is taken
// from there. A block that cannot be read is not removed: it is not known what it says. None at all is a
// NotFoundException.
func (w *Writer) Unblock(arn kmskey.ARN, fingerprint string) ([]Block, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	removed, err := w.unblock(arn, fingerprint)
	if err != nil {
		return nil, known(err).WithKey(arn.String())
	}
	return removed, nil
}

func (w *Writer) unblock(arn kmskey.ARN, fingerprint string) ([]Block, error) {
	s := w.store
	var arns []kmskey.ARN
	if arn != (kmskey.ARN{}) {
		arns = append(arns, arn)
		if entry, err := s.readRecord(arn); err == nil && fingerprint == "" {
			fingerprint = entry.Key.Fingerprint()
		}
	}
	blocks, err := s.blockFiles(arns, fingerprint)
	if err != nil {
		return nil, err
	}
	// A block by ARN may name a fingerprint whose own file is the other half of the same block.
	for _, b := range blocks {
		if b.PublicKeySHA256 != "" && fingerprint == "" {
			if blocks, err = s.blockFiles(arns, b.PublicKeySHA256); err != nil {
				return nil, err
			}
			break
		}
	}
	if len(blocks) == 0 {
		what := arn.String()
		if what == "" {
			what = "the public key " + fingerprint
		}
		return nil, kmserr.New(kmserr.NotFound, "no block of %s is in the store %s", what, s.root.Name()).
			WithHint("`awskms-offline keys status` tells which keys are blocked, and `awskms-offline keys show KEY` lists the blocks in force for one.")
	}
	// In the reverse of the order in which they are written: whatever breaks off in between leaves the block by key material,
	// which holds for the key under every name.
	for _, b := range slices.Backward(blocks) {
		rel, err := filepath.Rel(s.root.Name(), b.Path)
		if err != nil {
			return nil, integrity("the block %s lies outside the store", b.Path)
		}
		if err := w.remove(filepath.ToSlash(rel), blocksFolder); err != nil {
			return nil, err
		}
	}
	return blocks, nil
}
