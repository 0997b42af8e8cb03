package kernel

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// FreeBind is a [net.ListenConfig] Control that lets a socket be bound to an
// address which the host does not have yet: the bridge to the pods comes with the
// cluster.
func FreeBind(network, _ string, conn syscall.RawConn) error {
	var err error
	controlErr := conn.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(controlErr, err)
}
