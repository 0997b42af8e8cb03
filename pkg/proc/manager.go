package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// dialWithin is how long a bus may take to let us in: at boot many want to.
const dialWithin = 20 * time.Second

// lingering is where logind keeps which accounts' managers run without a login.
const lingering = "/var/lib/systemd/linger"

// A Manager is the service manager of this account: systemd's user manager. It is
// safe for concurrent use.
type Manager struct {
	folder string // its runtime folder

	mu   sync.Mutex
	conn *systemd.Conn // nil until it is needed
}

// Choose tells who is to keep gateways: systemd's user manager, where it answers,
// reads units of the folder, and runs on when nobody is logged in. Otherwise the
// manager is nil, gateways are to be detached processes, and why says it for
// people. No variable of the environment counts.
func Choose(ctx context.Context, units string) (m *Manager, why string) {
	m = &Manager{folder: "/run/user/" + strconv.Itoa(os.Getuid())}
	var folders []string
	bus, err := m.dial(ctx)
	if err == nil {
		err = errors.Join(property(ctx, bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "Manager", "UnitPath", &folders), bus.Close())
	}
	switch {
	case err != nil:
		return nil, fmt.Sprintf("no user manager of systemd answers: %v", err)
	case !slices.Contains(folders, filepath.Clean(units)):
		return nil, fmt.Sprintf("the user manager of systemd reads no units of %q", units)
	}
	switch lingers, err := lingers(ctx); {
	case err != nil:
		return nil, fmt.Sprintf("cannot tell whether the account lingers: %v", err)
	case !lingers:
		return nil, "the account does not linger, so its last logout would end all units: loginctl enable-linger"
	}
	return m, ""
}

// lingers tells whether the manager of this account runs without a login.
func lingers(ctx context.Context) (bool, error) {
	account, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err == nil {
		_, err := os.Lstat(filepath.Join(lingering, account.Username))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	// An account that no file of this host names; logind knows it by its number.
	bus, err := dial(ctx, "/run/dbus/system_bus_socket", (*dbus.Conn).Hello)
	if err != nil {
		return false, err
	}
	var on bool
	path := "/org/freedesktop/login1/user/_" + strconv.Itoa(os.Getuid())
	err = errors.Join(property(ctx, bus, "org.freedesktop.login1", path, "User", "Linger", &on), bus.Close())
	return on, err
}

// property reads a property of an object; the interface is named below the
// service.
func property(ctx context.Context, bus *dbus.Conn, service, path, of, name string, value any) error {
	ctx, done := context.WithTimeout(ctx, dialWithin)
	defer done()
	var said dbus.Variant
	get := bus.Object(service, dbus.ObjectPath(path)).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, service+"."+of, name)
	if err := get.Store(&said); err != nil {
		return err
	}
	return said.Store(value)
}

// dial connects to the manager: at the bus, or where no bus was installed at the
// manager's own socket.
func (m *Manager) dial(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dial(ctx, m.folder+"/bus", (*dbus.Conn).Hello)
	if err == nil {
		return conn, nil
	}
	if own, ownErr := dial(ctx, m.private(), func(*dbus.Conn) error { return nil }); ownErr == nil {
		return own, nil
	}
	return nil, err
}

func (m *Manager) private() string { return m.folder + "/systemd/private" }

// dial connects to a socket, as this account. The connection outlives ctx.
func dial(ctx context.Context, socket string, greet func(*dbus.Conn) error) (*dbus.Conn, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, dialWithin)
	defer done()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	undo := context.AfterFunc(limited, end)
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(life))
	if err != nil {
		end()
		return nil, fmt.Errorf("%q: %w", socket, err)
	}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	if err == nil {
		err = greet(conn)
	}
	if !undo() && err == nil {
		err = limited.Err()
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("%q: %w", socket, err)
	}
	return conn, nil
}

// connect gives the connection, made when it is first needed and again when it
// was lost.
func (m *Manager) connect(ctx context.Context) (*systemd.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) { return m.dial(ctx) })
	if err != nil {
		return nil, fmt.Errorf("cannot reach the user manager of systemd: %w", err)
	}
	m.conn = conn
	return conn, nil
}

// started tells when the manager was started, in ticks as /proc has them.
func (m *Manager) started(ctx context.Context) (uint64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", m.private())
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
