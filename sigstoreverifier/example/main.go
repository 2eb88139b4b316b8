// Command example verifies a sigstore bundle with sigstore-go, by an AWS KMS key, with no network:
//
//	AWSKMS_OFFLINE_HOME=/path/to/keys go run . alias/release app.sigstore.json app.tar.gz
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/awskms-offline/awskms-offline/sigstoreverifier"
	"github.com/awskms-offline/awskms-offline/verifier"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: example KEY BUNDLE FILE")
		os.Exit(2)
	}
	if err := verifyBundle(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("verified")
}

// verifyBundle verifies that the bundle is of that KMS key over the file. The store is found as for every program of the
// project; see verifier.Options to name another.
func verifyBundle(keyID, bundlePath, artifactPath string) error {
	v, err := verifier.Open(verifier.Options{})
	if err != nil {
		return err
	}
	defer v.Close()
	key, err := sigstoreverifier.New(v, keyID, sigstoreverifier.Options{})
	if err != nil {
		return err
	}
	// Whatever hint the bundle gives, this key verifies it or nothing does. Its state, age and policy are checked by each
	// verification, so the key needs no times of its own here.
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	})
	// Signatures of KMS keys mostly are in no transparency log and carry no timestamp: the key alone decides.
	sigstore, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		return err
	}
	b, err := bundle.LoadJSONFromPath(bundlePath)
	if err != nil {
		return err
	}
	artifact, err := os.Open(artifactPath)
	if err != nil {
		return err
	}
	defer artifact.Close()
	_, err = sigstore.Verify(b, verify.NewPolicy(verify.WithArtifact(artifact), verify.WithKey()))
	return err
}
