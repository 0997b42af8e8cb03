//go:build cluster

package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestStackLost sells fifty offers of a Service beside one with a gateway, and
// loses the Service, the cluster for a while, and then all that was in it: each
// time all are listed and paid again.
func TestStackLost(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	names := []string{"qwen"}
	for i := range 50 {
		name := fmt.Sprintf("w%02d", i)
		s.adds(s.weather(name, "0.01"))
		names = append(names, name)
	}
	r := s.must(0, "apply", "--auto-approve")
	contains(t, r.stdout, "Selling 51 offers")
	s.untilListed(names...)
	s.pays("w07")
	s.buys()

	// The Service goes: buyers pay nothing, and the controller looks when it is
	// asked to. No offer of it is listed until the Service is back.
	s.cluster.StopUpstream(t, s.ns, "weather", 8080)
	if err := s.cluster.Buy(s.cluster.Edge + "/services/w07/"); err == nil || !strings.Contains(err.Error(), "nothing was charged") {
		t.Errorf("without its Service: %v", err)
	}
	s.must(3, "status", "--check")
	s.must(0, "converge")
	s.untilListed("qwen")
	s.must(3, "status", "--check")
	contains(t, s.must(2, "apply", "--auto-approve", "--wait", "300ms").stdout, "Selling 1 offer", "! Not selling yet: http.w00")
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	s.must(0, "apply", "--auto-approve")
	s.untilListed(names...)
	s.pays("w07")

	killGateways(t, s.dir)
	s.cluster.Down(t)
	s.cluster.Up(t)
	r = s.must(0, "converge")
	contains(t, r.stdout, "Selling 51 offers", "inference.qwen")
	s.untilListed(names...)
	s.buys()
	s.pays("w07")

	s.cluster.Wipe(t)
	bindRole(t, s.cluster)
	same(t, "in a new cluster", s.names())
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	r = s.must(0, "converge")
	contains(t, r.stdout, "Selling 51 offers")
	s.untilListed(names...)
	s.buys()
	s.pays("w07")
	if sum := s.apply(0).summary(t); sum.Writes != 0 {
		t.Errorf("an apply right after makes %d writes", sum.Writes)
	}
}
