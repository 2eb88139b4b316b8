package policy

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// strictHead and strictTail are what Strict returns, around the grants.
const strictHead = `{
  "version": "1",
  "description": "Only the keys of the grants verify, while their state is known and at most 30 days old, and nothing verifies unlogged.",
  "allowList": true,
  "store": {"permissions": "strict"},
  "log": {"mode": "required"},
  "notation": {"whenRevocationSkipped": "fail", "stateFailsIdentity": true},
  "grants": [`

const strictTail = `],
  "restrictions": [
    {
      "name": "every key",
      "requireKnownState": true,
      "maxSnapshotAge": "720h"
    }
  ]
}
`

// StrictFor returns a strict policy file: a list of allowed keys, a known state that is at most 720 hours old, a log that is
// required, and strict permissions. Its one grant is for keys, exact ARNs of keys or aliases; without any, nothing verifies
// until a grant is added. The error is that of Check.
func StrictFor(keys ...string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(strictHead)
	if len(keys) > 0 {
		b.WriteString("\n    {\n      \"name\": \"allowed keys\",\n      \"keys\": [")
		for i, key := range keys {
			if i > 0 {
				b.WriteString(",")
			}
			quoted, err := jsontext.AppendQuote(nil, key)
			if err != nil {
				return nil, kmserr.New(kmserr.Validation, "the key %q is no text in UTF-8", key)
			}
			b.WriteString("\n        " + string(quoted))
		}
		b.WriteString("\n      ],\n      \"verify\": true\n    }\n  ")
	}
	b.WriteString(strictTail)
	if _, err := CheckBytes(FileName, b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
