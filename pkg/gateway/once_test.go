package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// kept is how many connections a brittle upstream has the gateway keep. The
// check of its health may be using one.
const kept = 4

// A brittle upstream answers /warm, and for all else begins its work and closes
// the connection.
type brittle struct {
	warm sync.WaitGroup
	runs atomic.Int64
	keys chan string // that each of the runs had
}

func newBrittle() *brittle {
	b := &brittle{keys: make(chan string, kept+2)} // the health's, and a new one
	b.warm.Add(kept)
	return b
}

func (b *brittle) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/warm"):
		b.warm.Done()
		b.warm.Wait() // so that each has a connection of its own
	case !strings.HasSuffix(r.URL.Path, "/healthz"):
		b.runs.Add(1)
		b.keys <- r.Header.Get("Idempotency-Key") + r.Header.Get("X-Idempotency-Key")
		panic(http.ErrAbortHandler)
	}
}

// keep has the gateway keep connections.
func (b *brittle) keep(t *testing.T, s *subject) {
	t.Helper()
	var all sync.WaitGroup
	for range kept {
		r := request(t, http.MethodGet, s.url(t)+"/warm", nil)
		all.Go(func() {
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil || answer.StatusCode != http.StatusOK || answer.Body.Close() != nil {
				t.Errorf("answer = %+v, %v", answer, err)
			}
		})
	}
	all.Wait()
}

// TestRunsOnceForOnePayment has kept connections break when the upstream has
// begun, for requests that [http.Transport] would send again.
func TestRunsOnceForOnePayment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ settle, method, key string }{
		"GET":                   {"", http.MethodGet, "X-Other"},
		"GET, before":           {"before", http.MethodGet, "X-Other"},
		"GET, after":            {"after", http.MethodGet, "X-Other"},
		"repeatable":            {"", http.MethodPost, "Idempotency-Key"},
		"repeatable, before":    {"before", http.MethodPost, "Idempotency-Key"},
		"repeatable, after":     {"after", http.MethodPost, "Idempotency-Key"},
		"repeatable, old style": {"", http.MethodPost, "X-Idempotency-Key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, up := &paytest.Facilitator{}, newBrittle()
			s := shop(t, f, up.ServeHTTP, func(c *resource.Gateway) {
				c.Settle = tc.settle
				c.Routes = []offer.Route{{Path: "/warm", Gate: "free"}, {Path: "/*", Gate: "paid"}}
			})
			up.keep(t, s)
			r := request(t, tc.method, s.url(t)+"/x", nil)
			r.Header.Set("PAYMENT-SIGNATURE", payment(t, s))
			r.Header.Set(tc.key, "k")
			answer, text := do(t, r)
			if runs := up.runs.Load(); runs != 1 {
				t.Errorf("the upstream ran %d times for one payment", runs)
			}
			if answer.StatusCode != http.StatusBadGateway || !strings.Contains(text, "upstream_failed") {
				t.Errorf("answer = %d %s, want 502 upstream_failed", answer.StatusCode, text)
			}
			if key := <-up.keys; (key == "k") != strings.HasSuffix(tc.key, "Idempotency-Key") {
				t.Errorf("the upstream read the key %q", key)
			}
			sales, err := ledger.Read(filepath.Join(s.dir, resource.SalesFolder, "default.shop"), time.Time{})
			if err != nil || len(sales) != 1 || sales[0].State != ledger.Freed {
				t.Errorf("sales %+v, %v; want one that was given back", sales, err)
			}
		})
	}
}

// TestRunsOnceForTheCluster: what the cluster charges for is not told apart from
// what it gives for free.
func TestRunsOnceForTheCluster(t *testing.T) {
	t.Parallel()
	up := newBrittle()
	s := start(t, folder(t), config(upstream(t, up.ServeHTTP)))
	up.keep(t, s)
	if answer, text := do(t, request(t, http.MethodGet, s.url(t)+"/x", nil)); answer.StatusCode != http.StatusBadGateway || up.runs.Load() != 1 {
		t.Errorf("answer = %d %s after %d runs, want 502 after one", answer.StatusCode, text, up.runs.Load())
	}
}

// TestFreeIsAskedAgain where a kept connection breaks: nobody paid for one run.
func TestFreeIsAskedAgain(t *testing.T) {
	t.Parallel()
	up := newBrittle()
	s := shop(t, &paytest.Facilitator{}, up.ServeHTTP, func(c *resource.Gateway) { c.Routes = []offer.Route{{Path: "/*", Gate: "free"}} })
	up.keep(t, s)
	if answer, text := do(t, request(t, http.MethodGet, s.url(t)+"/x", nil)); answer.StatusCode != http.StatusBadGateway || up.runs.Load() < 2 {
		t.Errorf("answer = %d %s after %d runs, want 502 after some", answer.StatusCode, text, up.runs.Load())
	}
}

// TestClosedWhileIdle pays for a request after the upstream has closed the
// connection of the one before: it gets another one.
func TestClosedWhileIdle(t *testing.T) {
	t.Parallel()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	closed := make(chan bool, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerOne(conn, closed)
		}
	}()
	s := shop(t, &paytest.Facilitator{}, nil, func(c *resource.Gateway) { c.Upstream = "http://" + l.Addr().String() })
	for range 3 {
		r := request(t, http.MethodGet, s.url(t)+"/x", nil)
		r.Header.Set("PAYMENT-SIGNATURE", payment(t, s))
		if answer, text := do(t, r); answer.StatusCode != http.StatusOK || text != "hello" {
			t.Errorf("answer = %d %s, want 200", answer.StatusCode, text)
		}
		<-closed
	}
}

// answerOne answers one request as if more might come, closes its side of the
// connection, and tells when the other side has too. The check of its health
// gets one that is not kept.
func answerOne(conn net.Conn, closed chan<- bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil || r.URL.Path != "/x" {
		fmt.Fprint(conn, "HTTP/1.0 200 OK\r\n\r\n")
		return
	}
	fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	if err := conn.(*net.TCPConn).CloseWrite(); err == nil {
		_, _ = io.Copy(io.Discard, in) // its end is what is waited for
	}
	closed <- true
}
