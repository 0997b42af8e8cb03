package charge_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/sha3"

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

// sign makes a payment of version 2 that pays terms, by a key of its own;
// change may alter what is signed.
func sign(t *testing.T, terms x402.Requirements, change func(map[string]string)) string {
	t.Helper()
	key, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce)
	auth := map[string]string{
		"from": "0x" + hex.EncodeToString(keccak(key.PubKey().SerializeUncompressed()[1:])[12:]), "to": terms.PayTo, "value": terms.Amount,
		"validAfter": "0", "validBefore": fmt.Sprint(time.Now().Add(5 * time.Minute).Unix()), "nonce": "0x" + hex.EncodeToString(nonce),
	}
	if change != nil {
		change(auth)
	}
	digest := keccak([]byte{0x19, 1}, domain(t, terms), keccak(
		keccak([]byte("TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)")),
		word(t, auth["from"]), word(t, auth["to"]), word(t, auth["value"]), word(t, auth["validAfter"]), word(t, auth["validBefore"]), word(t, auth["nonce"])))
	compact := ecdsa.SignCompact(key, digest, false)
	payload := map[string]any{
		"x402Version": 2, "accepted": terms,
		"payload": map[string]any{"signature": "0x" + hex.EncodeToString(append(compact[1:], compact[0])), "authorization": auth},
	}
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func domain(t *testing.T, terms x402.Requirements) []byte {
	t.Helper()
	_, chain, _ := strings.Cut(terms.Network, ":")
	return keccak(
		keccak([]byte("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")),
		keccak([]byte(terms.Extra.Name)), keccak([]byte(terms.Extra.Version)), word(t, chain), word(t, terms.Asset))
}

func word(t *testing.T, s string) []byte {
	t.Helper()
	n, ok := new(big.Int).SetString(s, 0)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	return n.FillBytes(make([]byte, 32))
}

func keccak(parts ...[]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
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
	f := &facilitator{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *facilitator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.calls, f.bodies = append(f.calls, r.URL.Path[1:]), append(f.bodies, string(body))
	verify, settle := f.verify, f.settle
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/verify" && verify != nil:
		verify(w, r)
	case r.URL.Path == "/verify":
		fmt.Fprint(w, `{"isValid":true}`)
	case settle != nil:
		settle(w, r)
	default:
		fmt.Fprintf(w, `{"success":true,"transaction":"%s","network":"eip155:84532"}`, hash)
	}
}

const hash = "0x89c91c789e57059b17285e7ba1716a1f5ff4c5dace0ea5a5135f26158d0421b9"

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
