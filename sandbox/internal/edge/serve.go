package edge

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
	"github.com/obolctl/obolctl/sandbox/internal/storefront"
)

// documentAge is how long clients may keep a document.
const documentAge = 5 * time.Minute

// The names of what the controller publishes, in ConfigMap x402/obol-skill-md.
const (
	servicesKey = "services.json"
	skillKey    = "skill.md"
)

// ServeHTTP implements [http.Handler]. A host that is an offer's own has that
// offer alone, and a page of it.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := e.enter()
	defer f.leave()
	if own := f.hosts[charge.HostName(r.Host)]; own != nil {
		if r.URL.Path == "/" {
			e.answerPage(own.only, w, r)
			return
		}
		e.till.Serve(own.table, w, r)
		return
	}
	if answer := e.answers(f, r.URL.Path); answer != nil {
		answer(w, r)
		return
	}
	e.till.Serve(f.shared, w, r)
}

// answers gives who answers a path of the edge's own; nil for all others. Offers
// may have the paths that in a real cluster are the pod's and not the public's.
func (e *Edge) answers(f *front, path string) http.HandlerFunc {
	switch {
	case path == "/":
		return func(w http.ResponseWriter, r *http.Request) { e.answerPage(nil, w, r) }
	case path == "/api/services.json":
		return e.published(servicesKey, "application/json")
	case path == "/skill.md":
		return e.published(skillKey, "text/markdown; charset=utf-8")
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
		text, err := e.readSite(r, key)
		if err != nil {
			e.turnAway(w, r, err)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%.0f", documentAge.Seconds()))
		say(w, kind, text)
	}
}

// answerPage answers with the storefront, over the catalog or a part of it.
func (e *Edge) answerPage(part func(services []byte) ([]byte, error), w http.ResponseWriter, r *http.Request) {
	text, err := e.readSite(r, servicesKey)
	if err == nil && part != nil {
		text, err = part(text)
	}
	if err == nil {
		text, err = storefront.Page(text, time.Now())
	}
	if err != nil {
		e.turnAway(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	say(w, "text/html; charset=utf-8", text)
}

// only gives the catalog of the one offer that the host has.
func (o *origin) only(services []byte) ([]byte, error) {
	var all catalog.Envelope
	if err := json.Unmarshal(services, &all); err != nil {
		return nil, fmt.Errorf("cannot read the catalog: %v", err)
	}
	all.Services = slices.DeleteFunc(all.Services, func(s catalog.Service) bool {
		return s.Namespace != o.key.Namespace || s.Name != o.key.Name
	})
	all.DisplayName = cmp.Or(o.branding.DisplayName, all.DisplayName)
	all.Tagline = cmp.Or(o.branding.Tagline, all.Tagline)
	return json.Marshal(all)
}

var (
	errReadOnly = errors.New("this document can only be read")
	errNothing  = errors.New("nothing has been published yet")
)

// readSite gives what was published last under a key.
func (e *Edge) readSite(r *http.Request, key string) ([]byte, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, errReadOnly
	}
	var site corev1.ConfigMap
	err := e.Reader.Get(r.Context(), client.ObjectKey{Namespace: "x402", Name: "obol-skill-md"}, &site)
	text, there := site.Data[key]
	switch {
	case apierrors.IsNotFound(err) || err == nil && !there:
		return nil, errNothing
	case err != nil:
		return nil, fmt.Errorf("cannot read what is published: %v", err)
	}
	return []byte(text), nil
}

// turnAway answers for a document that there is not.
func (e *Edge) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errReadOnly):
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "read_only", err.Error())
	case errors.Is(err, errNothing):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "not_published", err.Error())
	default:
		e.Log.ErrorContext(r.Context(), "cannot serve a document", "path", r.URL.Path, "error", err.Error())
		refuse(w, http.StatusInternalServerError, "unreadable", "this document cannot be made now")
	}
}

// signIn answers who would have to sign in, for which the sandbox has no wallet
// to ask.
func signIn(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusUnauthorized, "sign_in", "this path is for wallets that have signed in, which the sandbox does not offer")
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
