package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/account"
)

// A Manager is the service manager of this account: systemd's user manager. It is
// safe for concurrent use.
type Manager struct {
	uid int

	mu   sync.Mutex
	conn *systemd.Conn // nil until it is needed
}

// Choose tells who is to keep gateways: systemd's user manager, where it answers,
// reads units of the folder, and runs on when nobody is logged in. Otherwise the
// manager is nil, gateways are to be detached processes, and why says it for
// people. No variable of the environment counts.
func Choose(ctx context.Context, units string) (m *Manager, why string) {
	folders, err := account.UnitPath(ctx, os.Getuid())
	switch {
	case err != nil:
		return nil, fmt.Sprintf("no user manager of systemd answers: %v", err)
	case !slices.Contains(folders, filepath.Clean(units)):
		return nil, fmt.Sprintf("the user manager of systemd reads no units of %q", units)
	}
	switch lingers, err := account.Lingers(ctx, os.Getuid()); {
	case err != nil:
		return nil, err.Error()
	case !lingers:
		return nil, "the account does not linger, so its last logout would end all units: loginctl enable-linger"
	}
	return &Manager{uid: os.Getuid()}, ""
}

// connect gives the connection, made when it is first needed and again when it
// was lost.
func (m *Manager) connect(ctx context.Context) (*systemd.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	conn, err := account.Connect(ctx, m.uid)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the user manager of systemd: %w", err)
	}
	m.conn = conn
	return conn, nil
}

// started tells when the manager was started, in ticks as /proc has them.
func (m *Manager) started(ctx context.Context) (uint64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", account.Private(m.uid))
	if err != nil {
		return 0, fmt.Errorf("cannot tell which process the user manager is: %v", err)
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	peer, err := peerOf(conn)
	if err != nil {
		return 0, fmt.Errorf("cannot tell which process the user manager is: %v", err)
	}
	ticks, ok, err := started(peer)
	if err == nil && !ok {
		err = errors.New("the user manager has ended")
	}
	return ticks, err
}

// peerOf gives the PID of who listens at the other end of a unix socket.
func peerOf(conn net.Conn) (int, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn() // what dialling "unix" gives
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if asked != nil {
		return 0, asked
	}
	return int(peer.Pid), nil
}
