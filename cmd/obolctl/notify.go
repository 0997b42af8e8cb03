package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/gateway"
)

// A manager is the service manager that started this process, at its socket for
// notices (sd_notify). It keeps listeners for the next process of the unit.
type manager struct{ socket string }

// managerOf finds it. What the environment says of it is for this process, and
// taken out of it.
func managerOf(p process) (m manager, there bool, err error) {
	m.socket = p.getenv("NOTIFY_SOCKET")
	return m, m.socket != "", os.Unsetenv("NOTIFY_SOCKET")
}

// managerPatience is how long the manager may take to take a notice, or to do
// what it was told.
const managerPatience = 5 * time.Second

// tell sends a notice, and descriptors with it.
func (m manager) tell(notice string, fds ...int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) // not every system has SOCK_CLOEXEC
	if err != nil {
		return fmt.Errorf("cannot tell the service manager: %v", err)
	}
	unix.CloseOnExec(fd)                  // soon enough: a gateway starts no process
	defer func() { _ = unix.Close(fd) }() // a datagram is whole or was not sent
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	limit := unix.NsecToTimeval(managerPatience.Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	if err == nil {
		err = unix.Sendmsg(fd, []byte(notice), rights, &unix.SockaddrUnix{Name: m.socket}, unix.MSG_NOSIGNAL)
	}
	if err != nil {
		return fmt.Errorf("cannot tell the service manager: %v", err)
	}
	return nil
}

// Keep implements [gateway.Store]. The manager knows a descriptor that it has
// already.
func (m manager) Keep(l net.Listener) error {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return errors.New("it has no descriptor")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { err = m.tell("FDSTORE=1\nFDNAME="+storedName(l), int(fd)) })
	return errors.Join(controlErr, err)
}

// Drop implements [gateway.Store].
func (m manager) Drop(l net.Listener) error {
	if err := m.tell("FDSTOREREMOVE=1\nFDNAME=" + storedName(l)); err != nil {
		return err
	}
	return m.caughtUp()
}

// storedName names a listener in the manager's store, where a colon separates
// names.
func storedName(l net.Listener) string { return strings.ReplaceAll(l.Addr().String(), ":", "_") }

// caughtUp returns when the manager has done all that it was told so far: it
// closes the descriptor that comes with a barrier.
func (m manager) caughtUp() error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }() // nothing is read but its end
	err = errors.Join(m.tell("BARRIER=1", int(theirs.Fd())), theirs.Close(), ours.SetReadDeadline(time.Now().Add(managerPatience)))
	if err != nil {
		return err
	}
	if _, err := ours.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the service manager does not follow within %v", managerPatience)
	}
	return nil
}

// supervised lets the manager know how a gateway is, and keep its listeners.
func (m manager) supervised(o *gateway.Options) error {
	limit, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		return fmt.Errorf("cannot satisfy the watchdog: %v", err)
	}
	o.Store, o.Watchdog = m, limit/2
	o.Alive = func() { _ = m.tell(daemon.SdNotifyWatchdog) } // what it is not told of, it ends
	return nil
}

// stopping tells the manager as soon as ctx is done. When told has returned,
// nothing is told any more.
func (m manager) stopping(ctx context.Context) (told func()) {
	sent := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(sent)
		_ = m.tell(daemon.SdNotifyStopping) // it sees the end itself
	})
	return func() {
		if !forget() {
			<-sent
		}
	}
}

// inherited are the listeners that this process was started with. A service
// manager says for which process they are; what starts a detached gateway
// cannot know that yet, and says so by wanting to be told at readyFD.
func inherited(p process, readyFD int) ([]net.Listener, error) {
	if _, said := p.lookupEnv("LISTEN_PID"); !said && readyFD >= 0 {
		if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
			return nil, err
		}
	}
	all, err := activation.Listeners() // and forget it, so that nothing inherits it
	if err != nil {
		return nil, fmt.Errorf("cannot take over listeners: %v", err)
	}
	return slices.DeleteFunc(all, func(l net.Listener) bool { return l == nil }), nil
}
