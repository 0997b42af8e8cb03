//go:build cluster

package main_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// asked runs obolctl at a terminal, where somebody types the answers. Stderr is
// what the terminal showed.
func (s *seller) asked(code int, answers []string, args ...string) result {
	s.t.Helper()
	ours, theirs := terminal(s.t)
	cmd := s.command(args...)
	var stdout, shown bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, &stdout, theirs
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := ours.WriteString(strings.Join(answers, "\n") + "\n"); err != nil {
		s.t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(&shown, ours)
		done <- err
	}()
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatal(err)
	}
	if err := <-done; err != nil && !errors.Is(err, unix.EIO) { // nobody has the terminal any more
		s.t.Fatal(err)
	}
	r := result{cmd.ProcessState.ExitCode(), stdout.String(), shown.String()}
	if r.code != code {
		s.t.Fatalf("obolctl %s, answered %q: want exit %d, got %s", strings.Join(args, " "), answers, code, r)
	}
	return r
}
