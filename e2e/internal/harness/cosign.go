package harness

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	orasremote "oras.land/oras-go/v2/registry/remote"
)

// BundleType is the media type of a sigstore bundle (sigstore/protobuf-specs, sigstore_bundle.proto).
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// predicates of in-toto statements: cosign's own for an image's signature, and one of a user's.
const (
	SignPredicate   = "https://sigstore.dev/cosign/sign/v1"
	CustomPredicate = "https://example.com/tested/v1"
)

const statementType = "application/vnd.in-toto+json"

// SimpleSigning is the payload that cosign signs for an image (containers/image, containers-signature.5).
func SimpleSigning(repository, digest string) []byte {
	return mustJSON(map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": repository},
			"image":    map[string]string{"docker-manifest-digest": digest},
			"type":     "cosign container image signature",
		},
		"optional": nil,
	})
}

// InTotoStatement is an in-toto statement v1 about one subject, whose digest is "sha256:<hex>".
func InTotoStatement(subject, digest, predicate string) []byte {
	return mustJSON(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"name": subject, "digest": map[string]string{"sha256": digest[len("sha256:"):]}}},
		"predicateType": predicate, "predicate": map[string]any{},
	})
}

// PAE is what a DSSE envelope's signature is over (DSSE protocol, "Signature definition").
func PAE(statement []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(statementType), statementType, len(statement), statement)
}

// Envelope is a DSSE envelope.
func Envelope(statement, signature []byte) []byte { return mustJSON(envelope(statement, signature)) }

func envelope(statement, signature []byte) map[string]any {
	return map[string]any{
		"payload": base64.StdEncoding.EncodeToString(statement), "payloadType": statementType,
		"signatures": []any{map[string]string{"sig": base64.StdEncoding.EncodeToString(signature)}},
	}
}

// Bundle is a sigstore bundle over a message's SHA-256.
func Bundle(message, signature []byte) []byte {
	sum := sha256.Sum256(message)
	return bundle("messageSignature", map[string]any{
		"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": signature,
	})
}

// EnvelopeBundle is a sigstore bundle with a DSSE envelope.
func EnvelopeBundle(statement, signature []byte) []byte {
	return bundle("dsseEnvelope", envelope(statement, signature))
}

// OldBundle is a bundle of cosign's own format, before sigstore had one: a file's signature, or an envelope, and a certificate if
// that is not empty.
func OldBundle(signature []byte, certificate string) []byte {
	members := map[string]string{"base64Signature": base64.StdEncoding.EncodeToString(signature)}
	if certificate != "" {
		members["cert"] = certificate
	}
	return mustJSON(members)
}

func bundle(content string, value any) []byte {
	return mustJSON(map[string]any{
		"mediaType":            BundleType,
		"verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": "kms"}},
		content:                value,
	})
}

// PushImage makes a small image, unlike any other that was pushed with other content, and returns its digest.
func (r *Registry) PushImage(repository, content string) (digest string, err error) {
	image, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(content), types.DockerLayer))
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag(r.Scope(repository)+":latest", name.Insecure)
	if err != nil {
		return "", err
	}
	if err := remote.Write(tag, image); err != nil {
		return "", err
	}
	hash, err := image.Digest()
	return hash.String(), err
}

// PushReferrer stores a bundle beside the image, as cosign 3 does.
func (r *Registry) PushReferrer(repository, digest, predicate string, bundle []byte) error {
	ctx := context.Background()
	target, err := orasremote.NewRepository(r.Scope(repository))
	if err != nil {
		return err
	}
	target.PlainHTTP = true
	subject, err := target.Resolve(ctx, digest)
	if err != nil {
		return err
	}
	layer, err := oras.PushBytes(ctx, target, BundleType, bundle)
	if err != nil {
		return err
	}
	_, err = oras.PackManifest(ctx, target, oras.PackManifestVersion1_1, BundleType, oras.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{layer},
		ManifestAnnotations: map[string]string{
			"org.opencontainers.image.created": time.Unix(0, 0).UTC().Format(time.RFC3339),
			"dev.sigstore.bundle.content":      "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate,
		},
	})
	return err
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of values made here
	}
	return data
}
