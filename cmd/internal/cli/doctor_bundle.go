package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	bundleFormat = "awskms-offline-report/1"
	// maxBundleFiles bounds the list of the store's files, and bundleDays how far back refusals are counted.
	maxBundleFiles = 10_000
	bundleDays     = 30
)

// bundle is what a report of a fault needs, and nothing that is secret: no file's content, no identifier of an account.
type bundle struct {
	Format      string            `json:"Format"`
	Made        string            `json:"Made"` // RFC 3339
	Build       buildDetails      `json:"Build"`
	Environment map[string]string `json:"Environment"`
	Home        string            `json:"Home,omitempty"`
	HomeChosen  string            `json:"HomeChosenBy,omitempty"`
	Findings    []finding         `json:"Findings"`
	// Keys counts by "spec usage state".
	Keys  map[string]int `json:"Keys"`
	Files []bundleFile   `json:"Files"`
	// Refusals counts the log's last 30 days by the error's name.
	Refusals map[string]int `json:"Refusals"`
	// Missing says what could not be collected, and why.
	Missing []string `json:"Missing,omitempty"`
}

type bundleFile struct {
	Path string `json:"Path"`
	Mode string `json:"Mode"`
	Size int64  `json:"Size"`
}

// bundledVariables are the variables of the environment that this program, its clients and AWS's SDK go by. Only the paths
// among them are told; of the others, that they are set.
var bundledVariables = map[string]bool{
	keystore.EnvHome: true, "NOTATION_CONFIG": true, "NOTATION_LIBEXEC": true, "XDG_CONFIG_HOME": true, "XDG_STATE_HOME": true,
	wire.EnvExplain: false, "NO_COLOR": false, "HOME": false, "AWS_PROFILE": false, "AWS_REGION": false, "AWS_ACCESS_KEY_ID": false,
	"AWS_SESSION_TOKEN": false, "AWS_ENDPOINT_URL_KMS": false, "AWS_RETRY_MODE": false, "AWS_CA_BUNDLE": false, "HTTPS_PROXY": false,
	"GOMEMLIMIT": false, "GODEBUG": false,
}

// writeBundle writes the report to a new file.
func (a *app) writeBundle(file string, findings []finding, store *keystore.Store) error {
	b := bundle{
		Format: bundleFormat, Made: time.Now().UTC().Format(time.RFC3339), Build: buildDetailsOf(), Environment: map[string]string{},
		Findings: findings, Keys: map[string]int{}, Files: []bundleFile{}, Refusals: map[string]int{},
	}
	for name, told := range bundledVariables {
		if value, set := os.LookupEnv(name); set && told {
			b.Environment[name] = value
		} else if set {
			b.Environment[name] = "(set)"
		}
	}
	if store == nil {
		b.Missing = append(b.Missing, "the store, which cannot be opened")
	} else {
		b.ofStore(store)
	}
	b.ofLog(a)
	data, err := encoded(b, jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return writeNewFor("--bundle", file, []byte(scrub(string(data), personalFolders())+"\n"))
}

func (b *bundle) ofStore(store *keystore.Store) {
	b.Home, b.HomeChosen = store.Home().Path, store.Home().ChosenBy
	for entry, err := range store.List() {
		if err != nil {
			continue // it is among the findings
		}
		b.Keys[fmt.Sprintf("%s %s %s", entry.Key.Spec(), entry.Key.Usage(), entry.Key.State())]++
	}
	root := b.Home // which a walk does not enter if it is a link
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			b.Missing = append(b.Missing, err.Error())
			return nil
		}
		if len(b.Files) == maxBundleFiles {
			b.Missing = append(b.Missing, fmt.Sprintf("the store's files beyond the first %d", maxBundleFiles))
			return filepath.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			b.Missing = append(b.Missing, err.Error())
			return nil
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		b.Files = append(b.Files, bundleFile{filepath.ToSlash(below), info.Mode().String(), info.Size()})
		return nil
	})
	if err != nil {
		b.Missing = append(b.Missing, err.Error())
	}
}

func (b *bundle) ofLog(a *app) {
	path, err := verifier.LogPath(a.verifierOptions())
	if err != nil || path == "" || path == "-" {
		b.Missing = append(b.Missing, "the log, which is off, on standard error, or of a policy that cannot be read")
		return
	}
	filter := audit.Filter{Since: time.Now().AddDate(0, 0, -bundleDays), Result: audit.ResultRefused}
	for line, err := range audit.Lines(a.ctx, path, filter) {
		if err != nil {
			b.Missing = append(b.Missing, "of the log: "+string(kmserr.As(err).Name))
			continue
		}
		b.Refusals[line.ErrorCode]++
	}
}

// digits is any number. An AWS account's has accountDigits of them, whatever stands beside it: an alias or a folder may have
// a name such as prod_111122223333.
var digits = regexp.MustCompile(`[0-9]+`)

const accountDigits = 12

// scrub replaces account numbers, each by a name of its own, and the folders that hold a person's name.
func scrub(text string, folders []string) string {
	for _, folder := range folders {
		quoted, err := jsontext.AppendQuote(nil, folder) // as it stands in JSON
		if err != nil {
			continue // a folder that is no UTF-8 does not stand there
		}
		text = strings.ReplaceAll(text, strings.Trim(string(quoted), `"`), "~")
	}
	names := map[string]string{}
	return digits.ReplaceAllStringFunc(text, func(number string) string {
		if len(number) != accountDigits {
			return number
		}
		if names[number] == "" {
			names[number] = fmt.Sprintf("account-%d", len(names)+1)
		}
		return names[number]
	})
}

func personalFolders() []string {
	home, err := os.UserHomeDir()
	if err != nil || len(home) < 2 { // "/" says nothing about anybody
		return nil
	}
	return []string{home}
}
