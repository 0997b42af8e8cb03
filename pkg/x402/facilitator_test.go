package x402

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const body = `{"x402Version":2,"paymentRequirements":{},"paymentPayload":{}}`

// A line is a listener without a network, so that its connections may live in a
// bubble of synctest.
type line struct {
	calls chan net.Conn
	done  chan struct{}
	once  sync.Once
	dials atomic.Int64
}

func (l *line) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *line) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *line) Addr() net.Addr { return &net.IPAddr{} }

func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.dials.Add(1)
	near, far := net.Pipe()
	select {
	case l.calls <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect makes a client of a facilitator that answers as h says. It is the
// product's own but for the wire.
func connect(t *testing.T, h http.HandlerFunc) (*Facilitator, *line) {
	t.Helper()
	f, err := NewFacilitator("http://127.0.0.1:1/facilitator/", FacilitatorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f, f.connect(t, h)
}

// connect has h answer on all connections that are made from now on.
func (f *Facilitator) connect(t *testing.T, h http.HandlerFunc) *line {
	t.Helper()
	l := &line{calls: make(chan net.Conn), done: make(chan struct{})}
	transport := f.client.Transport.(*http.Transport)
	transport.DialContext = l.dial
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return l
}

// says answers a request.
func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// hangs reads the request and never answers.
func hangs(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// cuts reads the request and breaks the connection.
func cuts(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestNewFacilitator(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://x402.gcp.obol.tech":       "",
		"https://x402.gcp.obol.tech/":      "",
		"https://example.org/a/b//":        "",
		"http://127.0.0.1:4021":            "",
		"http://127.9.9.9":                 "",
		"http://[::1]:4021/x":              "",
		"http://[::ffff:127.0.0.1]":        "",
		"http://localhost:4021":            "",
		"http://x402.gcp.obol.tech":        "neither https nor on loopback",
		"http://10.0.0.1":                  "neither https nor on loopback",
		"http://localhost.example.org":     "neither https nor on loopback",
		"http://127.0.0.1.example.org":     "neither https nor on loopback",
		"http://0.0.0.0:4021":              "neither https nor on loopback",
		"ftp://127.0.0.1":                  "neither https nor on loopback",
		"//127.0.0.1":                      "neither https nor on loopback",
		"":                                 "no URL",
		"x402.gcp.obol.tech":               "no URL",
		"https://":                         "no URL",
		"https:x402.gcp.obol.tech":         "no URL",
		"https://user:pass@example.org":    "neither user, nor query",
		"https://example.org?key=1":        "neither user, nor query",
		"https://example.org?":             "neither user, nor query",
		"https://example.org#x":            "neither user, nor query",
		"https://example.org\r\nHost: x":   "no URL",
		"http://127.0.0.1:1@evil.example/": "neither user, nor query",
	} {
		f, err := NewFacilitator(base, FacilitatorOptions{})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", base, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want …%s…", base, err, want)
		case want == "" && (strings.HasSuffix(f.base, "/") || f.client.Transport.(*http.Transport).Proxy != nil):
			t.Errorf("%q: base %q, and a proxy may be used", base, f.base)
		}
	}
}

// TestFacilitatorAsks looks at what is sent: the same bytes for verify and
// settle, to the right place, and no more connections than are needed.
func TestFacilitatorAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		f, l := connect(t, func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			got = append(got, fmt.Sprintf("%s %s %s %q %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header["Accept-Encoding"], text))
			_, _ = io.WriteString(w, `{"isValid":true,"success":true,"transaction":"0x1","network":"x","kinds":[]}`)
		})
		for range 2 {
			if _, err := f.Verify(t.Context(), Request(body)); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Settle(t.Context(), Request(body)); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Supported(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{
			"POST /facilitator/verify application/json [] " + body,
			"POST /facilitator/settle application/json [] " + body,
			"GET /facilitator/supported application/json [] ",
		}
		if diff := cmp.Diff(append(want, want...), got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if n := l.dials.Load(); n != 1 {
			t.Errorf("%d connections were made, want 1", n)
		}
	})
}

// TestFacilitatorKeepsConnections has 64 buyers at once, twice.
func TestFacilitatorKeepsConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, l := connect(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second) // of the bubble: all are asked at once
			_, _ = io.WriteString(w, `{"isValid":true}`)
		})
		for range 2 {
			failed := make(chan error)
			for range 64 {
				go func() {
					_, err := f.Verify(t.Context(), Request(body))
					failed <- err
				}()
			}
			for range 64 {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			synctest.Wait()
		}
		if n := l.dials.Load(); n != 64 {
			t.Errorf("%d connections were made, want 64", n)
		}
	})
}

func TestVerify(t *testing.T) {
	t.Parallel()
	no := Verdict{Reason: "insufficient_funds"}
	tests := map[string]struct {
		answer http.HandlerFunc
		want   Verdict
		err    string
	}{
		"yes":                          {says(200, `{"isValid":true,"payer":"0xAbC"}`), Verdict{Valid: true, Payer: "0xAbC"}, ""},
		"yes, and more":                {says(200, `{"isValid":true,"invalidReason":null,"extensions":{},"extra":{"a":[1]}}`), Verdict{Valid: true}, ""},
		"no":                           {says(200, `{"isValid":false,"invalidReason":"insufficient_funds"}`), no, ""},
		"no, with a message":           {says(200, `{"isValid":false,"invalidReason":"a","invalidMessage":"b","payer":"c"}`), Verdict{Reason: "a", Message: "b", Payer: "c"}, ""},
		"no, without a reason":         {says(200, `{"isValid":false}`), Verdict{}, ""},
		"no, as a 400":                 {says(400, `{"isValid":false,"invalidReason":"insufficient_funds"}`), no, ""},
		"no, as a 412":                 {says(412, `{"isValid":false,"invalidReason":"permit2_allowance_required"}`), Verdict{Reason: "permit2_allowance_required"}, ""},
		"no, as a 500":                 {says(500, `{"isValid":false,"invalidReason":"insufficient_funds"}`), no, ""},
		"a message as the reason":      {says(200, `{"isValid":false,"invalidReason":"fetch https://rpc/key failed"}`), Verdict{Reason: "unexpected_verify_error", Message: "fetch https://rpc/key failed"}, ""},
		"a reason of another type":     {says(200, `{"isValid":false,"invalidReason":{"a":1}}`), Verdict{}, ""},
		"texts that are not clean":     {says(200, `{"isValid":false,"invalidReason":"a","invalidMessage":"\u001b[1m\r\nx: é`+strings.Repeat("z", 300)+`"}`), Verdict{Reason: "a", Message: "?[1m??x: ?" + strings.Repeat("z", 243) + "..."}, ""},
		"yes, as a 201":                {says(201, `{"isValid":true}`), Verdict{}, "says yes"},
		"yes, as a 500":                {says(500, `{"isValid":true}`), Verdict{}, "says yes"},
		"yes, as a 402":                {says(402, `{"isValid":true}`), Verdict{}, "says yes"},
		"missing":                      {says(200, `{"success":true,"valid":true}`), Verdict{}, `"isValid" is neither true nor false`},
		"in another case":              {says(200, `{"isvalid":true}`), Verdict{}, `"isValid" is neither true nor false`},
		"as a string":                  {says(200, `{"isValid":"true"}`), Verdict{}, `"isValid" is neither true nor false`},
		"as a number":                  {says(200, `{"isValid":1}`), Verdict{}, `"isValid" is neither true nor false`},
		"null":                         {says(200, `{"isValid":null}`), Verdict{}, `"isValid" is neither true nor false`},
		"twice":                        {says(200, `{"isValid":false,"isValid":true}`), Verdict{}, `has two members "isValid"`},
		"empty":                        {says(200, ``), Verdict{}, "is not JSON"},
		"HTML":                         {says(200, `<html>`), Verdict{}, "is not JSON"},
		"a list":                       {says(200, `[{"isValid":true}]`), Verdict{}, "is not a JSON object"},
		"cut off":                      {says(200, `{"isValid":true`), Verdict{}, "is not JSON"},
		"a 503 without a verdict":      {says(503, `{"error":"busy"}`), Verdict{}, "with status 503"},
		"a 429":                        {says(429, `slow down`), Verdict{}, "with status 429"},
		"a redirect":                   {redirect, Verdict{}, "is a 307, and redirects are not followed"},
		"a redirect that says no":      {says(302, `{"isValid":false}`), Verdict{}, "redirects are not followed"},
		"as large as allowed":          {says(200, `{"isValid":true}`+strings.Repeat(" ", 64<<10-16)), Verdict{Valid: true}, ""},
		"larger":                       {says(200, `{"isValid":true}`+strings.Repeat(" ", 64<<10)), Verdict{}, "larger than 65536 bytes"},
		"endless":                      {endless, Verdict{}, "larger than 65536 bytes"},
		"headers without end":          {longHeaders, Verdict{}, "exceed"},
		"a broken connection":          {cuts, Verdict{}, "EOF"},
		"no answer":                    {hangs, Verdict{}, "deadline exceeded"},
		"an answer that does not end":  {dribbles, Verdict{}, "deadline exceeded"},
		"an answer of another content": {says(200, "\xff"), Verdict{}, "is not JSON"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _ := connect(t, tc.answer)
				start := time.Now()
				got, err := f.Verify(t.Context(), Request(body))
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
				if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("Verify: %v, want …%s…", err, tc.err)
				}
				if errors.Is(err, ErrNotSent) || errors.Is(err, ErrUnknown) {
					t.Errorf("Verify: %v, which is for settlements", err)
				}
				if lasted := time.Since(start); lasted > 5*time.Second {
					t.Errorf("it took %s, and the limit is 5s", lasted)
				}
			})
		})
	}
}

// TestBrokenConnection breaks a connection that was used before, as a server
// does that closes idle ones: a verify is asked again, and a settle is a lost
// answer.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		f, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
			if asked[r.URL.Path]++; asked[r.URL.Path] == 2 {
				cuts(w, r)
				return
			}
			_, _ = io.WriteString(w, `{"isValid":true,"success":true,"transaction":"0x1","network":"x"}`)
		})
		start := time.Now()
		for range 2 {
			if v, err := f.Verify(t.Context(), Request(body)); err != nil || !v.Valid {
				t.Errorf("Verify = %+v, %v", v, err)
			}
		}
		if lasted := time.Since(start); lasted != 0 {
			t.Errorf("asking again took %s", lasted)
		}
		for range 2 {
			if s, err := f.Settle(t.Context(), Request(body)); err != nil || !s.Success {
				t.Errorf("Settle = %+v, %v", s, err)
			}
		}
		if lasted := time.Since(start); lasted != firstPause {
			t.Errorf("settling again took %s, want %s", lasted, firstPause)
		}
		if diff := cmp.Diff(map[string]int{"/facilitator/verify": 3, "/facilitator/settle": 3}, asked); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestRestart has a facilitator that went away without a word, and answers again
// on new connections: those that we have kept break when they are used.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := false
		f, l := connect(t, func(w http.ResponseWriter, r *http.Request) {
			if gone {
				cuts(w, r)
				return
			}
			time.Sleep(time.Second) // of the bubble: all are asked at once
			_, _ = io.WriteString(w, `{"isValid":true}`)
		})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := f.Verify(t.Context(), Request(body)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := l.dials.Load(); n != 3 {
			t.Fatalf("%d connections are kept, want 3", n)
		}
		gone = true
		asked := 0
		f.connect(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			_, _ = io.WriteString(w, paid)
		})
		if s, err := f.Settle(t.Context(), Request(body)); err != nil || !s.Success || asked != 1 {
			t.Errorf("Settle = %+v, %v, and it was asked %d times", s, err, asked)
		}
	})
}

// A dying connection takes nothing any more once it is dead, and does not say so
// before it is written to.
type dying struct {
	net.Conn
	dead *atomic.Bool
}

// Read tells of its end as if the other side had ended it.
func (d dying) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

func (d dying) Write(p []byte) (int, error) {
	if d.dead.Load() {
		return 0, syscall.ECONNRESET
	}
	return d.Conn.Write(p)
}

// TestKeptConnection settles over one that was kept, when no other can be made,
// or when one can.
func TestKeptConnection(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		dead, ends bool
		listens    bool
		answer     http.HandlerFunc
		asked      int
		want       error
	}{
		"it takes nothing":                     {dead: true, answer: says(200, paid), want: ErrNotSent},
		"it takes nothing, and a new one does": {dead: true, listens: true, answer: says(200, paid), asked: 1},
		"it ends as it is taken":               {ends: true, answer: says(200, paid), want: ErrNotSent},
		"it ends, and a new one does not":      {ends: true, listens: true, answer: says(200, paid), asked: 1},
		"it breaks when all was read":          {answer: cuts, asked: 1, want: ErrUnknown},
		"it breaks, and so does a new one":     {listens: true, answer: cuts, asked: 2, want: ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				f, l := connect(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/facilitator/verify" {
						_, _ = io.WriteString(w, `{"isValid":true}`)
						return
					}
					asked++
					tc.answer(w, r)
				})
				var dead atomic.Bool
				var kept net.Conn
				transport := f.client.Transport.(*http.Transport)
				transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := l.dial(ctx, network, address)
					kept = dying{c, &dead}
					return kept, err
				}
				if _, err := f.Verify(t.Context(), Request(body)); err != nil {
					t.Fatal(err)
				}
				dead.Store(tc.dead)
				transport.DialContext = l.dial
				if !tc.listens {
					transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
				}
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
					if tc.ends && c.Conn == kept {
						kept.Close()
						synctest.Wait() // until that is seen
					}
				}})
				if s, err := f.Settle(ctx, Request(body)); !errors.Is(err, tc.want) || s.Success != (tc.want == nil) || asked != tc.asked {
					t.Errorf("Settle = %+v, %v, and it was asked %d times; want %v, and %d times", s, err, asked, tc.want, tc.asked)
				}
			})
		})
	}
}

func redirect(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/facilitator/verify" {
		_, _ = io.WriteString(w, `{"isValid":true}`)
		return
	}
	http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
			return
		}
	}
}

func longHeaders(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
}

func dribbles(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

func TestSupported(t *testing.T) {
	t.Parallel()
	const full = `{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532","extra":{}},{"x402Version":1,"scheme":"exact","network":"base"}],"extensions":[],"signers":{"eip155:*":["0x1"]}}`
	tests := map[string]struct {
		answer http.HandlerFunc
		want   []Kind
		err    string
	}{
		"two kinds":              {says(200, full), []Kind{{2, "exact", "eip155:84532"}, {1, "exact", "base"}}, ""},
		"none":                   {says(200, `{"kinds":[]}`), nil, ""},
		"as a 500":               {says(500, full), nil, "is a 500"},
		"no kinds":               {says(200, `{}`), nil, `"kinds" is missing`},
		"a kind without version": {says(200, `{"kinds":[{"scheme":"exact"}]}`), nil, `"x402Version" is not a whole number`},
		"a kind as a string":     {says(200, `{"kinds":["exact"]}`), nil, "is not a JSON object"},
		"kinds as an object":     {says(200, `{"kinds":{}}`), nil, "is not a list"},
		"no answer":              {hangs, nil, "deadline exceeded"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _ := connect(t, tc.answer)
				got, err := f.Supported(t.Context())
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("kinds (-want +got):\n%s", diff)
				}
				if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("Supported: %v, want …%s…", err, tc.err)
				}
			})
		})
	}
}

func TestSkew(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]time.Duration{"ahead": 40 * time.Second, "behind": -time.Hour, "equal": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _ := connect(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Date", time.Now().Add(-want).UTC().Format(http.TimeFormat))
					w.WriteHeader(http.StatusTeapot)
				})
				if got, known := f.Skew(); known {
					t.Errorf("Skew = %s before anything was asked", got)
				}
				if _, err := f.Verify(t.Context(), Request(body)); err == nil {
					t.Fatal("a teapot has no verdict")
				}
				if got, known := f.Skew(); got != want || !known {
					t.Errorf("Skew = %s, %v, want %s", got, known, want)
				}
			})
		})
	}
}

// TestFacilitatorNotSent is about the wire itself: nothing was sent when no
// connection was made.
func TestFacilitatorNotSent(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler()) // its certificate is nobody's
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, base := range map[string]string{
		"nobody listens": closed.URL, "no TLS there": strings.Replace(plain.URL, "http:", "https:", 1), "a certificate of nobody": secure.URL,
	} {
		f, err := NewFacilitator(base, FacilitatorOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := f.Settle(t.Context(), Request(body)); !errors.Is(err, ErrNotSent) || errors.Is(err, ErrUnknown) || s != (Settlement{}) {
			t.Errorf("%s: Settle = %+v, %v, want ErrNotSent", name, s, err)
		}
		if _, err := f.Verify(t.Context(), Request(body)); !errors.Is(err, ErrNotSent) {
			t.Errorf("%s: Verify: %v, want ErrNotSent", name, err)
		}
	}
}

// TestReceipt keeps what a facilitator tells of itself out of what buyers get.
func TestReceipt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		settlement Settlement
		want       string
	}{
		"yes": {Settlement{Success: true, Transaction: "0x1", Network: "eip155:84532", Payer: "0x2"}, `{"success":true,"transaction":"0x1","network":"eip155:84532","payer":"0x2"}`},
		"no":  {Settlement{Network: "base", Reason: "insufficient_funds", Message: "at https://rpc/key"}, `{"success":false,"transaction":"","network":"base","errorReason":"insufficient_funds"}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := base64.StdEncoding.DecodeString(tc.settlement.Header())
			if err != nil || string(got) != tc.want {
				t.Errorf("Header = %s, %v, want %s", got, err, tc.want)
			}
		})
	}
}
