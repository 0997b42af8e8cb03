package charge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// TestDebtsRunOut has debts whose authorization nobody can settle any more. One
// that no facilitator ever heard of is lost for sure.
func TestDebtsRunOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := ledger.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	till := NewTill(Options{Ledger: l, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	want := map[uint64]ledger.State{1: ledger.Failed, 2: ledger.Unknown, 3: ledger.Unknown}
	for chain := range want {
		e := ledger.Entry{Claim: x402.Claim{Chain: chain}, At: time.Now(), ValidBefore: time.Now().Add(-time.Second)}
		if err := l.Claim(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := l.Owe(e.Claim, "http://127.0.0.1:1", x402.Request("{}")); err != nil {
			t.Fatal(err)
		}
		if chain < 3 { // the third is another process's
			till.streams.enter(e.Claim)
			till.streams.leave(e.Claim)
		}
	}
	till.streams.firstTry(x402.Claim{Chain: 2})
	if left := till.collectAll(t.Context()); left != 0 {
		t.Errorf("%d debts are left", left)
	}
	sales, err := ledger.Read(dir, time.Time{})
	if err != nil || len(sales) != len(want) {
		t.Fatalf("sales %+v, %v", sales, err)
	}
	for _, s := range sales {
		if s.State != want[s.Claim.Chain] {
			t.Errorf("debt %d is %s, want %s", s.Claim.Chain, s.State, want[s.Claim.Chain])
		}
	}
}

// TestPanicWhileSettling has one once the facilitator has answered: there is no
// log. What was a sale may be settled, and a debt is left to be collected.
func TestPanicWhileSettling(t *testing.T) {
	t.Parallel()
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "no JSON")
	}))
	defer asked.Close()
	for name, tc := range map[string]struct {
		settle func(*sale) error
		state  ledger.State
	}{
		"a sale": {
			func(s *sale) error { _, err := s.settle(t.Context()); return err },
			ledger.Unknown,
		},
		"a debt": {
			func(s *sale) error {
				s.till.streams.enter(s.auth.Claim)
				if err := s.till.Ledger.Owe(s.auth.Claim, s.lender(), s.request); err != nil {
					return err
				}
				s.finish(t.Context(), nil)
				res := &http.Response{Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)}
				_, err := (&lent{ReadCloser: http.NoBody, sale: s, res: res}).Read(nil)
				return err
			},
			ledger.Owed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := ledger.Open(dir, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			till := NewTill(Options{Ledger: l, Metrics: prometheus.NewRegistry()})
			s := &sale{till: till, route: &route{seat: &seat{}}, way: &way{}, asked: true, request: x402.Request("{}")}
			s.way.Facilitators, s.auth.ValidBefore = []string{asked.URL}, time.Now().Add(time.Minute)
			if err := s.claim(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)); err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("nothing panicked")
					}
				}()
				defer s.end(t.Context())
				if err := tc.settle(s); err != nil {
					t.Error(err)
				}
			}()
			sales, err := ledger.Read(dir, time.Time{})
			if err != nil || len(sales) != 1 || sales[0].State != tc.state {
				t.Errorf("sales %+v, %v; want one that is %s", sales, err, tc.state)
			}
			owed := tc.state == ledger.Owed
			if left := till.streams.leftOver(l.Debts); owed != (len(left) == 1) || owed != (len(till.debts) == 1) {
				t.Errorf("%d debts are left to be collected, and %d are told", len(left), len(till.debts))
			}
		})
	}
}

// TestForOne: what is one buyer's is kept for nobody else, whatever the upstream
// says, and where it is careful of itself that stays.
func TestForOne(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"":                                  "private",
		"public, max-age=60, s-maxage=600":  "max-age=60, private",
		"No-Store, no-transform":            "No-Store, no-transform, private",
		`private="a, b", max-age=60`:        "max-age=60, private",
		`no-cache="Set-Cookie, X", public`:  "no-cache, private",
		`PUBLIC , must-revalidate,,max-age`: "must-revalidate, private",
		"max-age=x, stale-if-error=9":       "private",
	} {
		h := http.Header{"Cache-Control": {said}, "Etag": {"1"}, "Vary": {"Accept"}}
		for _, name := range []string{"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control", "Edge-Control", "X-Accel-Expires"} {
			h.Set(name, "public, max-age=60")
		}
		forOne(h)
		if got := h.Values("Cache-Control"); len(got) != 1 || got[0] != want {
			t.Errorf("%q becomes %q, want %q", said, got, want)
		}
		for name := range h {
			if name != "Cache-Control" && name != "Vary" && !strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s is still there", name)
			}
		}
	}
}

// TestBuyerWhoLeftRestsNobody: what was not sent since its buyer had left says
// nothing of the facilitator.
func TestBuyerWhoLeftRestsNobody(t *testing.T) {
	t.Parallel()
	till := NewTill(Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	urls := []string{"http://127.0.0.1:1"}
	f, err := till.facilitator(urls[0])
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err = f.Verify(gone, x402.Request("{}"))
	if f.note(gone, till.Log, err); !errors.Is(err, x402.ErrNotSent) || len(till.able(urls)) != 1 {
		t.Errorf("after %v, %d can be asked", err, len(till.able(urls)))
	}
	_, err = f.Verify(t.Context(), x402.Request("{}"))
	if f.note(t.Context(), till.Log, err); !errors.Is(err, x402.ErrNotSent) || len(till.able(urls)) != 0 {
		t.Errorf("after %v, %d can be asked", err, len(till.able(urls)))
	}
}
