package cli

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func (a *app) keysExport() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "export [KEY…] --file FILE",
		Short: "Write keys into one tar, for keys import on another machine",
		Long: `Writes the records of the named keys, or of all, with the aliases that mean or meant them and all blocks into one tar. The
same store gives the same bytes, and keys import into an empty store gives the same store. The tar's SHA-256 is printed: hand
it over on another way than the tar, for keys import --expect-sha256. A multi-Region key goes with the records of all its Regions.`,
		Example: "  awskms-offline keys export --file keys.tar\n  awskms-offline keys export alias/release --file release.tar",
		RunE: func(c *cobra.Command, args []string) error {
			store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			arns, err := exportedARNs(store, args)
			if err != nil {
				return err
			}
			sum, keys := sha256.New(), 0
			write := func(w io.Writer) error {
				buffered := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
				if keys, err = writeArchive(buffered, a.untilInterrupted(store.Files(arns))); err != nil {
					return err
				}
				return buffered.Flush()
			}
			if file == "-" {
				if err := write(writerFunc(a.write)); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "%s, SHA-256 %s\n", count(keys, "key", "keys"), hex.EncodeToString(sum.Sum(nil)))
				return nil
			}
			if err := streamNewFor("--file", file, write); err != nil {
				return err
			}
			digest := hex.EncodeToString(sum.Sum(nil))
			if a.output == "json" {
				return a.json(map[string]any{"File": file, "Keys": keys, "SHA256": digest})
			}
			return a.printf("%s in %s\nSHA-256 %s\n", count(keys, "key", "keys"), file, digest)
		},
	}
	pathVar(c.Flags(), &file, "file", "", "the tar to write, which must not exist; - for standard output")
	require(c, "file")
	return c
}

// untilInterrupted yields what files does, and an error instead of the rest once the command is interrupted.
func (a *app) untilInterrupted(files iter.Seq2[keystore.File, error]) iter.Seq2[keystore.File, error] {
	return func(yield func(keystore.File, error) bool) {
		for file, err := range files {
			if a.ctx.Err() != nil {
				yield(keystore.File{}, kmserr.New(kmserr.DeadlineExceeded, "interrupted: the tar is not whole").WithHint("Run the command again."))
				return
			}
			if !yield(file, err) {
				return
			}
		}
	}
}

// writerFunc makes an io.Writer of a function that writes all or fails.
type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// exportedARNs returns the keys that are named, nil for all. A multi-Region key goes with all its records: one that says
// Disabled, left behind, would be answered for by another that does not.
func exportedARNs(store *keystore.Store, names []string) (arns []kmskey.ARN, err error) {
	for _, name := range names {
		ref, err := kmskey.ParseRef(name)
		if err != nil {
			return nil, err
		}
		found, err := store.Resolve(ref, keystore.ResolveOptions{ExactRegion: true})
		if err != nil {
			return nil, err
		}
		all, err := store.Regions(found.Entries[0].Key.ARN())
		if err != nil {
			return nil, err
		}
		arns = append(arns, all...)
	}
	return arns, nil
}
