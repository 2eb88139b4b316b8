package rawverify

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestSecondLooks: what a caller has refused already is refused again where it would matter, and never taken for a yes.
func TestSecondLooks(t *testing.T) {
	for alg, b := range map[kmskey.SigningAlgorithm][]byte{kmskey.ED25519SHA512: nil, kmskey.MLDSASHAKE256: {}, kmskey.ECDSASHA256: make([]byte, 31), kmskey.SM2DSA: make([]byte, 33)} {
		if d, err := newDigest(alg, b); !kmserr.Is(err, kmserr.Internal) || d.size != 0 {
			t.Errorf("%d bytes as a digest of %s: %v", len(b), alg, err)
		}
	}
	if holds(&spki.PublicKey{}, "RSA_1024") {
		t.Error("a key of no spec holds its material")
	}
	s := subjectOf(kmskey.RSA2048, kmskey.RSASSAPKCS1SHA256)
	sig := s.sign(t, []byte("message"))
	d := hashed(s.alg.Hash().New())
	for _, alg := range []kmskey.SigningAlgorithm{kmskey.ECDSASHA256, kmskey.SM2DSA, ""} {
		wantError(t, verifyRSA(s.pub.RSA, alg, kmskey.MessageTypeUnset, d, sig), kmserr.Internal)
	}
}

// TestHints: a refusal leads on, and not astray.
func TestHints(t *testing.T) {
	_, err := Verify(t.Context(), &spki.PublicKey{Spec: "ML_KEM_768"}, kmskey.ECDSASHA256, "", strings.NewReader("x"), []byte("x"), Options{})
	wantError(t, err, kmserr.InvalidKeyUsage, "A key of this spec verifies nothing.")
	s := subjectOf(kmskey.ECCNISTEdwards25519, kmskey.ED25519PHSHA512)
	_, err = verify(s, kmskey.Raw, []byte("x"), []byte("x"))
	wantError(t, err, kmserr.Validation, "Leave the message type out: the file is then the message")
	_, err = verify(subjectOf(kmskey.ECCNISTP256, kmskey.ECDSASHA256), kmskey.ExternalMu, []byte("x"), []byte("x"))
	wantError(t, err, kmserr.Validation, "Give the message itself and leave the message type out")
	text := hex.EncodeToString(make([]byte, 32))
	for b, want := range map[string]string{
		text: "hexadecimal", text + "  file": "hexadecimal", text + "zz": "", text + "0": "", text + "!": "",
		base64.StdEncoding.EncodeToString(make([]byte, 32)): "base64", base64.RawStdEncoding.EncodeToString(make([]byte, 32)) + "!": "",
		base64.StdEncoding.EncodeToString(make([]byte, 32)) + "!": "",
		text + strings.Repeat(" ", maxTextualDigest-len(text)):    "hexadecimal",
		text + strings.Repeat(" ", maxTextualDigest-len(text)+1):  "",
	} {
		if got := textOf([]byte(b), 32); got != want {
			t.Errorf("%.80q, %d bytes: got %q, expected %q", b, len(b), got, want)
		}
	}
}

// sized is a file that says so about itself.
type sized struct {
	io.Reader
	mode fs.FileMode
	size int64
}

func (s sized) Stat() (fs.FileInfo, error) { return s, nil }
func (s sized) Name() string               { return "sized" }
func (s sized) Size() int64                { return s.size }
func (s sized) Mode() fs.FileMode          { return s.mode }
func (s sized) ModTime() time.Time         { return time.Time{} }
func (s sized) IsDir() bool                { return false }
func (s sized) Sys() any                   { return nil }

// TestRoomForAFile: room is made for an ordinary file alone, within the limit, and a file of which nothing can be told is
// read as what it is.
func TestRoomForAFile(t *testing.T) {
	for _, c := range []struct {
		input io.Reader
		want  int64
	}{
		{strings.NewReader("x"), 0}, {sized{size: 10}, 11}, {sized{size: 100}, 101}, {sized{size: 1 << 40}, 101}, {sized{size: -1}, 1},
		{sized{mode: fs.ModeNamedPipe, size: 10}, 0}, {sized{mode: fs.ModeDevice, size: 1 << 40}, 0},
	} {
		if got := sizeHint(c.input, 100); got != c.want {
			t.Errorf("%+v: room for %d bytes, expected %d", c.input, got, c.want)
		}
	}
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	s := subjectOf(kmskey.ECCNISTEdwards25519, kmskey.ED25519SHA512)
	_, err = Verify(t.Context(), s.pub, s.alg, "", closed, make([]byte, 64), Options{})
	wantError(t, err, kmserr.Validation, "the message cannot be read after 0 bytes")
}
