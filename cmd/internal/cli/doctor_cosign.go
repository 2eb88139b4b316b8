package cli

import (
	"debug/buildinfo"
	"errors"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/awskms-offline/awskms-offline/cmd/internal/confine"
)

const (
	sigstorePlugin = "sigstore-kms-awskms-offline"
	// cosignNeeded is what docs/cosign.md asks for.
	cosignNeeded = "2.6.5, or 3.1.3 or newer"
)

// cosignFixed are the first releases of a major version in which a public key that a bundle brings does not take the place of
// the key that --key names: minor and patch. In no release before 2 it was mended (GHSA-fx35-mq7g-6g98).
var cosignFixed = map[int][2]int{2: {6, 5}, 3: {1, 3}}

// examineCosign reports on the cosign that a shell takes, by what the Go linker wrote into it: it is not run. An old one is no
// danger to anybody who does not use it with this project's plugin, which is not on the search path then.
func examineCosign(r *report) {
	const part = "cosign"
	path, _ := confine.Find("cosign") // an error beside a path says that a shell finds it by a folder that is not absolute
	if path == "" {
		return
	}
	version, err := readCosignVersion(path)
	if err != nil {
		r.add(levelWarning, part, "Ask it: cosign version.", "the version of %s cannot be told: %v; expected %s", path, reason(err), cosignNeeded)
		return
	}
	if cosignFits(version) {
		r.add(levelOK, part, "", "%s is of version %s", path, version)
		return
	}
	level := levelWarning
	if _, err := confine.Find(sigstorePlugin); err == nil {
		level = levelDanger
	}
	r.add(level, part, "Install cosign "+cosignNeeded+". Until then verify blobs as docs/cosign.md says for older ones.",
		"%s is of version %s, in which verify-blob and verify-blob-attestation let a public key in the file of --bundle take the place of --key: whoever made the file passes, and the plugin is not asked", path, version)
}

// readCosignVersion is the version, without its v, of the cosign in that file.
func readCosignVersion(path string) (string, error) {
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() { // to open a pipe may take forever
		return "", errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := buildinfo.Read(f)
	if err != nil {
		return "", err
	}
	return cosignVersion(info)
}

var (
	cosignModule = regexp.MustCompile(`^github\.com/sigstore/cosign(/v[0-9]+)?$`)
	// cosignRelease takes a version apart, and cosignUntagged is the go command's for a commit that no tag is known to come before.
	cosignRelease  = regexp.MustCompile(`^v([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(-[^+]*)?(\+.*)?$`)
	cosignUntagged = regexp.MustCompile(`^v[0-9]+\.0\.0-[0-9]{14}-[0-9a-f]{12}(\+.*)?$`)
)

// cosignVersion is the module's version, or else the one that cosign's makefile gives the linker, without its v.
func cosignVersion(info *debug.BuildInfo) (string, error) {
	module, isCommand := strings.CutSuffix(info.Path, "/cmd/cosign")
	if !isCommand || !cosignModule.MatchString(module) {
		return "", errors.New("it was built from " + orDash(info.Path) + ", which is not cosign")
	}
	versions := []string{linked(info, "sigs.k8s.io/release-utils/version.gitVersion=")}
	if info.Main.Path == module && info.Main.Replace == nil {
		versions = []string{info.Main.Version, versions[0]}
	}
	for _, v := range versions {
		if cosignRelease.MatchString(v) && !cosignUntagged.MatchString(v) {
			return v[1:], nil
		}
	}
	return "", errors.New("it is a build without one")
}

// cosignFits says whether a version, as cosignVersion returns it, does not have the fault.
func cosignFits(version string) bool {
	parts := cosignRelease.FindStringSubmatch("v" + version)
	if parts == nil {
		return false
	}
	var number [3]int
	for i := range number {
		number[i], _ = strconv.Atoi(parts[i+1]) // six digits at most
	}
	fixed, listed := cosignFixed[number[0]]
	switch {
	case !listed:
		return number[0] > 3
	case number[1] != fixed[0]:
		return number[1] > fixed[0]
	case number[2] != fixed[1]:
		return number[2] > fixed[1]
	}
	return parts[4] == "" // what comes before a release has a suffix
}
