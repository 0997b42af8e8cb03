package charge_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
)

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }

func settle(mode string) func(*charge.Offer) {
	return func(o *charge.Offer) { o.Settle = mode }
}

func TestUnpaidIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, nil)
	answer, body := w.ask("/notes", "")
	if answer.StatusCode != http.StatusPaymentRequired || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, Cache-Control %q", answer.StatusCode, answer.Header.Get("Cache-Control"))
	}
	if !strings.Contains(body, `"maxAmountRequired":"10000"`) || !strings.Contains(body, `"resource":"https://notes.example.org/"`) {
		t.Errorf("version 1 reads %s", body)
	}
	if terms := w.terms("/notes")[0]; terms.Amount != "10000" || terms.Network != "eip155:84532" || terms.PayTo != payTo {
		t.Errorf("terms = %+v", terms)
	}
	if w.runs.Load() != 0 || len(w.facilitator.asked()) != 0 {
		t.Errorf("the upstream ran %d times, the facilitator was asked %v", w.runs.Load(), w.facilitator.asked())
	}
}

// TestSettleOrder counts and orders what a paid request costs.
func TestSettleOrder(t *testing.T) {
	t.Parallel()
	events := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, "data: hello\n\n")
	}
	for name, tc := range map[string]struct {
		mode     string
		upstream http.HandlerFunc
		calls    []string
	}{
		"before":           {"before", hello, []string{"settle"}},
		"before, a stream": {"before", events, []string{"settle"}},
		"after":            {"after", hello, []string{"verify", "settle"}},
		"after, a stream":  {"after", events, []string{"verify", "settle"}},
		"default":          {"", hello, []string{"verify", "settle"}},
		"default, stream":  {"", events, []string{"verify", "settle"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.upstream, settle(tc.mode))
			answer, body := w.ask("/notes", w.payment("/notes"))
			if answer.StatusCode != http.StatusOK || !strings.Contains(body, "hello") {
				t.Fatalf("%d %s", answer.StatusCode, body)
			}
			if diff := cmp.Diff(tc.calls, w.facilitator.asked()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if same := slices.Compact(w.facilitator.bodies); len(same) != 1 {
				t.Errorf("verify and settle got different bodies: %q", same)
			}
			headers := answer.Header
			if strings.Contains(name, "after, a stream") {
				headers = answer.Trailer
			}
			if r := receipt(t, headers); r["success"] != true || r["transaction"] != hash {
				t.Errorf("receipt = %v", r)
			}
			if !strings.Contains(answer.Header.Get("Cache-Control"), "private") {
				t.Errorf("Cache-Control = %q", answer.Header.Get("Cache-Control"))
			}
			if diff := cmp.Diff(map[ledger.State]int{ledger.Settled: 1}, w.states()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
			if sales, err := ledger.Read(w.dir, time.Time{}); err != nil || sales[0].Amount != "10000" {
				t.Errorf("sold: %+v, %v", sales, err)
			}
		})
	}
}

// TestWhatDoesNotPay goes through the ways in which a payment comes to nothing.
func TestWhatDoesNotPay(t *testing.T) {
	t.Parallel()
	cut := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, tc := range map[string]struct {
		upstream       http.HandlerFunc
		verify, settle http.HandlerFunc
		status         int
		body           string // part of it
		state          ledger.State
		again          int // status of the same payment, once all is well
	}{
		"upstream fails":       {upstream: say(500, "oops"), status: 500, body: "oops", state: ledger.Freed, again: 500},
		"upstream wants money": {upstream: say(402, "pay me"), status: 502, body: "upstream_unpaid", state: ledger.Freed, again: 502},
		"invalid":              {verify: say(200, `{"isValid":false,"invalidReason":"insufficient_funds","invalidMessage":"paid for at db-7"}`), status: 402, body: "insufficient_funds", state: ledger.Freed, again: 200},
		"no allowance":         {verify: say(200, `{"isValid":false,"invalidReason":"permit2_allowance_required"}`), status: 412, body: "permit2_allowance_required", state: ledger.Freed, again: 200},
		"verdict is missing":   {verify: say(200, `{}`), status: 502, body: "facilitator_unavailable", state: ledger.Freed, again: 200},
		"verify breaks off":    {verify: cut, status: 502, body: "facilitator_unavailable", state: ledger.Freed, again: 200},
		"a true in a 500":      {verify: say(500, `{"isValid":true}`), status: 502, body: "facilitator_unavailable", state: ledger.Freed, again: 200},
		"declined":             {settle: say(200, `{"success":false,"errorReason":"insufficient_funds","errorMessage":"paid for at db-7","transaction":"","network":"eip155:84532"}`), status: 402, body: "insufficient_funds", state: ledger.Failed, again: 402},
		"settle breaks off":    {settle: cut, status: 502, body: "settlement_unknown", state: ledger.Unknown, again: 502},
		"settle fails":         {settle: say(500, `oops`), status: 502, body: "settlement_unknown", state: ledger.Unknown, again: 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := tc.upstream
			if up == nil {
				up = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("X-Secret", "of the upstream")
					fmt.Fprint(w, "what was to be paid for")
				}
			}
			w := newWorld(t, up, nil)
			payment := w.payment("/")
			w.facilitator.tell(tc.verify, tc.settle)
			answer, body := w.ask("/", payment)
			if answer.StatusCode != tc.status || !strings.Contains(body, tc.body) && !strings.Contains(fmt.Sprint(answer.Header), tc.body) {
				t.Errorf("%d %s %v, want %d and %q", answer.StatusCode, body, answer.Header, tc.status, tc.body)
			}
			if answer.Header.Get("X-Secret") != "" || strings.Contains(body, "paid for") {
				t.Errorf("the upstream's answer, or the facilitator's message, leaked: %s", body)
			}
			if diff := cmp.Diff(map[ledger.State]int{tc.state: 1}, w.states()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
			w.facilitator.tell(nil, nil)
			if answer, body := w.ask("/", payment); answer.StatusCode != tc.again {
				t.Errorf("again: %d %s, want %d", answer.StatusCode, body, tc.again)
			}
		})
	}
}

// TestRule11_OnePaymentOneService pays one payment many times at once, and then
// again after the till was opened anew.
func TestRule11_OnePaymentOneService(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"before", "after"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, hello, settle(mode))
			payment := w.payment("/")
			var served sync.Map
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() {
					answer, _ := w.ask("/", payment)
					served.Store(i, answer.StatusCode)
				})
			}
			all.Wait()
			count := map[int]int{}
			served.Range(func(_, status any) bool { count[status.(int)]++; return true })
			if count[http.StatusOK] != 1 || count[http.StatusOK]+count[http.StatusConflict]+count[http.StatusPaymentRequired] != 100 {
				t.Errorf("answers by status: %v", count)
			}
			w.end()
			w.begin()
			answer, body := w.ask("/", payment)
			if answer.StatusCode != http.StatusPaymentRequired || !strings.Contains(body, "nonce_already_used") {
				t.Errorf("after a restart: %d %s", answer.StatusCode, body)
			}
			if w.runs.Load() != 1 {
				t.Errorf("the upstream ran %d times", w.runs.Load())
			}
		})
	}
}

// TestBuyerWhoLeavesIsNotCharged has the buyer leave while the upstream works.
// The payment stays used: its upstream is not run again.
func TestBuyerWhoLeavesIsNotCharged(t *testing.T) {
	t.Parallel()
	working := make(chan bool)
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(working)
		<-r.Context().Done()
	}, nil)
	payment := w.payment("/")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.front.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("PAYMENT-SIGNATURE", payment)
	gone := make(chan bool)
	go func() {
		defer close(gone)
		if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
			answer.Body.Close()
		}
	}()
	<-working
	cancel()
	<-gone
	eventually(t, "the sale has failed", func() bool { return w.states()[ledger.Failed] == 1 })
	if answer, _ := w.ask("/", payment); answer.StatusCode != http.StatusPaymentRequired {
		t.Errorf("again: %d", answer.StatusCode)
	}
	if calls := w.facilitator.asked(); slices.Contains(calls, "settle") {
		t.Errorf("the facilitator was asked %v", calls)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 10s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// TestStreamsChunkByChunk would stand still if anything held a chunk back.
func TestStreamsChunkByChunk(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"before", "after", ""} {
		t.Run("settle "+mode, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan bool)
			w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for i := range 3 {
					fmt.Fprintf(w, "data: %d\n", i)
					w.(http.Flusher).Flush()
					<-arrived
				}
			}, settle(mode))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("PAYMENT-SIGNATURE", w.payment("/"))
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			state := ledger.Settled
			if mode == "after" {
				state = ledger.Owed // before its first byte
			}
			if diff := cmp.Diff(map[ledger.State]int{state: 1}, w.states()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
			in := bufio.NewReader(answer.Body)
			for i := range 3 {
				if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("chunk %d = %q, %v", i, line, err)
				}
				arrived <- true
			}
			if _, err := io.Copy(io.Discard, in); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the sale is settled", func() bool { return w.states()[ledger.Settled] == 1 })
		})
	}
}

// TestDebtsOutliveTheProcess serves a stream whose settlement is lost, as a kill
// would lose it, and settles it with the same bytes after a restart.
func TestDebtsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
	}, settle("after"))
	payment := w.payment("/")
	w.facilitator.tell(nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	answer, body := w.ask("/", payment)
	if answer.StatusCode != http.StatusOK || !strings.Contains(body, "hello") || answer.Trailer.Get("PAYMENT-RESPONSE") != "" {
		t.Errorf("%d %q %v", answer.StatusCode, body, answer.Trailer)
	}
	w.end()
	w.facilitator.tell(nil, nil)
	w.begin()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { defer close(done); w.till.CollectDebts(ctx) }()
	eventually(t, "the debt is settled", func() bool { return w.states()[ledger.Settled] == 1 })
	stop()
	<-done
	if got := w.counts(); got["charged_requests_total USDC eip155:84532 notes default"] != 1 {
		t.Errorf("the debt is not counted in %v", got)
	}
	if same := slices.Compact(w.facilitator.bodies); len(same) != 1 {
		t.Errorf("the debt was settled with other bytes: %q", same)
	}
	if answer, _ := w.ask("/", payment); answer.StatusCode != http.StatusPaymentRequired || w.runs.Load() != 1 {
		t.Errorf("again: %d, and the upstream ran %d times", answer.StatusCode, w.runs.Load())
	}
}

// TestDebtsOfOpenStreamsWait has debts collected while a stream runs: its own is
// left alone until it ends, and one that is nobody's is settled.
func TestDebtsOfOpenStreamsWait(t *testing.T) {
	t.Parallel()
	finish := make(chan bool)
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		if r.URL.Path == "/long" {
			w.(http.Flusher).Flush()
			<-finish
		}
	}, settle("after"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+"/long", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("PAYMENT-SIGNATURE", w.payment("/"))
	long, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Body.Close()
	payment := w.payment("/")
	w.facilitator.tell(nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w.ask("/", payment)
	w.facilitator.tell(nil, nil)
	before := len(w.facilitator.asked())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { defer close(done); w.till.CollectDebts(ctx) }()
	eventually(t, "the debt that is nobody's is settled", func() bool { // debts are tried in their order
		sales, err := ledger.Read(w.dir, time.Time{})
		return err == nil && sales[1].State == ledger.Settled
	})
	if got := len(w.facilitator.asked()) - before; got != 1 {
		t.Errorf("the facilitator was asked %d times, want once", got)
	}
	close(finish)
	if _, err := io.Copy(io.Discard, long.Body); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is settled", func() bool { return w.states()[ledger.Settled] == 2 })
	stop()
	<-done
}

// TestUnprovenIsVerifiedFirst pays with a signature that only a facilitator can
// judge, where settling is to be the only call.
func TestUnprovenIsVerifiedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, settle("before"))
	longer := func(payload map[string]any) {
		inner := payload["payload"].(map[string]any)
		inner["signature"] = inner["signature"].(string) + "00"
	}
	payment := altered(t, w.payment("/"), longer)
	w.facilitator.tell(say(200, `{"isValid":false,"invalidReason":"invalid_exact_evm_signature"}`), nil)
	if answer, _ := w.ask("/", payment); answer.StatusCode != http.StatusPaymentRequired || w.runs.Load() != 0 {
		t.Errorf("refused: %d, and the upstream ran %d times", answer.StatusCode, w.runs.Load())
	}
	w.facilitator.tell(nil, nil)
	if answer, _ := w.ask("/", payment); answer.StatusCode != http.StatusOK {
		t.Errorf("accepted: %d", answer.StatusCode)
	}
	if diff := cmp.Diff([]string{"verify", "verify", "settle"}, w.facilitator.asked()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestOpenStreamsLetOthersPay has more settled streams open than payments may be
// under way.
func TestOpenStreamsLetOthersPay(t *testing.T) {
	t.Parallel()
	const more = 1100
	finish := make(chan bool)
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		w.(http.Flusher).Flush()
		select {
		case <-finish:
		case <-r.Context().Done():
		}
	}, settle("before"))
	defer close(finish)
	terms := w.terms("/")[0]
	for range more {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("PAYMENT-SIGNATURE", sign(t, terms, nil))
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%d", answer.StatusCode)
		}
	}
}

func TestPaymentThatIsGoodForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, nil)
	for ends, want := range map[time.Duration]int{23 * time.Hour: http.StatusOK, 25 * time.Hour: http.StatusPaymentRequired} {
		payment := sign(t, w.terms("/")[0], func(auth map[string]string) { auth["validBefore"] = fmt.Sprint(time.Now().Add(ends).Unix()) })
		if answer, body := w.ask("/", payment); answer.StatusCode != want {
			t.Errorf("good for %s: %d %s, want %d", ends, answer.StatusCode, body, want)
		}
	}
}

func TestPaymentForAnotherResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, nil)
	at := func(url string) string {
		return altered(t, w.payment("/"), func(payload map[string]any) { payload["resource"] = map[string]any{"url": url} })
	}
	if answer, body := w.ask("/", at("https://notes.example.org/other")); answer.StatusCode != http.StatusPaymentRequired || !strings.Contains(body, "another resource") {
		t.Errorf("of another path: %d %s", answer.StatusCode, body)
	}
	if answer, body := w.ask("/", at("https://notes.example.org/?q=1")); answer.StatusCode != http.StatusOK {
		t.Errorf("with a query: %d %s", answer.StatusCode, body)
	}
}

// TestLargeAnswers pass without being kept, and are settled before the first
// byte.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	part := bytes.Repeat([]byte("x"), 1<<20)
	more := make(chan bool)
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(part)
		w.(http.Flusher).Flush()
		<-more
		_, _ = w.Write(part)
	}, nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("PAYMENT-SIGNATURE", w.payment("/"))
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if w.states()[ledger.Settled] != 1 {
		t.Errorf("ledger = %v", w.states())
	}
	close(more)
	if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != 2<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestAnswerThatBreaksOffIsNotCharged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
	}, nil)
	answer, body := w.ask("/", w.payment("/"))
	if answer.StatusCode != http.StatusBadGateway || strings.Contains(body, "half") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if calls := w.facilitator.asked(); slices.Contains(calls, "settle") {
		t.Errorf("the facilitator was asked %v", calls)
	}
}

// TestFacilitatorsInOrder leaves the first alone for a while once it cannot be
// reached, and runs no upstream when there is nobody who could settle.
func TestFacilitatorsInOrder(t *testing.T) {
	t.Parallel()
	gone := newFacilitator(t)
	gone.Close()
	w := newWorld(t, hello, func(o *charge.Offer) {
		o.Payments[0].Facilitators = append([]string{gone.URL}, o.Payments[0].Facilitators...)
	})
	if answer, body := w.ask("/", w.payment("/")); answer.StatusCode != http.StatusOK {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	none := newWorld(t, hello, func(o *charge.Offer) { o.Payments[0].Facilitators, o.Settle = []string{gone.URL}, "before" })
	payment := none.payment("/")
	for range 3 {
		answer, body := none.ask("/", payment)
		if answer.StatusCode != http.StatusBadGateway || answer.Header.Get("Retry-After") == "" || !strings.Contains(body, "facilitator_unavailable") {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
	}
	if none.runs.Load() > 1 {
		t.Errorf("the upstream ran %d times though nobody could settle", none.runs.Load())
	}
}

// TestRule13_GuardHoldsBack has an upstream that forgets to collect.
func TestRule13_GuardHoldsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, func(o *charge.Offer) {
		o.Upstream = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "for nothing")
			if err := http.NewResponseController(w).Flush(); err == nil {
				t.Error("it could be flushed")
			}
			if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
				t.Error("it could be hijacked")
			}
		})
	})
	answer, body := w.ask("/", w.payment("/"))
	if answer.StatusCode != http.StatusInternalServerError || strings.Contains(body, "for nothing") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

func TestHeadersStayOnTheirSide(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 2)
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		for _, name := range []string{"PAYMENT-RESPONSE", "PAYMENT-REQUIRED", "X-PAYMENT-RESPONSE", "Settlement-Overrides", "EXTENSION-RESPONSES"} {
			w.Header().Set(name, "forged")
		}
		w.Header().Set("Cache-Control", "public, max-age=60, s-maxage=600")
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Trailer", "PAYMENT-RESPONSE")
		fmt.Fprint(w, "hello")
		w.Header().Set("PAYMENT-RESPONSE", "forged")
	}, func(o *charge.Offer) {
		o.Routes = []offer.Route{{Path: "/*", Gate: "paid"}, {Path: "/free", Gate: "free"}}
	})
	for _, path := range []string{"/", "/free"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/" {
			r.Header.Set("PAYMENT-SIGNATURE", w.payment("/"))
		} else {
			r.Header.Set("X-PAYMENT", "junk")
		}
		r.Header.Set("X-Payment-Payer", "0xforged")
		r.Header["X_Payment_Payer"], r.Header["x_verified-WALLET"], r.Header["X_Other"] = []string{"0xforged"}, []string{"0xforged"}, []string{"kept"}
		r.Header.Set("Settlement-Overrides", "{}")
		r.Header.Set("Connection", "x-payment-payer, X-Verified-Wallet") // asks the proxy to drop them
		answer, _ := w.do(r)
		for name, values := range answer.Header {
			if strings.Contains(strings.Join(values, ""), "forged") {
				t.Errorf("%s: %s came from the upstream", path, name)
			}
		}
		if len(answer.Trailer) > 0 && strings.Contains(fmt.Sprint(answer.Trailer), "forged") {
			t.Errorf("%s: trailer %v", path, answer.Trailer)
		}
		up := <-got
		for _, name := range []string{"Payment-Signature", "X-Payment", "Settlement-Overrides"} {
			if up.Get(name) != "" {
				t.Errorf("%s: the upstream got %s", path, name)
			}
		}
		if strings.Contains(fmt.Sprint(up), "forged") || up.Get("X_Other") != "kept" {
			t.Errorf("%s: the upstream got %v", path, up)
		}
		if payer := up.Get("X-Payment-Payer"); (path == "/") != strings.HasPrefix(payer, "0x") || payer == "0xforged" {
			t.Errorf("%s: payer %q", path, payer)
		}
		if path == "/" && (answer.Header.Get("Cache-Control") != "max-age=60, private" || answer.Header.Get("ETag") != "") {
			t.Errorf("Cache-Control %q, ETag %q", answer.Header.Get("Cache-Control"), answer.Header.Get("ETag"))
		}
	}
}

// TestRoutesHavePricesOfTheirOwn pays little for what costs much.
func TestRoutesHavePricesOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, func(o *charge.Offer) {
		o.Routes = []offer.Route{
			{Path: "/cheap", Gate: "paid", Price: &offer.Price{Unit: offer.PerRequest, Amount: "0.001"}},
			{Path: "/dear", Gate: "paid", Price: &offer.Price{Unit: offer.PerRequest, Amount: "1"}},
			{Path: "/as-dear", Gate: "paid", Price: &offer.Price{Unit: offer.PerRequest, Amount: "1"}},
		}
	})
	cheap, dear := w.payment("/cheap"), w.payment("/dear")
	if answer, _ := w.ask("/dear", cheap); answer.StatusCode != http.StatusPaymentRequired {
		t.Errorf("dear for cheap: %d", answer.StatusCode)
	}
	if answer, _ := w.ask("/nothing", dear); answer.StatusCode != http.StatusNotFound {
		t.Errorf("a path of no route: %d", answer.StatusCode)
	}
	if answer, _ := w.ask("/dear", dear); answer.StatusCode != http.StatusOK {
		t.Errorf("dear: %d", answer.StatusCode)
	}
	if w.runs.Load() != 1 {
		t.Errorf("the upstream ran %d times", w.runs.Load())
	}
}

func TestMalformedIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, nil)
	for name, set := range map[string]func(http.Header){
		"no base64": func(h http.Header) { h.Set("PAYMENT-SIGNATURE", "?") },
		"both":      func(h http.Header) { h.Set("PAYMENT-SIGNATURE", "e30="); h.Set("X-PAYMENT", "e30=") },
		"two":       func(h http.Header) { h["Payment-Signature"] = []string{"e30=", "e30="} },
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		set(r.Header)
		if answer, body := w.do(r); answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, "malformed_payment") {
			t.Errorf("%s: %d %s", name, answer.StatusCode, body)
		}
	}
}

func TestBrowsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, w.front.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://shop.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	answer, _ := w.do(r)
	if allowed := answer.Header.Get("Access-Control-Allow-Headers"); answer.StatusCode != http.StatusNoContent || !strings.Contains(allowed, "PAYMENT-SIGNATURE") || !strings.Contains(allowed, "Access-Control-Expose-Headers") {
		t.Errorf("preflight: %d %v", answer.StatusCode, answer.Header)
	}
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, w.front.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	answer, body := w.do(r)
	if answer.StatusCode != http.StatusPaymentRequired || answer.Header.Get("PAYMENT-REQUIRED") == "" || !strings.Contains(body, "0.01 USDC per request") || !strings.Contains(body, "no real money") {
		t.Errorf("page: %d %s", answer.StatusCode, body)
	}
	if !strings.Contains(answer.Header.Get("Access-Control-Expose-Headers"), "PAYMENT-REQUIRED") {
		t.Errorf("exposed: %q", answer.Header.Get("Access-Control-Expose-Headers"))
	}
}

// TestUpgrade settles before the connection becomes a WebSocket, also of an
// answer that calls itself a stream.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "before", "after"} {
		w := newWorld(t, turnTo("Upgrade: websocket\r\nContent-Type: text/event-stream\r\n"), func(o *charge.Offer) { o.Settle = mode })
		answer, in := w.upgrade("/", "Upgrade: WebSocket", "PAYMENT-SIGNATURE: "+w.payment("/"))
		if answer.StatusCode != http.StatusSwitchingProtocols || receipt(t, answer.Header)["success"] != true {
			t.Errorf("settle %q: %d %v", mode, answer.StatusCode, answer.Header)
		}
		text := make([]byte, 5)
		if _, err := io.ReadFull(in, text); err != nil || string(text) != "hello" {
			t.Errorf("settle %q: %q, %v", mode, text, err)
		}
	}
}

// TestUpgradeToAnother has an upstream that turns to whatever it is asked for: it
// is asked for nothing but a WebSocket, since over HTTP/2 a buyer could go on to
// paths that nobody paid for.
func TestUpgradeToAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		if asked := r.Header["Upgrade"]; asked != nil || r.Header["Http2-Settings"] != nil {
			t.Errorf("the upstream is asked for %q %q", asked, r.Header["Http2-Settings"])
		}
		hello(w, r)
	}, func(o *charge.Offer) {
		o.Routes = []offer.Route{{Path: "/free", Gate: "free"}, {Path: "/paid", Gate: "paid"}}
	})
	for _, asks := range []string{"Upgrade: h2c", "upgrade: H2C", "Upgrade: websocket, h2c", "Upgrade: h2c\r\nUpgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c", "Upgrade: echo"} {
		for path, payment := range map[string]string{"/free": "", "/paid": w.payment("/paid")} {
			if answer, _ := w.upgrade(path, asks+"\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "PAYMENT-SIGNATURE: "+payment); answer.StatusCode != http.StatusOK {
				t.Errorf("%s of %s: %d", asks, path, answer.StatusCode)
			}
		}
	}
}

// TestTurnsUnasked has an upstream that leaves HTTP without being asked to.
func TestTurnsUnasked(t *testing.T) {
	t.Parallel()
	for _, says := range []string{"", "Upgrade: h2c\r\n", "Upgrade: websocket\r\n"} {
		w := newWorld(t, turnTo(says), func(o *charge.Offer) { o.Routes = []offer.Route{{Path: "/free", Gate: "free"}} })
		if answer, _ := w.upgrade("/free", "X: y"); answer.StatusCode != http.StatusBadGateway {
			t.Errorf("%q: %d", says, answer.StatusCode)
		}
	}
}

// turnTo answers that the connection is another one now.
func turnTo(header string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+header+"\r\nhello")
		_ = rw.Flush()
	}
}

// upgrade asks for a path, with "Connection: Upgrade" and more lines.
func (w *world) upgrade(path string, lines ...string) (*http.Response, *bufio.Reader) {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.front.URL, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n%s\r\n\r\n", path, strings.Join(lines, "\r\n"))
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer, in
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, func(o *charge.Offer) {
		o.Routes = []offer.Route{{Path: "/v1/*", Gate: "paid", Methods: []string{"GET", "POST"}, Summary: "Ask."}, {Path: "/free", Gate: "free"}}
		o.Registration = &offer.Registration{Enabled: true, Name: "Notes", Description: "All notes.", Skills: []string{"text/notes"}}
	})
	for path, want := range map[string][]string{
		"/.well-known/x402":                    {`"resource": "https://notes.example.org/v1"`, `"amount": "10000"`, `"method": "GET"`},
		"/openapi.json":                        {`"openapi": "3.1.0"`, `"/v1/{part2}"`, `"x-payment-info"`, `"/free"`, `"url": "https://notes.example.org"`},
		"/.well-known/agent-registration.json": {`"type": "https://eips.ethereum.org/EIPS/eip-8004#registration-v1"`, `"x402Support": true`, `"name": "Notes"`, `"OASF"`},
	} {
		answer, body := w.ask(path, "")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s lacks %s:\n%s", path, part, body)
			}
		}
		if path == "/.well-known/x402" && strings.Contains(body, "free") {
			t.Errorf("what is free is listed as paid: %s", body)
		}
	}
	if w.runs.Load() != 0 {
		t.Error("the upstream was asked")
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hello, nil)
	w.ask("/", w.payment("/"))
	got := w.counts()
	for _, name := range []string{"requests_total", "charged_requests_total", "payment_verified_total", "payment_required_total"} {
		want := 1.0
		if name == "requests_total" {
			want = 2
		}
		if v := got[name+" USDC eip155:84532 notes default"]; v != want {
			t.Errorf("%s = %v, want %v in %v", name, v, want, got)
		}
	}
}

func TestNewTableRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*charge.Offer)
		want   string
	}{
		"sign-in":          {func(o *charge.Offer) { o.Routes = []offer.Route{{Path: "/a", Gate: "auth"}} }, "auth"},
		"quota":            {func(o *charge.Offer) { o.Routes = []offer.Route{{Path: "/a", Gate: "paid", FreeQuota: 1}} }, "free calls"},
		"no payment":       {func(o *charge.Offer) { o.Payments = nil }, "no way to pay"},
		"per hour":         {func(o *charge.Offer) { o.Payments[0].Price.Unit = offer.PerHour }, "per hour"},
		"bad facilitator":  {func(o *charge.Offer) { o.Payments[0].Facilitators = []string{"http://pay.example.org"} }, "pay.example.org"},
		"network unknown":  {func(o *charge.Offer) { o.Payments[0].Network = "base-sepolai" }, "base-sepolai"},
		"bad route's path": {func(o *charge.Offer) { o.Routes = []offer.Route{{Path: "/.well-known/x", Gate: "free"}} }, "reserved"},
	} {
		w := &charge.Offer{Address: offer.Address{Type: offer.HTTP, Label: "notes"}, URL: "https://notes.example.org"}
		n, _ := offer.LookupNetwork("base-sepolia")
		w.Payments = []offer.Payment{{Scheme: "exact", Network: "base-sepolia", PayTo: payTo, Token: n.Tokens[0],
			Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}, MaxTimeout: time.Minute}}
		tc.change(w)
		if _, err := charge.NewTable([]charge.Offer{*w}); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "http.notes") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestClocksThatAreApartAreWarnedOf(t *testing.T) {
	t.Parallel()
	for behind, warned := range map[time.Duration]bool{0: false, 2 * time.Second: false, time.Minute: true} {
		w := newWorld(t, hello, settle("before"))
		w.facilitator.tell(nil, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Date", time.Now().Add(-behind).UTC().Format(http.TimeFormat))
			fmt.Fprint(rw, settled)
		})
		w.ask("/", w.payment("/"))
		w.log.mu.Lock()
		if said := strings.Count(w.log.b.String(), "the clock of this machine"); (said == 1) != warned {
			t.Errorf("with a clock that is %v behind it was warned %d times", behind, said)
		}
		w.log.mu.Unlock()
	}
}
