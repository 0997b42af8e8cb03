// Package account finds the service manager of an account: where it answers, and
// whether it runs on when nobody is logged in. No variable of the environment
// counts.
package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
)

// LingerDir has a file for each account whose manager runs from boot on, whether
// anybody logs in or not.
const LingerDir = "/var/lib/systemd/linger"

const systemBus = "/run/dbus/system_bus_socket"

// dialWithin is how long a bus may take to let us in: at boot many want to.
const dialWithin = 20 * time.Second

func runtimeDir(uid int) string { return "/run/user/" + strconv.Itoa(uid) }

// Private is the socket at which an account's manager listens itself.
func Private(uid int) string { return filepath.Join(runtimeDir(uid), "systemd", "private") }

// Dial connects to an account's manager: at the account's bus or, where no bus was
// installed, at the manager's own socket. Only the account itself, and root, are
// let in. The connection outlives ctx.
func Dial(ctx context.Context, uid int) (*dbus.Conn, error) {
	conn, err := dial(ctx, filepath.Join(runtimeDir(uid), "bus"), uid, (*dbus.Conn).Hello)
	if err == nil {
		return conn, nil
	}
	nobody := func(*dbus.Conn) error { return nil } // who is no bus is not greeted
	if own, ownErr := dial(ctx, Private(uid), uid, nobody); ownErr == nil {
		return own, nil
	}
	return nil, err
}

// DialSystem connects to the system's bus. The connection outlives ctx.
func DialSystem(ctx context.Context) (*dbus.Conn, error) {
	return dial(ctx, systemBus, os.Geteuid(), (*dbus.Conn).Hello)
}

// dial connects to a socket that speaks D-Bus, as an account.
func dial(ctx context.Context, socket string, uid int, greet func(*dbus.Conn) error) (*dbus.Conn, error) {
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
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(uid))})
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
	ctx, done := context.WithTimeout(ctx, dialWithin)
	defer done()
	var on dbus.Variant
	path := dbus.ObjectPath("/org/freedesktop/login1/user/_" + strconv.Itoa(uid))
	get := bus.Object("org.freedesktop.login1", path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.login1.User", "Linger")
	if err := errors.Join(get.Store(&on), bus.Close()); err != nil {
		return false, err
	}
	var lingers bool
	err = on.Store(&lingers)
	return lingers, err
}
