package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/internal/strictjson"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// batchLine is one line of a batch. Bytes are in base64 (RFC 4648, section 4).
type batchLine struct {
	// ID is the caller's, a string or a number, and stands in the answer as it was given.
	ID               jsontext.Value `json:"id"`
	KeyID            string         `json:"key_id" strict:"required"`
	Message          *[]byte        `json:"message"`
	MessageFile      *string        `json:"message_file"`
	Digest           *[]byte        `json:"digest"`
	Signature        []byte         `json:"signature" strict:"required"`
	SigningAlgorithm *string        `json:"signing_algorithm"`
	MessageType      *string        `json:"message_type"`
	DistinguishingID *string        `json:"distinguishing_id"`
	SM2ENTL          *string        `json:"sm2_entl"`
}

// decodeBatchLine reads a line as JSON. Beside an error stands what was read before it, for the answer.
func decodeBatchLine(data []byte) (batchLine, error) {
	var q batchLine
	if err := strictjson.Decode(data, maxBatchLine, strictjson.Refuse, &q); err != nil {
		if !scalar(q.ID) {
			q.ID = nil
		}
		return q, invalid("the line %v", err).WithHint("docs/batch.md has the members of a line.")
	}
	if q.ID != nil && !scalar(q.ID) {
		q.ID = nil
		return q, invalid("the line has an id that is neither a string nor a number")
	}
	return q, nil
}

func scalar(v jsontext.Value) bool { return v.Kind() == '"' || v.Kind() == '0' }

// request is the question of the line. The message's file is opened by it, and closed by the batch.
func (q batchLine) request() (verifier.Request, error) {
	req := verifier.Request{KeyID: q.KeyID, Signature: q.Signature}
	var err error
	if req.SigningAlgorithm, err = notEmpty("signing_algorithm", q.SigningAlgorithm, kmskey.SigningAlgorithms()); err != nil {
		return req, err
	}
	if req.MessageType, err = notEmpty("message_type", q.MessageType, kmskey.MessageTypes()); err != nil {
		return req, err
	}
	if req.MessageType != kmskey.MessageTypeUnset && !slices.Contains(kmskey.MessageTypes(), req.MessageType) {
		return req, invalid("the member message_type is %q, expected %s", req.MessageType, kmskey.JoinNames(kmskey.MessageTypes())).
			WithHint("%s", kmskey.HintNearest(string(req.MessageType), kmskey.MessageTypes()))
	}
	given := 0
	for _, is := range []bool{q.Message != nil, q.MessageFile != nil, q.Digest != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return req, invalid("the line has %d of the members message, message_file and digest, expected one", given)
	}
	if q.DistinguishingID != nil {
		id, err := kmskey.ParseDistinguishingID(*q.DistinguishingID)
		if err != nil {
			return req, err
		}
		req.DistinguishingID = id
	}
	if q.SM2ENTL != nil {
		entl, ok := kmskey.ENTLNamed(*q.SM2ENTL)
		if !ok {
			return req, invalid("the member sm2_entl is %q, expected standard or aws-java-helper", *q.SM2ENTL)
		}
		req.ENTL = entl
	}
	switch {
	case q.Message != nil:
		req.Message = bytes.NewReader(*q.Message)
	case q.Digest != nil:
		if req.MessageType != kmskey.MessageTypeUnset && req.MessageType != kmskey.Digest {
			return req, invalid("the line has a digest and the message_type %s", req.MessageType).WithHint("Leave message_type out, or give the message.")
		}
		req.MessageType, req.Message = kmskey.Digest, bytes.NewReader(*q.Digest)
	default:
		f, err := openOrdinary(*q.MessageFile)
		if err != nil {
			return req, err
		}
		req.Message = f
	}
	return req, nil
}

// notEmpty returns the value of a member that holds one of KMS's names, the zero value where the line has no such member. An
// empty one is refused, as an empty flag is: whoever wrote it had something to say.
func notEmpty[T ~string](member string, value *string, names []T) (T, error) {
	switch {
	case value == nil:
		return "", nil
	case *value == "":
		return "", invalid("the line has an empty %s, expected one of: %s", member, kmskey.JoinNames(names)).WithHint("Give one, or leave the member out.")
	}
	return T(*value), nil
}

// openOrdinary opens the file that a line names. Nothing else is opened for it: reading a pipe or a terminal could hold the
// batch up for ever.
func openOrdinary(value string) (*os.File, error) {
	path := filePath(value)
	if path == "" || path == "-" {
		return nil, invalid("message_file is %q, expected a file", value)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("message_file names %s, which is not there", path).WithHint("A relative path begins at the working directory.")
	}
	var f *os.File
	if err == nil && info.Mode().IsRegular() { // merely to open a device may do something
		f, err = openIfOrdinary(path)
	}
	switch {
	case err != nil:
		return nil, invalid("message_file names %s, which cannot be read: %v", path, reason(err))
	case f == nil:
		return nil, invalid("message_file names %s, which is no ordinary file", path)
	}
	return f, nil
}
