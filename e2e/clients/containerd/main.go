// Command containerd asks image verifiers as containerd does, by its own code and a file of its configuration:
//
//	containerd CONFIG.TOML NAME DIGEST
//
// Its answer is on standard output, {"OK":…,"Reason":…}. An error, such as a verifier that takes too long, is on standard
// error with exit code 1; containerd then pulls nothing either.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/pkg/imageverifier/bindir"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pelletier/go-toml/v2"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "containerd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments, expected 3", len(args))
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	var config struct {
		Version int `toml:"version"`
		Plugins struct {
			Verifier *bindir.Config `toml:"io.containerd.image-verifier.v1.bindir"`
			Images   struct {
				Local bool `toml:"use_local_image_pull"`
			} `toml:"io.containerd.cri.v1.images"`
		} `toml:"plugins"`
	}
	decoder := toml.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return err
	}
	if config.Version != 3 || config.Plugins.Verifier == nil || config.Plugins.Images.Local {
		return fmt.Errorf("this configuration asks no verifier: %+v", config)
	}
	descriptor := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(args[2]), Size: 1}
	judgement, err := bindir.NewImageVerifier(config.Plugins.Verifier).VerifyImage(context.Background(), args[1], descriptor)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(judgement)
}
