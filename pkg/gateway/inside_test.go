package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/resource"
)

// TestHealthTransitions is exact to the instant: at once and then every five
// seconds, two failures make it unhealthy and one success healthy.
func TestHealthTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		var asked []time.Duration
		answers := []error{errors.New("down"), nil, statusError(500), nil, statusError(503), statusError(503), statusError(503), nil}
		h := &health{log: slog.New(slog.DiscardHandler), ask: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(begin))
			return answers[len(asked)-1]
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go h.run(ctx)
		var got []string
		for i := range answers {
			time.Sleep(time.Duration(i)*healthEvery - time.Since(begin))
			synctest.Wait()
			ok, why := h.now()
			mu.Lock()
			got = append(got, fmt.Sprintf("%v %v since %v %s", asked[len(asked)-1], ok, h.turned().Sub(begin), why))
			mu.Unlock()
		}
		cancel()
		synctest.Wait()
		want := []string{
			"0s false since 0s the upstream cannot be reached", "5s true since 5s ", "10s true since 5s ", "15s true since 5s ", "20s true since 5s ",
			"25s false since 25s the upstream answered 503", "30s false since 25s the upstream answered 503", "35s true since 35s ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("health (-want +got):\n%s", diff)
		}
	})
}

// TestHealthIsLimited asks an upstream that never answers.
func TestHealthIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		h := &health{log: slog.New(slog.DiscardHandler), ask: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		h.probe(t.Context())
		if ok, why := h.now(); ok || why != "the upstream did not answer within 2s" || time.Since(begin) != 2*time.Second {
			t.Errorf("after %v: %v %q", time.Since(begin), ok, why)
		}
	})
}

// TestRule13_ForeignPeersAreRefused asks with each peer, and with headers that
// claim to be another.
func TestRule13_ForeignPeersAreRefused(t *testing.T) {
	t.Parallel()
	reached := 0
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer up.Close()
	s := &server{log: slog.New(slog.DiscardHandler)}
	cfg := resource.Gateway{
		Upstream: up.URL, HealthPath: "/",
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8402")},
		Peers:  []netip.Prefix{netip.MustParsePrefix("10.42.0.0/24"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("192.168.7.7/32")},
	}
	p := &plane{cfg: cfg}
	if _, err := p.check(); err != nil {
		t.Fatal(err)
	}
	p.transport = newTransport(0)
	defer p.transport.CloseIdleConnections()
	p.proxy, p.health = s.newProxy(p), newHealth(p, s.log)
	s.front.Store(p)
	for peer, ok := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "127.8.8.8:1": true, "[::ffff:127.0.0.1]:1": true,
		"10.42.0.9:1": true, "[::ffff:10.42.0.9]:1": true, "[fd00::9%eth0]:1": true, "192.168.7.7:1": true,
		"10.42.1.9:1": false, "192.168.7.8:1": false, "[fd00:1::9]:1": false, "203.0.113.1:1": false, "0.0.0.0:1": false,
		"": false, "@": false, "10.42.0.9": false,
	} {
		for _, path := range []string{"/x", "/health"} {
			before := reached
			r := httptest.NewRequest("GET", path, nil)
			r.RemoteAddr = peer
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			r.Header.Set("Forwarded", "for=127.0.0.1")
			r.Header.Set("X-Real-Ip", "127.0.0.1")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if refused := w.Code == http.StatusForbidden; refused == ok {
				t.Errorf("%s of peer %q = %d, want it admitted: %v", path, peer, w.Code, ok)
			}
			if passed := reached > before; passed != (ok && path == "/x") {
				t.Errorf("%s of peer %q reached the upstream: %v", path, peer, passed)
			}
		}
	}
}

// TestStripPrefixLaws: what is left is a path, and putting the prefix back
// gives what was there.
func TestStripPrefixLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`(/[ab]{1,2}){0,2}`).Draw(t, "prefix")
		path := rapid.StringMatching(`(/[ab]{0,2}){1,4}`).Draw(t, "path")
		got := stripPrefix(path, prefix)
		switch {
		case !strings.HasPrefix(got, "/"):
			t.Fatalf("%q is no path", got)
		case got != path && prefix+got != path && (got != "/" || path != prefix):
			t.Fatalf("%q without %q became %q", path, prefix, got)
		case got == path && prefix != "" && strings.HasPrefix(path+"/", prefix+"/"):
			t.Fatalf("%q kept %q", path, prefix)
		}
	})
}

func TestLogIsPutAside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), resource.LogFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, ok := bounded(f, path).(*boundedLog)
	if !ok {
		t.Fatal("the log file is not bounded")
	}
	l.limit = 100
	line := []byte(strings.Repeat("x", 29) + "\n")
	for i := range 7 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(i%3+1) * 30; info.Size() != want {
			t.Errorf("after line %d the log has %d bytes, want %d", i, info.Size(), want)
		}
	}
	// What goes around the log, as a panic does, lands in the new file too.
	if _, err := f.WriteString("panic: oh\n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(text), "panic: oh\n") {
		t.Errorf("the log is %q, %v", text, err)
	}
	if other := bounded(f, filepath.Join(t.TempDir(), "other")); other != io.Writer(f) {
		t.Error("a file that is not the log is bounded")
	}
}

// A broken body is one whose sender has left.
type broken struct{ leave func() }

func (b broken) Read([]byte) (int, error) {
	b.leave()
	return 0, io.ErrUnexpectedEOF
}

// TestClientWhoLeftIsKnownAtOnce: whoever fails to read a request knows that its
// client has left. A payment that came back to a buyer who left an upload could
// have the upstream run again and again.
func TestClientWhoLeftIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	s := &server{log: slog.New(slog.DiscardHandler)}
	for minor := range 2 {
		for range 100 {
			ctx, leave := context.WithCancel(t.Context())
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/x", broken{leave})
			r.ProtoMinor = minor
			var known error
			s.forward(&plane{proxy: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body) // it breaks off
				known = r.Context().Err()
			})}, httptest.NewRecorder(), r)
			if known == nil {
				t.Fatalf("over HTTP/1.%d the client is there still", minor)
			}
		}
	}
}

// A transporter is a transport for tests.
type transporter func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (t transporter) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// TestStreamBeginsBeforeItsRequestWasRead has the transport see the end of a
// request when the stream is under way already. [http.Transport] does, as it
// asks once more when it has sent all that was announced; and it closes the
// connection to the upstream when that fails.
func TestStreamBeginsBeforeItsRequestWasRead(t *testing.T) {
	t.Parallel()
	s := &server{log: slog.New(slog.DiscardHandler), Options: Options{Stall: time.Minute}}
	s.front.Store(&plane{proxy: &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {},
		Transport: transporter(func(r *http.Request) (*http.Response, error) {
			said := make([]byte, len("question"))
			if _, err := io.ReadFull(r.Body, said); err != nil {
				return nil, err
			}
			body, upstream := io.Pipe()
			go func() {
				time.Sleep(50 * time.Millisecond) // so that who does not wait has returned
				_, err := r.Body.Read(said)
				if errors.Is(err, io.EOF) {
					_, err = fmt.Fprint(upstream, "data: goods\n\n")
				}
				upstream.CloseWithError(err)
			}()
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}},
				Body: body, ContentLength: -1, Request: r,
			}, nil
		}),
		ModifyResponse: func(res *http.Response) error { detach(res); return nil },
	}})
	front := httptest.NewServer(s)
	defer front.Close()
	answer, err := http.Post(front.URL, "text/plain", strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "data: goods\n\n" {
		t.Errorf("the stream = %q, %v", text, err)
	}
}

// TestAdminAnswersBeforeItStops has one ask while it is told to.
func TestAdminAnswersBeforeItStops(t *testing.T) {
	t.Parallel()
	entered, stopping := make(chan bool), make(chan bool)
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-stopping:
		case <-r.Context().Done():
		}
		reply(w, http.StatusConflict, "it was deleted")
	}))
	defer admin.Close()
	admin.Config.RegisterOnShutdown(func() { close(stopping) })
	closed := make(chan error)
	go func() {
		<-entered
		closed <- closeAdmin(t.Context(), admin.Config)
	}()
	answer, err := http.Get(admin.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if err := <-closed; err != nil || answer.StatusCode != http.StatusConflict {
		t.Errorf("%d, closed with %v", answer.StatusCode, err)
	}
}

// TestStreamThatBeginsAfterTheLastIsClosed comes too late to be waited for.
func TestStreamThatBeginsAfterTheLastIsClosed(t *testing.T) {
	t.Parallel()
	s := &server{}
	s.streams.close()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	idle, upstream := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	context.AfterFunc(ctx, func() { upstream.CloseWithError(ctx.Err()) })
	ended := make(chan error, 1)
	go func() { ended <- s.carry(&answer{body: idle}, ours, cancel) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
	cancel()
}

// TestOnceOverHTTP2 asks more at once than one connection to the upstream takes.
// It refuses some then, unbegun, and they have to be tried a second time.
func TestOnceOverHTTP2(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		runs.Add(1)
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
	}))
	up.EnableHTTP2, up.Config.HTTP2 = true, &http.HTTP2Config{MaxConcurrentStreams: 1}
	up.StartTLS()
	t.Cleanup(up.Close)
	upstream := newTransport(0)
	upstream.TLSClientConfig = up.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(upstream.CloseIdleConnections)
	const buyers = 50
	var all sync.WaitGroup
	for range buyers {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, up.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			answer, err := upstream.RoundTrip(once(r))
			if err != nil || answer.StatusCode != http.StatusOK || answer.Body.Close() != nil {
				t.Errorf("answer = %+v, %v", answer, err)
			}
		})
	}
	all.Wait()
	if runs.Load() != buyers {
		t.Errorf("%d runs for %d requests", runs.Load(), buyers)
	}
}
