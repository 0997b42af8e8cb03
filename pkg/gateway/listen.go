package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// protocols are what the public listeners speak: the cluster's proxies may use
// HTTP/2 without TLS.
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// bind listens where want says and no listener is yet, or nowhere.
func (s *server) bind(ctx context.Context, want map[netip.AddrPort]bool) (map[netip.AddrPort]net.Listener, error) {
	fresh := map[netip.AddrPort]net.Listener{}
	for a, early := range want {
		if s.sockets[a] != nil {
			continue
		}
		config := net.ListenConfig{}
		if early {
			config.Control = freeBind
		}
		l, err := config.Listen(ctx, "tcp", a.String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot listen: %v", err), closeAll(fresh))
		}
		fresh[a] = l
	}
	return fresh, nil
}

// freeBind lets a socket be bound to an address that the host does not have
// yet: the bridge to the pods comes with the cluster.
func freeBind(network, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(controlErr, err)
}

// accept serves the listeners and counts them as ours. The caller holds mu.
func (s *server) accept(fresh map[netip.AddrPort]net.Listener) {
	for a, l := range fresh {
		s.sockets[a] = l
		go func() {
			err := s.public.Serve(l)
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.fail(fmt.Errorf("cannot accept at %s: %v", a, err))
			}
		}()
	}
}

// dismiss closes the listeners that are not wanted any more; connections that
// were accepted go on. The caller holds mu.
func (s *server) dismiss(want map[netip.AddrPort]bool) error {
	var errs []error
	for a, l := range s.sockets {
		if _, ok := want[a]; !ok {
			errs = append(errs, l.Close())
			delete(s.sockets, a)
		}
	}
	return errors.Join(errs...)
}

func closeAll(listeners map[netip.AddrPort]net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// listening lists the addresses that are listened on, sorted. The caller holds
// mu.
func (s *server) listening() []string {
	out := make([]string, 0, len(s.sockets))
	for _, l := range s.sockets {
		out = append(out, l.Addr().String())
	}
	slices.Sort(out)
	return out
}
