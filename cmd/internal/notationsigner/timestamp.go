package notationsigner

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/tspclient-go"

	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// tsaTimeout is how long a timestamping authority may take, as for Notation itself. Tests shorten it.
var tsaTimeout = 15 * time.Second

// timestamping asks for an RFC 3161 countersignature; the zero value asks for none. Notation's own flag is without effect
// where a plugin makes the envelope.
type timestamping struct {
	timestamper tspclient.Timestamper
	roots       *x509.CertPool
	revocation  revocation.Validator
}

func newTimestamping(o options) (timestamping, error) {
	if o.tsaURL == "" {
		return timestamping{}, nil
	}
	roots, err := kmscert.Read(o.tsaRoot)
	if err != nil {
		return timestamping{}, err
	}
	t := timestamping{roots: x509.NewCertPool()}
	for _, cert := range roots.Certificates {
		if cert.CheckSignatureFrom(cert) != nil || !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
			return timestamping{}, invalid("%s: the certificate of %q is no root certificate", o.tsaRoot, cert.Subject).
				WithHint("Give the root of the timestamping authority, not a certificate below it.")
		}
		t.roots.AddCert(cert)
	}
	if t.timestamper, err = tspclient.NewHTTPTimestamper(&http.Client{Timeout: tsaTimeout}, o.tsaURL); err != nil {
		return timestamping{}, invalid("the plugin option %s: %s", optionTSAURL, withoutCredentials(err.Error(), o.tsaURL))
	}
	if t.revocation, err = revocation.NewWithOptions(revocation.Options{CertChainPurpose: purpose.Timestamping}); err != nil {
		return timestamping{}, kmserr.New(kmserr.Internal, "revocation of timestamping certificates cannot be checked: %v", err)
	}
	return t, nil
}

func (t timestamping) ask(r *signature.SignRequest) {
	if t.timestamper == nil {
		return // a nil in the interface would be one
	}
	r.Timestamper, r.TSARootCAs, r.TSARevocationValidator = t.timestamper, t.roots, t.revocation
}

// timestampRefusal says that there is no timestamp, and so no signature: one without would end with its certificate.
func timestampRefusal(o options, err *signature.TimestampError) error {
	reason := error(err)
	if err.Detail != nil {
		reason = err.Detail
	}
	name := kmserr.TimestampService
	if timedOut(err) {
		name = kmserr.DeadlineExceeded
	}
	return kmserr.New(name, "there is no timestamp of %s", withoutCredentials(fmt.Sprintf("%s: %v", o.tsaURL, reason), o.tsaURL)).
		WithHint("Check %s and %s, and whether the revocation of the authority's certificates can be looked up. The signature was thrown away.", optionTSAURL, optionTSARoot).
		WithCause(errors.Unwrap(err))
}
