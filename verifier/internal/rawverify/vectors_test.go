package rawverify

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm3"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/internal/spki"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testdata, "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// kmsVector is a signature that AWS KMS itself made.
type kmsVector struct {
	KeySpec, SigningAlgorithm, SignedWithMessageType, DistinguishingID, MessageUTF8, Note string
	PublicKey, Signature                                                                  []byte
}

// TestKMS: what AWS KMS itself signed. No emulator is an oracle; this is.
func TestKMS(t *testing.T) {
	files := map[string]int{"native-kms.json": 3} // and what was captured since: none is without a vector
	captured, err := filepath.Glob(filepath.Join(testdata, "vectors", "captured", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range captured {
		files[filepath.Join("captured", filepath.Base(path))] = 1
	}
	made := map[string]int{}
	for name, least := range files {
		var file struct {
			Source  string
			Vectors []kmsVector
		}
		readVectors(t, name, &file)
		if len(file.Vectors) < least || strings.HasPrefix(file.Source, "NOT ") {
			t.Errorf("%s has %d vectors of %q, expected %d or more of AWS KMS", name, len(file.Vectors), file.Source, least)
		}
		accepted, refused := 0, 0
		for _, v := range file.Vectors {
			made[v.KeySpec+"/"+v.SigningAlgorithm]++
			t.Run(v.KeySpec+"/"+v.SigningAlgorithm, func(t *testing.T) {
				yes, no := testKMSVector(t, v)
				accepted, refused = accepted+yes, refused+no
			})
		}
		if !strings.HasPrefix(name, "captured") {
			testenv.InPage(t, "reliability.md", fmt.Sprintf("| `%s`, AWS KMS | see below | %d | %d | %d over another message |", name, len(file.Vectors), accepted, refused))
		}
	}
	// What is said of each algorithm's oracle follows from the files.
	for _, s := range subjects() {
		oracle := "documentation only"
		if n := made[s.name()]; n > 0 {
			oracle = fmt.Sprintf("real KMS vector (%d)", n)
		}
		testenv.InPage(t, "reliability.md", fmt.Sprintf("| %s | %s | %s |", s.spec, s.alg, oracle))
	}
}

// testKMSVector counts the vector if it was accepted, and if it was refused over another message.
func testKMSVector(t *testing.T, v kmsVector) (accepted, refused int) {
	pub := must(spki.Parse(v.PublicKey))
	if pub.Spec != v.KeySpec {
		t.Fatalf("the key is of spec %s", pub.Spec)
	}
	var opts Options
	if v.DistinguishingID != "" {
		opts.DistinguishingID = id([]byte(v.DistinguishingID))
	}
	s := subject{alg: kmskey.SigningAlgorithm(v.SigningAlgorithm), pub: pub}
	ask := func(message string) error {
		_, err := Verify(t.Context(), pub, s.alg, kmskey.MessageTypeUnset, strings.NewReader(message), v.Signature, opts)
		return err
	}
	if err := ask(v.MessageUTF8); err != nil {
		t.Error(err)
	} else {
		accepted++
	}
	if s.alg.Takes(kmskey.Digest) {
		d := must3(Digest(t.Context(), pub, s.alg, strings.NewReader(v.MessageUTF8), opts))
		if _, err := verify(s, kmskey.Digest, d, v.Signature); err != nil {
			t.Error(err)
		}
	}
	wantError(t, ask(v.MessageUTF8+" "), kmserr.InvalidSignature)
	refused++
	if v.Note == "high-S" {
		var sig integers
		must(asn1.Unmarshal(v.Signature, &sig))
		if half := new(big.Int).Rsh(orderOf(kmskey.ECCSECGP256K1), 1); sig.S.Cmp(half) <= 0 {
			t.Error("S is low: the vector does not show what it is for")
		}
	}
	return accepted, refused
}

// TestStandardSM2 is the standard's own example, with its intermediate values.
func TestStandardSM2(t *testing.T) {
	var v struct{ MessageUTF8, DistinguishingID, PublicKeyX, PublicKeyY, ZA, E, R, S string }
	readVectors(t, "gbt-32918-5-sm2.json", &v)
	unhex := func(s string) []byte { return must(hex.DecodeString(s)) }
	point := append(append([]byte{4}, unhex(v.PublicKeyX)...), unhex(v.PublicKeyY)...)
	pub := must(spki.Parse(ecSPKI(asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}, point)))
	s := subject{alg: kmskey.SM2DSA, pub: pub}
	sig := must(asn1.Marshal(integers{new(big.Int).SetBytes(unhex(v.R)), new(big.Int).SetBytes(unhex(v.S))}))
	if e := sm3.Sum(append(unhex(v.ZA), v.MessageUTF8...)); !bytes.Equal(e[:], unhex(v.E)) {
		t.Errorf("the file's e does not follow from its ZA: %x", e)
	}
	accepted := 1 // of the one vector, by every way to ask
	for _, opts := range []Options{{}, {DistinguishingID: id([]byte(v.DistinguishingID))}} {
		e := must3(Digest(t.Context(), pub, s.alg, strings.NewReader(v.MessageUTF8), opts))
		if !bytes.Equal(e, unhex(v.E)) {
			t.Errorf("e is %x, expected %s", e, v.E)
		}
		if _, err := Verify(t.Context(), pub, s.alg, "", strings.NewReader(v.MessageUTF8), sig, opts); err != nil {
			t.Error(err)
			accepted = 0
		}
		_, err := Verify(t.Context(), pub, s.alg, "", strings.NewReader(v.MessageUTF8+" "), sig, opts)
		wantError(t, err, kmserr.InvalidSignature)
	}
	if _, err := verify(s, kmskey.Digest, unhex(v.E), sig); err != nil {
		t.Error(err)
		accepted = 0
	}
	testenv.InPage(t, "reliability.md", fmt.Sprintf("| `gbt-32918-5-sm2.json`, the standard's example | SM2DSA | 1 | %d | 1 over another message |", accepted))
}

var updateOpenSSL = flag.Bool("update-openssl", false, "make testdata/vectors/sm2-openssl.json anew with the openssl of this machine")

// opensslIDs are the lengths in bytes of the IDs that OpenSSL signs under.
var opensslIDs = []int{0, 1, 16, 31, 32, 100, 8190}

// opensslFile is testdata/vectors/sm2-openssl.json.
type opensslFile struct {
	Source    string          `json:"source"`
	Message   string          `json:"messageUTF8"`
	PublicKey []byte          `json:"publicKey"`
	Vectors   []opensslVector `json:"vectors"`
}

type opensslVector struct {
	Note      string `json:"note,omitempty"`
	ID        string `json:"distinguishingIdHex"`
	Signature []byte `json:"signature"`
}

// TestSM2FromOpenSSL: signatures that OpenSSL made, from the file that this test wrote with -update-openssl.
func TestSM2FromOpenSSL(t *testing.T) {
	if *updateOpenSSL {
		file := opensslSign(t)
		b := must(json.MarshalIndent(file, "", " "))
		if err := os.WriteFile(filepath.Join(testdata, "vectors", "sm2-openssl.json"), append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var file opensslFile
	readVectors(t, "sm2-openssl.json", &file)
	checkOpenSSL(t, file)
}

// TestSM2WithOpenSSL makes such signatures live, with a fresh key, and has OpenSSL verify one of ours for each ID.
func TestSM2WithOpenSSL(t *testing.T) {
	checkOpenSSL(t, opensslSign(t))

	dir := t.TempDir()
	s := subjectOf(kmskey.SM2, kmskey.SM2DSA)
	write(t, dir, "pub.der", s.pub.DER)
	write(t, dir, "message", message)
	for _, n := range opensslIDs {
		write(t, dir, "sig", s.signStream(t, bytes.NewReader(message), Options{DistinguishingID: id(idOf(n))}))
		openssl(t, dir, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub.der", "-rawin", "-digest", "sm3", "-in", "message",
			"-sigfile", "sig", "-pkeyopt", "hexdistid:"+hex.EncodeToString(idOf(n)))
	}
}

func checkOpenSSL(t *testing.T, file opensslFile) {
	t.Helper()
	pub := must(spki.Parse(file.PublicKey))
	for _, v := range file.Vectors {
		user := must(hex.DecodeString(v.ID))
		check := func(opts Options) error {
			_, err := Verify(t.Context(), pub, kmskey.SM2DSA, "", strings.NewReader(file.Message), v.Signature, opts)
			return err
		}
		if err := check(Options{DistinguishingID: id(user)}); err != nil {
			t.Errorf("ID of %d bytes: %v", len(user), err)
		}
		if isDefault := string(user) == kmskey.DefaultDistinguishingID; isDefault != (check(Options{}) == nil) {
			t.Errorf("ID of %d bytes, not given: verified is %v, expected %v", len(user), !isDefault, isDefault)
		}
		wantError(t, check(Options{DistinguishingID: id(append(user, 'x'))}), kmserr.InvalidSignature)
		if len(user) >= 32 {
			wantError(t, check(Options{DistinguishingID: id(user), ENTL: kmskey.ENTLAWSJavaHelper}), kmserr.InvalidSignature, "Leave the option sm2-entl out")
		}
	}
	testenv.InPage(t, "reliability.md", fmt.Sprintf("| `sm2-openssl.json`, OpenSSL 3 | SM2DSA | %d | %d | %d under another ID |", len(file.Vectors), len(file.Vectors), len(file.Vectors)))
	// Each length, the ID left out, and the default as text.
	if want := len(opensslIDs) + 2; len(file.Vectors) != want {
		t.Errorf("%d vectors ran, expected %d", len(file.Vectors), want)
	}
}

// opensslSign makes the vectors; the private key is thrown away. It skips the test where there is no OpenSSL 3.
func opensslSign(t *testing.T) opensslFile {
	t.Helper()
	dir := t.TempDir()
	version := strings.TrimSpace(string(openssl(t, dir, "version")))
	if !strings.HasPrefix(version, "OpenSSL 3") {
		t.Skipf("the openssl here is %q; this test needs OpenSSL 3, the first with SM2 in pkeyutl -rawin", version)
	}
	file := opensslFile{
		Source: "Signatures made by " + version + "; TestSM2FromOpenSSL in verifier/internal/rawverify made this file with -update-openssl. " +
			"The private key was thrown away",
		Message: string(message),
	}
	openssl(t, dir, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", "key.pem")
	openssl(t, dir, "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "pub.der")
	file.PublicKey = must(os.ReadFile(filepath.Join(dir, "pub.der")))
	write(t, dir, "message", message)
	sign := func(note string, user []byte, opts ...string) {
		args := []string{"pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-digest", "sm3", "-in", "message", "-out", "sig"}
		openssl(t, dir, append(args, opts...)...)
		file.Vectors = append(file.Vectors, opensslVector{note, hex.EncodeToString(user), must(os.ReadFile(filepath.Join(dir, "sig")))})
	}
	for _, n := range opensslIDs {
		sign(fmt.Sprintf("-pkeyopt hexdistid:, %d bytes", n), idOf(n), "-pkeyopt", "hexdistid:"+hex.EncodeToString(idOf(n)))
	}
	sign("no distid: OpenSSL 3.0 takes the empty ID", nil)
	sign("-pkeyopt distid:1234567812345678, which is KMS's", []byte(kmskey.DefaultDistinguishingID), "-pkeyopt", "distid:"+kmskey.DefaultDistinguishingID)
	return file
}

func openssl(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl on this machine: SM2 is tested with the signatures in testdata/vectors/sm2-openssl.json only")
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", args[0], err, out)
	}
	return out
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
