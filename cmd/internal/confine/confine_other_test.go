//go:build !linux

package confine

import (
	"errors"
	"testing"
)

func TestExecUnsupported(t *testing.T) {
	if err := Exec("program", nil, nil); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
