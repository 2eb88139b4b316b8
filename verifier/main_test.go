package verifier_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(deciderVariable); task != "" {
		os.Exit(runDecider(task))
	}
	dir, err := testenv.Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
