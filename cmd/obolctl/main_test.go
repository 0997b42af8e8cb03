//go:build !cluster

package main_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	dir := buildBinary()
	code := m.Run()
	_ = os.RemoveAll(dir) // the temporary folder goes with the machine otherwise
	os.Exit(code)
}
