package main_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// killsOfEach is how often each of three shops is killed: more than 500 times in
// all.
const killsOfEach = 170

// TestRule11_KilledWhilePaid kills gateways at random points of paid traffic,
// and starts each again on what the one before it left. Whatever point that was:
// it starts; no payment has the upstream run twice or its money asked for again
// once that is known to have moved; nothing is served that was not paid for, and
// what was served is settled in the end.
func TestRule11_KilledWhilePaid(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]string{"before": "before", "after": "after", "by default": ""} {
		t.Run("settle "+name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, settle)
			for range killsOfEach {
				s.killOnce()
			}
			s.closeBooks()
			s.audit()
		})
	}
}

// How far a payment has come. Its gateway has to be killed at each of these.
const (
	sent     = "sent"
	verifies = "with the facilitator, to be verified"
	runs     = "with the upstream"
	settles  = "with the facilitator, to be settled"
	moved    = "its money moved"
	arrives  = "the answer begins to arrive"
)

// A shop is a gateway, and all who deal with it. They outlive it.
type shop struct {
	t       *testing.T
	settle  string
	gateway *paytest.Gateway
	chain   *paytest.Facilitator
	url     string
	terms   x402.Requirements
	honest  atomic.Bool // the facilitator always answers
	dying   atomic.Bool // the gateway is about to be killed

	mu    sync.Mutex
	deals []*deal
	of    map[x402.Address]*deal
	left  int           // things that are to happen until burnt is closed
	burnt chan struct{} // the gateway is to be killed
	fell  map[string]int
}

// A deal is a payment, and what was seen of it.
type deal struct {
	paytest.Payment
	path    string
	stage   string // of the request that brought it first, while that is under way
	ran     int    // times that the upstream ran for it
	settled int    // times that the facilitator was asked to settle it
	served  int    // times that the upstream's answer came
}

func openShop(t *testing.T, settle string) *shop {
	t.Helper()
	site := t.TempDir()
	s := &shop{t: t, settle: settle, chain: &paytest.Facilitator{}, of: map[x402.Address]*deal{}, fell: map[string]int{}}
	s.chain.Handle = s.facilitate
	facilitator := httptest.NewServer(s.chain)
	t.Cleanup(facilitator.Close)
	upstream := httptest.NewServer(http.HandlerFunc(s.run))
	t.Cleanup(upstream.Close)
	address := fmt.Sprintf("127.0.0.1:%d", unusedPorts(t, 1)[0])
	config := paytest.Shop(netip.MustParseAddrPort(address), upstream.URL, facilitator.URL)
	config.Settle = settle
	t.Cleanup(func() { killGateways(t, site) })
	var err error
	if s.gateway, err = paytest.NewGateway(binary, site, config); err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + address
	s.start()
	if s.terms, err = paytest.Ask(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	s.must(s.gateway.Stop())
	return s
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) start() {
	s.t.Helper()
	s.must(s.gateway.Start())
	s.must(s.gateway.Ready())
}

// killOnce starts the gateway and kills it: while it starts, or after so many
// things have happened to payments.
func (s *shop) killOnce() {
	s.t.Helper()
	if rand.N(8) == 0 {
		s.must(s.gateway.Start())
		time.Sleep(rand.N(30 * time.Millisecond))
		s.must(s.gateway.Kill())
		return
	}
	s.start()
	things := 1 + rand.N(40)
	if rand.N(12) == 0 {
		things *= 10 // time enough to ask again for an answer that was lost
	}
	burnt := s.light(things)
	s.dying.Store(false)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	var buyers sync.WaitGroup
	for range 4 {
		buyers.Go(func() {
			for s.buy(client, s.choose()) {
			}
		})
	}
	select {
	case <-burnt:
	case <-time.After(20 * time.Second):
		s.t.Error("nothing is sold any more")
	}
	time.Sleep(max(0, rand.N(4*time.Millisecond)-2*time.Millisecond)) // at once, as often as not
	s.dying.Store(true)
	s.must(s.gateway.Kill())
	s.count()
	buyers.Wait()
}

// light gives a channel that is closed when n things have happened.
func (s *shop) light(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.burnt = n, make(chan struct{})
	return s.burnt
}

// reached notes how far a payment has come.
func (s *shop) reached(payer x402.Address, stage string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.of[payer]; d.stage != "" {
		d.stage = stage
	}
	if s.left--; s.left == 0 {
		close(s.burnt)
	}
}

// count notes where payments were when their gateway was killed.
func (s *shop) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deals {
		if d.stage != "" {
			s.fell[d.stage]++
			d.stage = ""
		}
	}
}

// choose gives a new payment, or one that was used before, or is being used.
func (s *shop) choose() *deal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.deals); n > 0 && rand.N(3) == 0 {
		return s.deals[max(rand.N(n), n-1-rand.N(12))] // late ones more often
	}
	payment, err := paytest.Sign(s.terms, nil)
	if err != nil {
		s.t.Error(err)
	}
	d := &deal{Payment: payment, path: []string{"/text", "/stream", "/large"}[min(2, rand.N(8)/3)], stage: sent}
	s.deals = append(s.deals, d)
	s.of[d.Payer] = d
	return d
}

// buy asks for what a payment is for, and tells whether there was an answer.
func (s *shop) buy(client *http.Client, d *deal) bool {
	status, err := s.ask(client, d)
	switch {
	case err != nil:
		if !s.dying.Load() {
			s.t.Errorf("%s broke off, and nobody had killed the gateway: %v", d.path, err)
		}
		return false
	case status == http.StatusOK, status == http.StatusPaymentRequired, status == http.StatusConflict, status == http.StatusBadGateway:
	default:
		s.t.Errorf("%s: status %d", d.path, status)
	}
	return true
}

func (s *shop) ask(client *http.Client, d *deal) (status int, err error) {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+d.path, strings.NewReader("please"))
	if err != nil {
		return 0, err
	}
	r.Header.Set(x402.PaymentHeader, d.Header)
	s.reached(d.Payer, sent)
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		s.reached(d.Payer, arrives)
		s.serve(d)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0, err
	}
	s.mu.Lock()
	d.stage = ""
	s.mu.Unlock()
	return answer.StatusCode, nil
}

// serve notes that an answer of the upstream came. Only a stream that is settled
// after it may come before the money has moved.
func (s *shop) serve(d *deal) {
	s.mu.Lock()
	d.served++
	s.mu.Unlock()
	if lent := s.settle == "after" && d.path == "/stream"; !lent && !s.chain.Moved(d.Payer) {
		s.t.Errorf("%s was served to %s before any money had moved", d.path, d.Payer)
	}
}

// linger takes no time, or a little, or, seldom, much.
func linger() {
	switch n := rand.N(20); {
	case n == 0:
		time.Sleep(rand.N(40 * time.Millisecond))
	case n < 10:
		time.Sleep(rand.N(3 * time.Millisecond))
	}
}

// run is the upstream.
func (s *shop) run(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		return
	}
	payer, err := x402.ParseAddress(r.Header.Get("X-Payment-Payer"))
	if err != nil {
		s.t.Errorf("the upstream is not told who pays: %v", err)
		return
	}
	s.mu.Lock()
	s.of[payer].ran++
	s.mu.Unlock()
	s.reached(payer, runs)
	linger()
	switch r.URL.Path {
	case "/stream":
		w.Header().Set("Content-Type", "text/event-stream")
		for range 4 {
			fmt.Fprint(w, "data: goods\n\n")
			w.(http.Flusher).Flush()
			linger()
		}
	case "/large":
		_, _ = w.Write(make([]byte, 3<<19)) // a gateway that was killed reads it no more
	default:
		fmt.Fprint(w, "goods")
	}
}

// facilitate is the facilitator. Now and then its answer is lost, before money
// has moved or after.
func (s *shop) facilitate(w http.ResponseWriter, r *http.Request, c paytest.Call) {
	stage, settle := verifies, c.Path == "/settle"
	if settle {
		stage = settles
		s.mayAsk(r.Context(), c.Payer)
	}
	s.reached(c.Payer, stage)
	lost := rand.N(24)
	linger()
	if lost == 0 && !s.honest.Load() {
		panic(http.ErrAbortHandler)
	}
	s.chain.Answer(w, c)
	if settle {
		s.reached(c.Payer, moved)
	}
	linger()
	if lost == 1 && !s.honest.Load() {
		panic(http.ErrAbortHandler)
	}
}

// mayAsk fails the test when the gateway asks for money that it knows it has.
// ctx is done when whoever asks was killed meanwhile: it did not know yet.
func (s *shop) mayAsk(ctx context.Context, payer x402.Address) {
	s.mu.Lock()
	s.of[payer].settled++
	again := s.of[payer].settled > 1
	s.mu.Unlock()
	if !again || s.states(time.Now())[payer] != "" {
		return // it is open
	}
	if s.states(time.Time{})[payer] != ledger.Settled {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
		s.t.Errorf("the payment of %s is settled, the ledger knows it, and the gateway asks again", payer)
	}
}

// states says what the ledger knows of the payments that are open or were
// claimed since then, by payer.
func (s *shop) states(since time.Time) map[x402.Address]ledger.State {
	sales, err := ledger.Read(s.gateway.Sales(), since)
	if err != nil {
		s.t.Errorf("Read = %v", err)
	}
	out := map[x402.Address]ledger.State{}
	for _, sale := range sales {
		out[sale.Claim.Payer] = sale.State
	}
	return out
}

// closeBooks has a last gateway settle what is owed, shows it every payment once
// more, and stops it.
func (s *shop) closeBooks() {
	s.t.Helper()
	s.honest.Store(true)
	s.dying.Store(false)
	s.start()
	s.nothingOpen()
	var buyers sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for part := range 4 {
		buyers.Go(func() {
			for i := part; i < len(s.deals); i += 4 {
				s.buy(client, s.deals[i])
			}
		})
	}
	buyers.Wait()
	s.nothingOpen()
	s.must(s.gateway.Stop())
}

// nothingOpen waits until no payment is being served or owed.
func (s *shop) nothingOpen() {
	s.t.Helper()
	eventually(s.t, 20*time.Second, func() string {
		if open := s.states(time.Now()); len(open) > 0 {
			return fmt.Sprintf("not ended: %v", open)
		}
		return ""
	})
}

// audit compares what buyers, upstream, facilitator and ledger saw.
func (s *shop) audit() {
	s.t.Helper()
	served, states, words := 0, s.states(time.Time{}), map[x402.Address]string{}
	for _, d := range s.deals {
		paid, state := s.chain.Moved(d.Payer), states[d.Payer]
		served += min(1, d.served)
		if d.ran > 1 || d.served > 1 {
			s.t.Errorf("%s: the upstream ran %d times for one payment, and served it %d times", d.path, d.ran, d.served)
		}
		if d.served > 0 && !paid {
			s.t.Errorf("%s: served, and the money never moved; the ledger says that it is %q", d.path, state)
		}
		if state != ledger.Unknown && (state != ledger.Settled || !paid) {
			s.t.Errorf("%s: money moved: %v; the ledger says that it is %q", d.path, paid, state)
		}
	}
	for _, c := range s.chain.Calls() {
		if before, known := words[c.Payer]; known && before != c.Body {
			s.t.Errorf("the facilitator was asked about one payment in two ways:\n%s\n%s", before, c.Body)
		}
		words[c.Payer] = c.Body
	}
	s.t.Logf("%d payments, %d served; when their gateway was killed they were: %v", len(s.deals), served, s.fell)
	for _, stage := range []string{sent, verifies, runs, settles, moved, arrives} {
		if s.fell[stage] == 0 && (stage != verifies || s.settle != "before") {
			s.t.Errorf("no gateway was killed while a payment was: %s", stage)
		}
	}
}
