package main_test

import (
	"bytes"
	"os"
	"testing"
)

// TestReaderWentAway: who has read enough, as head has, is told nothing more.
func TestReaderWentAway(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, args := range [][]string{{"version"}, {"status"}, {"--help"}} {
		cmd := op.command(args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &said
		if err := cmd.Run(); err == nil || said.Len() > 0 {
			t.Errorf("obolctl %s: %v: %s", args, err, &said)
		}
	}
}
