package edge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
)

func TestPublishedDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/", "/api/services.json", "/skill.md"} {
		if got := w.do(call{path: path}); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "not_published") {
			t.Errorf("before: GET %s = %d %s, want 503", path, got.status, got.body)
		}
	}
	site := configMap("x402", "obol-skill-md", map[string]string{"services.json": `{"services":[]}`, "skill.md": "# Skill\n"})
	if err := w.client.Create(t.Context(), site); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct{ kind, body string }{
		"/api/services.json": {"application/json", `{"services":[]}`},
		"/skill.md":          {"text/markdown; charset=utf-8", "# Skill\n"},
	} {
		got := w.do(call{path: path})
		if got.status != http.StatusOK || got.body != want.body || got.header.Get("Content-Type") != want.kind {
			t.Errorf("GET %s = %d %q %v", path, got.status, got.body, got.header)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(got.header.Get("Cache-Control"), "max-age=300") {
			t.Errorf("GET %s has %v", path, got.header)
		}
		if got := w.do(call{path: path, method: "POST"}); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s = %d %v", path, got.status, got.header)
		}
		if got := w.do(call{path: path, method: "HEAD"}); got.status != http.StatusOK || got.body != "" {
			t.Errorf("HEAD %s = %d %q", path, got.status, got.body)
		}
	}
}

func TestDocumentsAreOfTheirHost(t *testing.T) {
	t.Parallel()
	w := newShop(t)
	for name, tc := range map[string]struct {
		host, path string
		want       []string
	}{
		"shared":                    {"", "/.well-known/x402", []string{base + "/services/a/", base + "/services/b/"}},
		"shared, as OpenAPI":        {"", "/openapi.json", []string{`"url": "` + base + `"`, `"/services/a/`, `"/services/b/`}},
		"of one host":               {"b.example.org", "/.well-known/x402", []string{"https://b.example.org/"}},
		"of one host, as OpenAPI":   {"b.example.org", "/openapi.json", []string{`"url": "https://b.example.org"`}},
		"of a host that is unknown": {"c.example.org", "/.well-known/x402", []string{base + "/services/a/", base + "/services/b/"}},
	} {
		got := w.do(call{host: tc.host, path: tc.path})
		for _, part := range tc.want {
			if got.status != 200 || !strings.Contains(got.body, part) {
				t.Errorf("%s: %d %s lacks %s", name, got.status, got.body, part)
			}
		}
		if tc.host == "b.example.org" && strings.Contains(got.body, "services") {
			t.Errorf("%s: it tells of others:\n%s", name, got.body)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	a, b := newOffer("a", nil), newOffer("b", func(o *v1alpha1.ServiceOffer) {
		o.Spec.Hostname, o.Spec.Branding = "b.example.org", &v1alpha1.Branding{DisplayName: "Shop of B"}
	})
	for _, o := range []*v1alpha1.ServiceOffer{a, b} {
		o.Status.Conditions = append(o.Status.Conditions, v1alpha1.Condition{Type: "Ready", Status: "True"})
	}
	services, err := catalog.Services([]v1alpha1.ServiceOffer{*a, *b}, base, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, a, b, configMap("x402", "obol-skill-md", map[string]string{"services.json": string(services)}))
	w.reload()
	of := func(host string) string {
		got := w.do(call{host: host, path: "/"})
		if got.status != http.StatusOK || got.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("the page of %q: %d %v", host, got.status, got.header)
		}
		return got.body
	}
	if page := of(""); !strings.Contains(page, base+"/services/a") || !strings.Contains(page, "https://b.example.org") || strings.Contains(page, "Shop of B") {
		t.Errorf("the shared page:\n%s", page)
	}
	if page := of("b.example.org"); strings.Contains(page, "/services/a") || !strings.Contains(page, "https://b.example.org") || !strings.Contains(page, "Shop of B") {
		t.Errorf("the page of b:\n%s", page)
	}
	if got := w.do(call{host: "b.example.org", path: "/", method: "POST"}); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d %s", got.status, got.body)
	}
}

// The oldest offer describes the agent, and its document is on no offer's host.
func TestRegistration(t *testing.T) {
	t.Parallel()
	registered := func(name, host string, created int64) *v1alpha1.ServiceOffer {
		return newOffer(name, func(o *v1alpha1.ServiceOffer) {
			o.Spec.Registration = &v1alpha1.Registration{Enabled: true, Name: "Agent " + name}
			o.Spec.Hostname, o.CreationTimestamp = host, metav1.Unix(created, 0)
			o.Spec.Provenance = map[string]string{"framework": "of " + name}
		})
	}
	w := newWorld(t, registered("a", "", 1_700_000_001), registered("longer-name", "own.example.org", 1_700_000_002), registered("z", "", 1_700_000_000), newOffer("none", nil))
	w.reload()
	const path = "/.well-known/agent-registration.json"
	var doc struct {
		Name, Image string
		Provenance  map[string]string
		Services    []struct{ Endpoint string }
	}
	answer := w.do(call{path: path})
	decode(t, answer.body, &doc)
	if got := answer.header.Get("Cache-Control"); got != "max-age=300" {
		t.Errorf("Cache-Control %q", got)
	}
	if doc.Image != base+"/agent-icon.png" || doc.Provenance["framework"] != "of z" {
		t.Errorf("image %q, provenance %q", doc.Image, doc.Provenance)
	}
	var got []string
	for _, s := range doc.Services {
		got = append(got, s.Endpoint)
	}
	if diff := cmp.Diff([]string{base + "/services/z", base + "/services/a", base + "/services/longer-name"}, got); diff != "" || doc.Name != "Agent z" {
		t.Errorf("%q with services (-want +got):\n%s", doc.Name, diff)
	}
	if got := w.do(call{host: "own.example.org", path: path}); got.status != http.StatusPaymentRequired {
		t.Errorf("on the offer's host: %d %s, want 402", got.status, got.body)
	}
}

func TestOwnPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newOffer("a", func(o *v1alpha1.ServiceOffer) { o.Spec.Path = "/metrics" }), newOffer("b", hosted("b.example.org")))
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200} {
		if got := w.do(call{path: path}); got.status != want {
			t.Errorf("before the first load: GET %s = %d, want %d", path, got.status, want)
		}
	}
	w.reload()
	for name, tc := range map[string]struct {
		host, path string
		want       int
	}{
		"live":                         {"", "/healthz", 200},
		"ready":                        {"", "/readyz", 200},
		"a path that an offer has":     {"", "/metrics", 402},
		"on an offer's host":           {"b.example.org", "/healthz", 402},
		"readiness on an offer's host": {"b.example.org", "/readyz", 402},
		"catalog on an offer's host":   {"b.example.org", "/api/services.json", 402},
	} {
		if got := w.do(call{host: tc.host, path: tc.path}); got.status != tc.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tc.want)
		}
	}
}
