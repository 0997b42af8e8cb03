package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var errStalled = errors.New("the body stopped coming")

// A patient body waits for its client, but not for ever: then it fails with
// errStalled, and the request has ended as if the client had left.
type patient struct {
	stall  time.Duration // how long nothing may come
	cancel context.CancelFunc

	stalled atomic.Bool

	mu     sync.Mutex
	body   io.ReadCloser            // http.NoBody when nobody waits for it any more
	client *http.ResponseController // nil then: the connection may be another request's
}

// Read implements [io.Reader].
func (p *patient) Read(b []byte) (int, error) {
	n, err := p.limit(time.Now().Add(p.stall)).Read(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.stalled.Store(true)
		p.cancel()
		return n, errStalled
	case err != nil: // its end, too
		p.limit(time.Time{})
	}
	return n, err
}

// Close implements [io.Closer].
func (p *patient) Close() error {
	p.mu.Lock()
	body := p.body
	p.mu.Unlock()
	return body.Close()
}

// limit says until when the client may take its time, and gives what it sends;
// zero: for ever.
func (p *patient) limit(at time.Time) io.Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		_ = p.client.SetReadDeadline(at) // a connection that has none is read without
	}
	return p.body
}

// end is for when nobody needs to wait for the body any more. A stream that goes
// on would keep it, and with it all that the server holds.
func (p *patient) end() {
	p.limit(time.Time{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body, p.client = http.NoBody, nil
}

// A patientKey is where the context of a request has its patient body.
type patientKey struct{}

// stalled tells whether it was the client who kept a request waiting.
func stalled(r *http.Request) bool {
	p, there := r.Context().Value(patientKey{}).(*patient)
	return there && p.stalled.Load()
}
