package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"

	"github.com/obolctl/obolctl/pkg/charge"
)

// chunk is how much of a stream is passed on at once, in bytes. Each stream
// holds that much twice, for as long as it lasts.
const chunk = 2 << 10

// An answer is what comes back for one request. Most event streams are idle
// most of the time, and the server and the proxy hold some 50 kB for each: so
// where a stream can go on without them its body is kept from the proxy, and
// once its head has gone out we take over the connection, let the request end,
// and copy what comes.
type answer struct {
	asked atomic.Bool    // the request was read to its end
	res   *http.Response // of a stream that goes on; nil: the proxy has it
	body  io.ReadCloser  // likewise
}

// An answerKey is where the context of a request to the upstream has its answer.
type answerKey struct{}

// detach takes the body of a stream from the proxy, if it can go on. Over
// HTTP/2 its connection has other streams too; and as long as the server reads
// the request, it needs the connection itself.
func detach(res *http.Response) {
	a, ours := res.Request.Context().Value(answerKey{}).(*answer)
	if !ours || !a.asked.Load() || !charge.IsStream(res) || res.StatusCode != http.StatusOK || res.ContentLength >= 0 || res.Request.Method == http.MethodHead {
		return
	}
	a.res, a.body = res, res.Body
	res.Body = http.NoBody
	res.Header.Set("Connection", "close")
}

// forward has the proxy serve a request, and carries on with its stream; then it
// gives true, and the request counts as passing until that has ended.
func (s *server) forward(p *plane, w http.ResponseWriter, r *http.Request) (goesOn bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		p.proxy.ServeHTTP(w, r)
		return false
	}
	// The request to the upstream ends with the client's, until it is taken over.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	outlive := context.AfterFunc(r.Context(), cancel)
	a := &answer{}
	defer func() {
		outlive()
		if goesOn {
			return
		}
		cancel()
		if a.res != nil {
			_ = a.body.Close() // nobody is left to read it
		}
	}()
	out := r.WithContext(context.WithValue(ctx, answerKey{}, a))
	a.asked.Store(r.ContentLength == 0)
	if r.ContentLength != 0 {
		out.Body = &watched{ReadCloser: r.Body, answer: a, broken: func() {
			if r.Context().Err() != nil {
				cancel()
			}
		}}
	}
	lent := &loan{w}
	p.proxy.ServeHTTP(lent, out)
	if a.res == nil {
		return false
	}
	lent.ResponseWriter = nil
	conn, err := takeOver(w)
	if err == nil && !outlive() {
		err = errors.Join(r.Context().Err(), conn.Close())
	}
	if err != nil {
		panic(http.ErrAbortHandler) // its head is out, so no other answer can be given
	}
	s.inFlight.Add(1)
	go func() {
		defer s.inFlight.Add(-1)
		defer s.passing.Add(-1)
		defer cancel()
		defer func() {
			if fault := recover(); fault != nil { // nobody else would: the server has let go
				s.panicked(ctx, fault)
			}
		}()
		if err := s.carry(a, conn, cancel); err != nil {
			s.log.DebugContext(ctx, "stream broken off", "error", err.Error())
		}
	}()
	return true
}

// A loan is a writer that is taken back from the proxy, whose traces would keep
// it, and with it all that the server holds.
type loan struct{ http.ResponseWriter }

// Unwrap lets http.ResponseController do all else.
func (l *loan) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// takeOver sends the head of an answer, and gives the connection it went to.
func takeOver(w http.ResponseWriter) (net.Conn, error) {
	control := http.NewResponseController(w)
	if err := control.Flush(); err != nil {
		return nil, err
	}
	conn, _, err := control.Hijack()
	return conn, err
}

// carry copies a stream until it ends, or the client has gone, or the gateway
// waits no longer. Both ends are closed then, also by a panic.
func (s *server) carry(a *answer, conn net.Conn, cancel func()) (err error) {
	s.streams.add(conn)
	defer s.streams.remove(conn)
	defer func() { err = errors.Join(err, conn.Close()) }()
	defer func() { err = errors.Join(err, a.body.Close()) }()
	go func() {
		defer cancel()
		said := make([]byte, 64) // is for nobody
		for {
			if _, err := conn.Read(said); err != nil {
				_ = conn.Close() // so that writing to it fails too
				return
			}
		}
	}()
	return copyChunks(conn, a)
}

// copyChunks writes a body as HTTP/1.1 frames what has no known length. One
// that breaks off gets no end, which is how clients know.
func copyChunks(conn net.Conn, a *answer) error {
	out := bufio.NewWriterSize(conn, chunk+16) // with its frame
	frame := httputil.NewChunkedWriter(out)
	buf := make([]byte, chunk)
	for {
		n, failed := a.body.Read(buf)
		if n > 0 {
			if _, err := frame.Write(buf[:n]); err != nil {
				return err
			}
			if err := out.Flush(); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(failed, io.EOF):
			_ = frame.Close() // what fails here fails again when it is flushed
			_ = a.res.Trailer.Write(out)
			_, _ = out.WriteString("\r\n")
			return out.Flush()
		case failed != nil:
			return failed
		}
	}
}

// A watched body tells when it was read to its end, or cannot be. It gives its
// end alone, after its last bytes: the transport asks for it once more when it
// has sent as much as was announced, and its stream must not go on before that.
// The proxy fails such a read after it has returned, and then the transport ends
// the connection; and the server cannot let go of its own meanwhile.
type watched struct {
	io.ReadCloser
	answer *answer
	broken func() // returns before the proxy learns of it
	ended  bool   // the last bytes were read
}

// Read implements [io.Reader].
func (w *watched) Read(p []byte) (n int, err error) {
	if !w.ended {
		n, err = w.ReadCloser.Read(p)
		w.ended = errors.Is(err, io.EOF)
	}
	switch {
	case w.ended && n > 0:
		return n, nil
	case w.ended:
		w.answer.asked.Store(true)
		return 0, io.EOF
	case err != nil:
		w.broken()
	}
	return n, err
}

// connections are those that are not the server's any more. The zero value has
// none.
type connections struct {
	mu     sync.Mutex
	all    map[net.Conn]bool
	closed bool
}

// add closes the connection at once when all were closed before.
func (c *connections) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close() // it is given up anyway
		return
	}
	if c.all == nil {
		c.all = map[net.Conn]bool{}
	}
	c.all[conn] = true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, conn)
}

// close ends them all, and those to come.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.all {
		_ = conn.Close() // it is given up anyway
	}
}
