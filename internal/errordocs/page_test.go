package main

import (
	"os"
	"testing"
)

func TestPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Page() {
		t.Error("docs/errors.md is not what the table says: run `make docs`")
	}
}
