package notation

import (
	"fmt"
	"os"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
)

func TestMain(m *testing.M) {
	dir, err := testenv.Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
