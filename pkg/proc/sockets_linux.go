package proc

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/kernel"
)

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
	ticks, ok, err := kernel.Started(peer)
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
