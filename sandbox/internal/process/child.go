package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// A Child is a process that was started here and waits at a gate: it does
// nothing before Release, and ends if its parent dies before that. So it can be
// recorded first, and no process ever runs that nobody knows of.
type Child struct {
	Process
	gate  *os.File
	ready *os.File
}

// readyFD is where a child reports that it is ready: the first file after
// stdin, stdout and stderr.
const readyFD = 3

// Start runs this program again with args, in a session of its own, with dir as
// its working folder and its output appended to the file log.
func Start(dir, log string, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open a log: %w", err)
	}
	defer out.Close()
	gateOut, gate, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer gateOut.Close()
	ready, readyIn, err := os.Pipe()
	if err != nil {
		gate.Close()
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer readyIn.Close()

	cmd := exec.Command(self, args...) // no context: it outlives this program
	cmd.Dir = dir
	cmd.Env = []string{} // nothing in the caller's environment may change what it does
	cmd.Stdin, cmd.Stdout, cmd.Stderr = gateOut, out, out
	cmd.ExtraFiles = []*os.File{readyIn}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c := &Child{gate: gate, ready: ready}
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot start %q: %w", self, err)
	}
	c.Process, err = identify(cmd.Process.Pid)
	if err != nil {
		c.Close() // the child sees the gate fall and ends
		return nil, err
	}
	go cmd.Wait() // reaps it, should it end before this program does
	return c, nil
}

// Release lets the child begin.
func (c *Child) Release() error {
	if _, err := c.gate.Write([]byte{'\n'}); err != nil {
		return fmt.Errorf("cannot let process %d begin: %w", c.PID, err)
	}
	return c.gate.Close()
}

// AwaitReady returns when the child has reported that it is ready. It fails
// with [os.ErrProcessDone] if the child ended instead.
func (c *Child) AwaitReady(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.ready.Close() })
	defer stop()
	_, err := c.ready.Read(make([]byte, 1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return os.ErrProcessDone
	default:
		return err
	}
}

// Close gives up what ties the child to this program. A child that was not
// released ends.
func (c *Child) Close() {
	c.gate.Close()
	c.ready.Close()
}

// Gate is called by a child, with its standard input, before it does anything.
// It fails if the parent died, or gave up, before Release.
func Gate(stdin io.Reader) error {
	if _, err := stdin.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("cannot begin: the command that started this process is gone: %w", err)
	}
	return nil
}

// Ready is called by a child, once, when it is ready.
func Ready() error {
	f := os.NewFile(readyFD, "ready")
	defer f.Close()
	if _, err := f.Write([]byte{'\n'}); err != nil && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("cannot report that this process is ready: %w", err)
	}
	return nil
}
