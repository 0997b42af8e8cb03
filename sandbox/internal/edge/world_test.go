package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/x402"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/edge"
)

// base is where buyers are told to reach the cluster.
const base = "https://shop.example.org"

const payTo = "0x52908400098527886E0F7030069857D2E4169EE7"

// A world is an edge between buyers, upstreams and a facilitator, all over
// HTTP. Only the API server and the facilitator's chain are not real.
type world struct {
	t           *testing.T
	client      client.Client
	facilitator *paytest.Facilitator
	options     edge.Options
	edge        *edge.Edge
	front       *httptest.Server

	mu        sync.Mutex
	upstreams map[string]string // address by host and port in the cluster
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects = append(objects, configMap("obol-frontend", "obol-stack-config", map[string]string{"tunnelURL": base + "/"}))
	w := &world{t: t, facilitator: &paytest.Facilitator{}, upstreams: map[string]string{}}
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	settler := httptest.NewServer(w.facilitator)
	t.Cleanup(settler.Close)
	w.options = edge.Options{
		Reader: w.client, Dial: w.dial, Facilitator: settler.URL, Ledger: t.TempDir(),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	w.begin()
	t.Cleanup(w.end)
	return w
}

// begin starts the edge, as a process does.
func (w *world) begin() {
	w.t.Helper()
	e, err := edge.New(w.t.Context(), w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.edge, w.front = e, httptest.NewServer(e)
}

func (w *world) end() {
	w.front.Close()
	if err := w.edge.Close(); err != nil {
		w.t.Errorf("Close = %v", err)
	}
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	at, known := w.upstreams[address]
	w.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("no endpoints for %s", address)
	}
	return new(net.Dialer).DialContext(ctx, network, at)
}

// serve puts an upstream behind a Service.
func (w *world) serve(service string, h http.HandlerFunc) {
	w.t.Helper()
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.upstreams[service+".svc.cluster.local:8080"] = s.Listener.Addr().String()
}

func (w *world) reload() {
	w.t.Helper()
	if err := w.edge.Reload(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// echo answers with its name and what it was asked.
func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s payer=%s host=%s", name, r.URL.RequestURI(), r.Header.Get("X-Payment-Payer"), r.Host)
	}
}

// newOffer makes an offer that is published, at 0.01 USDC for each request, with
// an upstream of its name. change may alter it; nil: nothing.
func newOffer(name string, change func(*v1alpha1.ServiceOffer)) *v1alpha1.ServiceOffer {
	o := &v1alpha1.ServiceOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.Unix(1_700_000_000, 0)},
		Spec: v1alpha1.ServiceOfferSpec{
			Type:     "http",
			Upstream: &v1alpha1.Upstream{Service: name, Namespace: "default", Port: 8080},
			Payment: v1alpha1.Payment{
				Scheme: "exact", Network: "base-sepolia", PayTo: payTo, MaxTimeoutSeconds: 300,
				Price: v1alpha1.Price{PerRequest: "0.01"},
			},
		},
		Status: v1alpha1.ServiceOfferStatus{Conditions: []v1alpha1.Condition{{Type: "RoutePublished", Status: "True", Reason: "Reconciled"}}},
	}
	if change != nil {
		change(o)
	}
	return o
}

func configMap(namespace, name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: maps.Clone(data)}
}

// A call is a request of a buyer's; the zero values of its fields say nothing.
type call struct {
	method, host, path, payment string
	header                      http.Header
}

type answer struct {
	status  int
	header  http.Header
	body    string
	trailer http.Header
}

func (w *world) do(c call) answer {
	w.t.Helper()
	a, err := w.try(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// try is do for goroutines.
func (w *world) try(c call) (answer, error) {
	r, err := http.NewRequestWithContext(w.t.Context(), c.method, w.front.URL, nil)
	if err != nil {
		return answer{}, err
	}
	r.URL.Opaque = c.path // as it is written
	r.Host = c.host
	if c.header != nil {
		r.Header = c.header
	}
	if c.payment != "" {
		r.Header.Set(x402.PaymentHeader, c.payment)
	}
	got, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(body), got.Trailer}, err
}

// sign pays what the edge asks for a path of a host.
func (w *world) sign(host, path string) string {
	w.t.Helper()
	payment, err := w.trySign(host, path)
	if err != nil {
		w.t.Fatal(err)
	}
	return payment
}

func (w *world) trySign(host, path string) (string, error) {
	a, err := w.try(call{host: host, path: path})
	if err != nil {
		return "", err
	}
	if a.status != http.StatusPaymentRequired {
		return "", fmt.Errorf("GET %s = %d %s, want 402", path, a.status, a.body)
	}
	terms, err := x402.ParseChallenge(a.header, []byte(a.body))
	if err != nil {
		return "", err
	}
	p, err := paytest.Sign(terms.Accepts[0], nil)
	return p.Header, err
}

// settled counts what the facilitator was asked to settle.
func (w *world) settled() int {
	n := 0
	for _, c := range w.facilitator.Calls() {
		if c.Path == "/settle" {
			n++
		}
	}
	return n
}

// counted tells whether the metrics have anything of an offer.
func (w *world) counted(name string) bool {
	w.t.Helper()
	return strings.Contains(w.do(call{path: "/metrics"}).body, `offer_name="`+name+`"`)
}

// eventually waits for what happens beside requests.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			w.t.Fatalf("still not so: %s", what)
		}
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
