// Package edge is the public side of the sandbox: what the Obol Stack's
// verifier and its static site are for buyers. It sells all offers that are
// published, below their paths and on hosts of their own, and has their
// documents.
package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/ledger"
)

// Options are what an edge works with.
type Options struct {
	Reader      client.Reader // of ServiceOffers and ConfigMaps; asked with each request for a document
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)
	Facilitator string // URL of the one that settles every payment
	Ledger      string // folder in which payments are remembered; made when missing, outlives the process
	Log         *slog.Logger
}

// An Edge answers buyers. It is an [http.Handler], safe for concurrent use.
type Edge struct {
	Options
	ledger    *ledger.Ledger
	till      *charge.Till
	metrics   http.Handler
	transport *http.Transport
	cancel    context.CancelFunc
	work      sync.WaitGroup // what goes on beside requests

	reloading sync.Mutex // held by who reads the offers, so that the last to read is the last to swap

	mu    sync.Mutex
	front *front
}

// New makes an edge that sells nothing before [Edge.Reload]. It collects debts
// until ctx is done or it is closed.
func New(ctx context.Context, o Options) (*Edge, error) {
	nothing, err := charge.NewTable(nil)
	if err != nil {
		return nil, err
	}
	l, err := ledger.Open(o.Ledger, time.Now())
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(ctx)
	e := &Edge{
		Options:   o,
		ledger:    l,
		till:      charge.NewTill(charge.Options{Ledger: l, Log: o.Log, Metrics: registry, DocumentAge: documentAge}),
		metrics:   promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		transport: newTransport(o.Dial),
		cancel:    cancel,
		front:     &front{shared: nothing},
	}
	e.work.Go(func() { e.till.CollectDebts(ctx) })
	return e, nil
}

// Close ends the edge once the requests that it has are answered. It must not
// get any more.
func (e *Edge) Close() error {
	e.cancel()
	e.mu.Lock()
	last := e.front
	e.mu.Unlock()
	last.requests.Wait()
	e.work.Wait()
	e.transport.CloseIdleConnections()
	if err := e.ledger.Close(); err != nil {
		return fmt.Errorf("cannot close the ledger: %v", err)
	}
	return nil
}

// Reload sells what the offers say now. It is for whenever one of them, or the
// address that buyers reach the cluster at, has changed. Requests that are being
// answered go on by what held when they came.
//
// One published offer that cannot be charged for makes it fail, and all else
// stays on sale as it was, unchanged: neither what is new is sold, nor what has
// gone taken off. It is what the real verifier does, and whoever adds an offer
// has to see for themselves that it sells.
func (e *Edge) Reload(ctx context.Context) error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	offers, base, err := e.read(ctx)
	if err != nil {
		return err
	}
	next, err := e.newFront(offers, base, time.Now())
	if err != nil {
		return fmt.Errorf("cannot change what is sold: %w", err)
	}
	e.swap(next)
	return nil
}

// swap sells by another front. When the last request that came under the old
// one is answered, the metrics go of what is sold no more.
func (e *Edge) swap(next *front) {
	e.mu.Lock()
	old := e.front
	e.front = next
	e.mu.Unlock()
	e.work.Go(func() {
		old.requests.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		for k := range old.sold {
			if !e.front.sold[k] {
				e.till.Forget(k)
			}
		}
	})
}

// enter gives the front by which a request is answered; it is to leave it.
func (e *Edge) enter() *front {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.front.requests.Add(1)
	return e.front
}
