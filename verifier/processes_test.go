package verifier_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// The test binary started again with this variable asks the verifier: "<home>\n<decider> <from> <to>\n<private key, PKCS #8
// in base64>".
const deciderVariable = "AWSKMS_OFFLINE_TEST_DECIDER"

const decidersKey = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func question(decider, n int) string { return fmt.Sprintf("decider %d, question %d", decider, n) }

// runDecider asks its questions one by one, every third with a signature that is none, and says each answer on standard
// output once it has it.
func runDecider(task string) int {
	var home, private string
	var decider, from, to int
	if _, err := fmt.Sscanf(task, "%q\n%d %d %d\n%s", &home, &decider, &from, &to, &private); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	der, err := base64.StdEncoding.DecodeString(private)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	v, err := verifier.Open(verifier.Options{Home: &home, HomeOption: "test", FrontEnd: audit.FrontEnd{Name: "decider", Version: "1"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer v.Close()
	busy := 0
	for n := from; n < to; n++ {
		digest := sha256.Sum256([]byte(question(decider, n)))
		signature, err := ecdsa.SignASN1(rand.Reader, key.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if n%3 == 0 {
			signature[len(signature)-1] ^= 1
		}
		_, err = v.Verify(context.Background(), verifier.Request{KeyID: decidersKey, Message: strings.NewReader(question(decider, n)), Signature: signature})
		switch {
		case err == nil:
			fmt.Println(n, "verified")
		case kmserr.Is(err, kmserr.InvalidSignature):
			fmt.Println(n, "refused")
		case kmserr.Is(err, kmserr.AuditUnavailable) && busy < 100: // 63 others kept the log for longer than it is waited for
			busy++
			n--
		default:
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

// TestDecidingProcesses: 64 processes decide 200 times each under a policy that requires the log, and many of them are
// killed at a random moment. Every answer that was given has exactly one line that says the same, through rotations, and
// the chain holds.
func TestDecidingProcesses(t *testing.T) {
	deciders, each, killedWithin := 64, 200, 3*time.Second
	if testing.Short() {
		deciders, each, killedWithin = 16, 10, 100*time.Millisecond // or most would be done before they are killed
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	home, log := filepath.Join(dir, "home"), filepath.Join(dir, "log", audit.FileName)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	record, err := kmskey.NewKey(kmskey.Record{KeyID: decidersKey, PublicKey: public, KeySpec: kmskey.ECCNISTP256, KeyUsage: kmskey.SignVerify,
		SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.ECDSASHA256}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := keystore.OpenWriter(keystore.Home{Path: home, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put(record, keystore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"version":"1","log":{"mode":"required","path":%q,"rotateAt":"1MiB"}}`, log)
	if err := os.WriteFile(filepath.Join(home, "policy.json"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	answered := make(map[string]string) // by the SHA-256 of the message
	kills := 0
	var done sync.WaitGroup
	for decider := range deciders {
		done.Go(func() {
			for from := 0; from < each; {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%q\n%d %d %d\n%s", deciderVariable, home, decider, from, each, base64.StdEncoding.EncodeToString(private)))
				var stderr strings.Builder
				cmd.Stderr = &stderr
				stdout, err := cmd.StdoutPipe()
				if err != nil {
					t.Error(err)
					return
				}
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				killer := time.AfterFunc(mathrand.N(killedWithin), func() { _ = cmd.Process.Kill() })
				for lines := bufio.NewScanner(stdout); lines.Scan(); {
					var n int
					var said string
					if _, err := fmt.Sscanf(lines.Text(), "%d %s", &n, &said); err != nil || said != "verified" && said != "refused" {
						continue // killed while it said so
					}
					sum := sha256.Sum256([]byte(question(decider, n)))
					mu.Lock()
					answered[hex.EncodeToString(sum[:])] = said
					mu.Unlock()
					from = n + 1
				}
				killer.Stop()
				if err := cmd.Wait(); err == nil {
					return
				}
				if stderr.Len() > 0 {
					t.Errorf("decider %d: %s", decider, stderr.String())
					return
				}
				mu.Lock()
				kills++
				mu.Unlock()
				from++ // it may have been decided and not said
			}
		})
	}
	done.Wait()
	report, err := audit.Verify(t.Context(), log, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	logged := make(map[string][]string)
	for entry, err := range audit.Lines(t.Context(), log, audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		said := "refused"
		if entry.Verified {
			said = "verified"
		}
		logged[entry.InputSHA256] = append(logged[entry.InputSHA256], said)
	}
	for input, said := range answered {
		if lines := logged[input]; len(lines) != 1 || lines[0] != said {
			t.Errorf("the answer %q has the lines %q", said, lines)
		}
	}
	t.Logf("%d answers, %d lines in %d files, %d processes killed, %d ends found torn", len(answered), report.Lines, report.Files, kills, report.Recovered)
	if kills == 0 || int(report.Lines) < len(answered) || !testing.Short() && report.Files < 2 || len(answered)+kills < deciders*each-kills {
		t.Errorf("the test is not what it is taken for: %d answers, %d kills, %d files", len(answered), kills, report.Files)
	}
}
