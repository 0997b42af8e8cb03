//go:build cluster

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/obolctl/obolctl/internal/testcluster"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// A stage is all that stands around one seller's offer inference.qwen but
// obolctl: its upstream, a controller that the test plays, and a public side
// that sells what it is told to.
type stage struct {
	*seller
	upstream atomic.Bool
	listed   atomic.Bool
	sold     atomic.Bool
	public   string
}

// newStage has the upstream answer, nothing listed and nothing sold.
func newStage(t *testing.T, c *testcluster.Cluster) *stage {
	s := &stage{seller: newSeller(t, c)}
	s.upstream.Store(true)
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !s.upstream.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(model.Close)
	public := httptest.NewServer(http.HandlerFunc(s.shop))
	t.Cleanup(public.Close)
	s.public = public.URL
	stack := s.stranger("kubectl")
	stack.idleController()
	stack.patch(configmaps, "obol-frontend", "obol-stack-config", map[string]any{"data": map[string]any{"tunnelURL": s.public}})
	s.declare(strings.Replace(s.model("qwen", "0.5"), fmt.Sprintf("%q", upstream()), fmt.Sprintf("%q", model.URL), 1))
	return s
}

// shop is the public side.
func (s *stage) shop(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/api/services.json" && s.listed.Load():
		fmt.Fprintf(w, `{"services":[{"name":"qwen","namespace":%q,"endpoint":%q,"payTo":%q,"network":"base-sepolia","priceAtomicUnits":"500"}]}`,
			s.ns, s.public+"/services/qwen", wallet)
	case r.URL.Path == "/api/services.json":
		fmt.Fprint(w, `{"services":[]}`)
	case s.sold.Load():
		n, _ := offer.LookupNetwork("base-sepolia")
		usdc, _ := n.Token("USDC")
		p := offer.Payment{Scheme: "exact", Network: n.Name, PayTo: wallet, Token: usdc, MaxTimeout: 5 * time.Minute, Price: offer.Price{Unit: offer.PerMTok, Amount: "0.5"}}
		q, err := x402.NewQuote(p, p.Price)
		if err != nil {
			panic(err)
		}
		c, err := x402.NewChallenge(x402.Resource{URL: s.public + r.URL.Path}, []x402.Quote{q}, "payment required")
		if err != nil {
			panic(err)
		}
		w.Header().Set(x402.RequiredHeader, c.Header)
		w.WriteHeader(http.StatusPaymentRequired)
		_, _ = w.Write(c.Body)
	default:
		http.Error(w, `{"error":"No service here"}`, http.StatusNotFound)
	}
}

// conditions are what the controller says of the offer.
func (s *stage) conditions(healthy string) {
	s.t.Helper()
	var all []any
	for _, kind := range []string{"ModelReady", "UpstreamHealthy", "PaymentGateReady", "RoutePublished", "Registered", "Ready"} {
		is := healthy
		if kind == "ModelReady" {
			is = "True"
		}
		all = append(all, map[string]any{"type": kind, "status": is, "reason": "Said", "message": "by the test", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)})
	}
	s.stranger("serviceoffer-controller").patch(offers, s.ns, "qwen", map[string]any{"status": map[string]any{"conditions": all}}, "status")
}

// probe asks the gateway as the controller does, through the Service.
func (s *stage) probe() {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/health", s.port("qwen")), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = fmt.Sprintf("qwen.%s.svc.cluster.local:%d", s.ns, s.port("qwen"))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// touched is when the offer was last touched.
func (s *stage) touched() string {
	s.t.Helper()
	o := s.offer("qwen")
	if o == nil {
		return ""
	}
	at, _, err := unstructured.NestedString(o.Object, "metadata", "annotations", "offers.obolctl.io/touched")
	if err != nil {
		s.t.Fatal(err)
	}
	return at
}

// sells brings the offer to where it sells.
func (s *stage) sells() {
	s.t.Helper()
	s.must(0, "apply", "--auto-approve", "--no-wait")
	if !s.answers("qwen") {
		s.t.Fatal("its gateway does not answer")
	}
	s.probe()
	s.conditions("True")
	s.listed.Store(true)
	s.sold.Store(true)
}

// TestApplyWaitsUntilItSells has one thing after the other stand between an
// offer and its buyers: each is waited for by name, and in the end it sells.
func TestApplyWaitsUntilItSells(t *testing.T) {
	t.Parallel()
	s := newStage(t, ownCluster(t))
	s.upstream.Store(false)
	cmd := s.command("apply", "--auto-approve", "--wait", "1m", "--json")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		waits string // the beginning of what is waited for
		next  func()
	}{
		{"upstream: the upstream answered 503", func() { s.upstream.Store(true) }},
		{"path: ", s.probe},
		{"the controller", func() { s.conditions("False") }},
		{"UpstreamHealthy (Said: by the test)", func() { s.conditions("True") }},
		{"catalog: " + s.ns + "/qwen: not there yet", func() { s.listed.Store(true) }},
		{"402: " + s.public + "/services/qwen/ answers 404", func() { s.sold.Store(true) }},
	}
	var waited, sells []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var e struct {
			Event, For    string
			Sells, Unsold []string
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Event == "summary" {
			sells = e.Sells
		}
		if e.Event != "waiting" {
			continue
		}
		if i := len(waited); i >= len(steps) || !strings.HasPrefix(e.For, steps[i].waits) {
			if len(waited) > 0 && strings.HasPrefix(e.For, "upstream: ") {
				continue // with another reason, before it was asked or when it goes
			}
			if len(waited) == 0 {
				continue
			}
			t.Fatalf("after %q it waits for %q", waited, e.For)
		}
		steps[len(waited)].next()
		waited = append(waited, e.For)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(waited) != len(steps) {
		t.Errorf("it waited for %q", waited)
	}
	same(t, "sells", sells, "inference.qwen")
	if at := s.touched(); at != "" {
		t.Errorf("a new offer was touched at %s", at)
	}
	out := s.must(0, "apply", "--auto-approve").stdout
	contains(t, out, "Nothing to do", "(0 writes)", "Selling 1 offer: inference.qwen 0.5 USDC/Mtok "+s.public+"/services/qwen")
}

// TestTouch loses the gateway under an offer that is Ready, and then its
// upstream: each time the controller is asked once to look again, what we own
// stays as it is, and a run with nothing to do writes nothing.
func TestTouch(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	s := newStage(t, c)
	s.sells()
	s.must(0, "apply", "--auto-approve")
	if at := s.touched(); at != "" {
		t.Fatalf("touched at %s, and nothing was wrong", at)
	}

	killGateways(t, s.dir)
	mark := c.Mark(t)
	s.must(2, "converge", "--wait-api", "1s") // it does not sell before somebody looks
	first := s.touched()
	if first == "" {
		t.Fatal("the gateway is another, and the offer was not touched")
	}
	var writes []string
	for _, r := range c.Audit(t, mark, "obolctl/") {
		if r.Writes() && r.Resource == "serviceoffers" {
			writes = append(writes, r.Verb+" "+r.Name)
		}
	}
	same(t, "writes to offers", writes, "patch qwen")
	out := s.must(2, "apply", "--auto-approve", "--wait", "300ms").stdout
	contains(t, out, "! Not selling yet: inference.qwen")
	s.probe()
	s.must(0, "plan", "--detailed-exitcode")
	sum := s.apply(0).summary(t)
	if sum.Writes != 0 || sum.UnchangedDigest == nil {
		t.Errorf("after a touch an apply makes %d writes", sum.Writes)
	}
	if at := s.touched(); at != first {
		t.Errorf("touched at %s and, for the same, at %s", first, at)
	}

	s.upstream.Store(false)
	until(t, func() bool { s.must(0, "converge"); return s.touched() != first })
	second := s.touched()
	s.must(0, "converge")
	s.conditions("False")
	s.must(0, "converge")
	if at := s.touched(); at != second {
		t.Errorf("touched at %s and, for the same, at %s", second, at)
	}
	s.upstream.Store(true)
	until(t, func() bool { s.must(0, "converge"); return s.touched() != second })
	for _, args := range [][]string{{"plan"}, {"status"}, {"status", "inference.qwen"}} {
		mark := c.Mark(t)
		killGateways(t, s.dir)
		s.run(args...)
		if slices.ContainsFunc(c.Audit(t, mark, "obolctl/"), testcluster.Request.Writes) {
			t.Errorf("%q writes", args)
		}
	}
}

// TestNothingIsTouchedWithoutAController has nobody who would look.
func TestNothingIsTouchedWithoutAController(t *testing.T) {
	t.Parallel()
	s := newStage(t, ownCluster(t))
	s.sells()
	s.stranger("kubectl").delete(deployments, "x402", "serviceoffer-controller")
	killGateways(t, s.dir)
	s.must(0, "converge", "--wait-api", "2s")
	s.must(0, "apply", "--auto-approve")
	if at := s.touched(); at != "" {
		t.Errorf("touched at %s", at)
	}
}

// TestWithoutAPublicSide gives up what nobody answers, and says so once.
func TestWithoutAPublicSide(t *testing.T) {
	t.Parallel()
	s := newStage(t, ownCluster(t))
	s.sells()
	s.stranger("kubectl").patch(configmaps, "obol-frontend", "obol-stack-config",
		map[string]any{"data": map[string]any{"tunnelURL": "http://127.0.0.1:1"}})
	r := s.must(0, "apply", "--auto-approve", "--wait", "6s")
	contains(t, r.stderr, "http://127.0.0.1:1 does not answer", "the catalog and the 402 are not asked")
	contains(t, r.stdout, "? Sellable, and not seen from outside: 1 offer:")
}

// TestStatusAsksOutside walks an offer's chain to its end: the catalog and the
// 402, as buyers see them.
func TestStatusAsksOutside(t *testing.T) {
	t.Parallel()
	s := newStage(t, ownCluster(t))
	s.sells()
	chain := func() string { return s.must(0, "status", "inference.qwen").stdout }
	contains(t, chain(), "catalog ✓ ok it lists the offer as accepted", "402 ✓ ok as accepted: "+s.public+"/services/qwen/")
	s.sold.Store(false)
	contains(t, chain(), "402 ✗ broken 404, and no 402: "+s.public+"/services/qwen/", "next: obolctl probe inference.qwen")
	s.must(3, "probe")
	s.listed.Store(false)
	contains(t, chain(), "catalog ✗ broken", "next: obolctl probe inference.qwen")
	contains(t, s.must(0, "status", "--html", "-").stdout, "○ not listed")
	w := s.watches(t)
	w.sees("○ not listed")
	s.sold.Store(true)
	s.listed.Store(true)
	w.sees("● selling").types("q")
	w.leaves(0)
	s.listed.Store(false)
	s.sold.Store(false)
	var doc struct {
		Offers []struct {
			Ready, Sellable bool
			Outside         struct {
				Catalog struct{ Verdict string }
				URLs    []struct{ Verdict string }
			}
		}
	}
	if err := json.Unmarshal([]byte(s.must(0, "status", "inference.qwen", "--json").stdout), &doc); err != nil {
		t.Fatal(err)
	}
	if o := doc.Offers[0]; o.Outside.Catalog.Verdict != "mismatch" || len(o.Outside.URLs) != 1 || !o.Sellable {
		t.Errorf("%+v", o)
	}
	s.must(0, "drain", "inference.qwen", "--now")
	contains(t, chain(), "catalog ✓ ok drained: the catalog leaves it out", "402 ✓ ok drained, and it does not sell: "+s.public+"/services/qwen/")
}
