package charge

import (
	"net/http"
	"net/netip"
	"sync"
)

// A gate lets so many in at a time.
type gate struct {
	all, each int // limits

	mu sync.Mutex
	in int
	by map[netip.Addr]int
}

func newGate(all, each int) *gate { return &gate{all: all, each: each, by: map[netip.Addr]int{}} }

// enter lets one in, or not. The zero address stands for everybody.
func (g *gate) enter(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in >= g.all || a.IsValid() && g.by[a] >= g.each {
		return false
	}
	g.in++
	if a.IsValid() {
		g.by[a]++
	}
	return true
}

// leave is for everyone whom enter let in.
func (g *gate) leave(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in--
	if !a.IsValid() {
		return
	}
	if g.by[a]--; g.by[a] == 0 {
		delete(g.by, a)
	}
}

// peer is the address that a request came from; the zero address for one of
// this machine, where a proxy stands for all of its clients.
func peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || at.Addr().Unmap().IsLoopback() {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}
