package rawverify

import (
	"bytes"
	"testing"

	"filippo.io/mldsa"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// mldsaPeer is a key in both libraries: circl, which verifies, and filippo.io/mldsa, which is Go's own crypto/mldsa and has
// no assembly, as the second opinion.
type mldsaPeer struct {
	subject
	peer *mldsa.PublicKey
}

func mldsaPeers(t testing.TB) []mldsaPeer {
	t.Helper()
	parameters := map[kmskey.KeySpec]mldsa.Parameters{kmskey.MLDSA44: mldsa.MLDSA44(), kmskey.MLDSA65: mldsa.MLDSA65(), kmskey.MLDSA87: mldsa.MLDSA87()}
	var peers []mldsaPeer
	for _, spec := range []kmskey.KeySpec{kmskey.MLDSA44, kmskey.MLDSA65, kmskey.MLDSA87} {
		s := subjectOf(spec, kmskey.MLDSASHAKE256)
		peers = append(peers, mldsaPeer{s, must(mldsa.NewPublicKey(parameters[spec], s.pub.MLDSA.Bytes()))})
	}
	return peers
}

// agree holds the verifier to the second opinion and returns its answer.
func (p mldsaPeer) agree(t *testing.T, message, signature []byte) bool {
	t.Helper()
	_, err := verify(p.subject, "", message, signature)
	if name := kmserr.InvalidSignature; err != nil {
		if len(signature) == 0 {
			name = kmserr.Validation // none was given
		}
		wantError(t, err, name)
	}
	if t.Failed() {
		t.Fatalf("%s: %v", p.name(), err)
	}
	if second := mldsa.Verify(p.peer, message, signature, nil); (second == nil) != (err == nil) {
		t.Fatalf("%s: the message %x with the signature %x: %v, and filippo.io/mldsa says %v", p.name(), message, signature, err, second)
	}
	return err == nil
}

// TestMLDSASecondOpinion signs many messages, the empty one among them, and changes every signature at many places.
func TestMLDSASecondOpinion(t *testing.T) {
	for _, p := range mldsaPeers(t) {
		for length := range 40 {
			message := bytes.Repeat([]byte{byte(length)}, length*length)
			mu, _, err := Digest(t.Context(), p.pub, p.alg, bytes.NewReader(message), Options{})
			if err != nil {
				t.Fatal(err)
			}
			signature := must(p.signDigest(mu))
			if !p.agree(t, message, signature) {
				t.Errorf("%s: a message of %d bytes is refused", p.name(), len(message))
			}
			for i := length; i < len(signature); i += 997 {
				changed := bytes.Clone(signature)
				changed[i] ^= 1 << (length % 8)
				if p.agree(t, message, changed) {
					t.Errorf("%s: a signature changed at %d verifies", p.name(), i)
				}
			}
			if p.agree(t, append(message, 0), signature) {
				t.Errorf("%s: another message verifies", p.name())
			}
		}
	}
}

// FuzzMLDSA: both libraries give every signature the same answer.
func FuzzMLDSA(f *testing.F) {
	peers := mldsaPeers(f)
	for i, p := range peers {
		mu, _, err := Digest(f.Context(), p.pub, p.alg, bytes.NewReader([]byte("a message")), Options{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), []byte("a message"), must(p.signDigest(mu)))
	}
	f.Fuzz(func(t *testing.T, which uint8, message, signature []byte) {
		peers[int(which)%len(peers)].agree(t, message, signature)
	})
}
