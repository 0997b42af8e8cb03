//go:build cluster

package acceptance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// The shop: what each part of it costs, in atomic units of USDC. All else is
// not for sale, which for the upstream is the dearest of all: it runs for
// nobody.
var shop = map[string]*big.Int{"free": big.NewInt(0), "cheap": big.NewInt(10_000), "dear": big.NewInt(1_000_000)}

// What an upstream says that no buyer may learn without paying.
const (
	goods  = "these are the goods of run"
	secret = "upstream-secret"
)

// forged is what an upstream writes into headers that are not its own.
const forged = "Zm9yZ2VkIGJ5IHRoZSB1cHN0cmVhbQ=="

// An upstream counts how often it runs. It is as careless with paths as any of
// those that stand behind a gateway could be.
type upstream struct {
	url  string
	addr string

	mu    sync.Mutex
	runs  []run
	reply func(w http.ResponseWriter, n int) // nil: goods
	hold  func(gone <-chan struct{})         // called in each run before it answers; gone: nobody waits for it
}

// A run is one request that reached the upstream.
type run struct {
	method, target string
	header         http.Header
	price          *big.Int // of the dearest thing that the target could be taken for; nil: not for sale
}

func (r run) String() string { return r.method + " " + r.target }

func newUpstream(t testing.TB) *upstream {
	u := &upstream{}
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	u.url, u.addr = server.URL, strings.TrimPrefix(server.URL, "http://")
	return u
}

// expressPath is where the program with @x402/express says what it was asked.
const expressPath = "/express"

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.RequestURI == "/healthz":
	case r.RequestURI == expressPath:
		u.serveExpress(w, r)
	case r.Header.Get("Upgrade") == "h2c":
		u.turnToHTTP2(w)
	default:
		u.run(w, r.Context().Done(), run{method: r.Method, target: r.RequestURI, header: r.Header.Clone()})
	}
}

// turnToHTTP2 goes on in HTTP/2, as servers do that know this upgrade.
func (u *upstream) turnToHTTP2(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	server := &http.Server{Handler: u, Protocols: unencryptedHTTP2()}
	server.Serve(&only{conn: conn}) //nolint:errcheck // it ends at once, since there is no second connection
}

func unencryptedHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// only listens for one connection, which is there already.
type only struct{ conn net.Conn }

func (o *only) Accept() (net.Conn, error) {
	if o.conn == nil {
		return nil, net.ErrClosed
	}
	conn := o.conn
	o.conn = nil
	return conn, nil
}

func (o *only) Close() error   { return nil }
func (o *only) Addr() net.Addr { return &net.TCPAddr{} }

// serveExpress runs what a handler behind the middleware was asked for, and
// gives it the answer to pass on.
func (u *upstream) serveExpress(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Method, Target string
		Headers        map[string]any
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := http.Header{}
	for name, value := range asked.Headers {
		header.Set(name, fmt.Sprint(value))
	}
	rec := httptest.NewRecorder()
	u.run(rec, r.Context().Done(), run{method: asked.Method, target: asked.Target, header: header})
	headers := map[string]string{}
	for name := range rec.Header() {
		headers[name] = rec.Header().Get(name)
	}
	json.NewEncoder(w).Encode(map[string]any{"status": rec.Code, "headers": headers, "body": rec.Body.String()}) //nolint:errcheck // the program is gone, and says so
}

func (u *upstream) run(w http.ResponseWriter, gone <-chan struct{}, r run) {
	r.price = priceOf(r.target)
	u.mu.Lock()
	u.runs = append(u.runs, r)
	n, reply, hold := len(u.runs), u.reply, u.hold
	u.mu.Unlock()
	if hold != nil {
		hold(gone)
	}
	w.Header().Set("X-Inside", secret)
	if reply != nil {
		reply(w, n)
		return
	}
	sell(w, n)
}

// sell writes the goods of a run.
func sell(w io.Writer, n int) { fmt.Fprintf(w, "%s %d\n", goods, n) }

// replies sets what is answered from now on; nil: goods.
func (u *upstream) replies(with func(w http.ResponseWriter, n int)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reply = with
}

// holds sets what each run waits in; nil: nothing.
func (u *upstream) holds(in func(gone <-chan struct{})) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hold = in
}

// seen gives the runs until now.
func (u *upstream) seen() []run {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]run(nil), u.runs...)
}

// priceOf is what the dearest thing costs that some upstream could take a
// target for; nil when that is not for sale.
func priceOf(target string) *big.Int {
	price := new(big.Int)
	for reading := range readings(target) {
		first, _, _ := strings.Cut(strings.TrimPrefix(reading, "/"), "/")
		of, ok := shop[first]
		if !ok {
			return nil
		}
		if of.Cmp(price) > 0 {
			price = of
		}
	}
	return price
}

// readings gives the paths that a target may be taken for: as it is written,
// decoded, and as the most forgiving of upstreams does it.
func readings(target string) map[string]bool {
	if u, err := url.Parse(target); err == nil && u.IsAbs() {
		target = target[strings.Index(target, "://")+3:]
		if i := strings.IndexByte(target, '/'); i >= 0 {
			target = target[i:]
		}
	}
	target, _, _ = strings.Cut(target, "?")
	out := map[string]bool{target: true}
	decoded := target
	for range 3 {
		decoded = decodeOnce(decoded)
		out[decoded] = true
	}
	for literal := range maps.Clone(out) {
		out[forgiving(literal)] = true
	}
	return out
}

// decodeOnce decodes what is well formed and leaves the rest; an overlong point
// or slash becomes what it stands for.
func decodeOnce(s string) string {
	for _, pair := range [][2]string{{"%c0%ae", "."}, {"%c0%af", "/"}} {
		s = strings.ReplaceAll(strings.ReplaceAll(s, pair[0], pair[1]), strings.ToUpper(pair[0]), pair[1])
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func forgiving(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return -1
		}
		return unicode.ToLower(r)
	}, s)
	s, _, _ = strings.Cut(s, "#")
	segments := strings.Split(s, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return path.Clean("/" + strings.Join(segments, "/"))
}

// listenHTTP serves until the test ends, and gives the URL.
func listenHTTP(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l) //nolint:errcheck // closed when the test ends
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String()
}
