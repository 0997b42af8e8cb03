//go:build cluster

package main_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestStackFigures has ten offers on sale within two seconds of when the last of
// their gateways answers; a machine that is busy with much else may need a few
// tries. "make bench" prints the figures of one that is not.
func TestStackFigures(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	const n, tries = 10, 5
	limit := 2 * time.Second
	if raced {
		limit = 4 * time.Second // less than what the controller waits until it looks again by itself
	}
	var seen []string
	for try := range tries {
		var ports []int
		s.declare()
		for i := range n {
			name := fmt.Sprintf("g%d-%d", try, i)
			s.adds(s.seller.model(name, "0.5"))
			ports = append(ports, s.port(name))
		}
		ready, listed := s.appear(ports)
		t.Logf("%d offers: Ready %v, listed %v after the last gateway answers", n, ready, listed)
		if listed <= limit {
			return
		}
		seen = append(seen, listed.String())
		s.must(0, "destroy", "--auto-approve", "--approve-deletes", itoa(n))
		s.untilListed()
	}
	t.Errorf("until %d offers are listed: %q, each more than %v", n, seen, limit)
}

// TestStackManyGateways sells fifty offers with a gateway each, all at once, and
// again after a reboot that no gateway outlives.
func TestStackManyGateways(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	names := []string{"qwen"}
	for i := range 49 {
		name := fmt.Sprintf("m%02d", i)
		s.adds(s.seller.model(name, "0.5"))
		names = append(names, name)
	}
	slices.Sort(names)
	contains(t, s.must(0, "apply", "--auto-approve", "--wait", "3m").stdout, "Selling 50 offers")
	same(t, "listed", s.names(), names...)
	s.buys()
	s.paysModel("m48")

	killGateways(t, s.dir)
	s.cluster.Down(t)
	s.cluster.Up(t)
	contains(t, s.must(0, "converge").stdout, "Selling 50 offers")
	same(t, "listed", s.names(), names...)
	s.buys()
	s.paysModel("m48")
	if sum := s.apply(0).summary(t); sum.Writes != 0 {
		t.Errorf("an apply right after makes %d writes", sum.Writes)
	}
}

// paysModel buys from a gateway.
func (s *market) paysModel(name string) {
	s.t.Helper()
	if err := s.cluster.Buy(s.cluster.Edge + "/services/" + name + "/v1/models"); err != nil {
		s.t.Errorf("%s: %v", name, err)
	}
}

// appear applies offers with gateways at the ports.
func (s *market) appear(ports []int) (ready, listed time.Duration) {
	s.t.Helper()
	apply := s.command("apply", "--auto-approve")
	if err := apply.Start(); err != nil {
		s.t.Fatal(err)
	}
	up := 0
	s.await(len(ports), "gateways answer", func() int {
		for up < len(ports) && answers(ports[up]) != 0 {
			up++
		}
		return up
	})
	began := time.Now()
	s.await(len(ports), "offers are Ready", s.ready)
	ready = time.Since(began)
	s.await(len(ports), "offers are listed", func() int { return len(s.entries()) })
	listed = time.Since(began)
	if err := apply.Wait(); err != nil {
		s.t.Errorf("apply: %v", err)
	}
	return ready, listed
}

// await waits until so many are something, for as long as many gateways take to
// start on a busy machine.
func (s *market) await(want int, what string, count func() int) {
	s.t.Helper()
	eventually(s.t, 3*time.Minute, func() string {
		if n := count(); n != want {
			return fmt.Sprintf("%d of %d %s", n, want, what)
		}
		return ""
	})
}

// ready counts the offers of the seller that are Ready.
func (s *market) ready() int {
	s.t.Helper()
	list, err := s.stranger("reader").client.Resource(offers).Namespace(s.ns).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, o := range list.Items {
		conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, c := range conditions {
			if c, _ := c.(map[string]any); c["type"] == "Ready" && c["status"] == "True" {
				n++
			}
		}
	}
	return n
}
