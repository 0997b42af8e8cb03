package edge

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ServeHTTP implements [http.Handler]. A host that is an offer's own has that
// offer alone.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := e.enter()
	defer f.leave()
	if table := f.hosts[hostName(r.Host)]; table != nil {
		e.till.Serve(table, w, r)
		return
	}
	if own := e.own(f, r.URL.Path); own != nil {
		own(w, r)
		return
	}
	e.till.Serve(f.shared, w, r)
}

// own gives who answers the edge's own paths; nil: none of it. Offers may have
// the paths that in a real cluster are the pod's and not the public's.
func (e *Edge) own(f *front, path string) http.HandlerFunc {
	switch {
	case path == "/api/services.json":
		return e.published("services.json", "application/json")
	case path == "/skill.md":
		return e.published("skill.md", "text/markdown; charset=utf-8")
	case f.prefixes[path]:
		return nil
	case path == "/metrics":
		return e.metrics.ServeHTTP
	case path == "/healthz":
		return func(w http.ResponseWriter, _ *http.Request) { say(w, "text/plain", []byte("ok\n")) }
	case path == "/readyz":
		return f.answerReady
	}
	return nil
}

func (f *front) answerReady(w http.ResponseWriter, _ *http.Request) {
	if !f.ready {
		refuse(w, http.StatusServiceUnavailable, "not_ready", "the offers have not been read yet")
		return
	}
	say(w, "text/plain", []byte("ok\n"))
}

// published answers with what the controller published last.
func (e *Edge) published(key, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "read_only", "this document can only be read")
			return
		}
		var site corev1.ConfigMap
		err := e.Reader.Get(r.Context(), client.ObjectKey{Namespace: "x402", Name: "obol-skill-md"}, &site)
		text, there := site.Data[key]
		switch {
		case err == nil && there:
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Cache-Control", "public, max-age=300")
			say(w, kind, []byte(text))
		case err == nil || apierrors.IsNotFound(err):
			refuse(w, http.StatusServiceUnavailable, "not_published", "nothing has been published yet")
		default:
			e.Log.WarnContext(r.Context(), "cannot read what is published", "error", err.Error())
			refuse(w, http.StatusServiceUnavailable, "unknown", "what is published cannot be read now")
		}
	}
}

// hostName gives the name in a Host value, as names are compared.
func hostName(host string) string {
	return strings.ToLower(strings.TrimSuffix((&url.URL{Host: host}).Hostname(), "."))
}

func say(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body) // a client that left needs no answer
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	body, err := json.Marshal(map[string]string{"code": code, "error": text})
	if err != nil {
		panic("edge: cannot marshal: " + err.Error()) // two strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left needs no answer
}
