package notationsigner

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	nx509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/tspclient-go"

	"github.com/awskms-offline/awskms-offline/cmd/internal/kmscert"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// tsaTimeout is how long a timestamping authority may take, as for Notation itself. Tests shorten it.
var tsaTimeout = 15 * time.Second

// thrownAway ends each hint once there is a signature: a signature without the timestamp that was asked for would end with its certificate.
const thrownAway = " The signature was thrown away."

// timestamping asks for an RFC 3161 countersignature; the zero value asks for none. Notation's own flag is without effect
// where a plugin makes the envelope.
type timestamping struct {
	client     *tsaClient
	roots      *x509.CertPool
	revocation revocation.Validator
	// url is the authority's, as it may be told.
	url string
}

func newTimestamping(o options) (timestamping, error) {
	if o.tsaURL == "" {
		return timestamping{}, nil
	}
	roots, err := kmscert.Read(o.tsaRoot)
	if err != nil {
		return timestamping{}, err
	}
	t := timestamping{roots: x509.NewCertPool(), url: shownURL(o.tsaURL)}
	for _, cert := range roots.Certificates {
		if !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
			return timestamping{}, invalid("%s: the certificate of %q is no root certificate, but issued by %q", o.tsaRoot, cert.Subject, cert.Issuer).
				WithHint("Give the root of the timestamping authority, not a certificate below it.")
		}
		if err := cert.CheckSignatureFrom(cert); err != nil {
			return timestamping{}, invalid("%s: the certificate of %q cannot serve as a root certificate: %v", o.tsaRoot, cert.Subject, err).
				WithHint("Give the root of the timestamping authority; Notation takes none that is self-signed with SHA-1 or no authority's.")
		}
		t.roots.AddCert(cert)
	}
	client, err := tspclient.NewHTTPTimestamper(&http.Client{Timeout: tsaTimeout, CheckRedirect: checkRedirect}, o.tsaURL)
	if err != nil {
		return timestamping{}, invalid("the plugin option %s: %s", optionTSAURL, withoutCredentials(err.Error(), o.tsaURL))
	}
	t.client = &tsaClient{Timestamper: client, url: t.url}
	validator, err := revocation.NewWithOptions(revocation.Options{CertChainPurpose: purpose.Timestamping})
	if err != nil {
		return timestamping{}, kmserr.New(kmserr.Internal, "revocation of timestamping certificates cannot be checked: %v", err)
	}
	t.revocation = revocationCheck{validator}
	return t, nil
}

// checkRedirect is what net/http does by itself, and does not leave TLS: whoever asks for https would not be told.
func checkRedirect(to *http.Request, via []*http.Request) error {
	if len(via) > 10 {
		return errors.New("it redirects more than ten times")
	}
	if via[len(via)-1].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return errors.New("it redirects from https to " + to.URL.Scheme)
	}
	return nil
}

func (t timestamping) ask(r *signature.SignRequest) {
	if t.client == nil {
		return // a nil in the interface would be one
	}
	r.Timestamper, r.TSARootCAs, r.TSARevocationValidator = t.client, t.roots, t.revocation
}

// check looks at the time in the timestamp, at which Notation looks only when it verifies: it must lie within the validity
// of every certificate of the signature, and near this machine's own, of which the countersignature is to be the proof
// (Notary Project, trust-store-trust-policy.md, "Timestamp verification").
func (t timestamping) check(ctx context.Context, signer signature.SignerInfo) error {
	stamped := len(signer.UnsignedAttributes.TimestampSignature) > 0
	if stamped != (t.client != nil) {
		return kmserr.New(kmserr.Internal, "the envelope has a timestamp: %t, expected %t", stamped, !stamped)
	}
	if !stamped {
		return nil
	}
	token, err := tspclient.ParseSignedToken(signer.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return t.refusal("it cannot be read: %v", err)
	}
	info, err := token.Info()
	if err != nil {
		return t.refusal("it cannot be read: %v", err)
	}
	at, err := info.Validate(signer.Signature)
	if err != nil {
		return t.refusal("it is not of this signature: %v", err)
	}
	// The library adds up whatever is there.
	switch a := info.Accuracy; {
	case a.Seconds < 0 || a.Milliseconds < 0 || a.Milliseconds > 999 || a.Microseconds < 0 || a.Microseconds > 999:
		return t.refusal("its accuracy is %d s, %d ms and %d µs, which is malformed (RFC 3161, section 2.4.2)", a.Seconds, a.Milliseconds, a.Microseconds)
	case a.Seconds >= int(kmscert.ClockTolerance/time.Second):
		return t.refusal("it is accurate to %d s, expected less than %s", a.Seconds, kmscert.ClockTolerance)
	}
	now := t.client.answered
	if at.Value.Add(at.Accuracy).Sub(now) > kmscert.ClockTolerance || now.Sub(at.Value.Add(-at.Accuracy)) > kmscert.ClockTolerance {
		return t.refusal("it says %s, and this machine's clock says %s: expected are %s between them at most", told(at), stamp(now), kmscert.ClockTolerance).
			WithHint("Set this machine's clock; if it is right, ask another authority." + thrownAway)
	}
	for _, cert := range signer.CertificateChain {
		switch {
		case !at.BoundedAfter(cert.NotBefore):
			return t.refusal("it says %s, and the certificate of %q is valid from %s only", told(at), cert.Subject, stamp(cert.NotBefore)).
				WithHint("Notation would refuse that: sign again later." + thrownAway)
		case !at.BoundedBefore(cert.NotAfter):
			return t.refusal("it says %s, and the certificate of %q is valid until %s only", told(at), cert.Subject, stamp(cert.NotAfter)).
				WithHint("Notation would refuse that: get a new certificate, then sign again." + thrownAway)
		}
	}
	chain, err := token.Verify(ctx, x509.VerifyOptions{Roots: t.roots, CurrentTime: at.Value})
	if err == nil {
		err = nx509.ValidateTimestampingCertChain(chain)
	}
	if err != nil {
		return t.refusal("it says %s, when it does not verify: %s", told(at), reasonOf(err))
	}
	return nil
}

func told(at *tspclient.Timestamp) string {
	if at.Accuracy == 0 {
		return stamp(at.Value)
	}
	return fmt.Sprintf("%s (give or take %s)", stamp(at.Value), at.Accuracy)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// refusal says what is wrong with a timestamp.
func (t timestamping) refusal(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.TimestampService, "the timestamp of %s is no good: %s", t.url, fmt.Sprintf(format, args...)).
		WithHint("Ask another authority." + thrownAway)
}

// explain says why there is no timestamp, and so no signature.
func (t timestamping) explain(err *signature.TimestampError) error {
	reason := error(err)
	if err.Detail != nil {
		reason = err.Detail
	}
	var known *kmserr.Error
	if errors.As(reason, &known) {
		return known
	}
	return kmserr.New(kmserr.TimestampService, "there is no timestamp of %s: %s", t.url, reasonOf(reason)).
		WithHint("Check %s and %s."+thrownAway, optionTSAURL, optionTSARoot).WithCause(reason)
}

// tsaClient asks the timestamping authority, and tells that it was too slow from all else.
type tsaClient struct {
	tspclient.Timestamper
	url string
	// answered is when the answer came, by this machine's clock.
	answered time.Time
}

func (c *tsaClient) Timestamp(ctx context.Context, request *tspclient.Request) (*tspclient.Response, error) {
	answer, err := c.Timestamper.Timestamp(ctx, request)
	c.answered = time.Now()
	if err != nil && timedOut(err) && ctx.Err() == nil {
		return nil, kmserr.New(kmserr.DeadlineExceeded, "there is no timestamp of %s in time, which is %s at most: %s", c.url, tsaTimeout, reasonOf(err)).
			WithHint("Try again; if it stays, look at the network to the authority, or ask another." + thrownAway).WithCause(err)
	}
	return answer, err
}

// revocationCheck is Notation's own, which says whether a certificate is revoked, and not why that cannot be told. A certificate
// with a malformed address makes it panic.
type revocationCheck struct{ revocation.Validator }

func (c revocationCheck) ValidateContext(ctx context.Context, o revocation.ValidateContextOptions) (results []*result.CertRevocationResult, err error) {
	defer func() {
		if r := recover(); r != nil {
			results, err = nil, unknownRevocation("the authority", fmt.Errorf("the check stopped: %v", r))
		}
	}()
	results, err = c.Validator.ValidateContext(ctx, o)
	if err != nil || len(results) != len(o.CertChain) {
		return results, err // the latter Notation refuses
	}
	var unknown error
	for i, of := range results {
		if of.Result == result.ResultRevoked {
			return results, nil // which it says by itself
		}
		if of.Result == result.ResultUnknown && unknown == nil {
			unknown = unknownRevocation(o.CertChain[i].Subject.String(), causes(of))
		}
	}
	return results, unknown
}

func causes(of *result.CertRevocationResult) error {
	var all []error
	for _, server := range of.ServerResults {
		if server.Error != nil {
			all = append(all, fmt.Errorf("%s: %s", server.Server, reasonOf(server.Error)))
		}
	}
	if len(all) == 0 {
		return errors.New("nobody says why")
	}
	return all[len(all)-1] // of the way that was tried last
}

func unknownRevocation(subject string, cause error) error {
	return kmserr.New(kmserr.TimestampService, "whether the timestamping certificate of %q is revoked cannot be told: %v", subject, cause).
		WithHint("Let this machine, and those that verify, reach what the authority's certificates name for revocation, or ask another authority." + thrownAway).WithCause(cause)
}

// maxReason bounds, in bytes, what is quoted of a library, which may quote the authority.
const maxReason = 300

// quotedURL is how tspclient and net/http name what they asked for: the method, and the address as it was given.
var quotedURL = regexp.MustCompile(`[A-Za-z]+ "https?://(?:[^"\\]|\\.)*": `)

// reasonOf is the text of an error without the address, which is told elsewhere and may hold a password or a token.
func reasonOf(err error) string {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	text := quotedURL.ReplaceAllString(err.Error(), "")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// shownURL is an address without user, password and query: errors end in the logs of a CI.
func shownURL(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return withoutCredentials(link, link)
	}
	shown := u.Scheme + "://"
	if u.User != nil {
		shown += "…@"
	}
	shown += u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		shown += "?…"
	}
	return shown
}
