package cli

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// An archive is what keys export writes: a tar (POSIX.1-2001 pax) whose first file says its format, followed by the
// store's own files by their own paths, in the order of keystore.File.Before. Everything in a header but name and size is
// fixed, so equal stores give equal bytes, and an archive can be checked by packing it again.

// Limits of tars, in bytes and files.
const (
	maxArchive      = 4 << 30
	maxArchiveFiles = 1_000_000
	// A tar that is no archive is taken for a folder of key files, which is held in memory.
	maxFolderFiles = 10_000
	maxFolder      = 64 << 20
)

const (
	manifestName  = "export.json"
	archiveFormat = "awskms-offline-export/1"
	manifest      = "{\n  \"Format\": \"" + archiveFormat + "\"\n}\n"
)

// writeArchive writes files into a tar and returns how many of them are records.
func writeArchive(out io.Writer, files iter.Seq2[keystore.File, error]) (keys int, err error) {
	w := tar.NewWriter(out)
	if err := addToTar(w, manifestName, []byte(manifest)); err != nil {
		return 0, err
	}
	for f, err := range files {
		if err == nil {
			err = addToTar(w, f.Path, f.Data)
		}
		if err != nil {
			return 0, err
		}
		if f.Key != nil {
			keys++
		}
	}
	return keys, w.Close()
}

func addToTar(w *tar.Writer, name string, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// isTar reports whether a file begins with a tar header (POSIX.1, ustar magic), which no JSON, PEM or key does.
func isTar(head []byte) bool { return len(head) >= 512 && string(head[257:262]) == "ustar" }

// archive is a tar that keys export made, open for reading.
type archive struct {
	name    string
	content *io.SectionReader
	close   func()
	// sum is the SHA-256 of all of it, and chunks has that of each chunkSize bytes. A tar is read several times, and whoever
	// can write to it could have another one read than the one that was judged: every reading must find the same.
	sum    [sha256.Size]byte
	chunks [][sha256.Size]byte
	// count is how many files there are, once check has found the archive sound.
	count int
}

// chunkSize is how much of a tar is compared at a time. The sums of the longest tar take 2 MiB.
const chunkSize = 64 << 10

func notKept(err error) error {
	return kmserr.New(kmserr.StoreAccess, "standard input cannot be kept in a temporary file: %v", reason(err)).
		WithHint("Make room for it, or give the tar as a file.").WithCause(err)
}

// openTar opens a tar that was found behind a value, whose first bytes have been read from r already, and sums it up. What
// comes from a pipe is kept in a temporary file, as a tar is read more than once. It takes r over.
func openTar(ctx context.Context, name string, head []byte, r io.ReadCloser) (*archive, error) {
	t := &archive{name: name, close: func() { _ = r.Close() }} // only read from: closing loses nothing
	f, seekable := r.(*os.File)
	if !seekable {
		var err error
		if f, err = os.CreateTemp("", "awskms-offline-import-*.tar"); err != nil {
			t.close()
			return nil, notKept(err)
		}
		t.close = func() {
			_ = r.Close()
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
		if _, err = io.Copy(f, io.LimitReader(io.MultiReader(bytes.NewReader(head), r), maxArchive+1)); err != nil {
			t.close()
			if kmserr.Is(err, kmserr.DeadlineExceeded) {
				return nil, err
			}
			if failed := (*fs.PathError)(nil); errors.As(err, &failed) && failed.Path == f.Name() { // which is written
				return nil, notKept(err)
			}
			return nil, invalid("%s cannot be read: %v", naming("the key file", name), reason(err))
		}
	}
	info, err := f.Stat()
	if err == nil && info.Size() > maxArchive {
		err = invalid("%s is longer than the %d bytes allowed", naming("the key file", name), int64(maxArchive))
	}
	if err != nil {
		t.close()
		return nil, err
	}
	t.content = io.NewSectionReader(f, 0, info.Size())
	if err := t.sumUp(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// sumUp is the first reading, which every other must equal.
func (t *archive) sumUp(ctx context.Context) error {
	whole := sha256.New()
	buf := make([]byte, chunkSize)
	for left := t.content.Size(); left > 0; {
		if ctx.Err() != nil {
			return kmserr.New(kmserr.DeadlineExceeded, "interrupted; nothing was written")
		}
		n, err := io.ReadFull(t.content, buf[:min(left, chunkSize)])
		if err != nil {
			return invalid("%s cannot be read: %v", naming("the key file", t.name), reason(err))
		}
		_, _ = whole.Write(buf[:n]) // a hash takes everything
		t.chunks = append(t.chunks, sha256.Sum256(buf[:n]))
		left -= int64(n)
	}
	whole.Sum(t.sum[:0])
	return nil
}

// expect refuses an archive whose SHA-256, in hexadecimal, is another.
func (t *archive) expect(want string) error {
	if b, err := hex.DecodeString(want); err != nil || len(b) != sha256.Size {
		return invalid("--expect-sha256 is %q, expected 64 hexadecimal digits", want).WithHint("Give the SHA-256 that `awskms-offline keys export` printed.")
	}
	if got := hex.EncodeToString(t.sum[:]); !strings.EqualFold(got, want) {
		return invalid("the tar's SHA-256 is %s, but --expect-sha256 says %s", got, want).
			WithHint("This is not the tar that was exported: do not use it.")
	}
	return nil
}

// again reads the tar from its beginning.
func (t *archive) again() *reading { return &reading{of: t} }

// reading is one reading of a tar, of nothing but what sumUp read.
type reading struct {
	of   *archive
	next int    // the chunk
	rest []byte // of the chunk before it: read and found the same, but not handed over
	buf  [chunkSize]byte
}

var errChanged = invalid("the tar changed while it was read").WithHint("Let nothing write to it, and import it again.")

func (r *reading) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.next == len(r.of.chunks) {
			return 0, io.EOF
		}
		n, err := r.of.content.ReadAt(r.buf[:], int64(r.next)*chunkSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if sha256.Sum256(r.buf[:n]) != r.of.chunks[r.next] {
			return 0, errChanged
		}
		r.rest = r.buf[:n]
		r.next++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// tarEntry is one file of a tar with its content, if it is wanted, which is valid until the next one.
type tarEntry struct {
	header  *tar.Header
	content []byte
}

// entries yields what is in the tar; no file that is wanted may be longer than limit bytes.
func (t *archive) entries(limit int, wanted func(*tar.Header) bool) iter.Seq2[tarEntry, error] {
	return func(yield func(tarEntry, error) bool) {
		var content bytes.Buffer
		for r := tar.NewReader(t.again()); ; {
			header, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if errors.Is(err, errChanged) {
				yield(tarEntry{}, err)
				return
			}
			if err != nil {
				yield(tarEntry{}, invalid("the tar is damaged or cut off: %v", err))
				return
			}
			if !wanted(header) {
				if !yield(tarEntry{header: header}, nil) {
					return
				}
				continue
			}
			if header.Size > int64(limit) {
				yield(tarEntry{}, invalid("in the tar, %s is %d bytes long, more than the %d allowed", header.Name, header.Size, limit))
				return
			}
			content.Reset()
			if _, err := content.ReadFrom(r); errors.Is(err, errChanged) {
				yield(tarEntry{}, err)
				return
			} else if err != nil {
				yield(tarEntry{}, invalid("the tar is damaged at %s: %v", header.Name, err))
				return
			}
			if !yield(tarEntry{header, content.Bytes()}, nil) {
				return
			}
		}
	}
}

func everyEntry(*tar.Header) bool { return true }

func noEntry(*tar.Header) bool { return false }

// exported reports whether keys export made the tar, by the name of its first file. How long that may be, check tells where
// it is an export.
func (t *archive) exported() (bool, error) {
	for e, err := range t.entries(0, noEntry) {
		return err == nil && e.header.Name == manifestName, err
	}
	return false, nil
}

// comparer is a writer that takes nothing but what r has, in order.
type comparer struct {
	r   *bufio.Reader
	buf []byte
}

var errDiffers = errors.New("differs")

func (c *comparer) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	_, err := io.ReadFull(c.r, c.buf[:len(p)])
	switch {
	case errors.Is(err, errChanged):
		return 0, err
	case err != nil || !bytes.Equal(c.buf[:len(p)], p):
		return 0, errDiffers
	}
	return len(p), nil
}

func (c *comparer) atEnd() error {
	switch _, err := c.r.ReadByte(); {
	case errors.Is(err, errChanged):
		return err
	case !errors.Is(err, io.EOF):
		return errDiffers
	}
	return nil
}

// check reads the whole archive: each file must be what its path says, in order, and the tar to the byte what keys export
// writes of them. So whatever else is in it, or is missing from it, shows.
func (t *archive) check(visit func(keystore.File) error) error {
	c := &comparer{r: bufio.NewReader(t.again())}
	w := tar.NewWriter(c)
	var before keystore.File
	read := 0
	notMade := invalid("the tar is not as keys export made it: it was cut off, packed anew, or has something after its end").
		WithHint("Export it again, and hand over the file as it is.")
	for e, err := range t.entries(keystore.MaxFile, everyEntry) {
		if err != nil {
			return err
		}
		if read > maxArchiveFiles {
			return invalid("the tar has more than %d files", maxArchiveFiles)
		}
		f, err := decodeArchived(read == 0, e.header.Name, e.content)
		if err != nil {
			return err
		}
		switch err := addToTar(w, e.header.Name, e.content); {
		case errors.Is(err, errChanged):
			return errChanged
		case errors.Is(err, errDiffers), e.header.Typeflag != tar.TypeReg:
			return notMade
		case err != nil:
			return invalid("in the tar, %s: %v", e.header.Name, err)
		}
		if read++; read == 1 {
			continue
		}
		if read > 2 && !before.Before(f) {
			return invalid("in the tar, %s comes after %s, which keys export does not write so", f.Path, before.Path)
		}
		before = keystore.File{Path: f.Path, Key: f.Key, Alias: f.Alias, Block: f.Block}
		if err := visit(f); err != nil {
			e := kmserr.As(err)
			if e.Name == kmserr.DeadlineExceeded { // which is no fault of the file
				return err
			}
			return kmserr.New(e.Name, "in the tar, %s: %s", f.Path, e.Fact).WithHint("%s", e.Hint).WithCause(err).WithKey(e.KeyARN)
		}
	}
	switch err := errors.Join(w.Close(), c.atEnd()); {
	case errors.Is(err, errChanged):
		return errChanged
	case err != nil:
		return notMade
	}
	t.count = read
	return nil
}

func decodeArchived(first bool, name string, content []byte) (keystore.File, error) {
	if namesPrivate(content) {
		e := kmserr.As(privateKey())
		return keystore.File{}, invalid("in the tar, %s: %s", name, e.Fact).WithHint("%s", e.Hint)
	}
	if first {
		var m struct {
			Format string                    `json:"Format" strict:"required"`
			Others map[string]jsontext.Value `json:",embed"` // of a later format
		}
		if err := strictjson.Decode(content, keystore.MaxFile, strictjson.Keep, &m); err != nil {
			return keystore.File{}, invalid("in the tar, %s %v", name, err)
		}
		if m.Format != archiveFormat {
			return keystore.File{}, invalid("in the tar, %s says that the format is %q, expected %q", name, m.Format, archiveFormat).
				WithHint("A later awskms-offline made it, it seems: use that version, or a later one, here as well.")
		}
		if string(content) != manifest {
			return keystore.File{}, invalid("in the tar, %s is not as keys export writes it", name)
		}
		return keystore.File{}, nil
	}
	f, err := keystore.DecodeFile(name, content)
	if err != nil {
		e := kmserr.As(err)
		return keystore.File{}, invalid("in the tar, %s", e.Fact).WithHint("%s", e.Hint)
	}
	if f.Key != nil && looksPrivate(f.Key.PublicKeyDER()) {
		return keystore.File{}, privateKey()
	}
	return f, nil
}

// files yields the files of an archive that check found sound.
func (t *archive) files() iter.Seq2[keystore.File, error] {
	return func(yield func(keystore.File, error) bool) {
		first := true // which says the format
		for e, err := range t.entries(keystore.MaxFile, everyEntry) {
			var f keystore.File
			if err == nil && !first {
				f, err = keystore.DecodeFile(e.header.Name, e.content)
			}
			if first && err == nil {
				first = false
				continue
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// keyFiles yields the key files in a tar that keys export did not make, as those of a folder are read: nothing is
// unpacked, and names are labels only.
func (t *archive) keyFiles(skipped func(name string)) iter.Seq2[tarEntry, error] {
	return func(yield func(tarEntry, error) bool) {
		files := 0
		keys := func(h *tar.Header) bool {
			return h.Typeflag == tar.TypeReg && isKeyFileName(h.Name) && !strings.HasPrefix(path.Base(h.Name), ".")
		}
		for e, err := range t.entries(maxManyKeys, keys) {
			if err != nil {
				yield(e, err)
				return
			}
			switch name := e.header.Name; {
			case e.header.Typeflag == tar.TypeDir, e.header.Typeflag == tar.TypeXGlobalHeader, strings.HasPrefix(path.Base(name), "."):
				continue // git archive writes a global header, with the commit
			case e.header.Typeflag != tar.TypeReg:
				yield(e, invalid("in the tar, %s is no file", name).WithHint("Expected are files that hold keys, without links."))
				return
			case !isKeyFileName(name):
				skipped(name)
				continue
			}
			if files++; files > maxFolderFiles {
				yield(e, tooManyKeyFiles("the tar"))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := t.ended(); err != nil {
			yield(tarEntry{}, err)
		}
	}
}

// ended refuses a tar without the two blocks of zeros that end one (POSIX.1, pax, "ustar Interchange Format"): the reader
// takes one that was cut off between two files for whole, and a key's state may have been behind the cut.
func (t *archive) ended() error {
	const length = 2 * 512
	behind := &reading{of: t, next: int(max(0, t.content.Size()-length) / chunkSize)}
	tail, err := io.ReadAll(behind)
	if errors.Is(err, errChanged) {
		return err
	}
	if err != nil || !bytes.HasSuffix(tail, make([]byte, length)) {
		return invalid("the tar was cut off, or has something after its end: two blocks of zeros are not its last").
			WithHint("Make it again, and hand over the file as it is.")
	}
	return nil
}

// isKeyFileName reports whether a file that was not named itself, but found, is taken for one that holds a key.
func isKeyFileName(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".json", ".pem", ".der", ".pub":
		return true
	}
	return false
}

func tooManyKeyFiles(what string) error {
	return invalid("%s holds more than %d key files, or more than %d MiB of them", what, maxFolderFiles, maxFolder>>20).
		WithHint("Import parts of it, one after the other; or, from another key store, what keys export writes.")
}
