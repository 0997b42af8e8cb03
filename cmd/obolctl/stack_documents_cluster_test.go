//go:build cluster

package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documented asks about offers, and checks the verdict on each of the cluster's
// documents.
func (s *market) documented(want map[string]string, code int, addresses ...string) {
	s.t.Helper()
	var doc struct {
		Cluster []struct{ URL, Verdict string }
	}
	if err := json.Unmarshal([]byte(s.must(code, append([]string{"probe", "--json"}, addresses...)...).stdout), &doc); err != nil {
		s.t.Fatal(err)
	}
	got := map[string]string{}
	for _, one := range doc.Cluster {
		got[strings.TrimPrefix(one.URL, s.cluster.Edge)] = one.Verdict
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%q (-want +got):\n%s", addresses, diff)
	}
}

// TestStackDocuments sells below another offer's path, and at a hostname with a
// registration: the stack's documents tell of each what they should, also when
// one of them is stopped.
func TestStackDocuments(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	s.declare(s.weather("outer", "0.01"), s.weather("inner", "0.02", `path = "/services/outer/inner"`),
		s.weather("hosted", "0.03", `hostname = "weather.example.org"`, "registration {\n  enabled = true\n}"))
	r := s.must(0, "apply", "--auto-approve", "--wait", "40s")
	contains(t, r.stdout, "Selling 2 offers: http.inner", "? Sellable, and not seen from outside: 1 offer: http.hosted 0.03 USDC/req https://weather.example.org")
	right := map[string]string{"/api/services.json": "match", "/skill.md": "match", "/openapi.json": "match", "/.well-known/x402": "match"}
	for _, addresses := range [][]string{{"http.outer"}, {"http.inner"}, {"http.outer", "http.inner"}} {
		s.documented(right, 0, addresses...)
	}
	s.must(0, "drain", "http.outer", "--now")
	s.untilListed("hosted", "inner")
	s.refuses("outer")
	s.documented(right, 0, "http.outer", "http.inner")
	s.must(0, "undrain", "http.outer")
	s.must(0, "drain", "http.inner", "--now")
	s.untilListed("hosted", "outer")
	contains(t, s.must(0, "probe", "http.inner").stdout, "is not asked: http.outer sells there")
	s.documented(right, 0, "http.outer", "http.inner")
	right["/.well-known/agent-registration.json"] = "match"
	right["https://weather.example.org/openapi.json"], right["https://weather.example.org/.well-known/x402"] = "unknown", "unknown" // nobody can ask from here
	s.documented(right, 1, "http.hosted")
}
