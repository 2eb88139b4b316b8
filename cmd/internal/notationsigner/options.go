package notationsigner

import (
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Options of --plugin-config.
const (
	optionChain              = "certificate-chain"
	optionVerificationPlugin = "verification-plugin"
	optionRegion             = "region"
	optionProfile            = "profile"
	optionEndpoint           = "endpoint-url"
	optionHome               = "home"
	optionTSAURL             = "tsa-url"
	optionTSARoot            = "tsa-root"
)

var allOptions = []string{
	optionChain, optionVerificationPlugin, optionRegion, optionProfile, optionEndpoint, optionHome, optionTSAURL, optionTSARoot,
}

// kmsOptions are the names of those that are about KMS, as a user gives them to notation.
var kmsOptions = awskms.OptionNames{
	Region: "--plugin-config " + optionRegion + "=REGION", Profile: "--plugin-config " + optionProfile + "=NAME",
	EndpointURL: "--plugin-config " + optionEndpoint + "=URL",
}

// options are a call's, checked.
type options struct {
	// verificationPlugin makes the signature name our verification plugin, which an envelope of ours does and a raw
	// signature cannot.
	verificationPlugin bool
	// chain is the path of the certificate chain; empty: the one in the home that belongs to the key.
	chain string
	// home is nil where the option is not given.
	home *string
	kms  awskms.Config
	// tsaURL and tsaRoot are both given or both empty.
	tsaURL, tsaRoot string
}

// decodeOptions checks everything in a pluginConfig that needs neither a file nor the network. Its errors are
// ValidationExceptions that name the option.
func decodeOptions(config map[string]string) (options, error) {
	o := options{verificationPlugin: true, kms: awskms.Config{Options: kmsOptions}}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		value := config[name]
		if slices.Contains(allOptions, name) && value == "" {
			return options{}, invalid("the plugin option %s is empty", name).WithHint("Give it a value, or leave it out.")
		}
		var err error
		switch name {
		case optionChain:
			o.chain = value
			err = absolute(name, value)
		case optionHome:
			o.home = &value
			err = absolute(name, value)
		case optionTSARoot:
			o.tsaRoot = value
			err = absolute(name, value)
		case optionVerificationPlugin:
			switch value {
			case "on":
			case "off":
				o.verificationPlugin = false
			default:
				err = invalid("the plugin option %s is %q, expected on or off", name, value)
			}
		case optionRegion:
			o.kms.Region = value
			if (kmskey.Scope{Partition: "aws", Region: value, Account: "000000000000"}).Check() != nil {
				err = invalid("the plugin option %s is %q, which is no AWS Region", name, value)
			}
		case optionProfile:
			o.kms.Profile = value
		case optionEndpoint:
			o.kms.EndpointURL = value
			err = httpURL(name, value)
		case optionTSAURL:
			o.tsaURL = value
			err = httpURL(name, value)
		default:
			err = invalid("there is no plugin option %q, expected one of: %s", name, strings.Join(allOptions, ", ")).
				WithHint("Leave it out of --plugin-config.")
		}
		if err != nil {
			return options{}, err
		}
	}
	return o, o.check()
}

// check looks at options that depend on one another.
func (o options) check() error {
	switch {
	case o.tsaURL == "" && o.tsaRoot == "":
		return nil
	case o.tsaURL == "":
		return invalid("the plugin option %s is given without %s", optionTSARoot, optionTSAURL)
	case o.tsaRoot == "":
		return invalid("the plugin option %s is given without %s, the file with the authority's root certificate", optionTSAURL, optionTSARoot)
	case !o.verificationPlugin:
		return invalid("the plugin option %s is given, but with %s=off Notation makes the envelope", optionTSAURL, optionVerificationPlugin).
			WithHint("Use notation's own flags --timestamp-url and --timestamp-root-cert.")
	}
	return nil
}

func absolute(option, path string) error {
	if filepath.IsAbs(path) {
		return nil
	}
	return invalid("the plugin option %s is %q, expected an absolute path", option, path).
		WithHint("Notation may keep options for later calls, from other folders: give the full path.")
}

func httpURL(option, text string) error {
	u, err := url.Parse(text)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return nil
	}
	shown, _, queried := strings.Cut(withoutCredentials(text, text), "?")
	if queried {
		shown += "?…"
	}
	return invalid("the plugin option %s is %q, expected an http or https URL", option, shown)
}

// withoutCredentials leaves user and password of a URL out of a text that quotes it: errors end in the logs of a CI. Of what
// is no URL, as one with a # in its password, it leaves out all up to the last @.
func withoutCredentials(text, link string) string {
	start, end := 0, len(link)
	if i := strings.Index(link, "//"); i >= 0 {
		start = i + 2
	}
	if u, err := url.Parse(link); err == nil && u.Host != "" {
		if u.User == nil {
			return text
		}
		if i := strings.IndexAny(link[start:], "/?#"); i >= 0 {
			end = start + i
		}
	}
	at := strings.LastIndexByte(link[start:end], '@')
	if at < 0 {
		return text
	}
	return strings.ReplaceAll(text, link[start:start+at+1], "…@")
}

func invalid(format string, args ...any) *kmserr.Error {
	return kmserr.New(kmserr.Validation, format, args...)
}
