package charge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/offer"
)

// newMany makes a world whose till serves a table of two offers, /a and /b/b,
// which change may alter.
func newMany(t *testing.T, change func(a, b *charge.Offer)) *world {
	t.Helper()
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, nil)
	a, b := w.offer, w.offer
	a.Key.Name, a.Prefix, a.URL = "a", "/a", "https://shop.example.org/a"
	b.Key.Name, b.Prefix, b.URL = "b", "/b/b", "https://shop.example.org/b/b"
	change(&a, &b)
	table, err := charge.NewTable([]charge.Offer{a, b})
	if err != nil {
		t.Fatal(err)
	}
	w.front.Close()
	w.front = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.till.Serve(table, rw, r) }))
	return w
}

func TestRegistrationOfMany(t *testing.T) {
	t.Parallel()
	w := newMany(t, func(a, b *charge.Offer) {
		a.Registration = &offer.Registration{Enabled: true, Name: "A", SupportedTrust: []string{"reputation"},
			Services: []offer.RegistrationService{{Name: "docs", Endpoint: "https://docs.example.org", Version: "2"}}}
		a.DrainEnds = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		b.Registration = &offer.Registration{Enabled: true, Name: "B", Skills: []string{"s"}, SupportedTrust: []string{"tee-attestation"}}
	})
	_, body := w.ask("/.well-known/agent-registration.json", "")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := []any{
		map[string]any{"name": "web", "endpoint": "https://shop.example.org/a", "drainEndsAt": "2027-01-01T00:00:00Z"},
		map[string]any{"name": "docs", "endpoint": "https://docs.example.org", "version": "2", "drainEndsAt": "2027-01-01T00:00:00Z"},
		map[string]any{"name": "web", "endpoint": "https://shop.example.org/b/b"},
		map[string]any{"name": "OASF", "version": "0.8", "skills": []any{"s"}, "domains": nil},
	}
	if diff := cmp.Diff(want, got["services"]); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"A", []any{"reputation"}}, []any{got["name"], got["supportedTrust"]}); diff != "" {
		t.Errorf("the first is to describe all (-want +got):\n%s", diff)
	}
}

// Nobody gets behind a sign-in by paying, or by another spelling.
func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newMany(t, func(a, _ *charge.Offer) {
		a.SignIn = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
		a.Routes = []offer.Route{{Path: "/*", Gate: "paid"}, {Path: "/me/*", Gate: "auth"}, {Path: "/about", Gate: "free"}}
	})
	for path, want := range map[string]int{"/a/me/x": 401, "/a/ME/x": 401, "/a/me": 401, "/a/me;v=1/x": 401, "/a/other": 200, "/a/about": 200} {
		if answer, body := w.ask(path, w.payment("/a/other")); answer.StatusCode != want {
			t.Errorf("GET %s = %d %s, want %d", path, answer.StatusCode, body, want)
		}
	}
	if n := w.runs.Load(); n != 2 {
		t.Errorf("the upstream was asked %d times, want 2", n)
	}
	if _, body := w.ask("/.well-known/x402", ""); strings.Contains(body, "/me") || !strings.Contains(body, "/a/") {
		t.Errorf("what is to be paid for:\n%s", body)
	}
	if _, body := w.ask("/openapi.json", ""); strings.Count(body, `"402"`) != 2 || !strings.Contains(body, "/a/me") {
		t.Errorf("what there is:\n%s", body)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	w := newMany(t, func(_, _ *charge.Offer) {})
	for _, path := range []string{"/a", "/b/b"} {
		if answer, body := w.ask(path, w.payment(path)); answer.StatusCode != http.StatusOK {
			t.Fatalf("GET %s = %d %s", path, answer.StatusCode, body)
		}
		w.ask(path, "cannot be read")
	}
	before := w.series()
	w.till.Forget(offer.Key{Namespace: "default", Name: "a"})
	if diff := cmp.Diff(map[string]int{"b": before["b"]}, w.series()); diff != "" || before["a"] != before["b"] || before["b"] < 6 {
		t.Errorf("of %v there are (-want +got):\n%s", before, diff)
	}
}

// series counts the series of each offer.
func (w *world) series() map[string]int {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "offer_name" {
					out[l.GetValue()]++
				}
			}
		}
	}
	return out
}
