//go:build cluster

package main_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// asks is what a buyer who pays nothing is answered, at the edge's address under
// a host; empty: its own.
func (s *market) asks(host, path string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.cluster.Edge+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode
}

// TestStackHostname sells an offer at a host of its own, as a tunnel brings it
// there, and at its path; its drain ends both.
func TestStackHostname(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	const host = "weather.example.org"
	s.declare(s.weather("plain", "0.01"), s.weather("hosted", "0.02", `hostname = "weather.example.org"`))
	s.must(0, "apply", "--auto-approve", "--no-wait")
	s.untilListed("hosted", "plain")
	for _, e := range s.entries() {
		want := s.cluster.Edge + "/services/plain"
		if e.Name == "hosted" {
			want = "https://" + host
		}
		if e.Endpoint != want {
			t.Errorf("%s is listed at %q, want %q", e.Name, e.Endpoint, want)
		}
	}
	if got := s.asks(host, "/today"); got != http.StatusPaymentRequired {
		t.Errorf("unpaid at its host: %d", got)
	}
	if err := s.cluster.Buy(s.cluster.Edge+"/today", "-H", "Host: "+host); err != nil {
		t.Errorf("paid at its host: %v", err)
	}
	s.pays("hosted")
	s.pays("plain")
	r := s.must(1, "probe", "http.hosted") // no name server knows the host
	contains(t, r.stdout, "https://"+host)
	s.must(0, "probe", "http.plain")

	s.must(0, "drain", "http.hosted", "--now")
	s.untilListed("plain")
	s.refuses("hosted")
	if got := s.asks(host, "/today"); got != http.StatusNotFound {
		t.Errorf("drained, at its host: %d", got)
	}
	s.must(0, "undrain", "http.hosted")
	s.untilListed("hosted", "plain")
	if err := s.cluster.Buy(s.cluster.Edge+"/today", "-H", "Host: "+host); err != nil {
		t.Errorf("paid at its host again: %v", err)
	}
}

// TestStackBetweenDeathAndConverge is what buyers get meanwhile: terms, and no
// answer for their payment, which is not taken; and once the controller has
// looked, nothing.
func TestStackBetweenDeathAndConverge(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.must(0, "apply", "--auto-approve")
	s.buys()
	killGateways(t, s.dir)
	until(t, func() bool { return s.gateways() == 0 })

	const path = "/services/qwen/v1/models"
	same(t, "listed, since nobody touched it", s.names(), "qwen")
	if got := s.asks("", path); got != http.StatusPaymentRequired {
		t.Errorf("unpaid: %d", got)
	}
	if err := s.cluster.Buy(s.cluster.Edge + path); err == nil || !strings.Contains(err.Error(), "nothing was charged") {
		t.Errorf("paid, without a gateway: %v", err)
	}
	s.must(3, "status", "--check")

	s.stranger("kubectl").patch(offers, s.ns, "qwen", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"example.org/looked": "now"}}})
	s.untilListed()
	until(t, func() bool { return s.asks("", path) == http.StatusNotFound })
	contains(t, s.must(0, "converge").stdout, "Selling 1 offer: inference.qwen")
	same(t, "listed", s.names(), "qwen")
	s.buys()
}

// TestStackWatch has the upstream of a Ready offer die and come back under a
// watch, and its gateway die: the catalog follows by itself.
func TestStackWatch(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.must(0, "apply", "--auto-approve")
	w := s.watch(1, "--interval", "1s")
	since := time.Now()
	for range 2 {
		s.model.Store(false)
		s.follows(w, since)
		s.refuses("qwen")
		s.model.Store(true)
		s.follows(w, since, "qwen")
		s.buys()
	}
	killGateways(t, s.dir)
	w.attends(1)
	until(t, func() bool { return s.cluster.Buy(s.cluster.Edge+"/services/qwen/v1/models") == nil })
	same(t, "listed", s.names(), "qwen")
}

// follows waits until the catalog lists just these, for as long as a gateway
// takes to believe that its upstream changed, and says what the watch did when
// it does not.
func (s *market) follows(w *watching, since time.Time, names ...string) {
	s.t.Helper()
	eventually(s.t, time.Minute, func() string {
		if got := s.names(); strings.Join(got, " ") != strings.Join(names, " ") {
			return "after " + time.Since(since).String() + " the catalog lists " + strings.Join(got, " ") + "\n" + w.stdout.String() + w.stderr.String()
		}
		return ""
	})
}
