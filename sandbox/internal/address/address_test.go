package address_test

import (
	"net/netip"
	"testing"

	"github.com/obolctl/obolctl/sandbox/internal/address"
)

func TestLoopback(t *testing.T) {
	t.Parallel()
	r := address.For(24680) // 0x6068
	tests := map[string]struct{ in, want string }{
		"the host":                   {"203.0.113.1", "127.0.0.1"},
		"the node":                   {"203.0.113.2", "127.96.104.2"},
		"the last pod":               {"203.0.113.254", "127.96.104.254"},
		"as an address of version 6": {"::ffff:203.0.113.7", "127.96.104.7"},
		"beside the range":           {"203.0.114.7", ""},
		"a loopback address":         {"127.0.0.1", ""},
		"version 6":                  {"::1", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := r.Loopback(netip.MustParseAddr(tc.in))
			if ok != (tc.want != "") || ok && got.String() != tc.want {
				t.Errorf("Loopback(%s) = %v, %t, want %q", tc.in, got, ok, tc.want)
			}
		})
	}
	if got, ok := r.Loopback(netip.Addr{}); ok {
		t.Errorf("no address is %v", got)
	}
}

// TestNoTwoMeet: every pod of every sandbox is at an address of its own, and
// none is where the host is.
func TestNoTwoMeet(t *testing.T) {
	t.Parallel()
	taken := make(map[netip.Addr]bool)
	for _, port := range []int{1, 255, 256, 257, 20000, 29999, 65535} {
		r := address.For(port)
		own, _ := r.Loopback(r.Host())
		taken[own] = true
		for n := range address.Pods {
			pod := r.Pod(n)
			if pod.IsLoopback() || pod == r.Host() {
				t.Fatalf("pod %d has address %v", n, pod)
			}
			at, ok := r.Loopback(pod)
			if !ok || !at.IsLoopback() || taken[at] {
				t.Fatalf("with the edge at %d, pod %d is at %v (%t), which is taken: %t", port, n, at, ok, taken[at])
			}
			taken[at] = true
		}
	}
}
