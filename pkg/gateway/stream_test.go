package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
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
	"github.com/obolctl/obolctl/pkg/x402"
)

// pace is an upstream whose streams send a second event when they are told to.
type pace struct {
	first chan bool // an event is on its way, and more is waited for
	more  chan bool // the next one; false: it breaks off instead
	gone  chan bool // whoever asked has left
}

func newPace() *pace { return &pace{make(chan bool, 1), make(chan bool), make(chan bool, 1)} }

func (p *pace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		return
	}
	said, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Model", "tiny")
	w.Header().Set("Trailer", "X-Tokens")
	fmt.Fprintf(w, "data: %s%s\n\n", r.Method, said)
	_ = http.NewResponseController(w).Flush()
	if r.Method == http.MethodHead {
		return
	}
	p.first <- true
	select {
	case <-r.Context().Done():
		p.gone <- true
	case whole := <-p.more:
		if !whole {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "data: %s\n\n", strings.Repeat("x", 10_000))
		w.Header().Set("X-Tokens", "2")
	}
}

// TestStreamsAreTheSameHoweverTheyPass asks in ways in which a stream can go on
// without the server, and in those in which it cannot.
func TestStreamsAreTheSameHoweverTheyPass(t *testing.T) {
	t.Parallel()
	two := new(http.Protocols)
	two.SetUnencryptedHTTP2(true)
	for _, c := range []struct {
		name, method, said string
		client             http.Client
		alone              bool // the connection ends with the stream
		either             bool // unless the answer comes before the transport has asked for the end of the request
	}{
		{name: "GET", method: http.MethodGet, alone: true},
		{name: "POST", method: http.MethodPost, said: "question", alone: true, either: true},
		{name: "HEAD", method: http.MethodHead},
		{name: "HTTP2", method: http.MethodPost, said: "question", client: http.Client{Transport: &http.Transport{Protocols: two}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPace()
			s := start(t, folder(t), config(upstream(t, p.ServeHTTP)))
			answer, err := c.client.Do(request(t, c.method, s.url(t)+"/events", strings.NewReader(c.said)))
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Model") != "tiny" || answer.Close != c.alone && !c.either {
				t.Errorf("%d %v, close %t; want close %t", answer.StatusCode, answer.Header, answer.Close, c.alone)
			}
			if c.method == http.MethodHead {
				return
			}
			in := bufio.NewReader(answer.Body)
			if line, err := in.ReadString('\n'); err != nil || line != "data: "+c.method+c.said+"\n" {
				t.Fatalf("the first event = %q, %v", line, err)
			}
			<-p.first
			if _, text := s.admin(t, http.MethodGet, "/metrics"); !strings.Contains(text, "in_flight 1") {
				t.Errorf("the stream is not counted: %s", text)
			}
			p.more <- true
			if rest, err := io.ReadAll(in); err != nil || len(rest) != len("\ndata: \n\n")+10_000 || answer.Trailer.Get("X-Tokens") != "2" {
				t.Errorf("the rest: %d bytes, %v, %v", len(rest), err, answer.Trailer)
			}
			eventually(t, "nothing in flight", func() bool {
				_, text := s.admin(t, http.MethodGet, "/metrics")
				return strings.Contains(text, "in_flight 0")
			})
		})
	}
}

// TestStreamForAnOldClient has no frames, which HTTP/1.0 does not know.
func TestStreamForAnOldClient(t *testing.T) {
	t.Parallel()
	p := newPace()
	s := start(t, folder(t), config(upstream(t, p.ServeHTTP)))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url(t), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /events HTTP/1.0\r\n\r\n")
	<-p.first
	p.more <- true
	got, err := io.ReadAll(conn)
	if _, text, _ := strings.Cut(string(got), "\r\n\r\n"); err != nil || !strings.HasPrefix(text, "data: GET\n\ndata: xxx") {
		t.Errorf("%.80q, %v", text, err)
	}
}

func TestStreamThatBreaksOff(t *testing.T) {
	t.Parallel()
	p := newPace()
	s := start(t, folder(t), config(upstream(t, p.ServeHTTP)))
	answer, err := http.Get(s.url(t) + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	<-p.first
	p.more <- false
	if text, err := io.ReadAll(answer.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that broke off reads %q, %v", text, err)
	}
}

func TestUpstreamLearnsThatAClientLeftItsStream(t *testing.T) {
	t.Parallel()
	p := newPace()
	s := start(t, folder(t), config(upstream(t, p.ServeHTTP)))
	answer, err := http.Post(s.url(t)+"/events", "text/plain", strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.first
	answer.Body.Close()
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
		t.Error("the upstream still runs")
	}
}

func TestStreamsCountForTheLimit(t *testing.T) {
	t.Parallel()
	p := newPace()
	cfg := config(upstream(t, p.ServeHTTP))
	cfg.InFlight = 1
	s := start(t, folder(t), cfg)
	base := s.url(t)
	for range 3 {
		stream, err := http.Get(base + "/events")
		if err != nil {
			t.Fatal(err)
		}
		<-p.first
		if answer, text := do(t, request(t, http.MethodGet, base+"/healthz", nil)); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("beside a stream = %d %s", answer.StatusCode, text)
		}
		p.more <- true
		body(t, stream)
		eventually(t, "room again", func() bool {
			answer, _ := do(t, request(t, http.MethodGet, base+"/healthz", nil))
			return answer.StatusCode == http.StatusOK
		})
	}
}

// TestStopWaitsForStreams also sees that it does not wait for ever.
func TestStopWaitsForStreams(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{true, false} {
		p := newPace()
		s := start(t, folder(t), config(upstream(t, p.ServeHTTP)))
		answer, err := http.Get(s.url(t) + "/events")
		if err != nil {
			t.Fatal(err)
		}
		<-p.first
		began := time.Now()
		s.cancel()
		if ends {
			eventually(t, "it is told to stop", func() bool {
				_, err := http.Get(s.url(t))
				return err != nil
			})
			p.more <- true
		}
		text, err := io.ReadAll(answer.Body)
		if ends != (err == nil) || ends != strings.HasSuffix(string(text), "xxx\n\n") {
			t.Errorf("ends %t: %d bytes, %v", ends, len(text), err)
		}
		if took := time.Since(began); ends != (took < grace) || took > grace+5*time.Second {
			t.Errorf("ends %t: it took %v", ends, took)
		}
		answer.Body.Close()
	}
}

// TestStreamOnCredit has its receipt after its last byte.
func TestStreamOnCredit(t *testing.T) {
	t.Parallel()
	facilitator := &paytest.Facilitator{}
	asked := httptest.NewServer(facilitator)
	t.Cleanup(asked.Close)
	p := newPace()
	cfg := paytest.Shop(netip.MustParseAddrPort("127.0.0.1:0"), upstream(t, p.ServeHTTP), asked.URL)
	cfg.Settle = "after"
	s := start(t, folder(t), cfg)
	answer, payer := buy(t, s)
	<-p.first
	if facilitator.Moved(payer) {
		t.Error("it was settled before it ended")
	}
	p.more <- true
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.HasSuffix(string(text), "xxx\n\n") {
		t.Errorf("%d %.80q, %v", answer.StatusCode, text, err)
	}
	answer.Body.Close()
	if !facilitator.Moved(payer) || answer.Trailer.Get("PAYMENT-RESPONSE") == "" || answer.Trailer.Get("X-Tokens") != "2" {
		t.Errorf("it was not settled at its end: %v", answer.Trailer)
	}
}

// TestStopKnowsHowTheLastSaleEnded has a stream cut off while it is being
// settled. Nothing is left to the next process, which would settle it again.
func TestStopKnowsHowTheLastSaleEnded(t *testing.T) {
	t.Parallel()
	cut := make(chan bool)
	facilitator := &paytest.Facilitator{}
	facilitator.Handle = func(w http.ResponseWriter, _ *http.Request, c paytest.Call) {
		if c.Path == "/settle" {
			<-cut
			<-time.After(100 * time.Millisecond) // as long as a chain takes
		}
		facilitator.Answer(w, c)
	}
	asked := httptest.NewServer(facilitator)
	t.Cleanup(asked.Close)
	p := newPace()
	cfg := paytest.Shop(netip.MustParseAddrPort("127.0.0.1:0"), upstream(t, p.ServeHTTP), asked.URL)
	cfg.Settle = "after"
	s := start(t, folder(t), cfg)
	answer, _ := buy(t, s)
	defer answer.Body.Close()
	<-p.first
	p.more <- true
	s.cancel()
	if text, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("it came to its end without a settlement: %d bytes", len(text))
	}
	close(cut)
	if err := <-s.done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	sales, err := ledger.Read(filepath.Join(s.dir, resource.SalesFolder, "default.shop"), time.Time{})
	if err != nil || len(sales) != 1 || sales[0].State != ledger.Settled {
		t.Errorf("sales %+v, %v; want one that is settled", sales, err)
	}
}

// buy pays for a stream of a shop, as nobody has before.
func buy(t *testing.T, s *subject) (*http.Response, x402.Address) {
	t.Helper()
	terms, err := paytest.Ask(t.Context(), s.url(t))
	if err != nil {
		t.Fatal(err)
	}
	payment, err := paytest.Sign(terms, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := request(t, http.MethodGet, s.url(t)+"/text", nil)
	ask.Header.Set("PAYMENT-SIGNATURE", payment.Header)
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	return answer, payment.Payer
}
