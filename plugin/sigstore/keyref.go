package sigstore

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Names of the options of a key reference.
const (
	optionAlgorithm        = "signing-algorithm"
	optionDistinguishingID = "distinguishing-id"
	optionENTL             = "sm2-entl"
)

// maxReference is the longest key reference read, in bytes: an identifier, and the longest distinguishing ID with every
// byte in hexadecimal digits.
const maxReference = 32 << 10

const referenceForms = "A key reference is " + Scheme + "://KEY with a key ARN, an alias ARN, a key ID or alias/NAME, then, if need be, ?" +
	optionAlgorithm + "=…&" + optionDistinguishingID + "=…&" + optionENTL + "=…"

// keyReference is a key and how to use it, as a user writes it behind awskms-offline://.
type keyReference struct {
	// keyID is any of KMS's four forms, not looked into here.
	keyID            string
	algorithm        kmskey.SigningAlgorithm
	distinguishingID kmskey.DistinguishingID
	entl             kmskey.ENTL
}

// parseKeyReference reads all that stands behind the first "://" of a --key. One more slash is taken, as people know it
// from awskms:///; a host between the slashes is not. Key and values may be percent-encoded (RFC 3986, section 2.1); + is
// itself.
func parseKeyReference(text string) (keyReference, error) {
	var ref keyReference
	if len(text) > maxReference {
		return ref, invalid("the key reference is %d bytes long, expected at most %d", len(text), maxReference)
	}
	path, query, hasQuery := strings.Cut(text, "?")
	if extra := len(path) - len(strings.TrimLeft(path, "/")); extra > 1 {
		return ref, invalid("the key reference starts with %d slashes, expected two or three", extra+2).WithHint("%s", referenceForms)
	}
	path = strings.TrimPrefix(path, "/")
	key, err := percentDecoded(path)
	if err != nil {
		return ref, invalid("the key reference %q: %v", path, err).WithHint("%s", referenceForms)
	}
	if key == "" {
		return ref, invalid("the key reference names no key").WithHint("%s", referenceForms)
	}
	if host, rest, slash := strings.Cut(key, "/"); slash && host != "alias" && !strings.HasPrefix(key, "arn:") {
		return ref, invalid("the key reference names %q before the key %q, and no host is asked here: keys come from the store on this machine", host, rest).
			WithHint("Leave the endpoint out: %s:///%s.", Scheme, rest)
	}
	ref.keyID = key
	if !hasQuery {
		return ref, nil
	}
	seen := make(map[string]bool)
	for _, pair := range strings.Split(query, "&") {
		name, value, valued := strings.Cut(pair, "=")
		if value, err = percentDecoded(value); err != nil {
			return ref, invalid("the option %s of the key reference: %v", name, err)
		}
		switch {
		case !valued:
			return ref, invalid("the option %q of the key reference has no value", name).WithHint("%s", referenceForms)
		case seen[name]:
			return ref, invalid("the option %s stands twice in the key reference", name)
		}
		seen[name] = true
		if err := ref.set(name, value); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

func (ref *keyReference) set(name, value string) (err error) {
	switch name {
	case optionAlgorithm:
		ref.algorithm = kmskey.SigningAlgorithm(value)
		if !ref.algorithm.Known() {
			return invalid("the option %s is %q, expected one of KMS's: %s", name, value, kmskey.JoinNames(kmskey.SigningAlgorithms())).
				WithHint("%s", kmskey.HintNearest(value, kmskey.SigningAlgorithms()))
		}
	case optionDistinguishingID:
		ref.distinguishingID, err = kmskey.ParseDistinguishingID(value)
	case optionENTL:
		var known bool
		if ref.entl, known = kmskey.ENTLNamed(value); !known {
			return invalid("the option %s is %q, expected standard or aws-java-helper", name, value)
		}
	case "message-type":
		return invalid("a key reference has no option message-type").
			WithHint("cosign says itself whether it gives a message or a digest.")
	default:
		return invalid("the key reference has the unknown option %q", name).WithHint("%s", referenceForms)
	}
	if err != nil {
		return kmserr.As(err)
	}
	return nil
}

// percentDecoded replaces %XX by its byte (RFC 3986, section 2.1). net/url has the same (a test compares them), but links
// package net/netip, for which the plugin would start later.
func percentDecoded(text string) (string, error) {
	before, rest, found := strings.Cut(text, "%")
	var decoded strings.Builder
	for found {
		decoded.WriteString(before)
		if len(rest) < 2 {
			return "", fmt.Errorf("invalid URL escape %q", "%"+rest)
		}
		octet, err := hex.DecodeString(rest[:2])
		if err != nil {
			return "", fmt.Errorf("invalid URL escape %q", "%"+rest[:2])
		}
		decoded.Write(octet)
		before, rest, found = strings.Cut(rest[2:], "%")
	}
	decoded.WriteString(before)
	return decoded.String(), nil
}
