package harness

import (
	"context"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	orasremote "oras.land/oras-go/v2/registry/remote"
)

// NotationType is the artifact type of a Notation signature (Notary Project, signature-specification.md, "Storage").
const NotationType = "application/vnd.cncf.notary.signature"

// NotationSignature is a signature as it lies in a registry.
type NotationSignature struct {
	// EnvelopeType is the media type of the envelope.
	EnvelopeType string
	Envelope     []byte
	annotations  map[string]string
}

// NotationSignatures fetches the signatures of an image.
func (r *Registry) NotationSignatures(repository, digest string) ([]NotationSignature, error) {
	ctx := context.Background()
	target, subject, err := r.resolve(repository, digest)
	if err != nil {
		return nil, err
	}
	var manifests []ocispec.Descriptor
	if err := target.Referrers(ctx, subject, NotationType, func(page []ocispec.Descriptor) error {
		manifests = append(manifests, page...)
		return nil
	}); err != nil {
		return nil, err
	}
	var signatures []NotationSignature
	for _, m := range manifests {
		layers, err := content.Successors(ctx, target, m)
		if err != nil {
			return nil, err
		}
		for _, layer := range layers {
			if layer.MediaType != "application/jose+json" && layer.MediaType != "application/cose" {
				continue
			}
			reader, err := target.Fetch(ctx, layer)
			if err != nil {
				return nil, err
			}
			envelope, err := io.ReadAll(reader)
			if err := reader.Close(); err != nil {
				return nil, err
			}
			if err != nil {
				return nil, err
			}
			signatures = append(signatures, NotationSignature{layer.MediaType, envelope, m.Annotations})
		}
	}
	return signatures, nil
}

// PushNotationSignature stores a signature beside an image, whether it is one of that image or not.
func (r *Registry) PushNotationSignature(repository, digest string, s NotationSignature) error {
	ctx := context.Background()
	target, subject, err := r.resolve(repository, digest)
	if err != nil {
		return err
	}
	layer, err := oras.PushBytes(ctx, target, s.EnvelopeType, s.Envelope)
	if err != nil {
		return err
	}
	_, err = oras.PackManifest(ctx, target, oras.PackManifestVersion1_1, NotationType, oras.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{layer}, ManifestAnnotations: s.annotations,
	})
	return err
}

func (r *Registry) resolve(repository, digest string) (*orasremote.Repository, ocispec.Descriptor, error) {
	target, err := orasremote.NewRepository(r.Scope(repository))
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	target.PlainHTTP = true
	subject, err := target.Resolve(context.Background(), digest)
	if err != nil {
		return nil, ocispec.Descriptor{}, fmt.Errorf("%s@%s: %w", repository, digest, err)
	}
	return target, subject, nil
}
