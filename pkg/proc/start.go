package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A child is a process that we started.
type child struct {
	process *os.Process
	done    chan struct{} // closed when it was reaped
	exit    resource.Exit // once done is closed
}

// readyFD is where a gateway finds the pipe to say that it answers.
const readyFD = 3

// readyWord is what it says.
const readyWord = "READY\n"

// start starts a gateway and returns when it answers. On any error the process
// it started is gone.
func (s *Supervisor) start(ctx context.Context, want resource.Spec) error {
	if err := s.portsFree(ctx, addresses(*want.Gateway)); err != nil {
		return fmt.Errorf("cannot start %s: %w", want.ID, err)
	}
	dir := s.folder(want.ID)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := durable.Sweep(dir); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, resource.ConfigFile), want.Gateway); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, resource.LogFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the gateway's log: %v", err)
	}
	defer func() { _ = log.Close() }() // written by the gateway alone
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("cannot open the gateway's log: %v", err)
	}
	c, pipe, err := s.spawn(*want.Gateway, dir, log)
	if err != nil {
		return fmt.Errorf("cannot start %s: %v", want.ID, err)
	}
	defer func() { _ = pipe.Close() }() // read only: nothing can be lost
	if err := c.ready(ctx, pipe, s.Ready); err != nil {
		return s.startFailed(ctx, want, fmt.Errorf("%w%s", err, tail(dir, info.Size())))
	}
	return nil
}

// startFailed gives the error of a start, unless another process has done what
// we tried to do.
func (s *Supervisor) startFailed(ctx context.Context, want resource.Spec, cause error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seen, err := s.settle(ctx, want.ID)
	if err == nil && seen.Presence == resource.Present && seen.Gateway.Answering && seen.Gateway.Identity.Digest == want.Digest() {
		return nil
	}
	return fmt.Errorf("cannot start %s: %w", want.ID, cause)
}

// spawn starts the process, in a session of its own, and gives the end of the
// pipe at which it says that it is ready.
func (s *Supervisor) spawn(g resource.Gateway, dir string, log *os.File) (*child, *os.File, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = null.Close() }() // read only: nothing can be lost
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = theirs.Close() }() // the child has its own
	argv := append([]string{s.Exe}, s.Args...)
	argv = append(argv, "--config", filepath.Join(dir, resource.ConfigFile), "--ready-fd", strconv.Itoa(readyFD))
	p, err := os.StartProcess(s.Exe, argv, &os.ProcAttr{
		Dir:   "/",
		Env:   environ(s.Environ, g),
		Files: []*os.File{null, log, log, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	c := &child{process: p, done: make(chan struct{})}
	s.mu.Lock()
	s.children[p.Pid] = c
	s.mu.Unlock()
	go s.reap(c, dir)
	return c, ours, nil
}

// environ picks what a gateway needs of an environment.
func environ(all []string, g resource.Gateway) []string {
	named := map[string]bool{"PATH": true, "HOME": true}
	for _, secret := range g.Headers {
		if secret.Env != "" {
			named[secret.Env] = true
		}
	}
	var out []string
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if named[name] || strings.HasPrefix(name, "XDG_") {
			out = append(out, kv)
		}
	}
	return out
}

// reap waits for a child's end and notes it where the child did not.
func (s *Supervisor) reap(c *child, dir string) {
	state, err := c.process.Wait()
	c.exit.At = time.Now().UTC()
	if err == nil {
		c.exit.Code = state.ExitCode()
		if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			c.exit.Code, c.exit.Signal = 0, unix.SignalName(ws.Signal())
		}
	}
	if record, err := readRecord(dir); err == nil && record != nil && record.PID == c.process.Pid {
		noteExit(dir, record.Instance, c.exit)
	}
	s.mu.Lock()
	delete(s.children, c.process.Pid)
	s.mu.Unlock()
	close(c.done)
}

// noteExit writes how an instance ended, unless that is written already. It is
// for people, so a folder that is gone or full changes nothing.
func noteExit(dir, instance string, exit resource.Exit) {
	var known resource.Ending
	path := filepath.Join(dir, resource.ExitFile)
	if readJSON(path, &known) == nil && known.Instance == instance {
		return
	}
	_ = writeJSON(path, resource.Ending{Instance: instance, Exit: exit})
}

// reaped waits until the end of a child of ours was noted, so that nobody
// writes into its folder any more.
func (s *Supervisor) reaped(ctx context.Context, pid int) {
	s.mu.Lock()
	c := s.children[pid]
	s.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

// ready returns nil when the child said that it answers. On any error the
// child is gone: killed, unless it ended by itself.
func (c *child) ready(ctx context.Context, pipe *os.File, within time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	said := make(chan bool, 1)
	go func() {
		word := make([]byte, len(readyWord))
		_, err := io.ReadFull(pipe, word)
		said <- err == nil && string(word) == readyWord
	}()
	var err error
	for err == nil {
		select {
		case ok := <-said:
			if ok {
				return nil
			}
			said = nil // it closed the pipe: it is about to end, or never will say
		case <-c.done: // whoever inherited the pipe may hold it open
			return fmt.Errorf("it ended with %s before it answered", ended(c.exit))
		case <-limited.Done():
			err = fmt.Errorf("it did not answer within %v", within)
		}
	}
	killed := c.process.Kill()
	if errors.Is(killed, os.ErrProcessDone) {
		killed = nil
	}
	if killed == nil {
		<-c.done
	}
	return errors.Join(ctx.Err(), err, killed)
}

func ended(e resource.Exit) string {
	if e.Signal != "" {
		return "signal " + e.Signal
	}
	return "status " + strconv.Itoa(e.Code)
}

// tail gives the last lines that were logged since the log had a size, indented
// below a line of their own; "" when there are none.
func tail(dir string, since int64) string {
	f, err := os.Open(filepath.Join(dir, resource.LogFile))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	if info.Size() < since {
		since = 0 // another file by now
	}
	from := max(since, info.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	if from > since {
		_, text, _ = bytes.Cut(text, []byte("\n")) // the first line is not whole
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[0] == "" {
		return "; its log is empty"
	}
	return "; its log ends with:\n  " + strings.Join(lines[max(0, len(lines)-10):], "\n  ")
}
