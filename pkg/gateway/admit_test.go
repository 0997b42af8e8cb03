package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/resource"
)

// shop starts a gateway that charges, within limits.
func shop(t *testing.T, f *paytest.Facilitator, up http.HandlerFunc, limit func(*resource.Gateway)) *subject {
	t.Helper()
	asked := httptest.NewServer(f)
	t.Cleanup(asked.Close)
	cfg := paytest.Shop(netip.MustParseAddrPort("127.0.0.1:0"), upstream(t, up), asked.URL)
	limit(&cfg)
	return start(t, folder(t), cfg)
}

// paid asks with a payment; said is the body.
func paid(t *testing.T, s *subject, payment, said string) int {
	t.Helper()
	r := request(t, http.MethodPost, s.url(t)+"/x", strings.NewReader(said))
	r.Header.Set("PAYMENT-SIGNATURE", payment)
	answer, _ := do(t, r)
	return answer.StatusCode
}

// payment signs one that nobody has used.
func payment(t *testing.T, s *subject) string {
	t.Helper()
	terms, err := paytest.Ask(t.Context(), s.url(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := paytest.Sign(terms, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.Header
}

// costs sees that so many payments were claimed, and that the facilitator
// was asked so often.
func costs(t *testing.T, s *subject, f *paytest.Facilitator, claims, calls int) {
	t.Helper()
	sales, err := ledger.Read(filepath.Join(s.dir, resource.SalesFolder, "default.shop"), time.Time{})
	if err != nil || len(sales) != claims || len(f.Calls()) != calls {
		t.Errorf("%d claims and %d calls, %v; want %d and %d", len(sales), len(f.Calls()), err, claims, calls)
	}
}

// TestTooLargeCostsNoPayment sends a body that is refused by its length, and
// then pays for another one with the same payment.
func TestTooLargeCostsNoPayment(t *testing.T) {
	t.Parallel()
	f := &paytest.Facilitator{}
	s := shop(t, f, echo, func(c *resource.Gateway) { c.MaxBody = 10 })
	p := payment(t, s)
	if status := paid(t, s, p, "eleven ....."); status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large = %d", status)
	}
	costs(t, s, f, 0, 0)
	if status := paid(t, s, p, "ten ......"); status != http.StatusOK {
		t.Errorf("with the same payment = %d", status)
	}
}

// TestNoRoomCostsNoPayment fills the only place: with a payment that a
// facilitator is being asked about, and with one that is being served.
func TestNoRoomCostsNoPayment(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan bool, 4), make(chan bool)
	f := &paytest.Facilitator{}
	f.Handle = func(w http.ResponseWriter, _ *http.Request, c paytest.Call) {
		if c.Path == "/verify" {
			entered <- true
			<-leave
		}
		f.Answer(w, c)
	}
	s := shop(t, f, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			entered <- true
			<-leave
		}
	}, func(c *resource.Gateway) { c.InFlight = 1 })
	first, second := payment(t, s), payment(t, s)
	served := make(chan int)
	go func() { served <- paid(t, s, first, "") }()
	for range 2 {
		<-entered
		if status := paid(t, s, second, ""); status != http.StatusServiceUnavailable {
			t.Errorf("without room = %d", status)
		}
		costs(t, s, f, 1, 1)
		leave <- true
	}
	close(leave)
	if status := <-served; status != http.StatusOK {
		t.Errorf("the first = %d", status)
	}
	if status := paid(t, s, second, ""); status != http.StatusOK {
		t.Errorf("with the same payment, and room = %d", status)
	}
}

// TestRefusedPaymentGivesItsPlaceBack has more payments refused than there are
// places.
func TestRefusedPaymentGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	f := &paytest.Facilitator{}
	s := shop(t, f, echo, func(c *resource.Gateway) { c.InFlight = 1 })
	p := payment(t, s)
	for i, want := range []int{http.StatusOK, http.StatusPaymentRequired, http.StatusPaymentRequired} {
		if status := paid(t, s, p, ""); status != want {
			t.Errorf("time %d = %d, want %d", i+1, status, want)
		}
	}
	if status := paid(t, s, payment(t, s), ""); status != http.StatusOK {
		t.Errorf("another payment = %d", status)
	}
}
