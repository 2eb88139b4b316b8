package main

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	gocose "github.com/veraison/go-cose"

	"github.com/awskms-offline/awskms-offline/e2e/internal/fixture"
)

// Names of the Notary Project: signature-specification.md, signature-envelope-jws.md, signature-envelope-cose.md and
// plugin-extensibility.md.
const (
	payloadType         = "application/vnd.cncf.notary.payload.v1+json"
	signatureType       = "application/vnd.cncf.notary.signature"
	thumbprints         = "io.cncf.notary.x509chain.thumbprint#S256"
	attributePlugin     = "io.cncf.notary.verificationPlugin"
	attributeMinVersion = "io.cncf.notary.verificationPluginMinVersion"

	ourPlugin     = "awskms-offline"
	ourMinVersion = "0.1.0"
	attributeArn  = "awskms-offline.keyArn"

	// foreignPlugin is the plugin that a test installs to show that any installed plugin is believed.
	foreignPlugin = "always-yes"
)

// image is a case together with what only the generator needs.
type image struct {
	fixture.Case
	// fingerprint: the reason has to name the SHA-256 of the public key that signed.
	fingerprint bool
	// critical is one more critical attribute of the signature.
	critical string
	// retarget puts the payload of this other case into the envelope: after the signature is made, so that it breaks.
	retarget string
	// moved attaches the signature that was made for this other case.
	moved string
}

// envelopes are the formats of Notary Project signatures.
var envelopes = []struct {
	name      string
	mediaType string
}{
	{"jws", jws.MediaTypeEnvelope},
	{"cose", cose.MediaTypeEnvelope},
}

// allImages lists the cases: what notation has to say about them, and how they come to be.
func allImages() []image {
	p256 := fixture.Lookup("p256").ARN()
	passes := map[string]fixture.Outcome{"strict": fixture.Passes, "permissive": fixture.Passes, "audit": fixture.Passes}
	failsIdentity := map[string]fixture.Outcome{"strict": fixture.Refuses, "permissive": fixture.Refuses, "audit": fixture.Warns}
	failsRevocation := map[string]fixture.Outcome{"strict": fixture.Refuses, "permissive": fixture.Warns, "audit": fixture.Warns}
	failsAlways := map[string]fixture.Outcome{"strict": fixture.Refuses, "permissive": fixture.Refuses, "audit": fixture.Refuses}

	var all []image
	for e, envelope := range envelopes {
		name := func(twin string) string { return envelope.name + "-" + twin }
		add := func(twin, key, about string, outcomes map[string]fixture.Outcome, reason []string, change func(*image)) {
			i := image{Case: fixture.Case{
				Name: name(twin), About: about, Envelope: envelope.name, SigningKey: key, Plugin: ourPlugin,
				Identities: []string{p256}, Outcomes: outcomes, Reason: reason,
			}}
			// What level audit lets pass only with a warning failed a check that levels can switch.
			switch {
			case outcomes["permissive"] == fixture.Warns:
				i.Check = "revocation"
			case outcomes["audit"] == fixture.Warns:
				i.Check = "authenticity"
			}
			if change != nil {
				change(&i)
			}
			all = append(all, i)
		}

		for k, key := range []string{"p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"} {
			arn := fixture.Lookup(key).ARN()
			add(key, key, "Signed by "+key+", which the trust policy names by its key ARN.", passes, nil, func(i *image) {
				i.Identities = []string{arn}
				// Half of the good signatures name their key: JWS's every second, COSE's the others.
				if (k+e)%2 == 1 {
					i.KeyArn = arn
				}
			})
		}
		mrk := fixture.Lookup("p256-mrk")
		replica := mrk.RegionalARN(mrk.Regions[1])
		add("mrk", mrk.Name, "Signed by a multi-Region key, which the trust policy names by the ARN of a replica.",
			passes, nil, func(i *image) {
				i.Identities = []string{replica}
				if envelope.name == "cose" {
					i.KeyArn = replica
				}
			})
		stranger, disabled, encrypt := fixture.Lookup("p256-stranger"), fixture.Lookup("p256-disabled"), fixture.Lookup("rsa2048-encrypt")
		add("stranger", stranger.Name, "Signed by a key that is not in the store.",
			failsIdentity, []string{p256}, func(i *image) { i.fingerprint = true })
		add("disabled", disabled.Name, "Signed by a key that was disabled when its record was downloaded.",
			failsRevocation, []string{disabled.ARN(), "DisabledException"}, func(i *image) { i.Identities = []string{disabled.ARN()} })
		add("encrypt", encrypt.Name, "Signed by a key that KMS has for ENCRYPT_DECRYPT.",
			failsIdentity, []string{encrypt.ARN(), "InvalidKeyUsageException", "ENCRYPT_DECRYPT"}, func(i *image) { i.Identities = []string{encrypt.ARN()} })
		add("extra-critical", "p256", "Signed by a good key, with a critical attribute that nobody knows.",
			failsAlways, []string{`extended critical attribute "com.example.unknown" was not processed`},
			func(i *image) { i.critical = "com.example.unknown" })
		add("other-cert", "p256-other", "Signed by another key of the store, whose certificate has the subject of the trusted one's.",
			failsIdentity, []string{p256, fixture.Lookup("p256-other").ARN()}, func(i *image) { i.fingerprint = true })
		add("wrong-keyarn", "p256", "Signed by the trusted key, but the signature names another key's ARN.",
			failsAlways, []string{attributeArn}, func(i *image) { i.KeyArn = fixture.Lookup("p384").ARN() })
		add("tampered", "p256", "A good signature whose payload was changed to name this image.",
			failsAlways, []string{"signature is invalid"}, func(i *image) { i.retarget = name("p256") })
		add("moved", "p256", "A good signature of another image, attached to this one.",
			failsAlways, []string{"content descriptor mismatch"}, func(i *image) { i.moved = name("p256") })
		add("foreign-plugin", stranger.Name, "Signed by a stranger; the signature asks for a plugin that says yes to everything.",
			failsAlways, []string{foreignPlugin}, func(i *image) { i.Plugin = foreignPlugin })
		add("no-plugin", stranger.Name, "Signed by a stranger; the signature asks for no plugin, so notation decides alone.",
			failsIdentity, []string{"no x509 trusted identities are configured"}, func(i *image) { i.Plugin = "" })
	}
	for _, envelope := range envelopes {
		all = append(all, image{Case: fixture.Case{
			Name: envelope.name + "-planted-plugin", About: "Signed by a stranger; the signature asks for a plugin by a path out of notation's plugin folder.",
			Envelope: envelope.name, SigningKey: fixture.Lookup("p256-stranger").Name, Plugin: fixture.PlantedPlugin,
			Identities: []string{p256}, Outcomes: failsAlways, Reason: []string{fixture.PlantedPlugin},
		}})
	}
	return all
}

// writeImages makes the OCI image layout and the list of cases.
func writeImages(testdata string, materials map[string]*material) error {
	if err := os.RemoveAll(filepath.Join(testdata, "oci")); err != nil {
		return err
	}
	l := &layout{dir: fixture.LayoutDir(testdata)}
	config, layer, err := l.contents()
	if err != nil {
		return err
	}

	images := allImages()
	targets := make(map[string]ocispec.Descriptor)
	for n := range images {
		i := &images[n]
		desc, err := l.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: config, Layers: []ocispec.Descriptor{layer},
			// The annotation alone makes the images differ.
			Annotations: map[string]string{ocispec.AnnotationTitle: i.Name},
		})
		if err != nil {
			return err
		}
		targets[i.Name], i.Digest = desc, desc.Digest.String()
		tagged := desc
		tagged.Annotations = map[string]string{ocispec.AnnotationRefName: i.Name}
		l.index = append(l.index, tagged)
	}

	empty, err := l.blob(signatureType, []byte("{}"))
	if err != nil {
		return err
	}
	var cases []fixture.Case
	for n, i := range images {
		m := materials[i.SigningKey]
		envelope, mediaType, err := i.envelope(m, targets)
		if err != nil {
			return fmt.Errorf("%s: %w", i.Name, err)
		}
		signatureBlob, err := l.blob(mediaType, envelope)
		if err != nil {
			return err
		}
		thumbprint := sha256.Sum256(m.certificate.Raw)
		subject := targets[i.Name]
		desc, err := l.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: empty, Layers: []ocispec.Descriptor{signatureBlob}, Subject: &subject,
			Annotations: map[string]string{
				thumbprints:               fmt.Sprintf("[%q]", hex.EncodeToString(thumbprint[:])),
				ocispec.AnnotationCreated: signingTime.Add(time.Duration(n) * time.Second).Format(time.RFC3339),
			},
		})
		if err != nil {
			return err
		}
		l.index = append(l.index, desc)
		if i.fingerprint {
			sum := sha256.Sum256(m.spki)
			i.Reason = append(i.Reason, hex.EncodeToString(sum[:]))
		}
		cases = append(cases, i.Case)
	}
	if err := l.finish(); err != nil {
		return err
	}
	return writeJSON(fixture.CasesFile(testdata), cases)
}

// envelope makes the signature envelope of the case, and breaks it where the case says so.
func (i image) envelope(m *material, targets map[string]ocispec.Descriptor) (envelope []byte, mediaType string, err error) {
	for _, e := range envelopes {
		if e.name == i.Envelope {
			mediaType = e.mediaType
		}
	}
	target := targets[i.Name]
	for _, other := range []string{i.moved, i.retarget} {
		if other != "" {
			target = targets[other]
		}
	}
	payload, err := json.Marshal(map[string]any{"targetArtifact": target})
	if err != nil {
		return nil, "", err
	}
	var attributes []signature.Attribute
	if i.Plugin != "" {
		attributes = append(attributes, signature.Attribute{Key: attributePlugin, Critical: true, Value: i.Plugin})
	}
	if i.Plugin == ourPlugin {
		attributes = append(attributes, signature.Attribute{Key: attributeMinVersion, Critical: true, Value: ourMinVersion})
	}
	if i.KeyArn != "" {
		attributes = append(attributes, signature.Attribute{Key: attributeArn, Critical: true, Value: i.KeyArn})
	}
	if i.critical != "" {
		attributes = append(attributes, signature.Attribute{Key: i.critical, Critical: true, Value: "something"})
	}
	e, err := signature.NewEnvelope(mediaType)
	if err != nil {
		return nil, "", err
	}
	// Sign verifies what it made.
	envelope, err = e.Sign(&signature.SignRequest{
		Payload:                  signature.Payload{ContentType: payloadType, Content: payload},
		Signer:                   deterministicSigner{key: m.signer, certificate: m.certificate},
		SigningTime:              signingTime,
		SigningScheme:            signature.SigningSchemeX509,
		SigningAgent:             "awskms-offline testdata",
		ExtendedSignedAttributes: attributes,
	})
	if err != nil {
		return nil, "", err
	}
	if i.retarget == "" {
		return envelope, mediaType, nil
	}
	changed, err := json.Marshal(map[string]any{"targetArtifact": targets[i.Name]})
	if err != nil {
		return nil, "", err
	}
	envelope, err = replacePayload(mediaType, envelope, changed)
	return envelope, mediaType, err
}

// replacePayload puts another payload into a signed envelope, as an attacker would.
func replacePayload(mediaType string, envelope, payload []byte) ([]byte, error) {
	if mediaType == cose.MediaTypeEnvelope {
		var message gocose.Sign1Message
		if err := message.UnmarshalCBOR(envelope); err != nil {
			return nil, err
		}
		message.Payload = payload
		return message.MarshalCBOR()
	}
	var message map[string]json.RawMessage
	if err := json.Unmarshal(envelope, &message); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(base64.RawURLEncoding.EncodeToString(payload))
	if err != nil {
		return nil, err
	}
	message["payload"] = encoded
	return json.Marshal(message)
}

// deterministicSigner signs like notation's own local signer, but the same input gives the same signature, so that
// testdata does not change when it is made anew.
type deterministicSigner struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

// KeySpec implements signature.Signer.
func (s deterministicSigner) KeySpec() (signature.KeySpec, error) {
	return signature.ExtractKeySpec(s.certificate)
}

// Sign implements signature.Signer: RSASSA-PSS with a salt of the hash's length, or ECDSA as r || s.
func (s deterministicSigner) Sign(payload []byte) ([]byte, []*x509.Certificate, error) {
	spec, err := s.KeySpec()
	if err != nil {
		return nil, nil, err
	}
	hash := spec.SignatureAlgorithm().Hash()
	h := hash.New()
	h.Write(payload)
	digest := h.Sum(nil)
	chain := []*x509.Certificate{s.certificate}

	switch key := s.key.(type) {
	case *rsa.PrivateKey:
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		sig, err := rsa.SignPSS(&digestReader{seed: digest}, key, hash, digest, options)
		return sig, chain, err
	case *ecdsa.PrivateKey:
		// No random source: RFC 6979.
		der, err := key.Sign(nil, digest, hash)
		if err != nil {
			return nil, nil, err
		}
		r, t, err := parseECDSA(der)
		if err != nil {
			return nil, nil, err
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		sig := make([]byte, 2*size)
		r.FillBytes(sig[:size])
		t.FillBytes(sig[size:])
		return sig, chain, nil
	}
	return nil, nil, errors.New("neither an RSA nor an ECDSA key")
}

// digestReader yields SHA-256(seed || counter) …: the salt of a signature that has to come out the same again.
type digestReader struct {
	seed    []byte
	counter byte
	rest    []byte
}

func (d *digestReader) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		sum := sha256.Sum256(append(bytes.Clone(d.seed), d.counter))
		d.counter++
		d.rest = sum[:]
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// layout writes an OCI image layout (image-layout.md).
type layout struct {
	dir   string
	index []ocispec.Descriptor
}

// contents writes the config and the one layer that all images share.
func (l *layout) contents() (config, layer ocispec.Descriptor, err error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	const hello = "An image of awskms-offline's testdata.\n"
	if err := w.WriteHeader(&tar.Header{Name: "hello.txt", Mode: 0o644, Size: int64(len(hello)), ModTime: signingTime}); err != nil {
		return config, layer, err
	}
	if _, err := io.WriteString(w, hello); err != nil {
		return config, layer, err
	}
	if err := w.Close(); err != nil {
		return config, layer, err
	}
	layer, err = l.blob(ocispec.MediaTypeImageLayer, buf.Bytes())
	if err != nil {
		return config, layer, err
	}
	config, err = l.json(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created:  &signingTime,
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	})
	return config, layer, err
}

func (l *layout) json(mediaType string, value any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.blob(mediaType, data)
}

func (l *layout) blob(mediaType string, data []byte) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	dir := filepath.Join(l.dir, ocispec.ImageBlobsDir, desc.Digest.Algorithm().String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return desc, err
	}
	return desc, os.WriteFile(filepath.Join(dir, desc.Digest.Encoded()), data, 0o644)
}

// finish writes the index and the layout's marker file.
func (l *layout) finish() error {
	marker, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.dir, ocispec.ImageLayoutFile), marker, 0o644); err != nil {
		return err
	}
	index, err := json.MarshalIndent(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: l.index,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, ocispec.ImageIndexFile), index, 0o644)
}
