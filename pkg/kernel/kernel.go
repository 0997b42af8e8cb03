// Package kernel asks the kernel who a process is, and where a socket is bound: what
// a gateway writes of itself, and what finds it again, say the same.
package kernel

import "net/netip"

// Local is an address as sockets say it that are bound there: Go binds both
// wildcards as the one that takes connections of both families.
func Local(a netip.AddrPort) netip.AddrPort {
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
