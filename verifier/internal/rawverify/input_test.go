package rawverify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// unread fails the test if it is read: for calls that are refused beforehand.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the input of a refused call was read")
	return 0, io.EOF
}

// piecewise answers each piece with a read of its own.
type piecewise struct{ pieces [][]byte }

func (p *piecewise) Read(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; len(p.pieces[0]) == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestReaders: the answer depends on the bytes, not on how they come.
func TestReaders(t *testing.T) {
	for _, s := range subjects() {
		sig := s.sign(t, message)
		for name, r := range map[string]io.Reader{
			"byte by byte":       iotest.OneByteReader(bytes.NewReader(message)),
			"data with EOF":      iotest.DataErrReader(bytes.NewReader(message)),
			"halves":             iotest.HalfReader(bytes.NewReader(message)),
			"empty reads":        &piecewise{pieces: [][]byte{{}, message[:3], {}, {}, message[3:], {}}},
			"not a known reader": readerFunc(bytes.NewReader(message).Read),
		} {
			facts, err := Verify(t.Context(), s.pub, s.alg, "", r, sig, Options{})
			if err != nil || facts.SHA256 != sha256.Sum256(message) || facts.Bytes != int64(len(message)) {
				t.Errorf("%s, %s: %v, %v", s.name(), name, facts, err)
			}
		}
	}
}

// TestUnreadableInput: every failure of the reader is a refusal that names it, and has no facts.
func TestUnreadableInput(t *testing.T) {
	broken := errors.New("the disk is gone")
	ours := kmserr.New(kmserr.StoreAccess, "said in our terms")
	for _, s := range subjects() {
		types := []kmskey.MessageType{kmskey.MessageTypeUnset}
		input := message
		if s.alg.Takes(kmskey.Digest) {
			types = append(types, kmskey.Digest)
			input = make([]byte, s.alg.DigestSize())
		}
		if s.alg.Takes(kmskey.ExternalMu) {
			types = append(types, kmskey.ExternalMu)
			input = make([]byte, muSize)
		}
		for _, typ := range types {
			check := func(r io.Reader, name kmserr.Name, cause error, parts ...string) {
				t.Helper()
				facts, err := Verify(t.Context(), s.pub, s.alg, typ, r, []byte("signature"), Options{})
				wantError(t, err, name, parts...)
				if !errors.Is(err, cause) {
					t.Errorf("%s, %s: %v does not wrap %v", s.name(), typ, err, cause)
				}
				if facts != (Facts{}) {
					t.Errorf("%s, %s: an input that was not read to its end has facts", s.name(), typ)
				}
			}
			at := fmt.Sprintf("the %s cannot be read after %d bytes: ", inputName(typ), len(input))
			check(io.MultiReader(bytes.NewReader(input), iotest.ErrReader(broken)), kmserr.Validation, broken, at+"the disk is gone")
			check(io.MultiReader(bytes.NewReader(input), iotest.ErrReader(ours)), kmserr.StoreAccess, ours)
			check(io.MultiReader(bytes.NewReader(input), iotest.ErrReader(io.ErrUnexpectedEOF)), kmserr.Validation, io.ErrUnexpectedEOF, at)
			check(readerFunc(func([]byte) (int, error) { return 0, nil }), kmserr.Validation, io.ErrNoProgress, "after 0 bytes")
			for _, n := range []int{-1, chunkSize + 1} {
				_, err := Verify(t.Context(), s.pub, s.alg, typ, readerFunc(func([]byte) (int, error) { return n, nil }), []byte("signature"), Options{})
				wantError(t, err, kmserr.Internal, "answered")
			}
		}
	}
}

// TestContext: the time is looked at between reads, and its end is no decision about the signature.
func TestContext(t *testing.T) {
	for _, s := range subjects() {
		sig := s.sign(t, message)
		done, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Verify(done, s.pub, s.alg, "", bytes.NewReader(message), sig, Options{})
		wantError(t, err, kmserr.DeadlineExceeded, "after 0 bytes of the message")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v does not wrap context.Canceled", s.name(), err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		reads := 0
		endless := readerFunc(func(b []byte) (int, error) {
			if reads++; reads == 3 {
				cancel()
			}
			return len(b), nil
		})
		facts, err := Verify(ctx, s.pub, s.alg, "", endless, sig, Options{})
		wantError(t, err, kmserr.DeadlineExceeded, fmt.Sprintf("after %d bytes", 3*chunkSize))
		if reads != 3 || facts != (Facts{}) {
			t.Errorf("%s: %d reads, facts %v", s.name(), reads, facts)
		}

		// A reader that ends because the time did.
		ctx, cancel = context.WithCancel(t.Context())
		_, err = Verify(ctx, s.pub, s.alg, "", readerFunc(func([]byte) (int, error) { cancel(); return 0, errors.New("closed") }), sig, Options{})
		wantError(t, err, kmserr.DeadlineExceeded)
		if s.alg != kmskey.ED25519SHA512 {
			_, _, err = Digest(done, s.pub, s.alg, bytes.NewReader(message), Options{})
			wantError(t, err, kmserr.DeadlineExceeded)
		}
	}
}

// TestDefaultLimit: the cap that nobody chose is 256 MiB.
func TestDefaultLimit(t *testing.T) {
	for given, want := range map[int64]int64{0: 256 << 20, -1: 256 << 20, 1: 1, 1 << 40: 1 << 40, math.MaxInt64 - 1: math.MaxInt64 - 1, math.MaxInt64: math.MaxInt64 - 1} {
		if got := (Options{MaxMessage: given}).Limit(); got != want {
			t.Errorf("%d: %d, expected %d", given, got, want)
		}
	}
}

// TestMaxMessage: the cap holds to the byte where the message is held, and means nothing where it is streamed.
func TestMaxMessage(t *testing.T) {
	for _, s := range subjects() {
		sig := s.sign(t, message)
		_, atCap := Verify(t.Context(), s.pub, s.alg, "", bytes.NewReader(message), sig, Options{MaxMessage: int64(len(message))})
		if atCap != nil {
			t.Errorf("%s: a message of the cap's length: %v", s.name(), atCap)
		}
		if _, err := Verify(t.Context(), s.pub, s.alg, "", bytes.NewReader(message), sig, Options{MaxMessage: math.MaxInt64}); err != nil {
			t.Errorf("%s: the largest cap there is: %v", s.name(), err)
		}
		facts, over := Verify(t.Context(), s.pub, s.alg, "", bytes.NewReader(message), sig, Options{MaxMessage: int64(len(message)) - 1})
		if s.alg != kmskey.ED25519SHA512 && s.alg != kmskey.MLDSASHAKE256 {
			if over != nil {
				t.Errorf("%s: streamed, and capped: %v", s.name(), over)
			}
			continue
		}
		wantError(t, over, kmserr.Validation, fmt.Sprintf("longer than %d bytes", len(message)-1), "`awskms-offline verify --max-message` and MaxMessage of the library allow more")
		if facts != (Facts{}) {
			t.Errorf("%s: an input that was not read to its end has facts", s.name())
		}
		// One byte more than the cap is read, no more.
		r := bytes.NewReader(make([]byte, 3*chunkSize))
		_, _ = Verify(t.Context(), s.pub, s.alg, "", r, sig, Options{MaxMessage: chunkSize})
		if read := 3*chunkSize - r.Len(); read != chunkSize+1 {
			t.Errorf("%s: %d bytes were read, expected %d", s.name(), read, chunkSize+1)
		}
	}
}

// zeros is a message of n bytes that is nowhere in memory.
type zeros struct{ n int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.n))
	clear(b[:n])
	z.n -= int64(n)
	return n, nil
}

// TestConstantMemory streams 256 MiB through ECDSA, and less through every other family that can be streamed, to be quick:
// what is allocated in all, whether freed or not, stays below 1 MiB.
func TestConstantMemory(t *testing.T) {
	long := id(bytes.Repeat([]byte("long ID "), 8)) // two SM3 states
	for _, c := range []struct {
		size int64
		spec kmskey.KeySpec
		alg  kmskey.SigningAlgorithm
		opts Options
	}{
		{256 << 20, kmskey.ECCNISTP256, kmskey.ECDSASHA256, Options{}},
		{32 << 20, kmskey.RSA2048, kmskey.RSASSAPSSSHA512, Options{}},
		{32 << 20, kmskey.ECCSECGP256K1, kmskey.ECDSASHA256, Options{}},
		{32 << 20, kmskey.ECCNISTEdwards25519, kmskey.ED25519PHSHA512, Options{}},
		{32 << 20, kmskey.SM2, kmskey.SM2DSA, Options{DistinguishingID: long}},
		{32 << 20, kmskey.MLDSA44, kmskey.MLDSASHAKE256, Options{}}, // Digest alone
	} {
		s := subjectOf(c.spec, c.alg)
		t.Run(s.name(), func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sig := s.signStream(t, &zeros{c.size}, c.opts)
			if s.alg != kmskey.MLDSASHAKE256 {
				facts, err := Verify(t.Context(), s.pub, s.alg, "", &zeros{c.size}, sig, c.opts)
				if err != nil || facts.Bytes != c.size {
					t.Fatalf("got %v, %v", facts, err)
				}
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("%d bytes were allocated for a message of %d", got, c.size)
			}
		})
	}
}

// What the input is called is what a refusal is about.
func TestInputName(t *testing.T) {
	for typ, want := range map[kmskey.MessageType]string{kmskey.MessageTypeUnset: "message", kmskey.Raw: "message", kmskey.Digest: "digest", kmskey.ExternalMu: "μ"} {
		if got := inputName(typ); got != want {
			t.Errorf("%q: %s", typ, got)
		}
	}
}
