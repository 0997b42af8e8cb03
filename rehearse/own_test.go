//go:build rehearse

package rehearse_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/x402"
)

// ownOffer has nothing in the cluster: its gateway charges for it, and has a
// facilitator beside the machine. A stream of it is paid for at its end. The
// upstream wants a key of it, which only the units' environment file has.
const (
	ownURL      = "http://127.0.0.1:8500"
	ownPath     = "/own" // of the upstream
	streamPath  = ownPath + "/stream"
	ownKey      = "Bearer of $%\\ keys"
	facilitator = "127.0.0.1:9001"
	ownOffer    = `http "own" {
  standalone = true

  payment {
    price        = { per_request = "0.01" }
    facilitators = ["http://` + facilitator + `"]
  }
  upstream {
    url     = "http://` + upstream + ownPath + `"
    headers = { Authorization = secret_env("UPSTREAM_KEY") }
  }
  gateway {
    listen     = 8500
    public_url = "` + ownURL + `"
    settle     = "after"
  }
}
`
)

// sellOwn sells ownOffer too.
func (s *shop) sellOwn() {
	s.t.Helper()
	l, err := s.network.listen(facilitator)
	s.ok(err)
	s.cashier = &cashier{settled: map[x402.Address]int{}}
	s.cashier.Handle = s.cashier.answer
	server := &http.Server{Handler: s.cashier}
	s.t.Cleanup(func() { server.Close() })
	go server.Serve(l) //nolint:errcheck // it is closed with the test
	s.peek("mkdir -p .config/obolctl")
	s.write(home+"/.config/obolctl/environment", "UPSTREAM_KEY='"+ownKey+"'\n")
	s.peek("chmod 600 .config/obolctl/environment")
	s.write(offersFile, s.peek("cat "+offersFile)+"\n"+ownOffer)
	s.login("obolctl apply --auto-approve")
	s.ownAnswers("", http.StatusPaymentRequired, "")
}

// A cashier is the facilitator of ownOffer. While it is away it settles nothing.
type cashier struct {
	paytest.Facilitator

	mu      sync.Mutex
	away    bool
	settled map[x402.Address]int // how often it was asked to settle, while it was there
}

func (c *cashier) answer(w http.ResponseWriter, _ *http.Request, call paytest.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.Path == "/settle" && c.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if call.Path == "/settle" {
		c.settled[call.Payer]++
	}
	c.Answer(w, call)
}

// goes has it go away, or come back.
func (c *cashier) goes(away bool) { c.mu.Lock(); defer c.mu.Unlock(); c.away = away }

// times gives how often each payment was to be settled.
func (c *cashier) times() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.settled))
}

// borrow has a buyer begin to read a stream. The rest comes once goOn is closed.
func (s *shop) borrow(payment string) (rest <-chan string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, ownURL+strings.TrimPrefix(streamPath, ownPath), nil)
	s.ok(err)
	r.Header.Set(x402.PaymentHeader, payment)
	client := s.network.client()
	client.Timeout = patience
	resp, err := client.Do(r)
	s.ok(err)
	first := make([]byte, len(firstEvent))
	_, err = io.ReadFull(resp.Body, first)
	s.ok(err)
	if string(first) != firstEvent {
		s.t.Fatalf("a stream begins with %d %q", resp.StatusCode, first)
	}
	said := make(chan string, 1)
	go func() {
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			text = append(text, err.Error()...)
		}
		said <- string(text)
	}()
	return said
}

const firstEvent, lastEvent = "data: first\n\n", "data: last\n\n"

// serveUpstream is what all offers sell.
func (s *shop) serveUpstream(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, ownPath) && r.Header.Get("Authorization") != ownKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path != streamPath {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, firstEvent)
	if http.NewResponseController(w).Flush() != nil {
		return
	}
	select {
	case <-s.goOn:
		fmt.Fprint(w, lastEvent)
	case <-r.Context().Done():
	}
}

// payment signs what ownOffer costs.
func (s *shop) payment() string {
	s.t.Helper()
	_, body, header, err := s.askOwn("")
	s.ok(err)
	terms, err := x402.ParseChallenge(header, []byte(body))
	s.ok(err)
	p, err := paytest.Sign(terms.Accepts[0], nil)
	s.ok(err)
	return p.Header
}

// ownAnswers waits until ownOffer's gateway answers a request, with a payment or
// without, with a status, and says something.
func (s *shop) ownAnswers(payment string, status int, says string) {
	s.t.Helper()
	eventually(s.t, patience, func() string {
		code, body, _, err := s.askOwn(payment)
		if err != nil {
			return err.Error()
		}
		if code != status || !strings.Contains(body, says) {
			return fmt.Sprintf("it answers %d %s, not %d %s", code, body, status, says)
		}
		return ""
	})
}

func (s *shop) askOwn(payment string) (status int, body string, header http.Header, err error) {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, ownURL+"/x", nil)
	s.ok(err)
	if payment != "" {
		r.Header.Set(x402.PaymentHeader, payment)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header, err
}
