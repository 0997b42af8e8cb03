package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/offer"
)

// healthPath is the gateway's own: never passed on, and free of charge.
const healthPath = "/health"

// statusClientGone is what a request counts as whose client did not wait. No
// one receives it.
const statusClientGone = 499

// A refusal is the body of every answer that is not the upstream's.
type refusal struct {
	Code  string `json:"code"`
	Error string `json:"error"`
}

// ServeHTTP answers one request of the public listeners.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	rec, ctx := &recorder{ResponseWriter: w}, r.Context()
	defer func() { s.counts[rec.class()].Add(1) }()
	defer func() {
		if fault := recover(); fault != nil {
			s.panicked(ctx, fault)
			panic(http.ErrAbortHandler) // the server ends this connection, and no other
		}
	}()
	s.answer(s.front.Load(), rec, r)
}

// panicked notes what ended one connection. That a client or an upstream broke
// off is told in this way too, and is no fault.
func (s *server) panicked(ctx context.Context, fault any) {
	if fault == http.ErrAbortHandler { //nolint:errorlint // as the server has it
		return
	}
	s.panics.Add(1)
	s.log.ErrorContext(ctx, "a fault of this gateway ended a connection", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
}

func (s *server) answer(p *plane, w *recorder, r *http.Request) {
	if !p.admits(r.RemoteAddr) {
		s.logDenial(r)
		refuse(w, http.StatusForbidden, "not_for_you", "this gateway answers the cluster that charges for it, and nobody else")
		return
	}
	if p.names[charge.HostName(r.Host)] {
		s.pathSeen.Store(time.Now().UnixNano())
	}
	switch {
	case r.URL.Path == healthPath && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		s.answerHealth(p, w)
	case s.drained(p):
		refuse(w, http.StatusServiceUnavailable, "drained", "drained: this offer has stopped selling")
	case s.draining.Load():
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "draining", "this gateway is about to stop")
	case p.cfg.Standalone:
		s.till.Serve(p.table, w, r)
	default:
		s.pass(p, w, r)
	}
}

// drained tells whether a standalone offer has stopped selling. A drain that is
// over is looked for again, since its mark goes after the last reload.
func (s *server) drained(p *plane) bool {
	if !over(p.drain) {
		return false
	}
	now, err := s.readMarks(p.cfg)
	return err != nil || over(now)
}

// over tells whether a drain has no grace left. One that a clock which was ahead
// let begin later has none: nobody knows when it began.
func over(d *offer.Drain) bool {
	now := time.Now()
	return d != nil && (now.Before(d.At) || !now.Before(d.EndsAt()))
}

// pass sends a request to the upstream, within the limits.
func (s *server) pass(p *plane, w http.ResponseWriter, r *http.Request) {
	if place, ok := s.takePlace(p, w, r); ok {
		defer place.Leave()
		place.ServeHTTP(w, r)
	}
}

// A place is room for one request at the upstream of a plane.
type place struct {
	server *server
	plane  *plane
	goesOn bool // a stream has it, until that has ended
}

// takePlace makes room for a request, or answers why there is none.
func (s *server) takePlace(p *plane, w http.ResponseWriter, r *http.Request) (*place, bool) {
	passing := s.passing.Add(1)
	switch {
	case !plainPath(r.URL.Path):
		refuse(w, http.StatusBadRequest, "bad_path", "the path must start with a slash and have no . or .. in it")
	case p.cfg.MaxBody > 0 && r.ContentLength > p.cfg.MaxBody:
		tooLarge(w, p.cfg.MaxBody)
	case p.cfg.InFlight > 0 && passing > int64(p.cfg.InFlight):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "busy", fmt.Sprintf("%d requests are being served, which is the limit", p.cfg.InFlight))
	default:
		return &place{server: s, plane: p}, true
	}
	s.passing.Add(-1)
	return nil, false
}

// Leave implements [charge.Place].
func (at *place) Leave() {
	if !at.goesOn {
		at.server.passing.Add(-1)
	}
}

// ServeHTTP sends the request to the upstream.
func (at *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, p := at.server, at.plane
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// An upstream may answer before it has read all. Without this the
		// server would throw away the rest of the request then.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			s.log.DebugContext(r.Context(), "no full duplex", "error", err.Error())
		}
	}
	if p.cfg.MaxBody > 0 {
		// The server's own writer lingers when it learns that the limit was
		// hit, so that the client reads the refusal before the connection ends.
		r.Body = http.MaxBytesReader(innermost(w), r.Body, p.cfg.MaxBody)
	}
	if r.ContentLength == 0 {
		if !p.cfg.Standalone || charge.Paid(r) { // the cluster does not say what was free
			r = once(r)
		}
		at.goesOn = s.forward(p, w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	body := &patient{body: r.Body, client: http.NewResponseController(innermost(w)), stall: s.Stall, cancel: cancel}
	defer body.end()
	r = r.WithContext(context.WithValue(ctx, patientKey{}, body))
	r.Body = body
	at.goesOn = s.forward(p, w, r)
}

// innermost is the server's own writer.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// admits tells whether the peer may ask. Only the connection says who the peer
// is, never a header. A standalone gateway is for everybody: it charges.
func (p *plane) admits(remote string) bool {
	if p.cfg.Standalone {
		return true
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	ip := peer.Addr().Unmap().WithZone("")
	return ip.IsLoopback() || slices.ContainsFunc(p.cfg.Peers, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// logDenial tells of peers that were sent away, at most every ten seconds.
func (s *server) logDenial(r *http.Request) {
	now := time.Now().UnixNano()
	last := s.denials.Load()
	if now-last >= int64(10*time.Second) && s.denials.CompareAndSwap(last, now) {
		s.log.WarnContext(r.Context(), "peer refused: neither loopback, a node, nor a pod", "peer", r.RemoteAddr)
	}
}

func (s *server) answerHealth(p *plane, w http.ResponseWriter) {
	ok, why := p.health.now()
	if s.draining.Load() {
		ok, why = false, "the gateway is about to stop"
	}
	if !ok {
		refuse(w, http.StatusServiceUnavailable, "unhealthy", why)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{\"status\":\"ok\"}\n") // a client that left needs no answer
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	body, err := json.Marshal(refusal{code, text})
	if err != nil {
		panic("gateway: cannot marshal: " + err.Error()) // two strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left needs no answer
}

func tooLarge(w http.ResponseWriter, limit int64) {
	refuse(w, http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("the body is larger than %d bytes", limit))
}

// plainPath tells whether a decoded path stays where it is: dot segments could
// lead out of the prefix, or out of the upstream's own path.
func plainPath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// stripPrefix takes a prefix off a path when it ends where a segment does.
func stripPrefix(path, prefix string) string {
	rest, ok := strings.CutPrefix(path, prefix)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return path
	case rest == "":
		return "/"
	}
	return rest
}

// newTransport makes the upstream's client. Bodies pass as they are.
func newTransport(firstByte time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 notAgain,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: firstByte,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        chunk, // bodies are read past it, and thousands of streams may be idle
		WriteBufferSize:       chunk,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
}

// newProxy makes the way to the upstream of p.
func (s *server) newProxy(p *plane) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p.transport,
		FlushInterval:  10 * time.Millisecond, // where the length is known; all else passes at once
		BufferPool:     &buffers{},
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ErrorHandler:   func(w http.ResponseWriter, r *http.Request, err error) { s.upstreamFailed(p, w, r, err) },
		ModifyResponse: p.receive,
	}
}

// receive takes the money for the head of an answer, and its stream.
func (p *plane) receive(res *http.Response) error {
	if p.cfg.Standalone {
		if err := charge.Collect(res); err != nil {
			return err
		}
	}
	detach(res)
	return nil
}

// rewrite makes the upstream's request out of the client's. What peers say of
// earlier hops is dropped, since the upstream cannot know whom to believe, and
// the peer itself is named instead.
func (p *plane) rewrite(pr *httputil.ProxyRequest) {
	u := pr.Out.URL
	u.Path = stripPrefix(u.Path, p.prefix)
	if u.RawPath != "" {
		u.RawPath = stripPrefix(u.RawPath, (&url.URL{Path: p.prefix}).EscapedPath())
	}
	pr.SetURL(p.upstream)
	u.RawQuery = pr.In.URL.RawQuery // as the client wrote it
	for name := range pr.Out.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
			pr.Out.Header.Del(name)
		}
	}
	pr.SetXForwarded()
	p.setHeaders(pr.Out)
}

// setHeaders puts the configured headers into a request for the upstream, in
// place of the client's.
func (p *plane) setHeaders(r *http.Request) {
	for name, values := range p.headers {
		if name == "Host" {
			r.Host = values[0]
			continue
		}
		r.Header[name] = slices.Clone(values)
	}
}

// upstreamFailed answers for an upstream that did not. The log has the cause;
// the client learns nothing of what is behind the gateway.
func (s *server) upstreamFailed(p *plane, w http.ResponseWriter, r *http.Request, err error) {
	var body *http.MaxBytesError
	var dial *net.OpError
	switch {
	case charge.Refused(w, r, err):
		return
	case errors.As(err, &body):
		tooLarge(w, body.Limit)
		return
	case stalled(r):
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestTimeout, "body_stalled", "nothing more of the body came for "+s.Stall.String())
		return
	case r.Context().Err() != nil:
		w.WriteHeader(statusClientGone)
		return
	case isTimeout(err):
		refuse(w, http.StatusGatewayTimeout, "upstream_timeout", "the upstream did not answer in time")
	case errors.As(err, &dial) && dial.Op == "dial":
		refuse(w, http.StatusBadGateway, "upstream_unreachable", "the upstream cannot be reached")
	default:
		refuse(w, http.StatusBadGateway, "upstream_failed", "the upstream broke off before it answered")
	}
	s.log.WarnContext(r.Context(), "upstream failed", "method", r.Method, "path", r.URL.Path, "upstream", p.upstream.Host, "error", err.Error())
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status < 200 { // informational answers come before the real one
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush and take over the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// class is the first digit of the status; an answer without one is a 200.
func (r *recorder) class() int {
	if r.status == 0 {
		return 2
	}
	return min(r.status/100, 5)
}

// buffers lends what bodies are copied through, so that an idle gateway holds
// none.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// wants lists what to listen on, and whether the address may not exist yet.
func (p *plane) wants() map[netip.AddrPort]bool {
	out := map[netip.AddrPort]bool{}
	for _, a := range p.cfg.Listen {
		out[a] = false
	}
	if p.cfg.Pods.IsValid() {
		out[p.cfg.Pods] = true
	}
	return out
}
