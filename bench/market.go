package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/obolctl/obolctl/internal/paytest"
)

// How the upstream streams.
const (
	firstEvent = 50 * time.Millisecond
	events     = 10
	eventEvery = 20 * time.Millisecond
)

const largeAnswer = 1 << 30 // bytes

// A market is an upstream, a facilitator, and all who stand between them and
// those who ask.
type market struct {
	bench       *bench
	facilitator paytest.Facilitator
	takes       atomic.Int64 // nanoseconds that each answer of the facilitator takes
	calls       *httptest.Server
	upstream    *httptest.Server
	stops       []func() error

	plain, calling, before, after, express *seller // who are compared; before and after are ours
}

func (b *bench) openMarket() *market {
	m := &market{bench: b}
	m.facilitator.Handle = func(w http.ResponseWriter, _ *http.Request, c paytest.Call) {
		if takes := m.takes.Load(); takes > 0 {
			time.Sleep(time.Duration(takes))
		}
		m.facilitator.Answer(w, c)
	}
	m.calls = httptest.NewServer(&m.facilitator)
	m.upstream = httptest.NewServer(http.HandlerFunc(supply))
	return m
}

func (m *market) close() error {
	var errs []error
	for _, stop := range m.stops {
		errs = append(errs, stop())
	}
	m.upstream.CloseClientConnections()
	m.upstream.Close()
	m.calls.Close()
	return errors.Join(errs...)
}

// supply is the upstream.
func supply(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/large":
		part := make([]byte, 1<<20)
		for range largeAnswer / len(part) {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	case "/stream":
		time.Sleep(firstEvent)
		for range events {
			event(w)
			time.Sleep(eventEvery)
		}
	case "/idle":
		event(w)
		<-r.Context().Done()
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"answer":"what was asked for"}`)
	}
}

func event(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: a word\n\n")
	_ = http.NewResponseController(w).Flush() // whoever asked may be gone
}

// A seller is a process before the upstream, or the upstream itself.
type seller struct {
	url    string
	terms  string // the URL of whoever says what a payment has to be
	pid    int    // 0: it is this process
	client *http.Client
}

func newSeller(url string, pid int) *seller {
	return &seller{url, url, pid, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}}}
}

// startGateway starts ours, in a folder of its own.
func (m *market) startGateway(ctx context.Context, name, settle string) (*seller, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	listen, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	config := paytest.Shop(listen, m.upstream.URL, m.calls.URL)
	config.Settle = settle
	g, err := paytest.NewGateway(m.bench.obolctl, m.bench.path("market", name), config)
	if err != nil {
		return nil, err
	}
	if err := g.Start(); err != nil {
		return nil, err
	}
	m.stops = append(m.stops, g.Stop)
	return newSeller("http://"+address, g.PID()), g.Ready()
}

// startExpress starts the public middleware, to sell the same for the same.
func (m *market) startExpress(ctx context.Context) (*seller, error) {
	pay := paytest.Shop(netip.AddrPort{}, "", "").Payments[0]
	told, err := json.Marshal(map[string]string{
		"facilitator": m.calls.URL, "upstream": m.upstream.URL, "payTo": pay.PayTo, "asset": pay.Token.Address, "amount": "10000",
	})
	if err != nil {
		return nil, err
	}
	return m.serve(ctx, "node", "bench/express/seller.mjs", string(told))
}

// startPlain starts a reverse proxy that does nothing else, or else only has a
// facilitator settle each payment.
func (m *market) startPlain(ctx context.Context, facilitator string) (*seller, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return m.serve(ctx, self, "-proxy", m.upstream.URL, "-facilitator", facilitator)
}

// serve starts a program whose first line is its URL, and that ends when its
// stdin does.
func (m *market) serve(ctx context.Context, words ...string) (*seller, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "NODE_ENV=production"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.stops = append(m.stops, func() error { return errors.Join(in.Close(), cmd.Wait()) })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s does not say where it serves: %w", strings.Join(words[:2], " "), err)
	}
	return newSeller(strings.TrimSpace(url), cmd.Process.Pid), nil
}

// ask sends one request, and returns when the first byte of the answer's body is
// there. The rest is the caller's to read and close.
func (s *seller) ask(ctx context.Context, path, payment string, status int) (io.ReadCloser, error) {
	method, said := http.MethodGet, ""
	if path == "/idle" { // streams are asked for by a question, which a gateway must not keep
		method, said = http.MethodPost, `{"stream":true}`
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(said))
	if err != nil {
		return nil, err
	}
	if payment != "" {
		r.Header.Set("PAYMENT-SIGNATURE", payment)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	first := make([]byte, 1)
	if _, err = io.ReadFull(answer.Body, first); err == nil && answer.StatusCode != status {
		rest, _ := io.ReadAll(io.LimitReader(answer.Body, 500)) // it is for the message
		err = fmt.Errorf("GET %s%s: %s, want %d: %s%s", s.url, path, answer.Status, status, first, rest)
	}
	if err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	return answer.Body, nil
}

// payments signs as many for what a seller has at a path.
func (s *seller) payments(ctx context.Context, path string, n int) ([]string, error) {
	terms, err := paytest.Ask(ctx, s.terms+path)
	if err != nil {
		return nil, err
	}
	out := make([]string, n)
	for i := range out {
		p, err := paytest.Sign(terms, nil)
		if err != nil {
			return nil, err
		}
		out[i] = p.Header
	}
	return out, nil
}
