package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/obolctl/obolctl/pkg/kernel"
)

// protocols are what the public listeners speak: the cluster's proxies may use
// HTTP/2 without TLS.
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// A Store keeps listeners when the process ends, for the one that comes after
// it: what connects in between waits in the kernel and is not refused.
type Store interface {
	// Keep stores a listener that is about to be served. Storing one that is
	// stored already changes nothing.
	Keep(l net.Listener) error

	// Drop takes a listener out that is about to be closed. When it has returned
	// nil, its address is free as soon as it is closed.
	Drop(l net.Listener) error
}

// inherit takes over the listeners that are wanted, by the address that their
// sockets have. The others are closed before anything is bound: one of them may
// be in the way.
func (s *server) inherit(ctx context.Context, want map[netip.AddrPort]bool) map[netip.AddrPort]net.Listener {
	taken := map[netip.AddrPort]net.Listener{}
	for _, l := range s.Inherited {
		if a, ok := wanted(want, l); ok && taken[a] == nil {
			taken[a] = l
			continue
		}
		s.log.InfoContext(ctx, "an inherited listener is not wanted", "address", l.Addr().String())
		s.letGo(ctx, l)
	}
	return taken
}

// wanted finds the configured address that a listener is for.
func wanted(want map[netip.AddrPort]bool, l net.Listener) (netip.AddrPort, bool) {
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	for a := range want {
		if kernel.Local(a) == kernel.Local(at.AddrPort()) {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// bind listens where want says and where neither a socket of ours nor one in
// fresh is yet, and adds what it bound to fresh. On an error fresh is closed.
func (s *server) bind(ctx context.Context, want map[netip.AddrPort]bool, fresh map[netip.AddrPort]net.Listener) error {
	for a, early := range want {
		if s.sockets[a] != nil || fresh[a] != nil {
			continue
		}
		config := net.ListenConfig{}
		if early {
			config.Control = kernel.FreeBind // the bridge to the pods comes with the cluster
		}
		l, err := config.Listen(ctx, "tcp", a.String())
		if err != nil {
			return errors.Join(fmt.Errorf("cannot listen: %v", err), closeAll(fresh))
		}
		fresh[a] = l
	}
	return nil
}

// letGo closes a listener that the next process shall not have either.
func (s *server) letGo(ctx context.Context, l net.Listener) {
	if s.Store != nil {
		if err := s.Store.Drop(l); err != nil {
			s.log.WarnContext(ctx, "cannot take a listener out of the store", "address", l.Addr().String(), "error", err.Error())
		}
	}
	if err := l.Close(); err != nil {
		s.log.WarnContext(ctx, "cannot close a listener", "address", l.Addr().String(), "error", err.Error())
	}
}

// accept serves the listeners and counts them as ours. The caller holds mu.
func (s *server) accept(ctx context.Context, fresh map[netip.AddrPort]net.Listener) {
	for a, l := range fresh {
		s.sockets[a] = l
		if s.Store != nil {
			if err := s.Store.Keep(l); err != nil {
				s.log.WarnContext(ctx, "cannot store a listener: connections will be refused while this gateway restarts", "address", l.Addr().String(), "error", err.Error())
			}
		}
		s.accepting.Go(func() {
			err := s.public.Serve(l)
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.fail(fmt.Errorf("cannot accept at %s: %v", a, err))
			}
		})
	}
}

// dismiss lets go of the listeners that are not wanted any more; connections
// that were accepted go on. The caller holds mu.
func (s *server) dismiss(ctx context.Context, want map[netip.AddrPort]bool) {
	for a, l := range s.sockets {
		if _, ok := want[a]; !ok {
			s.letGo(ctx, l)
			delete(s.sockets, a)
		}
	}
}

// stopAccepting closes the listeners and returns when no connection is accepted
// any more. They stay in the store.
func (s *server) stopAccepting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := closeAll(s.sockets)
	s.accepting.Wait()
	return err
}

// unanswered are the connections on which a request is awaited, read or
// answered; one that is kept alive between two requests is not among them.
type unanswered struct {
	mu  sync.Mutex
	all map[net.Conn]bool
}

// note is a hook of [http.Server].
func (u *unanswered) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		u.all[c] = true
	} else {
		delete(u.all, c)
	}
}

func (u *unanswered) none() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all) == 0
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
	for _, l := range s.listeners() {
		out = append(out, l.Addr().String())
	}
	return out
}
