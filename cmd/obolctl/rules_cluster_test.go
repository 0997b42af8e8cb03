//go:build cluster

package main_test

import (
	"strings"
	"testing"
)

// TestRule12_DoneMeansDone applies one offer of each type, as a user who has no
// more than the offered role. What comes after has nothing to do, and the audit
// log bears it out.
func TestRule12_DoneMeansDone(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	agent := s.ns + "-quant"
	s.agent(agent, wallet)
	s.declare(
		s.weather("weather", "0.01"), s.model("qwen", "0.5"), s.notes("notes"), quant(agent),
		`demo "hello" {
  name      = "hello"
  namespace = "`+s.ns+`-demo"
  price     = { per_request = "0.0001" }
}
tombstone "http" "old" {
  namespace = "`+s.ns+`"
}`)
	first := s.apply(0)
	same(t, "applied", first.lines(),
		"create Deployment/shop-demo/hello", "create EndpointSlice/shop/qwen", "create Namespace/shop", "create Namespace/shop-demo",
		"create Service/shop-demo/hello", "create Service/shop/qwen",
		"create ServiceOffer/agent-shop-quant/shop-quant", "create ServiceOffer/shop-demo/hello", "create ServiceOffer/shop/qwen", "create ServiceOffer/shop/weather",
		"start Gateway/shop/notes", "start Gateway/shop/qwen")
	if got := s.price("weather"); got != "0.01" {
		t.Errorf("the price is %v", got)
	}
	if !s.answers("qwen") || !s.answers("notes") || s.gateways() != 2 {
		t.Errorf("gateways do not answer: %d run", s.gateways())
	}

	mark := shared.Mark(t)
	again := s.apply(0)
	same(t, "applied again", again.lines())
	sum := again.summary(t)
	if sum.Writes != 0 || sum.UnchangedDigest == nil || !sum.Complete {
		t.Errorf("summary of nothing: %+v", sum)
	}
	same(t, "converged", s.converge(0).lines())
	same(t, "planned", s.plan(0, "--detailed-exitcode").lines())
	for _, r := range shared.Audit(t, mark, "obolctl/") {
		if strings.Contains(r.URI, s.ns) && (r.Writes() || r.User != "obolctl") {
			t.Errorf("%s: %s %s", r.User, r.Verb, r.URI)
		}
	}
	if s.gateways() != 2 {
		t.Errorf("%d gateways run", s.gateways())
	}
}

// TestRule12_ReadOnlyWritesNothing has something to do and a drain to remember,
// and touches neither.
func TestRule12_ReadOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.model("qwen", "0.5"))
	fresh := s.tree()
	s.must(0, "plan", "--read-only")
	s.must(0, "status", "--read-only")
	same(t, "files of a new site", s.tree(), fresh...)
	s.apply(0)
	s.declare(s.weather("weather", "0.02"), s.model("qwen", "0.5"))
	s.stranger("obol-cli").patch(offers, s.ns, "weather", map[string]any{"spec": map[string]any{"drainAt": "2026-01-02T03:04:05Z"}})
	before, mark := s.tree(), shared.Mark(t)
	same(t, "planned", s.plan(0, "--read-only").lines(), "update http.weather: file_changed, money")
	s.must(0, "status", "--read-only")
	same(t, "files", s.tree(), before...)
	for _, r := range shared.Audit(t, mark, "obolctl/") {
		if strings.Contains(r.URI, s.ns) && r.Verb != "get" && r.Verb != "list" {
			t.Errorf("%s %s", r.Verb, r.URI)
		}
	}
}
