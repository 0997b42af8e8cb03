//go:build cluster

package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/obolctl/obolctl/internal/testcluster"
)

// A market is a seller in a cluster that has all of the stack: a controller, an
// edge and a catalog.
type market struct {
	*seller
	model atomic.Bool // answers
}

// newMarket has one offer, inference.qwen, whose model answers.
func newMarket(t *testing.T) *market {
	t.Helper()
	alone.Lock()
	t.Cleanup(alone.Unlock)
	s := &market{seller: newSeller(t, testcluster.StartWhole(t))}
	s.model.Store(true)
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !s.model.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(model.Close)
	s.declare(strings.Replace(s.seller.model("qwen", "0.5"), fmt.Sprintf("%q", upstream()), fmt.Sprintf("%q", model.URL), 1))
	return s
}

// listed is what the catalog lists, in order.
func (s *market) listed() []string {
	s.t.Helper()
	resp, err := http.Get(s.cluster.Edge + "/api/services.json")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Services []struct{ Namespace, Name string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		s.t.Fatal(err)
	}
	names := []string{}
	for _, one := range doc.Services {
		names = append(names, one.Namespace+"/"+one.Name)
	}
	return names
}

// buys pays for a request, as a buyer does.
func (s *market) buys() {
	s.t.Helper()
	if err := s.cluster.Buy(s.cluster.Edge + "/services/qwen/v1/models"); err != nil {
		s.t.Error(err)
	}
}

// TestStackSells goes the whole way, seen from outside: a fresh apply is listed
// and paid; a killed gateway comes back, and its way from the cluster is tried
// before anybody says that it sells; what cannot be served is not listed, though
// the controller does not look by itself, and is listed again when it can.
func TestStackSells(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	r := s.must(0, "apply", "--auto-approve")
	contains(t, r.stdout, "Selling 1 offer: inference.qwen 0.5 USDC/Mtok "+s.cluster.Edge+"/services/qwen")
	same(t, "listed", s.listed(), s.ns+"/qwen")
	s.buys()
	s.must(0, "probe")
	s.must(0, "plan", "--detailed-exitcode")

	killGateways(t, s.dir)
	contains(t, s.must(3, "probe").stdout, "its gateway does not answer: nothing answers who pays", `/qwen: not set → "for sale"`)
	r = s.must(0, "converge")
	contains(t, r.stdout, "Selling 1 offer: inference.qwen")
	contains(t, r.stderr, "its gateway is new, and the cluster has not asked it yet: the controller was asked to look again")
	s.buys()
	if sum := s.apply(0).summary(t); sum.Writes != 0 {
		t.Errorf("an apply right after makes %d writes", sum.Writes)
	}

	s.model.Store(false)
	until(t, func() bool { s.must(0, "converge"); return len(s.listed()) == 0 })
	contains(t, s.must(0, "status", "inference.qwen").stdout, "upstream ✗ broken the upstream answered 503", "next: curl -i")
	s.must(3, "status", "--check")
	contains(t, s.must(2, "apply", "--auto-approve", "--wait", "300ms").stdout, "! Not selling yet: inference.qwen")
	s.model.Store(true)
	until(t, func() bool { s.must(0, "converge"); return slices.Contains(s.listed(), s.ns+"/qwen") })
	s.must(0, "apply", "--auto-approve")
	s.buys()
}
