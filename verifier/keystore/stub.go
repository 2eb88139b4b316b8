package keystore

import (
	"errors"
	"iter"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

var errSoon = errors.New("keystore: being written")

// Locate chooses the home for reading.
func Locate(explicit *string, explicitName string) (Home, error) { return Home{}, errSoon }

// LocateToWrite chooses the home for writing: as Locate, but where no home is there yet, the user's.
func LocateToWrite(explicit *string, explicitName string) (Home, error) { return Home{}, errSoon }

// MachineFolder returns the machine's folder.
func MachineFolder() string { return "" }

// Store is the reading half.
type Store struct{}

func Open(home Home, opts Options) (*Store, error) { return nil, errSoon }
func (s *Store) Home() Home                        { return Home{} }
func (s *Store) Warnings() []string                { return nil }
func (s *Store) Close() error                      { return nil }
func (s *Store) Resolve(ref kmskey.Ref, opts ResolveOptions) (*Resolution, error) {
	return nil, errSoon
}
func (s *Store) Blocks(arns []kmskey.ARN, fingerprint string) ([]Block, error) { return nil, errSoon }
func (s *Store) ARNsByFingerprint(fingerprint string) ([]kmskey.ARN, error)    { return nil, errSoon }
func (s *Store) List() iter.Seq2[Entry, error]                                 { return nil }
func (s *Store) Aliases(scope kmskey.Scope) iter.Seq2[AliasEntry, error]       { return nil }
func (s *Store) AllBlocks() iter.Seq2[Block, error]                            { return nil }
func (s *Store) Fsck() iter.Seq[Problem]                                       { return nil }

// Writer is the writing half.
type Writer struct{}

func OpenWriter(home Home, opts Options) (*Writer, error)                     { return nil, errSoon }
func (w *Writer) Store() *Store                                               { return nil }
func (w *Writer) Put(key *kmskey.Key, opts PutOptions) (Outcome, error)       { return Outcome{}, errSoon }
func (w *Writer) Remove(ref kmskey.Ref) (Outcome, error)                      { return Outcome{}, errSoon }
func (w *Writer) Block(b Block) (Outcome, error)                              { return Outcome{}, errSoon }
func (w *Writer) Unblock(arn kmskey.ARN, fingerprint string) ([]Block, error) { return nil, errSoon }
func (w *Writer) Repair() ([]string, error)                                   { return nil, errSoon }
func (w *Writer) Close() error                                                { return nil }
