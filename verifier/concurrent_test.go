package verifier

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// TestConcurrentUse: one Verifier serves many goroutines, good and bad questions mixed; none gets another's answer. It is
// worth most with the race detector (CGO_ENABLED=1 go test -race).
func TestConcurrentUse(t *testing.T) {
	s := signerOf(kmskey.ECCNISTP256)
	const arn = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555"
	w := newWorld(t, record(t, arn, s))
	v, err := New(Config{Store: w.v.Store(), Policy: policy.None{}})
	if err != nil {
		t.Fatal(err)
	}
	good := []byte("good")
	sig := s.sign(kmskey.ECDSASHA256, good)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if r, err := v.Verify(context.Background(), Request{KeyID: arn, Message: strings.NewReader("good"), Signature: sig}); err != nil || !r.Decision().Verified {
					t.Errorf("a good signature: %v", err)
				}
				if r, err := v.Verify(context.Background(), Request{KeyID: arn, Message: strings.NewReader("bad"), Signature: sig}); err == nil || r != nil {
					t.Error("a bad signature verified")
				}
			}
		})
	}
	wg.Wait()
}
