// Package account finds the service manager of an account: where it answers, and
// whether it runs on when nobody is logged in. No variable of the environment
// counts.
package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// LingerDir has a file for each account whose manager runs from boot on, whether
// anybody logs in or not.
const LingerDir = "/var/lib/systemd/linger"

const systemBus = "/run/dbus/system_bus_socket"

// Patience is how long a manager may take to answer one question, and a bus to let
// us in: at boot many want to.
const Patience = 20 * time.Second

// Limit gives a context in which what this account's manager is asked has an end.
func Limit(ctx context.Context, within time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %v: try again, and see systemctl status user@%d", within, os.Getuid()))
}

// Why gives the error of what was asked in a context: where that has ended, how
// it did.
func Why(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func runtimeDir(uid int) string { return "/run/user/" + strconv.Itoa(uid) }

// Private is the socket at which an account's manager listens itself.
func Private(uid int) string { return private(runtimeDir(uid)) }

func private(dir string) string { return filepath.Join(dir, "systemd", "private") }

// Connect connects to an account's manager: at the account's bus or, where there is
// none, at the manager's own socket. Only the account itself, and root, are let
// in. The connection outlives ctx.
func Connect(ctx context.Context, uid int) (*systemd.Conn, error) {
	return connect(ctx, runtimeDir(uid), uid)
}

// connect has both halves of the connection, that for calls and that for signals,
// go to one server: what is asked at the manager's own socket is not told at a bus
// that has come up meanwhile, as it does while the manager starts.
func connect(ctx context.Context, dir string, uid int) (*systemd.Conn, error) {
	return eitherOf(dir, func(socket string, greet func(*dbus.Conn) error) (*systemd.Conn, error) {
		return open(ctx, socket, func(life context.Context) (*systemd.Conn, error) {
			return systemd.NewConnection(func() (*dbus.Conn, error) { return dial(life, socket, uid, greet) })
		})
	})
}

// Absent tells whether an account certainly has no manager: nobody listens at the
// manager's own socket. A bus says nothing of it; there are hosts that have one
// and no systemd.
func Absent(ctx context.Context, uid int) bool { return absent(ctx, runtimeDir(uid)) }

func absent(ctx context.Context, dir string) bool {
	ctx, done := Limit(ctx, Patience)
	defer done()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", private(dir))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.Close() // nothing was said
	return false
}

// UnitPath gives the folders in which an account's manager looks for units.
func UnitPath(ctx context.Context, uid int) ([]string, error) {
	return managed(ctx, uid, "UnitPath")
}

// Environ gives the variables that an account's manager has for all units, as
// NAME=VALUE.
func Environ(ctx context.Context, uid int) ([]string, error) {
	return managed(ctx, uid, "Environment")
}

// managed asks an account's manager for a list that it keeps.
func managed(ctx context.Context, uid int, name string) ([]string, error) {
	conn, err := eitherOf(runtimeDir(uid), func(socket string, greet func(*dbus.Conn) error) (*dbus.Conn, error) {
		return dialFor(ctx, socket, uid, greet)
	})
	if err != nil {
		return nil, err
	}
	var list []string
	err = property(ctx, conn, "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager."+name, &list)
	return list, errors.Join(err, conn.Close())
}

// eitherOf tries the bus in an account's runtime folder and then, where that does
// not answer, the manager's own socket.
func eitherOf[T any](dir string, try func(socket string, greet func(*dbus.Conn) error) (T, error)) (T, error) {
	conn, err := try(filepath.Join(dir, "bus"), (*dbus.Conn).Hello)
	if err == nil {
		return conn, nil
	}
	nobody := func(*dbus.Conn) error { return nil } // who is no bus is not greeted
	if own, ownErr := try(private(dir), nobody); ownErr == nil {
		return own, nil
	}
	return conn, err
}

// DialSystem connects to the system's bus. The connection outlives ctx.
func DialSystem(ctx context.Context) (*dbus.Conn, error) {
	return dialFor(ctx, systemBus, os.Geteuid(), (*dbus.Conn).Hello)
}

func dialFor(ctx context.Context, socket string, uid int, greet func(*dbus.Conn) error) (*dbus.Conn, error) {
	return open(ctx, socket, func(life context.Context) (*dbus.Conn, error) { return dial(life, socket, uid, greet) })
}

// open makes connections to a socket that outlive ctx. Making them takes no longer
// than that, nor than our patience: they are cut off then, whatever they wait for.
func open[T any](ctx context.Context, socket string, connect func(life context.Context) (T, error)) (conn T, err error) {
	limited, done := Limit(ctx, Patience)
	defer done()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	cut := context.AfterFunc(limited, end)
	if conn, err = connect(life); !cut() {
		err = context.Cause(limited)
	}
	if err != nil {
		end()
		return conn, fmt.Errorf("%q: %w", socket, err)
	}
	return conn, nil
}

// dial connects to a socket that speaks D-Bus, as an account, for as long as a
// context lasts.
func dial(life context.Context, socket string, uid int, greet func(*dbus.Conn) error) (*dbus.Conn, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, err
	}
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(life))
	if err != nil {
		return nil, err
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(uid))}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := greet(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// property asks for a property, which is named with its interface.
func property(ctx context.Context, conn *dbus.Conn, service string, path dbus.ObjectPath, name string, value any) error {
	ctx, done := Limit(ctx, Patience)
	defer done()
	var said dbus.Variant
	dot := strings.LastIndexByte(name, '.')
	get := conn.Object(service, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, name[:dot], name[dot+1:])
	if err := get.Store(&said); err != nil {
		return Why(ctx, err)
	}
	return said.Store(value)
}

// Lingers tells whether an account's manager runs from boot on, whether anybody
// logs in or not.
func Lingers(ctx context.Context, uid int) (bool, error) {
	on, err := lingers(ctx, uid)
	if err != nil {
		return false, fmt.Errorf("cannot tell whether the account lingers: %w", err)
	}
	return on, nil
}

func lingers(ctx context.Context, uid int) (bool, error) {
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		_, err := os.Lstat(filepath.Join(LingerDir, known.Username))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	// An account that no file of this host names; logind knows it by its number.
	bus, err := DialSystem(ctx)
	if err != nil {
		return false, err
	}
	var on bool
	path := dbus.ObjectPath("/org/freedesktop/login1/user/_" + strconv.Itoa(uid))
	err = property(ctx, bus, "org.freedesktop.login1", path, "org.freedesktop.login1.User.Linger", &on)
	return on, errors.Join(err, bus.Close())
}
