package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
)

// Registry is an OCI registry over HTTP on the loopback interface, in this process and in memory. It ends with Close or
// with the process.
type Registry struct {
	// Host is what stands first in a reference: address and port.
	Host   string
	server *http.Server
}

// StartRegistry starts a registry on a port that the system chooses.
func StartRegistry() (*Registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Registry{Host: listener.Addr().String(), server: &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)),
		ReadHeaderTimeout: 10 * time.Second,
	}}
	go func() {
		// Serve always returns an error; after Close it says so.
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("registry: %v", err)
		}
	}()
	return r, nil
}

// Close stops the registry at once.
func (r *Registry) Close() error { return r.server.Close() }

// Reference names an image of the registry by its digest.
func (r *Registry) Reference(repository, digest string) string {
	return r.Scope(repository) + "@" + digest
}

// Scope names a repository, as a trust policy's registryScopes do.
func (r *Registry) Scope(repository string) string { return r.Host + "/" + repository }

// Push copies the image of that tag, with everything that refers to it, from an OCI image layout to a repository, and
// asks the registry whether the signatures arrived.
func (r *Registry) Push(layout, tag, repository string) error {
	ctx := context.Background()
	source, err := oci.NewFromFS(ctx, os.DirFS(layout))
	if err != nil {
		return err
	}
	target, err := remote.NewRepository(r.Scope(repository))
	if err != nil {
		return err
	}
	target.PlainHTTP = true
	image, err := oras.ExtendedCopy(ctx, source, tag, target, tag, oras.DefaultExtendedCopyOptions)
	if err != nil {
		return err
	}
	before, err := source.Predecessors(ctx, image)
	if err != nil {
		return err
	}
	var arrived []ocispec.Descriptor
	if err := target.Referrers(ctx, image, "", func(page []ocispec.Descriptor) error {
		arrived = append(arrived, page...)
		return nil
	}); err != nil {
		return err
	}
	if len(before) == 0 || len(arrived) != len(before) {
		return fmt.Errorf("%s:%s has %d signatures in the layout and %d in the registry", repository, tag, len(before), len(arrived))
	}
	return nil
}
