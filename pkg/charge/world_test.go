package charge_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

const payTo = "0x52908400098527886E0F7030069857D2E4169EE7"

// A world is a till between a buyer, an upstream and a facilitator, all real
// but the facilitator's chain.
type world struct {
	t           *testing.T
	offer       charge.Offer
	facilitator *facilitator
	upstream    *httptest.Server
	runs        atomic.Int64 // of the upstream
	dir         string       // of the ledger
	ledger      *ledger.Ledger
	till        *charge.Till
	registry    *prometheus.Registry
	front       *httptest.Server
	log         *logged
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// newWorld makes a world whose upstream is h; change may alter the offer.
func newWorld(t *testing.T, h http.HandlerFunc, change func(*charge.Offer)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), facilitator: newFacilitator(t), log: &logged{}}
	w.upstream = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.runs.Add(1)
		h(rw, r)
	}))
	t.Cleanup(w.upstream.Close)
	n, _ := offer.LookupNetwork("base-sepolia")
	w.offer = charge.Offer{
		Key:     offer.Key{Type: offer.HTTP, Namespace: "default", Name: "notes"},
		Address: offer.Address{Type: offer.HTTP, Label: "notes"},
		URL:     "https://notes.example.org",
		Payments: []offer.Payment{{
			Scheme: "exact", Network: "base-sepolia", PayTo: payTo, Token: n.Tokens[0],
			Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}, MaxTimeout: 5 * time.Minute, Facilitators: []string{w.facilitator.URL},
		}},
		Upstream: proxyTo(t, w.upstream.URL),
	}
	if change != nil {
		change(&w.offer)
	}
	w.begin()
	t.Cleanup(w.end)
	return w
}

func proxyTo(t *testing.T, upstream string) http.Handler {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:        func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
		FlushInterval:  -1,
		ModifyResponse: charge.Collect,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !charge.Refused(w, r, err) {
				w.WriteHeader(http.StatusBadGateway)
			}
		},
	}
}

// begin opens the till, as a process that starts does.
func (w *world) begin() {
	w.t.Helper()
	l, err := ledger.Open(w.dir, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.ledger, w.registry = l, prometheus.NewRegistry()
	w.till = charge.NewTill(charge.Options{Ledger: l, Log: slog.New(slog.NewJSONHandler(w.log, nil)), Metrics: w.registry})
	table, err := charge.NewTable([]charge.Offer{w.offer})
	if err != nil {
		w.t.Fatal(err)
	}
	w.front = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.till.Serve(table, rw, r) }))
}

func (w *world) end() {
	w.front.Close()
	if err := w.ledger.Close(); err != nil {
		w.t.Errorf("Close = %v", err)
	}
}

// ask sends one request; payment may be empty.
func (w *world) ask(path, payment string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.front.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if payment != "" {
		r.Header.Set("PAYMENT-SIGNATURE", payment)
	}
	return w.do(r)
}

func (w *world) do(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer, string(body)
}

// terms are what the till asks for at a path.
func (w *world) terms(path string) []x402.Requirements {
	w.t.Helper()
	answer, body := w.ask(path, "")
	if answer.StatusCode != http.StatusPaymentRequired {
		w.t.Fatalf("GET %s = %d %s, want 402", path, answer.StatusCode, body)
	}
	terms, err := x402.ParseChallenge(answer.Header, []byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return terms.Accepts
}

// payment signs a payment for a path.
func (w *world) payment(path string) string {
	w.t.Helper()
	return sign(w.t, w.terms(path)[0], nil)
}

// states counts what the ledger says became of payments.
func (w *world) states() map[ledger.State]int {
	w.t.Helper()
	sales, err := ledger.Read(w.dir, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[ledger.State]int{}
	for _, s := range sales {
		out[s.State]++
	}
	return out
}

// counts gives the metrics of the till, by name and the values of the labels in
// the order of their names.
func (w *world) counts() map[string]float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "obol_x402_verifier_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue()
		}
	}
	return out
}

// sign makes a payment of version 2 that pays terms, by a key of its own;
// change may alter what is signed.
func sign(t *testing.T, terms x402.Requirements, change func(map[string]string)) string {
	t.Helper()
	p, err := paytest.Sign(terms, change)
	if err != nil {
		t.Fatal(err)
	}
	return p.Header
}

// A facilitator answers as it is told to, and remembers what it was asked.
type facilitator struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []string
	bodies []string
	verify http.HandlerFunc // nil: valid
	settle http.HandlerFunc // nil: settled
}

func newFacilitator(t *testing.T) *facilitator {
	t.Helper()
	f, honest := &facilitator{}, &paytest.Facilitator{}
	honest.Handle = func(w http.ResponseWriter, r *http.Request, c paytest.Call) {
		f.mu.Lock()
		f.calls, f.bodies = append(f.calls, c.Path[1:]), append(f.bodies, c.Body)
		does := map[string]http.HandlerFunc{"/verify": f.verify, "/settle": f.settle}[c.Path]
		f.mu.Unlock()
		if does == nil {
			honest.Answer(w, c)
			return
		}
		does(w, r)
	}
	f.Server = httptest.NewServer(honest)
	t.Cleanup(f.Close)
	return f
}

// reopen has a facilitator that was closed answer again, where it did.
func (f *facilitator) reopen(t *testing.T) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again := &httptest.Server{Listener: l, Config: &http.Server{Handler: f.Config.Handler}}
	again.Start()
	t.Cleanup(again.Close)
}

const hash = paytest.Transaction

// say makes a handler of one answer.
func say(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

func (f *facilitator) tell(verify, settle http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verify, f.settle = verify, settle
}

func (f *facilitator) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// receipt reads the header that both versions of buyers get.
func receipt(t *testing.T, h http.Header) map[string]any {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(h.Get("PAYMENT-RESPONSE"))
	if err != nil || h.Get("X-PAYMENT-RESPONSE") != h.Get("PAYMENT-RESPONSE") {
		t.Fatalf("receipts %q and %q", h.Get("PAYMENT-RESPONSE"), h.Get("X-PAYMENT-RESPONSE"))
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return out
}

// altered changes the JSON of a payment.
func altered(t *testing.T, payment string, change func(map[string]any)) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(payment)
	if err != nil {
		t.Fatal(err)
	}
	var payload map[string]any
	if err := json.Unmarshal(text, &payload); err != nil {
		t.Fatal(err)
	}
	change(payload)
	if text, err = json.Marshal(payload); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}
