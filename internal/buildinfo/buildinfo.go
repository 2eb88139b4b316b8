// Package buildinfo says which version this is.
package buildinfo

// Version is the version as SemVer 2.0 without a leading v, the form that Notation's plugin contract demands. Release
// builds set it with -ldflags "-X github.com/awskms-offline/awskms-offline/internal/buildinfo.Version=1.2.3".
var Version = "0.1.0"
