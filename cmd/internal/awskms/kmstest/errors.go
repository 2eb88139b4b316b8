package kmstest

import (
	"fmt"
	"net/http"
	"strings"
)

// Error is an error answer of KMS.
type Error struct {
	// Code is the name, for example "NotFoundException".
	Code string
	// Message is the text; several errors of KMS have none.
	Message string
	// Status is the HTTP status; 0 is 400, which KMS answers for everything that the caller did, whatever the status in
	// the API's model says.
	Status int
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func (e *Error) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// Errors that KMS answers for reasons of its own; use them with Fail.
var (
	// Throttling asks the caller to come back later.
	Throttling = &Error{Code: "ThrottlingException",
		Message: "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}
	// ExpiredToken is the answer to temporary credentials that are too old.
	ExpiredToken = &Error{Code: "ExpiredTokenException", Message: "The security token included in the request is expired"}
	// UnknownToken is the answer to an access key that AWS does not know.
	UnknownToken = &Error{Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}
	// InternalFailure is a failure of KMS itself.
	InternalFailure = &Error{Code: "KMSInternalException", Status: http.StatusInternalServerError,
		Message: "The request was rejected because an internal exception occurred. The request can be retried."}
	// DependencyTimeout is a failure of something that KMS needs.
	DependencyTimeout = &Error{Code: "DependencyTimeoutException", Status: http.StatusServiceUnavailable,
		Message: "The system timed out while trying to fulfill the request. You can retry the request."}
)

func validation(format string, args ...any) *Error {
	return &Error{Code: "ValidationException", Message: fmt.Sprintf(format, args...)}
}

// constraint is the error of a member that breaks the API's model. The value is not told where it is binary.
func constraint(value any, member, rule string) *Error {
	told := ""
	switch v := value.(type) {
	case nil:
		told = "Value null"
	case []byte:
		told = "Value"
	default:
		told = fmt.Sprintf("Value '%v'", v)
	}
	return validation("1 validation error detected: %s at '%s' failed to satisfy constraint: Member must %s", told, member, rule)
}

func notOneOf(value, member string, allowed []string) *Error {
	return constraint(value, member, "satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
}

func notFound(format string, args ...any) *Error {
	return &Error{Code: "NotFoundException", Message: fmt.Sprintf(format, args...)}
}

func accessDenied(caller Caller, action, resource string) *Error {
	return &Error{Code: "AccessDeniedException", Message: fmt.Sprintf(
		"User: %s is not authorized to perform: kms:%s on resource: %s because no identity-based policy allows the kms:%s action",
		caller.ARN, action, resource, action)}
}

// stateError is the error of a key that cannot be used in its state.
func stateError(k *key) *Error {
	text := map[string]string{
		"PendingDeletion":        "pending deletion",
		"PendingReplicaDeletion": "pending replica deletion",
		"PendingImport":          "pending import",
		"Unavailable":            "unavailable",
		"Creating":               "creating",
		"Updating":               "updating",
		"Disabled":               "disabled",
	}[k.state.Name]
	if text == "" {
		text = "in state " + k.state.Name
	}
	code := "KMSInvalidStateException"
	if k.state.Name == "Disabled" {
		code = "DisabledException"
	}
	return &Error{Code: code, Message: k.arn() + " is " + text + "."}
}
