package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	ourbuild "github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	notationPlugin = "awskms-offline"
	// notationSigner is our signing plugin, which verifies nothing and so is no danger beside the other.
	notationSigner = "awskms-signer"
	// maxPolicyFile and maxCertFile limit, in bytes, what is read of Notation's configuration.
	maxPolicyFile = 1 << 20
	maxCertFile   = 1 << 20
)

// examineNotation reports on Notation's configuration: the four things that a safe set-up is made of, and whether the log is
// kept. Nothing of it is run. v may be nil.
func examineNotation(r *report, dir string, v *verifier.Verifier) error {
	dir, plugins, err := locateNotation(r, dir)
	if err != nil || dir == "" {
		return err
	}
	if absent(dir) && absent(plugins) {
		r.add(levelOK, "notation", "", "%s is not there: Notation is not configured for this user", dir)
		return nil
	}
	installed := examinePlugins(r, plugins)
	if lost := r.rules.Log().LostUnderNotation(); lost != "" {
		r.add(levelWarning, "notation", "Name a file with log.path in the policy: see docs/audit.md.", "the policy %s", lost)
	}
	found := false
	var files []trustPolicyFile
	for _, name := range []string{"trustpolicy.oci.json", "trustpolicy.json", "trustpolicy.blob.json"} {
		path := filepath.Join(dir, name)
		data, err := readLimited(path, maxPolicyFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = true
		if err != nil {
			r.add(levelDanger, "notation", "Make it readable.", "%s cannot be read: %v", path, reason(err))
			continue
		}
		file := trustPolicyFile{path: path}
		// Notation takes member names in any letter case: what it would read must not be overlooked here.
		if err := json.Unmarshal(data, &file, json.MatchCaseInsensitiveNames(true)); err != nil {
			r.add(levelDanger, "notation", "Correct it.", "%s is no trust policy: %v", path, err)
			continue
		}
		files = append(files, file)
	}
	if !found {
		r.add(levelWarning, "notation", "See docs/notation.md.", "there is no trust policy in %s", dir)
	}
	examineTrustPolicies(r, dir, files, installed, v)
	return nil
}

// locateNotation returns Notation's configuration folder and that of its plugins, as notation itself finds them: by
// $NOTATION_CONFIG and $NOTATION_LIBEXEC where they are set. flag goes before $NOTATION_CONFIG. No folder without an
// error means that none can be found, which is in the report.
func locateNotation(r *report, flag string) (dir, plugins string, err error) {
	const part = "notation"
	inEnv := func(variable string) string {
		value := os.Getenv(variable)
		if value == "" || filepath.IsAbs(value) {
			return value
		}
		r.add(levelDanger, part, "Set it to an absolute path.", "$%s is %q: Notation reads another configuration in each working directory", variable, value)
		if abs, err := filepath.Abs(value); err == nil {
			return abs
		}
		return value
	}
	dir = flag
	switch {
	case flag != "" && !filepath.IsAbs(flag):
		return "", "", invalid("--notation-config is %q, expected an absolute path", flag).WithHint("Give the folder's full path.")
	case flag == "":
		dir = inEnv("NOTATION_CONFIG")
	}
	if dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			r.add(levelWarning, part, "Give --notation-config.", "Notation's configuration cannot be found: %v", err)
			return "", "", nil
		}
		dir = filepath.Join(config, "notation")
	}
	libexec := inEnv("NOTATION_LIBEXEC")
	if libexec == "" {
		libexec = dir
	}
	return dir, filepath.Join(libexec, "plugins"), nil
}

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errors.New("it is too long")
	}
	return data, err
}

// examinePlugins: the signature chooses its plugin, so any other installed one is a way around this. installed says whether
// this one is there.
func examinePlugins(r *report, dir string) (installed bool) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.add(levelDanger, "notation", "Make it readable.", "%s cannot be read: %v", dir, reason(err))
		return true // for all that can be told
	}
	for _, e := range entries {
		if e.Name() == notationPlugin || e.Name() == notationSigner {
			installed = installed || e.Name() == notationPlugin
			examineOurPlugin(r, filepath.Join(dir, e.Name()), e.Name())
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
			r.add(levelDanger, "notation", "Remove it with `notation plugin uninstall "+e.Name()+"`, unless you know that it has no SIGNATURE_VERIFIER capability.",
				"the plugin %q is installed too: a signature may name it as its verifier, and then it decides instead of this one", e.Name())
		}
	}
	if !installed {
		r.add(levelWarning, "notation", installPlugin(), "the plugin %s is not installed in %s", notationPlugin, dir)
	}
	return installed
}

// examineOurPlugin compares the installed plugin with this program by what the Go linker wrote into it: it is not run.
func examineOurPlugin(r *report, dir, name string) {
	path := pluginPath(dir, name)
	info, err := ourPlugin(path, name)
	if err != nil {
		r.add(levelDanger, "notation", kmserr.As(err).Hint, "%s", kmserr.As(err).Fact)
		return
	}
	version := linked(info, "internal/buildinfo.Version=")
	if self, err := os.Executable(); err == nil && version == "" {
		// Neither was stamped: then the version is the same unless the one beside this program is another file.
		beside := filepath.Join(filepath.Dir(self), filepath.Base(path))
		if a, errA := fileSum(path); errA == nil {
			if b, errB := fileSum(beside); errB == nil && a != b {
				r.add(levelWarning, "notation", "Install the one beside this program, if that is the newer.", "the installed plugin %s differs from %s", name, beside)
				return
			}
		}
		version = ourbuild.Version
	}
	if version != ourbuild.Version {
		r.add(levelWarning, "notation", "Install the plugin of this release.", "the installed plugin %s is of version %s, this program of %s", name, version, ourbuild.Version)
		return
	}
	r.add(levelOK, "notation", "", "the plugin %s is installed, version %s", name, version)
}

// linked is the text that -ldflags gave a variable of the program; empty if none is recorded, as it is not with -trimpath.
func linked(info *debug.BuildInfo, variable string) (text string) {
	for _, s := range info.Settings {
		if s.Key == "-ldflags" {
			if _, after, ok := strings.Cut(s.Value, variable); ok {
				text, _, _ = strings.Cut(strings.Trim(after, `"' `), " ")
				text = strings.Trim(text, `"'`)
			}
		}
	}
	return text
}

// ourPlugin reads what the Go linker wrote into the plugin of ours that path should be. It is not run.
func ourPlugin(path, name string) (*debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, invalid("%s is no program that can be examined: %v", path, reason(err)).WithHint("Install it again.")
	}
	if want := "github.com/awskms-offline/awskms-offline/cmd/notation-" + name; info.Path != want {
		return nil, invalid("%s was built from %s, expected %s", path, info.Path, want).WithHint("Remove it, and install this project's plugin.")
	}
	return info, nil
}

func fileSum(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	copy(sum[:], h.Sum(nil))
	return sum, nil
}

// trustPolicyFile is Notation's trust policy as far as safety depends on it (Notary Project, trust-store-trust-policy.md).
type trustPolicyFile struct {
	path          string
	TrustPolicies []struct {
		Name                  string   `json:"name"`
		RegistryScopes        []string `json:"registryScopes"`
		GlobalPolicy          bool     `json:"globalPolicy"` // of a policy for blobs
		TrustStores           []string `json:"trustStores"`
		TrustedIdentities     []string `json:"trustedIdentities"`
		SignatureVerification struct {
			Level    string            `json:"level"`
			Override map[string]string `json:"override"`
		} `json:"signatureVerification"`
	} `json:"trustPolicies"`
}

// examineTrustPolicies reports on what Notation accepts by trust policies. A policy that names no ARN is nobody's fault where
// Notation is not used with this plugin, which is neither installed then nor named by any other policy.
func examineTrustPolicies(r *report, dir string, files []trustPolicyFile, installed bool, v *verifier.Verifier) {
	const part = "notation"
	concerned := false
	for _, file := range files {
		for _, p := range file.TrustPolicies {
			ours, _ := identitiesOf(p.TrustedIdentities)
			concerned = concerned || len(ours) > 0
		}
	}
	unguarded := levelWarning
	if installed || concerned {
		unguarded = levelDanger
	}
	for _, file := range files {
		examineTrustPolicy(r, file, unguarded, filepath.Join(dir, "truststore", "x509"), v)
	}
	if !concerned && len(files) > 0 {
		r.add(unguarded, part, "Trust key ARNs as docs/notation.md shows.", "no trust policy in %s trusts a KMS key ARN: this plugin checks nothing of what Notation accepts", dir)
	}
}

// examineTrustPolicy reports on one file. unguarded is the level of a policy that lets whatever no other names pass by this plugin.
func examineTrustPolicy(r *report, file trustPolicyFile, unguarded, storesDir string, v *verifier.Verifier) {
	const part = "notation"
	path := file.path
	anywhere := namedBy(nil, v)
	for _, p := range file.TrustPolicies {
		ours, _ := identitiesOf(p.TrustedIdentities)
		maps.Copy(anywhere.now, namedBy(ours, v).now)
	}
	for _, p := range file.TrustPolicies {
		ours, others := identitiesOf(p.TrustedIdentities)
		if len(ours) == 0 {
			everything := p.GlobalPolicy || slices.Contains(p.RegistryScopes, "*")
			switch {
			case p.SignatureVerification.Level != "skip" && everything:
				r.add(unguarded, part, "Trust key ARNs, or name what it is for.",
					"the policy %q in %s names no KMS key ARN and is for everything that no other policy names: what it accepts was not checked by this plugin", p.Name, path)
			case p.SignatureVerification.Level != "skip":
				r.add(levelWarning, part, "Trust key ARNs, or keep KMS keys' certificates out of its trust stores.",
					"the policy %q in %s names no KMS key ARN: what it accepts was not checked by this plugin", p.Name, path)
			case everything:
				r.add(levelDanger, part, "Remove it, or name what may pass unverified.",
					"the policy %q in %s has level \"skip\" for everything that no other policy names: whatever is there passes unverified", p.Name, path)
			default:
				r.add(levelWarning, part, "Remove it, unless that is meant.", "the policy %q in %s has level \"skip\": what it is for passes unverified: %s",
					p.Name, path, orDash(strings.Join(p.RegistryScopes, ", ")))
			}
			continue
		}
		before := len(r.findings)
		for _, id := range others {
			r.add(levelDanger, part, "Trust key ARNs only: a signature that names no plugin is verified by Notation alone against this identity.",
				"the policy %q in %s trusts %q beside KMS key ARNs", p.Name, path, id)
		}
		examineLevel(r, path, p.Name, p.SignatureVerification.Level, p.SignatureVerification.Override)
		named := namedBy(ours, v)
		examineTrustStores(r, path, p.Name, p.TrustStores, storesDir, func(path string, cert *x509.Certificate) {
			if v != nil {
				examineKeyCertificate(r, path, cert, v.Store(), p.Name, named, anywhere)
			}
		})
		for _, err := range named.unresolved {
			r.add(levelWarning, part, "Import that key, or remove the identity.", "the policy %q trusts %v", p.Name, err)
		}
		if len(r.findings) == before {
			r.add(levelOK, part, "", "the policy %q in %s trusts %s at level strict", p.Name, path, count(len(ours), "KMS ARN", "KMS ARNs"))
		}
	}
}

// identitiesOf tells the identities that name KMS keys from the others.
func identitiesOf(identities []string) (ours []kmskey.Ref, others []string) {
	for _, id := range identities {
		if ref, err := kmskey.ParseRef(id); err == nil && !ref.Scope.IsZero() {
			ours = append(ours, ref)
		} else {
			others = append(others, id)
		}
	}
	return ours, others
}

// namedKeys are the keys that identities of a trust policy stand for, by their fingerprints.
type namedKeys struct {
	now map[string]bool
	// former are keys that an alias among them meant before, and that it stands for no more.
	former map[string]bool
	// unresolved says which identities stand for no key that can be told, and why.
	unresolved []error
}

// namedBy looks up what identities stand for, an alias of which policy.json says so for keys that it meant before as well.
// Without a verifier there is nothing.
func namedBy(identities []kmskey.Ref, v *verifier.Verifier) namedKeys {
	named := namedKeys{now: make(map[string]bool), former: make(map[string]bool)}
	if v == nil {
		return named
	}
	for _, id := range identities {
		now, once, err := v.IdentityKeys(id.String())
		if err != nil {
			named.unresolved = append(named.unresolved, fmt.Errorf("%s: %w", id, err))
			continue
		}
		for _, key := range now {
			named.now[key.Fingerprint()] = true
		}
		for _, key := range once {
			named.former[key.Fingerprint()] = true
		}
	}
	return named
}

func examineLevel(r *report, path, policy, level string, override map[string]string) {
	const part = "notation"
	switch level {
	case "strict":
	case "permissive":
		r.add(levelDanger, part, "Use level strict.", "the policy %q in %s has level permissive: a disabled key is only a warning", policy, path)
	default:
		r.add(levelDanger, part, "Use level strict.", "the policy %q in %s has level %q: a wrong key would pass", policy, path, level)
	}
	for _, check := range slices.Sorted(maps.Keys(override)) {
		action := override[check]
		switch {
		case action == "enforce":
		case check == "revocation" && action == "skip": // the plugin then fails the identity for the state
			r.add(levelWarning, part, "Leave it out.", "the policy %q in %s overrides revocation with %q", policy, path, action)
		default:
			r.add(levelDanger, part, "Leave it out.", "the policy %q in %s overrides %s with %q", policy, path, check, action)
		}
	}
}

// examineTrustStores: there is one of type ca, each is there, and holds only certificates, which ofKey looks at. One of type
// tsa is for timestamps alone, and holds their authorities' roots.
func examineTrustStores(r *report, path, policy string, stores []string, storesDir string, ofKey func(path string, cert *x509.Certificate)) {
	const part = "notation"
	if !slices.ContainsFunc(stores, func(s string) bool { return strings.HasPrefix(s, "ca:") }) {
		r.add(levelDanger, part, "Add \"ca:NAME\" and the keys' certificates: notation cert add --type ca --store NAME FILE.", "the policy %q in %s names no trust store of type ca", policy, path)
	}
	for _, s := range stores {
		kind, name, _ := strings.Cut(s, ":")
		switch kind {
		case "ca", "tsa":
		case "signingAuthority":
			r.add(levelWarning, part, "Name trust stores of type ca, and tsa for timestamps, unless you know the signing authority to tell the time right.",
				"the policy %q in %s names the trust store %q: a signature that it takes says itself when it was made, and passes after its certificate has expired", policy, path, s)
		default:
			r.add(levelDanger, part, "Notation knows ca, signingAuthority and tsa.", "the policy %q in %s names the trust store %q, whose type Notation does not know", policy, path, s)
			continue
		}
		if !filepath.IsLocal(name) {
			r.add(levelDanger, part, "", "the policy %q in %s names the trust store %q, which is no name of one", policy, path, s)
			continue
		}
		dir := filepath.Join(storesDir, kind, name)
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			r.add(levelDanger, part, "notation cert add --type "+kind+" --store "+name+" FILE.", "the policy %q in %s names the trust store %q, which is missing or empty: %s", policy, path, s, dir)
			continue
		}
		for _, e := range entries {
			examineCertificates(r, kind, filepath.Join(dir, e.Name()), ofKey)
		}
	}
}

// examineCertificates: the file can be read, and what is in it is a root for timestamps, or else for ofKey to look at.
func examineCertificates(r *report, kind, path string, ofKey func(path string, cert *x509.Certificate)) {
	const part = "notation"
	data, err := readLimited(path, maxCertFile)
	if err != nil {
		r.add(levelDanger, part, "Remove it.", "%s cannot be read: %v", path, reason(err))
		return
	}
	certs, err := parseCertificates(data)
	if err != nil {
		r.add(levelDanger, part, "Remove it.", "%s is no certificate: %v", path, err)
		return
	}
	if kind == "tsa" {
		for _, cert := range certs {
			if cert.CheckSignatureFrom(cert) != nil || !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
				r.add(levelDanger, part, "Keep only the root certificates of timestamping authorities there.",
					"%s (%s) is no root certificate, so that Notation refuses all of the trust store", path, cert.Subject)
			}
		}
		return
	}
	for _, cert := range certs {
		ofKey(path, cert)
	}
}

// examineKeyCertificate: the certificate is of a key that the policy names. Notation trusts whatever else is there as much, and
// a signature that names no plugin is not asked for its key by ours.
func examineKeyCertificate(r *report, path string, cert *x509.Certificate, store *keystore.Store, policy string, named, anywhere namedKeys) {
	const part = "notation"
	const cure = "Keep only the certificates of the keys that the policy names there, or of the CA that issued them and nothing else."
	fingerprint, _, err := kmskey.FingerprintDER(cert.RawSubjectPublicKeyInfo)
	var arns []kmskey.ARN
	if err == nil {
		arns, err = store.ARNsByFingerprint(fingerprint)
	}
	switch {
	case named.now[fingerprint]:
	case err != nil || len(arns) == 0:
		r.add(levelWarning, part, cure, "%s (%s) is not the certificate of a key in the store", path, cert.Subject)
	case named.former[fingerprint]:
		r.add(levelWarning, part, "Remove it; or name that key's ARN beside the alias, or grant the alias its history: see docs/notation.md.",
			"%s (%s) is the certificate of %s, which an alias that the policy %q names meant before: what that key signed is refused", path, cert.Subject, arns[0], policy)
	case anywhere.now[fingerprint]:
		r.add(levelWarning, part, "Give each policy a trust store of its own.",
			"%s (%s) is the certificate of %s, which another policy names and %q does not", path, cert.Subject, arns[0], policy)
	case cert.IsCA, len(named.unresolved) > 0: // it may have issued the others; it may be of the key that could not be told
		r.add(levelWarning, part, cure, "%s (%s) is the certificate of %s, which is not known to be a key that the policy %q names", path, cert.Subject, arns[0], policy)
	default:
		r.add(levelDanger, part, cure, "%s (%s) is the certificate of %s, which the policy %q does not name", path, cert.Subject, arns[0], policy)
	}
}

// parseCertificates returns all certificates of a file, PEM or DER, as Notation does: it trusts every one of them.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		certs, err := x509.ParseCertificates(data)
		if err == nil && len(certs) == 0 {
			err = errors.New("it is empty")
		}
		return certs, err
	}
	var certs []*x509.Certificate
	for ; block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}
