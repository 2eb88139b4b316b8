// Command alwaysyes is a Notation plugin that says yes to every signature. A test installs it, as notation-always-yes,
// to show what one careless plugin beside ours does to a trust policy, or puts it beside notation's folders under another name
// (fixture.PlantedPlugin), to show what any file does that a signature can name: nothing else may use it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const metadata = `{"name":%q,"description":"says yes to every signature","version":"1.0.0",` +
	`"url":"https://example.com","supportedContractVersions":["1.0"],` +
	`"capabilities":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK"]}`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: %s get-plugin-metadata|verify-signature", os.Args[0])
	}
	if os.Args[1] == "get-plugin-metadata" {
		name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
		if installed, ok := strings.CutPrefix(name, "notation-"); ok {
			name = installed
		} else {
			name = "../../../" + name
		}
		_, err := fmt.Printf(metadata+"\n", name)
		return err
	}
	var request struct {
		Signature struct {
			CriticalAttributes struct {
				ExtendedAttributes map[string]any `json:"extendedAttributes"`
			} `json:"criticalAttributes"`
		} `json:"signature"`
		TrustPolicy struct {
			SignatureVerification []string `json:"signatureVerification"`
		} `json:"trustPolicy"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		return err
	}
	results := make(map[string]any)
	for _, capability := range request.TrustPolicy.SignatureVerification {
		results[capability] = map[string]any{"success": true}
	}
	processed := make([]string, 0)
	for name := range request.Signature.CriticalAttributes.ExtendedAttributes {
		processed = append(processed, name)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"verificationResults": results, "processedAttributes": processed})
}
