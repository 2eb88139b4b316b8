// Package faketsa is a timestamping authority for tests: an HTTP handler that countersigns as RFC 3161 says, with a root and
// a certificate of its own. Its certificates name no place to ask about revocation.
package faketsa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"time"

	"github.com/notaryproject/tspclient-go"
)

// Object identifiers (RFC 5652, RFC 3161, RFC 5035, RFC 5758).
var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSASHA256   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidPolicy        = asn1.ObjectIdentifier{1, 2, 3, 4} // of nobody
	oidExtKeyUsage   = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidTimeStamping  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
)

// maxRequest is the longest request read, in bytes; a request has about a hundred.
const maxRequest = 64 << 10

// Authority is a timestamping authority. Its fields may be set before it serves.
type Authority struct {
	// Root is what a client must trust.
	Root *x509.Certificate
	// Now is the time that is stamped; nil is the present.
	Now func() time.Time
	// Spoil, if set, may change what is signed: the honest answer, made wrong.
	Spoil func(*tspclient.TSTInfo)

	leaf    *x509.Certificate
	key     crypto.Signer
	rootKey crypto.Signer
}

// New makes an authority with new keys. edits change its certificate before the root signs it.
func New(edits ...func(leaf *x509.Certificate)) (*Authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{oidTimeStamping})
	if err != nil {
		return nil, err
	}
	life := func(c *x509.Certificate) *x509.Certificate {
		c.NotBefore, c.NotAfter, c.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().Add(time.Hour), true
		return c
	}
	rootTemplate := life(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake TSA root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	})
	root, err := issue(rootTemplate, rootTemplate, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	template := life(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "fake TSA"}, KeyUsage: x509.KeyUsageDigitalSignature,
		// RFC 3161, section 2.3: the extension must be critical, which crypto/x509 by itself does not make it.
		ExtraExtensions: []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: usage}},
	})
	for _, edit := range edits {
		edit(template)
	}
	leaf, err := issue(template, root, key.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	return &Authority{Root: root, leaf: leaf, key: key, rootKey: rootKey}, nil
}

// RevocationList is the root's CRL in DER (RFC 5280, section 5), with the authority's certificate on it or not.
func (a *Authority) RevocationList(revoked bool) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	if revoked {
		list.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: a.leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)}}
	}
	return x509.CreateRevocationList(rand.Reader, list, a.Root, a.rootKey)
}

func issue(template, issuer *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// ServeHTTP answers a timestamp query.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	var request tspclient.Request
	if err == nil {
		err = request.UnmarshalBinary(data)
	}
	var answer []byte
	if err == nil {
		answer, err = a.answer(&request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", tspclient.MediaTypeTimestampReply)
	_, _ = w.Write(answer) // the client may have enough
}

// What follows is CMS (RFC 5652, section 5) as far as a timestamp needs it.
type (
	response struct {
		Status struct{ Status int }
		Token  contentInfo
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content signedData `asn1:"explicit,tag:0"`
	}
	signedData struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Encapsulated struct {
			Type    asn1.ObjectIdentifier
			Content []byte `asn1:"explicit,tag:0"`
		}
		Certificates asn1.RawValue
		Signers      []signerInfo `asn1:"set"`
	}
	signerInfo struct {
		Version int
		Signer  struct {
			Issuer asn1.RawValue
			Serial *big.Int
		}
		Digest     pkix.AlgorithmIdentifier
		Attributes asn1.RawValue
		Algorithm  pkix.AlgorithmIdentifier
		Signature  []byte
	}
	attribute struct {
		Type   asn1.ObjectIdentifier
		Values []any `asn1:"set"`
	}
	// signingCertificate is SigningCertificateV2 (RFC 5035), its hash algorithm left at the default, SHA-256.
	signingCertificate struct{ Certificates []struct{ Hash []byte } }
)

func (a *Authority) answer(request *tspclient.Request) ([]byte, error) {
	now := time.Now()
	if a.Now != nil {
		now = a.Now()
	}
	info := tspclient.TSTInfo{
		Version: 1, Policy: oidPolicy, MessageImprint: request.MessageImprint, SerialNumber: big.NewInt(now.UnixNano()),
		GenTime: now.UTC().Truncate(time.Second), Accuracy: tspclient.Accuracy{Seconds: 1}, Nonce: request.Nonce,
	}
	if a.Spoil != nil {
		a.Spoil(&info)
	}
	content, err := asn1.Marshal(info)
	if err != nil {
		return nil, err
	}
	contentDigest, certDigest := sha256.Sum256(content), sha256.Sum256(a.leaf.Raw)
	attributes, err := asn1.MarshalWithParams([]attribute{
		{oidContentType, []any{oidTSTInfo}},
		{oidMessageDigest, []any{contentDigest[:]}},
		{oidSigningCertV2, []any{signingCertificate{[]struct{ Hash []byte }{{certDigest[:]}}}}},
	}, "set")
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(attributes)
	signature, err := a.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var set asn1.RawValue
	if _, err := asn1.Unmarshal(attributes, &set); err != nil {
		return nil, err
	}
	sha := pkix.AlgorithmIdentifier{Algorithm: oidSHA256}
	signer := signerInfo{
		Version: 1, Digest: sha, Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidECDSASHA256}, Signature: signature,
		Attributes: implicit(set.Bytes), // it is signed as a SET and sent as [0] (RFC 5652, section 5.4)
	}
	signer.Signer.Issuer, signer.Signer.Serial = asn1.RawValue{FullBytes: a.leaf.RawIssuer}, a.leaf.SerialNumber
	data := signedData{Version: 3, Digests: []pkix.AlgorithmIdentifier{sha}, Signers: []signerInfo{signer}}
	data.Encapsulated.Type, data.Encapsulated.Content = oidTSTInfo, content
	data.Certificates = implicit(append(append([]byte(nil), a.leaf.Raw...), a.Root.Raw...))
	return asn1.Marshal(response{Token: contentInfo{oidSignedData, data}})
}

func implicit(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content}
}
