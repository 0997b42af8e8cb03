package edge_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

// hosted gives an offer a host of its own.
func hosted(host string) func(*v1alpha1.ServiceOffer) {
	return func(o *v1alpha1.ServiceOffer) { o.Spec.Hostname = host }
}

// newShop makes a world of two offers, a and b; b has a host too.
func newShop(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, newOffer("a", nil), newOffer("b", hosted("b.example.org")))
	w.serve("a.default", echo("a"))
	w.serve("b.default", echo("b"))
	w.reload()
	return w
}

func TestPaidRequestReachesItsUpstream(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ host, path, resource, want string }{
		"by path":         {"", "/services/a/x/y?q=1", base + "/services/a", "a /x/y?q=1 "},
		"the path itself": {"", "/services/a", base + "/services/a", "a / "},
		"another":         {"", "/services/b/x", base + "/services/b", "b /x "},
		"by host":         {"b.example.org", "/x", "https://b.example.org", "b /x "},
		"host and port":   {"B.example.org.:443", "/services/a", "https://b.example.org", "b /services/a "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShop(t)
			asked := w.do(call{host: tc.host, path: tc.path})
			if asked.status != http.StatusPaymentRequired || !strings.Contains(asked.body, `"resource":"`+tc.resource+`/"`) {
				t.Errorf("unpaid: %d %s, want 402 for %s/", asked.status, asked.body, tc.resource)
			}
			got := w.do(call{host: tc.host, path: tc.path, payment: w.sign(tc.host, tc.path), header: http.Header{"X-Payment-Payer": {"me"}}})
			if got.status != http.StatusOK || !strings.HasPrefix(got.body, tc.want+"payer=0x") || got.header.Get("PAYMENT-RESPONSE") == "" {
				t.Errorf("paid: %d %q %v, want %q", got.status, got.body, got.header, tc.want)
			}
			if !strings.Contains(got.body, ".default.svc.cluster.local:8080") {
				t.Errorf("the upstream was asked as another host: %q", got.body)
			}
		})
	}
}

func TestNothingElseIsServed(t *testing.T) {
	t.Parallel()
	w := newShop(t)
	for path, want := range map[string]int{
		"/services":                           404,
		"/services/":                          404,
		"/services/ab":                        404,
		"/services/A":                         404,
		"/services/c":                         404,
		"/x":                                  404,
		"/services/c/../a":                    400,
		"/services/a/../b":                    400,
		"/services/a/%2e%2e/b":                400,
		"/services/a/..%2fb":                  400,
		"/services/a/..;/b":                   400,
		"/services//a":                        400,
		"/services%2fa":                       400,
		"/services/a/x%5c..%5c..%5cb":         400,
		"/api/services.json/":                 404,
		"/api":                                404,
		"/skill.md/../services/a":             400,
		"/services/%61":                       402,
		"/services/a/services/b":              402,
		"/services/a/.well-known/x402":        402,
		"http://b.example.org/services/a":     402, // the host is in the request line
		"http://other.example.org/services/a": 402,
	} {
		if got := w.do(call{path: path}); got.status != want {
			t.Errorf("GET %s = %d %s, want %d", path, got.status, got.body, want)
		}
	}
	if n := len(w.facilitator.Calls()); n != 0 {
		t.Errorf("the facilitator was asked %d times", n)
	}
}

func TestPaymentIsForOneOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newOffer("a", nil), newOffer("same", hosted("same.example.org")),
		newOffer("dearer", func(o *v1alpha1.ServiceOffer) { o.Spec.Payment.Price.PerRequest = "0.011" }),
		newOffer("payee", func(o *v1alpha1.ServiceOffer) { o.Spec.Payment.PayTo = "0x000000000000000000000000000000000000dEaD" }),
		newOffer("chain", func(o *v1alpha1.ServiceOffer) { o.Spec.Payment.Network = "base" }),
	)
	w.reload()
	silent := w.sign("", "/services/a") // it does not say what it is for
	said := naming(t, silent, base+"/services/a/")
	for name, c := range map[string]call{
		"another offer with the same terms": {path: "/services/same", payment: said},
		"its host":                          {host: "same.example.org", path: "/x", payment: said},
		"a path that looks like it":         {host: "same.example.org", path: "/services/b", payment: said},
		"a dearer one":                      {path: "/services/dearer", payment: silent},
		"another payee":                     {path: "/services/payee", payment: silent},
		"another chain":                     {path: "/services/chain", payment: silent},
	} {
		if got := w.do(c); got.status != http.StatusPaymentRequired {
			t.Errorf("%s: %d %s, want 402", name, got.status, got.body)
		}
	}
	if calls := w.facilitator.Calls(); len(calls) != 0 {
		t.Errorf("the facilitator was asked: %v", calls)
	}
}

// naming has a payment say what it is for, which no signature covers.
func naming(t *testing.T, payment, resource string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(payment)
	if err != nil {
		t.Fatal(err)
	}
	var payload map[string]any
	decode(t, string(text), &payload)
	payload["resource"] = map[string]any{"url": resource}
	if text, err = json.Marshal(payload); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func TestPaymentIsForOnce(t *testing.T) {
	t.Parallel()
	w := newShop(t)
	payment := w.sign("", "/services/a")
	if got := w.do(call{path: "/services/a", payment: payment}); got.status != http.StatusOK {
		t.Fatalf("the first time: %d %s", got.status, got.body)
	}
	refused := func(when string, c call) {
		t.Helper()
		if got := w.do(c); got.status != http.StatusPaymentRequired || !strings.Contains(got.body, "nonce_already_used") {
			t.Errorf("%s: %d %s, want 402", when, got.status, got.body)
		}
	}
	refused("again", call{path: "/services/a", payment: payment})
	refused("at another offer", call{path: "/services/b", payment: payment})
	w.end()
	w.begin()
	w.reload()
	refused("after a restart", call{host: "b.example.org", path: "/x", payment: payment})
	if n := w.settled(); n != 1 {
		t.Errorf("settled %d times, want 1", n)
	}
}

func TestWhatContributes(t *testing.T) {
	t.Parallel()
	drained := func(ago time.Duration) func(*v1alpha1.ServiceOffer) {
		return func(o *v1alpha1.ServiceOffer) {
			at, grace := metav1.NewTime(time.Now().Add(-ago)), "1h"
			o.Spec.DrainAt, o.Spec.DrainGracePeriod = &at, &grace
		}
	}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.ServiceOffer)
		want   int
	}{
		"published":     {nil, 402},
		"not published": {func(o *v1alpha1.ServiceOffer) { o.Status.Conditions[0].Status = "False" }, 404},
		"no conditions": {func(o *v1alpha1.ServiceOffer) { o.Status.Conditions = nil }, 404},
		"draining":      {drained(time.Minute), 402},
		"drained":       {drained(2 * time.Hour), 404},
		"drain to come": {drained(-time.Minute), 402},
		"not Ready": {func(o *v1alpha1.ServiceOffer) {
			o.Status.Conditions = append(o.Status.Conditions, v1alpha1.Condition{Type: "Ready", Status: "False"})
		}, 402},
		"path of its own": {func(o *v1alpha1.ServiceOffer) { o.Spec.Path = "/mine/" }, 404},
		"broken, but not published": {func(o *v1alpha1.ServiceOffer) {
			o.Spec.Payment.Price.PerRequest, o.Status.Conditions[0].Status = "free", "False"
		}, 404},
	} {
		w := newWorld(t, newOffer("a", tc.change))
		w.reload()
		if got := w.do(call{path: "/services/a"}); got.status != tc.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tc.want)
		}
	}
}

// The controller's conditions may not know yet of two offers that want the same.
func TestOlderOfferHasPathAndHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		newOffer("older", func(o *v1alpha1.ServiceOffer) {
			o.Spec.Path, o.Spec.Hostname = "/same/", "same.example.org"
			o.CreationTimestamp = metav1.Unix(1_600_000_000, 0)
		}),
		newOffer("a", func(o *v1alpha1.ServiceOffer) { o.Spec.Path, o.Spec.Hostname = "/same", "same.example.org" }),
		newOffer("deeper", func(o *v1alpha1.ServiceOffer) { o.Spec.Path = "/same/deeper" }),
		newOffer("x", func(o *v1alpha1.ServiceOffer) { o.Namespace, o.Spec.Path = "shop", "/tie" }),
		newOffer("first", func(o *v1alpha1.ServiceOffer) { o.Namespace, o.Spec.Path = "shop-a", "/tie" }),
	)
	for _, name := range []string{"older", "a", "deeper", "x", "first"} {
		w.serve(name+".default", echo(name))
	}
	w.reload()
	for _, tc := range []struct{ host, path, want string }{
		{"", "/same/x", "older /x"},
		{"same.example.org", "/x", "older /x"},
		{"", "/same/deeper/x", "deeper /x"},
		{"", "/tie/x", "first /x"}, // the controller's order: shop-a/first, then shop/x
	} {
		if got := w.do(call{host: tc.host, path: tc.path, payment: w.sign(tc.host, tc.path)}); !strings.HasPrefix(got.body, tc.want) {
			t.Errorf("%s%s = %d %q, want %q", tc.host, tc.path, got.status, got.body, tc.want)
		}
	}
}

// An offer whose hostname is one of all that the edge sells has only its path.
func TestNoOfferHasTheWholeEdge(t *testing.T) {
	t.Parallel()
	at := func(host string) func(*v1alpha1.ServiceOffer) {
		return func(o *v1alpha1.ServiceOffer) { o.Spec.Hostname = host }
	}
	w := newWorld(t, newOffer("a", at("127.0.0.1")), newOffer("b", at("Shop.example.org")), newOffer("c", nil))
	w.serve("c.default", echo("c"))
	w.reload()
	for _, host := range []string{"127.0.0.1", "127.0.0.1:8080", "shop.example.org", "SHOP.example.org:443"} {
		if got := w.do(call{host: host, path: "/services/c/x", payment: w.sign(host, "/services/c/x")}); !strings.HasPrefix(got.body, "c /x") {
			t.Errorf("%s: %d %s", host, got.status, got.body)
		}
		for _, path := range []string{"/services/a", "/services/b"} {
			if got := w.do(call{host: host, path: path}); got.status != http.StatusPaymentRequired {
				t.Errorf("%s%s = %d, want 402", host, path, got.status)
			}
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newOffer("a", func(o *v1alpha1.ServiceOffer) {
		o.Spec.Routes = []v1alpha1.Route{{Path: "/about", Gate: "free"}, {Path: "/me", Gate: "auth"}, {Path: "/quota", FreeQuota: 5}, {Path: "/v1/*", Price: &v1alpha1.Price{PerRequest: "0.02"}}}
	}))
	w.serve("a.default", echo("a"))
	w.reload()
	forged := http.Header{"X-Payment-Payer": {payTo}, "X-Verified-Wallet": {payTo}}
	if got := w.do(call{path: "/services/a/about", header: forged}); got.status != 200 || !strings.HasPrefix(got.body, "a /about payer= ") {
		t.Errorf("free: %d %q", got.status, got.body)
	}
	if got := w.do(call{path: "/services/a/v1/x"}); got.status != 402 || !strings.Contains(got.body, `"maxAmountRequired":"20000"`) {
		t.Errorf("paid: %d %s", got.status, got.body)
	}
	for path, want := range map[string]int{"/services/a/me": 401, "/services/a/quota": 402, "/services/a/v2": 404} {
		if got := w.do(call{path: path}); got.status != want {
			t.Errorf("GET %s = %d %s, want %d", path, got.status, got.body, want)
		}
	}
}

// Neither is what is new sold then, nor what is broken.
func TestOneBadOfferKeepsAllAsItWas(t *testing.T) {
	t.Parallel()
	bad := func(o *v1alpha1.ServiceOffer) { o.Spec.Payment.Price = v1alpha1.Price{PerMTok: "0,5"} }
	w := newWorld(t, newOffer("bad", bad))
	if err := w.edge.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "default/bad") {
		t.Errorf("Reload = %v, want one about default/bad", err)
	}
	if got := w.do(call{path: "/readyz"}); got.status != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", got.status)
	}
	w.delete("bad")
	w.create(newOffer("a", nil))
	w.reload()
	if got := w.do(call{path: "/readyz"}); got.status != http.StatusOK {
		t.Errorf("ready: %d", got.status)
	}
	w.create(newOffer("bad", bad))
	w.create(newOffer("worse", func(o *v1alpha1.ServiceOffer) { o.Spec.Payment.Network = "sepolia" }))
	w.create(newOffer("good", nil))
	w.delete("a")
	if err := w.edge.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "default/bad") || !strings.Contains(err.Error(), "default/worse") {
		t.Errorf("Reload = %v, want one about default/bad and default/worse", err)
	}
	for path, want := range map[string]int{"/services/a": 402, "/services/good": 404, "/services/bad": 404} {
		if got := w.do(call{path: path}); got.status != want {
			t.Errorf("GET %s = %d, want %d", path, got.status, want)
		}
	}
}

func (w *world) create(o *v1alpha1.ServiceOffer) {
	w.t.Helper()
	if err := w.client.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(name string) {
	w.t.Helper()
	if err := w.client.Delete(w.t.Context(), newOffer(name, nil)); err != nil {
		w.t.Fatal(err)
	}
}

func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newOffer("a", nil), newOffer("b", nil))
	w.serve("b.default", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTeapot) })
	w.reload()
	for path, want := range map[string]int{"/services/a": http.StatusBadGateway, "/services/b": http.StatusTeapot} {
		payment := w.sign("", path)
		for range 2 { // it is not used up
			if got := w.do(call{path: path, payment: payment}); got.status != want || got.header.Get("PAYMENT-RESPONSE") != "" || strings.Contains(got.body, "endpoints") {
				t.Errorf("GET %s = %d %s, want %d and no receipt", path, got.status, got.body, want)
			}
		}
	}
	if n := w.settled(); n != 0 {
		t.Errorf("settled %d times, want none", n)
	}
}

// A request goes on by what held when it came, and only then are its offer's
// metrics gone.
func TestRequestOutlivesItsOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newOffer("a", nil), newOffer("b", nil))
	asked, proceed := make(chan bool), make(chan bool)
	w.serve("a.default", func(rw http.ResponseWriter, r *http.Request) {
		asked <- true
		<-proceed
		echo("a")(rw, r)
	})
	w.reload()
	w.sign("", "/services/b")
	payment, got := w.sign("", "/services/a"), make(chan answer)
	go func() {
		a, err := w.try(call{path: "/services/a", payment: payment})
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	<-asked
	w.delete("a")
	w.reload()
	w.reload() // which must not forget the first
	if late := w.do(call{path: "/services/a"}); late.status != http.StatusNotFound {
		t.Errorf("after it was deleted: %d", late.status)
	}
	if !w.counted("a") {
		t.Error("the metrics are gone while a request is being answered")
	}
	close(proceed)
	if a := <-got; a.status != http.StatusOK || !strings.HasPrefix(a.body, "a / ") {
		t.Errorf("the request that came before: %d %s", a.status, a.body)
	}
	w.eventually("the metrics of a are gone", func() bool { return !w.counted("a") })
	if !w.counted("b") {
		t.Error("the metrics of b are gone too")
	}
}

func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := newShop(t)
	var buyers sync.WaitGroup
	stop := make(chan bool)
	for _, path := range []string{"/services/a", "/services/b"} {
		for range 4 {
			buyers.Go(func() {
				for range 10 {
					payment, err := w.trySign("", path)
					if err != nil {
						t.Error(err)
						return
					}
					got, err := w.try(call{path: path, payment: payment})
					if err != nil || got.status != http.StatusOK || !strings.HasPrefix(got.body, path[len(path)-1:]) {
						t.Errorf("GET %s = %d %q, %v", path, got.status, got.body, err)
						return
					}
				}
			})
		}
	}
	go func() { buyers.Wait(); close(stop) }()
	for n := 0; ; n++ {
		select {
		case <-stop:
			if got := w.settled(); got != 80 {
				t.Errorf("settled %d payments, want 80", got)
			}
			return
		default:
		}
		if n%2 == 0 {
			w.create(newOffer("passing", nil))
		} else {
			w.delete("passing")
		}
		w.reload()
	}
}

func TestManyOffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var names []string
	for i := range 50 {
		name := "many-" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		names = append(names, name)
		w.serve(name+".default", echo(name))
		w.create(newOffer(name, nil))
	}
	w.reload()
	for _, name := range names {
		path := "/services/" + name + "/x"
		if got := w.do(call{path: path, payment: w.sign("", path)}); !strings.HasPrefix(got.body, name+" /x ") {
			t.Errorf("GET %s = %d %q", path, got.status, got.body)
		}
	}
	var doc struct{ Resources []struct{ Resource string } }
	decode(t, w.do(call{path: "/.well-known/x402"}).body, &doc)
	var listed []string
	for _, r := range doc.Resources {
		listed = append(listed, strings.TrimSuffix(strings.TrimPrefix(r.Resource, base+"/services/"), "/"))
	}
	slices.Sort(listed)
	if diff := cmp.Diff(names, listed); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

// A stream passes as it comes, and is settled at its end.
func TestStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newOffer("a", nil))
	settled := make(chan int, 1)
	w.serve("a.default", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = rw.Write([]byte("data: 1\n\n"))
		_ = http.NewResponseController(rw).Flush()
		settled <- w.settled()
		_, _ = rw.Write([]byte("data: 2\n\n"))
	})
	w.reload()
	got := w.do(call{path: "/services/a", payment: w.sign("", "/services/a")})
	if got.status != http.StatusOK || got.body != "data: 1\n\ndata: 2\n\n" || got.trailer.Get("PAYMENT-RESPONSE") == "" {
		t.Errorf("%d %q with trailers %v", got.status, got.body, got.trailer)
	}
	if before, after := <-settled, w.settled(); before != 0 || after != 1 {
		t.Errorf("settled %d times before its end, %d in all", before, after)
	}
}
