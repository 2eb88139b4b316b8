package notationwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// decoded reads an error object as Notation does.
func decoded(t *testing.T, object []byte) plugin.Error {
	t.Helper()
	var e plugin.Error
	if err := json.Unmarshal(object, &e); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return e
}

// TestErrorObject: a name decides the code by the one table, and no error is without text.
func TestErrorObject(t *testing.T) {
	for _, row := range kmserr.Table() {
		e := decoded(t, errorObject(kmserr.New(row.Name, "100%% %s", "x").WithKey("arn").WithHint("Do.")))
		if string(e.ErrCode) != row.Notation || e.Message != string(row.Name)+": 100% x. Do." || e.Metadata["error"] != string(row.Name) || e.Metadata["keyArn"] != "arn" {
			t.Errorf("%s: %+v", row.Name, e)
		}
	}
	if e := decoded(t, errorObject(io.EOF)); e.ErrCode != plugin.ErrorCodeGeneric || e.Message == "" || e.Metadata["error"] != "InternalException" {
		t.Errorf("got %+v", e)
	}
	if e := decoded(t, errorObject(kmserr.New(kmserr.StoreIntegrity, "x").WithCause(errVersion))); e.ErrCode != plugin.ErrorCodeGeneric {
		t.Errorf("got %+v", e)
	}
}

func TestVersion(t *testing.T) {
	if err := CheckVersion("1.0"); err != nil {
		t.Error(err)
	}
	for data, want := range map[string]plugin.ErrorCode{
		`{"contractVersion":"2.0","new":[}`:  plugin.ErrorCodeValidation,
		`{"contractVersion":"2.0","new":[]}`: plugin.ErrorCodeUnsupportedContractVersion,
		`{"contractVersion":"1.0"}`:          plugin.ErrorCodeValidation,
		`{"contractVersion":""}`:             plugin.ErrorCodeValidation,
		`{"contractVersion":2.0}`:            plugin.ErrorCodeValidation,
		``:                                   plugin.ErrorCodeValidation,
	} {
		if got := decoded(t, errorObject(Undecodable([]byte(data), errors.New("is odd")))); got.ErrCode != want {
			t.Errorf("%s: %v, expected %s", data, got, want)
		}
	}
	for _, version := range []string{"", "1", "1.0 ", "2.0"} {
		if got := decoded(t, errorObject(CheckVersion(version))); got.ErrCode != plugin.ErrorCodeUnsupportedContractVersion {
			t.Errorf("%q: %v", version, got)
		}
	}
}

// TestServe: one answer on one stream, whatever happens.
func TestServe(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context) ([]byte, error)
		code   int
		says   string
	}{
		"answer": {func(context.Context) ([]byte, error) { return []byte("{}"), nil }, 0, "{}"},
		"error":  {func(context.Context) ([]byte, error) { return []byte("{}"), io.EOF }, 1, `"errorCode":"ERROR"`},
		"panic":  {func(context.Context) ([]byte, error) { panic("oh") }, 1, `"errorCode":"ERROR"`},
		"hangs":  {func(context.Context) ([]byte, error) { select {} }, 1, `"errorCode":"TIMEOUT"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := Serve(50*time.Millisecond, &out, &errs, c.answer)
			said, silent := &out, &errs
			if c.code != 0 {
				said, silent = silent, said
			}
			if code != c.code || silent.Len() != 0 || !strings.Contains(said.String(), c.says) {
				t.Errorf("exit code %d, %q, %q", code, out.String(), errs.String())
			}
		})
	}
	var errs bytes.Buffer
	if code := Serve(time.Second, broken{}, &errs, func(context.Context) ([]byte, error) { return []byte("{}"), nil }); code != 1 || !strings.Contains(errs.String(), "cannot be written") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
