//go:build cluster

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

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

// terminal gives both ends of a new terminal.
func terminal(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() }) // nothing more is read
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
