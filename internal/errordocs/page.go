package main

import (
	"fmt"
	"strings"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// Page returns docs/errors.md.
func Page() string {
	var b strings.Builder
	b.WriteString(`# Errors

Made from the table in ` + "`verifier/kmserr`" + ` by ` + "`make docs`" + `; do not edit.

A message reads "Name: what was found", and the next step is in the hint. The command line's exit codes: 0 verified or done,
1 decided, the answer is no, 2 the call or its files cannot be read as a question, 3 our side failed and nothing was decided. Several
at once: 3 over 2 over 1. Notation code is that of the plugin's error response; where the error is the answer to a capability,
the plugin answers ` + "`success: false`" + ` with the message as the reason instead.

[troubleshooting.md](troubleshooting.md) goes the other way: from what cosign, notation or a script shows to the error.
`)
	for _, e := range kmserr.Table() {
		fmt.Fprintf(&b, "\n## %s\n\n%s Exit code %d, Notation code %s.\n\n- **Usual causes.** %s\n- **Cure.** %s\n", e.Name, e.Meaning, e.Exit, e.Notation, e.Causes, e.Cure)
	}
	return b.String()
}
