package cli

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Limits of an archive.
const (
	maxArchive        = 512 << 20
	maxArchiveEntries = 1_000_000
	maxArchiveEntry   = 64 << 10
)

// aliasFile is an alias in an archive.
type aliasFile struct {
	Alias string      `json:"Alias" strict:"required"`
	KeyID string      `json:"KeyId" strict:"required"` // the ARN of the key
	Time  kmskey.Time `json:"Time,omitzero"`
}

func (a *app) keysExport() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "export [KEY…] --file FILE",
		Short: "Write keys into one tar, for keys import on another machine",
		Long: `Writes the records of the named keys, or of all, with their aliases and all blocks into one tar. The same store gives the same
bytes. The tar's SHA-256 is printed: hand it over on another way than the tar, for keys import --expect-sha256.`,
		Example: "  awskms-offline keys export --file keys.tar\n  awskms-offline keys export alias/release --file release.tar",
		RunE: func(c *cobra.Command, args []string) error {
			store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			archive, count, err := exportArchive(store, args)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(archive)
			if file == "-" {
				if err := a.write(archive); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "%s, SHA-256 %s\n", describe(count, "key"), hex.EncodeToString(sum[:]))
				return nil
			}
			if err := writeNew(file, archive); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]any{"File": file, "Keys": count, "SHA256": hex.EncodeToString(sum[:])})
			}
			return a.printf("%s in %s\nSHA-256 %s\n", describe(count, "key"), file, hex.EncodeToString(sum[:]))
		},
	}
	c.Flags().StringVar(&file, "file", "", "the tar to write, which must not exist; - for standard output")
	require(c, "file")
	return c
}

// writeNew writes a file that must not exist yet; a half-written one is removed.
func writeNew(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if os.IsExist(err) {
			return invalid("--file names %s, which is there already", file).WithHint("Name a new file, or remove that one.")
		}
		return kmserr.New(kmserr.StoreAccess, "%s cannot be written: %v", file, reason(err)).WithCause(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(file)
		return kmserr.New(kmserr.StoreAccess, "%s cannot be written: %v", file, reason(err)).WithCause(err)
	}
	return nil
}

// exportArchive returns a tar of the keys, sorted, without times or owners, so that equal stores give equal bytes.
func exportArchive(store *keystore.Store, names []string) (archive []byte, count int, err error) {
	files := make(map[string][]byte)
	wanted := make(map[kmskey.ARN]bool)
	add := func(key *kmskey.Key) error {
		data, err := key.Encode()
		if err != nil {
			return err
		}
		arn := key.ARN()
		wanted[arn] = true
		files[keyEntry(arn)] = data
		return nil
	}
	for _, name := range names {
		ref, err := kmskey.ParseRef(name)
		if err != nil {
			return nil, 0, err
		}
		found, err := store.Resolve(ref, keystore.ResolveOptions{ExactRegion: true})
		if err != nil {
			return nil, 0, err
		}
		if err := add(found.Entries[0].Key); err != nil {
			return nil, 0, err
		}
	}
	if len(names) == 0 {
		for entry, err := range store.List() {
			if err != nil {
				return nil, 0, err
			}
			if err := add(entry.Key); err != nil {
				return nil, 0, err
			}
		}
	}
	for alias, err := range store.Aliases(kmskey.Scope{}) {
		if err != nil {
			return nil, 0, err
		}
		if !wanted[alias.Target()] {
			continue
		}
		data, err := json.Marshal(aliasFile{alias.ARN.Alias, alias.Target().String(), alias.Time}, json.Deterministic(true))
		if err != nil {
			return nil, 0, err
		}
		files[aliasEntry(alias.ARN)] = append(data, '\n')
	}
	for block, err := range store.AllBlocks() {
		if err != nil {
			return nil, 0, err
		}
		data, err := json.Marshal(block, json.Deterministic(true), jsontext.WithIndent("  "))
		if err != nil {
			return nil, 0, err
		}
		data = append(data, '\n')
		files[blockEntry(data)] = data
	}
	var b bytes.Buffer
	err = packTar(&b, files)
	return b.Bytes(), len(wanted), err
}

// keyEntry, aliasEntry and blockEntry are the names of files in an archive: each follows from what the file says.
func keyEntry(a kmskey.ARN) string {
	return path.Join("keys", a.Partition, a.Region, a.Account, a.KeyID+".json")
}

func aliasEntry(a kmskey.AliasARN) string {
	return path.Join("aliases", a.Partition, a.Region, a.Account, hex.EncodeToString([]byte(a.Alias))+".json")
}

func blockEntry(content []byte) string {
	sum := sha256.Sum256(content)
	return "blocks/" + hex.EncodeToString(sum[:]) + ".json"
}

// packTar is deterministic: sorted names, one mode, no times, no owners.
func packTar(out io.Writer, files map[string][]byte) error {
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	w := tar.NewWriter(out)
	for _, n := range names {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: n, Size: int64(len(files[n])), Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := w.Write(files[n]); err != nil {
			return err
		}
	}
	return w.Close()
}

// matcher is a writer that takes nothing but the bytes of rest, in order.
type matcher struct{ rest []byte }

var errDiffers = errors.New("differs")

func (m *matcher) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(m.rest, p) {
		return 0, errDiffers
	}
	m.rest = m.rest[len(p):]
	return len(p), nil
}

// isTar reports whether data begins with a tar header (POSIX.1, ustar magic), which no JSON, PEM or key does.
func isTar(data []byte) bool { return len(data) >= 512 && string(data[257:262]) == "ustar" }

// readArchive reads a tar made by keys export: files in three folders, each decoded as strictly as one given alone, each
// of the name that its content has. As the same content gives the same tar, whatever else is in it, or is missing, shows:
// it is packed again and compared.
func readArchive(data []byte, expectSHA256 string, all *batch) error {
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); expectSHA256 != "" && !strings.EqualFold(got, expectSHA256) {
		return invalid("the tar's SHA-256 is %s, but --expect-sha256 says %s", got, expectSHA256).
			WithHint("This is not the tar that was exported: do not use it.")
	}
	r := tar.NewReader(bytes.NewReader(data))
	files := make(map[string][]byte)
	for n := 0; ; n++ {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalid("the tar is damaged or cut off: %v", err)
		}
		if n >= maxArchiveEntries {
			return invalid("the tar has more than %d files", maxArchiveEntries)
		}
		name := header.Name
		if header.Typeflag != tar.TypeReg || !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || header.Size > maxArchiveEntry {
			return invalid("the tar has the entry %q, which keys export does not make", name)
		}
		content, err := io.ReadAll(io.LimitReader(r, maxArchiveEntry+1))
		if err != nil {
			return invalid("the tar is damaged at %q: %v", name, err)
		}
		if err := readArchived(name, content, all); err != nil {
			e := kmserr.As(err)
			return invalid("in the tar, %s: %s", name, e.Fact).WithHint("%s", e.Hint)
		}
		files[name] = content
	}
	again := matcher{data}
	err := packTar(&again, files)
	if err != nil && !errors.Is(err, errDiffers) {
		return err
	}
	if err != nil || len(again.rest) > 0 {
		return invalid("the tar is not as keys export made it: it was cut off, packed anew, or has something after its end").
			WithHint("Export it again, and hand over the file as it is.")
	}
	return nil
}

func readArchived(name string, content []byte, all *batch) error {
	if namesPrivate(content) {
		return privateKey()
	}
	named := func(want string) error {
		if name != want {
			return invalid("by its content the file would be %s", want)
		}
		return nil
	}
	folder, _, _ := strings.Cut(name, "/")
	switch folder {
	case "keys":
		record, err := decodeRecord(content)
		if err != nil {
			return err
		}
		arn, err := kmskey.ParseARN(record.KeyID)
		if err != nil {
			return err
		}
		if err := named(keyEntry(arn)); err != nil {
			return err
		}
		all.records = append(all.records, namedRecord{name, record})
		return nil
	case "aliases":
		var alias aliasFile
		if err := strictjson.Decode(content, maxArchiveEntry, strictjson.Refuse, &alias); err != nil {
			return invalid("the alias %v", err)
		}
		if _, err := kmskey.ParseAlias(alias.Alias); err != nil {
			return err
		}
		arn, err := kmskey.ParseARN(alias.KeyID)
		if err != nil {
			return err
		}
		if err := named(aliasEntry(kmskey.AliasARN{Scope: arn.Scope, Alias: alias.Alias})); err != nil {
			return err
		}
		all.aliases[arn] = append(all.aliases[arn], alias)
		return nil
	case "blocks":
		var block keystore.Block
		if err := strictjson.Decode(content, maxArchiveEntry, strictjson.Refuse, &block); err != nil {
			return invalid("the block %v", err)
		}
		if block.KeyID == "" && block.PublicKeySHA256 == "" {
			return invalid("the block names no key: it has neither KeyId nor PublicKeySHA256")
		}
		if block.KeyID != "" {
			if _, err := kmskey.ParseARN(block.KeyID); err != nil {
				return err
			}
		}
		if sum, err := hex.DecodeString(block.PublicKeySHA256); block.PublicKeySHA256 != "" && (err != nil || hex.EncodeToString(sum) != block.PublicKeySHA256 || len(sum) != sha256.Size) {
			return invalid("the block has the PublicKeySHA256 %q, expected 64 digits of lower-case hexadecimal", block.PublicKeySHA256)
		}
		if err := named(blockEntry(content)); err != nil {
			return err
		}
		block.Path = name
		all.blocks = append(all.blocks, block)
		return nil
	}
	return invalid("this is no part of an export")
}
