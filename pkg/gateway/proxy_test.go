package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })+"/base"))
	base := s.url(t)
	for path, want := range map[string]string{
		"/":                          "/base/",
		"/v1/chat":                   "/base/v1/chat",
		"/services/weather":          "/base/",
		"/services/weather/":         "/base/",
		"/services/weather/v1":       "/base/v1",
		"/services/weather/health":   "/base/health",
		"/services/weatherman/v1":    "/base/services/weatherman/v1",
		"/a/services/weather/v1":     "/base/a/services/weather/v1",
		"/services/weather/a%2Fb":    "/base/a%2Fb",
		"/services/weather?x=1;y=%7": "/base/?x=1;y=%7",
		"/v1?services/weather":       "/base/v1?services/weather",
		"/services/weather/../admin": "400",
		"/..":                        "400",
		"/a/%2e%2e/b":                "400",
		"/a/..%2fb":                  "400",
		"/a/./b":                     "400",
		"/a/...":                     "/base/a/...",
	} {
		// The client's own cleaning must not help, so the request is written by hand.
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		got := body(t, answer)
		if answer.StatusCode != http.StatusOK {
			got = fmt.Sprint(answer.StatusCode)
		}
		if got != want {
			t.Errorf("%s became %s, want %s", path, got, want)
		}
		conn.Close()
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("Bearer s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x" {
			got <- r
		}
	}))
	cfg.Headers = map[string]offer.Secret{"authorization": {File: secret}, "Host": {Plain: "model.internal"}}
	s := start(t, folder(t), cfg)
	r := request(t, "GET", s.url(t)+"/x", nil)
	r.Host = "shop.example.org"
	for name, value := range map[string]string{
		"Authorization": "Bearer forged", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/admin", "X-Real-Ip": "203.0.113.9",
		"Forwarded": "for=203.0.113.9", "Connection": "X-Hop", "X-Hop": "1", "Accept-Encoding": "br", "X-Mine": "kept",
	} {
		r.Header.Set(name, value)
	}
	do(t, r)
	up := <-got
	up.Header.Del("User-Agent")
	want := http.Header{
		"Authorization": {"Bearer s3cret"}, "X-Mine": {"kept"}, "Accept-Encoding": {"br"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"shop.example.org"}, "X-Forwarded-Proto": {"http"},
	}
	if diff := cmp.Diff(want, up.Header); diff != "" {
		t.Errorf("the upstream's headers (-want +got):\n%s", diff)
	}
	if up.Host != "model.internal" {
		t.Errorf("the upstream's Host = %q", up.Host)
	}
	if strings.Contains(s.log.String(), "s3cret") {
		t.Error("the log has the secret")
	}
}

// TestStreamsChunkByChunk would stand still if anything held a chunk back: the
// upstream sends each only after the one before has arrived.
func TestStreamsChunkByChunk(t *testing.T) {
	t.Parallel()
	arrived := make(chan bool)
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-arrived
		}
	})))
	answer, err := http.Get(s.url(t) + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	in := bufio.NewReader(answer.Body)
	for i := range 5 {
		line, err := in.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("chunk %d = %q, %v", i, line, err)
		}
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		arrived <- true
	}
}

// echo answers an upgrade and sends back what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	rw.Flush()
	io.Copy(conn, rw)
}

func TestWebsocket(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, echo)))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url(t), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n")
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade = %v, %v", answer, err)
	}
	say := func(text string) {
		t.Helper()
		fmt.Fprint(conn, text)
		back := make([]byte, len(text))
		if _, err := io.ReadFull(in, back); err != nil || string(back) != text {
			t.Fatalf("echo = %q, %v; want %q", back, err, text)
		}
	}
	say("hello")
	// Told to stop, the gateway lets the conversation go on, and ends after it.
	s.cancel()
	eventually(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	say("still here")
	select {
	case err := <-s.done:
		t.Fatalf("Serve = %v while a conversation goes on", err)
	case <-time.After(100 * time.Millisecond): // a gateway that does not wait would have ended by then
	}
	conn.Close()
	if err := <-s.done; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hi") })))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: protocols}}
	answer, err := client.Get(s.url(t) + "/x")
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, answer); answer.ProtoMajor != 2 || text != "hi" {
		t.Errorf("answer = %s %q", answer.Proto, text)
	}
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				t.Error(err)
			}
		}
		io.Copy(w, r.Body)
	})))
	sent, got := sha256.New(), sha256.New()
	content := io.TeeReader(io.LimitReader(&pattern{}, size), sent)
	answer, err := http.Post(s.url(t)+"/big", "application/octet-stream", content)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if n, err := io.Copy(got, answer.Body); n != size || err != nil {
		t.Fatalf("%d bytes came back, %v", n, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("other bytes came back than were sent")
	}
}

// A pattern is an endless text that does not repeat within a buffer.
type pattern struct{ n uint32 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.n = p.n*1664525 + 1013904223
		b[i] = byte(p.n >> 24)
	}
	return len(b), nil
}

func TestMaxBody(t *testing.T) {
	t.Parallel()
	cfg := config(upstream(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	cfg.MaxBody = 1000
	s := start(t, folder(t), cfg)
	for name, tc := range map[string]struct {
		size    int64
		chunked bool
		want    int
	}{
		"fits":             {1000, false, 200},
		"fits, chunked":    {1000, true, 200},
		"too long":         {1001, false, 413},
		"too long, chunks": {1 << 20, true, 413},
	} {
		r := request(t, "POST", s.url(t)+"/x", io.LimitReader(&pattern{}, tc.size))
		if !tc.chunked {
			r.ContentLength = tc.size
		}
		if answer, text := do(t, r); answer.StatusCode != tc.want {
			t.Errorf("%s = %d %s, want %d", name, answer.StatusCode, text, tc.want)
		}
	}
}

// TestBodyThatStalls also sees that one which only takes its time is waited for.
func TestBodyThatStalls(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})))
	for whole, want := range map[bool]int{true: http.StatusOK, false: http.StatusRequestTimeout} {
		out, in := io.Pipe()
		go func() {
			for i := 0; i < 4; i++ {
				fmt.Fprint(in, "word ")
				time.Sleep(stall / 2)
			}
			if whole {
				in.Close()
			}
		}()
		r := request(t, http.MethodPost, s.url(t)+"/x", out)
		if !whole {
			r.ContentLength = 100 // so that nothing is answered before it has come
		}
		answer, text := do(t, r)
		in.Close()
		if answer.StatusCode != want || whole && text != "word word word word " {
			t.Errorf("whole %t: %d %q, want %d", whole, answer.StatusCode, text, want)
		}
	}
}

func TestMaxConcurrent(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan bool), make(chan bool)
	cfg := config(upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- true
			<-leave
		}
	}))
	cfg.InFlight = 2
	s := start(t, folder(t), cfg)
	base := s.url(t)
	done := make(chan error)
	for range 2 {
		go func() {
			answer, err := http.Get(base + "/slow")
			if err == nil {
				answer.Body.Close()
			}
			done <- err
		}()
		<-entered
	}
	answer, text := do(t, request(t, "GET", base+"/x", nil))
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the third request = %d %s %v", answer.StatusCode, text, answer.Header)
	}
	for range 2 {
		leave <- true
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "room again", func() bool {
		answer, _ := do(t, request(t, "GET", base+"/x", nil))
		return answer.StatusCode == http.StatusOK
	})
}

func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	closed.Close()
	stop := make(chan bool)
	silent := upstream(t, func(http.ResponseWriter, *http.Request) { <-stop })
	t.Cleanup(func() { close(stop) })
	broken := upstream(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	for name, tc := range map[string]struct {
		upstream, timeout string
		status            int
		code              string
	}{
		"nobody there": {nobody, "", 502, "upstream_unreachable"},
		"too slow":     {silent, "50ms", 504, "upstream_timeout"},
		"breaks off":   {broken, "", 502, "upstream_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(tc.upstream)
			cfg.Timeout = tc.timeout
			answer, text := do(t, request(t, "GET", start(t, folder(t), cfg).url(t)+"/x", nil))
			if answer.StatusCode != tc.status || !strings.Contains(text, tc.code) {
				t.Errorf("answer = %d %s, want %d %s", answer.StatusCode, text, tc.status, tc.code)
			}
			if strings.Contains(text, "127.0.0.1") {
				t.Errorf("the answer tells where the upstream is: %s", text)
			}
		})
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan bool), make(chan bool)
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- true
			<-leave
			fmt.Fprint(w, "whole")
		}
	})))
	base := s.url(t)
	got := make(chan string)
	go func() {
		answer, err := http.Get(base + "/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		got <- body(t, answer)
	}()
	<-entered
	s.cancel()
	eventually(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	leave <- true
	if text := <-got; text != "whole" {
		t.Errorf("the request in flight got %q", text)
	}
}

// TestReloadDropsNoRequest changes the upstream, the limits and the listeners
// under load; every answer must be whole, from the one or from the other.
func TestReloadDropsNoRequest(t *testing.T) {
	t.Parallel()
	one := upstream(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "one") })
	two := upstream(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "two") })
	cfg := config(one)
	s := start(t, folder(t), cfg)
	base := s.url(t)
	instance := s.identity(t).Instance
	var ones, twos atomic.Int64
	stop, done := make(chan bool), make(chan bool)
	for range 4 {
		go func() {
			defer func() { done <- true }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer, err := http.Get(base + "/x")
				if err != nil {
					t.Error(err)
					return
				}
				switch text := body(t, answer); {
				case answer.StatusCode == 200 && text == "one":
					ones.Add(1)
				case answer.StatusCode == 200 && text == "two":
					twos.Add(1)
				default:
					t.Errorf("answer = %d %q", answer.StatusCode, text)
				}
			}
		}()
	}
	for i := range 10 {
		cfg.Upstream = []string{two, one}[i%2]
		cfg.Pods = netip.AddrPort{}
		if i%2 == 0 {
			cfg.Pods = netip.MustParseAddrPort("192.0.2.7:0") // an address that this host does not have
		}
		if status, text := s.reload(t, cfg); status != http.StatusOK {
			t.Fatalf("reload = %d %s", status, text)
		}
		a := s.identity(t)
		if a.Instance != instance || a.Digest != cfg.Digest() || len(a.Listen) != 2-i%2 {
			t.Errorf("after reload %d: %+v", i, a)
		}
		count, n := &ones, ones.Load()
		if i%2 == 0 {
			count, n = &twos, twos.Load()
		}
		eventually(t, "answers of the new upstream", func() bool { return count.Load() > n+20 })
	}
	close(stop)
	for range 4 {
		<-done
	}
}

func TestBrokenReloadChangesNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := config(upstream(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "one") }))
	s := start(t, folder(t), cfg)
	base, before := s.url(t), s.identity(t)
	for name, change := range map[string]func(*resource.Gateway){
		"upstream":      func(c *resource.Gateway) { c.Upstream = "nonsense" },
		"newer schema":  func(c *resource.Gateway) { c.Schema = 99 },
		"missing key":   func(c *resource.Gateway) { c.Headers = map[string]offer.Secret{"A": {File: "/nowhere"}} },
		"another offer": func(c *resource.Gateway) { c.Offer.Name = "news" },
		"port is taken": func(c *resource.Gateway) {
			c.Listen = append(c.Listen[:1:1], netip.MustParseAddrPort(taken.Addr().String()))
		},
	} {
		broken := cfg
		change(&broken)
		if status, text := s.reload(t, broken); status != http.StatusConflict {
			t.Errorf("%s: reload = %d %s, want 409", name, status, text)
		}
		after := s.identity(t)
		after.Healthy, after.HealthReason, after.HealthSince = before.Healthy, before.HealthReason, before.HealthSince
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s changed the gateway (-before +after):\n%s", name, diff)
		}
		if _, text := do(t, request(t, "GET", base+"/x", nil)); text != "one" {
			t.Errorf("%s: the gateway answers %q", name, text)
		}
	}
}

func TestHealthFollowsTheUpstream(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config("http://127.0.0.1:1")) // an upstream that is down does not fail a start
	eventually(t, "the first look at the upstream", func() bool {
		return strings.Contains(s.identity(t).HealthReason, "cannot be reached")
	})
	answer, text := do(t, request(t, "GET", s.url(t)+"/health", nil))
	if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "the upstream cannot be reached") {
		t.Errorf("/health = %d %s", answer.StatusCode, text)
	}
	up := config(upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }))
	if status, text := s.reload(t, up); status != http.StatusOK {
		t.Fatalf("reload = %d %s", status, text)
	}
	eventually(t, "/health", func() bool {
		answer, _ := do(t, request(t, "GET", s.url(t)+"/health", nil))
		return answer.StatusCode == http.StatusOK
	})
}
