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
	io.ReadCloser
	client *http.ResponseController
	stall  time.Duration // how long nothing may come
	cancel context.CancelFunc

	stalled atomic.Bool

	mu   sync.Mutex
	over bool // the connection may be another request's
}

// Read implements [io.Reader].
func (p *patient) Read(b []byte) (int, error) {
	p.limit(time.Now().Add(p.stall))
	n, err := p.ReadCloser.Read(b)
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

// limit says until when the client may take its time; zero: for ever.
func (p *patient) limit(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		_ = p.client.SetReadDeadline(at) // a connection that has none is read without
	}
}

// end is for when nobody needs to wait for the body any more.
func (p *patient) end() {
	p.limit(time.Time{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// A patientKey is where the context of a request has its patient body.
type patientKey struct{}

// stalled tells whether it was the client who kept a request waiting.
func stalled(r *http.Request) bool {
	p, there := r.Context().Value(patientKey{}).(*patient)
	return there && p.stalled.Load()
}
