package proc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A launcher starts and ends the processes of gateways. It does not decide:
// that one is to run, or not to run any more, was found out before.
type launcher interface {
	// launch starts a gateway and returns nil when it answers. On any error
	// nothing of what it started is left running, and the error carries the last
	// lines of the gateway's log.
	launch(ctx context.Context, want resource.Spec) error

	// relaunch replaces the process of a gateway as launch starts it, requests
	// in flight finished.
	relaunch(ctx context.Context, want resource.Spec, old resource.Running) error

	// end stops the process of a gateway, requests in flight finished. One that
	// has ended is left alone, whoever has its PID now.
	end(ctx context.Context, id resource.ID, old resource.Running) error

	// forget removes what is kept of a gateway that does not run any more, but
	// for its files.
	forget(ctx context.Context, id resource.ID) error
}

// supervisor tells who keeps the process of a gateway: the kernel knows which
// unit it is in.
func (c *Config) supervisor(id resource.ID, pid int) string {
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err == nil && bytes.Contains(groups, []byte("/"+c.unit(id)+"\n")) {
		return resource.Systemd
	}
	return resource.Detached
}

// supervises tells who would keep a gateway that does not run.
func (c *Config) supervises() string {
	if c.Units.Manager != nil {
		return resource.Systemd
	}
	return resource.Detached
}

// prepare writes what a gateway is started from, once nobody is in the way at the
// addresses that are to be bound.
func (c *Config) prepare(ctx context.Context, want resource.Spec, bound []netip.AddrPort) error {
	if err := portsFree(ctx, bound); err != nil {
		return err
	}
	dir := c.folder(want.ID)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := durable.Sweep(dir); err != nil {
		return err
	}
	if err := durable.WriteJSON(filepath.Join(dir, resource.ConfigFile), want.Gateway); err != nil {
		return err
	}
	return ctx.Err()
}

// logSize is how much a gateway has logged, in bytes; 0 when nobody can say.
func logSize(dir string) int64 {
	info, err := os.Stat(filepath.Join(dir, resource.LogFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail gives the last lines that were logged since the log had a size, indented
// below a line of their own; "" when there are none.
func tail(dir string, since int64) string {
	const empty = "; its log is empty"
	f, err := os.Open(filepath.Join(dir, resource.LogFile))
	if errors.Is(err, fs.ErrNotExist) {
		return empty
	}
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
		return empty
	}
	return "; its log ends with:\n  " + strings.Join(lines[max(0, len(lines)-10):], "\n  ")
}
