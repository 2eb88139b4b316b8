package awskms

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// TestHintsNameTheCallersOptions: whoever has no flags reads of none, and whoever says nothing reads of the command line's.
func TestHintsNameTheCallersOptions(t *testing.T) {
	own := OptionNames{Profile: "PROFILE=", Region: "REGION=", EndpointURL: "ENDPOINT="}
	failures := map[string]error{"no credentials": noCredentialsError{errors.New("none")}, "no network": errors.New("refused"), "interrupted": context.Canceled}
	for _, code := range []string{
		"ThrottlingException", "AccessDeniedException", "NotFoundException", "DependencyTimeoutException", "RequestTimeout", "UnsupportedOperationException",
		"InvalidArnException", "ExpiredTokenException", "InvalidKeyUsageException", "DisabledException", "KMSInvalidStateException", "KMSInternalException",
	} {
		failures[code] = &smithy.GenericAPIError{Code: code}
	}
	ref, err := kmskey.ParseRef("arn:aws:kms:us-east-1:111122223333:alias/release")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{ // by the flags' names
		"no credentials": "Check --profile.", "no network": "--region, --endpoint-url and", "ThrottlingException": "smaller --parallel.", "no Region": "Give --region,",
	}
	check := func(name, action string, byFlags, byOwn error) {
		t.Helper()
		flags, others := kmserr.As(byFlags).Hint, kmserr.As(byOwn).Hint
		if want := named[name]; !strings.Contains(flags, want) {
			t.Errorf("%s: %q is not in %q", name, want, flags)
		}
		for _, command := range []string{"awskms-offline keys pull --print-iam-policy"} { // which is whole
			others = strings.ReplaceAll(others, command, "")
		}
		if strings.Contains(others, "--") || others == "" {
			t.Errorf("%s of %s: the hint is %q", name, action, others)
		}
	}
	flagged, ours := &Client{options: OptionNames{}.orFlags()}, &Client{options: own.orFlags()}
	for name, failure := range failures {
		for _, action := range []string{ActionGetPublicKey, ActionDescribeKey, ActionListAliases, ActionListKeys, ActionListResourceTags, ActionSign} {
			check(name, action, flagged.explain(failure, action, ref), ours.explain(failure, action, ref))
		}
	}
	check("no Region", "", flagged.NoRegion(), ours.NoRegion())

	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	for name, attempts := range map[string]string{"no such profile": "", "no number": "many"} {
		t.Setenv("AWS_MAX_ATTEMPTS", attempts)
		named[name] = "Check --profile"
		_, byFlags := New(t.Context(), Config{Profile: "nobody"})
		_, byOwn := New(t.Context(), Config{Profile: "nobody", Options: own})
		check(name, "", byFlags, byOwn)
		if !strings.Contains(kmserr.As(byOwn).Hint, own.Profile) {
			t.Errorf("%s: the hint is %q", name, kmserr.As(byOwn).Hint)
		}
	}
}
