// Package notationwire is what the verifying and the signing plugin share of Notation's plugin contract 1.0 (Notary
// Project, plugin-extensibility.md): its version, Notation's algorithms, and one answer, which is a response on standard
// output with exit code 0 or the contract's error object on standard error with exit code 1.
package notationwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// ContractVersion is the only one spoken.
const ContractVersion = "1.0"

// errVersion marks the refusal that the contract has a code of its own for.
var errVersion = errors.New("unsupported contract version")

// Serve writes the one answer of a call and returns the exit code, 0 or 1. A panic, and what takes longer than deadline,
// is an error object.
func Serve(deadline time.Duration, stdout, stderr io.Writer, answer func(context.Context) ([]byte, error)) int {
	response, err := wire.Run(context.Background(), deadline, answer)
	return Write(stdout, stderr, response, err)
}

// Write writes the response to stdout, or where err is not nil its error object to stderr, and returns the exit code, 0 or 1.
func Write(stdout, stderr io.Writer, response []byte, err error) int {
	if err == nil {
		if _, err = stdout.Write(response); err == nil {
			return 0
		}
		err = kmserr.New(kmserr.Internal, "the response cannot be written: %v", err)
	}
	fmt.Fprintf(stderr, "%s\n", errorObject(err))
	return 1
}

// unsupportedVersion is the contract's code for errVersion; the codes of all other errors are in kmserr's table.
const unsupportedVersion = "UNSUPPORTED_CONTRACT_VERSION"

// errorObject is the contract's error for err, its code from the one table.
func errorObject(err error) []byte {
	e := kmserr.As(err)
	code := kmserr.Lookup(e.Name).Notation
	if e.Name == kmserr.Validation && errors.Is(e.Cause, errVersion) {
		code = unsupportedVersion
	}
	var out, metadata wire.Object
	metadata.Text("error", string(e.Name))
	if e.KeyARN != "" {
		metadata.Text("keyArn", e.KeyARN)
	}
	out.Text("errorCode", code)
	out.Text("errorMessage", wire.Text(err))
	out.Object("errorMetadata", metadata)
	return out.JSON()
}

// CheckVersion refuses a request of another contract version than ContractVersion.
func CheckVersion(version string) error {
	if version == ContractVersion {
		return nil
	}
	return kmserr.New(kmserr.Validation, "contractVersion is %.200q, expected %q", version, ContractVersion).WithCause(errVersion)
}

// Undecodable returns the refusal of a request that could not be decoded. If it says that it is of another contract
// version, which may well have another shape, that is the better reason.
func Undecodable(data []byte, err error) error {
	var only struct {
		ContractVersion string                    `json:"contractVersion"`
		Unknown         map[string]jsontext.Value `json:",embed"`
	}
	if strictjson.Decode(data, wire.MaxRequest, strictjson.Keep, &only) == nil && only.ContractVersion != "" && only.ContractVersion != ContractVersion {
		return CheckVersion(only.ContractVersion)
	}
	return kmserr.New(kmserr.Validation, "the request %v", err)
}
