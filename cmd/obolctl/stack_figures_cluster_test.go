//go:build cluster

package main_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestStackFigures prints how long it takes from when the last gateway answers
// until all offers are Ready, and until the catalog lists them. The controller
// looks again after five seconds at what it found not to answer: that nobody
// waits for that is what it checks.
func TestStackFigures(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	for _, n := range []int{1, 10, 100} {
		var ports []int
		s.declare()
		for i := range n {
			name := fmt.Sprintf("g%d-%d", n, i)
			s.adds(s.seller.model(name, "0.5"))
			ports = append(ports, s.port(name))
		}
		ready, listed := s.appear(ports)
		t.Logf("%d offers: Ready %v, listed %v after the last gateway answers", n, ready, listed)
		if n <= 10 && listed > 4*time.Second {
			t.Error("these are not the figures of this program")
		}
		s.must(0, "destroy", "--auto-approve", "--approve-deletes", itoa(n))
		s.untilListed()
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
