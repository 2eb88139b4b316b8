// Command example verifies a sigstore bundle, of a file or of an attestation about it, with sigstore-go and by an AWS KMS
// key, with no network:
//
//	AWSKMS_OFFLINE_HOME=/path/to/keys go run . alias/release app.sigstore.json app.tar.gz
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/awskms-offline/awskms-offline/sigstoreverifier"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// maxBundle is the longest bundle read, in bytes.
const maxBundle = 16 << 20

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: example KEY BUNDLE FILE")
		os.Exit(2)
	}
	if err := verifyBundle(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		var refusal *kmserr.Error
		if errors.As(err, &refusal) && refusal.Hint != "" {
			fmt.Fprintln(os.Stderr, refusal.Hint)
		}
		os.Exit(1)
	}
	fmt.Println("verified")
}

// verifyBundle verifies that the bundle is of that KMS key over the file. The store is found as by every program of the
// project; see verifier.Options to name another.
func verifyBundle(keyID, bundlePath, artifactPath string) error {
	v, err := verifier.Open(verifier.Options{FrontEnd: audit.FrontEnd{Name: "example", Version: "1.0.0"}})
	if err != nil {
		return err
	}
	defer v.Close()

	var reason error // sigstore-go's DSSE library drops that of an attestation's signature
	key, err := sigstoreverifier.New(v, keyID, sigstoreverifier.Options{
		Observe: func(_ audit.Decision, err error) { reason = err },
	})
	if err != nil {
		return err
	}
	// Whatever hint the bundle gives, this key verifies it or nothing does. The key needs no times here: its state and
	// age and the policy are looked at by every verification.
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	})
	// Signatures by KMS are in no transparency log and carry no timestamp, unless the signer adds them: the key decides.
	sigstore, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		return err
	}

	b, err := readBundle(bundlePath)
	if err != nil {
		return err
	}
	artifact, err := os.Open(artifactPath)
	if err != nil {
		return err
	}
	defer artifact.Close()
	_, err = sigstore.Verify(b, verify.NewPolicy(verify.WithArtifact(artifact), verify.WithKey()))
	if err != nil && reason != nil && !errors.Is(err, reason) {
		return fmt.Errorf("%w: %w", err, reason)
	}
	return err
}

func readBundle(path string) (*bundle.Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBundle+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBundle {
		return nil, fmt.Errorf("%s is longer than %d bytes, which no bundle is", path, maxBundle)
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}
