package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A watcher is told by the kernel of processes that end and of records that
// are written.
type watcher struct {
	s       *Supervisor
	died    func(Death)
	inotify *os.File
	waits   sync.WaitGroup

	mu      sync.Mutex
	folders map[int32]resource.ID // by watch descriptor
	watched map[string]bool       // instances
}

// Watch calls died for each gateway of the site that ends, whoever started it
// and whether or not it was asked to, until ctx is done; it returns ctx.Err().
// Gateways that are started later are watched too. died is never called
// concurrently. Nothing is polled.
func (s *Supervisor) Watch(ctx context.Context, died func(Death)) error {
	if err := durable.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("cannot watch gateways: %v", err)
	}
	w := &watcher{s: s, died: died, inotify: os.NewFile(uintptr(fd), "inotify"), folders: map[int32]resource.ID{}, watched: map[string]bool{}}
	defer w.waits.Wait()
	defer func() { _ = w.inotify.Close() }() // it holds no data
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := w.inotify.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("cannot watch gateways: %v", err)
	}
	undo := context.AfterFunc(ctx, func() { _ = w.inotify.SetReadDeadline(time.Unix(1, 0)) }) // it can be set, as it was above
	defer undo()
	if _, err := unix.InotifyAddWatch(fd, s.Dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return fmt.Errorf("cannot watch %q: %v", s.Dir, err)
	}
	ids, err := s.kept()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.follow(ctx, fd, id); err != nil {
			return err
		}
	}
	return w.run(ctx, fd)
}

// run reads what the kernel tells of folders and records.
func (w *watcher) run(ctx context.Context, fd int) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.inotify.Read(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("cannot watch gateways: %v", err)
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&rest[0]))
			end := unix.SizeofInotifyEvent + int(event.Len)
			name := strings.TrimRight(string(rest[unix.SizeofInotifyEvent:end]), "\x00")
			wd, mask := event.Wd, event.Mask
			rest = rest[end:]
			if err := w.told(ctx, fd, wd, mask, name); err != nil {
				return err
			}
		}
	}
}

// told acts on one event.
func (w *watcher) told(ctx context.Context, fd int, wd int32, mask uint32, name string) error {
	if mask&unix.IN_Q_OVERFLOW != 0 { // something was missed: look at all
		ids, err := w.s.kept()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := w.follow(ctx, fd, id); err != nil {
				return err
			}
		}
		return nil
	}
	if id, ok := w.folders[wd]; ok {
		switch {
		case mask&unix.IN_IGNORED != 0:
			delete(w.folders, wd)
		case name == resource.RecordFile:
			w.attend(ctx, id)
		}
		return nil
	}
	if id, ok := named(name); ok && mask&unix.IN_ISDIR != 0 {
		return w.follow(ctx, fd, id)
	}
	return nil
}

// follow watches the folder of a gateway, and its process when it has one.
func (w *watcher) follow(ctx context.Context, fd int, id resource.ID) error {
	wd, err := unix.InotifyAddWatch(fd, w.s.folder(id), unix.IN_MOVED_TO|unix.IN_ONLYDIR)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("cannot watch %s: %v", id, err)
	}
	w.folders[int32(wd)] = id
	w.attend(ctx, id)
	return nil
}

// attend waits, beside us, for the end of the process that the record names.
func (w *watcher) attend(ctx context.Context, id resource.ID) {
	dir := w.s.folder(id)
	record, err := readRecord(dir)
	if err != nil || record == nil {
		return // Look tells why
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched[record.Instance] {
		return
	}
	h, err := grab(record.Identity)
	if err != nil {
		return // it has ended before we came, which Look tells
	}
	w.watched[record.Instance] = true
	w.s.watching.Add(1)
	w.waits.Go(func() {
		defer h.close()
		defer w.s.watching.Add(-1)
		if h.wait(ctx) != nil {
			return // told to stop
		}
		w.bury(ctx, id, record.Identity, h)
	})
}

// bury tells of one death.
func (w *watcher) bury(ctx context.Context, id resource.ID, who resource.Identity, h *handle) {
	d := Death{ID: id, Instance: who.Instance, At: time.Now().UTC()}
	if up, err := age(who); err == nil {
		d.Lasted = up
	}
	w.s.detached.reaped(ctx, who.PID)
	dir := w.s.folder(id)
	if known := readEnding(dir); known != nil && known.Instance == who.Instance {
		d.Exit = &known.Exit
	} else if exit := h.exit(); exit != nil {
		exit.At = d.At
		d.Exit = exit
		if _, err := os.Stat(filepath.Join(dir, resource.RecordFile)); err == nil {
			noteExit(dir, who.Instance, *exit)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watched, who.Instance)
	w.died(d)
}

// exit asks the kernel how a process that was not ours to reap ended. Only
// Linux 6.15 and later can say, once somebody has reaped it; nil otherwise.
func (h *handle) exit() *resource.Exit {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return nil
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	var asked error
	if raw.Control(func(fd uintptr) { asked = unix.IoctlPidfdInfo(int(fd), &info) }) != nil || asked != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return nil
	}
	status := unix.WaitStatus(info.Exit_code)
	if status.Signaled() {
		return &resource.Exit{Signal: unix.SignalName(status.Signal())}
	}
	return &resource.Exit{Code: status.ExitStatus()}
}
