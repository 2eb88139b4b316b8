package rawverify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.Hash.New
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"math"
	"strconv"
	"sync"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	chunkSize = 64 << 10
	unlimited = math.MaxInt64 - 1
	// maxTextualDigest bounds what is read of an input that has to be a digest: enough to recognise one that was written as
	// text by a tool such as sha512sum, with a file name behind it.
	maxTextualDigest = 8 << 10
	// maxEmptyReads is how often a reader may answer with neither data nor error, as in package bufio.
	maxEmptyReads = 100
)

// chunks keeps buffers between calls: many small messages are verified in one run.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// errTooLong is stream's answer to an input of more than its limit.
var errTooLong = errors.New("longer than its limit")

// stream copies input to sinks, none of which fails, and returns its length. name is what the input is called in errors.
// It stops with errTooLong after limit+1 bytes, which the sinks have got, and looks at ctx before every read.
func stream(ctx context.Context, input io.Reader, name string, limit int64, sinks ...io.Writer) (n int64, err error) {
	buffer := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buffer)
	for empty := 0; ; {
		if err := ctx.Err(); err != nil {
			return n, kmserr.New(kmserr.DeadlineExceeded, "the time was over after %d bytes of the %s (%v)", n, name, err).WithCause(err)
		}
		got, err := input.Read(buffer[:min(chunkSize, limit-n+1)])
		if got < 0 || got > chunkSize {
			return n, kmserr.New(kmserr.Internal, "the reader of the %s answered %d bytes to a read of %d", name, got, chunkSize)
		}
		for _, sink := range sinks {
			_, _ = sink.Write(buffer[:got]) // hash.Hash never returns an error, nor does held
		}
		if n += int64(got); n > limit {
			return n, errTooLong
		}
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, unreadable(ctx, name, n, err)
		case got > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return n, unreadable(ctx, name, n, io.ErrNoProgress)
			}
		}
	}
}

// unreadable names a failed read, unless the reader failed because ctx had ended or has said it in our terms itself.
func unreadable(ctx context.Context, name string, n int64, err error) error {
	var named *kmserr.Error
	switch {
	case errors.As(err, &named):
		return err
	case ctx.Err() != nil:
		return kmserr.New(kmserr.DeadlineExceeded, "the time was over after %d bytes of the %s (%v)", n, name, err).WithCause(err)
	}
	return kmserr.New(kmserr.Validation, "the %s cannot be read after %d bytes: %v", name, n, err).WithCause(err)
}

// inputName is what the input is called in sentences.
func inputName(typ kmskey.MessageType) string {
	switch typ {
	case kmskey.Digest:
		return "digest"
	case kmskey.ExternalMu:
		return "μ"
	}
	return "message"
}

// digest is a hash of exactly the length that its algorithm demands: the libraries silently cut a longer one, and then
// hash‖junk would verify. newDigest and hashed alone make one.
type digest struct {
	array [64]byte
	size  int
}

func newDigest(alg kmskey.SigningAlgorithm, b []byte) (d digest, err error) {
	if want := alg.DigestSize(); want == 0 || len(b) != want {
		return digest{}, kmserr.New(kmserr.Internal, "%d bytes were taken for a digest of %s, which has %d", len(b), alg, want)
	}
	d.size = copy(d.array[:], b)
	return d, nil
}

// hashed returns what h has summed up, whose length is the algorithm's by the choice of h.
func hashed(h hash.Hash) (d digest) {
	d.size = len(h.Sum(d.array[:0]))
	return d
}

func (d *digest) bytes() []byte { return d.array[:d.size] }

// wrongLength says what was found and expected, and recognises a digest that was written as text. found may be cut off
// after maxTextualDigest bytes.
func wrongLength(fact string, found []byte, want int) error {
	length := strconv.Itoa(len(found))
	if len(found) > maxTextualDigest {
		length = "more than " + strconv.Itoa(maxTextualDigest)
	}
	e := kmserr.New(kmserr.Validation, "%s: it is %s bytes long, expected exactly %d", fact, length, want)
	if form := textOf(found, want); form != "" {
		return e.WithHint("This looks like the value as %s text: give its %d raw bytes.", form, want)
	}
	return e.WithHint("Give the %d raw bytes, or the message itself without a message type.", want)
}

// textOf tells whether b is, or starts with, size bytes written as text, and how: "hexadecimal", "base64" or "".
func textOf(b []byte, size int) string {
	fields := bytes.Fields(b)
	if len(fields) == 0 || len(b) > maxTextualDigest {
		return ""
	}
	first := string(fields[0]) // what follows is a file name, as sha256sum prints it
	if raw, err := hex.DecodeString(first); err == nil && len(raw) == size {
		return "hexadecimal"
	}
	for _, form := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := form.DecodeString(first); err == nil && len(raw) == size {
			return "base64"
		}
	}
	return ""
}

// readDigest returns the digest of a message, or the one that the input is.
func readDigest(ctx context.Context, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, input io.Reader) (digest, Facts, error) {
	if typ == kmskey.Digest {
		return readGivenDigest(ctx, alg, input)
	}
	log := sha256.New()
	h, sinks := log, []io.Writer{log}
	if alg.Hash() != crypto.SHA256 { // else the log's hash is the algorithm's too: once is enough
		h = alg.Hash().New()
		sinks = append(sinks, h)
	}
	n, err := stream(ctx, input, inputName(typ), unlimited, sinks...)
	if err != nil {
		return digest{}, Facts{}, err
	}
	return hashed(h), newFacts(n, log), nil
}

func readGivenDigest(ctx context.Context, alg kmskey.SigningAlgorithm, input io.Reader) (digest, Facts, error) {
	b, facts, err := readFixed(ctx, kmskey.Digest, input, alg.DigestSize(), "Digest is invalid length for algorithm "+string(alg))
	if err != nil {
		return digest{}, facts, err
	}
	d, err := newDigest(alg, b)
	return d, facts, err
}

func newFacts(n int64, log hash.Hash) Facts {
	f := Facts{Bytes: n}
	log.Sum(f.SHA256[:0])
	return f
}

// readFixed reads an input that must have exactly want bytes; fact starts the sentence if it has not.
func readFixed(ctx context.Context, typ kmskey.MessageType, input io.Reader, want int, fact string) ([]byte, Facts, error) {
	b, facts, err := readHeld(ctx, typ, input, maxTextualDigest)
	if err == errTooLong || err == nil && len(b) != want { //nolint:errorlint // stream returns it bare
		err = wrongLength(fact, b, want)
	}
	if err != nil {
		return nil, facts, err
	}
	return b, facts, nil
}

// readMessage reads a message for an algorithm that must hold it.
func readMessage(ctx context.Context, alg kmskey.SigningAlgorithm, typ kmskey.MessageType, input io.Reader, limit int64) ([]byte, Facts, error) {
	b, facts, err := readHeld(ctx, typ, input, limit)
	if err == errTooLong { //nolint:errorlint // stream returns it bare
		return nil, Facts{}, kmserr.New(kmserr.Validation, "the message is longer than %d bytes, and %s needs it whole in memory", limit, alg).
			WithHint("`awskms-offline verify --max-message` and MaxMessage of the library allow more, if this machine has the memory; the plugins do not.")
	}
	return b, facts, err
}

// held is a sink that keeps everything.
type held struct{ b []byte }

func (h *held) Write(p []byte) (int, error) {
	h.b = append(h.b, p...)
	return len(p), nil
}

// sizeHint returns how much to make room for: the size of a regular file, where input is one, so that a long message is
// not copied from one buffer to a larger one again and again. It is a hint and no more: what is read decides.
func sizeHint(input io.Reader, limit int64) int64 {
	file, ok := input.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return 0
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return max(0, min(info.Size(), limit)) + 1
}

// readHeld reads up to limit bytes. With errTooLong it returns the first limit+1.
func readHeld(ctx context.Context, typ kmskey.MessageType, input io.Reader, limit int64) ([]byte, Facts, error) {
	whole := held{b: make([]byte, 0, sizeHint(input, limit))}
	log := sha256.New()
	n, err := stream(ctx, input, inputName(typ), limit, &whole, log)
	if err != nil {
		return whole.b, Facts{}, err
	}
	return whole.b, newFacts(n, log), nil
}
