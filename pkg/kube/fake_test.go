package kube_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/kube"
)

// An api is a server that answers as an API server does, or as it should not:
// by path, in turn, the last answer for ever. What has no answer is absent.
type api struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string][]http.HandlerFunc
	asked   []string         // "METHOD path?query"
	none    http.HandlerFunc // the answer for what has none
}

func newAPI(t testing.TB) *api {
	t.Helper()
	a := &api{answers: map[string][]http.HandlerFunc{}, none: absent}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	a.on("/version", say(map[string]any{"gitVersion": "v1.37.2"}))
	for path, kind := range map[string]string{
		"/api/v1/nodes": "Node", "/api/v1/namespaces": "Namespace", "/api/v1/services": "Service",
		"/apis/obol.org/v1alpha1/serviceoffers": "ServiceOffer", "/apis/obol.org/v1alpha1/agents": "Agent",
	} {
		a.on(path, say(page(kind, "")))
	}
	return a
}

func (a *api) on(path string, answers ...http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[path] = answers
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, strings.TrimSuffix(r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery, "?"))
	left := a.answers[r.URL.Path]
	answer := a.none
	if len(left) > 0 {
		answer = left[0]
	}
	if len(left) > 1 {
		a.answers[r.URL.Path] = left[1:]
	}
	a.mu.Unlock()
	answer(w, r)
}

// count tells how often something was asked for.
func (a *api) count(ask string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, asked := range a.asked {
		if strings.HasPrefix(asked, ask) {
			n++
		}
	}
	return n
}

func (a *api) open(t testing.TB, timeout time.Duration) *kube.Client {
	t.Helper()
	c, err := kube.Open(kube.Config{Kubeconfig: kubeconfig(t, a.URL), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func kubeconfig(t testing.TB, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig.yaml")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %q}}]
users: [{name: test, user: {token: t}}]
`, server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func say(body any) http.HandlerFunc { return status(200, body) }

func status(code int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func text(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// hang answers when the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// breakOff ends the connection in the middle of an answer.
func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"kind":"ServiceOfferList","items":[]`))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func absent(w http.ResponseWriter, r *http.Request) {
	status(404, map[string]any{"kind": "Status", "reason": "NotFound", "message": "not found", "code": 404})(w, r)
}

func forbidden(what string) http.HandlerFunc {
	return status(403, map[string]any{
		"kind": "Status", "reason": "Forbidden", "code": 403,
		"message": fmt.Sprintf(`%s.obol.org is forbidden: User "x" cannot list resource %q in API group "obol.org" at the cluster scope`, what, what),
	})
}

var noCRD = text(404, "404 page not found\n")

func page(kind, next string, items ...any) map[string]any {
	if items == nil {
		items = []any{}
	}
	return map[string]any{"kind": kind + "List", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "7", "continue": next}, "items": items}
}

func object(kind, ns, name string) map[string]any {
	return map[string]any{"kind": kind, "metadata": map[string]any{"name": name, "namespace": ns, "uid": "u-" + name, "resourceVersion": "5"}}
}
