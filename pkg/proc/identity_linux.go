package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

// age tells for how long the process of an identity has run, by the clock that
// counts from boot: nobody sets that one.
func age(id resource.Identity) (time.Duration, error) {
	const tick = time.Second / 100 // USER_HZ, on all platforms that Go knows
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("cannot tell for how long process %d runs: %v", id.PID, err)
	}
	return time.Duration(now.Nano()) - time.Duration(id.StartTicks)*tick, nil
}

// strays finds processes of this account that run as gateways of Dir, by the
// path of their configuration: a gateway that has just been started has no
// record yet.
func (s *Supervisor) strays() (map[string]resource.Identity, error) {
	boot, err := kernel.BootID()
	if err != nil {
		return nil, err
	}
	var exe unix.Stat_t
	if err := unix.Stat(s.Exe, &exe); err != nil {
		return nil, fmt.Errorf("cannot identify the executable of gateways %q: %v", s.Exe, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot look for gateways: %v", err)
	}
	out := map[string]resource.Identity{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		path := s.servedBy(pid)
		if path == "" {
			continue
		}
		id, err := kernel.Observe(pid, boot)
		if err == nil && id != nil && id.ExeDevice == exe.Dev && id.ExeInode == exe.Ino {
			out[path] = *id
		}
	}
	return out, nil
}

// servedBy gives the configuration that a process serves as a gateway of Dir,
// or "" when it is something else, or another account's.
func (s *Supervisor) servedBy(pid int) string {
	dir := "/proc/" + strconv.Itoa(pid)
	line, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return ""
	}
	argv := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	lead := append(slices.Clone(s.Args), "--config")
	if len(argv) < len(lead)+2 || !slices.Equal(argv[1:1+len(lead)], lead) {
		return ""
	}
	path := argv[1+len(lead)]
	if filepath.Dir(filepath.Dir(path)) != s.Dir {
		return ""
	}
	var owner unix.Stat_t
	if unix.Stat(dir, &owner) != nil || int(owner.Uid) != os.Getuid() {
		return ""
	}
	return path
}

// A handle is one process for good: its PID may be used again, the handle never
// means another.
type handle struct{ fd *os.File }

// grab opens the process of an identity. It fails with errGone when that has
// ended, whoever has its PID now, and for nobody.
func grab(id resource.Identity) (*handle, error) {
	if id.PID == 0 {
		return nil, errGone
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		if kernel.Gone(err) {
			return nil, errGone
		}
		return nil, fmt.Errorf("cannot open process %d: %v", id.PID, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that waiting costs no thread
		return nil, errors.Join(fmt.Errorf("cannot open process %d: %v", id.PID, err), unix.Close(fd))
	}
	h := &handle{os.NewFile(uintptr(fd), "pidfd")}
	boot, err := kernel.BootID()
	// Whoever is checked now is who the handle means, unless that has ended
	// since the PID was looked up: then the handle says so.
	if err == nil {
		var ours bool
		if ours, err = alive(id, boot); err == nil && (!ours || h.ended()) {
			err = errGone
		}
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *handle) close() { _ = h.fd.Close() } // nothing was written

func (h *handle) signal(sig unix.Signal) error {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if kernel.Gone(sent) {
		return nil
	}
	return sent
}

// ended tells whether the process has ended.
func (h *handle) ended() bool {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return false
	}
	over := false
	err = raw.Control(func(fd uintptr) { over = readable(fd) })
	return err == nil && over
}

func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// wait returns nil when the process has ended, and ctx.Err() when ctx is done
// before. The runtime's poller does the waiting.
func (h *handle) wait(ctx context.Context) error {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return err
	}
	if err := h.fd.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("cannot wait for a process: %v", err)
	}
	undo := context.AfterFunc(ctx, func() { _ = h.fd.SetReadDeadline(time.Unix(1, 0)) }) // it can be set, as it was above
	defer undo()
	err = raw.Read(readable)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}
