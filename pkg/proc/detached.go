package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// detached keeps gateways as processes of their own that nobody watches. It is
// safe for concurrent use with different IDs.
type detached struct {
	*Config

	mu       sync.Mutex
	children map[int]*child // that this process started, until they are reaped
}

// A child is a process that we started.
type child struct {
	process *os.Process
	done    chan struct{} // closed when it was reaped
	exit    resource.Exit // once done is closed
}

// firstFD is the first descriptor of what a gateway is started with: listeners,
// and the pipe to say that it answers.
const firstFD = 3

// readyWord is what it says.
const readyWord = "READY\n"

// launch starts a process unless systemd would start another one beside it.
func (d *detached) launch(ctx context.Context, want resource.Spec) error {
	if err := d.mayStart(want.ID); err != nil {
		return err
	}
	log, err := d.ready(ctx, want, addresses(*want.Gateway))
	if err != nil {
		return err
	}
	return d.succeed(ctx, want, log, inheritance{})
}

// relaunch holds the listeners of the old process until the new one has them:
// nobody who connects in between is refused.
func (d *detached) relaunch(ctx context.Context, want resource.Spec, old resource.Running) error {
	if err := d.mayEnd(want.ID, old); err != nil {
		return err
	}
	log, err := d.ready(ctx, want, unheld(*want.Gateway, old))
	if err != nil {
		return err
	}
	left := d.inherit(ctx, want.ID, old)
	if err := d.end(ctx, want.ID, old); err != nil {
		left.close()
		return errors.Join(err, log.Close())
	}
	return d.succeed(ctx, want, log, left)
}

// ready does all that may fail before a process can be started, and gives its log.
func (d *detached) ready(ctx context.Context, want resource.Spec, bound []netip.AddrPort) (log *os.File, err error) {
	if err := d.prepare(ctx, want, bound); err != nil {
		return nil, err
	}
	log, err = os.OpenFile(filepath.Join(d.folder(want.ID), resource.LogFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the gateway's log: %v", err)
	}
	return log, nil
}

// succeed starts a process that serves the listeners which are left to it, and
// closes ours.
func (d *detached) succeed(ctx context.Context, want resource.Spec, log *os.File, left inheritance) error {
	defer func() { _ = log.Close() }() // written by the gateway alone
	defer left.close()
	left.only(addresses(*want.Gateway))
	dir := d.folder(want.ID)
	logged := logSize(dir)
	c, pipe, err := d.spawn(*want.Gateway, dir, log, left)
	if err != nil {
		return err
	}
	left.close()                        // what the process does not want is nobody's
	defer func() { _ = pipe.Close() }() // read only: nothing can be lost
	if err := c.ready(ctx, pipe, d.Ready); err != nil {
		return fmt.Errorf("%w%s", err, tail(dir, logged))
	}
	return nil
}

// spawn starts the process, in a session of its own, and gives the end of the
// pipe at which it says that it is ready.
func (d *detached) spawn(g resource.Gateway, dir string, log *os.File, left inheritance) (*child, *os.File, error) {
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
	argv := append([]string{d.Exe}, d.Args...)
	argv = append(argv, "--config", filepath.Join(dir, resource.ConfigFile), "--ready-fd", strconv.Itoa(firstFD+len(left.files)))
	p, err := os.StartProcess(d.Exe, argv, &os.ProcAttr{
		Dir:   "/",
		Env:   append(environ(d.Environ, g), left.environ()...),
		Files: append(append([]*os.File{null, log, log}, left.files...), theirs),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	c := &child{process: p, done: make(chan struct{})}
	d.mu.Lock()
	d.children[p.Pid] = c
	d.mu.Unlock()
	go d.reap(c, dir)
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
func (d *detached) reap(c *child, dir string) {
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
	d.mu.Lock()
	delete(d.children, c.process.Pid)
	d.mu.Unlock()
	close(c.done)
}

// noteExit writes how an instance ended, unless that is written already. It is
// for people, so a folder that is gone or full changes nothing.
func noteExit(dir, instance string, exit resource.Exit) {
	var known resource.Ending
	path := filepath.Join(dir, resource.ExitFile)
	if durable.ReadJSON(path, &known) == nil && known.Instance == instance {
		return
	}
	_ = durable.WriteJSON(path, resource.Ending{Instance: instance, Exit: exit})
}

// reaped waits until the end of a child of ours was noted, so that nobody
// writes into its folder any more.
func (d *detached) reaped(ctx context.Context, pid int) {
	d.mu.Lock()
	c := d.children[pid]
	d.mu.Unlock()
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
			return fmt.Errorf("it ended with %s before it answered", Ended(c.exit))
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

// Ended words how a process ended, after "it ended with".
func Ended(e resource.Exit) string {
	switch {
	case e.OOM:
		return "signal " + e.Signal + ", out of memory"
	case e.Signal != "":
		return "signal " + e.Signal
	}
	return "status " + strconv.Itoa(e.Code)
}

// mayStart fails where no manager is to keep a gateway, and its unit is there all
// the same.
func (d *detached) mayStart(id resource.ID) error {
	links, masks := d.enlisted(id)
	if d.Units.Manager != nil || len(links)+len(masks) == 0 {
		return nil
	}
	return fmt.Errorf("%s, and once one does, the unit of this gateway counts. Have one run: log in once, or sudo loginctl enable-linger "+
		"(obolctl boot status says more); or remove %q", d.Units.Why, append(links, masks...))
}

// mayEnd fails where somebody else keeps the process.
func (d *detached) mayEnd(gateway resource.ID, old resource.Running) error {
	if d.supervisor(gateway, old.Identity.PID) == resource.Systemd {
		return fmt.Errorf("systemd would start it again: systemctl --user disable --now %s", d.unit(gateway))
	}
	return nil
}

// end asks the process to stop, and kills it after the grace. A process that has
// ended is left alone, whoever has its PID now.
func (d *detached) end(ctx context.Context, gateway resource.ID, old resource.Running) error {
	if err := d.mayEnd(gateway, old); err != nil {
		return err
	}
	id := old.Identity
	h, err := grab(id)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.close()
	for _, step := range []struct {
		signal unix.Signal
		within time.Duration
	}{{unix.SIGTERM, d.Grace}, {unix.SIGKILL, killWithin}} {
		if err := h.signal(step.signal); err != nil {
			return fmt.Errorf("cannot stop process %d: %v", id.PID, err)
		}
		limited, cancel := context.WithTimeout(ctx, step.within)
		err := h.wait(limited)
		cancel()
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if err == nil {
			d.reaped(ctx, id.PID)
			return nil
		}
	}
	return fmt.Errorf("process %d does not end, not even when killed", id.PID)
}

// forget keeps systemd from starting a gateway that is gone: it may have been in a
// unit when there was a manager.
func (d *detached) forget(_ context.Context, id resource.ID) error {
	links, _ := d.enlisted(id)
	for _, link := range links {
		if err := durable.Remove(link); err != nil {
			return err
		}
	}
	return nil
}
