package keystore

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// maxBlockFile is the longest block read or written, in bytes.
const maxBlockFile = 16 << 10

// decodeBlock reads a block file. Errors are clauses for a sentence.
func decodeBlock(data []byte) (Block, error) {
	var b Block
	if err := strictjson.Decode(data, maxBlockFile, strictjson.Refuse, &b); err != nil {
		return Block{}, err
	}
	return b, b.check()
}

func (b Block) check() error {
	if b.KeyID == "" && b.PublicKeySHA256 == "" {
		return errors.New("has neither KeyId nor PublicKeySHA256")
	}
	if b.KeyID != "" {
		if _, err := kmskey.ParseARN(b.KeyID); err != nil {
			return fmt.Errorf("has a bad KeyId: %s", kmserr.As(err).Fact)
		}
	}
	if b.PublicKeySHA256 != "" && !isFingerprint(b.PublicKeySHA256) {
		return fmt.Errorf("has the PublicKeySHA256 %q, expected 64 digits of lower-case hexadecimal", b.PublicKeySHA256)
	}
	return nil
}

func encodeBlock(b Block) ([]byte, error) {
	data, err := json.Marshal(b, json.Deterministic(true), jsontext.WithIndent("  "))
	data = append(data, '\n')
	if err == nil && len(data) > maxBlockFile {
		err = kmserr.New(kmserr.Validation, "the block would be %d bytes long, more than the %d allowed", len(data), maxBlockFile).
			WithHint("Give a shorter reason.").WithKey(b.KeyID)
	}
	return data, err
}

// readBlock reads the block file rel, if it is there. One that cannot be read or says something else than its name is an
// error: a block refuses, legible or not.
func (s *Store) readBlock(rel string, belongs func(Block) bool) (Block, error) {
	data, real, err := s.read(rel, maxBlockFile)
	if err != nil {
		return Block{}, err
	}
	b, err := decodeBlock(data)
	if err == nil && !belongs(b) {
		err = fmt.Errorf("is one of %s %s, which its name does not say", b.KeyID, b.PublicKeySHA256)
	}
	if err != nil {
		return Block{}, integrity("the block %s %v", s.abs(real), err).
			WithHint("Nothing it may concern verifies before it is mended: block the key anew, which replaces the file, or unblock it by removing the file.")
	}
	b.Path, b.SHA256 = s.abs(rel), hexSHA256(data)
	return b, nil
}

func (s *Store) readBlockOfKey(fingerprint string) (Block, error) {
	return s.readBlock(blockPathOfKey(fingerprint), func(b Block) bool { return b.PublicKeySHA256 == fingerprint })
}

func (s *Store) readBlockOfARN(arn kmskey.ARN) (Block, error) {
	b, err := s.readBlock(blockPathOfARN(arn), func(b Block) bool { return b.KeyID == arn.String() })
	return b, withKey(err, arn.String())
}

// Blocks returns the blocks in force for any of the ARNs, or for the public key of that fingerprint (SHA-256 of the
// canonical SubjectPublicKeyInfo in lower-case hexadecimal, "" for none known): none means that nothing is blocked. A
// block of one ARN of a multi-Region key covers all its Regions, and a block of one ARN covers whatever other ARN the
// by-key index has for the same key. A block that cannot be read is an error, and an error is a no.
func (s *Store) Blocks(arns []kmskey.ARN, fingerprint string) ([]Block, error) {
	all, err := s.blockFiles(arns, fingerprint)
	if lost := s.lost(); lost != nil {
		err = lost
	}
	if err != nil {
		e := known(err)
		if len(arns) > 0 {
			e = e.WithKey(arns[0].String())
		}
		return nil, e
	}
	// One block commonly has two files, one by ARN and one by key.
	var blocks []Block
	for _, b := range all {
		if !slices.ContainsFunc(blocks, func(other Block) bool {
			other.Path, other.SHA256 = b.Path, b.SHA256
			return other == b
		}) {
			blocks = append(blocks, b)
		}
	}
	return blocks, nil
}

// blockFiles is Blocks with every file.
func (s *Store) blockFiles(arns []kmskey.ARN, fingerprint string) ([]Block, error) {
	var blocks []Block
	arns = slices.Clone(arns)
	if fingerprint != "" {
		same, err := s.ARNsByFingerprint(fingerprint)
		if err != nil {
			return nil, err
		}
		arns = append(arns, same...)
		b, err := s.readBlockOfKey(fingerprint)
		if err == nil {
			blocks = append(blocks, b)
		} else if !errors.Is(err, errAbsent) {
			return nil, err
		}
	}
	done := make(map[kmskey.ARN]bool)
	for _, arn := range arns {
		names := []kmskey.ARN{arn}
		if arn.MultiRegion() {
			regions, _, err := s.names(blockedARNs+"/"+arn.Partition, 0)
			if err != nil {
				return nil, err
			}
			for _, region := range regions {
				if other := arn; parts[1](region) {
					other.Region = region
					names = append(names, other)
				}
			}
		}
		for _, name := range names {
			if done[name] {
				continue
			}
			done[name] = true
			b, err := s.readBlockOfARN(name)
			if err == nil {
				blocks = append(blocks, b)
			} else if !errors.Is(err, errAbsent) {
				return nil, err
			}
		}
	}
	return blocks, nil
}

// blockedByName reports whether the ARN itself is blocked, or may be. The index then remembers whose key it was, with or
// without its record: the block holds for that key under every other name.
func (s *Store) blockedByName(arn kmskey.ARN) bool {
	blocks, err := s.blockFiles([]kmskey.ARN{arn}, "")
	return err != nil || len(blocks) > 0
}

// AllBlocks yields every block, one for each file: those by key material, then those by ARN. One that cannot be read is
// yielded with nothing but its Path, and the error. The last may be an error alone, as of List.
func (s *Store) AllBlocks() iter.Seq2[Block, error] { return whole(s, s.allBlocks()) }

func (s *Store) allBlocks() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		report := func(rel string, b Block, err error) bool {
			if errors.Is(err, errAbsent) {
				return true
			}
			if err != nil {
				return yield(Block{Path: s.abs(rel)}, known(err))
			}
			return yield(b, nil)
		}
		files, _, err := s.names(blocksFolder, 0)
		if err != nil {
			yield(Block{Path: s.abs(blocksFolder)}, known(err))
			return
		}
		for _, file := range files {
			if name, ok := strings.CutSuffix(file, suffix); ok && isFingerprint(name) {
				b, err := s.readBlockOfKey(name)
				if !report(blockPathOfKey(name), b, err) {
					return
				}
			}
		}
		for arn, err := range s.recordNames(blockedARNs) {
			if err != nil {
				if !yield(Block{Path: s.abs(blockedARNs)}, known(err)) {
					return
				}
				continue
			}
			b, err := s.readBlockOfARN(arn)
			if !report(blockPathOfARN(arn), b, err) {
				return
			}
		}
	}
}
