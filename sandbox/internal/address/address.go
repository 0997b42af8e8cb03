// Package address is the documentation range that stands for this machine:
// which loopback address each of its addresses means.
//
// The API server takes no loopback address into an EndpointSlice, and no address
// of a real network may be meant by one, so a sandbox says 203.0.113.N
// (RFC 5737), and who dials it finds it at 127.a.b.N.
package address

import "net/netip"

// network is TEST-NET-3 of RFC 5737.
var network = netip.MustParsePrefix("203.0.113.0/24")

// Of each sandbox: the host, its node, and the first and last that a pod may have.
const (
	host     = 1
	node     = 2
	firstPod = node + 1
	lastPod  = 254
)

// Pods is how many addresses there are for pods.
const Pods = lastPod - firstPod + 1

// A Range is what the addresses mean to one sandbox. Two that run at the same
// time have edges at different ports, and so no loopback address in common but
// that of the host.
type Range struct{ edge uint16 }

// For is the range of the sandbox whose edge listens at a port from 1 to 65535.
func For(edgePort int) Range { return Range{uint16(edgePort)} }

// Host is the address at which the cluster sees this machine's own 127.0.0.1.
func (r Range) Host() netip.Addr { return at(host) }

// Pod is the address of pod n, from 0 up to, not including, [Pods].
func (r Range) Pod(n int) netip.Addr { return at(byte(firstPod + n)) }

// Loopback is where on this machine an address of the range is. It is false for
// any other address.
func (r Range) Loopback(a netip.Addr) (netip.Addr, bool) {
	a = a.Unmap()
	if !network.Contains(a) {
		return netip.Addr{}, false
	}
	n := a.As4()[3]
	if n == host {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	return netip.AddrFrom4([4]byte{127, byte(r.edge >> 8), byte(r.edge), n}), true
}

func at(n byte) netip.Addr {
	b := network.Addr().As4()
	b[3] = n
	return netip.AddrFrom4(b)
}
