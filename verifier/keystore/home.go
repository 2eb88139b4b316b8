package keystore

import (
	"path/filepath"

	"github.com/awskms-offline/awskms-offline/verifier/internal/fileguard"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// errAbsent says that there is nothing, and nothing wrong with that: the one answer after which a lookup may look
// elsewhere. It never leaves the package.
var errAbsent = fileguard.ErrAbsent

func newGuard(opts Options) *fileguard.Guard {
	return fileguard.New(guardOptions(opts))
}

func guardOptions(opts Options) fileguard.Options {
	return fileguard.Options{Unsafe: opts.UnsafePermissions, Strict: opts.StrictPermissions}
}

// openHome opens and checks the home; errAbsent if it is not there.
func openHome(home Home, g *fileguard.Guard) (*fileguard.Tree, error) {
	if !filepath.IsAbs(home.Path) {
		return nil, notAbsolute(home)
	}
	return g.Open(home.Path)
}

func notAbsolute(home Home) *kmserr.Error {
	if home.Path == "" {
		return kmserr.New(kmserr.Validation, "the store's folder given by %s is empty, expected an absolute path", home.ChosenBy).
			WithHint("Give the folder's full path, or do not set it at all.")
	}
	return kmserr.New(kmserr.Validation, "the store's folder given by %s is %q, expected an absolute path", home.ChosenBy, home.Path).
		WithHint("A relative path would mean another store in every working directory: give the full one.")
}
