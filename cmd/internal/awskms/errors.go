package awskms

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// What to do about a key that KMS itself does not use.
const (
	hintDisabled = "Enable the key (aws kms enable-key), or use another."
	hintState    = "aws kms describe-key tells the key's state. One that is pending deletion comes back by aws kms cancel-key-deletion and enable-key; one that is being created or waits for its key material, once that is done."
)

// explain says what a failed call means and what to do. action is IAM's name of the call, ref what it was about.
func (c *Client) explain(err error, action string, ref kmskey.Ref) error {
	about := ref.String()
	if ref == (kmskey.Ref{Scope: ref.Scope}) {
		about = ref.Scope.Region
	}
	operation := strings.TrimPrefix(action, "kms:")
	fail := func(name kmserr.Name, hint string, args ...any) *kmserr.Error {
		var api smithy.APIError
		said := "cannot be asked: " + cause(err)
		if errors.As(err, &api) {
			said = "answered " + api.ErrorCode()
			if text := api.ErrorMessage(); text != "" {
				said += ": " + text
			}
		}
		return kmserr.New(name, "%s of %s: KMS %s", operation, about, said).WithHint(hint, args...).WithCause(err).WithKey(about)
	}
	if errors.Is(err, context.Canceled) {
		return kmserr.New(kmserr.DeadlineExceeded, "%s of %s was interrupted", operation, about).WithHint("Run the command again: what was stored is kept.").WithCause(err)
	}
	if errors.As(err, new(noCredentialsError)) {
		return kmserr.New(kmserr.AccessDenied, "%s of %s: there are no AWS credentials: %s", operation, about, cause(err)).
			WithHint("Set them as for the AWS CLI (environment, profile, aws sso login, the role of the machine); aws sts get-caller-identity tells whether they work. Check %s.", c.options.Profile).
			WithCause(err).WithKey(about)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fail(kmserr.KMSService, "Check the network, %s, %s and the credentials (aws sts get-caller-identity).", c.options.Region, c.options.EndpointURL)
	}
	if _, throttled := retry.DefaultThrottleErrorCodes[api.ErrorCode()]; throttled {
		if c.options.Parallel == "" {
			return fail(kmserr.Throttling, "Run the command again later.")
		}
		return fail(kmserr.Throttling, "Run the command again later; keys pull and refresh take a smaller %s.", c.options.Parallel)
	}
	switch code := strings.TrimSuffix(api.ErrorCode(), "Exception"); code {
	case "AccessDenied":
		resource := about
		if action == ActionListAliases || action == ActionListKeys {
			resource = "*"
		}
		printed := " (awskms-offline keys pull --print-iam-policy)"
		if action == ActionSign {
			printed = "" // it prints what a pull needs
		}
		return fail(kmserr.AccessDenied, "Allow %s on %s in the key policy or IAM policy of these credentials%s.", action, resource, printed)
	case "NotFound":
		return fail(kmserr.NotFound, "Check the identifier, its Region and its account.")
	case "DependencyTimeout", "RequestTimeout":
		return fail(kmserr.DeadlineExceeded, "Run the command again.")
	case "UnsupportedOperation":
		return fail(kmserr.UnsupportedOperation, "Only asymmetric keys have a public key.")
	case "InvalidArn", "Validation":
		return fail(kmserr.Validation, "Check the identifier.")
	case "ExpiredToken", "UnrecognizedClient", "InvalidSignature", "IncompleteSignature", "MissingAuthenticationToken", "InvalidClientTokenId":
		return fail(kmserr.AccessDenied, "Renew the credentials, for instance with aws sso login; then run the command again.")
	case "InvalidKeyUsage":
		return fail(kmserr.InvalidKeyUsage, "Ask for an algorithm that the key has: aws kms get-public-key lists them.")
	case "Disabled":
		return fail(kmserr.Disabled, hintDisabled)
	case "KMSInvalidState":
		return fail(kmserr.KMSInvalidState, hintState)
	}
	return fail(kmserr.KMSService, "Run the command again; if it stays, look at the AWS Health Dashboard.")
}

// notAllowed reports whether KMS answered, to known credentials, that they may not make this call. Credentials that have
// expired, say, are another matter: renewed, they may.
func notAllowed(err error) bool {
	var api smithy.APIError
	return kmserr.Is(err, kmserr.AccessDenied) && errors.As(err, &api) && strings.TrimSuffix(api.ErrorCode(), "Exception") == "AccessDenied"
}

// cause is the last of an error's chain that says something, without the SDK's account of every layer.
func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil || next.Error() == "" {
			return err.Error()
		}
		err = next
	}
}
