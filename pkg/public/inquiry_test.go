package public

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// limit is long enough for any answer.
const limit = 10 * time.Second

const payee, other = "0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D"

// sold gives a way to pay 0.01 of a token on Base Sepolia.
func sold(t *testing.T, symbol string) offer.Payment {
	t.Helper()
	n, _ := offer.LookupNetwork("base-sepolia")
	tok, ok := n.Token(symbol)
	if !ok {
		t.Fatalf("no token %s", symbol)
	}
	return offer.Payment{Scheme: "exact", Network: n.Name, PayTo: payee, Token: tok, MaxTimeout: 5 * time.Minute,
		Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}}
}

// notes is a standalone offer.
func notes(t *testing.T, routes ...offer.Route) offer.Offer {
	return offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "notes"}, Type: offer.HTTP, Namespace: "default", Name: "notes",
		Standalone: true, Payments: []offer.Payment{sold(t, "USDC")}, Routes: routes, Path: "/services/notes",
		Gateway: offer.Gateway{PublicURL: "https://notes.example.org"}}
}

func TestCompareWays(t *testing.T) {
	t.Parallel()
	o := notes(t)
	o.Payments = append(o.Payments, sold(t, "OBOL"))
	declared, _ := declaredWays(o, offer.Route{})
	type ways = []x402.Requirements
	changed := func(f func(*x402.Requirements)) ways {
		out := ways{declared[0], declared[1]}
		f(&out[0])
		return out
	}
	differ := func(path string, before, after any) []resource.Difference {
		return []resource.Difference{{Path: path, Before: before, After: after}}
	}
	tests := map[string]struct {
		answered ways
		strict   []resource.Difference
		lenient  []resource.Difference
	}{
		"equal":       {changed(func(*x402.Requirements) {}), nil, nil},
		"another sum": {changed(func(r *x402.Requirements) { r.Amount = "10001" }), differ("accepts[0].amount", "10000", "10001"), differ("accepts[0].amount", "10000", "10001")},
		"another payee": {changed(func(r *x402.Requirements) { r.PayTo = other }),
			differ("accepts[0].payTo", payee, other), differ("accepts[0].payTo", payee, other)},
		"another network": {changed(func(r *x402.Requirements) { r.Network = "eip155:8453" }),
			differ("accepts[0].network", "eip155:84532", "eip155:8453"), differ("accepts[0].network", "eip155:84532", "eip155:8453")},
		"another token": {changed(func(r *x402.Requirements) { r.Asset = other }),
			differ("accepts[0].asset", declared[0].Asset, other), differ("accepts[0].asset", declared[0].Asset, other)},
		"another scheme": {changed(func(r *x402.Requirements) { r.Scheme = "upto" }),
			differ("accepts[0].scheme", "exact", "upto"), differ("accepts[0].scheme", "exact", "upto")},
		"less time": {changed(func(r *x402.Requirements) { r.MaxTimeoutSeconds = 60 }),
			differ("accepts[0].maxTimeoutSeconds", "300", "60"), differ("accepts[0].maxTimeoutSeconds", "300", "60")},
		"another domain": {changed(func(r *x402.Requirements) { r.Extra.Name = "USD Coin" }),
			differ("accepts[0].extra.name", "USDC", "USD Coin"), differ("accepts[0].extra.name", "USDC", "USD Coin")},
		"another transfer": {changed(func(r *x402.Requirements) { r.Extra.AssetTransferMethod = "permit2" }),
			differ("accepts[0].extra.assetTransferMethod", "eip3009", "permit2"), differ("accepts[0].extra.assetTransferMethod", "eip3009", "permit2")},
		"version not said": {changed(func(r *x402.Requirements) { r.Extra.Version = "" }), differ("accepts[0].extra.version", "2", ""), nil},
		"one missing":      {declared[:1], differ("accepts[1]", "10000000000000000 atomic units of OBOL on base-sepolia", nil), differ("accepts[1]", "10000000000000000 atomic units of OBOL on base-sepolia", nil)},
		"first missing":    {declared[1:], differ("accepts[0]", "10000 atomic units of USDC on base-sepolia", nil), differ("accepts[0]", "10000 atomic units of USDC on base-sepolia", nil)},
		"one more": {append(changed(func(*x402.Requirements) {}), x402.Requirements{Amount: "1", Asset: other, Network: "eip155:1"}),
			differ("accepts[2]", nil, "1 atomic units of "+other+" on eip155:1"), differ("accepts[2]", nil, "1 atomic units of "+other+" on eip155:1")},
		"other way round": {ways{declared[1], declared[0]}, differ("order of accepts", "[0 1]", "[1 0]"), differ("order of accepts", "[0 1]", "[1 0]")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.strict, compareWays(declared, tc.answered, true)); diff != "" {
				t.Errorf("strict (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.lenient, compareWays(declared, tc.answered, false)); diff != "" {
				t.Errorf("lenient (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeclaredWays(t *testing.T) {
	t.Parallel()
	o := notes(t)
	o.Payments = append(o.Payments, sold(t, "OBOL"))
	type said struct{ amount, payTo string }
	hourly := offer.Price{Unit: offer.PerHour, Amount: "1"}
	perMTok := offer.Price{Unit: offer.PerMTok, Amount: "0.5"}
	quant := o
	quant.Payments = []offer.Payment{sold(t, "USDC")}
	quant.Payments[0].PayTo = ""
	lower := o
	lower.Payments = []offer.Payment{sold(t, "USDC")}
	lower.Payments[0].PayTo = strings.ToLower(payee)
	tests := map[string]struct {
		offer offer.Offer
		route offer.Route
		want  []said
		notes string // the beginning of the only one
	}{
		"as the offer is paid":     {o, offer.Route{}, []said{{"10000", payee}, {"10000000000000000", payee}}, ""},
		"a price of its own":       {o, offer.Route{Price: &perMTok}, []said{{"500", payee}}, ""},
		"charged by the hour":      {o, offer.Route{Price: &hourly}, []said{{"", payee}}, "accepts[0].amount is not compared: 1 USDC per hour"},
		"a wallet that is unknown": {quant, offer.Route{}, []said{{"10000", ""}}, "accepts[0].payTo is not compared"},
		"without a checksum":       {lower, offer.Route{}, []said{{"10000", payee}}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ways, notes := declaredWays(tc.offer, tc.route)
			var got []said
			for _, w := range ways {
				got = append(got, said{w.Amount, w.PayTo})
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(said{})); diff != "" {
				t.Errorf("ways (-want +got):\n%s", diff)
			}
			if text := strings.Join(notes, "\n"); !strings.HasPrefix(text, tc.notes) || (tc.notes == "") != (text == "") {
				t.Errorf("notes %q, want %q", notes, tc.notes)
			}
		})
	}
	if hour, _ := declaredWays(o, offer.Route{Price: &hourly}); compareWays(hour, []x402.Requirements{{
		Scheme: "exact", Network: "eip155:84532", Amount: "7", Asset: hour[0].Asset, PayTo: payee, MaxTimeoutSeconds: 300}}, false) != nil {
		t.Error("an amount is compared that nobody declared")
	}
	if o.Payments[0].Price.Unit != offer.PerRequest {
		t.Error("the offer was changed")
	}
}

func TestCompareLists(t *testing.T) {
	t.Parallel()
	ways, _ := declaredWays(notes(t), offer.Route{})
	dearer, _ := declaredWays(notes(t), offer.Route{Price: &offer.Price{Unit: offer.PerRequest, Amount: "0.02"}})
	const a, b = "https://notes.example.org/a", "https://notes.example.org/b"
	type list = []x402.Terms
	at := func(url string, ways []x402.Requirements) x402.Terms { return x402.Terms{URL: url, Accepts: ways} }
	tests := map[string]struct {
		declared, listed list
		want             []resource.Difference
	}{
		"equal":        {list{at(a, ways), at(b, dearer)}, list{at(b, dearer), at(a, ways)}, nil},
		"one URL, two": {list{at(a, ways), at(a, dearer)}, list{at(a, dearer), at(a, ways)}, nil},
		"another sum":  {list{at(a, ways)}, list{at(a, dearer)}, []resource.Difference{{Path: a + " accepts[0].amount", Before: "10000", After: "20000"}}},
		"not listed":   {list{at(a, ways), at(b, ways)}, list{at(a, ways)}, []resource.Difference{{Path: b, Before: "for sale"}}},
		"not declared": {list{at(a, ways)}, list{at(a, ways), at(b, ways)}, []resource.Difference{{Path: b, After: "for sale"}}},
		"twice":        {list{at(a, ways)}, list{at(a, ways), at(a, ways)}, []resource.Difference{{Path: a, After: "for sale"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, compareLists(tc.declared, tc.listed, true)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOf asks every paid route at a path that it stands for, and
// nothing else.
func TestOf(t *testing.T) {
	t.Parallel()
	clustered := func(o offer.Offer) offer.Offer {
		o.Standalone = false
		return o
	}
	hosted := func(o offer.Offer) offer.Offer {
		o.Standalone, o.Hostname = false, "notes.example.org"
		return o
	}
	paid := func(path string, methods ...string) offer.Route {
		return offer.Route{Path: path, Gate: "paid", Methods: methods}
	}
	free, auth := offer.Route{Path: "/about", Gate: "free"}, offer.Route{Path: "/mine", Gate: "auth"}
	const base, list = "https://x.org/n", " GET https://x.org/n/.well-known/x402 document"
	tests := map[string]struct {
		offer   offer.Offer
		stopped bool
		want    string
		notes   int
	}{
		"standalone, no routes":   {notes(t), false, " GET https://x.org/n/ 402" + list, 0},
		"in the cluster":          {clustered(notes(t)), false, " GET https://x.org/n/ 402", 0},
		"at a hostname":           {hosted(notes(t)), false, " GET https://x.org/n/probe 402", 0},
		"the root of a hostname":  {hosted(notes(t, paid("/"), paid("/v1"))), false, " GET https://x.org/n/v1 402", 1},
		"nothing but that root":   {hosted(notes(t, paid("/"))), false, "", 1},
		"the root of a gateway":   {notes(t, paid("/")), false, " GET https://x.org/n/ 402" + list, 0},
		"stars":                   {clustered(notes(t, paid("/a/*"), paid("/*/b-*/c"))), false, " GET https://x.org/n/a/probe 402 GET https://x.org/n/probe/b-probe/c 402", 0},
		"methods":                 {clustered(notes(t, paid("/a", "POST", "PUT"), paid("/b", "POST", "GET"))), false, " GET https://x.org/n/a 402 GET https://x.org/n/b 402", 0},
		"free and signed in":      {notes(t, free, paid("/a"), auth), false, " GET https://x.org/n/a 402" + list, 0},
		"nothing is paid":         {notes(t, free), false, "", 1},
		"stopped":                 {notes(t, paid("/a")), true, " GET https://x.org/n/a no sale", 0},
		"stopped, root of a host": {hosted(notes(t, paid("/"))), true, "", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			all, notes := Of(tc.offer, base+"/", tc.stopped)
			for _, q := range all {
				got += fmt.Sprintf(" GET %s %s", q.url, q.expects)
				if exact := q.expects == Expect402 && tc.offer.Standalone; q.strict != exact || (q.sells.URL != "") != exact {
					t.Errorf("%s: strict %v, resource %q", q.url, q.strict, q.sells.URL)
				}
			}
			if got != tc.want || len(notes) != tc.notes {
				t.Errorf("asks%s, want%s; notes %q, want %d", got, tc.want, notes, tc.notes)
			}
		})
	}
}

// seller gives the 402 of an offer.
func seller(t *testing.T, o offer.Offer, url string) x402.Challenge {
	t.Helper()
	var quotes []x402.Quote
	for _, p := range o.Payments {
		q, err := x402.NewQuote(p, p.Price)
		if err != nil {
			t.Fatal(err)
		}
		quotes = append(quotes, q)
	}
	c, err := x402.NewChallenge(x402.Resource{URL: url}, quotes, "payment required")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAsk meets each kind of server.
func TestAsk(t *testing.T) {
	t.Parallel()
	o := notes(t)
	good := seller(t, o, "https://notes.example.org/")
	elsewhere := seller(t, o, "https://other.example.org/")
	dear := notes(t)
	dear.Payments[0].Price.Amount = "0.02"
	dearer := seller(t, dear, "https://notes.example.org/")
	challenge := func(header string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set(x402.RequiredHeader, header)
			}
			w.WriteHeader(http.StatusPaymentRequired)
			_, _ = w.Write(body)
		}
	}
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = w.Write([]byte(body)) }
	}
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tests := map[string]struct {
		server  http.HandlerFunc
		expects Expectation
		verdict Verdict
		status  int
		why     string // part of it
		differs string // the paths
	}{
		"as declared":           {challenge(good.Header, good.Body), Expect402, Match, 402, "", ""},
		"in the body alone":     {challenge("", good.Body), Expect402, Match, 402, "", ""},
		"another price":         {challenge(dearer.Header, dearer.Body), Expect402, Mismatch, 402, "", " accepts[0].amount"},
		"another resource":      {challenge(elsewhere.Header, nil), Expect402, Mismatch, 402, "", " resource.url"},
		"two stories":           {challenge(good.Header, dearer.Body), Expect402, Mismatch, 402, "no buyer can read it: the body asks for what the header does not", ""},
		"no terms":              {challenge("", nil), Expect402, Mismatch, 402, "neither a header", ""},
		"for free":              {status(200, "the goods"), Expect402, Mismatch, 200, "", ""},
		"nothing, for free":     {status(204, ""), Expect402, Mismatch, 204, "", ""},
		"not there":             {status(404, `{"error":"nothing is sold at this path"}`), Expect402, Mismatch, 404, "nothing is sold", ""},
		"down":                  {status(502, "<html>"), Expect402, Unknown, 502, "", ""},
		"busy":                  {status(429, `{"error":"slow down"}`), Expect402, Unknown, 429, "slow down", ""},
		"too much":              {challenge(good.Header, make([]byte, mostBody+1)), Expect402, Unknown, 402, "longer than 64 KB", ""},
		"silent":                {hang, Expect402, Unknown, 0, "nothing came within", ""},
		"does not sell":         {status(503, ""), ExpectNoSale, Match, 503, "", ""},
		"still sells":           {challenge(good.Header, good.Body), ExpectNoSale, Mismatch, 402, "", ""},
		"still gives away":      {status(200, ""), ExpectNoSale, Mismatch, 200, "", ""},
		"no list":               {status(404, ""), ExpectDocument, Mismatch, 404, "", ""},
		"no list now":           {status(500, ""), ExpectDocument, Unknown, 500, "", ""},
		"a list of something":   {status(200, "[]"), ExpectDocument, Mismatch, 200, "no buyer can read it", ""},
		"a list without terms":  {status(200, `{"resources":[{"resource":"https://notes.example.org/"}]}`), ExpectDocument, Mismatch, 200, `"accepts"`, ""},
		"an empty list":         {status(200, `{"resources":[]}`), ExpectDocument, Mismatch, 200, "", " https://notes.example.org/"},
		"a list without an end": {status(200, strings.Repeat(" ", mostBody+1)), ExpectDocument, Unknown, 200, "longer than 64 KB", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tc.server)
			defer server.Close()
			ways, _ := declaredWays(o, offer.Route{})
			terms := x402.Terms{URL: "https://notes.example.org/", Accepts: ways}
			q := Inquiry{url: server.URL, expects: tc.expects, sells: terms}
			if tc.expects == ExpectDocument {
				q.compare = listing([]x402.Terms{terms})
			}
			patience := limit
			if tc.status == 0 {
				patience = 50 * time.Millisecond
			}
			got := New(patience).Ask(t.Context(), []Inquiry{q})[0]
			if got.Verdict != tc.verdict || got.Status != tc.status || !strings.Contains(got.Why, tc.why) || (tc.why == "") != (got.Why == "") {
				t.Errorf("%s, %d, %q; want %s, %d, %q", got.Verdict, got.Status, got.Why, tc.verdict, tc.status, tc.why)
			}
			paths := ""
			for _, d := range got.Differences {
				paths += " " + d.Path
			}
			if paths != tc.differs {
				t.Errorf("differs in%s, want%s", paths, tc.differs)
			}
		})
	}
}

// TestAskAsABuyer sends what an honest client sends, follows nothing, and pays
// nothing.
func TestAskAsABuyer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if got := r.UserAgent(); got != "obolctl-probe" {
			t.Errorf("user agent %q", got)
		}
		for _, name := range []string{x402.PaymentHeader, x402.PaymentHeaderV1, "Authorization", "Cookie"} {
			if r.Header.Get(name) != "" {
				t.Errorf("it sends %s", name)
			}
		}
		if r.ContentLength != 0 {
			t.Errorf("it sends a body of %d bytes", r.ContentLength)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	got := New(limit).Ask(t.Context(), []Inquiry{{url: server.URL, expects: Expect402}})[0]
	if got.Verdict != Mismatch || got.Status != 307 || got.Why != "it redirects to /elsewhere" {
		t.Errorf("%s, %d, %q", got.Verdict, got.Status, got.Why)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// A tripper stands for all servers.
type tripper func(*http.Request) *http.Response

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// TestAskInOrder asks many at once, but not all, and keeps their order.
func TestAskInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		release := make(chan struct{})
		client := New(limit)
		client.http.Transport = tripper(func(r *http.Request) *http.Response {
			asked.Add(1)
			<-release
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {r.URL.Path}}, Body: http.NoBody, Request: r}
		})
		var all []Inquiry
		for i := range 3 * atOnce {
			all = append(all, Inquiry{url: fmt.Sprintf("https://x.org/%d", i), expects: Expect402})
		}
		answers := make(chan []Answer, 1)
		go func() { answers <- client.Ask(t.Context(), all) }()
		synctest.Wait()
		if n := asked.Load(); n != atOnce {
			t.Errorf("%d requests at once, want %d", n, atOnce)
		}
		close(release)
		for i, got := range <-answers {
			if want := fmt.Sprintf("it redirects to /%d", i); got.Why != want {
				t.Errorf("answer %d: %q, want %q", i, got.Why, want)
			}
		}
	})
}
